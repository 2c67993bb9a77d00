//! The list of folders: asked for once, then followed (Graph page `api/mailfolder-delta`).
//!
//! Danger: entries of a change may lack any property, an id may be missing, and special folders have
//! names in the mailbox's language. Rule: changes are merged into what is known, what is not known is
//! asked for by id, special folders are known by the service's own names, resolved once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::Engine;
use super::delta;
use super::item::not_stored;
use super::tree::{Tree, WELL_KNOWN};
use crate::mail::Error;
use crate::store::{FolderFacts, FolderRecord};
use crate::upstream::graph::ask::{NoPage, Page, Part, Target, Urgency};
use crate::upstream::graph::client::{Answer, percent_encode};

/// What is needed of a folder.
const FIELDS: &str =
    "$select=id,displayName,parentFolderId,totalItemCount,unreadItemCount,isHidden";
/// Where the store keeps the link to the next changes.
const LINK: &str = "folders_link";
/// Where the store keeps the ids of folders that are not shown.
const UNLISTED: &str = "folders_unlisted";
/// Where the store keeps the ids of special folders.
const NAMES: &str = "well_known_folders";

/// The folders of a mailbox as last heard.
#[derive(Clone, Debug, Default)]
pub(super) struct List {
    pub tree: Arc<Tree>,
    /// To the next changes; `None`: never listed, or expired.
    pub link: Option<String>,
    unlisted: HashSet<String>,
    /// Ids by the service's own names; `None`: never asked.
    names: Option<BTreeMap<String, String>>,
}

impl List {
    /// What the store has.
    pub async fn load(engine: &Engine) -> Result<Self, Error> {
        let store = &engine.store;
        let setting = async |name| store.setting(name).await.map_err(not_stored);
        let (link, unlisted, names) =
            (setting(LINK).await?, setting(UNLISTED).await?, setting(NAMES).await?);
        // What can't be read is asked for again.
        let read = |text: Option<String>| text.and_then(|text| serde_json::from_str(&text).ok());
        let unlisted: HashSet<String> =
            unlisted.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let names: Option<BTreeMap<String, String>> = read(names);
        let records = store.folders().await.map_err(not_stored)?;
        let link = link.filter(|_| names.is_some());
        Ok(Self { tree: Arc::new(Tree::new(records, &unlisted)), link, unlisted, names })
    }

    /// The id of a special folder.
    pub fn well_known(&self, name: &str) -> Option<&String> {
        self.names.as_ref()?.get(name)
    }

    fn name_of(&self, graph_id: &str) -> Option<String> {
        let mut names = self.names.iter().flatten();
        names.find(|(_, id)| *id == graph_id).map(|(name, _)| name.clone())
    }
}

/// Asks for changes and returns the list after them. `first`: the answer to the link, where it was
/// asked for with others.
pub(super) async fn asked(
    engine: &Engine,
    list: &List,
    first: Option<Result<Page, NoPage>>,
) -> Result<List, Error> {
    if let Some(link) = &list.link {
        let graph = &engine.graph;
        let changes = match first {
            Some(Ok(page)) => delta::items(graph, Target::Link(link), Some(page)).await,
            Some(Err(failure)) => Err(failure),
            None => delta::items(graph, Target::Link(link), None).await,
        };
        match changes {
            Ok((items, link)) => return merged(engine, list, items, link, false).await,
            Err(NoPage::Failed(error)) => return Err(error),
            Err(NoPage::Expired) => {}
        }
    }
    let path = format!("/mailFolders/delta?{FIELDS}");
    let (items, link) = delta::items(&engine.graph, Target::Path(&path), None).await?;
    merged(engine, list, items, link, true).await
}

async fn merged(
    engine: &Engine,
    list: &List,
    items: Vec<Value>,
    link: String,
    is_whole: bool,
) -> Result<List, Error> {
    let records = engine.store.folders().await.map_err(not_stored)?;
    let mut merge = Merge::new(&records, &list.unlisted);
    let unclear = merge.take(&items, is_whole);
    if !unclear.is_empty() {
        merge.take(&inquire(engine, &unclear).await?, false);
    }
    if is_whole {
        merge.drop_unmentioned();
    }
    let mut list = List { link: Some(link), ..list.clone() };
    if is_whole || list.names.is_none() || merge.has_new(&records) {
        list.names = Some(resolve(engine, list.names.as_ref(), is_whole).await?);
    }
    merge.name(|id| list.name_of(id));
    let (changed, removed) = merge.difference(&records);
    if changed.is_empty() && removed.is_empty() && !is_whole {
        return Ok(list);
    }
    list.unlisted = merge.unlisted;
    put(engine, list, &changed, &removed).await
}

/// Stores folders and returns the list with them.
pub(super) async fn put(
    engine: &Engine,
    mut list: List,
    changed: &[FolderFacts],
    removed: &[String],
) -> Result<List, Error> {
    let store = &engine.store;
    let unlisted = serde_json::json!(list.unlisted).to_string();
    store.set_setting(UNLISTED, Some(&unlisted)).await.map_err(not_stored)?;
    if let Some(names) = &list.names {
        let names = serde_json::json!(names).to_string();
        store.set_setting(NAMES, Some(&names)).await.map_err(not_stored)?;
    }
    let link = list.link.as_deref();
    let records = store.put_folders(changed, removed, link).await.map_err(not_stored)?;
    list.tree = Arc::new(Tree::new(records, &list.unlisted));
    Ok(list)
}

/// Folders that changes left unclear, by id; those that are gone are left out.
async fn inquire(engine: &Engine, ids: &[String]) -> Result<Vec<Value>, Error> {
    let path = |id: &String| format!("/mailFolders/{}?{FIELDS}", percent_encode(id));
    let parts: Vec<Part> =
        ids.iter().map(|id| Part::repeatable(Method::GET, path(id), None)).collect();
    let answers = engine.graph.batch(&parts, Urgency::Waiting).await?;
    let there = answers.iter().filter(|answer| answer.status != StatusCode::NOT_FOUND);
    // What is passed over now is never heard of again.
    let read = |answer: &Answer| match answer.status.is_success() {
        true => Ok(answer.json()),
        false => Err(engine.graph.refusal("looking at a folder", answer)),
    };
    there.map(read).collect()
}

/// The ids of the special folders that there are. Known ones are not asked for again, unless `anew`.
async fn resolve(
    engine: &Engine,
    known: Option<&BTreeMap<String, String>>,
    anew: bool,
) -> Result<BTreeMap<String, String>, Error> {
    let mut names = known.filter(|_| !anew).cloned().unwrap_or_default();
    let missing: Vec<&str> =
        WELL_KNOWN.into_iter().filter(|name| !names.contains_key(*name)).collect();
    let path = |name: &str| format!("/mailFolders/{name}?$select=id");
    let parts: Vec<Part> =
        missing.iter().map(|name| Part::repeatable(Method::GET, path(name), None)).collect();
    let answers = engine.graph.batch(&parts, Urgency::Waiting).await?;
    for (name, answer) in missing.iter().zip(&answers) {
        match (answer.status.is_success(), answer.json()["id"].as_str()) {
            (true, Some(id)) => {
                names.insert((*name).to_owned(), id.to_owned());
            }
            // A mailbox need not have each of them.
            _ if answer.status.is_success() || answer.status == StatusCode::NOT_FOUND => {}
            _ => return Err(engine.graph.refusal("looking for the special folders", answer)),
        }
    }
    Ok(names)
}

/// What the service says of a folder in the answer to a change; `None` without an id.
pub(super) fn facts(json: &Value, before: Option<&FolderFacts>) -> Option<FolderFacts> {
    let id = json["id"].as_str().filter(|id| !id.is_empty())?;
    let text = |name: &str| json[name].as_str().map(str::to_owned);
    let count = |name: &str| json[name].as_u64().map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    let parent_id = text("parentFolderId").filter(|id| !id.is_empty());
    Some(FolderFacts {
        graph_id: id.to_owned(),
        parent_id: parent_id.or_else(|| before?.parent_id.clone()),
        display_name: text("displayName").or_else(|| Some(before?.display_name.clone()))?,
        well_known: before.and_then(|before| before.well_known.clone()),
        total: count("totalItemCount").or(before.map(|before| before.total)).unwrap_or(0),
        unread: count("unreadItemCount").or(before.map(|before| before.unread)).unwrap_or(0),
    })
}

/// Folders while changes are merged.
struct Merge {
    facts: HashMap<String, FolderFacts>,
    unlisted: HashSet<String>,
    mentioned: HashSet<String>,
}

impl Merge {
    fn new(records: &[FolderRecord], unlisted: &HashSet<String>) -> Self {
        let facts = records.iter().map(|one| (one.facts.graph_id.clone(), one.facts.clone()));
        Self { facts: facts.collect(), unlisted: unlisted.clone(), mentioned: HashSet::new() }
    }

    /// Takes entries in; returns the ids of those that say too little of a folder not known, or both
    /// that it is there and that it is gone: their order is not promised.
    fn take(&mut self, items: &[Value], is_whole: bool) -> Vec<String> {
        let mut unclear = Vec::new();
        let is_gone = |item: &&Value| item.get("@removed").is_some();
        let gone: HashSet<&str> =
            items.iter().filter(is_gone).filter_map(|item| item["id"].as_str()).collect();
        for item in items {
            let Some(id) = item["id"].as_str().filter(|id| !id.is_empty()) else { continue };
            if gone.contains(id) && item.get("@removed").is_none() {
                unclear.push(id.to_owned());
                continue;
            }
            if item.get("@removed").is_some() {
                self.facts.remove(id);
                self.unlisted.remove(id);
                self.mentioned.remove(id);
                continue;
            }
            self.mentioned.insert(id.to_owned());
            let is_search = item["@odata.type"].as_str().is_some_and(|kind| {
                kind.trim_start_matches('#')
                    .eq_ignore_ascii_case("microsoft.graph.mailSearchFolder")
            });
            match item["isHidden"].as_bool() {
                _ if is_search => self.hide(id),
                Some(true) => self.hide(id),
                Some(false) => {
                    self.unlisted.remove(id);
                }
                None if is_whole => {
                    self.unlisted.remove(id);
                }
                None => {}
            }
            if self.unlisted.contains(id) {
                continue;
            }
            match facts(item, self.facts.get(id)) {
                Some(facts) => {
                    self.facts.insert(id.to_owned(), facts);
                }
                None => unclear.push(id.to_owned()),
            }
        }
        unclear
    }

    fn hide(&mut self, id: &str) {
        self.unlisted.insert(id.to_owned());
        self.facts.remove(id);
    }

    /// After a whole list: what it did not name is gone.
    fn drop_unmentioned(&mut self) {
        self.facts.retain(|id, _| self.mentioned.contains(id));
        self.unlisted.retain(|id| self.mentioned.contains(id));
    }

    fn name(&mut self, name_of: impl Fn(&str) -> Option<String>) {
        for facts in self.facts.values_mut() {
            facts.well_known = name_of(&facts.graph_id);
        }
    }

    fn has_new(&self, records: &[FolderRecord]) -> bool {
        let known: HashSet<&str> = records.iter().map(|one| one.facts.graph_id.as_str()).collect();
        self.facts.keys().any(|id| !known.contains(id.as_str()))
    }

    /// What became different, and the ids of what is gone; both sorted.
    fn difference(&self, records: &[FolderRecord]) -> (Vec<FolderFacts>, Vec<String>) {
        let before: HashMap<&str, &FolderFacts> =
            records.iter().map(|one| (one.facts.graph_id.as_str(), &one.facts)).collect();
        let is_new = |facts: &&FolderFacts| before.get(facts.graph_id.as_str()) != Some(facts);
        let mut changed: Vec<FolderFacts> = self.facts.values().filter(is_new).cloned().collect();
        changed.sort_by(|a, b| a.graph_id.cmp(&b.graph_id));
        let gone = |id: &&&str| !self.facts.contains_key(**id);
        let mut removed: Vec<String> =
            before.keys().filter(gone).map(|id| (*id).to_owned()).collect();
        removed.sort_unstable();
        (changed, removed)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tree::tests::record;
    use super::*;

    fn merge(items: &[Value], is_whole: bool) -> (Merge, Vec<String>) {
        let records = [record("a", "root", "A", "inbox"), record("b", "a", "B", "")];
        let mut merge = Merge::new(&records, &HashSet::from(["h".to_owned()]));
        let unclear = merge.take(items, is_whole);
        if is_whole {
            merge.drop_unmentioned();
        }
        (merge, unclear)
    }

    fn ids(merge: &Merge) -> Vec<&str> {
        let mut ids: Vec<&str> = merge.facts.keys().map(String::as_str).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn changes_are_merged_and_never_the_whole_truth() {
        let items = [
            json!({"id": "b", "unreadItemCount": 3}),
            json!({"id": "c", "displayName": "C", "parentFolderId": "a", "isHidden": false}),
            json!({"displayName": "no id"}),
            json!({"id": ""}),
            json!({"id": "x", "totalItemCount": 1}),
            json!({"id": "h", "displayName": "still hidden"}),
            json!({"id": "s", "displayName": "S", "@odata.type": "#microsoft.graph.mailSearchFolder"}),
        ];
        let (merge, unclear) = merge(&items, false);
        assert_eq!(ids(&merge), ["a", "b", "c"]);
        assert_eq!(unclear, ["x"]);
        let b = &merge.facts["b"];
        assert_eq!(
            (b.display_name.as_str(), b.unread, b.parent_id.as_deref()),
            ("B", 3, Some("a"))
        );
        assert_eq!(merge.facts["a"].well_known.as_deref(), Some("inbox"));
        assert!(merge.unlisted.contains("h") && merge.unlisted.contains("s"));
    }

    #[test]
    fn folders_come_go_hide_and_show() {
        let (shown, _) = merge(&[json!({"id": "h", "displayName": "H", "isHidden": false})], false);
        assert_eq!(ids(&shown), ["a", "b", "h"]);
        let (hidden, _) = merge(&[json!({"id": "b", "isHidden": true})], false);
        assert_eq!(ids(&hidden), ["a"]);
        let (removed, _) = merge(&[json!({"id": "b", "@removed": {"reason": "deleted"}})], false);
        assert_eq!(ids(&removed), ["a"]);
        let records = [record("a", "root", "A", "inbox"), record("b", "a", "B", "")];
        let (changed, gone) = removed.difference(&records);
        assert_eq!((changed, gone), (Vec::new(), vec!["b".to_owned()]));
    }

    #[test]
    fn a_folder_said_to_be_gone_and_there_is_asked_for() {
        let here = json!({"id": "b", "displayName": "B2"});
        let gone = json!({"id": "b", "@removed": {"reason": "deleted"}});
        for items in [[here.clone(), gone.clone()], [gone, here.clone()]] {
            let (mut merge, unclear) = merge(&items, false);
            assert_eq!((ids(&merge), unclear), (vec!["a"], vec!["b".to_owned()]));
            assert!(merge.take(std::slice::from_ref(&here), false).is_empty());
            assert_eq!(ids(&merge), ["a", "b"]);
        }
    }

    #[test]
    fn a_whole_list_removes_what_it_does_not_name() {
        let (mut merge, unclear) = merge(&[json!({"id": "b", "displayName": "B2"})], true);
        assert!(unclear.is_empty() && merge.unlisted.is_empty());
        assert_eq!(ids(&merge), ["b"]);
        merge.name(|id| (id == "b").then(|| "drafts".to_owned()));
        let records = [record("a", "root", "A", "inbox"), record("b", "a", "B", "")];
        let (changed, gone) = merge.difference(&records);
        assert_eq!(gone, ["a"]);
        assert_eq!(changed.len(), 1);
        assert_eq!(changed[0].well_known.as_deref(), Some("drafts"));
        assert!(!merge.has_new(&records));
    }
}
