//! What has changed since a client was here last (QRESYNC, RFC 7162 section 3.2.5).
//!
//! Danger: a client that is not told of an expunge shows a message for ever; one that names four
//! billion UIDs must not be answered with as many. Rule: expunges that are no longer remembered are
//! told as everything that the client may know and that does not exist; sets are worked on as ranges.

use super::view::merged;
use super::{Selected, Session, answer};
use crate::frontend::conversation::Parting;
use crate::mail::mailbox::{ModSeq, Snapshot, Uid};
use crate::protocol::imap::request::{Qresync, SequenceSet};

/// Inclusive, and neither end is 0.
type Range = (u32, u32);

/// VANISHED (EARLIER), then flags of what has changed. Nothing when UIDVALIDITY is another.
pub(super) async fn tell(
    session: &mut Session,
    selected: &Selected,
    client_knows: &Qresync,
) -> Result<(), Parting> {
    let now = selected.view.told();
    if client_knows.uid_validity != now.uid_validity {
        return Ok(());
    }
    let since = ModSeq(client_knows.modseq);
    let known = known_ranges(client_knows.known.as_ref(), now);
    let vanished = vanished(session, selected, since, &known).await;
    if !vanished.is_empty() {
        session.client.push(format!("* VANISHED (EARLIER) {}\r\n", written(&vanished)));
    }
    for (at, entry) in now.messages.iter().enumerate() {
        if entry.modseq > since && contains(&known, entry.uid.number()) {
            let (seq, recent) = (at as u32 + 1, selected.is_recent(entry.uid));
            session.client.push(answer::flags_line(seq, entry, recent, session.enabled));
            session.client.settle().await?;
        }
    }
    Ok(())
}

/// Expunged among `known`. Where the folder can't say: all that does not exist.
async fn vanished(
    session: &mut Session,
    selected: &Selected,
    since: ModSeq,
    known: &[Range],
) -> Vec<Range> {
    let gone = match selected.folder.vanished_since(since).await {
        Ok(gone) => gone,
        Err(error) => {
            answer::note(session, &error, &format!("QRESYNC of {}", selected.name));
            None
        }
    };
    gone_among(gone.as_deref(), selected.view.told(), known)
}

/// Those of `known` that were expunged; `None`: that is not known, and all that no message has
/// count as such.
pub(super) fn gone_among(gone: Option<&[Uid]>, now: &Snapshot, known: &[Range]) -> Vec<Range> {
    let Some(gone) = gone else { return missing(now, known) };
    let gone = gone.iter().filter(|uid| now.find(**uid).is_none()).map(|uid| uid.number());
    joined(gone.filter(|uid| contains(known, *uid)))
}

/// The UIDs that the client says it knows: below UIDNEXT, ascending, apart.
pub(super) fn known_ranges(set: Option<&SequenceSet>, now: &Snapshot) -> Vec<Range> {
    let highest = now.uid_next.number() - 1;
    let mut written = match set {
        Some(SequenceSet::Ranges(ranges)) => ranges.clone(),
        // `$` has nothing in it when a folder is selected.
        Some(SequenceSet::Saved) => Vec::new(),
        None => vec![(1, SequenceSet::LAST)],
    };
    for range in &mut written {
        *range = (range.0.min(range.1).max(1), range.0.max(range.1).min(highest));
    }
    written.retain(|(from, to)| from <= to);
    merged(written)
}

fn contains(ranges: &[Range], number: u32) -> bool {
    let at = ranges.partition_point(|(_, to)| *to < number);
    ranges.get(at).is_some_and(|(from, _)| *from <= number)
}

/// Parts of `known` in which no message is.
fn missing(now: &Snapshot, known: &[Range]) -> Vec<Range> {
    let mut missing = Vec::new();
    for (from, to) in known {
        let mut next = *from;
        let start = now.messages.partition_point(|entry| entry.uid.number() < *from);
        let within = now.messages[start..].iter().map(|entry| entry.uid.number());
        for uid in within.take_while(|uid| uid <= to) {
            if next < uid {
                missing.push((next, uid - 1));
            }
            next = uid.saturating_add(1);
        }
        if next <= *to {
            missing.push((next, *to));
        }
    }
    missing
}

/// Ascending numbers as ranges.
fn joined(numbers: impl Iterator<Item = u32>) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if last.1.checked_add(1) == Some(number) => last.1 = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

/// A `sequence-set`.
pub(super) fn written(ranges: &[Range]) -> String {
    let one = |(from, to): &Range| match from == to {
        true => from.to_string(),
        false => format!("{from}:{to}"),
    };
    ranges.iter().map(one).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::super::memory::{Memory, uid};
    use super::*;
    use crate::mail::mailbox::Flags;

    /// UIDs 1 to 9, of which 3, 4 and 9 are gone.
    fn snapshot() -> Snapshot {
        let memory = Memory::new();
        let folder = memory.folder("INBOX");
        for _ in 0..9 {
            folder.deliver("\r\n", Flags::default());
        }
        let mut now = (*crate::mail::Folder::snapshot(&*folder)).clone();
        now.messages.retain(|entry| ![uid(3), uid(4), uid(9)].contains(&entry.uid));
        now
    }

    #[test]
    fn what_is_missing_is_told_as_ranges_of_what_is_known() {
        let now = snapshot();
        let all = SequenceSet::LAST;
        for (known, missing_now) in [
            (None, "3:4,9"),
            (Some(vec![(1, u32::MAX - 1)]), "3:4,9"),
            (Some(vec![(4, 2), (all, 9)]), "3:4,9"),
            (Some(vec![(1, 3)]), "3"),
            (Some(vec![(4, 4), (1, 1), (3, 3)]), "3:4"),
            (Some(vec![(5, 8)]), ""),
            (Some(vec![(10, 4_000_000_000)]), ""),
            (Some(vec![(10, all)]), ""),
        ] {
            let set = known.map(SequenceSet::Ranges);
            let ranges = known_ranges(set.as_ref(), &now);
            assert_eq!(written(&gone_among(None, &now, &ranges)), missing_now, "{set:?}");
            let gone = [1, 3, 9, 11].map(uid);
            let named = gone_among(Some(&gone), &now, &ranges);
            let without_4 = missing_now.replace("3:4", "3");
            assert_eq!(written(&named), without_4, "{set:?}");
        }
        assert!(known_ranges(Some(&SequenceSet::Saved), &now).is_empty());
    }

    #[test]
    fn numbers_are_joined_and_looked_up() {
        let ranges = joined([1, 2, 3, 7, 9, 10].into_iter());
        assert_eq!(written(&ranges), "1:3,7,9:10");
        for (number, inside) in [(1, true), (4, false), (7, true), (8, false), (11, false)] {
            assert_eq!(contains(&ranges, number), inside, "{number}");
        }
    }
}
