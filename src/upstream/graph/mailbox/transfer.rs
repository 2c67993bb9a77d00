//! Copying and moving messages (Graph pages `api/message-copy`, `api/message-move`).
//!
//! Danger: a lost answer to a move leaves a message in the index of the folder that it has left, one
//! to a copy leaves a copy nobody knows of. Rule: each batch is in the store, both folders in one
//! transaction, before the next is begun; where an answer is missing, the service is asked where each
//! message is; a copy that fails takes back what it made. Flags, date and header come from the index,
//! so that they stay what the client was told.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

use bytes::Bytes;
use reqwest::Method;
use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::folder::Writing;
use super::item::{self, AT_ONCE, folders_of, is_conflict, is_gone, is_unclear, not_stored};
use super::message::instant;
use super::{Engine, OpenFolder};
use crate::mail::mailbox::{Copied, Moved, Size, Uid};
use crate::mail::{Error, Kind};
use crate::protocol::mime::fields;
use crate::store::{Changes, Known, NewMessage, Stray};
use crate::upstream::graph::ask::{Part, Urgency};
use crate::upstream::graph::client::{Answer, percent_encode};

/// Our clock and the service's may differ by so much.
pub(super) const CLOCKS_DIFFER: Duration = Duration::minutes(15);

/// See [`crate::mail::Folder::copy`].
pub(super) async fn copy(
    from: &OpenFolder,
    uids: Vec<Uid>,
    to: &OpenFolder,
) -> Result<Copied, Error> {
    let (mut source, mut target) = from.writing_both(to).await;
    let mut copying =
        Copying { to, made: Vec::new(), found: HashSet::new(), started: OffsetDateTime::now_utc() };
    for uids in uids.chunks(AT_ONCE) {
        let messages = indexed(from, uids).await;
        let done = match messages {
            Ok(messages) => copying.run(&from.engine, &messages).await,
            Err(error) => Err(error),
        };
        if let Err(failure) = done {
            return Err(copying.take_back(&from.engine, failure).await);
        }
    }
    let (sources, added): (Vec<Uid>, Vec<NewMessage>) = copying.made.into_iter().unzip();
    let uid_validity = to.published().uid_validity;
    if added.is_empty() {
        return Ok(Copied { uid_validity, pairs: Vec::new() });
    }
    // Should the store fail now, the copies come with the next delta.
    let changes = Changes { added, ..Changes::default() };
    let applied = target.as_mut().unwrap_or(&mut source).apply(changes).await?;
    Ok(Copied { uid_validity, pairs: sources.into_iter().zip(applied.added).collect() })
}

/// See [`crate::mail::Folder::move_to`].
pub(super) async fn move_to(
    from: &OpenFolder,
    uids: Vec<Uid>,
    to: &OpenFolder,
) -> Result<Moved, Error> {
    let (mut source, target) = from.writing_both(to).await;
    let uid_validity = to.published().uid_validity;
    let mut moved = Moved { copied: Copied { uid_validity, pairs: Vec::new() }, failure: None };
    let Some(mut target) = target else {
        moved.copied.pairs = renumber(from, &mut source, &uids).await?;
        return Ok(moved);
    };
    for uids in uids.chunks(AT_ONCE) {
        let result = move_some(from, to, uids, &mut source, &mut target).await;
        let (pairs, failure) = result.unwrap_or_else(|failure| (Vec::new(), Some(failure)));
        moved.copied.pairs.extend(pairs);
        if let Some(failure) = failure {
            if moved.copied.pairs.is_empty() {
                return Err(failure);
            }
            moved.failure = Some(failure);
            break;
        }
    }
    Ok(moved)
}

/// A message as the index has it.
struct Indexed {
    known: Known,
    header: Bytes,
}

impl Indexed {
    /// The same message under another id. Without an `etag` the next delta has it read again: others
    /// may have changed it before it was moved or copied.
    fn as_new(&self, graph_id: String, etag: Option<String>, size: Size) -> NewMessage {
        NewMessage {
            graph_id,
            etag,
            flags: self.known.flags.clone(),
            date: self.known.date,
            size,
            header: self.header.clone(),
            revision: self.known.revision.clone(),
        }
    }

    fn message_id(&self) -> Option<String> {
        let field = fields(&self.header).find(|field| field.is("Message-ID"))?;
        let text = std::str::from_utf8(field.value).ok()?.trim();
        Some(text.to_owned()).filter(|text| !text.is_empty())
    }
}

async fn indexed(folder: &OpenFolder, uids: &[Uid]) -> Result<Vec<Indexed>, Error> {
    let store = &folder.engine.store;
    let known = store.known_by_uid(folder.key, uids).await.map_err(not_stored)?;
    let headers = store.headers(folder.key, uids).await.map_err(not_stored)?;
    let mut headers: HashMap<Uid, Bytes> = headers.into_iter().collect();
    let with_header = |known: Known| {
        let header = headers.remove(&known.uid).unwrap_or_else(|| Bytes::from_static(b"\r\n"));
        Indexed { known, header }
    };
    Ok(known.into_iter().map(with_header).collect())
}

/// A move to where the messages are gives them new UIDs (RFC 6851 section 3.2 has no exception); at
/// the service nothing changes.
async fn renumber(
    folder: &OpenFolder,
    writing: &mut Writing<'_>,
    uids: &[Uid],
) -> Result<Vec<(Uid, Uid)>, Error> {
    let messages = indexed(folder, uids).await?;
    let same = |one: &Indexed| {
        one.as_new(one.known.graph_id.clone(), one.known.etag.clone(), one.known.size)
    };
    let added: Vec<NewMessage> = messages.iter().map(same).collect();
    if added.is_empty() {
        return Ok(Vec::new());
    }
    // Gone is gone first: the same ids come back under new UIDs.
    let removed = added.iter().map(|message| message.graph_id.clone()).collect();
    let applied = writing.apply(Changes { added, removed, ..Changes::default() }).await?;
    Ok(messages.iter().map(|one| one.known.uid).zip(applied.added).collect())
}

fn part(graph_id: &str, action: &str, to: &OpenFolder) -> Part {
    let body = json!({ "destinationId": to.graph_id });
    Part::once(Method::POST, item::path(graph_id, action), Some(body))
}

/// Moves up to a batch; the UIDs of what was moved, and the first failure.
async fn move_some(
    from: &OpenFolder,
    to: &OpenFolder,
    uids: &[Uid],
    source: &mut Writing<'_>,
    target: &mut Writing<'_>,
) -> Result<(Vec<(Uid, Uid)>, Option<Error>), Error> {
    let messages = indexed(from, uids).await?;
    if messages.is_empty() {
        return Ok((Vec::new(), None));
    }
    let strays = note_strays(from, to, &messages).await?;
    let mut batch = Moving::default();
    batch.run(from, to, &messages).await;
    let is_clear = batch.failure.as_ref().is_none_or(|one| one.kind != Kind::OutcomeUnknown);
    let (moved, added): (Vec<Uid>, Vec<NewMessage>) = batch.moved.into_iter().unzip();
    let removed = Changes { removed: batch.removed, ..Changes::default() };
    let mut pairs = Vec::new();
    if !removed.is_empty() {
        let added = Changes { added, ..Changes::default() };
        let (_, applied) = source.apply_both(removed, target, added).await?;
        pairs = moved.into_iter().zip(applied.added).collect();
    }
    match is_clear {
        true => from.engine.store.forget_strays(&strays).await.map_err(not_stored)?,
        // Looked for with the next refresh.
        false => from.engine.has_strays.store(true, Ordering::Release),
    }
    Ok((pairs, batch.failure))
}

/// Should the process end in the middle, the target is asked for them, for its changes may not tell.
async fn note_strays(
    from: &OpenFolder,
    to: &OpenFolder,
    messages: &[Indexed],
) -> Result<Vec<Stray>, Error> {
    let stray = |one: &Indexed| Stray {
        graph_id: one.known.graph_id.clone(),
        folder_id: to.graph_id.clone(),
    };
    let strays: Vec<Stray> = messages.iter().map(stray).collect();
    from.engine.store.note_strays(&strays).await.map_err(not_stored)?;
    Ok(strays)
}

/// What came of one batch of moves.
#[derive(Default)]
struct Moving {
    moved: Vec<(Uid, NewMessage)>,
    /// Ids that are in the source no more.
    removed: Vec<String>,
    /// The first.
    failure: Option<Error>,
    /// The first failure that may have been none.
    uncertainty: Option<Error>,
}

impl Moving {
    async fn run(&mut self, from: &OpenFolder, to: &OpenFolder, messages: &[Indexed]) {
        let mut open: Vec<&Indexed> = messages.iter().collect();
        let mut unclear = Vec::new();
        for attempt in 0..2 {
            let part = |one: &&Indexed| part(&one.known.graph_id, "/move", to);
            let parts: Vec<Part> = open.iter().map(part).collect();
            let answers = match from.engine.graph.batch(&parts, Urgency::Waiting).await {
                Ok(answers) => answers,
                Err(error) => {
                    self.uncertainty.get_or_insert(error);
                    unclear.append(&mut open);
                    break;
                }
            };
            let mut conflicts = Vec::new();
            for (one, answer) in open.iter().zip(&answers) {
                let status = answer.status;
                if status.is_success() {
                    self.moved(one, Some(answer));
                } else if is_conflict(answer) && attempt == 0 {
                    conflicts.push(*one);
                } else {
                    let error = from.engine.graph.refusal("moving messages", answer);
                    // Also 404: it may be the target that is gone.
                    if is_unclear(status) || status == reqwest::StatusCode::NOT_FOUND {
                        unclear.push(*one);
                        self.uncertainty.get_or_insert(match is_gone(answer) {
                            true => Error::new(Kind::NotFound, "the folder to move to is gone")
                                .with_source(error),
                            false => error,
                        });
                    } else {
                        self.failure.get_or_insert(error);
                    }
                }
            }
            open = conflicts;
            if open.is_empty() {
                break;
            }
        }
        self.look(from, to, &unclear).await;
        // In the order asked, whatever the order in which they were found.
        self.moved.sort_by_key(|(uid, _)| messages.iter().position(|one| one.known.uid == *uid));
    }

    fn moved(&mut self, one: &Indexed, answer: Option<&Answer>) {
        let json = answer.map(Answer::json).unwrap_or_default();
        let id = json["id"].as_str().filter(|id| !id.is_empty()).unwrap_or(&one.known.graph_id);
        // A message whose id changed is another one for the cache.
        let size = match id == one.known.graph_id {
            true => one.known.size,
            false => Size::Estimated(one.known.size.octets()),
        };
        let message = one.as_new(id.to_owned(), None, size);
        self.moved.push((one.known.uid, message));
        self.removed.push(one.known.graph_id.clone());
    }

    /// Where are those whose move may have been done?
    async fn look(&mut self, from: &OpenFolder, to: &OpenFolder, unclear: &[&Indexed]) {
        if unclear.is_empty() {
            return;
        }
        let ids: Vec<&str> = unclear.iter().map(|one| one.known.graph_id.as_str()).collect();
        let folders = match folders_of(&from.engine.graph, &ids).await {
            Ok(folders) => folders,
            Err(error) => {
                let text = format!("{}; what was moved shows at the next refresh", error.text);
                let unknown = Error::new(Kind::OutcomeUnknown, text).with_source(error);
                self.failure.get_or_insert(unknown);
                return;
            }
        };
        for (one, folder) in unclear.iter().zip(folders) {
            match folder {
                Some(folder) if folder == to.graph_id => self.moved(one, None),
                Some(folder) if folder == from.graph_id => {
                    self.failure = self.failure.take().or_else(|| self.uncertainty.take());
                }
                Some(_) | None => self.removed.push(one.known.graph_id.clone()),
            }
        }
    }
}

/// Copies made so far.
struct Copying<'a> {
    to: &'a OpenFolder,
    made: Vec<(Uid, NewMessage)>,
    /// Ids that were looked up: probably ours, which is too little to delete them.
    found: HashSet<String>,
    started: OffsetDateTime,
}

impl Copying<'_> {
    async fn run(&mut self, engine: &Engine, messages: &[Indexed]) -> Result<(), Error> {
        let part = |one: &Indexed| part(&one.known.graph_id, "/copy", self.to);
        let parts: Vec<Part> = messages.iter().map(part).collect();
        if parts.is_empty() {
            return Ok(());
        }
        let answers = match engine.graph.batch(&parts, Urgency::Waiting).await {
            Ok(answers) => answers,
            Err(error) if error.kind == Kind::OutcomeUnknown => {
                let unclear: Vec<&Indexed> = messages.iter().collect();
                return self.find(&unclear, error).await;
            }
            Err(error) => return Err(error),
        };
        let begun = self.made.len();
        let (mut missing, mut unclear) = (Vec::new(), Vec::new());
        let (mut failure, mut uncertainty) = (None, None);
        for (one, answer) in messages.iter().zip(&answers) {
            let json = answer.json();
            let error = || engine.graph.refusal("copying messages", answer);
            match json["id"].as_str().filter(|id| answer.status.is_success() && !id.is_empty()) {
                Some(id) => self.made(one, id),
                None if is_gone(answer) => missing.push(one),
                None if answer.status.is_success() || is_unclear(answer.status) => {
                    unclear.push(one);
                    uncertainty.get_or_insert_with(error);
                }
                None => {
                    failure.get_or_insert_with(error);
                }
            }
        }
        self.check_gone(engine, &missing).await?;
        if let Some(uncertainty) = uncertainty {
            self.find(&unclear, uncertainty).await?;
        }
        let place = |uid: Uid| messages.iter().position(|one| one.known.uid == uid);
        self.made[begun..].sort_by_key(|(uid, _)| place(*uid));
        failure.map_or(Ok(()), Err)
    }

    fn made(&mut self, one: &Indexed, id: &str) {
        // The copy is not in the cache, and Graph makes its MIME anew.
        let size = Size::Estimated(one.known.size.octets());
        let copy = one.as_new(id.to_owned(), None, size);
        self.made.push((one.known.uid, copy));
    }

    /// A 404 is the source's, which is left out, or the target's.
    async fn check_gone(&self, engine: &Engine, missing: &[&Indexed]) -> Result<(), Error> {
        if missing.is_empty() {
            return Ok(());
        }
        let ids: Vec<&str> = missing.iter().map(|one| one.known.graph_id.as_str()).collect();
        match folders_of(&engine.graph, &ids).await?.iter().all(Option::is_none) {
            true => Ok(()),
            false => Err(Error::new(Kind::NotFound, "the folder to copy to is gone")),
        }
    }

    /// Looks in the target for copies whose answer was lost.
    async fn find(&mut self, unclear: &[&Indexed], failure: Error) -> Result<(), Error> {
        for one in unclear {
            let arrivals = match one.message_id() {
                Some(message_id) => new_arrivals(self.to, &message_id, self.started).await?,
                None => Vec::new(),
            };
            let is_made = |id: &String| self.made.iter().any(|(_, made)| made.graph_id == *id);
            let Some(id) = arrivals.into_iter().find(|id| !is_made(id)) else {
                let text = format!("{}; copies may have been made", failure.text);
                return Err(Error::new(Kind::OutcomeUnknown, text).with_source(failure));
            };
            self.made(one, &id);
            self.found.insert(id);
        }
        Ok(())
    }

    /// All or none (RFC 9051 section 6.4.7).
    async fn take_back(&self, engine: &Engine, failure: Error) -> Error {
        let path = |made: &(Uid, NewMessage)| item::path(&made.1.graph_id, "");
        let parts: Vec<Part> = self
            .made
            .iter()
            .filter(|(_, made)| !self.found.contains(&made.graph_id))
            .map(|made| Part::repeatable(Method::DELETE, path(made), None))
            .collect();
        if parts.is_empty() {
            return failure;
        }
        let left = match engine.graph.batch(&parts, Urgency::Waiting).await {
            Ok(answers) => {
                let is_left = |one: &&Answer| !one.status.is_success() && !is_gone(one);
                answers.iter().filter(is_left).count()
            }
            Err(_) => parts.len(),
        };
        if left > 0 {
            let role = &engine.graph.client.role;
            tracing::warn!(role, left, "copies of a failed COPY could not be taken back");
        }
        failure
    }
}

/// Ids of messages with that Message-ID that have come into the folder since, and are not in its
/// index yet.
async fn new_arrivals(
    folder: &OpenFolder,
    message_id: &str,
    since: OffsetDateTime,
) -> Result<Vec<String>, Error> {
    let filter = format!("internetMessageId eq '{}'", message_id.replace('\'', "''"));
    let path = format!(
        "/mailFolders/{}/messages?$filter={}&$select=id,createdDateTime&$top=100",
        percent_encode(&folder.graph_id),
        percent_encode(&filter)
    );
    let list = folder.engine.graph.read(&path, "looking for a message").await?;
    let since = since - CLOCKS_DIFFER;
    let is_new = |item: &&serde_json::Value| {
        let created = item["createdDateTime"].as_str().and_then(instant);
        created.is_none_or(|created| created >= since)
    };
    let items = list["value"].as_array().into_iter().flatten().filter(is_new);
    let ids: Vec<String> =
        items.filter_map(|item| item["id"].as_str()).map(str::to_owned).collect();
    let known = folder.engine.store.known_of(folder.key, &ids).await.map_err(not_stored)?;
    let is_known = |id: &String| known.iter().any(|one| one.graph_id == *id);
    Ok(ids.into_iter().filter(|id| !is_known(id)).collect())
}
