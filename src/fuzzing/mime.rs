//! Headers and MIME parts.

use std::collections::HashSet;

use time::OffsetDateTime;

use super::{pieces, split_seed};
use crate::mail::Address;
use crate::protocol::imap::envelope::envelope;
use crate::protocol::imap::order::Facts;
use crate::protocol::imap::structure::body_structure;
use crate::protocol::mime::complete::{Source, complete};
use crate::protocol::mime::fields;
use crate::protocol::mime::outline::{Builder, Error, Outline};
use crate::protocol::mime::recipients::{for_graph, is_unmistakable, without_bcc};
use crate::protocol::mime::structure::{Inside, Part, StructureParser, decoded_values};
use crate::protocol::mime::transfer::{Decoder, Encoding};
use crate::protocol::smtp::data::LineEnds;

/// Line ends as a message has them once it is in.
fn clean(octets: &[u8]) -> Vec<u8> {
    let (mut ends, mut out) = (LineEnds::default(), Vec::new());
    ends.feed(octets, &mut |piece| out.extend_from_slice(piece));
    ends.finish(&mut |piece| out.extend_from_slice(piece));
    out
}

/// Up to and with the first empty line, as a message is split.
fn header_of(message: &[u8]) -> &[u8] {
    match message.starts_with(b"\r\n") {
        true => &message[..2],
        false => {
            let end = memchr::memmem::find(message, b"\r\n\r\n");
            &message[..end.map_or(message.len(), |at| at + 4)]
        }
    }
}

/// The first line names the envelope's recipients, separated by commas; the header follows. Whoever
/// reads the new header finds exactly those recipients.
pub fn recipients(data: &[u8]) {
    let end = memchr::memchr(b'\n', data).map_or(data.len(), |at| at + 1);
    let first = String::from_utf8_lossy(&data[..end]).into_owned();
    let named = first.split(',').filter_map(|text| Address::parse(text.trim()).ok());
    // Graph's submission refuses the others.
    let named = named.filter(|one| is_unmistakable(one.as_str()));
    let envelope: Vec<Address> = named.take(20).collect();
    let texts: Vec<&str> = envelope.iter().map(Address::as_str).collect();
    let message = clean(&data[end..]);
    let header = for_graph(header_of(&message), &texts);
    let wanted: HashSet<String> = texts.iter().map(|text| key(text)).collect();
    assert_eq!(seen_by_another(&header), wanted, "in {}", String::from_utf8_lossy(&header));
}

/// The addresses that mail-parser finds in the whole header, in every field that a service might
/// send by.
fn seen_by_another(header: &[u8]) -> HashSet<String> {
    let message = mail_parser::MessageParser::new().with_address_headers().parse_headers(header);
    let Some(message) = message else { return HashSet::new() };
    let to = |name: &str| {
        ["To", "Cc", "Bcc", "Resent-To", "Resent-Cc", "Resent-Bcc"]
            .iter()
            .any(|one| one.eq_ignore_ascii_case(name))
    };
    let fields = message.headers().iter().filter(|field| to(field.name.as_str()));
    let addresses =
        fields.filter_map(|field| field.value.as_address()).flat_map(|list| list.iter());
    addresses.filter_map(|one| one.address()).map(key).collect()
}

/// One form for all spellings of a mailbox.
fn key(address: &str) -> String {
    let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
    let inner = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let mut plain = String::new();
    match inner {
        None => plain.push_str(local),
        Some(inner) => {
            let mut chars = inner.chars();
            while let Some(c) = chars.next() {
                plain.extend(if c == '\\' { chars.next() } else { Some(c) });
            }
        }
    }
    format!("{plain}@{domain}").chars().map(lower).collect()
}

/// Lower case that never leads from beyond ASCII into it.
fn lower(c: char) -> char {
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) if one.is_ascii() == c.is_ascii() => one,
        _ => c,
    }
}

/// What reads or completes a header.
pub fn mime_header(data: &[u8]) {
    let message = clean(data);
    let header = header_of(&message);
    let whole: usize = fields(header).map(|field| field.raw.len()).sum();
    assert!(whole <= header.len(), "fields overlap");
    check_complete(header);
    if let Some(open) = without_bcc(header) {
        assert!(!fields(&open).any(|field| field.is("Bcc") || field.is("Resent-Bcc")));
    }
    let answer = envelope(header);
    assert!(answer.starts_with(b"(") && answer.ends_with(b")"));
    let _ = (Facts::of(header), decoded_values(header, "Subject"));
}

fn check_complete(header: &[u8]) {
    let now = OffsetDateTime::UNIX_EPOCH;
    let source = Source { sender: Some("jane@example.com"), now, id: "1.2", host: "mail.local" };
    let Some(completed) = complete(header, &source) else { return };
    assert!(completed.len() <= header.len() + 512, "more is added than fields");
    assert!(memchr::memmem::find(&completed, b"\r\n\r\n").is_some(), "it has no end");
    let again = complete(header_of(&completed), &source);
    assert_eq!(again, None, "what was completed is incomplete");
    for name in ["From", "Date", "Message-ID"] {
        let count = fields(header_of(&completed)).filter(|field| field.is(name)).count();
        assert!(count >= 1, "{name} is missing");
    }
}

/// The two readers of MIME parts, and the decoders of their bodies: cuts change nothing, ranges lie
/// inside the message and each other, and what is written of them has a bound.
pub fn mime_outline(data: &[u8]) {
    let (seed, rest) = split_seed(data);
    let message = clean(rest);
    let cut = pieces(&message, seed);
    let outline = outline(&[&message]);
    assert_eq!(outline, self::outline(&cut), "the outline depends on how it arrives");
    if let Ok(outline) = &outline {
        check_outline(outline, message.len() as u64);
    }
    let structure = structure(&[&message]);
    assert_eq!(structure, self::structure(&cut), "the structure depends on how it arrives");
    check_structure(&structure, 0);
    for extended in [false, true] {
        let written = body_structure(&structure, extended);
        assert!(written.len() <= 4096 + 64 * message.len(), "{} octets", written.len());
    }
    for encoding in [Encoding::Base64, Encoding::QuotedPrintable, Encoding::Identity] {
        check_decoder(encoding, &message, &cut);
    }
}

fn outline(pieces: &[&[u8]]) -> Result<Outline, Error> {
    let mut builder = Builder::default();
    pieces.iter().for_each(|piece| builder.push(piece));
    builder.finish()
}

fn check_outline(outline: &Outline, size: u64) {
    for (index, part) in outline.parts.iter().enumerate() {
        assert!(part.start <= part.header.start && part.header.start <= part.header.end);
        assert!(part.header.end <= part.body.start && part.body.start <= part.body.end);
        assert!(part.body.end <= size, "a part ends behind the message");
        if let Some(parent) = part.parent {
            assert!(parent < index, "a part before its multipart");
            let around = &outline.parts[parent].body;
            assert!(around.start <= part.header.start && part.body.end <= around.end);
        }
    }
    let cut: Vec<usize> = outline.attachments().collect();
    let segments = outline.without(&cut, size);
    let ranges = segments.iter().filter_map(|segment| match segment {
        crate::protocol::mime::outline::Segment::Range(range) => Some(range.clone()),
        crate::protocol::mime::outline::Segment::Text(_) => None,
    });
    let end = ranges.fold(0, |from, range| {
        assert!(from <= range.start && range.start <= range.end, "octets are sent twice");
        range.end
    });
    assert_eq!(end, size, "the end of the message is lost");
}

fn structure(pieces: &[&[u8]]) -> Part {
    let mut parser = StructureParser::new();
    pieces.iter().for_each(|piece| parser.push(piece));
    parser.finish()
}

fn check_structure(part: &Part, depth: usize) {
    assert!(depth <= 64, "deeper than any mail");
    assert!(part.header_range.start <= part.header_range.end);
    assert!(part.header_range.end <= part.body_range.start);
    assert!(part.body_range.start <= part.body_range.end);
    let inner: Vec<&Part> = match &part.inside {
        Inside::Leaf => Vec::new(),
        Inside::Parts(parts) => parts.iter().collect(),
        Inside::Message(message) => vec![message],
    };
    for one in inner {
        assert!(part.body_range.start <= one.header_range.start);
        assert!(one.body_range.end <= part.body_range.end, "a part is larger than its multipart");
        check_structure(one, depth + 1);
    }
}

fn check_decoder(encoding: Encoding, body: &[u8], cut: &[&[u8]]) {
    let decode = |pieces: &[&[u8]]| {
        let (mut decoder, mut out) = (Decoder::new(encoding), Vec::new());
        pieces.iter().for_each(|piece| decoder.push(piece, &mut out));
        decoder.finish(&mut out);
        out
    };
    let whole = decode(&[body]);
    assert_eq!(whole, decode(cut), "{encoding:?} depends on how it arrives");
    assert!(whole.len() <= body.len(), "{encoding:?} grows");
}
