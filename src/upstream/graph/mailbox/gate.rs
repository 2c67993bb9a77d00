//! One question for all who want to know the same.
//!
//! Danger: twenty sessions that say NOOP ask twenty times, and an answer that was under way when a
//! client asked does not hold what happened since. Rule: who comes while a question is under way
//! shares the next one with all others who wait; an answer counts only for those who came before it
//! was asked for.

use std::sync::{Mutex, PoisonError};

use tokio::sync::MutexGuard;
use tokio::time::Instant;

use crate::mail::{Error, Kind};

/// Where those wait who want to know the same.
#[derive(Debug, Default)]
pub(super) struct Gate {
    turn: tokio::sync::Mutex<()>,
    last: Mutex<Option<Last>>,
}

/// The question that was answered last.
#[derive(Clone, Debug)]
struct Last {
    began: Instant,
    failure: Option<Failure>,
}

/// What all who wait are told.
#[derive(Clone, Debug)]
struct Failure {
    kind: Kind,
    text: String,
    hint: Option<&'static str>,
}

/// What [`Gate::enter`] found.
pub(super) enum Entered<'a> {
    /// Somebody has asked since.
    Done(Result<(), Error>),
    /// The caller has to ask.
    Turn(Turn<'a>),
}

/// The right to ask.
pub(super) struct Turn<'a> {
    gate: &'a Gate,
    began: Instant,
    _held: MutexGuard<'a, ()>,
}

impl Gate {
    /// Waits for an answer to a question that was asked at `need` or later, or for the right to ask.
    pub async fn enter(&self, need: Instant) -> Entered<'_> {
        if let Some(done) = self.answered(need) {
            return Entered::Done(done);
        }
        let turn = self.own().await;
        match self.answered(need) {
            Some(done) => Entered::Done(done),
            None => Entered::Turn(turn),
        }
    }

    /// The right to ask, whatever was asked before.
    pub async fn own(&self) -> Turn<'_> {
        let held = self.turn.lock().await;
        Turn { gate: self, began: Instant::now(), _held: held }
    }

    /// When the last question was asked that has an answer.
    pub fn last(&self) -> Option<Instant> {
        self.read().map(|last| last.began)
    }

    /// True when a question that was asked at `need` or later had a good answer.
    pub fn is_known_since(&self, need: Instant) -> bool {
        matches!(self.answered(need), Some(Ok(())))
    }

    fn answered(&self, need: Instant) -> Option<Result<(), Error>> {
        let last = self.read().filter(|last| last.began >= need)?;
        Some(match last.failure {
            None => Ok(()),
            Some(failure) => Err(failure.into_error()),
        })
    }

    fn read(&self) -> Option<Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Turn<'_> {
    /// Tells all others.
    pub fn end<T>(self, result: &Result<T, Error>) {
        let failure = result.as_ref().err().map(|error| Failure {
            kind: error.kind,
            text: error.text.clone(),
            hint: error.hint,
        });
        let mut last = self.gate.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(Last { began: self.began, failure });
    }
}

impl Failure {
    fn into_error(self) -> Error {
        let error = Error::new(self.kind, self.text);
        match self.hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;

    async fn ask(gate: &Gate, need: Instant, asked: &AtomicU32) -> Result<(), Error> {
        match gate.enter(need).await {
            Entered::Done(result) => result,
            Entered::Turn(turn) => {
                asked.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(3)).await;
                turn.end(&Ok(()));
                Ok(())
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_come_in_between_share_the_next_question() {
        let (gate, asked) = (Arc::new(Gate::default()), Arc::new(AtomicU32::new(0)));
        let mut all = Vec::new();
        for _ in 0..10 {
            let (gate, asked) = (Arc::clone(&gate), Arc::clone(&asked));
            all.push(tokio::spawn(async move { ask(&gate, Instant::now(), &asked).await }));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for one in all {
            one.await.expect("no panic").expect("answered");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        let a_moment_ago = Instant::now() - Duration::from_secs(4);
        ask(&gate, a_moment_ago, &asked).await.expect("answered");
        assert_eq!(asked.load(Ordering::SeqCst), 2, "fresh enough");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_told_to_all_who_waited_and_to_nobody_later() {
        let gate = Gate::default();
        let need = Instant::now();
        let failed = Err::<(), _>(Error::new(Kind::Unavailable, "no").with_hint("wait"));
        gate.own().await.end(&failed);
        let error = match gate.enter(need).await {
            Entered::Done(result) => result.expect_err("the failure"),
            Entered::Turn(_) => unreachable!("not shared"),
        };
        assert_eq!(
            (error.kind, error.text.as_str(), error.hint),
            (Kind::Unavailable, "no", Some("wait"))
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(matches!(gate.enter(Instant::now()).await, Entered::Turn(_)));
    }

    #[tokio::test]
    async fn one_who_gives_up_leaves_the_turn_to_the_next() {
        let gate = Gate::default();
        drop(gate.own().await);
        assert!(matches!(gate.enter(Instant::now()).await, Entered::Turn(_)));
        assert_eq!(gate.last(), None);
    }
}
