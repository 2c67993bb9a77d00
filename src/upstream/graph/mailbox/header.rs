//! The main fields of a header, from Graph's JSON or from a message of the client's own.
//!
//! Danger: what stands in JSON may hold line ends, quotes and octets that no header has; written as
//! it is, one field becomes two, or one address another. Rule: controls become spaces, what is not
//! ASCII becomes encoded words (RFC 2047), names and local parts are quoted, lines stay below 998
//! octets (RFC 5322 section 2.1.1). What comes from the client is copied byte for byte.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;
use time::UtcOffset;
use time::format_description::well_known::Rfc2822;

use super::message::instant;
use crate::protocol::mime::fields;

/// The fields of ENVELOPE, SORT and THREAD (RFC 9051 section 7.5.2, RFC 5256).
const MAIN: [&str; 11] = [
    "Date",
    "Subject",
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Bcc",
    "In-Reply-To",
    "Message-ID",
    "References",
];

/// Octets of a line that folding aims at (RFC 5322 section 2.1.1).
const LINE: usize = 78;
/// Octets of a word that is written plainly; a longer one could exceed a line.
const LONGEST_WORD: usize = 900;
/// Octets in one encoded word: its 75 less the frame, as base64, rounded down.
const ENCODED_OCTETS: usize = 45;
/// Addresses of a field. Exchange takes 500 in a message that it sends.
const MAX_ADDRESSES: usize = 5000;
/// Stands for the domain of an address that has none: a name inside Exchange.
const NO_DOMAIN: &str = "unspecified-domain";

/// The block of a message that Graph describes.
pub(super) fn from_json(json: &Value, in_reply_to: &str, references: &str) -> Bytes {
    let mut block = String::new();
    let text = |name: &str| json[name].as_str().unwrap_or_default();
    let sent = instant(text("sentDateTime"))
        .and_then(|sent| sent.checked_to_offset(UtcOffset::UTC)?.format(&Rfc2822).ok());
    field(&mut block, "Date", sent.as_deref().unwrap_or_default());
    field(&mut block, "Subject", &unstructured(text("subject")));
    let from = addresses(std::slice::from_ref(&json["from"]));
    let sender = addresses(std::slice::from_ref(&json["sender"]));
    field(&mut block, "From", if from.is_empty() { &sender } else { &from });
    field(&mut block, "Sender", if sender == from || from.is_empty() { "" } else { &sender });
    let lists = [
        ("Reply-To", "replyTo"),
        ("To", "toRecipients"),
        ("Cc", "ccRecipients"),
        ("Bcc", "bccRecipients"),
    ];
    for (name, property) in lists {
        let list = json[property].as_array().map_or(&[][..], Vec::as_slice);
        field(&mut block, name, &addresses(list));
    }
    field(&mut block, "In-Reply-To", &ids(in_reply_to));
    field(&mut block, "Message-ID", &ids(text("internetMessageId")));
    field(&mut block, "References", &ids(references));
    block.push_str("\r\n");
    block.into()
}

/// The block of a message whose header is at hand.
pub(super) fn from_header(header: &[u8]) -> Bytes {
    let mut block = Vec::new();
    for field in fields(header).filter(|field| MAIN.iter().any(|name| field.is(name))) {
        block.extend_from_slice(field.raw);
        if !field.raw.ends_with(b"\r\n") {
            block.extend_from_slice(b"\r\n");
        }
    }
    block.extend_from_slice(b"\r\n");
    block.into()
}

/// Writes a field, folded at single spaces; nothing for an empty value.
fn field(block: &mut String, name: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    block.push_str(name);
    block.push(':');
    let mut column = name.len() + 1;
    for word in words(value) {
        if column + 1 + word.len() > LINE && column > name.len() + 1 {
            block.push_str("\r\n");
            column = 0;
        }
        block.push(' ');
        block.push_str(word);
        column += 1 + word.len();
    }
    block.push_str("\r\n");
}

/// Splits at each space that a word follows, so that no line becomes white space alone; further
/// spaces stay at the end of the word before.
fn words(value: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let octets = text.as_bytes();
        let end = memchr::memchr_iter(b' ', octets)
            .find(|at| *at > 0 && octets.get(at + 1).is_some_and(|next| *next != b' '));
        match end {
            Some(at) => {
                rest = Some(&text[at + 1..]);
                Some(&text[..at])
            }
            None => Some(text),
        }
    })
}

/// Controls, line ends among them, become spaces.
fn harmless(text: &str) -> String {
    text.chars().map(|one| if one.is_control() { ' ' } else { one }).collect()
}

/// Text of a field such as Subject.
fn unstructured(text: &str) -> String {
    let text = harmless(text);
    let text = text.trim();
    let is_plain = text.is_ascii()
        && !text.contains("=?")
        && text.split(' ').all(|word| word.len() <= LONGEST_WORD);
    if is_plain { text.to_owned() } else { encoded(text) }
}

/// Encoded words (RFC 2047), each of whole characters and 75 octets at most.
fn encoded(text: &str) -> String {
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut end = rest.len().min(ENCODED_OCTETS);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (word, after) = rest.split_at(end);
        words.push(format!("=?UTF-8?B?{}?=", STANDARD.encode(word)));
        rest = after;
    }
    words.join(" ")
}

/// Ids as they are, without what no id has.
fn ids(text: &str) -> String {
    let text = harmless(text);
    let words = text.split_whitespace().filter(|word| word.len() <= LONGEST_WORD);
    words.collect::<Vec<_>>().join(" ")
}

fn addresses(list: &[Value]) -> String {
    let list = list.iter().take(MAX_ADDRESSES).filter_map(address);
    list.collect::<Vec<_>>().join(", ")
}

/// A recipient (Graph page `resources/recipient`) as `mailbox` (RFC 5322 section 3.4).
fn address(recipient: &Value) -> Option<String> {
    let part = |name: &str| {
        let text = harmless(recipient["emailAddress"][name].as_str().unwrap_or_default());
        let text = text.trim().to_owned();
        Some(text).filter(|text| !text.is_empty() && text.len() <= LONGEST_WORD)
    };
    let (name, address) = (part("name"), part("address"));
    let spec = match &address {
        Some(address) => addr_spec(address),
        None => format!("MISSING_MAILBOX@{NO_DOMAIN}"),
    };
    match name.filter(|name| Some(name) != address.as_ref()) {
        Some(name) => Some(format!("{} <{spec}>", phrase(&name))),
        None => address.map(|_| spec),
    }
}

/// RFC 5322 section 3.4.1; what is not ASCII stays (RFC 6532).
fn addr_spec(address: &str) -> String {
    let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
    let domain: String = domain
        .chars()
        .filter(|one| !one.is_whitespace() && !"<>()[],;:\\\"@".contains(*one))
        .collect();
    let domain = if domain.is_empty() { NO_DOMAIN } else { &domain };
    let is_atom = |atom: &str| !atom.is_empty() && atom.chars().all(is_atext);
    match local.split('.').all(is_atom) {
        true => format!("{local}@{domain}"),
        false => format!("{}@{domain}", quoted(local)),
    }
}

fn phrase(name: &str) -> String {
    let is_atoms = name.split(' ').all(|word| !word.is_empty() && word.chars().all(is_atext));
    match (name.is_ascii() && !name.contains("=?"), is_atoms) {
        (false, _) => encoded(name),
        (true, true) => name.to_owned(),
        (true, false) => quoted(name),
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for one in text.chars() {
        if one == '"' || one == '\\' {
            quoted.push('\\');
        }
        quoted.push(one);
    }
    quoted.push('"');
    quoted
}

/// `atext` of RFC 5322 section 3.2.3, with RFC 6532's extension.
fn is_atext(one: char) -> bool {
    one.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(one) || !one.is_ascii()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(block: &Bytes) -> String {
        String::from_utf8(block.to_vec()).expect("UTF-8")
    }

    #[test]
    fn a_block_has_the_main_fields_and_leaves_empty_ones_out() {
        let one = |name: &str, address: &str| json!({ "emailAddress": { "name": name, "address": address } });
        let json = json!({
            "sentDateTime": "2026-11-24T12:03:20+02:00", "subject": "Hello",
            "from": one("Jane Doe", "jane@example.com"), "sender": one("Jane Doe", "jane@example.com"),
            "replyTo": [], "toRecipients": [one("Müller, Jörg", "j@x.de"), one("b@y", "b@y")],
            "ccRecipients": "x", "bccRecipients": [one("a.b", "c@d"), {}, 7],
            "internetMessageId": "<1@x>",
        });
        let expected = "Date: Tue, 24 Nov 2026 10:03:20 +0000\r\nSubject: Hello\r\n\
            From: Jane Doe <jane@example.com>\r\n\
            To: =?UTF-8?B?TcO8bGxlciwgSsO2cmc=?= <j@x.de>, b@y\r\n\
            Bcc: \"a.b\" <c@d>\r\nIn-Reply-To: <0@x>\r\nMessage-ID: <1@x>\r\n\
            References: <a@x> <0@x>\r\n\r\n";
        assert_eq!(text(&from_json(&json, "<0@x>", "<a@x>\r\n\t<0@x>")), expected);
        assert_eq!(text(&from_json(&json!(null), "", "")), "\r\n");
    }

    #[test]
    fn somebody_who_sends_for_another_is_named() {
        let one = |address: &str| json!({ "emailAddress": { "address": address } });
        let both = json!({ "from": one("boss@x"), "sender": one("aide@x") });
        assert_eq!(text(&from_json(&both, "", "")), "From: boss@x\r\nSender: aide@x\r\n\r\n");
        let only = json!({ "sender": one("aide@x") });
        assert_eq!(text(&from_json(&only, "", "")), "From: aide@x\r\n\r\n");
    }

    #[test]
    fn addresses_are_written_so_that_they_stay_what_they_are() {
        for (name, mail, expected) in [
            ("", "a@b", "a@b"),
            ("", "", ""),
            ("Only Name", "", "Only Name <MISSING_MAILBOX@unspecified-domain>"),
            ("x", "john doe@b", "x <\"john doe\"@b>"),
            ("x", "a..b@c", "x <\"a..b\"@c>"),
            ("x", "/O=EX/CN=John Doe", "x <\"/O=EX/CN=John Doe\"@unspecified-domain>"),
            ("x", "a@b>, <evil@c", "x <\"a@b>, <evil\"@c>"),
            ("x", "a@b\r\nBcc: c@d", "x <\"a@b  Bcc: c\"@d>"),
            ("Doe, \"J\" \\", "a@b", "\"Doe, \\\"J\\\" \\\\\" <a@b>"),
            ("=?x?=", "a@b", "=?UTF-8?B?PT94Pz0=?= <a@b>"),
            ("two  spaces", "a@b", "\"two  spaces\" <a@b>"),
            ("x", "jörg@büro.de", "x <jörg@büro.de>"),
        ] {
            let recipient = json!({ "emailAddress": { "name": name, "address": mail } });
            assert_eq!(address(&recipient).unwrap_or_default(), expected, "{name} {mail}");
        }
    }

    #[test]
    fn hostile_text_stays_in_its_field_and_lines_stay_short() {
        let hostile = [
            "a\r\nBcc: x@y\r\n\r\nbody",
            "a\nb\rc\0d\u{85}e",
            &"x".repeat(5000),
            &"é".repeat(3000),
        ];
        for subject in hostile {
            let person = json!({ "emailAddress": { "name": subject, "address": "a@b" } });
            let many = vec![person.clone(); 60];
            let json = json!({
                "subject": subject, "from": person, "toRecipients": many, "internetMessageId": subject,
            });
            let block = text(&from_json(&json, subject, subject));
            let names: Vec<_> = fields(block.as_bytes()).map(|field| field.name.to_vec()).collect();
            assert!(names.iter().all(|name| MAIN.iter().any(|m| m.as_bytes() == name)), "{block}");
            assert!(names.iter().filter(|name| *name == b"Bcc").count() == 0);
            assert!(
                block
                    .split("\r\n")
                    .all(|line| line.len() <= 998 && !line.contains(['\r', '\n', '\0']))
            );
            assert!(block.ends_with("\r\n\r\n") && block.matches("\r\n\r\n").count() == 1);
        }
    }

    #[test]
    fn folding_keeps_every_space() {
        for subject in ["a b  c   d", &"word ".repeat(60), &format!("{}  {}", "x".repeat(90), "y")]
        {
            let block = text(&from_json(&json!({ "subject": subject }), "", ""));
            let unfolded = block.replace("\r\n ", " ");
            assert_eq!(unfolded, format!("Subject: {}\r\n\r\n", subject.trim()));
            assert!(block.lines().all(|line| line.trim() == "" || line.len() < 110));
        }
    }

    #[test]
    fn encoded_words_hold_whole_characters() {
        let name = "ü😀ﬃ".repeat(40);
        let words = encoded(&name);
        let mut decoded = String::new();
        for word in words.split(' ') {
            assert!(word.len() <= 75, "{word}");
            let base64 =
                word.strip_prefix("=?UTF-8?B?").and_then(|w| w.strip_suffix("?=")).expect("framed");
            let octets = STANDARD.decode(base64).expect("base64");
            decoded.push_str(std::str::from_utf8(&octets).expect("whole characters"));
        }
        assert_eq!(decoded, name);
    }

    #[test]
    fn a_client_s_own_lines_are_copied() {
        let header =
            b"Received: x\r\nsubject:  =?a?Q?b?=\r\n folded\r\nX-To: y\r\nTo: a@b\r\nCc: \xff";
        assert_eq!(
            from_header(header),
            &b"subject:  =?a?Q?b?=\r\n folded\r\nTo: a@b\r\nCc: \xff\r\n\r\n"[..]
        );
        assert_eq!(from_header(b""), &b"\r\n"[..]);
    }
}
