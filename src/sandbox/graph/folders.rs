//! `GET …/mailFolders` and `GET …/mailFolders/{id}`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::super::mailbox::Folder;
use super::super::store::{Cloud, State as Store};
use super::super::web;
use super::error::GraphError;
use super::gate::{Caller, Right};
use super::view;

/// Well-known name or id.
pub(super) fn find<'a>(
    store: &'a Store,
    address: &str,
    folder: &str,
) -> Result<&'a Folder, GraphError> {
    let missing = || {
        let text = "The specified folder could not be found in the store.";
        GraphError::new(StatusCode::NOT_FOUND, "ErrorItemNotFound", text)
    };
    let mailbox = store.mailbox(address).ok_or_else(missing)?;
    let is = |known: &&Folder| {
        (!known.well_known.is_empty() && known.well_known.eq_ignore_ascii_case(folder))
            || known.graph_id == folder
    };
    mailbox.folders.iter().find(is).ok_or_else(missing)
}

pub(super) async fn list(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path(user): Path<String>,
) -> Result<Response, GraphError> {
    let store = cloud.state();
    let address = caller.open(&store, &user, Right::Read)?;
    let shown = |folder: &&Folder| folder.well_known != "recoverableitemsdeletions";
    let folders = store.mailbox(&address).map(|mailbox| mailbox.folders.as_slice());
    let value: Vec<Value> =
        folders.unwrap_or_default().iter().filter(shown).map(view::folder).collect();
    Ok(web::json(StatusCode::OK, &json!({"value": value})))
}

pub(super) async fn read(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, folder)): Path<(String, String)>,
) -> Result<Response, GraphError> {
    let store = cloud.state();
    let address = caller.open(&store, &user, Right::Read)?;
    Ok(web::json(StatusCode::OK, &view::folder(find(&store, &address, &folder)?)))
}
