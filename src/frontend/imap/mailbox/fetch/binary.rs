//! BINARY (RFC 3516, RFC 9051 section 6.4.5): parts with their transfer encoding undone.
//!
//! Danger: an attachment decoded in one go is in memory as a whole, and a length announced before
//! it is known can't be kept. Rule: a part is decoded twice, piece by piece: first its length is
//! counted, then it is sent. A [`Mark`] lets the next piece begin where the last one ended.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::reading::PIECE;
use crate::frontend::connected::Connected;
use crate::frontend::conversation::Parting;
use crate::mail::Content;
use crate::protocol::mime::structure::{Inside, Part};
use crate::protocol::mime::transfer::{Decoder, Encoding};

/// A place in a part from where on it can be decoded.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    body: Range<u64>,
    /// The next encoded octet, counted from the start of the message.
    encoded: u64,
    /// Octets that came out before.
    decoded: u64,
    decoder: Decoder,
}

/// A decoded part, or a piece of one, whose length is known.
#[derive(Clone, Debug)]
pub(super) struct Decoded {
    from: Mark,
    /// Octets to leave out from there.
    skip: u64,
    /// Octets of the answer.
    pub length: u64,
    /// It holds NUL, which only a literal8 may.
    pub has_nul: bool,
}

impl Mark {
    fn start(body: &Range<u64>, encoding: Encoding) -> Self {
        let decoder = Decoder::new(encoding);
        Self { body: body.clone(), encoded: body.start, decoded: 0, decoder }
    }

    /// Decodes the next piece into `out`; false at the end.
    async fn step(&mut self, content: &Arc<Content>, out: &mut Vec<u8>) -> io::Result<bool> {
        out.clear();
        let left = usize::try_from(self.body.end - self.encoded).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(false);
        }
        let piece = content.read(self.encoded, left.min(PIECE)).await?;
        if piece.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        self.decoder.push(&piece, out);
        self.encoded += piece.len() as u64;
        if self.encoded == self.body.end {
            self.decoder.finish(out);
        }
        self.decoded += out.len() as u64;
        // Content in memory never waits: other sessions get their turn.
        tokio::task::yield_now().await;
        Ok(true)
    }
}

/// How the body of a part is encoded; composite ones never are (RFC 2045 section 6.4).
fn encoding(part: &Part) -> Encoding {
    match part.inside {
        Inside::Leaf => part.encoding(),
        _ => Encoding::Identity,
    }
}

/// Finds the length of a part, or of the piece of it that `partial` asks for. `mark` is where an
/// earlier call stopped; it is moved to where this one does. `None`: the encoding is not known.
pub(super) async fn measure(
    content: &Arc<Content>,
    part: &Part,
    partial: Option<(u64, u64)>,
    mark: &mut Option<Mark>,
) -> io::Result<Option<Decoded>> {
    let encoding = encoding(part);
    if encoding == Encoding::Unknown {
        return Ok(None);
    }
    let (offset, limit) = partial.unwrap_or((0, u64::MAX));
    let end = offset.saturating_add(limit);
    let usable = mark.take().filter(|mark| mark.body == part.body_range && mark.decoded <= offset);
    let mut at = usable.unwrap_or_else(|| Mark::start(&part.body_range, encoding));
    let (mut from, mut out, mut has_nul) = (at.clone(), Vec::new(), false);
    while at.decoded < end {
        let before = at.clone();
        if before.decoded <= offset {
            from = before.clone();
        }
        *mark = Some(before);
        if !at.step(content, &mut out).await? {
            break;
        }
        has_nul = has_nul || memchr::memchr(0, &out).is_some();
    }
    let length = at.decoded.min(end).saturating_sub(offset);
    let skip = offset - from.decoded.min(offset);
    Ok(Some(Decoded { from, skip, length, has_nul }))
}

/// Sends the octets that [`measure`] counted. Their number has been announced: when the file can't
/// be read any more, only the end of the connection keeps the client from taking others for them.
pub(super) async fn send(
    client: &mut Connected,
    content: &Arc<Content>,
    decoded: Decoded,
) -> Result<(), Parting> {
    let Decoded { from: mut at, mut skip, length: mut left, .. } = decoded;
    let mut out = Vec::new();
    while left > 0 {
        if !at.step(content, &mut out).await? {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let start = usize::try_from(skip).unwrap_or(usize::MAX).min(out.len());
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(out.len() - start);
        client.push(&out[start..start + wanted]);
        client.settle().await?;
        skip -= start as u64;
        left -= wanted as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn leaf(encoding: &str, body: &[u8]) -> (Arc<Content>, Part) {
        let header = format!("Content-Transfer-Encoding: {encoding}\r\n\r\n");
        let at = header.len() as u64;
        let text = [header.as_bytes(), body].concat();
        let part = Part {
            header: header.into_bytes(),
            header_range: 0..at,
            body_range: at..text.len() as u64,
            lines: 0,
            inside: Inside::Leaf,
        };
        (Arc::new(Content::from_bytes(Bytes::from(text))), part)
    }

    #[tokio::test]
    async fn lengths_are_those_of_the_decoded_octets() {
        for (encoding, body, partial, expected) in [
            ("base64", "Zm9v\r\nYmFy", None, Some((6, false))),
            ("BASE64 (always)", "AAAA", None, Some((3, true))),
            ("base64", "Zm9vYmFy", Some((2, 3)), Some((3, false))),
            ("base64", "Zm9vYmFy", Some((4, 9)), Some((2, false))),
            ("base64", "Zm9vYmFy", Some((6, 9)), Some((0, false))),
            ("base64", "Zm9vYmFy", Some((u64::MAX, u64::MAX)), Some((0, false))),
            ("quoted-printable", "a=3Db", None, Some((3, false))),
            ("8bit", "", None, Some((0, false))),
            ("x-uuencode", "begin", None, None),
        ] {
            let (content, part) = leaf(encoding, body.as_bytes());
            let found = measure(&content, &part, partial, &mut None).await.expect("memory");
            let found = found.map(|decoded| (decoded.length, decoded.has_nul));
            assert_eq!(found, expected, "{encoding} {body} {partial:?}");
        }
    }

    #[tokio::test]
    async fn the_next_piece_begins_where_the_last_one_ended() {
        let (content, part) = leaf("base64", &b"QUJD".repeat(200_000));
        let (mut mark, mut at) = (None, 0_u64);
        loop {
            let found = measure(&content, &part, Some((at, 50_000)), &mut mark).await;
            let found = found.expect("memory").expect("known");
            assert_eq!(found.length, 50_000.min(600_000 - at), "{at}");
            let behind = at - found.from.decoded;
            assert!(behind <= PIECE as u64 && found.skip == behind, "{at}: {behind}");
            at += found.length;
            if found.length == 0 {
                break;
            }
        }
        assert_eq!(at, 600_000);
    }
}
