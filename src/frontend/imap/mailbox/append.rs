//! APPEND.
//!
//! Danger and rule: written by another hand; until then it refuses.

use super::{Outcome, Session};
use crate::protocol::imap::request;

/// Reads the message and stores it.
pub(super) async fn run(session: &mut Session, tag: &str, append: &request::Append) -> Outcome {
    let _ = (session, tag, append);
    Ok("NO not yet".to_owned())
}
