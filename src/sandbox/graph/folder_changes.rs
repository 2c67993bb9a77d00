//! Making, renaming, moving, copying and deleting mail folders (facts/graph-mail.md section 2).
//!
//! Danger: a folder that can be made twice, or a special one that can be deleted, would hide a
//! client's mistake. Rule: only what [`super::super::tree`] allows; each refusal has its own code.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use super::super::accounts::Mailbox;
use super::super::store::{Cloud, State as Store};
use super::super::tree::Unfit;
use super::super::web;
use super::error::GraphError;
use super::folders::{Found, locate, missing, shown};
use super::gate::{Caller, Right};

fn refusal(unfit: Unfit) -> GraphError {
    match unfit {
        Unfit::Exists => {
            let text = "A folder with the specified name already exists.";
            GraphError::new(StatusCode::CONFLICT, "ErrorFolderExists", text)
        }
        Unfit::Distinguished => {
            let text = "Distinguished folders can't be deleted, renamed or moved.";
            GraphError::bad("ErrorDeleteDistinguishedFolder", text)
        }
        Unfit::Missing => missing(),
        Unfit::Circular => GraphError::bad("ErrorMoveCopyFailed", "A folder can't go into itself."),
        Unfit::Nameless => GraphError::bad("ErrorFolderSave", "The folder has no name."),
    }
}

fn object(body: &[u8]) -> Result<Value, GraphError> {
    let json: Value = serde_json::from_slice(body).map_err(|_| GraphError::unreadable_body())?;
    if json.is_object() { Ok(json) } else { Err(GraphError::unreadable_body()) }
}

/// The id of a folder, `None` for the root.
fn folder_id(mailbox: &Mailbox, folder: &str) -> Result<Option<String>, GraphError> {
    Ok(match locate(mailbox, folder)? {
        Found::Root => None,
        Found::Folder(index) => Some(mailbox.folders[index].graph_id.clone()),
    })
}

/// A folder that is not the root.
fn real_id(mailbox: &Mailbox, folder: &str) -> Result<String, GraphError> {
    folder_id(mailbox, folder)?.ok_or_else(|| refusal(Unfit::Distinguished))
}

fn answer(
    cloud: &Cloud,
    caller: &Caller,
    mailbox: &Mailbox,
    id: &str,
    status: StatusCode,
) -> Result<Response, GraphError> {
    let index = mailbox.folder_index(id).ok_or_else(missing)?;
    let value = shown(mailbox, &mailbox.folders[index], &[], &[], caller.beta);
    cloud.changed();
    Ok(web::json(status, &value))
}

fn open<'a>(
    store: &'a mut Store,
    caller: &Caller,
    user: &str,
) -> Result<&'a mut Mailbox, GraphError> {
    let address = caller.open(store, user, Right::Write)?;
    store.mailbox_mut(&address).ok_or_else(missing)
}

pub(super) async fn create(
    state: State<Arc<Cloud>>,
    caller: Extension<Caller>,
    Path(user): Path<String>,
    body: Bytes,
) -> Result<Response, GraphError> {
    create_child(state, caller, Path((user, "msgfolderroot".into())), body).await
}

pub(super) async fn create_child(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, folder)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, GraphError> {
    let json = object(&body)?;
    let display = json["displayName"].as_str().ok_or_else(GraphError::unreadable_body)?;
    let mut store = cloud.state();
    let mailbox = open(&mut store, &caller, &user)?;
    let parent = folder_id(mailbox, &folder)?;
    let hidden = json["isHidden"].as_bool().unwrap_or(false);
    let id = mailbox.add_folder(parent.as_deref(), display, hidden).map_err(refusal)?;
    answer(&cloud, &caller, mailbox, &id, StatusCode::CREATED)
}

/// Only the name can be changed.
pub(super) async fn rename(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, folder)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, GraphError> {
    let json = object(&body)?;
    let names = json.as_object().into_iter().flatten().map(|(name, _)| name);
    if let Some(name) = names.into_iter().find(|name| *name != "displayName") {
        let text = format!("The property '{name}' of a folder can't be changed.");
        return Err(GraphError::bad("ErrorInvalidPropertySet", text));
    }
    let display = json["displayName"].as_str().ok_or_else(GraphError::unreadable_body)?;
    let mut store = cloud.state();
    let mailbox = open(&mut store, &caller, &user)?;
    let id = real_id(mailbox, &folder)?;
    mailbox.rename_folder(&id, display).map_err(refusal)?;
    answer(&cloud, &caller, mailbox, &id, StatusCode::OK)
}

fn destination(body: &[u8]) -> Result<String, GraphError> {
    let json = object(body)?;
    let id = json.get("destinationId").or_else(|| json.get("DestinationId"));
    id.and_then(Value::as_str).map(str::to_owned).ok_or_else(GraphError::unreadable_body)
}

pub(super) async fn move_to(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, folder)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, GraphError> {
    let target = destination(&body)?;
    let mut store = cloud.state();
    let mailbox = open(&mut store, &caller, &user)?;
    let id = real_id(mailbox, &folder)?;
    let parent = folder_id(mailbox, &target)?;
    mailbox.move_folder(&id, parent.as_deref()).map_err(refusal)?;
    answer(&cloud, &caller, mailbox, &id, StatusCode::OK)
}

pub(super) async fn copy(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, folder)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, GraphError> {
    let target = destination(&body)?;
    let mut store = cloud.state();
    let mailbox = open(&mut store, &caller, &user)?;
    let id = real_id(mailbox, &folder)?;
    let parent = folder_id(mailbox, &target)?;
    let made = mailbox.copy_folder(&id, parent.as_deref()).map_err(refusal)?;
    answer(&cloud, &caller, mailbox, &made, StatusCode::OK)
}

pub(super) async fn delete(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, folder)): Path<(String, String)>,
) -> Result<StatusCode, GraphError> {
    let mut store = cloud.state();
    let mailbox = open(&mut store, &caller, &user)?;
    let id = real_id(mailbox, &folder)?;
    mailbox.delete_folder(&id).map_err(refusal)?;
    drop(store);
    cloud.changed();
    Ok(StatusCode::NO_CONTENT)
}
