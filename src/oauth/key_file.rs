//! A key file that may change while we run.
//!
//! Danger: an administrator renews a certificate, and the program keeps the old one until it
//! expires at night; or it reads the file while it is half written. Rule: the file is looked at for
//! each token request (one an hour), decoded only when its content has changed, and a failure to
//! decode is an error for a person, never a fallback to the key from before.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ring::digest::{SHA256, digest};

/// Larger files are no key files.
const MAX_BYTES: u64 = 1 << 20;

/// Decodes content; the text says what is wrong with it.
type Decode<T> = Box<dyn Fn(&Path, &[u8]) -> Result<T, String> + Send + Sync>;

/// What a key file holds, kept until the file changes.
pub(super) struct KeyFile<T> {
    path: PathBuf,
    decode: Decode<T>,
    last: Mutex<Option<(Vec<u8>, Arc<T>)>>,
}

impl<T: Send + Sync + 'static> KeyFile<T> {
    pub fn new(
        path: &Path,
        decode: impl Fn(&Path, &[u8]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let path = path.to_owned();
        Arc::new(Self { path, decode: Box::new(decode), last: Mutex::default() })
    }

    /// What it holds now. Disk and key derivation stay off the threads that serve sessions.
    pub async fn current(self: &Arc<Self>) -> Result<Arc<T>, String> {
        let file = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || file.read());
        read.await.unwrap_or_else(|_| Err("the key file can't be decoded".to_owned()))
    }

    /// The same, on the caller's own thread: a small file is read, and decoded when it is new.
    pub fn read(&self) -> Result<Arc<T>, String> {
        let content = read_bounded(&self.path)
            .map_err(|error| format!("{} can't be read: {error}", self.path.display()))?;
        let fingerprint = digest(&SHA256, &content).as_ref().to_vec();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, value)) = &*last
            && *known == fingerprint
        {
            return Ok(Arc::clone(value));
        }
        let value = Arc::new((self.decode)(&self.path, &content)?);
        *last = Some((fingerprint, Arc::clone(&value)));
        Ok(value)
    }
}

fn read_bounded(path: &Path) -> std::io::Result<zeroize::Zeroizing<Vec<u8>>> {
    use std::io::Read;
    let mut content = zeroize::Zeroizing::new(Vec::new());
    std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut content)?;
    match u64::try_from(content.len()).is_ok_and(|length| length <= MAX_BYTES) {
        true => Ok(content),
        false => Err(std::io::Error::other("it is far too large for a key file")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn it_is_decoded_once_and_again_when_it_changes() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("key");
        let decoded = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&decoded);
        let file = KeyFile::new(&path, move |_, content| {
            count.fetch_add(1, Ordering::Relaxed);
            String::from_utf8(content.to_vec()).map_err(|_| "not text".to_owned())
        });
        let error = file.current().await.expect_err("not there");
        assert!(error.contains("key") && error.contains("can't be read"), "{error}");
        for (content, decodings) in [("one", 1), ("one", 1), ("two", 2), ("one", 3)] {
            std::fs::write(&path, content).expect("write");
            assert_eq!(*file.current().await.expect("read"), content);
            assert_eq!(decoded.load(Ordering::Relaxed), decodings);
        }
        std::fs::write(&path, [0xff]).expect("write");
        assert_eq!(file.current().await.expect_err("refused"), "not text");
    }

    #[tokio::test]
    async fn a_huge_file_is_not_read() {
        let file = tempfile::NamedTempFile::new().expect("file");
        file.as_file().set_len(MAX_BYTES * 3).expect("grow");
        let error = KeyFile::new(file.path(), |_, _| Ok(())).current().await.expect_err("refused");
        assert!(error.contains("too large"), "{error}");
    }
}
