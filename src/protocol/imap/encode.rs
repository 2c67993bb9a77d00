//! Writing the parts of answers after login.
//!
//! Danger: a name or a header with a quote, a line end or a NUL in it would be read as more of the
//! answer. Rule: everything from a mailbox passes through here; what a quoted string can't hold
//! becomes a literal, or is replaced where the text is only to be shown.

use time::OffsetDateTime;

use super::modified_utf7;

/// `date-month`.
pub(super) const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A longer string goes as a literal: some clients read lines into a buffer of fixed size.
const MAX_QUOTED: usize = 1_000;

/// A mailbox name as an astring: modified UTF-7 (RFC 3501 section 5.1.3) unless `utf8`. Always
/// quoted, which every client reads.
pub fn mailbox_name(name: &str, utf8: bool) -> String {
    if utf8 { quoted(name) } else { quoted(&modified_utf7::encode(name)) }
}

/// `quoted`, for text that is UTF-8 or ASCII; what can't be in it (NUL, CR, LF) becomes a space.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\0' | '\r' | '\n' => quoted.push(' '),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// `date-time`, in quotes (RFC 9051 section 9).
pub fn date_time(time: OffsetDateTime) -> String {
    let month = MONTHS[usize::from(u8::from(time.month()) - 1)];
    let (hours, minutes, _) = time.offset().as_hms();
    let sign = if time.offset().is_negative() { '-' } else { '+' };
    format!(
        "\"{:2}-{month}-{:04} {:02}:{:02}:{:02} {sign}{:02}{:02}\"",
        time.day(),
        time.year().clamp(0, 9999),
        time.hour(),
        time.minute(),
        time.second(),
        hours.unsigned_abs(),
        minutes.unsigned_abs(),
    )
}

/// `nstring`: NIL, quoted where that can hold it, else a literal. NUL, which no string can hold, is
/// left out.
pub fn nstring(value: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(value) = value else { return out.extend_from_slice(b"NIL") };
    let is_quotable = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~');
    if value.len() <= MAX_QUOTED && value.iter().all(is_quotable) {
        out.push(b'"');
        for byte in value {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(*byte);
        }
        return out.push(b'"');
    }
    let kept: Vec<u8> = value.iter().copied().filter(|byte| *byte != 0).collect();
    out.extend_from_slice(format!("{{{}}}\r\n", kept.len()).as_bytes());
    out.extend_from_slice(&kept);
}

/// Numbers as a `sequence-set`, ascending runs joined; in the order given.
pub fn number_set(numbers: impl IntoIterator<Item = u32>) -> String {
    let mut set = String::new();
    let mut run: Option<(u32, u32)> = None;
    for number in numbers {
        match &mut run {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => {
                push_range(&mut set, run);
                run = Some((number, number));
            }
        }
    }
    push_range(&mut set, run);
    set
}

fn push_range(set: &mut String, run: Option<(u32, u32)>) {
    let Some((first, last)) = run else { return };
    if !set.is_empty() {
        set.push(',');
    }
    set.push_str(&first.to_string());
    if last > first {
        set.push(':');
        set.push_str(&last.to_string());
    }
}

/// True when a folder name matches a LIST pattern: `*` is anything, `%` anything but a separator;
/// INBOX in any case (RFC 9051 section 6.3.9).
///
/// Every place in the name that the pattern so far can lead to is followed at once: the time is the
/// product of both lengths, however many wildcards there are.
pub fn matches_pattern(pattern: &str, name: &str) -> bool {
    let name_octets = name.as_bytes();
    let without_case = if name.split('/').next() == Some("INBOX") { "INBOX".len() } else { 0 };
    let is_same = |at: usize, octet: u8| match name_octets.get(at) {
        Some(other) if at < without_case => other.eq_ignore_ascii_case(&octet),
        Some(other) => *other == octet,
        None => false,
    };
    let mut reached = vec![false; name_octets.len() + 1];
    reached[0] = true;
    let mut before = b' ';
    for octet in pattern.bytes() {
        match (before, octet) {
            // Nothing new: a run of wildcards is as the widest of them.
            (b'*', b'*' | b'%') => continue,
            (b'%', b'%') => {}
            (_, b'*' | b'%') => spread(&mut reached, name_octets, octet == b'*'),
            _ => {
                for at in (0..name_octets.len()).rev() {
                    reached[at + 1] = reached[at] && is_same(at, octet);
                }
                reached[0] = false;
                if !reached.contains(&true) {
                    return false;
                }
            }
        }
        before = octet;
    }
    reached[name_octets.len()]
}

/// From every place that is reached, all after it are: to the end, or to the next separator.
fn spread(reached: &mut [bool], name: &[u8], over_separators: bool) {
    for at in 0..name.len() {
        if reached[at] && (over_separators || name[at] != b'/') {
            reached[at + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn names_are_quoted() {
        for (name, seven_bit, utf8) in [
            ("INBOX", "\"INBOX\"", "\"INBOX\""),
            ("R&D", "\"R&-D\"", "\"R&D\""),
            ("Entwürfe", "\"Entw&APw-rfe\"", "\"Entwürfe\""),
            ("a\"b\\c", "\"a\\\"b\\\\c\"", "\"a\\\"b\\\\c\""),
            ("a\r\nb", "\"a&AA0ACg-b\"", "\"a  b\""),
            ("", "\"\"", "\"\""),
        ] {
            assert_eq!(mailbox_name(name, false), seven_bit);
            assert_eq!(mailbox_name(name, true), utf8);
        }
    }

    #[test]
    fn dates_are_padded() {
        for (time, written) in [
            (datetime!(1996-07-17 02:44:25 -7), "\"17-Jul-1996 02:44:25 -0700\""),
            (datetime!(2024-02-01 21:02:05 +5:30), "\" 1-Feb-2024 21:02:05 +0530\""),
            (datetime!(1970-12-31 00:00:00 UTC), "\"31-Dec-1970 00:00:00 +0000\""),
            (datetime!(0999-01-09 00:00:00 -0:30), "\" 9-Jan-0999 00:00:00 -0030\""),
            (datetime!(-0001-01-09 00:00:00 UTC), "\" 9-Jan-0000 00:00:00 +0000\""),
        ] {
            assert_eq!(date_time(time), written);
        }
    }

    #[test]
    fn strings_are_literals_where_they_must_be() {
        let long = "x".repeat(MAX_QUOTED);
        let longer = "x".repeat(MAX_QUOTED + 1);
        for (octets, written) in [
            (None, "NIL".to_owned()),
            (Some(""), "\"\"".to_owned()),
            (Some("a \"b\\"), "\"a \\\"b\\\\\"".to_owned()),
            (Some("a\nb"), "{3}\r\na\nb".to_owned()),
            (Some("a\tb"), "\"a\tb\"".to_owned()),
            (Some("a\0"), "{1}\r\na".to_owned()),
            (Some("\u{1}"), "{1}\r\n\u{1}".to_owned()),
            (Some("é"), "{2}\r\né".to_owned()),
            (Some(long.as_str()), format!("\"{long}\"")),
            (Some(longer.as_str()), format!("{{1001}}\r\n{longer}")),
        ] {
            let mut out = b"x ".to_vec();
            nstring(octets.map(str::as_bytes), &mut out);
            assert_eq!(String::from_utf8_lossy(&out[2..]), written);
        }
    }

    #[test]
    fn runs_of_numbers_are_joined_in_their_order() {
        for (numbers, set) in [
            (vec![], ""),
            (vec![7], "7"),
            (vec![1, 2, 3, 5, 7, 8], "1:3,5,7:8"),
            (vec![3, 2, 1], "3,2,1"),
            (vec![5, 6, 2, 3, 4], "5:6,2:4"),
            (vec![4, 4, 5], "4,4:5"),
            (vec![u32::MAX - 1, u32::MAX, 1], "4294967294:4294967295,1"),
            (vec![u32::MAX, 0], "4294967295,0"),
        ] {
            assert_eq!(number_set(numbers), set);
        }
    }

    #[test]
    fn patterns_match_names() {
        for (pattern, name, matches) in [
            ("*", "", true),
            ("*", "a/b", true),
            ("%", "a", true),
            ("%", "a/b", false),
            ("%/%", "a/b", true),
            ("%/%", "a/b/c", false),
            ("a/*", "a/b/c", true),
            ("a/*", "a", false),
            ("a*", "a", true),
            ("*c", "a/b/c", true),
            ("%b%", "abc/d", false),
            ("*%", "a/b", true),
            ("%*", "a/b", true),
            ("a", "A", false),
            ("inbox", "INBOX", true),
            ("InB%", "INBOX", true),
            ("inbox/a", "INBOX/a", true),
            ("inbox/A", "INBOX/a", false),
            ("inboxes", "INBOXES", false),
            ("", "", true),
            ("", "a", false),
            ("Entw%", "Entwürfe", true),
            ("a[b", "a[b", true),
        ] {
            assert_eq!(matches_pattern(pattern, name), matches, "{pattern} {name}");
        }
    }

    #[test]
    fn hostile_patterns_cost_little() {
        let name = "a".repeat(400);
        assert!(!matches_pattern(&"*a%".repeat(10_000), &name));
        assert!(matches_pattern(&"*a".repeat(400), &name));
        assert!(!matches_pattern(&format!("{}b", "*a%".repeat(399)), &name));
        assert!(matches_pattern(&"%*".repeat(16_000), "a/b"));
    }

    /// As the RFC says it, without regard to time.
    fn reference(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.first(), name.first()) {
            (None, None) => true,
            (None, Some(_)) => false,
            (Some(b'*' | b'%'), _) if reference(&pattern[1..], name) => true,
            (Some(b'*'), Some(_)) => reference(pattern, &name[1..]),
            (Some(b'%'), Some(octet)) => *octet != b'/' && reference(pattern, &name[1..]),
            (Some(one), Some(other)) => one == other && reference(&pattern[1..], &name[1..]),
            (Some(_), None) => false,
        }
    }

    proptest::proptest! {
        #[test]
        fn patterns_match_as_the_reference(pattern in "[ab/*%]{0,10}", name in "[ab/]{0,12}") {
            let expected = reference(pattern.as_bytes(), name.as_bytes());
            proptest::prop_assert_eq!(matches_pattern(&pattern, &name), expected);
        }
    }
}
