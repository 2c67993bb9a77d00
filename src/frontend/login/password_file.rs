//! `Proxy.Client.<login>.PasswordFile`: a file of `login:argon2-hash` lines.
//!
//! Danger: an administrator who removes a line expects that login to be shut out at once; a path
//! that leads to a pipe, a device or a file of gigabytes must not hold up every login. Rule: the
//! file is looked at for every login and read again when it has changed, up to a limit and away from
//! the threads that serve sessions; a file that can't be read lets nobody in.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use zeroize::Zeroizing;

use crate::config::password_hash::cost;
use crate::secret::Secret;

/// A file changed this shortly before it was read may change again without a new time stamp.
const COARSEST_CLOCK: Duration = Duration::from_secs(2);

/// Some hundred thousand lines.
const MAX_OCTETS: u64 = 16 << 20;

/// The files read so far.
#[derive(Default)]
pub(super) struct PasswordFiles {
    read: Mutex<HashMap<PathBuf, Arc<PasswordFile>>>,
}

/// One file, as last read.
pub(super) struct PasswordFile {
    stamp: Stamp,
    settled: bool,
    hashes: HashMap<String, Secret>,
    costliest: Option<Secret>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    octets: u64,
}

impl PasswordFile {
    /// The hash of a login in lower case.
    pub(super) fn hash_of(&self, login: &str) -> Option<&Secret> {
        self.hashes.get(login)
    }

    /// The hash whose check takes longest.
    pub(super) fn costliest(&self) -> Option<&Secret> {
        self.costliest.as_ref()
    }
}

impl PasswordFiles {
    /// What the file holds now; a failure is logged.
    pub(super) async fn current(&self, path: &Path) -> Option<Arc<PasswordFile>> {
        let known = self.lock().get(path).cloned();
        let owned = path.to_owned();
        let read = tokio::task::spawn_blocking(move || look(&owned, known)).await;
        match read.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(file) => {
                self.lock().insert(path.to_owned(), Arc::clone(&file));
                Some(file)
            }
            Err(error) => {
                tracing::error!(path = %path.display(), "password file can't be read: {error}");
                None
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, Arc<PasswordFile>>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The known content while the file has not changed, else the new one.
fn look(path: &Path, known: Option<Arc<PasswordFile>>) -> io::Result<Arc<PasswordFile>> {
    // Before it is opened: opening a pipe waits for its writer.
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() || metadata.len() > MAX_OCTETS {
        return Err(io::Error::other(format!("it is no file of at most {MAX_OCTETS} octets")));
    }
    let stamp = Stamp { modified: metadata.modified().ok(), octets: metadata.len() };
    if let Some(file) = known.filter(|file| file.settled && file.stamp == stamp) {
        return Ok(file);
    }
    let mut content = Zeroizing::new(String::new());
    File::open(path)?.take(MAX_OCTETS).read_to_string(&mut content)?;
    let (hashes, costliest) = parse(path, &content);
    Ok(Arc::new(PasswordFile { stamp, settled: is_settled(stamp), hashes, costliest }))
}

fn is_settled(stamp: Stamp) -> bool {
    let age = stamp.modified.and_then(|time| SystemTime::now().duration_since(time).ok());
    age.is_some_and(|age| age > COARSEST_CLOCK)
}

/// Blank lines and those that start with `#` are skipped; a broken line, or a second one for the
/// same login, is logged by its number. Gives the costliest hash too.
fn parse(path: &Path, content: &str) -> (HashMap<String, Secret>, Option<Secret>) {
    let mut hashes = HashMap::new();
    let mut costliest: Option<(u64, Secret)> = None;
    for (number, line) in content.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |reason: &str| {
            let (path, line) = (path.display(), number + 1);
            tracing::error!(%path, line, "password file: {reason}; login:argon2-hash is expected");
        };
        let (login, hash) = line.split_once(':').unwrap_or((line, ""));
        let (login, hash) = (login.trim().to_lowercase(), Secret::new(hash.trim()));
        match cost(hash.expose()) {
            Ok(_) if hashes.contains_key(&login) => {
                wrong("the login has a line already, and the first one counts");
            }
            Ok(cost) => {
                if costliest.as_ref().is_none_or(|(most, _)| cost > *most) {
                    costliest = Some((cost, hash.clone()));
                }
                hashes.insert(login, hash);
            }
            Err(reason) => wrong(&format!("the hash {reason}")),
        }
    }
    (hashes, costliest.map(|(_, hash)| hash))
}

#[cfg(test)]
mod tests {
    use super::super::runner::DECOY;
    use super::*;

    async fn finds(files: &PasswordFiles, path: &Path, login: &str) -> bool {
        files.current(path).await.is_some_and(|file| file.hash_of(login).is_some())
    }

    #[test]
    fn reads_lines_and_skips_broken_ones() {
        let content = format!(
            "\u{feff}# staff\r\n\r\nJane@Example.com: {0}\r\nbroken\nx:plain\n jim@example.com:{0}\n",
            DECOY
        );
        let mut logins: Vec<_> = parse(Path::new("x"), &content).0.into_keys().collect();
        logins.sort();
        assert_eq!(logins, ["jane@example.com", "jim@example.com"]);
    }

    #[tokio::test]
    async fn a_changed_file_counts_at_once_and_a_lost_one_lets_nobody_in() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("staff");
        let files = PasswordFiles::default();
        assert!(!finds(&files, &path, "jane").await);
        for login in ["jane", "jima"] {
            std::fs::write(&path, format!("{login}:{}", DECOY)).expect("written");
            for asked in ["jane", "jima"] {
                let found = finds(&files, &path, asked).await;
                assert_eq!(found, asked == login, "{asked} in a file of {login}");
            }
        }
        std::fs::remove_file(&path).expect("removed");
        assert!(!finds(&files, &path, "jima").await);
    }

    #[tokio::test]
    async fn an_old_file_is_read_once() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("staff");
        std::fs::write(&path, format!("jane:{}", DECOY)).expect("written");
        let file = std::fs::File::options().write(true).open(&path).expect("open");
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).expect("set");
        let files = PasswordFiles::default();
        let first = files.current(&path).await.expect("read");
        assert!(Arc::ptr_eq(&first, &files.current(&path).await.expect("known")));
    }

    #[test]
    fn the_costliest_hash_is_known_and_the_first_line_of_a_login_counts() {
        let dear = DECOY.replace("t=2", "t=3");
        let content = format!("a:{DECOY}\nb:{dear}\nA:{dear}\nc:{DECOY}\n");
        let (hashes, costliest) = parse(Path::new("x"), &content);
        assert_eq!(costliest.as_ref().map(Secret::expose), Some(dear.as_str()));
        assert_eq!((hashes.len(), hashes["a"].expose()), (3, DECOY));
    }

    #[tokio::test]
    async fn what_is_no_file_or_too_large_lets_nobody_in() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("huge");
        std::fs::write(&path, format!("jane:{DECOY}\n")).expect("written");
        let files = PasswordFiles::default();
        assert!(finds(&files, &path, "jane").await);
        let huge = File::options().write(true).open(&path).expect("open");
        huge.set_len(MAX_OCTETS + 1).expect("grown");
        assert!(!finds(&files, &path, "jane").await);
        assert!(files.current(folder.path()).await.is_none());
    }
}
