//! Sessions of IMAP clients.

use std::sync::Arc;

use super::Context;
use super::stream::{ClientStream, Peer};

/// Talks to one client until it is gone.
pub async fn serve(context: Arc<Context>, peer: Peer, stream: ClientStream) {
    let _ = (context, peer, stream);
}
