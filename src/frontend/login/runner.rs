//! Runs Argon2, at most twice at a time, and makes every refusal take the same time.
//!
//! Danger: 19 MiB and 20 ms for each of a thousand logins at once stop everything else; a client
//! with a cheap hash, a costly one or none at all answers after a time of its own, which tells
//! which logins exist. Rule: runs wait for one of two places, and a refusal leaves only after twice
//! the time that the costliest hash takes here.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordVerifier};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout};

use super::lockout::{Lockout, Source};
use super::passwords::{Outcome, Proof};
use crate::config::password_hash::cost;
use crate::secret::Secret;

/// Argon2 runs at the same time: 19 MiB and one core each.
const CONCURRENT_RUNS: usize = 2;
/// Checks that may wait for a run; more would wait longer than clients do.
const MAX_WAITING: usize = 512;
/// The longest wait for a run: mail clients give up after a minute.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// A refusal takes so many times the costliest hash's usual time: runs vary, and the sum must not.
const REFUSAL_FACTOR: u32 = 2;
/// A hash with the default cost that no password is known for.
pub(super) const DECOY: &str = "$argon2id$v=19$m=19456,t=2,p=1$YXV0aGJyaWRnZSBkZWNveQ$\
                                AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The costliest hash there is: what is run where there is no hash.
#[derive(Clone)]
struct Yardstick {
    decoy: Secret,
    cost: u64,
    /// A running mean; `None` before the first run.
    usual: Option<Duration>,
}

/// See the module.
pub(super) struct Runner {
    places: Semaphore,
    waiting: AtomicUsize,
    runs: AtomicUsize,
    yardstick: Mutex<Yardstick>,
}

impl Runner {
    pub(super) fn new() -> Self {
        let cost = cost(DECOY).unwrap_or_default();
        Self {
            places: Semaphore::new(CONCURRENT_RUNS),
            waiting: AtomicUsize::new(0),
            runs: AtomicUsize::new(0),
            yardstick: Mutex::new(Yardstick { decoy: Secret::new(DECOY), cost, usual: None }),
        }
    }

    /// A hash that may be checked from now on: the costliest one is the yardstick.
    pub(super) fn expect(&self, hash: &Secret) {
        let cost = cost(hash.expose()).unwrap_or_default();
        let mut yardstick = self.yardstick();
        if cost > yardstick.cost {
            *yardstick = Yardstick { decoy: hash.clone(), cost, usual: None };
        }
    }

    /// Checks a password; a wrong one is counted against `source`.
    pub(super) async fn run(
        &self,
        proof: Proof,
        password: Secret,
        lockout: &Lockout,
        source: &Source,
    ) -> Outcome {
        let waiting = Waiting::new(&self.waiting);
        if waiting.before >= MAX_WAITING {
            tracing::warn!("too many logins are being checked; one is told to come back");
            return Outcome::Busy;
        }
        let Ok(Ok(place)) = timeout(MAX_WAIT, self.places.acquire()).await else {
            return Outcome::Busy;
        };
        drop(waiting);
        // Guesses sent all at once have passed the first look at the lock.
        if lockout.is_locked(source, Instant::now()) {
            return Outcome::Locked;
        }
        let began = Instant::now();
        self.runs.fetch_add(1, Ordering::Relaxed);
        match self.check(proof, password).await {
            None => Outcome::Busy,
            Some(true) => Outcome::Right,
            Some(false) => {
                lockout.failed(source, Instant::now());
                self.measure().await;
                drop(place);
                self.even_out(began).await;
                Outcome::Wrong
            }
        }
    }

    /// Waits until a refusal that began then may leave.
    pub(super) async fn even_out(&self, began: Instant) {
        let usual = self.yardstick().usual.unwrap_or_default();
        sleep_until(began + usual * REFUSAL_FACTOR).await;
    }

    #[cfg(test)]
    pub(super) fn runs(&self) -> usize {
        self.runs.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// One run; `None`: it could not be done.
    async fn check(&self, proof: Proof, password: Secret) -> Option<bool> {
        let decoy = self.yardstick().decoy.clone();
        let began = std::time::Instant::now();
        let cost = match &proof {
            Proof::Hash(hash) => cost(hash.expose()).ok(),
            Proof::Plain(_) | Proof::Nothing => cost(decoy.expose()).ok(),
        };
        let right = spawn_blocking(move || is_right(&proof, &password, &decoy)).await.ok()?;
        if let Some(cost) = cost {
            self.note(cost, began.elapsed());
        }
        Some(right)
    }

    /// Learns the yardstick's time when no run has told it yet.
    async fn measure(&self) {
        if self.yardstick().usual.is_none() {
            let _ = self.check(Proof::Nothing, Secret::new("")).await;
        }
    }

    /// A mean over some eight runs of the costliest hash.
    fn note(&self, cost: u64, time: Duration) {
        let mut yardstick = self.yardstick();
        if cost == yardstick.cost {
            yardstick.usual = Some(yardstick.usual.map_or(time, |mean| (mean * 7 + time) / 8));
        }
    }

    fn yardstick(&self) -> MutexGuard<'_, Yardstick> {
        self.yardstick.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one who waits, also when it is dropped.
struct Waiting<'a> {
    count: &'a AtomicUsize,
    before: usize,
}

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        Self { count, before: count.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs Argon2 once, whatever the proof is.
fn is_right(proof: &Proof, password: &Secret, decoy: &Secret) -> bool {
    match proof {
        Proof::Hash(hash) => fits(hash, password),
        Proof::Plain(own) => {
            fits(decoy, password);
            own == password
        }
        Proof::Nothing => {
            fits(decoy, password);
            false
        }
    }
}

/// What can't be run fits nothing.
fn fits(hash: &Secret, password: &Secret) -> bool {
    let parsed = PasswordHash::new(hash.expose()).ok().filter(|_| cost(hash.expose()).is_ok());
    parsed.is_some_and(|parsed| {
        Argon2::default().verify_password(password.expose().as_bytes(), &parsed).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use argon2::PasswordHasher;

    use super::*;
    use crate::frontend::login::tests::hash_of;

    fn with_cost(memory: u32) -> Secret {
        let params = argon2::Params::new(memory, 1, 1, None).expect("valid");
        let argon2 = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
        Secret::new(argon2.hash_password(b"x").expect("hashed").to_string())
    }

    #[test]
    fn the_decoy_is_a_hash_like_those_we_make() {
        let made = hash_of("tanstaaf");
        assert_eq!(cost(made.expose()), cost(DECOY));
        assert_eq!(made.expose().len(), DECOY.len());
        assert!(fits(&made, &Secret::new("tanstaaf")));
        for (hash, password) in [
            (made, "tanstaaF"),
            (Secret::new(DECOY), ""),
            (Secret::new("nonsense"), "nonsense"),
            (Secret::new(DECOY.replace("m=19456", "m=4294967295")), ""),
        ] {
            assert!(!fits(&hash, &Secret::new(password)), "{password}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_refusal_takes_twice_the_costliest_hash() {
        let (runner, lockout) = (Runner::new(), Lockout::default());
        let (cheap, dear) = (with_cost(64), with_cost(65_536));
        runner.expect(&dear);
        runner.expect(&cheap);
        let mut times = Vec::new();
        for (login, proof) in
            [Proof::Hash(cheap), Proof::Nothing, Proof::Hash(dear), Proof::Plain("own".into())]
                .into_iter()
                .enumerate()
        {
            // Set again each time, as the mean moves.
            if let Some(usual) = &mut runner.yardstick().usual {
                *usual = Duration::from_secs(10);
            }
            let source = Source::new([192, 0, 2, login as u8].into(), [0; 32]);
            let began = Instant::now();
            let outcome = runner.run(proof, Secret::new("wrong"), &lockout, &source).await;
            assert_eq!(outcome, Outcome::Wrong);
            times.push(began.elapsed());
        }
        // The first one had to be measured, and all are slept out on the paused clock.
        assert!(times[0] > Duration::ZERO, "{times:?}");
        let expected = Duration::from_secs(20);
        for time in &times[1..] {
            assert!(*time > expected * 8 / 10 && *time <= expected, "{times:?}");
        }
    }
}
