//! A folder that is open: its snapshot, and the lock under which it changes.
//!
//! Danger: a client's connection may end in the middle of a change, and what is then in the store and
//! not in the snapshot would be missing until the next start. Rule: storing and publishing are one
//! task that nobody's end interrupts, and the lock is held until it is over.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard as StdGuard, PoisonError, Weak};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedMutexGuard, watch};
use tokio::time::Instant;

use super::gate::Gate;
use super::item::not_stored;
use super::poll::{self, Poll};
use super::{Engine, change_flags, content, expunge, following, transfer};
use crate::mail::mailbox::{
    Copied, Entry, FlagChange, Folder, ModSeq, Moved, Size, Snapshot, Uid, Watch,
};
use crate::mail::{Content, Error, Kind};
use crate::store::{Applied, Changes, FolderKey, FolderRecord, MailboxStore, object_id};

/// An open folder, shared by all sessions.
pub(in crate::upstream::graph) struct OpenFolder {
    pub engine: Arc<Engine>,
    pub key: FolderKey,
    pub graph_id: String,
    /// For what outlives a call.
    me: Weak<Self>,
    lock: Arc<tokio::sync::Mutex<()>>,
    shared: Arc<Shared>,
    /// Those who want to know what is new.
    pub(super) gate: Gate,
    pub(super) poll: Poll,
}

/// What a change that outlives its caller still needs.
struct Shared {
    snapshot: Mutex<Arc<Snapshot>>,
    version: watch::Sender<u64>,
    state: Mutex<State>,
}

/// How far the folder is followed.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// To the next changes; `None`: to be compared anew.
    pub link: Option<String>,
    /// True when all messages are in the index.
    pub is_indexed: bool,
    /// Messages from here on no session has called recent.
    recent_from: Uid,
    pub count: Count,
}

/// Whether the service counts as many messages as we do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// When that was last asked.
    pub asked: Option<Instant>,
    /// By how many the service's count was higher last time.
    pub last: i64,
    /// By how many it is higher although the folders are the same: it counts what is no message.
    pub usual: i64,
}

impl OpenFolder {
    /// Reads a folder's index from the store.
    pub(super) async fn load(
        engine: &Arc<Engine>,
        record: FolderRecord,
    ) -> Result<Arc<Self>, Error> {
        let entries = engine.store.entries(record.key).await.map_err(not_stored)?;
        let snapshot = Snapshot {
            uid_validity: record.uid_validity,
            uid_next: record.uid_next,
            highest_modseq: record.highest_modseq,
            messages: entries.into_iter().map(Arc::new).collect(),
        };
        let state = State {
            link: record.link,
            is_indexed: record.is_indexed,
            recent_from: record.recent_from,
            count: Count::default(),
        };
        let shared = Shared {
            snapshot: Mutex::new(Arc::new(snapshot)),
            version: watch::Sender::new(0),
            state: Mutex::new(state),
        };
        Ok(Arc::new_cyclic(|me| Self {
            engine: Arc::clone(engine),
            key: record.key,
            graph_id: record.facts.graph_id,
            me: me.clone(),
            lock: Arc::default(),
            shared: Arc::new(shared),
            gate: Gate::default(),
            poll: Poll::default(),
        }))
    }

    /// The messages as last published.
    pub fn published(&self) -> Arc<Snapshot> {
        Arc::clone(&guarded(&self.shared.snapshot))
    }

    /// The same folder, for a task.
    pub(super) fn myself(&self) -> Option<Arc<Self>> {
        self.me.upgrade()
    }

    pub(super) fn state(&self) -> State {
        guarded(&self.shared.state).clone()
    }

    /// Moves on to the next link, where nothing else is to be stored: the older one says the same and
    /// more.
    pub(super) fn set_link(&self, link: String) {
        guarded(&self.shared.state).link = Some(link);
    }

    pub(super) fn set_count(&self, count: Count) {
        guarded(&self.shared.state).count = count;
    }

    /// Messages that no session has called recent.
    pub(super) fn recent(&self) -> u32 {
        let from = self.state().recent_from;
        let snapshot = self.published();
        let before = snapshot.messages.partition_point(|entry| entry.uid < from);
        u32::try_from(snapshot.messages.len() - before).unwrap_or(u32::MAX)
    }

    /// True while somebody has the right to change the folder.
    pub(super) fn is_changing(&self) -> bool {
        self.lock.try_lock().is_err()
    }

    /// Waits for the right to change the folder.
    pub async fn writing(&self) -> Writing<'_> {
        let held = Arc::new(Arc::clone(&self.lock).lock_owned().await);
        Writing { folder: self, held }
    }

    /// The same for two folders, always in the same order, so that nobody waits for ever. `None` in
    /// the second place when both are one.
    pub async fn writing_both<'a>(&'a self, other: &'a Self) -> (Writing<'a>, Option<Writing<'a>>) {
        if Arc::ptr_eq(&self.lock, &other.lock) {
            return (self.writing().await, None);
        }
        if self.key < other.key {
            let mine = self.writing().await;
            return (mine, Some(other.writing().await));
        }
        let others = other.writing().await;
        (self.writing().await, Some(others))
    }

    /// An exact size has become known: publishes it, for the message is the same.
    pub fn note_size(&self, _graph_id: &str, uid: Uid, size: u64) {
        self.shared.publish(|old| {
            let at = old.position(uid)?;
            if old.messages[at].size == Size::Exact(size) {
                return None;
            }
            let mut new = old.clone();
            new.messages[at] =
                Arc::new(Entry { size: Size::Exact(size), ..(*old.messages[at]).clone() });
            Some(new)
        });
    }
}

impl Shared {
    /// Publishes what `change` makes of the snapshot, if anything.
    fn publish(&self, change: impl FnOnce(&Snapshot) -> Option<Snapshot>) {
        let mut snapshot = guarded(&self.snapshot);
        if let Some(new) = change(&snapshot) {
            *snapshot = Arc::new(new);
            drop(snapshot);
            self.version.send_modify(|version| *version = version.wrapping_add(1));
        }
    }
}

fn guarded<T>(mutex: &Mutex<T>) -> StdGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A snapshot after a change; `None` when nothing is different.
fn after(old: &Snapshot, applied: &Applied) -> Option<Snapshot> {
    let same = applied.entries.is_empty() && applied.removed.is_empty();
    if same && (old.uid_next, old.highest_modseq) == (applied.uid_next, applied.highest_modseq) {
        return None;
    }
    let mut removed = applied.removed.clone();
    removed.sort_unstable();
    let mut fresh = applied.entries.iter().peekable();
    let mut messages = Vec::with_capacity(old.messages.len() + applied.entries.len());
    for entry in &old.messages {
        while let Some(new) = fresh.next_if(|new| new.uid < entry.uid) {
            messages.push(Arc::new(new.clone()));
        }
        let new = fresh.next_if(|new| new.uid == entry.uid);
        if removed.binary_search(&entry.uid).is_err() {
            messages.push(new.map_or_else(|| Arc::clone(entry), |new| changed(entry, new)));
        }
    }
    messages.extend(fresh.map(|new| Arc::new(new.clone())));
    Some(Snapshot {
        uid_validity: old.uid_validity,
        uid_next: applied.uid_next,
        highest_modseq: applied.highest_modseq,
        messages,
    })
}

/// An exact size that became known while the change was stored is kept.
fn changed(old: &Entry, new: &Entry) -> Arc<Entry> {
    let size = match (old.size, new.size) {
        (Size::Exact(size), Size::Estimated(_)) => Size::Exact(size),
        (_, size) => size,
    };
    Arc::new(Entry { size, ..new.clone() })
}

/// The right to change a folder, or to compare it with the service.
pub(in crate::upstream::graph) struct Writing<'a> {
    pub folder: &'a OpenFolder,
    held: Arc<OwnedMutexGuard<()>>,
}

impl Writing<'_> {
    /// Writes changes into the store, then publishes them.
    pub async fn apply(&mut self, changes: Changes) -> Result<Applied, Error> {
        let key = self.folder.key;
        let has_strays = !changes.strays.is_empty();
        let applied = store_and_publish(vec![self.place(changes)], self.store()).await?;
        if has_strays {
            self.folder.engine.has_strays.store(true, Ordering::Release);
        }
        of(&applied, key)
    }

    /// The same for two folders in one transaction.
    pub async fn apply_both(
        &mut self,
        changes: Changes,
        other: &mut Writing<'_>,
        others: Changes,
    ) -> Result<(Applied, Applied), Error> {
        let places = vec![self.place(changes), other.place(others)];
        let applied = store_and_publish(places, self.store()).await?;
        Ok((of(&applied, self.folder.key)?, of(&applied, other.folder.key)?))
    }

    fn place(&self, changes: Changes) -> Place {
        Place {
            key: self.folder.key,
            changes,
            shared: Arc::clone(&self.folder.shared),
            held: Arc::clone(&self.held),
        }
    }

    fn store(&self) -> MailboxStore {
        self.folder.engine.store.clone()
    }
}

/// A folder and what becomes different in it.
struct Place {
    key: FolderKey,
    changes: Changes,
    shared: Arc<Shared>,
    held: Arc<OwnedMutexGuard<()>>,
}

/// Ends even when nobody waits for it any more.
async fn store_and_publish(places: Vec<Place>, store: MailboxStore) -> Result<Vec<Applied>, Error> {
    let task = tokio::spawn(async move {
        let (mut folders, mut all) = (Vec::new(), Vec::new());
        for Place { key, changes, shared, held } in places {
            let Changes { link, forget_link, now_indexed, .. } = &changes;
            folders.push((key, shared, held, (link.clone(), *forget_link, *now_indexed)));
            all.push((key, changes));
        }
        let applied = store.apply(all).await.map_err(not_stored)?;
        for (key, shared, _held, (link, forget_link, now_indexed)) in &folders {
            let applied = of(&applied, *key)?;
            let mut state = guarded(&shared.state);
            if *forget_link || link.is_some() {
                state.link.clone_from(link);
            }
            state.is_indexed |= now_indexed;
            drop(state);
            shared.publish(|old| after(old, &applied));
        }
        Ok(applied)
    });
    task.await.map_err(|ended| {
        Error::new(Kind::Unavailable, "the state store's task ended").with_source(ended)
    })?
}

fn of(applied: &[Applied], key: FolderKey) -> Result<Applied, Error> {
    let found = applied.iter().find(|applied| applied.folder == key);
    found.cloned().ok_or_else(|| {
        Error::new(Kind::NotFound, "the folder is no longer in the state store: it was deleted")
    })
}

impl Folder for OpenFolder {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.published()
    }

    fn object_id(&self) -> [u8; 16] {
        object_id(&self.graph_id)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.shared.version.subscribe()
    }

    fn refresh(&self) -> BoxFuture<'_, Result<(), Error>> {
        following::refresh(self, Instant::now()).boxed()
    }

    fn watch(&self) -> Watch {
        match self.myself() {
            Some(folder) => poll::watch(&folder),
            None => Watch::new(()),
        }
    }

    fn recent(&self, claim: bool) -> Range<Uid> {
        let next = self.published().uid_next;
        let (from, next) = {
            let mut state = guarded(&self.shared.state);
            let from = state.recent_from;
            // Another session may have claimed more meanwhile.
            let next = next.max(from);
            if claim {
                state.recent_from = next;
            }
            (from, next)
        };
        if claim && from != next {
            let (store, key) = (self.engine.store.clone(), self.key);
            tokio::spawn(async move {
                if let Err(error) = store.set_recent(key, next).await {
                    tracing::warn!("\\Recent is told once more after a restart: {error}");
                }
            });
        }
        from..next
    }

    fn headers(&self, uids: Vec<Uid>) -> BoxFuture<'_, Result<Vec<(Uid, Bytes)>, Error>> {
        async move { self.engine.store.headers(self.key, &uids).await.map_err(not_stored) }.boxed()
    }

    fn content(&self, uid: Uid) -> BoxFuture<'_, Result<Arc<Content>, Error>> {
        content::content(self, uid).boxed()
    }

    fn prefetch(&self, uids: &[Uid]) {
        if let Some(folder) = self.myself() {
            content::prefetch(&folder, uids);
        }
    }

    fn change_flags<'a>(
        &'a self,
        uids: Vec<Uid>,
        change: &'a FlagChange,
        unchanged_since: Option<ModSeq>,
    ) -> BoxFuture<'a, Result<Vec<Uid>, Error>> {
        change_flags::change(self, uids, change, unchanged_since).boxed()
    }

    fn expunge(&self, uids: Vec<Uid>) -> BoxFuture<'_, Result<(), Error>> {
        expunge::expunge(self, uids).boxed()
    }

    fn copy<'a>(&'a self, uids: Vec<Uid>, to: &'a str) -> BoxFuture<'a, Result<Copied, Error>> {
        async move {
            let to = self.engine.folder(to).await?;
            transfer::copy(self, uids, &to).await
        }
        .boxed()
    }

    fn move_to<'a>(&'a self, uids: Vec<Uid>, to: &'a str) -> BoxFuture<'a, Result<Moved, Error>> {
        async move {
            let to = self.engine.folder(to).await?;
            transfer::move_to(self, uids, &to).await
        }
        .boxed()
    }

    fn vanished_since(&self, since: ModSeq) -> BoxFuture<'_, Result<Option<Vec<Uid>>, Error>> {
        async move { self.engine.store.vanished(self.key, since).await.map_err(not_stored) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::mail::mailbox::{Flag, Flags};

    fn uid(number: u32) -> Uid {
        Uid::new(number).expect("not 0")
    }

    fn entry(number: u32, size: Size) -> Entry {
        Entry {
            uid: uid(number),
            modseq: ModSeq(1),
            flags: Flags::default(),
            date: OffsetDateTime::UNIX_EPOCH,
            size,
            object_id: [0; 16],
        }
    }

    fn snapshot(uids: &[u32]) -> Snapshot {
        Snapshot {
            uid_validity: 7,
            uid_next: uid(10),
            highest_modseq: ModSeq(1),
            messages: uids.iter().map(|uid| Arc::new(entry(*uid, Size::Exact(5)))).collect(),
        }
    }

    fn applied(entries: Vec<Entry>, removed: &[u32]) -> Applied {
        Applied {
            folder: FolderKey(1),
            uid_next: uid(20),
            highest_modseq: ModSeq(2),
            entries,
            removed: removed.iter().map(|number| uid(*number)).collect(),
            added: Vec::new(),
        }
    }

    #[test]
    fn changes_are_merged_in_the_order_of_uids() {
        let estimate = Size::Estimated(9);
        for (old, new, removed, expected) in [
            (&[1, 3, 5][..], &[][..], &[3][..], &[1, 5][..]),
            (&[1, 3], &[11, 12], &[], &[1, 3, 11, 12]),
            (&[1, 3], &[3], &[1], &[3]),
            (&[3, 5], &[1, 4, 6], &[5, 9], &[1, 3, 4, 6]),
            (&[], &[1], &[], &[1]),
            (&[1, 2, 3], &[], &[3, 1, 2], &[]),
        ] {
            let entries = new.iter().map(|number| entry(*number, estimate)).collect();
            let after = after(&snapshot(old), &applied(entries, removed)).expect("different");
            let uids: Vec<u32> = after.messages.iter().map(|entry| entry.uid.number()).collect();
            assert_eq!(uids, expected);
            assert_eq!((after.uid_validity, after.uid_next), (7, uid(20)));
        }
    }

    #[test]
    fn what_is_the_same_is_shared_and_exact_sizes_stay() {
        let old = snapshot(&[1, 2]);
        let changed = Entry {
            flags: Flags::default().with(Flag::Seen),
            modseq: ModSeq(2),
            ..entry(2, Size::Estimated(9))
        };
        let new = after(&old, &applied(vec![changed], &[])).expect("different");
        assert!(Arc::ptr_eq(&old.messages[0], &new.messages[0]));
        assert!(new.messages[1].flags.has(Flag::Seen));
        assert_eq!(new.messages[1].size, Size::Exact(5));
        let nothing =
            Applied { uid_next: uid(10), highest_modseq: ModSeq(1), ..applied(Vec::new(), &[]) };
        assert_eq!(after(&old, &nothing), None);
    }
}
