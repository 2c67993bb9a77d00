//! Messages that were handed over to a service whose answer is not known yet, and copies that are.
//!
//! Danger: a process that dies between the service's 202 and the client's 250 has sent a message
//! that the client sends again. Rule: an attempt is written down before the request that may send,
//! and struck out when its outcome is certain; who tries the same message to the same recipients
//! again finds it here and looks before sending. Written without waiting for the disk: a process
//! that dies loses nothing of it, a power failure the last moments.

use std::sync::Arc;
use std::time::SystemTime;

use super::Error;
use super::queue::{milliseconds, time};
use super::sqlite::{Database, Durability};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// An attempt whose outcome nobody has asked for in so long is not repeated any more: no spool and no
/// person keeps at it longer.
const UNCERTAIN_KEPT_MS: i64 = 7 * DAY_MS;

/// Copies are compared with those that Sent Items shows since an attempt began; none lasts so long.
const COPIES_KEPT_MS: i64 = 2 * DAY_MS;

/// Rows that are removed at once: more than come in, so that none pile up, and never a long wait.
const PRUNED_AT_ONCE: i64 = 100;

/// Attempts and copies of all roles; clones are the same.
#[derive(Clone, Debug)]
pub struct Handovers(Arc<Database>);

/// An attempt whose outcome is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// When the first attempt began.
    pub since: SystemTime,
    /// What it left at the service: a draft's id.
    pub trace: Option<String>,
}

impl Handovers {
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self(database)
    }

    /// The attempt at `part` (a message to certain recipients) that may have sent it.
    pub async fn uncertain(&self, part: &str) -> Result<Option<Handover>, Error> {
        let row: Option<(i64, Option<String>)> =
            sqlx::query_as("SELECT since, trace FROM handover WHERE part = ?")
                .bind(part)
                .fetch_optional(self.0.readers())
                .await?;
        Ok(row.map(|(since, trace)| Handover { since: time(since), trace }))
    }

    /// An attempt begins, or has left a trace; an earlier beginning stays, and an earlier trace
    /// where there is no new one.
    pub async fn begin(
        &self,
        part: &str,
        since: SystemTime,
        trace: Option<&str>,
    ) -> Result<(), Error> {
        let since = milliseconds(since);
        let mut writing = self.0.write(Durability::Soon).await?;
        sqlx::query(
            "DELETE FROM handover WHERE part IN
             (SELECT part FROM handover WHERE since < ? LIMIT ?)",
        )
        .bind(since.saturating_sub(UNCERTAIN_KEPT_MS))
        .bind(PRUNED_AT_ONCE)
        .execute(writing.connection())
        .await?;
        sqlx::query(
            "INSERT INTO handover (part, since, trace) VALUES (?, ?, ?)
             ON CONFLICT (part) DO UPDATE SET trace = coalesce(excluded.trace, trace)",
        )
        .bind(part)
        .bind(since)
        .bind(trace)
        .execute(writing.connection())
        .await?;
        writing.commit().await
    }

    /// The outcome is known. `sent`: the service has one more copy of `message`.
    pub async fn settle(
        &self,
        part: &str,
        message: &str,
        sent: Option<SystemTime>,
    ) -> Result<(), Error> {
        let mut writing = self.0.write(Durability::Soon).await?;
        let known = sqlx::query("DELETE FROM handover WHERE part = ?").bind(part);
        known.execute(writing.connection()).await?;
        if let Some(made) = sent.map(milliseconds) {
            sqlx::query(
                "DELETE FROM copy WHERE rowid IN (SELECT rowid FROM copy WHERE made < ? LIMIT ?)",
            )
            .bind(made.saturating_sub(COPIES_KEPT_MS))
            .bind(PRUNED_AT_ONCE)
            .execute(writing.connection())
            .await?;
            let copy = sqlx::query("INSERT INTO copy (message, made) VALUES (?, ?)");
            copy.bind(message).bind(made).execute(writing.connection()).await?;
        }
        writing.commit().await
    }

    /// Copies of `message` made since then that are known.
    pub async fn copies(&self, message: &str, since: SystemTime) -> Result<u64, Error> {
        let count = sqlx::query_scalar("SELECT count(*) FROM copy WHERE message = ? AND made >= ?");
        let count: i64 =
            count.bind(message).bind(milliseconds(since)).fetch_one(self.0.readers()).await?;
        Ok(count.unsigned_abs())
    }
}
