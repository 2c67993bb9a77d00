//! The store as those see it who use it, on real files.

mod cache;
mod index;
mod opening;

use std::path::Path;

use bytes::Bytes;
use tempfile::TempDir;
use time::OffsetDateTime;
use time::macros::datetime;

use super::*;
use crate::mail::Content;
use crate::mail::mailbox::{Entry, Flag, Flags, Keyword, Size, Uid};

const DATE: OffsetDateTime = datetime!(2024-02-29 12:30:15.987 +05:30);

/// Larger than anything that these tests write.
const LARGE: u64 = 1 << 30;

fn folder() -> TempDir {
    tempfile::tempdir().expect("temporary folder")
}

async fn open(folder: &Path) -> Store {
    Store::open(folder, LARGE).await.expect("a store")
}

/// A store is closed when nothing of it is open any more, as at the end of a process.
async fn close(store: Store) {
    store.0.database.close().await;
}

fn facts(graph_id: &str) -> FolderFacts {
    FolderFacts {
        graph_id: graph_id.into(),
        parent_id: None,
        display_name: format!("Folder {graph_id}"),
        well_known: None,
        total: 3,
        unread: 2,
    }
}

/// A mailbox with one folder.
async fn one_folder(store: &Store) -> (MailboxStore, FolderKey) {
    let mailbox = store.mailbox("a@b").await.expect("a mailbox");
    let folders = mailbox.put_folders(&[facts("F")], &[], None).await.expect("stored");
    (mailbox, folders[0].key)
}

fn message(graph_id: &str) -> NewMessage {
    NewMessage {
        graph_id: graph_id.into(),
        etag: Some(format!("etag of {graph_id}")),
        flags: Flags::from_parts(0, Keyword::new("Work")).with(Flag::Seen),
        date: DATE,
        size: Size::Estimated(1000),
        header: Bytes::from(format!("Subject: {graph_id}\r\n\r\n")),
        revision: String::new(),
    }
}

fn added(ids: impl IntoIterator<Item = impl AsRef<str>>) -> Changes {
    let added = ids.into_iter().map(|id| message(id.as_ref())).collect();
    Changes { added, ..Changes::default() }
}

fn removed(ids: &[&str]) -> Changes {
    let removed = ids.iter().map(|id| (*id).to_owned()).collect();
    Changes { removed, ..Changes::default() }
}

fn flagged(graph_id: &str, flags: Flags) -> Changes {
    let update = Update { graph_id: graph_id.into(), flags: Some(flags), ..Update::default() };
    Changes { updated: vec![update], ..Changes::default() }
}

async fn apply(mailbox: &MailboxStore, folder: FolderKey, changes: Changes) -> Applied {
    let mut applied = mailbox.apply(vec![(folder, changes)]).await.expect("applied");
    assert_eq!(applied.len(), 1);
    applied.remove(0)
}

fn uids(numbers: &[u32]) -> Vec<Uid> {
    numbers.iter().map(|number| Uid::new(*number).expect("not 0")).collect()
}

fn numbers(entries: &[Entry]) -> Vec<u32> {
    entries.iter().map(|entry| entry.uid.number()).collect()
}

async fn put(mailbox: &MailboxStore, graph_id: &str, octets: &[u8]) -> Arc<Content> {
    let mut writer = mailbox.write_content(graph_id).await.expect("a writer");
    for piece in octets.chunks(10_000) {
        writer.push(Bytes::copy_from_slice(piece)).await.expect("written");
    }
    writer.finish().await.expect("finished")
}

async fn read(content: &Arc<Content>) -> Vec<u8> {
    let mut octets = Vec::new();
    loop {
        let piece = content.read(octets.len() as u64, 1 << 20).await.expect("readable");
        if piece.is_empty() {
            return octets;
        }
        octets.extend_from_slice(&piece);
    }
}

/// The message in the cache, if it is there.
async fn cached(mailbox: &MailboxStore, graph_id: &str) -> Option<Vec<u8>> {
    match mailbox.content(graph_id).await.expect("no error") {
        Some(content) => Some(read(&content).await),
        None => None,
    }
}

fn octets(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| ((at * 7 + seed) % 251) as u8).collect()
}
