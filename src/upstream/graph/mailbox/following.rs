//! A followed folder: what has changed since the last look.
//!
//! Danger: see `delta`. Rule: pages are read without the folder's lock, for they only say where to
//! look; what is there is asked for and merged under it. A link is stored with what it led to. What
//! went to another followed folder is looked for there, because its own link may never tell.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::Method;
use tokio::time::Instant;

use super::delta::{self, Round};
use super::folder::Count;
use super::gate::Entered;
use super::inquiry::inquire;
use super::item::not_stored;
use super::merge::{self, ById};
use super::{Engine, OpenFolder, comparing};
use crate::mail::{Error, Kind};
use crate::store::{Changes, Stray};
use crate::upstream::graph::ask::{NoPage, Page, Part, Target, Urgency};
use crate::upstream::graph::client::percent_encode;

/// How often the service's count is asked for beside the changes: it doubles a poll's cost.
const COUNT_EVERY: Duration = Duration::from_secs(60);
/// Folders through which a message is followed at once.
const MAX_JOURNEY: usize = 3;
/// Messages asked for one by one where a listing would be more requests.
const FEW: usize = 200;

/// Brings the folder to what the service had at `need` or later.
pub(super) async fn refresh(folder: &OpenFolder, need: Instant) -> Result<(), Error> {
    let result = match folder.gate.enter(need).await {
        Entered::Done(result) => return result,
        Entered::Turn(turn) => {
            let result = look(folder).await;
            turn.end(&result);
            result
        }
    };
    welcome_all(&folder.engine).await;
    result
}

async fn look(folder: &OpenFolder) -> Result<(), Error> {
    let state = folder.state();
    let Some(link) = state.link.filter(|_| state.is_indexed) else {
        return comparing::compare(folder).await;
    };
    let is_due = state.count.asked.is_none_or(|asked| asked.elapsed() >= COUNT_EVERY);
    if !is_due {
        return go_on(folder, &link, None).await;
    }
    let path = format!("/mailFolders/{}?$select=totalItemCount", percent_encode(&folder.graph_id));
    let parts = [link.clone(), path].map(|path| Part::repeatable(Method::GET, path, None));
    let answers = folder.engine.graph.batch(&parts, Urgency::Waiting).await?;
    let [changes, count] = answers.as_slice() else { return Err(incomplete()) };
    let page = delta::page_of(&folder.engine.graph, changes);
    go_on(folder, &link, Some(page)).await?;
    match count.json()["totalItemCount"].as_i64() {
        Some(total) if compares_unequal(folder, total) => {
            comparing::compare(folder).await?;
            accept_count(folder, total);
        }
        _ => {}
    }
    Ok(())
}

fn incomplete() -> Error {
    Error::new(Kind::Unavailable, "Graph's answer lacks a part of what was asked")
}

/// Reads the rest of the round that `link` begins, and merges it.
pub(super) async fn go_on(
    folder: &OpenFolder,
    link: &str,
    first: Option<Result<Page, NoPage>>,
) -> Result<(), Error> {
    let graph = &folder.engine.graph;
    let round = match first {
        Some(Ok(page)) => delta::round(graph, Target::Link(link), Some(page)).await,
        Some(Err(failure)) => Err(failure),
        None => delta::round(graph, Target::Link(link), None).await,
    };
    match round {
        Ok(round) => absorb(folder, link, round).await,
        Err(NoPage::Failed(error)) => Err(error),
        Err(NoPage::Expired) => {
            let text = "the link to a folder's changes has expired; the folder is compared anew";
            tracing::debug!("{}: {text}", folder.engine.graph.client.role);
            let mut writing = folder.writing().await;
            writing.apply(Changes { forget_link: true, ..Changes::default() }).await?;
            drop(writing);
            comparing::compare(folder).await
        }
    }
}

async fn absorb(folder: &OpenFolder, link: &str, round: Round) -> Result<(), Error> {
    let mut writing = folder.writing().await;
    if folder.state().link.as_deref() != Some(link) {
        // Compared in the meantime: the newer link tells all this again.
        return Ok(());
    }
    let engine = &folder.engine;
    let known = known_of(folder, round.said.keys().cloned().collect()).await?;
    let ids = merge::to_ask(&round, &known);
    if ids.len() > FEW && ids.len() / 20 > requests_to_list(folder) {
        drop(writing);
        return comparing::compare(folder).await;
    }
    let found = inquire(&engine.graph, &ids).await?;
    let mut changes = Changes::default();
    merge::settle(&folder.graph_id, &known, found, &mut changes);
    if changes.is_empty() {
        folder.set_link(round.link);
    } else {
        changes.link = Some(round.link);
        writing.apply(changes).await?;
    }
    Ok(())
}

fn requests_to_list(folder: &OpenFolder) -> usize {
    2 + 2 * (folder.published().messages.len() / 1000)
}

async fn known_of(folder: &OpenFolder, ids: Vec<String>) -> Result<ById, Error> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let known = folder.engine.store.known_of(folder.key, &ids).await.map_err(not_stored)?;
    Ok(known.into_iter().map(|known| (known.graph_id.clone(), known)).collect())
}

/// Adds messages that have left another folder to the folders where they are now. A failure is not
/// the asking client's: they stay noted, for the next look.
pub(super) async fn welcome_all(engine: &Engine) {
    for _ in 0..MAX_JOURNEY {
        if !engine.has_strays.swap(false, Ordering::AcqRel) {
            return;
        }
        if let Err(error) = try_to_welcome(engine).await {
            engine.has_strays.store(true, Ordering::Release);
            let role = &engine.graph.client.role;
            let text = "moved messages are not in their folder yet";
            tracing::debug!("{role}: {text}: {}", error.chain());
            return;
        }
    }
}

async fn try_to_welcome(engine: &Engine) -> Result<(), Error> {
    let strays = engine.store.strays().await.map_err(not_stored)?;
    let mut outcome = Ok(());
    for strays in strays.chunk_by(|one, other| one.folder_id == other.folder_id) {
        match welcome(engine, &strays[0].folder_id, strays).await {
            Ok(()) => engine.store.forget_strays(strays).await.map_err(not_stored)?,
            Err(error) => outcome = Err(error),
        }
    }
    outcome
}

async fn welcome(engine: &Engine, folder_id: &str, strays: &[Stray]) -> Result<(), Error> {
    if engine.is_being_listed(folder_id) {
        return Err(Error::new(Kind::Unavailable, "their folder is being listed"));
    }
    // A folder that nobody has opened is listed as it is then.
    let Some(folder) = engine.followed(folder_id).await? else { return Ok(()) };
    let mut ids: Vec<String> = strays.iter().map(|stray| stray.graph_id.clone()).collect();
    let mut writing = folder.writing().await;
    let known = known_of(&folder, ids.clone()).await?;
    ids.retain(|id| !known.contains_key(id));
    if ids.is_empty() {
        return Ok(());
    }
    // Asked for once more, under this folder's lock: they may have gone on.
    let found = inquire(&engine.graph, &ids).await?;
    let mut changes = Changes::default();
    merge::settle(&folder.graph_id, &known, found, &mut changes);
    if !changes.is_empty() {
        writing.apply(changes).await?;
    }
    Ok(())
}

/// Notes the service's count; true when it has been different from ours, beyond what is usual, for
/// two looks.
pub(super) fn compares_unequal(folder: &OpenFolder, total: i64) -> bool {
    let ours = i64::try_from(folder.published().messages.len()).unwrap_or(i64::MAX);
    let (count, unequal) = counted(&folder.state().count, total.saturating_sub(ours));
    folder.set_count(count);
    unequal
}

/// What the difference is after a comparison is what the service counts that is no message.
pub(super) fn accept_count(folder: &OpenFolder, total: i64) {
    let ours = i64::try_from(folder.published().messages.len()).unwrap_or(i64::MAX);
    let usual = total.saturating_sub(ours);
    folder.set_count(Count { asked: Some(Instant::now()), last: usual, usual });
}

fn counted(before: &Count, difference: i64) -> (Count, bool) {
    let is_odd = |difference: i64| difference != before.usual;
    let unequal = is_odd(difference) && is_odd(before.last) && before.asked.is_some();
    (Count { asked: Some(Instant::now()), last: difference, usual: before.usual }, unequal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_count_is_wrong_when_it_was_so_twice() {
        let mut count = Count::default();
        for (difference, expected) in
            [(1, false), (1, true), (0, false), (-2, false), (0, false), (3, false), (4, true)]
        {
            let unequal;
            (count, unequal) = counted(&count, difference);
            assert_eq!(unequal, expected, "{difference}");
        }
        // A meeting request counts and is no message: usual from then on.
        let mut count = Count { asked: Some(Instant::now()), last: 1, usual: 1 };
        for difference in [1, 1, 1] {
            let unequal;
            (count, unequal) = counted(&count, difference);
            assert!(!unequal);
        }
    }
}
