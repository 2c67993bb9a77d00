//! New entries.
//!
//! Danger: an entry that is answered 250 and not on the disk; many sessions that each wait for the
//! disk in turn; a caller that goes away in the middle. Rule: first the file, then the row, both
//! synced; rows that come while another one is being synced share the next transaction; once a row
//! is on its way its caller's end stops nothing.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::oneshot;

use super::files::Arriving;
use super::record::{EntryId, NewEntry};
use super::rows::{Inserted, NewRow, known, milliseconds};
use super::{Inner, lock};
use crate::store::Error;
use crate::store::sqlite::Durability;

/// Rows of one transaction: what takes some ten milliseconds.
const TOGETHER: usize = 200;

/// How long the origin of a message is known after it was put: longer than anybody leaves a failing
/// pickup folder alone.
const ORIGINS_KEPT_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// A row, and who waits for it.
#[derive(Debug)]
pub(super) struct Arrival {
    row: NewRow,
    file: Arriving,
    answer: oneshot::Sender<Result<EntryId, Error>>,
}

impl Inner {
    /// Writes a message down.
    pub(super) async fn put(
        self: &Arc<Self>,
        entry: &NewEntry<'_>,
        identity: Option<&str>,
    ) -> Result<EntryId, Error> {
        if let Some(origin) = entry.origin {
            let mut reading = self.database.readers().acquire().await?;
            if let Some(earlier) = known(&mut reading, origin).await? {
                return Ok(earlier);
            }
        }
        let row = NewRow::new(entry)?.unanswered(identity);
        let file = self.files.write(entry.message).await?;
        let (answer, answered) = oneshot::channel();
        lock(&self.arrivals).push(Arrival { row, file, answer });
        let queue = Arc::clone(self);
        tokio::spawn(async move { queue.let_in().await });
        let interrupted = |_| Err(Error::Failed("the queue was closed".to_owned()));
        answered.await.unwrap_or_else(interrupted)
    }

    /// Writes the rows of all who wait; who comes too late finds its work done.
    async fn let_in(&self) {
        let _turn = self.entering.lock().await;
        let (gone, arrivals): (Vec<_>, Vec<_>) = {
            let mut waiting = lock(&self.arrivals);
            let count = waiting.len().min(TOGETHER);
            waiting.drain(..count).partition(|arrival| arrival.answer.is_closed())
        };
        drop(gone);
        if arrivals.is_empty() {
            return;
        }
        match self.insert(&arrivals).await {
            Ok(inserted) => {
                for (arrival, inserted) in arrivals.into_iter().zip(inserted) {
                    arrival.answered(inserted).await;
                }
            }
            Err(error) => {
                for arrival in arrivals {
                    arrival.file.discard().await;
                    let _ = arrival.answer.send(Err(error.clone()));
                }
            }
        }
    }

    async fn insert(&self, arrivals: &[Arrival]) -> Result<Vec<Inserted>, Error> {
        let mut writing = self.database.write(Durability::Synced).await?;
        let now = milliseconds(SystemTime::now());
        if arrivals.iter().any(|arrival| arrival.row.origin.is_some()) {
            sqlx::query("DELETE FROM origin WHERE noted < ?")
                .bind(now.saturating_sub(ORIGINS_KEPT_MS))
                .execute(writing.connection())
                .await?;
        }
        let mut inserted = Vec::with_capacity(arrivals.len());
        for arrival in arrivals {
            inserted.push(arrival.row.insert(writing.connection(), &arrival.file, now).await?);
        }
        writing.commit().await?;
        Ok(inserted)
    }
}

impl Arrival {
    async fn answered(self, inserted: Inserted) {
        let id = match inserted {
            Inserted::New(id) => {
                self.file.keep();
                id
            }
            Inserted::Known(id) => {
                self.file.discard().await;
                id
            }
        };
        // Who went away meanwhile has heard of no failure either: the entry stays.
        let _ = self.answer.send(Ok(id));
    }
}
