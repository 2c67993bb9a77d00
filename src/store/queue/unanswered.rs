//! Entries whose clients may not know of them.
//!
//! Danger: the process ends between an entry's commit and the client's 250; the client, which was
//! told nothing, sends the message once more, and everybody gets it twice. Rule: an entry's identity
//! is written with it and goes when the answer is on its way; what an earlier process has left is
//! adopted by the first who repeats it, once; what this process has put is never adopted: the same
//! message twice is two messages.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use sqlx::SqliteConnection;

use super::record::EntryId;
use super::rows::milliseconds;
use super::{Inner, lock};
use crate::store::Error;
use crate::store::sqlite::Durability;

/// A client that heard nothing repeats its message sooner than this after it was sent.
const DONE_KEPT_MS: i64 = 2 * 24 * 60 * 60 * 1000;

const FIND: &str = "
SELECT entry, recipients, done IS NOT NULL FROM unanswered
WHERE identity = ?1 AND is_earlier = 1 AND (done IS NULL OR done >= ?2) ORDER BY entry";

/// An entry that an earlier process has written down, and whose client has repeated it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// Which one.
    pub id: EntryId,
    /// Whom it is for, in lower case.
    pub recipients: Vec<String>,
    /// It is gone: sent to all of them.
    pub is_sent: bool,
}

/// In the transaction that writes the entry.
pub(super) async fn note(
    connection: &mut SqliteConnection,
    id: i64,
    identity: &str,
) -> Result<(), Error> {
    let note = sqlx::query(
        "INSERT INTO unanswered (entry, identity, recipients)
         SELECT ?1, ?2, json_group_array(address) FROM recipient WHERE entry = ?1",
    );
    note.bind(id).bind(identity).execute(connection).await?;
    Ok(())
}

/// The entry is as if it had never been.
pub(super) async fn forget(connection: &mut SqliteConnection, id: EntryId) -> Result<(), Error> {
    let gone = sqlx::query("DELETE FROM unanswered WHERE entry = ?").bind(id.0);
    gone.execute(connection).await?;
    Ok(())
}

/// A process begins: what is there is another one's. False: there is nothing.
pub(super) async fn left(connection: &mut SqliteConnection, now: i64) -> Result<bool, Error> {
    prune(connection, now).await?;
    sqlx::query("UPDATE unanswered SET is_earlier = 1 WHERE is_earlier = 0")
        .execute(&mut *connection)
        .await?;
    let any: Option<i64> = sqlx::query_scalar("SELECT entry FROM unanswered LIMIT 1")
        .fetch_optional(connection)
        .await?;
    Ok(any.is_some())
}

async fn prune(connection: &mut SqliteConnection, now: i64) -> Result<(), Error> {
    let old = sqlx::query("DELETE FROM unanswered WHERE done < ?");
    old.bind(now.saturating_sub(DONE_KEPT_MS)).execute(connection).await?;
    Ok(())
}

impl Inner {
    /// Writes what has gathered; who comes too late finds its work done.
    pub(super) async fn note_answered(&self) -> Result<(), Error> {
        let mut writing = self.database.write(Durability::Soon).await?;
        let ids = std::mem::take(&mut *lock(&self.answered));
        if ids.is_empty() {
            return Ok(());
        }
        let list = serde_json::Value::from_iter(ids.iter().map(|id| id.0)).to_string();
        sqlx::query("DELETE FROM unanswered WHERE entry IN (SELECT value FROM json_each(?))")
            .bind(list)
            .execute(writing.connection())
            .await?;
        prune(writing.connection(), milliseconds(SystemTime::now())).await?;
        writing.commit().await
    }

    pub(super) async fn adopt(&self, identity: &str) -> Result<Vec<Adopted>, Error> {
        if !self.has_unanswered.load(Ordering::Acquire) {
            return Ok(Vec::new());
        }
        let since = milliseconds(SystemTime::now()).saturating_sub(DONE_KEPT_MS);
        let mut writing = self.database.write(Durability::Soon).await?;
        let rows: Vec<(i64, String, bool)> =
            sqlx::query_as(FIND).bind(identity).bind(since).fetch_all(writing.connection()).await?;
        let mut adopted: Vec<Adopted> = Vec::new();
        for (id, recipients, is_sent) in rows {
            let recipients = keys(EntryId(id), &recipients)?;
            let is_another = |one: &Adopted| one.recipients.iter().any(|r| recipients.contains(r));
            if adopted.iter().any(is_another) {
                continue;
            }
            sqlx::query("UPDATE unanswered SET is_earlier = 0 WHERE entry = ?")
                .bind(id)
                .execute(writing.connection())
                .await?;
            adopted.push(Adopted { id: EntryId(id), recipients, is_sent });
        }
        if !adopted.is_empty() {
            writing.commit().await?;
        }
        Ok(adopted)
    }
}

fn keys(id: EntryId, list: &str) -> Result<Vec<String>, Error> {
    let list: Vec<String> = serde_json::from_str(list).map_err(|_| {
        Error::Failed(format!(
            "entry {id} of the queue has something in it that we have not written"
        ))
    })?;
    Ok(list.iter().map(|address| address.to_lowercase()).collect())
}
