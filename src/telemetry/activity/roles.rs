//! How each role fares.
//!
//! Danger: a role that fails looks like one that nobody uses. Rule: last success and last failure
//! stand side by side, the failure with the reference that the client heard.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

use super::RoleRow;
use crate::telemetry::metrics::OctetMeter;

/// Roles come from the configuration, which may be read again any number of times.
const MAX_ROLES: usize = 10_000;

/// All roles that something has happened to, by name in lower case.
#[derive(Debug, Default)]
pub(super) struct Roles(RwLock<HashMap<String, Arc<Role>>>);

/// One role.
#[derive(Debug)]
pub(super) struct Role {
    pub name: String,
    octets: AtomicU64,
    meter: OctetMeter,
    facts: Mutex<RoleRow>,
}

impl Roles {
    /// The role of that name.
    pub fn role(&self, name: &str) -> Arc<Role> {
        let key = name.to_lowercase();
        if let Some(role) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Arc::clone(role);
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_ROLES && !all.contains_key(&key) {
            return Arc::new(Role::new(name));
        }
        Arc::clone(all.entry(key).or_insert_with(|| Arc::new(Role::new(name))))
    }

    /// By name.
    pub fn rows(&self) -> Vec<RoleRow> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut rows: Vec<RoleRow> = all.values().map(|role| role.row()).collect();
        rows.sort_by(|one, other| one.role.cmp(&other.role));
        rows
    }
}

impl Role {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            octets: AtomicU64::new(0),
            meter: OctetMeter::new(name),
            facts: Mutex::new(RoleRow { role: name.to_owned(), ..RoleRow::default() }),
        }
    }

    pub fn sent(&self, octets: u64, now: SystemTime) {
        self.moved(0, octets);
        let mut facts = self.facts();
        facts.sent += 1;
        facts.last_success = Some(now);
    }

    /// One whose octets were counted when it was written down.
    pub fn sent_later(&self, now: SystemTime) {
        let mut facts = self.facts();
        facts.sent += 1;
        facts.last_success = Some(now);
    }

    pub fn opened(&self, now: SystemTime) {
        let mut facts = self.facts();
        facts.opened += 1;
        facts.last_success = Some(now);
    }

    pub fn failed(&self, now: SystemTime, reference: &str, text: String) {
        let mut facts = self.facts();
        facts.failures += 1;
        facts.last_failure = Some((now, reference.to_owned(), text));
    }

    pub fn moved(&self, to_client: u64, from_client: u64) {
        self.octets.fetch_add(to_client.saturating_add(from_client), Ordering::Relaxed);
        self.meter.moved(to_client, from_client);
    }

    fn row(&self) -> RoleRow {
        RoleRow { octets: self.octets.load(Ordering::Relaxed), ..self.facts().clone() }
    }

    fn facts(&self) -> MutexGuard<'_, RoleRow> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
