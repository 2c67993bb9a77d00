//! Deleting messages (Graph pages `api/message-delete`, `api/message-move`).
//!
//! Danger: a message that is struck from the index although the service still has it vanishes from
//! the client and from nowhere else; one that somebody has filed elsewhere keeps its id, and would be
//! deleted there. Rule: the folder is looked at first; what the service confirms is struck, and what
//! it says is gone; where an answer is missing it is asked what there is.

use reqwest::Method;
use serde_json::json;
use tokio::time::Instant;

use super::item::{self, AT_ONCE, folders_of, is_conflict, is_gone, is_unclear, not_stored};
use super::{Engine, OpenFolder, following};
use crate::mail::Error;
use crate::mail::mailbox::Uid;
use crate::store::{Changes, Stray};
use crate::upstream::graph::ask::{Part, Urgency};

const DOING: &str = "deleting messages";
/// The well-known name, which also stands for the id.
const DELETED_ITEMS: &str = "deleteditems";

/// See [`crate::mail::Folder::expunge`].
pub(super) async fn expunge(folder: &OpenFolder, uids: Vec<Uid>) -> Result<(), Error> {
    let engine = &folder.engine;
    let moves = match engine.keeps_deleted() {
        false => None,
        true => {
            let to = engine.well_known(DELETED_ITEMS).await?;
            Some(to).filter(|to| *to != folder.graph_id)
        }
    };
    following::refresh(folder, Instant::now()).await?;
    let mut writing = folder.writing().await;
    let known = engine.store.known_by_uid(folder.key, &uids).await.map_err(not_stored)?;
    let ids: Vec<&str> = known.iter().map(|one| one.graph_id.as_str()).collect();
    let mut failure = None;
    for ids in ids.chunks(AT_ONCE) {
        let removed;
        (removed, failure) = remove(engine, &folder.graph_id, ids, moves.is_some()).await;
        if !removed.is_empty() {
            let to = |folder_id: &String| strays_in(folder_id, &removed);
            let strays = moves.as_ref().map(to).unwrap_or_default();
            writing.apply(Changes { removed, strays, ..Changes::default() }).await?;
        }
        if failure.is_some() {
            break;
        }
    }
    drop(writing);
    // Their new folder's changes may never tell of them.
    following::welcome_all(engine).await;
    failure.map_or(Ok(()), Err)
}

/// Deleted Items may never be told of what comes there.
fn strays_in(folder_id: &str, ids: &[String]) -> Vec<Stray> {
    let stray = |id: &String| Stray { graph_id: id.clone(), folder_id: folder_id.to_owned() };
    ids.iter().map(stray).collect()
}

fn part(graph_id: &str, moves: bool) -> Part {
    match moves {
        false => Part::repeatable(Method::DELETE, item::path(graph_id, ""), None),
        true => {
            let body = json!({ "destinationId": DELETED_ITEMS });
            Part::once(Method::POST, item::path(graph_id, "/move"), Some(body))
        }
    }
}

/// Removes messages; those that are gone from the folder, and the first failure.
async fn remove(
    engine: &Engine,
    folder_id: &str,
    ids: &[&str],
    moves: bool,
) -> (Vec<String>, Option<Error>) {
    let (mut removed, mut failure) = (Vec::new(), None);
    let mut open = ids.to_vec();
    for attempt in 0..2 {
        let parts: Vec<Part> = open.iter().map(|id| part(id, moves)).collect();
        let answers = match engine.graph.batch(&parts, Urgency::Waiting).await {
            Ok(answers) => answers,
            Err(error) => {
                removed.extend(no_longer_there(engine, folder_id, &open).await);
                return (removed, Some(error));
            }
        };
        let (mut conflicts, mut unclear) = (Vec::new(), Vec::new());
        for (id, answer) in open.iter().zip(&answers) {
            match answer.status {
                status if status.is_success() => removed.push((*id).to_owned()),
                _ if is_gone(answer) => removed.push((*id).to_owned()),
                _ if is_conflict(answer) && attempt == 0 => conflicts.push(*id),
                status => {
                    failure.get_or_insert_with(|| engine.graph.refusal(DOING, answer));
                    unclear.extend(Some(*id).filter(|_| is_unclear(status)));
                }
            }
        }
        removed.extend(no_longer_there(engine, folder_id, &unclear).await);
        open = conflicts;
        if open.is_empty() {
            break;
        }
    }
    // All that failed may have been done after all.
    let failure = failure.filter(|_| removed.len() < ids.len());
    (removed, failure)
}

/// Those that are in the folder no more. What can't be told is left to the next refresh.
async fn no_longer_there(engine: &Engine, folder_id: &str, ids: &[&str]) -> Vec<String> {
    if ids.is_empty() {
        return Vec::new();
    }
    match folders_of(&engine.graph, ids).await {
        Ok(folders) => {
            let pairs = ids.iter().zip(folders);
            let gone = pairs.filter(|(_, folder)| folder.as_deref() != Some(folder_id));
            gone.map(|(id, _)| (*id).to_owned()).collect()
        }
        Err(error) => {
            tracing::debug!(error = %error.chain(), "what was deleted shows at the next refresh");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deleting_may_be_repeated_and_moving_may_not() {
        let deletes = part("A=", false);
        assert_eq!((deletes.method, deletes.path.as_str()), (Method::DELETE, "/messages/A%3D"));
        assert!(deletes.repeatable && deletes.body.is_none());
        let moves = part("A=", true);
        assert_eq!((moves.method, moves.path.as_str()), (Method::POST, "/messages/A%3D/move"));
        assert_eq!(moves.body, Some(json!({ "destinationId": "deleteditems" })));
        assert!(!moves.repeatable);
    }
}
