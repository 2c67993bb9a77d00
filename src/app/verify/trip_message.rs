//! The test message: one that can be told from all others, and that says what it is.
//!
//! Danger: a test message that looks like spam is treated as such, and one that looks like a
//! person's is answered by their absence notice. Rule: a Message-ID of its own, plain words, and
//! `Auto-Submitted` (RFC 3834 section 5).

use std::sync::Arc;

use bytes::Bytes;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use uuid::Uuid;

use crate::mail::{Address, Message};

/// A message on its way.
pub(super) struct TripMessage {
    /// With its brackets.
    pub message_id: String,
    pub message: Arc<Message>,
}

impl TripMessage {
    /// `from`: `None` where only the service knows the mailbox's address, and writes it itself.
    pub fn new(role: &str, from: Option<&Address>, to: &Address, now: OffsetDateTime) -> Self {
        let id = Uuid::new_v4();
        let domain = from.map_or(to.domain(), Address::domain);
        // A domain that is no plain name (a literal, another script) makes no good Message-ID.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        let domain = match !domain.is_empty() && domain.bytes().all(plain) {
            true => domain,
            false => "authbridge.invalid",
        };
        let message_id = format!("<authbridge-test-{id}@{domain}>");
        let date =
            now.format(&Rfc2822).unwrap_or_else(|_| "Thu, 01 Jan 1970 00:00:00 +0000".into());
        let from = from.map(|from| format!("From: {from}\r\n")).unwrap_or_default();
        let role: String = role.chars().filter(|c| c.is_ascii_graphic()).collect();
        let text = format!(
            "Date: {date}\r\n{from}To: {to}\r\nSubject: authbridge test {id}\r\n\
             Message-ID: {message_id}\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=us-ascii\r\n\r\n\
             This is a test message of authbridge. Somebody asked it to prove that the role\r\n\
             {role} can send. There is nothing to do; it may be deleted.\r\n"
        );
        Self { message_id, message: Arc::new(Message::from_bytes(Bytes::from(text))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_one_of_its_kind() {
        let address = |text| Address::parse(text).expect("valid");
        let (from, to) = (address("a@b.example"), address("c@d.example"));
        let make = |from: Option<&Address>| {
            TripMessage::new("Mail.Sending", from, &to, OffsetDateTime::UNIX_EPOCH)
        };
        let (one, other) = (make(Some(&from)), make(None));
        assert_ne!(one.message_id, other.message_id);
        let header = String::from_utf8_lossy(&one.message.header).into_owned();
        for line in [
            "From: a@b.example",
            "To: c@d.example",
            "Auto-Submitted: auto-generated",
            "Date: Thu, 01 Jan 1970 00:00:00 +0000",
            &format!("Message-ID: {}", one.message_id),
        ] {
            assert!(header.lines().any(|own| own == line), "{line} in\n{header}");
        }
        assert!(one.message_id.ends_with("@b.example>"), "{}", one.message_id);
        assert!(other.message_id.ends_with("@d.example>"), "{}", other.message_id);
        assert!(!String::from_utf8_lossy(&other.message.header).contains("From:"));
        let literal = address("x@[192.0.2.1]");
        let odd = TripMessage::new("R", Some(&literal), &to, OffsetDateTime::UNIX_EPOCH);
        assert!(odd.message_id.ends_with("@authbridge.invalid>"), "{}", odd.message_id);
    }
}
