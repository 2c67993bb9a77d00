//! What survives a restart: the index of mailboxes that we serve ourselves, messages read once, and
//! messages that wait to be sent ([`queue`]).
//!
//! Danger: a UID that is told to a client and then forgotten names another message after the next
//! start. Rule: what a client may hear is in the database, synced to the disk, before it is
//! published; a lost or broken database is begun anew with new UIDVALIDITY values, and only that.

mod appends;
mod cache;
mod changes;
mod folders;
pub mod handovers;
mod messages;
mod migrations;
pub mod queue;
mod record;
mod sqlite;
mod strays;
mod sweep;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use sqlx::SqliteConnection;

pub use messages::object_id;
pub use record::{
    AppendRecord, Applied, Changes, FolderFacts, FolderKey, FolderRecord, Known, NewMessage, Stray,
    Update,
};
pub use writer::ContentWriter;

use crate::platform;
use cache::Cache;
use sqlite::{Database, Durability};

/// What can go wrong with what is stored.
#[derive(Clone, Debug, thiserror::Error)]
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
    /// The disk is full, or may not be written to: nothing was changed, and it can be tried again.
    #[error(
        "nothing can be written to the state folder ({0}); make room there, or let the account of \
         this process write there"
    )]
    NoRoom(String),
    /// A message's file is not what was written: trying again is of no use.
    #[error("{}: the message that waits to be sent can't be read: {reason}", .path.display())]
    Message {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// An entry of the queue is not, or not any more, where the call needs it.
    #[error("entry {0} of the queue is gone, or is not being sent")]
    NotTaken(queue::EntryId),
}

/// The store of this process; clones are the same.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    database: Database,
    cache: Cache,
}

impl Store {
    /// Opens the store in `folder`, makes it where there is none, brings it to this version. A
    /// broken one is put aside and begun anew. `cache_limit`: octets of messages kept on disk.
    pub async fn open(folder: &Path, cache_limit: u64) -> Result<Self, Error> {
        let opened = SystemTime::now();
        let messages = prepare(folder)?;
        let database = Database::open(folder, &migrations::MAILBOXES).await?;
        let total: i64 = sqlx::query_scalar("SELECT coalesce(sum(size), 0) FROM content")
            .fetch_one(database.readers())
            .await?;
        let cache = Cache::new(messages, cache_limit, total.unsigned_abs());
        let inner = Arc::new(Inner { database, cache });
        tokio::spawn(Inner::sweep(Arc::downgrade(&inner), opened));
        inner.make_room();
        Ok(Self(inner))
    }

    /// What is stored of the mailbox known as `identity`.
    pub async fn mailbox(&self, identity: &str) -> Result<MailboxStore, Error> {
        let known: Option<i64> = sqlx::query_scalar("SELECT key FROM mailbox WHERE identity = ?")
            .bind(identity)
            .fetch_optional(self.0.database.readers())
            .await?;
        let key = match known {
            Some(key) => key,
            None => self.add_mailbox(identity).await?,
        };
        Ok(MailboxStore { store: Arc::clone(&self.0), key })
    }

    async fn add_mailbox(&self, identity: &str) -> Result<i64, Error> {
        let mut writing = self.0.database.write(Durability::Synced).await?;
        sqlx::query(
            "INSERT OR IGNORE INTO mailbox (identity, next_uid_validity)
             SELECT ?, least_uid_validity FROM state",
        )
        .bind(identity)
        .execute(writing.connection())
        .await?;
        let key = sqlx::query_scalar("SELECT key FROM mailbox WHERE identity = ?")
            .bind(identity)
            .fetch_one(writing.connection())
            .await?;
        writing.commit().await?;
        Ok(key)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.0.cache.folder).finish()
    }
}

/// Makes the folders, and removes what an earlier process was writing.
fn prepare(folder: &Path) -> Result<PathBuf, Error> {
    let messages = folder.join(cache::FOLDER);
    let prepared = platform::create_private_directory(&messages)
        .and_then(|()| sweep::remove_unfinished(&messages));
    match prepared {
        Ok(()) => Ok(messages),
        Err(error) => Err(Error::Open {
            path: messages,
            reason: format!("{error}; the account of this process must be able to write there"),
        }),
    }
}

/// What is stored of one mailbox; clones are the same.
#[derive(Clone)]
pub struct MailboxStore {
    store: Arc<Inner>,
    key: i64,
}

impl fmt::Debug for MailboxStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MailboxStore").field(&self.key).finish()
    }
}

impl MailboxStore {
    /// A value of the mailbox's own, such as the link to the next changes of its folders.
    pub async fn setting(&self, name: &str) -> Result<Option<String>, Error> {
        let value = sqlx::query_scalar("SELECT value FROM setting WHERE mailbox = ? AND name = ?");
        Ok(value.bind(self.key).bind(name).fetch_optional(self.database().readers()).await?)
    }

    /// Sets or removes one.
    pub async fn set_setting(&self, name: &str, value: Option<&str>) -> Result<(), Error> {
        let mut writing = self.database().write(Durability::Synced).await?;
        put_setting(writing.connection(), self.key, name, value).await?;
        writing.commit().await
    }

    fn database(&self) -> &Database {
        &self.store.database
    }

    fn cache(&self) -> &Cache {
        &self.store.cache
    }
}

async fn put_setting(
    connection: &mut SqliteConnection,
    mailbox: i64,
    name: &str,
    value: Option<&str>,
) -> Result<(), Error> {
    let statement = match value {
        Some(_) => "INSERT OR REPLACE INTO setting (mailbox, name, value) VALUES (?1, ?2, ?3)",
        None => "DELETE FROM setting WHERE mailbox = ?1 AND name = ?2",
    };
    let put = sqlx::query(statement).bind(mailbox).bind(name);
    let put = if value.is_some() { put.bind(value) } else { put };
    put.execute(connection).await?;
    Ok(())
}
