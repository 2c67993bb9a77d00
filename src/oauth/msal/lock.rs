//! The lock file that MSAL's own helpers take (facts/msal-cache.md section 2).
//!
//! `{cache}.lockfile`: .NET opens it for itself alone and deletes it on closing, Python creates it
//! exclusively and locks it; both retry. Danger: a lock that is left behind costs Python 5 seconds
//! for each access, and one that is never given up holds every mailbox. Rule: held only while the
//! file is read and replaced, gone with the process, and waited for no longer than .NET does.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::platform::{self, LockFile};

/// As .NET's helper: every 100 ms, 600 times.
const RETRY: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_secs(60);

/// A file that is being deleted, or another user's that is held for a moment, can't be opened.
/// What lasts longer is a matter of rights.
const DENIED_LIMIT: Duration = Duration::from_secs(2);

/// Who holds it is shown so far.
const MAX_HOLDER: u64 = 80;

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub(super) enum LockError {
    /// Somebody else's, all the time.
    #[error("it is locked by another program ({0}) and was for {1} seconds; it is tried again")]
    Busy(String, u64),
    /// Can't be made.
    #[error(
        "its lock file {0} can't be made: {1}; the user who runs authbridge needs the right to \
         make files in that folder"
    )]
    Unavailable(String, io::Error),
}

/// Takes the lock of that cache. Waits: not for threads that serve sessions.
pub(super) fn take(cache: &Path) -> Result<LockFile, LockError> {
    take_within(&beside(cache), LIMIT)
}

fn take_within(path: &Path, limit: Duration) -> Result<LockFile, LockError> {
    let content = format!("{} authbridge", std::process::id());
    match wait(limit, || LockFile::try_take(path, &content)) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(LockError::Busy(holder(path), limit.as_secs())),
        Err(error) => Err(LockError::Unavailable(path.display().to_string(), error)),
    }
}

/// Tries until it succeeds; `None` after `limit`.
fn wait<T>(
    limit: Duration,
    mut attempt: impl FnMut() -> io::Result<Option<T>>,
) -> io::Result<Option<T>> {
    let started = Instant::now();
    let mut denied: Option<Instant> = None;
    loop {
        match attempt() {
            Ok(Some(taken)) => return Ok(Some(taken)),
            Ok(None) => denied = None,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let since = *denied.get_or_insert_with(Instant::now);
                if since.elapsed() >= DENIED_LIMIT.min(limit) {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
        if started.elapsed() >= limit {
            return Ok(None);
        }
        std::thread::sleep(RETRY);
    }
}

/// The cache's name with `.lockfile` behind it.
pub(super) fn beside(cache: &Path) -> PathBuf {
    let mut name = cache.as_os_str().to_owned();
    name.push(".lockfile");
    name.into()
}

/// "pid program", as its holder has written it.
fn holder(path: &Path) -> String {
    let mut content = Vec::new();
    let read = platform::open_no_link(path)
        .and_then(|file| file.take(MAX_HOLDER).read_to_end(&mut content));
    let text: String = match read {
        Ok(_) => String::from_utf8_lossy(&content).chars().filter(|c| !c.is_control()).collect(),
        Err(_) => String::new(),
    };
    match text.trim() {
        "" => "which does not say its name".to_owned(),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
