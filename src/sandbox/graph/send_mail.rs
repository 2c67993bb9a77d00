//! `POST /users/{id}/sendMail`, as MIME and as JSON (facts/graph-mail.md section 9), and what every
//! way of sending has in common.
//!
//! Danger: there is no envelope. Who is not in To, Cc or Bcc gets nothing, and who is, gets it.
//! Rule: recipients are read from the headers exactly as sent, nothing is repaired, and the Sent
//! Items copy keeps Bcc while the delivered copies lose it.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::super::faults::Place;
use super::super::mailbox::{Attachment, StoredMessage};
use super::super::mime::{self, BadRecipients};
use super::super::store::{Cloud, Outgoing, State as Store, Via};
use super::super::web;
use super::compose;
use super::error::GraphError;
use super::gate::{Caller, Right};
use super::late;

/// To, Cc and Bcc together.
const MAX_RECIPIENTS: usize = 500;

pub(super) async fn send_mail(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path(user): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, GraphError> {
    let mut store = cloud.state();
    let address = caller.open(&store, &user, Right::Send)?;
    let (raw, save, via) = match web::media_type(&headers).as_str() {
        "text/plain" => (mime_body(&body)?, true, Via::GraphMime),
        "application/json" => {
            let (raw, save) = json_body(&body)?;
            (raw, save, Via::GraphJson)
        }
        _ => return Err(GraphError::unreadable_body()),
    };
    let raw = submit(&mut store, &caller, &address, raw, via)?;
    if let Some(delay) = late::asked(&mut store, Place::GraphSendMail) {
        late::keep(&cloud, &mut store, &address, copy_of(raw), (save, delay));
    } else if save && let Some(sent) = store.well_known(&address, "sentitems") {
        sent.add(copy_of(raw));
    }
    drop(store);
    cloud.changed();
    Ok(StatusCode::ACCEPTED)
}

fn copy_of(raw: Vec<u8>) -> StoredMessage {
    let mut copy = StoredMessage::new(raw).flagged("\\Seen");
    copy.transported = false;
    copy
}

/// The base64 of a MIME message: standard alphabet, padded, without a line break.
pub(super) fn mime_body(body: &[u8]) -> Result<Vec<u8>, GraphError> {
    let raw = STANDARD.decode(body).ok().filter(|raw| !raw.is_empty()).ok_or_else(|| {
        let text = "The MIME content was not a valid base64 string.";
        GraphError::bad("ErrorMimeContentInvalidBase64String", text)
    })?;
    if mime::parse(&raw).is_none() {
        let text = "The MIME content is not valid.";
        return Err(GraphError::bad("ErrorMimeContentInvalid", text));
    }
    Ok(raw)
}

fn json_body(body: &[u8]) -> Result<(Vec<u8>, bool), GraphError> {
    let json: Value = serde_json::from_slice(body).map_err(|_| GraphError::unreadable_body())?;
    let message = &json["message"];
    let files = message["attachments"].as_array().into_iter().flatten();
    let files: Vec<Attachment> = files.map(compose::attachment).collect::<Result<_, _>>()?;
    let raw = mime::with_attachments(&compose::mime(message)?, &files);
    Ok((raw, json["saveToSentItems"].as_bool().unwrap_or(true)))
}

/// Checks sender and recipients, and delivers. Gives the message back as it is kept.
pub(super) fn submit(
    store: &mut Store,
    caller: &Caller,
    address: &str,
    raw: Vec<u8>,
    via: Via,
) -> Result<Vec<u8>, GraphError> {
    let unreadable =
        || GraphError::bad("ErrorMimeContentInvalid", "The MIME content is not valid.");
    let message = mime::parse(&raw).ok_or_else(unreadable)?;
    let from = mime::from_address(&message);
    check_sender(store, address, from.as_deref())?;
    let recipients = mime::recipients(&message).map_err(|bad| {
        let text = match bad {
            BadRecipients::None => "At least one recipient is required: there are no recipients.",
            BadRecipients::Invalid => "At least one recipient is not valid.",
        };
        GraphError::bad("ErrorInvalidRecipients", text)
    })?;
    if recipients.len() > MAX_RECIPIENTS {
        let text = "The message has more recipients than the service allows.";
        return Err(GraphError::bad("ErrorExceededMessageLimit", text));
    }
    // The service writes who sent when the message does not say.
    let raw = if from.is_none() { mime::with_field(&raw, "From", address) } else { raw };
    let outgoing = Outgoing {
        via,
        login: caller.app.clone(),
        from: address.to_owned(),
        recipients,
        raw,
        peer: None,
    };
    store.deliver(&outgoing);
    Ok(outgoing.raw)
}

fn check_sender(store: &Store, address: &str, from: Option<&str>) -> Result<(), GraphError> {
    let Some(from) = from else { return Ok(()) };
    if store.mailbox(address).is_some_and(|mailbox| mailbox.sends(from)) {
        return Ok(());
    }
    let text = "The user account which was used to submit this request does not have the right to \
         send mail on behalf of the specified sending account.";
    Err(GraphError::new(StatusCode::FORBIDDEN, "ErrorSendAsDenied", text))
}
