//! Puts messages into a queue, as a proxy would have left them.

use std::path::Path;
use std::time::{Duration, SystemTime};

use authbridge::mail::{Address, Message, Recipient, ReversePath};
use authbridge::store::queue::{
    Access, EntryId, NewEntry, Next, Queue, RecipientState, Settlement, Start,
};

/// The message of every entry.
pub const MESSAGE: &str = "From: ERP <erp@contoso.example>\r\nTo: bob@example.net\r\n\
    Subject: =?utf-8?Q?Invoice=1B[2J_f=C3=BCr?= <b>Bob</b>\r\nMessage-ID: <m7@contoso.example>\r\n\
    \r\nThe body that nobody sees.\r\n";

/// What the service said of one that was given up.
pub const REPLY: &str = "550 5.1.1 <img src=x> no such\u{1b}[2J user";

/// Where a message is left.
#[derive(Clone, Copy)]
pub enum Left {
    /// Tried again in an hour.
    Waiting,
    /// In the middle of an attempt.
    Taken,
    /// In the dead-letter list.
    Dead,
}

/// Leaves a message in the queue of a state folder; its number.
pub fn leave(state: &Path, access: Access, left: Left) -> String {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let queue = Queue::open(state, access).await.unwrap();
        let id = put(&queue, left).await;
        if matches!(left, Left::Dead) {
            give_up(&queue, id).await;
        }
        id.to_string()
    })
}

/// Every number in the queue.
pub fn numbers(state: &Path) -> Vec<String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let queue = Queue::open(state, Access::Visitor).await.unwrap();
        let all = queue.list(Default::default(), None, 1000).await.unwrap();
        all.iter().map(|summary| summary.id.to_string()).collect()
    })
}

async fn put(queue: &Queue, left: Left) -> EntryId {
    let now = SystemTime::now();
    let from = ReversePath {
        address: Some(Address::parse("erp@contoso.example").unwrap()),
        ..ReversePath::default()
    };
    let recipients = [Recipient::new(Address::parse("bob@example.net").unwrap())];
    let entry = NewEntry {
        role: "Mail.Sending",
        login: Some("app"),
        lane: "mail.sending",
        from: &from,
        recipients: &recipients,
        message: &Message::from_bytes(MESSAGE.into()),
        origin: None,
        reason: "421 try\u{1b}[2J <b>later</b>",
        accepted: now - Duration::from_secs(7200),
        start: match left {
            Left::Waiting => Start::At(now + Duration::from_secs(3600)),
            Left::Taken | Left::Dead => Start::Taken,
        },
    };
    queue.put(entry).await.unwrap()
}

async fn give_up(queue: &Queue, id: EntryId) {
    let failed = RecipientState::Failed { status: "5.1.1".to_owned(), reply: REPLY.to_owned() };
    let settlement =
        Settlement { recipients: vec![(0, failed)], next: Next::Dead, reason: REPLY.to_owned() };
    queue.settle(id, settlement, None).await.unwrap();
}
