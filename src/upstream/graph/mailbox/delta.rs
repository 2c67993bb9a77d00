//! Rounds of changes: pages up to the link to the next round (Graph page `concepts/delta-query-overview`).
//!
//! Danger: entries repeat, come in any order, leave properties out, and an empty page is not the
//! last one. Rule: a round is over with its deltaLink and not before; what it says of a message is
//! that something happened, and what that was is asked for by id.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use super::message;
use crate::mail::{Error, Kind};
use crate::upstream::graph::ask::{NoPage, Page, PageSize, Target};
use crate::upstream::graph::client::{Answer, Mailbox};

/// Items a page: the service's most (Graph page `api/user-list-messages`).
pub(super) const PAGE: PageSize = PageSize::of(1000);
/// Pages of one listing or round. Ten million messages: beyond it links lead in circles.
const MAX_PAGES: usize = 10_000;

/// Links that were followed (their hashes), so that links in circles end.
#[derive(Debug, Default)]
pub(super) struct Pages(HashSet<u64>);

impl Pages {
    /// Fails when that page was there before, or when there are too many.
    pub fn follow(&mut self, link: &str) -> Result<(), Error> {
        let mut hasher = DefaultHasher::new();
        link.hash(&mut hasher);
        if !self.0.insert(hasher.finish()) || self.0.len() > MAX_PAGES {
            return Err(Error::new(Kind::Unavailable, "Graph's pages never end"));
        }
        Ok(())
    }
}

/// What a round said of one message last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It is here, in this version where one was named.
    Here(Option<String>),
    /// It was deleted or moved away.
    Removed,
}

/// A whole round about messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    /// By id.
    pub said: HashMap<String, Said>,
    /// Whether it was read, where that was said: Exchange has that apart from the version.
    pub is_read: HashMap<String, bool>,
    /// To the next round.
    pub link: String,
}

impl Round {
    /// Takes a page in. Entries without an id say nothing.
    fn take(&mut self, items: &[Value]) {
        for item in items {
            let Some(id) = item["id"].as_str().filter(|id| !id.is_empty()) else { continue };
            if let Some(is_read) = item["isRead"].as_bool() {
                self.is_read.insert(id.to_owned(), is_read);
            }
            let said = match item.get("@removed") {
                Some(_) => Said::Removed,
                None => Said::Here(message::etag(item).map(str::to_owned)),
            };
            // Order is not promised: said both ways, only a GET can tell.
            let said = match (self.said.get(id), said) {
                (Some(Said::Removed), Said::Here(_)) => Said::Here(None),
                (Some(Said::Here(_)), Said::Removed) => Said::Removed,
                (Some(Said::Here(before)), Said::Here(now)) if *before != now => Said::Here(None),
                (_, said) => said,
            };
            self.said.insert(id.to_owned(), said);
        }
    }
}

/// The round that begins with `target`, or whose first page is there already.
pub(super) async fn round(
    graph: &Mailbox,
    target: Target<'_>,
    first: Option<Page>,
) -> Result<Round, NoPage> {
    let (mut round, mut pages, mut size) = (Round::default(), Pages::default(), PAGE);
    let mut page = match first {
        Some(page) => page,
        None => graph.page(target, &mut size, DOING).await?,
    };
    loop {
        round.take(&page.items);
        page = match (page.delta, page.next) {
            (Some(link), _) => {
                round.link = link;
                return Ok(round);
            }
            (None, Some(next)) => {
                pages.follow(&next).map_err(NoPage::Failed)?;
                graph.page(Target::Link(&next), &mut size, DOING).await?
            }
            (None, None) => return Err(NoPage::Failed(endless())),
        };
    }
}

const DOING: &str = "looking for changes";

/// All items of a round about few things, such as folders, and the link to the next.
pub(super) async fn items(
    graph: &Mailbox,
    target: Target<'_>,
    first: Option<Page>,
) -> Result<(Vec<Value>, String), NoPage> {
    let (mut items, mut pages, mut size) = (Vec::new(), Pages::default(), PAGE);
    let mut page = match first {
        Some(page) => page,
        None => graph.page(target, &mut size, DOING).await?,
    };
    loop {
        items.append(&mut page.items);
        if items.len() > MAX_ITEMS {
            let text = format!("Graph lists more than {MAX_ITEMS} folders");
            return Err(NoPage::Failed(Error::new(Kind::Unavailable, text)));
        }
        page = match (page.delta, page.next) {
            (Some(link), _) => return Ok((items, link)),
            (None, Some(next)) => {
                pages.follow(&next).map_err(NoPage::Failed)?;
                graph.page(Target::Link(&next), &mut size, DOING).await?
            }
            (None, None) => return Err(NoPage::Failed(endless())),
        };
    }
}

/// Folders of a mailbox that are listed; Exchange permits 10,000 below one.
const MAX_ITEMS: usize = 50_000;

fn endless() -> Error {
    Error::new(
        Kind::Unavailable,
        "Graph's list of changes has no end: neither nextLink nor deltaLink",
    )
}

/// The page that a part of a batch brought.
pub(super) fn page_of(graph: &Mailbox, answer: &Answer) -> Result<Page, NoPage> {
    graph.page_of(answer, DOING)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_said_twice_is_said_once() {
        let here = |etag: Option<&str>| Said::Here(etag.map(str::to_owned));
        let item = |etag: &str| json!({"id": "a", "@odata.etag": etag});
        let removed = json!({"id": "a", "@removed": {"reason": "deleted"}});
        for (items, expected) in [
            (vec![item("1")], here(Some("1"))),
            (vec![item("1"), item("1")], here(Some("1"))),
            (vec![item("1"), item("2")], here(None)),
            (vec![json!({"id": "a", "isRead": true})], here(None)),
            (vec![removed.clone()], Said::Removed),
            (vec![removed.clone(), item("1")], here(None)),
            (vec![item("1"), removed.clone()], Said::Removed),
            (vec![item("1"), removed.clone(), removed.clone()], Said::Removed),
        ] {
            let mut round = Round::default();
            round.take(&items);
            assert_eq!(round.said.get("a"), Some(&expected), "{items:?}");
        }
        let mut round = Round::default();
        round.take(&[json!({"isRead": true}), json!({"id": ""}), json!(3), json!({"id": 7})]);
        assert!(round.said.is_empty());
    }

    #[test]
    fn links_that_lead_in_circles_end_at_once() {
        let mut pages = Pages::default();
        assert!(pages.follow("a").is_ok() && pages.follow("b").is_ok());
        assert!(pages.follow("a").is_err());
        let mut pages = Pages::default();
        let followed = (0..=MAX_PAGES).take_while(|at| pages.follow(&at.to_string()).is_ok());
        assert_eq!(followed.count(), MAX_PAGES);
    }
}
