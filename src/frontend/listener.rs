//! Accepts connections and starts their sessions.
//!
//! Danger: a listener that ends at the first error stops all mail, and one that takes every
//! connection is stopped by whoever opens enough of them. Rule: an accept loop ends only when the
//! process stops or its address leaves the configuration (`swap`); connections beyond the limits are told so in their protocol's words and closed;
//! at shutdown sessions get their grace and no more.

mod admission;
mod bind;
mod swap;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::conversation::HANDSHAKE_TIMEOUT;
use super::stream::{ClientStream, Peer};
use super::{Context, imap, pop3, smtp};
use crate::config::Listen;
use crate::mail::SessionId;
use admission::{Admission, Admitted, refuse};
pub use bind::ListenError;
use bind::Opened;
use swap::Open;
pub use swap::{Moved, Prepared};

/// First and longest pause after an accept that failed for want of files or memory: sessions that
/// end free some.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Idle clients are asked for a sign of life after this, and so often: routers forget connections
/// sooner than we do, and a client that lost its power never says goodbye.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(60));

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RFC 5321, 6409.
    Smtp,
    /// RFC 3501, 9051.
    Imap,
    /// RFC 1939.
    Pop3,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Smtp => "SMTP",
            Self::Imap => "IMAP",
            Self::Pop3 => "POP3",
        })
    }
}

/// An address that is listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// What is spoken there.
    pub protocol: Protocol,
    /// True when TLS begins with the first byte.
    pub tls: bool,
    /// The address with its real port.
    pub address: SocketAddr,
}

/// Listeners that accept nothing yet.
#[derive(Debug)]
pub struct Listeners {
    opened: Vec<Opened>,
    bound: Vec<Bound>,
}

impl Listeners {
    /// Listens on every address, or reports each one that fails. Call inside a tokio runtime.
    pub fn bind(listen: &Listen) -> Result<Self, ListenError> {
        bind::all(listen)
    }

    /// What is listened on, with real ports.
    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    /// Starts accepting until `stopping`. Each session gets the context that is current when its
    /// client connects.
    pub fn serve(
        self,
        contexts: watch::Receiver<Arc<Context>>,
        stopping: CancellationToken,
    ) -> Sessions {
        let sessions = Sessions {
            tracker: TaskTracker::new(),
            cut: CancellationToken::new(),
            admission: Arc::new(Admission::default()),
            contexts,
            stopping,
            open: Arc::default(),
        };
        let open = self.opened.into_iter().map(|opened| sessions.accept_on(opened)).collect();
        sessions.remember(open);
        sessions
    }
}

/// The sessions that run.
#[derive(Clone)]
pub struct Sessions {
    tracker: TaskTracker,
    /// Ends sessions whose grace is over.
    cut: CancellationToken,
    admission: Arc<Admission>,
    contexts: watch::Receiver<Arc<Context>>,
    stopping: CancellationToken,
    /// Where clients are accepted now.
    open: Arc<Mutex<Vec<Open>>>,
}

impl Sessions {
    fn accept_on(&self, opened: Opened) -> Open {
        let Opened { asked, socket, bound } = opened;
        let open = Open::new(asked, bound);
        let listener = Listener { socket, open: open.clone(), sessions: self.clone() };
        self.tracker.spawn(listener.accept_all());
        open
    }

    fn remember(&self, open: Vec<Open>) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = open;
    }

    /// How many clients are connected.
    pub fn count(&self) -> usize {
        self.admission.count()
    }

    /// Waits for all sessions, at most for `grace`, then ends the rest; returns how many that were.
    /// Call after `stopping` was cancelled: until then clients are still accepted.
    pub async fn finish(self, grace: Duration) -> usize {
        self.tracker.close();
        if timeout(grace, self.tracker.wait()).await.is_ok() {
            return 0;
        }
        let rest = self.count();
        self.cut.cancel();
        self.tracker.wait().await;
        rest
    }
}

/// One accept loop.
struct Listener {
    socket: TcpListener,
    open: Open,
    sessions: Sessions,
}

impl Listener {
    async fn accept_all(self) {
        let mut pause = BACKOFF.0;
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.sessions.stopping.cancelled() => return,
                () = self.sessions.cut.cancelled() => return,
                () = self.open.closed() => return self.accept_last(),
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => {
                    pause = BACKOFF.0;
                    self.start(stream, address);
                }
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    let address = self.open.bound().address;
                    tracing::warn!(%address, "accept failed: {error}");
                    sleep(pause).await;
                    pause = (pause * 2).min(BACKOFF.1);
                }
            }
        }
    }

    /// Who was connecting when the address left the configuration is served: the system has told
    /// them already that somebody is here.
    fn accept_last(&self) {
        while let Some(Ok((stream, address))) = self.socket.accept().now_or_never() {
            self.start(stream, address);
        }
    }

    fn start(&self, stream: TcpStream, address: SocketAddr) {
        let context = Arc::clone(&self.sessions.contexts.borrow());
        let bound = self.open.bound();
        let admitted = match Admission::admit(&self.sessions.admission, address, &context.limits) {
            Ok(admitted) => admitted,
            Err(full) => {
                tracing::warn!(client = %address, protocol = %bound.protocol, "refused: {full}");
                return refuse(stream, bound);
            }
        };
        let Ok(local) = stream.local_addr() else { return };
        let peer = Peer { address, local, session: SessionId::random() };
        let span = tracing::info_span!(
            "session",
            id = %peer.session,
            protocol = %bound.protocol,
            client = %address
        );
        let session = run(context, bound, peer, stream);
        let session = until_cut(self.sessions.cut.clone(), admitted, session);
        self.sessions.tracker.spawn(session.instrument(span));
    }
}

/// True for errors of a connection that was gone before we got to it.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

async fn until_cut(cut: CancellationToken, admitted: Admitted, session: impl Future<Output = ()>) {
    tokio::select! {
        () = session => {}
        () = cut.cancelled() => tracing::info!("session cut off: the proxy is stopping"),
    }
    drop(admitted);
}

async fn run(context: Arc<Context>, bound: Bound, peer: Peer, stream: TcpStream) {
    tune(&stream);
    let stream = ClientStream::Plain(stream);
    let stream = match bound.tls {
        false => stream,
        true => match handshake(&context, stream).await {
            Some(stream) => stream,
            None => return,
        },
    };
    // Boxed: SMTP's state must not be paid for by a thousand idle IMAP relays.
    match bound.protocol {
        Protocol::Smtp => Box::pin(smtp::serve(context, peer, stream)).await,
        Protocol::Imap => imap::serve(context, peer, stream).await,
        Protocol::Pop3 => pop3::serve(context, peer, stream).await,
    }
}

/// Boxed for the same reason. A client in the middle of it is owed nothing when the process stops.
async fn handshake(context: &Context, stream: ClientStream) -> Option<ClientStream> {
    let shaken = timeout(HANDSHAKE_TIMEOUT, Box::pin(stream.start_tls(&context.tls)));
    match context.stopping.run_until_cancelled(shaken).await? {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::info!("TLS handshake failed: {error}");
            None
        }
        Err(_) => {
            tracing::info!("TLS handshake took too long");
            None
        }
    }
}

/// Answers go out at once (Nagle's algorithm and delayed acknowledgement cost 40 ms a message), and
/// a client that vanished is noticed. Neither is worth refusing a connection for.
fn tune(stream: &TcpStream) {
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE.0).with_interval(KEEP_ALIVE.1);
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keep_alive);
}

#[cfg(test)]
mod tests;
