//! Messages that wait to be sent: envelope, state of each recipient, and the message in a file.
//!
//! Danger: a client was told 250; from then on this is the only copy. Rule: the message's file and
//! the folder's entry are synced before the row is, and the row is committed synced before anybody
//! is told; a row goes only when every recipient is settled; one process at a time takes entries (it
//! holds the state folder's lock), others look in and steer through [`Access::Visitor`].
//!
//! What is in the database is nowhere else: a broken one is refused, never begun anew. The files
//! are plain RFC 5322 messages, so that a person can save them by hand. Their length is compared
//! with the row's before they are sent; a digest would only tell what the disk's own checks do.

mod arrival;
mod attempt;
mod files;
mod listing;
mod opening;
mod record;
mod rows;
mod steering;
#[cfg(test)]
mod tests;
mod unanswered;

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::Notify;

pub use record::{
    Counts, DueEntry, Entry, EntryId, EntryState, Filter, NewEntry, Next, QueuedRecipient,
    RecipientState, Settlement, Start, Summary,
};
pub(super) use rows::{milliseconds, time};
pub use unanswered::Adopted;

use super::Error;
use super::handovers::Handovers;
use super::sqlite::Database;
use crate::mail::Message;
use arrival::Arrival;
use files::Files;

/// Who opens the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The process that sends: entries that an earlier one had taken or held are given back.
    Owner,
    /// A command that looks in or steers while the owner may be running.
    Visitor,
}

/// The queue; clones are the same.
#[derive(Clone)]
pub struct Queue(Arc<Inner>);

struct Inner {
    database: Arc<Database>,
    files: Arc<Files>,
    /// Rows that are to be written, and whose turn it is to do so.
    arrivals: Mutex<Vec<Arrival>>,
    entering: tokio::sync::Mutex<()>,
    /// Whose clients have been answered, until that is noted.
    answered: Mutex<Vec<EntryId>>,
    /// An earlier process has left entries whose clients may not have been answered.
    has_unanswered: AtomicBool,
    /// Somebody has made an entry due.
    retried: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Goes on when the caller is dropped: a commit that may have happened is followed by all that
/// belongs to it.
async fn finished<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|_| Err(Error::Failed("the queue was closed".to_owned())))
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Queue").field(&self.0.files).finish()
    }
}

impl Queue {
    /// Opens the queue in the state folder. An owner makes it where there is none, lets taken
    /// entries wait again and removes held ones; a visitor changes nothing, and where there is no
    /// queue gets an error that says so (an empty one would hide a wrong `Proxy.StateDirectory`).
    pub async fn open(folder: &Path, access: Access) -> Result<Self, Error> {
        match access {
            Access::Owner => opening::own(folder).await.map(Self),
            Access::Visitor => opening::visit(folder).await.map(Self),
        }
    }

    /// What was handed over and not answered; in the same database.
    pub fn handovers(&self) -> Handovers {
        Handovers::new(Arc::clone(&self.0.database))
    }

    /// Writes a message down. It is on the disk when this returns, or nothing is. With an `origin`
    /// that is known already nothing is written, and the earlier entry's id is given.
    ///
    /// [`Error::NoRoom`]: the disk is full, or may not be written to.
    pub async fn put(&self, entry: NewEntry<'_>) -> Result<EntryId, Error> {
        self.0.put(&entry, None).await
    }

    /// As [`Self::put`], for a client that has not heard of it yet: until [`Self::answered`] the
    /// entry is known by `identity`, and after a crash the client finds it with [`Self::adopt`].
    pub async fn put_unanswered(
        &self,
        entry: NewEntry<'_>,
        identity: &str,
    ) -> Result<EntryId, Error> {
        self.0.put(&entry, Some(identity)).await
    }

    /// The clients of these entries have their answer. Written without waiting for the disk.
    pub async fn answered(&self, ids: &[EntryId]) -> Result<(), Error> {
        lock(&self.0.answered).extend_from_slice(ids);
        let queue = Arc::clone(&self.0);
        finished(async move { queue.note_answered().await }).await
    }

    /// What an earlier process has written down of the same message without anybody being told:
    /// entries of which no two have a recipient in common, sent or not. They are this process's
    /// from then on, unanswered, and are given once.
    pub async fn adopt(&self, identity: &str) -> Result<Vec<Adopted>, Error> {
        let (queue, identity) = (Arc::clone(&self.0), identity.to_owned());
        finished(async move { queue.adopt(&identity).await }).await
    }

    /// Lets an entry go on that was put with [`Start::Held`]; an error when it is not held (any
    /// more): then nothing will be sent, and nothing may be promised.
    pub async fn release(&self, id: EntryId, at: SystemTime) -> Result<(), Error> {
        let queue = Arc::clone(&self.0);
        finished(async move { queue.release(id, at).await }).await
    }

    /// Removes an entry as if it had never been, its origin included: one that was held, or that is
    /// taken and all of whose recipients have turned out settled. One that is gone stays so.
    pub async fn forget(&self, id: EntryId) -> Result<(), Error> {
        let queue = Arc::clone(&self.0);
        finished(async move { queue.forget(id).await }).await
    }

    /// The lanes that have an entry due at `now`.
    pub async fn lanes(&self, now: SystemTime) -> Result<Vec<String>, Error> {
        self.0.lanes(now).await
    }

    /// Entries of a lane that are due, the oldest first; none that is taken.
    pub async fn due(
        &self,
        lane: &str,
        now: SystemTime,
        limit: u32,
    ) -> Result<Vec<DueEntry>, Error> {
        self.0.due(lane, now, limit).await
    }

    /// Takes an entry: until it is settled or the process ends it is nobody else's. `None`: it is
    /// gone, taken, or not due any more. Not to be dropped before it returns: who doesn't hear
    /// that it has an entry can't settle it.
    pub async fn take(&self, id: EntryId, now: SystemTime) -> Result<Option<Entry>, Error> {
        let queue = Arc::clone(&self.0);
        finished(async move { queue.take(id, now).await }).await
    }

    /// The message of an entry, as a file that is read while it is sent.
    ///
    /// [`Error::Message`]: the file is gone or was cut; [`Error::NotTaken`]: the entry is gone.
    pub async fn message(&self, id: EntryId) -> Result<Message, Error> {
        self.0.message(id).await
    }

    /// Where the message of an entry is, for people; `None`: there is no such entry.
    pub async fn path(&self, id: EntryId) -> Result<Option<PathBuf>, Error> {
        self.0.path(id).await
    }

    /// Notes what became of a taken entry, and gives it back; `report` is queued in the same
    /// transaction, so that a crash neither loses nor doubles it.
    ///
    /// Where `next` and the recipients' states disagree, the states decide: an entry goes only when
    /// all have it, and waits only when somebody does; else it is dead, and nothing is lost.
    /// [`Error::NotTaken`]: it is gone, or not taken; nothing was noted, no report queued.
    pub async fn settle(
        &self,
        id: EntryId,
        settlement: Settlement,
        report: Option<NewEntry<'_>>,
    ) -> Result<(), Error> {
        let report = match report {
            Some(report) => Some(self.0.report(&report).await?),
            None => None,
        };
        let queue = Arc::clone(&self.0);
        finished(async move { queue.settle(id, settlement, report).await }).await
    }

    /// When the next entry is due that nobody has taken.
    pub async fn next_due(&self) -> Result<Option<SystemTime>, Error> {
        self.0.next_due().await
    }

    /// Entries, the oldest first, from after `after` on.
    pub async fn list(
        &self,
        filter: Filter,
        after: Option<EntryId>,
        limit: u32,
    ) -> Result<Vec<Summary>, Error> {
        self.0.list(&filter, after, limit).await
    }

    /// One entry whole, whatever its state; it is not taken.
    pub async fn show(&self, id: EntryId) -> Result<Option<Entry>, Error> {
        self.0.show(id).await
    }

    /// Makes an entry due at `now`; a dead one's failed recipients wait again, its age and its
    /// attempts begin anew. False: there is none, or it is being sent (held counts as that).
    pub async fn retry(&self, id: EntryId, now: SystemTime) -> Result<bool, Error> {
        Ok(self.retry_many(&[id], now).await?.is_empty())
    }

    /// As [`Self::retry`], in one transaction; gives those that were left alone.
    pub async fn retry_many(
        &self,
        ids: &[EntryId],
        now: SystemTime,
    ) -> Result<Vec<EntryId>, Error> {
        let (queue, ids) = (Arc::clone(&self.0), ids.to_vec());
        finished(async move { queue.retry(&ids, now).await }).await
    }

    /// Until somebody makes an entry due by [`Self::retry`] through this process.
    pub async fn retried(&self) {
        self.0.retried.notified().await;
    }

    /// Lets an entry go out from whatever mailbox its role has when it is sent: its lane names none
    /// any more. False as for [`Self::retry`].
    pub async fn free_of_mailbox(&self, id: EntryId) -> Result<bool, Error> {
        let queue = Arc::clone(&self.0);
        finished(async move { queue.free_of_mailbox(id).await }).await
    }

    /// Removes an entry and its message for good, without a report. False: there is none, or it is
    /// being sent (held counts as that).
    pub async fn remove(&self, id: EntryId) -> Result<bool, Error> {
        Ok(self.remove_many(&[id]).await?.is_empty())
    }

    /// As [`Self::remove`], in one transaction; gives those that were left alone.
    pub async fn remove_many(&self, ids: &[EntryId]) -> Result<Vec<EntryId>, Error> {
        let (queue, ids) = (Arc::clone(&self.0), ids.to_vec());
        finished(async move { queue.remove(&ids).await }).await
    }

    /// How many there are.
    pub async fn counts(&self) -> Result<Counts, Error> {
        self.0.counts().await
    }
}
