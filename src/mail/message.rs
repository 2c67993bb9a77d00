//! A message while it passes through: the header as one block, the content after it in pieces.
//!
//! Danger: hundreds of clients with large messages fill the memory; a second copy of each doubles
//! it. Rule: the pieces that come from the socket are kept as they are, once; when all messages
//! together exceed the [`MemoryBudget`], or one alone 32 MiB, the content goes to an
//! anonymous temporary file. Header edits make a new header block and share the content.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};

/// A single message larger than this goes to a file at once, in octets.
const MAX_IN_MEMORY: usize = 32 << 20;

/// Pieces are collected up to this size, in octets, so that a short line is no allocation.
const PIECE: usize = 64 << 10;

/// Memory that all messages in flight may use together, in octets.
#[derive(Clone, Debug)]
pub struct MemoryBudget(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl MemoryBudget {
    /// A budget of `limit` octets.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Budget { limit, used: AtomicUsize::new(0) }))
    }

    /// Octets in use now.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    fn take(&self, octets: usize) -> bool {
        let taken = self.0.used.fetch_add(octets, Ordering::Relaxed) + octets <= self.0.limit;
        if !taken {
            self.give_back(octets);
        }
        taken
    }

    fn give_back(&self, octets: usize) {
        self.0.used.fetch_sub(octets, Ordering::Relaxed);
    }
}

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
        let content = Content::memory(vec![bytes.slice(split..)], None);
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
    reserved: Option<(MemoryBudget, usize)>,
}

#[derive(Debug)]
enum Place {
    Memory(Vec<Bytes>),
    /// An unnamed file; the lock keeps position and read together.
    File(std::sync::Mutex<File>),
}

impl Content {
    fn memory(pieces: Vec<Bytes>, reserved: Option<(MemoryBudget, usize)>) -> Self {
        let size = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { place: Place::Memory(pieces), size, reserved }
    }

    /// Octets.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Up to `limit` octets from offset `at`; empty at the end. Content in memory is shared, not
    /// copied. A file is read at once: it is this process's own and mostly still in the cache.
    pub fn read_at(&self, at: u64, limit: usize) -> io::Result<Bytes> {
        match &self.place {
            Place::Memory(pieces) => Ok(slice_of(pieces, at, limit)),
            Place::File(file) => {
                let left = usize::try_from(self.size.saturating_sub(at)).unwrap_or(usize::MAX);
                let mut piece = BytesMut::zeroed(left.min(limit));
                let mut file = file.lock().map_err(|_| io::Error::other("temporary file lost"))?;
                file.seek(SeekFrom::Start(at))?;
                file.read_exact(&mut piece)?;
                Ok(piece.freeze())
            }
        }
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        if let Some((budget, octets)) = self.reserved.take() {
            budget.give_back(octets);
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
    /// The next piece, at most 64 KiB from a file; `None` at the end.
    pub fn next_piece(&mut self) -> io::Result<Option<Bytes>> {
        if let Some(header) = self.header.take().filter(|header| !header.is_empty()) {
            return Ok(Some(header));
        }
        let piece = self.content.read_at(self.at, PIECE)?;
        self.at += piece.len() as u64;
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }
}

/// Takes a message in as it arrives.
#[derive(Debug)]
pub struct MessageBuffer {
    budget: MemoryBudget,
    header: Option<Bytes>,
    pieces: Vec<Bytes>,
    piece: BytesMut,
    reserved: usize,
    file: Option<File>,
    in_file: u64,
}

impl MessageBuffer {
    /// An empty buffer that draws on `budget`.
    pub fn new(budget: &MemoryBudget) -> Self {
        Self {
            budget: budget.clone(),
            header: None,
            pieces: Vec::new(),
            piece: BytesMut::new(),
            reserved: 0,
            file: None,
            in_file: 0,
        }
    }

    /// Appends octets. Fails only when a temporary file cannot be written.
    pub fn push(&mut self, mut octets: &[u8]) -> io::Result<()> {
        while self.header.is_some() && !octets.is_empty() {
            let room = PIECE - self.piece.len();
            let (now, later) = octets.split_at(octets.len().min(room));
            self.piece.extend_from_slice(now);
            octets = later;
            if self.piece.len() == PIECE {
                self.close_piece()?;
            }
        }
        if self.header.is_none() && !octets.is_empty() {
            return self.push_header(octets);
        }
        Ok(())
    }

    /// Octets of the header so far; the caller sets the limit.
    pub fn header_size(&self) -> usize {
        self.header.as_ref().map_or(self.piece.len(), Bytes::len)
    }

    /// Octets so far.
    pub fn size(&self) -> u64 {
        let header = self.header.as_ref().map_or(0, Bytes::len) as u64;
        header + self.in_file + self.reserved as u64 + self.piece.len() as u64
    }

    /// The complete message.
    pub fn finish(mut self) -> io::Result<Message> {
        let Some(header) = self.header.take() else {
            let header = std::mem::take(&mut self.piece).freeze();
            let content = Content::memory(Vec::new(), None);
            return Ok(Message { header, content: Arc::new(content) });
        };
        if !self.piece.is_empty() {
            self.close_piece()?;
        }
        let reserved = std::mem::take(&mut self.reserved);
        let content = match self.file.take() {
            Some(file) => Content {
                place: Place::File(std::sync::Mutex::new(file)),
                size: self.in_file,
                reserved: None,
            },
            None => Content::memory(
                std::mem::take(&mut self.pieces),
                Some((self.budget.clone(), reserved)),
            ),
        };
        Ok(Message { header, content: Arc::new(content) })
    }

    fn push_header(&mut self, octets: &[u8]) -> io::Result<()> {
        let before = self.piece.len();
        self.piece.extend_from_slice(octets);
        // The empty line may have begun in what came before.
        let from = before.saturating_sub(3);
        let end = if before == 0 || from == 0 {
            header_length(&self.piece)
        } else {
            memchr::memmem::find(&self.piece[from..], b"\r\n\r\n").map(|found| from + found + 4)
        };
        let Some(end) = end else { return Ok(()) };
        let header = self.piece.split_to(end).freeze();
        let rest = std::mem::take(&mut self.piece);
        self.header = Some(header);
        self.push(&rest)
    }

    fn close_piece(&mut self) -> io::Result<()> {
        // A message that filled one piece will fill the next: no growing by halves.
        let next = if self.piece.len() == PIECE {
            BytesMut::with_capacity(PIECE)
        } else {
            BytesMut::new()
        };
        let piece = std::mem::replace(&mut self.piece, next).freeze();
        if let Some(file) = &mut self.file {
            file.write_all(&piece)?;
            self.in_file += piece.len() as u64;
            return Ok(());
        }
        if self.reserved + piece.len() > MAX_IN_MEMORY || !self.budget.take(piece.len()) {
            return self.move_to_file(piece);
        }
        self.reserved += piece.len();
        self.pieces.push(piece);
        Ok(())
    }

    fn move_to_file(&mut self, last: Bytes) -> io::Result<()> {
        let mut file = tempfile::tempfile()?;
        for piece in self.pieces.drain(..).chain([last]) {
            file.write_all(&piece)?;
            self.in_file += piece.len() as u64;
        }
        self.budget.give_back(std::mem::take(&mut self.reserved));
        self.file = Some(file);
        Ok(())
    }
}

impl Drop for MessageBuffer {
    fn drop(&mut self) {
        self.budget.give_back(std::mem::take(&mut self.reserved));
    }
}

/// Length of the header with its closing empty line; a message may begin with the empty line.
fn header_length(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(b"\r\n") {
        return Some(2);
    }
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|found| found + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(message: &Message) -> Vec<u8> {
        let mut reader = message.reader();
        let mut bytes = Vec::new();
        while let Some(piece) = reader.next_piece().expect("readable") {
            bytes.extend_from_slice(&piece);
        }
        bytes
    }

    #[test]
    fn splits_at_every_byte_alike() {
        let text = b"From: a@b\r\nSubject: x\r\n\r\nline\r\n\r\nmore\r\n";
        let budget = MemoryBudget::new(1 << 20);
        for cut in 0..text.len() {
            let mut buffer = MessageBuffer::new(&budget);
            buffer.push(&text[..cut]).expect("memory");
            buffer.push(&text[cut..]).expect("memory");
            assert_eq!(buffer.size(), text.len() as u64);
            let message = buffer.finish().expect("memory");
            assert_eq!(message.header, &text[..25], "cut {cut}");
            assert_eq!(read_all(&message), text);
        }
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn header_only_and_empty_messages_survive() {
        let budget = MemoryBudget::new(1 << 20);
        for text in [&b""[..], b"Subject: x\r\n", b"\r\n", b"\r\nbody\r\n"] {
            let mut buffer = MessageBuffer::new(&budget);
            for byte in text {
                buffer.push(&[*byte]).expect("memory");
            }
            assert_eq!(read_all(&buffer.finish().expect("memory")), text);
        }
    }

    #[test]
    fn over_budget_goes_to_a_file_and_reads_back() {
        let budget = MemoryBudget::new(100 << 10);
        let mut text = b"Subject: x\r\n\r\n".to_vec();
        text.extend((0..300_000_u32).map(|i| (i % 251) as u8));
        let mut buffer = MessageBuffer::new(&budget);
        for piece in text.chunks(1000) {
            buffer.push(piece).expect("file");
        }
        let message = buffer.finish().expect("file");
        assert_eq!(budget.used(), 0);
        assert!(matches!(message.content.place, Place::File(_)));
        assert_eq!(read_all(&message), text);
        assert_eq!(message.size(), text.len() as u64);
    }

    #[test]
    fn memory_is_given_back() {
        let budget = MemoryBudget::new(1 << 20);
        let mut buffer = MessageBuffer::new(&budget);
        buffer.push(b"a: b\r\n\r\n").expect("memory");
        buffer.push(&[b'x'; 200_000]).expect("memory");
        let message = buffer.finish().expect("memory");
        assert_eq!(budget.used(), 200_000);
        drop(message);
        assert_eq!(budget.used(), 0);
    }
}
