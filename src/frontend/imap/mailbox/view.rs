//! A session's own numbering of messages.
//!
//! Danger: a sequence number means what the client was last told, not what the folder holds now.
//! Rule: numbers come from `told` alone; what is newer is looked up by UID. What the client believes
//! of a message's flags is kept as well, so that it hears of everybody's changes but its own.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Selected, Tagged};
use crate::mail::mailbox::{Entry, Flags, Snapshot, Uid};
use crate::protocol::imap::request::SequenceSet;

/// What the client knows.
pub(in crate::frontend::imap) struct View {
    /// The messages that the client was told of; their order is their sequence numbers.
    told: Arc<Snapshot>,
    /// The newest that the folder has published, as of the last look.
    now: Arc<Snapshot>,
    /// Up to where the client was told of flags. As new as `told` or newer.
    flags_told: Arc<Snapshot>,
    /// Flags that the client believes instead of those in `flags_told`: changed by itself, silently.
    believed: HashMap<Uid, Flags>,
    /// Messages that are gone and whose EXPUNGE was not told, as they were last.
    gone: HashMap<Uid, Arc<Entry>>,
}

impl View {
    /// Starts with everything told.
    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        Self {
            told: Arc::clone(&snapshot),
            flags_told: Arc::clone(&snapshot),
            now: snapshot,
            believed: HashMap::new(),
            gone: HashMap::new(),
        }
    }

    /// EXISTS, as the client knows it.
    pub fn count(&self) -> u32 {
        u32::try_from(self.told.messages.len()).unwrap_or(u32::MAX)
    }

    /// The UID of a sequence number (from 1).
    pub fn uid(&self, seq: u32) -> Option<Uid> {
        let at = usize::try_from(seq).ok()?.checked_sub(1)?;
        self.told.messages.get(at).map(|entry| entry.uid)
    }

    /// The sequence number of a UID.
    pub fn seq(&self, uid: Uid) -> Option<u32> {
        self.told.position(uid).and_then(|at| u32::try_from(at + 1).ok())
    }

    /// The newest that is known of a message that the client knows; of one that is gone, the last.
    pub fn entry(&self, uid: Uid) -> Option<&Arc<Entry>> {
        let told = self.told.find(uid)?;
        Some(self.now.find(uid).or_else(|| self.gone.get(&uid)).unwrap_or(told))
    }

    /// True when the client knows the message and it is gone.
    pub fn is_gone(&self, uid: Uid) -> bool {
        self.told.find(uid).is_some() && self.now.find(uid).is_none()
    }

    /// Takes note of a newer snapshot without telling.
    pub fn look(&mut self, now: Arc<Snapshot>) {
        if Arc::ptr_eq(&self.now, &now) {
            return;
        }
        // Both are in the order of UIDs.
        let mut rest = now.messages.iter().peekable();
        for entry in &self.now.messages {
            while rest.next_if(|other| other.uid < entry.uid).is_some() {}
            if rest.peek().is_none_or(|other| other.uid != entry.uid) {
                self.gone.insert(entry.uid, Arc::clone(entry));
            }
        }
        self.now = now;
    }

    /// What the client was told of.
    pub fn told(&self) -> &Arc<Snapshot> {
        &self.told
    }

    /// The newest.
    pub fn now(&self) -> &Arc<Snapshot> {
        &self.now
    }

    /// The flags that the client believes a message to have.
    pub fn believed(&self, uid: Uid) -> Option<&Flags> {
        let told = || self.flags_told.find(uid).or_else(|| self.told.find(uid));
        self.believed.get(&uid).or_else(|| told().map(|entry| &entry.flags))
    }

    /// The client believes this from now on: it was told, or made the change itself with `.SILENT`
    /// (then: `view.believed(uid)`, changed). It is told again only where the folder differs.
    pub fn believe(&mut self, uid: Uid, flags: Flags) {
        self.believed.insert(uid, flags);
    }

    /// Messages whose flags the client does not know rightly, in the order of their numbers.
    pub fn flags_to_tell(&self) -> Vec<Arc<Entry>> {
        let since = self.flags_told.highest_modseq;
        // A snapshot in which a size has become exact is new, and there are as many as messages read.
        if self.now.highest_modseq == since && self.believed.is_empty() {
            return Vec::new();
        }
        let changed = |entry: &&Arc<Entry>| {
            (entry.modseq > since || self.believed.contains_key(&entry.uid))
                && self.believed(entry.uid).is_some_and(|flags| *flags != entry.flags)
                && self.told.find(entry.uid).is_some()
        };
        self.now.messages.iter().filter(changed).cloned().collect()
    }

    /// From here on the client knows all flags of messages that it knows.
    pub fn flags_are_told(&mut self) {
        self.flags_told = Arc::clone(&self.now);
        self.believed.clear();
    }

    /// From here on the client knows all.
    pub fn catch_up(&mut self) {
        self.told = Arc::clone(&self.now);
        self.gone.clear();
        self.flags_are_told();
    }
}

impl Selected {
    /// The messages of a set, as the client numbers them: UIDs, ascending, each once. Numbers out of
    /// range are an error (the tagged BAD); UIDs that the client does not know are ignored
    /// (RFC 9051 sections 6.4.9 and 9, `seq-number`). They may be gone: see [`View::is_gone`].
    pub(super) fn resolve(&self, set: &SequenceSet, uid: bool) -> Result<Vec<Uid>, Tagged> {
        let messages = &self.view.told().messages;
        let spans = self.spans(set, uid)?;
        Ok(spans.into_iter().flat_map(|span| &messages[span]).map(|entry| entry.uid).collect())
    }

    /// The same as places in what the client was told of: few, however many messages are meant.
    pub(super) fn spans(&self, set: &SequenceSet, uid: bool) -> Result<Vec<Span>, Tagged> {
        let told = self.view.told();
        match set {
            SequenceSet::Saved => Ok(places_of(told, &self.saved)),
            SequenceSet::Ranges(ranges) if uid => Ok(uids_in(told, ranges)),
            SequenceSet::Ranges(ranges) => uids_numbered(told, ranges),
        }
    }

    /// As [`Self::spans`], for SEARCH: a number that no message has is a criterion that none meets.
    pub(super) fn spans_any(&self, set: &SequenceSet, uid: bool) -> Result<Vec<Span>, Tagged> {
        let count = self.view.count();
        let within = |range: &(u32, u32)| {
            let (from, to) = ordered(*range, count);
            match range.0 == SequenceSet::LAST || range.1 == SequenceSet::LAST {
                true => Some(*range).filter(|_| count > 0),
                false => Some((from, to.min(count))).filter(|_| from <= count),
            }
        };
        match set {
            SequenceSet::Ranges(ranges) if !uid => {
                let ranges = ranges.iter().filter_map(within).collect();
                self.spans(&SequenceSet::Ranges(ranges), false)
            }
            _ => self.spans(set, uid),
        }
    }
}

/// Places in [`Snapshot::messages`].
pub(super) type Span = std::ops::Range<usize>;

fn places_of(told: &Snapshot, uids: &[Uid]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for uid in uids {
        let next = spans.last().map_or(0, |span| span.end);
        let is_next = told.messages.get(next).is_some_and(|entry| entry.uid == *uid);
        match (spans.last_mut(), is_next) {
            (Some(last), true) => last.end += 1,
            _ => spans.extend(told.position(*uid).map(|at| at..at + 1)),
        }
    }
    spans
}

/// Ascending, and neither overlapping nor touching: a set that names a message a thousand times
/// must not cost a thousand times.
pub(super) fn merged(mut ranges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
    for (from, to) in ranges {
        match merged.last_mut() {
            Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    merged
}

/// `*` put in; the smaller number first.
fn ordered(range: (u32, u32), last: u32) -> (u32, u32) {
    let number = |written| if written == SequenceSet::LAST { last } else { written };
    let (a, b) = (number(range.0), number(range.1));
    (a.min(b), a.max(b))
}

fn uids_in(told: &Snapshot, ranges: &[(u32, u32)]) -> Vec<Span> {
    let Some(last) = told.messages.last() else { return Vec::new() };
    let ranges = ranges.iter().map(|range| ordered(*range, last.uid.number())).collect();
    let span = |(from, to): (u32, u32)| {
        let start = told.messages.partition_point(|entry| entry.uid.number() < from);
        start..told.messages.partition_point(|entry| entry.uid.number() <= to)
    };
    merged(ranges).into_iter().map(span).filter(|span| !span.is_empty()).collect()
}

fn uids_numbered(told: &Snapshot, ranges: &[(u32, u32)]) -> Result<Vec<Span>, Tagged> {
    let count = u32::try_from(told.messages.len()).unwrap_or(u32::MAX);
    // `5:*` in a folder of three messages is its last one; so is `*` alone.
    let clamp = |(a, b): (u32, u32)| match a == SequenceSet::LAST || b == SequenceSet::LAST {
        true => (a.min(b).min(count), count),
        false => ordered((a, b), count),
    };
    let ranges: Vec<_> = ranges.iter().map(|range| clamp(*range)).collect();
    if ranges.iter().any(|(from, to)| *to > count || (*from == 0 && count > 0)) {
        return Err("BAD there is no message of that number".to_owned());
    }
    // Places are one less than numbers; an empty folder has neither.
    let span = |(from, to): (u32, u32)| (from as usize).saturating_sub(1)..to as usize;
    Ok(merged(ranges).into_iter().map(span).filter(|span| !span.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::super::memory::{Memory, uid};
    use super::super::select;
    use super::*;
    use crate::mail::mailbox::{Flag, FlagChange};
    use crate::mail::{Folder as _, Mailbox as _};
    use crate::protocol::imap::request::Select;

    const LAST: u32 = SequenceSet::LAST;

    fn found(selected: &Selected, set: &SequenceSet) -> Result<Vec<Uid>, Tagged> {
        let messages = &selected.view.told().messages;
        let spans = selected.spans_any(set, false)?;
        Ok(spans.into_iter().flat_map(|span| &messages[span]).map(|entry| entry.uid).collect())
    }

    /// The client knows UIDs 2, 5, 6 and 9.
    async fn selected() -> (Arc<Memory>, Selected) {
        let memory = Memory::new();
        let inbox = memory.folder("INBOX");
        for _ in 0..9 {
            inbox.deliver("\r\n", Flags::default());
        }
        inbox.expunge([1, 3, 4, 7, 8].map(uid).to_vec()).await.expect("gone");
        let folder = memory.open("INBOX").await.expect("there");
        let mailbox = "INBOX".to_owned();
        let select = Select { mailbox, read_only: false, condstore: false, qresync: None };
        (memory, select::begin(folder, &select))
    }

    #[tokio::test]
    async fn sets_are_resolved_on_what_the_client_knows() {
        let (_memory, selected) = selected().await;
        for (ranges, by_uid, expected) in [
            (&[(1, 2)][..], false, Ok(&[2, 5][..])),
            (&[(2, 1)], false, Ok(&[2, 5])),
            (&[(3, 3), (1, 1), (3, 3), (2, 4)], false, Ok(&[2, 5, 6, 9])),
            (&[(LAST, LAST)], false, Ok(&[9])),
            (&[(7, LAST)], false, Ok(&[9])),
            (&[(LAST, 3)], false, Ok(&[6, 9])),
            (&[(5, 5)], false, Err(())),
            (&[(1, 5)], false, Err(())),
            (&[(1, LAST)], true, Ok(&[2, 5, 6, 9])),
            (&[(6, 3)], true, Ok(&[5, 6])),
            (&[(50, LAST)], true, Ok(&[9])),
            (&[(LAST, LAST)], true, Ok(&[9])),
            (&[(1, 1), (3, 4), (100, 4_000_000_000)], true, Ok(&[])),
            (&[(5, 6), (6, 9), (2, 5)], true, Ok(&[2, 5, 6, 9])),
        ] {
            let found = selected.resolve(&SequenceSet::Ranges(ranges.to_vec()), by_uid);
            let expected = expected.map(|uids| uids.iter().map(|number| uid(*number)).collect());
            assert_eq!(
                found.map_err(|text| assert!(text.starts_with("BAD "))),
                expected,
                "{ranges:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_search_for_numbers_that_no_message_has_finds_the_others() {
        let (_memory, selected) = selected().await;
        for (ranges, expected) in [
            (vec![(1000, 1000)], vec![]),
            (vec![(3, 1000)], vec![6, 9]),
            (vec![(9, 7), (1, 1)], vec![2]),
            (vec![(7, LAST)], vec![9]),
        ] {
            let found = found(&selected, &SequenceSet::Ranges(ranges.clone()));
            let expected = expected.into_iter().map(uid).collect();
            assert_eq!(found, Ok(expected), "{ranges:?}");
        }
    }

    #[tokio::test]
    async fn an_empty_folder_has_no_last_message() {
        let (memory, _) = selected().await;
        memory.add("Empty", None);
        let folder = memory.open("Empty").await.expect("there");
        let (_, mut selected) = self::selected().await;
        selected.view = View::new(folder.snapshot());
        let resolve = |range, by_uid| selected.resolve(&SequenceSet::Ranges(vec![range]), by_uid);
        for by_uid in [false, true] {
            assert_eq!(resolve((1, LAST), by_uid), Ok(Vec::new()));
        }
        assert!(resolve((1, 1), false).is_err());
        assert_eq!(resolve((1, 1), true), Ok(Vec::new()));
        let set = SequenceSet::Ranges(vec![(1, 1), (LAST, LAST), (3, LAST)]);
        assert_eq!(found(&selected, &set), Ok(Vec::new()));
    }

    #[tokio::test]
    async fn what_was_saved_and_is_not_known_any_more_is_passed_over() {
        let (_memory, mut selected) = selected().await;
        selected.saved = vec![uid(2), uid(3), uid(9)];
        selected.folder.expunge(vec![uid(9)]).await.expect("gone");
        selected.view.look(selected.folder.snapshot());
        // Gone, but not told: it keeps its number.
        assert_eq!(selected.resolve(&SequenceSet::Saved, true), Ok(vec![uid(2), uid(9)]));
        assert!(selected.view.is_gone(uid(9)) && !selected.view.is_gone(uid(3)));
        assert_eq!((selected.view.count(), selected.view.seq(uid(9))), (4, Some(4)));
        assert!(selected.view.entry(uid(9)).is_some(), "as it was last");
        selected.view.catch_up();
        assert_eq!(selected.resolve(&SequenceSet::Saved, false), Ok(vec![uid(2)]));
        assert_eq!((selected.view.count(), selected.view.uid(4)), (3, None));
    }

    #[tokio::test]
    async fn a_client_hears_of_others_changes_but_not_of_its_own() {
        let (_memory, mut selected) = selected().await;
        let folder = Arc::clone(&selected.folder);
        let change = |flag| FlagChange::Add(Flags::default().with(flag));
        let view = &mut selected.view;
        let told = |view: &mut View| {
            view.look(folder.snapshot());
            let uids: Vec<_> = view.flags_to_tell().iter().map(|entry| entry.uid).collect();
            view.flags_are_told();
            uids
        };
        assert!(told(view).is_empty());
        let seen = change(Flag::Seen);
        folder.change_flags(vec![uid(2), uid(5)], &seen, None).await.expect("done");
        // It changed 2 itself, silently.
        let believed = view.believed(uid(2)).expect("known").changed(&seen);
        view.believe(uid(2), believed.clone());
        assert_eq!(told(view), [uid(5)]);
        // Somebody else adds to what it changed, before it hears of anything.
        folder.change_flags(vec![uid(2)], &change(Flag::Flagged), None).await.expect("done");
        view.believe(uid(2), believed);
        assert_eq!(told(view), [uid(2)]);
        // It believes what did not happen.
        view.believe(uid(6), Flags::default().with(Flag::Deleted));
        assert_eq!(told(view), [uid(6)]);
        assert!(told(view).is_empty());
    }
}
