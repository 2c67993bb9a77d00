//! `POST …/sendMail` with MIME (Graph page `api/user-sendmail`).
//!
//! Danger: rebuilt as JSON a message loses its headers and alternatives. Rule: what fits into one
//! request goes as the MIME it is.

use super::body::Mime;
use super::client::{Mailbox, Patience, Payload};
use super::outcome::{Failed, HandedOver, Trace, hand_over};

/// Sends `mime`, which leaves `trace`; a copy stays in Sent Items, which this form can't prevent.
pub(super) async fn send_mail(
    mailbox: &Mailbox,
    mime: Mime,
    trace: Trace<'_>,
    patience: &mut Patience,
) -> Result<HandedOver, Failed> {
    hand_over(mailbox, "/sendMail", &Payload::Mime(mime), trace, patience).await
}
