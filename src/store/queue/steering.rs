//! What an administrator does to entries.
//!
//! Danger: an entry that is dropped or made due while it is being sent is sent twice, or half. Rule:
//! only what waits or is dead can be steered; what is taken or held is left alone, whoever asks, and
//! the state is looked at in the transaction that changes it.

use std::path::PathBuf;
use std::time::SystemTime;

use super::Inner;
use super::record::EntryId;
use super::rows::{self, DEAD, WAITING, milliseconds};
use super::unanswered;
use crate::store::Error;
use crate::store::sqlite::Durability;

impl Inner {
    pub(super) async fn retry(&self, id: EntryId, now: SystemTime) -> Result<bool, Error> {
        let mut writing = self.database.write(Durability::Synced).await?;
        let now = milliseconds(now);
        let connection = writing.connection();
        let waiting = sqlx::query("UPDATE entry SET next = ?1 WHERE id = ?2 AND state = 0");
        let waiting = waiting.bind(now).bind(id.0).execute(&mut *connection).await?;
        if waiting.rows_affected() == 0 {
            let dead = sqlx::query(
                "UPDATE entry SET state = 0, next = ?1, accepted = ?1, attempts = 0
                 WHERE id = ?2 AND state = 3",
            );
            let dead = dead.bind(now).bind(id.0).execute(&mut *connection).await?;
            if dead.rows_affected() == 0 {
                return Ok(false);
            }
            sqlx::query(
                "UPDATE recipient SET state = 0, status = NULL, reply = NULL
                 WHERE entry = ? AND state = 2",
            )
            .bind(id.0)
            .execute(connection)
            .await?;
        }
        writing.commit().await?;
        Ok(true)
    }

    pub(super) async fn remove(&self, id: EntryId) -> Result<bool, Error> {
        let mut writing = self.database.write(Durability::Synced).await?;
        let Some(name) = rows::delete(writing.connection(), id, [WAITING, DEAD]).await? else {
            return Ok(false);
        };
        unanswered::forget(writing.connection(), id).await?;
        writing.commit().await?;
        self.files.remove(vec![name]).await;
        Ok(true)
    }

    pub(super) async fn path(&self, id: EntryId) -> Result<Option<PathBuf>, Error> {
        let mut reading = self.database.readers().acquire().await?;
        let file = rows::file(&mut reading, id).await?;
        Ok(file.map(|(name, ..)| self.files.path(&name)))
    }
}
