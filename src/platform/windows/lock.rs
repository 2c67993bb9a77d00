//! A lock file on Windows, as .NET's `FileStream` makes it: shared for reading only, deleted by
//! the system when the last handle closes, so that a dead process leaves none behind.
//!
//! Python's exclusive creation fails while it exists, and its opening for writing too. Danger: Python
//! closes what it has created and opens it again to lock it, and ends with an error if somebody has
//! taken it meanwhile. Rule: a file that is there is taken only when it is old.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// `FILE_SHARE_READ` (CreateFileW): others may see who holds it.
const SHARE_READ: u32 = 0x1;

/// `FILE_FLAG_DELETE_ON_CLOSE` (CreateFileW).
const DELETE_ON_CLOSE: u32 = 0x0400_0000;

/// `ERROR_SHARING_VIOLATION` and `ERROR_LOCK_VIOLATION`: somebody has it.
const TAKEN: [i32; 2] = [32, 33];

/// Python's file is locked a moment after its creation. .NET's and ours are gone with their holder.
const YOUNG: Duration = Duration::from_secs(1);

/// Held until it is dropped.
#[derive(Debug)]
pub(in super::super) struct HeldLock {
    _file: File,
}

pub(in super::super) fn try_lock(path: &Path, content: &str) -> io::Result<Option<HeldLock>> {
    if is_young(path) {
        return Ok(None);
    }
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .share_mode(SHARE_READ)
        .custom_flags(DELETE_ON_CLOSE)
        .open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.raw_os_error().is_some_and(|code| TAKEN.contains(&code)) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    // Who holds it is for people to read; it excludes nobody when it can't be written.
    let _ = file.set_len(0).and_then(|()| file.write_all(content.as_bytes()));
    Ok(Some(HeldLock { _file: file }))
}

/// A time in the future is no obstacle: clocks are set back.
fn is_young(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    let age = modified.ok().and_then(|time| SystemTime::now().duration_since(time).ok());
    age.is_some_and(|age| age < YOUNG)
}
