//! Whom a client may name as sender (`Proxy.Client.<login>.AllowedSenders`).
//!
//! Danger: the envelope is checked while the mailbox is taken from the From header, so that one
//! user sends as another. Rule: the envelope's sender and every address in every From and Sender
//! field must be allowed; a field that can't be read to its end is refused.

use crate::mail::Address;
use crate::protocol::mime::fields;

/// True when `address` is in the list: itself or by its domain, without regard to case.
pub(in crate::frontend) fn may_use(allowed: &[String], address: &Address) -> bool {
    let key = address.key();
    let by_domain = format!("*@{}", address.domain().to_lowercase());
    allowed.iter().any(|entry| *entry == key || *entry == by_domain)
}

/// True when every From and Sender address of the header is in the list, and there is a From.
pub(in crate::frontend) fn header_is_allowed(allowed: &[String], header: &[u8]) -> bool {
    all_senders(header, |address| may_use(allowed, address))
}

/// True when every From and Sender address of the header is `good`, and there is a From.
pub(super) fn all_senders(header: &[u8], good: impl Fn(&Address) -> bool) -> bool {
    let mut has_from = false;
    for field in fields(header) {
        let from = field.is("From");
        if !from && !field.is("Sender") {
            continue;
        }
        let Some(addresses) = addresses(field.value) else { return false };
        if !addresses.iter().all(&good) {
            return false;
        }
        has_from |= from;
    }
    has_from
}

/// Every address in a field's value (RFC 5322 section 3.4); `None` when there is none or the value
/// has another form. Two addresses where one belongs, as in `ceo@x <me@x>`, both count.
fn addresses(value: &[u8]) -> Option<Vec<Address>> {
    let text = std::str::from_utf8(value).ok()?;
    let text = text.replace("\r\n", "");
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return None;
    }
    let mut found = Vec::new();
    for entry in split(&text, ',')? {
        let before = found.len();
        for word in words(&entry)? {
            if let Some(address) = address(&word)? {
                found.push(address);
            }
        }
        if found.len() == before {
            return None;
        }
    }
    Some(found)
}

/// Splits outside quotes and angle brackets, and leaves comments out. `None`: something is not
/// closed, or stands where it can't be understood (groups, routes).
fn split(text: &str, at: char) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let (mut quoted, mut angle, mut comment) = (false, false, 0_u32);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let part = parts.last_mut()?;
        match c {
            '\\' if quoted || comment > 0 => {
                let escaped = chars.next()?;
                if quoted {
                    part.extend(['\\', escaped]);
                }
            }
            '"' if comment == 0 => {
                quoted = !quoted;
                part.push(c);
            }
            _ if quoted => part.push(c),
            '(' => comment += 1,
            ')' => comment = comment.checked_sub(1)?,
            _ if comment > 0 => {}
            '<' if angle => return None,
            '>' if !angle => return None,
            '<' | '>' => {
                angle = c == '<';
                part.push(c);
            }
            ':' | ';' if !part.contains('[') => return None,
            c if c == at && !angle => parts.push(String::new()),
            c => part.push(c),
        }
    }
    (!quoted && !angle && comment == 0).then_some(parts)
}

/// The words of one entry: white space and angle brackets end them outside quotes.
fn words(entry: &str) -> Option<Vec<String>> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    let mut chars = entry.chars();
    while let Some(c) = chars.next() {
        let word = words.last_mut()?;
        match c {
            '\\' if quoted => word.extend([c, chars.next()?]),
            '"' => {
                quoted = !quoted;
                word.push(c);
            }
            ' ' | '\t' if !quoted => words.push(String::new()),
            // The bracket stays with its word: what is inside must be an address.
            '<' if !quoted => words.push("<".to_owned()),
            '>' if !quoted => {
                word.push('>');
                words.push(String::new());
            }
            c => word.push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    Some(words)
}

/// A word's address; `Some(None)`: it is part of a display name.
fn address(word: &str) -> Option<Option<Address>> {
    let bracketed = word.starts_with('<') || word.ends_with('>');
    let inner = word.strip_prefix('<').and_then(|word| word.strip_suffix('>'));
    let text = match (bracketed, inner) {
        (true, None) => return None,
        (_, Some(inner)) => inner,
        (false, None) => word,
    };
    let plain_quoted = text.len() > 1 && text.starts_with('"') && closes_at_end(text);
    match Address::parse(text) {
        Ok(address) if bracketed || text.contains('@') => Ok(Some(address)),
        _ if bracketed => Err(()),
        _ if plain_quoted || !text.contains('@') => Ok(None),
        _ => Err(()),
    }
    .ok()
}

/// True when the quote that opens the text is closed by its last character alone.
fn closes_at_end(text: &str) -> bool {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1 == text.len(),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(value: &str) -> Option<Vec<String>> {
        addresses(value.as_bytes())
            .map(|found| found.iter().map(|address| address.as_str().to_owned()).collect())
    }

    #[test]
    fn every_address_is_found() {
        let table: [(&str, &[&str]); 17] = [
            (" jane@example.com\r\n", &["jane@example.com"]),
            (" <jane@example.com>\r\n", &["jane@example.com"]),
            (" Jane Doe <jane@example.com>\r\n", &["jane@example.com"]),
            (" Jane<jane@example.com>\r\n", &["jane@example.com"]),
            (" \"Doe, Jane\"\r\n <jane@example.com>\r\n", &["jane@example.com"]),
            (" \"a\\\"@b <x@y>\" <jane@example.com>", &["jane@example.com"]),
            (" a@b, C <c@d>", &["a@b", "c@d"]),
            (" a@b (c@d)", &["a@b"]),
            (" (x (y)) a@b", &["a@b"]),
            (" ceo@x <me@x>", &["ceo@x", "me@x"]),
            (" a@b c@d", &["a@b", "c@d"]),
            (" <me@x> ceo@x", &["me@x", "ceo@x"]),
            (" \"a b\"@c", &["\"a b\"@c"]),
            (" =?utf-8?q?J=C3=BCrgen?= <j@x>", &["j@x"]),
            (" Jürgen <j@x>", &["j@x"]),
            (" x@[IPv6:2001:db8::1]", &["x@[IPv6:2001:db8::1]"]),
            (" \"ceo@x\" <me@x>", &["me@x"]),
        ];
        for (value, expected) in table {
            let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
            assert_eq!(found(value), Some(expected), "{value}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for value in [
            "",
            " Jane",
            " <>",
            " a@b,",
            " a@b, Jane",
            " <a@b",
            " a@b>",
            " <a@b><",
            " <<a@b>>",
            " \"a@b",
            " (a@b",
            " a@b)",
            " group: a@b;",
            " <@x:a@b>",
            " < a@b>",
            " a @b",
            " a@ b",
            " a@b@c",
            " a@b\0",
            " x\"y\"@b",
            " \"me@x\"ceo@x",
        ] {
            assert_eq!(found(value), None, "{value:?}");
        }
        assert_eq!(addresses(b" \xff <a@b>"), None);
    }

    #[test]
    fn lists_hold_addresses_and_domains() {
        let allowed = ["jane@example.com".to_owned(), "*@example.org".to_owned()];
        for (address, good) in [
            ("Jane@Example.com", true),
            ("x@example.org", true),
            ("x@sub.example.org", false),
            ("john@example.com", false),
            ("\"jane@example.com\"@evil.example", false),
            ("postmaster", false),
        ] {
            let parsed = Address::parse(address).expect("valid");
            assert_eq!(may_use(&allowed, &parsed), good, "{address}");
        }
    }

    #[test]
    fn all_senders_in_the_header_count() {
        let allowed = ["jane@example.com".to_owned()];
        let table = [
            ("From: jane@example.com\r\n\r\n", true),
            ("from : JANE@example.com\r\nSender: jane@example.com\r\n\r\n", true),
            ("From: jane@example.com\r\nReply-To: x@y\r\n\r\n", true),
            ("From: ceo@example.com\r\n\r\n", false),
            ("From: jane@example.com, ceo@example.com\r\n\r\n", false),
            ("From: jane@example.com\r\nFrom: ceo@example.com\r\n\r\n", false),
            ("From: jane@example.com\r\nSender: ceo@example.com\r\n\r\n", false),
            ("From: jane@example.com\r\nSender:\r\n\r\n", false),
            ("Subject: x\r\n\r\nFrom: jane@example.com\r\n", false),
            ("Sender: jane@example.com\r\n\r\n", false),
        ];
        for (header, good) in table {
            assert_eq!(header_is_allowed(&allowed, header.as_bytes()), good, "{header}");
        }
    }
}
