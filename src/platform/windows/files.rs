//! Owners, rights and versions of files on Windows, where the folder's access list decides.

use std::fs::{File, Metadata};
use std::io;
use std::os::windows::fs::MetadataExt;
use std::path::Path;

use super::super::FileVersion;

pub(in super::super) fn file_version(metadata: &Metadata) -> FileVersion {
    FileVersion { inode: 0, length: metadata.file_size(), modified: metadata.last_write_time() }
}

pub(in super::super) fn is_foreign(_: &Metadata) -> bool {
    false
}

pub(in super::super) fn others_may_read(_: &Metadata) -> bool {
    false
}

/// Making a symbolic link takes an administrator's right here, so that none stands between the
/// caller's look at the name and this.
pub(in super::super) fn open_no_link(path: &Path) -> io::Result<File> {
    File::open(path)
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
