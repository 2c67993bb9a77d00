//! The message's octets between DATA and its end: dot-stuffing both ways.

use bytes::BytesMut;

/// Doubles the dot at the start of each line (RFC 5321 section 4.5.2).
#[derive(Debug, Default)]
pub struct DotStuffer {
    middle_of_line: bool,
    after_cr: bool,
}

impl DotStuffer {
    /// At the start of a message.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a piece of the message to `out`.
    pub fn feed(&mut self, piece: &[u8], out: &mut BytesMut) {
        for byte in piece {
            if !self.middle_of_line && *byte == b'.' {
                out.extend_from_slice(b".");
            }
            out.extend_from_slice(&[*byte]);
            self.middle_of_line = !(self.after_cr && *byte == b'\n');
            self.after_cr = *byte == b'\r';
        }
    }

    /// Ends the message: CRLF where it is missing, then the line with the dot.
    pub fn finish(&mut self, out: &mut BytesMut) {
        if self.middle_of_line {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}
