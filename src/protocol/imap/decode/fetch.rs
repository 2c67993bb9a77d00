//! FETCH, STORE, COPY and MOVE.
//!
//! Danger: one short command may ask for a message a thousand times, or for ten thousand fields of
//! each. Rule: items, part numbers and field names have limits; a section is understood whole, for
//! its text is written back in the answer.

use super::super::request::{
    Fetch, FetchItem, FetchSection, SectionText, Store, StoreAction, Transfer, Verb,
};
use super::flags;
use super::words::{Read, Words};

/// Items of one FETCH: each may be a whole message.
const MAX_ITEMS: usize = 100;

/// Part numbers in one section: deeper than any message is looked into.
const MAX_PART_DEPTH: usize = 100;

/// Names of header fields in one section; programs ask for up to fifty.
const MAX_FIELDS: usize = 500;

/// `fetch = "FETCH" SP sequence-set SP (macro / fetch-att / "(" fetch-att *(SP fetch-att) ")")
/// [SP "(" fetch-modifier *(SP fetch-modifier) ")"]` (RFC 9051, RFC 4466).
pub(super) fn fetch(words: &mut Words<'_>, uid: bool) -> Read<Verb> {
    words.space()?;
    let set = words.set()?;
    words.space()?;
    let items = items(words)?;
    let mut fetch = Fetch { uid, set, items, changed_since: None, vanished: false };
    if words.another()? {
        words.list(|words| modifier(words, &mut fetch))?;
    }
    match fetch.vanished && (!uid || fetch.changed_since.is_none()) {
        // RFC 7162 section 3.2.6.
        true => Err("VANISHED goes with UID FETCH and CHANGEDSINCE"),
        false => Ok(Verb::Fetch(fetch)),
    }
}

fn modifier(words: &mut Words<'_>, fetch: &mut Fetch) -> Read<()> {
    match words.name()?.as_str() {
        "CHANGEDSINCE" => {
            words.space()?;
            fetch.changed_since = Some(words.modseq()?);
        }
        "VANISHED" => fetch.vanished = true,
        _ => return Err("FETCH knows CHANGEDSINCE and VANISHED"),
    }
    Ok(())
}

fn items(words: &mut Words<'_>) -> Read<Vec<FetchItem>> {
    use FetchItem::{Envelope, Flags, InternalDate, Size, Structure};
    if words.peek() == Some(b'(') {
        let items = words.list(item)?;
        return match items.len() {
            0 => Err("FETCH asks for at least one item"),
            1..=MAX_ITEMS => Ok(items),
            _ => Err("FETCH asks for too many items"),
        };
    }
    if words.eat_name("ALL") {
        return Ok(vec![Flags, InternalDate, Size, Envelope]);
    }
    if words.eat_name("FAST") {
        return Ok(vec![Flags, InternalDate, Size]);
    }
    if words.eat_name("FULL") {
        return Ok(vec![Flags, InternalDate, Size, Envelope, Structure(false)]);
    }
    Ok(vec![item(words)?])
}

/// `fetch-att` (RFC 9051 section 9; RFC 3501 for `RFC822`).
fn item(words: &mut Words<'_>) -> Read<FetchItem> {
    Ok(match words.name()?.as_str() {
        "UID" => FetchItem::Uid,
        "FLAGS" => FetchItem::Flags,
        "INTERNALDATE" => FetchItem::InternalDate,
        "RFC822.SIZE" => FetchItem::Size,
        "ENVELOPE" => FetchItem::Envelope,
        "BODYSTRUCTURE" => FetchItem::Structure(true),
        "BODY" if words.peek() != Some(b'[') => FetchItem::Structure(false),
        "BODY" => FetchItem::Section(section(words, false)?),
        "BODY.PEEK" => FetchItem::Section(section(words, true)?),
        "BINARY" => binary(words, false)?,
        "BINARY.PEEK" => binary(words, true)?,
        "BINARY.SIZE" => binary_size(words)?,
        "MODSEQ" => FetchItem::ModSeq,
        "EMAILID" => FetchItem::EmailId,
        "THREADID" => FetchItem::ThreadId,
        "RFC822" => FetchItem::Rfc822,
        "RFC822.HEADER" => FetchItem::Rfc822Header,
        "RFC822.TEXT" => FetchItem::Rfc822Text,
        _ => return Err("FETCH does not know that item"),
    })
}

/// `section = "[" [section-spec] "]"`, then `["<" number "." nz-number ">"]`.
fn section(words: &mut Words<'_>, peek: bool) -> Read<FetchSection> {
    words.expect(b'[', "a section in brackets is expected")?;
    words.skip_spaces();
    let (part, dot) = part(words)?;
    let is_whole = if part.is_empty() { words.peek() == Some(b']') } else { !dot };
    let text = match is_whole {
        true => SectionText::Whole,
        false => section_text(words, !part.is_empty())?,
    };
    words.skip_spaces();
    words.expect(b']', "a section does not end")?;
    Ok(FetchSection { part, text, peek, partial: partial(words)? })
}

/// `section-part = nz-number *("." nz-number)`, maybe none; and whether a dot follows, and so a text.
fn part(words: &mut Words<'_>) -> Read<(Vec<u32>, bool)> {
    let mut part = Vec::new();
    let mut dot = false;
    while words.peek().is_some_and(|byte| byte.is_ascii_digit()) {
        part.push(words.positive()?);
        if part.len() > MAX_PART_DEPTH {
            return Err("a section has too many part numbers");
        }
        dot = words.eat(b'.');
        if !dot {
            break;
        }
    }
    Ok((part, dot))
}

/// `section-msgtext = "HEADER" / "HEADER.FIELDS" [".NOT"] SP header-list / "TEXT"`; `MIME` of a part.
fn section_text(words: &mut Words<'_>, of_part: bool) -> Read<SectionText> {
    Ok(match words.name()?.as_str() {
        "HEADER" => SectionText::Header,
        "HEADER.FIELDS" => SectionText::HeaderFields(header_list(words)?),
        "HEADER.FIELDS.NOT" => SectionText::HeaderFieldsNot(header_list(words)?),
        "TEXT" => SectionText::Text,
        "MIME" if of_part => SectionText::Mime,
        "MIME" => return Err("MIME is of a part"),
        _ => return Err("a section is HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT or MIME"),
    })
}

/// `header-list = "(" header-fld-name *(SP header-fld-name) ")"`, names as astrings.
fn header_list(words: &mut Words<'_>) -> Read<Vec<String>> {
    words.space()?;
    let names = words.list(field_name)?;
    match names.len() {
        0 => Err("a header field is expected"),
        1..=MAX_FIELDS => Ok(names),
        _ => Err("too many header fields"),
    }
}

/// The name of a header field is written back in the answer, so it must not break a line there.
fn field_name(words: &mut Words<'_>) -> Read<String> {
    let name = words.text()?;
    match name.chars().all(|c| matches!(c, ' '..='~')) {
        true => Ok(name),
        false => Err("a header field's name is printable ASCII"),
    }
}

fn binary(words: &mut Words<'_>, peek: bool) -> Read<FetchItem> {
    let asked = section(words, peek)?;
    Ok(match asked.text {
        SectionText::Whole => FetchItem::Binary { part: asked.part, peek, partial: asked.partial },
        _ => FetchItem::BinaryText(asked),
    })
}

fn binary_size(words: &mut Words<'_>) -> Read<FetchItem> {
    let asked = section(words, true)?;
    match (asked.partial, &asked.text) {
        (Some(_), _) => Err("BINARY.SIZE is of a whole section"),
        (None, SectionText::Whole) => Ok(FetchItem::BinarySize(asked.part)),
        (None, _) => Ok(FetchItem::BinaryTextSize(asked)),
    }
}

/// `partial = "<" number64 "." nz-number64 ">"`; maybe none. Without a length it is the rest, which
/// Dovecot's tests ask for.
fn partial(words: &mut Words<'_>) -> Read<Option<(u64, u64)>> {
    const BROKEN: &str = "a partial is written as <offset.length>";
    if !words.eat(b'<') {
        return Ok(None);
    }
    let offset = words.number()?;
    if words.eat(b'>') {
        return Ok(Some((offset, u64::MAX)));
    }
    words.expect(b'.', BROKEN)?;
    let length = words.number()?;
    words.expect(b'>', BROKEN)?;
    if length == 0 { Err("a partial has a length above 0") } else { Ok(Some((offset, length))) }
}

/// `store = "STORE" SP sequence-set [SP store-modifiers] SP store-att-flags` (RFC 9051, RFC 7162).
pub(super) fn store(words: &mut Words<'_>, uid: bool) -> Read<Verb> {
    words.space()?;
    let set = words.set()?;
    words.space()?;
    let mut unchanged_since = None;
    if words.peek() == Some(b'(') {
        words.list(|words| {
            words.expect_name("UNCHANGEDSINCE", "STORE knows UNCHANGEDSINCE")?;
            words.space()?;
            unchanged_since = Some(words.modseq()?);
            Ok(())
        })?;
        words.space()?;
    }
    let (action, silent) = match words.name()?.as_str() {
        "FLAGS" => (StoreAction::Replace, false),
        "FLAGS.SILENT" => (StoreAction::Replace, true),
        "+FLAGS" => (StoreAction::Add, false),
        "+FLAGS.SILENT" => (StoreAction::Add, true),
        "-FLAGS" => (StoreAction::Remove, false),
        "-FLAGS.SILENT" => (StoreAction::Remove, true),
        _ => return Err("STORE takes FLAGS, +FLAGS or -FLAGS, with or without .SILENT"),
    };
    words.space()?;
    let flags = flags::flags_to_end(words)?;
    Ok(Verb::Store(Store { uid, set, unchanged_since, action, silent, flags }))
}

/// `copy = "COPY" SP sequence-set SP mailbox`, and MOVE likewise.
pub(super) fn transfer(words: &mut Words<'_>, uid: bool) -> Read<Transfer> {
    words.space()?;
    let set = words.set()?;
    words.space()?;
    Ok(Transfer { uid, set, mailbox: words.mailbox()? })
}
