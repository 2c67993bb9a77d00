//! The queue as those see it who use it, on real files.

mod crash;
mod model;
mod putting;
mod scale;
mod sending;
mod steering;
mod unanswered;

use std::fs;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::mail::{Address, BodyKind, Recipient, Ret, ReversePath};
use crate::store::migrations::SPOOL;
use crate::store::sqlite::Durability;

const TEXT: &[u8] = b"Subject: x\r\n\r\nline\r\n";

const SECOND: Duration = Duration::from_secs(1);

fn folder() -> TempDir {
    tempfile::tempdir().expect("temporary folder")
}

/// Whole seconds after a moment of the past.
fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_760_000_000 + seconds)
}

async fn own(folder: &Path) -> Queue {
    Queue::open(folder, Access::Owner).await.expect("opened")
}

fn address(text: &str) -> Address {
    Address::parse(text).expect("an address")
}

/// What a test varies of an entry.
struct Draft {
    lane: &'static str,
    from: ReversePath,
    recipients: Vec<Recipient>,
    message: Message,
    origin: Option<&'static str>,
    accepted: SystemTime,
    start: Start,
}

impl Draft {
    fn new(recipients: &[&str]) -> Self {
        Self {
            lane: "lane",
            from: ReversePath { address: Some(address("Jane@Example.com")), ..Default::default() },
            recipients: recipients.iter().map(|text| Recipient::new(address(text))).collect(),
            message: Message::from_bytes(Bytes::from_static(TEXT)),
            origin: None,
            accepted: at(0),
            start: Start::At(at(0)),
        }
    }

    fn starting(start: Start) -> Self {
        Self { start, ..Self::new(&["a@b.c"]) }
    }

    fn entry(&self) -> NewEntry<'_> {
        NewEntry {
            role: "Sales",
            login: Some("Shop"),
            lane: self.lane,
            from: &self.from,
            recipients: &self.recipients,
            message: &self.message,
            origin: self.origin,
            reason: "first reason",
            accepted: self.accepted,
            start: self.start,
        }
    }

    async fn put(&self, queue: &Queue) -> EntryId {
        queue.put(self.entry()).await.expect("put")
    }
}

/// An entry that is waiting, with one recipient.
async fn one(queue: &Queue) -> EntryId {
    Draft::new(&["a@b.c"]).put(queue).await
}

async fn take(queue: &Queue, id: EntryId) -> Entry {
    queue.take(id, at(1_000_000)).await.expect("no error").expect("due")
}

fn failed(status: &str) -> RecipientState {
    RecipientState::Failed { status: status.to_owned(), reply: format!("{status} no") }
}

fn settlement(recipients: Vec<(usize, RecipientState)>, next: Next) -> Settlement {
    Settlement { recipients, next, reason: String::new() }
}

/// Taken and settled: it is dead.
async fn kill(queue: &Queue, id: EntryId) {
    take(queue, id).await;
    let dead = settlement(vec![(0, failed("5.1.1"))], Next::Dead);
    queue.settle(id, dead, None).await.expect("settled");
}

async fn state(queue: &Queue, id: EntryId) -> Option<EntryState> {
    queue.show(id).await.expect("read").map(|entry| entry.state)
}

async fn octets(message: &Message) -> Vec<u8> {
    let (mut reader, mut all) = (message.reader(), Vec::new());
    while let Some(piece) = reader.next().await.expect("readable") {
        all.extend_from_slice(&piece);
    }
    all
}

/// Every file below the folder of messages.
fn files(folder: &Path) -> Vec<PathBuf> {
    let shards = fs::read_dir(folder.join(files::FOLDER)).expect("a folder");
    let shards = shards.map(|shard| shard.expect("readable").path());
    let inside = shards.flat_map(|shard| fs::read_dir(shard).expect("a folder"));
    inside.map(|file| file.expect("readable").path()).collect()
}

/// The folder as a killed process leaves it: nothing is closed.
fn killed(folder: &Path) -> TempDir {
    let copy = self::folder();
    for end in ["", "-wal"] {
        let name = format!("{}{end}", SPOOL.file);
        fs::copy(folder.join(&name), copy.path().join(&name)).expect("copied");
    }
    for file in files(folder) {
        let to = copy.path().join(file.strip_prefix(folder).expect("inside"));
        fs::create_dir_all(to.parent().expect("a folder")).expect("made");
        fs::copy(&file, to).expect("copied");
    }
    copy
}

/// Statements as nobody else writes them.
async fn run(queue: &Queue, statement: &'static str) {
    let mut writing = queue.0.database.write(Durability::Synced).await.expect("turn");
    sqlx::raw_sql(statement).execute(writing.connection()).await.expect("run");
    writing.commit().await.expect("committed");
}
