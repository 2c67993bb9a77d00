//! The inventory: every kind of client that was seen.
//!
//! Danger: whoever guesses passwords invents logins, and comes from many addresses; a table that is
//! filled with those has lost the clients that a migration is about. Rule: who was let in once is in
//! a table of its own, which strangers can't push anybody out of; each table has a limit, and a
//! full one forgets those that were seen longest ago.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::ClientRow;
use super::session::Program;

/// Rows of clients that were let in: more than any site has applications.
pub(super) const MAX_KNOWN: usize = 10_000;
/// Rows of clients that never were.
pub(super) const MAX_STRANGERS: usize = 1_000;
/// A full table forgets this part of its rows at once, so that looking for the oldest costs each
/// new row next to nothing.
const FORGOTTEN_PART: usize = 16;

/// What makes two clients the same kind. The login is in lower case: logins compare without case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    pub login: String,
    pub address: IpAddr,
    pub protocol: &'static str,
    pub mechanism: &'static str,
    pub tls: bool,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    LetIn,
    Refused {
        /// The login is configured.
        known: bool,
    },
}

/// One row.
#[derive(Debug)]
pub(super) struct Client {
    kind: Kind,
    facts: Mutex<Facts>,
}

/// What is counted.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub login: String,
    pub known: bool,
    pub program: Option<Program>,
    pub logins: u64,
    pub refusals: u64,
    pub messages: u64,
    pub first_seen: SystemTime,
    pub last_seen: SystemTime,
}

impl Client {
    pub fn named(&self, program: &Program) {
        let mut facts = self.facts();
        if program.replaces(facts.program.as_ref()) {
            facts.program = Some(program.clone());
        }
    }

    pub fn sent(&self, now: SystemTime) {
        let mut facts = self.facts();
        facts.messages += 1;
        facts.last_seen = facts.last_seen.max(now);
    }

    pub fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    fn row(&self) -> ClientRow {
        let Facts { login, known, program, logins, refusals, messages, first_seen, last_seen } =
            self.facts().clone();
        let Kind { address, protocol, mechanism, tls, .. } = self.kind;
        let program = program.map(|program| program.name.as_ref().to_owned());
        ClientRow {
            login,
            known,
            address,
            protocol,
            mechanism,
            tls,
            program,
            logins,
            refusals,
            messages,
            first_seen,
            last_seen,
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    known: HashMap<Kind, Arc<Client>>,
    strangers: HashMap<Kind, Arc<Client>>,
}

impl Inventory {
    /// A client of this kind has tried to come in.
    pub fn note(
        &mut self,
        kind: Kind,
        login: &str,
        seen: Seen,
        program: Option<&Program>,
        now: SystemTime,
    ) -> Arc<Client> {
        let client = self.place(kind, seen == Seen::LetIn, || Facts::new(login, now));
        let mut facts = client.facts();
        match seen {
            Seen::LetIn => {
                facts.known = true;
                facts.logins += 1;
            }
            Seen::Refused { known } => {
                facts.known = known;
                facts.refusals += 1;
            }
        }
        facts.last_seen = facts.last_seen.max(now);
        if let Some(program) = program
            && program.replaces(facts.program.as_ref())
        {
            facts.program = Some(program.clone());
        }
        drop(facts);
        client
    }

    /// A row from before a restart, unless the client has been seen since.
    pub fn restore(&mut self, kind: Kind, facts: Facts) {
        let was_let_in = facts.logins > 0;
        self.place(kind, was_let_in, || facts);
    }

    /// All rows, last seen first.
    pub fn rows(&self) -> Vec<ClientRow> {
        let mut rows: Vec<ClientRow> = self.all().map(|client| client.row()).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.last_seen));
        rows
    }

    /// All rows, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Client>> {
        self.known.values().chain(self.strangers.values())
    }

    /// The row of this kind, in the table where it belongs.
    fn place(
        &mut self,
        kind: Kind,
        was_let_in: bool,
        facts: impl FnOnce() -> Facts,
    ) -> Arc<Client> {
        if let Some(client) = self.known.get(&kind) {
            return Arc::clone(client);
        }
        let found = match was_let_in {
            true => self.strangers.remove(&kind),
            false => self.strangers.get(&kind).cloned(),
        };
        let client = found
            .unwrap_or_else(|| Arc::new(Client { kind: kind.clone(), facts: Mutex::new(facts()) }));
        let (table, limit) = match was_let_in {
            true => (&mut self.known, MAX_KNOWN),
            false => (&mut self.strangers, MAX_STRANGERS),
        };
        if table.len() >= limit && !table.contains_key(&kind) {
            forget_oldest(table, limit);
        }
        table.insert(kind, Arc::clone(&client));
        client
    }
}

impl Facts {
    fn new(login: &str, now: SystemTime) -> Self {
        Self {
            login: login.to_owned(),
            known: false,
            program: None,
            logins: 0,
            refusals: 0,
            messages: 0,
            first_seen: now,
            last_seen: now,
        }
    }
}

fn forget_oldest(table: &mut HashMap<Kind, Arc<Client>>, limit: usize) {
    let mut seen: Vec<SystemTime> = table.values().map(|client| client.facts().last_seen).collect();
    let mut left = (limit / FORGOTTEN_PART).clamp(1, seen.len());
    let (_, &mut youngest, _) = seen.select_nth_unstable(left - 1);
    table.retain(|_, client| {
        let goes = left > 0 && client.facts().last_seen <= youngest;
        left -= usize::from(goes);
        !goes
    });
}
