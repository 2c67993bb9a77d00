//! Owners, rights and versions of files on Unix.
//!
//! Danger: a file of secrets that is replaced by one that more people may read, or that its
//! service may no longer read. Rule: owner and mode follow the replaced file; where the owner
//! can't, nobody but the owner reads the new one.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::process::geteuid;

use super::super::FileVersion;

pub(in super::super) fn file_version(metadata: &Metadata) -> FileVersion {
    let (seconds, nanos) = (metadata.mtime().cast_unsigned(), metadata.mtime_nsec());
    let modified = seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos.cast_unsigned());
    FileVersion { inode: metadata.ino(), length: metadata.len(), modified }
}

pub(in super::super) fn has_other_names(metadata: &Metadata) -> bool {
    metadata.nlink() > 1
}

pub(in super::super) fn is_foreign(metadata: &Metadata) -> bool {
    let me = geteuid();
    !me.is_root() && metadata.uid() != me.as_raw()
}

pub(in super::super) fn others_may_read(metadata: &Metadata) -> bool {
    metadata.mode() & 0o077 != 0
}

pub(in super::super) fn open_no_link(path: &Path) -> io::Result<File> {
    // A FIFO of that name must not hold the process up either.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

pub(in super::super) fn open_without_waiting(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

pub(in super::super) fn is_planted(metadata: &Metadata, folder: &Path) -> bool {
    // Without a look at the folder nothing is said against it: then the file is not found either.
    let Ok(folder) = fs::metadata(folder) else { return false };
    let trusted = [geteuid().as_raw(), 0, folder.uid()];
    folder.mode() & 0o002 != 0 && !trusted.contains(&metadata.uid())
}

pub(in super::super) fn inherit_rights(file: &File, replaced: &Metadata) -> io::Result<()> {
    let owner = |metadata: &Metadata| (metadata.uid(), metadata.gid());
    if owner(&file.metadata()?) != owner(replaced) {
        // Only root may give a file away; a group only to its members. What fails is seen below.
        let _ = fchown(file, Some(replaced.uid()), Some(replaced.gid()))
            .or_else(|_| fchown(file, None, Some(replaced.gid())));
    }
    let kept = owner(&file.metadata()?) == owner(replaced);
    let mode = replaced.mode() & if kept { 0o777 } else { 0o700 };
    file.set_permissions(Permissions::from_mode(mode))
}

pub(in super::super) fn belong_to_folder(file: &File, folder: &Path) -> io::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let folder = fs::metadata(folder)?;
    fchown(file, Some(folder.uid()), Some(folder.gid()))
}

pub(in super::super) fn is_in_use(_: &io::Error) -> bool {
    false
}

pub(in super::super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

pub(in super::super) fn opens_alone(_: &Path) -> io::Result<bool> {
    Ok(true)
}
