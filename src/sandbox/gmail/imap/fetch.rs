//! FETCH: what may be asked of a message, and the answer (RFC 3501 section 6.4.5).
//!
//! Danger: a section that is echoed in another form than asked, or a size that is not the body's
//! length, confuses clients for ever. Rule: RFC822.SIZE is the length of BODY[]; every string is a
//! literal of exact length; an item we do not know is BAD.

use super::super::super::mailbox::StoredMessage;
use super::super::super::mime;
use super::command::Words;
use super::structure::{self, Piece};

/// One thing to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Flags,
    Uid,
    InternalDate,
    Size,
    Envelope,
    /// True: BODYSTRUCTURE.
    Structure(bool),
    Text(Section),
}

/// A piece of the message's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// As the answer names it.
    label: String,
    what: What,
    /// First octet and how many.
    partial: Option<(usize, usize)>,
    pub marks_seen: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Whole,
    Header,
    Body,
    Fields { names: Vec<String>, all_but: bool },
    Part(Vec<usize>, Piece),
}

/// One item, a list of them, or a macro.
pub(super) fn items(words: &mut Words<'_>) -> Option<Vec<Item>> {
    let macros: [(&str, &[Item]); 3] = [
        ("ALL", &[Item::Flags, Item::InternalDate, Item::Size, Item::Envelope]),
        ("FAST", &[Item::Flags, Item::InternalDate, Item::Size]),
        (
            "FULL",
            &[Item::Flags, Item::InternalDate, Item::Size, Item::Envelope, Item::Structure(false)],
        ),
    ];
    for (name, items) in macros {
        let mut rest = words.clone();
        if rest.eat(name) && rest.is_empty() {
            *words = rest;
            return Some(items.to_vec());
        }
    }
    if !words.eat("(") {
        return item(words).map(|one| vec![one]);
    }
    let mut all = vec![item(words)?];
    while !words.eat(")") {
        words.space()?;
        all.push(item(words)?);
    }
    Some(all)
}

fn item(words: &mut Words<'_>) -> Option<Item> {
    for (prefix, marks_seen) in [("BODY.PEEK[", false), ("BODY[", true)] {
        if words.eat(prefix) {
            return section(words, marks_seen).map(Item::Text);
        }
    }
    // Longer names first: each is a prefix of none after it.
    let table: [(&str, Item); 10] = [
        ("RFC822.SIZE", Item::Size),
        ("RFC822.HEADER", plain("RFC822.HEADER", What::Header, false)),
        ("RFC822.TEXT", plain("RFC822.TEXT", What::Body, true)),
        ("RFC822", plain("RFC822", What::Whole, true)),
        ("BODYSTRUCTURE", Item::Structure(true)),
        ("BODY", Item::Structure(false)),
        ("INTERNALDATE", Item::InternalDate),
        ("ENVELOPE", Item::Envelope),
        ("FLAGS", Item::Flags),
        ("UID", Item::Uid),
    ];
    let found = table.into_iter().find(|(name, _)| words.eat(name)).map(|(_, item)| item)?;
    // `UIDX` is no `UID`.
    let ends = words.0.first().is_none_or(|b| b" )".contains(b));
    ends.then_some(found)
}

fn plain(label: &str, what: What, marks_seen: bool) -> Item {
    Item::Text(Section { label: label.to_owned(), what, partial: None, marks_seen })
}

/// Behind `BODY[`.
fn section(words: &mut Words<'_>, marks_seen: bool) -> Option<Section> {
    let start = words.0;
    let what = section_text(words)?;
    let named = &start[..start.len() - words.0.len()];
    if !words.eat("]") {
        return None;
    }
    let mut label = format!("BODY[{}]", std::str::from_utf8(named).ok()?.to_ascii_uppercase());
    let mut partial = None;
    if words.eat("<") {
        let from = words.number()? as usize;
        let count = words.eat(".").then(|| words.number()).flatten().filter(|&n| n > 0)? as usize;
        if !words.eat(">") {
            return None;
        }
        label.push_str(&format!("<{from}>"));
        partial = Some((from, count));
    }
    Some(Section { label, what, partial, marks_seen })
}

fn section_text(words: &mut Words<'_>) -> Option<What> {
    if words.0.starts_with(b"]") {
        return Some(What::Whole);
    }
    for (name, all_but) in [("HEADER.FIELDS.NOT ", true), ("HEADER.FIELDS ", false)] {
        if words.eat(name) {
            let names = words.list().filter(|names| !names.is_empty())?;
            return Some(What::Fields { names, all_but });
        }
    }
    if words.eat("HEADER") {
        return Some(What::Header);
    }
    if words.eat("TEXT") {
        return Some(What::Body);
    }
    let mut path = vec![words.number()? as usize];
    while words.eat(".") {
        if words.eat("MIME") {
            return Some(What::Part(path, Piece::Mime));
        }
        path.push(words.number()? as usize);
    }
    Some(What::Part(path, Piece::Body))
}

/// `* n FETCH (…)`.
pub(super) fn answer(number: usize, message: &StoredMessage, items: &[Item]) -> Vec<u8> {
    let mut out = format!("* {number} FETCH (").into_bytes();
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        push(&mut out, message, item);
    }
    out.extend_from_slice(b")\r\n");
    out
}

fn push(out: &mut Vec<u8>, message: &StoredMessage, item: &Item) {
    let text = match item {
        Item::Flags => format!("FLAGS ({})", flags(message)),
        Item::Uid => format!("UID {}", message.uid),
        Item::InternalDate => format!("INTERNALDATE \"{}\"", internal_date(message.received)),
        Item::Size => format!("RFC822.SIZE {}", message.raw.len()),
        Item::Envelope => format!("ENVELOPE {}", structure::envelope(&message.raw)),
        Item::Structure(true) => {
            format!("BODYSTRUCTURE {}", structure::body_structure(&message.raw, true))
        }
        Item::Structure(false) => {
            format!("BODY {}", structure::body_structure(&message.raw, false))
        }
        Item::Text(section) => {
            let Some(bytes) = section.bytes(&message.raw) else {
                out.extend_from_slice(format!("{} NIL", section.label).as_bytes());
                return;
            };
            out.extend_from_slice(format!("{} {{{}}}\r\n", section.label, bytes.len()).as_bytes());
            out.extend_from_slice(&bytes);
            return;
        }
    };
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn flags(message: &StoredMessage) -> String {
    message.flags.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// `dd-Mon-yyyy hh:mm:ss +zzzz`, the day padded with a space.
fn internal_date(time: time::OffsetDateTime) -> String {
    let form = time::macros::format_description!(
        "[day padding:space]-[month repr:short]-[year] [hour]:[minute]:[second] \
         [offset_hour sign:mandatory][offset_minute]"
    );
    time.format(&form).unwrap_or_default()
}

impl Section {
    fn bytes(&self, raw: &[u8]) -> Option<Vec<u8>> {
        let end = mime::header_length(raw);
        let whole = match &self.what {
            What::Whole => raw.to_vec(),
            What::Header => raw[..end].to_vec(),
            What::Body => raw[end..].to_vec(),
            What::Fields { names, all_but } => fields(raw, names, *all_but),
            What::Part(path, piece) => structure::part(raw, path, *piece)?.to_vec(),
        };
        Some(match self.partial {
            Some((from, count)) => whole.into_iter().skip(from).take(count).collect(),
            None => whole,
        })
    }
}

fn fields(raw: &[u8], names: &[String], all_but: bool) -> Vec<u8> {
    let named = |field: &[u8]| {
        names.iter().any(|name| mime::field_name(field).eq_ignore_ascii_case(name.as_bytes()))
    };
    let kept = mime::fields(raw).into_iter().filter(|field| named(field) != all_but);
    let mut out: Vec<u8> = kept.flatten().copied().collect();
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(what: &str, raw: &[u8]) -> Option<String> {
        let mut words = Words(what.as_bytes());
        let items = items(&mut words)?;
        words.done()?;
        let mut message = StoredMessage::new(raw.to_vec());
        message.uid = 7;
        let answer = answer(1, &message.flagged("\\Seen"), &items);
        Some(String::from_utf8(answer).expect("ASCII"))
    }

    const RAW: &[u8] = b"From: a@x\r\nSubject: s\r\n\tt\r\n\r\nbody\r\n";

    #[test]
    fn sections_are_echoed_and_exact() {
        let table = [
            ("(UID FLAGS)", "* 1 FETCH (UID 7 FLAGS (\\Seen))\r\n"),
            ("RFC822.SIZE", "* 1 FETCH (RFC822.SIZE 35)\r\n"),
            ("BODY[TEXT]", "* 1 FETCH (BODY[TEXT] {6}\r\nbody\r\n)\r\n"),
            ("body.peek[text]<2.3>", "* 1 FETCH (BODY[TEXT]<2> {3}\r\ndy\r)\r\n"),
            ("BODY[]<99.1>", "* 1 FETCH (BODY[]<99> {0}\r\n)\r\n"),
            ("BODY[1]", "* 1 FETCH (BODY[1] {6}\r\nbody\r\n)\r\n"),
            ("BODY[2]", "* 1 FETCH (BODY[2] NIL)\r\n"),
            (
                "BODY.PEEK[HEADER.FIELDS (Subject)]",
                "* 1 FETCH (BODY[HEADER.FIELDS (SUBJECT)] {18}\r\nSubject: s\r\n\tt\r\n\r\n)\r\n",
            ),
            (
                "BODY.PEEK[HEADER.FIELDS.NOT (subject)]",
                "* 1 FETCH (BODY[HEADER.FIELDS.NOT (SUBJECT)] {13}\r\nFrom: a@x\r\n\r\n)\r\n",
            ),
        ];
        for (what, want) in table {
            assert_eq!(fetch(what, RAW).as_deref(), Some(want), "{what}");
        }
    }

    #[test]
    fn what_is_unknown_is_no_item() {
        for bad in [
            "",
            "()",
            "UIDX",
            "(UID  FLAGS)",
            "BODY[",
            "BODY[]<1>",
            "BODY[]<1.0>",
            "X-GM-MSGID",
            "BODY[HEADER.FIELDS ()]",
            "ALL FLAGS",
            "BODY[0X]",
        ] {
            assert_eq!(fetch(bad, RAW), None, "{bad}");
        }
    }

    #[test]
    fn dates_have_a_padded_day() {
        let time = time::macros::datetime!(2024-02-03 04:05:06 UTC);
        assert_eq!(internal_date(time), " 3-Feb-2024 04:05:06 +0000");
    }
}
