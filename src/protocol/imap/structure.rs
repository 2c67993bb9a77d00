//! BODY and BODYSTRUCTURE (RFC 9051 section 7.5.2), and what sections are (section 6.4.5.1).

use std::ops::Range;

use super::request::SectionText;
use crate::protocol::mime::structure::Part;

/// BODYSTRUCTURE (`extended`) or BODY, in parentheses.
pub fn body_structure(message: &Part, extended: bool) -> Vec<u8> {
    let _ = (message, extended);
    Vec::new()
}

/// What a section holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Section {
    /// Octets of the message as it is.
    Range(Range<u64>),
    /// Put together.
    Bytes(Vec<u8>),
}

/// A section of a message; `None` when there is no such part.
pub fn section(message: &Part, part: &[u32], text: &SectionText) -> Option<Section> {
    let _ = (message, part, text);
    None
}
