//! Counts of many folders with few requests (RFC 9051 section 6.3.11, RFC 5819).
//!
//! Danger: a client that asks for the STATUS of two hundred folders every minute. Rule: the changes of
//! the folder list and of all followed folders travel in one `$batch`; a folder that was never opened
//! costs nothing, its counts come with the list.

use std::collections::HashSet;
use std::sync::Arc;

use reqwest::Method;
use tokio::time::Instant;

use super::delta;
use super::engine::fresh;
use super::following;
use super::gate::{Entered, Turn};
use super::item::not_stored;
use super::{Engine, OpenFolder, list};
use crate::mail::Error;
use crate::mail::mailbox::{Flag, Size, Snapshot, Status};
use crate::store::{FolderKey, FolderRecord, object_id};
use crate::upstream::graph::ask::{NoPage, Page, Part, Urgency};
use crate::upstream::graph::client::Answer;

/// Octets of a message in a folder that was never opened, for STATUS SIZE: more than the usual one.
const GUESSED_SIZE: u64 = 1 << 20;

/// Brings the folder list and these folders to what the service had at `need` or later. Fails when
/// the list can't be had; each folder's own outcome is in its place.
pub(super) async fn look_together(
    engine: &Engine,
    need: Instant,
    folders: &[Arc<OpenFolder>],
) -> Result<Vec<Result<(), Error>>, Error> {
    let list_turn = match engine.list_gate.enter(need).await {
        Entered::Done(result) => {
            result?;
            None
        }
        Entered::Turn(turn) => Some(turn),
    };
    // Always in the same order, so that two of these never wait for each other.
    let mut order: Vec<usize> = (0..folders.len()).collect();
    order.sort_by_key(|at| folders[*at].key);
    let mut outcomes: Vec<Result<(), Error>> = folders.iter().map(|_| Ok(())).collect();
    let mut looks = Vec::new();
    for at in order {
        match folders[at].gate.enter(need).await {
            Entered::Done(result) => outcomes[at] = result,
            Entered::Turn(turn) => {
                let link = folders[at].state().link;
                looks.push(Look { at, folder: &folders[at], turn, link });
            }
        }
    }
    let result = look_in_turn(engine, list_turn, looks, &mut outcomes).await;
    following::welcome_all(engine).await;
    result.map(|()| outcomes)
}

/// A folder that has to be asked about.
struct Look<'a> {
    at: usize,
    folder: &'a OpenFolder,
    turn: Turn<'a>,
    link: Option<String>,
}

async fn look_in_turn(
    engine: &Engine,
    list_turn: Option<Turn<'_>>,
    looks: Vec<Look<'_>>,
    outcomes: &mut [Result<(), Error>],
) -> Result<(), Error> {
    let list = engine.loaded_list().await?;
    let list_link = list.link.clone().filter(|_| list_turn.is_some());
    let links = list_link.iter().chain(looks.iter().filter_map(|look| look.link.as_ref()));
    let parts: Vec<Part> =
        links.map(|link| Part::repeatable(Method::GET, link.clone(), None)).collect();
    let answers = match parts.len() {
        // One alone needs no batch.
        0 | 1 => Vec::new(),
        _ => engine.graph.batch(&parts, Urgency::Waiting).await?,
    };
    let mut answers = answers.iter();
    let mut page = |has_link: bool| has_link.then(|| read(engine, answers.next())).flatten();
    let list_page = page(list_link.is_some());
    let pages: Vec<_> = looks.iter().map(|look| page(look.link.is_some())).collect();
    if let Some(turn) = list_turn {
        let result = match list::asked(engine, &list, list_page).await {
            Ok(list) => {
                engine.set_list(list);
                Ok(())
            }
            Err(error) => Err(error),
        };
        turn.end(&result);
        result?;
    }
    for (look, page) in looks.into_iter().zip(pages) {
        let Look { at, folder, turn, link } = look;
        let result = match link {
            Some(link) => following::go_on(folder, &link, page).await,
            None => super::comparing::compare(folder).await,
        };
        turn.end(&result);
        outcomes[at] = result;
    }
    Ok(())
}

fn read(engine: &Engine, answer: Option<&Answer>) -> Option<Result<Page, NoPage>> {
    answer.map(|answer| delta::page_of(&engine.graph, answer))
}

/// See [`crate::mail::Mailbox::status`].
pub(super) async fn statuses(engine: &Engine, names: &[String]) -> Vec<Result<Status, Error>> {
    match try_statuses(engine, names).await {
        Ok(statuses) => statuses,
        Err(error) => {
            let again = || Error::new(error.kind, error.text.clone());
            names.iter().map(|_| Err(again())).collect()
        }
    }
}

async fn try_statuses(
    engine: &Engine,
    names: &[String],
) -> Result<Vec<Result<Status, Error>>, Error> {
    let now = Instant::now();
    // Which folders are followed is in the store; what is new of them comes with the list.
    let before = engine.tree().await?;
    let asked = names.iter().filter_map(|name| before.find(name));
    let asked: HashSet<FolderKey> = asked.map(|node| node.record.key).collect();
    let mut followed = Vec::new();
    for record in engine.store.folders().await.map_err(not_stored)? {
        if record.is_indexed && asked.contains(&record.key) {
            followed.push(engine.open_record(record).await?);
        }
    }
    // All as LIST left them, or all as of now: one request either way.
    let credits = followed.iter().map(|folder| engine.spend_credit(folder.key, now));
    let need = credits.max().unwrap_or_else(|| fresh(now));
    let outcomes = look_together(engine, need, &followed).await?;
    let tree = engine.tree().await?;
    let records = engine.store.folders().await.map_err(not_stored)?;
    let mut outcomes: Vec<Option<Result<(), Error>>> = outcomes.into_iter().map(Some).collect();
    let status = |name: &String| {
        let node = tree.find(name).ok_or_else(|| engine.no_folder(name))?;
        let at = followed.iter().position(|folder| folder.key == node.record.key);
        if let Some(at) = at {
            // Asked twice in one command: the second time it is as the first left it.
            outcomes[at].take().unwrap_or(Ok(()))?;
            let (snapshot, recent) = (followed[at].published(), followed[at].recent());
            return Ok(Status {
                object_id: object_id(&followed[at].graph_id),
                ..of_snapshot(&snapshot, recent)
            });
        }
        let record = records.iter().find(|record| record.key == node.record.key);
        record.map(of_record).ok_or_else(|| engine.no_folder(name))
    };
    Ok(names.iter().map(status).collect())
}

fn of_record(record: &FolderRecord) -> Status {
    let facts = &record.facts;
    Status {
        messages: facts.total,
        unseen: facts.unread.min(facts.total),
        deleted: 0,
        recent: facts.total,
        uid_next: record.uid_next,
        uid_validity: record.uid_validity,
        highest_modseq: record.highest_modseq,
        size: u64::from(facts.total) * GUESSED_SIZE,
        object_id: object_id(&facts.graph_id),
    }
}

fn of_snapshot(snapshot: &Snapshot, recent: u32) -> Status {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let with = |flag| snapshot.messages.iter().filter(move |entry| entry.flags.has(flag)).count();
    let size = |size: Size| match size {
        Size::Exact(octets) => octets,
        // The service's own form is shorter than MIME at times, but hardly by half.
        Size::Estimated(octets) => octets.saturating_mul(2),
    };
    Status {
        object_id: [0; 16],
        messages: count(snapshot.messages.len()),
        unseen: count(snapshot.messages.len() - with(Flag::Seen)),
        deleted: count(with(Flag::Deleted)),
        recent,
        uid_next: snapshot.uid_next,
        uid_validity: snapshot.uid_validity,
        highest_modseq: snapshot.highest_modseq,
        size: snapshot.messages.iter().fold(0, |sum, entry| {
            let octets: u64 = size(entry.size);
            u64::saturating_add(sum, octets)
        }),
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::super::tree::tests::record;
    use super::*;
    use crate::mail::mailbox::{Entry, Flags, ModSeq, Uid};

    #[test]
    fn counts_come_from_the_snapshot() {
        let entry = |number, flags: Flags, size| {
            Arc::new(Entry {
                uid: Uid::new(number).expect("not 0"),
                modseq: ModSeq(1),
                flags,
                date: OffsetDateTime::UNIX_EPOCH,
                size,
                object_id: [0; 16],
            })
        };
        let snapshot = Snapshot {
            uid_validity: 3,
            uid_next: Uid::new(9).expect("not 0"),
            highest_modseq: ModSeq(4),
            messages: vec![
                entry(1, Flags::default().with(Flag::Seen), Size::Exact(10)),
                entry(2, Flags::default().with(Flag::Deleted), Size::Estimated(7)),
            ],
        };
        let status = of_snapshot(&snapshot, 1);
        assert_eq!((status.messages, status.unseen, status.deleted), (2, 1, 1));
        assert_eq!((status.recent, status.size, status.uid_validity), (1, 24, 3));
        assert_eq!((status.uid_next, status.highest_modseq), (snapshot.uid_next, ModSeq(4)));
    }

    #[test]
    fn a_folder_never_opened_has_the_services_counts() {
        let mut record = record("a", "", "A", "");
        (record.facts.total, record.facts.unread) = (5, 9);
        let status = of_record(&record);
        assert_eq!((status.messages, status.unseen, status.recent), (5, 5, 5));
        assert!(status.size >= 5);
    }
}
