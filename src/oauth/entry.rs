//! What is known about one subject: its token, its last failure, and what to do next. No I/O.
//!
//! Danger: a cache that asks once too often locks the application out; one that asks too late lets
//! a user wait or fail. Rule: a token is served until shortly before it expires, whatever happens
//! to its renewal; a failure is remembered and answered from memory until its backoff is over, or
//! until a person has changed what it rests on; a service that rejects every token causes one request in [`REPLACE_EVERY`].

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::{BoxFuture, Shared};
use tokio::time::Instant;

use super::answer::Granted;
use super::{Error, Fault};
use crate::secret::Secret;

/// A token is not served in its last minute: it must still be good when the service looks at it.
const MARGIN: Duration = Duration::from_secs(60);

/// Replacements of rejected tokens: one in this time, so that a service that rejects all of them
/// causes no storm.
pub(super) const REPLACE_EVERY: Duration = Duration::from_secs(10);

/// A subject that nobody has asked for in this time is not refreshed any more.
pub(super) const UNUSED_AFTER: Duration = Duration::from_secs(24 * 3600);

const PASSING_FIRST: Duration = Duration::from_secs(1);
const PASSING_MOST: Duration = Duration::from_secs(60);

/// Longer: a person has to come first. Not for ever: nobody restarts a program that heals itself.
const PERSON_FIRST: Duration = Duration::from_secs(30);
const PERSON_MOST: Duration = Duration::from_secs(300);

pub(super) type Outcome = Result<Arc<Issued>, Error>;

/// A request under way; all who wait for it get the same outcome.
pub(super) type Flight = Shared<BoxFuture<'static, Outcome>>;

/// A token in the cache.
#[derive(Debug)]
pub(super) struct Issued {
    pub secret: Secret,
    pub expires_at: SystemTime,
    good_until: Instant,
    refresh_at: Instant,
}

impl Issued {
    /// Times count from the start of the request: the provider's clock started before the answer.
    pub fn new(granted: Granted, started: Instant, wall: SystemTime, chance: f64) -> Self {
        let life = granted.life;
        let margin = MARGIN.min(life / 5);
        Self {
            secret: granted.secret,
            expires_at: wall + life,
            good_until: started + (life - margin),
            // At 75 to 80 % of its life: tokens that were issued together are not renewed together.
            refresh_at: started + life.mul_f64(0.8 - 0.05 * chance),
        }
    }

    /// By both clocks: the monotonic one stands still while a machine sleeps.
    fn is_good(&self, now: Instant) -> bool {
        now < self.good_until && SystemTime::now() < self.expires_at
    }
}

struct Failure {
    error: Error,
    until: Instant,
    count: u32,
    /// `Grant::revision` before the request.
    revision: u64,
}

/// One subject.
pub(super) struct Entry {
    /// For the request that renews it.
    pub user: String,
    pub flight: Option<Flight>,
    pub last_used: Instant,
    pub last_success: Option<SystemTime>,
    pub last_failure: Option<(SystemTime, Error)>,
    issued: Option<Arc<Issued>>,
    /// The newest token there has been, rejected or not.
    known: Option<Secret>,
    failure: Option<Failure>,
    last_replaced: Option<Instant>,
}

/// What a caller gets.
pub(super) enum Next {
    /// This token.
    Serve(Arc<Issued>),
    /// The outcome of a request that is under way.
    Wait(Flight),
    /// The remembered failure.
    Fail(Error),
    /// The same, of a person; it holds while `Grant::revision` is this one.
    FailWhile(Error, u64),
    /// The outcome of a request that must be started.
    Request,
    /// Nothing yet: a rejected token was replaced a moment ago; the rest of the wait.
    TooSoon(Duration),
}

impl Entry {
    pub fn new(user: String, now: Instant) -> Self {
        Self {
            user,
            flight: None,
            last_used: now,
            last_success: None,
            last_failure: None,
            issued: None,
            known: None,
            failure: None,
            last_replaced: None,
        }
    }

    /// Somebody needs a token.
    pub fn ask(&mut self, now: Instant) -> Next {
        self.last_used = now;
        match &self.issued {
            Some(issued) if issued.is_good(now) => Next::Serve(Arc::clone(issued)),
            _ => self.wait_or_request(now),
        }
    }

    /// The service has rejected a token.
    pub fn replace(&mut self, now: Instant, rejected: &Secret) -> Next {
        self.last_used = now;
        match &self.issued {
            Some(issued) if issued.is_good(now) && issued.secret != *rejected => {
                return Next::Serve(Arc::clone(issued));
            }
            _ => {}
        }
        let next = self.wait_or_request(now);
        if !matches!(next, Next::Request) {
            return next;
        }
        let since = self.last_replaced.map(|last| now - last);
        if let Some(since) = since.filter(|since| *since < REPLACE_EVERY) {
            return Next::TooSoon(REPLACE_EVERY - since);
        }
        self.last_replaced = Some(now);
        if self.issued.as_ref().is_none_or(|issued| issued.secret == *rejected) {
            self.known = Some(rejected.clone());
        }
        // Serving it again would only let the next session fail too.
        self.issued = None;
        Next::Request
    }

    fn wait_or_request(&self, now: Instant) -> Next {
        if let Some(flight) = &self.flight {
            return Next::Wait(flight.clone());
        }
        match &self.failure {
            Some(failure) if now >= failure.until => Next::Request,
            Some(failure) if failure.error.fault == Fault::Person => {
                Next::FailWhile(failure.error.clone(), failure.revision)
            }
            Some(failure) => Next::Fail(failure.error.clone()),
            None => Next::Request,
        }
    }

    /// What the failure of that revision rested on has changed.
    pub fn forget_failure(&mut self, revision: u64) {
        if self.failure.as_ref().is_some_and(|failure| failure.revision == revision) {
            self.failure = None;
        }
    }

    /// The newest token there has been, for `Grant::request`.
    pub fn known(&self) -> Option<&Secret> {
        self.known.as_ref()
    }

    /// The request has ended, which began at `revision`. `chance` (0 to 1) spreads what would
    /// happen at the same time.
    pub fn record(&mut self, now: Instant, outcome: &Outcome, revision: u64, chance: f64) {
        self.flight = None;
        match outcome {
            Ok(issued) => {
                self.issued = Some(Arc::clone(issued));
                self.known = Some(issued.secret.clone());
                self.failure = None;
                self.last_success = Some(SystemTime::now());
            }
            Err(error) => {
                let before = self.failure.as_ref().filter(|last| last.error.fault == error.fault);
                let count = before.map_or(1, |last| last.count.saturating_add(1));
                let until = now + backoff(error, count, chance);
                self.failure = Some(Failure { error: error.clone(), until, count, revision });
                self.last_failure = Some((SystemTime::now(), error.clone()));
            }
        }
    }

    /// When the token is to be renewed without anybody asking; `None`: not at all.
    pub fn refresh_due(&self) -> Option<Instant> {
        let issued = self.issued.as_ref().filter(|_| self.flight.is_none())?;
        let due = match &self.failure {
            Some(failure) => failure.until.max(issued.refresh_at),
            None => issued.refresh_at,
        };
        let wanted = due < issued.good_until && due < self.last_used + UNUSED_AFTER;
        wanted.then_some(due)
    }

    /// True when nothing is lost by forgetting it.
    pub fn is_stale(&self, now: Instant) -> bool {
        let good = self.issued.as_ref().is_some_and(|issued| issued.is_good(now));
        self.flight.is_none() && !good && now >= self.last_used + UNUSED_AFTER
    }

    /// Until when the token in memory works.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.issued.as_ref().map(|issued| issued.expires_at)
    }

    /// True for the first failure after a success, or of another kind: worth a line in the log.
    pub fn is_news(&self) -> bool {
        self.failure.as_ref().is_none_or(|failure| failure.count == 1)
    }
}

/// How long a failure is answered from memory. What the provider demands is never shortened.
fn backoff(error: &Error, count: u32, chance: f64) -> Duration {
    let (first, most) = match error.fault {
        Fault::Passing => (PASSING_FIRST, PASSING_MOST),
        Fault::Person => (PERSON_FIRST, PERSON_MOST),
    };
    let doubled = first * 2u32.pow((count - 1).min(16));
    let ours = doubled.min(most).mul_f64(1.0 - 0.2 * chance);
    ours.max(error.retry_after.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issued(token: &str, life: u64, now: Instant) -> Outcome {
        let granted = Granted { secret: Secret::new(token), life: Duration::from_secs(life) };
        Ok(Arc::new(Issued::new(granted, now, SystemTime::now(), 0.0)))
    }

    fn error(fault: Fault) -> Error {
        Error { fault, text: "no".to_owned(), code: None, retry_after: None }
    }

    fn after(now: Instant, seconds: u64) -> Instant {
        now + Duration::from_secs(seconds)
    }

    #[test]
    fn backoff_doubles_to_its_limit() {
        for (fault, counts) in [
            (Fault::Passing, [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (u32::MAX, 60)]),
            (Fault::Person, [(1, 30), (2, 60), (3, 120), (4, 240), (5, 300), (u32::MAX, 300)]),
        ] {
            for (count, seconds) in counts {
                let full = Duration::from_secs(seconds);
                assert_eq!(backoff(&error(fault), count, 0.0), full);
                assert_eq!(backoff(&error(fault), count, 1.0), full.mul_f64(0.8));
            }
        }
        let asked = Error { retry_after: Some(Duration::from_secs(90)), ..error(Fault::Passing) };
        assert_eq!(backoff(&asked, 1, 1.0), Duration::from_secs(90));
        let asked = Error { retry_after: Some(Duration::ZERO), ..error(Fault::Passing) };
        assert_eq!(backoff(&asked, 1, 0.0), Duration::from_secs(1));
    }

    #[test]
    fn a_token_is_served_until_its_last_minute_and_renewed_before() {
        let now = Instant::now();
        for (life, refresh, good) in [(3600, 2880, 3540), (300, 240, 240), (10, 8, 8)] {
            let mut entry = Entry::new("u".to_owned(), now);
            entry.record(now, &issued("a", life, now), 0, 0.0);
            let served =
                |entry: &mut Entry, at| matches!(entry.ask(after(now, at)), Next::Serve(_));
            assert!(served(&mut entry, good - 1), "{life}");
            assert!(!served(&mut entry, good), "{life}");
            let due = entry.refresh_due();
            let expected = (refresh < good).then(|| after(now, refresh));
            assert_eq!(due, expected, "{life}");
        }
    }

    #[test]
    fn a_failed_renewal_waits_and_never_hides_the_good_token() {
        let now = Instant::now();
        let mut entry = Entry::new("u".to_owned(), now);
        entry.record(now, &issued("a", 3600, now), 0, 0.0);
        let later = after(now, 2900);
        entry.record(later, &Err(error(Fault::Person)), 0, 0.0);
        assert!(matches!(entry.ask(later), Next::Serve(_)));
        assert_eq!(entry.refresh_due(), Some(after(later, 30)));
        // Too close to the end to be of use: from then on whoever asks starts the request.
        entry.record(after(now, 3520), &Err(error(Fault::Person)), 0, 0.0);
        assert_eq!(entry.refresh_due(), None);
        assert!(matches!(entry.ask(after(now, 3541)), Next::FailWhile(_, 0)));
        assert!(matches!(entry.ask(after(now, 3700)), Next::Request));
    }

    #[test]
    fn another_kind_of_failure_starts_its_own_backoff() {
        let now = Instant::now();
        let mut entry = Entry::new("u".to_owned(), now);
        for _ in 0..5 {
            entry.record(now, &Err(error(Fault::Passing)), 0, 0.0);
        }
        assert!(!entry.is_news());
        assert!(matches!(entry.ask(after(now, 15)), Next::Fail(_)));
        entry.record(now, &Err(error(Fault::Person)), 0, 0.0);
        assert!(entry.is_news());
        assert!(matches!(entry.ask(after(now, 29)), Next::FailWhile(_, 0)));
        assert!(matches!(entry.ask(after(now, 30)), Next::Request));
    }

    #[test]
    fn rejected_tokens_are_replaced_once_in_ten_seconds() {
        let now = Instant::now();
        let (a, b) = (Secret::new("a"), Secret::new("b"));
        let mut entry = Entry::new("u".to_owned(), now);
        entry.record(now, &issued("a", 3600, now), 0, 0.0);
        assert!(matches!(entry.replace(now, &b), Next::Serve(_)), "older than what we have");
        assert!(matches!(entry.replace(now, &a), Next::Request));
        assert!(matches!(entry.ask(now), Next::Request), "the rejected token is gone");
        entry.record(now, &issued("b", 3600, now), 0, 0.0);
        assert!(matches!(entry.replace(now, &a), Next::Serve(_)));
        let too_soon = entry.replace(after(now, 4), &b);
        assert!(matches!(too_soon, Next::TooSoon(rest) if rest == Duration::from_secs(6)));
        assert!(matches!(entry.ask(after(now, 4)), Next::Serve(_)));
        assert!(matches!(entry.replace(after(now, 10), &b), Next::Request));
    }

    #[test]
    fn what_nobody_uses_is_neither_renewed_nor_kept() {
        let now = Instant::now();
        let mut entry = Entry::new("u".to_owned(), now);
        let much_later = now + UNUSED_AFTER - Duration::from_secs(60);
        entry.record(now, &issued("a", 3600, much_later), 0, 0.0);
        assert_eq!(entry.refresh_due(), None);
        assert!(!entry.is_stale(now + UNUSED_AFTER), "its token is still good");
        assert!(entry.is_stale(much_later + Duration::from_secs(3600)));
    }

    #[test]
    fn the_newest_token_is_known_rejected_or_not() {
        let now = Instant::now();
        let (a, b) = (Secret::new("a"), Secret::new("b"));
        let mut entry = Entry::new("u".to_owned(), now);
        assert_eq!(entry.known(), None);
        assert!(matches!(entry.replace(now, &a), Next::Request), "from before a restart");
        assert_eq!(entry.known(), Some(&a));
        entry.record(now, &issued("b", 3600, now), 0, 0.0);
        assert_eq!(entry.known(), Some(&b));
        entry.record(now, &Err(error(Fault::Passing)), 0, 0.0);
        assert_eq!(entry.known(), Some(&b));
        assert!(matches!(entry.replace(after(now, 3600), &a), Next::Request), "both are too old");
        assert_eq!(entry.known(), Some(&b));
    }

    #[test]
    fn only_a_person_s_failure_depends_on_the_revision() {
        let now = Instant::now();
        let mut entry = Entry::new("u".to_owned(), now);
        entry.record(now, &Err(error(Fault::Passing)), 7, 0.0);
        assert!(matches!(entry.ask(now), Next::Fail(_)));
        entry.record(now, &Err(error(Fault::Person)), 7, 0.0);
        assert!(matches!(entry.ask(now), Next::FailWhile(_, 7)));
        entry.forget_failure(6);
        assert!(matches!(entry.ask(now), Next::FailWhile(_, 7)), "another one's");
        entry.forget_failure(7);
        assert!(matches!(entry.ask(now), Next::Request));
    }
}
