//! What SORT and THREAD want to know of a header, read once.
//!
//! Danger: dates are written in every way that programs ever had. Rule: what can be made out is
//! taken (RFC 5256 section 2.2); a date without a day is none.

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

use super::super::envelope::addresses::{Address, addresses};
use super::subject::base_subject;
use crate::protocol::mime::structure::{decode_words, decoded_values, fold_case};
use crate::protocol::mime::{Field, fields};

/// What a header says that sorting and threading ask for. Texts are in the form in which they are
/// compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The Date field.
    pub(super) sent: Option<OffsetDateTime>,
    /// Base subject.
    pub(super) subject: String,
    /// Whether its extraction took something away that replies and forwards have.
    pub(super) is_reply: bool,
    /// Mailbox of the first address of each field.
    pub(super) from: String,
    pub(super) to: String,
    pub(super) cc: String,
    /// Display name or address of the first address (RFC 5957).
    pub(super) display_from: String,
    pub(super) display_to: String,
    /// Message-ID, normalised.
    pub(super) message_id: Option<Vec<u8>>,
    /// Ancestors, the oldest first.
    pub(super) references: Vec<Vec<u8>>,
}

/// Ancestors of one message; the oldest of a longer list are left out.
const MAX_REFERENCES: usize = 1_000;

impl Facts {
    /// From a header.
    pub fn of(header: &[u8]) -> Self {
        let subject = decoded_values(header, "Subject").into_iter().next().unwrap_or_default();
        let (subject, is_reply) = base_subject(&subject);
        let (from, display_from) = first_address(header, "From");
        let (to, display_to) = first_address(header, "To");
        let (cc, _) = first_address(header, "Cc");
        let message_id = field(header, "Message-ID").and_then(|field| ids(field.value, 1).pop());
        Self {
            sent: sent(header),
            subject: fold_case(&subject),
            is_reply,
            from,
            to,
            cc,
            display_from,
            display_to,
            message_id,
            references: references(header),
        }
    }
}

fn field<'a>(header: &'a [u8], name: &str) -> Option<Field<'a>> {
    fields(header).find(|field| field.is(name))
}

/// RFC 5256 section 3, step 1: References, or else the first valid identifier of In-Reply-To.
fn references(header: &[u8]) -> Vec<Vec<u8>> {
    let mut found =
        field(header, "References").map_or(Vec::new(), |one| ids(one.value, usize::MAX));
    if found.is_empty() {
        return field(header, "In-Reply-To").map_or(Vec::new(), |one| ids(one.value, 1));
    }
    found.split_off(found.len().saturating_sub(MAX_REFERENCES))
}

/// Mailbox and display text of the first address (RFC 5256 section 3, RFC 5957 section 3).
fn first_address(header: &[u8], name: &str) -> (String, String) {
    let text = |octets: &[u8]| fold_case(&String::from_utf8_lossy(octets));
    let decoded = |octets: &[u8]| fold_case(&decode_words(octets));
    let first = field(header, name).and_then(|field| addresses(field.value).into_iter().next());
    match first {
        Some(Address::Mailbox(one)) => {
            let address = || text(&[&one.local[..], b"@", &one.host].concat());
            let display = one.name.as_deref().map_or_else(address, decoded);
            (text(&one.local), display)
        }
        Some(Address::GroupStart(name)) => (text(&name), decoded(&name)),
        Some(Address::GroupEnd) | None => Default::default(),
    }
}

/// Valid message identifiers, without angle brackets, quotes undone where they change nothing
/// (RFC 5256 section 3: `<"a"@b>` is `<a@b>`). What stands between them is passed over.
fn ids(value: &[u8], most: usize) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut rest = value;
    while let Some(start) = memchr::memchr(b'<', rest).filter(|_| found.len() < most) {
        let (id, after) = id(&rest[start + 1..]);
        found.extend(id);
        rest = after;
    }
    found
}

/// One identifier behind its `<`; `None` for what has no `@` with something on both sides.
fn id(rest: &[u8]) -> (Option<Vec<u8>>, &[u8]) {
    let mut text = Vec::new();
    let mut at_sign = None;
    let mut is_quoted = false;
    let mut place = 0;
    while let Some(&byte) = rest.get(place) {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\\' if is_quoted => {
                place += 1;
                text.extend(rest.get(place));
            }
            b'>' if !is_quoted => {
                place += 1;
                break;
            }
            b'<' if !is_quoted => break,
            b' ' | b'\t' if !is_quoted => {}
            b'\r' | b'\n' => {}
            _ => {
                if byte == b'@' && !is_quoted {
                    at_sign = Some(text.len());
                }
                text.push(byte);
            }
        }
        place += 1;
    }
    let is_valid = at_sign.is_some_and(|at| at > 0 && at + 1 < text.len());
    (is_valid.then_some(text), rest.get(place..).unwrap_or_default())
}

/// The Date field with its zone (RFC 5322 sections 3.3 and 4.3). RFC 5256 section 2.2: without a
/// readable zone it is UTC, without a readable time it is midnight.
pub fn sent(header: &[u8]) -> Option<OffsetDateTime> {
    parse_date(field(header, "Date")?.value)
}

/// Octets of a date that are looked at; comments are the longest part of real ones.
const MAX_DATE: usize = 200;

fn parse_date(value: &[u8]) -> Option<OffsetDateTime> {
    let text = String::from_utf8_lossy(&value[..value.len().min(MAX_DATE)]).into_owned();
    let text = without_comments(&text);
    let mut words = text.split([' ', '\t', '\r', '\n', ',', '-']).filter(|word| !word.is_empty());
    let first = words.next()?;
    let day = if first.starts_with(|c: char| c.is_ascii_digit()) { first } else { words.next()? };
    let day = day.parse().ok()?;
    let month = month(words.next()?)?;
    let date = Date::from_calendar_date(year(words.next()?)?, month, day).ok()?;
    let time = words.next().and_then(parse_time).unwrap_or(Time::MIDNIGHT);
    let zone = zone(&text).unwrap_or(UtcOffset::UTC);
    Some(PrimitiveDateTime::new(date, time).assume_offset(zone))
}

fn without_comments(text: &str) -> String {
    let mut depth = 0_usize;
    let mut kept = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => kept.push(c),
            _ => {}
        }
    }
    kept
}

fn month(name: &str) -> Option<Month> {
    const NAMES: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let name = name.get(..3)?.to_ascii_lowercase();
    let place = NAMES.iter().position(|other| **other == name)?;
    Month::try_from(u8::try_from(place + 1).ok()?).ok()
}

/// RFC 5322 section 4.3: two digits up to 49 are of this century, other short ones of the last.
fn year(digits: &str) -> Option<i32> {
    let year: i32 = digits.parse().ok()?;
    match (digits.len(), year) {
        (..=2, ..50) => Some(year + 2000),
        (..=3, _) => Some(year + 1900),
        _ => Some(year),
    }
}

/// `hour ":" minute [":" second]`; a leap second is the one before.
fn parse_time(word: &str) -> Option<Time> {
    let mut numbers = word.split(':').map(|digits| digits.parse::<u8>());
    let hour = numbers.next()?.ok()?;
    let minute = numbers.next()?.ok()?;
    let second = numbers.next().unwrap_or(Ok(0)).ok()?;
    Time::from_hms(hour, minute, second.min(59)).ok()
}

/// `("+" / "-") 4DIGIT`, or a name of RFC 5322 section 4.3, at the end.
fn zone(text: &str) -> Option<UtcOffset> {
    let word = text.split_ascii_whitespace().last()?;
    let hours = match word.to_ascii_uppercase().as_str() {
        "EDT" => -4,
        "EST" | "CDT" => -5,
        "CST" | "MDT" => -6,
        "MST" | "PDT" => -7,
        "PST" => -8,
        _ => return numeric_zone(word),
    };
    UtcOffset::from_hms(hours, 0, 0).ok()
}

fn numeric_zone(word: &str) -> Option<UtcOffset> {
    let sign = if word.starts_with('-') { -1 } else { 1 };
    let digits = word.strip_prefix(['+', '-'])?;
    if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes) = (digits[..2].parse::<i32>().ok()?, digits[2..].parse::<i32>().ok()?);
    let seconds = sign * (hours * 60 + minutes) * 60;
    (minutes < 60).then(|| UtcOffset::from_whole_seconds(seconds).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn dates_are_read() {
        for (value, expected) in [
            (" Sat, 24 Mar 2007 23:00:00 +0200\r\n", Some(datetime!(2007-03-24 21:00 UTC))),
            ("1 jan 99 1:02 EST", Some(datetime!(1999-01-01 6:02 UTC))),
            (
                "Fri, 21 Nov 1997 09(comment):   55  :  06 -0600",
                Some(datetime!(1997-11-21 6:00 UTC)),
            ),
            (
                "Thu,\r\n 13\r\n Feb 1969 23:32 -0330 (Newfoundland Time)",
                Some(datetime!(1969-02-14 3:02 UTC)),
            ),
            ("21 Nov 49 10:00:60 GMT", Some(datetime!(2049-11-21 10:00:59 UTC))),
            ("21-Nov-2024 10:00:00 +0100", Some(datetime!(2024-11-21 9:00 UTC))),
            ("Mon, 21 November 124 10:00", Some(datetime!(2024-11-21 10:00 UTC))),
            ("21 Nov 2024", Some(datetime!(2024-11-21 0:00 UTC))),
            ("21 Nov 2024 25:00:00 +0100", Some(datetime!(2024-11-20 23:00 UTC))),
            ("21 Nov 2024 10:00:00 +9999", Some(datetime!(2024-11-21 10:00 UTC))),
            ("31 Feb 2024 10:00:00 +0000", None),
            ("yesterday", None),
            ("", None),
        ] {
            // White space inside a time is beyond what is read: the time of that one is lost.
            let found = parse_date(value.as_bytes());
            if value.contains(":   55") {
                assert_eq!(
                    found.map(|found| found.date()),
                    Some(time::macros::date!(1997 - 11 - 21))
                );
            } else {
                assert_eq!(found, expected, "{value:?}");
            }
        }
    }

    fn text(ids: Vec<Vec<u8>>) -> Vec<String> {
        ids.into_iter().map(|id| String::from_utf8(id).expect("UTF-8")).collect()
    }

    #[test]
    fn identifiers_are_normalised() {
        for (value, expected) in [
            (" <a@b>\r\n", vec!["a@b"]),
            ("<\"01KF8JCEOCBS0045PS\"@xxx.yyy.com>", vec!["01KF8JCEOCBS0045PS@xxx.yyy.com"]),
            ("<\"a\\b\"@c>", vec!["ab@c"]),
            ("<a@b><c@d>\r\n\t<e@f>", vec!["a@b", "c@d", "e@f"]),
            ("<a\r\n @b>", vec!["a@b"]),
            ("Message from \"X <no@no>\" of Monday <a@b> (c <x@y>)", vec!["no@no", "a@b", "x@y"]),
            ("\"Joe\" <a@b> (c)", vec!["a@b"]),
            ("<ab> <@b> <a@> <>", vec![]),
            ("<open <a@b>", vec!["a@b"]),
            ("<a@b", vec!["a@b"]),
            ("none", vec![]),
        ] {
            assert_eq!(text(ids(value.as_bytes(), usize::MAX)), expected, "{value:?}");
        }
    }

    #[test]
    fn a_header_becomes_facts() {
        let header = b"Message-ID: <m@x>\r\nReferences: <a@b> <c@d>\r\nIn-Reply-To: <e@f>\r\n\
            From: =?utf-8?q?J=C3=B6rg?= <joerg@X.de>\r\nTo: Team: a@b;\r\nCc: cc@x\r\n\
            Date: 1 Jan 2024 00:00:00 +0000\r\nSubject: Re: =?utf-8?q?=C3=A9?= x\r\n\r\n";
        let expected = Facts {
            sent: Some(datetime!(2024-01-01 0:00 UTC)),
            subject: "\u{c9} X".to_owned(),
            is_reply: true,
            from: "JOERG".to_owned(),
            to: "TEAM".to_owned(),
            cc: "CC".to_owned(),
            display_from: "J\u{d6}RG".to_owned(),
            display_to: "TEAM".to_owned(),
            message_id: Some(b"m@x".to_vec()),
            references: vec![b"a@b".to_vec(), b"c@d".to_vec()],
        };
        assert_eq!(Facts::of(header), expected);
        assert_eq!(Facts::of(b"\r\n"), Facts::default());
        let reply = Facts::of(b"References: none\r\nIn-Reply-To: <e@f> <g@h>\r\nTo: x@y\r\n\r\n");
        assert_eq!(text(reply.references), ["e@f"]);
        assert_eq!(reply.display_to, "X@Y");
        let many = format!(
            "References: {}\r\n",
            (0..3000).map(|n| format!("<{n}@x> ")).collect::<String>()
        );
        let found = text(Facts::of(many.as_bytes()).references);
        assert_eq!((found.len(), found[0].as_str()), (1000, "2000@x"));
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_read(value in "[-a-c0-9<>@\"\\\\( ):+,]{0,60}") {
            for name in ["Date", "References", "From", "Subject"] {
                let _ = Facts::of(format!("{name}: {value}\r\n\r\n").as_bytes());
            }
        }
    }
}
