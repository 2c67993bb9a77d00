//! Failures, and for how long they lock out.
//!
//! Danger: a table of strangers' failures grows without end, and a rule that is too coarse locks
//! out the innocent: all local applications share one address, and so do all users of a terminal
//! server; one that a success wipes clean is no rule for somebody who has a login of his own. Rule:
//! the table is bounded, a loopback address is only ever locked together with a login, an address
//! alone has more patience than a login, successes are never counted and clear only their own
//! login, and failures are forgotten one by one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Failures of one login without consequence: a person who mistypes.
const FREE_FAILURES: u32 = 5;

/// Failures of one address, all logins together, without consequence.
const FREE_FAILURES_OF_ADDRESS: u32 = 20;

/// The longest delay; reached after ten failures beyond the free ones.
const MAX_DELAY: Duration = Duration::from_secs(15 * 60);

/// Failures beyond the free ones that are counted: more would only take longer to be forgotten.
const MOST_COUNTED: u32 = 11;

/// One failure is forgotten each time. A guesser who waits for it gets some 150 guesses a day, and
/// so many a day are mistyped at a busy address without consequence.
const FORGET_ONE: Duration = Duration::from_secs(10 * 60);

/// Entries kept, some 100 octets each. The oldest goes first.
const MAX_ENTRIES: usize = 10_000;

/// Where a login comes from, in the two ways it is counted.
#[derive(Clone, Debug)]
pub(super) struct Source {
    address: Option<Key>,
    login: Key,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Address(IpAddr),
    /// The login's digest: a login may be long.
    Login(IpAddr, [u8; 32]),
}

impl Source {
    /// `login` is a digest of the login.
    pub(super) fn new(address: IpAddr, login: [u8; 32]) -> Self {
        let address = network(address);
        let shared = address.is_loopback();
        Self {
            address: (!shared).then_some(Key::Address(address)),
            login: Key::Login(address, login),
        }
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        self.address.iter().chain(std::iter::once(&self.login))
    }
}

/// IPv6 hosts own 2^64 addresses each, so they are counted by /64; every local program owns all of
/// 127.0.0.0/8.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        local if local.is_loopback() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(v6) => {
            let bits = u128::from(v6) & (u128::MAX << 64);
            IpAddr::V6(bits.into())
        }
        other => other,
    }
}

struct Entry {
    failures: u32,
    last: Instant,
}

impl Entry {
    fn remembered(&self, now: Instant) -> u32 {
        let forgotten = now.duration_since(self.last).as_secs() / FORGET_ONE.as_secs();
        self.failures.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }
}

impl Key {
    fn free_failures(&self) -> u32 {
        match self {
            Self::Address(_) => FREE_FAILURES_OF_ADDRESS,
            Self::Login(..) => FREE_FAILURES,
        }
    }

    /// 1, 2, 4 … seconds from the last free failure on.
    fn delay(&self, failures: u32) -> Duration {
        match failures.checked_sub(self.free_failures()) {
            None => Duration::ZERO,
            Some(doublings) => {
                Duration::from_secs(1_u64.checked_shl(doublings).unwrap_or(u64::MAX)).min(MAX_DELAY)
            }
        }
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Lockout {
    entries: Mutex<HashMap<Key, Entry>>,
}

impl Lockout {
    pub(super) fn is_locked(&self, source: &Source, now: Instant) -> bool {
        let entries = self.entries();
        let locked = |key: &Key| {
            entries.get(key).is_some_and(|entry| entry.last + key.delay(entry.failures) > now)
        };
        source.keys().any(locked)
    }

    pub(super) fn failed(&self, source: &Source, now: Instant) {
        let mut entries = self.entries();
        for key in source.keys() {
            if entries.len() >= MAX_ENTRIES && !entries.contains_key(key) {
                make_room(&mut entries, now);
            }
            let entry = entries.entry(key.clone()).or_insert(Entry { failures: 0, last: now });
            entry.failures = (entry.remembered(now) + 1).min(key.free_failures() + MOST_COUNTED);
            entry.last = now;
        }
    }

    pub(super) fn succeeded(&self, source: &Source) {
        self.entries().remove(&source.login);
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_room(entries: &mut HashMap<Key, Entry>, now: Instant) {
    entries.retain(|_, entry| entry.remembered(now) > 0);
    if entries.len() < MAX_ENTRIES {
        return;
    }
    let oldest = entries.iter().min_by_key(|(_, entry)| entry.last).map(|(key, _)| key.clone());
    if let Some(oldest) = oldest {
        entries.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: &str, login: u8) -> Source {
        Source::new(address.parse().expect("an address"), [login; 32])
    }

    fn fail(lockout: &Lockout, source: &Source, times: u32, now: Instant) {
        (0..times).for_each(|_| lockout.failed(source, now));
    }

    #[test]
    fn the_delay_doubles_up_to_a_quarter_of_an_hour() {
        let Source { address, login } = source("192.0.2.1", 1);
        let address = address.expect("not loopback");
        for (failures, secs) in
            [(0, 0), (4, 0), (5, 1), (6, 2), (7, 4), (14, 512), (15, 900), (u32::MAX, 900)]
        {
            assert_eq!(login.delay(failures).as_secs(), secs, "{failures}");
            assert_eq!(address.delay(failures.saturating_add(15)).as_secs(), secs, "{failures}");
        }
    }

    #[test]
    fn locks_for_the_delay_and_a_success_resets() {
        let (lockout, now) = (Lockout::default(), Instant::now());
        let jane = source("192.0.2.1", 1);
        fail(&lockout, &jane, 4, now);
        assert!(!lockout.is_locked(&jane, now));
        fail(&lockout, &jane, 1, now);
        assert!(lockout.is_locked(&jane, now + Duration::from_millis(999)));
        assert!(!lockout.is_locked(&jane, now + Duration::from_secs(1)));
        fail(&lockout, &jane, 1, now);
        assert!(lockout.is_locked(&jane, now + Duration::from_millis(1999)));
        lockout.succeeded(&jane);
        assert!(!lockout.is_locked(&jane, now));
        fail(&lockout, &jane, 4, now);
        assert!(!lockout.is_locked(&jane, now));
    }

    #[test]
    fn an_address_is_locked_for_every_login_but_loopback_for_one() {
        let (lockout, now) = (Lockout::default(), Instant::now());
        for (failing, other, locked) in [
            (source("192.0.2.1", 1), source("192.0.2.1", 2), true),
            (source("192.0.2.2", 1), source("192.0.2.3", 1), false),
            (source("127.0.0.1", 1), source("127.0.0.1", 2), false),
            (source("::1", 1), source("::1", 2), false),
            (source("::ffff:127.0.0.1", 3), source("127.0.0.9", 3), true),
            (source("127.0.0.1", 4), source("::1", 4), true),
            (source("2001:db8::1", 1), source("2001:db8::ffff", 2), true),
            (source("2001:db8:0:1::1", 1), source("2001:db8:0:2::1", 2), false),
        ] {
            fail(&lockout, &failing, 20, now);
            assert!(lockout.is_locked(&failing, now), "{failing:?}");
            assert_eq!(lockout.is_locked(&other, now), locked, "{other:?}");
        }
    }

    #[test]
    fn failures_are_forgotten_one_by_one() {
        let (lockout, now) = (Lockout::default(), Instant::now());
        let jane = source("192.0.2.1", 1);
        fail(&lockout, &jane, 4, now);
        // Two of the four are forgotten by then.
        let later = now + FORGET_ONE * 2;
        fail(&lockout, &jane, 2, later);
        assert!(!lockout.is_locked(&jane, later));
        fail(&lockout, &jane, 1, later);
        assert!(lockout.is_locked(&jane, later));
        fail(&lockout, &jane, 1000, later);
        let much_later = later + FORGET_ONE * (FREE_FAILURES + MOST_COUNTED);
        fail(&lockout, &jane, 4, much_later);
        assert!(!lockout.is_locked(&jane, much_later));
    }

    #[test]
    fn a_login_of_ones_own_does_not_wipe_the_guesses_at_others() {
        let (lockout, now) = (Lockout::default(), Instant::now());
        let (own, other) = (source("192.0.2.1", 1), source("192.0.2.1", 2));
        for _ in 0..5 {
            fail(&lockout, &other, 4, now);
            lockout.succeeded(&own);
            lockout.succeeded(&other);
        }
        assert!(lockout.is_locked(&source("192.0.2.1", 3), now));
    }

    #[test]
    fn a_busy_address_is_not_locked_by_people_who_mistype() {
        let (lockout, now) = (Lockout::default(), Instant::now());
        for n in 0..250_u32 {
            let now = now + FORGET_ONE * n;
            lockout.failed(&source("192.0.2.1", (n % 250) as u8), now);
            assert!(!lockout.is_locked(&source("192.0.2.1", 255), now), "{n}");
        }
    }

    #[test]
    fn the_table_is_bounded_and_drops_the_oldest() {
        let (lockout, now) = (Lockout::default(), Instant::now());
        let oldest = source("127.0.0.1", 0);
        fail(&lockout, &oldest, 20, now);
        for n in 0..MAX_ENTRIES as u32 {
            let mut login = [1; 32];
            login[..4].copy_from_slice(&n.to_be_bytes());
            let source = Source::new(IpAddr::from([127, 0, 0, 1]), login);
            lockout.failed(&source, now + Duration::from_millis(1));
        }
        assert_eq!(lockout.entries().len(), MAX_ENTRIES);
        assert!(!lockout.is_locked(&oldest, now));
    }
}
