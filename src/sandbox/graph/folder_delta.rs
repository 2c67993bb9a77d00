//! `mailFolders/delta`: changes of all folders of a mailbox, their counts included.
//!
//! Danger: a client that takes one page for the whole answer, or forgets that folders vanish. Rule:
//! pages as the request prefers them, the whole tree in the first round, afterwards what changed
//! since, and `@removed` for what is no more (facts/graph-mail.md sections 2 and 5).

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::super::accounts::Mailbox;
use super::super::mailbox::next_version;
use super::super::store::Cloud;
use super::super::web;
use super::error::GraphError;
use super::folders::{missing, properties_of, shown};
use super::gate::{Caller, Right};
use super::links::{self, Cursor};
use super::odata::Query;

/// What a token stands for.
#[derive(Clone, Debug)]
pub(crate) struct FolderSince {
    mailbox: String,
    query: Query,
    /// Changes after this version are to be told.
    since: u64,
}

/// A round under way.
#[derive(Clone, Debug)]
pub(crate) struct FolderRound {
    next: FolderSince,
    /// Ids still to be told, in order; those that are no folders any more were removed.
    ids: Arc<[String]>,
    at: usize,
    emptied: bool,
}

pub(super) async fn delta(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path(user): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Response, GraphError> {
    let mut store = cloud.state();
    let address = caller.open(&store, &user, Right::Read)?;
    let mailbox = store.mailbox(&address).ok_or_else(missing)?;
    let round = match links::follow(&store, &caller)? {
        Some(Cursor::FolderRound(round)) if round.next.mailbox == address => round,
        Some(Cursor::FolderSince(since)) if since.mailbox == address => begin(mailbox, since),
        Some(_) => return Err(links::misplaced()),
        None => {
            let query = Query::parse(raw.as_deref(), properties_of(&caller))?;
            query.only(&["includeHiddenFolders", "$top"])?;
            begin(mailbox, FolderSince { mailbox: address.clone(), query, since: 0 })
        }
    };
    let empty = mailbox.quirks.empty_pages && !round.emptied;
    let size = if empty { 0 } else { round.next.query.page_size(caller.page_size) };
    let end = round.at.saturating_add(size).min(round.ids.len());
    let value: Vec<Value> = round.ids[round.at..end]
        .iter()
        .map(|id| told(mailbox, id, &round.next.query, caller.beta))
        .collect();
    let done = end == round.ids.len() && !empty;
    let (name, token, cursor) = if done {
        ("@odata.deltaLink", "$deltatoken", Cursor::FolderSince(round.next))
    } else {
        let next = FolderRound { at: end, emptied: true, ..round };
        ("@odata.nextLink", "$skiptoken", Cursor::FolderRound(next))
    };
    let path =
        format!("/{}/users('{}')/mailFolders/delta()", caller.version(), links::escaped(&user));
    let target = links::hand_out(&mut store, &path, "", token, cursor);
    let mut body = json!({"value": value});
    body[name] = format!("{}{target}", cloud.endpoints.graph_url).into();
    Ok(web::json(StatusCode::OK, &body))
}

fn begin(mailbox: &Mailbox, from: FolderSince) -> FolderRound {
    let hidden = from.query.include_hidden;
    let below_root = |id: &Option<String>| {
        id.as_ref().is_none_or(|parent| mailbox.folder_index(parent).is_some())
    };
    let mut ids: Vec<String> = mailbox
        .folders
        .iter()
        .filter(|f| f.changed > from.since && below_root(&f.parent) && (!f.hidden || hidden))
        .map(|folder| folder.graph_id.clone())
        .collect();
    if from.since > 0 {
        let gone = mailbox.gone_folders.iter().filter(|(version, _)| *version > from.since);
        ids.extend(gone.map(|(_, id)| id.clone()));
    }
    let next = FolderSince { since: next_version(), ..from };
    FolderRound { next, ids: ids.into(), at: 0, emptied: false }
}

fn told(mailbox: &Mailbox, id: &str, query: &Query, beta: bool) -> Value {
    match mailbox.folder_index(id) {
        Some(index) => shown(mailbox, &mailbox.folders[index], &query.select, &[], beta),
        None => json!({"id": id, "@removed": {"reason": "deleted"}}),
    }
}
