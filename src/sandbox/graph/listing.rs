//! Listing messages: of a folder, of the mailbox, in pages.
//!
//! Danger: a listing that is one consistent picture hides a client that relies on it. Rule: pages
//! are counted from the start anew each time, as the real service does, so that what is deleted in
//! between shifts what follows (facts/graph-mail.md section 3).

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::super::mailbox::{Folder, StoredMessage};
use super::super::store::Cloud;
use super::super::web;
use super::error::GraphError;
use super::folders;
use super::gate::{Caller, Right};
use super::links::{self, Cursor};
use super::odata::Query;
use super::view;

/// Pages still to come.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    /// Folder id; `None`: the whole mailbox.
    folder: Option<String>,
    query: Query,
    skip: usize,
}

pub(super) async fn list(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path(user): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, GraphError> {
    page(&cloud, &caller, &user, None, query.as_deref())
}

pub(super) async fn list_folder(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, folder)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, GraphError> {
    page(&cloud, &caller, &user, Some(&folder), query.as_deref())
}

type Row<'a> = (&'a Folder, &'a StoredMessage);

fn page(
    cloud: &Cloud,
    caller: &Caller,
    user: &str,
    folder: Option<&str>,
    raw: Option<&str>,
) -> Result<Response, GraphError> {
    let mut store = cloud.state();
    let address = caller.open(&store, user, Right::Read)?;
    let folder = match folder {
        Some(folder) => Some(folders::find(&store, &address, folder)?.graph_id.clone()),
        None => None,
    };
    let mailbox = store.mailbox(&address).ok_or_else(GraphError::item_not_found)?;
    let listing = match links::follow(&store, caller)? {
        Some(Cursor::Messages(listing)) if listing.folder == folder => listing,
        Some(_) => return Err(links::misplaced()),
        None => {
            let query = Query::parse(raw, view::is_property)?;
            query.only(&["$filter", "$top", "$skip", "$expand", "$orderby"])?;
            Listing { folder, skip: query.skip, query }
        }
    };
    let shown = |known: &&Folder| match &listing.folder {
        Some(id) => known.graph_id == *id,
        None => known.well_known != "recoverableitemsdeletions",
    };
    let query = &listing.query;
    let rows = rows(mailbox.folders.iter().filter(shown), query);
    let size = query.page_size(caller.page_size);
    let rest = rows.len().saturating_sub(listing.skip);
    let heavy = query.select.is_empty() || !query.expand.is_empty();
    if mailbox.quirks.slow_pages.is_some_and(|most| heavy && size.min(rest) > most) {
        let text = "The service did not answer in time.";
        return Err(GraphError::new(StatusCode::GATEWAY_TIMEOUT, "UnknownError", text));
    }
    let value: Vec<Value> = rows
        .iter()
        .skip(listing.skip)
        .take(size)
        .map(|(folder, message)| {
            let id = &folder.graph_id;
            view::message(message, id, caller.immutable, &query.select, &query.expand)
        })
        .collect();
    let skip = listing.skip.saturating_add(size);
    let more = skip < rows.len();
    let mut body = json!({"value": value});
    if more {
        let before = format!("{}%24skip={skip}&", query.repeated);
        let next = Cursor::Messages(Listing { skip, ..listing });
        let path = caller.path().to_owned();
        let target = links::hand_out(&mut store, &path, &before, "$skiptoken", next);
        body["@odata.nextLink"] = format!("{}{target}", cloud.endpoints.graph_url).into();
    }
    Ok(web::json(StatusCode::OK, &body))
}

fn rows<'a>(folders: impl Iterator<Item = &'a Folder>, query: &Query) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'a>> = folders
        .flat_map(|folder| folder.messages.iter().map(move |message| (folder, message)))
        .filter(|(_, message)| query.filter.iter().all(|one| one.holds(message)))
        .collect();
    if query.order.is_empty() {
        rows.sort_by_key(|(_, message)| std::cmp::Reverse(message.received));
    }
    // The last one decides least; sorting is stable.
    for (name, descending) in query.order.iter().rev() {
        if name == "subject" {
            rows.sort_by(|(_, one), (_, other)| one.head().subject.cmp(&other.head().subject));
        } else {
            rows.sort_by_key(|(_, message)| moment(message, name));
        }
        if *descending {
            rows.reverse();
        }
    }
    rows
}

fn moment(message: &StoredMessage, name: &str) -> OffsetDateTime {
    match name {
        "lastModifiedDateTime" => message.modified,
        "sentDateTime" => message.head().sent.unwrap_or(message.received),
        _ => message.received,
    }
}
