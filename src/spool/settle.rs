//! What comes after an attempt.
//!
//! Danger: an entry that stays taken is never tried again; a message is given up because a clock was
//! wrong; a poisoned message holds up its lane for ever. Rule: the outcome is written down, however
//! long the disk refuses; a message expires only after an attempt that began behind its deadline, and
//! not within an hour of a leap of the clock; one that has met its lane's trouble three times lets
//! another go first.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

use super::attempt::{About, Outcome, Trouble};
use super::{Inner, backoff, lane, reports};
use crate::mail::{Kind, Message, Recipient};
use crate::store;
use crate::store::queue::{
    Entry, EntryId, NewEntry, Next, QueuedRecipient, RecipientState, Settlement, Start,
};
use crate::telemetry::metrics;

/// A disk that refuses is asked again after so long.
const SETTLE_AGAIN: Duration = Duration::from_secs(2);
/// From so many attempts on a message that meets its lane's trouble lets the next one go first.
const STEPS_ASIDE_FROM: u32 = 3;
/// By so much.
const STEP_ASIDE: Duration = Duration::from_secs(1);
/// A report that can't be delivered is not reported (RFC 3461 section 6.1).
const NEVER: &str = "NEVER";
/// Characters of a reason: the list shows a line of it.
const MAX_REASON: usize = 400;

/// An attempt that is over.
pub(super) struct Ended {
    pub outcome: Outcome,
    /// When it began.
    pub began: SystemTime,
    pub started: Instant,
    /// `None`: it can't be read.
    pub message: Option<Arc<Message>>,
}

/// Writes down what became of a taken entry, reports, and lets the lane know.
pub(super) async fn conclude(spool: &Arc<Inner>, entry: &Entry, mut ended: Ended) {
    let wait = lane_learns(spool, entry, &ended);
    let deadline = spool.max_age().filter(|_| spool.clock.trusts_the_time());
    let verdict = decide(entry, &ended.outcome, ended.began, wait, deadline);
    settle(spool, entry, &verdict, &ended).await;
    if let Some(noted) = ended.outcome.noted.take() {
        // Nobody listens where the upstream remembers nothing.
        let _ = noted.send(());
    }
    tell(spool, entry, &verdict, &ended);
    spool.wake.notify_one();
}

/// How long the entry waits, where it has to.
fn lane_learns(spool: &Inner, entry: &Entry, ended: &Ended) -> Duration {
    let Some(trouble) = &ended.outcome.trouble else {
        spool.lanes.worked(&entry.lane);
        return Duration::ZERO;
    };
    let (timing, random) = (&spool.timing, backoff::random());
    match trouble.about {
        About::Mailbox => {
            let (lane, now) = (&entry.lane, Instant::now());
            let wait =
                spool.lanes.failed(lane, Some(entry.id), &trouble.error, timing, random, now);
            let aside = entry.attempts + 1 >= STEPS_ASIDE_FROM;
            wait + if aside { STEP_ASIDE } else { Duration::ZERO }
        }
        About::Message => {
            let asked = match trouble.error.kind {
                Kind::Throttled { retry_after } => retry_after,
                _ => None,
            };
            timing.backoff(trouble.error.kind).wait(entry.attempts + 1, asked, random)
        }
        About::Rest => Duration::ZERO,
    }
}

/// What an attempt means for its entry.
#[derive(Debug)]
pub(super) struct Verdict {
    pub settlement: Settlement,
    /// Who was given up just now.
    pub failed: Vec<QueuedRecipient>,
    /// Some of them because of their age.
    pub expired: bool,
    pub sent: usize,
    pub waiting: usize,
}

/// `deadline`: the age at which is given up; `None`: not now.
pub(super) fn decide(
    entry: &Entry,
    outcome: &Outcome,
    began: SystemTime,
    wait: Duration,
    deadline: Option<Duration>,
) -> Verdict {
    let mut changes: HashMap<usize, RecipientState> =
        outcome.settled.iter().filter(|(at, _)| is_open(entry, *at)).cloned().collect();
    let open: Vec<usize> = (0..entry.recipients.len())
        .filter(|at| is_open(entry, *at) && !changes.contains_key(at))
        .collect();
    let is_late =
        |age: Duration| entry.accepted.checked_add(age).is_some_and(|deadline| began >= deadline);
    let goes_on = outcome.trouble.as_ref().is_some_and(|trouble| trouble.about == About::Rest);
    let expired = !open.is_empty() && !goes_on && deadline.is_some_and(is_late);
    if expired {
        changes.extend(open.iter().map(|at| (*at, too_old(outcome.trouble.as_ref()))));
    }
    let waiting = if expired { 0 } else { open.len() };
    let has_failed = |state: &RecipientState| matches!(state, RecipientState::Failed { .. });
    let earlier = entry.recipients.iter().any(|one| has_failed(&one.state));
    let next = match (waiting, earlier || changes.values().any(has_failed)) {
        (0, false) => Next::Done,
        (0, true) => Next::Dead,
        _ => Next::Again { at: SystemTime::now() + wait, counts: !goes_on },
    };
    let failed = failed_now(entry, &changes);
    let sent = changes.values().filter(|state| **state == RecipientState::Sent).count();
    let reason = reason(outcome, &failed);
    let mut recipients: Vec<_> = changes.into_iter().collect();
    recipients.sort_by_key(|(at, _)| *at);
    Verdict { settlement: Settlement { recipients, next, reason }, failed, expired, sent, waiting }
}

fn is_open(entry: &Entry, at: usize) -> bool {
    entry.recipients.get(at).is_some_and(|one| one.state == RecipientState::Waiting)
}

fn failed_now(entry: &Entry, changes: &HashMap<usize, RecipientState>) -> Vec<QueuedRecipient> {
    let known = entry.recipients.iter().enumerate();
    known
        .filter_map(|(at, one)| match changes.get(&at) {
            Some(state @ RecipientState::Failed { .. }) => {
                Some(QueuedRecipient { recipient: one.recipient.clone(), state: state.clone() })
            }
            _ => None,
        })
        .collect()
}

/// RFC 3463 section 3.5: X.4.7, delivery time expired.
fn too_old(trouble: Option<&Trouble>) -> RecipientState {
    let last = trouble
        .map_or("it was not sent in time", |trouble| super::attempt::in_short(trouble.error.kind));
    let said = trouble.and_then(|trouble| trouble.error.reply.as_ref());
    let said = said.map(|reply| format!(" ({} {})", reply.code, reply.text)).unwrap_or_default();
    RecipientState::Failed {
        status: "4.4.7".to_owned(),
        reply: format!("not delivered in time; the last attempt: {last}{said}"),
    }
}

fn reason(outcome: &Outcome, failed: &[QueuedRecipient]) -> String {
    let text = match (&outcome.trouble, failed.first().map(|one| &one.state)) {
        (Some(trouble), _) => trouble.error.text.clone(),
        (None, Some(RecipientState::Failed { reply, .. })) => reply.clone(),
        _ => String::new(),
    };
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_REASON).collect()
}

/// However long the disk refuses: an entry that is not given back is not tried again.
async fn settle(spool: &Inner, entry: &Entry, verdict: &Verdict, ended: &Ended) {
    let settled = &verdict.settlement.recipients;
    let message = ended.message.as_deref();
    let report = reports::report(spool, entry, settled, ended.began, message).await;
    let recipients: Vec<_> = report
        .iter()
        .map(|report| Recipient {
            notify: Some(NEVER.to_owned()),
            ..Recipient::new(report.to.clone())
        })
        .collect();
    // A report goes out from the mailbox that there is now.
    let route = spool.route(&entry.role);
    let lane = route.map(|route| lane::key(&route.role, entry.login.as_deref()));
    loop {
        let report = report.as_ref().map(|report| NewEntry {
            role: &entry.role,
            // The role's mailbox may depend on it.
            login: entry.login.as_deref(),
            lane: lane.as_deref().unwrap_or(&entry.lane),
            from: &report.from,
            recipients: &recipients,
            message: &report.message,
            origin: None,
            reason: "",
            accepted: SystemTime::now(),
            start: Start::At(SystemTime::now()),
        });
        match spool.queue.settle(entry.id, verdict.settlement.clone(), report).await {
            Ok(()) => return,
            Err(error) if !complained(entry.id, &error).await => return,
            Err(_) => {}
        }
    }
}

/// Says so, and waits. False: nothing is left to be written down.
async fn complained(id: EntryId, error: &store::Error) -> bool {
    if let store::Error::NotTaken(_) = error {
        tracing::error!(%id, "what became of a queued message has no place any more: {error}");
        return false;
    }
    tracing::error!(
        %id,
        "what became of a queued message can't be written down; trying again: {error}"
    );
    sleep(SETTLE_AGAIN).await;
    true
}

/// Gives an entry back of which nothing is known but that an attempt had begun.
pub(super) async fn give_back(spool: Arc<Inner>, id: EntryId) {
    let at = SystemTime::now() + spool.timing.service.first;
    let settlement = Settlement {
        recipients: Vec::new(),
        next: Next::Again { at, counts: true },
        reason: "authbridge has met an error of its own; please report it".to_owned(),
    };
    persistently(&spool, id, settlement).await;
}

/// However long the disk refuses.
pub(super) async fn persistently(spool: &Inner, id: EntryId, settlement: Settlement) {
    while let Err(error) = spool.queue.settle(id, settlement.clone(), None).await {
        if !complained(id, &error).await {
            return;
        }
    }
}

/// One line each; counted as they happen.
fn tell(spool: &Inner, entry: &Entry, verdict: &Verdict, ended: &Ended) {
    let (role, attempts, took) = (&entry.role, entry.attempts + 1, ended.started.elapsed());
    let cause = ended.outcome.trouble.as_ref().map(|trouble| trouble.error.chain());
    if verdict.sent > 0 {
        let note = &ended.outcome.note;
        let (id, recipients, size) = (entry.id, verdict.sent, entry.size);
        tracing::info!(role, %id, attempts, recipients, size, note, "queued message sent");
        spool.activity.sent_later(role, took);
    }
    let reference = format!("queue {}", entry.id);
    if !verdict.failed.is_empty() {
        let (id, recipients) = (entry.id, verdict.failed.len());
        let words = if verdict.expired { "expired" } else { "refused" };
        let reason = &verdict.settlement.reason;
        let told = cause.as_deref().unwrap_or(reason);
        tracing::warn!(role, %id, attempts, recipients, reason = told, "queued message {words}");
        spool.activity.failed_later(role, &reference, told);
        if verdict.expired {
            metrics::spool_expired(role);
        }
    }
    if verdict.waiting > 0 {
        let told = cause.as_deref().unwrap_or_default();
        let (id, recipients) = (entry.id, verdict.waiting);
        tracing::warn!(role, %id, attempts, recipients, reason = told, "queued message waits");
        spool.activity.failed_later(role, &reference, told);
    }
}
