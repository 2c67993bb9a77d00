//! What has lately been sent, and what may have been sent: in memory and on the disk.
//!
//! Danger: a client that was told to try again, or that never heard an answer because this process
//! died, sends a message that went out after all; a client that splits a long list of recipients
//! sends one Message-ID several times, so that the copy of the first part looks like proof for the
//! second; a program that gives every message the same Message-ID has proof of everything. Rule: an
//! attempt is noted before the request that may send; a message whose outcome was not certain is
//! looked for before it is sent again, and only a copy counts that was made since the first attempt
//! and is beyond those that are known.
//!
//! A note that can't be written down (a full disk) does not stop mail: it stays in memory and the log
//! says that a crash now could double a message. Who would rather have no mail than that is rare.

mod book;
mod keys;
mod memory;
mod under_way;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

pub(super) use self::book::Book;
pub(super) use self::keys::{MessageKey, PartKey};
use self::memory::Memory;
pub(super) use self::under_way::{Before, Going, UnderWay};
use super::service_time::{Clock, Since};
use crate::store::Error;
use crate::store::handovers::Handover;

/// Stands before what the disk keeps about an attempt whose beginning is by our own clock.
const BY_OWN_CLOCK: &str = "own ";

/// What an attempt has left at the service. Its text is what the disk keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Perhaps a copy in Sent Items, found by its Message-ID.
    Copy,
    /// Perhaps a draft whose id nobody has heard: it was being made.
    Creating,
    /// A draft that was never complete, so that nobody has asked to send it.
    Partial(String),
    /// A complete draft that the service was asked to send.
    Ready(String),
    /// It went over SMTP, where a copy in Sent Items is usual and not certain.
    Smtp,
}

impl Left {
    fn text(&self) -> String {
        match self {
            Self::Copy => "copy".to_owned(),
            Self::Creating => "creating".to_owned(),
            Self::Partial(id) => format!("partial {id}"),
            Self::Ready(id) => format!("ready {id}"),
            Self::Smtp => "smtp".to_owned(),
        }
    }

    /// What a later version may have written is taken for the safest: a copy is looked for.
    fn read(text: &str) -> Self {
        match text.split_once(' ') {
            Some(("partial", id)) => Self::Partial(id.to_owned()),
            Some(("ready", id)) => Self::Ready(id.to_owned()),
            None if text == "creating" => Self::Creating,
            None if text == "smtp" => Self::Smtp,
            _ => Self::Copy,
        }
    }
}

/// An attempt whose outcome is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Uncertain {
    /// When the first attempt began.
    pub since: Since,
    /// What the last one left.
    pub left: Left,
}

/// What one role knows; with a [`Book`] it knows it after a restart, too.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    memory: Memory,
    book: Book,
    /// The warning about a disk that takes no notes has been given.
    warned: AtomicBool,
}

impl Ledger {
    /// A ledger that writes through to `book`.
    pub fn new(book: Book) -> Self {
        Self { book, ..Self::default() }
    }

    /// Copies of the message, made after `since`, that Sent Items holds for certain.
    pub async fn copies(&self, message: MessageKey, since: SystemTime) -> Result<u64, Error> {
        Ok(self.book.copies(message, since).await?.max(self.memory.copies(message, since)))
    }

    /// An earlier attempt that may have sent it. Fails when the disk can't be asked: then it is not
    /// known, and nothing may be sent.
    pub async fn uncertain(&self, part: PartKey) -> Result<Option<Uncertain>, Error> {
        if let Some(known) = self.memory.uncertain(part) {
            return Ok(Some(known));
        }
        let noted = self.book.uncertain(part).await?;
        Ok(noted.map(|Handover { since: at, trace }| {
            let trace = trace.as_deref().unwrap_or_default();
            let (clock, left) = match trace.strip_prefix(BY_OWN_CLOCK) {
                Some(left) => (Clock::Own, left),
                None => (Clock::Service, trace),
            };
            Uncertain { since: Since { at, clock }, left: Left::read(left) }
        }))
    }

    /// An attempt is about to ask the service, or has left something there; an earlier beginning
    /// stays.
    pub async fn begin(&self, role: &str, part: PartKey, since: Since, left: Left) {
        let clock = if since.clock == Clock::Own { BY_OWN_CLOCK } else { "" };
        let text = format!("{clock}{}", left.text());
        self.memory.begin(part, since, left);
        let written = self.book.begin(part, since.at, &text).await;
        self.tell(role, written);
    }

    /// The outcome is known. `sent`: since then Sent Items has one copy more.
    pub async fn settle(
        &self,
        role: &str,
        part: PartKey,
        message: MessageKey,
        sent: Option<SystemTime>,
    ) {
        self.memory.settle(part, message, sent);
        let written = self.book.settle(part, message, sent).await;
        self.tell(role, written);
    }

    fn tell(&self, role: &str, written: Result<(), Error>) {
        match written {
            Ok(()) => self.warned.store(false, Ordering::Relaxed),
            Err(error) if !self.warned.swap(true, Ordering::Relaxed) => tracing::warn!(
                role,
                %error,
                "what is being sent can't be noted in the state folder: mail goes on, but a crash \
                 now could send a message twice; free the disk or mend its rights"
            ),
            Err(_) => {}
        }
    }
}

/// A message as it is looked for in Sent Items.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sought<'a> {
    /// With its brackets.
    pub message_id: &'a str,
    pub key: MessageKey,
    pub part: PartKey,
    pub ledger: &'a Ledger,
    /// When the first attempt began.
    pub since: Since,
}

impl Sought<'_> {
    /// Copies made since then that are there for another reason, as of now.
    pub async fn known_copies(&self, earliest: SystemTime) -> Result<u64, Error> {
        self.ledger.copies(self.key, earliest).await
    }

    /// Notes what this attempt leaves at the service.
    pub async fn leaves(&self, role: &str, left: Left) {
        self.ledger.begin(role, self.part, self.since, left).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ROLE: &str = "Mail.Sending";

    fn part(message: MessageKey, to: &str) -> PartKey {
        PartKey::new(message, [to].into_iter())
    }

    #[tokio::test]
    async fn parts_of_one_message_are_told_apart_over_restarts() {
        let book = Book::fake();
        let message = MessageKey::new("user@d", "<a@b>");
        let (one, other) = (part(message, "x@y"), part(message, "z@y"));
        let now = SystemTime::now();
        let first = Since { at: now, clock: Clock::Own };
        let ledger = Ledger::new(book.clone());
        ledger.begin(ROLE, one, first, Left::Copy).await;
        let later = Since { at: now + Duration::from_secs(60), clock: Clock::Service };
        ledger.begin(ROLE, one, later, Left::Ready("id=".to_owned())).await;
        for ledger in [ledger, Ledger::new(book.clone())] {
            let known = Uncertain { since: first, left: Left::Ready("id=".to_owned()) };
            assert_eq!(ledger.uncertain(one).await.expect("read"), Some(known));
            assert_eq!(ledger.uncertain(other).await.expect("read"), None);
        }
        let ledger = Ledger::new(book.clone());
        ledger.settle(ROLE, other, message, Some(now)).await;
        assert!(ledger.uncertain(one).await.expect("read").is_some());
        ledger.settle(ROLE, one, message, Some(now)).await;
        for ledger in [ledger, Ledger::new(book)] {
            assert_eq!(ledger.uncertain(one).await.expect("read"), None);
            assert_eq!(ledger.copies(message, now).await.expect("read"), 2);
            assert_eq!(ledger.copies(message, later.at).await.expect("read"), 0);
        }
    }

    #[tokio::test]
    async fn a_full_disk_stops_no_mail_and_memory_still_knows() {
        let book = Book::fake();
        book.break_writes();
        let ledger = Ledger::new(book);
        let message = MessageKey::new("u@d", "<a@b>");
        let part = part(message, "x@y");
        let now = Since { at: SystemTime::now(), clock: Clock::Service };
        ledger.begin(ROLE, part, now, Left::Copy).await;
        assert!(ledger.uncertain(part).await.expect("read").is_some());
        ledger.settle(ROLE, part, message, Some(now.at)).await;
        assert!(ledger.uncertain(part).await.expect("read").is_none());
        assert_eq!(ledger.copies(message, SystemTime::UNIX_EPOCH).await.expect("read"), 1);
        assert!(ledger.warned.load(Ordering::Relaxed));
    }

    #[test]
    fn what_was_left_is_read_back() {
        for left in [
            Left::Copy,
            Left::Creating,
            Left::Smtp,
            Left::Partial("AAMk=".to_owned()),
            Left::Ready("AAMk_-=".to_owned()),
        ] {
            assert_eq!(Left::read(&left.text()), left);
        }
        assert_eq!(Left::read("something newer"), Left::Copy);
    }
}
