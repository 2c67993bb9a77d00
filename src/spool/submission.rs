//! What stands before a sending role: sends at once, or writes down.
//!
//! Danger: a 250 for what is neither sent nor on the disk; a message that is both sent and queued.
//! Rule: a transaction ends in exactly one of sent, written down, or refused.

use std::sync::Arc;

use super::Inner;
use crate::config::SpoolMode;
use crate::mail::Submission;

/// A role with pace and spool.
pub(super) struct Spooled;

impl Spooled {
    #[expect(clippy::new_ret_no_self, reason = "callers need the trait only")]
    pub fn new(spool: &Arc<Inner>, role: &str, _mode: SpoolMode) -> Option<Arc<dyn Submission>> {
        Some(Arc::clone(&spool.route(role)?.upstream))
    }
}
