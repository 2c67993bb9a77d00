//! Modified UTF-7, in which IMAP4rev1 writes mailbox names (RFC 3501 section 5.1.3).
//!
//! Danger: two encodings of one name would be two folders for a client. Rule: [`encode`] writes the
//! one canonical form; [`decode`] also reads forms that are unambiguous though not canonical (ASCII
//! within base64, one run cut into two), and nothing that is broken.

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

/// Base64 with `,` in the place of `/`, and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::IMAP_MUTF7, NO_PAD);

/// Characters that stand for themselves; `&` is written `&-`.
fn is_direct(character: char) -> bool {
    matches!(character, ' '..='~')
}

/// The canonical form.
pub(super) fn encode(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    let mut shifted = String::new();
    for character in name.chars() {
        if !is_direct(character) {
            shifted.push(character);
            continue;
        }
        flush(&mut shifted, &mut encoded);
        encoded.push(character);
        if character == '&' {
            encoded.push('-');
        }
    }
    flush(&mut shifted, &mut encoded);
    encoded
}

fn flush(shifted: &mut String, encoded: &mut String) {
    if shifted.is_empty() {
        return;
    }
    let octets: Vec<u8> = shifted.encode_utf16().flat_map(u16::to_be_bytes).collect();
    encoded.push('&');
    BASE64.encode_string(octets, encoded);
    encoded.push('-');
    shifted.clear();
}

/// `None` when it is not modified UTF-7.
pub(super) fn decode(encoded: &str) -> Option<String> {
    let mut name = String::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((direct, shifted)) = rest.split_once('&') {
        let (base64, after) = shifted.split_once('-')?;
        push_direct(direct, &mut name)?;
        match base64 {
            "" => name.push('&'),
            _ => push_shifted(base64, &mut name)?,
        }
        rest = after;
    }
    push_direct(rest, &mut name)?;
    Some(name)
}

fn push_direct(text: &str, name: &mut String) -> Option<()> {
    text.chars().all(is_direct).then(|| name.push_str(text))
}

fn push_shifted(base64: &str, name: &mut String) -> Option<()> {
    let octets = BASE64.decode(base64).ok()?;
    if octets.len() % 2 != 0 {
        return None;
    }
    let units = octets.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    for character in char::decode_utf16(units) {
        name.push(character.ok()?);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_names_go_both_ways() {
        for (name, encoded) in [
            ("", ""),
            ("INBOX", "INBOX"),
            ("&", "&-"),
            ("R&D", "R&-D"),
            ("&&", "&-&-"),
            ("&-", "&--"),
            ("Entwürfe", "Entw&APw-rfe"),
            ("Gelöschte Elemente", "Gel&APY-schte Elemente"),
            // RFC 3501 section 5.1.3.
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("Отправленные", "&BB4EQgQ,BEAEMAQyBDsENQQ9BD0ESwQ1-"),
            ("😀", "&2D3eAA-"),
            ("a😀ü&b", "a&2D3eAAD8-&-b"),
            ("é-", "&AOk--"),
            ("tab\there", "tab&AAk-here"),
            ("\u{7f}", "&AH8-"),
            ("a\\b\"c", "a\\b\"c"),
        ] {
            assert_eq!(encode(name), encoded, "{name:?}");
            assert_eq!(decode(encoded).as_deref(), Some(name), "{encoded:?}");
        }
    }

    #[test]
    fn what_is_only_not_canonical_is_read() {
        for (encoded, name) in
            [("&AGE-", "a"), ("&AOQ-&APY-", "äö"), ("&ACY-", "&"), ("&AGEA5A-", "aä")]
        {
            assert_eq!(decode(encoded).as_deref(), Some(name), "{encoded:?}");
        }
    }

    #[test]
    fn broken_forms_are_not_read() {
        for encoded in [
            "&", "R&D", "a&b", "&AOk", "&A-", "&AO-", "&AOl-", "&AOk=-", "&AO k-", "&2D0-",
            "&3gA-", "&3gDYPQ-", "é", "a\tb", "&AO/k-", "& -", "\u{7f}",
        ] {
            assert_eq!(decode(encoded), None, "{encoded:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_name_comes_back(name in "\\PC{0,40}|[&\\-a\u{e4}\u{1f600}\0\n]{0,12}") {
            let encoded = encode(&name);
            proptest::prop_assert!(encoded.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            proptest::prop_assert_eq!(decode(&encoded), Some(name));
        }

        #[test]
        fn decoding_never_panics(encoded in "[&\\-A-D,+/ 0-3é]{0,24}") {
            if let Some(name) = decode(&encoded) {
                proptest::prop_assert_eq!(decode(&encode(&name)), Some(name));
            }
        }
    }
}
