//! What was asked of Graph: how often, by method and kind of path.
//!
//! Rule: ids are taken out of paths, so that `GET mailFolders/{id}/messages/delta` is one kind, and a
//! part of a batch counts like a request of its own.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

/// The counts.
#[derive(Default)]
pub(crate) struct Tally {
    /// HTTP requests; a batch is one.
    pub requests: usize,
    /// Requests and parts of batches; the batch itself is none.
    pub parts: usize,
    /// The same by method and kind of path.
    pub kinds: BTreeMap<(String, String), usize>,
    /// MIME downloads.
    pub downloads: usize,
    /// When each application asked for each mailbox lately.
    pub recent: HashMap<(String, String), VecDeque<Instant>>,
}

impl Tally {
    pub fn count(&mut self, method: &str, path: &str) {
        self.parts += 1;
        *self.kinds.entry((method.to_owned(), kind(path))).or_default() += 1;
    }

    pub fn reset(&mut self) {
        (self.requests, self.parts) = (0, 0);
        self.kinds.clear();
    }
}

/// Collections after which an id stands.
const COLLECTIONS: [&str; 5] = ["users", "mailFolders", "childFolders", "messages", "attachments"];
/// What is no id behind a collection.
const FUNCTIONS: [&str; 4] = ["delta", "delta()", "createUploadSession", "$count"];

/// The path below the mailbox with `{id}` for each id.
fn kind(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    let mut before = "";
    for segment in path.split('/').skip(2) {
        let is_id = COLLECTIONS.contains(&before) && !FUNCTIONS.contains(&segment);
        out.push(if is_id { "{id}" } else { segment.trim_end_matches("()") });
        before = segment;
    }
    let below = out.strip_prefix(&["users", "{id}"]).unwrap_or(&out);
    below.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_no_ids() {
        let table = [
            ("/v1.0/users/a@b/messages", "messages"),
            (
                "/v1.0/users/a@b/mailFolders/AAMk=/messages/delta()",
                "mailFolders/{id}/messages/delta",
            ),
            ("/beta/users/a@b/mailFolders/inbox/importMime", "mailFolders/{id}/importMime"),
            ("/v1.0/users/a@b/mailFolders/delta", "mailFolders/delta"),
            ("/v1.0/users/a@b/messages/AAMk=/$value", "messages/{id}/$value"),
            ("/v1.0/$batch", "$batch"),
        ];
        for (path, want) in table {
            assert_eq!(kind(path), want);
        }
        let mut tally = Tally::default();
        tally.count("GET", table[0].0);
        tally.reset();
        assert!(tally.kinds.is_empty() && tally.parts == 0);
    }
}
