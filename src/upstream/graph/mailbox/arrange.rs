//! Making, deleting, renaming and moving folders (RFC 9051 sections 6.3.4 to 6.3.6).
//!
//! Danger: Graph deletes a folder with all that is below it, and takes two requests for a rename into
//! another folder. Rule: the list is fresh before anything is deleted; the second step's failure takes
//! the first one back; the list is changed by what the service answered, under the list's turn.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::item::not_stored;
use super::list::{self, List};
use super::name::{self, INBOX, Level};
use super::tree::Node;
use super::{Engine, transfer};
use crate::mail::mailbox::{SEPARATOR, Uid};
use crate::mail::{Error, Kind};
use crate::store::FolderFacts;
use crate::upstream::graph::ask::{Part, Urgency};
use crate::upstream::graph::client::{Answer, percent_encode};

/// Messages moved at a time when INBOX is renamed.
const MOVED_AT_ONCE: usize = 500;
/// Folders that one command makes, each a request, under the list's turn: people's trees have a few
/// levels, Exchange allows 300, and a name of 4,000 would keep the mailbox busy for minutes.
const MADE_AT_ONCE: usize = 30;

/// See [`crate::mail::Mailbox::create`].
pub(super) async fn create(engine: &Engine, name: &str) -> Result<(), Error> {
    // RFC 3501 section 6.3.3: a separator at the end only declares what it is for.
    let path = name::normal(name.strip_suffix(SEPARATOR).unwrap_or(name));
    let (_turn, list) = engine.list_turn().await?;
    if list.tree.find(&path).is_some() {
        return Err(exists(engine, &path));
    }
    make_all(engine, list, &path).await.map(drop)
}

/// Makes a folder and those above it that are missing.
async fn make_all(engine: &Engine, mut list: List, path: &str) -> Result<List, Error> {
    let missing = missing(&list, path);
    if missing.len() > MADE_AT_ONCE {
        let role = &engine.graph.client.role;
        let text = format!("{role}: {} folders were to be made by one command", missing.len());
        let hint = "too many folders at once: make those above it first";
        return Err(Error::new(Kind::Unsupported, text).with_hint(hint));
    }
    // No name is sent before all of them are known to be possible.
    let parts: Vec<(usize, String)> = missing
        .into_iter()
        .map(|end| display_of(engine, &path[..end]).map(|display| (end, display)))
        .collect::<Result<_, _>>()?;
    for (end, display) in parts {
        let above = name::split(&path[..end]).0.and_then(|above| list.tree.find(above)).cloned();
        list = make(engine, list, above.as_ref(), &display).await?;
        if list.tree.find(&path[..end]).is_none() {
            let text = "the service made a folder of another name than it was asked for";
            return Err(Error::new(Kind::Rejected, text));
        }
        not_subscribed(engine, &path[..end]).await?;
    }
    Ok(list)
}

/// A folder that a client makes is subscribed when a client says so (RFC 9051 section 6.3.7), unless
/// its name is in the list already. One that was made elsewhere is subscribed, or nobody saw it.
async fn not_subscribed(engine: &Engine, path: &str) -> Result<(), Error> {
    let decided = engine.store.subscriptions().await.map_err(not_stored)?;
    match decided.iter().any(|(name, _)| name == path) {
        true => Ok(()),
        false => engine.store.subscribe(path, false).await.map_err(not_stored),
    }
}

/// Where the names of missing folders end in the path, the highest first.
fn missing(list: &List, path: &str) -> Vec<usize> {
    let ends = path.match_indices(SEPARATOR).map(|(at, _)| at).chain([path.len()]);
    ends.filter(|end| list.tree.find(&path[..*end]).is_none()).collect()
}

/// The display name that the last part of a path stands for.
fn display_of(engine: &Engine, path: &str) -> Result<String, Error> {
    let (above, part) = name::split(path);
    let level = if above.is_none() { Level::Top } else { Level::Below };
    name::decode(part, level).ok_or_else(|| {
        let text = format!("{}: {path:?} can't be a folder's name", engine.graph.client.role);
        let hint = "this can't be the name of a folder: in a name, / * % and = before two hex \
                    digits are written as = and two hex digits";
        Error::new(Kind::Unsupported, text).with_hint(hint)
    })
}

async fn make(
    engine: &Engine,
    list: List,
    above: Option<&Node>,
    display: &str,
) -> Result<List, Error> {
    let path = above.map_or_else(
        || "/mailFolders".to_owned(),
        |node| format!("{}/childFolders", address(node)),
    );
    let body = json!({ "displayName": display });
    let answer = change(engine, Method::POST, path, Some(body), "making a folder").await?;
    // The root's id is not told, so the answer's own counts.
    let above = above.map(|node| node.record.facts.graph_id.clone());
    let before = FolderFacts {
        graph_id: String::new(),
        parent_id: above,
        display_name: display.to_owned(),
        well_known: None,
        total: 0,
        unread: 0,
    };
    update(engine, list, &answer.json(), &before).await
}

/// See [`crate::mail::Mailbox::delete`].
pub(super) async fn delete(engine: &Engine, name: &str) -> Result<(), Error> {
    let (_turn, list) = engine.list_turn().await?;
    let node = list.tree.find(name).ok_or_else(|| engine.no_folder(name))?.clone();
    if node.has_children {
        let hint = "there are folders below it: delete those first";
        return Err(refused(engine, &node, "has folders below it", hint));
    }
    if node.record.facts.well_known.is_some() {
        let hint = "the service needs this folder, it can't be deleted";
        return Err(refused(engine, &node, "is one that every mailbox has", hint));
    }
    match change(engine, Method::DELETE, address(&node), None, "deleting a folder").await {
        Err(error) if error.kind != Kind::NotFound => return Err(error),
        // Gone is gone.
        _ => {}
    }
    let removed = [node.record.facts.graph_id];
    engine.set_list(list::put(engine, list, &[], &removed).await?);
    Ok(())
}

/// See [`crate::mail::Mailbox::rename`].
pub(super) async fn rename(engine: &Engine, from: &str, to: &str) -> Result<(), Error> {
    let to = name::normal(to.strip_suffix(SEPARATOR).unwrap_or(to));
    if name::normal(from) == INBOX {
        return empty_inbox(engine, &to).await;
    }
    let (_turn, list) = engine.list_turn().await?;
    let node = list.tree.find(from).ok_or_else(|| engine.no_folder(from))?.clone();
    if list.tree.find(&to).is_some() {
        return Err(exists(engine, &to));
    }
    if to.strip_prefix(&node.path).is_some_and(|rest| rest.starts_with(SEPARATOR)) {
        let hint = "a folder can't be moved below itself";
        return Err(refused(engine, &node, "can't be moved below itself", hint));
    }
    if node.record.facts.well_known.is_some() {
        let hint = "the service needs this folder, it can't be renamed";
        return Err(refused(engine, &node, "is one that every mailbox has", hint));
    }
    let display = display_of(engine, &to)?;
    let list = match name::split(&to).0 {
        Some(above) if list.tree.find(above).is_none() => make_all(engine, list, above).await?,
        _ => list,
    };
    let above = name::split(&to).0.and_then(|above| list.tree.find(above)).cloned();
    put_elsewhere(engine, list, &node, above.as_ref(), &display).await
}

/// Renames a folder, moves it, or both.
async fn put_elsewhere(
    engine: &Engine,
    list: List,
    node: &Node,
    above: Option<&Node>,
    display: &str,
) -> Result<(), Error> {
    let old_above = list.tree.above(node).cloned();
    let moves = old_above.as_ref().map(|n| &n.path) != above.map(|n| &n.path);
    let renames = node.record.facts.display_name != display;
    let mut steps = Vec::new();
    if renames {
        steps.push(Step::Rename(display.to_owned(), node.record.facts.display_name.clone()));
    }
    if moves {
        steps.push(Step::Move(
            id_of(engine, above).await?,
            id_of(engine, old_above.as_ref()).await?,
        ));
    }
    // In the old place the new name may be taken; in the new place the old name.
    if list.tree.has_child(old_above.as_ref(), display) && moves {
        steps.reverse();
    }
    let mut done: Vec<Step> = Vec::new();
    let mut last = Value::Null;
    for step in steps {
        match take(engine, node, &step, false).await {
            Ok(answer) => {
                last = answer.json();
                done.push(step);
            }
            Err(error) => {
                for step in done.iter().rev() {
                    if let Err(second) = take(engine, node, step, true).await {
                        let role = &engine.graph.client.role;
                        tracing::warn!("{role}: a folder is half renamed: {}", second.chain());
                    }
                }
                return Err(error);
            }
        }
    }
    let parent_id = match above {
        Some(above) => Some(above.record.facts.graph_id.clone()),
        None if moves => engine.well_known(super::tree::ROOT).await.ok(),
        None => node.record.facts.parent_id.clone(),
    };
    let before =
        FolderFacts { display_name: display.to_owned(), parent_id, ..node.record.facts.clone() };
    // Each answer may be older than the other step.
    let _ = last.as_object_mut().map(|answer| {
        answer.remove("displayName");
        answer.remove("parentFolderId")
    });
    update(engine, list, &last, &before).await.map(drop)
}

/// One request of a rename: to the new value, or back to the old one.
enum Step {
    Rename(String, String),
    Move(String, String),
}

async fn take(engine: &Engine, node: &Node, step: &Step, back: bool) -> Result<Answer, Error> {
    let pick = |new: &String, old: &String| if back { old.clone() } else { new.clone() };
    match step {
        Step::Rename(new, old) => {
            let body = json!({ "displayName": pick(new, old) });
            change(engine, Method::PATCH, address(node), Some(body), "renaming a folder").await
        }
        Step::Move(new, old) => {
            let body = json!({ "destinationId": pick(new, old) });
            let path = format!("{}/move", address(node));
            change(engine, Method::POST, path, Some(body), "moving a folder").await
        }
    }
}

/// The id by which the service knows a place for folders.
async fn id_of(engine: &Engine, above: Option<&Node>) -> Result<String, Error> {
    match above {
        Some(above) => Ok(above.record.facts.graph_id.clone()),
        // The well-known name serves in an id's place.
        None => {
            Ok(engine.well_known(super::tree::ROOT).await.unwrap_or(super::tree::ROOT.to_owned()))
        }
    }
}

/// RFC 3501 section 6.3.5: INBOX stays, its messages go.
async fn empty_inbox(engine: &Engine, to: &str) -> Result<(), Error> {
    create(engine, to).await?;
    let (inbox, target) = (engine.folder(INBOX).await?, engine.folder(to).await?);
    super::following::refresh(&inbox, tokio::time::Instant::now()).await?;
    let uids: Vec<Uid> = inbox.published().messages.iter().map(|entry| entry.uid).collect();
    for uids in uids.chunks(MOVED_AT_ONCE) {
        let moved = transfer::move_to(&inbox, uids.to_vec(), &target).await?;
        if let Some(failure) = moved.failure {
            return Err(failure);
        }
    }
    Ok(())
}

fn address(node: &Node) -> String {
    format!("/mailFolders/{}", percent_encode(&node.record.facts.graph_id))
}

/// Makes a request that changes a folder; not repeated when its outcome is not known.
async fn change(
    engine: &Engine,
    method: Method,
    path: String,
    body: Option<Value>,
    doing: &str,
) -> Result<Answer, Error> {
    let part = Part::once(method, path, body);
    let answer = engine.graph.batch(&[part], Urgency::Waiting).await?.pop();
    let answer = answer.ok_or_else(|| Error::new(Kind::Unavailable, "Graph's batch is empty"))?;
    if answer.status.is_success() {
        return Ok(answer);
    }
    let mut error = engine.graph.refusal(doing, &answer);
    match answer.status {
        StatusCode::CONFLICT => error.kind = Kind::AlreadyExists,
        StatusCode::NOT_FOUND => error.kind = Kind::NotFound,
        _ => {}
    }
    let code = answer.json()["error"]["code"].as_str().unwrap_or_default().to_ascii_lowercase();
    if code.contains("folderexists") {
        error.kind = Kind::AlreadyExists;
    }
    if code.contains("distinguishedfolder") {
        error.kind = Kind::Unsupported;
        return Err(error.with_hint("the service needs this folder"));
    }
    Err(error)
}

/// Takes what the service answered into the list.
async fn update(
    engine: &Engine,
    list: List,
    answer: &Value,
    before: &FolderFacts,
) -> Result<List, Error> {
    let known = (!before.graph_id.is_empty()).then(|| before.clone());
    let Some(facts) = list::facts(answer, Some(before)).or(known) else {
        // The service has answered without an id: its list has it.
        let list = list::asked(engine, &list, None).await?;
        engine.set_list(list.clone());
        return Ok(list);
    };
    let list = list::put(engine, list, &[facts], &[]).await?;
    engine.set_list(list.clone());
    Ok(list)
}

fn exists(engine: &Engine, path: &str) -> Error {
    let text = format!("{}: there is a folder {path:?} already", engine.graph.client.role);
    Error::new(Kind::AlreadyExists, text).with_hint("there is a folder of that name already")
}

fn refused(engine: &Engine, node: &Node, why: &str, hint: &'static str) -> Error {
    let text = format!("{}: the folder {:?} {why}", engine.graph.client.role, node.path);
    Error::new(Kind::Unsupported, text).with_hint(hint)
}
