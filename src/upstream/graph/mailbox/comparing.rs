//! A whole folder, listed and compared by id: the first time, and when its link has expired.
//!
//! Danger: a listing's pages shift while messages come and go, so that one is listed twice and another
//! one not at all; a known message taken for gone gets a new UID later. Rule: the link is taken first,
//! so that nothing falls into a gap; what only the round of changes names is asked for by id, and so is
//! what is known and no longer listed. Known ids keep their UIDs.

use std::collections::HashSet;

use super::delta::{self, PAGE, Pages, Round};
use super::folder::Writing;
use super::inquiry::inquire;
use super::item::not_stored;
use super::merge::{self, ById};
use super::{OpenFolder, message};
use crate::mail::Error;
use crate::store::Changes;
use crate::upstream::graph::ask::Target;
use crate::upstream::graph::client::percent_encode;

/// Changes that are held before they are stored: bounds memory, and a small folder is one transaction.
const HELD: usize = 2000;
/// Known messages that are asked for by id before they are taken for gone.
const MAX_MISSING: usize = 400;

/// Lists the folder, stores what is different, and follows it from then on.
pub(super) async fn compare(folder: &OpenFolder) -> Result<(), Error> {
    let mut writing = folder.writing().await;
    let known = folder.engine.store.known(folder.key).await.map_err(not_stored)?;
    let known: ById = known.into_iter().map(|one| (one.graph_id.clone(), one)).collect();
    let round = first_round(folder).await?;
    let mut survey =
        Survey { folder, known: &known, seen: HashSet::new(), changes: Changes::default() };
    survey.list(&mut writing).await?;
    survey.look_for_the_rest(&round, &mut writing).await?;
    let mut changes = survey.changes;
    changes.link = Some(round.link);
    changes.now_indexed = true;
    writing.apply(changes).await?;
    Ok(())
}

/// Every id of the folder, and the link to what changes from now on.
async fn first_round(folder: &OpenFolder) -> Result<Round, Error> {
    let id = percent_encode(&folder.graph_id);
    let path = format!("/mailFolders/{id}/messages/delta?{}", message::DELTA_FIELDS);
    Ok(delta::round(&folder.engine.graph, Target::Path(&path), None).await?)
}

/// A comparison under way.
struct Survey<'a> {
    folder: &'a OpenFolder,
    known: &'a ById,
    /// Ids that have been compared.
    seen: HashSet<String>,
    /// Not stored yet.
    changes: Changes,
}

impl Survey<'_> {
    /// By received time, so that UIDs ascend as messages came.
    async fn list(&mut self, writing: &mut Writing<'_>) -> Result<(), Error> {
        const DOING: &str = "listing a folder";
        let graph = &self.folder.engine.graph;
        let id = percent_encode(&self.folder.graph_id);
        let fields = message::FIELDS;
        let path = format!("/mailFolders/{id}/messages?{fields}&$orderby=receivedDateTime%20asc");
        let (mut pages, mut size) = (Pages::default(), PAGE);
        let mut page = graph.page(Target::Path(&path), &mut size, DOING).await?;
        loop {
            for json in &page.items {
                let is_here = message::parent(json).is_none_or(|id| id == self.folder.graph_id);
                let Some(message) = message::new_message(json).filter(|_| is_here) else {
                    continue;
                };
                if self.seen.insert(message.graph_id.clone()) {
                    let known = self.known.get(&message.graph_id);
                    merge::place(known, message, &mut self.changes);
                }
            }
            self.store_when_many(writing).await?;
            let Some(next) = page.next else { return Ok(()) };
            pages.follow(&next)?;
            page = graph.page(Target::Link(&next), &mut size, DOING).await?;
        }
    }

    async fn look_for_the_rest(
        &mut self,
        round: &Round,
        writing: &mut Writing<'_>,
    ) -> Result<(), Error> {
        let unseen = |id: &&String| !self.seen.contains(*id);
        let mut ids: Vec<String> = round.said.keys().filter(unseen).cloned().collect();
        let said = |id: &&String| round.said.contains_key(*id);
        let missing = self.known.keys().filter(unseen).filter(|id| !said(id));
        let missing: Vec<String> = missing.cloned().collect();
        match missing.len() > MAX_MISSING {
            true => self.changes.removed.extend(missing),
            false => ids.extend(missing),
        }
        ids.sort_unstable();
        for ids in ids.chunks(HELD) {
            let found = inquire(&self.folder.engine.graph, ids).await?;
            merge::settle(&self.folder.graph_id, self.known, found, &mut self.changes);
            self.store_when_many(writing).await?;
        }
        Ok(())
    }

    async fn store_when_many(&mut self, writing: &mut Writing<'_>) -> Result<(), Error> {
        let Changes { added, updated, replaced, .. } = &self.changes;
        if added.len() + updated.len() + replaced.len() >= HELD {
            writing.apply(std::mem::take(&mut self.changes)).await?;
        }
        Ok(())
    }
}
