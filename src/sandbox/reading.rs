//! What a message says, read once: its header for listings, its body when somebody asks.
//!
//! Danger: parsing ten thousand messages for each page would make a test of speed measure the
//! sandbox. Rule: the header alone is parsed for what listings show, the whole message only for
//! preview and attachments, and both are kept beside the bytes they were read from.

use mail_parser::{Address, Message, MessageParser};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::mime;

/// What the header says, as Graph's JSON has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub subject: String,
    pub message_id: Option<String>,
    pub in_reply_to: Option<String>,
    pub references: Option<String>,
    pub sent: Option<OffsetDateTime>,
    pub from: Value,
    pub sender: Value,
    pub to: Value,
    pub cc: Value,
    pub bcc: Value,
    pub reply_to: Value,
    /// `name`, `value` of each field.
    pub fields: Vec<(String, String)>,
}

impl Head {
    pub fn read(raw: &[u8]) -> Self {
        let header = &raw[..mime::header_length(raw)];
        let fields: Vec<(String, String)> = mime::fields(header).into_iter().map(split).collect();
        let value = |name: &str| {
            let found = fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone())
        };
        let named = Self {
            message_id: value("Message-ID"),
            in_reply_to: value("In-Reply-To"),
            references: value("References"),
            ..Self::default()
        };
        let Some(message) = MessageParser::default().parse_headers(header) else {
            return Self { fields, to: json!([]), cc: json!([]), bcc: json!([]), ..named };
        };
        let sent = message
            .date()
            .and_then(|date| OffsetDateTime::from_unix_timestamp(date.to_timestamp()).ok());
        Self {
            subject: message.subject().unwrap_or_default().to_owned(),
            sent,
            from: first(message.from()),
            sender: first(message.sender().or(message.from())),
            to: addresses(message.to()),
            cc: addresses(message.cc()),
            bcc: addresses(message.bcc()),
            reply_to: addresses(message.reply_to()),
            fields,
            ..named
        }
    }
}

fn split(field: &[u8]) -> (String, String) {
    let name = mime::field_name(field);
    let value = field.get(name.len()..).unwrap_or_default();
    let value = String::from_utf8_lossy(value).replace(['\r', '\n'], "");
    let value = value.trim_start_matches([':', ' ', '\t']).trim_end().to_owned();
    (String::from_utf8_lossy(name).into_owned(), value)
}

fn first(list: Option<&Address<'_>>) -> Value {
    addresses(list).get(0).cloned().unwrap_or(Value::Null)
}

fn addresses(list: Option<&Address<'_>>) -> Value {
    let one = |addr: &mail_parser::Addr<'_>| {
        let address = addr.address().unwrap_or_default();
        json!({"emailAddress": {"name": addr.name().unwrap_or(address), "address": address}})
    };
    list.map(|list| list.iter().map(one).collect()).unwrap_or_else(|| json!([]))
}

/// What the body says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Text {
    pub preview: String,
    pub has_files: bool,
    pub html: bool,
    pub content: String,
}

impl Text {
    pub fn read(raw: &[u8]) -> Self {
        let Some(message) = mime::parse(raw) else { return Self::default() };
        let html = message.html_body.first().is_some_and(|_| is_html(&message));
        let content = if html { message.body_html(0) } else { message.body_text(0) };
        Self {
            preview: message.body_preview(255).unwrap_or_default().into_owned(),
            has_files: message.attachment_count() > 0,
            html,
            content: content.unwrap_or_default().into_owned(),
        }
    }
}

fn is_html(message: &Message<'_>) -> bool {
    message.html_part(0).is_some_and(mail_parser::MessagePart::is_text_html)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_read_as_graph_shows_it() {
        let raw = b"From: A <a@x>\r\nTo: b@x, C <c@x>\r\nSubject: =?utf-8?q?h=C3=A9?=\r\n\
            Date: Tue, 1 Jul 2003 10:52:37 +0200\r\nMessage-ID: <1@x>\r\nReferences: <2@x>\r\n \
            <3@x>\r\n\r\nbody\r\n";
        let head = Head::read(raw);
        assert_eq!((head.subject.as_str(), head.message_id.as_deref()), ("h\u{e9}", Some("<1@x>")));
        assert_eq!(head.references.as_deref(), Some("<2@x> <3@x>"));
        assert_eq!(head.from["emailAddress"], json!({"name": "A", "address": "a@x"}));
        assert_eq!(head.to[1]["emailAddress"]["address"], "c@x");
        assert_eq!((&head.cc, head.in_reply_to), (&json!([]), None));
        assert_eq!(head.sent.map(OffsetDateTime::unix_timestamp), Some(1_057_049_557));
        assert_eq!(head.fields.len(), 6);
    }

    #[test]
    fn the_body_is_read_when_asked() {
        let text = Text::read(b"Content-Type: text/html\r\n\r\n<p>hi</p>");
        assert!(text.html && text.content.contains("<p>hi") && !text.has_files);
        let text = Text::read(b"Subject: x\r\n\r\nhi\r\n");
        assert!(!text.html && text.preview.contains("hi"));
        assert_eq!(Text::read(b"").content, "");
    }
}
