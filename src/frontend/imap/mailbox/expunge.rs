//! EXPUNGE.
//!
//! Danger and rule: written by another hand; until then it refuses.

use super::{Outcome, Session};
use crate::protocol::imap::request::SequenceSet;

/// EXPUNGE, or UID EXPUNGE of a set.
pub(super) async fn run(session: &mut Session, set: Option<&SequenceSet>) -> Outcome {
    let _ = (session, set);
    Ok("NO not yet".to_owned())
}
