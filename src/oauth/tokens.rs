//! The cache in front of every grant: one token per subject, renewed ahead of its expiry.
//!
//! Danger: two hundred sessions that start at once must not make two hundred token requests, and a
//! session that gives up must not take the request away from the others. Rule: a request runs in a
//! task of its own, at most one per subject; whoever needs its outcome waits for it. One more task,
//! the keeper, renews tokens in the background. All tasks end when [`Tokens`] is dropped.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::answer::Granted;
use super::entry::{Entry, Flight, Issued, Next, Outcome};
use super::subject::Subject;
use super::{AccessToken, Error, Expiry, Fault, SubjectStatus, TokenSource};
use crate::secret::Secret;

/// Subjects in memory; beyond it the least recently used one goes. 10,000 tokens are some 30 MB.
const MAX_SUBJECTS: usize = 10_000;

/// Token requests at the same time, so that a start with thousands of mailboxes looks like work,
/// not like an attack.
const MAX_REQUESTS: usize = 16;

/// A grant's request with all its parts, key file and second attempt included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(45);

/// How long a session waits for a request under way, which may itself wait for its turn: mail
/// programs give up a login after a minute or so. The request goes on without it.
const WAIT_LIMIT: Duration = Duration::from_secs(60);

/// Token requests by role and result: `ok`, `passing`, `person`.
const REFRESHES: &str = "authbridge_token_refreshes_total";

/// The keeper looks through all subjects at most this often.
const KEEPER_PAUSE: Duration = Duration::from_millis(100);

/// One way to get a token: one network request for one subject.
pub trait Grant: Send + Sync + 'static {
    /// Whose token the client with this login needs.
    fn subject(&self, login: Option<&str>) -> Result<Subject, Error>;

    /// Asks the provider. `known` is the newest token that the role has had, rejected or about to
    /// expire: what is served from a shared cache must be another one.
    fn request<'a>(
        &'a self,
        subject: &'a Subject,
        known: Option<&'a Secret>,
    ) -> BoxFuture<'a, Result<Granted, Error>>;

    /// Changes when a person has put right what the grant rests on, such as a new sign-in: a
    /// remembered failure is then forgotten. Cheap.
    fn revision(&self, _subject: &Subject) -> u64 {
        0
    }

    /// Which credentials end on a day that is known.
    fn expiries(&self) -> Vec<Expiry> {
        Vec::new()
    }
}

/// Token source of one role: see the module.
pub struct Tokens {
    shared: Arc<Shared>,
    _stop: DropGuard,
}

struct Shared {
    role: String,
    grant: Box<dyn Grant>,
    subjects: Mutex<Subjects>,
    requests: Semaphore,
    changed: Notify,
    stop: CancellationToken,
}

#[derive(Default)]
struct Subjects {
    entries: HashMap<String, Entry>,
    keeper_runs: bool,
}

impl Tokens {
    /// Nothing is asked before the first token is needed.
    pub fn new(role: &str, grant: impl Grant) -> Self {
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            role: role.to_owned(),
            grant: Box::new(grant),
            subjects: Mutex::default(),
            requests: Semaphore::new(MAX_REQUESTS),
            changed: Notify::new(),
            stop: stop.clone(),
        });
        Self { shared, _stop: stop.drop_guard() }
    }

    async fn answer(
        &self,
        login: Option<&str>,
        choose: impl Fn(&mut Entry, Instant) -> Next,
    ) -> Result<Arc<AccessToken>, Error> {
        let subject = self.shared.grant.subject(login)?;
        let flight = match self.shared.current(&subject, choose) {
            Next::Serve(issued) => return Ok(for_user(&issued, subject.user)),
            Next::Fail(error) | Next::FailWhile(error, _) => return Err(error),
            Next::TooSoon(rest) => return Err(self.shared.too_soon(&subject.user, rest)),
            // `next` has turned a request into its flight.
            Next::Request => return Err(stopped(&self.shared.role)),
            Next::Wait(flight) => flight,
        };
        match tokio::time::timeout(WAIT_LIMIT, flight).await {
            Ok(outcome) => outcome.map(|issued| for_user(&issued, subject.user)),
            Err(_) => {
                Err(self.shared.passing("no access token has come in time; it is on its way"))
            }
        }
    }
}

impl TokenSource for Tokens {
    fn token<'a>(
        &'a self,
        login: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Arc<AccessToken>, Error>> {
        self.answer(login, Entry::ask).boxed()
    }

    fn replace<'a>(
        &'a self,
        login: Option<&'a str>,
        rejected: &'a AccessToken,
    ) -> BoxFuture<'a, Result<Arc<AccessToken>, Error>> {
        self.answer(login, |entry, now| entry.replace(now, &rejected.secret)).boxed()
    }

    fn snapshot(&self) -> Vec<SubjectStatus> {
        let subjects = self.shared.lock();
        let status = |(key, entry): (&String, &Entry)| SubjectStatus {
            subject: key.clone(),
            expires_at: entry.expires_at(),
            last_success: entry.last_success,
            last_failure: entry.last_failure.clone(),
        };
        let mut all: Vec<_> = subjects.entries.iter().map(status).collect();
        all.sort_by(|a, b| a.subject.cmp(&b.subject));
        all
    }

    fn expiries(&self) -> Vec<Expiry> {
        self.shared.grant.expiries()
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("role", &self.shared.role).finish_non_exhaustive()
    }
}

impl Shared {
    /// The lock is held for moments only, never across an await.
    fn lock(&self) -> MutexGuard<'_, Subjects> {
        self.subjects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the caller gets; a person's failure only while what it rests on is the same. The grant
    /// looks at a file for that, so the lock is not held meanwhile.
    fn current(
        self: &Arc<Self>,
        subject: &Subject,
        choose: impl Fn(&mut Entry, Instant) -> Next,
    ) -> Next {
        let next = self.next(subject, &choose);
        let Next::FailWhile(_, revision) = next else { return next };
        if self.grant.revision(subject) == revision {
            return next;
        }
        if let Some(entry) = self.lock().entries.get_mut(&subject.key) {
            entry.forget_failure(revision);
        }
        self.next(subject, &choose)
    }

    fn next(
        self: &Arc<Self>,
        subject: &Subject,
        choose: impl Fn(&mut Entry, Instant) -> Next,
    ) -> Next {
        let now = Instant::now();
        let mut subjects = self.lock();
        self.start_keeper(&mut subjects);
        subjects.make_room(&subject.key);
        let entry = subjects
            .entries
            .entry(subject.key.clone())
            .or_insert_with(|| Entry::new(subject.user.clone(), now));
        match choose(entry, now) {
            Next::Request => Next::Wait(self.start(entry, subject.clone())),
            next => next,
        }
    }

    /// Starts the subject's one request, in a task that nobody who waits can cancel.
    fn start(self: &Arc<Self>, entry: &mut Entry, subject: Subject) -> Flight {
        let (tell, told) = oneshot::channel();
        let role = self.role.clone();
        let flight: Flight =
            async move { told.await.unwrap_or_else(|_| Err(stopped(&role))) }.boxed().shared();
        entry.flight = Some(flight.clone());
        let known = entry.known().cloned();
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let stop = shared.stop.clone();
            let request = shared.request(&subject, known);
            if let Some(outcome) = stop.run_until_cancelled(request).await {
                // Nobody may be waiting any more: the outcome is in the cache.
                let _ = tell.send(outcome);
            }
        });
        flight
    }

    async fn request(&self, subject: &Subject, known: Option<Secret>) -> Outcome {
        // The semaphore is never closed; without a permit the request would still be right.
        let _permit = self.requests.acquire().await;
        let (started, wall) = (Instant::now(), SystemTime::now());
        // Before the request: what a person changes while it runs is seen by the next one.
        let revision = self.grant.revision(subject);
        let request = self.grant.request(subject, known.as_ref());
        let request = AssertUnwindSafe(request).catch_unwind();
        let granted = match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
            Ok(Ok(granted)) => granted,
            Ok(Err(_)) => {
                Err(self.passing("the token request failed inside authbridge; please report it"))
            }
            Err(_) => Err(self.passing("the token request has taken too long; it is tried again")),
        };
        let outcome =
            granted.map(|granted| Arc::new(Issued::new(granted, started, wall, chance())));
        self.record(subject, &outcome, revision);
        outcome
    }

    fn record(&self, subject: &Subject, outcome: &Outcome, revision: u64) {
        let mut subjects = self.lock();
        let news = subjects.entries.get_mut(&subject.key).is_none_or(|entry| {
            entry.record(Instant::now(), outcome, revision, chance());
            entry.is_news()
        });
        drop(subjects);
        self.count(outcome);
        let (role, subject) = (self.role.as_str(), subject.key.as_str());
        match outcome {
            Ok(issued) => {
                let expires = time::OffsetDateTime::from(issued.expires_at);
                tracing::info!(role, subject, %expires, "new access token");
            }
            Err(error) if news => tracing::warn!(role, subject, code = error.code, "{error}"),
            Err(error) => tracing::debug!(role, subject, code = error.code, "{error}"),
        }
        self.changed.notify_one();
    }

    fn count(&self, outcome: &Outcome) {
        let result = match outcome.as_ref().map_err(|error| error.fault) {
            Ok(_) => "ok",
            Err(Fault::Passing) => "passing",
            Err(Fault::Person) => "person",
        };
        let role = self.role.clone();
        metrics::counter!(REFRESHES, "role" => role, "result" => result).increment(1);
    }

    fn start_keeper(self: &Arc<Self>, subjects: &mut Subjects) {
        if !std::mem::replace(&mut subjects.keeper_runs, true) {
            let shared = Arc::clone(self);
            tokio::spawn(async move {
                let stop = shared.stop.clone();
                stop.run_until_cancelled(shared.keep()).await;
            });
        }
    }

    /// Renews what is due, for ever.
    async fn keep(self: &Arc<Self>) {
        loop {
            let next = self.refresh_what_is_due();
            tokio::time::sleep(KEEPER_PAUSE).await;
            let until_next = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = until_next => {}
                () = self.changed.notified() => {}
            }
        }
    }

    fn refresh_what_is_due(self: &Arc<Self>) -> Option<Instant> {
        let now = Instant::now();
        let mut subjects = self.lock();
        subjects.entries.retain(|_, entry| !entry.is_stale(now));
        let mut next: Option<Instant> = None;
        for (key, entry) in &mut subjects.entries {
            match entry.refresh_due() {
                Some(due) if due <= now => {
                    let subject = Subject { key: key.clone(), user: entry.user.clone() };
                    // The outcome is for the cache; nobody waits for it here.
                    drop(self.start(entry, subject));
                }
                Some(due) => next = Some(next.map_or(due, |next| next.min(due))),
                None => {}
            }
        }
        next
    }

    fn too_soon(&self, user: &str, rest: Duration) -> Error {
        let error = self.passing(&format!(
            "the service has rejected a new access token for {user} too; see that the application \
             may open this mailbox"
        ));
        Error { retry_after: Some(rest), ..error }
    }

    fn passing(&self, text: &str) -> Error {
        Error::passing(text).of_role(&self.role)
    }
}

impl Subjects {
    /// Forgets the least recently used subject when `key` would be one too many.
    fn make_room(&mut self, key: &str) {
        if self.entries.len() < MAX_SUBJECTS || self.entries.contains_key(key) {
            return;
        }
        let idle = self.entries.iter().filter(|(_, entry)| entry.flight.is_none());
        let oldest = idle.min_by_key(|(_, entry)| entry.last_used).map(|(key, _)| key.clone());
        if let Some(oldest) = oldest {
            self.entries.remove(&oldest);
        }
    }
}

fn for_user(issued: &Issued, user: String) -> Arc<AccessToken> {
    Arc::new(AccessToken { secret: issued.secret.clone(), user, expires_at: issued.expires_at })
}

fn stopped(role: &str) -> Error {
    Error::passing("authbridge is stopping").of_role(role)
}

/// From 0 to 1, to spread what would happen at the same time.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness nothing is spread; that is all that is lost.
    let _ = SystemRandom::new().fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests;
