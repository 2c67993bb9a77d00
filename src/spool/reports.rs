//! Whether what was given up is reported, and to whom.
//!
//! Danger: a message that was answered 250 goes, and nobody hears of it. Rule: what fails is reported
//! in the transaction that says so; where no report can be made the log says it loudly, and the
//! message stays in the dead-letter list in any case.

use std::time::SystemTime;

use super::Inner;
use super::report::{Facts, Original, Report, written};
use crate::mail::{Address, Message};
use crate::store::queue::{Entry, RecipientState};

/// The report about what has just been settled, where there is one to be sent.
pub(super) async fn report(
    spool: &Inner,
    entry: &Entry,
    settled: &[(usize, RecipientState)],
    last_attempt: SystemTime,
    message: Option<&Message>,
) -> Option<Report> {
    let has_failed =
        |(_, state): &(usize, RecipientState)| matches!(state, RecipientState::Failed { .. });
    if !settled.iter().any(has_failed) {
        return None;
    }
    let original = returnable(entry, message).await;
    let mailbox = spool
        .route(&entry.role)
        .and_then(|route| Address::parse(&route.role.mailbox(entry.login.as_deref())?).ok());
    let bounce_to = spool.settings().bounce_to.and_then(|to| Address::parse(&to).ok());
    written(&Facts {
        entry,
        settled,
        mailbox: mailbox.as_ref(),
        bounce_to: bounce_to.as_ref(),
        original: &original,
        last_attempt: Some(last_attempt),
        now: SystemTime::now(),
    })
}

/// A report without the header is still one.
async fn returnable(entry: &Entry, message: Option<&Message>) -> Original {
    let Some(message) = message else { return Original::default() };
    match Original::read(message, entry.from.ret).await {
        Ok(original) => original,
        Err(error) => {
            let (role, id) = (&entry.role, entry.id);
            tracing::error!(role, %id, "a report goes without the message's header: {error}");
            Original::default()
        }
    }
}
