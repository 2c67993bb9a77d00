//! Attempts that are under way in this process: one at a time for each part.
//!
//! Danger: a client that lost its patience connects again while its first attempt is still running;
//! both send. Rule: the second waits for the first. When the first has sent the very same content,
//! the second is done; otherwise it goes on as any other attempt: a program that gives all its
//! messages one Message-ID loses none.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use super::PartKey;
use crate::mail::Message;

/// Octets compared at a time.
const PIECE: usize = 64 << 10;

/// Who is sending what; clones are the same.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct UnderWay(Arc<Mutex<HashMap<PartKey, Arc<Turn<Last>>>>>);

/// The content that the last attempt of a row has sent, and when.
type Last = Option<(Arc<Message>, Instant)>;

/// What went before an attempt that waited.
pub(in super::super) enum Before {
    /// Nothing that concerns it: it is its turn until this is dropped.
    Nothing(Going),
    /// The same content went out while it waited.
    Sent,
}

/// The turn of one attempt.
pub(in super::super) struct Going {
    turn: Option<OwnedMutexGuard<Last>>,
    all: Arc<Mutex<HashMap<PartKey, Arc<Turn<Last>>>>>,
    part: PartKey,
}

impl UnderWay {
    /// Waits until no other attempt at `part` is running.
    pub async fn enter(&self, part: PartKey, message: &Arc<Message>) -> io::Result<Before> {
        let asked = Instant::now();
        // First, so that whoever gives up while waiting leaves nothing behind either.
        let mut going = Going { turn: None, all: Arc::clone(&self.0), part };
        let turn = Arc::clone(lock(&self.0).entry(part).or_default());
        let turn = turn.lock_owned().await;
        let last = turn.clone();
        going.turn = Some(turn);
        // Who came after it was sent is no impatient client: it had its answer, or will look.
        if let Some((last, sent)) = last
            && asked <= sent
            && are_alike(&last, message).await?
        {
            return Ok(Before::Sent);
        }
        Ok(Before::Nothing(going))
    }
}

impl Going {
    /// The message was sent: those who wait learn of it.
    pub fn sent(&mut self, message: &Arc<Message>) {
        if let Some(turn) = &mut self.turn {
            **turn = Some((Arc::clone(message), Instant::now()));
        }
    }
}

impl Drop for Going {
    /// The last one of a row takes the row with it.
    fn drop(&mut self) {
        self.turn = None;
        let mut all = lock(&self.all);
        if all.get(&self.part).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            all.remove(&self.part);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Compares what follows the header: a header may tell when it came in.
async fn are_alike(one: &Message, other: &Message) -> io::Result<bool> {
    let (one, other) = (&one.content, &other.content);
    if one.size() != other.size() {
        return Ok(false);
    }
    let mut at = 0;
    while at < one.size() {
        let (left, right) = (one.read(at, PIECE).await?, other.read(at, PIECE).await?);
        let length = left.len().min(right.len());
        if length == 0 || left[..length] != right[..length] {
            return Ok(false);
        }
        at += length as u64;
    }
    Ok(true)
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use futures_util::FutureExt as _;

    use super::super::MessageKey;
    use super::*;

    fn message(text: &'static str) -> Arc<Message> {
        Arc::new(Message::from_bytes(text.as_bytes().into()))
    }

    fn part() -> PartKey {
        PartKey::new(MessageKey::new("u", "<a@b>"), ["x@y"].into_iter())
    }

    async fn turn(under_way: &UnderWay, message: &Arc<Message>) -> Going {
        match under_way.enter(part(), message).await.expect("readable") {
            Before::Nothing(going) => going,
            Before::Sent => panic!("nobody has sent it"),
        }
    }

    #[tokio::test]
    async fn the_second_waits_and_is_told_what_the_first_did() {
        let under_way = UnderWay::default();
        let (first, same) = (message("A: 1\r\n\r\nhi\r\n"), message("A: 2\r\n\r\nhi\r\n"));
        let other = message("A: 1\r\n\r\nho\r\n");
        let mut going = turn(&under_way, &first).await;
        let mut second = Box::pin(under_way.enter(part(), &same));
        let mut third = Box::pin(under_way.enter(part(), &other));
        assert!((&mut second).now_or_never().is_none());
        assert!((&mut third).now_or_never().is_none());
        going.sent(&first);
        drop(going);
        assert!(matches!(second.await.expect("readable"), Before::Sent));
        assert!(matches!(third.await.expect("readable"), Before::Nothing(_)));
        assert!(lock(&under_way.0).is_empty(), "nothing stays behind");
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_nothing_behind() {
        let under_way = UnderWay::default();
        let first = message("A: 1\r\n\r\nhi\r\n");
        let mut going = turn(&under_way, &first).await;
        let mut second = Box::pin(under_way.enter(part(), &first));
        assert!((&mut second).now_or_never().is_none());
        going.sent(&first);
        drop(going);
        drop(second);
        assert!(lock(&under_way.0).is_empty());
        drop(turn(&under_way, &first).await);
    }

    #[tokio::test]
    async fn after_a_failure_the_second_has_its_turn_and_later_ones_are_new() {
        let under_way = UnderWay::default();
        let first = message("A: 1\r\n\r\nhi\r\n");
        let going = turn(&under_way, &first).await;
        let mut second = Box::pin(turn(&under_way, &first));
        assert!((&mut second).now_or_never().is_none());
        drop(going);
        second.await.sent(&first);
        drop(turn(&under_way, &first).await);
        assert!(lock(&under_way.0).is_empty());
    }
}
