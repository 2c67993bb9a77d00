//! Passwords that are right, remembered as keyed digests.
//!
//! Danger: a slow hash for each of an application's many logins eats the processor; a memory of
//! passwords must not become a list of passwords. Rule: only a digest under a key of this process is
//! remembered, bound to the hash it was checked against, and only of a right password; equal checks
//! at the same time share one run and count as one.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use ring::hmac;
use tokio::time::Instant;

use super::lockout::{Lockout, Source};
use super::runner::Runner;
use crate::secret::Secret;

/// Passwords remembered.
const MAX_REMEMBERED: usize = 4096;
/// How long they are.
const REMEMBERED_FOR: Duration = Duration::from_secs(60 * 60);

/// What a client says, and what would prove it.
pub(super) struct Claim {
    /// In lower case.
    pub(super) login: String,
    pub(super) password: Secret,
    pub(super) proof: Proof,
}

/// What proves a password.
pub(super) enum Proof {
    Hash(Secret),
    /// The password itself.
    Plain(Secret),
    /// Nothing does: nobody has this login.
    Nothing,
}

impl Proof {
    /// Text that changes when the proof does.
    fn identity(&self) -> (&str, &str) {
        match self {
            Self::Hash(hash) => ("hash", hash.expose()),
            Self::Plain(own) => ("plain", own.expose()),
            Self::Nothing => ("nothing", ""),
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
    right: Memory,
    running: Mutex<HashMap<Digest, Run>>,
    runner: Arc<Runner>,
}

impl Passwords {
    pub(super) fn new() -> Self {
        Self {
            key: new_key(),
            right: Memory::default(),
            running: Mutex::default(),
            runner: Arc::new(Runner::new()),
        }
    }

    /// A digest of a text, for tables.
    pub(super) fn fingerprint(&self, text: &str) -> Digest {
        self.digest(&[text.as_bytes()])
    }

    /// A hash that may be checked from now on.
    pub(super) fn expect(&self, hash: &Secret) {
        self.runner.expect(hash);
    }

    /// Checks a claim; a wrong one is counted against `source`.
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
            proof.as_bytes(),
        ]);
        if self.right.holds(&digest) {
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
            self.right.add(digest);
        }
        outcome
    }

    /// Takes the time of a refusal and checks nothing: for those who are locked out, at no cost.
    pub(super) async fn pretend(&self) {
        self.runner.even_out(Instant::now()).await;
    }

    #[cfg(test)]
    pub(super) fn runs(&self) -> usize {
        self.runner.runs()
    }

    fn start(&self, claim: Claim, lockout: &Arc<Lockout>, source: &Source) -> Run {
        let (runner, lockout) = (Arc::clone(&self.runner), Arc::clone(lockout));
        let source = source.clone();
        async move { runner.run(claim.proof, claim.password, &lockout, &source).await }
            .boxed()
            .shared()
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
}

/// Digests, each for a while.
#[derive(Default)]
struct Memory(Mutex<HashMap<Digest, Instant>>);

impl Memory {
    fn holds(&self, digest: &Digest) -> bool {
        lock(&self.0).get(digest).is_some_and(|until| *until > Instant::now())
    }

    fn add(&self, digest: Digest) {
        let now = Instant::now();
        let mut digests = lock(&self.0);
        if digests.len() >= MAX_REMEMBERED {
            digests.retain(|_, until| *until > now);
        }
        if digests.len() >= MAX_REMEMBERED {
            let oldest = digests.iter().min_by_key(|(_, until)| **until).map(|(key, _)| *key);
            oldest.and_then(|oldest| digests.remove(&oldest));
        }
        digests.insert(digest, now + REMEMBERED_FOR);
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

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_and_ends() {
        let passwords = Passwords::new();
        let digests: Vec<Digest> =
            (0..MAX_REMEMBERED + 10).map(|n| passwords.digest(&[&n.to_be_bytes()])).collect();
        for digest in &digests {
            passwords.right.add(*digest);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(lock(&passwords.right.0).len(), MAX_REMEMBERED);
        assert!(!passwords.right.holds(&digests[9]));
        assert!(passwords.right.holds(&digests[10]));
        tokio::time::advance(REMEMBERED_FOR).await;
        assert!(!passwords.right.holds(&digests[MAX_REMEMBERED + 9]));
    }

    #[tokio::test]
    async fn nothing_is_left_of_a_check_that_is_given_up() {
        let passwords = Passwords::new();
        let lockout = Arc::new(Lockout::default());
        let source = Source::new([127, 0, 0, 1].into(), [0; 32]);
        let claim =
            Claim { login: "erp".to_owned(), password: Secret::new("x"), proof: Proof::Nothing };
        let given_up = passwords.check(claim, &lockout, &source).now_or_never();
        assert_eq!(given_up, None);
        assert!(lock(&passwords.running).is_empty());
        assert_eq!(passwords.runner.waiting(), 0);
    }

    #[test]
    fn digests_keep_parts_apart_and_keys_differ() {
        let passwords = Passwords::new();
        assert_ne!(passwords.digest(&[b"ab", b"c"]), passwords.digest(&[b"a", b"bc"]));
        assert_eq!(passwords.fingerprint("x"), passwords.fingerprint("x"));
        assert_ne!(passwords.fingerprint("x"), Passwords::new().fingerprint("x"));
    }
}
