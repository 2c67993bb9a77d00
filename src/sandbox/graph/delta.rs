//! `mailFolders/{id}/messages/delta`: changes in one folder.
//!
//! Danger: a delta that tells everything, once and in order, hides every client that cannot merge.
//! Rule (facts/graph-mail.md section 5): the first round is the whole folder; extended properties
//! never come; a changed read state brings three properties; a move is a removal here; the options
//! of the first request are baked into the links; the links alone say where one is.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::super::mailbox::{Folder, StoredMessage, next_version};
use super::super::quirks::Quirks;
use super::super::store::Cloud;
use super::super::web;
use super::error::GraphError;
use super::filter::Condition;
use super::folders;
use super::gate::{Caller, Right};
use super::links::{self, Cursor};
use super::odata::Query;
use super::view;

/// The most messages of a filtered first round.
const MAX_FILTERED: usize = 5000;

/// What a delta token stands for.
#[derive(Clone, Debug)]
pub(crate) struct Since {
    folder: String,
    query: Query,
    /// Changes after this version are new; 0: nothing was told yet.
    since: u64,
    /// Changes after this version are told, new or not.
    replay_from: u64,
}

/// A round under way.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    next: Since,
    entries: Arc<[Entry]>,
    at: usize,
    emptied: bool,
}

/// One thing to be told.
#[derive(Clone, Debug)]
enum Entry {
    /// A message with what was selected.
    Whole(u32),
    /// Only its read state.
    Read(u32),
    /// Immutable and default id.
    Gone(String, String),
}

pub(super) async fn delta(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, folder)): Path<(String, String)>,
    RawQuery(raw): RawQuery,
) -> Result<Response, GraphError> {
    let mut store = cloud.state();
    let address = caller.open(&store, &user, Right::Read)?;
    let mailbox = store.mailbox(&address).ok_or_else(folders::missing)?;
    let folder = folders::find(&store, &address, &folder)?;
    let quirks = &mailbox.quirks;
    let round = match links::follow(&store, &caller)? {
        Some(Cursor::Round(round)) if round.next.folder == folder.graph_id => round,
        Some(Cursor::Since(since)) if since.folder == folder.graph_id => {
            begin(folder, since, quirks, caller.immutable)
        }
        Some(_) => return Err(links::misplaced()),
        None => {
            let query = first_query(raw.as_deref())?;
            let since = Since { folder: folder.graph_id.clone(), query, since: 0, replay_from: 0 };
            begin(folder, since, quirks, caller.immutable)
        }
    };
    let empty = quirks.empty_pages && !round.emptied;
    let size = if empty { 0 } else { round.next.query.page_size(caller.page_size) };
    let end = round.at.saturating_add(size).min(round.entries.len());
    let entries = &round.entries[round.at..end];
    let told = entries.iter().filter_map(|e| told(e, folder, &round.next.query, &caller, quirks));
    let mut body = json!({"value": told.collect::<Vec<Value>>()});
    let done = end == round.entries.len() && !empty;
    let id = links::escaped(&folder.graph_id);
    let (name, token, cursor) = if done {
        ("@odata.deltaLink", "$deltatoken", Cursor::Since(round.next))
    } else {
        let next = Round { at: end, emptied: true, ..round };
        ("@odata.nextLink", "$skiptoken", Cursor::Round(next))
    };
    let user = links::escaped(&user);
    let version = caller.version();
    let path = format!("/{version}/users('{user}')/mailFolders('{id}')/messages/delta()");
    let target = links::hand_out(&mut store, &path, "", token, cursor);
    body[name] = format!("{}{target}", cloud.endpoints.graph_url).into();
    Ok(web::json(StatusCode::OK, &body))
}

/// `$filter` and `$orderby` in one form each, `$search` not at all.
fn first_query(raw: Option<&str>) -> Result<Query, GraphError> {
    let query = Query::parse(raw, view::is_property)?;
    query.only(&["$filter", "$top", "$expand", "$orderby", "changeType"])?;
    let ordered = query.order.iter().all(|(name, down)| name == "receivedDateTime" && *down);
    if !ordered || !query.filter.iter().all(Condition::fits_delta) {
        let text = "Change tracking does not support this filter or order.";
        return Err(GraphError::bad("ErrorInvalidUrlQueryFilter", text));
    }
    Ok(query)
}

fn begin(folder: &Folder, from: Since, quirks: &Quirks, immutable: bool) -> Round {
    let entries = if from.since == 0 {
        everything(folder, &from.query)
    } else {
        changes(folder, &from, quirks, immutable)
    };
    let since = next_version();
    let replay_from = if quirks.replays && from.since > 0 { from.since } else { since };
    let next = Since { since, replay_from, ..from };
    Round { next, entries: entries.into(), at: 0, emptied: false }
}

fn everything(folder: &Folder, query: &Query) -> Vec<Entry> {
    if query.change_type.as_deref() == Some("deleted") {
        return Vec::new();
    }
    let fits = |message: &&StoredMessage| query.filter.iter().all(|one| one.holds(message));
    let mut found: Vec<&StoredMessage> = folder.messages.iter().filter(fits).collect();
    found.sort_by_key(|message| std::cmp::Reverse(message.received));
    let most = if query.filter.is_empty() { usize::MAX } else { MAX_FILTERED };
    found.into_iter().take(most).map(|message| Entry::Whole(message.uid)).collect()
}

fn changes(folder: &Folder, from: &Since, quirks: &Quirks, immutable: bool) -> Vec<Entry> {
    let after = from.replay_from.min(from.since);
    let kind = from.query.change_type.as_deref();
    let mut entries = Vec::new();
    for message in &folder.messages {
        let versions = message.versions;
        let hidden = quirks.moves_unreported && immutable && message.moved_in;
        let added = versions.added > after && !hidden;
        let changed = versions.other > after;
        let wanted = match kind {
            Some("created") => added,
            Some("updated") => changed && !added,
            Some(_) => false,
            None => added || changed,
        };
        let fits = from.query.filter.iter().all(|one| one.holds(message));
        if wanted && fits {
            entries.push(Entry::Whole(message.uid));
        } else if versions.read > after && !added {
            entries.push(Entry::Read(message.uid));
        }
    }
    let mut told = HashSet::new();
    for gone in folder.gone.iter().filter(|gone| gone.version > after) {
        // It may have come back meanwhile, or left twice.
        let is_here = folder.by_id(gone.graph_id(immutable), immutable).is_some();
        if !is_here && told.insert(gone.graph_id(immutable)) {
            entries.push(Entry::Gone(gone.immutable_id.clone(), gone.mutable_id.clone()));
        }
    }
    entries
}

fn told(
    entry: &Entry,
    folder: &Folder,
    query: &Query,
    caller: &Caller,
    quirks: &Quirks,
) -> Option<Value> {
    let immutable = caller.immutable;
    let mut value = match entry {
        // What has gone meanwhile is told in the next round.
        Entry::Whole(uid) => {
            let message = folder.message(*uid)?;
            view::message(message, &folder.graph_id, immutable, &query.select, &[])
        }
        Entry::Read(uid) => {
            let message = folder.message(*uid)?;
            let mut value = json!({
                "@odata.etag": view::etag(message),
                "id": message.graph_id(immutable),
                "isRead": message.is_read(),
                "parentFolderId": folder.graph_id,
            });
            if quirks.sparse_without_etag
                && let Some(object) = value.as_object_mut()
            {
                object.remove("@odata.etag");
            }
            value
        }
        Entry::Gone(one, other) => {
            let id = if immutable { one } else { other };
            json!({"id": id, "@removed": {"reason": "deleted"}})
        }
    };
    value["@odata.type"] = "#microsoft.graph.message".into();
    Some(value)
}
