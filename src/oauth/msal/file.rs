//! The cache file: read and replaced as a whole, under the lock.
//!
//! Danger: two programs that each write back what they read lose the other's sign-in; a process
//! killed in the middle leaves half a file. Rule: read, change and write happen under one lock; the
//! new content is complete and on disk before it takes the old one's name.

use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use super::lock::{self, LockError};
use super::protection::Wrapping;
use super::{Document, Protection};
use crate::oauth::Error;
use crate::platform::{self, LockFile};

/// Some thousand accounts. What is larger is no cache, and would only fill the memory.
const MAX_BYTES: u64 = 64 << 20;

/// How the name of a file ends that has not got its own yet.
const UNFINISHED: &str = ".unfinished";

/// Letters that make such a name unique.
const RANDOM_LETTERS: usize = 6;

/// Windows refuses to replace a file while another program reads it: tried so often.
const REPLACE_TRIES: usize = 20;

/// A program that was just reading when the file was replaced notes the time at which it was done:
/// MSAL for Python reads again only what has changed since (`_last_sync`), and would write its old
/// copy over ours. The new file is younger than any such note.
const READING_TAKES: Duration = Duration::from_secs(2);

/// Without a lock, a file may be seen half written: read again so often.
const READ_TRIES: usize = 5;
const RETRY: Duration = Duration::from_millis(100);

/// The file and what opens it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CacheFile {
    path: PathBuf,
    key_file: PathBuf,
    /// Within a process who comes first is served first; the lock file knows no order.
    turn: Arc<tokio::sync::Mutex<()>>,
    is_swept: Arc<AtomicBool>,
}

/// Changes when the file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp(pub u64);

impl CacheFile {
    /// `key_file` is `Proxy.Tokens.KeyFile`, made when it is first needed. Nothing is read yet.
    pub fn new(path: PathBuf, key_file: PathBuf) -> Self {
        Self { path, key_file, turn: Arc::default(), is_swept: Arc::default() }
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
        let metadata = fs::symlink_metadata(&self.path).ok()?;
        let mut hasher = DefaultHasher::new();
        platform::file_version(&metadata).hash(&mut hasher);
        Some(Stamp(hasher.finish()))
    }

    /// Those of cache and key file that other users of this computer may read. On Windows access
    /// lists decide, which are not looked at.
    pub fn readable_by_others(&self) -> Vec<&Path> {
        let is_open = |path: &&Path| {
            fs::metadata(path).is_ok_and(|metadata| platform::others_may_read(&metadata))
        };
        [self.path(), self.key_file()].into_iter().filter(is_open).collect()
    }

    /// How the file is protected; `None` when there is none.
    pub async fn protection(&self) -> Result<Option<Protection>, Error> {
        let found = self.blocking(|file| {
            file.read_with(|file| {
                let Some((content, _)) = file.content()? else { return Ok(None) };
                Wrapping::recognise(&content).map_err(|why| file.unusable(&why))
            })
        });
        Ok(found.await?.map(|wrapping| wrapping.protection))
    }

    /// What it holds; a missing file is an empty cache.
    pub async fn read(&self) -> Result<Document, Error> {
        self.blocking(|file| file.read_with(|file| Ok(file.open()?.document))).await
    }

    /// Changes it under the lock; `change` says what to return. A file that can't be read is not
    /// written.
    pub async fn update<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Document) -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.blocking(|file| file.change(change)).await
    }

    /// Off the threads that serve sessions, in this process's turn. Goes on to its end even when
    /// the caller does not.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let file = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&file)
        });
        done.await.unwrap_or_else(|_| {
            Err(Error::passing("the account cache was not read: authbridge is ending"))
        })
    }

    /// Reads under the lock; in a folder where we may not make one, without it.
    fn read_with<T>(&self, read: impl Fn(&Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.metadata()?.is_none() {
            return read(self);
        }
        match lock::take(&self.path) {
            Ok(_lock) => read(self),
            Err(LockError::Unavailable(_, why)) if is_read_only(&why) => {
                let mut result = read(self);
                for _ in 1..READ_TRIES {
                    if result.is_ok() {
                        break;
                    }
                    std::thread::sleep(RETRY);
                    result = read(self);
                }
                result
            }
            Err(error) => Err(self.not_locked(&error)),
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Document) -> T) -> Result<T, Error> {
        let folder = folder_of(&self.path);
        platform::create_private_directory(folder).map_err(|why| {
            self.unusable(&format!(
                "its folder can't be made: {why}; the user who runs authbridge needs the right"
            ))
        })?;
        let _lock: LockFile = lock::take(&self.path).map_err(|error| self.not_locked(&error))?;
        self.sweep(folder);
        let Open { mut document, wrapping, replaced } = self.open()?;
        let before = document.to_json();
        let result = change(&mut document);
        let json = document.to_json();
        if *json != *before {
            let content = wrapping
                .unwrap_or(Wrapping::NEW)
                .close(&json, &self.key_file)
                .map_err(|why| self.unusable(&why))?;
            if content.len() as u64 > MAX_BYTES {
                // It would not be read again.
                return Err(self.unusable(&format!(
                    "it would become larger than {} MiB and is left as it was; remove accounts \
                     that no role needs (`authbridge token remove`), or keep some in another file \
                     (CacheFileName)",
                    MAX_BYTES >> 20
                )));
            }
            self.replace(folder, &content, replaced.as_ref()).map_err(|why| {
                self.unusable(&format!(
                    "it can't be written: {why}; what it held is still there; see to the space on \
                     the disk and the rights in its folder"
                ))
            })?;
        }
        Ok(result)
    }

    fn open(&self) -> Result<Open, Error> {
        let Some((content, metadata)) = self.content()? else {
            return Ok(Open { document: Document::default(), wrapping: None, replaced: None });
        };
        let wrapping = Wrapping::recognise(&content).map_err(|why| self.unusable(&why))?;
        let document = match wrapping {
            None => Document::default(),
            Some(wrapping) => {
                let json = wrapping.open(&content, &self.key_file);
                let json = json.map_err(|why| self.unusable(&why))?;
                Document::parse(&json).map_err(|why| self.unusable(&why))?
            }
        };
        Ok(Open { document, wrapping, replaced: Some(metadata) })
    }

    /// The file as it is; `None` when there is none.
    fn content(&self) -> Result<Option<Content>, Error> {
        let Some(named) = self.metadata()? else { return Ok(None) };
        self.admit(&named)?;
        let read = || -> io::Result<Content> {
            let file = platform::open_no_link(&self.path)?;
            let metadata = file.metadata()?;
            // With room for all of it, so that growing leaves no copies behind.
            let length = usize::try_from(metadata.len().min(MAX_BYTES)).unwrap_or(0);
            let mut content = Zeroizing::new(Vec::with_capacity(length + 1));
            file.take(MAX_BYTES + 1).read_to_end(&mut content)?;
            Ok((content, metadata))
        };
        let (content, metadata) = read().map_err(|why| {
            self.unusable(&format!(
                "it can't be read: {why}; the user who runs authbridge needs the right"
            ))
        })?;
        // What has that name may have changed since the first look.
        self.admit(&metadata)?;
        Ok(Some((content, metadata)))
    }

    fn metadata(&self) -> Result<Option<Metadata>, Error> {
        match fs::symlink_metadata(&self.path) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(self.unusable(&format!("it can't be looked at: {why}"))),
        }
    }

    /// Refuses what is no file of ours.
    fn admit(&self, metadata: &Metadata) -> Result<(), Error> {
        if metadata.is_symlink() {
            return Err(self.unusable(
                &"it is a symbolic link, which replacing would cut off; name the file that it \
                  points to (CacheDirectory and CacheFileName)",
            ));
        }
        if !metadata.is_file() {
            return Err(self.unusable(&"it is no file; name another one (CacheFileName)"));
        }
        if platform::is_foreign(metadata) || platform::is_planted(metadata, folder_of(&self.path)) {
            return Err(self.unusable(
                &"it belongs to another user; run authbridge as that user, or give the file to the \
                  user who runs authbridge",
            ));
        }
        if metadata.len() > MAX_BYTES {
            return Err(self.unusable(&format!(
                "it is larger than any token cache ({} MiB); name another one (CacheFileName)",
                metadata.len() >> 20
            )));
        }
        Ok(())
    }

    /// A new file of the same owner and rights takes the name.
    fn replace(
        &self,
        folder: &Path,
        content: &[u8],
        replaced: Option<&Metadata>,
    ) -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(&self.unfinished_prefix())
            .suffix(UNFINISHED)
            .rand_bytes(RANDOM_LETTERS)
            .tempfile_in(folder)?;
        file.write_all(content)?;
        match replaced {
            Some(replaced) => platform::inherit_rights(file.as_file(), replaced)?,
            None => platform::belong_to_folder(file.as_file(), folder)?,
        }
        file.as_file().sync_all()?;
        file.as_file().set_modified(SystemTime::now() + READING_TAKES)?;
        give_name(file, &self.path)?;
        platform::sync_directory(folder)
    }

    fn unfinished_prefix(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        format!(".{}.", name.to_string_lossy())
    }

    /// Removes what killed processes have left. Under the lock, nobody is at work on one.
    fn sweep(&self, folder: &Path) {
        if self.is_swept.swap(true, Ordering::Relaxed) {
            return;
        }
        let prefix = self.unfinished_prefix();
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let middle = name
                .to_str()
                .and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(UNFINISHED))
                .filter(|letters| letters.len() == RANDOM_LETTERS && !letters.contains('.'));
            if middle.is_some() {
                // It holds what the cache holds, protected in the same way: no harm if it stays.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn unusable(&self, why: &dyn std::fmt::Display) -> Error {
        let path = self.path.display();
        Error::person(format!("the account cache {path} can't be used: {why}"))
    }

    fn not_locked(&self, error: &LockError) -> Error {
        match error {
            LockError::Busy(..) => {
                Error::passing(format!("the account cache {}: {error}", self.path.display()))
            }
            LockError::Unavailable(..) => self.unusable(error),
        }
    }
}

/// What a file holds, and whose it is.
type Content = (Zeroizing<Vec<u8>>, Metadata);

/// A file that was read.
struct Open {
    document: Document,
    wrapping: Option<Wrapping>,
    replaced: Option<Metadata>,
}

/// The folder of a file; a bare name stands in the working directory.
pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

fn give_name(mut file: NamedTempFile, path: &Path) -> io::Result<()> {
    for _ in 1..REPLACE_TRIES {
        file = match file.persist(path) {
            Ok(_) => return Ok(()),
            Err(refused) if refused.error.kind() == io::ErrorKind::PermissionDenied => refused.file,
            Err(refused) => return Err(refused.error),
        };
        std::thread::sleep(RETRY);
    }
    file.persist(path).map(|_| ()).map_err(|refused| refused.error)
}

#[cfg(test)]
mod tests;
