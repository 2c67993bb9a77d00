//! SEARCH.
//!
//! Danger and rule: written by another hand; until then it refuses.

use super::{Outcome, Session};
use crate::protocol::imap::request;

/// SEARCH and UID SEARCH.
pub(super) async fn run(session: &mut Session, search: &request::Search) -> Outcome {
    let _ = (session, search);
    Ok("NO not yet".to_owned())
}
