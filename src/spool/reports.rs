//! Whether what was given up is reported, and to whom.
use std::sync::Arc;

use super::Inner;
use crate::mail::{Message, Recipient, ReversePath};
use crate::store::queue::{Entry, QueuedRecipient};

/// A report on its way.
pub(super) struct Report {
    pub from: ReversePath,
    pub recipients: Vec<Recipient>,
    pub message: Message,
}

/// The report about `failed`, where there is one to be sent.
pub(super) async fn report(
    spool: &Inner,
    entry: &Entry,
    failed: &[QueuedRecipient],
    message: Option<&Arc<Message>>,
) -> Option<Report> {
    let _ = (spool, entry, failed, message);
    None
}
