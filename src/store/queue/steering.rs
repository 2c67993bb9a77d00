//! What an administrator does to entries.
//!
//! Danger: an entry that is dropped or made due while it is being sent is sent twice, or half. Rule:
//! only what waits or is dead can be steered; what is taken or held is left alone, whoever asks, and
//! the state is looked at in the transaction that changes it.

use std::path::PathBuf;
use std::time::SystemTime;

use sqlx::SqliteConnection;

use super::Inner;
use super::record::EntryId;
use super::rows::{self, DEAD, WAITING, milliseconds};
use super::unanswered;
use crate::store::Error;
use crate::store::sqlite::Durability;

impl Inner {
    /// Gives those that were left alone.
    pub(super) async fn retry(
        &self,
        ids: &[EntryId],
        now: SystemTime,
    ) -> Result<Vec<EntryId>, Error> {
        let mut writing = self.database.write(Durability::Synced).await?;
        let mut left = Vec::new();
        for id in ids {
            if !retry(writing.connection(), *id, milliseconds(now)).await? {
                left.push(*id);
            }
        }
        writing.commit().await?;
        if left.len() < ids.len() {
            self.retried.notify_one();
        }
        Ok(left)
    }

    pub(super) async fn free_of_mailbox(&self, id: EntryId) -> Result<bool, Error> {
        let mut writing = self.database.write(Durability::Synced).await?;
        let freed =
            sqlx::query("UPDATE entry SET lane = role_key WHERE id = ? AND state IN (0, 3)");
        let freed = freed.bind(id.0).execute(writing.connection()).await?;
        writing.commit().await?;
        Ok(freed.rows_affected() > 0)
    }

    /// Gives those that were left alone.
    pub(super) async fn remove(&self, ids: &[EntryId]) -> Result<Vec<EntryId>, Error> {
        let mut writing = self.database.write(Durability::Synced).await?;
        let (mut files, mut left) = (Vec::new(), Vec::new());
        for id in ids {
            let Some(name) = rows::delete(writing.connection(), *id, [WAITING, DEAD]).await? else {
                left.push(*id);
                continue;
            };
            unanswered::forget(writing.connection(), *id).await?;
            files.push(name);
        }
        writing.commit().await?;
        self.files.remove(files).await;
        Ok(left)
    }

    pub(super) async fn path(&self, id: EntryId) -> Result<Option<PathBuf>, Error> {
        let mut reading = self.database.readers().acquire().await?;
        let file = rows::file(&mut reading, id).await?;
        Ok(file.map(|(name, ..)| self.files.path(&name)))
    }
}

async fn retry(connection: &mut SqliteConnection, id: EntryId, now: i64) -> Result<bool, Error> {
    let waiting = sqlx::query("UPDATE entry SET next = ?1 WHERE id = ?2 AND state = 0");
    let waiting = waiting.bind(now).bind(id.0).execute(&mut *connection).await?;
    if waiting.rows_affected() > 0 {
        return Ok(true);
    }
    let dead = sqlx::query(
        "UPDATE entry SET state = 0, next = ?1, accepted = ?1, attempts = 0
         WHERE id = ?2 AND state = 3",
    );
    if dead.bind(now).bind(id.0).execute(&mut *connection).await?.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(
        "UPDATE recipient SET state = 0, status = NULL, reply = NULL WHERE entry = ? AND state = 2",
    )
    .bind(id.0)
    .execute(connection)
    .await?;
    Ok(true)
}
