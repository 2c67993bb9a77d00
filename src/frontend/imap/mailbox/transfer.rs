//! COPY and MOVE.
//!
//! Danger and rule: written by another hand; until then it refuses.

use super::{Outcome, Session};
use crate::protocol::imap::request::Transfer;

/// COPY and UID COPY.
pub(super) async fn copy(session: &mut Session, transfer: &Transfer) -> Outcome {
    let _ = (session, transfer);
    Ok("NO not yet".to_owned())
}

/// MOVE and UID MOVE.
pub(super) async fn move_to(session: &mut Session, transfer: &Transfer) -> Outcome {
    let _ = (session, transfer);
    Ok("NO not yet".to_owned())
}
