//! What is known of one connection.
//!
//! Danger: ten thousand sessions wait idle for hours. Rule: a session is a few hundred octets; what
//! moves is counted in atomics, and the lock is held only to put a name in its place.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::clients::{Client, Kind};
use super::roles::Role;
use super::{Opening, SessionRow};

/// An open session.
#[derive(Debug)]
pub(super) struct Session {
    pub number: u64,
    pub opening: Opening,
    since: SystemTime,
    secured: AtomicBool,
    messages: AtomicU64,
    to_client: AtomicU64,
    from_client: AtomicU64,
    told: Mutex<Told>,
}

/// What a session has told so far.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub login: Option<String>,
    pub role: Option<Arc<Role>>,
    /// Its row of the inventory.
    pub client: Option<Arc<Client>>,
    pub program: Option<Program>,
}

/// Which program a client says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub name: Arc<str>,
    /// False for a guess: EHLO's name.
    pub certain: bool,
}

impl Program {
    /// A guess takes the place of a guess only.
    pub fn replaces(&self, old: Option<&Self>) -> bool {
        self.certain || old.is_none_or(|old| !old.certain)
    }
}

impl Session {
    pub fn new(number: u64, opening: Opening, since: SystemTime) -> Self {
        Self {
            number,
            since,
            secured: AtomicBool::new(opening.tls),
            opening,
            messages: AtomicU64::new(0),
            to_client: AtomicU64::new(0),
            from_client: AtomicU64::new(0),
            told: Mutex::default(),
        }
    }

    pub fn secured(&self) {
        self.secured.store(true, Ordering::Relaxed);
    }

    pub fn is_secured(&self) -> bool {
        self.secured.load(Ordering::Relaxed)
    }

    pub fn sent(&self, octets: u64) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.from_client.fetch_add(octets, Ordering::Relaxed);
    }

    pub fn moved(&self, to_client: u64, from_client: u64) {
        self.to_client.fetch_add(to_client, Ordering::Relaxed);
        self.from_client.fetch_add(from_client, Ordering::Relaxed);
    }

    pub fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The kind of client that this is under `login`.
    pub fn kind(&self, login: &str, mechanism: &'static str) -> Kind {
        Kind {
            login: login.to_lowercase(),
            address: self.opening.address.ip().to_canonical(),
            protocol: self.opening.protocol,
            mechanism,
            tls: self.is_secured(),
        }
    }

    pub fn row(&self) -> SessionRow {
        let told = self.told();
        SessionRow {
            id: self.opening.id.clone(),
            protocol: self.opening.protocol,
            tls: self.is_secured(),
            address: self.opening.address,
            login: told.login.clone(),
            role: told.role.as_ref().map(|role| role.name.clone()),
            program: told.program.as_ref().map(|program| program.name.as_ref().to_owned()),
            since: self.since,
            messages: self.messages.load(Ordering::Relaxed),
            to_client: self.to_client.load(Ordering::Relaxed),
            from_client: self.from_client.load(Ordering::Relaxed),
        }
    }
}
