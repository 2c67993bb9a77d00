//! Categories as keywords, both ways.
//!
//! Danger: a PATCH replaces all categories of a message, so that one whose name does not survive the
//! way to a keyword and back is lost by setting another; and a client that sees another keyword than
//! it has set sets it again for ever. Rule: each name has one keyword and each keyword one name. A
//! character that no atom has is written `=XX` for each octet of its UTF-8; `=` is written `=3D` only
//! where it would else be taken for such an escape.

use crate::mail::mailbox::Keyword;

/// Keywords that are kept elsewhere than among the categories.
pub(super) const FORWARDED: &str = "$Forwarded";
/// See [`FORWARDED`].
pub(super) const IMPORTANT: &str = "$Important";

/// Longest keyword made of a category: Outlook's 255 UTF-16 units, three octets each, escaped.
const LONGEST: usize = 255 * 3 * 3;

/// The keyword that stands for a category.
pub(super) fn keyword(category: &str) -> Option<Keyword> {
    if category.len() > LONGEST {
        return None;
    }
    let mut text = String::with_capacity(category.len());
    for (at, one) in category.char_indices() {
        let rest = &category[at + one.len_utf8()..];
        let is_escaped = match one {
            '=' => escape(rest, at == 0).is_some(),
            '$' if at == 0 => is_reserved(rest),
            _ => !is_atom_char(one),
        };
        match is_escaped {
            false => text.push(one),
            true => {
                let mut octets = [0; 4];
                for octet in one.encode_utf8(&mut octets).bytes() {
                    text.push_str(&format!("={octet:02X}"));
                }
            }
        }
    }
    Keyword::new(&text).filter(|_| text.len() <= LONGEST)
}

/// The category that a keyword stands for.
pub(super) fn category(keyword: &Keyword) -> String {
    let text = keyword.as_str();
    let mut name = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(one) = text[at..].chars().next() {
        let next = at + one.len_utf8();
        let escaped = escape(&text[next..], at == 0).filter(|_| one == '=');
        let (one, length) = escaped.unwrap_or((one, 0));
        name.push(one);
        at = next + length;
    }
    name
}

/// The character that `text`, which follows a `=`, escapes, and the length of the escape.
fn escape(text: &str, at_start: bool) -> Option<(char, usize)> {
    let octet = hex_octet(text)?;
    // `=3D` is an escape only before what an escape's own `=` would stand before.
    if octet == b'=' {
        let mut rest = &text[2..];
        while hex_octet(rest) == Some(b'=') {
            rest = &rest[2..];
        }
        return escape(rest, at_start).map(|_| ('=', 2));
    }
    if octet == b'$' && at_start && is_reserved(&text[2..]) {
        return Some(('$', 2));
    }
    let mut octets = vec![octet];
    let mut length = 2;
    while octets.len() < utf8_length(octet) {
        octets.push(hex_octet(text[length..].strip_prefix('=')?)?);
        length += 3;
    }
    let one = std::str::from_utf8(&octets).ok()?.chars().next()?;
    Some((one, length)).filter(|_| !is_atom_char(one))
}

/// Octets of the character that begins with `lead` (RFC 3629 section 3).
fn utf8_length(lead: u8) -> usize {
    match lead {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => 1,
    }
}

fn hex_octet(text: &str) -> Option<u8> {
    let digits = text.get(..2).filter(|two| two.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    u8::from_str_radix(digits, 16).ok()
}

fn is_atom_char(one: char) -> bool {
    one.is_ascii_graphic() && !"(){%*\"\\]".contains(one)
}

/// True when `$` and `rest` are a keyword that means something else.
fn is_reserved(rest: &str) -> bool {
    [FORWARDED, IMPORTANT].iter().any(|word| word[1..].eq_ignore_ascii_case(rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_keywords_are_pairs() {
        for (name, expected) in [
            ("Red category", "Red=20category"),
            ("$label1", "$label1"),
            ("Bücher", "B=C3=BCcher"),
            ("a=b", "a=b"),
            ("a=41", "a=41"),
            ("a=20b", "a=3D20b"),
            ("=3D20", "=3D3D20"),
            ("=3Dx", "=3Dx"),
            ("= ", "==20"),
            ("=C3=A9", "=3DC3=A9"),
            ("=C3é", "=C3=C3=A9"),
            ("=FF", "=FF"),
            ("$Forwarded", "=24Forwarded"),
            ("$IMPORTANT", "=24IMPORTANT"),
            ("=24forwarded", "=3D24forwarded"),
            ("x$Forwarded", "x$Forwarded"),
            ("\\Seen", "=5CSeen"),
            ("😀", "=F0=9F=98=80"),
            ("a\r\nb\0", "a=0D=0Ab=00"),
        ] {
            let found = keyword(name).expect(name);
            assert_eq!(found.as_str(), expected, "{name}");
            assert_eq!(category(&found), name);
        }
    }

    #[test]
    fn any_case_of_an_escape_is_the_same() {
        let lower = Keyword::new("a=c3=bc").expect("an atom");
        assert_eq!(category(&lower), "aü");
    }

    #[test]
    fn lengths_are_bounded() {
        assert_eq!(keyword(""), None);
        assert!(keyword(&"ﬃ".repeat(255)).is_some());
        assert_eq!(keyword(&"ﬃ".repeat(256)), None);
        assert_eq!(keyword(&"a".repeat(1 << 20)), None);
    }

    proptest! {
        #[test]
        fn every_name_survives(name in "[=0-9A-F $é😀a(]{1,12}|\\PC{1,20}|[$](Forwarded|x)") {
            let word = keyword(&name).expect("short");
            prop_assert_eq!(category(&word), name);
        }

        #[test]
        fn every_keyword_survives(text in "[=0-9A-Fa$]{1,14}|[!#$&'+-Z^-z]{1,20}") {
            let word = Keyword::new(&text).expect("an atom");
            prop_assume!(!word.is(FORWARDED) && !word.is(IMPORTANT));
            prop_assert_eq!(keyword(&category(&word)).expect("short"), word);
        }
    }
}
