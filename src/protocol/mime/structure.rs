//! The parts of a message, found while its octets pass through.

use std::ops::Range;

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

/// Finds the parts of a message whose octets it is shown in order.
#[derive(Debug, Default)]
pub struct StructureParser;

impl StructureParser {
    /// At the start of a message.
    pub fn new() -> Self {
        Self
    }

    /// The next octets.
    pub fn push(&mut self, octets: &[u8]) {
        let _ = octets;
    }

    /// The message is complete.
    pub fn finish(self) -> Part {
        Part {
            header: Vec::new(),
            header_range: 0..0,
            body_range: 0..0,
            lines: 0,
            inside: Inside::Leaf,
        }
    }
}

impl Part {
    /// The part with those numbers (RFC 9051 section 6.4.5.1); the message itself for none.
    pub fn find(&self, numbers: &[u32]) -> Option<&Part> {
        numbers.is_empty().then_some(self)
    }

    /// Parts whose text a BODY or TEXT search looks through, with their headers.
    pub fn texts(&self) -> Vec<&Part> {
        Vec::new()
    }

    /// The text of a leaf in UTF-8: transfer encoding and charset undone.
    pub fn decode_text(&self, body: &[u8]) -> String {
        String::from_utf8_lossy(body).into_owned()
    }

    /// The body of a leaf with its transfer encoding undone; `None` for an unknown encoding.
    pub fn decode_body(&self, body: &[u8]) -> Option<Vec<u8>> {
        Some(body.to_vec())
    }
}

/// The values of a field, encoded words decoded (RFC 2047), unfolded.
pub fn decoded_values(header: &[u8], name: &str) -> Vec<String> {
    let _ = (header, name);
    Vec::new()
}

/// True when `needle` is in `text`, without regard to case (RFC 9051 section 6.4.4: i;unicode-casemap).
pub fn contains(text: &str, needle: &str) -> bool {
    text.contains(needle)
}
