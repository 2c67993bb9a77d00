//! What the record of an APPEND says, and clearing up after a crash.
//!
//! Danger: the process ends between the service's answer and the client's. Rule: what is whole is
//! finished and stays on record for a week, so that the client's next attempt is answered with it; what
//! is partial is deleted; what has no id is left to the next attempt, which looks for it.

use reqwest::Method;
use serde_json::json;
use time::{Duration, OffsetDateTime};

use crate::mail::mailbox::Flags;
use crate::mail::{Error, Kind};
use crate::store::AppendRecord;
use crate::upstream::graph::ask::{Ask, Target, Urgency};
use crate::upstream::graph::client::{Answer, Payload};
use crate::upstream::graph::mailbox::Engine;
use crate::upstream::graph::mailbox::item::{self, is_gone, not_stored};
use crate::upstream::graph::mailbox::message::{append_patch, came_by_append, new_message, parent};

/// Stands before the id of a draft that lacks attachments. The service's ids have no colon.
const PARTIAL: &str = "partial:";
/// A client that has not tried again for so long will not; the store thinks the same.
const REMEMBERED: Duration = Duration::days(7);

pub(super) const DELETES: &str = "deleting a message that was stored half";
const FINISHES: &str = "finishing a message that was stored half";

/// How far an APPEND has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stage<'a> {
    /// The service may have it.
    Unknown,
    /// The service has some of it.
    Partial(&'a str),
    /// The service has all of it; flags and place may lack.
    Whole(&'a str),
}

/// What goes into the record for a draft that lacks attachments.
pub(super) fn partial(graph_id: &str) -> String {
    format!("{PARTIAL}{graph_id}")
}

pub(super) fn stage(record: &AppendRecord) -> Stage<'_> {
    match record.graph_id.as_deref() {
        None => Stage::Unknown,
        Some(id) => id.strip_prefix(PARTIAL).map_or(Stage::Whole(id), Stage::Partial),
    }
}

/// Finishes or clears what a crash left half stored. Called once for each mailbox, before its first
/// folder is opened.
pub(in crate::upstream::graph::mailbox) async fn recover(engine: &Engine) -> Result<(), Error> {
    let records = engine.store.unfinished_appends().await.map_err(not_stored)?;
    if records.is_empty() {
        return Ok(());
    }
    let folders = engine.store.folders().await.map_err(not_stored)?;
    let mut failure = None;
    for record in records {
        let turn = engine.appending.turn(&record);
        // One under way now sees to itself.
        let Ok(_turn) = turn.try_lock() else { continue };
        let folder = folders.iter().find(|folder| folder.key == record.folder);
        let target = folder.map(|folder| folder.facts.graph_id.as_str());
        // One that can't be finished is not in the way of others.
        match recover_one(engine, &record, target).await {
            Ok(()) => {}
            Err(error) if matches!(error.kind, Kind::Throttled { .. }) => return Err(error),
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(()), Err)
}

async fn recover_one(
    engine: &Engine,
    record: &AppendRecord,
    target: Option<&str>,
) -> Result<(), Error> {
    let is_over = match stage(record) {
        Stage::Unknown => is_old(record),
        Stage::Partial(graph_id) => delete(engine, graph_id).await?,
        Stage::Whole(graph_id) => finish(engine, record, graph_id, target).await? || is_old(record),
    };
    match is_over {
        true => engine.store.end_append(record).await.map_err(not_stored),
        false => Ok(()),
    }
}

fn is_old(record: &AppendRecord) -> bool {
    record.started + REMEMBERED < OffsetDateTime::now_utc()
}

async fn ask(
    engine: &Engine,
    method: Method,
    path: &str,
    payload: &Payload,
) -> Result<Answer, Error> {
    let ask = Ask { method, target: Target::Path(path), payload, urgency: Urgency::Waiting };
    engine.graph.ask_patiently(&ask).await
}

/// True when it is gone.
async fn delete(engine: &Engine, graph_id: &str) -> Result<bool, Error> {
    let answer = ask(engine, Method::DELETE, &item::path(graph_id, ""), &Payload::None).await?;
    if answer.status.is_success() || is_gone(&answer) {
        return Ok(true);
    }
    let error = engine.graph.refusal(DELETES, &answer);
    tracing::warn!(error = %error.chain(), "a draft that lacks attachments is left in Drafts");
    Ok(false)
}

/// Brings a whole message to its folder; true when there is nothing to remember any more.
async fn finish(
    engine: &Engine,
    record: &AppendRecord,
    graph_id: &str,
    target: Option<&str>,
) -> Result<bool, Error> {
    let path = item::read_fully(graph_id).path;
    let answer = ask(engine, Method::GET, &path, &Payload::None).await?;
    let Some(target) = target.filter(|_| !is_gone(&answer)) else { return Ok(true) };
    let item = answer.json();
    let Some(message) = new_message(&item).filter(|_| answer.status.is_success()) else {
        return Err(engine.graph.refusal(FINISHES, &answer));
    };
    if parent(&item) == Some(target) {
        return Ok(false);
    }
    // Anywhere but in Drafts, somebody has moved it since: it was finished, and stays there.
    if parent(&item) != Some(engine.well_known("drafts").await?.as_str()) {
        return Ok(true);
    }
    if !came_by_append(&item) {
        // The client's flags were not kept; it brings them with its next attempt.
        let patch = append_patch(&message.flags, &Flags::default(), record.started);
        let path = item::path(graph_id, "");
        let answer = ask(engine, Method::PATCH, &path, &Payload::Json(patch)).await?;
        if !answer.status.is_success() {
            return Err(engine.graph.refusal(FINISHES, &answer));
        }
    }
    let payload = Payload::Json(json!({ "destinationId": target }));
    let answer = ask(engine, Method::POST, &item::path(graph_id, "/move"), &payload).await?;
    match answer.status.is_success() {
        true => tracing::info!("a message whose APPEND was cut short is in its folder now"),
        false => {
            let error = engine.graph.refusal(FINISHES, &answer);
            tracing::warn!(error = %error.chain(), "a message stays in Drafts");
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::FolderKey;

    #[test]
    fn a_record_says_how_far_it_came() {
        let record = |graph_id: Option<String>| AppendRecord {
            folder: FolderKey(1),
            digest: String::new(),
            message_id: None,
            started: OffsetDateTime::now_utc(),
            graph_id,
        };
        assert_eq!(stage(&record(None)), Stage::Unknown);
        assert_eq!(stage(&record(Some("A=".to_owned()))), Stage::Whole("A="));
        assert_eq!(stage(&record(Some(partial("A=")))), Stage::Partial("A="));
        let mut old = record(None);
        assert!(!is_old(&old));
        old.started -= REMEMBERED + Duration::seconds(1);
        assert!(is_old(&old));
    }
}
