//! The items of a FETCH response (RFC 9051 section 7.5.2).
//!
//! Danger: a literal whose length is not that of its octets makes the client read mail as commands'
//! answers. Rule: a response is put together as a whole ([`Response`]) before its first octet is
//! sent; what is sent from the message itself has been clipped to it; whatever can fail has been
//! done by then.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::binary::{self, Decoded};
use super::reading::{LastRead, PIECE};
use crate::frontend::connected::Connected;
use crate::frontend::conversation::Parting;
use crate::frontend::imap::mailbox::answer;
use crate::mail::Content;
use crate::mail::mailbox::Entry;
use crate::protocol::imap::encode::{date_time, nstring};
use crate::protocol::imap::envelope::envelope;
use crate::protocol::imap::request::{FetchItem, FetchSection, SectionText};
use crate::protocol::imap::structure::{Section, body_structure, section};

/// Why an item can't be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// RFC 9051 section 7.1, `UNKNOWN-CTE`.
    #[error("the part has an encoding that is not known")]
    UnknownEncoding,
    /// The kept message can't be read.
    #[error(transparent)]
    Storage(#[from] io::Error),
}

/// A message as far as it is known.
pub(super) struct Source<'a> {
    pub entry: &'a Entry,
    /// With `\Recent`.
    pub recent: bool,
    /// See [`crate::mail::Folder::headers`].
    pub header: Option<&'a [u8]>,
    /// The message itself, looked through as deeply as the items need.
    pub read: Option<&'a mut LastRead>,
}

/// A FETCH response that is complete but for the octets of the message itself.
pub(super) struct Response {
    pieces: Vec<Piece>,
    is_first: bool,
}

enum Piece {
    /// As they are.
    Octets(Vec<u8>),
    /// From the message.
    Range(Range<u64>),
    /// From the message, decoded.
    Decoded(Decoded),
}

impl Response {
    pub fn new(seq: u32) -> Self {
        let start = format!("* {seq} FETCH (").into_bytes();
        Self { pieces: vec![Piece::Octets(start)], is_first: true }
    }

    /// Adds an item.
    pub async fn add(&mut self, item: &FetchItem, source: &mut Source<'_>) -> Result<(), Failure> {
        if !self.is_first {
            self.push(b" ");
        }
        self.is_first = false;
        let entry = source.entry;
        match item {
            FetchItem::Uid => self.push(format!("UID {}", entry.uid)),
            FetchItem::Flags => {
                let flags = answer::flags(&entry.flags, source.recent);
                self.push(format!("FLAGS {flags}"));
            }
            FetchItem::InternalDate => {
                self.push(format!("INTERNALDATE {}", date_time(entry.date)));
            }
            FetchItem::Size => self.push(format!("RFC822.SIZE {}", size(source))),
            FetchItem::Envelope => {
                self.push(b"ENVELOPE ");
                self.push(envelope(source.header.unwrap_or_default()));
            }
            FetchItem::ModSeq => self.push(format!("MODSEQ ({})", entry.modseq.0)),
            FetchItem::EmailId => self.push(format!("EMAILID ({})", email_id(entry))),
            // RFC 8474 section 5.2: NIL where threads are not known.
            FetchItem::ThreadId => self.push(b"THREADID NIL"),
            _ => self.add_content(item, source).await?,
        }
        Ok(())
    }

    /// Adds an item that is made from the message itself.
    async fn add_content(
        &mut self,
        item: &FetchItem,
        source: &mut Source<'_>,
    ) -> Result<(), Failure> {
        let Some(read) = source.read.as_deref_mut() else {
            return Err(io::Error::other("an item was not planned for").into());
        };
        match item {
            FetchItem::Structure(extended) => {
                self.push(if *extended { "BODYSTRUCTURE " } else { "BODY " });
                if let Some(parts) = read.parts() {
                    self.push(body_structure(parts, *extended));
                }
            }
            FetchItem::Section(asked) => {
                self.push(label("BODY", asked));
                self.add_section(read, asked);
            }
            FetchItem::BinaryText(asked) => {
                self.push(label("BINARY", asked));
                self.add_section(read, asked);
            }
            FetchItem::BinaryTextSize(asked) => {
                self.push(label("BINARY.SIZE", asked));
                self.push(section_size(read, asked).to_string());
            }
            FetchItem::Binary { part, partial, .. } => {
                self.push(format!("BINARY[{}]{} ", numbers(part), origin(*partial)));
                self.add_binary(read, part, *partial).await?;
            }
            FetchItem::BinarySize(part) => {
                let size = binary_size(read, part).await?;
                self.push(format!("BINARY.SIZE[{}] {size}", numbers(part)));
            }
            FetchItem::Rfc822 => self.add_whole(read, "RFC822 ", SectionText::Whole),
            FetchItem::Rfc822Header => self.add_whole(read, "RFC822.HEADER ", SectionText::Header),
            _ => self.add_whole(read, "RFC822.TEXT ", SectionText::Text),
        }
        Ok(())
    }

    /// A section of the message itself under its old name (RFC 3501 section 6.4.5).
    fn add_whole(&mut self, read: &LastRead, name: &str, text: SectionText) {
        self.push(name);
        self.add_section(read, &FetchSection { part: Vec::new(), text, peek: true, partial: None });
    }

    fn add_section(&mut self, read: &LastRead, asked: &FetchSection) {
        match find_section(read, asked) {
            None => self.push(b"NIL"),
            Some(Section::Range(range)) => {
                let size = read.content.size();
                let inside = range.start.min(size)..range.end.min(size);
                self.add_range(clip(inside, asked.partial));
            }
            Some(Section::Bytes(octets)) => {
                let all = 0..octets.len() as u64;
                let Range { start, end } = clip(all, asked.partial);
                // Within a vector's length.
                let (start, end) = (start as usize, end as usize);
                self.add_literal(octets[start..end].to_vec());
            }
        }
    }

    fn add_range(&mut self, range: Range<u64>) {
        if range.start >= range.end {
            return self.push(b"\"\"");
        }
        self.push(format!("{{{}}}\r\n", range.end - range.start));
        self.pieces.push(Piece::Range(range));
    }

    fn add_literal(&mut self, octets: Vec<u8>) {
        if octets.is_empty() {
            return self.push(b"\"\"");
        }
        self.push(format!("{{{}}}\r\n", octets.len()));
        self.push(octets);
    }

    async fn add_binary(
        &mut self,
        read: &mut LastRead,
        part: &[u32],
        partial: Option<(u64, u64)>,
    ) -> Result<(), Failure> {
        if part.is_empty() {
            // The whole message: its header says how its parts are encoded, so they stay so.
            self.add_range(clip(0..read.content.size(), partial));
            return Ok(());
        }
        let mut mark = read.mark.take();
        let Some(found) = read.parts().and_then(|parts| parts.find(part)) else {
            self.push(b"NIL");
            return Ok(());
        };
        let decoded = binary::measure(&read.content, found, partial, &mut mark).await?;
        let decoded = decoded.ok_or(Failure::UnknownEncoding)?;
        read.mark = mark;
        if decoded.length == 0 {
            self.push(b"\"\"");
            return Ok(());
        }
        let tilde = if decoded.has_nul { "~" } else { "" };
        self.push(format!("{tilde}{{{}}}\r\n", decoded.length));
        self.pieces.push(Piece::Decoded(decoded));
        Ok(())
    }

    fn push(&mut self, octets: impl AsRef<[u8]>) {
        match self.pieces.last_mut() {
            Some(Piece::Octets(last)) => last.extend_from_slice(octets.as_ref()),
            _ => self.pieces.push(Piece::Octets(octets.as_ref().to_vec())),
        }
    }

    /// Sends it.
    pub async fn send(
        mut self,
        client: &mut Connected,
        content: Option<&Arc<Content>>,
    ) -> Result<(), Parting> {
        self.push(b")\r\n");
        for piece in self.pieces {
            match (piece, content) {
                (Piece::Octets(octets), _) => client.push(octets),
                (Piece::Range(range), Some(content)) => {
                    send_range(client, content, range).await?;
                }
                (Piece::Decoded(decoded), Some(content)) => {
                    binary::send(client, content, decoded).await?;
                }
                (_, None) => return Err(io::Error::other("a message was not read").into()),
            }
        }
        client.settle().await
    }
}

/// Sends octets of a message whose number has been announced: when the file can't be read any more,
/// only the end of the connection keeps the client from taking others for them.
async fn send_range(
    client: &mut Connected,
    content: &Arc<Content>,
    range: Range<u64>,
) -> Result<(), Parting> {
    let mut at = range.start;
    while at < range.end {
        let limit = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(PIECE);
        let piece = content.read(at, limit).await?;
        if piece.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        at += piece.len() as u64;
        client.push(piece);
        client.settle().await?;
    }
    Ok(())
}

/// The size of the message that is served: once read, its own.
fn size(source: &Source<'_>) -> u64 {
    match &source.read {
        Some(read) => read.content.size(),
        None => source.entry.size.octets(),
    }
}

/// EMAILID (RFC 8474 section 5.1): a letter in front, as other servers have it.
pub(in crate::frontend::imap::mailbox) fn email_id(entry: &Entry) -> String {
    format!("M{:032x}", u128::from_be_bytes(entry.object_id))
}

/// `None` when there is no such part.
fn find_section(read: &LastRead, asked: &FetchSection) -> Option<Section> {
    let size = read.content.size();
    if asked.part.is_empty() {
        match (&asked.text, read.parts()) {
            (SectionText::Whole, _) => return Some(Section::Range(0..size)),
            // What is not header is text, whether or not the parts are known.
            (SectionText::Text, Some(own)) => {
                return Some(Section::Range(own.header_range.end..size));
            }
            _ => {}
        }
    }
    section(read.parts()?, &asked.part, &asked.text)
}

async fn binary_size(read: &mut LastRead, part: &[u32]) -> Result<u64, Failure> {
    if part.is_empty() {
        return Ok(read.content.size());
    }
    let Some(found) = read.parts().and_then(|parts| parts.find(part)) else { return Ok(0) };
    let decoded = binary::measure(&read.content, found, None, &mut None).await?;
    Ok(decoded.ok_or(Failure::UnknownEncoding)?.length)
}

/// What of a range `<offset.length>` asks for.
fn clip(range: Range<u64>, partial: Option<(u64, u64)>) -> Range<u64> {
    let Some((offset, length)) = partial else { return range };
    let start = range.start.saturating_add(offset).min(range.end);
    start..start.saturating_add(length).min(range.end)
}

/// Octets of a section; 0 where there is none.
fn section_size(read: &LastRead, asked: &FetchSection) -> u64 {
    match find_section(read, asked) {
        None => 0,
        Some(Section::Range(range)) => {
            let size = read.content.size();
            range.end.min(size) - range.start.min(size)
        }
        Some(Section::Bytes(octets)) => octets.len() as u64,
    }
}

/// `BODY[…]<…>` and a space: a section is called what the client called it.
fn label(item: &str, asked: &FetchSection) -> Vec<u8> {
    let mut label = format!("{item}[{}", numbers(&asked.part)).into_bytes();
    if !asked.part.is_empty() && asked.text != SectionText::Whole {
        label.push(b'.');
    }
    match &asked.text {
        SectionText::Whole => {}
        SectionText::Header => label.extend_from_slice(b"HEADER"),
        SectionText::HeaderFields(names) => field_list(&mut label, "HEADER.FIELDS", names),
        SectionText::HeaderFieldsNot(names) => field_list(&mut label, "HEADER.FIELDS.NOT", names),
        SectionText::Text => label.extend_from_slice(b"TEXT"),
        SectionText::Mime => label.extend_from_slice(b"MIME"),
    }
    label.extend_from_slice(format!("]{} ", origin(asked.partial)).as_bytes());
    label
}

fn field_list(label: &mut Vec<u8>, word: &str, names: &[String]) {
    label.extend_from_slice(word.as_bytes());
    label.extend_from_slice(b" (");
    for (at, name) in names.iter().enumerate() {
        if at > 0 {
            label.push(b' ');
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        match !name.is_empty() && name.bytes().all(is_plain) {
            true => label.extend_from_slice(name.as_bytes()),
            false => nstring(Some(name.as_bytes()), label),
        }
    }
    label.push(b')');
}

fn numbers(part: &[u32]) -> String {
    let numbers: Vec<_> = part.iter().map(u32::to_string).collect();
    numbers.join(".")
}

fn origin(partial: Option<(u64, u64)>) -> String {
    partial.map_or(String::new(), |(offset, _)| format!("<{offset}>"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_clipped_to_what_there_is() {
        for (range, partial, expected) in [
            (10..20, None, 10..20),
            (10..20, Some((0, 5)), 10..15),
            (10..20, Some((5, 50)), 15..20),
            (10..20, Some((10, 1)), 20..20),
            (10..20, Some((u64::MAX, u64::MAX)), 20..20),
            (10..20, Some((0, u64::MAX)), 10..20),
            (10..20, Some((3, 0)), 13..13),
        ] {
            assert_eq!(clip(range.clone(), partial), expected, "{range:?} {partial:?}");
        }
    }

    #[test]
    fn sections_are_called_what_the_client_called_them() {
        let fields = || vec!["Subject".to_owned(), "X-y".to_owned()];
        for (part, text, partial, expected) in [
            (vec![], SectionText::Whole, None, "BODY[] "),
            (vec![], SectionText::Whole, Some((7, 9)), "BODY[]<7> "),
            (vec![1, 2], SectionText::Whole, None, "BODY[1.2] "),
            (vec![], SectionText::Text, None, "BODY[TEXT] "),
            (vec![3], SectionText::Mime, None, "BODY[3.MIME] "),
            (vec![3], SectionText::Header, None, "BODY[3.HEADER] "),
            (
                vec![],
                SectionText::HeaderFields(fields()),
                Some((0, 1)),
                "BODY[HEADER.FIELDS (Subject X-y)]<0> ",
            ),
            (
                vec![2],
                SectionText::HeaderFieldsNot(fields()),
                None,
                "BODY[2.HEADER.FIELDS.NOT (Subject X-y)] ",
            ),
        ] {
            let asked = FetchSection { part, text, peek: true, partial };
            assert_eq!(String::from_utf8_lossy(&label("BODY", &asked)), expected);
        }
    }
}
