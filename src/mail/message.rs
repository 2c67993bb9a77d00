//! A message while it passes through: the header as one block, the content after it in pieces.
//!
//! Danger: a second copy of each message doubles the memory, and a disk that is slow stops every
//! session when it is read on the threads that serve them. Rule: content is shared, never copied;
//! header edits make a new header block; asynchronous code reads with [`MessageReader::next`], which
//! leaves files to other threads. How a message comes in: see [`super::MessageBuffer`].

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::budget::Share;

/// Most octets that are read from a file at once.
const PIECE: usize = 64 << 10;

/// A complete message: RFC 5322 header and content, lines ended by CRLF alone.
#[derive(Debug)]
pub struct Message {
    /// The header with the empty line that ends it, where there is one.
    pub header: Bytes,
    /// Everything after the header.
    pub content: Arc<Content>,
}

impl Message {
    /// A message from one block of bytes, split at its first empty line.
    pub fn from_bytes(bytes: Bytes) -> Self {
        let split = header_length(&bytes).unwrap_or(bytes.len());
        let content = Content::in_memory(vec![bytes.slice(split..)], None);
        Self { header: bytes.slice(..split), content: Arc::new(content) }
    }

    /// The same content under another header.
    pub fn with_header(&self, header: Bytes) -> Self {
        Self { header, content: Arc::clone(&self.content) }
    }

    /// Size of header and content, in octets.
    pub fn size(&self) -> u64 {
        self.header.len() as u64 + self.content.size()
    }

    /// Reads header and content from the start.
    pub fn reader(&self) -> MessageReader {
        MessageReader {
            header: Some(self.header.clone()),
            content: Arc::clone(&self.content),
            at: 0,
        }
    }
}

/// What follows the header.
#[derive(Debug)]
pub struct Content {
    place: Place,
    size: u64,
    /// Counts the header too; given back with the last reference.
    _share: Option<Share>,
}

#[derive(Debug)]
enum Place {
    Memory(Vec<Bytes>),
    /// A file from an offset on; the lock keeps position and read together.
    File(std::sync::Mutex<File>, u64),
}

impl Content {
    pub(super) fn in_memory(pieces: Vec<Bytes>, share: Option<Share>) -> Self {
        let size = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { place: Place::Memory(pieces), size, _share: share }
    }

    pub(super) fn in_file(file: File, size: u64, share: Share) -> Self {
        Self { place: Place::File(std::sync::Mutex::new(file), 0), size, _share: Some(share) }
    }

    /// A whole message in a file that is not changed any more.
    pub fn from_file(file: File, size: u64) -> Self {
        Self::from_file_at(file, 0, size)
    }

    /// What follows the header in the file of a message: `size` octets from `start` on.
    pub fn from_file_at(file: File, start: u64, size: u64) -> Self {
        Self { place: Place::File(std::sync::Mutex::new(file), start), size, _share: None }
    }

    /// A whole message in memory.
    pub fn from_bytes(bytes: Bytes) -> Self {
        Self::in_memory(vec![bytes], None)
    }

    /// As [`Self::read_at`] for asynchronous code: files are left to other threads. May return less
    /// than `limit`, but nothing only at the end.
    pub async fn read(self: &Arc<Self>, at: u64, limit: usize) -> io::Result<Bytes> {
        if self.is_in_memory() {
            return self.read_at(at, limit);
        }
        let content = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || content.read_at(at, limit));
        read.await.map_err(io::Error::other)?
    }

    /// False when reading it may wait for a disk.
    pub fn is_in_memory(&self) -> bool {
        matches!(self.place, Place::Memory(_))
    }

    /// Octets.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Up to `limit` octets from offset `at`; empty at the end. Content in memory is shared, not
    /// copied. A file is read at once: asynchronous code asks [`Self::is_in_memory`] first.
    pub fn read_at(&self, at: u64, limit: usize) -> io::Result<Bytes> {
        match &self.place {
            Place::Memory(pieces) => Ok(slice_of(pieces, at, limit)),
            Place::File(file, start) => {
                let left = usize::try_from(self.size.saturating_sub(at)).unwrap_or(usize::MAX);
                let mut piece = BytesMut::zeroed(left.min(limit));
                let mut file = file.lock().map_err(|_| io::Error::other("temporary file lost"))?;
                file.seek(SeekFrom::Start(start.saturating_add(at)))?;
                file.read_exact(&mut piece)?;
                Ok(piece.freeze())
            }
        }
    }
}

fn slice_of(pieces: &[Bytes], at: u64, limit: usize) -> Bytes {
    let mut skip = at;
    for piece in pieces {
        let length = piece.len() as u64;
        if skip < length {
            let start = usize::try_from(skip).unwrap_or(usize::MAX);
            let end = piece.len().min(start.saturating_add(limit));
            return piece.slice(start..end);
        }
        skip -= length;
    }
    Bytes::new()
}

/// Reads a message piece by piece.
#[derive(Debug)]
pub struct MessageReader {
    header: Option<Bytes>,
    content: Arc<Content>,
    at: u64,
}

impl MessageReader {
    /// The next piece; `None` at the end. A file is read by a thread of its own.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.header.is_some() || self.content.is_in_memory() {
            return self.next_piece();
        }
        let (content, at) = (Arc::clone(&self.content), self.at);
        let read = tokio::task::spawn_blocking(move || content.read_at(at, PIECE));
        let piece = read.await.map_err(io::Error::other)??;
        self.at += piece.len() as u64;
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }

    /// Like [`Self::next`] for threads that may block.
    pub fn next_piece(&mut self) -> io::Result<Option<Bytes>> {
        if let Some(header) = self.header.take().filter(|header| !header.is_empty()) {
            return Ok(Some(header));
        }
        let piece = self.content.read_at(self.at, PIECE)?;
        self.at += piece.len() as u64;
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }
}

/// Length of the header with its closing empty line; a message may begin with the empty line.
pub(super) fn header_length(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(b"\r\n") {
        return Some(2);
    }
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|found| found + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_split_at_its_first_empty_line_and_shared() {
        for (text, header) in
            [("A: b\r\n\r\nx\r\n\r\ny", 8), ("\r\nx", 2), ("A: b\r\n", 6), ("", 0)]
        {
            let message = Message::from_bytes(Bytes::from(text));
            assert_eq!(message.header.len(), header, "{text:?}");
            assert_eq!(message.size(), text.len() as u64);
            let other = message.with_header(Bytes::from("C: d\r\n\r\n"));
            assert!(Arc::ptr_eq(&other.content, &message.content));
            let mut reader = other.reader();
            assert_eq!(reader.next_piece().expect("memory").expect("header"), "C: d\r\n\r\n");
            let rest = reader.next_piece().expect("memory").unwrap_or_default();
            assert_eq!(rest, &text.as_bytes()[header..]);
        }
    }
}
