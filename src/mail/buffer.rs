//! Taking a message in as it arrives.
//!
//! Danger: thousands of messages half sent fill the memory; a full or slow disk, written to on the
//! threads that serve sessions, stops them all. Rule: all that is held is counted (`Share`); when
//! the budget is used up, or one message exceeds 32 MiB, its content goes to an unnamed file, which
//! only other threads write ([`MessageBuffer::settle`]). A header has no other place than memory:
//! without any left the message is refused, for the time being.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::budget::{MemoryBudget, Share};
use super::message::{Content, Message, header_length};

/// The content of a single message that is larger goes to a file at once, in octets.
const MAX_IN_MEMORY: u64 = 32 << 20;
/// Pieces are collected up to this size, in octets, so that a short line is no allocation.
const PIECE: usize = 64 << 10;
/// The smallest allocation, in octets.
const SMALLEST_PIECE: usize = 1 << 10;
/// A header is looked through in steps of so many octets, so that little of the content that came
/// with its end is copied twice.
const HEADER_STEP: usize = 4 << 10;
/// A file is written when so many octets wait: few enough to be held by thousands of slow clients,
/// and a fast one sends more at once.
const WRITE_FROM: usize = 8 << 10;

/// Takes a message in as it arrives.
#[derive(Debug)]
pub struct MessageBuffer {
    share: Share,
    header: Option<Bytes>,
    /// What the header holds of the share.
    header_held: usize,
    /// The content, or what of it is not yet in the file.
    pieces: Vec<Bytes>,
    piece: BytesMut,
    /// Octets in `pieces` and `piece`, the header apart.
    waiting: usize,
    /// The content goes to a file.
    spills: bool,
    file: Option<File>,
    in_file: u64,
}

impl MessageBuffer {
    /// An empty buffer that draws on `budget`.
    pub fn new(budget: &MemoryBudget) -> Self {
        Self {
            share: Share::new(budget),
            header: None,
            header_held: 0,
            pieces: Vec::new(),
            piece: BytesMut::new(),
            waiting: 0,
            spills: false,
            file: None,
            in_file: 0,
        }
    }

    /// Appends octets, in memory for now: call [`Self::settle`] soon. Fails, with
    /// [`io::ErrorKind::OutOfMemory`], only when there is no memory for the header.
    pub fn push(&mut self, mut octets: &[u8]) -> io::Result<()> {
        while self.header.is_none() && !octets.is_empty() {
            let (now, later) = octets.split_at(octets.len().min(HEADER_STEP));
            self.push_header(now)?;
            octets = later;
        }
        self.push_content(octets);
        Ok(())
    }

    /// Writes to the file what has to go there.
    pub async fn settle(&mut self) -> io::Result<()> {
        match self.spills && self.waiting >= WRITE_FROM {
            true => self.write_out().await,
            false => Ok(()),
        }
    }

    /// Octets of the header so far; the caller sets the limit.
    pub fn header_size(&self) -> usize {
        self.header.as_ref().map_or(self.piece.len(), Bytes::len)
    }

    /// Octets so far.
    pub fn size(&self) -> u64 {
        self.header_size() as u64 + self.in_file + self.waiting as u64
    }

    /// The complete message.
    pub async fn finish(mut self) -> io::Result<Message> {
        let Some(header) = self.header.take() else {
            let content = Content::in_memory(Vec::new(), Some(self.share));
            return Ok(Message { header: self.piece.freeze(), content: Arc::new(content) });
        };
        if self.spills && self.waiting > 0 {
            self.write_out().await?;
        }
        let content = match self.file {
            Some(file) => Content::in_file(file, self.in_file, self.share),
            None => {
                self.pieces.extend(Some(self.piece.freeze()).filter(|piece| !piece.is_empty()));
                Content::in_memory(self.pieces, Some(self.share))
            }
        };
        Ok(Message { header, content: Arc::new(content) })
    }

    fn push_header(&mut self, octets: &[u8]) -> io::Result<()> {
        if !self.has_room(octets.len()) {
            let words = "the messages in flight use all the memory that they may";
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, words));
        }
        // The empty line may have begun in what came before.
        let from = self.piece.len().saturating_sub(3);
        self.piece.extend_from_slice(octets);
        let end = match from {
            0 => header_length(&self.piece),
            _ => memchr::memmem::find(&self.piece[from..], b"\r\n\r\n").map(|at| from + at + 4),
        };
        let Some(end) = end else { return Ok(()) };
        self.header = Some(self.piece.split_to(end).freeze());
        self.header_held = self.share.held();
        let rest = std::mem::take(&mut self.piece);
        self.push_content(&rest);
        Ok(())
    }

    fn push_content(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            let (now, later) = octets.split_at(octets.len().min(PIECE - self.piece.len()));
            octets = later;
            let too_large = (self.waiting + now.len()) as u64 > MAX_IN_MEMORY;
            self.spills = self.spills || too_large || !self.has_room(now.len());
            self.piece.extend_from_slice(now);
            self.waiting += now.len();
            if self.piece.len() == PIECE {
                self.pieces.push(std::mem::take(&mut self.piece).freeze());
            }
        }
    }

    /// Makes room for `octets` more in the open piece; false when the budget is used up.
    fn has_room(&mut self, octets: usize) -> bool {
        let needed = self.piece.len() + octets;
        let old = self.piece.capacity();
        if needed <= old {
            return true;
        }
        // A message that filled one piece will fill the next: no growing by halves.
        let capacity = match self.pieces.is_empty() {
            true => needed.next_power_of_two().max(SMALLEST_PIECE),
            false => PIECE,
        };
        if !self.share.take(capacity) {
            return false;
        }
        let mut larger = BytesMut::with_capacity(capacity);
        larger.extend_from_slice(&self.piece);
        self.piece = larger;
        self.share.keep(self.share.held() - old);
        true
    }

    async fn write_out(&mut self) -> io::Result<()> {
        self.pieces.push(std::mem::take(&mut self.piece).freeze());
        let pieces = std::mem::take(&mut self.pieces);
        let octets = std::mem::take(&mut self.waiting);
        let (file, budget) = (self.file.take(), self.share.budget().clone());
        let writing = tokio::task::spawn_blocking(move || {
            let mut file = file.map_or_else(|| budget.file(), Ok)?;
            pieces.iter().try_for_each(|piece| file.write_all(piece))?;
            Ok::<_, io::Error>(file)
        });
        self.file = Some(writing.await.map_err(io::Error::other)??);
        self.in_file += octets as u64;
        self.share.keep(self.header_held);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::budget::FREE;
    use super::*;

    async fn read_all(message: &Message) -> Vec<u8> {
        let mut reader = message.reader();
        let mut bytes = Vec::new();
        while let Some(piece) = reader.next().await.expect("readable") {
            bytes.extend_from_slice(&piece);
        }
        let (mut blocking, mut again) = (message.reader(), Vec::new());
        while let Some(piece) = blocking.next_piece().expect("readable") {
            again.extend_from_slice(&piece);
        }
        assert!(bytes == again, "both ways of reading agree");
        bytes
    }

    #[tokio::test]
    async fn splits_at_every_byte_alike() {
        let text = b"From: a@b\r\nSubject: x\r\n\r\nline\r\n\r\nmore\r\n";
        let budget = MemoryBudget::new(1 << 20);
        for cut in 0..text.len() {
            let mut buffer = MessageBuffer::new(&budget);
            buffer.push(&text[..cut]).expect("memory");
            buffer.push(&text[cut..]).expect("memory");
            assert_eq!(buffer.size(), text.len() as u64);
            let message = buffer.finish().await.expect("memory");
            assert_eq!(message.header, &text[..25], "cut {cut}");
            assert_eq!(read_all(&message).await, text);
        }
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn header_only_and_empty_messages_survive() {
        let budget = MemoryBudget::new(1 << 20);
        for text in [&b""[..], b"Subject: x\r\n", b"\r\n", b"\r\nbody\r\n"] {
            let mut buffer = MessageBuffer::new(&budget);
            for byte in text {
                buffer.push(&[*byte]).expect("memory");
            }
            assert_eq!(read_all(&buffer.finish().await.expect("memory")).await, text);
        }
    }

    #[tokio::test]
    async fn headers_of_any_length_are_found_in_steps() {
        let budget = MemoryBudget::new(1 << 20);
        for length in (HEADER_STEP - 3..HEADER_STEP + 3).chain([3 * HEADER_STEP - 1, 100_000]) {
            let mut text = vec![b'x'; length];
            text.extend_from_slice(b"\r\n\r\n");
            text.extend(vec![b'y'; 150_000]);
            let mut buffer = MessageBuffer::new(&budget);
            text.chunks(70_000).for_each(|piece| buffer.push(piece).expect("memory"));
            let message = buffer.finish().await.expect("memory");
            assert_eq!(message.header.len(), length + 4);
            assert!(read_all(&message).await == text, "{length}");
        }
    }

    #[tokio::test]
    async fn over_budget_goes_to_a_file_and_reads_back() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let budget = MemoryBudget::with_folder(100 << 10, folder.path().to_owned());
        let mut text = b"Subject: x\r\n\r\n".to_vec();
        text.extend((0..300_000_u32).map(|i| (i % 251) as u8));
        let mut buffer = MessageBuffer::new(&budget);
        for piece in text.chunks(1000) {
            buffer.push(piece).expect("memory");
            buffer.settle().await.expect("file");
            assert!(buffer.waiting < 128 << 10, "{}", buffer.waiting);
        }
        let message = buffer.finish().await.expect("file");
        assert_eq!(budget.used(), 0);
        assert!(!message.content.is_in_memory());
        assert!(read_all(&message).await == text);
        assert_eq!(message.size(), text.len() as u64);
    }

    #[tokio::test]
    async fn a_single_large_message_goes_to_a_file() {
        let budget = MemoryBudget::new(1 << 30);
        let mut buffer = MessageBuffer::new(&budget);
        buffer.push(b"a: b\r\n\r\n").expect("memory");
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..34 {
            buffer.push(&piece).expect("memory");
            buffer.settle().await.expect("file");
        }
        let message = buffer.finish().await.expect("file");
        assert!(!message.content.is_in_memory());
        assert_eq!((message.content.size(), budget.used()), (34 << 20, 0));
    }

    #[tokio::test]
    async fn what_is_held_is_counted_and_given_back() {
        let budget = MemoryBudget::new(1 << 20);
        let mut buffer = MessageBuffer::new(&budget);
        buffer.push(b"a: b\r\n\r\n").expect("memory");
        buffer.push(&[b'x'; 200_000]).expect("memory");
        let message = buffer.finish().await.expect("memory");
        assert!((200_000 - FREE..300_000).contains(&budget.used()), "{}", budget.used());
        drop(message);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn headers_without_end_fill_the_budget_and_no_more() {
        const LIMIT: usize = 8 << 20;
        let budget = MemoryBudget::new(LIMIT);
        let mut hostile: Vec<_> = (0..100).map(|_| MessageBuffer::new(&budget)).collect();
        let mut refused = 0;
        for buffer in &mut hostile {
            for _ in 0..(1 << 20) / 1000 {
                match buffer.push(&[b'x'; 1000]) {
                    Ok(()) => {}
                    Err(error) => {
                        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
                        refused += 1;
                        break;
                    }
                }
            }
        }
        assert!(refused > 80 && budget.used() <= LIMIT, "{refused} {}", budget.used());
        let held: usize = hostile.iter().map(|buffer| buffer.piece.capacity()).sum();
        assert!(held <= LIMIT + hostile.len() * FREE, "{held}");
        // Others still send.
        let mut buffer = MessageBuffer::new(&budget);
        buffer.push(b"Subject: x\r\n\r\n").expect("free");
        for _ in 0..100 {
            buffer.push(&[b'y'; 10_000]).expect("free");
            buffer.settle().await.expect("file");
        }
        let message = buffer.finish().await.expect("file");
        assert_eq!(read_all(&message).await.len(), 14 + 1_000_000);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_full_disk_is_an_error() {
        let budget = MemoryBudget::new(0);
        let mut buffer = MessageBuffer::new(&budget);
        buffer.push(b"a: b\r\n\r\n").expect("free");
        buffer.file = Some(File::options().write(true).open("/dev/full").expect("Linux has it"));
        buffer.push(&[b'x'; 100_000]).expect("memory");
        let error = buffer.settle().await.expect_err("full");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
