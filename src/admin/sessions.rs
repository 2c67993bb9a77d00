//! Who is logged in to the page.
//!
//! Danger: a cookie that is stolen, kept or fixed beforehand is a login. Rule: it is 256 random bits
//! made at the login, of which only a digest is kept here; it ends after an hour without use, after
//! twelve hours in any case, at the logout and with the process; each session has a token of its own
//! that every change must carry.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

use crate::secret::Secret;

/// The cookie's name.
pub(super) const COOKIE: &str = "authbridge_session";

/// A browser that was left open on a desk.
const IDLE: Duration = Duration::from_secs(3600);

/// A working day.
const LIFE: Duration = Duration::from_secs(12 * 3600);

/// Administrators are few; the session that was not used for longest goes first.
const MAX_SESSIONS: usize = 64;

/// What a cookie's value is kept as.
type Digest = [u8; 32];

/// Whether a request is a sign of somebody being there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// A person asked.
    Person,
    /// The page's own script did, which must not keep a session alive.
    Script,
}

#[derive(Default)]
pub(super) struct Sessions {
    open: Mutex<HashMap<Digest, Session>>,
}

struct Session {
    csrf: Secret,
    began: Instant,
    used: Instant,
}

impl Session {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used) >= IDLE
            || now.saturating_duration_since(self.began) >= LIFE
    }
}

impl Sessions {
    /// A new session; returns the cookie's value. `None`: the system gives no random numbers.
    pub fn begin(&self, now: Instant) -> Option<Secret> {
        let (cookie, csrf) = (random()?, random()?);
        let mut open = self.open();
        open.retain(|_, session| !session.is_over(now));
        if open.len() >= MAX_SESSIONS {
            let oldest = open.iter().min_by_key(|(_, session)| session.used).map(|(key, _)| *key);
            oldest.and_then(|key| open.remove(&key));
        }
        open.insert(key_of(cookie.expose()), Session { csrf, began: now, used: now });
        Some(cookie)
    }

    /// The token that changes must carry, when there is such a session.
    pub fn csrf(&self, cookie: &str, presence: Presence, now: Instant) -> Option<Secret> {
        let mut open = self.open();
        let key = key_of(cookie);
        if open.get(&key)?.is_over(now) {
            open.remove(&key);
            return None;
        }
        let session = open.get_mut(&key)?;
        if presence == Presence::Person {
            session.used = now;
        }
        Some(session.csrf.clone())
    }

    /// Ends a session.
    pub fn end(&self, cookie: &str) {
        self.open().remove(&key_of(cookie));
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Digest, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looked up by digest, so that the time of the look-up tells nothing about the value.
fn key_of(cookie: &str) -> Digest {
    let mut key = [0; 32];
    key.copy_from_slice(digest(&SHA256, cookie.as_bytes()).as_ref());
    key
}

/// 256 bits, in hexadecimal digits.
fn random() -> Option<Secret> {
    random_hex::<32>().map(Secret::new)
}

/// So many random octets, in hexadecimal digits.
pub(super) fn random_hex<const OCTETS: usize>() -> Option<String> {
    let mut octets = [0; OCTETS];
    SystemRandom::new().fill(&mut octets).ok()?;
    Some(octets.iter().map(|octet| format!("{octet:02x}")).collect())
}

/// The session cookie's value among all cookies of a request (RFC 6265 section 4.2.1). A name that
/// stands twice is somebody's attempt to put one over the other: then there is none.
pub(super) fn cookie_of<'a>(fields: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut values = fields
        .flat_map(|field| field.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value);
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// The `Set-Cookie` field that hands out a session.
pub(super) fn set_cookie(value: &Secret, tls: bool) -> String {
    format!("{COOKIE}={}; {}", value.expose(), attributes(tls))
}

/// The `Set-Cookie` field that takes it back.
pub(super) fn clear_cookie(tls: bool) -> String {
    format!("{COOKIE}=; Max-Age=0; {}", attributes(tls))
}

fn attributes(tls: bool) -> &'static str {
    match tls {
        true => "Path=/; HttpOnly; SameSite=Strict; Secure",
        false => "Path=/; HttpOnly; SameSite=Strict",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_session_ends_when_idle_when_old_and_at_the_logout() {
        let (sessions, begin) = (Sessions::default(), Instant::now());
        let cookie = sessions.begin(begin).expect("random");
        let cookie = cookie.expose();
        assert_eq!(cookie.len(), 64);
        let lives = |now| sessions.csrf(cookie, Presence::Person, now).is_some();
        assert!(lives(begin + 59 * MINUTE));
        assert!(lives(begin + 118 * MINUTE), "use keeps it");
        assert!(!lives(begin + 179 * MINUTE), "an hour without use");
        assert!(!lives(begin), "once over, it stays over");

        let cookie = sessions.begin(begin).expect("random");
        let lives = |now| sessions.csrf(cookie.expose(), Presence::Person, now).is_some();
        assert!((1..24).all(|half_hours| lives(begin + half_hours * 30 * MINUTE)));
        assert!(!lives(begin + 12 * 60 * MINUTE), "twelve hours in any case");

        let cookie = sessions.begin(begin).expect("random");
        sessions.end(cookie.expose());
        assert!(sessions.csrf(cookie.expose(), Presence::Person, begin).is_none());
    }

    #[test]
    fn the_script_keeps_no_session_alive() {
        let (sessions, begin) = (Sessions::default(), Instant::now());
        let cookie = sessions.begin(begin).expect("random");
        let asked = |minutes: u32| {
            let now = begin + minutes * MINUTE;
            sessions.csrf(cookie.expose(), Presence::Script, now).is_some()
        };
        assert!(asked(30) && asked(59));
        assert!(!asked(60));
    }

    #[test]
    fn sessions_differ_are_bounded_and_unknown_ones_are_refused() {
        let (sessions, begin) = (Sessions::default(), Instant::now());
        let first = sessions.begin(begin).expect("random");
        let second = sessions.begin(begin + MINUTE).expect("random");
        let now = begin + MINUTE;
        let csrf = |cookie: &Secret| sessions.csrf(cookie.expose(), Presence::Script, now);
        assert_ne!(first, second);
        assert_ne!(csrf(&first), csrf(&second));
        assert_ne!(csrf(&first), Some(first.clone()), "the token is not the cookie");
        assert!(sessions.csrf("", Presence::Person, begin).is_none());
        assert!(sessions.csrf(&"0".repeat(64), Presence::Person, begin).is_none());
        for _ in 0..MAX_SESSIONS - 1 {
            sessions.begin(now);
        }
        assert!(csrf(&first).is_none(), "the oldest has gone");
        assert!(csrf(&second).is_some());
        assert_eq!(sessions.open().len(), MAX_SESSIONS);
    }

    #[test]
    fn the_cookie_is_found_among_others_and_only_once() {
        for (fields, expected) in [
            (vec!["authbridge_session=abc"], Some("abc")),
            (vec!["a=b; authbridge_session=abc; c=d"], Some("abc")),
            (vec!["a=b", "authbridge_session=abc"], Some("abc")),
            (vec!["authbridge_session=abc; authbridge_session=def"], None),
            (vec!["authbridge_session=abc", "authbridge_session=abc"], None),
            (vec!["xauthbridge_session=abc; AUTHBRIDGE_SESSION=x"], None),
            (vec!["authbridge_session"], None),
            (vec![], None),
        ] {
            assert_eq!(cookie_of(fields.iter().copied()), expected, "{fields:?}");
        }
    }

    #[test]
    fn the_cookie_is_for_this_site_only() {
        let value = Secret::new("v");
        for text in [set_cookie(&value, true), clear_cookie(true)] {
            for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Secure"] {
                assert!(text.contains(part), "{text}");
            }
        }
        assert!(!set_cookie(&value, false).contains("Secure"));
        assert!(set_cookie(&value, false).starts_with("authbridge_session=v;"));
        assert!(clear_cookie(false).contains("Max-Age=0"));
    }
}
