//! What happens: live sessions, clients seen, what each role does, and a short history of it.
//!
//! Danger: a table that a stranger can fill with invented logins is a leak with a nice name, and a
//! lock in the path of every message is a bottleneck. Rule: every table has a limit and forgets the
//! oldest, texts from outside are cut and cleaned, and an entry costs one short lock or an atomic.
//! No password, token or message content is ever noted here.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Points of the history.
pub const HISTORY_POINTS: usize = 120;
/// Time that a point stands for.
pub const HISTORY_STEP: Duration = Duration::from_secs(30);

/// Notes what happens; one for the whole process, shared by all sessions.
#[derive(Debug, Default)]
pub struct Activity {}

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
pub struct LiveSession {}

impl Activity {
    /// Nothing has happened yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A client has connected.
    pub fn open(self: &Arc<Self>, _opening: Opening) -> LiveSession {
        LiveSession {}
    }

    /// All of it, for the web page and the metrics.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::default()
    }
}

impl LiveSession {
    /// TLS has begun (STARTTLS, STLS).
    pub fn secured(&self) {}

    /// The client has said which program it is (IMAP ID, `User-Agent` or `X-Mailer` of a message,
    /// EHLO's name when nothing better is known).
    pub fn named(&self, _program: &str) {}

    /// The client is in.
    pub fn logged_in(&self, _login: &str, _role: &str, _mechanism: &'static str) {}

    /// The client is not let in. `known`: the login is configured.
    pub fn refused(&self, _login: &str, _mechanism: &'static str, _known: bool) {}

    /// The upstream has let a role down: told with its reference, and what the log says.
    pub fn failed(&self, _role: &str, _reference: &str, _text: &str) {}

    /// A message was taken by the upstream, so long after its last octet had arrived.
    pub fn sent(&self, _role: &str, _octets: u64, _took: Duration) {}

    /// A mailbox was opened, which took so long.
    pub fn opened(&self, _role: &str, _took: Duration) {}

    /// Octets of a mailbox that went to the client and from it.
    pub fn moved(&self, _to_client: u64, _from_client: u64) {}
}

/// State of everything at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Open sessions, oldest first.
    pub sessions: Vec<SessionRow>,
    /// Who has been seen, last seen first.
    pub clients: Vec<ClientRow>,
    /// Each role that something has happened to, by name.
    pub roles: Vec<RoleRow>,
    /// Oldest first; the last one is still growing.
    pub history: Vec<Point>,
}

/// An open session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// Its id in logs and references.
    pub id: String,
    /// `SMTP`, `IMAP` or `POP3`.
    pub protocol: &'static str,
    /// With TLS.
    pub tls: bool,
    /// The client.
    pub address: SocketAddr,
    /// Once it is in.
    pub login: Option<String>,
    /// Once it is in.
    pub role: Option<String>,
    /// Which program it says it is.
    pub program: Option<String>,
    /// Since when.
    pub since: SystemTime,
    /// Messages sent.
    pub messages: u64,
    /// Octets to the client.
    pub to_client: u64,
    /// Octets from the client.
    pub from_client: u64,
}

/// A kind of client: the inventory of a migration. One for each login, address, protocol, mechanism
/// and TLS or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRow {
    /// As the client sent it, shortened.
    pub login: String,
    /// False: no such login is configured.
    pub known: bool,
    /// From where.
    pub address: IpAddr,
    /// `SMTP`, `IMAP` or `POP3`.
    pub protocol: &'static str,
    /// `PLAIN`, `LOGIN`, `USER`, `none` …
    pub mechanism: &'static str,
    /// With TLS.
    pub tls: bool,
    /// Which program it said it was, last.
    pub program: Option<String>,
    /// Times it was let in.
    pub logins: u64,
    /// Times it was not.
    pub refusals: u64,
    /// Messages it has sent.
    pub messages: u64,
    /// First seen.
    pub first_seen: SystemTime,
    /// Last seen.
    pub last_seen: SystemTime,
}

/// How a role fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleRow {
    /// Its name.
    pub role: String,
    /// Last message taken or mailbox opened.
    pub last_success: Option<SystemTime>,
    /// When it last failed, the reference, and what the log says.
    pub last_failure: Option<(SystemTime, String, String)>,
    /// Messages sent.
    pub sent: u64,
    /// Mailboxes opened.
    pub opened: u64,
    /// Failures.
    pub failures: u64,
    /// Octets of messages and mailboxes.
    pub octets: u64,
}

/// One step of the history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// Messages sent.
    pub sent: u32,
    /// Mailboxes opened.
    pub opened: u32,
    /// Failures.
    pub failures: u32,
    /// Octets, all directions.
    pub octets: u64,
    /// Median time of the upstream to take a message or open a mailbox.
    pub median: Option<Duration>,
    /// Its 95th percentile.
    pub slow: Option<Duration>,
}
