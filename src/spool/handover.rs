//! A complete message: sent while the client waits, written down, or both for different recipients.
//!
//! Danger: a client that gives up in the middle leaves a message half sent, or an entry that is
//! taken by nobody; a crash between the service's yes and ours sends to those who were deferred,
//! although the client was told nothing. Rule: all of it runs in a task that nobody can cut; what is
//! deferred is held on the disk before the others get the message, and let go after; an upstream
//! that takes its time has its message written down as taken, and settles the entry at last.
//!
//! What was handed over together is written down together, and nobody with it: the upstream finds
//! its note of an attempt by the recipients.

use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::attempt::{self, About, Outcome, Trouble, in_short};
use super::settle::{self, Ended};
use super::{Inner, Route, backoff, repeated};
use crate::mail::{
    Delivered, Error, Kind, Message, Recipient, ReversePath, SmtpReply, Transaction,
};
use crate::store;
use crate::store::queue::{EntryId, NewEntry, Start};
use crate::telemetry::metrics;

/// What is the same for all that is written down of a message.
pub(super) struct NewRow {
    pub role: String,
    pub login: Option<String>,
    pub lane: String,
    pub from: ReversePath,
    pub origin: Option<String>,
    /// Why it waits, as the client hears it.
    pub reason: &'static str,
    /// Why it waits, as the administrator reads it.
    pub trouble: Option<Error>,
}

impl NewRow {
    /// It has to wait for this; the first cause stays.
    pub fn defer(&mut self, reason: &'static str, trouble: Option<Error>) {
        if self.reason.is_empty() {
            self.reason = reason;
            self.trouble = trouble;
        }
    }
}

/// A message that is complete.
pub(super) struct Handover {
    pub spool: Arc<Inner>,
    pub route: Arc<Route>,
    pub row: NewRow,
    pub deferred: Vec<Recipient>,
    pub message: Arc<Message>,
    client: Option<Client>,
    /// What the client's answer is about.
    entries: Mutex<Vec<EntryId>>,
    /// Told when the client has its answer: see [`Transaction::noted_by`].
    noted: Option<oneshot::Sender<()>>,
}

/// A client that keeps its message until it is answered.
pub(super) struct Client {
    /// What its message is known by.
    pub identity: String,
    pub answered: oneshot::Receiver<()>,
}

/// The upstream's transaction, and whom it has accepted.
pub(super) type Live = (Box<dyn Transaction>, Vec<Recipient>);

type Answer = Result<Delivered, Error>;

impl Handover {
    pub fn new(
        spool: Arc<Inner>,
        route: Arc<Route>,
        row: NewRow,
        deferred: Vec<Recipient>,
        message: Arc<Message>,
        client: Option<Client>,
    ) -> Self {
        Self {
            spool,
            route,
            row,
            deferred,
            message,
            client,
            entries: Mutex::default(),
            noted: None,
        }
    }

    /// To the end, whether somebody waits for it or not.
    pub async fn run(self, live: Option<Live>) -> Answer {
        let (tell, told) = oneshot::channel();
        let (spool, role) = (Arc::clone(&self.spool), self.row.role.clone());
        spool.tasks.spawn(self.conclude(live, tell));
        told.await.unwrap_or_else(|_| {
            let text = format!("{role}: authbridge has met an error of its own; please report it");
            Err(Error::new(Kind::OutcomeUnknown, text))
        })
    }

    async fn conclude(mut self, live: Option<Live>, tell: oneshot::Sender<Answer>) {
        let live = match self.adopt(live).await {
            ControlFlow::Continue(live) => live,
            ControlFlow::Break(known) => return self.tell(tell, Ok(known)),
        };
        let Some((live, accepted)) = live else {
            let deferred = std::mem::take(&mut self.deferred);
            let start = self.start();
            let answer = self.write_down(&deferred, start).await.map(|id| self.queued(id));
            self.tell(tell, answer);
            return;
        };
        let role = &self.route.role;
        let turn = self.spool.paces.take(role, self.row.login.as_deref(), Instant::now());
        if let Err(wait) = turn {
            drop(live);
            self.spool.lanes.paced(&self.row.lane, wait, Instant::now());
            let mut all = accepted;
            all.append(&mut self.deferred);
            self.row.reason = "it waits for its turn";
            self.row.trouble = Some(no_turn(&role.name, wait));
            let start = Start::At(SystemTime::now());
            let answer = self.write_down(&all, start).await.map(|id| self.queued(id));
            self.tell(tell, answer);
            return;
        }
        self.hand_over(live, accepted, tell).await;
    }

    async fn hand_over(
        mut self,
        mut live: Box<dyn Transaction>,
        accepted: Vec<Recipient>,
        tell: oneshot::Sender<Answer>,
    ) {
        let held = match self.deferred.is_empty() {
            true => None,
            false => match self.write_down(&self.deferred, Start::Held).await {
                Ok(id) => Some(id),
                Err(error) => {
                    return self.tell(tell, Err(error));
                }
            },
        };
        let (noted, signal) = oneshot::channel();
        live.noted_by(signal);
        let (began, started) = (SystemTime::now(), Instant::now());
        let limit = self.spool.timing.attempt;
        let delivery = attempt::deliver(live, Arc::clone(&self.message), limit);
        tokio::pin!(delivery);
        let quick = tokio::select! {
            answer = &mut delivery => Some(answer),
            () = self.spool.patience() => None,
        };
        if let Some(answer) = quick {
            self.noted = Some(noted);
            let answer = self.answered(answer, &accepted, held).await;
            return self.tell(tell, answer);
        }
        self.row.reason = "the mail service takes its time";
        match self.write_down(&accepted, Start::Taken).await {
            Ok(id) => {
                self.let_go(held).await;
                let answer = Ok(self.queued(id));
                self.tell(tell, answer);
                self.settle_late(id, delivery.await, (began, started), noted).await;
            }
            // There is no other place for the message than this: the client has to wait for it.
            Err(_) => {
                self.noted = Some(noted);
                let answer = delivery.await;
                let answer = self.answered(answer, &accepted, held).await;
                self.tell(tell, answer);
            }
        }
    }

    /// What an earlier process has written down of this message, nobody having been told, is neither
    /// sent nor written once more. Breaks when that is all of it.
    async fn adopt(&mut self, live: Option<Live>) -> ControlFlow<Delivered, Option<Live>> {
        let Some(client) = &self.client else { return ControlFlow::Continue(live) };
        let adopted = match self.spool.queue.adopt(&client.identity).await {
            Ok(adopted) => adopted,
            Err(error) => {
                tracing::warn!("what an earlier process has queued can't be looked for: {error}");
                return ControlFlow::Continue(live);
            }
        };
        let Some(first) = adopted.first() else { return ControlFlow::Continue(live) };
        let (role, id) = (&self.row.role, first.id);
        tracing::info!(role, %id, "a client repeats a message that was queued before a crash");
        self.entries().extend(adopted.iter().map(|one| one.id));
        let is_known = |one: &Recipient| repeated::is_for(&adopted, one);
        self.deferred.retain(|one| !is_known(one));
        let live = match live {
            Some((_, accepted)) if accepted.iter().any(is_known) => {
                // Its transaction has them: the others get another one.
                self.deferred.extend(accepted.into_iter().filter(|one| !is_known(one)));
                None
            }
            live => live,
        };
        if live.is_some() || !self.deferred.is_empty() {
            return ControlFlow::Continue(live);
        }
        let words = if first.is_sent { "already sent" } else { "queued" };
        ControlFlow::Break(Delivered { note: format!("{words} as {id}"), queued: true })
    }

    /// Answers; once the client has heard it, what it repeats is another message.
    fn tell(&mut self, tell: oneshot::Sender<Answer>, answer: Answer) {
        let entries = std::mem::take(&mut *self.entries());
        match (self.client.take(), self.noted.take()) {
            _ if answer.is_err() => {}
            (Some(client), noted) if noted.is_some() || !entries.is_empty() => {
                let spool = Arc::clone(&self.spool);
                let hears = repeated::answered(spool, entries, client.answered, noted);
                self.spool.tasks.spawn(hears);
            }
            (None, Some(noted)) => drop(noted.send(())),
            _ => {}
        }
        // Nobody may wait any more: what was decided stands.
        let _ = tell.send(answer);
    }

    fn entries(&self) -> MutexGuard<'_, Vec<EntryId>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The upstream has answered in time.
    async fn answered(
        &mut self,
        answer: Answer,
        accepted: &[Recipient],
        held: Option<EntryId>,
    ) -> Answer {
        match answer {
            Ok(Delivered { note, queued }) => {
                self.spool.lanes.worked(&self.row.lane);
                let Some(held) = held else { return Ok(Delivered { note, queued }) };
                self.let_go(Some(held)).await;
                let later = self.deferred.len();
                let people = if later == 1 { "recipient" } else { "recipients" };
                let note = format!("{note} ({later} {people} queued as {held})");
                Ok(Delivered { note, queued })
            }
            Err(error) if error.kind.is_temporary() => {
                self.row.reason = in_short(error.kind);
                let refused = match error.kind {
                    Kind::OutcomeUnknown => Some(again(&error)),
                    _ => None,
                };
                self.row.trouble = Some(error);
                let start = self.start_after_message();
                match self.write_down(accepted, start).await {
                    Ok(id) => {
                        self.let_go(held).await;
                        Ok(self.queued(id))
                    }
                    Err(error) => {
                        self.forget(held).await;
                        Err(refused.unwrap_or(error))
                    }
                }
            }
            Err(error) => {
                // The client hears that its message was refused: nothing of it remains.
                self.forget(held).await;
                Err(error)
            }
        }
    }

    /// The entry has been there for a while, as taken.
    async fn settle_late(
        &self,
        id: EntryId,
        answer: Answer,
        (began, started): (SystemTime, Instant),
        noted: oneshot::Sender<()>,
    ) {
        let entry = loop {
            match self.spool.queue.show(id).await {
                Ok(Some(entry)) => break entry,
                Ok(None) => return,
                Err(error) => {
                    tracing::error!(%id, "a queued message can't be read; trying again: {error}");
                    sleep(self.spool.timing.poll).await;
                }
            }
        };
        let positions: Vec<usize> = (0..entry.recipients.len()).collect();
        let outcome = Outcome { noted: Some(noted), ..Outcome::of(answer, &positions) };
        let message = Some(Arc::clone(&self.message));
        settle::conclude(&self.spool, &entry, Ended { outcome, began, started, message }).await;
    }

    /// When what was not handed over is tried; the lane hears why.
    fn start(&self) -> Start {
        let Some(trouble) = &self.row.trouble else { return Start::At(SystemTime::now()) };
        let about = match trouble.kind {
            Kind::Unavailable if trouble.reply.is_some() => About::Message,
            Kind::OverQuota | Kind::OutcomeUnknown => About::Message,
            _ => About::Mailbox,
        };
        self.start_of(about, trouble)
    }

    /// When what was handed over and not taken is tried again.
    fn start_after_message(&self) -> Start {
        let Some(trouble) = &self.row.trouble else { return Start::At(SystemTime::now()) };
        self.start_of(Trouble::with_message(again(trouble)).about, trouble)
    }

    fn start_of(&self, about: About, trouble: &Error) -> Start {
        let (timing, random) = (&self.spool.timing, backoff::random());
        let wait = match about {
            About::Mailbox => {
                let (lane, now) = (&self.row.lane, Instant::now());
                self.spool.lanes.failed(lane, None, trouble, timing, random, now)
            }
            About::Message | About::Rest => timing.backoff(trouble.kind).wait(1, None, random),
        };
        Start::At(SystemTime::now() + wait)
    }

    async fn write_down(&self, recipients: &[Recipient], start: Start) -> Result<EntryId, Error> {
        let row = &self.row;
        let reason = row.trouble.as_ref().map_or(row.reason, |error| error.text.as_str());
        let entry = NewEntry {
            role: &row.role,
            login: row.login.as_deref(),
            lane: &row.lane,
            from: &row.from,
            recipients,
            message: &self.message,
            origin: row.origin.as_deref(),
            reason,
            accepted: SystemTime::now(),
            start,
        };
        let put = async {
            match &self.client {
                Some(client) => self.spool.queue.put_unanswered(entry, &client.identity).await,
                None => self.spool.queue.put(entry).await,
            }
        };
        let put = AssertUnwindSafe(put).catch_unwind().await;
        let put = put.unwrap_or_else(|_| Err(store::Error::Failed("panicked".to_owned())));
        let id = put.map_err(|error| no_room(&row.role, &error))?;
        self.entries().push(id);
        if start != Start::Held {
            self.join_lane(id).await;
            self.note(id, recipients.len());
        }
        Ok(id)
    }

    /// Once it is certain that the message waits.
    fn note(&self, id: EntryId, recipients: usize) {
        let row = &self.row;
        let reason = row.trouble.as_ref().map_or_else(|| row.reason.to_owned(), Error::chain);
        let size = self.message.size();
        tracing::info!(role = row.role, %id, recipients, size, reason, "message queued");
        metrics::spool_queued(&row.role);
        if row.trouble.is_some() && row.reason != "it waits for its turn" {
            self.spool.activity.failed_later(&row.role, &format!("queue {id}"), &reason);
        }
        self.spool.wake.notify_one();
    }

    /// Those who met the trouble go before a message that brings the next question forward.
    async fn join_lane(&self, id: EntryId) {
        let row = &self.row;
        if row.trouble.is_some() {
            return self.spool.lanes.met_by(&row.lane, id);
        }
        for earlier in self.spool.lanes.joined(&row.lane, &self.spool.timing) {
            // Where that fails it is tried when its own time has come.
            let _ = self.spool.queue.retry(earlier, SystemTime::now()).await;
        }
    }

    async fn let_go(&self, held: Option<EntryId>) {
        let Some(id) = held else { return };
        // Others of this message went through: what holds these up is about them.
        let start = self.row.trouble.as_ref().map(|one| self.start_of(About::Message, one));
        let at = match start {
            Some(Start::At(at)) => at,
            _ => SystemTime::now(),
        };
        loop {
            match self.spool.queue.release(id, at).await {
                Ok(()) => return self.note(id, self.deferred.len()),
                Err(error @ store::Error::NotTaken(_)) => {
                    tracing::error!(%id, "a message that was held for recipients is gone: {error}");
                    return;
                }
                // The upstream has said yes to the others; the client must not be told no.
                Err(error) => {
                    tracing::error!(%id, "a queued message can't be released; trying again: {error}");
                    sleep(RELEASE_AGAIN).await;
                }
            }
        }
    }

    async fn forget(&self, held: Option<EntryId>) {
        let Some(id) = held else { return };
        if let Err(error) = self.spool.queue.forget(id).await {
            tracing::warn!(%id, "what a refused message left goes at the next start: {error}");
        }
    }

    fn queued(&self, id: EntryId) -> Delivered {
        Delivered {
            note: match self.row.reason {
                "" => format!("queued as {id}"),
                reason => format!("queued as {id}: {reason}"),
            },
            queued: true,
        }
    }
}

/// A disk that refuses is asked again after so long.
const RELEASE_AGAIN: Duration = Duration::from_secs(2);

/// The same error once more, without its cause.
fn again(error: &Error) -> Error {
    let copy = Error::new(error.kind, error.text.clone());
    match &error.reply {
        Some(reply) => copy.with_reply(reply.clone()),
        None => copy,
    }
}

/// The pace is used up.
pub(super) fn no_turn(role: &str, wait: Duration) -> Error {
    let seconds = wait.as_secs().max(1);
    let text = format!(
        "{role}: Pace.PerMinute messages were handed over in the last minute; the next turn is in \
         {seconds} s"
    );
    let said = format!("Too many messages in a minute; try again in {seconds} s");
    let kind = Kind::Throttled { retry_after: Some(wait) };
    Error::new(kind, text).with_reply(SmtpReply::new(451, (4, 3, 2), said))
}

/// RFC 3463 section 3.4: X.3.1, mail system full.
fn no_room(role: &str, error: &store::Error) -> Error {
    let text = format!("{role}: a message can't be queued: {error}");
    let reply = SmtpReply::new(452, (4, 3, 1), "The message cannot be stored; try again later");
    Error::new(Kind::Unavailable, text).with_reply(reply)
}
