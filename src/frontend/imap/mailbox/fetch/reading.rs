//! A message while a session reads it.
//!
//! Danger: a client that asks for an attachment in pieces of 16 KiB has a large message looked
//! through a thousand times; looking through it on the threads that serve sessions stops them all.
//! Rule: the last message stays with its parts ([`LastRead`]); only as much is looked through as the
//! command needs; what is not small is looked through by another thread.

use std::io;
use std::sync::Arc;

use super::binary::Mark;
use crate::mail::Content;
use crate::mail::mailbox::Uid;
use crate::protocol::mime::structure::{Part, StructureParser};

/// What is read of a message at a time, in octets.
pub(in crate::frontend::imap::mailbox) const PIECE: usize = 64 << 10;
/// A header that is longer is found by looking through the whole message: nothing is held twice.
const MAX_HEADER: u64 = 1 << 20;

/// How much must be known of a message, beside its octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Depth {
    /// Nothing.
    Octets,
    /// Its own header.
    Header,
    /// All its parts.
    Parts,
}

/// The message that a session has read last.
pub(in crate::frontend::imap) struct LastRead {
    pub(super) uid: Uid,
    pub(super) content: Arc<Content>,
    /// Where the last decoding stopped.
    pub(super) mark: Option<Mark>,
    parts: Option<Part>,
    depth: Depth,
}

impl LastRead {
    /// Nothing is known of its parts.
    pub fn new(uid: Uid, content: Arc<Content>) -> Self {
        Self { uid, content, mark: None, parts: None, depth: Depth::Octets }
    }

    /// Looks through the message, unless that was done before.
    pub(super) async fn look(&mut self, depth: Depth) -> io::Result<()> {
        if self.depth >= depth {
            return Ok(());
        }
        let content = Arc::clone(&self.content);
        let looking = move || match depth {
            Depth::Parts => Ok((structure(&content)?, Depth::Parts)),
            _ => own_header(&content),
        };
        let is_small = self.content.is_in_memory() && self.content.size() <= PIECE as u64;
        let (parts, depth) = match is_small {
            true => looking()?,
            false => tokio::task::spawn_blocking(looking).await.map_err(io::Error::other)??,
        };
        (self.parts, self.depth) = (Some(parts), depth);
        Ok(())
    }

    /// The parts, as far as they were looked for.
    pub(super) fn parts(&self) -> Option<&Part> {
        self.parts.as_ref()
    }
}

/// All parts of a message. Blocks where it is in a file.
pub(in crate::frontend::imap::mailbox) fn structure(content: &Content) -> io::Result<Part> {
    let mut parser = StructureParser::new();
    let mut at = 0;
    loop {
        let piece = content.read_at(at, PIECE)?;
        if piece.is_empty() {
            return Ok(parser.finish());
        }
        parser.push(&piece);
        at += piece.len() as u64;
    }
}

/// The message's own header as that of a message without content: listings of headers alone are
/// what clients ask for most.
fn own_header(content: &Content) -> io::Result<(Part, Depth)> {
    let mut header = Vec::new();
    while header.len() as u64 <= MAX_HEADER {
        // The empty line may have begun in what came before.
        let from = header.len().saturating_sub(3);
        let piece = content.read_at(header.len() as u64, PIECE)?;
        header.extend_from_slice(&piece);
        let end = match header.starts_with(b"\r\n") {
            true => Some(2),
            false => memchr::memmem::find(&header[from..], b"\r\n\r\n").map(|at| from + at + 4),
        };
        if end.is_some() || piece.is_empty() {
            header.truncate(end.unwrap_or(header.len()));
            let mut parser = StructureParser::new();
            parser.push(&header);
            return Ok((parser.finish(), Depth::Header));
        }
    }
    Ok((structure(content)?, Depth::Parts))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[tokio::test]
    async fn a_header_is_found_wherever_it_ends() {
        for length in [0, 10, PIECE - 3, PIECE - 2, PIECE - 1, PIECE, 3 * PIECE] {
            let header = format!("Subject: {}\r\n\r\n", "x".repeat(length));
            let text = format!("{header}body\r\n\r\nmore");
            let content = Arc::new(Content::from_bytes(Bytes::from(text)));
            let mut read = LastRead::new(Uid::FIRST, content);
            read.look(Depth::Header).await.expect("memory");
            let found = &read.parts().expect("looked for").header;
            assert!(found == header.as_bytes(), "{length}: {}", found.len());
            assert_eq!(read.depth, Depth::Header);
        }
    }

    #[tokio::test]
    async fn messages_without_content_or_header_are_messages() {
        for (text, header) in [("A: b\r\n", "A: b\r\n"), ("\r\nx", "\r\n"), ("", "")] {
            let content = Arc::new(Content::from_bytes(Bytes::from(text)));
            let mut read = LastRead::new(Uid::FIRST, content);
            read.look(Depth::Header).await.expect("memory");
            assert_eq!(read.parts().expect("looked for").header, header.as_bytes(), "{text:?}");
        }
    }

    #[tokio::test]
    async fn a_header_without_end_is_looked_for_once() {
        let text = Bytes::from(vec![b'x'; 2 * MAX_HEADER as usize]);
        let mut read = LastRead::new(Uid::FIRST, Arc::new(Content::from_bytes(text)));
        read.look(Depth::Header).await.expect("memory");
        assert_eq!(read.depth, Depth::Parts);
    }
}
