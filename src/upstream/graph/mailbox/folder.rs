//! A folder that is open: its snapshot, and the lock under which it changes.

use std::sync::Arc;

use tokio::sync::MutexGuard;

use super::Engine;
use crate::mail::Error;
use crate::mail::mailbox::Snapshot;
use crate::store::{Applied, Changes, FolderKey};

/// An open folder, shared by all sessions.
pub(in crate::upstream::graph) struct OpenFolder {
    pub engine: Arc<Engine>,
    pub key: FolderKey,
    pub graph_id: String,
    lock: tokio::sync::Mutex<()>,
}

/// The right to change a folder, or to compare it with the service.
pub(in crate::upstream::graph) struct Writing<'a> {
    pub folder: &'a OpenFolder,
    _lock: MutexGuard<'a, ()>,
}

#[allow(clippy::unused_async, unused_variables)]
impl OpenFolder {
    /// The messages as last published.
    pub fn published(&self) -> Arc<Snapshot> {
        Arc::new(Snapshot {
            uid_validity: 1,
            uid_next: crate::mail::mailbox::Uid::FIRST,
            highest_modseq: crate::mail::mailbox::ModSeq(1),
            messages: Vec::new(),
        })
    }

    /// Waits for the right to change the folder.
    pub async fn writing(&self) -> Writing<'_> {
        Writing { folder: self, _lock: self.lock.lock().await }
    }

    /// The same for two folders, always in the same order, so that nobody waits for ever. `None` in
    /// the second place when both are one.
    pub async fn writing_both<'a>(&'a self, other: &'a Self) -> (Writing<'a>, Option<Writing<'a>>) {
        (self.writing().await, None)
    }

    /// An exact size has become known: publishes it, for the message is the same.
    pub fn note_size(&self, graph_id: &str, uid: crate::mail::mailbox::Uid, size: u64) {}
}

#[allow(clippy::unused_async, unused_variables)]
impl Writing<'_> {
    /// Writes changes into the store, then publishes them.
    pub async fn apply(&mut self, changes: Changes) -> Result<Applied, Error> {
        Err(Error::new(crate::mail::Kind::Unavailable, "not yet"))
    }

    /// The same for two folders in one transaction.
    pub async fn apply_both(
        &mut self,
        changes: Changes,
        other: &mut Writing<'_>,
        others: Changes,
    ) -> Result<(Applied, Applied), Error> {
        Err(Error::new(crate::mail::Kind::Unavailable, "not yet"))
    }
}
