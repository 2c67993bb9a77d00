//! `Proxy.Client.<login>.PasswordFile`: a file of `login:argon2-hash` lines.
//!
//! Danger: an administrator who removes a line expects that login to be shut out at once. Rule:
//! the file is looked at for every login and read again when it has changed; a file that can't be
//! read lets nobody in.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::passwords;
use crate::secret::Secret;

/// A file changed this shortly before it was read may change again without a new time stamp.
const COARSEST_CLOCK: Duration = Duration::from_secs(2);

/// The files read so far.
#[derive(Default)]
pub(super) struct PasswordFiles {
    read: Mutex<HashMap<PathBuf, Arc<PasswordFile>>>,
}

struct PasswordFile {
    stamp: Stamp,
    settled: bool,
    hashes: HashMap<String, Secret>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    octets: u64,
}

impl PasswordFiles {
    /// The hash of a login (in lower case).
    pub(super) async fn hash_of(&self, path: &Path, login: &str) -> Option<Secret> {
        match self.current(path).await {
            Ok(file) => file.hashes.get(login).cloned(),
            Err(error) => {
                tracing::error!(path = %path.display(), "password file can't be read: {error}");
                None
            }
        }
    }

    async fn current(&self, path: &Path) -> std::io::Result<Arc<PasswordFile>> {
        let metadata = tokio::fs::metadata(path).await?;
        let stamp = Stamp { modified: metadata.modified().ok(), octets: metadata.len() };
        let known = self.lock().get(path).cloned();
        if let Some(file) = known.filter(|file| file.settled && file.stamp == stamp) {
            return Ok(file);
        }
        let content = Secret::new(tokio::fs::read_to_string(path).await?);
        let file = Arc::new(PasswordFile {
            stamp,
            settled: is_settled(stamp),
            hashes: parse(path, content.expose()),
        });
        self.lock().insert(path.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, Arc<PasswordFile>>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_settled(stamp: Stamp) -> bool {
    let age = stamp.modified.and_then(|time| SystemTime::now().duration_since(time).ok());
    age.is_some_and(|age| age > COARSEST_CLOCK)
}

/// Blank lines and those that start with `#` are skipped; a broken line is logged by its number.
fn parse(path: &Path, content: &str) -> HashMap<String, Secret> {
    let mut hashes = HashMap::new();
    for (number, line) in content.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (login, hash) = line.split_once(':').unwrap_or((line, ""));
        let hash = Secret::new(hash.trim());
        match passwords::hash_problem(&hash) {
            None => {
                hashes.entry(login.trim().to_lowercase()).or_insert(hash);
            }
            Some(reason) => tracing::error!(
                path = %path.display(),
                line = number + 1,
                "password file: login:argon2-hash expected ({reason})"
            ),
        }
    }
    hashes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lines_and_skips_broken_ones() {
        let content = format!(
            "\u{feff}# staff\r\n\r\nJane@Example.com: {0}\r\nbroken\nx:plain\n jim@example.com:{0}\n",
            passwords::DECOY
        );
        let mut logins: Vec<_> = parse(Path::new("x"), &content).into_keys().collect();
        logins.sort();
        assert_eq!(logins, ["jane@example.com", "jim@example.com"]);
    }

    #[tokio::test]
    async fn a_changed_file_counts_at_once_and_a_lost_one_lets_nobody_in() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("staff");
        let files = PasswordFiles::default();
        assert_eq!(files.hash_of(&path, "jane").await, None);
        for login in ["jane", "jima"] {
            std::fs::write(&path, format!("{login}:{}", passwords::DECOY)).expect("written");
            for asked in ["jane", "jima"] {
                let found = files.hash_of(&path, asked).await.is_some();
                assert_eq!(found, asked == login, "{asked} in a file of {login}");
            }
        }
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(files.hash_of(&path, "jima").await, None);
    }

    #[tokio::test]
    async fn an_old_file_is_read_once() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("staff");
        std::fs::write(&path, format!("jane:{}", passwords::DECOY)).expect("written");
        let file = std::fs::File::options().write(true).open(&path).expect("open");
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).expect("set");
        let files = PasswordFiles::default();
        let first = files.current(&path).await.expect("read");
        assert!(Arc::ptr_eq(&first, &files.current(&path).await.expect("known")));
    }
}
