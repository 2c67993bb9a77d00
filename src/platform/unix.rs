//! Linux and other Unix systems.

mod browser;
mod files;
mod lock;

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub(super) use browser::open_browser;
pub(super) use files::{
    belong_to_folder, file_version, has_other_names, inherit_rights, is_foreign, is_in_use,
    is_planted, open_no_link, open_without_waiting, opens_alone, others_may_read, sync_directory,
};
pub(super) use lock::{HeldLock, try_lock};
use zeroize::Zeroizing;

use super::{DpapiError, DpapiScope};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// inotify(7) does, `IN_CLOSE_WRITE`; others do not.
pub(super) const TELLS_OF_CLOSING: bool = cfg!(any(target_os = "linux", target_os = "android"));

pub(super) const VERIFIER_TAKES_EXTRA_ROOTS: bool = true;

/// A restarted proxy gets its port back while old connections linger.
pub(super) const REUSE_ADDRESS: bool = true;

/// Root's services keep state under `/var/lib` (Filesystem Hierarchy Standard 5.8); a user's
/// programs under `$XDG_STATE_HOME` (XDG Base Directory Specification).
pub(super) fn state_directory() -> PathBuf {
    if let Some(path) = systemd("STATE_DIRECTORY") {
        return path;
    }
    match home() {
        Some(home) => variable("XDG_STATE_HOME")
            .unwrap_or_else(|| home.join(".local/state"))
            .join("authbridge"),
        None => PathBuf::from("/var/lib/authbridge"),
    }
}

pub(super) fn config_directory() -> PathBuf {
    if let Some(path) = systemd("CONFIGURATION_DIRECTORY") {
        return path;
    }
    match home() {
        Some(home) => {
            variable("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")).join("authbridge")
        }
        None => PathBuf::from("/etc/authbridge"),
    }
}

/// systemd gives a service its folders as a list of absolute paths (systemd.exec).
fn systemd(name: &str) -> Option<PathBuf> {
    let value = std::env::var(name).ok()?;
    value.split(':').next().filter(|path| path.starts_with('/')).map(PathBuf::from)
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// The home folder of an ordinary user; root and services have none that counts.
fn home() -> Option<PathBuf> {
    variable("HOME").filter(|home| home != Path::new("/root") && home != Path::new("/"))
}

pub(super) fn write_private_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

pub(super) fn create_private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

pub(super) async fn stop_requested() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// SIGHUP; its default would end the process and every session with it.
#[derive(Debug)]
pub(super) struct ReloadSignal(Signal);

impl ReloadSignal {
    pub(super) fn new() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    pub(super) async fn received(&mut self) {
        // `None` would mean that none can come any more.
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// Each session holds two sockets, and the usual soft limit is 1,024.
pub(super) fn raise_open_file_limit() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

pub(super) const HAS_DPAPI: bool = false;

pub(super) fn dpapi_protect(_: &[u8], _: DpapiScope) -> Result<Vec<u8>, DpapiError> {
    Err(DpapiError::Absent)
}

pub(super) fn dpapi_open(_: &[u8]) -> Result<Zeroizing<Vec<u8>>, DpapiError> {
    Err(DpapiError::Absent)
}

#[cfg(test)]
mod tests;
