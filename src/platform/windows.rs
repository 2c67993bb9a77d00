//! Windows.

mod dpapi;
mod files;
mod folders;
mod lock;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub(super) use dpapi::{HAS_DPAPI, dpapi_open, dpapi_protect};
pub(super) use files::{
    belong_to_folder, file_version, has_other_names, inherit_rights, is_foreign, is_in_use,
    is_planted, open_no_link, open_without_waiting, opens_alone, others_may_read, sync_directory,
};
pub(super) use folders::create_private_directory;
pub(super) use lock::{HeldLock, try_lock};
use tokio::signal::windows;

/// A file that somebody writes to can't be opened alone, which is asked instead.
pub(super) const TELLS_OF_CLOSING: bool = false;

pub(super) const VERIFIER_TAKES_EXTRA_ROOTS: bool = false;

/// There, the option would let another program take the port over.
pub(super) const REUSE_ADDRESS: bool = false;

pub(super) fn state_directory() -> PathBuf {
    program_data().join("state")
}

pub(super) fn config_directory() -> PathBuf {
    program_data()
}

/// `%ProgramData%` is the same for a service and for the administrator who sets it up.
fn program_data() -> PathBuf {
    std::env::var_os("ProgramData")
        .map_or_else(|| PathBuf::from(r"C:\ProgramData"), PathBuf::from)
        .join("authbridge")
}

pub(super) fn write_private_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

pub(super) async fn stop_requested() -> io::Result<()> {
    let mut interrupt = windows::ctrl_c()?;
    let mut closed = windows::ctrl_close()?;
    let mut shutdown = windows::ctrl_shutdown()?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = closed.recv() => {}
        _ = shutdown.recv() => {}
    }
    Ok(())
}

/// There is no SIGHUP.
#[derive(Debug)]
pub(super) struct ReloadSignal;

impl ReloadSignal {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    pub(super) async fn received(&mut self) {
        std::future::pending::<()>().await;
    }
}

/// Windows sets no such limit on sockets.
pub(super) fn raise_open_file_limit() -> Option<u64> {
    None
}

/// The default browser, through the system's own program for it. `start` would need a shell, to
/// which the `&` of an address means something.
pub(super) fn open_browser(url: &str) -> io::Result<()> {
    let system = std::env::var_os("SystemRoot")
        .map_or_else(|| PathBuf::from(r"C:\Windows"), PathBuf::from)
        .join("System32");
    std::process::Command::new(system.join("rundll32.exe"))
        .arg("url.dll,FileProtocolHandler")
        .arg(url)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .map(drop)
}
