//! The right to use a state folder.
//!
//! Danger: two processes that send from one queue send twice. Rule: who sends, or gives back what a
//! process that died was sending, holds this lock; the system gives it back however the process ends.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// The file in the state folder whose lock it is.
const FILE: &str = "authbridge.lock";

/// Takes the lock, for as long as the file is open; `None`: another process has it.
pub fn try_lock(folder: &Path) -> io::Result<Option<File>> {
    let file = File::create(folder.join(FILE))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_has_the_lock() {
        let folder = tempfile::tempdir().expect("folder");
        let held = try_lock(folder.path()).expect("made");
        assert!(held.is_some());
        assert!(try_lock(folder.path()).expect("there").is_none());
        drop(held);
        assert!(try_lock(folder.path()).expect("there").is_some());
        assert!(try_lock(&folder.path().join("none")).is_err());
    }
}
