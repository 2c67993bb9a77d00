//! VANISHED (EARLIER) in a UID FETCH (RFC 7162 section 3.2.6).
//!
//! Danger: a client that is not told of an expunge shows the message for ever; one that is told of
//! too many only forgets what it never had. Rule: where expunges are no longer known, every UID that
//! no message has counts as expunged.

use crate::mail::mailbox::{Snapshot, Uid};
use crate::protocol::imap::encode::number_set;
use crate::protocol::imap::request::SequenceSet;

/// The UIDs of `set` to be called vanished, as a sequence-set; empty when there are none.
pub(super) fn vanished(set: &SequenceSet, told: &Snapshot, gone: Option<&[Uid]>) -> String {
    // `$` holds messages that are there.
    let SequenceSet::Ranges(ranges) = set else { return String::new() };
    let ranges = ordered(ranges, told.uid_next.number() - 1);
    match gone {
        Some(gone) => {
            let asked = |uid: &&Uid| {
                let at = ranges.partition_point(|(_, to)| *to < uid.number());
                let is_asked = ranges.get(at).is_some_and(|(from, _)| *from <= uid.number());
                is_asked && told.find(**uid).is_none()
            };
            number_set(gone.iter().filter(asked).map(|uid| uid.number()))
        }
        None => gaps(&ranges, told),
    }
}

/// Ascending and apart; `*` is all that there ever was.
fn ordered(ranges: &[(u32, u32)], highest: u32) -> Vec<(u32, u32)> {
    let clamp = |(a, b): &(u32, u32)| ((*a).min(*b).min(highest), (*a).max(*b).min(highest));
    let mut sorted: Vec<_> = ranges.iter().map(clamp).collect();
    sorted.sort_unstable();
    let mut apart: Vec<(u32, u32)> = Vec::new();
    for (from, to) in sorted {
        match apart.last_mut() {
            Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
            _ => apart.push((from, to)),
        }
    }
    apart
}

/// The numbers in `ranges` that no message has: there may be billions, so they are ranges as well.
fn gaps(ranges: &[(u32, u32)], told: &Snapshot) -> String {
    let mut gaps = Vec::new();
    for (first, last) in ranges {
        let mut from = u64::from((*first).max(1));
        let start = told.messages.partition_point(|entry| entry.uid.number() < *first);
        for entry in &told.messages[start..] {
            let uid = u64::from(entry.uid.number().min(last.saturating_add(1)));
            push_range(&mut gaps, from, uid);
            from = from.max(uid + 1);
            if uid > u64::from(*last) {
                break;
            }
        }
        push_range(&mut gaps, from, u64::from(*last) + 1);
    }
    gaps.join(",")
}

/// From `from` to before `end`.
fn push_range(gaps: &mut Vec<String>, from: u64, end: u64) {
    match end.saturating_sub(from) {
        0 => {}
        1 => gaps.push(from.to_string()),
        _ => gaps.push(format!("{from}:{}", end - 1)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use time::OffsetDateTime;

    use super::*;
    use crate::mail::mailbox::{Entry, Flags, ModSeq, Size};

    fn snapshot(uids: &[u32], next: u32) -> Snapshot {
        let entry = |number: &u32| {
            Arc::new(Entry {
                uid: Uid::new(*number).expect("not 0"),
                modseq: ModSeq(1),
                flags: Flags::default(),
                date: OffsetDateTime::UNIX_EPOCH,
                size: Size::Exact(1),
                object_id: [0; 16],
            })
        };
        Snapshot {
            uid_validity: 1,
            uid_next: Uid::new(next).expect("not 0"),
            highest_modseq: ModSeq(1),
            messages: uids.iter().map(entry).collect(),
        }
    }

    #[test]
    fn unknown_expunges_are_all_numbers_without_a_message() {
        const ALL: u32 = SequenceSet::LAST;
        let some = |ranges: &[(u32, u32)]| SequenceSet::Ranges(ranges.to_vec());
        for (uids, next, set, expected) in [
            (&[2, 3, 7][..], 10, some(&[(1, ALL)]), "1,4:6,8:9"),
            (&[2, 3, 7], 10, some(&[(ALL, 5)]), "5:6,8:9"),
            (&[2, 3, 7], 10, some(&[(2, 3), (7, 7)]), ""),
            (&[2, 3, 7], 10, some(&[(4, 5), (5, 6), (1, 1)]), "1,4:6"),
            (&[], 10, some(&[(1, ALL)]), "1:9"),
            (&[], 1, some(&[(1, ALL)]), ""),
            (&[1], ALL, some(&[(1, ALL)]), "2:4294967294"),
            (&[2], 10, SequenceSet::Saved, ""),
        ] {
            assert_eq!(vanished(&set, &snapshot(uids, next), None), expected, "{set:?}");
        }
    }
}
