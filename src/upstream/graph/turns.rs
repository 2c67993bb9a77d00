//! Whose turn it is at a mailbox.
//!
//! Danger: Microsoft 365 refuses a fifth request at a time to a mailbox from one application, counts
//! without regard to our roles, and counts what comes while it throttles. Rule: all roles share one
//! [`Turns`], which knows a mailbox by application and name; who has a client waiting goes first; a
//! batch takes as many turns as it runs requests at a time; after 429 nobody asks until the service
//! wants to be asked.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::ask::Urgency;
use super::ledger::UnderWay;
use crate::telemetry::metrics;

/// Requests of one mailbox at a time (Graph page `concepts/throttling-limits`: Outlook, 4).
pub(super) const CONCURRENT: usize = 4;

/// The turns of every mailbox; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Turns {
    by_mailbox: Arc<Mutex<ByMailbox>>,
    under_way: UnderWay,
}

/// By application and mailbox.
type ByMailbox = HashMap<(String, String), Arc<Turnstile>>;

impl Turns {
    /// Those of the mailbox `user` for the application `client_id`.
    pub(super) fn of(&self, client_id: &str, user: &str) -> Arc<Turnstile> {
        let mut turns = self.by_mailbox.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turnstile| Arc::strong_count(turnstile) > 1);
        let turn = turns.entry((client_id.to_lowercase(), user.to_lowercase()));
        Arc::clone(turn.or_default())
    }

    /// The attempts under way: one at a time for each message, whichever role, of whichever
    /// configuration, it is sent through.
    pub(super) fn under_way(&self) -> &UnderWay {
        &self.under_way
    }
}

/// The turns of one mailbox.
#[derive(Debug, Default)]
pub(super) struct Turnstile(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    taken: usize,
    waiting: VecDeque<Waiter>,
    ahead: VecDeque<Waiter>,
    silent_until: Option<Instant>,
}

/// Somebody in a queue. The turn itself is sent, so that one that nobody takes is given back.
#[derive(Debug)]
struct Waiter {
    weight: usize,
    granted: oneshot::Sender<Turn>,
}

/// Why there is no turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoTurn {
    /// The others took too long.
    Busy,
    /// The service wants not to be asked for this long.
    Silent(Duration),
}

/// One or more turns; given back when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turnstile: Arc<Turnstile>,
    weight: usize,
}

impl Turnstile {
    /// Waits for `weight` turns, at most [`CONCURRENT`], and for the end of the silence; no longer
    /// than `patience`.
    pub async fn enter(
        self: &Arc<Self>,
        urgency: Urgency,
        weight: usize,
        patience: Duration,
    ) -> Result<Turn, NoTurn> {
        let deadline = Instant::now() + patience;
        self.check_silence(deadline)?;
        let granted = self.queue(urgency, weight.clamp(1, CONCURRENT));
        let turn = timeout_at(deadline, granted).await;
        let turn = turn.ok().and_then(Result::ok).ok_or(NoTurn::Busy)?;
        // It may have been asked for, or prolonged, while we waited.
        while let Some(until) = self.check_silence(deadline)? {
            let began = Instant::now();
            tokio::time::sleep_until(until).await;
            metrics::throttle_waited(began.elapsed());
        }
        Ok(turn)
    }

    /// Nobody asks for so long: the service has said so.
    pub fn silence(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut state = self.state();
        state.silent_until = Some(state.silent_until.map_or(until, |old| old.max(until)));
    }

    fn check_silence(&self, deadline: Instant) -> Result<Option<Instant>, NoTurn> {
        let now = Instant::now();
        match self.state().silent_until.filter(|until| *until > now) {
            Some(until) if until > deadline => Err(NoTurn::Silent(until - now)),
            until => Ok(until),
        }
    }

    fn queue(self: &Arc<Self>, urgency: Urgency, weight: usize) -> oneshot::Receiver<Turn> {
        let (granted, receiver) = oneshot::channel();
        let mut state = self.state();
        let queue = match urgency {
            Urgency::Waiting => &mut state.waiting,
            Urgency::Ahead => &mut state.ahead,
        };
        queue.push_back(Waiter { weight, granted });
        drop(state);
        self.grant();
        receiver
    }

    /// Lets in who may. A turn that nobody waits for any more comes back through its `Drop`, which
    /// calls this again: so nothing is sent while the lock is held.
    fn grant(self: &Arc<Self>) {
        loop {
            let next = self.state().next();
            let Some(waiter) = next else { return };
            let turn = Turn { turnstile: Arc::clone(self), weight: waiter.weight };
            let _ = waiter.granted.send(turn);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The next to be let in, its turns taken. Only the first of a queue is looked at, so that a
    /// batch is not overtaken for ever; what is asked ahead comes when no client waits.
    fn next(&mut self) -> Option<Waiter> {
        for queue in [&mut self.waiting, &mut self.ahead] {
            while queue.front().is_some_and(|first| first.granted.is_closed()) {
                queue.pop_front();
            }
            if let Some(first) = queue.front() {
                let fits = self.taken + first.weight <= CONCURRENT;
                let waiter = if fits { queue.pop_front() } else { None }?;
                self.taken += waiter.weight;
                return Some(waiter);
            }
        }
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turnstile.state().taken -= self.weight;
        self.turnstile.grant();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_mailbox_has_its_own_turns_whatever_the_role() {
        let turns = Turns::default();
        let one = turns.of("APP", "Jane@example.com");
        assert!(Arc::ptr_eq(&one, &turns.clone().of("app", "jane@Example.com")));
        assert!(!Arc::ptr_eq(&one, &turns.of("app", "john@example.com")));
        assert!(!Arc::ptr_eq(&one, &turns.of("other", "jane@example.com")));
        drop(one);
        let _ = turns.of("app", "x");
        assert_eq!(turns.by_mailbox.lock().expect("no panic").len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn clients_go_before_what_is_asked_ahead() {
        let turnstile = Arc::new(Turnstile::default());
        let mut running = Vec::new();
        for _ in 0..CONCURRENT {
            running.push(turnstile.enter(Urgency::Ahead, 1, LONG).await.expect("free"));
        }
        let mut ahead = Box::pin(turnstile.enter(Urgency::Ahead, 1, LONG));
        assert!((&mut ahead).now_or_never().is_none());
        let mut waiting = Box::pin(turnstile.enter(Urgency::Waiting, 1, LONG));
        assert!((&mut waiting).now_or_never().is_none());
        running.pop();
        let turn = waiting.now_or_never().expect("first").expect("a turn");
        assert!((&mut ahead).now_or_never().is_none());
        drop(turn);
        assert!(ahead.now_or_never().expect("next").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_waits_for_all_and_is_not_overtaken() {
        let turnstile = Arc::new(Turnstile::default());
        let one = turnstile.enter(Urgency::Waiting, 1, LONG).await.expect("free");
        let mut batch = Box::pin(turnstile.enter(Urgency::Waiting, 20, LONG));
        assert!((&mut batch).now_or_never().is_none());
        let mut single = Box::pin(turnstile.enter(Urgency::Waiting, 1, LONG));
        assert!((&mut single).now_or_never().is_none());
        drop(one);
        let all = batch.now_or_never().expect("all are free").expect("turns");
        assert!((&mut single).now_or_never().is_none());
        drop(all);
        assert!(single.now_or_never().expect("free").is_ok());
        assert_eq!(turnstile.state().taken, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_leaves_no_turn_behind() {
        let turnstile = Arc::new(Turnstile::default());
        let all = turnstile.enter(Urgency::Waiting, 4, LONG).await.expect("free");
        let short = Duration::from_secs(1);
        let late = turnstile.enter(Urgency::Waiting, 1, short).await;
        assert_eq!(late.map(drop), Err(NoTurn::Busy));
        let mut dropped = Box::pin(turnstile.enter(Urgency::Waiting, 1, LONG));
        assert!((&mut dropped).now_or_never().is_none());
        drop(all);
        // Granted, and dropped before it was looked at.
        drop(dropped);
        assert_eq!(turnstile.state().taken, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_kept_by_all() {
        let turnstile = Arc::new(Turnstile::default());
        turnstile.silence(Duration::from_secs(30));
        turnstile.silence(Duration::from_secs(5));
        let impatient = turnstile.enter(Urgency::Waiting, 1, Duration::from_secs(10)).await;
        assert_eq!(impatient.map(drop), Err(NoTurn::Silent(Duration::from_secs(30))));
        let began = Instant::now();
        let _turn = turnstile.enter(Urgency::Waiting, 1, LONG).await.expect("after the silence");
        assert_eq!(began.elapsed(), Duration::from_secs(30));
    }
}
