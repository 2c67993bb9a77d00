//! What differs between Linux and Windows, and nothing else.
//!
//! Danger: a `cfg` in the middle of mail code is a branch that one of the two platforms never
//! tests. Rule: both platforms offer the same functions here, and no other room names a platform.

use std::path::{Path, PathBuf};

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
pub fn write_private_file(path: &Path, content: &[u8]) -> std::io::Result<()> {
    native::write_private_file(path, content)
}

/// Creates a folder, and those above it, for its owner only.
pub fn create_private_directory(path: &Path) -> std::io::Result<()> {
    native::create_private_directory(path)
}

/// Waits until the process is asked to stop: SIGINT or SIGTERM; Ctrl-C, close or shutdown on
/// Windows.
pub async fn stop_requested() -> std::io::Result<()> {
    native::stop_requested().await
}

/// Raises the limit of open files as far as the system allows, and returns it where there is one.
pub fn raise_open_file_limit() -> Option<u64> {
    native::raise_open_file_limit()
}

/// Opens a web page in the person's browser, without waiting for it. An error when there is no
/// browser to be expected here, as on a server without a screen.
///
/// No shell takes part, and nothing but a web address is passed on: it comes from a configuration.
pub fn open_browser(url: &str) -> std::io::Result<()> {
    match url.starts_with("https://") || url.starts_with("http://") {
        true => native::open_browser(url),
        false => Err(std::io::Error::other("that is no web address")),
    }
}

#[cfg(test)]
mod browser_tests {
    use super::*;

    #[test]
    fn only_web_addresses_are_opened() {
        for url in ["", "file:///etc/passwd", "--help", "javascript:alert(1)", "calc.exe"] {
            let refused = open_browser(url).expect_err(url);
            assert_eq!(refused.to_string(), "that is no web address", "{url}");
        }
    }
}
