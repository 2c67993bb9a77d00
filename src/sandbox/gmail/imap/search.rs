//! SEARCH keys (RFC 3501 section 6.4.4).
//!
//! Danger: a key that is skipped finds mail that was not asked for. Rule: an unknown key is BAD; text
//! is compared without regard to case, headers after decoding.

use time::{Date, Month};

use super::super::super::mailbox::StoredMessage;
use super::super::super::mime;
use super::command::{Set, Words};
use super::structure::decoded_header;

/// How deep keys may nest.
const MAX_DEPTH: usize = 16;

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    All,
    Sequence(Set),
    Uid(Set),
    Flag(String, bool),
    Header(String, String),
    Text(String),
    Body(String),
    Larger(u32),
    Smaller(u32),
    /// Received: before, on or after a day, by the comparison that must hold.
    Day(std::cmp::Ordering, bool, Date),
    Not(Box<Self>),
    Or(Box<Self>, Box<Self>),
    And(Vec<Self>),
}

/// What a message is compared as.
pub(super) struct Candidate<'a> {
    pub number: u32,
    pub message: &'a StoredMessage,
    pub last_number: u32,
    pub last_uid: u32,
}

/// All keys to the end of the command.
pub(super) fn parse(words: &mut Words<'_>) -> Option<Key> {
    let mut all = vec![key(words, 0)?];
    while !words.is_empty() {
        words.space()?;
        all.push(key(words, 0)?);
    }
    Some(Key::And(all))
}

fn key(words: &mut Words<'_>, depth: usize) -> Option<Key> {
    use std::cmp::Ordering::{Equal, Less};
    if depth > MAX_DEPTH {
        return None;
    }
    if words.eat("(") {
        let mut all = vec![key(words, depth + 1)?];
        while !words.eat(")") {
            words.space()?;
            all.push(key(words, depth + 1)?);
        }
        return Some(Key::And(all));
    }
    if words.0.first().is_some_and(|b| b.is_ascii_digit() || *b == b'*') {
        return words.set().map(Key::Sequence);
    }
    let name = words.atom()?.to_ascii_uppercase();
    if let Some(flag) = flag_key(&name) {
        return Some(flag);
    }
    let text = |words: &mut Words<'_>| {
        words.space()?;
        words.astring()
    };
    Some(match name.as_str() {
        "ALL" => Key::All,
        "UID" => {
            words.space()?;
            Key::Uid(words.set()?)
        }
        "FROM" | "TO" | "CC" | "BCC" | "SUBJECT" => Key::Header(name, text(words)?),
        "HEADER" => Key::Header(text(words)?, text(words)?),
        "TEXT" => Key::Text(text(words)?),
        "BODY" => Key::Body(text(words)?),
        "KEYWORD" => Key::Flag(text(words)?, true),
        "UNKEYWORD" => Key::Flag(text(words)?, false),
        "LARGER" => Key::Larger(text(words)?.parse().ok()?),
        "SMALLER" => Key::Smaller(text(words)?.parse().ok()?),
        "SINCE" => Key::Day(Less, false, date(&text(words)?)?),
        "BEFORE" => Key::Day(Less, true, date(&text(words)?)?),
        "ON" => Key::Day(Equal, true, date(&text(words)?)?),
        "NOT" => {
            words.space()?;
            Key::Not(Box::new(key(words, depth + 1)?))
        }
        "OR" => {
            words.space()?;
            let one = key(words, depth + 1)?;
            words.space()?;
            Key::Or(Box::new(one), Box::new(key(words, depth + 1)?))
        }
        _ => return None,
    })
}

fn flag_key(name: &str) -> Option<Key> {
    let (bare, on) = match name {
        "NEW" => {
            let recent = Key::Flag("\\Recent".into(), true);
            return Some(Key::And(vec![recent, Key::Flag("\\Seen".into(), false)]));
        }
        "OLD" => ("RECENT", false),
        _ => name.strip_prefix("UN").map_or((name, true), |bare| (bare, false)),
    };
    let flag = match bare {
        "SEEN" => "\\Seen",
        "ANSWERED" => "\\Answered",
        "DELETED" => "\\Deleted",
        "DRAFT" => "\\Draft",
        "FLAGGED" => "\\Flagged",
        "RECENT" => "\\Recent",
        _ => return None,
    };
    Some(Key::Flag(flag.to_owned(), on))
}

/// `d-Mon-yyyy`.
fn date(text: &str) -> Option<Date> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut parts = text.split('-');
    let day = parts.next()?.parse().ok()?;
    let name = parts.next()?;
    let month = MONTHS.iter().position(|known| known.eq_ignore_ascii_case(name))? + 1;
    let year = parts.next()?.parse().ok()?;
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    parts.next().is_none().then(|| Date::from_calendar_date(year, month, day).ok()).flatten()
}

impl Key {
    pub fn holds(&self, at: &Candidate<'_>) -> bool {
        let message = at.message;
        let raw = &message.raw;
        match self {
            Self::All => true,
            Self::Sequence(set) => set.contains(at.number, at.last_number),
            Self::Uid(set) => set.contains(message.uid, at.last_uid),
            Self::Flag(flag, on) => {
                message.flags.iter().any(|known| known.eq_ignore_ascii_case(flag)) == *on
            }
            Self::Header(name, text) => {
                decoded_header(raw, name).is_some_and(|value| holds(&value, text))
            }
            Self::Text(text) => holds(&String::from_utf8_lossy(raw), text),
            Self::Body(text) => {
                holds(&String::from_utf8_lossy(&raw[mime::header_length(raw)..]), text)
            }
            Self::Larger(size) => raw.len() > *size as usize,
            Self::Smaller(size) => raw.len() < *size as usize,
            Self::Day(order, wanted, day) => {
                (message.received.date().cmp(day) == *order) == *wanted
            }
            Self::Not(key) => !key.holds(at),
            Self::Or(one, other) => one.holds(at) || other.holds(at),
            Self::And(keys) => keys.iter().all(|key| key.holds(at)),
        }
    }
}

fn holds(text: &str, wanted: &str) -> bool {
    text.to_lowercase().contains(&wanted.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(search: &str) -> Option<bool> {
        let mut words = Words(search.as_bytes());
        let key = parse(&mut words)?;
        let raw = b"From: Bob <bob@x>\r\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n\r\nthe body\r\n";
        let mut message = StoredMessage::new(raw.to_vec()).flagged("\\Flagged");
        message.uid = 20;
        message.received = time::macros::datetime!(2024-02-03 04:05:06 UTC);
        let at = Candidate { number: 2, message: &message, last_number: 3, last_uid: 30 };
        Some(key.holds(&at))
    }

    #[test]
    fn keys_find_what_they_say() {
        let table = [
            ("ALL", true),
            ("UNSEEN FLAGGED", true),
            ("SEEN", false),
            ("NOT SEEN", true),
            ("OR SEEN (FLAGGED UNDELETED)", true),
            ("FROM BOB", true),
            ("SUBJECT grüße", true),
            ("HEADER Subject \"\"", true),
            ("HEADER X-None \"\"", false),
            ("BODY \"the body\"", true),
            ("TEXT nothing", false),
            ("2:*", true),
            ("1", false),
            ("UID 21:*", false),
            ("UID 20", true),
            ("SINCE 3-Feb-2024", true),
            ("SINCE 4-Feb-2024", false),
            ("BEFORE 3-Feb-2024", false),
            ("BEFORE 4-Feb-2024", true),
            ("ON 03-feb-2024", true),
            ("LARGER 10 SMALLER 10", false),
            ("NEW", false),
        ];
        for (search, want) in table {
            // Non-ASCII needs a string, as on the wire.
            let search = search.replace("grüße", "\"grüße\"");
            assert_eq!(matches(&search), Some(want), "{search}");
        }
    }

    #[test]
    fn unknown_keys_are_refused() {
        for bad in ["", "FOO", "ALL ", "SINCE yesterday", "UID x", "NOT", "OR ALL", "(ALL", "FROM"]
        {
            assert_eq!(matches(bad), None, "{bad}");
        }
        assert_eq!(matches(&"NOT ".repeat(50)), None);
    }
}
