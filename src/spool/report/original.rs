//! What a report returns of the message.
//!
//! Danger: a header of a hundred megabytes is sent back for each failure; octets that no line of
//! mail may have make the report itself undeliverable. Rule: at most [`MAX_HEADER`] octets of header
//! are read, the whole message only up to [`MAX_WHOLE`] and only where the client asked for it, and
//! it is returned whole only when it can travel as it is.

use std::io;

use bytes::{Bytes, BytesMut};

use crate::mail::{Message, Ret};

/// Longest message that is returned whole, in octets: one that failed for its size would fail again
/// on its way back.
const MAX_WHOLE: u64 = 1 << 20;

/// Longest header that is returned, in octets; real ones have a tenth of it.
const MAX_HEADER: usize = 64 << 10;

/// Longest line without its end (RFC 5322 section 2.1.1).
const MAX_LINE: usize = 998;

/// The returnable parts of a message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Original {
    /// Header lines, with the empty line where there is one; cut when it is long.
    pub header: Bytes,
    /// The message, where RET asks for it.
    whole: Option<Bytes>,
}

impl Original {
    /// Reads as much as may be returned.
    pub async fn read(message: &Message, ret: Option<Ret>) -> io::Result<Self> {
        let is_whole = ret == Some(Ret::Full) && message.size() <= MAX_WHOLE;
        let mut reader = message.reader();
        let mut read = BytesMut::new();
        while is_whole || (read.len() <= MAX_HEADER && end_of_header(&read).is_none()) {
            let Some(piece) = reader.next().await? else { break };
            read.extend_from_slice(&piece);
        }
        let read = read.freeze();
        let header = match end_of_header(&read) {
            Some(end) if end <= MAX_HEADER => read.slice(..end),
            _ => read.slice(..whole_lines(&read)),
        };
        Ok(Self { header, whole: is_whole.then_some(read) })
    }

    /// The header without the empty line.
    pub fn header_lines(&self) -> &[u8] {
        match self.header.strip_suffix(b"\r\n\r\n") {
            Some(lines) => &self.header[..lines.len() + 2],
            None => &self.header,
        }
    }

    /// The message, when it was asked for and can be sent without an encoding; a header that is not
    /// ASCII would make it `message/global` (RFC 6532), which few programs open.
    pub fn whole_if_returnable(&self) -> Option<&Bytes> {
        self.whole.as_ref().filter(|whole| self.header.is_ascii() && is_sendable(whole))
    }
}

fn end_of_header(read: &[u8]) -> Option<usize> {
    if read.starts_with(b"\r\n") {
        return Some(2);
    }
    memchr::memmem::find(read, b"\r\n\r\n").map(|at| at + 4)
}

/// How much of a long header is whole lines.
fn whole_lines(read: &[u8]) -> usize {
    let most = &read[..read.len().min(MAX_HEADER)];
    if most.len() == read.len() {
        return read.len();
    }
    memchr::memrchr(b'\n', most).map_or(0, |at| at + 1)
}

/// True when these lines need no encoding.
pub(crate) fn is_seven_bit(lines: &[u8]) -> bool {
    lines.is_ascii() && is_sendable(lines)
}

/// Lines as RFC 5321 section 4.5.3.1.6 and RFC 6152 let them pass.
fn is_sendable(text: &[u8]) -> bool {
    let mut lines = text.split(|&octet| octet == b'\n').peekable();
    while let Some(line) = lines.next() {
        let line = match (lines.peek(), line.strip_suffix(b"\r")) {
            (Some(_), Some(line)) => line,
            (None, None) => line,
            _ => return false,
        };
        if line.len() > MAX_LINE || line.iter().any(|octet| b"\r\0".contains(octet)) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &[u8], ret: Option<Ret>) -> Original {
        let message = Message::from_bytes(Bytes::copy_from_slice(text));
        Original::read(&message, ret).await.expect("memory")
    }

    #[tokio::test]
    async fn only_what_was_asked_for_is_read() {
        let text = b"A: b\r\nC: d\r\n\r\nsecret\r\n";
        for (ret, whole) in [(None, false), (Some(Ret::Headers), false), (Some(Ret::Full), true)] {
            let original = read(text, ret).await;
            assert_eq!(original.header, &b"A: b\r\nC: d\r\n\r\n"[..]);
            assert_eq!(original.header_lines(), b"A: b\r\nC: d\r\n");
            assert_eq!(original.whole_if_returnable().is_some(), whole, "{ret:?}");
        }
        for (text, header) in [("\r\nx", "\r\n"), ("A: b\r\n", "A: b\r\n"), ("", "")] {
            assert_eq!(read(text.as_bytes(), None).await.header, header);
        }
    }

    /// As the queue may hand it out: all in the content.
    #[tokio::test]
    async fn a_header_in_the_content_is_found() {
        let content = std::sync::Arc::new(crate::mail::Content::from_bytes("A: b\r\n\r\nx".into()));
        let message = Message { header: Bytes::new(), content };
        let original = Original::read(&message, Some(Ret::Full)).await.expect("memory");
        assert_eq!(original.header, "A: b\r\n\r\n");
        assert_eq!(original.whole_if_returnable().expect("whole"), "A: b\r\n\r\nx");
    }

    #[tokio::test]
    async fn what_is_long_is_cut_at_a_line() {
        let header = format!("{}\r\nbody", "X-Long: 0123456789\r\n".repeat(10_000));
        let original = read(header.as_bytes(), None).await;
        assert!(original.header.len() <= MAX_HEADER && original.header.len() > MAX_HEADER - 20);
        assert!(original.header.ends_with(b"9\r\n"));
        let endless = vec![b'x'; MAX_HEADER * 3];
        assert!(read(&endless, None).await.header.is_empty());
        let mut large = b"A: b\r\n\r\n".to_vec();
        large.resize(usize::try_from(MAX_WHOLE).expect("small") + 1, b'x');
        assert!(read(&large, Some(Ret::Full)).await.whole_if_returnable().is_none());
    }

    #[tokio::test]
    async fn only_what_can_travel_is_returned_whole() {
        let long = format!("A: b\r\n\r\n{}\r\n", "x".repeat(MAX_LINE + 1));
        for (text, returned) in [
            ("A: b\r\n\r\nh\u{fc}bsch\r\n", true),
            ("A: b\r\n\r\nno end", true),
            ("A: \u{fc}\r\n\r\nx\r\n", false),
            ("A: b\r\n\r\nx\0y\r\n", false),
            ("A: b\r\n\r\nx\ny\r\n", false),
            ("A: b\r\n\r\nx\ry\r\n", false),
            ("A: b\r\n\r\nx\r", false),
            (&long, false),
        ] {
            let original = read(text.as_bytes(), Some(Ret::Full)).await;
            assert_eq!(original.whole_if_returnable().is_some(), returned, "{text:?}");
        }
    }
}
