//! Display names of folders as parts of a path, both ways (`docs/mailbox.md`, "Folder names").
//!
//! Danger: a display name may hold the separator, wildcards or a second INBOX, and two folders with
//! one path hide one of them. Rule: [`encode`] is reversible, every display name has one form only,
//! and [`decode`] refuses what is not such a form, so that a folder is listed as it was created.

use std::fmt::Write as _;

use crate::mail::mailbox::SEPARATOR;

/// The inbox's path (RFC 9051 section 5.1).
pub(super) const INBOX: &str = "INBOX";

/// Where a folder is: only at the top a name can be taken for the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// Beside the inbox.
    Top,
    /// Below another folder.
    Below,
}

/// A display name as a part of a path.
pub(super) fn encode(display: &str, level: Level) -> String {
    let mut part = String::with_capacity(display.len());
    let looks_like_inbox = level == Level::Top && display.eq_ignore_ascii_case(INBOX);
    for (at, character) in display.char_indices() {
        let escaped = match character {
            SEPARATOR | '*' | '%' => true,
            '=' => hex_octet(&display.as_bytes()[at + 1..]).is_some(),
            _ => character.is_control() || (at == 0 && looks_like_inbox),
        };
        if escaped {
            escape(character, &mut part);
        } else {
            part.push(character);
        }
    }
    part
}

fn escape(character: char, part: &mut String) {
    for byte in character.encode_utf8(&mut [0; 4]).bytes() {
        // Writing to a string never fails.
        let _ = write!(part, "={byte:02X}");
    }
}

/// The display name that a part of a path stands for; `None` when no folder can be listed so.
pub(super) fn decode(part: &str, level: Level) -> Option<String> {
    let mut octets = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        match (first, hex_octet(after)) {
            (b'=', Some(octet)) => {
                octets.push(octet);
                rest = &after[2..];
            }
            _ => {
                octets.push(first);
                rest = after;
            }
        }
    }
    let display = String::from_utf8(octets).ok().filter(|display| !display.is_empty())?;
    (encode(&display, level) == part).then_some(display)
}

/// The octet that two hex digits stand for.
fn hex_octet(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

/// The path in the form in which folders are listed: the inbox in capitals.
pub(super) fn normal(path: &str) -> String {
    let (first, rest) = match path.split_once(SEPARATOR) {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    match (first.eq_ignore_ascii_case(INBOX), rest) {
        (false, _) => path.to_owned(),
        (true, None) => INBOX.to_owned(),
        (true, Some(rest)) => format!("{INBOX}{SEPARATOR}{rest}"),
    }
}

/// A path without its last part, and that part.
pub(super) fn split(path: &str) -> (Option<&str>, &str) {
    match path.rsplit_once(SEPARATOR) {
        Some((above, last)) => (Some(above), last),
        None => (None, path),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn display_names_have_one_form() {
        for (display, level, part) in [
            ("Rechnungen", Level::Top, "Rechnungen"),
            ("Gelöschte Elemente", Level::Top, "Gelöschte Elemente"),
            ("日本語", Level::Below, "日本語"),
            ("A/B", Level::Top, "A=2FB"),
            ("=2F", Level::Top, "=3D2F"),
            ("=2f", Level::Top, "=3D2f"),
            ("a=b", Level::Top, "a=b"),
            ("==2F", Level::Top, "==3D2F"),
            ("=", Level::Top, "="),
            ("100%*", Level::Top, "100=25=2A"),
            ("a\tb\u{7f}\u{85}", Level::Top, "a=09b=7F=C2=85"),
            ("Inbox", Level::Top, "=49nbox"),
            ("INBOX", Level::Below, "INBOX"),
            ("inbox2", Level::Top, "inbox2"),
        ] {
            assert_eq!(encode(display, level), part);
            assert_eq!(decode(part, level).as_deref(), Some(display), "{part}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for part in ["", "=41", "a=2fb", "INBOX", "inbox", "a*", "a%", "a\r\n", "=FF", "=C3=28"] {
            assert_eq!(decode(part, Level::Top), None, "{part:?}");
        }
        assert_eq!(decode("INBOX", Level::Below).as_deref(), Some("INBOX"));
    }

    #[test]
    fn the_inbox_is_known_in_any_case() {
        for (path, expected) in [
            ("inbox", "INBOX"),
            ("Inbox/a", "INBOX/a"),
            ("inboxes", "inboxes"),
            ("a/inbox", "a/inbox"),
            ("", ""),
        ] {
            assert_eq!(normal(path), expected);
        }
        assert_eq!(split("a/b/c"), (Some("a/b"), "c"));
        assert_eq!(split("a"), (None, "a"));
    }

    proptest! {
        #[test]
        fn every_name_comes_back(display in "\\PC{1,12}|[=/%*iInNbBoOxX0-9A-Fa-f\\x00-\\x1f]{1,12}") {
            for level in [Level::Top, Level::Below] {
                let part = encode(&display, level);
                prop_assert!(!part.contains([SEPARATOR, '*', '%']));
                prop_assert!(!part.chars().any(char::is_control));
                prop_assert!(level == Level::Below || !part.eq_ignore_ascii_case(INBOX));
                prop_assert_eq!(decode(&part, level), Some(display.clone()));
            }
        }

        #[test]
        fn what_is_decoded_is_listed_the_same(part in "[=/a2Fif*%I]{0,8}") {
            if let Some(display) = decode(&part, Level::Top) {
                prop_assert_eq!(encode(&display, Level::Top), part);
            }
        }
    }
}
