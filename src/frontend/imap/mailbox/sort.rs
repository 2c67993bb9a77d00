//! SORT and THREAD (RFC 5256, RFC 5957).
//!
//! Danger: sorting a large folder takes a moment, and sizes and headers that are read for it take
//! minutes. Rule: what is sorted by is taken from the kept header lines; only SIZE may read messages;
//! the sorting itself is done by another thread.

use std::sync::Arc;

use super::search::{self, Answer, Matches};
use super::{Outcome, Session, State, Tagged, answer, fetch};
use crate::frontend::conversation::Parting;
use crate::mail::Error;
use crate::mail::mailbox::{Entry, Uid};
use crate::protocol::imap::order::{self, Facts, Sortable};
use crate::protocol::imap::request::{Search, SortBy, SortKey, ThreadAlgorithm};

/// SORT and UID SORT.
pub(super) async fn run(session: &mut Session, keys: &[SortKey], search: &Search) -> Outcome {
    match sorted(session, keys, search).await? {
        Ok(found) => Ok(search::answer(session, search, &found, Answer::Sort)),
        Err(refusal) => Ok(search::refuse(session, search, refusal)),
    }
}

async fn sorted(
    session: &mut Session,
    keys: &[SortKey],
    search: &Search,
) -> Result<Result<Matches, Tagged>, Parting> {
    let mut found = match search::find(session, search).await? {
        Ok(found) => found,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let sizes = match keys.iter().any(|key| key.by == SortBy::Size) {
        true => match search::sizes(session, &found.entries).await? {
            Ok(sizes) => sizes,
            Err(refusal) => return Ok(Err(refusal)),
        },
        false => vec![0; found.entries.len()],
    };
    let mut messages = match sortable(session, &found.entries, &sizes, true).await {
        Ok(messages) => messages,
        Err(error) => return Ok(Err(answer::refuse(session, &error, "SORT"))),
    };
    let keys = keys.to_vec();
    let sorting = tokio::task::spawn_blocking(move || {
        order::sort(&keys, &mut messages);
        messages
    });
    let messages = sorting.await.map_err(std::io::Error::other)?;
    let entries = std::mem::take(&mut found.entries);
    let find = |message: &Sortable| {
        let at = entries.binary_search_by_key(&message.number, |entry| entry.uid.number()).ok()?;
        entries.get(at).cloned()
    };
    found.entries = messages.iter().filter_map(find).collect();
    Ok(Ok(found))
}

/// THREAD and UID THREAD.
pub(super) async fn thread(
    session: &mut Session,
    algorithm: ThreadAlgorithm,
    search: &Search,
) -> Outcome {
    let found = match search::find(session, search).await? {
        Ok(found) => found,
        Err(refusal) => return Ok(search::refuse(session, search, refusal)),
    };
    let sizes = vec![0; found.entries.len()];
    let messages = match sortable(session, &found.entries, &sizes, search.uid).await {
        Ok(messages) => messages,
        Err(error) => return Ok(answer::refuse(session, &error, "THREAD")),
    };
    let threading = tokio::task::spawn_blocking(move || order::thread(algorithm, messages));
    let threads = threading.await.map_err(std::io::Error::other)?;
    let space = if threads.is_empty() { "" } else { " " };
    session.client.push(format!("* THREAD{space}{threads}\r\n"));
    Ok("OK THREAD completed".to_owned())
}

/// What is known of messages, for sorting; called by UIDs or by sequence numbers. Those that are
/// gone are left out.
async fn sortable(
    session: &Session,
    entries: &[Arc<Entry>],
    sizes: &[u64],
    by_uid: bool,
) -> Result<Vec<Sortable>, Error> {
    let State::Selected(selected) = &session.state else { return Ok(Vec::new()) };
    let mut messages = Vec::with_capacity(entries.len());
    for (entries, sizes) in entries.chunks(fetch::CHUNK).zip(sizes.chunks(fetch::CHUNK)) {
        let uids: Vec<Uid> = entries.iter().map(|entry| entry.uid).collect();
        let mut headers = selected.folder.headers(uids).await?.into_iter().peekable();
        for (entry, size) in entries.iter().zip(sizes) {
            let header = headers.next_if(|(uid, _)| *uid == entry.uid);
            let (Some((_, header)), Some(seq)) = (header, selected.view.seq(entry.uid)) else {
                continue;
            };
            messages.push(Sortable {
                number: if by_uid { entry.uid.number() } else { seq },
                position: seq,
                facts: Facts::of(&header),
                arrival: entry.date,
                size: *size,
            });
        }
        // Header lines that are in memory never wait: other sessions get their turn.
        tokio::task::yield_now().await;
    }
    Ok(messages)
}
