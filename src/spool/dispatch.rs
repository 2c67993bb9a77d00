//! Sends what waits.
//!
//! Danger: one mailbox in trouble holds up all others; a service that is down is asked without end;
//! two messages of one sender overtake each other. Rule: lanes take turns, one message each; what a
//! lane's mailbox says about all its messages delays the lane, what it says about one message delays
//! that one; of one sender a single message is on its way in a lane.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::attempt::{About, Outcome, Trouble, attempt, contained};
use super::clock::Leap;
use super::lane::State;
use super::settle::{self, Ended};
use super::{Inner, Route, lane};
use crate::mail::{Error, Kind, Message, Recipient};
use crate::store;
use crate::store::queue::{
    DueEntry, Entry, EntryId, EntryState, Filter, Next, RecipientState, Settlement,
};
use crate::telemetry::metrics;

/// Attempts of one lane at once: Exchange allows a mailbox three SMTP connections and four requests
/// to Graph, and clients who wait need one as well.
const LANE_PARALLEL: usize = 3;
/// Attempts at once: a connection and a message in a file each.
const PARALLEL: usize = 64;
/// Entries of a lane that are looked through for one whose sender has nothing on its way.
const LOOK_THROUGH: u32 = 64;
/// Entries that are looked at together after the clock was set back.
const PAGE: u32 = 500;
/// No wait that we give is longer, the rarest jitter included; what waits for longer was given its
/// time by another clock.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// Figures are counted anew after so long.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// Until `stopping`; what is on its way then is waited for.
pub(super) async fn run(spool: Arc<Inner>, stopping: CancellationToken) {
    let mut dispatcher = Dispatcher::new(Arc::clone(&spool));
    dispatcher.wake_the_far(SystemTime::now()).await;
    while !stopping.is_cancelled() {
        let wait = dispatcher.start_due().await;
        tokio::select! {
            () = stopping.cancelled() => break,
            Some(ended) = dispatcher.attempts.join_next_with_id() => dispatcher.ended(ended),
            () = spool.wake.notified() => {}
            () = spool.queue.retried() => {}
            () = sleep(wait) => {}
        }
        dispatcher.look_at_the_clock().await;
        dispatcher.count().await;
    }
    spool.stopping.cancel();
    while let Some(ended) = dispatcher.attempts.join_next_with_id().await {
        dispatcher.ended(ended);
    }
    spool.tasks.close();
    spool.tasks.wait().await;
}

struct Dispatcher {
    spool: Arc<Inner>,
    attempts: JoinSet<()>,
    running: HashMap<Id, Running>,
    /// The lane that had the last turn.
    last: String,
    counted: Option<Instant>,
    /// The last complaint about the disk.
    complained: Option<Instant>,
}

/// An attempt on its way.
struct Running {
    entry: EntryId,
    lane: String,
    sender: String,
}

/// A lane that may have a turn.
struct Turn {
    lane: String,
    due: VecDeque<DueEntry>,
}

impl Dispatcher {
    fn new(spool: Arc<Inner>) -> Self {
        let attempts = JoinSet::new();
        let (running, last) = (HashMap::new(), String::new());
        Self { spool, attempts, running, last, counted: None, complained: None }
    }

    /// Starts what may start; gives the time until there may be more.
    async fn start_due(&mut self) -> Duration {
        match self.start_turns().await {
            Ok(wait) => wait.min(self.spool.timing.poll),
            Err(error) => {
                let (now, every) = (Instant::now(), COUNT_EVERY);
                if self.complained.is_none_or(|last| now >= last + every) {
                    self.complained = Some(now);
                    tracing::error!("messages that wait can't be read; trying again: {error}");
                }
                self.spool.timing.poll
            }
        }
    }

    async fn start_turns(&mut self) -> Result<Duration, store::Error> {
        let now = SystemTime::now();
        let mut lanes = self.spool.queue.lanes(now).await?;
        self.note_waiting(&lanes);
        lanes.sort_unstable();
        let after = lanes.partition_point(|lane| *lane <= self.last);
        lanes.rotate_left(after);
        let (mut turns, mut wait) = (VecDeque::new(), self.spool.timing.poll);
        for lane in lanes {
            if self.running.len() >= PARALLEL {
                break;
            }
            let due = self.spool.queue.due(&lane, now, LOOK_THROUGH).await?;
            self.spool.lanes.seen(&lane, due.iter().map(|entry| entry.id));
            match self.spool.lanes.state(&lane, Instant::now()) {
                State::Closed(until) => wait = wait.min(until),
                State::Open | State::Probe => {
                    let mut turn = Turn { lane, due: due.into() };
                    if self.start_one(&mut turn, now).await? {
                        turns.push_back(turn);
                    }
                }
            }
        }
        while let Some(mut turn) = turns.pop_front() {
            if self.start_one(&mut turn, now).await? {
                turns.push_back(turn);
            }
        }
        Ok(wait)
    }

    /// Starts a lane's next message. False: there is none, or none may start.
    async fn start_one(&mut self, turn: &mut Turn, now: SystemTime) -> Result<bool, store::Error> {
        let parallel = match self.spool.lanes.state(&turn.lane, Instant::now()) {
            State::Open => LANE_PARALLEL,
            State::Probe => 1,
            State::Closed(_) => return Ok(false),
        };
        let of_lane = self.running.values().filter(|one| one.lane == turn.lane);
        if self.running.len() >= PARALLEL || of_lane.count() >= parallel {
            return Ok(false);
        }
        while let Some(next) = turn.due.pop_front() {
            let busy = |one: &Running| one.lane == turn.lane && one.sender == next.sender;
            if self.running.values().any(busy) {
                continue;
            }
            if let Some(entry) = self.spool.queue.take(next.id, now).await? {
                self.start(entry, next.sender);
                self.last.clone_from(&turn.lane);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn start(&mut self, entry: Entry, sender: String) {
        let (id, lane) = (entry.id, entry.lane.clone());
        let task = self.attempts.spawn(work(Arc::clone(&self.spool), entry));
        self.running.insert(task.id(), Running { entry: id, lane, sender });
    }

    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let running = self.running.remove(&id);
        if let (Err(error), Some(running)) = (ended, running) {
            tracing::error!(id = %running.entry, "an attempt has ended in an error of ours: {error}");
            let (spool, entry) = (Arc::clone(&self.spool), running.entry);
            let task = self.attempts.spawn(settle::give_back(spool, entry));
            self.running.insert(task.id(), running);
        }
    }

    fn note_waiting(&self, lanes: &[String]) {
        let running = self.running.values().map(|one| one.lane.as_str());
        let all: HashSet<&str> = lanes.iter().map(String::as_str).chain(running).collect();
        self.spool.lanes.waiting(&all, Instant::now());
    }

    async fn look_at_the_clock(&self) {
        let now = SystemTime::now();
        match self.spool.clock.look(now, Instant::now()) {
            Leap::None => {}
            Leap::Forward => tracing::warn!(
                "the clock was set forward, or the machine slept; no message expires within an hour"
            ),
            Leap::Back => {
                tracing::warn!("the clock was set back; messages that would wait too long are due");
                self.wake_the_far(now).await;
            }
        }
    }

    /// Makes due what waits for longer than any wait we give.
    async fn wake_the_far(&self, now: SystemTime) {
        let filter = Filter { dead: Some(false), role: None };
        let mut after = None;
        loop {
            let Ok(page) = self.spool.queue.list(filter.clone(), after, PAGE).await else { return };
            let Some(last) = page.last() else { return };
            after = Some(last.id);
            let is_far =
                |next: SystemTime| next.duration_since(now).is_ok_and(|wait| wait > LONGEST_WAIT);
            for one in page {
                if one.state == EntryState::Waiting && is_far(one.next) {
                    let _ = self.spool.queue.retry(one.id, now).await;
                }
            }
        }
    }

    async fn count(&mut self) {
        let now = Instant::now();
        if self.counted.is_some_and(|last| now < last + COUNT_EVERY) {
            return;
        }
        self.counted = Some(now);
        let Ok(counts) = self.spool.queue.counts().await else { return };
        let age = counts.oldest.and_then(|oldest| SystemTime::now().duration_since(oldest).ok());
        metrics::spool_holds(counts.waiting, counts.dead, age.unwrap_or_default());
    }
}

/// One attempt on a taken entry, its end written down.
async fn work(spool: Arc<Inner>, entry: Entry) {
    let (began, started) = (SystemTime::now(), Instant::now());
    let Some(route) = spool.route(&entry.role) else {
        let text = format!(
            "the role {} is off or gone; switch it on, or drop the message with authbridge spool drop {}",
            entry.role, entry.id
        );
        return untried(&spool, &entry, text, (began, started)).await;
    };
    if let Some(before) = lane::moved(&route.role, &entry) {
        let text = format!(
            "{} sends from another mailbox now than from {before}, for which this message was \
             accepted; set that one again, or send it from the new one with authbridge spool retry \
             --other-mailbox {}",
            entry.role, entry.id
        );
        return untried(&spool, &entry, text, (began, started)).await;
    }
    if let Err(wait) = spool.paces.take(&route.role, entry.login.as_deref(), started) {
        spool.lanes.paced(&entry.lane, wait, started);
        return wait_for_turn(&spool, &entry).await;
    }
    let message = match spool.queue.message(entry.id).await {
        Ok(message) => Arc::new(message),
        Err(error) => return unreadable(&spool, &entry, &error).await,
    };
    let outcome = try_it(&spool, &route, &entry, &message).await;
    let in_trouble = outcome.trouble.as_ref().is_some_and(|one| one.about == About::Mailbox);
    let message = Some(message);
    settle::conclude(&spool, &entry, Ended { outcome, began, started, message }).await;
    if in_trouble {
        expire_behind(&spool, &entry.lane, began).await;
    }
}

/// The configuration stands in the way of all that waits in the lane.
async fn untried(
    spool: &Arc<Inner>,
    entry: &Entry,
    text: String,
    (began, started): (SystemTime, Instant),
) {
    let outcome = Outcome::none(Trouble::before(Error::new(Kind::Unavailable, text)));
    let message = spool.queue.message(entry.id).await.ok().map(Arc::new);
    settle::conclude(spool, entry, Ended { outcome, began, started, message }).await;
    expire_behind(spool, &entry.lane, began).await;
}

async fn try_it(spool: &Inner, route: &Route, entry: &Entry, message: &Arc<Message>) -> Outcome {
    let recipients: Vec<(usize, Recipient)> = entry
        .recipients
        .iter()
        .enumerate()
        .filter(|(_, one)| one.state == RecipientState::Waiting)
        .map(|(at, one)| (at, one.recipient.clone()))
        .collect();
    let (upstream, from) = (route.upstream.as_ref(), entry.from.clone());
    let work = attempt(upstream, entry.login.as_deref(), from, recipients, Arc::clone(message));
    contained(work, spool.timing.attempt).await
}

/// Not an attempt: the entry keeps its place.
async fn wait_for_turn(spool: &Inner, entry: &Entry) {
    let next = Next::Again { at: SystemTime::now(), counts: false };
    let reason = entry.reason.clone();
    let settlement = Settlement { recipients: Vec::new(), next, reason };
    settle::persistently(spool, entry.id, settlement).await;
}

/// The file is gone or cut: no attempt changes that, and a person must look.
async fn unreadable(spool: &Arc<Inner>, entry: &Entry, error: &store::Error) {
    let began = SystemTime::now();
    let started = Instant::now();
    tracing::error!(role = entry.role, id = %entry.id, "a queued message can't be sent: {error}");
    let outcome = match error {
        store::Error::Message { .. } => {
            let reply = "the message that was kept for sending cannot be read any more".to_owned();
            let lost = RecipientState::Failed { status: "5.3.0".to_owned(), reply };
            let all = (0..entry.recipients.len()).map(|at| (at, lost.clone()));
            Outcome { settled: all.collect(), ..Outcome::default() }
        }
        error => {
            let error = Error::new(Kind::OutcomeUnknown, error.to_string());
            Outcome::none(Trouble { error, about: About::Message })
        }
    };
    settle::conclude(spool, entry, Ended { outcome, began, started, message: None }).await;
}

/// Those behind an entry that has met the lane's trouble would meet it too: what is past its
/// deadline is given up with it, or a long queue would outlive its age many times.
async fn expire_behind(spool: &Arc<Inner>, lane: &str, began: SystemTime) {
    let Some(age) = spool.max_age().filter(|_| spool.clock.trusts_the_time()) else { return };
    loop {
        let now = SystemTime::now();
        let Ok(due) = spool.queue.due(lane, now, LOOK_THROUGH).await else { return };
        let mut expired = 0;
        for one in due {
            let Ok(Some(known)) = spool.queue.show(one.id).await else { continue };
            if known.accepted.checked_add(age).is_none_or(|deadline| began < deadline) {
                continue;
            }
            let Ok(Some(entry)) = spool.queue.take(one.id, now).await else { continue };
            let text = spool.lanes.reason(lane);
            let outcome = Outcome::none(Trouble {
                error: Error::new(Kind::Unavailable, text),
                about: About::Message,
            });
            let message = spool.queue.message(entry.id).await.ok().map(Arc::new);
            let ended = Ended { outcome, began, started: Instant::now(), message };
            settle::conclude(spool, &entry, ended).await;
            expired += 1;
        }
        if expired == 0 {
            return;
        }
    }
}
