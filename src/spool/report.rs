//! Delivery status reports (RFC 3464) for what is given up.
//!
//! Danger: a report about a report goes round for ever; one that shows the message to somebody else
//! leaks it; a line break in a service's words becomes a header of ours. Rule: the null reverse-path
//! gets no report; a report goes to the sender or to `Proxy.Spool.BounceTo`, has the null
//! reverse-path itself, and returns the header, or the whole message where the client asked for it;
//! texts from elsewhere are taken apart and written anew, never copied into a field.
//!
//! `multipart/report` is RFC 6522; the fields of `message/delivery-status` are in [`status`], the
//! words for people in [`words`], what comes back of the message in [`original`].

mod original;
mod status;
#[cfg(test)]
mod tests;
mod words;

use std::borrow::Cow;
use std::time::SystemTime;

use bytes::Bytes;
use mail_builder::MessageBuilder;
use mail_builder::headers::address::Address as Mailbox;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::date::Date;
use mail_builder::headers::message_id::MessageId;
use mail_builder::headers::raw::Raw;
use mail_builder::headers::text::Text;
use mail_builder::mime::{BodyPart, MimePart};
use mail_parser::MessageParser;

pub(super) use self::original::Original;
pub(super) use self::words::{plain, shortened};
use crate::mail::{Address, BodyKind, Message, Recipient, ReversePath};
use crate::store::queue::{Entry, RecipientState};

/// The domain of what we name ourselves, as in greetings: the machine's real name helps nobody.
const HOST: &str = "localhost";

/// Longest subject of the message that is repeated in the report's, in characters.
const MAX_SUBJECT: usize = 100;

/// Longest Message-ID that is answered to, in octets: no program makes a longer one.
const MAX_MESSAGE_ID: usize = 250;

/// What a report is made of.
pub(super) struct Facts<'a> {
    /// The entry as it was taken.
    pub entry: &'a Entry,
    /// What has just been settled; those that failed are reported.
    pub settled: &'a [(usize, RecipientState)],
    /// The mailbox that the role sends from, where it is an address.
    pub mailbox: Option<&'a Address>,
    /// `Proxy.Spool.BounceTo`.
    pub bounce_to: Option<&'a Address>,
    /// What may be returned of the message.
    pub original: &'a Original,
    /// When it was tried last; `None`: it never was.
    pub last_attempt: Option<SystemTime>,
    /// When it is reported.
    pub now: SystemTime,
}

/// A report, to be queued like any message.
#[derive(Debug)]
pub(super) struct Report {
    /// The null reverse-path (RFC 3464 section 2, RFC 5321 section 4.5.5).
    pub from: ReversePath,
    /// The sender, or `Proxy.Spool.BounceTo`.
    pub to: Address,
    /// The report.
    pub message: Message,
}

/// A recipient that is reported.
struct Failed<'a> {
    recipient: &'a Recipient,
    status: &'a str,
    reply: &'a str,
}

/// The report on what has failed; `None`: there is nothing to report, or nobody who wants it.
pub(super) fn written(facts: &Facts<'_>) -> Option<Report> {
    let sender = facts.entry.from.address.as_ref()?;
    let failed: Vec<Failed<'_>> =
        facts.settled.iter().filter_map(|one| wanted(facts, one)).collect();
    if failed.is_empty() {
        return None;
    }
    let to = facts.bounce_to.unwrap_or(sender);
    let from = sender_of(facts);
    let returned = returned(facts);
    let from_path = ReversePath {
        body: if returned.is_eight_bit { BodyKind::EightBit } else { BodyKind::SevenBit },
        // An address that is not ASCII stands in From or To as it is (RFC 6532).
        smtputf8: !to.is_ascii() || !from.is_ascii(),
        ..ReversePath::default()
    };
    let body = vec![
        MimePart::new("text/plain", words::text(facts, &failed, returned.is_whole)),
        // RFC 3464 section 2.1: seven bits, and no encoding.
        MimePart::new("message/delivery-status", status::fields(facts, &failed).into_bytes())
            .transfer_encoding("7bit"),
        returned.part,
    ];
    let message = assembled(facts, &from, to, body);
    Some(Report { from: from_path, to: to.clone(), message: Message::from_bytes(message) })
}

/// NOTIFY as RFC 3461 section 4.1 has it: failures are reported when nothing is said.
fn wanted<'a>(facts: &Facts<'a>, settled: &'a (usize, RecipientState)) -> Option<Failed<'a>> {
    let (position, RecipientState::Failed { status, reply }) = settled else { return None };
    let recipient = &facts.entry.recipients.get(*position)?.recipient;
    let asked = recipient.notify.as_deref().is_none_or(|notify| {
        notify.split(',').any(|word| word.trim().eq_ignore_ascii_case("FAILURE"))
    });
    asked.then_some(Failed { recipient, status, reply })
}

/// Services refuse a From that is not the mailbox's.
fn sender_of<'a>(facts: &Facts<'a>) -> Cow<'a, str> {
    match facts.mailbox {
        Some(mailbox) => Cow::Borrowed(mailbox.as_str()),
        None => Cow::Owned(format!("postmaster@{HOST}")),
    }
}

fn assembled(facts: &Facts<'_>, from: &str, to: &Address, body: Vec<MimePart<'_>>) -> Bytes {
    let (subject, message_id) = told_by(&facts.original.header);
    let subject = match subject {
        Some(subject) => format!("Undelivered: {}", words::shortened(&subject, MAX_SUBJECT)),
        None => "Undelivered mail".to_owned(),
    };
    let unique = uuid::Uuid::new_v4();
    let mut builder = MessageBuilder::new()
        .header("From", Mailbox::new_address(Some("Mail Delivery System"), from))
        .header("To", Mailbox::new_address(None::<&str>, to.as_str()))
        .header("Subject", Text::new(subject))
        .header("Date", Date::new(status::seconds(facts.now)))
        .header("Message-ID", MessageId::new(format!("{unique}@{HOST}")))
        // RFC 3834 section 5: an answer that no person has written. Exchange, which does not keep the
        // null reverse-path, looks at the field below it before it sends an out-of-office answer.
        .header("Auto-Submitted", Raw::new("auto-replied"))
        .header("X-Auto-Response-Suppress", Raw::new("All"));
    // RFC 3834 section 3.1.5: a program shows the report beside the message.
    if let Some(id) = message_id {
        builder = builder
            .header("In-Reply-To", MessageId::new(id.clone()))
            .header("References", MessageId::new(id));
    }
    let report = ContentType::new("multipart/report")
        .attribute("report-type", "delivery-status")
        .attribute("boundary", format!("report-{}", unique.simple()));
    let mut bytes: Vec<u8> = Vec::new();
    builder.body(MimePart::new(report, body)).serialize(&mut bytes);
    bytes.into()
}

/// Subject and Message-ID of the message, where it has usable ones.
fn told_by(header: &[u8]) -> (Option<String>, Option<String>) {
    let Some(parsed) = MessageParser::new().parse_headers(header) else { return (None, None) };
    let subject = parsed.subject().map(words::plain).filter(|text| !text.trim().is_empty());
    let is_usable = |id: &&str| {
        let plain = id.bytes().all(|octet| octet.is_ascii_graphic() && !b"<>".contains(&octet));
        plain && !id.is_empty() && id.len() <= MAX_MESSAGE_ID
    };
    let message_id = parsed.message_id().filter(is_usable).map(str::to_owned);
    (subject, message_id)
}

/// The part that returns the message.
struct Returned<'a> {
    part: MimePart<'a>,
    is_whole: bool,
    is_eight_bit: bool,
}

/// RFC 6522 section 3 (the third part) and section 4 (`text/rfc822-headers`).
fn returned<'a>(facts: &Facts<'a>) -> Returned<'a> {
    let original = facts.original;
    if let Some(whole) = original.whole_if_returnable() {
        let is_eight_bit = !whole.is_ascii();
        let encoding = if is_eight_bit { "8bit" } else { "7bit" };
        // RFC 2046 section 5.2.1: no other encoding is allowed for it.
        let part = MimePart::new("message/rfc822", &whole[..]).transfer_encoding(encoding);
        return Returned { part, is_whole: true, is_eight_bit };
    }
    let header = original.header_lines();
    let content_type = ContentType::new("text/rfc822-headers");
    let part = MimePart::new(content_type, BodyPart::Binary(header.into()));
    let part = match original::is_seven_bit(header) {
        true => part.transfer_encoding("7bit"),
        // Encoded as text: "broken headers may be encoded in quoted-printable" (section 4).
        false => part,
    };
    Returned { part, is_whole: false, is_eight_bit: false }
}
