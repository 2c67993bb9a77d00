//! Messages that wait to be sent: envelope, state of each recipient, and the message in a file.
//!
//! Danger: a client was told 250; from then on this is the only copy. Rule: the message's file and
//! the folder's entry are synced before the row is, and the row is committed synced before anybody
//! is told; a row goes only when every recipient is settled; one process at a time takes entries (it
//! holds the state folder's lock), others look in and steer through [`Access::Visitor`].
//!
//! What is in the database is nowhere else: a broken one is refused, never begun anew. The files
//! are plain RFC 5322 messages, so that a person can save them by hand.

mod record;

use std::path::Path;
use std::time::SystemTime;

pub use record::{
    Counts, DueEntry, Entry, EntryId, EntryState, Filter, NewEntry, Next, QueuedRecipient,
    RecipientState, Settlement, Start, Summary,
};

use super::Error;
use super::handovers::Handovers;
use crate::mail::Message;

/// Who opens the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The process that sends: entries that an earlier one had taken or held are given back.
    Owner,
    /// A command that looks in or steers while the owner may be running.
    Visitor,
}

/// The queue; clones are the same.
#[derive(Clone, Debug)]
pub struct Queue;

impl Queue {
    /// Opens the queue in the state folder, makes it where there is none.
    pub async fn open(_folder: &Path, _access: Access) -> Result<Self, Error> {
        Ok(Self)
    }

    /// What was handed over and not answered; in the same database.
    pub fn handovers(&self) -> Handovers {
        Handovers::default()
    }

    /// Writes a message down. It is on the disk when this returns, or nothing is. With an `origin`
    /// that is known already nothing is written, and the earlier entry's id is given.
    pub async fn put(&self, _entry: NewEntry<'_>) -> Result<EntryId, Error> {
        Err(Error::Failed("not yet".to_owned()))
    }

    /// Lets an entry go on that was put with [`Start::Held`].
    pub async fn release(&self, _id: EntryId, _at: SystemTime) -> Result<(), Error> {
        Ok(())
    }

    /// Removes an entry as if it had never been: one that was held, or all of whose recipients
    /// have turned out settled.
    pub async fn forget(&self, _id: EntryId) -> Result<(), Error> {
        Ok(())
    }

    /// The lanes that have an entry due at `now`.
    pub async fn lanes(&self, _now: SystemTime) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    /// Entries of a lane that are due, the oldest first; none that is taken.
    pub async fn due(
        &self,
        _lane: &str,
        _now: SystemTime,
        _limit: u32,
    ) -> Result<Vec<DueEntry>, Error> {
        Ok(Vec::new())
    }

    /// Takes an entry: until it is settled or the process ends it is nobody else's. `None`: it is
    /// gone, taken, or not due any more.
    pub async fn take(&self, _id: EntryId, _now: SystemTime) -> Result<Option<Entry>, Error> {
        Ok(None)
    }

    /// The message of an entry, as a file that is read while it is sent.
    pub async fn message(&self, _id: EntryId) -> Result<Message, Error> {
        Err(Error::Failed("not yet".to_owned()))
    }

    /// Notes what became of a taken entry, and gives it back; `report` is queued in the same
    /// transaction, so that a crash neither loses nor doubles it.
    pub async fn settle(
        &self,
        _id: EntryId,
        _settlement: Settlement,
        _report: Option<NewEntry<'_>>,
    ) -> Result<(), Error> {
        Ok(())
    }

    /// When the next entry is due that nobody has taken.
    pub async fn next_due(&self) -> Result<Option<SystemTime>, Error> {
        Ok(None)
    }

    /// Entries, the oldest first, from after `after` on.
    pub async fn list(
        &self,
        _filter: Filter,
        _after: Option<EntryId>,
        _limit: u32,
    ) -> Result<Vec<Summary>, Error> {
        Ok(Vec::new())
    }

    /// One entry whole, whatever its state; it is not taken.
    pub async fn show(&self, _id: EntryId) -> Result<Option<Entry>, Error> {
        Ok(None)
    }

    /// Makes an entry due at `now`; a dead one's failed recipients wait again, its age begins anew.
    /// False: there is none, or it is being sent.
    pub async fn retry(&self, _id: EntryId, _now: SystemTime) -> Result<bool, Error> {
        Ok(false)
    }

    /// Removes an entry and its message for good, without a report. False: there is none, or it is
    /// being sent.
    pub async fn remove(&self, _id: EntryId) -> Result<bool, Error> {
        Ok(false)
    }

    /// How many there are.
    pub async fn counts(&self) -> Result<Counts, Error> {
        Ok(Counts::default())
    }
}
