//! Messages between two folders.
//!
//! Danger: a message is struck from the index of the folder that it has left, the process ends, and
//! the service never tells of it in the folder where it is: to clients it is lost. Rule: what leaves
//! an index is noted in the same transaction, what is about to be moved before it; a note goes when
//! the message has been looked for in its new folder.

use sqlx::SqliteConnection;

use super::sqlite::Durability;
use super::{Error, MailboxStore, Stray};

impl MailboxStore {
    /// Notes messages that may soon be elsewhere; on the disk when this returns.
    pub async fn note_strays(&self, strays: &[Stray]) -> Result<(), Error> {
        let mut writing = self.database().write(Durability::Synced).await?;
        put_strays(writing.connection(), self.key, strays).await?;
        writing.commit().await
    }

    /// What was noted and not forgotten.
    pub async fn strays(&self) -> Result<Vec<Stray>, Error> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT graph_id, folder_id FROM stray WHERE mailbox = ? ORDER BY folder_id, graph_id",
        )
        .bind(self.key)
        .fetch_all(self.database().readers())
        .await?;
        let stray = |(graph_id, folder_id)| Stray { graph_id, folder_id };
        Ok(rows.into_iter().map(stray).collect())
    }

    /// They are where they belong, or nowhere. A newer note of the same message stays.
    pub async fn forget_strays(&self, strays: &[Stray]) -> Result<(), Error> {
        if strays.is_empty() {
            return Ok(());
        }
        // Looked for once more after a crash, a message is found in its place: no need to wait.
        let mut writing = self.database().write(Durability::Soon).await?;
        for stray in strays {
            sqlx::query("DELETE FROM stray WHERE mailbox = ? AND graph_id = ? AND folder_id = ?")
                .bind(self.key)
                .bind(stray.graph_id.as_str())
                .bind(stray.folder_id.as_str())
                .execute(writing.connection())
                .await?;
        }
        writing.commit().await
    }
}

pub(super) async fn put_strays(
    connection: &mut SqliteConnection,
    mailbox: i64,
    strays: &[Stray],
) -> Result<(), Error> {
    for stray in strays {
        sqlx::query("INSERT OR REPLACE INTO stray (mailbox, graph_id, folder_id) VALUES (?, ?, ?)")
            .bind(mailbox)
            .bind(stray.graph_id.as_str())
            .bind(stray.folder_id.as_str())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
