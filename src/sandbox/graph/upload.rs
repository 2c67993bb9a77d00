//! Upload sessions: large attachments in slices, on another host without a token
//! (facts/graph-mail.md section 9).
//!
//! Danger: a slice that is accepted in the wrong place corrupts the file silently. Rule: each range
//! must begin where the last ended, its length must be the body's, its total the size promised;
//! an `Authorization` header is refused, as the real host does, because the URL is the credential.

use std::sync::Arc;

use axum::Extension;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::super::accounts::random_text;
use super::super::mailbox::Attachment;
use super::super::store::{Cloud, State as Store};
use super::super::web;
use super::error::GraphError;
use super::gate::{Caller, Right};
use super::{messages, view};

/// Files below this go in one request.
pub(super) const MIN_UPLOAD: usize = 3 << 20;
/// The largest file.
const MAX_UPLOAD: usize = 150 << 20;
/// A slice must be smaller than 4 MB.
const MAX_SLICE: usize = 4 << 20;
/// How long a session waits for its next slice.
const LIFETIME: Duration = Duration::hours(1);

/// A file on its way.
#[derive(Clone, Debug)]
pub(crate) struct UploadSession {
    mailbox: String,
    /// Which draft, by immutable id.
    message: String,
    file: Attachment,
    size: usize,
    expires: OffsetDateTime,
}

pub(super) async fn create(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, id)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, GraphError> {
    let mut store = cloud.state();
    let address = caller.open(&store, &user, Right::Write)?;
    let json: Value = serde_json::from_slice(&body).map_err(|_| GraphError::unreadable_body())?;
    let item = json.get("AttachmentItem").or_else(|| json.get("attachmentItem"));
    let item = item.filter(|item| item["attachmentType"] == "file");
    let item = item.ok_or_else(GraphError::unreadable_body)?;
    let (file, size) = described(item)?;
    let message = messages::with_message(&mut store, &caller, &address, &id, |message| {
        Ok(message.immutable_id.clone())
    })?;
    let token = random_text(96);
    let session = UploadSession {
        mailbox: address,
        message,
        file,
        size,
        expires: OffsetDateTime::now_utc() + LIFETIME,
    };
    let url = format!(
        "{}/api/v2.0/Users('{user}')/Messages('{id}')/AttachmentSessions('{}')?authtoken={token}",
        cloud.endpoints.upload_url,
        random_text(40),
    );
    let body = json!({
        "uploadUrl": url,
        "expirationDateTime": view::stamp(session.expires),
        "nextExpectedRanges": ["0-"],
    });
    store.uploads.insert(token, session);
    Ok(web::json(StatusCode::CREATED, &body))
}

fn described(item: &Value) -> Result<(Attachment, usize), GraphError> {
    let name = item["name"].as_str().ok_or_else(GraphError::unreadable_body)?;
    let size = item["size"].as_u64().and_then(|size| usize::try_from(size).ok());
    let size = size.ok_or_else(GraphError::unreadable_body)?;
    if size < MIN_UPLOAD {
        let text = "The attachment size should not be less than the minimum size of 3145728 bytes.";
        return Err(GraphError::bad("ErrorAttachmentSizeShouldNotBeLessThanMinimumSize", text));
    }
    if size > MAX_UPLOAD {
        let text = "The attachment size exceeds the limit of 157286400 bytes.";
        return Err(GraphError::bad("ErrorAttachmentSizeLimitExceeded", text));
    }
    let text = |name: &str| item[name].as_str().map(str::to_owned);
    let file = Attachment {
        id: random_text(120),
        name: name.to_owned(),
        content_type: text("contentType").unwrap_or_else(|| "application/octet-stream".into()),
        content_id: text("contentId"),
        inline: item["isInline"].as_bool().unwrap_or(false),
        bytes: Vec::new(),
    };
    Ok((file, size))
}

/// `GET`, `PUT` and `DELETE` of an upload URL.
pub(super) async fn session(State(cloud): State<Arc<Cloud>>, request: Request) -> Response {
    if request.headers().contains_key(header::AUTHORIZATION) {
        let text = "This URL is pre-authenticated: it takes no Authorization header.";
        return refusal(StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken", text);
    }
    let query = request.uri().query().unwrap_or_default();
    let token = query.strip_prefix("authtoken=").unwrap_or_default().to_owned();
    let now = OffsetDateTime::now_utc();
    if cloud.state().uploads.get(&token).is_none_or(|session| session.expires < now) {
        return refusal(StatusCode::NOT_FOUND, "ErrorItemNotFound", "No such upload session.");
    }
    match *request.method() {
        Method::GET => expected(&cloud.state(), &token),
        Method::PUT => {
            let (parts, body) = request.into_parts();
            // One byte more than allowed tells a slice that is too large.
            match to_bytes(body, MAX_SLICE).await {
                Ok(slice) if slice.len() < MAX_SLICE => put(&cloud, &token, &parts.headers, &slice),
                _ => {
                    let text = "A slice must be smaller than 4 MB.";
                    refusal(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", text)
                }
            }
        }
        Method::DELETE => {
            cloud.state().uploads.remove(&token);
            StatusCode::NO_CONTENT.into_response()
        }
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response {
    web::json(status, &json!({"error": {"code": code, "message": message}}))
}

fn expected(store: &Store, token: &str) -> Response {
    let Some(session) = store.uploads.get(token) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let body = json!({
        "expirationDateTime": view::stamp(session.expires),
        "nextExpectedRanges": [session.file.bytes.len().to_string()],
    });
    web::json(StatusCode::OK, &body)
}

fn put(cloud: &Cloud, token: &str, headers: &HeaderMap, slice: &[u8]) -> Response {
    let range = headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let Some((from, to, total)) = range.and_then(content_range) else {
        let text = "Content-Range must be 'bytes a-b/total'.";
        return refusal(StatusCode::BAD_REQUEST, "InvalidContentRange", text);
    };
    if to - from + 1 != slice.len() {
        let text = "The range is not as long as the body.";
        return refusal(StatusCode::BAD_REQUEST, "InvalidContentRange", text);
    }
    let mut store = cloud.state();
    let Some(session) = store.uploads.get_mut(token) else {
        return refusal(StatusCode::NOT_FOUND, "ErrorItemNotFound", "No such upload session.");
    };
    if total != session.size || to >= total || from != session.file.bytes.len() {
        let text = "The range is not the next one of this file.";
        return refusal(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange", text);
    }
    session.file.bytes.extend_from_slice(slice);
    if session.file.bytes.len() < session.size {
        return expected(&store, token);
    }
    finish(&mut store, cloud, token)
}

fn finish(store: &mut Store, cloud: &Cloud, token: &str) -> Response {
    let Some(session) = store.uploads.remove(token) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let location = format!(
        "{}/api/v2.0/Users('{}')/Messages('{}')/Attachments('{}')",
        cloud.endpoints.upload_url, session.mailbox, session.message, session.file.id
    );
    let folders = store.mailbox_mut(&session.mailbox).into_iter().flat_map(|m| &mut m.folders);
    let mut drafts = folders.filter_map(|folder| {
        let uid = folder.by_id(&session.message, true)?.uid;
        folder.message_mut(uid)
    });
    let Some(mut draft) = drafts.next() else {
        return refusal(StatusCode::NOT_FOUND, "ErrorItemNotFound", "The draft is gone.");
    };
    draft.attachments.push(session.file);
    (StatusCode::CREATED, [(header::LOCATION, location)]).into_response()
}

/// `bytes a-b/total`.
fn content_range(text: &str) -> Option<(usize, usize, usize)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (from, to) = range.split_once('-')?;
    let (from, to) = (from.parse().ok()?, to.parse().ok()?);
    (from <= to).then_some((from, to, total.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_exactly() {
        assert_eq!(content_range("bytes 0-9/100"), Some((0, 9, 100)));
        for bad in ["bytes 9-0/100", "bytes=0-9/100", "0-9/100", "bytes 0-9/*", "bytes 0-9", ""] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
