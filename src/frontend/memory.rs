//! A mailbox in memory, for the sessions' tests and fuzz targets.
//!
//! Danger: a make-believe mailbox that is kinder than the real one hides bugs. Rule: it does what
//! [`crate::mail::mailbox`] says to the letter; what others change ([`MemoryFolder::outside`]) is seen
//! after a refresh or [`MemoryFolder::publish`] only, and any call can be made to fail.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use time::OffsetDateTime;
use tokio::sync::{Semaphore, watch};

#[cfg(test)]
use super::rehearsal::Stage;
use crate::mail::mailbox::{
    Appended, Copied, Entry, FlagChange, Flags, Folder, FolderInfo, Mailbox, MaildropLock, ModSeq,
    Moved, Size, Snapshot, SpecialUse, Status, Uid, Watch,
};
use crate::mail::{Content, Error, Kind, Message};

/// INTERNALDATE of messages that came without one: 2026-03-01 10:00:00 +0000.
pub(super) const DATE: i64 = 1_772_359_200;
/// What [`Mailbox::append_limit`] says.
pub(super) const APPEND_LIMIT: u64 = 1 << 20;
/// UIDVALIDITY of the first folder, which is INBOX; each later one has the next number.
pub(super) const UID_VALIDITY: u32 = 1000;
/// The fields that [`Folder::headers`] has.
const HEADERS: [&str; 11] = [
    "date",
    "subject",
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "bcc",
    "in-reply-to",
    "message-id",
    "references",
];

/// What somebody else does to a folder.
pub(super) enum Outside {
    /// A message comes.
    Arrive(&'static str, Flags),
    /// Flags change.
    Flag(u32, FlagChange),
    /// A message goes.
    Vanish(u32),
}

/// The mailbox. It begins with INBOX.
pub(super) struct Memory(Arc<Shared>);

struct Shared {
    folders: Mutex<BTreeMap<String, Arc<MemoryFolder>>>,
    /// Subscribed names, with or without a folder.
    subscribed: Mutex<Vec<String>>,
    /// What the next calls fail with, each.
    failures: Mutex<VecDeque<Option<Error>>>,
    /// The folder whose STATUS fails.
    broken: Mutex<Option<String>>,
    next_validity: Mutex<u32>,
    object_ids: AtomicU64,
    maildrop: Arc<Semaphore>,
}

/// A folder of it.
pub(super) struct MemoryFolder {
    shared: Weak<Shared>,
    special_use: Option<SpecialUse>,
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    outside: Mutex<Vec<Outside>>,
    /// The next move fails after so many messages.
    stumble: Mutex<Option<(usize, Kind)>>,
    watches: Arc<watch::Sender<usize>>,
    /// How often the service was asked.
    pub(super) refreshes: AtomicUsize,
    /// What was said to be asked for next.
    pub(super) prefetched: Mutex<Vec<Uid>>,
    /// How many times messages were read.
    pub(super) reads: AtomicUsize,
}

struct State {
    snapshot: Arc<Snapshot>,
    contents: HashMap<Uid, Bytes>,
    vanished: Vec<(ModSeq, Uid)>,
    /// Expunges before are forgotten.
    remembered_from: ModSeq,
    recent_from: Uid,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics under a lock")
}

fn canonical(name: &str) -> String {
    match name.eq_ignore_ascii_case("INBOX") {
        true => "INBOX".to_owned(),
        false => name.to_owned(),
    }
}

fn parent(name: &str) -> Option<&str> {
    name.rsplit_once('/').map(|(above, _)| above)
}

/// The UID of that number.
pub(super) fn uid(number: u32) -> Uid {
    Uid::new(number).expect("not 0")
}

/// A stage and a mailbox with these messages in INBOX.
#[cfg(test)]
pub(super) fn stage_with(messages: &[&'static str]) -> (Stage, Arc<Memory>) {
    let memory = Memory::new();
    messages.iter().for_each(|text| {
        memory.folder("INBOX").deliver(text, Flags::default());
    });
    (Stage::new("", "", None), memory)
}

impl Memory {
    pub(super) fn new() -> Arc<Self> {
        let memory = Arc::new(Self(Arc::new(Shared {
            folders: Mutex::default(),
            subscribed: Mutex::default(),
            failures: Mutex::default(),
            broken: Mutex::default(),
            next_validity: Mutex::new(UID_VALIDITY),
            object_ids: AtomicU64::new(1),
            maildrop: Arc::new(Semaphore::new(1)),
        })));
        memory.add("INBOX", None);
        memory
    }

    /// Adds a folder (not those above it).
    pub(super) fn add(&self, name: &str, special_use: Option<SpecialUse>) -> Arc<MemoryFolder> {
        self.0.add(name, special_use)
    }

    /// The folder of that name.
    pub(super) fn folder(&self, name: &str) -> Arc<MemoryFolder> {
        self.0.find(name).expect("the test made it")
    }

    /// The next call fails.
    pub(super) fn fail_next(&self, kind: Kind) {
        self.fail_with(Error::new(kind, "as the test wants it"));
    }

    /// The call after the next `count` fails.
    pub(super) fn fail_after(&self, count: usize, kind: Kind) {
        lock(&self.0.failures).extend((0..count).map(|_| None));
        self.fail_next(kind);
    }

    /// The next call fails so.
    pub(super) fn fail_with(&self, error: Error) {
        lock(&self.0.failures).push_back(Some(error));
    }

    /// STATUS of this folder fails.
    pub(super) fn break_status(&self, name: &str) {
        *lock(&self.0.broken) = Some(name.to_owned());
    }
}

impl Shared {
    fn add(self: &Arc<Self>, name: &str, special_use: Option<SpecialUse>) -> Arc<MemoryFolder> {
        let mut next_validity = lock(&self.next_validity);
        let snapshot = Snapshot {
            uid_validity: *next_validity,
            uid_next: Uid::FIRST,
            highest_modseq: ModSeq(1),
            messages: Vec::new(),
        };
        *next_validity += 1;
        let folder = Arc::new(MemoryFolder {
            shared: Arc::downgrade(self),
            special_use,
            state: Mutex::new(State {
                snapshot: Arc::new(snapshot),
                contents: HashMap::new(),
                vanished: Vec::new(),
                remembered_from: ModSeq(0),
                recent_from: Uid::FIRST,
            }),
            changes: watch::Sender::new(0),
            outside: Mutex::default(),
            stumble: Mutex::default(),
            watches: Arc::new(watch::Sender::new(0)),
            refreshes: AtomicUsize::new(0),
            prefetched: Mutex::default(),
            reads: AtomicUsize::new(0),
        });
        lock(&self.folders).insert(canonical(name), Arc::clone(&folder));
        folder
    }

    fn fail(&self) -> Result<(), Error> {
        lock(&self.failures).pop_front().flatten().map_or(Ok(()), Err)
    }

    fn find(&self, name: &str) -> Result<Arc<MemoryFolder>, Error> {
        let found = lock(&self.folders).get(&canonical(name)).map(Arc::clone);
        found.ok_or_else(|| Error::new(Kind::NotFound, format!("there is no folder {name}")))
    }

    fn has_children(&self, name: &str) -> bool {
        let start = format!("{name}/");
        lock(&self.folders).keys().any(|other| other.starts_with(&start))
    }

    fn status(&self, name: &str) -> Result<Status, Error> {
        if lock(&self.broken).as_deref() == Some(name) {
            return Err(Error::new(Kind::Unavailable, "broken"));
        }
        let folder = self.find(name)?;
        folder.publish();
        let state = lock(&folder.state);
        let now = &state.snapshot;
        let count = |matches: &dyn Fn(&Entry) -> bool| {
            now.messages
                .iter()
                .filter(|entry| matches(entry))
                .count()
                .try_into()
                .unwrap_or(u32::MAX)
        };
        Ok(Status {
            messages: count(&|_| true),
            unseen: count(&|entry| !entry.flags.has(crate::mail::mailbox::Flag::Seen)),
            deleted: count(&|entry| entry.flags.has(crate::mail::mailbox::Flag::Deleted)),
            recent: count(&|entry| entry.uid >= state.recent_from),
            uid_next: now.uid_next,
            uid_validity: now.uid_validity,
            highest_modseq: now.highest_modseq,
            size: now.messages.iter().map(|entry| entry.size.octets()).sum(),
            object_id: object_id(now.uid_validity),
        })
    }

    fn rename(self: &Arc<Self>, from: &str, to: &str) -> Result<(), Error> {
        let (from, to) = (canonical(from), canonical(to));
        let folder = self.find(&from)?;
        if self.find(&to).is_ok() {
            return Err(Error::new(Kind::AlreadyExists, "it exists"));
        }
        if from == "INBOX" {
            let target = self.add(&to, None);
            let uids = folder.snapshot().messages.iter().map(|entry| entry.uid).collect();
            folder.carry(uids, &target, true);
            return Ok(());
        }
        let mut folders = lock(&self.folders);
        let below = format!("{from}/");
        let all = std::mem::take(&mut *folders);
        *folders = all
            .into_iter()
            .map(|(name, folder)| match name.strip_prefix(&below) {
                Some(rest) => (format!("{to}/{rest}"), folder),
                None if name == from => (to.clone(), folder),
                None => (name, folder),
            })
            .collect();
        Ok(())
    }
}

impl Mailbox for Memory {
    fn folders(&self) -> BoxFuture<'_, Result<Arc<[FolderInfo]>, Error>> {
        async {
            self.0.fail()?;
            let subscribed = lock(&self.0.subscribed).clone();
            let folders = lock(&self.0.folders).clone();
            let below = |name: &str| folders.keys().any(|other| parent(other) == Some(name));
            Ok(folders
                .iter()
                .map(|(name, folder)| FolderInfo {
                    name: name.clone(),
                    special_use: folder.special_use,
                    has_children: below(name),
                    subscribed: subscribed.contains(name),
                })
                .collect())
        }
        .boxed()
    }

    fn open<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<dyn Folder>, Error>> {
        async {
            self.0.fail()?;
            let folder = self.0.find(name)?;
            folder.publish();
            Ok(folder as Arc<dyn Folder>)
        }
        .boxed()
    }

    fn status<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Vec<Result<Status, Error>>> {
        async {
            let one = |name: &String| self.0.fail().and_then(|()| self.0.status(name));
            names.iter().map(one).collect()
        }
        .boxed()
    }

    fn create<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            self.0.fail()?;
            if self.0.find(name).is_ok() {
                return Err(Error::new(Kind::AlreadyExists, "it exists"));
            }
            let mut above = parent(name);
            while let Some(missing) = above.filter(|above| self.0.find(above).is_err()) {
                self.0.add(missing, None);
                above = parent(missing);
            }
            self.0.add(name, None);
            Ok(())
        }
        .boxed()
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            self.0.fail()?;
            let folder = self.0.find(name)?;
            if folder.special_use.is_some() || self.0.has_children(name) {
                return Err(Error::new(Kind::Unsupported, "it is not empty or special"));
            }
            lock(&self.0.folders).remove(name);
            let uids = folder.snapshot().messages.iter().map(|entry| entry.uid).collect();
            folder.remove(uids);
            Ok(())
        }
        .boxed()
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            self.0.fail()?;
            self.0.rename(from, to)
        }
        .boxed()
    }

    fn subscribe<'a>(&'a self, name: &'a str, on: bool) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            self.0.fail()?;
            let mut subscribed = lock(&self.0.subscribed);
            subscribed.retain(|other| *other != canonical(name));
            if on {
                subscribed.push(canonical(name));
            }
            Ok(())
        }
        .boxed()
    }

    fn subscribed_names(&self) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        async {
            self.0.fail()?;
            let subscribed = lock(&self.0.subscribed).clone();
            Ok(subscribed.into_iter().filter(|name| self.0.find(name).is_err()).collect())
        }
        .boxed()
    }

    fn append<'a>(
        &'a self,
        name: &'a str,
        message: Arc<Message>,
        flags: Flags,
        date: Option<OffsetDateTime>,
    ) -> BoxFuture<'a, Result<Appended, Error>> {
        async move {
            self.0.fail()?;
            let folder = self.0.find(name)?;
            if message.size() > APPEND_LIMIT {
                return Err(Error::new(Kind::TooLarge, "it is too large"));
            }
            let (mut reader, mut text) = (message.reader(), Vec::new());
            while let Some(piece) = reader.next_piece().expect("read") {
                text.extend_from_slice(&piece);
            }
            let uid = folder.add(Bytes::from(text), flags, date);
            Ok(Appended { uid_validity: folder.snapshot().uid_validity, uid })
        }
        .boxed()
    }

    fn append_limit(&self) -> u64 {
        APPEND_LIMIT
    }

    fn lock_maildrop(&self) -> Option<MaildropLock> {
        Arc::clone(&self.0.maildrop).try_acquire_owned().ok().map(MaildropLock::new)
    }
}

impl MemoryFolder {
    /// A message comes and is known at once.
    pub(super) fn deliver(&self, text: &'static str, flags: Flags) -> Uid {
        self.add(Bytes::from(text), flags, None)
    }

    /// Somebody else does this; it is seen after the next refresh, or [`Self::publish`].
    pub(super) fn outside(&self, change: Outside) {
        lock(&self.outside).push(change);
    }

    /// What was done outside is known now, as if the service had been asked.
    pub(super) fn publish(&self) {
        for change in std::mem::take(&mut *lock(&self.outside)) {
            match change {
                Outside::Arrive(text, flags) => {
                    self.deliver(text, flags);
                }
                Outside::Flag(number, change) => {
                    self.flag(&[uid(number)], &change, None);
                }
                Outside::Vanish(number) => self.remove(vec![uid(number)]),
            }
        }
    }

    /// The next move fails after `count` messages.
    pub(super) fn stumble_after(&self, count: usize, kind: Kind) {
        *lock(&self.stumble) = Some((count, kind));
    }

    /// Expunges up to now are forgotten: `vanished_since` of earlier times is `None`.
    pub(super) fn forget_vanished(&self) {
        let mut state = lock(&self.state);
        state.vanished.clear();
        state.remembered_from = state.snapshot.highest_modseq;
    }

    /// Waits until `count` sessions watch.
    pub(super) async fn watched_by(&self, count: usize) {
        let mut watches = self.watches.subscribe();
        watches.wait_for(|watching| *watching == count).await.expect("the folder lives");
    }

    /// The text of a message.
    pub(super) fn text(&self, number: u32) -> Bytes {
        lock(&self.state).contents.get(&uid(number)).cloned().expect("it is there")
    }

    fn shared(&self) -> Result<Arc<Shared>, Error> {
        let shared = self.shared.upgrade();
        let shared = shared.ok_or_else(|| Error::new(Kind::Unavailable, "no mailbox"))?;
        shared.fail()?;
        Ok(shared)
    }

    /// One step of MODSEQ, published.
    fn change<T>(&self, work: impl FnOnce(&mut Snapshot, ModSeq) -> T) -> T {
        let mut state = lock(&self.state);
        let mut snapshot = (*state.snapshot).clone();
        let modseq = ModSeq(snapshot.highest_modseq.0 + 1);
        let value = work(&mut snapshot, modseq);
        if snapshot != *state.snapshot {
            snapshot.highest_modseq = modseq;
            state.snapshot = Arc::new(snapshot);
            self.changes.send_modify(|version| *version += 1);
        }
        value
    }

    fn add(&self, text: Bytes, flags: Flags, date: Option<OffsetDateTime>) -> Uid {
        let shared = self.shared.upgrade().expect("the mailbox lives");
        let number = shared.object_ids.fetch_add(1, Ordering::Relaxed);
        let object_id = u128::from(number).to_be_bytes();
        self.add_with(text, flags, date, object_id)
    }

    fn add_with(
        &self,
        text: Bytes,
        flags: Flags,
        date: Option<OffsetDateTime>,
        object_id: [u8; 16],
    ) -> Uid {
        let usual = OffsetDateTime::from_unix_timestamp(DATE).expect("a date");
        let size = Size::Estimated(text.len() as u64 + 100);
        let uid = lock(&self.state).snapshot.uid_next;
        lock(&self.state).contents.insert(uid, text);
        self.change(|snapshot, modseq| {
            let date = date.unwrap_or(usual);
            let entry = Entry { uid, modseq, flags, date, size, object_id };
            snapshot.messages.push(Arc::new(entry));
            snapshot.uid_next = uid.next().expect("few messages");
        });
        uid
    }

    fn flag(&self, uids: &[Uid], change: &FlagChange, unchanged_since: Option<ModSeq>) -> Vec<Uid> {
        self.change(|snapshot, modseq| {
            let mut left_out = Vec::new();
            for uid in uids {
                let Some(at) = snapshot.position(*uid) else { continue };
                let old = &snapshot.messages[at];
                if unchanged_since.is_some_and(|since| old.modseq > since) {
                    left_out.push(*uid);
                    continue;
                }
                let flags = old.flags.changed(change);
                if flags != old.flags {
                    let entry = Entry { flags, modseq, ..(**old).clone() };
                    snapshot.messages[at] = Arc::new(entry);
                }
            }
            left_out
        })
    }

    fn remove(&self, uids: Vec<Uid>) {
        let gone = self.change(|snapshot, modseq| {
            let is_gone = |uid: Uid| uids.contains(&uid);
            let present = snapshot.messages.iter().map(|entry| entry.uid);
            let gone: Vec<_> =
                present.filter(|uid| is_gone(*uid)).map(|uid| (modseq, uid)).collect();
            snapshot.messages.retain(|entry| !is_gone(entry.uid));
            gone
        });
        let mut state = lock(&self.state);
        for (modseq, uid) in gone {
            state.contents.remove(&uid);
            state.vanished.push((modseq, uid));
        }
    }

    /// Copies or moves to another folder, or to itself.
    fn carry(&self, uids: Vec<Uid>, target: &Self, moves: bool) -> Copied {
        let mut pairs = Vec::new();
        for uid in uids {
            let found = self.snapshot().find(uid).cloned();
            let Some(entry) = found else { continue };
            let text = lock(&self.state).contents.get(&uid).cloned().expect("kept with the entry");
            let (flags, date) = (entry.flags.clone(), Some(entry.date));
            let new = match moves {
                true => target.add_with(text, flags, date, entry.object_id),
                false => target.add(text, flags, date),
            };
            pairs.push((uid, new));
        }
        if moves {
            self.remove(pairs.iter().map(|(from, _)| *from).collect());
        }
        Copied { uid_validity: target.snapshot().uid_validity, pairs }
    }
}

impl Folder for MemoryFolder {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&lock(&self.state).snapshot)
    }

    fn object_id(&self) -> [u8; 16] {
        object_id(lock(&self.state).snapshot.uid_validity)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn refresh(&self) -> BoxFuture<'_, Result<(), Error>> {
        async {
            self.refreshes.fetch_add(1, Ordering::Relaxed);
            self.shared()?;
            self.publish();
            Ok(())
        }
        .boxed()
    }

    fn watch(&self) -> Watch {
        struct Guard(Arc<watch::Sender<usize>>);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.send_modify(|count| *count -= 1);
            }
        }
        self.watches.send_modify(|count| *count += 1);
        Watch::new(Guard(Arc::clone(&self.watches)))
    }

    fn recent(&self, claim: bool) -> Range<Uid> {
        let mut state = lock(&self.state);
        let (from, next) = (state.recent_from, state.snapshot.uid_next);
        if claim {
            state.recent_from = next;
        }
        from..next
    }

    fn headers(&self, uids: Vec<Uid>) -> BoxFuture<'_, Result<Vec<(Uid, Bytes)>, Error>> {
        async move {
            self.shared()?;
            let state = lock(&self.state);
            let known = uids.into_iter().filter_map(|uid| Some((uid, state.contents.get(&uid)?)));
            Ok(known.map(|(uid, text)| (uid, main_fields(text))).collect())
        }
        .boxed()
    }

    fn content(&self, uid: Uid) -> BoxFuture<'_, Result<Arc<Content>, Error>> {
        async move {
            self.reads.fetch_add(1, Ordering::Relaxed);
            self.shared()?;
            let mut state = lock(&self.state);
            let text = state.contents.get(&uid).cloned();
            let text = text.ok_or_else(|| Error::new(Kind::NotFound, "it is gone"))?;
            let mut snapshot = (*state.snapshot).clone();
            if let Some(at) = snapshot.position(uid) {
                let size = Size::Exact(text.len() as u64);
                snapshot.messages[at] =
                    Arc::new(Entry { size, ..(*snapshot.messages[at]).clone() });
                state.snapshot = Arc::new(snapshot);
            }
            Ok(Arc::new(Content::from_bytes(text)))
        }
        .boxed()
    }

    fn prefetch(&self, uids: &[Uid]) {
        lock(&self.prefetched).extend_from_slice(uids);
    }

    fn change_flags<'a>(
        &'a self,
        uids: Vec<Uid>,
        change: &'a FlagChange,
        unchanged_since: Option<ModSeq>,
    ) -> BoxFuture<'a, Result<Vec<Uid>, Error>> {
        async move {
            self.shared()?;
            Ok(self.flag(&uids, change, unchanged_since))
        }
        .boxed()
    }

    fn expunge(&self, uids: Vec<Uid>) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            self.shared()?;
            self.remove(uids);
            Ok(())
        }
        .boxed()
    }

    fn copy<'a>(&'a self, uids: Vec<Uid>, to: &'a str) -> BoxFuture<'a, Result<Copied, Error>> {
        async move {
            let target = self.shared()?.find(to)?;
            Ok(self.carry(uids, &target, false))
        }
        .boxed()
    }

    fn move_to<'a>(&'a self, uids: Vec<Uid>, to: &'a str) -> BoxFuture<'a, Result<Moved, Error>> {
        async move {
            let target = self.shared()?.find(to)?;
            let stumble = lock(&self.stumble).take();
            let Some((count, kind)) = stumble.filter(|(count, _)| *count < uids.len()) else {
                return Ok(Moved { copied: self.carry(uids, &target, true), failure: None });
            };
            let failure = Error::new(kind, "it stumbled");
            if count == 0 {
                return Err(failure);
            }
            let copied = self.carry(uids[..count].to_vec(), &target, true);
            Ok(Moved { copied, failure: Some(failure) })
        }
        .boxed()
    }

    fn vanished_since(&self, since: ModSeq) -> BoxFuture<'_, Result<Option<Vec<Uid>>, Error>> {
        async move {
            self.shared()?;
            let state = lock(&self.state);
            if since < state.remembered_from {
                return Ok(None);
            }
            let later = state.vanished.iter().filter(|(modseq, _)| *modseq > since);
            let mut uids: Vec<_> = later.map(|(_, uid)| *uid).collect();
            uids.sort_unstable();
            Ok(Some(uids))
        }
        .boxed()
    }
}

/// The lines of [`HEADERS`] with an empty line.
fn main_fields(text: &[u8]) -> Bytes {
    let text = String::from_utf8_lossy(text);
    let (mut block, mut wanted) = (String::new(), false);
    for line in text.split_inclusive("\r\n").take_while(|line| *line != "\r\n") {
        if !line.starts_with([' ', '\t']) {
            let name = line.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
            wanted = HEADERS.contains(&name.as_str());
        }
        if wanted {
            block.push_str(line);
        }
    }
    block.push_str("\r\n");
    Bytes::from(block)
}

/// In hex it ends with the number as it is written in decimal.
fn object_id(uid_validity: u32) -> [u8; 16] {
    let mut id = [0; 16];
    let mut rest = uid_validity;
    for byte in id.iter_mut().rev() {
        *byte = (((rest / 10 % 10) << 4) | (rest % 10)) as u8;
        rest /= 100;
    }
    id
}
