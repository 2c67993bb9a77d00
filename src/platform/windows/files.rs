//! Owners, rights and versions of files on Windows, where the folder's access list decides.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::windows::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::super::FileVersion;

/// `FILE_FLAG_OPEN_REPARSE_POINT` (CreateFileW).
const OPEN_REPARSE_POINT: u32 = 0x0020_0000;

/// `ERROR_ACCESS_DENIED`, `ERROR_SHARING_VIOLATION`, `ERROR_LOCK_VIOLATION`.
const IN_USE: [i32; 3] = [5, 32, 33];

pub(in super::super) fn file_version(metadata: &Metadata) -> FileVersion {
    FileVersion { inode: 0, length: metadata.file_size(), modified: metadata.last_write_time() }
}

pub(in super::super) fn has_other_names(_: &Metadata) -> bool {
    false
}

pub(in super::super) fn is_foreign(_: &Metadata) -> bool {
    false
}

pub(in super::super) fn others_may_read(_: &Metadata) -> bool {
    false
}

/// A link is opened itself, and its metadata say what it is.
pub(in super::super) fn open_no_link(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OPEN_REPARSE_POINT).open(path)
}

/// Who replaces a file that is open gets `ERROR_ACCESS_DENIED`, and a scanner that has opened the
/// new one `ERROR_SHARING_VIOLATION`.
pub(in super::super) fn is_in_use(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| IN_USE.contains(&code))
}

/// Pipes have a namespace of their own here.
pub(in super::super) fn open_without_waiting(path: &Path) -> io::Result<File> {
    File::open(path)
}

pub(in super::super) fn is_planted(_: &Metadata, _: &Path) -> bool {
    false
}

pub(in super::super) fn inherit_rights(_: &File, _: &Metadata) -> io::Result<()> {
    Ok(())
}

pub(in super::super) fn belong_to_folder(_: &File, _: &Path) -> io::Result<()> {
    Ok(())
}

/// NTFS keeps a journal of names.
pub(in super::super) fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Sharing nothing fails while any other handle is open.
pub(in super::super) fn opens_alone(path: &Path) -> io::Result<bool> {
    let mut options = OpenOptions::new();
    options.read(true).share_mode(0).custom_flags(OPEN_REPARSE_POINT);
    match options.open(path) {
        Ok(_) => Ok(true),
        Err(error) if is_in_use(&error) => Ok(false),
        Err(error) => Err(error),
    }
}
