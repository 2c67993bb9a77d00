//! Sessions of SMTP clients (RFC 5321, RFC 6409).
//!
//! Danger: 250 after the final dot is a promise, and old programs believe every word. Rule: it is
//! said only after the role's [`crate::mail::Submission`] has taken the message; a client that
//! vanishes before the end of its message has sent nothing; a command is run only in a state whose
//! table allows it.
//!
//! `session` reads and dispatches commands; `auth`, `transaction` and `deliver` carry them out;
//! `state` is the table; `connection` the socket; `refusal` the one way from failures to replies.

mod auth;
mod connection;
mod deliver;
mod hello;
mod program;
pub(super) mod receive;
mod refusal;
mod session;
mod state;
mod transaction;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::Context;
use super::stream::{ClientStream, Peer};

/// Talks to one client until it is gone.
pub async fn serve(context: Arc<Context>, peer: Peer, stream: ClientStream) {
    let live = Arc::new(context.activity.open(peer.opening("SMTP", &stream)));
    session::Session::new(context, peer, stream, live).run().await;
}
