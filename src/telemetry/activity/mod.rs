//! What happens: live sessions, clients seen, what each role does, and a short history of it.
//!
//! Danger: a table that a stranger can fill with invented logins is a leak with a nice name, and a
//! lock in the path of every message is a bottleneck. Rule: every table has a limit and forgets the
//! oldest, texts from outside are cut and cleaned, and an entry costs one short lock or an atomic.
//! No password, token or message content is ever noted here.
//!
//! `session` is what is known of a connection, `clients` the inventory, `folders` those that leave
//! files, `roles` and `history` what became of it, `keeping` what survives a restart, `rows` what
//! others see.

mod clients;
mod folders;
mod history;
mod keeping;
mod roles;
mod rows;
mod session;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

pub use self::folders::PICKUP;
pub use self::rows::{ClientRow, Point, RoleRow, SessionRow, Snapshot};

use self::clients::{Inventory, Seen};
use self::history::History;
use self::roles::Roles;
use self::session::{Program, Session};
use crate::telemetry::metrics::{self, LoginResult};

/// Points of the history.
pub const HISTORY_POINTS: usize = 120;
/// Time that a point stands for.
pub const HISTORY_STEP: Duration = Duration::from_secs(30);

/// Tables of live sessions: clients that come and go at the same time rarely meet at one.
const SHARDS: usize = 16;
/// Characters of a login or program name that are kept: longer ones are nonsense or an attack.
const MAX_NAME: usize = 80;
/// Characters of a failure's text: a cause chain with a provider's own words has a few hundred.
const MAX_TEXT: usize = 600;

/// Notes what happens; one for the whole process, shared by all sessions.
#[derive(Debug)]
pub struct Activity {
    started: Instant,
    /// Numbers sessions in the order in which they came.
    next: AtomicU64,
    sessions: [Mutex<BTreeMap<u64, Arc<Session>>>; SHARDS],
    clients: Mutex<Inventory>,
    /// Grows with every change of the inventory.
    changes: AtomicU64,
    roles: Roles,
    history: History,
}

/// A client that has connected.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The session's id in logs and references.
    pub id: String,
    /// `SMTP`, `IMAP` or `POP3`.
    pub protocol: &'static str,
    /// True when TLS began with the first byte.
    pub tls: bool,
    /// The client.
    pub address: SocketAddr,
}

/// One session; its end is noted when this is dropped.
#[derive(Debug)]
pub struct LiveSession {
    activity: Arc<Activity>,
    session: Arc<Session>,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            next: AtomicU64::new(0),
            sessions: Default::default(),
            clients: Mutex::default(),
            changes: AtomicU64::new(0),
            roles: Roles::default(),
            history: History::default(),
        }
    }
}

impl Activity {
    /// Nothing has happened yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A client has connected.
    pub fn open(self: &Arc<Self>, opening: Opening) -> LiveSession {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        metrics::session_opened(opening.protocol);
        let session = Arc::new(Session::new(number, opening, SystemTime::now()));
        self.shard(number).insert(number, Arc::clone(&session));
        LiveSession { activity: Arc::clone(self), session }
    }

    /// All of it, for the web page and the metrics.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            sessions: self.session_rows(),
            clients: self.clients().rows(),
            roles: self.roles.rows(),
            history: self.history.points(self.step()),
        }
    }

    /// Oldest first.
    fn session_rows(&self) -> Vec<SessionRow> {
        let mut all = Vec::new();
        for number in 0..SHARDS as u64 {
            all.extend(self.shard(number).values().cloned());
        }
        all.sort_by_key(|session| session.number);
        all.iter().map(|session| session.row()).collect()
    }

    fn shard(&self, number: u64) -> MutexGuard<'_, BTreeMap<u64, Arc<Session>>> {
        let shard = &self.sessions[(number % SHARDS as u64) as usize];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clients(&self) -> MutexGuard<'_, Inventory> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The history's step now.
    fn step(&self) -> u64 {
        history::step(self.started.elapsed())
    }

    fn note_change(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }
}

impl Activity {
    /// A message that had waited was taken by the upstream. Its octets were counted when it came.
    pub fn sent_later(&self, role: &str, took: Duration) {
        metrics::spool_sent(role, took);
        self.history.sent(self.step(), 0, took);
        self.roles.role(role).sent_later(SystemTime::now());
    }

    /// The upstream has not taken a message that waits or has to.
    pub fn failed_later(&self, role: &str, reference: &str, text: &str) {
        self.history.failed(self.step());
        let text = cleaned(text, MAX_TEXT);
        self.roles.role(role).failed(SystemTime::now(), reference, text);
    }
}

impl LiveSession {
    /// TLS has begun (STARTTLS, STLS).
    pub fn secured(&self) {
        self.session.secured();
    }

    /// The client has said which program it is (IMAP ID, `User-Agent` or `X-Mailer` of a message,
    /// EHLO's name when nothing better is known).
    pub fn named(&self, program: &str) {
        self.note_program(program, true);
    }

    /// EHLO's name: stands until the client has said something better.
    pub fn greeted(&self, name: &str) {
        self.note_program(name, false);
    }

    /// True once the client has said which program it is.
    pub fn is_named(&self) -> bool {
        self.session.told().program.as_ref().is_some_and(|program| program.certain)
    }

    fn note_program(&self, name: &str, certain: bool) {
        let name = cleaned(name, MAX_NAME);
        if name.is_empty() {
            return;
        }
        let program = Program { name: name.into(), certain };
        let mut told = self.session.told();
        if !program.replaces(told.program.as_ref()) {
            return;
        }
        if let Some(client) = &told.client {
            client.named(&program);
            self.activity.note_change();
        }
        told.program = Some(program);
    }

    /// The client is in.
    pub fn logged_in(&self, login: &str, role: &str, mechanism: &'static str) {
        metrics::login(self.session.opening.protocol, LoginResult::Ok);
        self.enter(login, role, mechanism);
    }

    /// The client needs no login: its network is trusted. Asked before each message, noted once.
    pub fn trusted(&self, role: &str) {
        if self.session.told().role.is_none() {
            self.enter("", role, "none");
        }
    }

    fn enter(&self, login: &str, role: &str, mechanism: &'static str) {
        let client = self.see(login, mechanism, Seen::LetIn);
        let role = self.activity.roles.role(role);
        let mut told = self.session.told();
        told.login = Some(cleaned(login, MAX_NAME)).filter(|login| !login.is_empty());
        told.role = Some(role);
        told.client = Some(client);
    }

    /// The client is not let in. `known`: the login is configured.
    pub fn refused(&self, login: &str, mechanism: &'static str, known: bool) {
        metrics::login(self.session.opening.protocol, LoginResult::Refused);
        self.see(login, mechanism, Seen::Refused { known });
    }

    /// The password is right, and the client is not let in all the same: the service has failed.
    pub fn turned_away(&self, login: &str, mechanism: &'static str) {
        metrics::login(self.session.opening.protocol, LoginResult::Failed);
        self.see(login, mechanism, Seen::Refused { known: true });
    }

    /// Too many logins are being checked: nothing is known about this one.
    pub fn put_off(&self) {
        metrics::login(self.session.opening.protocol, LoginResult::Failed);
    }

    fn see(&self, login: &str, mechanism: &'static str, seen: Seen) -> Arc<clients::Client> {
        let login = cleaned(login, MAX_NAME);
        let kind = self.session.kind(&login, mechanism);
        let program = self.session.told().program.clone();
        let now = SystemTime::now();
        let client = self.activity.clients().note(kind, &login, seen, program.as_ref(), now);
        self.activity.note_change();
        client
    }

    /// The upstream has let a role down: told with its reference, and what the log says.
    pub fn failed(&self, role: &str, reference: &str, text: &str) {
        self.activity.history.failed(self.activity.step());
        let text = cleaned(text, MAX_TEXT);
        self.activity.roles.role(role).failed(SystemTime::now(), reference, text);
    }

    /// A message was taken by the upstream, so long after its last octet had arrived.
    pub fn sent(&self, role: &str, octets: u64, took: Duration) {
        let now = SystemTime::now();
        metrics::message_sent(role, took);
        self.session.sent(octets);
        self.activity.roles.role(role).sent(octets, now);
        self.activity.history.sent(self.activity.step(), octets, took);
        if let Some(client) = &self.session.told().client {
            client.sent(now);
            self.activity.note_change();
        }
    }

    /// A message was written down; it is counted as sent when the upstream takes it.
    pub fn queued(&self, role: &str, octets: u64) {
        self.session.sent(octets);
        self.activity.roles.role(role).moved(0, octets);
        self.activity.history.moved(self.activity.step(), octets);
        if let Some(client) = &self.session.told().client {
            client.sent(SystemTime::now());
            self.activity.note_change();
        }
    }

    /// A mailbox was opened, which took so long.
    pub fn opened(&self, role: &str, took: Duration) {
        metrics::mailbox_opened(role, took);
        self.activity.roles.role(role).opened(SystemTime::now());
        self.activity.history.opened(self.activity.step(), took);
    }

    /// Octets of a mailbox that went to the client and from it.
    pub fn moved(&self, to_client: u64, from_client: u64) {
        self.session.moved(to_client, from_client);
        if let Some(role) = &self.session.told().role {
            role.moved(to_client, from_client);
        }
        let octets = to_client.saturating_add(from_client);
        self.activity.history.moved(self.activity.step(), octets);
    }
}

impl Drop for LiveSession {
    fn drop(&mut self) {
        self.activity.shard(self.session.number).remove(&self.session.number);
        metrics::session_closed(self.session.opening.protocol, self.session.is_secured());
    }
}

/// At most `limit` characters, without those that move a terminal's or a page's text about.
fn cleaned(text: &str, limit: usize) -> String {
    let visible = text.chars().map(|c| if is_control(c) { ' ' } else { c });
    visible.take(limit).collect::<String>().trim().to_owned()
}

/// Controls, and Unicode's marks that turn the direction of writing (UAX #9).
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}' | '\u{2029}')
        || ('\u{202A}'..='\u{202E}').contains(&c)
        || ('\u{2066}'..='\u{2069}').contains(&c)
}
