//! `POST …/sendMail` with MIME (Graph page `api/user-sendmail`).
//!
//! Danger: rebuilt as JSON a message loses its headers and alternatives. Rule: what fits into one
//! request goes as the MIME it is.

use super::body::Mime;
use super::client::{Mailbox, Patience, Payload};
use super::outcome::{HandedOver, Trace, hand_over};
use crate::mail::Error;

/// Sends `mime`; a copy stays in Sent Items, which this form can't prevent.
pub(super) async fn send_mail(
    mailbox: &Mailbox,
    mime: Mime,
    message_id: Option<&str>,
    patience: &mut Patience,
) -> Result<HandedOver, Error> {
    let trace = Trace::SentItems(message_id);
    hand_over(mailbox, "/sendMail", &Payload::Mime(mime), trace, patience).await
}
