//! A lock file on Unix: `flock` on a file that exists only while it is held.
//!
//! Danger: a lock on a file that has lost its name excludes nobody: another process makes a new
//! file of that name and locks that one. Python creates the file first and locks it a moment later,
//! and removes it a moment after it has let go. Rule: the file is removed while it is held; a lock
//! counts only while its file has the name; a file that somebody else has made is taken only
//! when it is old, and once nobody has removed it after a moment.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;

use super::files::belong_to_folder;

/// Between Python's creation of the file and its lock lie microseconds; a busy machine makes it
/// milliseconds.
const YOUNG: Duration = Duration::from_secs(1);

/// Between Python's release and its removal of the file lie microseconds, too.
const SETTLED_AFTER: Duration = Duration::from_millis(100);

/// How often a file that we have just made is tried: another process may look at it.
const OWN_TRIES: usize = 3;

/// Held until it is dropped.
#[derive(Debug)]
pub(in super::super) struct HeldLock {
    path: PathBuf,
    file: File,
}

impl Drop for HeldLock {
    /// Removed before it is let go: Python waits 5 seconds for a file that is left behind.
    fn drop(&mut self) {
        // Never somebody else's file of that name.
        if is_named(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

pub(in super::super) fn try_lock(path: &Path, content: &str) -> io::Result<Option<HeldLock>> {
    let taken = match options().create_new(true).open(path) {
        Ok(file) => own(file, path)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => left_behind(path)?,
        Err(error) => return Err(error),
    };
    let Some(file) = taken else { return Ok(None) };
    let mut held = HeldLock { path: path.to_owned(), file };
    // Who holds it is for people to read; it excludes nobody when it can't be written.
    let _ = held.file.set_len(0).and_then(|()| held.file.write_all(content.as_bytes()));
    Ok(Some(held))
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    options.read(true).write(true).mode(0o600).custom_flags(flags);
    options
}

/// A file that we have made: ours unless somebody was quicker with the lock.
fn own(file: File, path: &Path) -> io::Result<Option<File>> {
    if let Some(folder) = path.parent() {
        let _ = belong_to_folder(&file, folder);
    }
    for _ in 0..OWN_TRIES {
        if lock(&file)? {
            return Ok(is_named(&file, path).then_some(file));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(None)
}

/// A file that was there: of a living process, which has locked it, or of a dead one.
fn left_behind(path: &Path) -> io::Result<Option<File>> {
    let file = match options().open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if file.metadata()?.nlink() > 1 {
        // Somebody's file under the lock's name: writing into it would destroy that one.
        return Err(io::Error::other("the file of that name has another name, too; remove it"));
    }
    if !lock(&file)? || !is_named(&file, path) || is_young(&file)? {
        return Ok(None);
    }
    std::thread::sleep(SETTLED_AFTER);
    Ok(is_named(&file, path).then_some(file))
}

fn lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// A time in the future is no obstacle: clocks are set back.
fn is_young(file: &File) -> io::Result<bool> {
    let age = SystemTime::now().duration_since(file.metadata()?.modified()?);
    Ok(age.is_ok_and(|age| age < YOUNG))
}

fn is_named(file: &File, path: &Path) -> bool {
    let (Ok(held), Ok(named)) = (file.metadata(), fs::symlink_metadata(path)) else { return false };
    (held.dev(), held.ino()) == (named.dev(), named.ino())
}
