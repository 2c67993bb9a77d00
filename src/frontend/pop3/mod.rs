//! Sessions of POP3 clients.
//!
//! Danger: as with IMAP, what is pipelined behind PASS belongs to the service, and what was sent
//! before STLS to nobody. Rule: `session` runs until a client has logged in and returns what is
//! left; then the relay has the connection for itself, or `maildrop` serves the client where the
//! service speaks another protocol.

mod maildrop;
mod reply;
mod session;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::session::After;
use super::Context;
use super::stream::{ClientStream, Peer};

/// Talks to one client until it is gone.
pub async fn serve(context: Arc<Context>, peer: Peer, stream: ClientStream) {
    let (idle_timeout, stopping) = (context.limits.idle_timeout, context.stopping.clone());
    let live = Arc::new(context.activity.open(peer.opening("POP3", &stream)));
    // Boxed, so that nothing of it is left while the relay runs.
    match Box::pin(session::until_login(context, peer, stream, live)).await {
        Some(After::Relay(handover)) => handover.run(idle_timeout, &stopping).await,
        Some(After::Maildrop(session)) => session.run().await,
        None => {}
    }
}
