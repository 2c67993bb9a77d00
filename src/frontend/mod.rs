//! What clients talk to: listeners, logins, one session per connection.
//!
//! Danger: a client is a stranger until it has logged in, and often an old program afterwards; it
//! may be slow, hostile or gone. Rule: everything a session may use (time, memory, octets) has a
//! limit in [`Context`]; a session knows providers only as the traits of [`crate::mail`].

pub mod attempts;
pub mod connected;
pub mod conversation;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub mod handover;
pub mod imap;
pub mod listener;
pub mod login;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, allow(dead_code, reason = "the sessions' tests use all of it"))]
mod memory;
#[cfg(test)]
mod noted;
mod outgoing;
pub mod pickup;
pub mod pop3;
#[cfg(test)]
mod rehearsal;
pub mod relay;
pub mod sasl;
pub mod smtp;
pub mod stream;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::config::{Anonymous, Limits};
use crate::mail::{MemoryBudget, Roles};
use crate::telemetry::activity::Activity;
use crate::tls::ServerTls;

/// What a session may use. One per configuration: a reload makes a new one for new sessions.
pub struct Context {
    /// Checks logins; survives reloads so that lock-outs do.
    pub logins: Arc<login::Logins>,
    /// The roles that are on.
    pub roles: Roles,
    /// Networks that may send without a login.
    pub anonymous: Option<Anonymous>,
    /// Limits on size, number and time.
    pub limits: Limits,
    /// The listeners' certificate.
    pub tls: ServerTls,
    /// Memory for messages in flight.
    pub messages: MemoryBudget,
    /// What greetings call this host.
    pub host_name: String,
    /// Notes who comes and what becomes of it.
    pub activity: Arc<Activity>,
    /// Cancelled when the process is to stop: a session ends as soon as it owes the client nothing.
    pub stopping: CancellationToken,
}
