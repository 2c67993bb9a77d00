//! Opening the queue, and what an earlier process has left in it.
//!
//! Danger: an entry that stays taken by a process that is gone is never sent; one that was held was
//! promised to nobody, and is sent all the same; a sweep that runs beside new messages removes one
//! of them. Rule: only the owner gives back, in one transaction before anybody can put or take;
//! files without a row go in the background, only those older than the opening and not on their way.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use super::Inner;
use super::files::{Files, Name};
use super::rows::milliseconds;
use super::unanswered;
use crate::store::Error;
use crate::store::migrations::SPOOL;
use crate::store::sqlite::{Database, Durability};

/// What an entry's reason is when its attempt was cut off.
pub(super) const CUT_OFF: &str = "the process ended during an attempt";

/// Files younger than the opening by less than this are left for the next one: file systems keep
/// coarser times than clocks do.
const CLOCK_STEP: Duration = Duration::from_secs(2);

impl Inner {
    fn new(database: Database, files: Arc<Files>) -> Arc<Self> {
        Arc::new(Self {
            database: Arc::new(database),
            files,
            arrivals: std::sync::Mutex::default(),
            entering: tokio::sync::Mutex::default(),
            answered: std::sync::Mutex::default(),
            has_unanswered: AtomicBool::new(false),
            retried: tokio::sync::Notify::new(),
        })
    }
}

/// For the process that sends.
pub(super) async fn own(folder: &Path) -> Result<Arc<Inner>, Error> {
    let opened = SystemTime::now();
    let files = Arc::new(Files::new(folder));
    files.prepare(folder.join(SPOOL.file)).await?;
    let database = Database::open(folder, &SPOOL).await?;
    let queue = Inner::new(database, files);
    queue.give_back(milliseconds(opened)).await?;
    tokio::spawn(sweep(Arc::downgrade(&queue), opened));
    Ok(queue)
}

/// For who looks in.
pub(super) async fn visit(folder: &Path) -> Result<Arc<Inner>, Error> {
    let database = Database::open_as_it_is(folder, &SPOOL).await?;
    Ok(Inner::new(database, Arc::new(Files::new(folder))))
}

impl Inner {
    /// Nobody sends any more what an earlier process had taken or held.
    async fn give_back(&self, now: i64) -> Result<(), Error> {
        let mut writing = self.database.write(Durability::Synced).await?;
        let taken = sqlx::query("UPDATE entry SET state = 0, next = ?, reason = ? WHERE state = 1")
            .bind(now)
            .bind(CUT_OFF)
            .execute(writing.connection())
            .await?;
        sqlx::query("DELETE FROM origin WHERE entry IN (SELECT id FROM entry WHERE state = 2)")
            .execute(writing.connection())
            .await?;
        // Nobody is told of them: as if they had never been.
        sqlx::query("DELETE FROM unanswered WHERE entry IN (SELECT id FROM entry WHERE state = 2)")
            .execute(writing.connection())
            .await?;
        let held: Vec<String> =
            sqlx::query_scalar("DELETE FROM entry WHERE state = 2 RETURNING file")
                .fetch_all(writing.connection())
                .await?;
        let left = unanswered::left(writing.connection(), now).await?;
        writing.commit().await?;
        self.has_unanswered.store(left, Ordering::Release);
        if taken.rows_affected() > 0 {
            tracing::info!(
                entries = taken.rows_affected(),
                "messages were being sent when the process ended; they are tried again now"
            );
        }
        self.files.remove(held.iter().filter_map(|name| Name::parse(name)).collect()).await;
        Ok(())
    }
}

async fn sweep(queue: Weak<Inner>, opened: SystemTime) {
    let before = opened.checked_sub(CLOCK_STEP).unwrap_or(SystemTime::UNIX_EPOCH);
    match sweep_all(&queue, before).await {
        Ok(0) => {}
        Ok(files) => tracing::warn!(
            files,
            "message files without an entry were moved into spool/left, where they are kept for a \
             week: a crash leaves some, of messages that nobody was promised or that were sent; \
             after restoring or moving the database look there for what it does not know"
        ),
        Err(error) => tracing::warn!(%error, "the queue's folder could not be looked through"),
    }
}

/// Folder by folder, so that a hundred thousand names are never in memory; ends with the queue.
pub(super) async fn sweep_all(queue: &Weak<Inner>, before: SystemTime) -> Result<usize, Error> {
    let Some(first) = queue.upgrade() else { return Ok(0) };
    first.files.forget_left(SystemTime::now()).await?;
    let shards = first.files.shards().await?;
    drop(first);
    let mut removed = 0;
    for shard in shards {
        let Some(queue) = queue.upgrade() else { break };
        let mut orphans = Vec::new();
        for (name, path) in queue.files.settled(shard, before).await? {
            // Without a row now it gets none: it is not on its way.
            let row: Option<i64> = sqlx::query_scalar("SELECT id FROM entry WHERE file = ?")
                .bind(name.as_str())
                .fetch_optional(queue.database.readers())
                .await?;
            if row.is_none() || path != queue.files.path(&name) {
                orphans.push(path);
            }
        }
        removed += orphans.len();
        queue.files.sweep(orphans).await?;
    }
    Ok(removed)
}
