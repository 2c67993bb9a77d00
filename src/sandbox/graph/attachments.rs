//! `POST …/messages/{id}/attachments`: a file below 3 MB in one request.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::super::mailbox::Attachment;
use super::super::store::Cloud;
use super::super::web;
use super::error::GraphError;
use super::gate::{Caller, Right};
use super::upload::MIN_UPLOAD;
use super::{compose, messages};

pub(super) async fn add(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, id)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, GraphError> {
    let mut store = cloud.state();
    let address = caller.open(&store, &user, Right::Write)?;
    let json: Value = serde_json::from_slice(&body).map_err(|_| GraphError::unreadable_body())?;
    let file = compose::attachment(&json)?;
    if file.bytes.len() >= MIN_UPLOAD {
        let text = "The attachment is too large for one request.";
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return Err(GraphError::new(status, "RequestEntityTooLarge", text));
    }
    let shown = shown(&file);
    messages::with_message(&mut store, &caller, &address, &id, |message| {
        message.attachments.push(file);
        Ok(())
    })?;
    Ok(web::json(StatusCode::CREATED, &shown))
}

fn shown(file: &Attachment) -> Value {
    json!({
        "@odata.type": "#microsoft.graph.fileAttachment",
        "id": file.id,
        "name": file.name,
        "contentType": file.content_type,
        "contentId": file.content_id,
        "isInline": file.inline,
        "size": file.bytes.len(),
    })
}
