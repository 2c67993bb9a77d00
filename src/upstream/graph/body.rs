//! Request bodies that are made while they are sent.
//!
//! Danger: the base64 of a message is a second copy of it and a third more. Rule: a body is a
//! recipe of ranges; it is encoded in small pieces as the connection takes them, its length is known
//! beforehand, and it can be made again for a second attempt.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{Stream, stream};

use crate::mail::Message;
use crate::protocol::mime::outline::{Part, Segment};
use crate::protocol::mime::transfer::Decoder;

/// Octets encoded at a time; a multiple of three, so that no padding stands inside.
const CHUNK: usize = 48 << 10;

/// A message, or parts of one, to be sent as base64.
#[derive(Clone, Debug)]
pub(super) struct Mime {
    message: Arc<Message>,
    segments: Arc<[Segment]>,
}

impl Mime {
    /// The whole message.
    pub fn whole(message: &Arc<Message>) -> Self {
        Self::of(message, vec![Segment::Range(0..message.size())])
    }

    /// The message put together from `segments`.
    pub fn of(message: &Arc<Message>, segments: Vec<Segment>) -> Self {
        Self { message: Arc::clone(message), segments: segments.into() }
    }

    /// Octets of its base64.
    pub fn encoded_size(&self) -> u64 {
        base64_size(self.size())
    }

    fn size(&self) -> u64 {
        self.segments.iter().map(Segment::size).sum()
    }

    /// The base64 as a request body; `done` becomes true when the last piece was taken.
    pub fn into_body(self, done: Arc<AtomicBool>) -> reqwest::Body {
        reqwest::Body::wrap_stream(self.into_stream(done))
    }

    fn into_stream(self, done: Arc<AtomicBool>) -> impl Stream<Item = io::Result<Bytes>> + Send {
        let reader = SegmentReader::new(self);
        stream::try_unfold((reader, done), |(reader, done)| async {
            let (reader, chunk) = reader.next_chunk().await?;
            // With the last octets, not with the end after them: nobody may ask for that.
            if reader.left == 0 {
                done.store(true, Ordering::Release);
            }
            let piece = Bytes::from(STANDARD.encode(&chunk));
            Ok::<_, io::Error>(Some((piece, (reader, done))).filter(|_| !chunk.is_empty()))
        })
    }
}

/// Octets of the base64 of `size` octets (RFC 4648 section 4).
pub(super) fn base64_size(size: u64) -> u64 {
    size.div_ceil(3) * 4
}

/// Octets of the message whose base64 has `size` octets at most.
pub(super) fn plain_size(size: u64) -> u64 {
    size / 4 * 3
}

/// Up to `limit` octets at `at`, which may be less than there are. Content in memory is shared;
/// reading a file blocks.
pub(super) fn read_at(message: &Message, at: u64, limit: usize) -> io::Result<Bytes> {
    let header = message.header.len() as u64;
    if at >= header {
        return message.content.read_at(at - header, limit);
    }
    let start = usize::try_from(at).map_err(io::Error::other)?;
    Ok(message.header.slice(start..message.header.len().min(start.saturating_add(limit))))
}

fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the message is shorter than its outline")
}

struct SegmentReader {
    mime: Mime,
    segment: usize,
    at: u64,
    /// Octets not yet read.
    left: u64,
}

impl SegmentReader {
    fn new(mime: Mime) -> Self {
        let left = mime.size();
        Self { mime, segment: 0, at: 0, left }
    }

    /// [`Self::chunk`], by another thread when it has to read a file.
    async fn next_chunk(mut self) -> io::Result<(Self, Vec<u8>)> {
        if self.mime.message.content.is_in_memory() {
            let chunk = self.chunk()?;
            return Ok((self, chunk));
        }
        let reading = tokio::task::spawn_blocking(move || self.chunk().map(|chunk| (self, chunk)));
        reading.await.map_err(io::Error::other)?
    }

    /// The next [`CHUNK`] octets, fewer only at the end.
    fn chunk(&mut self) -> io::Result<Vec<u8>> {
        let mut chunk = Vec::with_capacity(CHUNK);
        while let Some(segment) = self.mime.segments.get(self.segment) {
            let left = usize::try_from(segment.size() - self.at).unwrap_or(usize::MAX);
            let room = left.min(CHUNK - chunk.len());
            if left == 0 {
                (self.segment, self.at) = (self.segment + 1, 0);
                continue;
            }
            if room == 0 {
                break;
            }
            let piece = match segment {
                Segment::Range(range) => read_at(&self.mime.message, range.start + self.at, room)?,
                Segment::Text(text) => {
                    let from = usize::try_from(self.at).map_err(io::Error::other)?;
                    Bytes::from_static(&text[from..from + room])
                }
            };
            if piece.is_empty() {
                return Err(cut_short());
            }
            self.at += piece.len() as u64;
            self.left -= piece.len() as u64;
            chunk.extend_from_slice(&piece);
        }
        Ok(chunk)
    }
}

/// An attachment's own octets, decoded from start to end, or from the start again.
#[derive(Debug)]
pub(super) struct AttachmentReader {
    message: Arc<Message>,
    part: Part,
    decoder: Decoder,
    at: u64,
    /// Decoded octets not yet handed out, and the offset of the first.
    ready: Vec<u8>,
    ready_at: u64,
    ended: bool,
}

impl AttachmentReader {
    /// At the start of the attachment.
    pub fn new(message: &Arc<Message>, part: &Part) -> Self {
        Self {
            message: Arc::clone(message),
            part: part.clone(),
            decoder: Decoder::new(part.encoding),
            at: part.body.start,
            ready: Vec::new(),
            ready_at: 0,
            ended: false,
        }
    }

    /// Octets of the attachment, found by decoding it once.
    pub fn size(mut self) -> io::Result<u64> {
        while !self.ended {
            self.more()?;
            self.skip(self.ready.len());
        }
        Ok(self.ready_at)
    }

    /// Up to `limit` octets from `offset`; fewer only at the end. Going back decodes again.
    pub fn slice(&mut self, offset: u64, limit: usize) -> io::Result<Bytes> {
        if offset < self.ready_at {
            *self = Self::new(&Arc::clone(&self.message), &self.part.clone());
        }
        loop {
            let ahead = usize::try_from(offset - self.ready_at).unwrap_or(usize::MAX);
            self.skip(ahead.min(self.ready.len()));
            if self.ended || (self.ready_at == offset && self.ready.len() >= limit) {
                break;
            }
            self.more()?;
        }
        // What was handed out stays until the next call, in case it is asked for again.
        Ok(Bytes::copy_from_slice(&self.ready[..limit.min(self.ready.len())]))
    }

    fn skip(&mut self, octets: usize) {
        self.ready.drain(..octets);
        self.ready_at += octets as u64;
    }

    fn more(&mut self) -> io::Result<()> {
        let left = usize::try_from(self.part.body.end - self.at).unwrap_or(usize::MAX);
        if left == 0 {
            self.decoder.finish(&mut self.ready);
            self.ended = true;
            return Ok(());
        }
        let piece = read_at(&self.message, self.at, left.min(CHUNK))?;
        if piece.is_empty() {
            return Err(cut_short());
        }
        self.at += piece.len() as u64;
        self.decoder.push(&piece, &mut self.ready);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;
    use crate::mail::{MemoryBudget, MessageBuffer};
    use crate::protocol::mime::transfer::Encoding;

    async fn message(size: usize, budget: usize) -> (Arc<Message>, Vec<u8>) {
        let mut text = b"A: b\r\n\r\n".to_vec();
        text.extend((0..size).map(|i| (i % 251) as u8));
        let mut buffer = MessageBuffer::new(&MemoryBudget::new(budget));
        buffer.push(&text).expect("kept");
        (Arc::new(buffer.finish().await.expect("kept")), text)
    }

    fn read(mime: Mime) -> Vec<u8> {
        let mut reader = SegmentReader::new(mime);
        let mut all = Vec::new();
        loop {
            let chunk = reader.chunk().expect("readable");
            all.extend_from_slice(&chunk);
            if chunk.len() < CHUNK {
                return all;
            }
        }
    }

    #[tokio::test]
    async fn every_octet_once_from_memory_and_from_a_file() {
        for budget in [0, 10 << 20] {
            for size in [0, 1, 2, CHUNK - 8, CHUNK, 200_001] {
                let (message, text) = message(size, budget).await;
                assert_eq!(read(Mime::whole(&message)), text, "{size}");
                let expected = STANDARD.encode(&text).len() as u64;
                assert_eq!(Mime::whole(&message).encoded_size(), expected);
            }
        }
    }

    #[tokio::test]
    async fn a_body_is_done_with_its_last_octets() {
        for (size, budget) in
            [0, CHUNK - 8, 2 * CHUNK - 8, 70_000].into_iter().flat_map(|n| [(n, 0), (n, 10 << 20)])
        {
            let (message, text) = message(size, budget).await;
            let done = Arc::new(AtomicBool::new(false));
            let mut body = Mime::whole(&message).into_stream(Arc::clone(&done)).boxed();
            let mut sent = Vec::new();
            while sent.len() < base64_size(text.len() as u64) as usize {
                assert!(!done.load(Ordering::Acquire), "{size}");
                sent.extend(body.next().await.expect("more").expect("readable"));
            }
            assert!(done.load(Ordering::Acquire), "{size}");
            assert!(body.next().await.is_none());
            assert_eq!(STANDARD.decode(sent).expect("base64"), text);
        }
    }

    #[tokio::test]
    async fn segments_are_put_together() {
        let (message, text) = message(100_000, 10 << 20).await;
        let segments = vec![
            Segment::Range(3..3),
            Segment::Range(2..70_000),
            Segment::Text(b"own"),
            Segment::Range(90_000..90_001),
        ];
        let expected = [&text[2..70_000], b"own", &text[90_000..90_001]].concat();
        assert_eq!(read(Mime::of(&message, segments)), expected);
    }

    #[test]
    fn attachments_are_decoded_from_any_offset() {
        let octets: Vec<u8> = (0..150_000_u32).map(|i| (i % 253) as u8).collect();
        let text = format!("A: b\r\n\r\n{}", STANDARD.encode(&octets));
        let message = Arc::new(Message::from_bytes(Bytes::from(text)));
        let part = Part { body: 8..message.size(), encoding: Encoding::Base64, ..Part::default() };
        let mut reader = AttachmentReader::new(&message, &part);
        for offset in [0, 100_000, 100_000, 20, 149_999, 150_000] {
            let expected = &octets[offset..octets.len().min(offset + 60_000)];
            assert_eq!(reader.slice(offset as u64, 60_000).expect("readable"), expected);
        }
        assert_eq!(AttachmentReader::new(&message, &part).size().expect("readable"), 150_000);
    }
}
