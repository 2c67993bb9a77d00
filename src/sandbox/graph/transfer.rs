//! Copying, moving and deleting messages (facts/graph-mail.md section 8).
//!
//! Danger: an id that stays where the real one changes, or a message that is in two places. Rule: a
//! move keeps the immutable id and gives another default id, a copy gets new ones; a deleted message
//! goes to Recoverable Items, not to Deleted Items.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use super::super::mailbox::StoredMessage;
use super::super::store::{Cloud, State as Store};
use super::error::GraphError;
use super::gate::{Caller, Right};
use super::messages::{find, keep, target};

fn destination(body: &[u8]) -> Result<String, GraphError> {
    let json: Value = serde_json::from_slice(body).map_err(|_| GraphError::unreadable_body())?;
    let id = json.get("destinationId").or_else(|| json.get("DestinationId"));
    id.and_then(Value::as_str).map(str::to_owned).ok_or_else(GraphError::unreadable_body)
}

pub(super) async fn move_to(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, id)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, GraphError> {
    let folder = destination(&body)?;
    let mut store = cloud.state();
    let address = caller.open(&store, &user, Right::Write)?;
    // Looked up first: a message that has nowhere to go stays.
    target(&mut store, &address, &folder)?;
    let mut message = take(&mut store, &caller, &address, &id)?;
    message.moved_in = true;
    let moved = keep(&mut store, &caller, &address, &folder, message);
    drop(store);
    cloud.changed();
    moved
}

pub(super) async fn copy(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, id)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, GraphError> {
    let folder = destination(&body)?;
    let mut store = cloud.state();
    let address = caller.open(&store, &user, Right::Write)?;
    let place = find(&store, &caller, &address, &id)?;
    let message = store.mailbox(&address).and_then(|m| m.folders[place.folder].message(place.uid));
    let copy = message.ok_or_else(GraphError::item_not_found)?.copied();
    let copied = keep(&mut store, &caller, &address, &folder, copy);
    drop(store);
    cloud.changed();
    copied
}

/// A soft delete.
pub(super) async fn delete(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, id)): Path<(String, String)>,
) -> Result<StatusCode, GraphError> {
    let mut store = cloud.state();
    let address = caller.open(&store, &user, Right::Write)?;
    let mut message = take(&mut store, &caller, &address, &id)?;
    message.moved_in = true;
    if let Some(folder) = store.well_known(&address, "recoverableitemsdeletions") {
        folder.add(message);
    }
    drop(store);
    cloud.changed();
    Ok(StatusCode::NO_CONTENT)
}

/// Gone where no program can reach it.
pub(super) async fn permanent_delete(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, id)): Path<(String, String)>,
) -> Result<StatusCode, GraphError> {
    let mut store = cloud.state();
    let address = caller.open(&store, &user, Right::Write)?;
    take(&mut store, &caller, &address, &id)?;
    drop(store);
    cloud.changed();
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a message out of its folder.
pub(super) fn take(
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
