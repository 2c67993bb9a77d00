//! The cache file: read and replaced as a whole, under the lock.
//!
//! Danger: two programs that each write back what they read lose the other's sign-in; a process
//! killed in the middle leaves half a file. Rule: read, change and write happen under one lock; the
//! new content is complete and on disk before it takes the old one's name.

use std::path::{Path, PathBuf};

use super::{Document, Protection};
use crate::oauth::Error;

/// The file and what opens it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CacheFile {
    path: PathBuf,
    key_file: PathBuf,
}

/// Changes when the file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp(pub u64);

impl CacheFile {
    /// `key_file` is `Proxy.Tokens.KeyFile`, made when it is first needed. Nothing is read yet.
    pub fn new(path: PathBuf, key_file: PathBuf) -> Self {
        Self { path, key_file }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key file.
    pub fn key_file(&self) -> &Path {
        &self.key_file
    }

    /// A cheap look (one `stat`): `None` when there is no file.
    pub fn stamp(&self) -> Option<Stamp> {
        None
    }

    /// How the file is protected; `None` when there is none.
    pub async fn protection(&self) -> Result<Option<Protection>, Error> {
        Ok(None)
    }

    /// What it holds; a missing file is an empty cache.
    pub async fn read(&self) -> Result<Document, Error> {
        Ok(Document::default())
    }

    /// Changes it under the lock; `change` says what to return. A file that can't be read is not
    /// written.
    pub async fn update<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Document) -> T + Send + 'static,
    ) -> Result<T, Error> {
        Ok(change(&mut Document::default()))
    }
}
