//! STORE.
//!
//! Danger and rule: written by another hand; until then it refuses.

use super::{Outcome, Session};
use crate::protocol::imap::request;

/// STORE and UID STORE.
pub(super) async fn run(session: &mut Session, store: &request::Store) -> Outcome {
    let _ = (session, store);
    Ok("NO not yet".to_owned())
}
