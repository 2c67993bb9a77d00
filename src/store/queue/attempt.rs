//! What is sent next, and what became of it.
//!
//! Danger: an entry that two attempts have is sent twice; an outcome that is noted in parts sends to
//! somebody again who has it; a queue of a hundred thousand that is read through for each message
//! stands still. Rule: an entry is taken and settled by its state, in one transaction each; every
//! question asked here has its index (`HOT`).

use std::sync::Arc;
use std::time::SystemTime;

use sqlx::SqliteConnection;

use super::Inner;
use super::files::{Arriving, Name};
use super::record::{DueEntry, Entry, EntryId, NewEntry, Next, Settlement};
use super::rows::{
    self, DEAD, HELD, Inserted, NewRow, TAKEN, WAITING, milliseconds, set_recipient, time,
};
use super::unanswered;
use crate::mail::Message;
use crate::store::Error;
use crate::store::sqlite::Durability;

/// From lane to lane by the index; `DISTINCT` would read every entry.
const LANES: &str = "
WITH RECURSIVE step (lane) AS (
    SELECT min(lane) FROM entry WHERE state = 0
    UNION ALL
    SELECT (SELECT min(lane) FROM entry WHERE state = 0 AND lane > step.lane)
    FROM step WHERE step.lane IS NOT NULL
)
SELECT lane FROM step WHERE lane IS NOT NULL
AND EXISTS (SELECT 1 FROM entry WHERE state = 0 AND lane = step.lane AND next <= ?1)";

/// In the order of acceptance: sorting all that are due would cost more than passing over those
/// that are not.
const DUE: &str = "
SELECT id, order_key FROM entry INDEXED BY entry_order
WHERE state = 0 AND lane = ?1 AND next <= ?2 ORDER BY id LIMIT ?3";

const NEXT_DUE: &str = "SELECT min(next) FROM entry WHERE state = 0";

const TAKE: &str = "UPDATE entry SET state = 1 WHERE id = ?1 AND state = 0 AND next <= ?2";

const OPEN: &str = "
SELECT count(*) FILTER (WHERE state = 0), count(*) FILTER (WHERE state = 2)
FROM recipient WHERE entry = ?1";

/// What is asked for each message; none may read a table through.
#[cfg(test)]
pub(super) const HOT: &[&str] = &[LANES, DUE, NEXT_DUE, TAKE, OPEN];

impl Inner {
    pub(super) async fn lanes(&self, now: SystemTime) -> Result<Vec<String>, Error> {
        let lanes = sqlx::query_scalar(LANES).bind(milliseconds(now));
        Ok(lanes.fetch_all(self.database.readers()).await?)
    }

    pub(super) async fn due(
        &self,
        lane: &str,
        now: SystemTime,
        limit: u32,
    ) -> Result<Vec<DueEntry>, Error> {
        let rows: Vec<(i64, String)> = sqlx::query_as(DUE)
            .bind(lane)
            .bind(milliseconds(now))
            .bind(limit)
            .fetch_all(self.database.readers())
            .await?;
        Ok(rows.into_iter().map(|(id, sender)| DueEntry { id: EntryId(id), sender }).collect())
    }

    pub(super) async fn next_due(&self) -> Result<Option<SystemTime>, Error> {
        let next: Option<i64> =
            sqlx::query_scalar(NEXT_DUE).fetch_one(self.database.readers()).await?;
        Ok(next.map(time))
    }

    /// Needn't wait for the disk: when the machine fails, what was taken waits again.
    pub(super) async fn take(&self, id: EntryId, now: SystemTime) -> Result<Option<Entry>, Error> {
        let mut writing = self.database.write(Durability::Soon).await?;
        let taken = sqlx::query(TAKE).bind(id.0).bind(milliseconds(now));
        if taken.execute(writing.connection()).await?.rows_affected() == 0 {
            return Ok(None);
        }
        let entry = rows::load(writing.connection(), id).await?;
        writing.commit().await?;
        Ok(entry)
    }

    pub(super) async fn message(&self, id: EntryId) -> Result<Message, Error> {
        let mut reading = self.database.readers().acquire().await?;
        let file = rows::file(&mut reading, id).await?;
        drop(reading);
        let (name, size, header) = file.ok_or(Error::NotTaken(id))?;
        self.files.read(&name, size, header).await
    }

    /// A report's file, on the disk, with the row that it will have.
    pub(super) async fn report(
        self: &Arc<Self>,
        report: &NewEntry<'_>,
    ) -> Result<(NewRow, Arriving), Error> {
        let row = NewRow::new(report)?;
        Ok((row, self.files.write(report.message).await?))
    }

    pub(super) async fn settle(
        &self,
        id: EntryId,
        settlement: Settlement,
        report: Option<(NewRow, Arriving)>,
    ) -> Result<(), Error> {
        let queued = self.note(id, &settlement, report.as_ref()).await;
        let arriving = report.map(|(_, arriving)| arriving);
        match (&queued, arriving) {
            (Ok((_, Some(Inserted::New(_)))), Some(arriving)) => arriving.keep(),
            (_, Some(arriving)) => arriving.discard().await,
            (_, None) => {}
        }
        let (done, _) = queued?;
        self.files.remove(done.into_iter().collect()).await;
        Ok(())
    }

    /// The transaction of [`Self::settle`]; gives the file that has no row any more.
    async fn note(
        &self,
        id: EntryId,
        settlement: &Settlement,
        report: Option<&(NewRow, Arriving)>,
    ) -> Result<(Option<Name>, Option<Inserted>), Error> {
        let mut writing = self.database.write(Durability::Synced).await?;
        let connection = writing.connection();
        let is_taken: Option<i64> =
            sqlx::query_scalar("SELECT id FROM entry WHERE id = ? AND state = 1")
                .bind(id.0)
                .fetch_optional(&mut *connection)
                .await?;
        is_taken.ok_or(Error::NotTaken(id))?;
        for (position, state) in &settlement.recipients {
            set_recipient(connection, id, *position, state).await?;
        }
        let done = give_back(connection, id, settlement).await?;
        let queued = match report {
            Some((row, arriving)) => {
                let now = milliseconds(SystemTime::now());
                Some(row.insert(connection, arriving, now).await?)
            }
            None => None,
        };
        writing.commit().await?;
        Ok((done, queued))
    }
}

/// The entry's new state, as its recipients' states have it.
async fn give_back(
    connection: &mut SqliteConnection,
    id: EntryId,
    settlement: &Settlement,
) -> Result<Option<Name>, Error> {
    let (waiting, failed): (i64, i64) =
        sqlx::query_as(OPEN).bind(id.0).fetch_one(&mut *connection).await?;
    if waiting == 0 && failed == 0 {
        return rows::delete(connection, id, [TAKEN, TAKEN]).await;
    }
    let (state, next, counts) = match settlement.next {
        Next::Again { at, counts } if waiting > 0 => (WAITING, Some(milliseconds(at)), counts),
        Next::Again { counts, .. } => (DEAD, None, counts),
        Next::Dead => (DEAD, None, true),
        Next::Done => {
            tracing::error!(entry = %id, "an entry was called done that somebody does not have yet");
            (DEAD, None, true)
        }
    };
    sqlx::query(
        "UPDATE entry SET state = ?1, next = coalesce(?2, next), attempts = attempts + ?3,
         reason = CASE ?4 WHEN '' THEN reason ELSE ?4 END WHERE id = ?5",
    )
    .bind(state)
    .bind(next)
    .bind(counts)
    .bind(settlement.reason.as_str())
    .bind(id.0)
    .execute(connection)
    .await?;
    Ok(None)
}

impl Inner {
    pub(super) async fn release(&self, id: EntryId, at: SystemTime) -> Result<(), Error> {
        let mut writing = self.database.write(Durability::Synced).await?;
        let released =
            sqlx::query("UPDATE entry SET state = 0, next = ? WHERE id = ? AND state = 2")
                .bind(milliseconds(at))
                .bind(id.0)
                .execute(writing.connection())
                .await?;
        match released.rows_affected() {
            0 => Err(Error::NotTaken(id)),
            _ => writing.commit().await,
        }
    }

    pub(super) async fn forget(&self, id: EntryId) -> Result<(), Error> {
        let mut writing = self.database.write(Durability::Synced).await?;
        let connection = writing.connection();
        let Some(name) = rows::delete(connection, id, [HELD, TAKEN]).await? else {
            let other = sqlx::query_scalar("SELECT id FROM entry WHERE id = ?").bind(id.0);
            let other: Option<i64> = other.fetch_optional(connection).await?;
            return other.map_or(Ok(()), |_| Err(Error::NotTaken(id)));
        };
        let origin = sqlx::query("DELETE FROM origin WHERE entry = ?").bind(id.0);
        origin.execute(&mut *connection).await?;
        unanswered::forget(connection, id).await?;
        writing.commit().await?;
        self.files.remove(vec![name]).await;
        Ok(())
    }
}
