//! APPENDs under way.
//!
//! Danger: a client whose APPEND had no answer sends the message again, and the mailbox has it
//! twice. Rule: an APPEND is noted, on the disk, before the service hears of it, under the folder
//! and the digest of the message; the note goes when the client has its answer.

use time::{Duration, OffsetDateTime};

use super::sqlite::Durability;
use super::{AppendRecord, Error, FolderKey, MailboxStore};

/// After so long, the same message appended again is meant to be there again: clients repeat what
/// failed within minutes, at the latest when the user is back from a week away.
const REPEATED_WITHIN: Duration = Duration::days(7);

type Columns = (i64, String, Option<String>, i64, Option<String>);

impl MailboxStore {
    /// Notes an APPEND before the service hears of it. Returns what an earlier one of the same
    /// message and folder left unfinished in the last seven days; then nothing is noted anew.
    pub async fn begin_append(&self, append: &AppendRecord) -> Result<Option<AppendRecord>, Error> {
        let mut writing = self.database().write(Durability::Synced).await?;
        let row: Option<Columns> = sqlx::query_as(
            "SELECT folder, digest, message_id, started, graph_id FROM appending
             WHERE folder = ? AND digest = ?",
        )
        .bind(append.folder.0)
        .bind(append.digest.as_str())
        .fetch_optional(writing.connection())
        .await?;
        if let Some(earlier) = row.map(record).transpose()?
            && append.started - earlier.started < REPEATED_WITHIN
        {
            return Ok(Some(earlier));
        }
        sqlx::query(
            "INSERT OR REPLACE INTO appending (folder, digest, message_id, started, graph_id)
             VALUES (?, ?, ?, ?, ?)",
        )
        .bind(append.folder.0)
        .bind(append.digest.as_str())
        .bind(append.message_id.as_deref())
        .bind(append.started.unix_timestamp())
        .bind(append.graph_id.as_deref())
        .execute(writing.connection())
        .await?;
        writing.commit().await?;
        Ok(None)
    }

    /// Notes the id under which the service has the message of an APPEND.
    pub async fn note_append(&self, append: &AppendRecord) -> Result<(), Error> {
        let mut writing = self.database().write(Durability::Synced).await?;
        sqlx::query("UPDATE appending SET graph_id = ? WHERE folder = ? AND digest = ?")
            .bind(append.graph_id.as_deref())
            .bind(append.folder.0)
            .bind(append.digest.as_str())
            .execute(writing.connection())
            .await?;
        writing.commit().await
    }

    /// The client has its answer.
    pub async fn end_append(&self, append: &AppendRecord) -> Result<(), Error> {
        let mut writing = self.database().write(Durability::Synced).await?;
        sqlx::query("DELETE FROM appending WHERE folder = ? AND digest = ?")
            .bind(append.folder.0)
            .bind(append.digest.as_str())
            .execute(writing.connection())
            .await?;
        writing.commit().await
    }

    /// What was begun and never ended, the oldest first: left by a crash.
    pub async fn unfinished_appends(&self) -> Result<Vec<AppendRecord>, Error> {
        let rows: Vec<Columns> = sqlx::query_as(
            "SELECT folder, digest, message_id, started, a.graph_id
             FROM appending a JOIN folder f ON f.key = a.folder
             WHERE f.mailbox = ? ORDER BY started, folder, digest",
        )
        .bind(self.key)
        .fetch_all(self.database().readers())
        .await?;
        rows.into_iter().map(record).collect()
    }
}

fn record((folder, digest, message_id, started, graph_id): Columns) -> Result<AppendRecord, Error> {
    let started = OffsetDateTime::from_unix_timestamp(started)
        .map_err(|_| Error::Failed("a date in the store is none".to_owned()))?;
    Ok(AppendRecord { folder: FolderKey(folder), digest, message_id, started, graph_id })
}
