//! Looking for texts in a message itself.
//!
//! Danger: a text of a hundred megabytes, decoded and searched on the threads that serve sessions,
//! stops them all, and held three times over fills the memory. Rule: all of it is done by another
//! thread; a large text is decoded and searched in windows that overlap by more than what is looked
//! for.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::plan::{Found, header_holds};
use crate::frontend::imap::mailbox::fetch::{PIECE, structure};
use crate::mail::Content;
use crate::protocol::mime::fields;
use crate::protocol::mime::structure::{Inside, Part, fold_case};
use crate::protocol::mime::transfer::Decoder;

/// A part of up to so many octets is decoded in one go.
const WINDOW: usize = 4 << 20;
/// Windows overlap by so many octets for each octet looked for: more than any charset takes, and
/// room for the character that a cut has broken.
const OVERLAP_FACTOR: usize = 8;
/// And by so many in any case.
const OVERLAP: usize = 1 << 10;

/// Finds what the texts ask for; with `parts` false only size and header.
pub(super) async fn look(
    content: &Arc<Content>,
    texts: &Arc<[String]>,
    parts: bool,
) -> io::Result<Found> {
    let (content, texts) = (Arc::clone(content), Arc::clone(texts));
    let looking = tokio::task::spawn_blocking(move || find(&content, &texts, parts));
    looking.await.map_err(io::Error::other)?
}

fn find(content: &Content, texts: &[String], parts: bool) -> io::Result<Found> {
    let message = structure(content)?;
    let mut found = Found { size: content.size(), ..Found::default() };
    if parts {
        found.in_header = texts.iter().map(|text| header_holds(&message.header, text)).collect();
        found.in_body = vec![false; texts.len()];
        for part in message.texts() {
            if found.in_body.iter().all(|found| *found) {
                break;
            }
            look_into(content, part, part.header_range != message.header_range, texts, &mut found)?;
        }
    }
    found.header = message.header;
    Ok(found)
}

/// `inner`: the part's header belongs to the body of the message.
fn look_into(
    content: &Content,
    part: &Part,
    inner: bool,
    texts: &[String],
    found: &mut Found,
) -> io::Result<()> {
    for (text, found) in texts.iter().zip(&mut found.in_body) {
        *found = *found || (inner && header_holds(&part.header, text));
    }
    if !matches!(part.inside, Inside::Leaf) {
        return Ok(());
    }
    let wanted: Vec<String> = texts.iter().map(|text| fold_case(text)).collect();
    let mut look = |decoded: &str| {
        // Once for all that is looked for.
        let folded = fold_case(decoded);
        for (text, found) in wanted.iter().zip(&mut found.in_body) {
            *found = *found || memchr::memmem::find(folded.as_bytes(), text.as_bytes()).is_some();
        }
        found.in_body.iter().all(|found| *found)
    };
    let size = part.body_range.end.saturating_sub(part.body_range.start);
    if size <= WINDOW as u64 {
        let mut body = Vec::new();
        each_piece(content, &part.body_range, |piece| body.extend_from_slice(piece))?;
        look(&part.decode_text(&body));
        return Ok(());
    }
    look_in_windows(content, part, texts, &mut look)
}

/// `look` returns true when nothing is left to be found.
fn look_in_windows(
    content: &Content,
    part: &Part,
    texts: &[String],
    look: &mut impl FnMut(&str) -> bool,
) -> io::Result<()> {
    let longest = texts.iter().map(String::len).max().unwrap_or(0);
    let overlap = OVERLAP + OVERLAP_FACTOR * longest;
    let plain = without_encoding(part);
    let mut decoder = Decoder::new(part.encoding());
    let (mut window, mut at) = (Vec::new(), part.body_range.start);
    while at < part.body_range.end {
        let left = usize::try_from(part.body_range.end - at).unwrap_or(usize::MAX);
        let piece = content.read_at(at, left.min(PIECE))?;
        if piece.is_empty() {
            break;
        }
        at += piece.len() as u64;
        decoder.push(&piece, &mut window);
        if window.len() >= WINDOW + overlap {
            if look(&plain.decode_text(&window)) {
                return Ok(());
            }
            window.drain(..cut(&window, overlap));
        }
    }
    decoder.finish(&mut window);
    look(&plain.decode_text(&window));
    Ok(())
}

/// Where the next window begins: at a line, so that charsets with states begin afresh there, where
/// one is near, and at an even place in any case.
fn cut(window: &[u8], overlap: usize) -> usize {
    let end = window.len() - overlap;
    let nearest = memchr::memrchr(b'\n', &window[end.saturating_sub(OVERLAP)..end]);
    let line = nearest.map_or(end, |at| end.saturating_sub(OVERLAP) + at + 1);
    match line % 2 {
        0 => line,
        _ => line - 1,
    }
}

fn each_piece(
    content: &Content,
    range: &Range<u64>,
    mut take: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let left = usize::try_from(range.end - at).unwrap_or(usize::MAX);
        let piece = content.read_at(at, left.min(PIECE))?;
        if piece.is_empty() {
            break;
        }
        take(&piece);
        at += piece.len() as u64;
    }
    Ok(())
}

/// The same part as if it had no transfer encoding: that is undone already.
fn without_encoding(part: &Part) -> Part {
    let kept = fields(&part.header).filter(|field| field.is("Content-Type"));
    let mut header: Vec<u8> = kept.flat_map(|field| field.raw).copied().collect();
    header.extend_from_slice(b"\r\n");
    Part { header, header_range: 0..0, body_range: 0..0, lines: 0, inside: Inside::Leaf }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;

    use super::*;

    async fn looked(text: impl Into<Bytes>, needles: &[&str]) -> (Vec<bool>, Vec<bool>) {
        let content = Arc::new(Content::from_bytes(text.into()));
        let texts: Vec<String> = needles.iter().map(|needle| (*needle).to_owned()).collect();
        let found = look(&content, &texts.into(), true).await.expect("memory");
        assert_eq!(found.size, content.size());
        (found.in_header, found.in_body)
    }

    #[tokio::test]
    async fn texts_and_attached_messages_are_looked_into_and_attachments_are_not() {
        let text = "Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n\
            Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n\
            --b\r\nContent-Transfer-Encoding: base64\r\n\r\nZm91bmQgaGVyZQ==\r\n\
            --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nwithin\r\n\
            --b\r\nContent-Type: application/pdf\r\n\r\nbinary\r\n--b--\r\n";
        let needles = ["GR\u{dc}", "Found HERE", "inner", "within", "binary", "nothing"];
        let (header, body) = looked(text, &needles).await;
        assert_eq!(header, [true, false, false, false, false, false]);
        assert_eq!(body, [false, true, true, true, false, false]);
    }

    #[tokio::test]
    async fn large_texts_are_found_across_windows() {
        let needle = "n\u{e9}edle in a haystack";
        let overlap = OVERLAP + OVERLAP_FACTOR * needle.len();
        let cases = [("8bit", WINDOW - 9), ("8bit", WINDOW + overlap - 5), ("base64", WINDOW + 7)];
        for (encoding, place) in cases {
            let mut body = "hay\r\n".repeat(place / 5).into_bytes();
            body.resize(place, b'x');
            body.extend_from_slice(needle.as_bytes());
            body.extend("hay\r\n".repeat(WINDOW / 16).into_bytes());
            let body = match encoding {
                "base64" => STANDARD.encode(body).into_bytes(),
                _ => body,
            };
            let header = format!(
                "Content-Type: text/plain; charset=utf-8\r\n\
                Content-Transfer-Encoding: {encoding}\r\n\r\n"
            );
            let text = [header.into_bytes(), body].concat();
            let (_, found) = looked(text, &["N\u{c9}EDLE in a Haystack", "no needle"]).await;
            assert_eq!(found, [true, false], "{encoding} {place}");
        }
    }
}
