//! Keeping the cache in order: room, and what a crash left.
//!
//! Danger: a disk that fills up with files that nobody counts; a message that was deleted and is
//! still there for whoever reads the disk. Rule: temporary files go at the start; files without a row
//! go in the background after it; above the limit the least recently used go, also in the
//! background, until there is some room again; what no folder has any more goes within hours.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use super::cache::{Name, blocking, unix_milliseconds};
use super::writer::UNFINISHED;
use super::{Error, Inner, MailboxStore};

/// Messages that are taken out of the list at once.
const EVICTED_AT_ONCE: i64 = 200;

/// Above the limit so many per cent of it stay: making room now and then, not for each message.
const KEPT_PER_CENT: u64 = 90;

/// Files younger than the start by less than this may be a finished message whose row comes next.
const CLOCK_STEP: Duration = Duration::from_secs(2);

/// How often messages are looked for that no folder has any more. One that was used since stays until
/// the next time: it may be on its way into another folder, or have been stored a moment ago.
const SWEPT_EVERY: Duration = Duration::from_secs(60 * 60);

impl MailboxStore {
    /// Makes room when there is too little, without making anybody wait.
    pub(super) fn make_room(&self) {
        Inner::make_room(&self.store);
    }
}

impl Inner {
    /// See [`MailboxStore::make_room`].
    pub(super) fn make_room(self: &Arc<Self>) {
        let is_full = self.cache.total.load(Ordering::SeqCst) > self.cache.limit;
        if !is_full || self.cache.is_evicting.swap(true, Ordering::SeqCst) {
            return;
        }
        let store = Arc::clone(self);
        tokio::spawn(async move {
            let evicted = store.evict().await;
            store.cache.is_evicting.store(false, Ordering::SeqCst);
            if let Err(error) = evicted {
                tracing::warn!(%error, "no room could be made in the cache of messages");
            }
        });
    }

    /// Takes out the least recently used.
    pub(super) async fn evict(self: &Arc<Self>) -> Result<(), Error> {
        let keep = self.cache.limit / 100 * KEPT_PER_CENT;
        while self.cache.total.load(Ordering::SeqCst) > keep {
            let oldest: Vec<(i64, String, Vec<u8>)> = sqlx::query_as(
                "SELECT mailbox, graph_id, digest FROM content ORDER BY used LIMIT ?",
            )
            .bind(EVICTED_AT_ONCE)
            .fetch_all(self.database.readers())
            .await?;
            let mut has_dropped = false;
            for (key, graph_id, digest) in oldest {
                if self.cache.total.load(Ordering::SeqCst) <= keep {
                    return Ok(());
                }
                let mailbox = MailboxStore { store: Arc::clone(self), key };
                has_dropped |= mailbox.drop_content(&graph_id, &digest).await?;
            }
            if !has_dropped {
                return Ok(());
            }
        }
        Ok(())
    }

    /// As long as the store is open: files that a crash left, then messages that no folder has.
    pub(super) async fn sweep(store: Weak<Self>, opened: SystemTime) {
        let mut is_first = true;
        while let Some(store) = store.upgrade() {
            if std::mem::take(&mut is_first)
                && let Err(error) = store.remove_orphans(opened).await
            {
                tracing::warn!(%error, "the cache of messages could not be looked through");
            }
            let unused_for = i64::try_from(SWEPT_EVERY.as_millis()).unwrap_or(i64::MAX);
            if let Err(error) = store.drop_ownerless(unix_milliseconds() - unused_for).await {
                tracing::warn!(%error, "deleted messages could not be removed from the cache");
            }
            drop(store);
            tokio::time::sleep(SWEPT_EVERY).await;
        }
    }

    /// Takes out what no folder has and nobody has used since `before`, in milliseconds since 1970.
    pub(super) async fn drop_ownerless(self: &Arc<Self>, before: i64) -> Result<(), Error> {
        let ownerless: Vec<(i64, String, Vec<u8>)> = sqlx::query_as(
            "SELECT mailbox, graph_id, digest FROM content
             WHERE used < ? AND (mailbox, graph_id) NOT IN
             (SELECT f.mailbox, m.graph_id FROM message m JOIN folder f ON f.key = m.folder)",
        )
        .bind(before)
        .fetch_all(self.database.readers())
        .await?;
        for (key, graph_id, digest) in ownerless {
            let mailbox = MailboxStore { store: Arc::clone(self), key };
            mailbox.drop_content(&graph_id, &digest).await?;
        }
        Ok(())
    }

    /// Removes files that no row knows: the process ended between the two.
    pub(super) async fn remove_orphans(&self, opened: SystemTime) -> Result<(), Error> {
        let rows: Vec<(i64, String)> = sqlx::query_as("SELECT mailbox, graph_id FROM content")
            .fetch_all(self.database.readers())
            .await?;
        let names = rows.iter().map(|(mailbox, graph_id)| Name::of(*mailbox, graph_id).text());
        let listed: HashSet<_> = names.collect();
        let folder = self.cache.folder.clone();
        // Younger ones are of this process.
        let before = opened.checked_sub(CLOCK_STEP).unwrap_or(SystemTime::UNIX_EPOCH);
        let removed = blocking(move || remove_unlisted(&folder, &listed, before)).await?;
        if removed > 0 {
            tracing::info!(removed, "removed messages' files that a crash had left");
        }
        Ok(())
    }
}

/// Removes what was not finished.
pub(super) fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn remove_unlisted(
    folder: &Path,
    listed: &HashSet<String>,
    before: SystemTime,
) -> io::Result<usize> {
    let mut removed = 0;
    for shard in std::fs::read_dir(folder)? {
        let shard = shard?;
        if !shard.file_type()?.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(shard.path())? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_message(&name) && !listed.contains(&name) && is_older(&entry, before) {
                std::fs::remove_file(entry.path())?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}

/// Nothing else is ours.
fn is_message(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_older(entry: &std::fs::DirEntry, before: SystemTime) -> bool {
    let modified = entry.metadata().and_then(|file| file.modified());
    modified.is_ok_and(|modified| modified < before)
}
