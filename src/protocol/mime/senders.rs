//! The mailbox that a message says it is from: read, or replaced (`Sender.Policy` = `Rewrite`).
//!
//! Danger: a scanner writes its name, an address of its own or rubbish into From, and the service
//! refuses every message of it; a From that is mended by guessing names somebody else. Rule: the
//! new From is made from the role's mailbox and at most a display name; whom the old one named gets
//! the answers; every other field stays byte for byte. A `DKIM-Signature` stays too: verifiers
//! treat one that fails as if it were not there (RFC 6376 section 6.1), and the service signs anew.
//! S/MIME signs the content alone, not this header.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::address_list::{List, key, parse_list};
use super::recipients::envelope_key;
use super::{Field, fields};

/// A display name made from unreadable text is cut here, in characters.
const MAX_NAME: usize = 100;
/// Text in one encoded word, in octets: with its frame it stays within 75 (RFC 2047 section 2).
const ENCODED_WORD: usize = 45;
/// A line with more octets is folded before the address (RFC 5322 section 2.1.1).
const LINE: usize = 78;
/// Addresses that are picked out of an unreadable From.
const MAX_PICKED: usize = 10;

/// Every address in a field's value, groups' members too (RFC 5322 section 3.4); `None` when it
/// can't be read to its end, or names somebody without an address.
pub fn addresses(value: &[u8]) -> Option<Vec<String>> {
    let list = parse_list(value).ok()?;
    let mut found = Vec::new();
    for mailbox in list.elements.iter().flat_map(|element| &element.mailboxes) {
        let address = &value[mailbox.address.clone()?];
        found.push(std::str::from_utf8(address).ok()?.to_owned());
    }
    Some(found)
}

/// The header from `mailbox` alone, `None` when it is that already. `header` is complete: it ends
/// with its empty line.
///
/// From keeps its display name; addresses of the old one become Reply-To unless there is one;
/// Sender goes, since it would name another than From (RFC 5322 section 3.6.2).
pub fn from_mailbox(header: &[u8], mailbox: &str) -> Option<Vec<u8>> {
    let own = envelope_key(mailbox);
    let froms: Vec<Field<'_>> = fields(header).filter(|field| field.is("From")).collect();
    let senders: Vec<Field<'_>> = fields(header).filter(|field| field.is("Sender")).collect();
    let names_own = |field: &Field<'_>| names_only(field.value, &own);
    if froms.len() == 1 && senders.len() <= 1 && froms.iter().chain(&senders).all(names_own) {
        return None;
    }
    let mut new_from = from_field(froms.first().map(|field| field.value), mailbox);
    if !fields(header).any(|field| field.is("Reply-To")) {
        new_from.extend(reply_to(&froms, &own));
    }
    let mut new = Vec::with_capacity(header.len() + new_from.len());
    let (mut length, mut written) = (0, false);
    if froms.is_empty() {
        new.extend_from_slice(&new_from);
        written = true;
    }
    for field in fields(header) {
        length += field.raw.len();
        if field.is("From") && !written {
            new.extend_from_slice(&new_from);
            written = true;
        } else if !field.is("From") && !field.is("Sender") {
            new.extend_from_slice(field.raw);
        }
    }
    new.extend_from_slice(&header[length..]);
    Some(new)
}

/// True when the value is one mailbox, plainly written, with that key.
fn names_only(value: &[u8], own: &str) -> bool {
    let Ok(list) = parse_list(value) else { return false };
    let [element] = &list.elements[..] else { return false };
    let [mailbox] = &element.mailboxes[..] else { return false };
    !list.irregular && !element.is_group() && mailbox.key.as_deref() == Some(own)
}

fn from_field(old: Option<&[u8]>, mailbox: &str) -> Vec<u8> {
    let name = old.and_then(display_name).unwrap_or_default();
    if name.is_empty() {
        return format!("From: {mailbox}\r\n").into_bytes();
    }
    let last_line = name.rsplit(|byte| *byte == b'\n').next().map_or(0, <[u8]>::len);
    let is_short = "From: ".len() + last_line + mailbox.len() + 3 <= LINE;
    let space: &[u8] = if is_short { b" " } else { b"\r\n " };
    [b"From: ", name.as_slice(), space, b"<", mailbox.as_bytes(), b">\r\n"].concat()
}

/// The first mailbox's display name as it was written, or one made from a text that can't be read.
fn display_name(value: &[u8]) -> Option<Vec<u8>> {
    let Ok(list) = parse_list(value) else { return made_name(value) };
    let mut mailboxes = list.elements.iter().flat_map(|element| &element.mailboxes);
    let Some(first) = mailboxes.next() else { return made_name(value) };
    match (&first.name, &first.key) {
        (Some(name), _) => Some(value[name.clone()].to_vec()),
        (None, Some(_)) => None,
        (None, None) => made_name(value),
    }
}

/// What stands before the address, or all of it, as a quoted string or encoded words.
fn made_name(value: &[u8]) -> Option<Vec<u8>> {
    let text = match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        // What devices write that know no UTF-8.
        Err(_) => value.iter().map(|byte| char::from(*byte)).collect(),
    };
    let before = text.split('<').next().filter(|before| !before.trim().is_empty());
    let text: String = before
        .unwrap_or(&text)
        .chars()
        .map(|c| if c.is_control() || "\"\\<>".contains(c) { ' ' } else { c })
        .collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    let text: String = words.join(" ").chars().take(MAX_NAME).collect();
    let text = text.trim();
    match text.is_ascii() {
        _ if text.is_empty() => None,
        true => Some(format!("\"{text}\"").into_bytes()),
        false => Some(encoded_words(text).into_bytes()),
    }
}

/// RFC 2047 section 4.1, no character cut in two.
fn encoded_words(text: &str) -> String {
    let mut pieces: Vec<String> = Vec::new();
    for c in text.chars() {
        match pieces.last_mut() {
            Some(piece) if piece.len() + c.len_utf8() <= ENCODED_WORD => piece.push(c),
            _ => pieces.push(c.to_string()),
        }
    }
    let word = |piece: &String| format!("=?UTF-8?B?{}?=", STANDARD.encode(piece));
    pieces.iter().map(word).collect::<Vec<_>>().join("\r\n ")
}

/// The Reply-To field of whom the old From fields named.
fn reply_to(froms: &[Field<'_>], own: &str) -> Vec<u8> {
    if let [only] = froms
        && let Ok(list) = parse_list(only.value)
        && is_kept(&list, own)
    {
        return [b"Reply-To:", only.value].concat();
    }
    let mut keys = vec![own.to_owned()];
    let mut addresses = Vec::new();
    for address in froms.iter().flat_map(|field| named(field.value)) {
        let key = envelope_key(&address);
        if !keys.contains(&key) && addresses.len() < MAX_PICKED {
            keys.push(key);
            addresses.push(address);
        }
    }
    match addresses.is_empty() {
        true => Vec::new(),
        false => format!("Reply-To: {}\r\n", addresses.join(",\r\n ")).into_bytes(),
    }
}

/// True when the list is regular and names others alone.
fn is_kept(list: &List, own: &str) -> bool {
    let mut mailboxes = list.elements.iter().flat_map(|element| &element.mailboxes).peekable();
    let is_other = |key: &Option<String>| key.as_deref().is_some_and(|key| key != own);
    !list.irregular && mailboxes.peek().is_some() && mailboxes.all(|one| is_other(&one.key))
}

/// The addresses of a From, picked out word by word when it can't be read.
fn named(value: &[u8]) -> Vec<String> {
    if let Some(addresses) = addresses(value) {
        return addresses;
    }
    let Ok(text) = std::str::from_utf8(value) else { return Vec::new() };
    let ends = |c: char| c.is_whitespace() || c.is_control() || "<>()[]\",;:".contains(c);
    let words = text.split(ends).filter(|word| word.contains('@'));
    let address = |word: &str| Some(addresses(word.as_bytes())?.first()?.clone());
    words.filter_map(address).filter(|address| plain(address)).take(MAX_PICKED).collect()
}

/// True for an address that reads back as itself.
fn plain(address: &str) -> bool {
    address.rsplit_once('@').is_some_and(|(local, domain)| {
        key(local, domain) == envelope_key(address) && !local.is_empty() && !domain.is_empty()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAILBOX: &str = "erp@contoso.example";
    const OTHER: &[u8] = b"X-A: b\r\n c\r\nSubject: =?utf-8?q?J=C3=BC?= \xfc\r\n";

    /// What stands between the fields of [`OTHER`] afterwards; empty: nothing has changed.
    fn rewritten(senders: &[u8]) -> Vec<u8> {
        let header = [OTHER, senders, OTHER, b"\r\n"].concat();
        let Some(new) = from_mailbox(&header, MAILBOX) else { return Vec::new() };
        let rest = new.strip_prefix(OTHER).expect("what is before stays");
        rest.strip_suffix(&[OTHER, b"\r\n"].concat()[..]).expect("what is after stays").to_vec()
    }

    #[test]
    #[allow(clippy::too_many_lines, reason = "a table")]
    fn from_becomes_the_mailbox_and_the_old_one_reply_to() {
        let table: [(&[u8], &[u8]); 22] = [
            (b"From: erp@contoso.example\r\n", b""),
            (b"From: ERP <Erp@Contoso.example>\r\nSender: <erp@contoso.example>\r\n", b""),
            (
                b"From: jane@x.example\r\n",
                b"From: erp@contoso.example\r\nReply-To: jane@x.example\r\n",
            ),
            (
                b"from : \"Doe, Jane\"\r\n <jane@x.example>\r\n",
                b"From: \"Doe, Jane\" <erp@contoso.example>\r\n\
                  Reply-To: \"Doe, Jane\"\r\n <jane@x.example>\r\n",
            ),
            (
                b"From: =?utf-8?q?J=C3=BCrgen?=\r\n =?utf-8?q?_M?= <j@x.example>\r\nReply-To: r@x\r\n",
                b"From: =?utf-8?q?J=C3=BCrgen?=\r\n =?utf-8?q?_M?= <erp@contoso.example>\r\n\
                  Reply-To: r@x\r\n",
            ),
            (
                b"From: J\xc3\xbcrgen <j@x.example>\r\n",
                b"From: J\xc3\xbcrgen <erp@contoso.example>\r\n\
                  Reply-To: J\xc3\xbcrgen <j@x.example>\r\n",
            ),
            (
                b"From: erp@contoso.example\r\nSender: jane@x.example\r\n",
                b"From: erp@contoso.example\r\n",
            ),
            (
                b"From: A <a@x>, B <b@x>\r\nSender: a@x\r\n",
                b"From: A <erp@contoso.example>\r\nReply-To: A <a@x>, B <b@x>\r\n",
            ),
            (
                b"From: A <a@x>, erp@contoso.example\r\n",
                b"From: A <erp@contoso.example>\r\nReply-To: a@x\r\n",
            ),
            (
                b"From: a@x\r\nFrom: B <b@x>\r\nFrom: A@X\r\n",
                b"From: erp@contoso.example\r\nReply-To: a@x,\r\n b@x\r\n",
            ),
            (
                b"From: team: A <a@x>, b@x;\r\n",
                b"From: A <erp@contoso.example>\r\nReply-To: team: A <a@x>, b@x;\r\n",
            ),
            (
                b"From: nobody:;\r\n",
                b"From: \"nobody:;\" <erp@contoso.example>\r\n",
            ),
            (
                b"From: \"scan@x.example\" <scan@copier>\r\n",
                b"From: \"scan@x.example\" <erp@contoso.example>\r\n\
                  Reply-To: \"scan@x.example\" <scan@copier>\r\n",
            ),
            (
                b"From: scan@x.example <scan@copier>\r\n",
                b"From: \"scan@x.example\" <erp@contoso.example>\r\n\
                  Reply-To: scan@x.example,\r\n scan@copier\r\n",
            ),
            (b"From: Scanner 3rd floor\r\n", b"From: \"Scanner 3rd floor\" <erp@contoso.example>\r\n"),
            (b"From: <>\r\n", b"From: erp@contoso.example\r\n"),
            (b"From:\r\n", b"From: erp@contoso.example\r\n"),
            (b"From: \x01\x02\r\n", b"From: erp@contoso.example\r\n"),
            (
                b"From: \"unclosed <a@x>\r\n",
                b"From: \"unclosed\" <erp@contoso.example>\r\nReply-To: a@x\r\n",
            ),
            (
                b"From: B\xfcro <<a@x>\r\n",
                b"From: =?UTF-8?B?QsO8cm8=?= <erp@contoso.example>\r\n",
            ),
            (
                b"From: <a@x> (Jane)\r\nDKIM-Signature: v=1; h=From\r\n",
                b"From: erp@contoso.example\r\nReply-To: <a@x> (Jane)\r\n\
                  DKIM-Signature: v=1; h=From\r\n",
            ),
            (
                b"From: Erp <erp@contoso.example>, <erp@contoso.example>\r\n",
                b"From: Erp <erp@contoso.example>\r\n",
            ),
        ];
        for (senders, expected) in table {
            let found = rewritten(senders);
            let shown = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
            assert!(
                found == expected,
                "{:?} became {:?}, not {:?}",
                shown(senders),
                shown(&found),
                shown(expected)
            );
        }
    }

    #[test]
    fn a_header_without_from_gets_one_in_front() {
        let new = from_mailbox(b"Subject: x\r\n\r\n", MAILBOX).expect("changed");
        assert_eq!(new, b"From: erp@contoso.example\r\nSubject: x\r\n\r\n");
    }

    #[test]
    fn a_long_name_is_folded_and_a_long_text_is_cut() {
        let name = "n".repeat(70);
        let field = format!("From: {name} <a@x>\r\n\r\n");
        let new = from_mailbox(field.as_bytes(), MAILBOX).expect("changed");
        let start = format!("From: {name}\r\n <{MAILBOX}>\r\n");
        assert!(new.starts_with(start.as_bytes()), "{:?}", String::from_utf8_lossy(&new));
        let text = format!("From: {}@\r\n\r\n", "\u{fc}".repeat(5000));
        let new = from_mailbox(text.as_bytes(), MAILBOX).expect("changed");
        assert!(new.len() < 500 && new.is_ascii(), "{:?}", String::from_utf8_lossy(&new));
        assert!(new.split(|byte| *byte == b'\n').all(|line| line.len() <= 80));
    }

    #[test]
    fn addresses_are_those_that_can_be_written_to() {
        for (value, expected) in [
            (" a@b", Some(vec!["a@b"])),
            (" A <a@b>, g: c@d, \"e f\"@g;", Some(vec!["a@b", "c@d", "\"e f\"@g"])),
            (" undisclosed-recipients:;", Some(vec![])),
            ("", Some(vec![])),
            (" Jane", None),
            (" <>", None),
            (" a@b, <c@d", None),
        ] {
            let expected = expected.map(|all| all.into_iter().map(str::to_owned).collect());
            assert_eq!(addresses(value.as_bytes()), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn whatever_stood_there_names_the_mailbox_alone_afterwards(
            value in proptest::collection::vec(any::<u8>(), 0..60),
            second in "[ -~]{0,40}",
        ) {
            let value: Vec<u8> =
                value.into_iter().filter(|byte| !b"\r\n\0".contains(byte)).collect();
            let second = second.as_bytes();
            let header = [
                b"From:", &value[..], b"\r\nSender:", second, b"\r\nFrom:", second, b"\r\n\r\n",
            ].concat();
            let new = from_mailbox(&header, MAILBOX).expect("two From fields");
            let named: Vec<Field<'_>> =
                fields(&new).filter(|field| field.is("From") || field.is("Sender")).collect();
            prop_assert_eq!(named.len(), 1);
            prop_assert!(names_only(named[0].value, MAILBOX), "{:?}", named[0]);
            prop_assert_eq!(from_mailbox(&new, MAILBOX), None);
            prop_assert!(new.ends_with(b"\r\n\r\n"));
        }
    }
}
