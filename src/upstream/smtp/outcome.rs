//! What a message must be for a service, and what has become of it.
//!
//! Danger: "refused" told for a message that was taken is sent twice, "taken" told for one that was
//! refused is lost. Rule: only a positive answer after the last octet is success; no answer then is
//! an unknown outcome; everything before it sent nothing.

use super::connection::Connection;
use super::delivery::Interrupted;
use super::refusal;
use crate::mail::{self, BodyKind, Delivered, Kind, Message, ReversePath, SmtpReply};
use crate::protocol::smtp::reply::{Extensions, Reply};
use crate::upstream::connect::Service;

/// Refuses what the service said that it does not take. 8-bit content without 8BITMIME is refused
/// only when the client declared it (RFC 6152 section 3): an application that does not declare it
/// has been sending just that to just this service, and services are 8-bit clean.
pub(super) async fn check_message(
    service: &Service,
    offered: &Extensions,
    from: &ReversePath,
    message: &Message,
) -> Result<(), mail::Error> {
    let size = message.size();
    if let Some(max) = offered.max_size.filter(|max| size > *max) {
        return Err(too_large(service, size, max));
    }
    if from.smtputf8 && !offered.smtputf8 && !message.header.is_ascii() {
        return Err(no_utf8(service));
    }
    let declared = from.body == BodyKind::EightBit && !offered.eight_bit_mime;
    if declared && !is_seven_bit(service, message).await? {
        let words = "does not take 8-bit content (8BITMIME), which this message has";
        let reply = SmtpReply::new(554, (5, 6, 3), "The mail service takes 7-bit content only");
        return Err(service.error(Kind::Unsupported, words).with_reply(reply));
    }
    Ok(())
}

async fn is_seven_bit(service: &Service, message: &Message) -> Result<bool, mail::Error> {
    let mut reader = message.reader();
    while let Some(piece) = reader.next().await.map_err(|error| unreadable(service, error))? {
        if !piece.is_ascii() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What has become of the message.
pub(super) fn conclude(
    service: &Service,
    connection: &mut Connection,
    outcome: Result<Reply, Interrupted>,
) -> Result<Delivered, mail::Error> {
    match outcome {
        Ok(reply) if reply.is_positive() => {
            connection.needs_reset = false;
            connection.messages += 1;
            Ok(Delivered { note: reply.text(), queued: false })
        }
        Ok(reply) if reply.code >= 400 => {
            connection.messages += 1;
            Err(refusal::of_reply(service, "the message", &reply))
        }
        Ok(reply) => {
            connection.distrust();
            Err(unknown(service, format!("answered the message with {reply}")))
        }
        Err(Interrupted::Refused(reply)) => {
            Err(refusal::of_reply(service, "the start of the message", &reply))
        }
        Err(Interrupted::NotBegun(failure) | Interrupted::Before(failure)) => {
            Err(service.unavailable(&failure))
        }
        Err(Interrupted::Content(error)) => Err(unreadable(service, error)),
        Err(Interrupted::After(failure)) => Err(unknown(service, failure.to_string())),
    }
}

fn unknown(service: &Service, words: String) -> mail::Error {
    let words = format!("{words}, after the whole message was handed over: it may have been sent");
    service.error(Kind::OutcomeUnknown, words)
}

fn unreadable(service: &Service, error: std::io::Error) -> mail::Error {
    let words = "was not given the message: its temporary file cannot be read";
    service.error(Kind::Unavailable, words).with_source(error)
}

pub(super) fn too_large(service: &Service, size: u64, max: u64) -> mail::Error {
    let words = format!("takes {max} octets, the message has {size}");
    let text = format!("Message too large for the mail service, which takes {max} octets");
    service.error(Kind::TooLarge, words).with_reply(SmtpReply::new(552, (5, 3, 4), text))
}

pub(super) fn no_utf8(service: &Service) -> mail::Error {
    let words = "does not take addresses or headers in UTF-8 (SMTPUTF8)";
    let reply = SmtpReply::new(550, (5, 6, 7), "The mail service takes ASCII addresses only");
    service.error(Kind::Unsupported, words).with_reply(reply)
}

pub(super) fn no_recipients(service: &Service) -> mail::Error {
    let reply = SmtpReply::new(554, (5, 5, 1), "No valid recipients");
    service.error(Kind::Rejected, "accepted no recipient").with_reply(reply)
}

/// The same error once more, without its cause.
pub(super) fn again(error: &mail::Error) -> mail::Error {
    let copy = mail::Error::new(error.kind, error.text.clone());
    match &error.reply {
        Some(reply) => copy.with_reply(reply.clone()),
        None => copy,
    }
}
