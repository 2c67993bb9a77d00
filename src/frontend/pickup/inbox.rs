//! The folder: which files are complete, and taking them.
//!
//! Danger: half a file is half a message; a link or a pipe leads somewhere else; two processes take
//! the same file. Rule: a file is complete when size and time have stood still for [`QUIET`], nobody
//! was seen to open it for writing without closing it (where the system tells), and on Windows
//! nobody has it open at all. It is taken by moving it into a private folder beside, which one
//! process at a time may use, under an identifier of its own: that makes it the same message after a
//! crash. Names that begin with a dot or a tilde are somebody's temporary files.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use uuid::Uuid;

use super::events::Writing;
use crate::platform::{self, FileVersion};

/// A file that nobody has changed for so long is complete. Programs write a message in one go; one
/// that waits longer for its own data must write under another name and rename.
pub(super) const QUIET: Duration = Duration::from_secs(2);
/// The private folder.
pub(super) const PRIVATE: &str = ".authbridge";
/// Files that are looked at in one go, so that a folder of millions does not fill the memory; more
/// come when these are gone.
const MAX_FILES: usize = 100_000;
/// File systems take names of 255 octets.
const MAX_NAME: usize = 255;
/// Octets of a UUID as text.
const UUID: usize = 36;

/// The folder as seen so far.
#[derive(Debug)]
pub(super) struct Inbox {
    directory: PathBuf,
    writing: Writing,
    seen: HashMap<OsString, Seen>,
    /// Told once each: links, folders, pipes, what can't be moved.
    odd: HashSet<OsString>,
    /// Held for as long as the private folder is ours.
    lock: Option<Option<File>>,
}

#[derive(Debug)]
struct Seen {
    version: FileVersion,
    since: Instant,
}

/// A file that is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Where it is.
    pub path: PathBuf,
    /// What makes it the same message after a crash.
    pub id: Uuid,
    /// What it was called.
    pub name: OsString,
}

/// What a look has found.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Files that are ours, the oldest first.
    pub taken: Vec<Taken>,
    /// There are files that are not complete yet.
    pub waiting: bool,
}

impl Inbox {
    pub fn new(directory: PathBuf, writing: Writing) -> Self {
        let (seen, odd) = (HashMap::new(), HashSet::new());
        Self { directory, writing, seen, odd, lock: None }
    }

    /// Takes what is complete, and lists all that is ours. Blocks.
    pub fn gather(&mut self, now: Instant) -> io::Result<Gathered> {
        if !fs::metadata(&self.directory)?.is_dir() {
            return Err(io::Error::other("it is no folder"));
        }
        let private = self.own_private_folder()?;
        let (complete, waiting) = self.look(now)?;
        let mut moved = false;
        for name in &complete {
            match self.take(name, &private) {
                Ok(taken) => moved |= taken,
                Err(error) if !self.is_news(name) => {
                    tracing::debug!(%error, "a pickup file still can't be moved");
                }
                Err(error) => {
                    let file = name.to_string_lossy();
                    tracing::warn!(%file, %error, "a pickup file can't be moved; see its rights");
                }
            }
            // A file that could not be moved is asked for again after a pause.
            self.seen.remove(name);
        }
        if moved {
            // A move that a power failure undid would come back as another message.
            platform::sync_directory(&private)?;
            platform::sync_directory(&self.directory)?;
        }
        Ok(Gathered { taken: list(&private)?, waiting })
    }

    /// The private folder, once it is ours alone.
    fn own_private_folder(&mut self) -> io::Result<PathBuf> {
        let private = self.directory.join(PRIVATE);
        platform::create_private_directory(&private)?;
        let metadata = fs::symlink_metadata(&private)?;
        if !metadata.is_dir() || platform::is_foreign(&metadata) {
            let text = format!("{PRIVATE} in it is not a folder of this service; remove it");
            return Err(io::Error::other(text));
        }
        if self.lock.is_none() {
            self.lock = Some(lock(&private.join("lock"))?);
        }
        Ok(private)
    }

    /// Names of complete files, the oldest first, and whether there are others.
    fn look(&mut self, now: Instant) -> io::Result<(Vec<OsString>, bool)> {
        let mut seen = HashMap::new();
        let mut complete: Vec<(SystemTime, OsString)> = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            if !is_message(&name) {
                continue;
            }
            // Gone meanwhile, or not ours to look at.
            let Ok(metadata) = fs::symlink_metadata(self.directory.join(&name)) else { continue };
            if !metadata.is_file() {
                self.tell_of_odd(&name);
                continue;
            }
            let seen_now = self.seen_at(&name, &metadata, now);
            if self.is_complete(&name, &metadata, &seen_now, now) {
                complete
                    .push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), name.clone()));
            }
            seen.insert(name, seen_now);
            if seen.len() == MAX_FILES {
                break;
            }
        }
        let waiting = seen.len() > complete.len();
        self.seen = seen;
        complete.sort();
        Ok((complete.into_iter().map(|(_, name)| name).collect(), waiting))
    }

    fn seen_at(&self, name: &OsStr, metadata: &Metadata, now: Instant) -> Seen {
        let version = platform::file_version(metadata);
        match self.seen.get(name) {
            Some(earlier) if earlier.version == version => Seen { version, since: earlier.since },
            _ => Seen { version, since: now },
        }
    }

    /// An empty file is a name that somebody has reserved.
    fn is_complete(&self, name: &OsStr, metadata: &Metadata, seen: &Seen, now: Instant) -> bool {
        metadata.len() > 0
            && now.saturating_duration_since(seen.since) >= QUIET
            && !self.writing.has(name, now)
            && platform::opens_alone(&self.directory.join(name)).unwrap_or(true)
    }

    /// False: somebody else was faster, or has it open.
    fn take(&self, name: &OsStr, private: &Path) -> io::Result<bool> {
        let target = private.join(private_name(Uuid::new_v4(), name));
        match fs::rename(self.directory.join(name), target) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) if platform::is_in_use(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// True the first time that the name is complained about.
    fn is_news(&mut self, name: &OsStr) -> bool {
        self.odd.len() < MAX_FILES && self.odd.insert(name.to_owned())
    }

    fn tell_of_odd(&mut self, name: &OsStr) {
        if self.is_news(name) {
            let file = name.to_string_lossy();
            tracing::warn!(%file, "no regular file: a pickup folder's links and folders are left");
        }
    }
}

/// The right to use the private folder. `None`: the file system knows no locks.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = File::options().create(true).append(true).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {
            Err(io::Error::other("another authbridge takes the files of this folder"))
        }
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn is_message(name: &OsStr) -> bool {
    let is_eml = Path::new(name).extension().is_some_and(|end| end.eq_ignore_ascii_case("eml"));
    is_eml && !matches!(name.as_encoded_bytes().first(), Some(b'.' | b'~'))
}

/// The identifier, and the old name where there is room for it.
fn private_name(id: Uuid, name: &OsStr) -> OsString {
    let mut private = OsString::from(id.to_string());
    if name.len() < MAX_NAME - UUID {
        private.push(".");
        private.push(name);
    } else {
        private.push(".eml");
    }
    private
}

/// The identifier and the old name of a private file.
fn parse_private_name(name: &OsStr) -> Option<(Uuid, OsString)> {
    let text = name.to_string_lossy();
    let id = Uuid::try_parse(text.get(..UUID)?).ok()?;
    let old = text.get(UUID..)?.strip_prefix('.')?;
    match old {
        "eml" => Some((id, OsString::from(format!("{id}.eml")))),
        _ => Some((id, OsString::from(old))),
    }
}

/// All that is ours, the oldest first.
fn list(private: &Path) -> io::Result<Vec<Taken>> {
    let mut all: Vec<(SystemTime, Taken)> = Vec::new();
    for entry in fs::read_dir(private)? {
        let entry = entry?;
        let Some((id, name)) = parse_private_name(&entry.file_name()) else { continue };
        let Ok(metadata) = fs::symlink_metadata(entry.path()) else { continue };
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        all.push((modified, Taken { path: entry.path(), id, name }));
        if all.len() == MAX_FILES {
            break;
        }
    }
    all.sort_by(|(one, a), (two, b)| one.cmp(two).then_with(|| a.name.cmp(&b.name)));
    Ok(all.into_iter().map(|(_, taken)| taken).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbox() -> (tempfile::TempDir, Inbox) {
        let folder = tempfile::tempdir().expect("folder");
        let inbox = Inbox::new(folder.path().to_owned(), Writing::default());
        (folder, inbox)
    }

    fn names(gathered: &Gathered) -> Vec<String> {
        gathered.taken.iter().map(|taken| taken.name.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_file_is_taken_when_it_has_stood_still() {
        let (folder, mut inbox) = inbox();
        let (path, begin) = (folder.path().join("a.EML"), Instant::now());
        std::fs::write(&path, "half").expect("written");
        let at = |seconds| begin + Duration::from_secs(seconds);
        for (seconds, more) in [(0, ""), (1, " and more"), (2, ""), (2, "")] {
            let mut file = File::options().append(true).open(&path).expect("there");
            std::io::Write::write_all(&mut file, more.as_bytes()).expect("written");
            drop(file);
            let found = inbox.gather(at(seconds)).expect("a folder");
            assert_eq!((names(&found), found.waiting), (vec![], true), "{seconds}");
        }
        let found = inbox.gather(at(3)).expect("a folder");
        assert_eq!((names(&found), found.waiting), (vec!["a.EML".to_owned()], false));
        assert!(!path.exists());
        let again = inbox.gather(at(4)).expect("a folder");
        assert_eq!(again.taken, found.taken, "until it is gone it is listed as the same");
    }

    #[test]
    fn a_file_that_is_open_for_writing_or_empty_waits() {
        let (folder, mut inbox) = inbox();
        let begin = Instant::now();
        for name in ["open.eml", "empty.eml", "done.eml"] {
            let text = if name == "empty.eml" { "" } else { "text" };
            std::fs::write(folder.path().join(name), text).expect("written");
        }
        inbox.writing.opened(OsStr::new("open.eml"), begin);
        inbox.gather(begin).expect("a folder");
        let found = inbox.gather(begin + QUIET).expect("a folder");
        assert_eq!((names(&found), found.waiting), (vec!["done.eml".to_owned()], true));
        inbox.writing.closed(OsStr::new("open.eml"));
        let found = inbox.gather(begin + QUIET).expect("a folder");
        assert_eq!(found.taken.len(), 2);
    }

    #[test]
    fn other_names_and_what_is_no_file_are_left() {
        let (folder, mut inbox) = inbox();
        let begin = Instant::now();
        for name in [".a.eml", "~a.eml", "a.eml.tmp", "a.txt", "eml", ".eml", "a.eml~"] {
            std::fs::write(folder.path().join(name), "text").expect("written");
        }
        std::fs::create_dir(folder.path().join("folder.eml")).expect("made");
        inbox.gather(begin).expect("a folder");
        let found = inbox.gather(begin + QUIET).expect("a folder");
        assert_eq!((names(&found), found.waiting), (vec![], false));
        assert_eq!(inbox.odd.len(), 1);
    }

    #[test]
    fn one_process_at_a_time_and_after_it_the_next_finds_the_same_files() {
        let (folder, mut first) = inbox();
        std::fs::write(folder.path().join("a.eml"), "text").expect("written");
        let begin = Instant::now();
        first.gather(begin).expect("a folder");
        let taken = first.gather(begin + QUIET).expect("a folder").taken;
        let mut second = Inbox::new(folder.path().to_owned(), Writing::default());
        assert!(second.gather(begin).is_err());
        drop(first);
        assert_eq!(second.gather(begin).expect("free").taken, taken);
    }

    #[test]
    fn private_names_keep_the_old_one() {
        let id = Uuid::new_v4();
        for (name, kept) in
            [("a b.eml", "a b.eml".to_owned()), (&"x".repeat(254), format!("{id}.eml"))]
        {
            let private = private_name(id, OsStr::new(name));
            assert!(private.len() <= MAX_NAME);
            assert_eq!(parse_private_name(&private), Some((id, OsString::from(kept))));
        }
        for name in
            ["lock", "a.eml", "", "\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}"]
        {
            assert_eq!(parse_private_name(OsStr::new(name)), None, "{name}");
        }
    }

    #[test]
    fn a_folder_that_is_missing_is_an_error_until_it_is_there() {
        let (folder, _) = inbox();
        let directory = folder.path().join("later");
        let mut inbox = Inbox::new(directory.clone(), Writing::default());
        assert!(inbox.gather(Instant::now()).is_err());
        assert!(!directory.exists(), "nobody makes it");
        std::fs::create_dir(&directory).expect("made");
        assert!(inbox.gather(Instant::now()).is_ok());
    }
}
