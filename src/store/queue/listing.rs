//! The queue as people see it.
//!
//! Danger: a list of a hundred thousand entries that is read whole fills the memory; a count that
//! reads every entry, on a page that renews itself, slows the sending. Rule: lists come in pages;
//! totals are kept by triggers, with each change.

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};

use super::Inner;
use super::record::{Counts, Entry, EntryId, Filter, Summary};
use super::rows::{self, entry_state, time};
use crate::store::Error;

const COUNTS: &str = "
SELECT waiting, dead, octets, (SELECT min(accepted) FROM entry WHERE state <> 3) FROM total";

/// Of a dead entry the recipients that failed are shown, else those that wait.
const LIST: &str = "
SELECT id, role, coalesce(sender, '') AS sender, size, accepted, next, attempts, state, reason,
    (SELECT count(*) FROM recipient r WHERE r.entry = e.id
        AND r.state = CASE e.state WHEN 3 THEN 2 ELSE 0 END) AS open,
    coalesce((SELECT address FROM recipient r WHERE r.entry = e.id
        AND r.state = CASE e.state WHEN 3 THEN 2 ELSE 0 END
        ORDER BY position LIMIT 1), '') AS recipient
FROM entry e
WHERE id > ?1 AND (?2 IS NULL OR (state = 3) = ?2) AND (?3 IS NULL OR role_key = ?3)
ORDER BY id LIMIT ?4";

/// See `HOT` in `super::attempt`.
#[cfg(test)]
pub(super) const HOT: &[&str] = &[COUNTS, LIST];

struct SummaryRow {
    id: i64,
    role: String,
    sender: String,
    size: i64,
    accepted: i64,
    next: i64,
    attempts: i64,
    state: i64,
    reason: String,
    open: i64,
    recipient: String,
}

impl FromRow<'_, SqliteRow> for SummaryRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            role: row.try_get("role")?,
            sender: row.try_get("sender")?,
            size: row.try_get("size")?,
            accepted: row.try_get("accepted")?,
            next: row.try_get("next")?,
            attempts: row.try_get("attempts")?,
            state: row.try_get("state")?,
            reason: row.try_get("reason")?,
            open: row.try_get("open")?,
            recipient: row.try_get("recipient")?,
        })
    }
}

impl Inner {
    pub(super) async fn list(
        &self,
        filter: &Filter,
        after: Option<EntryId>,
        limit: u32,
    ) -> Result<Vec<Summary>, Error> {
        let rows: Vec<SummaryRow> = sqlx::query_as(LIST)
            .bind(after.map_or(i64::MIN, |id| id.0))
            .bind(filter.dead)
            .bind(filter.role.as_deref().map(str::to_lowercase))
            .bind(limit)
            .fetch_all(self.database.readers())
            .await?;
        rows.into_iter().map(summary).collect()
    }

    pub(super) async fn show(&self, id: EntryId) -> Result<Option<Entry>, Error> {
        // One transaction: entry and recipients of the same moment.
        let mut reading = self.database.readers().begin().await?;
        rows::load(&mut reading, id).await
    }

    pub(super) async fn counts(&self) -> Result<Counts, Error> {
        let (waiting, dead, octets, oldest): (i64, i64, i64, Option<i64>) =
            sqlx::query_as(COUNTS).fetch_one(self.database.readers()).await?;
        Ok(Counts {
            waiting: waiting.unsigned_abs(),
            dead: dead.unsigned_abs(),
            octets: octets.unsigned_abs(),
            oldest: oldest.map(time),
        })
    }
}

fn summary(row: SummaryRow) -> Result<Summary, Error> {
    let state = entry_state(row.state)
        .ok_or_else(|| Error::Failed(format!("entry {} of the queue has no such state", row.id)))?;
    Ok(Summary {
        id: EntryId(row.id),
        role: row.role,
        sender: row.sender,
        recipient: row.recipient,
        open: row.open.unsigned_abs(),
        size: row.size.unsigned_abs(),
        accepted: time(row.accepted),
        next: time(row.next),
        attempts: u32::try_from(row.attempts).unwrap_or(u32::MAX),
        state,
        reason: row.reason,
    })
}
