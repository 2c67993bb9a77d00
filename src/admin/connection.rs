//! Accepts connections and drives HTTP/1.1 on them.
//!
//! Danger: a client that connects and says nothing, sends a head without end or never reads its
//! answer holds memory for ever. Rule: connections are counted ([`Places`]), heads and bodies have sizes, and
//! handshake, head, request and connection each have their time.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::places::Places;
use super::site::Current;
use crate::tls::ServerTls;

/// A request's head: a cookie jar of 8 kB and a browser's own fields fit twice.
const MAX_HEAD: usize = 32 * 1024;

/// Fields in a head; browsers send some twenty.
const MAX_FIELDS: usize = 100;

/// For the TLS handshake.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// For a head, and between two requests of a connection; the page asks again every 5 s.
const HEAD_PATIENCE: Duration = Duration::from_secs(15);

/// A connection ends after its current request then; browsers open another.
const CONNECTION_LIFE: Duration = Duration::from_secs(600);

/// What is being answered may finish within this time.
const FINISH_PATIENCE: Duration = Duration::from_secs(5);

/// A pause when the system gives no more sockets.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// From where.
    pub address: IpAddr,
    /// Over TLS.
    pub tls: bool,
}

/// One listener's needs.
pub(super) struct Server {
    pub listener: TcpListener,
    /// True on loopback: no TLS.
    pub is_plain: bool,
    /// Has the certificate that is shown now.
    pub site: Current,
    pub router: Router,
    /// Shared by all listeners.
    pub places: Places,
}

impl Server {
    /// Accepts until told to stop, then lets the open connections finish.
    pub async fn run(self, stopping: CancellationToken) {
        let connections = TaskTracker::new();
        while let Some((stream, address)) = self.next(&stopping).await {
            let Some(place) = self.places.take(address.ip()) else { continue };
            let tls = (!self.is_plain).then(|| self.site.site().page.tls.clone());
            let (router, stopping) = (self.router.clone(), stopping.clone());
            connections.spawn(async move {
                connection(stream, address, tls, router, stopping).await;
                drop(place);
            });
        }
        connections.close();
        drop(self.listener);
        let _ = timeout(FINISH_PATIENCE * 2, connections.wait()).await;
    }

    async fn next(&self, stopping: &CancellationToken) -> Option<(TcpStream, SocketAddr)> {
        loop {
            let accepted = tokio::select! {
                () = stopping.cancelled() => return None,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok(accepted) => return Some(accepted),
                Err(error) => {
                    tracing::warn!(%error, "the web page can't accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<ServerTls>,
    router: Router,
    stopping: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    // A socket for both families shows 127.0.0.1 as ::ffff:127.0.0.1.
    let peer = Peer { address: address.ip().to_canonical(), tls: tls.is_some() };
    let router = router.layer(Extension(peer));
    let Some(tls) = tls else { return drive(stream, router, stopping).await };
    if let Ok(Ok(stream)) = timeout(HANDSHAKE_PATIENCE, tls.accept(stream)).await {
        drive(stream, router, stopping).await;
    }
}

async fn drive<S>(stream: S, router: Router, stopping: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_headers(MAX_FIELDS)
        .max_buf_size(MAX_HEAD);
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // A client that goes away is no error of ours.
        _ = connection.as_mut() => return,
        () = stopping.cancelled() => {}
        () = sleep(CONNECTION_LIFE) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(FINISH_PATIENCE, connection).await;
}
