//! What becomes of a message in the index when the service has told what it is now.
//!
//! Danger: an old answer over a new state, a UID whose content changes. Rule: decisions are made here,
//! without I/O, from what is known and what the service said of each id by itself.

use std::collections::HashMap;

use super::delta::{Round, Said};
use super::message;
use crate::mail::mailbox::Flag;
use crate::store::{Changes, Known, NewMessage, Stray};

/// Known messages by id.
pub(super) type ById = HashMap<String, Known>;

/// What the service says of one id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The message, and the folder that it is in.
    Message(Box<NewMessage>, Option<String>),
    /// There is none.
    Gone,
    /// There is one that it does not show; what is known of it stays.
    Unreadable,
}

/// The ids of a round that have to be asked for, sorted.
pub(super) fn to_ask(round: &Round, known: &ById) -> Vec<String> {
    let is_read_as = |id: &String, known: &Known| {
        round.is_read.get(id).is_none_or(|is_read| *is_read == known.flags.has(Flag::Seen))
    };
    let unclear = round.said.iter().filter(|(id, said)| match (said, known.get(*id)) {
        // Our own doing, or a replay.
        (Said::Removed, None) => false,
        (Said::Here(Some(etag)), Some(known)) => {
            known.etag.as_ref() != Some(etag) || !is_read_as(id, known)
        }
        (Said::Here(_) | Said::Removed, _) => true,
    });
    let mut ids: Vec<String> = unclear.map(|(id, _)| id.clone()).collect();
    ids.sort_unstable();
    ids
}

/// Adds to `changes` what the service said of each id, also where those are that are elsewhere.
pub(super) fn settle(
    folder_id: &str,
    known: &ById,
    found: Vec<(String, Found)>,
    changes: &mut Changes,
) {
    for (id, found) in found {
        match found {
            Found::Message(message, parent) if parent.as_ref().is_none_or(|p| p == folder_id) => {
                place(known.get(&id), NewMessage { graph_id: id, ..*message }, changes);
            }
            Found::Message(_, parent) => {
                let folder_id = parent.unwrap_or_default();
                changes.strays.push(Stray { graph_id: id.clone(), folder_id });
                changes.removed.extend(Some(id).filter(|id| known.contains_key(id)));
            }
            Found::Gone => changes.removed.extend(Some(id).filter(|id| known.contains_key(id))),
            Found::Unreadable => {}
        }
    }
    // UIDs ascend in the order of arrival.
    changes.added.sort_by(|a, b| (a.date, &a.graph_id).cmp(&(b.date, &b.graph_id)));
    changes.replaced.sort_by(|a, b| (a.date, &a.graph_id).cmp(&(b.date, &b.graph_id)));
}

/// Adds to `changes` what a message of this folder is now.
pub(super) fn place(known: Option<&Known>, message: NewMessage, changes: &mut Changes) {
    match known {
        None => changes.added.push(message),
        Some(known) if is_other_content(known, &message) => changes.replaced.push(message),
        Some(known) if known.etag == message.etag && known.flags == message.flags => {}
        Some(_) => changes.updated.push(message::update(&message)),
    }
}

/// A final message never changes; a draft that is edited, or sent, does.
fn is_other_content(known: &Known, message: &NewMessage) -> bool {
    !known.revision.is_empty() && known.revision != message.revision
}

#[cfg(test)]
pub(super) mod tests {
    use bytes::Bytes;
    use time::OffsetDateTime;

    use super::*;
    use crate::mail::mailbox::{Flags, Size, Uid};

    pub fn message(id: &str, etag: &str, day: i64) -> NewMessage {
        NewMessage {
            graph_id: id.to_owned(),
            etag: Some(etag.to_owned()),
            flags: Flags::default(),
            date: OffsetDateTime::UNIX_EPOCH + time::Duration::days(day),
            size: Size::Estimated(100),
            header: Bytes::from_static(b"Subject: x\r\n\r\n"),
            revision: String::new(),
        }
    }

    fn known(id: &str, etag: &str, revision: &str) -> (String, Known) {
        let known = Known {
            graph_id: id.to_owned(),
            uid: Uid::FIRST,
            etag: Some(etag.to_owned()),
            flags: Flags::default(),
            date: OffsetDateTime::UNIX_EPOCH,
            size: Size::Exact(5),
            revision: revision.to_owned(),
        };
        (id.to_owned(), known)
    }

    #[test]
    fn only_what_is_unclear_is_asked_for() {
        let known =
            ById::from([known("own", "1", ""), known("other", "1", ""), known("gone", "1", "")]);
        let here = |etag: Option<&str>| Said::Here(etag.map(str::to_owned));
        let read = |id: &str, said: Said, is_read: &[bool]| Round {
            said: HashMap::from([(id.to_owned(), said)]),
            is_read: is_read.iter().map(|is_read| (id.to_owned(), *is_read)).collect(),
            ..Round::default()
        };
        assert!(to_ask(&read("own", here(Some("1")), &[false]), &known).is_empty());
        assert_eq!(to_ask(&read("own", here(Some("1")), &[true]), &known), ["own"]);
        for (id, said, asked) in [
            ("own", here(Some("1")), false),
            ("own", here(None), true),
            ("other", here(Some("2")), true),
            ("new", here(Some("1")), true),
            ("new", here(None), true),
            ("gone", Said::Removed, true),
            ("never", Said::Removed, false),
        ] {
            let ids = to_ask(&read(id, said.clone(), &[]), &known);
            assert_eq!(ids.len(), usize::from(asked), "{id} {said:?}");
        }
    }

    #[test]
    fn each_answer_has_its_consequence() {
        let known = ById::from([
            known("same", "1", ""),
            known("flagged", "1", ""),
            known("draft", "1", "r1"),
            known("calm", "1", "r1"),
            known("moved", "1", ""),
            known("gone", "1", ""),
            known("shut", "1", ""),
        ]);
        let here = |message: NewMessage| Found::Message(Box::new(message), Some("f".into()));
        let revised = |id: &str, revision: &str| NewMessage {
            revision: revision.to_owned(),
            ..message(id, "2", 1)
        };
        let flagged = NewMessage {
            flags: Flags::default().with(Flag::Flagged),
            ..message("flagged", "2", 1)
        };
        let found: Vec<(String, Found)> = [
            ("new2", here(message("new2", "1", 9))),
            ("new1", here(message("new1", "1", 3))),
            ("same", here(message("same", "1", 1))),
            ("flagged", here(flagged)),
            ("draft", here(revised("draft", "r2"))),
            ("calm", here(revised("calm", "r1"))),
            ("moved", Found::Message(Box::new(message("moved", "2", 1)), Some("other".into()))),
            ("passing", Found::Message(Box::new(message("passing", "2", 1)), Some("other".into()))),
            ("gone", Found::Gone),
            ("never", Found::Gone),
            ("shut", Found::Unreadable),
        ]
        .map(|(id, found)| (id.to_owned(), found))
        .into();
        let mut changes = Changes::default();
        settle("f", &known, found, &mut changes);
        let ids = |list: &[NewMessage]| -> Vec<String> {
            list.iter().map(|message| message.graph_id.clone()).collect()
        };
        assert_eq!(ids(&changes.added), ["new1", "new2"]);
        assert_eq!(ids(&changes.replaced), ["draft"]);
        let updated: Vec<&str> = changes.updated.iter().map(|u| u.graph_id.as_str()).collect();
        assert_eq!(updated, ["flagged", "calm"]);
        assert_eq!(changes.removed, ["moved", "gone"]);
        let strays = changes.strays.iter();
        let strays: Vec<&str> = strays.map(|stray| stray.graph_id.as_str()).collect();
        assert_eq!(strays, ["moved", "passing"]);
    }

    #[test]
    fn the_same_answer_twice_changes_nothing() {
        let first = message("a", "2", 1);
        let (_, known) = known("a", "2", "");
        let mut changes = Changes::default();
        place(Some(&known), first, &mut changes);
        assert!(changes.is_empty());
    }
}
