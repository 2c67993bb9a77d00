//! Last use and last error of each account, which MSAL has no place for: `accounts.json` in the
//! state folder.
//!
//! Danger: several processes write it, a disk is full, a file is cut in half, and none of that may
//! cost a token. Rule: it holds history and no secret; each change reads the file, changes one
//! account and replaces the whole; a damaged file is set aside and begun anew; what can't be written
//! stays in memory, with a line in the log.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::oauth::Error;
use crate::platform;

/// Some 500 octets for each of [`MAX_ACCOUNTS`], 20 KiB at the very most; more is not ours.
const MAX_BYTES: u64 = 256 << 20;

/// As many as a role's token cache holds; beyond it the one that changed longest ago goes.
const MAX_ACCOUNTS: usize = 10_000;

/// An account's use is written at most this often: it is history, and a write is a new file.
const USE_WRITTEN_EVERY: Duration = Duration::from_secs(60);

/// How the name of a file ends that has not got its own yet.
const UNFINISHED: &str = ".new";

/// Nobody writes a history for so long.
const ABANDONED_AFTER: Duration = Duration::from_secs(10);

/// Errors are one sentence or two.
const MAX_TEXT_CHARS: usize = 1_000;

/// Whose history: sign-in name and application, both in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Who {
    pub username: String,
    pub client_id: String,
}

/// What has happened to one account. Times are Unix seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct History {
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    renewed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<Failure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Failure {
    time: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    text: String,
}

#[derive(Serialize, Deserialize)]
struct Row {
    #[serde(flatten)]
    who: Who,
    #[serde(flatten)]
    history: History,
}

#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    accounts: Vec<Row>,
}

type Histories = HashMap<Who, History>;

/// The file. Cheap to clone.
#[derive(Clone)]
pub(super) struct Record {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    used: HashMap<Who, SystemTime>,
    /// What could not be written.
    unwritten: Option<Histories>,
}

impl Who {
    pub fn new(username: &str, client_id: &str) -> Self {
        Self { username: username.to_lowercase(), client_id: client_id.to_lowercase() }
    }
}

impl History {
    pub fn last_used(&self) -> Option<SystemTime> {
        self.last_used.and_then(time)
    }

    pub fn renewed(&self) -> Option<SystemTime> {
        self.renewed.and_then(time)
    }

    /// When and why it last failed, after its last success.
    pub fn last_error(&self) -> Option<(SystemTime, String)> {
        self.last_error.as_ref().and_then(|last| Some((time(last.time)?, last.text.clone())))
    }

    /// Claims that the next sign-in must carry.
    pub fn claims(&self) -> Option<&str> {
        self.claims.as_deref()
    }

    fn changed(&self) -> u64 {
        let failed = self.last_error.as_ref().map(|last| last.time);
        [self.last_used, self.renewed, failed].into_iter().flatten().max().unwrap_or(0)
    }
}

impl Record {
    pub fn new(path: &Path) -> Self {
        Self { inner: Arc::new(Inner { path: path.to_owned(), state: Mutex::default() }) }
    }

    /// A token of the cache has been served.
    pub async fn used(&self, who: &Who, now: SystemTime) {
        if self.is_worth_writing(who, now) {
            self.change(who, move |history| history.last_used = seconds(now)).await;
        }
    }

    /// The refresh token has been replaced, and all is well.
    pub async fn renewed(&self, who: &Who, now: SystemTime) {
        self.is_worth_writing(who, now);
        let good = move |history: &mut History| {
            let now = seconds(now);
            *history = History { last_used: now, renewed: now, ..History::default() };
        };
        self.change(who, good).await;
    }

    /// A person has signed in: nothing is wrong any more, and nothing has been used yet.
    pub async fn signed_in(&self, who: &Who, now: SystemTime) {
        let begun = move |history: &mut History| {
            *history = History {
                last_used: history.last_used,
                renewed: seconds(now),
                ..History::default()
            };
        };
        self.change(who, begun).await;
    }

    /// A token request has failed. Claims stay until somebody signs in.
    pub async fn failed(&self, who: &Who, error: &Error, claims: Option<String>, now: SystemTime) {
        let failure = Failure {
            time: seconds(now).unwrap_or_default(),
            code: error.code.clone(),
            text: error.text.chars().take(MAX_TEXT_CHARS).collect(),
        };
        let noted = move |history: &mut History| {
            history.last_error = Some(failure);
            history.claims = claims.or_else(|| history.claims.take());
        };
        self.change(who, noted).await;
    }

    /// A sign-in has been refused for want of these claims; the one before may still be good.
    pub async fn claims(&self, who: &Who, claims: String) {
        self.change(who, move |history| history.claims = Some(claims)).await;
    }

    /// The account is gone.
    pub async fn forget(&self, who: Vec<Who>) {
        self.update(move |all| all.retain(|known, _| !who.contains(known))).await;
    }

    /// All that is known.
    pub async fn read(&self) -> Histories {
        self.blocking(|inner| inner.current(&inner.lock())).await
    }

    fn is_worth_writing(&self, who: &Who, now: SystemTime) -> bool {
        let mut state = self.inner.lock();
        let recently = |last: &SystemTime| {
            now.duration_since(*last).is_ok_and(|since| since < USE_WRITTEN_EVERY)
        };
        if state.used.get(who).is_some_and(recently) {
            return false;
        }
        state.used.retain(|_, last| recently(last));
        state.used.insert(who.clone(), now);
        true
    }

    async fn change(&self, who: &Who, change: impl FnOnce(&mut History) + Send + 'static) {
        let who = who.clone();
        self.update(move |all| change(all.entry(who).or_default())).await;
    }

    async fn update(&self, change: impl FnOnce(&mut Histories) + Send + 'static) {
        self.blocking(move |inner| {
            let mut state = inner.lock();
            let mut all = inner.current(&state);
            change(&mut all);
            make_room(&mut all);
            let outcome = inner.write(&all);
            if let Err(error) = &outcome
                && state.unwritten.is_none()
            {
                let path = inner.path.display();
                tracing::warn!("{path}: the accounts' history can't be written: {error}");
            }
            state.unwritten = outcome.is_err().then_some(all);
        })
        .await;
    }

    /// Disk work stays off the threads that serve sessions.
    async fn blocking<T: Default + Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> T + Send + 'static,
    ) -> T {
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || work(&inner)).await.unwrap_or_default()
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self, state: &State) -> Histories {
        if let Some(unwritten) = &state.unwritten {
            return unwritten.clone();
        }
        match self.load() {
            Ok(all) => all,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Histories::new(),
            Err(error) => {
                self.set_aside(&error);
                Histories::new()
            }
        }
    }

    fn load(&self) -> io::Result<Histories> {
        let mut content = Vec::new();
        platform::open_regular(&self.path)?.take(MAX_BYTES + 1).read_to_end(&mut content)?;
        if content.len() as u64 > MAX_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is far too large"));
        }
        let written: Written = serde_json::from_slice(&content)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(written.accounts.into_iter().map(|row| (row.who, row.history)).collect())
    }

    /// What can't be understood is kept under another name; what can't be opened stays.
    fn set_aside(&self, error: &io::Error) {
        let path = self.path.display();
        if error.kind() != io::ErrorKind::InvalidData {
            tracing::warn!("{path}: the accounts' history can't be read: {error}");
            return;
        }
        let aside = beside(&self.path, "damaged");
        match std::fs::rename(&self.path, &aside) {
            Ok(()) => tracing::warn!(
                "{path} is damaged ({error}); it is kept as {}, and the accounts' history begins \
                 anew",
                aside.display()
            ),
            Err(kept) => tracing::warn!("{path} is damaged ({error}) and can't be moved: {kept}"),
        }
    }

    fn write(&self, all: &Histories) -> io::Result<()> {
        let rows =
            all.iter().map(|(who, history)| Row { who: who.clone(), history: history.clone() });
        let mut written = Written { version: 1, accounts: rows.collect() };
        written.accounts.sort_by(|a, b| a.who.cmp(&b.who));
        let content = serde_json::to_vec_pretty(&written)?;
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            platform::create_private_directory(folder)?;
        }
        self.sweep();
        let new = beside(&self.path, &format!("{}{UNFINISHED}", uuid::Uuid::new_v4()));
        let replaced = platform::write_private_file(&new, &content)
            .and_then(|()| std::fs::rename(&new, &self.path));
        if replaced.is_err() {
            // Nothing more can be done about a file that can't be written.
            let _ = std::fs::remove_file(&new);
        }
        replaced
    }
}

impl Inner {
    /// Removes what processes have left behind that were killed while they wrote.
    fn sweep(&self) {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let Ok(entries) = std::fs::read_dir(folder.unwrap_or(Path::new("."))) else { return };
        let own = self.path.file_name().unwrap_or_default().to_string_lossy();
        for entry in entries.flatten() {
            let name = entry.file_name();
            let rest = name.to_str().and_then(|name| name.strip_prefix(&format!("{own}.")));
            let is_ours = rest.is_some_and(|rest| rest.ends_with(UNFINISHED));
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let age = modified.ok().and_then(|at| SystemTime::now().duration_since(at).ok());
            if is_ours && age.is_some_and(|age| age >= ABANDONED_AFTER) {
                // Another process may have been quicker.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

fn make_room(all: &mut Histories) {
    let Some(surplus) = all.len().checked_sub(MAX_ACCOUNTS).filter(|count| *count > 0) else {
        return;
    };
    let mut by_age: Vec<(u64, Who)> =
        all.iter().map(|(who, history)| (history.changed(), who.clone())).collect();
    by_age.sort();
    for (_, who) in by_age.iter().take(surplus) {
        all.remove(who);
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

fn seconds(time: SystemTime) -> Option<u64> {
    time.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// A number from a file may be any.
fn time(seconds: u64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn record() -> (tempfile::TempDir, Record) {
        let folder = tempfile::tempdir().expect("temporary folder");
        let record = Record::new(&folder.path().join("state/accounts.json"));
        (folder, record)
    }

    async fn history(record: &Record, who: &Who) -> History {
        record.read().await.remove(who).unwrap_or_default()
    }

    #[tokio::test]
    async fn what_happens_is_read_by_another_process() {
        let (_folder, record) = record();
        let other = Record::new(&record.inner.path);
        let jo = Who::new("Jo@Example.com", "APP");
        assert_eq!(jo, Who::new("jo@example.com", "app"));
        record.renewed(&jo, at(1000)).await;
        let known = history(&other, &jo).await;
        assert_eq!((known.last_used(), known.renewed()), (Some(at(1000)), Some(at(1000))));
        let error = Error { code: Some("AADSTS50076".into()), ..Error::person("x".repeat(5000)) };
        record.failed(&jo, &error, Some("{}".to_owned()), at(2000)).await;
        record.failed(&jo, &Error::passing("busy"), None, at(2001)).await;
        let known = history(&other, &jo).await;
        assert_eq!(known.last_error(), Some((at(2001), "busy".to_owned())));
        assert_eq!(known.claims(), Some("{}"), "they stay until somebody signs in");
        assert_eq!(known.renewed(), Some(at(1000)));
        other.signed_in(&jo, at(3000)).await;
        let known = history(&record, &jo).await;
        assert_eq!((known.claims(), known.last_error()), (None, None));
        assert_eq!((known.last_used(), known.renewed()), (Some(at(1000)), Some(at(3000))));
        record.forget(vec![jo.clone()]).await;
        assert_eq!(history(&other, &jo).await, History::default());
    }

    #[tokio::test]
    async fn use_is_written_once_a_minute() {
        let (_folder, record) = record();
        let jo = Who::new("jo@example.com", "app");
        for (now, written) in [(1000, 1000), (1059, 1000), (1060, 1060), (1061, 1060)] {
            record.used(&jo, at(now)).await;
            assert_eq!(history(&record, &jo).await.last_used(), Some(at(written)), "{now}");
        }
        let al = Who::new("al@example.com", "app");
        record.used(&al, at(1061)).await;
        assert_eq!(history(&record, &al).await.last_used(), Some(at(1061)));
    }

    #[tokio::test]
    async fn a_damaged_file_is_set_aside() {
        let (_folder, record) = record();
        let jo = Who::new("jo@example.com", "app");
        record.used(&jo, at(1)).await;
        let path = record.inner.path.clone();
        for damage in [&b"{\"version\":1,\"acc"[..], b"", b"[1]", b"\xff\xfe"] {
            std::fs::write(&path, damage).expect("write");
            assert!(record.read().await.is_empty());
            assert_eq!(std::fs::read(beside(&path, "damaged")).expect("kept"), damage);
            record.renewed(&jo, at(7)).await;
            assert_eq!(history(&record, &jo).await.renewed(), Some(at(7)));
        }
        let file = std::fs::File::create(&path).expect("file");
        file.set_len(MAX_BYTES + 1).expect("grow");
        assert!(record.read().await.is_empty());
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_can_t_be_written_stays_in_memory() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let blocker = folder.path().join("file");
        std::fs::write(&blocker, "").expect("write");
        let record = Record::new(&blocker.join("accounts.json"));
        let jo = Who::new("jo@example.com", "app");
        record.renewed(&jo, at(5)).await;
        record.failed(&jo, &Error::person("no"), None, at(6)).await;
        let known = history(&record, &jo).await;
        assert_eq!((known.renewed(), known.last_error().map(|e| e.0)), (Some(at(5)), Some(at(6))));
        std::fs::remove_file(&blocker).expect("removed");
        record.used(&jo, at(1000)).await;
        let other = Record::new(&record.inner.path);
        assert_eq!(history(&other, &jo).await.renewed(), Some(at(5)), "written once it can be");
    }

    #[tokio::test]
    async fn what_killed_processes_leave_behind_is_removed() {
        let (_folder, record) = record();
        let jo = Who::new("jo@example.com", "app");
        record.used(&jo, at(1)).await;
        let path = record.inner.path.clone();
        for (name, age, stays) in [
            ("old.new", ABANDONED_AFTER, false),
            ("young.new", Duration::ZERO, true),
            ("damaged", ABANDONED_AFTER, true),
        ] {
            let left = beside(&path, name);
            let file = std::fs::File::create(&left).expect("file");
            file.set_modified(SystemTime::now() - age).expect("aged");
            record.renewed(&jo, at(2)).await;
            assert_eq!(left.exists(), stays, "{name}");
        }
    }

    #[test]
    fn the_number_of_accounts_and_odd_numbers_are_bounded() {
        let row = |n: u64| {
            let history = History { last_used: Some(n), ..History::default() };
            (Who::new(&format!("u{n}"), "app"), history)
        };
        let mut all: Histories = (0..MAX_ACCOUNTS as u64 + 2).map(row).collect();
        make_room(&mut all);
        assert_eq!(all.len(), MAX_ACCOUNTS);
        assert!(
            !all.contains_key(&Who::new("u1", "app")) && all.contains_key(&Who::new("u2", "app"))
        );
        let odd = History { last_used: Some(u64::MAX), ..History::default() };
        assert_eq!(odd.last_used(), None);
    }

    /// A file made by somebody else may have many more rows than stay.
    #[test]
    fn room_is_made_in_one_go() {
        let mut all: Histories = (0..60_000_u64)
            .map(|n| {
                let who = Who::new(&n.to_string(), "app");
                (who, History { last_used: Some(n), ..History::default() })
            })
            .collect();
        let started = std::time::Instant::now();
        make_room(&mut all);
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        assert_eq!(all.len(), MAX_ACCOUNTS);
        assert_eq!(all.values().filter_map(|history| history.last_used).min(), Some(50_000));
    }

    /// What is written is read again, or all history would be set aside as damaged.
    #[test]
    fn the_longest_history_fits_into_the_file() {
        let longest = History {
            last_error: Some(Failure {
                time: u64::MAX,
                code: Some("x".repeat(MAX_TEXT_CHARS)),
                text: "\u{10ffff}".repeat(MAX_TEXT_CHARS),
            }),
            claims: Some("\"".repeat(4096)),
            ..History::default()
        };
        let row = Row { who: Who::new(&"x".repeat(512), &"x".repeat(36)), history: longest };
        let length = serde_json::to_vec_pretty(&row).expect("JSON").len() + 100;
        assert!((length * MAX_ACCOUNTS) as u64 <= MAX_BYTES, "{length}");
    }
}
