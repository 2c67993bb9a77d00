//! Which attachments leave a large message, and how small ones reach its draft
//! (Graph page `api/message-post-attachments`).
//!
//! Danger: what is taken out comes back as Graph writes it, not as it was. Rule: as few as possible
//! are taken out, the largest first; text, alternatives and what is small stay in the MIME.

use std::io;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::body::AttachmentReader;
use super::client::{Mailbox, Patience, Payload};
use super::draft::Draft;
use crate::mail::{Error, Message};
use crate::protocol::mime::outline::{Builder, Outline, Part};

/// From this size on Graph wants an upload session; below it refuses one
/// (`ErrorAttachmentSizeShouldNotBeLessThanMinimumSize`).
pub(super) const SESSION_FROM: u64 = 3_000_000;

/// The outline of a message, made while it is read once. Blocks: files are read.
pub(super) fn outline(
    message: &Message,
) -> io::Result<Result<Outline, crate::protocol::mime::outline::Error>> {
    let mut builder = Builder::default();
    let mut reader = message.reader();
    while let Some(piece) = reader.next_piece()? {
        builder.push(&piece);
    }
    Ok(builder.finish())
}

/// The attachments to take out so that what is left has `limit` octets at most, in their order;
/// `None` when the rest is larger without any.
pub(super) fn to_take_out(outline: &Outline, size: u64, limit: u64) -> Option<Vec<usize>> {
    /// What stays in the place of a multipart's last part.
    const REMAINS: u64 = 256;
    let octets = |index: &usize| outline.parts[*index].body.end - outline.parts[*index].start;
    let mut candidates: Vec<usize> = outline.attachments().collect();
    candidates.sort_by_key(octets);
    let (mut left, mut cut) = (size, Vec::new());
    while left > limit {
        let largest = candidates.pop()?;
        left = left.saturating_sub(octets(&largest).saturating_sub(REMAINS));
        cut.push(largest);
    }
    cut.sort_unstable();
    Some(cut)
}

/// How Graph shows an attachment.
pub(super) fn description(part: &Part) -> serde_json::Map<String, Value> {
    let fallback = match part.content_type.as_str() {
        "message/rfc822" => "message.eml",
        _ => "attachment",
    };
    let mut shown = serde_json::Map::new();
    let name = part.file_name.as_deref().unwrap_or(fallback);
    shown.insert("name".to_owned(), json!(name));
    shown.insert("contentType".to_owned(), json!(part.content_type));
    let is_inline = part.content_id.is_some() && !part.is_attachment;
    shown.insert("isInline".to_owned(), json!(is_inline));
    if let Some(content_id) = &part.content_id {
        shown.insert("contentId".to_owned(), json!(content_id));
    }
    shown
}

/// Adds an attachment below [`SESSION_FROM`] in one request.
pub(super) async fn add(
    mailbox: &Mailbox,
    draft: &Draft,
    octets: &[u8],
    part: &Part,
    patience: &mut Patience,
) -> Result<(), Error> {
    let mut attachment = description(part);
    attachment.insert("@odata.type".to_owned(), json!("#microsoft.graph.fileAttachment"));
    attachment.insert("contentBytes".to_owned(), json!(STANDARD.encode(octets)));
    let payload = Payload::Json(Value::Object(attachment));
    let path = draft.path("/attachments");
    let answer = mailbox.call_patiently(Method::POST, &path, &payload, patience).await?;
    match answer.status {
        StatusCode::CREATED => Ok(()),
        _ => Err(mailbox.refusal("adding an attachment", &answer)),
    }
}

/// Decodes a slice away from the event loop: it reads files and takes a while.
pub(super) async fn slice(
    mut reader: AttachmentReader,
    offset: u64,
    limit: usize,
) -> io::Result<(AttachmentReader, bytes::Bytes)> {
    let task = move || reader.slice(offset, limit).map(|octets| (reader, octets));
    tokio::task::spawn_blocking(task).await.map_err(io::Error::other)?
}

/// The decoded size of each part of `parts`. Blocks.
pub(super) fn sizes(message: &Arc<Message>, parts: &[Part]) -> io::Result<Vec<u64>> {
    parts.iter().map(|part| AttachmentReader::new(message, part).size()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline_of(sizes: &[u64]) -> Outline {
        let mut parts = vec![Part { content_type: "multipart/mixed".into(), ..Part::default() }];
        let mut at = 100;
        for size in sizes {
            parts.push(Part {
                parent: Some(0),
                start: at,
                header: at..at,
                body: at..at + size,
                content_type: "image/png".into(),
                ..Part::default()
            });
            at += size;
        }
        Outline { parts }
    }

    #[test]
    fn the_largest_go_first_and_no_more_than_needed() {
        let outline = outline_of(&[5_000, 90_000, 10_000, 50_000]);
        for (limit, expected) in [
            (200_000, Some(vec![])),
            (155_000, Some(vec![2])),
            (70_000, Some(vec![2])),
            (50_000, Some(vec![2, 4])),
            (1_500, Some(vec![1, 2, 3, 4])),
            (100, None),
        ] {
            assert_eq!(to_take_out(&outline, 155_100, limit), expected, "{limit}");
        }
    }

    #[test]
    fn descriptions_keep_what_html_refers_to() {
        let part = Part {
            content_type: "image/png".into(),
            content_id: Some("x@y".into()),
            file_name: Some("a.png".into()),
            ..Part::default()
        };
        let expected = json!({
            "name": "a.png", "contentType": "image/png", "isInline": true, "contentId": "x@y",
        });
        assert_eq!(Value::Object(description(&part)), expected);
        let message = Part { content_type: "message/rfc822".into(), ..Part::default() };
        assert_eq!(description(&message)["name"], "message.eml");
        assert_eq!(description(&message)["isInline"], false);
    }
}
