//! What differs between Linux and Windows, and nothing else.
//!
//! Danger: a `cfg` in the middle of mail code is a branch that one of the two platforms never
//! tests. Rule: both platforms offer the same functions here, and no other room names a platform.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix as native;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as native;

/// False where the system's certificate verifier refuses roots beside its own: then the roots of
/// `Proxy.Upstream.CaPath` stand alone.
pub const VERIFIER_TAKES_EXTRA_ROOTS: bool = native::VERIFIER_TAKES_EXTRA_ROOTS;

/// Whether listeners set SO_REUSEADDR, which means different things on the two platforms.
pub const REUSE_ADDRESS: bool = native::REUSE_ADDRESS;

/// Whether a folder's events tell that a file was closed by who wrote it.
pub const TELLS_OF_CLOSING: bool = native::TELLS_OF_CLOSING;

/// Where state is kept when `Proxy.StateDirectory` is not set.
pub fn state_directory() -> PathBuf {
    native::state_directory()
}

/// Where `proxy.toml` is looked for after the working directory.
pub fn config_directory() -> PathBuf {
    native::config_directory()
}

/// Writes a new file that only its owner may read; fails when it exists.
///
/// On Windows the folder's access list decides who reads it.
pub fn write_private_file(path: &Path, content: &[u8]) -> io::Result<()> {
    native::write_private_file(path, content)
}

/// Creates a folder, and those above it, for its owner only (on Windows for SYSTEM and Administrators
/// too). One that exists is left as it is.
pub fn create_private_directory(path: &Path) -> io::Result<()> {
    native::create_private_directory(path)
}

/// Waits until the process is asked to stop: SIGINT or SIGTERM; Ctrl-C, close or shutdown on
/// Windows.
pub async fn stop_requested() -> io::Result<()> {
    native::stop_requested().await
}

/// The request to read the configuration again: SIGHUP. Nobody can ask on Windows, where a changed file
/// does it.
#[derive(Debug)]
pub struct ReloadSignal(native::ReloadSignal);

impl ReloadSignal {
    /// From here on SIGHUP no longer ends the process.
    pub fn new() -> io::Result<Self> {
        native::ReloadSignal::new().map(Self)
    }

    /// Waits for the next one; several that came meanwhile are one.
    pub async fn received(&mut self) {
        self.0.received().await;
    }
}

/// Raises the limit of open files as far as the system allows, and returns it where there is one.
pub fn raise_open_file_limit() -> Option<u64> {
    native::raise_open_file_limit()
}

/// Opens a web page in the person's browser, without waiting for it. An error when there is no
/// browser to be expected here, as on a server without a screen.
///
/// No shell takes part, and nothing but a web address is passed on: it comes from a configuration.
pub fn open_browser(url: &str) -> io::Result<()> {
    match url.starts_with("https://") || url.starts_with("http://") {
        true => native::open_browser(url),
        false => Err(io::Error::other("that is no web address")),
    }
}

/// What tells one version of a file from the next, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileVersion {
    /// Which file; 0 where the system does not tell without opening it.
    pub inode: u64,
    /// Octets.
    pub length: u64,
    /// Last change, in the system's finest unit.
    pub modified: u64,
}

/// From one look at the file.
pub fn file_version(metadata: &Metadata) -> FileVersion {
    native::file_version(metadata)
}

/// True when the file belongs to another user than the one this process runs as. Nothing is foreign
/// to root, and on Windows the folder's access list decides.
pub fn is_foreign(metadata: &Metadata) -> bool {
    native::is_foreign(metadata)
}

/// True when the file has more than one name (hard links): it may be another user's, put here by who
/// may not read it. False on Windows, where making one takes the right to write to the file.
pub fn has_other_names(metadata: &Metadata) -> bool {
    native::has_other_names(metadata)
}

/// True when other users may read the file. On Windows the access list decides, which is not
/// looked at.
pub fn others_may_read(metadata: &Metadata) -> bool {
    native::others_may_read(metadata)
}

/// Opens a file for reading, but not what a symbolic link of that name points to.
pub fn open_no_link(path: &Path) -> io::Result<File> {
    native::open_no_link(path)
}

/// Opens a file for reading, also what a symbolic link points to, but never waits: what is no
/// regular file (a pipe that somebody has put there) is an error.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let file = native::open_without_waiting(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
    }
}

/// True when a stranger can have put that file into `folder`: everybody may make files there, and
/// its owner is neither this process's user nor root nor the folder's owner. On Windows the
/// folder's access list decides.
pub fn is_planted(metadata: &Metadata, folder: &Path) -> bool {
    native::is_planted(metadata, folder)
}

/// Gives `file` the owner and the rights of the file that it is going to replace. Who can't give
/// it away lets fewer read it, never more.
pub fn inherit_rights(file: &File, replaced: &Metadata) -> io::Result<()> {
    native::inherit_rights(file, replaced)
}

/// Gives a new file to the owner of its folder when root has made it, so that the service can
/// still read what an administrator has set up.
pub fn belong_to_folder(file: &File, folder: &Path) -> io::Result<()> {
    native::belong_to_folder(file, folder)
}

/// True when another program has the file open in a way that keeps us from it, which passes. On Unix
/// nobody can.
pub fn is_in_use(error: &io::Error) -> bool {
    native::is_in_use(error)
}

/// True when a file can be opened while nobody else has it open, as Windows can tell: a program
/// that writes has the file for itself until it is done. Always true on Unix, which can't tell.
pub fn opens_alone(path: &Path) -> io::Result<bool> {
    native::opens_alone(path)
}

/// Makes a change of names in a folder outlive a power failure, where that takes a call.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    native::sync_directory(path)
}

/// A file that is locked against other processes for as long as it exists; gone afterwards.
#[derive(Debug)]
pub struct LockFile {
    _held: native::HeldLock,
}

impl LockFile {
    /// Takes it, or says `None` when somebody else has it (or may be about to). Never waits long.
    ///
    /// Compatible with .NET's `FileStream` that shares nothing and deletes on close, and with
    /// Python's exclusive creation and `flock`.
    pub fn try_take(path: &Path, content: &str) -> io::Result<Option<Self>> {
        Ok(native::try_lock(path, content)?.map(|held| Self { _held: held }))
    }
}

/// Who can open what DPAPI protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DpapiScope {
    /// The user who has protected it.
    User,
    /// Everybody on this computer.
    Machine,
}

/// Why DPAPI has not done it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DpapiError {
    /// Not on this system.
    #[error("DPAPI exists on Windows only")]
    Absent,
    /// `NTE_BAD_KEY_STATE`: the key belongs to another user or another computer.
    #[error(
        "another Windows user or another computer has protected it, or the user's password was \
         reset by an administrator since"
    )]
    OtherKey,
    /// `ERROR_INVALID_DATA`.
    #[error("it is damaged, or was protected with additional entropy")]
    Damaged,
    /// Anything else, with Windows' code.
    #[error("Windows refuses with error {0:#010x}")]
    Refused(u32),
}

/// Whether new files can be protected by DPAPI.
pub const HAS_DPAPI: bool = native::HAS_DPAPI;

/// Protects data (`CryptProtectData`), without additional entropy and never asking anybody.
pub fn dpapi_protect(data: &[u8], scope: DpapiScope) -> Result<Vec<u8>, DpapiError> {
    native::dpapi_protect(data, scope)
}

/// Opens what [`dpapi_protect`] or anybody else has protected (`CryptUnprotectData`).
pub fn dpapi_open(blob: &[u8]) -> Result<Zeroizing<Vec<u8>>, DpapiError> {
    native::dpapi_open(blob)
}

#[cfg(test)]
mod tests;
