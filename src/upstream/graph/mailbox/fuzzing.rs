//! Messages and folders as Graph tells them, for `crate::fuzzing`.
//!
//! Danger: see the module above. Rule: a message becomes a header whose fields are its own, and
//! folders become a tree in which each has one path.

use std::collections::HashSet;

use serde_json::Value;

use super::tree::Tree;
use super::{list, message as codec};
use crate::mail::mailbox::{ModSeq, Uid};
use crate::protocol::mime::fields;
use crate::store::{FolderKey, FolderRecord};

/// One message.
pub(in crate::upstream::graph) fn message(json: &Value) {
    let _ = (codec::parent(json), codec::etag(json), codec::came_by_append(json));
    let Some(message) = codec::new_message(json) else { return };
    assert!(!message.graph_id.is_empty());
    let names = ["Date", "Subject", "From", "Sender", "Reply-To", "To", "Cc", "Bcc"];
    let ids = ["In-Reply-To", "Message-ID", "References"];
    let mut seen = HashSet::new();
    for field in fields(&message.header) {
        let known = names.iter().chain(&ids).find(|name| field.is(name));
        let known = known.expect("a field that somebody wrote into another");
        assert!(seen.insert(*known), "{known} twice");
    }
    let flags = codec::flag_patch(&message.flags, &message.flags, false);
    assert_eq!(flags, None, "a change without a change");
    let _ = codec::update(&message);
}

/// A list of folders, as a whole and as a round of changes.
pub(in crate::upstream::graph) fn folders(items: &[Value]) {
    let facts: Vec<_> = items.iter().filter_map(|json| list::facts(json, None)).collect();
    let record = |(at, facts): (usize, _)| FolderRecord {
        key: FolderKey(at as i64 + 1),
        facts,
        uid_validity: 1,
        uid_next: Uid::FIRST,
        highest_modseq: ModSeq(1),
        recent_from: Uid::FIRST,
        link: None,
        is_indexed: true,
    };
    let tree = Tree::new(facts.into_iter().enumerate().map(record).collect(), &HashSet::new());
    let mut paths = HashSet::new();
    for node in tree.nodes() {
        assert!(paths.insert(node.path.clone()), "two folders are {:?}", node.path);
        assert!(!node.path.contains(char::is_control), "{:?}", node.path);
        assert_eq!(tree.find(&node.path).map(|one| &one.path), Some(&node.path));
    }
}
