//! `/users/{id}/messages`: drafts, reading, searching, sending, deleting.
//!
//! Danger: everything created from MIME is a draft, ids change with the folder, and a search that
//! answers loosely would make a client send twice or not at all. Rule: facts/graph-mail.md sections
//! 3, 4, 8 and 9; a request in a form that the real service refuses is refused.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::super::accounts::guid;
use super::super::mailbox::{Folder, StoredMessage};
use super::super::mime;
use super::super::store::{Cloud, State as Store, Via};
use super::super::web;
use super::error::GraphError;
use super::gate::{Caller, Right};
use super::odata::{Condition, Literal, Query};
use super::send_mail::{mime_body, submit};
use super::{compose, folders, view};

/// PidTagDeleteAfterSubmit: no copy in Sent Items.
const DELETE_AFTER_SUBMIT: &str = "boolean 0xe01";
/// PidTagMessageFlags, writable at creation alone.
const MESSAGE_FLAGS: &str = "integer 0xe07";
/// The bit of it that says "draft".
const UNSENT: u32 = 0x8;

/// Where a message is: indices into the mailbox, found by id.
struct Place {
    folder: usize,
    uid: u32,
}

fn find(store: &Store, caller: &Caller, address: &str, id: &str) -> Result<Place, GraphError> {
    let alphabet = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'=');
    if id.len() < 40 || !id.bytes().all(alphabet) {
        return Err(GraphError::bad("ErrorInvalidIdMalformed", "Id is malformed."));
    }
    let mailbox = store.mailbox(address).ok_or_else(GraphError::item_not_found)?;
    for (index, folder) in mailbox.folders.iter().enumerate() {
        let is = |message: &&StoredMessage| message.graph_id(folder, caller.immutable) == id;
        if let Some(message) = folder.messages.iter().find(is) {
            return Ok(Place { folder: index, uid: message.uid });
        }
    }
    Err(GraphError::item_not_found())
}

/// Lets `change` work on one message. The folder comes along for its id.
pub(super) fn with_message<T>(
    store: &mut Store,
    caller: &Caller,
    address: &str,
    id: &str,
    change: impl FnOnce(&mut StoredMessage) -> Result<T, GraphError>,
) -> Result<T, GraphError> {
    let place = find(store, caller, address, id)?;
    let mailbox = store.mailbox_mut(address).ok_or_else(GraphError::item_not_found)?;
    let message = mailbox.folders[place.folder].message_mut(place.uid);
    change(message.ok_or_else(GraphError::item_not_found)?)
}

fn show(
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
    Ok(view::message(message, folder, caller.immutable, query))
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
    let message = from_json(&body)?;
    let flags = message.extended.get(MESSAGE_FLAGS).and_then(|value| value.parse::<u32>().ok());
    let finished = flags.is_some_and(|flags| flags & UNSENT == 0);
    let message = if finished { message } else { drafted(message) };
    let created = keep(&mut store, &caller, &address, &folder, message);
    drop(store);
    cloud.changed();
    created
}

fn drafted(mut message: StoredMessage) -> StoredMessage {
    message.draft = true;
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

fn keep(
    store: &mut Store,
    caller: &Caller,
    address: &str,
    folder: &str,
    message: StoredMessage,
) -> Result<Response, GraphError> {
    let id = folders::find(store, address, folder)?.graph_id.clone();
    let mailbox = store.mailbox_mut(address).ok_or_else(GraphError::item_not_found)?;
    let folder = mailbox.folders.iter_mut().find(|known| known.graph_id == id);
    let folder = folder.ok_or_else(GraphError::item_not_found)?;
    let uid = folder.add(message);
    let message = folder.message(uid).ok_or_else(GraphError::item_not_found)?;
    let shown = view::message(message, folder, caller.immutable, &Query::parse(None)?);
    Ok(web::json(StatusCode::CREATED, &shown))
}

pub(super) async fn read(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, GraphError> {
    let store = cloud.state();
    let address = caller.open(&store, &user, Right::Read)?;
    let query = Query::parse(query.as_deref())?;
    Ok(web::json(StatusCode::OK, &show(&store, &caller, &address, &id, &query)?))
}

pub(super) async fn value(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, id)): Path<(String, String)>,
) -> Result<Response, GraphError> {
    let mut store = cloud.state();
    let address = caller.open(&store, &user, Right::Read)?;
    let raw = with_message(&mut store, &caller, &address, &id, |message| {
        Ok(mime::with_attachments(&message.raw, &message.attachments))
    })?;
    Ok(([(header::CONTENT_TYPE, "text/plain")], raw).into_response())
}

pub(super) async fn update(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, id)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, GraphError> {
    let mut store = cloud.state();
    let address = caller.open(&store, &user, Right::Write)?;
    let json: Value = serde_json::from_slice(&body).map_err(|_| GraphError::unreadable_body())?;
    let changes = json.as_object().ok_or_else(GraphError::unreadable_body)?;
    with_message(&mut store, &caller, &address, &id, |message| {
        // All or nothing: a copy takes the changes first.
        let mut changed = message.clone();
        for (name, value) in changes {
            apply(&mut changed, name, value)?;
        }
        *message = changed;
        Ok(())
    })?;
    let shown = show(&store, &caller, &address, &id, &Query::parse(None)?)?;
    drop(store);
    cloud.changed();
    Ok(web::json(StatusCode::OK, &shown))
}

/// What PATCH may change (facts/graph-mail.md section 6).
fn apply(message: &mut StoredMessage, name: &str, value: &Value) -> Result<(), GraphError> {
    let header = match name {
        "isRead" => return set_flag(message, "\\Seen", value.as_bool()),
        "flag" => {
            let status = value["flagStatus"].as_str();
            return set_flag(message, "\\Flagged", status.map(|status| status == "flagged"));
        }
        "singleValueExtendedProperties" => {
            if value.to_string().to_ascii_lowercase().contains("0xe07\"") {
                return Err(invalid_property(name));
            }
            return set_extended(message, value);
        }
        "toRecipients" => "To",
        "ccRecipients" => "Cc",
        "bccRecipients" => "Bcc",
        "subject" => "Subject",
        _ => return Err(invalid_property(name)),
    };
    if !message.draft {
        return Err(invalid_property(name));
    }
    let text = match value.as_str() {
        Some(text) => Some(compose::encoded(text)),
        None => compose::mailboxes(value)?,
    };
    let rest = mime::without_field(&message.raw, header);
    message.raw = match text {
        Some(text) => mime::with_field(&rest, header, &text),
        None => rest,
    }
    .into();
    Ok(())
}

fn invalid_property(name: &str) -> GraphError {
    let text = format!("The property '{name}' can't be set in this state of the message.");
    GraphError::bad("ErrorInvalidPropertySet", text)
}

fn set_flag(message: &mut StoredMessage, flag: &str, on: Option<bool>) -> Result<(), GraphError> {
    match on {
        Some(true) => message.flags.insert(flag.to_owned()),
        Some(false) => message.flags.remove(flag),
        None => return Err(GraphError::unreadable_body()),
    };
    Ok(())
}

fn set_extended(message: &mut StoredMessage, list: &Value) -> Result<(), GraphError> {
    for property in list.as_array().into_iter().flatten() {
        // Values are texts, whatever the property's type (resources/extended-properties-overview).
        let (id, value) = (property["id"].as_str(), property["value"].as_str());
        let (id, value) = id.zip(value).ok_or_else(GraphError::unreadable_body)?;
        message.extended.insert(view::property_key(id), value.to_owned());
    }
    Ok(())
}

/// A soft delete: the item goes to Recoverable Items, not to Deleted Items.
pub(super) async fn delete(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, id)): Path<(String, String)>,
) -> Result<StatusCode, GraphError> {
    let mut store = cloud.state();
    let address = caller.open(&store, &user, Right::Write)?;
    let message = take(&mut store, &caller, &address, &id)?;
    if let Some(folder) = store.well_known(&address, "recoverableitemsdeletions") {
        folder.add(message);
    }
    drop(store);
    cloud.changed();
    Ok(StatusCode::NO_CONTENT)
}

fn take(
    store: &mut Store,
    caller: &Caller,
    address: &str,
    id: &str,
) -> Result<StoredMessage, GraphError> {
    let place = find(store, caller, address, id)?;
    let mailbox = store.mailbox_mut(address).ok_or_else(GraphError::item_not_found)?;
    let folder = &mut mailbox.folders[place.folder];
    let message = folder.message(place.uid).cloned().ok_or_else(GraphError::item_not_found)?;
    folder.remove(&[place.uid]);
    Ok(message)
}

pub(super) async fn send(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, id)): Path<(String, String)>,
) -> Result<StatusCode, GraphError> {
    let mut store = cloud.state();
    let address = caller.open(&store, &user, Right::Send)?;
    let raw = with_message(&mut store, &caller, &address, &id, |message| {
        if !message.draft {
            let text = "Only a draft can be sent.";
            return Err(GraphError::bad("ErrorInvalidRequest", text));
        }
        Ok(mime::with_attachments(&message.raw, &message.attachments))
    })?;
    let raw = submit(&mut store, &caller, &address, raw, Via::GraphDraft)?;
    let mut message = take(&mut store, &caller, &address, &id)?;
    let wanted = message.extended.get(DELETE_AFTER_SUBMIT).is_none_or(|value| value != "true");
    if wanted && let Some(sent) = store.well_known(&address, "sentitems") {
        message.raw = raw.into();
        message.draft = false;
        message.flags.remove("\\Draft");
        message.attachments.clear();
        sent.add(message);
    }
    drop(store);
    cloud.changed();
    Ok(StatusCode::ACCEPTED)
}

pub(super) async fn list(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path(user): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, GraphError> {
    let store = cloud.state();
    let address = caller.open(&store, &user, Right::Read)?;
    let query = Query::parse(query.as_deref())?;
    let mailbox = store.mailbox(&address).ok_or_else(GraphError::item_not_found)?;
    let shown = |folder: &&Folder| folder.well_known != "recoverableitemsdeletions";
    let folders: Vec<&Folder> = mailbox.folders.iter().filter(shown).collect();
    let path = format!("/v1.0/users/{user}/messages");
    Ok(page(&cloud, &caller, &folders, &query, &path))
}

pub(super) async fn list_folder(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, folder)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, GraphError> {
    let store = cloud.state();
    let address = caller.open(&store, &user, Right::Read)?;
    let query = Query::parse(query.as_deref())?;
    let path = format!("/v1.0/users/{user}/mailFolders/{folder}/messages");
    let folder = folders::find(&store, &address, &folder)?;
    Ok(page(&cloud, &caller, &[folder], &query, &path))
}

fn page(
    cloud: &Cloud,
    caller: &Caller,
    folders: &[&Folder],
    query: &Query,
    path: &str,
) -> Response {
    let mut found: Vec<(&Folder, &StoredMessage)> = folders
        .iter()
        .flat_map(|folder| folder.messages.iter().map(move |message| (*folder, message)))
        .filter(|(_, message)| query.filter.iter().all(|one| holds(one, message)))
        .collect();
    found.sort_by_key(|(_, message)| std::cmp::Reverse(message.received));
    let total = found.len();
    let shown = found.iter().skip(query.skip).take(query.top);
    let value: Vec<Value> = shown
        .map(|(folder, message)| view::message(message, folder, caller.immutable, query))
        .collect();
    let mut body = json!({"value": value});
    let next = query.skip.saturating_add(query.top);
    // The link repeats a plain listing; a filtered search has one page here.
    if next < total && query.filter.is_empty() && query.select.is_empty() {
        let link = format!("{}{path}?$top={}&$skip={next}", cloud.endpoints.graph_url, query.top);
        body["@odata.nextLink"] = link.into();
    }
    web::json(StatusCode::OK, &body)
}

fn holds(condition: &Condition, message: &StoredMessage) -> bool {
    let header = |name, wanted: &str| {
        mime::field_value(&message.raw, name).is_some_and(|value| value == wanted)
    };
    match (condition.property.as_str(), &condition.value) {
        ("internetMessageId", Literal::Text(id)) => header("Message-ID", id),
        ("subject", Literal::Text(text)) => {
            mime::parse(&message.raw).is_some_and(|m| m.subject() == Some(text))
        }
        ("isRead", Literal::Boolean(on)) => message.flags.contains("\\Seen") == *on,
        ("isDraft", Literal::Boolean(on)) => message.draft == *on,
        _ => false,
    }
}
