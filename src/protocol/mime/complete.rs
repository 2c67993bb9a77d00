//! Adds what a message must have and lacks.
//!
//! Danger: text of a message that was sent without a header must not become header fields, or a
//! stranger's first line names the sender; and a header that is rewritten breaks signatures. Rule:
//! octets that are there stay as they are and where they are; fields are only put in front, an
//! empty line is put where the header really ends, and only an mbox `From ` line is taken away.

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::{Field, fields};

/// What added fields are made from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The envelope's sender; `None`: the null reverse-path, for which no From is made up.
    pub sender: Option<&'a str>,
    /// When the message arrived.
    pub now: OffsetDateTime,
    /// A fresh identifier for Message-ID: letters, digits, `-` and `.`.
    pub id: &'a str,
    /// This host's name, for a Message-ID when the sender has no domain.
    pub host: &'a str,
}

/// RFC 5322 section 3.3, without regard to any locale.
const DATE: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short], [day padding:none] [month repr:short] [year] \
     [hour]:[minute]:[second] [offset_hour sign:mandatory][offset_minute]"
);

/// The header block that the message needs, `None` when `header` is complete (RFC 5322 section 3.6,
/// RFC 6409 section 8). `header` is everything up to and with the first empty line, or the whole
/// message when there is none.
pub fn complete(header: &[u8], source: &Source<'_>) -> Option<Vec<u8>> {
    let kept = without_mbox_line(header);
    let (own, rest) = kept.split_at(true_header_length(kept));
    let added = missing_fields(own, source);
    let line_end = if own.is_empty() || own.ends_with(b"\r\n") { "" } else { "\r\n" };
    let closing = if rest.starts_with(b"\r\n") { "" } else { "\r\n" };
    if kept.len() == header.len() && added.is_empty() && line_end.is_empty() && closing.is_empty() {
        return None;
    }
    Some([added.as_bytes(), own, line_end.as_bytes(), closing.as_bytes(), rest].concat())
}

/// Drops the first line of a message that was copied out of an mbox file.
fn without_mbox_line(header: &[u8]) -> &[u8] {
    if !header.starts_with(b"From ") && !header.starts_with(b">From ") {
        return header;
    }
    match fields(header).next() {
        Some(line) if line.name.is_empty() => {
            let end = memchr::memmem::find(line.raw, b"\r\n").map_or(line.raw.len(), |at| at + 2);
            &header[end..]
        }
        _ => header,
    }
}

/// Up to the first line that is no field: a program that forgot the empty line has begun its text.
fn true_header_length(header: &[u8]) -> usize {
    fields(header).take_while(is_field).map(|field| field.raw.len()).sum()
}

/// A line that begins with white space folds the field before it; the first line has none.
fn is_field(field: &Field<'_>) -> bool {
    !field.name.is_empty()
}

fn missing_fields(own: &[u8], source: &Source<'_>) -> String {
    let has = |name| fields(own).any(|field| field.is(name));
    let mut added = String::new();
    if !has("Date")
        && let Ok(date) = source.now.format(DATE)
    {
        added.push_str(&format!("Date: {date}\r\n"));
    }
    if !has("From")
        && let Some(sender) = source.sender
    {
        added.push_str(&format!("From: {sender}\r\n"));
    }
    if !has("Message-ID") {
        added.push_str(&format!("Message-ID: <{}@{}>\r\n", source.id, id_domain(source)));
    }
    added
}

/// What stands right of the `@` in a Message-ID: ASCII, so that no reader has to know RFC 6532.
fn id_domain<'a>(source: &Source<'a>) -> &'a str {
    source
        .sender
        .and_then(|sender| sender.rsplit_once('@'))
        .map(|(_, domain)| domain)
        .filter(|domain| domain.is_ascii() && !domain.is_empty())
        .unwrap_or(source.host)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    const ADDED_DATE: &str = "Date: Tue, 3 Nov 2026 07:05:09 +0000\r\n";
    const ADDED_FROM: &str = "From: jane@example.com\r\n";
    const ADDED_ID: &str = "Message-ID: <ID@example.com>\r\n";

    fn source() -> Source<'static> {
        Source {
            sender: Some("jane@example.com"),
            now: datetime!(2026-11-03 07:05:09 UTC),
            id: "ID",
            host: "proxy.local",
        }
    }

    fn completed(header: &str) -> Option<String> {
        let bytes = complete(header.as_bytes(), &source())?;
        Some(String::from_utf8(bytes).expect("UTF-8"))
    }

    #[test]
    fn only_what_is_missing_is_added_and_in_front() {
        let table = [
            ("Date: x\r\nFrom: y\r\nMessage-ID: z\r\n\r\n", None),
            ("DATE : x\r\nfrom: y\r\nmessage-id:\r\n <z>\r\n\r\n", None),
            ("From: y\r\nMessage-ID: z\r\n\r\n", Some([ADDED_DATE].concat())),
            ("Date: x\r\nMessage-ID: z\r\n\r\n", Some([ADDED_FROM].concat())),
            ("Date: x\r\nFrom: y\r\n\r\n", Some([ADDED_ID].concat())),
            ("Subject: s\r\n t\r\n\r\n", Some([ADDED_DATE, ADDED_FROM, ADDED_ID].concat())),
            ("\r\n", Some([ADDED_DATE, ADDED_FROM, ADDED_ID].concat())),
            ("X-From: y\r\nDate: From: y\r\nMessage-ID: z\r\n\r\n", Some(ADDED_FROM.to_owned())),
        ];
        for (header, added) in table {
            let expected = added.map(|added| added + header);
            assert_eq!(completed(header), expected, "{header}");
        }
    }

    #[test]
    fn text_without_a_header_never_becomes_one() {
        let all = [ADDED_DATE, ADDED_FROM, ADDED_ID].concat();
        for text in
            ["Hello\r\n", "Hello Bob\r\nFrom: ceo@x\r\n\r\n", " From: ceo@x\r\n\r\n", ": x\r\n"]
        {
            assert_eq!(completed(text), Some(format!("{all}\r\n{text}")), "{text}");
        }
        assert_eq!(completed(""), Some(format!("{all}\r\n")));
    }

    #[test]
    fn a_header_without_its_empty_line_gets_it_where_the_text_begins() {
        let full = "Date: x\r\nFrom: y\r\nMessage-ID: z\r\n";
        assert_eq!(completed(full), Some(format!("{full}\r\n")));
        assert_eq!(completed(full.trim_end()), Some(format!("{full}\r\n")));
        let text = "Dear all\r\nSender: ceo@x\r\n\r\n";
        assert_eq!(completed(&format!("{full}{text}")), Some(format!("{full}\r\n{text}")));
    }

    #[test]
    fn an_mbox_line_goes_and_only_in_front() {
        let full = "Date: x\r\nFrom: y\r\nMessage-ID: z\r\n\r\n";
        for line in ["From jane@x Tue Nov  3 07:05:09 2026\r\n", ">From jane@x\r\n"] {
            assert_eq!(completed(&format!("{line}{full}")), Some(full.to_owned()));
        }
        assert_eq!(completed("From : a@b\r\nDate: x\r\nMessage-ID: z\r\n\r\n"), None);
    }

    #[test]
    fn senders_without_a_usable_domain() {
        let table = [
            (None, "<ID@proxy.local>", false),
            (Some("postmaster"), "<ID@proxy.local>", true),
            (Some("a@exämple.de"), "<ID@proxy.local>", true),
            (Some("\"a@b\"@[192.0.2.1]"), "<ID@[192.0.2.1]>", true),
        ];
        for (sender, id, from) in table {
            let bytes = complete(b"\r\n", &Source { sender, ..source() }).expect("incomplete");
            let text = String::from_utf8(bytes).expect("UTF-8");
            assert!(text.contains(&format!("Message-ID: {id}\r\n")), "{text}");
            assert_eq!(text.contains("From: "), from, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_completed_header_is_complete_and_keeps_every_octet(text in "([A-Za-z: ]|\r\n){0,60}") {
            let Some(once) = complete(text.as_bytes(), &source()) else { return Ok(()) };
            if !text.starts_with("From ") {
                let mut left = once.iter();
                prop_assert!(text.bytes().all(|byte| left.any(|other| *other == byte)));
            }
            let end = memchr::memmem::find(&once, b"\r\n\r\n").expect("an empty line") + 4;
            prop_assert_eq!(complete(&once[..end], &source()), None);
        }
    }
}
