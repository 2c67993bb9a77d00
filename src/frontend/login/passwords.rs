//! Argon2, at most twice at a time, and once for a password that stays right.
//!
//! Danger: 19 MiB and 20 ms for each of a thousand logins at once stop everything else; a memory
//! of good passwords must not become a list of passwords. Rule: runs wait for one of two places,
//! equal checks share one run, and only a digest under a key of this process is remembered, bound
//! to the hash it was checked against.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use ring::hmac;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::lockout::{Lockout, Source};
use crate::secret::Secret;

/// Argon2 runs at the same time: 19 MiB and one core each.
const CONCURRENT_RUNS: usize = 2;
/// Checks that may wait for a run; more would wait longer than clients do.
const MAX_WAITING: usize = 512;
/// The longest wait for a run: mail clients give up after a minute.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Good passwords remembered.
const MAX_REMEMBERED: usize = 4096;
/// How long they are.
const REMEMBERED_FOR: Duration = Duration::from_secs(60 * 60);
/// A hash with the default cost that no password is known for.
pub(super) const DECOY: &str = "$argon2id$v=19$m=19456,t=2,p=1$YXV0aGJyaWRnZSBkZWNveQ$\
                                AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A password can't be hashed.
#[derive(Debug, thiserror::Error)]
#[error("the password can't be hashed: {0}")]
pub struct HashError(String);

/// The Argon2id hash of a password, in PHC form, with a new salt.
pub fn hash_password(password: &Secret) -> Result<Secret, HashError> {
    let hash = Argon2::default()
        .hash_password(password.expose().as_bytes())
        .map_err(|error| HashError(error.to_string()))?;
    Ok(Secret::new(hash.to_string()))
}

/// Why a hash can't be used.
pub(super) fn hash_problem(hash: &Secret) -> Option<String> {
    let parsed = match PasswordHash::new(hash.expose()) {
        Ok(parsed) => parsed,
        Err(error) => return Some(format!("it is not a hash in PHC form: {error}")),
    };
    if argon2::Algorithm::try_from(parsed.algorithm.as_str()).is_err() {
        return Some(format!("{} is not Argon2", parsed.algorithm));
    }
    if parsed.hash.is_none() || parsed.salt.is_none() {
        return Some("it has no salt or no hash in it".to_owned());
    }
    argon2::Params::try_from(&parsed).err().map(|error| error.to_string())
}

/// What a client says, and what would prove it.
pub(super) struct Claim {
    /// In lower case.
    pub(super) login: String,
    pub(super) password: Secret,
    pub(super) proof: Proof,
}

/// What proves a password. A decoy is a hash that is run for the time it takes.
pub(super) enum Proof {
    Hash(Secret),
    /// The password itself, and a decoy.
    Plain(Secret, Secret),
    /// Nothing proves it: a decoy.
    Nothing(Secret),
}

impl Proof {
    /// Text that changes when the proof does.
    fn identity(&self) -> (&str, &Secret) {
        match self {
            Self::Hash(hash) => ("hash", hash),
            Self::Plain(own, _) => ("plain", own),
            Self::Nothing(decoy) => ("nothing", decoy),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Right,
    Wrong,
    /// The source was locked out while the check waited.
    Locked,
    Busy,
}

type Digest = [u8; 32];
type Run = Shared<BoxFuture<'static, Outcome>>;

/// See the module.
pub(super) struct Passwords {
    key: hmac::Key,
    remembered: Mutex<HashMap<Digest, Instant>>,
    running: Mutex<HashMap<Digest, Run>>,
    runner: Arc<Runner>,
}

impl Passwords {
    pub(super) fn new() -> Self {
        Self {
            key: new_key(),
            remembered: Mutex::default(),
            running: Mutex::default(),
            runner: Arc::new(Runner::new()),
        }
    }

    /// A digest of a text, for tables.
    pub(super) fn fingerprint(&self, text: &str) -> Digest {
        self.digest(&[text.as_bytes()])
    }

    /// Checks a claim; a wrong one is counted against `source` once, however many share the run.
    pub(super) async fn check(
        &self,
        claim: Claim,
        lockout: &Arc<Lockout>,
        source: &Source,
    ) -> Outcome {
        let (kind, proof) = claim.proof.identity();
        let digest = self.digest(&[
            claim.login.as_bytes(),
            claim.password.expose().as_bytes(),
            kind.as_bytes(),
            proof.expose().as_bytes(),
        ]);
        if self.is_remembered(&digest) {
            return Outcome::Right;
        }
        let flight = self.digest(&[&digest, format!("{source:?}").as_bytes()]);
        let run = lock(&self.running)
            .entry(flight)
            .or_insert_with(|| self.start(claim, lockout, source))
            .clone();
        let _landing = Landing { running: &self.running, flight };
        let outcome = run.await;
        if outcome == Outcome::Right {
            self.remember(digest);
        }
        outcome
    }

    /// Takes the time of a check and checks nothing: for those who are locked out, at no cost.
    pub(super) async fn pretend(&self) {
        tokio::time::sleep(self.runner.usual_time()).await;
    }

    #[cfg(test)]
    pub(super) fn runs(&self) -> usize {
        self.runner.runs.load(Ordering::Relaxed)
    }

    fn start(&self, claim: Claim, lockout: &Arc<Lockout>, source: &Source) -> Run {
        let (runner, lockout) = (Arc::clone(&self.runner), Arc::clone(lockout));
        let source = source.clone();
        async move { runner.run(claim, &lockout, &source).await }.boxed().shared()
    }

    fn digest(&self, parts: &[&[u8]]) -> Digest {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    fn is_remembered(&self, digest: &Digest) -> bool {
        lock(&self.remembered).get(digest).is_some_and(|until| *until > Instant::now())
    }

    fn remember(&self, digest: Digest) {
        let now = Instant::now();
        let mut remembered = lock(&self.remembered);
        if remembered.len() >= MAX_REMEMBERED {
            remembered.retain(|_, until| *until > now);
        }
        if remembered.len() >= MAX_REMEMBERED {
            let oldest = remembered.iter().min_by_key(|(_, until)| **until).map(|(key, _)| *key);
            oldest.and_then(|oldest| remembered.remove(&oldest));
        }
        remembered.insert(digest, now + REMEMBERED_FOR);
    }
}

/// Forgets a run when one who waits for it has the answer, or has gone: an abandoned run would
/// keep its password for ever.
struct Landing<'a> {
    running: &'a Mutex<HashMap<Digest, Run>>,
    flight: Digest,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        lock(self.running).remove(&self.flight);
    }
}

/// Runs Argon2 on threads for blocking work.
struct Runner {
    places: Semaphore,
    waiting: AtomicUsize,
    runs: AtomicUsize,
    usual_micros: AtomicU64,
}

impl Runner {
    fn new() -> Self {
        Self {
            places: Semaphore::new(CONCURRENT_RUNS),
            waiting: AtomicUsize::new(0),
            runs: AtomicUsize::new(0),
            usual_micros: AtomicU64::new(0),
        }
    }

    async fn run(&self, claim: Claim, lockout: &Lockout, source: &Source) -> Outcome {
        let waiting = Waiting::new(&self.waiting);
        if waiting.before >= MAX_WAITING {
            tracing::warn!("too many logins are being checked; one is told to come back");
            return Outcome::Busy;
        }
        let Ok(Ok(_place)) = timeout(MAX_WAIT, self.places.acquire()).await else {
            return Outcome::Busy;
        };
        drop(waiting);
        // Guesses sent all at once have passed the first look at the lock.
        if lockout.is_locked(source, Instant::now()) {
            return Outcome::Locked;
        }
        self.runs.fetch_add(1, Ordering::Relaxed);
        let began = std::time::Instant::now();
        let checked = tokio::task::spawn_blocking(move || is_right(&claim)).await;
        self.note_time(began.elapsed());
        match checked {
            Ok(true) => Outcome::Right,
            Ok(false) => {
                lockout.failed(source, Instant::now());
                Outcome::Wrong
            }
            Err(_) => Outcome::Busy,
        }
    }

    fn usual_time(&self) -> Duration {
        Duration::from_micros(self.usual_micros.load(Ordering::Relaxed))
    }

    /// A running mean over some eight runs.
    fn note_time(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let usual = self.usual_micros.load(Ordering::Relaxed);
        let mean = if usual == 0 { micros } else { (usual / 8) * 7 + micros / 8 };
        self.usual_micros.store(mean, Ordering::Relaxed);
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
fn is_right(claim: &Claim) -> bool {
    match &claim.proof {
        Proof::Hash(hash) => hash_fits(hash, &claim.password),
        Proof::Plain(own, decoy) => {
            hash_fits(decoy, &claim.password);
            own == &claim.password
        }
        Proof::Nothing(decoy) => {
            hash_fits(decoy, &claim.password);
            false
        }
    }
}

/// A broken hash fits nothing, and still takes its time; it was reported when it was read.
fn hash_fits(hash: &Secret, password: &Secret) -> bool {
    let broken = hash_problem(hash).is_some();
    let text = if broken { DECOY } else { hash.expose() };
    let fits = PasswordHash::new(text).is_ok_and(|parsed| {
        Argon2::default().verify_password(password.expose().as_bytes(), &parsed).is_ok()
    });
    fits && !broken
}

fn new_key() -> hmac::Key {
    let random = ring::rand::SystemRandom::new();
    hmac::Key::generate(hmac::HMAC_SHA256, &random).unwrap_or_else(|_| {
        // The standard library's own seed, from the same source, taken earlier.
        let seed: [u64; 4] = std::array::from_fn(|_| RandomState::new().build_hasher().finish());
        hmac::Key::new(hmac::HMAC_SHA256, &seed.map(u64::to_ne_bytes).concat())
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decoy_is_a_hash_like_those_we_make() {
        assert_eq!(hash_problem(&Secret::new(DECOY)), None);
        let made = hash_password(&Secret::new("tanstaaf")).expect("hashed");
        assert_eq!(hash_problem(&made), None);
        let cost = |hash: &str| hash.split('$').take(4).collect::<Vec<_>>().join("$");
        assert_eq!(cost(made.expose()), cost(DECOY));
        assert_eq!(made.expose().len() - cost(DECOY).len(), DECOY.len() - cost(DECOY).len());
        assert!(hash_fits(&made, &Secret::new("tanstaaf")));
        assert!(!hash_fits(&made, &Secret::new("tanstaaF")));
        assert!(!hash_fits(&Secret::new(DECOY), &Secret::new("")));
        assert!(!hash_fits(&Secret::new("nonsense"), &Secret::new("")));
    }

    #[test]
    fn broken_hashes_are_explained() {
        for hash in
            ["", "secret", "$argon2id$v=19$m=19456,t=2,p=1", "$scrypt$ln=16$c2FsdHNhbHQ$AAAA"]
        {
            assert!(hash_problem(&Secret::new(hash)).is_some(), "{hash}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_and_ends() {
        let passwords = Passwords::new();
        let digests: Vec<Digest> =
            (0..MAX_REMEMBERED + 10).map(|n| passwords.digest(&[&n.to_be_bytes()])).collect();
        for digest in &digests {
            passwords.remember(*digest);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(lock(&passwords.remembered).len(), MAX_REMEMBERED);
        assert!(!passwords.is_remembered(&digests[9]));
        assert!(passwords.is_remembered(&digests[10]));
        tokio::time::advance(REMEMBERED_FOR).await;
        assert!(!passwords.is_remembered(&digests[MAX_REMEMBERED + 9]));
    }

    #[tokio::test]
    async fn nothing_is_left_of_a_check_that_is_given_up() {
        let passwords = Passwords::new();
        let lockout = Arc::new(Lockout::default());
        let source = Source::new([127, 0, 0, 1].into(), [0; 32]);
        let claim = Claim {
            login: "erp".to_owned(),
            password: Secret::new("x"),
            proof: Proof::Nothing(Secret::new(DECOY)),
        };
        let given_up = passwords.check(claim, &lockout, &source).now_or_never();
        assert_eq!(given_up, None);
        assert!(lock(&passwords.running).is_empty());
        assert_eq!(passwords.runner.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn digests_keep_parts_apart_and_keys_differ() {
        let passwords = Passwords::new();
        assert_ne!(passwords.digest(&[b"ab", b"c"]), passwords.digest(&[b"a", b"bc"]));
        assert_eq!(passwords.fingerprint("x"), passwords.fingerprint("x"));
        assert_ne!(passwords.fingerprint("x"), Passwords::new().fingerprint("x"));
    }
}
