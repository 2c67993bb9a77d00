//! `/users/{id}/messages`: making, reading and sending single messages.
//!
//! Danger: everything created from MIME is a draft, and ids change with the folder; a stand-in that
//! is kinder would hide lost mail. Rule: facts/graph-mail.md sections 4, 6, 8 and 9; a request in a
//! form that the real service refuses is refused.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

use super::super::accounts::guid;
use super::super::faults::Place;
use super::super::mailbox::{Changing, Folder, StoredMessage};
use super::super::mime;
use super::super::store::{Cloud, State as Store, Via};
use super::super::web;
use super::change::set_extended;
use super::error::GraphError;
use super::gate::{Caller, Right};
use super::odata::Query;
use super::send_mail::{mime_body, submit};
use super::{compose, folders, late, view};

/// PidTagDeleteAfterSubmit: no copy in Sent Items.
const DELETE_AFTER_SUBMIT: &str = "boolean 0xe01";
/// PidTagMessageFlags, writable at creation alone.
const MESSAGE_FLAGS: &str = "integer 0xe07";
/// The bit of it that says "draft".
const UNSENT: u32 = 0x8;

/// Where a message is: an index into the mailbox's folders, and the UID there.
pub(super) struct Position {
    pub folder: usize,
    pub uid: u32,
}

pub(super) fn find(
    store: &Store,
    caller: &Caller,
    address: &str,
    id: &str,
) -> Result<Position, GraphError> {
    let alphabet = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'=');
    if id.len() < 40 || !id.bytes().all(alphabet) {
        return Err(GraphError::bad("ErrorInvalidIdMalformed", "Id is malformed."));
    }
    let mailbox = store.mailbox(address).ok_or_else(GraphError::item_not_found)?;
    let mut places = mailbox.folders.iter().enumerate().filter_map(|(folder, known)| {
        let uid = known.by_id(id, caller.immutable)?.uid;
        Some(Position { folder, uid })
    });
    places.next().ok_or_else(GraphError::item_not_found)
}

/// Lets `change` work on one message.
pub(super) fn with_message<T>(
    store: &mut Store,
    caller: &Caller,
    address: &str,
    id: &str,
    change: impl FnOnce(&mut Changing<'_>) -> Result<T, GraphError>,
) -> Result<T, GraphError> {
    let place = find(store, caller, address, id)?;
    let mailbox = store.mailbox_mut(address).ok_or_else(GraphError::item_not_found)?;
    let message = mailbox.folders[place.folder].message_mut(place.uid);
    change(&mut message.ok_or_else(GraphError::item_not_found)?)
}

pub(super) fn show(
    store: &Store,
    caller: &Caller,
    address: &str,
    id: &str,
    query: &Query,
) -> Result<Value, GraphError> {
    let place = find(store, caller, address, id)?;
    let mailbox = store.mailbox(address).ok_or_else(GraphError::item_not_found)?;
    let folder = &mailbox.folders[place.folder];
    let message = folder.message(place.uid).ok_or_else(GraphError::item_not_found)?;
    let (select, expand) = (&query.select, &query.expand);
    Ok(view::message(message, &folder.graph_id, caller.immutable, select, expand))
}

pub(super) async fn create(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path(user): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, GraphError> {
    let mut store = cloud.state();
    let address = caller.open(&store, &user, Right::Write)?;
    let message = match web::media_type(&headers).as_str() {
        "text/plain" => StoredMessage::new(identified(mime_body(&body)?)),
        "application/json" => from_json(&body)?,
        _ => return Err(GraphError::unreadable_body()),
    };
    let created = keep(&mut store, &caller, &address, "drafts", drafted(message));
    drop(store);
    cloud.changed();
    created
}

/// The folder form takes JSON alone (facts/graph-mail.md section 8).
pub(super) async fn create_in_folder(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, folder)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, GraphError> {
    let mut store = cloud.state();
    let address = caller.open(&store, &user, Right::Write)?;
    let folder = folders::find(&store, &address, &folder)?.graph_id.clone();
    if web::media_type(&headers) != "application/json" {
        return Err(GraphError::unreadable_body());
    }
    let mut message = from_json(&body)?;
    message.transported = false;
    let flags = message.extended.remove(MESSAGE_FLAGS).and_then(|value| value.parse::<u32>().ok());
    let finished = flags.is_some_and(|flags| flags & UNSENT == 0);
    if flags.is_some_and(|flags| flags & 1 != 0) {
        message = message.flagged("\\Seen");
    }
    let message = if finished { message } else { drafted(message) };
    let created = keep(&mut store, &caller, &address, &folder, message);
    drop(store);
    cloud.changed();
    created
}

/// A final message in its folder, exactly as it was handed in: beta, and with a right of its own
/// (Graph page api/mailfolder-importmime).
pub(super) async fn import_mime(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, folder)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, GraphError> {
    let mut store = cloud.state();
    let address = caller.open(&store, &user, Right::Advanced)?;
    let folder = folders::find(&store, &address, &folder)?.graph_id.clone();
    if web::media_type(&headers) != "text/plain" {
        return Err(GraphError::unreadable_body());
    }
    let message = StoredMessage::new(mime_body(&body)?);
    let created = keep(&mut store, &caller, &address, &folder, message);
    drop(store);
    cloud.changed();
    created
}

fn drafted(mut message: StoredMessage) -> StoredMessage {
    message.draft = true;
    message.transported = false;
    message.flagged("\\Draft").flagged("\\Seen")
}

/// The service gives every item a Message-ID.
fn identified(raw: Vec<u8>) -> Vec<u8> {
    if mime::has_field(&raw, "Message-ID") {
        return raw;
    }
    mime::with_field(&raw, "Message-ID", &format!("<{}@sandbox.localhost>", guid()))
}

fn from_json(body: &[u8]) -> Result<StoredMessage, GraphError> {
    let json: Value = serde_json::from_slice(body).map_err(|_| GraphError::unreadable_body())?;
    let mut message = StoredMessage::new(compose::mime(&json)?);
    for file in json["attachments"].as_array().into_iter().flatten() {
        message.attachments.push(compose::attachment(file)?);
    }
    set_extended(&mut message, &json["singleValueExtendedProperties"])?;
    Ok(message)
}

/// Puts a message into a folder and shows it.
pub(super) fn keep(
    store: &mut Store,
    caller: &Caller,
    address: &str,
    folder: &str,
    message: StoredMessage,
) -> Result<Response, GraphError> {
    let folder = target(store, address, folder)?;
    let uid = folder.add(message);
    let message = folder.message(uid).ok_or_else(GraphError::item_not_found)?;
    let shown = view::message(message, &folder.graph_id, caller.immutable, &[], &[]);
    Ok(web::json(StatusCode::CREATED, &shown))
}

/// A folder that takes messages.
pub(super) fn target<'a>(
    store: &'a mut Store,
    address: &str,
    folder: &str,
) -> Result<&'a mut Folder, GraphError> {
    let found = folders::find(store, address, folder)?;
    if found.search {
        let text = "A search folder takes no items.";
        return Err(GraphError::bad("ErrorCannotCreateItemInSearchFolder", text));
    }
    let id = found.graph_id.clone();
    let mailbox = store.mailbox_mut(address).ok_or_else(folders::missing)?;
    mailbox.folders.iter_mut().find(|known| known.graph_id == id).ok_or_else(folders::missing)
}

pub(super) async fn read(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, GraphError> {
    let store = cloud.state();
    let address = caller.open(&store, &user, Right::Read)?;
    let query = Query::parse(query.as_deref(), view::is_property)?;
    query.only(&["$expand"])?;
    Ok(web::json(StatusCode::OK, &show(&store, &caller, &address, &id, &query)?))
}

/// The MIME, made anew as the service makes it.
pub(super) async fn value(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, id)): Path<(String, String)>,
) -> Result<Response, GraphError> {
    let mut store = cloud.state();
    let address = caller.open(&store, &user, Right::Read)?;
    let mut raw = with_message(&mut store, &caller, &address, &id, |message| {
        Ok(mime::with_attachments(&message.raw, &message.attachments))
    })?;
    store.tally.downloads += 1;
    let quirks = store.mailbox(&address).map(|mailbox| mailbox.quirks.clone());
    let quirks = quirks.unwrap_or_default();
    if quirks.remade_mime {
        raw = mime::remade(&raw, store.tally.downloads);
    }
    if quirks.lone_lf {
        raw = mime::with_lone_lf(&raw);
    }
    Ok(([(header::CONTENT_TYPE, "text/plain")], raw).into_response())
}

pub(super) async fn send(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, id)): Path<(String, String)>,
) -> Result<StatusCode, GraphError> {
    let mut store = cloud.state();
    let address = caller.open(&store, &user, Right::Send)?;
    let raw = with_message(&mut store, &caller, &address, &id, |message| {
        if !message.draft || message.submitted {
            let text = "Only a draft can be sent.";
            return Err(GraphError::bad("ErrorInvalidRequest", text));
        }
        Ok(mime::with_attachments(&message.raw, &message.attachments))
    })?;
    let raw = submit(&mut store, &caller, &address, raw, Via::GraphDraft)?;
    let mut message = super::transfer::take(&mut store, &caller, &address, &id)?;
    let wanted = message.extended.get(DELETE_AFTER_SUBMIT).is_none_or(|value| value != "true");
    if let Some(delay) = late::asked(&mut store, Place::GraphSendDraft) {
        message.set_raw(raw);
        message.attachments.clear();
        late::keep(&cloud, &mut store, &address, message, (wanted, delay));
    } else if wanted && let Some(sent) = store.well_known(&address, "sentitems") {
        message.set_raw(raw);
        message.draft = false;
        message.flags.remove("\\Draft");
        message.attachments.clear();
        sent.add(message);
    }
    drop(store);
    cloud.changed();
    Ok(StatusCode::ACCEPTED)
}
