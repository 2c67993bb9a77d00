//! A client's connection, before and after TLS.
//!
//! Danger: what a client sent before STARTTLS must not be read as if it came after it (command
//! injection, CVE-2011-0411). Rule: [`ClientStream::start_tls`] takes the bare socket; sessions
//! drop their read buffer when they call it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::mail::SessionId;
use crate::telemetry::activity::Opening;
use crate::tls::ServerTls;

/// Who is connected, and how.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The client's address.
    pub address: SocketAddr,
    /// Our own address on this connection.
    pub local: SocketAddr,
    /// Names the session in logs and replies.
    pub session: SessionId,
}

impl Peer {
    /// True when passwords may cross this connection without TLS: it does not leave the machine.
    pub fn is_loopback(&self) -> bool {
        self.address.ip().to_canonical().is_loopback()
            && self.local.ip().to_canonical().is_loopback()
    }

    /// What is noted of the session that begins.
    pub fn opening(&self, protocol: &'static str, stream: &ClientStream) -> Opening {
        let (id, tls) = (self.session.to_string(), stream.is_tls());
        Opening { id, protocol, tls, address: self.address }
    }
}

/// Who can read a connection, which decides whether passwords may cross it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privacy {
    /// Without TLS, within this machine.
    Local,
    /// Without TLS, over a network: no login before STARTTLS.
    Exposed,
    /// With TLS.
    Encrypted,
}

impl Privacy {
    /// That of a connection.
    pub fn of(peer: &Peer, stream: &ClientStream) -> Self {
        match stream {
            stream if stream.is_tls() => Self::Encrypted,
            _ if peer.is_loopback() => Self::Local,
            _ => Self::Exposed,
        }
    }

    /// True when a password may be sent.
    pub fn allows_login(self) -> bool {
        self != Self::Exposed
    }

    /// True when TLS can still be started.
    pub fn offers_tls(self) -> bool {
        self != Self::Encrypted
    }
}

/// A client's connection.
pub enum ClientStream {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS.
    Tls(Box<TlsStream<TcpStream>>),
    /// In memory, for `crate::fuzzing`. It counts as plain and has no TLS.
    #[cfg(any(test, fuzzing))]
    Memory(Box<dyn crate::mail::Duplex + Sync>),
}

impl ClientStream {
    /// True with TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Does the TLS handshake, as the server. Fails when TLS is there already.
    pub async fn start_tls(self, tls: &ServerTls) -> io::Result<Self> {
        match self {
            Self::Plain(stream) => Ok(Self::Tls(Box::new(tls.accept(stream).await?))),
            Self::Tls(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "TLS is active")),
            #[cfg(any(test, fuzzing))]
            Self::Memory(_) => Err(io::Error::other("no TLS in memory")),
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            #[cfg(any(test, fuzzing))]
            Self::Memory(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            #[cfg(any(test, fuzzing))]
            Self::Memory(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            #[cfg(any(test, fuzzing))]
            Self::Memory(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(any(test, fuzzing))]
            Self::Memory(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
