//! The mail listeners: Gmail's SMTP, IMAP and POP3, which also serve classic password mailboxes, and
//! Exchange Online's.
//!
//! Danger: a login that works here and not at Google would be found in production. Rule: a Google
//! mailbox takes XOAUTH2 alone, a refused token costs the full failure exchange (challenge, empty
//! line, refusal), and where TLS is required nothing but the upgrade works before it.

mod imap;
mod login;
mod pop3;
mod smtp;
mod wire;

use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use self::wire::Wire;
use super::faults::{Place, What};
use super::store::Cloud;
use super::web;

/// When TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    /// With the first byte.
    Implicit,
    /// By command, before anything else.
    Required,
    /// Not at all.
    Never,
}

/// Whose service a listener is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum House {
    /// Google's tokens, and passwords of classic mailboxes.
    Gmail,
    /// Entra's tokens alone; a refusal comes at once, without a challenge.
    Exchange,
}

/// How a listener behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub tls: Tls,
    /// SMTP without a login.
    pub anonymous: bool,
    pub house: House,
}

/// One listener.
#[derive(Clone)]
pub(super) struct Door {
    pub cloud: Arc<Cloud>,
    pub place: Place,
    pub manner: Manner,
    pub acceptor: TlsAcceptor,
}

impl Door {
    /// Takes the next fault that fits.
    fn fault(&self, fits: impl Fn(&What) -> bool) -> Option<What> {
        self.cloud.state().faults.take(self.place, fits)
    }

    /// Takes a fault that cuts the connection at this verb.
    fn cuts_at(&self, verb: &str) -> bool {
        self.fault(|what| matches!(what, What::DisconnectAt(at) if *at == verb)).is_some()
    }

    fn is_exchange(&self) -> bool {
        self.manner.house == House::Exchange
    }

    /// Takes a reply that a test wrote for this verb.
    fn scripted(&self, verb: &str) -> Option<&'static str> {
        match self.fault(|what| matches!(what, What::Reply(at, _) if *at == verb))? {
            What::Reply(_, text) => Some(text),
            _ => None,
        }
    }

    /// The status with which a right login is refused all the same.
    fn refuses_login(&self) -> Option<&'static str> {
        match self.fault(|what| matches!(what, What::RefuseLogin | What::RefuseToken(_)))? {
            What::RefuseToken(status) => Some(status),
            _ => Some("401"),
        }
    }
}

/// Accepts connections until told to stop.
pub(super) async fn serve(listener: TcpListener, door: Door, stop: CancellationToken) {
    while let Some(stream) = web::accept(&listener, &stop).await {
        let (door, stop) = (door.clone(), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = connection(stream, door) => {}
            }
        });
    }
}

async fn connection(stream: TcpStream, door: Door) {
    door.cloud.state().count(door.place);
    let mut wire = Wire::new(stream);
    if door.manner.tls == Tls::Implicit && wire.start_tls(&door.acceptor).await.is_err() {
        return;
    }
    if door.cuts_at("CONNECT") {
        return wire.reset();
    }
    if door.fault(|what| *what == What::Stall).is_some() {
        std::future::pending::<()>().await;
    }
    // A client that goes away is no error of ours.
    let _ = match door.place {
        Place::Smtp => smtp::session(wire, door).await,
        Place::Imap => imap::session(wire, door).await,
        _ => pop3::session(wire, door).await,
    };
}
