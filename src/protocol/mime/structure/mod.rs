//! The parts of a message, found while its octets pass through (RFC 2045, 2046).
//!
//! Danger: a message of 150 MB must not be in memory to be described, and a hostile one must not
//! have a million parts. Rule: [`StructureParser`] keeps header blocks and ranges alone, within
//! limits; what exceeds them belongs to the part in which it stands, and no octet is lost.

mod content_type;
mod parser;
#[cfg(test)]
mod tests;
mod text;

use std::ops::Range;

pub use content_type::{ContentType, Parameters};
pub use parser::StructureParser;
pub use text::{contains, decode_words, decoded_values, fold_case, unfold};

use super::transfer::{Decoder, Encoding};
use super::{Field, fields};

/// A message or a part of one. Offsets count from the start of the outermost message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The header block, with the empty line that ends it.
    pub header: Vec<u8>,
    /// Where the header is; its empty line included.
    pub header_range: Range<u64>,
    /// Where the body is; without the line end that belongs to the boundary after it.
    pub body_range: Range<u64>,
    /// Line ends in the body.
    pub lines: u64,
    /// What is inside.
    pub inside: Inside,
}

/// See [`Part`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inside {
    /// Nothing that is a part.
    Leaf,
    /// `multipart/*`: at least one.
    Parts(Vec<Part>),
    /// `message/rfc822` or `message/global`, not transfer-encoded.
    Message(Box<Part>),
}

impl Part {
    /// The part with those numbers (RFC 9051 section 6.4.5.1); the message itself for none. Part 1
    /// of a message that is no multipart is the message too: its body is meant.
    pub fn find(&self, numbers: &[u32]) -> Option<&Part> {
        let Some((first, rest)) = numbers.split_first() else { return Some(self) };
        rest.iter().try_fold(self.numbered(*first)?, |part, number| match &part.inside {
            Inside::Leaf => None,
            Inside::Parts(_) => part.numbered(*number),
            Inside::Message(message) => message.numbered(*number),
        })
    }

    /// A part of a multipart, or the only one of another message.
    fn numbered(&self, number: u32) -> Option<&Part> {
        let place = usize::try_from(number).ok()?.checked_sub(1)?;
        match &self.inside {
            Inside::Parts(parts) => parts.get(place),
            _ => (place == 0).then_some(self),
        }
    }

    /// Parts whose text a BODY or TEXT search looks through, with their headers: texts, and
    /// attached messages. Of those that are no text ([`Part::is_text`]) only the header counts.
    pub fn texts(&self) -> Vec<&Part> {
        let mut found = Vec::new();
        let mut waiting = vec![(self, false)];
        while let Some((part, is_attached)) = waiting.pop() {
            if is_attached || part.is_text() {
                found.push(part);
            }
            match &part.inside {
                Inside::Leaf => {}
                Inside::Parts(parts) => waiting.extend(parts.iter().rev().map(|p| (p, false))),
                Inside::Message(message) => waiting.push((message, true)),
            }
        }
        found
    }

    /// True for a leaf of type `text/*`.
    pub fn is_text(&self) -> bool {
        self.inside == Inside::Leaf && self.content_type().kind == "text"
    }

    /// Its type. What has none, or one that makes no sense, is `text/plain` (RFC 2045 section 5.2);
    /// a leaf that cannot be looked into is never called a multipart or a message.
    pub fn content_type(&self) -> ContentType {
        let written = self.field("Content-Type").and_then(|field| ContentType::of(field.value));
        match &self.inside {
            Inside::Leaf => match written {
                Some(written) if written.has_parts() || written.is_message() => written.opaque(),
                Some(written) if written.kind == "multipart" => ContentType::default(),
                written => written.unwrap_or_default(),
            },
            Inside::Parts(_) => written.unwrap_or_default(),
            Inside::Message(_) => {
                written.filter(ContentType::is_message).unwrap_or_else(ContentType::message)
            }
        }
    }

    /// Its transfer encoding.
    pub fn encoding(&self) -> Encoding {
        encoding(&self.header)
    }

    /// The first field of that name.
    pub fn field(&self, name: &str) -> Option<Field<'_>> {
        fields(&self.header).find(|field| field.is(name))
    }

    /// The text of a leaf in UTF-8: transfer encoding and charset undone. Empty for what is no text
    /// and for an unknown encoding.
    pub fn decode_text(&self, body: &[u8]) -> String {
        if !self.is_text() {
            return String::new();
        }
        let charset = self.content_type().parameters.value("charset").unwrap_or_default();
        self.decode_body(body).map(|body| text::decode(&charset, &body)).unwrap_or_default()
    }

    /// The body of a leaf with its transfer encoding undone; `None` for an unknown encoding.
    pub fn decode_body(&self, body: &[u8]) -> Option<Vec<u8>> {
        let encoding = self.encoding();
        if encoding == Encoding::Unknown {
            return None;
        }
        let mut decoder = Decoder::new(encoding);
        let mut decoded = Vec::with_capacity(body.len());
        decoder.push(body, &mut decoded);
        decoder.finish(&mut decoded);
        Some(decoded)
    }
}

/// What `Content-Transfer-Encoding` says, comments aside.
fn encoding(header: &[u8]) -> Encoding {
    let field = fields(header).find(|field| field.is("Content-Transfer-Encoding"));
    let token = field.map(|field| content_type::token(field.value)).unwrap_or_default();
    Encoding::named(&token)
}
