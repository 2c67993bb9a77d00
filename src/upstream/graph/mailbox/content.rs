//! Reading messages once, into the cache (Graph page `concepts/outlook-get-mime-message`).
//!
//! Danger: a message that broke off, or the text of a refusal, kept as the message; ten sessions that
//! ask for one message and load it ten times; prefetching that a waiting client waits for. Rule: one
//! download a message, whoever asks; only a whole one is kept; a client that comes raises the urgency
//! of a download that was begun ahead; what is fetched ahead is little, and given up silently. A
//! message that a client waits for is not ahead any more: the next one takes its place, so that all
//! turns of the mailbox are used while a client reads on.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use reqwest::Method;
use tokio::sync::watch;

use super::item::{self, is_gone, not_stored};
use super::newline::Newlines;
use super::{Engine, OpenFolder};
use crate::mail::mailbox::Uid;
use crate::mail::{Content, Error, Kind};
use crate::store::FolderKey;
use crate::upstream::graph::ask::{Ask, Target, Urgency};
use crate::upstream::graph::client::Payload;

/// Beyond this it is no message: Exchange has 150 MB, a third more as MIME, and twice that is plenty.
const MAX_OCTETS: u64 = 400 << 20;
/// Messages that are fetched ahead of a client.
const AHEAD: usize = 8;
/// Of them at a time, not counting one that a client waits for by now: that client, or another, has
/// the last of the mailbox's four turns.
const AHEAD_AT_ONCE: usize = 3;

/// Downloads under way and wanted, of one mailbox.
#[derive(Debug, Default)]
pub(in crate::upstream::graph) struct Downloads {
    /// By the service's id.
    flights: Mutex<HashMap<String, Flight>>,
    ahead: Mutex<HashMap<FolderKey, Ahead>>,
}

/// A download that others may join.
#[derive(Clone, Debug)]
struct Flight {
    begun: Urgency,
    result: watch::Receiver<Option<Result<Arc<Content>, Failure>>>,
    /// True as soon as a client waits for it.
    is_urgent: Arc<watch::Sender<bool>>,
}

/// An [`Error`] that several may hear.
#[derive(Clone, Debug)]
struct Failure(Arc<Error>);

impl Failure {
    fn to_error(&self) -> Error {
        let mut error = Error::new(self.0.kind, self.0.chain());
        (error.hint, error.reply) = (self.0.hint, self.0.reply.clone());
        error
    }
}

/// What is fetched ahead for one folder.
#[derive(Debug, Default)]
struct Ahead {
    queue: VecDeque<Uid>,
    /// Tasks that work on it.
    workers: usize,
}

/// See [`crate::mail::Folder::content`].
pub(super) async fn content(folder: &OpenFolder, uid: Uid) -> Result<Arc<Content>, Error> {
    let Some(graph_id) = graph_id(folder, uid).await? else {
        return Err(gone());
    };
    let content = fetch(&folder.engine, &graph_id).await?;
    let known = folder.published().find(uid).and_then(|entry| entry.size.exact());
    if known != Some(content.size()) {
        folder.note_size(&graph_id, uid, content.size());
    }
    Ok(content)
}

/// See [`crate::mail::Folder::prefetch`].
pub(super) fn prefetch(folder: &Arc<OpenFolder>, uids: &[Uid]) {
    let snapshot = folder.published();
    // An exact size means that it has been read, and is mostly still in the cache.
    let is_unread = |uid: &Uid| snapshot.find(*uid).is_some_and(|one| one.size.exact().is_none());
    let wanted: VecDeque<Uid> = uids.iter().copied().filter(is_unread).take(AHEAD).collect();
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    let mut all = lock(&folder.engine.downloads.ahead);
    let ahead = all.entry(folder.key).or_default();
    // The newest wish counts: the client may have gone elsewhere.
    ahead.queue = wanted;
    let workers = ahead.queue.len().min(AHEAD_AT_ONCE);
    for _ in ahead.workers..workers {
        ahead.workers += 1;
        let worker = Worker { engine: Arc::clone(&folder.engine), key: folder.key };
        runtime.spawn(work(worker, Arc::downgrade(folder)));
    }
    if ahead.workers == 0 {
        all.remove(&folder.key);
    }
}

/// Counts itself out, whatever ends it.
struct Worker {
    engine: Arc<Engine>,
    key: FolderKey,
}

impl Worker {
    /// The next message; the last worker clears up when there is none.
    fn next(&self) -> Option<Uid> {
        lock(&self.engine.downloads.ahead).get_mut(&self.key)?.queue.pop_front()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let mut all = lock(&self.engine.downloads.ahead);
        let Some(ahead) = all.get_mut(&self.key) else { return };
        ahead.workers = ahead.workers.saturating_sub(1);
        if ahead.workers == 0 {
            all.remove(&self.key);
        }
    }
}

async fn work(worker: Worker, folder: Weak<OpenFolder>) {
    while let Some(uid) = worker.next() {
        // Nobody has the folder open any more.
        let Some(open) = folder.upgrade() else { break };
        // Wishes are older than what has been read since.
        if open.published().find(uid).is_none_or(|one| one.size.exact().is_some()) {
            continue;
        }
        let Ok(Some(graph_id)) = graph_id(&open, uid).await else { continue };
        drop(open);
        let Some(mut flight) = set_out(&worker.engine, &graph_id) else { continue };
        match flight.while_ahead().await {
            Some(Ok(content)) => {
                if let Some(open) = folder.upgrade() {
                    open.note_size(&graph_id, uid, content.size());
                }
            }
            Some(Err(failure)) => {
                tracing::debug!(error = %failure.0.chain(), "a message was not fetched ahead")
            }
            // Whoever waits for it notes its size.
            None => {}
        }
    }
}

async fn graph_id(folder: &OpenFolder, uid: Uid) -> Result<Option<String>, Error> {
    let known = folder.engine.store.known_by_uid(folder.key, &[uid]).await.map_err(not_stored)?;
    Ok(known.into_iter().next().map(|one| one.graph_id))
}

fn gone() -> Error {
    Error::new(Kind::NotFound, "the message is gone")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A message from the cache, or read into it.
async fn fetch(engine: &Arc<Engine>, graph_id: &str) -> Result<Arc<Content>, Error> {
    if let Some(content) = engine.store.content(graph_id).await.map_err(not_stored)? {
        return Ok(content);
    }
    loop {
        let mut flight = join(engine, graph_id);
        match flight.landed().await {
            Some(Ok(content)) => return Ok(content),
            // It may have failed for want of urgency, before we could raise it.
            Some(Err(_)) if flight.begun == Urgency::Ahead => {}
            Some(Err(failure)) => return Err(failure.to_error()),
            None => {
                let text = "reading a message was given up";
                return Err(Error::new(Kind::Unavailable, text));
            }
        }
    }
}

impl Flight {
    /// Its end; `None` when its task died.
    async fn landed(&mut self) -> Option<Result<Arc<Content>, Failure>> {
        self.result.wait_for(Option::is_some).await.ok().and_then(|result| result.clone())
    }

    /// The same as long as nobody waits for it.
    async fn while_ahead(&mut self) -> Option<Result<Arc<Content>, Failure>> {
        let mut is_urgent = self.is_urgent.subscribe();
        tokio::select! {
            biased;
            landed = self.landed() => landed,
            _ = is_urgent.wait_for(|is_urgent| *is_urgent) => None,
        }
    }
}

/// The download of that message for a client that waits, begun now if need be.
fn join(engine: &Arc<Engine>, graph_id: &str) -> Flight {
    let mut flights = lock(&engine.downloads.flights);
    match running(&flights, graph_id) {
        Some(flight) => {
            flight.is_urgent.send_replace(true);
            flight.clone()
        }
        None => take_off(engine, &mut flights, graph_id, Urgency::Waiting),
    }
}

/// The download of that message ahead; `None` when it is under way.
fn set_out(engine: &Arc<Engine>, graph_id: &str) -> Option<Flight> {
    let mut flights = lock(&engine.downloads.flights);
    match running(&flights, graph_id) {
        Some(_) => None,
        None => Some(take_off(engine, &mut flights, graph_id, Urgency::Ahead)),
    }
}

/// One whose task died leaves its entry behind.
fn running<'a>(flights: &'a HashMap<String, Flight>, graph_id: &str) -> Option<&'a Flight> {
    flights.get(graph_id).filter(|flight| flight.result.has_changed().is_ok())
}

fn take_off(
    engine: &Arc<Engine>,
    flights: &mut HashMap<String, Flight>,
    graph_id: &str,
    begun: Urgency,
) -> Flight {
    let (sender, result) = watch::channel(None);
    let is_urgent = Arc::new(watch::Sender::new(begun == Urgency::Waiting));
    let flight = Flight { begun, result, is_urgent };
    flights.insert(graph_id.to_owned(), flight.clone());
    let (engine, graph_id) = (Arc::clone(engine), graph_id.to_owned());
    let urgent = flight.is_urgent.subscribe();
    // A task of its own: a client that goes away does not end what others wait for.
    tokio::spawn(async move {
        let result = download(&engine, &graph_id, urgent).await;
        lock(&engine.downloads.flights).remove(&graph_id);
        sender.send_replace(Some(result.map_err(|error| Failure(Arc::new(error)))));
    });
    flight
}

async fn download(
    engine: &Engine,
    graph_id: &str,
    mut urgent: watch::Receiver<bool>,
) -> Result<Arc<Content>, Error> {
    // It may have come while we waited for the flights.
    if let Some(content) = engine.store.content(graph_id).await.map_err(not_stored)? {
        return Ok(content);
    }
    let mut download = match engine.graph.download(graph_id, &mut urgent).await {
        Ok(download) => download,
        Err(error) => return Err(or_gone(engine, graph_id, error).await),
    };
    let mut writer = engine.store.write_content(graph_id).await.map_err(not_stored)?;
    let mut newlines = Newlines::default();
    let mut octets = 0;
    while let Some(piece) = download.next().await? {
        octets += piece.len() as u64;
        if octets > MAX_OCTETS {
            return Err(Error::new(Kind::Unavailable, "a message at the service has no end"));
        }
        writer.push(newlines.push(piece)).await.map_err(not_stored)?;
    }
    // The turn is for the service, not for the disk.
    drop(download);
    if let Some(rest) = newlines.finish() {
        writer.push(rest).await.map_err(not_stored)?;
    }
    writer.finish().await.map_err(not_stored)
}

/// A refusal may mean that the message is gone.
async fn or_gone(engine: &Engine, graph_id: &str, error: Error) -> Error {
    if matches!(error.kind, Kind::Throttled { .. } | Kind::SignInNeeded) {
        return error;
    }
    let path = item::path(graph_id, "?$select=id");
    let (target, payload) = (Target::Path(&path), &Payload::None);
    let ask = Ask { method: Method::GET, target, payload, urgency: Urgency::Waiting };
    match engine.graph.ask(&ask).await {
        Ok(answer) if is_gone(&answer) => gone().with_source(error),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_to_everybody_with_its_cause() {
        let cause = std::io::Error::other("reset");
        let error = Error::new(Kind::Unavailable, "broke off").with_source(cause).with_hint("h");
        let failure = Failure(Arc::new(error));
        for told in [failure.to_error(), failure.clone().to_error()] {
            assert_eq!((told.kind, told.text.as_str()), (Kind::Unavailable, "broke off: reset"));
            assert_eq!(told.hint, Some("h"));
        }
        assert_eq!(gone().kind, Kind::NotFound);
    }
}
