//! Reading commands after login.

use super::command::{Limits, Malformed};
use super::request::{Request, Verb};

/// How far the command at the start of the input has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestScan {
    /// Synchronising literals seen so far: the client is owed that many `+` in all. The message of
    /// an APPEND is not among them.
    pub continuations: usize,
    /// Whether the command is complete.
    pub progress: RequestProgress,
}

/// See [`RequestScan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestProgress {
    /// More octets are needed.
    Partial,
    /// The command takes this many octets, its last line end included.
    Complete(usize),
    /// An APPEND up to the announcement of its message, line end included, takes this many; then the
    /// message follows, and a line end after it.
    Append(usize),
    /// It exceeds the limits, and where it ends can't be known.
    TooLong,
}

/// Finds the end of the command at the start of `input`.
pub fn scan_request(input: &[u8], limits: Limits) -> RequestScan {
    let _ = (input, limits);
    RequestScan { continuations: 0, progress: RequestProgress::Partial }
}

/// Reads a complete command, or an APPEND up to its message. `utf8`: names are UTF-8, not modified
/// UTF-7 (RFC 9755, RFC 9051).
pub fn parse_request(command: &[u8], utf8: bool) -> Result<Request, Malformed> {
    let _ = (command, utf8);
    Ok(Request { tag: String::new(), verb: Verb::Noop })
}
