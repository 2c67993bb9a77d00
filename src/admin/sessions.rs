//! Who is logged in to the page.
//!
//! Danger: a cookie that is stolen, kept or fixed beforehand is a login. Rule: it is 256 random bits
//! made at the login, of which only a digest is kept here; it ends after an hour without use, after
//! twelve hours in any case, at the logout and with the process; each session has a token of its own
//! that every change must carry.
//!
//! Cookies know no ports (RFC 6265 section 8.5): every web server under the same host name is sent
//! ours when the administrator visits it, and may set one of the same name. The port in the name
//! keeps those that mean no harm apart, a value that is of no session is passed over, and over TLS
//! the prefix `__Host-` lets no other host set it. A hostile web server of this very machine could
//! still use what it was sent, while the session lasts.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

use crate::secret::Secret;

/// What the cookie's name has in the middle.
const NAME: &str = "authbridge_session";

/// Cookies of our name that are looked at: browsers send one for each path.
const MAX_VALUES: usize = 16;

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

    /// The one value that is of an open session. Two such are somebody's attempt to put one over the
    /// other: then there is none.
    pub fn own<'a>(&self, values: impl Iterator<Item = &'a str>, now: Instant) -> Option<&'a str> {
        let open = self.open();
        let lives =
            |value: &&str| open.get(&key_of(value)).is_some_and(|session| !session.is_over(now));
        let mut living = values.take(MAX_VALUES).filter(lives);
        let value = living.next()?;
        living.all(|other| other == value).then_some(value)
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

/// The cookie's name for those who know us by this port.
pub(super) fn cookie_name(port: Option<u16>, tls: bool) -> String {
    let prefix = if tls { "__Host-" } else { "" };
    match port {
        Some(port) => format!("{prefix}{NAME}_{port}"),
        None => format!("{prefix}{NAME}"),
    }
}

/// The values of that name among all cookies of a request (RFC 6265 section 4.2.1).
pub(super) fn values_of<'a>(
    fields: impl Iterator<Item = &'a str>,
    name: &str,
) -> impl Iterator<Item = &'a str> {
    fields
        .flat_map(|field| field.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(move |(known, _)| *known == name)
        .map(|(_, value)| value)
}

/// The `Set-Cookie` field that hands out a session.
pub(super) fn set_cookie(name: &str, value: &Secret, tls: bool) -> String {
    format!("{name}={}; {}", value.expose(), attributes(tls))
}

/// The `Set-Cookie` field that takes it back.
pub(super) fn clear_cookie(name: &str, tls: bool) -> String {
    format!("{name}=; Max-Age=0; {}", attributes(tls))
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
    fn cookies_are_found_among_others() {
        for (fields, expected) in [
            (vec!["s_1=abc"], vec!["abc"]),
            (vec!["a=b; s_1=abc; c=d"], vec!["abc"]),
            (vec!["a=b", "s_1=abc"], vec!["abc"]),
            (vec!["s_1=abc; s_1=def", "s_1="], vec!["abc", "def", ""]),
            (vec!["xs_1=abc; S_1=x; s_2=y; s=z"], vec![]),
            (vec!["s_1", ""], vec![]),
            (vec![], vec![]),
        ] {
            let found: Vec<&str> = values_of(fields.iter().copied(), "s_1").collect();
            assert_eq!(found, expected, "{fields:?}");
        }
    }

    #[test]
    fn the_one_that_is_of_a_session_counts() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let first = sessions.begin(now).expect("random");
        let second = sessions.begin(now + MINUTE).expect("random");
        let (first, second) = (first.expose(), second.expose());
        let own = |values: &[&'static str]| {
            let named = values.iter().map(|value| match *value {
                "first" => first,
                "second" => second,
                other => other,
            });
            sessions.own(named, now + MINUTE)
        };
        assert_eq!(own(&["first"]), Some(first));
        assert_eq!(own(&["", "x", "first", "y"]), Some(first));
        assert_eq!(own(&["second", "second"]), Some(second));
        assert_eq!(own(&["first", "second"]), None);
        assert_eq!(own(&["x"; 3]), None);
        assert_eq!(own(&[]), None);
        let mut many = vec!["x"; MAX_VALUES];
        many.push("first");
        assert_eq!(own(&many), None);
        let later = now + 60 * MINUTE;
        assert_eq!(sessions.own([first, second].into_iter(), later), Some(second), "one is over");
    }

    #[test]
    fn the_cookie_is_for_this_site_only() {
        let (name, value) = (cookie_name(Some(8025), true), Secret::new("v"));
        for text in [set_cookie(&name, &value, true), clear_cookie(&name, true)] {
            // What the prefix demands (RFC 6265bis section 4.1.3.2): no Domain, Path=/, Secure.
            for part in ["__Host-", "HttpOnly", "SameSite=Strict", "Path=/;", "Secure"] {
                assert!(text.contains(part), "{text}");
            }
            assert!(!text.contains("Domain"), "{text}");
        }
        let name = cookie_name(Some(8025), false);
        assert!(!set_cookie(&name, &value, false).contains("Secure"));
        assert!(set_cookie(&name, &value, false).starts_with("authbridge_session_8025=v;"));
        assert!(clear_cookie(&name, false).contains("Max-Age=0"));
        assert_eq!(cookie_name(None, false), "authbridge_session");
    }
}
