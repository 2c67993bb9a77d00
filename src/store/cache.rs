//! Messages that were read once, one file each.
//!
//! Danger: a file that is half written, of another message, or changed by somebody is served as a
//! message. Rule: a file has its name only when it is complete; its row has length and SHA-256,
//! which are compared before this process uses a file that it hasn't written; what doesn't fit is
//! dropped and read again. Files are opened, read and written by other threads. Whoever changes
//! file and row of a message holds its stripe, so that both are always of the same octets.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use ring::digest::{Context, SHA256, digest};
use sqlx::SqliteConnection;
use time::OffsetDateTime;

use super::messages::json_texts;
use super::sqlite::Durability;
use super::{ContentWriter, Error, MailboxStore};
use crate::mail::Content;

/// The folder of the messages in the state folder.
pub(super) const FOLDER: &str = "messages";

/// Messages up to so many octets are read whole: one call to another thread, and no file stays
/// open.
pub(super) const SMALL: u64 = 64 << 10;

/// When a message was last used is written again only after so long: reading costs no writing.
const USE_NOTED_EVERY_MS: i64 = 60 * 60 * 1000;

/// Files whose digest needn't be compared again: 2 MiB of names.
const MAX_VERIFIED: usize = 1 << 16;

/// Messages that are changed at the same time wait for each other only when they share one.
const STRIPES: usize = 64;

/// What all mailboxes' messages on the disk have in common.
#[derive(Debug)]
pub(super) struct Cache {
    /// Where the files are.
    pub(super) folder: PathBuf,
    /// Octets that may be kept.
    pub(super) limit: u64,
    /// Octets that are kept, as their rows say.
    pub(super) total: AtomicU64,
    /// One at a time makes room.
    pub(super) is_evicting: AtomicBool,
    verified: Mutex<HashSet<Name>>,
    writers: Mutex<Vec<(Name, Weak<AtomicBool>)>>,
    stripes: Vec<tokio::sync::Mutex<()>>,
}

/// A file's name: no id of the service gets into a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name([u8; 32]);

impl Name {
    pub(super) fn of(mailbox: i64, graph_id: &str) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&mailbox.to_be_bytes());
        context.update(graph_id.as_bytes());
        let mut name = [0; 32];
        name.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Self(name)
    }

    /// In hex: the case of letters doesn't matter to Windows.
    pub(super) fn text(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Cache {
    pub(super) fn new(folder: PathBuf, limit: u64, total: u64) -> Self {
        Self {
            folder,
            limit,
            total: AtomicU64::new(total),
            is_evicting: AtomicBool::new(false),
            verified: Mutex::default(),
            writers: Mutex::default(),
            stripes: (0..STRIPES).map(|_| tokio::sync::Mutex::default()).collect(),
        }
    }

    /// Folders of some thousand files each are fast everywhere.
    pub(super) fn path(&self, name: &Name) -> PathBuf {
        let text = name.text();
        self.folder.join(&text[..2]).join(text)
    }

    pub(super) fn stripe(&self, name: &Name) -> &tokio::sync::Mutex<()> {
        &self.stripes[usize::from(name.0[0]) % STRIPES]
    }

    fn is_verified(&self, name: &Name) -> bool {
        lock(&self.verified).contains(name)
    }

    pub(super) fn note_verified(&self, name: Name) {
        let mut verified = lock(&self.verified);
        if verified.len() >= MAX_VERIFIED {
            verified.clear();
        }
        verified.insert(name);
    }

    fn forget_verified(&self, name: &Name) {
        lock(&self.verified).remove(name);
    }

    /// The flag that says, once true, that what is being written is of an older content.
    pub(super) fn note_writer(&self, name: Name) -> Arc<AtomicBool> {
        let is_stale = Arc::new(AtomicBool::new(false));
        let mut writers = lock(&self.writers);
        writers.retain(|(_, writer)| writer.strong_count() > 0);
        writers.push((name, Arc::downgrade(&is_stale)));
        is_stale
    }

    fn disown(&self, names: &[Name]) {
        for (name, writer) in lock(&self.writers).iter() {
            if let Some(writer) = writer.upgrade().filter(|_| names.contains(name)) {
                writer.store(true, Ordering::SeqCst);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MailboxStore {
    /// A message from the cache, whole and as it was put there; `None` when it is not there.
    pub async fn content(&self, graph_id: &str) -> Result<Option<Arc<Content>>, Error> {
        let row: Option<(i64, Vec<u8>, i64)> = sqlx::query_as(
            "SELECT size, digest, used FROM content WHERE mailbox = ? AND graph_id = ?",
        )
        .bind(self.key)
        .bind(graph_id)
        .fetch_optional(self.database().readers())
        .await?;
        let Some((size, expected, used)) = row else { return Ok(None) };
        let (cache, name) = (self.cache(), Name::of(self.key, graph_id));
        let to_check = (!cache.is_verified(&name)).then(|| expected.clone());
        let is_checked = to_check.is_some();
        let (path, size) = (cache.path(&name), size.unsigned_abs());
        let Some(content) = blocking(move || read_file(&path, size, to_check)).await? else {
            let file = name.text();
            tracing::warn!(file, "a message in the cache was not as written; it is read again");
            self.drop_content(graph_id, &expected).await?;
            return Ok(None);
        };
        if is_checked {
            cache.note_verified(name);
        }
        self.note_use(graph_id, used);
        Ok(Some(Arc::new(content)))
    }

    /// Begins to write a message into the cache.
    pub async fn write_content(&self, graph_id: &str) -> Result<ContentWriter, Error> {
        Ok(ContentWriter::new(self.clone(), graph_id))
    }

    /// Forgets a message in the cache: its content has changed at the service. One that is being
    /// written meanwhile doesn't get into the cache.
    pub async fn forget_content(&self, graph_id: &str) -> Result<(), Error> {
        let ids = [graph_id.to_owned()];
        // On the disk, lest an old content come back after a power failure.
        let mut writing = self.database().write(Durability::Synced).await?;
        self.disown(&ids);
        let octets = self.delete_contents(writing.connection(), &ids).await?;
        writing.commit().await?;
        self.count_less(octets);
        self.remove_unlisted_files(&ids).await;
        Ok(())
    }

    /// What is being written of these doesn't get into the cache. For the holder of the write turn.
    pub(super) fn disown(&self, ids: &[String]) {
        let names: Vec<_> = ids.iter().map(|id| Name::of(self.key, id)).collect();
        if !names.is_empty() {
            self.cache().disown(&names);
        }
    }

    /// Deletes the rows; returns the octets that [`Self::count_less`] is told once that is
    /// permanent. [`Self::remove_unlisted_files`] comes last.
    pub(super) async fn delete_contents(
        &self,
        connection: &mut SqliteConnection,
        ids: &[String],
    ) -> Result<u64, Error> {
        if ids.is_empty() {
            return Ok(0);
        }
        let sizes: Vec<i64> = sqlx::query_scalar(
            "DELETE FROM content WHERE mailbox = ?1
             AND graph_id IN (SELECT value FROM json_each(?2)) RETURNING size",
        )
        .bind(self.key)
        .bind(json_texts(ids.iter().map(String::as_str)))
        .fetch_all(connection)
        .await?;
        Ok(sizes.iter().map(|size| size.unsigned_abs()).sum())
    }

    /// Sizes of those that are in the cache.
    pub(super) async fn content_sizes(
        &self,
        connection: &mut SqliteConnection,
        ids: impl Iterator<Item = &str>,
    ) -> Result<HashMap<String, u64>, Error> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT graph_id, size FROM content WHERE mailbox = ?1
             AND graph_id IN (SELECT value FROM json_each(?2))",
        )
        .bind(self.key)
        .bind(json_texts(ids))
        .fetch_all(connection)
        .await?;
        Ok(rows.into_iter().map(|(id, size)| (id, size.unsigned_abs())).collect())
    }

    /// Removes files whose rows have gone; what can't be removed goes at the next start.
    pub(super) async fn remove_unlisted_files(&self, ids: &[String]) {
        for graph_id in ids {
            let name = Name::of(self.key, graph_id);
            let _stripe = self.cache().stripe(&name).lock().await;
            let listed: Result<Option<i64>, _> =
                sqlx::query_scalar("SELECT 1 FROM content WHERE mailbox = ? AND graph_id = ?")
                    .bind(self.key)
                    .bind(graph_id.as_str())
                    .fetch_optional(self.database().readers())
                    .await;
            if matches!(listed, Ok(None)) {
                self.remove_file(&name).await;
            }
        }
    }

    /// Takes row and file away, if the row is still the one with that digest. True: it was.
    pub(super) async fn drop_content(&self, graph_id: &str, digest: &[u8]) -> Result<bool, Error> {
        let name = Name::of(self.key, graph_id);
        let _stripe = self.cache().stripe(&name).lock().await;
        let mut writing = self.database().write(Durability::Soon).await?;
        let size: Option<i64> = sqlx::query_scalar(
            "DELETE FROM content WHERE mailbox = ? AND graph_id = ? AND digest = ? RETURNING size",
        )
        .bind(self.key)
        .bind(graph_id)
        .bind(digest)
        .fetch_optional(writing.connection())
        .await?;
        writing.commit().await?;
        let Some(size) = size else { return Ok(false) };
        self.count_less(size.unsigned_abs());
        self.remove_file(&name).await;
        Ok(true)
    }

    pub(super) async fn remove_file(&self, name: &Name) {
        self.cache().forget_verified(name);
        let path = self.cache().path(name);
        let removed = blocking(move || match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        });
        if let Err(error) = removed.await {
            tracing::warn!(%error, "a message in the cache could not be removed");
        }
    }

    /// That much less is kept.
    pub(super) fn count_less(&self, octets: u64) {
        let total = &self.cache().total;
        let less = |total: u64| Some(total.saturating_sub(octets));
        let _ = total.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
    }

    fn note_use(&self, graph_id: &str, used: i64) {
        let now = unix_milliseconds();
        if now.saturating_sub(used) < USE_NOTED_EVERY_MS {
            return;
        }
        let (mailbox, graph_id) = (self.clone(), graph_id.to_owned());
        tokio::spawn(async move {
            if let Err(error) = mailbox.write_use(&graph_id, now).await {
                tracing::warn!(%error, "the use of a message in the cache could not be noted");
            }
        });
    }

    pub(super) async fn write_use(&self, graph_id: &str, now: i64) -> Result<(), Error> {
        let mut writing = self.database().write(Durability::Soon).await?;
        sqlx::query("UPDATE content SET used = ? WHERE mailbox = ? AND graph_id = ?")
            .bind(now)
            .bind(self.key)
            .bind(graph_id)
            .execute(writing.connection())
            .await?;
        writing.commit().await
    }
}

pub(super) fn unix_milliseconds() -> i64 {
    let now = OffsetDateTime::now_utc();
    now.unix_timestamp() * 1000 + i64::from(now.millisecond())
}

/// Runs what waits for the disk on another thread.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other);
    done.and_then(|done| done).map_err(|error| Error::Failed(format!("a message's file: {error}")))
}

/// `None` when the file is not there or not the right one.
fn read_file(path: &Path, size: u64, expected: Option<Vec<u8>>) -> io::Result<Option<Content>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    if file.metadata()?.len() != size {
        return Ok(None);
    }
    if size > SMALL {
        let fits = match expected {
            None => true,
            Some(expected) => digest_of(&mut file)? == expected,
        };
        return Ok(fits.then(|| Content::from_file(file, size)));
    }
    let mut octets = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    file.take(SMALL).read_to_end(&mut octets)?;
    let is_whole = octets.len() as u64 == size;
    let fits = expected.is_none_or(|expected| digest(&SHA256, &octets).as_ref() == expected);
    Ok((is_whole && fits).then(|| Content::from_bytes(Bytes::from(octets))))
}

fn digest_of(file: &mut File) -> io::Result<Vec<u8>> {
    let mut context = Context::new(&SHA256);
    let mut piece = vec![0; 64 << 10];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(context.finish().as_ref().to_vec()),
            read => context.update(&piece[..read]),
        }
    }
}
