//! One mailbox: its folders, and the ones that are open.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::content::Downloads;
use super::gate::{Entered, Gate, Turn};
use super::item::not_stored;
use super::list::{self, List};
use super::tree::Tree;
use super::{OpenFolder, append, arrange, comparing, counts, name};
use crate::config::role::Expunge;
use crate::mail::mailbox::{Appended, Flags, Folder, FolderInfo, MaildropLock, Status};
use crate::mail::{Error, Kind, Mailbox, Message};
use crate::store::{FolderKey, FolderRecord, MailboxStore};
use crate::upstream::graph::client;

/// What was heard this long ago is as fresh as LIST needs: clients send it in bursts.
pub(super) const FRESH: Duration = Duration::from_secs(2);
/// What LIST has heard of a folder serves the next SELECT or STATUS of it for so long: a client that
/// synchronises lists first and then selects one folder after another.
const CREDIT: Duration = Duration::from_secs(5);
/// Until what a crash left is tried to be finished again: clients wait for it.
const RECOVERED_AGAIN: Duration = Duration::from_secs(5 * 60);
/// Largest message of Exchange Online, in octets.
const MAX_MESSAGE: u64 = 150 << 20;

/// Messages of folders that stay in memory although no session has them.
const KEPT_MESSAGES: usize = 100_000;

/// What a role says about its mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What deleting does.
    pub expunge: Expunge,
    /// How often changes are looked for while a client waits for them.
    pub poll_interval: Duration,
    /// Largest message that is stored, in octets.
    pub max_message: u64,
}

/// One mailbox, shared by all sessions.
pub(in crate::upstream::graph) struct Engine {
    pub graph: client::Mailbox,
    pub store: MailboxStore,
    pub settings: Settings,
    pub downloads: Downloads,
    pub appending: append::Appending,
    /// For what outlives a call.
    me: Weak<Self>,
    list: Mutex<Option<List>>,
    /// When LIST asked about a folder whose answer nobody has used since.
    credits: Mutex<HashMap<FolderKey, Instant>>,
    /// Those who want to know the folders, or change them.
    pub(super) list_gate: Gate,
    opened: Mutex<HashMap<FolderKey, Weak<OpenFolder>>>,
    /// Those used last, at the end the newest: they stay open although no session has them.
    recent: Mutex<VecDeque<Arc<OpenFolder>>>,
    /// Held while a folder is read from the store, so that it is open once.
    opening: tokio::sync::Mutex<()>,
    /// Messages may be noted that have left one folder's index and are in no other one.
    pub(super) has_strays: AtomicBool,
    /// True once nothing of a crash is left; else when that was last tried.
    recovery: tokio::sync::Mutex<Recovery>,
    has_maildrop_session: Arc<AtomicBool>,
    /// What is deleted goes to Deleted Items.
    keeps_deleted: AtomicBool,
    told_of_others: AtomicBool,
}

impl Engine {
    /// The mailbox behind `graph`, with what `store` knows of it. Asks nothing.
    pub fn new(graph: client::Mailbox, store: MailboxStore, settings: Settings) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            graph,
            store,
            settings,
            downloads: Downloads::default(),
            appending: append::Appending::default(),
            me: me.clone(),
            list: Mutex::default(),
            credits: Mutex::default(),
            list_gate: Gate::default(),
            opened: Mutex::default(),
            recent: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            // An earlier process may have noted some.
            has_strays: AtomicBool::new(true),
            recovery: tokio::sync::Mutex::default(),
            has_maildrop_session: Arc::default(),
            keeps_deleted: AtomicBool::new(settings.expunge == Expunge::MoveToDeletedItems),
            told_of_others: AtomicBool::default(),
        })
    }

    /// For another role that means the same mailbox: the settings of the first one hold, but what one
    /// of them wants to be kept is not deleted for good by way of the other.
    pub(super) fn also_serve(&self, role: &str, settings: Settings) {
        if self.settings == settings {
            return;
        }
        if settings.expunge == Expunge::MoveToDeletedItems {
            self.keeps_deleted.store(true, Ordering::Relaxed);
        }
        if !self.told_of_others.swap(true, Ordering::Relaxed) {
            let (user, other) = (&self.graph.user, &self.graph.client.role);
            tracing::warn!(
                "{role}: {user} is open with the settings of {other}, for both roles mean one \
                 mailbox; what is deleted goes to Deleted Items if one of them says so"
            );
        }
    }

    /// True when what is deleted goes to Deleted Items.
    pub(super) fn keeps_deleted(&self) -> bool {
        self.keeps_deleted.load(Ordering::Relaxed)
    }

    /// A folder by its path, its index complete; not refreshed. [`Kind::NotFound`] for none.
    pub async fn folder(&self, name: &str) -> Result<Arc<OpenFolder>, Error> {
        let began = Instant::now();
        let mut tree = self.tree().await?;
        if tree.find(name).is_none() {
            self.refresh_list(fresh(began)).await?;
            tree = self.tree().await?;
        }
        let node = tree.find(name).ok_or_else(|| self.no_folder(name))?;
        let folder = self.opened(&node.record.facts.graph_id).await?;
        let folder = folder.ok_or_else(|| self.no_folder(name))?;
        complete(&folder).await?;
        Ok(folder)
    }

    /// An open or indexed folder by the service's id; `None`: it is not followed.
    pub async fn followed(&self, graph_id: &str) -> Result<Option<Arc<OpenFolder>>, Error> {
        let tree = self.tree().await?;
        if tree.by_id(graph_id).is_none() {
            return Ok(None);
        }
        let Some(record) = self.record(graph_id).await? else { return Ok(None) };
        match record.is_indexed {
            true => self.open_record(record).await.map(Some),
            false => Ok(None),
        }
    }

    /// True while a folder's first listing is under way, which may be past a message that comes now.
    pub(super) fn is_being_listed(&self, graph_id: &str) -> bool {
        let opened = guarded(&self.opened);
        let mut folders = opened.values().filter_map(Weak::upgrade);
        folders.any(|one| one.graph_id == graph_id && !one.state().is_indexed && one.is_changing())
    }

    /// The service's id of a special folder, such as `drafts` or `sentitems`.
    pub async fn well_known(&self, name: &str) -> Result<String, Error> {
        self.tree().await?;
        let found = guarded(&self.list).as_ref().and_then(|list| list.well_known(name).cloned());
        found.ok_or_else(|| {
            let text = format!("{}: the mailbox has no folder {name}", self.graph.client.role);
            Error::new(Kind::NotFound, text)
        })
    }

    /// The folders, as last heard; asks when nothing was heard yet.
    pub(super) async fn tree(&self) -> Result<Arc<Tree>, Error> {
        let list = self.loaded_list().await?;
        if list.link.is_some() {
            return Ok(list.tree);
        }
        self.refresh_list(fresh(Instant::now())).await?;
        Ok(self.loaded_list().await?.tree)
    }

    /// The folders as they were at `need` or later.
    pub(super) async fn refresh_list(&self, need: Instant) -> Result<(), Error> {
        match self.list_gate.enter(need).await {
            Entered::Done(result) => result,
            Entered::Turn(turn) => {
                let result = self.ask_list().await;
                turn.end(&result);
                result
            }
        }
    }

    /// Asks for changes of the folders; for the one whose turn it is.
    async fn ask_list(&self) -> Result<(), Error> {
        let list = self.loaded_list().await?;
        self.set_list(list::asked(self, &list, None).await?);
        Ok(())
    }

    /// For those who change folders: nobody else does, and the list is fresh.
    pub(super) async fn list_turn(&self) -> Result<(Turn<'_>, List), Error> {
        let turn = self.list_gate.own().await;
        if !self.list_gate.is_known_since(fresh(Instant::now())) {
            self.ask_list().await?;
        }
        let list = self.loaded_list().await?;
        Ok((turn, list))
    }

    /// For LIST: the folders, and what is new in those that are open.
    async fn list_all(&self) -> Result<(), Error> {
        let need = Instant::now();
        if self.list_gate.is_known_since(fresh(need)) {
            return Ok(());
        }
        if self.list_gate.last().is_none() {
            self.reopen().await?;
        }
        let open = self.open_folders();
        counts::look_together(self, need, &open).await?;
        *guarded(&self.credits) = open.iter().map(|folder| (folder.key, need)).collect();
        Ok(())
    }

    /// After a start: the folders that are followed are open again, as many as are kept open, so
    /// that a client which looks through all of them costs no more than before.
    async fn reopen(&self) -> Result<(), Error> {
        let mut messages = 0;
        for record in self.store.folders().await.map_err(not_stored)? {
            if !record.is_indexed {
                continue;
            }
            messages += record.facts.total as usize;
            if messages <= KEPT_MESSAGES {
                self.open_record(record).await?;
            }
        }
        Ok(())
    }

    /// How fresh a folder has to be for one who asks `now`: as LIST left it, once, else as of now.
    pub(super) fn spend_credit(&self, folder: FolderKey, now: Instant) -> Instant {
        let credit = guarded(&self.credits).remove(&folder);
        credit.filter(|asked| now.duration_since(*asked) < CREDIT).unwrap_or(now)
    }

    pub(super) async fn loaded_list(&self) -> Result<List, Error> {
        match self.list() {
            Some(list) => Ok(list),
            None => {
                let loaded = List::load(self).await?;
                // Somebody may have heard something newer in the meantime.
                Ok(guarded(&self.list).get_or_insert(loaded).clone())
            }
        }
    }

    pub(super) fn list(&self) -> Option<List> {
        guarded(&self.list).clone()
    }

    pub(super) fn set_list(&self, list: List) {
        *guarded(&self.list) = Some(list);
    }

    /// The folders that are open and followed.
    pub(super) fn open_folders(&self) -> Vec<Arc<OpenFolder>> {
        let opened = guarded(&self.opened);
        let open = opened.values().filter_map(Weak::upgrade);
        open.filter(|folder| folder.state().is_indexed).collect()
    }

    async fn record(&self, graph_id: &str) -> Result<Option<FolderRecord>, Error> {
        let records = self.store.folders().await.map_err(not_stored)?;
        Ok(records.into_iter().find(|record| record.facts.graph_id == graph_id))
    }

    async fn opened(&self, graph_id: &str) -> Result<Option<Arc<OpenFolder>>, Error> {
        match self.record(graph_id).await? {
            Some(record) => self.open_record(record).await.map(Some),
            None => Ok(None),
        }
    }

    pub(super) async fn open_record(&self, record: FolderRecord) -> Result<Arc<OpenFolder>, Error> {
        let _opening = self.opening.lock().await;
        let found = guarded(&self.opened).get(&record.key).and_then(Weak::upgrade);
        let folder = match found {
            Some(folder) => folder,
            None => {
                let folder = OpenFolder::load(&self.myself()?, record).await?;
                let mut opened = guarded(&self.opened);
                opened.retain(|_, folder| folder.strong_count() > 0);
                opened.insert(folder.key, Arc::downgrade(&folder));
                folder
            }
        };
        self.note_use(&folder);
        Ok(folder)
    }

    fn note_use(&self, folder: &Arc<OpenFolder>) {
        let mut recent = guarded(&self.recent);
        recent.retain(|one| !Arc::ptr_eq(one, folder));
        recent.push_back(Arc::clone(folder));
        let mut messages: usize = recent.iter().map(|one| one.published().messages.len()).sum();
        while messages > KEPT_MESSAGES && recent.len() > 1 {
            let oldest = recent.pop_front();
            messages -= oldest.map_or(0, |one| one.published().messages.len()).min(messages);
        }
    }

    /// True while somebody besides `own` holders has the mailbox: each open folder has it too.
    pub(super) fn is_used(&self, own: usize) -> bool {
        let open = guarded(&self.opened).values().filter(|one| one.strong_count() > 0).count();
        self.me.strong_count() > own + open
    }

    /// Closes the folders that no session has.
    pub(super) fn close(&self) {
        let closed = std::mem::take(&mut *guarded(&self.recent));
        drop(closed);
    }

    fn myself(&self) -> Result<Arc<Self>, Error> {
        let gone = || Error::new(Kind::Unavailable, "the mailbox is being closed");
        self.me.upgrade().ok_or_else(gone)
    }

    pub(super) fn no_folder(&self, name: &str) -> Error {
        let text =
            format!("{}: {} has no folder {name:?}", self.graph.client.role, self.graph.user);
        Error::new(Kind::NotFound, text).with_hint("there is no such folder")
    }

    /// Once for each mailbox: finishes what a crash left. Its failure is nobody's who asks for
    /// something else; it is tried again now and then.
    async fn recover(&self) {
        let mut recovery = self.recovery.lock().await;
        let is_due = match *recovery {
            Recovery::Done => false,
            Recovery::Failed(tried) => tried.elapsed() >= RECOVERED_AGAIN,
            Recovery::NotTried => true,
        };
        if !is_due {
            return;
        }
        *recovery = match append::recover(self).await {
            Ok(()) => Recovery::Done,
            Err(error) => {
                let (role, why) = (&self.graph.client.role, error.chain());
                tracing::warn!("{role}: an unfinished APPEND can't be finished yet: {why}");
                Recovery::Failed(Instant::now())
            }
        };
    }
}

/// What has become of that which a crash left.
#[derive(Debug, Default)]
enum Recovery {
    #[default]
    NotTried,
    Failed(Instant),
    Done,
}

fn guarded<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was heard at this time or later is fresh enough for one who asks `now`.
pub(super) fn fresh(now: Instant) -> Instant {
    now.checked_sub(FRESH).unwrap_or(now)
}

/// Waits until all messages of the folder are in its index. Goes on when the caller gives up: a large
/// folder would else never be listed for an impatient client.
async fn complete(folder: &Arc<OpenFolder>) -> Result<(), Error> {
    if folder.state().is_indexed {
        return Ok(());
    }
    let (folder, began) = (Arc::clone(folder), Instant::now());
    let task = tokio::spawn(async move {
        let entered = folder.gate.enter(began).await;
        if folder.state().is_indexed {
            return Ok(());
        }
        match entered {
            // Twenty who wait for a service that hangs don't wait one after another.
            Entered::Done(result) => result,
            Entered::Turn(turn) => {
                let result = comparing::compare(&folder).await;
                turn.end(&result);
                result
            }
        }
    });
    task.await.map_err(|ended| {
        Error::new(Kind::Unavailable, "the folder's listing ended early").with_source(ended)
    })?
}

impl Mailbox for Engine {
    fn folders(&self) -> BoxFuture<'_, Result<Arc<[FolderInfo]>, Error>> {
        async move {
            self.list_all().await?;
            let tree = self.tree().await?;
            let decided = self.store.subscriptions().await.map_err(not_stored)?;
            let decided: HashMap<String, bool> = decided.into_iter().collect();
            let info = tree.nodes().iter().map(|node| FolderInfo {
                name: node.path.clone(),
                special_use: node.special_use(),
                has_children: node.has_children,
                subscribed: decided.get(&node.path).copied().unwrap_or(true),
            });
            Ok(info.collect())
        }
        .boxed()
    }

    fn open<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<dyn Folder>, Error>> {
        async move {
            self.recover().await;
            let began = Instant::now();
            let folder = self.folder(name).await?;
            let need = self.spend_credit(folder.key, began);
            super::following::refresh(&folder, need).await?;
            Ok(folder as Arc<dyn Folder>)
        }
        .boxed()
    }

    fn status<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Vec<Result<Status, Error>>> {
        counts::statuses(self, names).boxed()
    }

    fn create<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        arrange::create(self, name).boxed()
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        arrange::delete(self, name).boxed()
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        arrange::rename(self, from, to).boxed()
    }

    fn subscribe<'a>(&'a self, name: &'a str, on: bool) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let name = name::normal(name);
            self.store.subscribe(&name, on).await.map_err(not_stored)
        }
        .boxed()
    }

    fn subscribed_names(&self) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        async move {
            let tree = self.tree().await?;
            let decided = self.store.subscriptions().await.map_err(not_stored)?;
            let without_folder = |(name, on): &(String, bool)| *on && tree.find(name).is_none();
            Ok(decided.into_iter().filter(without_folder).map(|(name, _)| name).collect())
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
            self.recover().await;
            let folder = self.folder(name).await?;
            append::append(&folder, message, flags, date).await
        }
        .boxed()
    }

    fn append_limit(&self) -> u64 {
        self.settings.max_message.min(MAX_MESSAGE)
    }

    fn lock_maildrop(&self) -> Option<MaildropLock> {
        let held = Arc::clone(&self.has_maildrop_session);
        let was_free = held.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire);
        was_free.ok().map(|_| MaildropLock::new(Maildrop(held)))
    }
}

/// The maildrop of one POP3 session (RFC 1939 section 4).
struct Maildrop(Arc<AtomicBool>);

impl Drop for Maildrop {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
