//! What an administrator is shown of a message that waits: a few header fields.
//!
//! Danger: the administrator of a relay is not the reader of its mail; a field is written by
//! whoever sent the message and may steer the program that shows it. Rule: the fields that tell one
//! message from another are shown, the content never; texts are shown on one line, without controls.

use std::io;

use mail_parser::{Address, MessageParser};

use super::report::{Original, plain, shortened};
use crate::mail::Message;

/// Longest value, in characters.
const MAX_VALUE: usize = 500;

/// Addresses of a field that are shown.
const MAX_ADDRESSES: usize = 20;

/// The header of a message that waits.
#[derive(Clone, Debug)]
pub struct Heading(Original);

impl Heading {
    /// Reads the header; of a very long one the beginning.
    pub async fn read(message: &Message) -> io::Result<Self> {
        Original::read(message, None).await.map(Self)
    }

    /// From, To, Subject, Date and Message-ID where there are such, decoded.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let Some(parsed) = MessageParser::new().parse_headers(&self.0.header) else {
            return Vec::new();
        };
        let raw = |name: &'static str| parsed.header_raw(name).map(str::trim).unwrap_or_default();
        let all = [
            ("From", addresses(parsed.from())),
            ("To", addresses(parsed.to())),
            ("Subject", parsed.subject().unwrap_or_default().to_owned()),
            ("Date", raw("Date").to_owned()),
            ("Message-ID", raw("Message-ID").to_owned()),
        ];
        let shown = all.into_iter().filter(|(_, value)| !value.is_empty());
        shown.map(|(name, value)| (name, shortened(&value, MAX_VALUE))).collect()
    }

    /// All lines of the header.
    pub fn lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(self.0.header_lines());
        text.lines().map(|line| plain(line.trim_end_matches('\r'))).collect()
    }
}

fn addresses(list: Option<&Address<'_>>) -> String {
    let Some(list) = list else { return String::new() };
    let one = |addr: &mail_parser::Addr<'_>| {
        let address = addr.address().unwrap_or_default();
        match addr.name() {
            Some(name) => format!("{name} <{address}>"),
            None => address.to_owned(),
        }
    };
    let mut shown: Vec<String> = list.iter().take(MAX_ADDRESSES).map(one).collect();
    if list.iter().nth(MAX_ADDRESSES).is_some() {
        shown.push("\u{2026}".to_owned());
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    async fn heading(text: &str) -> Heading {
        let message = Message::from_bytes(Bytes::from(text.to_owned()));
        Heading::read(&message).await.expect("memory")
    }

    #[tokio::test]
    async fn the_fields_that_tell_messages_apart_are_shown() {
        let text = "Received: x\r\nFrom: =?utf-8?Q?J=C3=BCrgen?= <j@e.example>\r\n\
            To: a@e.example,\r\n b@e.example\r\nSubject: =?utf-8?Q?a=1B[2J=0D=0Ab?=\r\n\
            Date: Mon, 24 Nov 2025 16:00:00 +0000\r\nMessage-ID: <m7@e.example>\r\n\r\nthe body\r\n";
        let fields = heading(text).await.fields();
        let expected = [
            ("From", "J\u{fc}rgen <j@e.example>"),
            ("To", "a@e.example, b@e.example"),
            ("Subject", "a?[2J??b"),
            ("Date", "Mon, 24 Nov 2025 16:00:00 +0000"),
            ("Message-ID", "<m7@e.example>"),
        ];
        let expected = expected.map(|(name, value)| (name, value.to_owned()));
        assert_eq!(fields, expected);
        let lines = heading(text).await.lines();
        assert_eq!((lines.len(), lines[0].as_str()), (7, "Received: x"));
    }

    #[tokio::test]
    async fn a_message_without_usable_fields_shows_none() {
        for text in ["", "\r\nbody", "no colon\r\n\r\nx", "X: \0\u{1b}\r\n"] {
            assert_eq!(heading(text).await.fields(), [], "{text:?}");
        }
        let many = format!("To: {}\r\n\r\n", vec!["a@e.example"; 500].join(",\r\n "));
        let fields = heading(&many).await.fields();
        assert_eq!(fields[0].1.matches('@').count(), MAX_ADDRESSES);
        assert!(heading("X: \u{1b}[2J\u{202e}y\r\n").await.lines()[0].starts_with("X: ?[2J?y"));
    }
}
