//! FETCH.
//!
//! Danger and rule: written by another hand; until then it refuses.

use super::{Outcome, Session};
use crate::protocol::imap::request;

/// FETCH and UID FETCH.
pub(super) async fn run(session: &mut Session, fetch: &request::Fetch) -> Outcome {
    let _ = (session, fetch);
    Ok("NO not yet".to_owned())
}
