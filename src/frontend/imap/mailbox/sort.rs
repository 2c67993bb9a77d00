//! SORT and THREAD.
//!
//! Danger and rule: written by another hand; until then it refuses.

use super::{Outcome, Session};
use crate::protocol::imap::request::{Search, SortKey, ThreadAlgorithm};

/// SORT and UID SORT.
pub(super) async fn run(session: &mut Session, keys: &[SortKey], search: &Search) -> Outcome {
    let _ = (session, keys, search);
    Ok("NO not yet".to_owned())
}

/// THREAD and UID THREAD.
pub(super) async fn thread(
    session: &mut Session,
    algorithm: ThreadAlgorithm,
    search: &Search,
) -> Outcome {
    let _ = (session, algorithm, search);
    Ok("NO not yet".to_owned())
}
