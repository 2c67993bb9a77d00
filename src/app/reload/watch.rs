//! Says when the configuration's files may have changed.
//!
//! Danger: editors rename, Kubernetes swaps a symbolic link two folders away, some programs write a
//! file in pieces, and network folders tell nothing; a log in the same folder changes all the time.
//! Rule: the folders of every file and of every link on the way to it are watched, only names that
//! have a say count, nothing is looked at before it is quiet, and there is a look every half minute
//! in any case. Whether anything has changed is for the contents to say.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::EventKind;
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::platform::ReloadSignal;

/// A file is looked at when it has been quiet for so long.
const QUIET: Duration = Duration::from_secs(1);

/// One that never is, after this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// A look in any case: a few small files.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// More links on the way to one file are a loop (Linux follows 40).
const MAX_LINKS: usize = 40;

/// Why to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// An administrator wants to see something happen.
    Person,
    /// Files may have changed.
    Files,
}

/// Waits for changes.
pub(super) struct Watch {
    signal: ReloadSignal,
    touched: Arc<Notify>,
    names: Arc<Mutex<BTreeSet<OsString>>>,
    /// `None` where the system can't tell.
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
    has_complained: bool,
}

impl Watch {
    /// Watches nothing yet.
    pub fn new(signal: ReloadSignal) -> Self {
        let touched = Arc::new(Notify::new());
        let names: Arc<Mutex<BTreeSet<OsString>>> = Arc::default();
        let (told, known) = (Arc::clone(&touched), Arc::clone(&names));
        let heard = move |event: notify::Result<Event>| {
            let known = known.lock().unwrap_or_else(PoisonError::into_inner);
            if event.is_ok_and(|event| has_a_say(&event, &known)) {
                told.notify_one();
            }
        };
        let (folders, has_complained) = (BTreeSet::new(), false);
        let mut this = Self { signal, touched, names, watcher: None, folders, has_complained };
        match notify::recommended_watcher(heard) {
            Ok(watcher) => this.watcher = Some(watcher),
            Err(error) => this.complain("files", &error),
        }
        this
    }

    /// Watches these files, and no others.
    pub fn follow(&mut self, files: &[PathBuf]) {
        let places: BTreeSet<PathBuf> = files.iter().flat_map(|file| places(file)).collect();
        let name = |place: &PathBuf| place.file_name().map(OsString::from);
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) =
            places.iter().filter_map(name).collect();
        let folders: BTreeSet<PathBuf> =
            places.iter().filter_map(|place| place.parent().map(Path::to_owned)).collect();
        let Some(mut watcher) = self.watcher.take() else { return };
        for gone in self.folders.difference(&folders) {
            // It fails when the folder itself is gone, which ends the watch too.
            let _ = watcher.unwatch(gone);
        }
        let mut followed: BTreeSet<PathBuf> =
            self.folders.intersection(&folders).cloned().collect();
        let new: Vec<PathBuf> = folders.difference(&self.folders).cloned().collect();
        for folder in new {
            match watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => drop(followed.insert(folder)),
                // It may come later, and is looked for every time.
                Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => {}
                Err(error) => self.complain(&folder.display().to_string(), &error),
            }
        }
        self.folders = followed;
        self.watcher = Some(watcher);
    }

    fn complain(&mut self, what: &str, error: &notify::Error) {
        if !std::mem::replace(&mut self.has_complained, true) {
            tracing::warn!(
                "{what} can't be watched ({error}); changes of the configuration are noticed \
                 within {LOOK_EVERY:?}"
            );
        }
    }

    /// Waits for the next reason to look.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            () = self.signal.received() => return Asked::Person,
            () = self.touched.notified() => {}
            () = sleep(LOOK_EVERY) => return Asked::Files,
        }
        let patience = Instant::now() + PATIENCE;
        loop {
            let quiet = (Instant::now() + QUIET).min(patience);
            tokio::select! {
                () = self.signal.received() => return Asked::Person,
                () = self.touched.notified() => {}
                () = sleep_until(quiet) => return Asked::Files,
            }
            if Instant::now() >= patience {
                return Asked::Files;
            }
        }
    }
}

/// Reading is no change, and the folder's other files are somebody else's.
fn has_a_say(event: &Event, names: &BTreeSet<OsString>) -> bool {
    let is_known = |path: &PathBuf| path.file_name().is_some_and(|name| names.contains(name));
    let is_change = !matches!(event.kind, EventKind::Access(_));
    event.need_rescan() || is_change && (event.paths.is_empty() || event.paths.iter().any(is_known))
}

/// The file, and every link on the way to it.
fn places(file: &Path) -> Vec<PathBuf> {
    let mut path = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let mut places = Vec::new();
    for _ in 0..MAX_LINKS {
        let Some((link, target)) = first_link(&path) else { break };
        places.push(link);
        path = target;
    }
    places.push(path);
    places
}

/// The first part of a path that is a link, and the path behind it.
fn first_link(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut so_far = PathBuf::new();
    let mut rest = path.components();
    while let Some(part) = rest.next() {
        match part {
            Component::ParentDir => drop(so_far.pop()),
            Component::CurDir => {}
            part => so_far.push(part),
        }
        if let Ok(target) = std::fs::read_link(&so_far) {
            let folder = so_far.parent().unwrap_or(Path::new(""));
            let behind = folder.join(target).join(rest.as_path());
            return Some((so_far, behind));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use notify::event::{AccessKind, CreateKind, ModifyKind};

    use super::*;

    fn event(kind: EventKind, path: &str) -> Event {
        Event::new(kind).add_path(PathBuf::from(path))
    }

    #[test]
    fn only_changes_of_known_names_count() {
        let names = BTreeSet::from(["proxy.toml".into(), "..data".into()]);
        let change = EventKind::Modify(ModifyKind::Any);
        for (event, counts) in [
            (event(change, "/etc/proxy.toml"), true),
            (event(EventKind::Create(CreateKind::Any), "/etc/..data"), true),
            (event(change, "/etc/proxy.log"), false),
            (event(change, "/etc/proxy.toml~"), false),
            (event(EventKind::Access(AccessKind::Read), "/etc/proxy.toml"), false),
            (Event::new(change), true),
        ] {
            assert_eq!(has_a_say(&event, &names), counts, "{event:?}");
        }
    }

    #[test]
    fn a_file_without_links_is_one_place() {
        let folder = tempfile::tempdir().expect("folder");
        let real = folder.path().canonicalize().expect("there");
        assert_eq!(places(&real.join("proxy.toml")), [real.join("proxy.toml")]);
    }

    #[tokio::test]
    async fn a_file_that_is_replaced_is_noticed_once_it_is_quiet() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("proxy.toml");
        std::fs::write(&file, "old").expect("written");
        let mut watch = Watch::new(ReloadSignal::new().expect("signals"));
        watch.follow(std::slice::from_ref(&file));
        let begin = Instant::now();
        let new = folder.path().join("new");
        std::fs::write(&new, "new").expect("written");
        std::fs::rename(&new, &file).expect("renamed");
        assert_eq!(watch.next().await, Asked::Files);
        let took = begin.elapsed();
        assert!(took >= QUIET && took < LOOK_EVERY, "{took:?}");
    }
}
