//! Whether a service would take a message, asked without one.
//!
//! Danger: a question that ends in a message, or that leaves a half-begun transaction. Rule: MAIL,
//! RCPT to the sender itself, RSET, never DATA; what is refused is told apart, since a sender that
//! may not send and a mailbox that takes no mail are two different troubles.

use super::connection::Connection;
use super::envelope::{mail_command, rcpt_command};
use super::refusal;
use crate::mail::{self, Address, Recipient, ReversePath};
use crate::upstream::connect::{Failure, Service};

/// What a service said to an envelope.
#[derive(Debug)]
pub enum Trial {
    /// No mailbox is known that could be asked about.
    NotAsked,
    /// It would take a message.
    Accepted,
    /// Not from this sender.
    SenderRefused(mail::Error),
    /// Not to this recipient; other ones may do.
    RecipientRefused(mail::Error),
}

/// Asks with the mailbox as sender and recipient.
pub(super) async fn ask(
    service: &Service,
    connection: &mut Connection,
    mailbox: &Address,
) -> Trial {
    match envelope(service, connection, mailbox).await {
        Ok(trial) => trial,
        Err(failure) => Trial::SenderRefused(service.unavailable(&failure)),
    }
}

async fn envelope(
    service: &Service,
    connection: &mut Connection,
    mailbox: &Address,
) -> Result<Trial, Failure> {
    let limit = connection.timeouts.command;
    let from = ReversePath { address: Some(mailbox.clone()), ..ReversePath::default() };
    let utf8 = connection.extensions.smtputf8 && !mailbox.is_ascii();
    let command = mail_command(&from, &connection.extensions, utf8);
    let reply = connection.command(&command, limit).await?;
    if !reply.is_positive() {
        let what = format!("MAIL FROM:<{mailbox}>");
        return Ok(Trial::SenderRefused(refusal::of_reply(service, &what, &reply)));
    }
    let command = rcpt_command(&Recipient::new(mailbox.clone()), &connection.extensions);
    let reply = connection.command(&command, limit).await?;
    // Some services close instead of answering; there is nothing left to take back then.
    let _ = connection.command("RSET", limit).await;
    Ok(match reply.is_positive() {
        true => Trial::Accepted,
        false => {
            let what = format!("RCPT TO:<{mailbox}>");
            Trial::RecipientRefused(refusal::of_reply(service, &what, &reply))
        }
    })
}
