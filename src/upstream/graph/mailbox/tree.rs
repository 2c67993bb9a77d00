//! The folders of a mailbox as a tree of paths.
//!
//! Danger: the service's list is not to be trusted to be a tree: a parent may be missing, hidden or
//! below its own child, two siblings may have one name, and a chain may be as long as the list.
//! Rule: every folder that is listed has one path and no other folder has it; what would need a path
//! that no client can name is left out; all of this in one walk without recursion.

use std::collections::{HashMap, HashSet};

use super::name::{self, INBOX, Level};
use crate::mail::mailbox::{SEPARATOR, SpecialUse};
use crate::store::FolderRecord;

/// Longest path, in octets: a client's line of 8,192 has room for two of them.
const MAX_PATH: usize = 4000;
/// Folders that are called the same and stand side by side; Exchange permits one.
const MAX_TWINS: usize = 16;

/// The service's name for the folder above all others; it is not listed.
pub(super) const ROOT: &str = "msgfolderroot";
/// Well-known names that matter here (Graph page `resources/mailfolder`).
pub(super) const WELL_KNOWN: [&str; 8] =
    ["inbox", "drafts", "sentitems", "deleteditems", "junkemail", "archive", "outbox", ROOT];

/// A folder and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Its path.
    pub path: String,
    /// What the store knows of it; counts and links may be older than an open folder's.
    pub record: FolderRecord,
    /// True when folders are below it.
    pub has_children: bool,
}

impl Node {
    /// What the folder is for (RFC 6154).
    pub fn special_use(&self) -> Option<SpecialUse> {
        match self.record.facts.well_known.as_deref()? {
            "archive" => Some(SpecialUse::Archive),
            "drafts" => Some(SpecialUse::Drafts),
            "junkemail" => Some(SpecialUse::Junk),
            "sentitems" => Some(SpecialUse::Sent),
            "deleteditems" => Some(SpecialUse::Trash),
            _ => None,
        }
    }
}

/// All folders, parents before children.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    by_path: HashMap<String, usize>,
    by_id: HashMap<String, usize>,
}

impl Tree {
    /// The tree of these folders. `unlisted`: ids of folders that are not shown, and neither is what
    /// is below them.
    pub fn new(records: Vec<FolderRecord>, unlisted: &HashSet<String>) -> Self {
        Planting::new(records, unlisted).grown()
    }

    /// All folders, parents before children.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The folder of that path.
    pub fn find(&self, path: &str) -> Option<&Node> {
        self.by_path.get(&name::normal(path)).map(|at| &self.nodes[*at])
    }

    /// The folder of that id.
    pub fn by_id(&self, graph_id: &str) -> Option<&Node> {
        self.by_id.get(graph_id).map(|at| &self.nodes[*at])
    }

    /// The folder above.
    pub fn above(&self, node: &Node) -> Option<&Node> {
        name::split(&node.path).0.and_then(|path| self.find(path))
    }

    /// True when a folder of that display name is below `above`, in any case: Exchange compares so.
    pub fn has_child(&self, above: Option<&Node>, display: &str) -> bool {
        let lower = display.to_lowercase();
        let prefix = above.map_or_else(String::new, |node| format!("{}{SEPARATOR}", node.path));
        self.nodes.iter().any(|node| {
            let last = node.path.strip_prefix(&prefix);
            last.is_some_and(|last| !last.contains(SEPARATOR))
                && node.record.facts.display_name.to_lowercase() == lower
        })
    }

    fn add(&mut self, path: String, record: FolderRecord) -> usize {
        let at = self.nodes.len();
        self.by_path.insert(path.clone(), at);
        self.by_id.insert(record.facts.graph_id.clone(), at);
        self.nodes.push(Node { path, record, has_children: false });
        at
    }
}

/// Folders that have no place yet.
struct Planting {
    records: HashMap<String, FolderRecord>,
    /// Ids by the id of the folder above; the last one is taken first.
    children: HashMap<String, Vec<String>>,
    tops: Vec<String>,
    tree: Tree,
}

impl Planting {
    fn new(records: Vec<FolderRecord>, unlisted: &HashSet<String>) -> Self {
        let root = records.iter().find(|record| record.facts.well_known.as_deref() == Some(ROOT));
        let root = root.map(|record| record.facts.graph_id.clone());
        let listed = records.into_iter().filter(|record| {
            let id = &record.facts.graph_id;
            Some(id) != root.as_ref() && !unlisted.contains(id)
        });
        let records: HashMap<String, FolderRecord> =
            listed.map(|record| (record.facts.graph_id.clone(), record)).collect();
        let mut children: HashMap<String, Vec<String>> = HashMap::new();
        let mut tops = Vec::new();
        for (id, record) in &records {
            match record.facts.parent_id.as_ref() {
                _ if record.facts.well_known.as_deref() == Some("inbox") => tops.push(id.clone()),
                Some(above) if records.contains_key(above) || unlisted.contains(above) => {
                    children.entry(above.clone()).or_default().push(id.clone());
                }
                _ => tops.push(id.clone()),
            }
        }
        let mut planting = Self { records, children, tops, tree: Tree::default() };
        for id in unlisted {
            planting.leave_out(id);
        }
        planting
    }

    /// Forgets what is below a folder that is not shown.
    fn leave_out(&mut self, id: &str) {
        let mut below = self.children.remove(id).unwrap_or_default();
        while let Some(id) = below.pop() {
            self.records.remove(&id);
            below.extend(self.children.remove(&id).unwrap_or_default());
        }
    }

    fn grown(mut self) -> Tree {
        let tops = std::mem::take(&mut self.tops);
        self.grow(tops);
        // What is left goes in circles: the lowest id of each becomes a top.
        let mut left: Vec<String> = self.records.keys().cloned().collect();
        left.sort_unstable();
        for id in left {
            self.grow(vec![id]);
        }
        self.tree
    }

    /// Places folders and all that is below them, in the order in which they are listed.
    fn grow(&mut self, tops: Vec<String>) {
        let mut waiting: Vec<(String, Option<usize>)> = Vec::new();
        self.wait(tops, None, &mut waiting);
        while let Some((id, above)) = waiting.pop() {
            let Some(record) = self.records.remove(&id) else { continue };
            let Some(path) = self.path(&record, above) else {
                self.leave_out(&id);
                continue;
            };
            let at = self.tree.add(path, record);
            if let Some(above) = above {
                self.tree.nodes[above].has_children = true;
            }
            let below = self.children.remove(&id).unwrap_or_default();
            self.wait(below, Some(at), &mut waiting);
        }
    }

    fn wait(
        &self,
        mut ids: Vec<String>,
        above: Option<usize>,
        waiting: &mut Vec<(String, Option<usize>)>,
    ) {
        ids.retain(|id| self.records.contains_key(id));
        ids.sort_by_cached_key(|id| {
            let facts = &self.records[id].facts;
            let is_other = facts.well_known.as_deref() != Some("inbox");
            (is_other, facts.display_name.to_lowercase(), facts.display_name.clone(), id.clone())
        });
        waiting.extend(ids.into_iter().rev().map(|id| (id, above)));
    }

    /// A path that no other folder has; `None` when there is none that a client could use.
    fn path(&self, record: &FolderRecord, above: Option<usize>) -> Option<String> {
        let facts = &record.facts;
        let mut path = match above {
            _ if facts.well_known.as_deref() == Some("inbox") => INBOX.to_owned(),
            None => name::encode(&facts.display_name, Level::Top),
            Some(above) => {
                let part = name::encode(&facts.display_name, Level::Below);
                format!("{}{SEPARATOR}{part}", self.tree.nodes[above].path)
            }
        };
        if facts.display_name.is_empty() && path != INBOX {
            path.push_str("=00");
        }
        if self.tree.by_path.contains_key(&path) {
            path = self.twin(&path)?;
        }
        (path.len() <= MAX_PATH).then_some(path)
    }

    /// Exchange has no NUL in names, so this is nobody else's name.
    fn twin(&self, path: &str) -> Option<String> {
        let mut names = (1..=MAX_TWINS).map(|number| format!("{path}{}", "=00".repeat(number)));
        names.find(|path| !self.tree.by_path.contains_key(path))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mail::mailbox::{ModSeq, Uid};
    use crate::store::{FolderFacts, FolderKey};

    /// A folder: id, id above, display name, well-known name.
    pub fn record(id: &str, above: &str, display: &str, well_known: &str) -> FolderRecord {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        FolderRecord {
            key: FolderKey(i64::from(crc(id))),
            facts: FolderFacts {
                graph_id: id.to_owned(),
                parent_id: text(above),
                display_name: display.to_owned(),
                well_known: text(well_known),
                total: 0,
                unread: 0,
            },
            uid_validity: 1,
            uid_next: Uid::FIRST,
            highest_modseq: ModSeq(1),
            recent_from: Uid::FIRST,
            link: None,
            is_indexed: false,
        }
    }

    fn crc(text: &str) -> u32 {
        text.bytes().fold(7, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
    }

    fn paths(records: Vec<FolderRecord>) -> Vec<String> {
        let unlisted = HashSet::from(["hidden".to_owned()]);
        let tree = Tree::new(records, &unlisted);
        for node in tree.nodes() {
            assert_eq!(tree.find(&node.path), Some(node));
            assert_eq!(tree.by_id(&node.record.facts.graph_id), Some(node));
        }
        tree.nodes().iter().map(|node| node.path.clone()).collect()
    }

    #[test]
    fn folders_become_paths_parents_first() {
        let records = vec![
            record("c", "b", "tief/er", ""),
            record("b", "i", "Projekte", ""),
            record("x", "root", "inbox", ""),
            record("i", "root", "Posteingang", "inbox"),
            record("s", "root", "Gesendet", "sentitems"),
            record("p", "root", "Posteingang", ""),
            record("root", "", "Oberste Ebene", ROOT),
            record("h", "hidden", "Unsichtbar", ""),
            record("h2", "h", "Auch", ""),
            record("hidden", "root", "Versteckt", ""),
        ];
        let expected = [
            "INBOX",
            "INBOX/Projekte",
            "INBOX/Projekte/tief=2Fer",
            "Gesendet",
            "=69nbox",
            "Posteingang",
        ];
        assert_eq!(paths(records), expected);
    }

    #[test]
    fn special_uses_and_children_are_told() {
        let mut records = vec![record("a", "", "A", ""), record("b", "a", "B", "")];
        for (name, _) in [("drafts", 1), ("archive", 1), ("outbox", 1)] {
            records.push(record(name, "", name, name));
        }
        let tree = Tree::new(records, &HashSet::new());
        let of = |path: &str| {
            let node = tree.find(path).expect("listed");
            (node.has_children, node.special_use())
        };
        assert_eq!(of("A"), (true, None));
        assert_eq!(of("A/B"), (false, None));
        assert_eq!(of("drafts"), (false, Some(SpecialUse::Drafts)));
        assert_eq!(of("archive"), (false, Some(SpecialUse::Archive)));
        assert_eq!(of("outbox"), (false, None));
        assert!(tree.has_child(None, "a") && tree.has_child(tree.find("A"), "b"));
        assert!(!tree.has_child(None, "B") && !tree.has_child(tree.find("A"), "A"));
        assert_eq!(tree.above(tree.find("A/B").expect("there")), tree.find("A"));
    }

    #[test]
    fn what_is_no_tree_is_listed_all_the_same() {
        let circle = vec![
            record("2", "1", "two", ""),
            record("1", "2", "one", ""),
            record("3", "3", "self", ""),
            record("4", "gone", "orphan", ""),
        ];
        assert_eq!(paths(circle), ["orphan", "one", "one/two", "self"]);
        let twins = vec![
            record("1", "", "a", ""),
            record("2", "", "a", ""),
            record("3", "2", "b", ""),
            record("4", "", "", ""),
        ];
        assert_eq!(paths(twins), ["=00", "a", "a=00", "a=00/b"]);
    }

    #[test]
    fn a_chain_too_long_to_name_is_cut() {
        let mut records = vec![record("0", "", "top", "")];
        for number in 1..20_000 {
            let (id, above) = (number.to_string(), (number - 1).to_string());
            records.push(record(&id, &above, "0123456789", ""));
        }
        let paths = paths(records);
        assert_eq!(paths.len(), 1 + (MAX_PATH - 3) / 11);
        assert!(paths.iter().all(|path| path.len() <= MAX_PATH));
    }

    proptest! {
        #[test]
        fn paths_are_unique_whatever_the_service_says(
            folders in prop::collection::vec((0..12u8, "[ab/=0]{0,2}"), 0..12),
        ) {
            let records: Vec<FolderRecord> = folders
                .iter()
                .enumerate()
                .map(|(id, (above, display))| {
                    record(&id.to_string(), &above.to_string(), display, "")
                })
                .collect();
            let tree = Tree::new(records, &HashSet::new());
            prop_assert_eq!(tree.nodes().len(), folders.len());
            prop_assert_eq!(tree.by_path.len(), folders.len());
            for (at, node) in tree.nodes().iter().enumerate() {
                if let Some(above) = tree.above(node) {
                    prop_assert!(above.has_children);
                    prop_assert!(tree.by_path[&above.path] < at);
                }
            }
        }
    }
}
