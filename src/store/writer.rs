//! Writing one message into the cache.
//!
//! Danger: a download that breaks off leaves half a message; a content that the service has changed
//! meanwhile arrives late. Rule: a temporary file, which goes when it is not finished, gets its
//! name at the end, and its row only when nobody has called the content old.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use ring::digest::{Context, SHA256};
use tempfile::NamedTempFile;

use super::cache::{Name, SMALL, blocking, unix_milliseconds};
use super::sqlite::Durability;
use super::{Error, MailboxStore};
use crate::mail::Content;
use crate::platform;

/// How the names of files that are being written begin.
pub(super) const UNFINISHED: &str = "new-";

/// Octets that are collected before they are written: most messages cost one call.
const WRITE_FROM: usize = 256 << 10;

/// In every folder of the mailbox.
pub(super) const SIZES_ARE_EXACT: &str =
    "UPDATE message SET size = ?1, is_exact = 1 WHERE graph_id = ?2
     AND folder IN (SELECT key FROM folder WHERE mailbox = ?3)";

/// Writes one message into the cache; dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub struct ContentWriter {
    mailbox: MailboxStore,
    graph_id: String,
    name: Name,
    waiting: BytesMut,
    begun: Option<Begun>,
    /// A call of [`Self::push`] was dropped or failed: octets are missing.
    is_torn: bool,
    is_stale: Arc<AtomicBool>,
}

/// What is in the file.
struct Begun {
    file: NamedTempFile,
    digest: Context,
    size: u64,
}

impl std::fmt::Debug for Begun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} octets in a file", self.size)
    }
}

/// A message with its name.
struct Finished {
    file: File,
    digest: Vec<u8>,
    size: u64,
}

impl ContentWriter {
    pub(super) fn new(mailbox: MailboxStore, graph_id: &str) -> Self {
        let name = Name::of(mailbox.key, graph_id);
        Self {
            is_stale: mailbox.cache().note_writer(name),
            graph_id: graph_id.to_owned(),
            name,
            waiting: BytesMut::new(),
            begun: None,
            is_torn: false,
            mailbox,
        }
    }

    /// The next octets. Files are written by other threads.
    pub async fn push(&mut self, octets: Bytes) -> Result<(), Error> {
        self.waiting.extend_from_slice(&octets);
        match self.waiting.len() >= WRITE_FROM {
            true => self.write_out().await,
            false => Ok(()),
        }
    }

    async fn write_out(&mut self) -> Result<(), Error> {
        let octets = std::mem::take(&mut self.waiting);
        let begun = self.begun.take();
        let folder = self.mailbox.cache().folder.clone();
        let was_torn = std::mem::replace(&mut self.is_torn, true);
        let writing = move || {
            let mut begun = begun.map_or_else(|| Begun::new(&folder), Ok)?;
            begun.write(&octets)?;
            Ok(begun)
        };
        self.begun = Some(blocking(writing).await?);
        self.is_torn = was_torn;
        Ok(())
    }

    /// The message is complete: it is in the cache, and its size is exact in every folder of the
    /// mailbox that has it.
    pub async fn finish(mut self) -> Result<Arc<Content>, Error> {
        if self.is_torn {
            return Err(Error::Failed("a message's file is incomplete".to_owned()));
        }
        let octets = std::mem::take(&mut self.waiting).freeze();
        let (begun, rest) = (self.begun.take(), octets.clone());
        let mailbox = self.mailbox.clone();
        let cache = mailbox.cache();
        let (folder, path) = (cache.folder.clone(), cache.path(&self.name));
        let _stripe = cache.stripe(&self.name).lock().await;
        let finished = blocking(move || {
            let mut begun = begun.map_or_else(|| Begun::new(&folder), Ok)?;
            begun.write(&rest)?;
            begun.finish(&path)
        })
        .await?;
        if let Err(error) = self.list(&finished).await {
            mailbox.remove_file(&self.name).await;
            return Err(error);
        }
        mailbox.make_room();
        Ok(Arc::new(match finished.size <= SMALL {
            true => Content::from_bytes(octets),
            false => Content::from_file(finished.file, finished.size),
        }))
    }

    /// Puts it into the list, unless it is of an older content.
    async fn list(&self, finished: &Finished) -> Result<(), Error> {
        let size = i64::try_from(finished.size).unwrap_or(i64::MAX);
        let mailbox = &self.mailbox;
        let mut writing = mailbox.database().write(Durability::Soon).await?;
        let earlier = std::slice::from_ref(&self.graph_id);
        let octets = mailbox.delete_contents(writing.connection(), earlier).await?;
        let is_stale = self.is_stale.load(Ordering::SeqCst);
        if !is_stale {
            sqlx::query(
                "INSERT INTO content (mailbox, graph_id, size, digest, used)
                 VALUES (?, ?, ?, ?, ?)",
            )
            .bind(mailbox.key)
            .bind(self.graph_id.as_str())
            .bind(size)
            .bind(finished.digest.as_slice())
            .bind(unix_milliseconds())
            .execute(writing.connection())
            .await?;
            sqlx::query(SIZES_ARE_EXACT)
                .bind(size)
                .bind(self.graph_id.as_str())
                .bind(mailbox.key)
                .execute(writing.connection())
                .await?;
        }
        writing.commit().await?;
        mailbox.count_less(octets);
        if is_stale {
            mailbox.remove_file(&self.name).await;
            return Ok(());
        }
        mailbox.cache().total.fetch_add(finished.size, Ordering::SeqCst);
        mailbox.cache().note_verified(self.name);
        Ok(())
    }
}

impl Drop for ContentWriter {
    /// Removing a file waits for the disk.
    fn drop(&mut self) {
        let Some(begun) = self.begun.take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || drop(begun));
        }
    }
}

impl Begun {
    fn new(folder: &Path) -> io::Result<Self> {
        // For its owner only, as the folder is.
        let file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder)?;
        Ok(Self { file, digest: Context::new(&SHA256), size: 0 })
    }

    fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.digest.update(octets);
        self.size += octets.len() as u64;
        self.file.write_all(octets)
    }

    fn finish(self, path: &Path) -> io::Result<Finished> {
        if let Some(folder) = path.parent() {
            platform::create_private_directory(folder)?;
        }
        let file = self.file.persist(path).map_err(|failed| failed.error)?;
        Ok(Finished { file, digest: self.digest.finish().as_ref().to_vec(), size: self.size })
    }
}
