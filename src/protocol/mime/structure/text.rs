//! Text of headers and bodies as people read it: encoded words and charsets undone.
//!
//! Danger: a search that looks at `=?utf-8?B?…?=` finds nothing, and words that never end must not
//! be looked through again and again. Rule: one pass over a field; what is not a whole encoded word
//! is text as it stands; octets that a charset does not have become replacement characters.

use memchr::{memchr, memmem};

use super::super::fields;
use super::super::transfer::{Decoder, Encoding};

/// The values of a field, encoded words decoded (RFC 2047), unfolded.
pub fn decoded_values(header: &[u8], name: &str) -> Vec<String> {
    let found = fields(header).filter(|field| field.is(name));
    found.map(|field| decode_words(&unfold(field.value))).collect()
}

/// A field's value on one line (RFC 5322 section 2.2.3), tabs as spaces, without outer white space.
pub fn unfold(value: &[u8]) -> Vec<u8> {
    let kept = value.iter().filter(|byte| !matches!(byte, b'\r' | b'\n'));
    let line: Vec<u8> = kept.map(|byte| if *byte == b'\t' { b' ' } else { *byte }).collect();
    line.trim_ascii().to_vec()
}

/// An encoded word, its transfer encoding undone.
struct Word<'a> {
    charset: &'a [u8],
    octets: Vec<u8>,
    /// Octets that it takes.
    length: usize,
}

/// Decodes the encoded words of an unfolded value. White space between two of them goes, and a
/// character that was cut between two becomes whole again, as many programs cut so.
pub fn decode_words(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    let mut before: Option<(&[u8], Vec<u8>)> = None;
    let mut plain = 0;
    let mut at = 0;
    while let Some(found) = memmem::find(&value[at..], b"=?") {
        let start = at + found;
        let Some(word) = encoded_word(&value[start..]) else {
            at = start + 2;
            continue;
        };
        let between = &value[plain..start];
        let is_next = before.is_some() && between.trim_ascii().is_empty();
        before = match before.take() {
            Some((charset, mut octets))
                if is_next && charset.eq_ignore_ascii_case(word.charset) =>
            {
                octets.extend(word.octets);
                Some((charset, octets))
            }
            earlier => {
                push_decoded(&mut text, earlier);
                if !is_next {
                    text.push_str(&String::from_utf8_lossy(between));
                }
                Some((word.charset, word.octets))
            }
        };
        at = start + word.length;
        plain = at;
    }
    push_decoded(&mut text, before);
    text.push_str(&String::from_utf8_lossy(&value[plain..]));
    text
}

fn push_decoded(text: &mut String, word: Option<(&[u8], Vec<u8>)>) {
    if let Some((charset, octets)) = word {
        text.push_str(&decode(&String::from_utf8_lossy(charset), &octets));
    }
}

/// `"=?" charset ["*" language] "?" encoding "?" encoded-text "?="` (RFC 2047 section 2, RFC 2231
/// section 5), at the start of `rest`.
fn encoded_word(rest: &[u8]) -> Option<Word<'_>> {
    let charset_end = 2 + memchr(b'?', &rest[2..])?;
    let charset = &rest[2..charset_end];
    let encoding = *rest.get(charset_end + 1)?;
    let start = charset_end + 3;
    if charset.is_empty() || charset.contains(&b' ') || rest.get(start - 1) != Some(&b'?') {
        return None;
    }
    let end = start + memchr(b'?', rest.get(start..)?)?;
    if rest.get(end + 1) != Some(&b'=') {
        return None;
    }
    let octets = match encoding.to_ascii_lowercase() {
        b'b' => undo(Encoding::Base64, &rest[start..end]),
        b'q' => undo(Encoding::QuotedPrintable, &spaced(&rest[start..end])),
        _ => return None,
    };
    let charset = charset.split(|byte| *byte == b'*').next().unwrap_or(charset);
    Some(Word { charset, octets, length: end + 2 })
}

/// RFC 2047 section 4.2, rule 2: `_` is a space.
fn spaced(text: &[u8]) -> Vec<u8> {
    text.iter().map(|byte| if *byte == b'_' { b' ' } else { *byte }).collect()
}

fn undo(encoding: Encoding, octets: &[u8]) -> Vec<u8> {
    let mut decoder = Decoder::new(encoding);
    let mut decoded = Vec::with_capacity(octets.len());
    decoder.push(octets, &mut decoded);
    decoder.finish(&mut decoded);
    decoded
}

/// Octets of a charset as text. Without a charset, or with one that is not known, UTF-8 where it is
/// that: programs write it without saying so.
pub(super) fn decode(charset: &str, octets: &[u8]) -> String {
    let charset = charset.trim();
    let is_silent = ["", "us-ascii", "ascii", "utf-8", "utf8", "unknown-8bit"]
        .iter()
        .any(|name| charset.eq_ignore_ascii_case(name));
    if is_silent && let Ok(text) = std::str::from_utf8(octets) {
        return text.to_owned();
    }
    match mail_parser::decoders::charsets::map::charset_decoder(charset.as_bytes()) {
        Some(decoder) => decoder(octets),
        None => String::from_utf8_lossy(octets).into_owned(),
    }
}

/// Upper case, letter by letter: the form in which i;unicode-casemap (RFC 5051) compares, compatible
/// characters apart.
pub fn fold_case(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_uppercase();
    }
    text.chars().flat_map(char::to_uppercase).collect()
}

/// True when `needle` is in `text`, without regard to case (RFC 9051 section 6.4.4:
/// i;unicode-casemap).
pub fn contains(text: &str, needle: &str) -> bool {
    let needle = fold_case(needle);
    memmem::find(fold_case(text).as_bytes(), needle.as_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_decoded() {
        for (value, expected) in [
            ("plain", "plain"),
            ("=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>"),
            ("=?ISO-8859-1?Q?Andr=E9?= Pirard", "Andr\u{e9} Pirard"),
            ("=?ISO-8859-1?Q?a?= b", "a b"),
            ("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
            ("=?ISO-8859-1?Q?a?=   =?utf-8?b?w6k=?=", "a\u{e9}"),
            ("=?ISO-8859-1?Q?a_b?=", "a b"),
            ("(=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=)", "(a b)"),
            ("=?utf-8*en?q?x?= y", "x y"),
            ("=?utf-8?B?w6=?= =?utf-8?B?qQ==?=", "\u{e9}"),
            ("=?utf-8?Q?=C3?= =?UTF-8?Q?=A9?= ", "\u{e9} "),
            ("=?utf-8?Q?=C3?= =?x?Q?=A9?=", "\u{fffd}\u{fffd}"),
            ("=?utf-8?Q?=C3?= =?utf-8?Q?=A9?=", "\u{e9}"),
            ("=?utf-8?x?y?= =?utf-8?q?y =??=", "=?utf-8?x?y?= =?utf-8?q?y =??="),
            ("=?a b?q?x?= =? =?utf-8?q?", "=?a b?q?x?= =? =?utf-8?q?"),
            ("a=?utf-8?q??=b", "ab"),
            ("r\u{e9}sum\u{e9}", "r\u{e9}sum\u{e9}"),
            ("=?koi8-r?B?8NLJ18XU?=", "\u{41f}\u{440}\u{438}\u{432}\u{435}\u{442}"),
        ] {
            assert_eq!(decode_words(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn words_without_end_cost_one_pass() {
        let hostile = "=?aa?q?xy".repeat(100_000);
        let started = std::time::Instant::now();
        assert_eq!(decode_words(hostile.as_bytes()), hostile);
        assert!(started.elapsed() < std::time::Duration::from_secs(5));
    }

    #[test]
    fn every_value_of_a_field_is_found() {
        let header =
            b"Subject: =?utf-8?q?a?=\r\n =?utf-8?q?b?=\r\nX: y\r\nsubject:\tc\r\n\td \r\n\r\n";
        assert_eq!(decoded_values(header, "SUBJECT"), ["ab", "c d"]);
        assert!(decoded_values(header, "to").is_empty());
    }

    #[test]
    fn charsets_are_undone() {
        for (charset, octets, expected) in [
            ("", &b"\xc3\xa9"[..], "\u{e9}"),
            ("us-ascii", b"\xe9", "\u{e9}"),
            ("UTF-8", b"a\xff", "a\u{fffd}"),
            ("Windows-1252", b"\x80", "\u{20ac}"),
            ("no-such-charset", b"\xc3\xa9\xff", "\u{e9}\u{fffd}"),
        ] {
            assert_eq!(decode(charset, octets), expected, "{charset}");
        }
    }

    #[test]
    fn case_does_not_matter() {
        for (text, needle, expected) in [
            ("Hello World", "lo wOR", true),
            ("Hello", "", true),
            ("", "x", false),
            ("Stra\u{df}e", "STRASSE", true),
            ("\u{c4}RGER", "\u{e4}rger", true),
            ("\u{3a3}\u{3af}\u{3c3}\u{3c5}\u{3c6}\u{3bf}\u{3c2}", "\u{3c6}\u{3bf}\u{3c3}", true),
            ("abc", "abd", false),
        ] {
            assert_eq!(contains(text, needle), expected, "{text} {needle}");
        }
    }
}
