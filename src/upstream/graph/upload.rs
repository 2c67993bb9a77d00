//! An upload session for one large attachment (Graph page `concepts/outlook-large-attachments`).
//!
//! Danger: the session's address opens the mailbox to whoever has it, and a slice whose answer was
//! lost may be there already. Rule: the address is a secret and gets no token of ours; after a
//! failure the service is asked which octets it expects next; a session that can't be finished is
//! taken back.

use std::sync::Arc;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::attachment::{description, slice};
use super::body::AttachmentReader;
use super::client::{Answer, Mailbox, NoAnswer, Patience, Payload};
use super::draft::Draft;
use crate::mail::{Error, Kind, Message};
use crate::protocol::mime::outline::Part;
use crate::secret::Secret;

/// Octets of a slice: a multiple of 320 KiB below 4 MB.
pub(super) const SLICE: usize = 12 * 320 * 1024;
/// Slices that may fail or bring nothing new in one attachment.
const MAX_SETBACKS: u32 = 5;
const DOING: &str = "uploading an attachment";

/// Uploads the attachment `part` of `size` decoded octets to `draft`.
pub(super) async fn upload(
    mailbox: &Mailbox,
    draft: &Draft,
    message: &Arc<Message>,
    part: &Part,
    size: u64,
    patience: &mut Patience,
) -> Result<(), Error> {
    let url = create_session(mailbox, draft, part, size, patience).await?;
    let reader = AttachmentReader::new(message, part);
    let mut upload = Upload { mailbox, url, reader: Some(reader), size, setbacks: 0 };
    let result = upload.run(patience).await;
    if result.is_err() {
        let url = upload.url.expose();
        if mailbox.call_elsewhere(Method::DELETE, url, None).await.is_err() {
            tracing::debug!(role = mailbox.client.role, "an upload session is left to expire");
        }
    }
    result
}

async fn create_session(
    mailbox: &Mailbox,
    draft: &Draft,
    part: &Part,
    size: u64,
    patience: &mut Patience,
) -> Result<Secret, Error> {
    let mut item = description(part);
    item.insert("attachmentType".to_owned(), json!("file"));
    item.insert("size".to_owned(), json!(size));
    let payload = Payload::Json(json!({ "AttachmentItem": Value::Object(item) }));
    let path = draft.path("/attachments/createUploadSession");
    let answer = mailbox.call_patiently(Method::POST, &path, &payload, patience).await?;
    let url = answer.json()["uploadUrl"].as_str().map(str::to_owned);
    match url.filter(|url| answer.status.is_success() && mailbox.may_upload_to(url)) {
        Some(url) => Ok(Secret::new(url)),
        None => Err(mailbox.refusal("opening an upload session", &answer)),
    }
}

struct Upload<'a> {
    mailbox: &'a Mailbox,
    url: Secret,
    /// `None` only while a slice is decoded.
    reader: Option<AttachmentReader>,
    size: u64,
    setbacks: u32,
}

impl Upload<'_> {
    async fn run(&mut self, patience: &mut Patience) -> Result<(), Error> {
        let mut offset = 0;
        loop {
            let octets = self.slice(offset).await?;
            let end = offset + octets.len() as u64;
            let range = format!("bytes {offset}-{}/{}", end.saturating_sub(1), self.size);
            let url = self.url.expose();
            let answer = self.mailbox.call_elsewhere(Method::PUT, url, Some((range, octets))).await;
            let next = match answer {
                Ok(answer) if answer.status == StatusCode::CREATED => {
                    return if end == self.size { Ok(()) } else { Err(self.broken("ended early")) };
                }
                Ok(answer) if answer.status.is_success() => expected_next(&answer).unwrap_or(end),
                other => self.resume(other, offset, patience).await?,
            };
            if next <= offset {
                self.setback()?;
            }
            if next >= self.size {
                return Err(self.broken("did not confirm the last octets"));
            }
            offset = next;
        }
    }

    async fn slice(&mut self, offset: u64) -> Result<bytes::Bytes, Error> {
        let failed = |error: std::io::Error| {
            let text = format!("{}: reading the message failed", self.mailbox.client.role);
            Error::new(Kind::Unavailable, text).with_source(error)
        };
        let reader = self.reader.take().ok_or_else(|| failed(std::io::Error::other("lost")))?;
        let (reader, octets) = slice(reader, offset, SLICE).await.map_err(failed)?;
        self.reader = Some(reader);
        Ok(octets)
    }

    /// After a failed slice: waits, then asks where to go on.
    async fn resume(
        &mut self,
        answer: Result<Answer, NoAnswer>,
        offset: u64,
        patience: &mut Patience,
    ) -> Result<u64, Error> {
        self.setback()?;
        let (error, answer) = match answer {
            Ok(answer) => (self.mailbox.refusal(DOING, &answer), Some(answer)),
            Err(error) => (error.into_error(), None),
        };
        let status = answer.as_ref().map_or(503, |answer| answer.status.as_u16());
        let passes = status >= 500 || [408, 409, 416, 429].contains(&status);
        if !passes || !patience.wait(answer.as_ref()).await {
            return Err(error);
        }
        let state = self.mailbox.call_elsewhere(Method::GET, self.url.expose(), None).await;
        let next = state.ok().filter(|state| state.status.is_success());
        Ok(next.as_ref().and_then(expected_next).unwrap_or(offset))
    }

    fn setback(&mut self) -> Result<(), Error> {
        self.setbacks += 1;
        match self.setbacks > MAX_SETBACKS {
            true => Err(self.broken("makes no progress")),
            false => Ok(()),
        }
    }

    fn broken(&self, what: &str) -> Error {
        let role = &self.mailbox.client.role;
        Error::new(Kind::Unavailable, format!("{role}: the upload of an attachment {what}"))
    }
}

/// The start of the first range in `nextExpectedRanges`, such as `["3932160-"]`.
fn expected_next(answer: &Answer) -> Option<u64> {
    let body = answer.json();
    let range = body["nextExpectedRanges"].as_array()?.first()?.as_str()?.to_owned();
    range.split('-').next()?.trim().parse().ok()
}
