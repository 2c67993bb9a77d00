//! Reading mail folders: one, the top level, the children of one.
//!
//! Danger: a listing that shows the whole tree, or everything on one page, hides a client that does
//! not walk it. Rule: one level a request, ten a page unless `$top` says otherwise, hidden folders
//! only when asked for, search folders always (facts/graph-mail.md section 2).

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::super::accounts::Mailbox;
use super::super::mailbox::Folder;
use super::super::store::{Cloud, State as Store};
use super::super::web;
use super::error::GraphError;
use super::extended::Property;
use super::gate::{Caller, Right};
use super::links::{self, Cursor};
use super::odata::{DEFAULT_TOP, Query};

/// The folder above all, by name.
const ROOT: &str = "msgfolderroot";

/// Pages of folders still to come.
#[derive(Clone, Debug)]
pub(crate) struct FolderListing {
    parent: Option<String>,
    query: Query,
    skip: usize,
}

/// A folder or the root.
pub(super) enum Found {
    Root,
    /// Index into the mailbox's folders.
    Folder(usize),
}

pub(super) fn missing() -> GraphError {
    let text = "The specified folder could not be found in the store.";
    GraphError::new(StatusCode::NOT_FOUND, "ErrorItemNotFound", text)
}

/// Well-known name or id, the root too.
pub(super) fn locate(mailbox: &Mailbox, folder: &str) -> Result<Found, GraphError> {
    if folder.eq_ignore_ascii_case(ROOT) || folder == mailbox.root_id {
        return Ok(Found::Root);
    }
    let is = |known: &Folder| {
        (!known.well_known.is_empty() && known.well_known.eq_ignore_ascii_case(folder))
            || known.graph_id == folder
    };
    mailbox.folders.iter().position(is).map(Found::Folder).ok_or_else(missing)
}

/// A folder that can hold messages: by well-known name or id.
pub(super) fn find<'a>(
    store: &'a Store,
    address: &str,
    folder: &str,
) -> Result<&'a Folder, GraphError> {
    let mailbox = store.mailbox(address).ok_or_else(missing)?;
    match locate(mailbox, folder)? {
        Found::Folder(index) => Ok(&mailbox.folders[index]),
        Found::Root => Err(missing()),
    }
}

/// What `$select` may name; `wellKnownName` is in beta alone.
pub(super) fn is_property(name: &str) -> bool {
    matches!(
        name,
        "id" | "displayName"
            | "parentFolderId"
            | "childFolderCount"
            | "unreadItemCount"
            | "totalItemCount"
            | "sizeInBytes"
            | "isHidden"
    )
}

fn is_beta_property(name: &str) -> bool {
    is_property(name) || name == "wellKnownName"
}

/// The properties that `$select` may name in this version.
pub(super) fn properties_of(caller: &Caller) -> fn(&str) -> bool {
    if caller.beta { is_beta_property } else { is_property }
}

/// A mailFolder resource.
pub(super) fn shown(
    mailbox: &Mailbox,
    folder: &Folder,
    select: &[String],
    expand: &[Property],
    beta: bool,
) -> Value {
    let children = mailbox.children(Some(&folder.graph_id)).filter(|child| !child.hidden).count();
    let mut all = Map::new();
    if folder.search {
        all.insert("@odata.type".into(), "#microsoft.graph.mailSearchFolder".into());
    }
    let mut show = |name: &str, value: Value| {
        if name == "id" || select.is_empty() || select.iter().any(|wanted| wanted == name) {
            all.insert(name.to_owned(), value);
        }
    };
    show("id", folder.graph_id.clone().into());
    show("displayName", folder.display.clone().into());
    let parent = folder.parent.as_ref().unwrap_or(&mailbox.root_id);
    show("parentFolderId", parent.clone().into());
    show("childFolderCount", children.into());
    show("unreadItemCount", folder.unread().into());
    let total = folder.messages.len() + mailbox.quirks.uncounted_items;
    show("totalItemCount", total.into());
    let size: usize = folder.messages.iter().map(|message| message.raw.len()).sum();
    show("sizeInBytes", size.into());
    show("isHidden", folder.hidden.into());
    if beta {
        let name = Some(folder.well_known).filter(|name| !name.is_empty());
        show("wellKnownName", json!(name));
    }
    let values: Vec<Value> = expand
        .iter()
        .filter_map(|wanted| {
            let value = match wanted.key.as_str() {
                "string 0x3613" => "IPF.Note".to_owned(),
                "integer 0x6751" => folder.uid_next.to_string(),
                _ => return None,
            };
            Some(json!({"id": wanted.shown, "value": value}))
        })
        .collect();
    if !values.is_empty() {
        all.insert("singleValueExtendedProperties".into(), values.into());
    }
    all.into()
}

fn root(mailbox: &Mailbox) -> Value {
    json!({
        "id": mailbox.root_id,
        "displayName": "Top of Information Store",
        "parentFolderId": "AAMkAGI2storeroot=",
        "childFolderCount": mailbox.children(None).filter(|child| !child.hidden).count(),
        "unreadItemCount": 0,
        "totalItemCount": 0,
        "sizeInBytes": 0,
        "isHidden": false,
    })
}

pub(super) async fn read(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, folder)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, GraphError> {
    let store = cloud.state();
    let address = caller.open(&store, &user, Right::Read)?;
    let query = Query::parse(query.as_deref(), properties_of(&caller))?;
    query.only(&["$expand"])?;
    let mailbox = store.mailbox(&address).ok_or_else(missing)?;
    let value = match locate(mailbox, &folder)? {
        Found::Root => root(mailbox),
        Found::Folder(index) => {
            let folder = &mailbox.folders[index];
            shown(mailbox, folder, &query.select, &query.expand, caller.beta)
        }
    };
    Ok(web::json(StatusCode::OK, &value))
}

/// The top level.
pub(super) async fn list(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path(user): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, GraphError> {
    page(&cloud, &caller, &user, ROOT, query.as_deref())
}

pub(super) async fn children(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, folder)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, GraphError> {
    page(&cloud, &caller, &user, &folder, query.as_deref())
}

fn page(
    cloud: &Cloud,
    caller: &Caller,
    user: &str,
    folder: &str,
    raw: Option<&str>,
) -> Result<Response, GraphError> {
    let mut store = cloud.state();
    let address = caller.open(&store, user, Right::Read)?;
    let mailbox = store.mailbox(&address).ok_or_else(missing)?;
    let parent = match locate(mailbox, folder)? {
        Found::Root => None,
        Found::Folder(index) => Some(mailbox.folders[index].graph_id.clone()),
    };
    let listing = match links::follow(&store, caller)? {
        Some(Cursor::Folders(listing)) if listing.parent == parent => listing,
        Some(_) => return Err(links::misplaced()),
        None => {
            let query = Query::parse(raw, properties_of(caller))?;
            query.only(&["$top", "$skip", "$expand", "includeHiddenFolders"])?;
            FolderListing { parent, skip: query.skip, query }
        }
    };
    let query = &listing.query;
    let mut all: Vec<&Folder> = mailbox
        .children(listing.parent.as_deref())
        .filter(|folder| !folder.hidden || query.include_hidden)
        .collect();
    all.sort_by_key(|folder| folder.display.to_lowercase());
    // Pages of folders follow `$top` alone (facts/graph-mail.md section 3).
    let size = query.top.unwrap_or(DEFAULT_TOP);
    let value: Vec<Value> = all
        .iter()
        .skip(listing.skip)
        .take(size)
        .map(|folder| shown(mailbox, folder, &query.select, &query.expand, caller.beta))
        .collect();
    let mut body = json!({"value": value});
    let skip = listing.skip.saturating_add(size);
    if skip < all.len() {
        let path = caller.path().to_owned();
        let before = format!("{}%24skip={skip}&", query.repeated);
        let next = Cursor::Folders(FolderListing { skip, ..listing });
        let target = links::hand_out(&mut store, &path, &before, "$skiptoken", next);
        body["@odata.nextLink"] = format!("{}{target}", cloud.endpoints.graph_url).into();
    }
    Ok(web::json(StatusCode::OK, &body))
}
