//! What the web page and the metrics see of the activity: plain rows.
//!
//! Danger: a row that leads back into the tables holds their locks while a page is drawn. Rule: rows
//! are copies of one moment, and texts in them have been cut and cleaned; they are still a
//! stranger's words, to be escaped wherever they are shown.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

/// State of everything at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Open sessions, oldest first.
    pub sessions: Vec<SessionRow>,
    /// Who has been seen, last seen first.
    pub clients: Vec<ClientRow>,
    /// Each role that something has happened to, by name.
    pub roles: Vec<RoleRow>,
    /// [`super::HISTORY_POINTS`] of them, oldest first; the last one is still growing.
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
    /// Once it is in; none for one of an anonymous network.
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
    /// As the client sent it, shortened; empty for one of an anonymous network, or where the client
    /// sent none.
    pub login: String,
    /// False: no such login is configured.
    pub known: bool,
    /// From where.
    pub address: IpAddr,
    /// `SMTP`, `IMAP`, `POP3`, or [`super::PICKUP`] for a folder.
    pub protocol: &'static str,
    /// `PLAIN`, `LOGIN`, `USER`, `none`, `folder`.
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
