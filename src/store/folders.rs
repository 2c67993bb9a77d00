//! Folders and subscriptions.
//!
//! Danger: two folders that bear one name after one another, with one UIDVALIDITY, are one folder
//! to a client. Rule: each folder gets a value that is higher than any that its mailbox ever gave,
//! and keeps it, whatever the service says of the folder later.

use std::collections::HashSet;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::sqlite::{Durability, uid_validity_now};
use super::{Error, FolderFacts, FolderKey, FolderRecord, MailboxStore};
use crate::mail::mailbox::{ModSeq, Uid};

/// The setting that [`MailboxStore::put_folders`] keeps.
const FOLDERS_LINK: &str = "folders_link";

impl MailboxStore {
    /// All folders.
    pub async fn folders(&self) -> Result<Vec<FolderRecord>, Error> {
        let mut connection = self.database().readers().acquire().await?;
        all_folders(&mut connection, self.key).await
    }

    /// Adds folders (all with one new UIDVALIDITY, higher than any before in this mailbox) or
    /// updates what the service says of them, removes others with all they hold, and remembers the
    /// link under the setting `folders_link`: in one transaction. One that is both said and removed
    /// stays. Returns all folders of the mailbox.
    pub async fn put_folders(
        &self,
        facts: &[FolderFacts],
        removed: &[String],
        link: Option<&str>,
    ) -> Result<Vec<FolderRecord>, Error> {
        let mut writing = self.database().write(Durability::Synced).await?;
        let connection = writing.connection();
        let stay: HashSet<_> = facts.iter().map(|facts| facts.graph_id.as_str()).collect();
        for graph_id in removed.iter().filter(|id| !stay.contains(id.as_str())) {
            sqlx::query("DELETE FROM folder WHERE mailbox = ? AND graph_id = ?")
                .bind(self.key)
                .bind(graph_id.as_str())
                .execute(&mut *connection)
                .await?;
        }
        let mut uid_validity = None;
        for facts in facts {
            if !update_facts(connection, self.key, facts).await? {
                let given = match uid_validity {
                    Some(given) => given,
                    None => next_uid_validity(connection, self.key).await?,
                };
                uid_validity = Some(given);
                insert(connection, self.key, facts, given).await?;
            }
        }
        if let Some(link) = link {
            super::put_setting(connection, self.key, FOLDERS_LINK, Some(link)).await?;
        }
        let folders = all_folders(connection, self.key).await?;
        writing.commit().await?;
        Ok(folders)
    }

    /// Subscribes to a name or not; names need no folder.
    pub async fn subscribe(&self, name: &str, on: bool) -> Result<(), Error> {
        let mut writing = self.database().write(Durability::Synced).await?;
        sqlx::query("INSERT OR REPLACE INTO subscription (mailbox, name, is_on) VALUES (?, ?, ?)")
            .bind(self.key)
            .bind(name)
            .bind(on)
            .execute(writing.connection())
            .await?;
        writing.commit().await
    }

    /// The names in [`Self::subscribe`]'s list, on or off; what is not in it is not decided.
    pub async fn subscriptions(&self) -> Result<Vec<(String, bool)>, Error> {
        let list =
            sqlx::query_as("SELECT name, is_on FROM subscription WHERE mailbox = ? ORDER BY name");
        Ok(list.bind(self.key).fetch_all(self.database().readers()).await?)
    }

    /// Remembers from where on messages have not been called recent.
    pub async fn set_recent(&self, folder: FolderKey, from: Uid) -> Result<(), Error> {
        // A client that hears `\Recent` twice loses nothing: no need to wait for the disk.
        let mut writing = self.database().write(Durability::Soon).await?;
        sqlx::query("UPDATE folder SET recent_from = ? WHERE key = ? AND mailbox = ?")
            .bind(from.number())
            .bind(folder.0)
            .bind(self.key)
            .execute(writing.connection())
            .await?;
        writing.commit().await
    }
}

/// False when there is no such folder.
async fn update_facts(
    connection: &mut SqliteConnection,
    mailbox: i64,
    facts: &FolderFacts,
) -> Result<bool, Error> {
    let updated = sqlx::query(
        "UPDATE folder SET parent_id = ?, display_name = ?, well_known = ?, total = ?, unread = ?
         WHERE mailbox = ? AND graph_id = ?",
    )
    .bind(facts.parent_id.as_deref())
    .bind(facts.display_name.as_str())
    .bind(facts.well_known.as_deref())
    .bind(facts.total)
    .bind(facts.unread)
    .bind(mailbox)
    .bind(facts.graph_id.as_str())
    .execute(connection)
    .await?;
    Ok(updated.rows_affected() > 0)
}

async fn insert(
    connection: &mut SqliteConnection,
    mailbox: i64,
    facts: &FolderFacts,
    uid_validity: u32,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO folder (mailbox, graph_id, parent_id, display_name, well_known, total, unread,
         uid_validity) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(mailbox)
    .bind(facts.graph_id.as_str())
    .bind(facts.parent_id.as_deref())
    .bind(facts.display_name.as_str())
    .bind(facts.well_known.as_deref())
    .bind(facts.total)
    .bind(facts.unread)
    .bind(uid_validity)
    .execute(connection)
    .await?;
    Ok(())
}

/// RFC 9051 section 2.3.1.1: it must rise, also when a folder is deleted and made again in the same
/// second. One for all folders that come together: if each had its own, those of a thousand folders
/// would be ahead of the clock, and a store that is lost and begun anew would give them again.
async fn next_uid_validity(connection: &mut SqliteConnection, mailbox: i64) -> Result<u32, Error> {
    let next: i64 = sqlx::query_scalar("SELECT next_uid_validity FROM mailbox WHERE key = ?")
        .bind(mailbox)
        .fetch_one(&mut *connection)
        .await?;
    let given = next.max(i64::from(uid_validity_now()));
    sqlx::query("UPDATE mailbox SET next_uid_validity = ? WHERE key = ?")
        .bind(given + 1)
        .bind(mailbox)
        .execute(connection)
        .await?;
    narrow(given)
}

async fn all_folders(
    connection: &mut SqliteConnection,
    mailbox: i64,
) -> Result<Vec<FolderRecord>, Error> {
    let rows = sqlx::query(
        "SELECT key, graph_id, parent_id, display_name, well_known, total, unread, uid_validity,
         uid_next, modseq, recent_from, link, is_indexed
         FROM folder WHERE mailbox = ? ORDER BY key",
    )
    .bind(mailbox)
    .fetch_all(connection)
    .await?;
    rows.iter().map(record).collect()
}

fn record(row: &SqliteRow) -> Result<FolderRecord, Error> {
    Ok(FolderRecord {
        key: FolderKey(row.try_get(0)?),
        facts: FolderFacts {
            graph_id: row.try_get(1)?,
            parent_id: row.try_get(2)?,
            display_name: row.try_get(3)?,
            well_known: row.try_get(4)?,
            total: narrow(row.try_get(5)?)?,
            unread: narrow(row.try_get(6)?)?,
        },
        uid_validity: narrow(row.try_get(7)?)?,
        uid_next: uid(row.try_get(8)?)?,
        highest_modseq: ModSeq(row.try_get::<i64, _>(9)?.unsigned_abs()),
        recent_from: uid(row.try_get(10)?)?,
        link: row.try_get(11)?,
        is_indexed: row.try_get(12)?,
    })
}

/// A number of 32 bits from the database.
pub(super) fn narrow(number: i64) -> Result<u32, Error> {
    u32::try_from(number).map_err(|_| Error::Failed("a number in the store is too large".into()))
}

/// A UID from the database.
pub(super) fn uid(number: i64) -> Result<Uid, Error> {
    let uid = Uid::new(narrow(number)?);
    uid.ok_or_else(|| Error::Failed("a UID in the store is 0".to_owned()))
}
