//! What the system tells about a folder while it happens.
//!
//! Danger: events get lost, and network shares send none; one who trusts them alone leaves files
//! lying. Rule: they only make the next look come sooner, and keep a file back that a program was
//! seen to write to and not to close; such a mark does not last for ever.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use crate::platform;

/// A mark whose end was missed ends here: no program takes an hour for a message.
const LONGEST: Duration = Duration::from_secs(3600);
/// Marks at the same time; more are not kept.
const MAX_MARKS: usize = 10_000;

/// The files that were opened for writing and not closed yet; clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Writing(Arc<Mutex<HashMap<OsString, Instant>>>);

impl Writing {
    /// True while somebody writes to the file.
    pub fn has(&self, name: &OsStr, now: Instant) -> bool {
        let marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.get(name).is_some_and(|at| now.saturating_duration_since(*at) < LONGEST)
    }

    pub fn opened(&self, name: &OsStr, now: Instant) {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.len() < MAX_MARKS || marks.contains_key(name) {
            marks.insert(name.to_owned(), now);
        }
    }

    pub fn closed(&self, name: &OsStr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Reads one event. A mark is made only where closing is told too.
    fn note(&self, event: &Event) {
        if event.need_rescan() {
            return self.forget();
        }
        let names = || event.paths.iter().filter_map(|path| path.file_name());
        match event.kind {
            EventKind::Modify(ModifyKind::Data(_)) | EventKind::Create(CreateKind::File)
                if platform::TELLS_OF_CLOSING =>
            {
                names().for_each(|name| self.opened(name, Instant::now()));
            }
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Remove(_)
            | EventKind::Modify(ModifyKind::Name(_)) => names().for_each(|name| self.closed(name)),
            _ => {}
        }
    }
}

/// Watches a folder until it is dropped: notes what happens and wakes. `None`: the system can't.
pub(super) fn watch(
    directory: &Path,
    writing: Writing,
    wake: Arc<Notify>,
) -> Option<RecommendedWatcher> {
    let noted = move |event: notify::Result<Event>| {
        match event {
            Ok(event) => writing.note(&event),
            Err(_) => writing.forget(),
        }
        wake.notify_one();
    };
    let watching = notify::recommended_watcher(noted).and_then(|mut watcher| {
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    match watching {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::debug!(%error, "no events for a pickup folder; it is looked at regularly");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind) -> Event {
        Event::new(kind).add_path("/folder/a.eml".into())
    }

    #[test]
    fn a_file_is_marked_from_its_first_octet_to_its_closing() {
        let (writing, now) = (Writing::default(), Instant::now());
        let has = || writing.has(OsStr::new("a.eml"), now);
        let write = EventKind::Modify(ModifyKind::Data(notify::event::DataChange::Any));
        for end in [
            EventKind::Access(AccessKind::Close(AccessMode::Write)),
            EventKind::Remove(notify::event::RemoveKind::File),
            EventKind::Modify(ModifyKind::Name(notify::event::RenameMode::From)),
        ] {
            writing.note(&event(write));
            assert_eq!(has(), platform::TELLS_OF_CLOSING);
            writing.note(&event(end));
            assert!(!has(), "{end:?}");
        }
    }

    #[test]
    fn marks_end_when_events_were_lost_and_after_an_hour() {
        let (writing, now) = (Writing::default(), Instant::now());
        let name = OsStr::new("a.eml");
        writing.opened(name, now);
        assert!(writing.has(name, now + LONGEST - Duration::from_secs(1)));
        assert!(!writing.has(name, now + LONGEST));
        writing.note(&Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan));
        assert!(!writing.has(name, now));
    }

    #[tokio::test]
    async fn a_new_file_wakes() {
        let folder = tempfile::tempdir().expect("folder");
        let wake = Arc::new(Notify::new());
        let watcher = watch(folder.path(), Writing::default(), Arc::clone(&wake));
        assert!(watcher.is_some());
        std::fs::write(folder.path().join("a.eml"), "x").expect("written");
        let woken = tokio::time::timeout(Duration::from_secs(20), wake.notified()).await;
        assert!(woken.is_ok());
    }
}
