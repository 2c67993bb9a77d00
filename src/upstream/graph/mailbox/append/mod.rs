//! Storing messages: the ways that Graph has, and the best that the token permits.
//!
//! Danger: a client that gets no answer appends again; a message that the service has and nobody
//! knows of is then there twice, and one that is struck too early is nowhere. Rule: each APPEND is in
//! the store before the service hears of it, with the id as soon as there is one; an APPEND of the
//! same message to the same folder goes on where the last one ended. Nothing is OK before content,
//! flags and date are at the service and the UID is on the disk.
//!
//! `import` and `draft` bring a message there, `sent_copy` finds the one that sending has left,
//! `lost` looks for what has no answer, `journal` clears up after a crash.

mod draft;
mod import;
mod journal;
mod lost;
mod sent_copy;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Method;
use ring::digest::{Context, SHA256};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::item::{self, folders_of, is_conflict, is_gone, not_stored};
use super::keyword::IMPORTANT;
use super::message::{append_patch, etag, new_message, parent};
use super::{Engine, OpenFolder, header};
use crate::mail::mailbox::{Appended, Flag, Flags, Keyword, Size};
use crate::mail::{Error, Kind, Message};
use crate::protocol::mime::fields;
use crate::protocol::mime::outline::Segment;
use crate::store::{AppendRecord, Changes, FolderKey, Known, NewMessage};
use crate::upstream::graph::ask::{Ask, Target, Urgency};
use crate::upstream::graph::body::Mime;
use crate::upstream::graph::client::{Answer, Payload};
use crate::upstream::graph::delivery::{RequestLimit, message_id};
pub(super) use journal::recover;

const DOING: &str = "storing a message";
/// A client has its answer so long after there is one. Until then the record stays: should the
/// process end before the answer is on its way, the client appends again.
const HEARD_WITHIN: Duration = Duration::from_secs(1);
/// A field that changes nothing of how a message is read.
const FIELD: &[u8] = b"MIME-Version: 1.0\r\n";
/// [`FIELD`] as a whole header.
const FIELD_ALONE: &[u8] = b"MIME-Version: 1.0\r\n\r\n";

/// Of APPENDs of one message to one folder.
type Turn = Arc<tokio::sync::Mutex<()>>;

/// What APPENDs of one mailbox share.
#[derive(Debug, Default)]
pub(in crate::upstream::graph) struct Appending {
    /// One at a time of the same message to the same folder.
    running: Mutex<HashMap<(FolderKey, String), Turn>>,
    /// Those whose record is there although the client has its answer: appended again, it is
    /// another message.
    answered: Mutex<HashSet<(FolderKey, String)>>,
    limit: RequestLimit,
    told_of_import: AtomicBool,
    told_of_drafts: AtomicBool,
}

impl Appending {
    pub(super) fn turn(&self, record: &AppendRecord) -> Turn {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(running.entry((record.folder, record.digest.clone())).or_default())
    }

    fn note_answered(&self, record: &AppendRecord) {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.insert((record.folder, record.digest.clone()));
    }

    /// True when it was; it is no more.
    fn take_answered(&self, record: &AppendRecord) -> bool {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.remove(&(record.folder, record.digest.clone()))
    }
}

/// See [`crate::mail::Mailbox::append`].
pub(super) async fn append(
    folder: &OpenFolder,
    message: Arc<Message>,
    flags: Flags,
    date: Option<OffsetDateTime>,
) -> Result<Appended, Error> {
    let engine = &folder.engine;
    let limit = engine.settings.max_message;
    if message.size() > limit {
        let text = format!("a message of {} octets exceeds the limit of {limit}", message.size());
        return Err(Error::new(Kind::TooLarge, text));
    }
    let mut job = Job::new(folder, message, flags, date).await?;
    let turn = engine.appending.turn(&job.record);
    let _turn = turn.lock().await;
    job.run().await
}

/// What goes before a message whose header has no field: IMAP takes such a one (RFC 3501 section
/// 6.3.11 asks for no field), Graph refuses it.
fn field_for(header: &[u8]) -> Option<&'static [u8]> {
    if fields(header).next().is_some() {
        return None;
    }
    // Where no empty line begins the content either, all of the message is content.
    Some(if header.starts_with(b"\r\n") { FIELD } else { FIELD_ALONE })
}

/// One APPEND.
struct Job<'a> {
    folder: &'a OpenFolder,
    engine: &'a Engine,
    message: Arc<Message>,
    /// As the client wants them.
    flags: Flags,
    date: OffsetDateTime,
    record: AppendRecord,
    /// The Drafts folder's id.
    drafts: String,
    /// The service may have the message although no id is known.
    is_unclear: bool,
}

impl<'a> Job<'a> {
    async fn new(
        folder: &'a OpenFolder,
        message: Arc<Message>,
        mut flags: Flags,
        date: Option<OffsetDateTime>,
    ) -> Result<Self, Error> {
        let engine = &folder.engine;
        let drafts = engine.well_known("drafts").await?;
        // What lies there is edited by people, whatever the client calls it.
        flags.set(Flag::Draft, flags.has(Flag::Draft) || drafts == folder.graph_id);
        let started = OffsetDateTime::now_utc();
        let record = AppendRecord {
            folder: folder.key,
            digest: digest(&message).await?,
            message_id: message_id(&message.header),
            started,
            graph_id: None,
        };
        let date = date.unwrap_or(started);
        Ok(Self { folder, engine, message, flags, date, record, drafts, is_unclear: false })
    }

    async fn run(&mut self) -> Result<Appended, Error> {
        let store = &self.engine.store;
        if self.engine.appending.take_answered(&self.record) {
            store.end_append(&self.record).await.map_err(not_stored)?;
        }
        let earlier = store.begin_append(&self.record).await.map_err(not_stored)?;
        let result = self.store(earlier).await;
        // After a failure that leaves something at the service the record stays, for the next try.
        if result.is_ok() {
            self.end_soon();
        } else if self.record.graph_id.is_none() && !self.is_unclear {
            end(self.engine, &self.record).await;
        }
        result
    }

    /// Ends the record when the client has had time to hear of it.
    fn end_soon(&self) {
        let Some(folder) = self.folder.myself() else { return };
        let record = self.record.clone();
        self.engine.appending.note_answered(&record);
        tokio::spawn(async move {
            tokio::time::sleep(HEARD_WITHIN).await;
            let appending = &folder.engine.appending;
            let turn = appending.turn(&record);
            let _turn = turn.lock().await;
            if appending.take_answered(&record) {
                end(&folder.engine, &record).await;
            }
        });
    }

    async fn store(&mut self, earlier: Option<AppendRecord>) -> Result<Appended, Error> {
        if let Some(item) = self.resume(earlier).await? {
            return self.complete(item).await;
        }
        if let Some(copy) = self.sent_copy().await? {
            return self.adopt(&copy).await;
        }
        let item = self.hand_over().await?;
        self.complete(item).await
    }

    /// The best way that there is.
    async fn hand_over(&mut self) -> Result<Value, Error> {
        let is_final = !self.flags.has(Flag::Draft);
        if is_final && let Some(item) = self.import().await? {
            self.tell(&self.engine.appending.told_of_import, "importMime: as final messages");
            return Ok(item);
        }
        let item = self.draft().await?;
        if is_final {
            self.tell(
                &self.engine.appending.told_of_drafts,
                "Drafts: complete, but other programs show them as drafts; the permission \
                 Mail-Advanced.ReadWrite would change that",
            );
        }
        Ok(item)
    }

    /// The message as Graph takes it; the client's own bytes are what is kept of it.
    fn mime(&self) -> Mime {
        let own = field_for(&self.message.header).map(Segment::Text);
        let whole = Segment::Range(0..self.message.size());
        Mime::of(&self.message, own.into_iter().chain([whole]).collect())
    }

    /// Says once for each mailbox what becomes of messages that clients store.
    fn tell(&self, told: &AtomicBool, way: &str) {
        if !told.swap(true, Ordering::Relaxed) {
            let (role, user) = (&self.engine.graph.client.role, &self.engine.graph.user);
            tracing::info!(role, user, "messages that clients store go by way of {way}");
        }
    }

    /// Flags, date and place of a message that the service has, then the index.
    async fn complete(&mut self, item: Value) -> Result<Appended, Error> {
        let Some(at_first) = new_message(&item) else {
            let text = format!("{}: Graph made a message without an id", self.role());
            self.is_unclear = true;
            return Err(Error::new(Kind::Unavailable, text));
        };
        let graph_id = at_first.graph_id.clone();
        self.note(graph_id.clone()).await?;
        let size = self.size_with_content(&graph_id).await?;
        let flags = self.flags_on(&at_first.flags);
        let patch = append_patch(&at_first.flags, &flags, self.date);
        let mut answer = self.patch(&graph_id, patch).await?;
        if parent(&item) != Some(self.folder.graph_id.as_str()) {
            answer = self.place(&graph_id).await?.unwrap_or(answer);
        }
        let (version, revision) = match flags.has(Flag::Draft) {
            // Only a draft is edited, and an edit is told by what the service says of it now.
            true => self.revision(&graph_id).await?,
            false => (etag(&answer).map(str::to_owned), String::new()),
        };
        let added = NewMessage {
            graph_id,
            etag: version,
            flags,
            date: self.date,
            size,
            header: header::from_header(&self.message.header),
            revision,
        };
        self.index(added, true).await
    }

    /// The client's flags for a message that has these. Its own header makes it important; that is
    /// part of the message.
    fn flags_on(&self, before: &Flags) -> Flags {
        let mut flags = self.flags.clone();
        let important = before.keywords().iter().filter(|word| word.is(IMPORTANT));
        important.for_each(|word: &Keyword| flags.insert(word.clone()));
        flags
    }

    /// `is_new`: the client has brought it, and did not find it.
    async fn index(&self, added: NewMessage, is_new: bool) -> Result<Appended, Error> {
        let mut writing = self.folder.writing().await;
        let ids = [added.graph_id.clone()];
        let known = self.engine.store.known_of(self.folder.key, &ids).await.map_err(not_stored)?;
        // Half stored, it was seen with another date or as another draft: it begins anew.
        let is_other = |known: &Known| known.date != added.date || known.revision != added.revision;
        let removed = known.iter().filter(|known| is_new && is_other(known));
        let removed = removed.map(|known| known.graph_id.clone()).collect();
        let changes = Changes { added: vec![added], removed, ..Changes::default() };
        let applied = writing.apply(changes).await?;
        let uid = applied.added.first().copied().ok_or_else(|| {
            Error::new(Kind::Unavailable, format!("{}: a message got no UID", self.role()))
        })?;
        Ok(Appended { uid_validity: self.folder.published().uid_validity, uid })
    }

    /// Remembers the id under which the service has the message.
    async fn note(&mut self, graph_id: String) -> Result<(), Error> {
        self.record.graph_id = Some(graph_id);
        self.engine.store.note_append(&self.record).await.map_err(not_stored)
    }

    /// The size, after the client's own bytes have been put into the cache; unless a client may have
    /// read others under a UID that the message has already.
    async fn size_with_content(&self, graph_id: &str) -> Result<Size, Error> {
        let ids = [graph_id.to_owned()];
        let known = self.engine.store.known_of(self.folder.key, &ids).await.map_err(not_stored)?;
        if let Some(known) = known.first() {
            return Ok(known.size);
        }
        let octets = self.message.size();
        match self.keep_content(graph_id).await {
            true => Ok(Size::Exact(octets)),
            false => Ok(Size::Estimated(octets)),
        }
    }

    /// Puts the client's own bytes into the cache. Without them the service's are read later.
    async fn keep_content(&self, graph_id: &str) -> bool {
        let keep = async {
            let mut writer = self.engine.store.write_content(graph_id).await.map_err(not_stored)?;
            let mut reader = self.message.reader();
            while let Some(piece) = reader.next().await.map_err(unreadable)? {
                writer.push(piece).await.map_err(not_stored)?;
            }
            writer.finish().await.map_err(not_stored)
        };
        let kept = keep.await;
        if let Err(error) = &kept {
            let role = self.role();
            tracing::warn!(role, error = %error.chain(), "a stored message is not in the cache");
        }
        kept.is_ok()
    }

    async fn patch(&mut self, graph_id: &str, patch: Value) -> Result<Value, Error> {
        let answer = self.send_patch(graph_id, patch).await?;
        match answer.status.is_success() {
            true => Ok(answer.json()),
            false => Err(self.refused(graph_id, &answer).await),
        }
    }

    /// The same for a message that stays when it fails.
    async fn mark(&self, graph_id: &str, patch: Value) -> Result<Value, Error> {
        let answer = self.send_patch(graph_id, patch).await?;
        match answer.status.is_success() {
            true => Ok(answer.json()),
            false => Err(self.engine.graph.refusal(DOING, &answer)),
        }
    }

    async fn send_patch(&self, graph_id: &str, patch: Value) -> Result<Answer, Error> {
        let (path, payload) = (item::path(graph_id, ""), Payload::Json(patch));
        let answer = self.ask_patiently(Method::PATCH, &path, &payload).await?;
        match is_conflict(&answer) {
            true => self.ask_patiently(Method::PATCH, &path, &payload).await,
            false => Ok(answer),
        }
    }

    /// Moves the message to its folder; the service's answer, where there is one.
    async fn place(&mut self, graph_id: &str) -> Result<Option<Value>, Error> {
        let payload = Payload::Json(json!({ "destinationId": self.folder.graph_id }));
        let path = item::path(graph_id, "/move");
        let answer = self.ask_patiently(Method::POST, &path, &payload).await;
        if let Some(answer) = answer.as_ref().ok().filter(|answer| answer.status.is_success()) {
            return Ok(Some(answer.json()));
        }
        // An earlier attempt, or one whose answer was lost, may have moved it.
        let found = folders_of(&self.engine.graph, &[graph_id]).await?;
        let place = found.into_iter().next().flatten();
        if place.as_deref() == Some(self.folder.graph_id.as_str()) {
            return Ok(None);
        }
        let answer = answer?;
        if place.is_some() && answer.status == reqwest::StatusCode::NOT_FOUND {
            let text = format!("{}: the folder to store a message in is gone", self.role());
            return Err(self.give_up(graph_id, Error::new(Kind::NotFound, text)).await);
        }
        Err(self.refused(graph_id, &answer).await)
    }

    async fn revision(&mut self, graph_id: &str) -> Result<(Option<String>, String), Error> {
        let message = self.read(graph_id).await?.and_then(|item| new_message(&item));
        let message = message.ok_or_else(|| {
            Error::new(Kind::Unavailable, format!("{}: a draft is gone at once", self.role()))
        })?;
        Ok((message.etag, message.revision))
    }

    /// A message with all that the index needs; `None` when it is gone.
    async fn read(&self, graph_id: &str) -> Result<Option<Value>, Error> {
        let part = item::read_fully(graph_id);
        let answer = self.ask_patiently(Method::GET, &part.path, &Payload::None).await?;
        match answer.status.is_success() {
            true => Ok(Some(answer.json())),
            false if is_gone(&answer) => Ok(None),
            false => Err(self.engine.graph.refusal(DOING, &answer)),
        }
    }

    /// What a refusal means, after the message has been brought there.
    async fn refused(&mut self, graph_id: &str, answer: &Answer) -> Error {
        let error = self.engine.graph.refusal(DOING, answer);
        match error.kind.is_temporary() {
            true => error,
            false => self.give_up(graph_id, error).await,
        }
    }

    /// What can't be finished must not lie about: the client hears that it was not stored.
    async fn give_up(&mut self, graph_id: &str, error: Error) -> Error {
        let path = item::path(graph_id, "");
        match self.ask_patiently(Method::DELETE, &path, &Payload::None).await {
            Ok(answer) if answer.status.is_success() || is_gone(&answer) => {
                self.record.graph_id = None;
            }
            _ => tracing::warn!(role = self.role(), "a message is left half stored"),
        }
        error
    }

    async fn ask_patiently(
        &self,
        method: Method,
        path: &str,
        payload: &Payload,
    ) -> Result<Answer, Error> {
        let target = Target::Path(path);
        let ask = Ask { method, target, payload, urgency: Urgency::Waiting };
        self.engine.graph.ask_patiently(&ask).await
    }

    fn role(&self) -> &str {
        &self.engine.graph.client.role
    }
}

async fn end(engine: &Engine, record: &AppendRecord) {
    if let Err(error) = engine.store.end_append(record).await {
        tracing::warn!(%error, "the record of an APPEND stays");
    }
}

fn unreadable(error: std::io::Error) -> Error {
    Error::new(Kind::Unavailable, "a message can't be read back").with_source(error)
}

/// SHA-256 of the message, in hex.
async fn digest(message: &Message) -> Result<String, Error> {
    let mut hash = Context::new(&SHA256);
    let mut reader = message.reader();
    while let Some(piece) = reader.next().await.map_err(unreadable)? {
        hash.update(&piece);
    }
    Ok(hash.finish().as_ref().iter().map(|octet| format!("{octet:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_digest_is_of_header_and_content() {
        let message = Message::from_bytes("A: b\r\n\r\nabc".into());
        let whole = ring::digest::digest(&SHA256, b"A: b\r\n\r\nabc");
        let expected: String = whole.as_ref().iter().map(|o| format!("{o:02x}")).collect();
        assert_eq!(digest(&message).await.expect("memory"), expected);
    }

    #[test]
    fn the_same_message_has_one_turn_and_others_their_own() {
        let appending = Appending::default();
        let record = |folder, digest: &str| AppendRecord {
            folder: FolderKey(folder),
            digest: digest.to_owned(),
            message_id: None,
            started: OffsetDateTime::UNIX_EPOCH,
            graph_id: None,
        };
        let one = appending.turn(&record(1, "a"));
        assert!(Arc::ptr_eq(&one, &appending.turn(&record(1, "a"))));
        assert!(!Arc::ptr_eq(&one, &appending.turn(&record(2, "a"))));
        assert!(!Arc::ptr_eq(&one, &appending.turn(&record(1, "b"))));
        drop(one);
        let _ = appending.turn(&record(3, "c"));
        assert_eq!(appending.running.lock().expect("no panic").len(), 1);
    }
}
