//! The page's password: configured, kept, or made at the first start.
//!
//! Danger: a password that is made anew at every start locks the administrator out, one that is
//! logged is everybody's, and one that a program makes up from the clock can be guessed. Rule: 125
//! random bits, shown once by whoever started the program, kept as an Argon2 hash that only the
//! owner reads; a file that can't be read is an error, never a reason for another password. The file
//! comes into being as a whole, so that neither a crash nor a second start finds half a hash.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use argon2::Argon2;
use argon2::password_hash::PasswordHasher as _;
use argon2::password_hash::phc::PasswordHash;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::config::{Config, password_hash};
use crate::secret::Secret;

/// What is kept of the page's password, in the state folder.
pub const FILE: &str = "admin-password.hash";

/// A hash has some hundred octets.
const MAX_FILE: usize = 4096;

/// 32 symbols without those that look like another: five bits each.
const SYMBOLS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Symbols of a password: 125 bits.
const LENGTH: usize = 25;

/// Symbols between two hyphens.
const GROUP: usize = 5;

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The file can't be read or written.
    #[error(
        "{}: {source}; make it accessible, or set Proxy.Admin.PasswordHash (authbridge passwd \
         makes a hash)", .path.display()
    )]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error(
        "{}: {problem}; delete it, and a new password for the web page is made and shown at the \
         next start", .path.display()
    )]
    Content {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The system gives no random numbers.
    #[error("no password for the web page can be made: {0}")]
    Make(String),
}

/// The page's password.
#[derive(Debug)]
pub(in crate::app) struct Password {
    /// Argon2, in PHC form; empty when the page is off.
    pub hash: Secret,
    /// The password itself when it was made just now.
    pub made: Option<Secret>,
}

/// The configured hash, that of the state folder, or a new one.
pub(in crate::app) fn password(config: &Config) -> Result<Password, PasswordError> {
    if config.admin.listen.is_empty() {
        return Ok(Password { hash: Secret::new(""), made: None });
    }
    match &config.admin.password_hash {
        Some(hash) => Ok(Password { hash: hash.clone(), made: None }),
        None => kept_or_made(&config.state_directory.join(FILE)),
    }
}

fn kept_or_made(path: &Path) -> Result<Password, PasswordError> {
    if let Some(hash) = read(path)? {
        return Ok(Password { hash, made: None });
    }
    let password = make()?;
    let hash = hash(&password)?;
    let line = format!("{}\n", hash.expose());
    match keep(path, line.as_bytes()) {
        Ok(()) => Ok(Password { hash, made: Some(password) }),
        // Another process that starts at the same time was first: its password counts.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let path = path.to_owned();
            let hash = read(&path)?.ok_or(PasswordError::File { path, source: error })?;
            Ok(Password { hash, made: None })
        }
        Err(source) => Err(PasswordError::File { path: path.to_owned(), source }),
    }
}

/// For the owner only, and never over a file that is there.
fn keep(path: &Path, line: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(FILE).tempfile_in(folder)?;
    file.write_all(line)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map(drop).map_err(|error| error.error)
}

fn read(path: &Path) -> Result<Option<Secret>, PasswordError> {
    let content = match std::fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(PasswordError::File { path: path.to_owned(), source }),
    };
    let wrong = |problem: String| PasswordError::Content { path: path.to_owned(), problem };
    if content.len() > MAX_FILE {
        return Err(wrong("is too long for a hash".to_owned()));
    }
    let text = String::from_utf8(content).map_err(|_| wrong("is no text".to_owned()))?;
    password_hash::cost(text.trim()).map_err(wrong)?;
    Ok(Some(Secret::new(text.trim())))
}

fn make() -> Result<Secret, PasswordError> {
    let mut random = [0_u8; LENGTH];
    let none = |_| PasswordError::Make("the system gives no random numbers".to_owned());
    SystemRandom::new().fill(&mut random).map_err(none)?;
    // 256 is a multiple of 32: each symbol is as likely as any other.
    let symbol = |octet: &u8| char::from(SYMBOLS[usize::from(octet % 32)]);
    let groups: Vec<String> =
        random.chunks(GROUP).map(|group| group.iter().map(symbol).collect()).collect();
    Ok(Secret::new(groups.join("-")))
}

/// Argon2id with the parameters of OWASP's first choice: 19 MiB, two passes, one lane.
fn hash(password: &Secret) -> Result<Secret, PasswordError> {
    let hash: PasswordHash = Argon2::default()
        .hash_password(password.expose().as_bytes())
        .map_err(|error| PasswordError::Make(error.to_string()))?;
    Ok(Secret::new(hash.to_string()))
}

#[cfg(test)]
mod tests {
    use argon2::PasswordVerifier as _;

    use super::*;

    #[test]
    fn a_password_is_made_once_and_kept_as_a_hash() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join(FILE);
        let first = kept_or_made(&path).expect("made");
        let made = first.made.expect("shown once");
        let file = std::fs::read_to_string(&path).expect("written");
        assert!(!file.contains(made.expose()));
        let parsed = PasswordHash::new(file.trim()).expect("PHC");
        assert!(Argon2::default().verify_password(made.expose().as_bytes(), &parsed).is_ok());
        let second = kept_or_made(&path).expect("kept");
        assert!(second.made.is_none());
        assert_eq!(second.hash, first.hash);
    }

    #[test]
    fn of_many_starts_at_once_one_makes_the_password() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join(FILE);
        for _ in 0..8 {
            let all: Vec<Password> = std::thread::scope(|scope| {
                let starts: Vec<_> = (0..4).map(|_| scope.spawn(|| kept_or_made(&path))).collect();
                let ended = starts.into_iter().map(|start| start.join().expect("no panic"));
                ended.map(|password| password.expect("a password")).collect()
            });
            assert_eq!(all.iter().filter(|password| password.made.is_some()).count(), 1);
            assert!(all.iter().all(|password| password.hash == all[0].hash));
            std::fs::remove_file(&path).expect("there");
            let left = std::fs::read_dir(folder.path()).expect("readable").count();
            assert_eq!(left, 0, "no other file");
        }
    }

    #[test]
    fn a_password_is_readable_and_never_the_same() {
        let (one, two) = (make().expect("random"), make().expect("random"));
        assert_ne!(one, two);
        let groups: Vec<&str> = one.expose().split('-').collect();
        assert!(groups.len() == 5 && groups.iter().all(|group| group.len() == GROUP));
        let known = |c: char| c == '-' || SYMBOLS.contains(&u8::try_from(c).unwrap_or_default());
        assert!(one.expose().chars().all(known));
        let mut symbols = SYMBOLS.to_vec();
        symbols.dedup();
        assert_eq!(symbols.len(), 32);
    }

    #[test]
    fn a_file_that_is_no_hash_is_an_error_not_a_new_password() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join(FILE);
        for content in [&b"hunter2"[..], b"", b"\xff\xfe", &[b'a'; MAX_FILE + 1]] {
            std::fs::write(&path, content).expect("written");
            let error = kept_or_made(&path).expect_err("no hash").to_string();
            assert!(error.contains(FILE) && error.contains("delete it"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
            assert_eq!(std::fs::read(&path).expect("there"), content, "untouched");
        }
        std::fs::remove_file(&path).expect("removed");
        std::fs::create_dir(&path).expect("a folder");
        assert!(matches!(kept_or_made(&path), Err(PasswordError::File { .. })));
    }
}
