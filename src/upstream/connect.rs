//! Reaching a service: name, TCP, TLS, and the lines of a dialogue.
//!
//! Danger: whoever sits on the path can strip STARTTLS from what the service offers, or slip lines
//! in before TLS that are read as if they came after it (CVE-2021-33515 and its kin). Rule: with
//! [`Security::StartTls`] there is TLS or nothing, and a byte that arrived before the handshake ends
//! the connection. Lines are bounded; every wait has a limit; a failure says which host, what
//! happened, and which key mends it.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rustls::CertificateError;
use rustls_pki_types::CertificateDer;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;

use crate::config::{Host, MailServer, Security};
use crate::mail::{self, Duplex, Kind};
use crate::oauth;
use crate::tls::ClientTls;

/// One address that does not answer. Services answer within a second; ten allow lost packets.
const CONNECT_EACH: Duration = Duration::from_secs(10);

/// All addresses of a name together.
const CONNECT_TOTAL: Duration = Duration::from_secs(30);

/// Head start of each address before the next is tried beside it (RFC 8305 section 5).
const CONNECT_STAGGER: Duration = Duration::from_millis(250);

/// A handshake needs two round trips.
const TLS_HANDSHAKE: Duration = Duration::from_secs(30);

/// Idle time before TCP asks whether the peer is there; routers forget connections after minutes.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Pieces that one system call takes together.
const PIECES_AT_ONCE: usize = 8;

/// Room asked for at each read, in octets: a dialogue's lines are short.
const READ_SIZE: usize = 2048;

/// Where a role's service is and how it is reached.
#[derive(Clone, Debug)]
pub struct Service {
    /// The role's name, for messages.
    pub role: String,
    /// Host and port.
    pub host: Host,
    /// TLS.
    pub security: Security,
    /// Whom we trust.
    pub tls: ClientTls,
}

/// Why a dialogue with a service came to an end. None of the texts holds what we sent.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// DNS.
    #[error("the name cannot be resolved ({0}); check the role's Server key, and DNS")]
    Resolve(io::Error),
    /// Nobody listens.
    #[error("refuses connections; check host and port in the role's Server key")]
    Refused,
    /// No answer to SYN.
    #[error("does not answer; check the port in the role's Server key, and firewalls on the way")]
    Unreachable,
    /// Another failure of connect().
    #[error("cannot be reached ({0})")]
    Connect(io::Error),
    /// The certificate is not valid for us.
    #[error("{0}")]
    Certificate(String),
    /// Plain text instead of a TLS handshake.
    #[error(
        "answered the TLS handshake in plain text: the port does not begin with TLS; set TlsMode = \
         StartTls, or correct the port in the role's Server key"
    )]
    NotTls,
    /// Another failure of the handshake.
    #[error("the TLS handshake failed ({0}); check UseSsl, TlsMode and the port")]
    Tls(io::Error),
    /// The peer closed.
    #[error("closed the connection")]
    Closed,
    /// The peer was silent.
    #[error("did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// Reading or writing failed.
    #[error("the connection broke ({0})")]
    Broken(#[from] io::Error),
    /// Not the protocol that was expected.
    #[error("sent {0}; check that host and port in the role's Server key are the right service")]
    Malformed(String),
    /// STARTTLS or STLS is required and not to be had.
    #[error(
        "does not offer {0}, so there is no TLS, and without TLS nothing is sent; set TlsMode = \
         Implicit with the TLS port, or UseSsl = False if the network is trusted"
    )]
    NoStartTls(&'static str),
    /// Bytes before TLS that would be read as if they came after it.
    #[error("sent data ahead of the TLS handshake, as an attacker on the way would; closed")]
    Injected,
}

impl Failure {
    fn of_connect(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::Unreachable,
            _ => Self::Connect(error),
        }
    }

    fn of_handshake(host: &str, error: io::Error) -> Self {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        match cause {
            Some(rustls::Error::InvalidCertificate(problem)) => {
                Self::Certificate(explain_certificate(host, "the role's Server key", problem))
            }
            Some(rustls::Error::InvalidMessage(_)) => Self::NotTls,
            _ => Self::Tls(error),
        }
    }
}

/// Names the certificate's problem and what to do; `key` is the setting that names the host.
pub fn explain_certificate(host: &str, key: &str, problem: &CertificateError) -> String {
    use CertificateError as E;
    match problem {
        E::UnknownIssuer => "the certificate's issuer is not trusted; name its root certificate \
             (PEM) in Proxy.Upstream.CaPath"
            .to_owned(),
        E::NotValidForName | E::NotValidForNameContext { .. } => format!(
            "the certificate is not made for the name {host}; use a name from the certificate in \
             {key}"
        ),
        E::Expired | E::ExpiredContext { .. } => "the certificate has expired; the service's \
             administrator must renew it (or this computer's clock is wrong)"
            .to_owned(),
        E::NotValidYet | E::NotValidYetContext { .. } => {
            "the certificate is not valid yet; check this computer's clock".to_owned()
        }
        E::Revoked => "the certificate has been revoked by its issuer".to_owned(),
        other => format!(
            "the certificate is not accepted ({other}); if it is a private one, name its root \
             certificate (PEM) in Proxy.Upstream.CaPath"
        ),
    }
}

impl Service {
    /// The service of a role.
    pub fn new(role: &str, server: &MailServer, tls: ClientTls) -> Self {
        Self { role: role.to_owned(), host: server.host.clone(), security: server.security, tls }
    }

    /// A failure in which the service plays a part, with the role and the host in front.
    pub fn error(&self, kind: Kind, words: impl std::fmt::Display) -> mail::Error {
        mail::Error::new(kind, format!("{}: {} {words}", self.role, self.host))
    }

    /// A dialogue that has come to an end.
    pub fn unavailable(&self, failure: &Failure) -> mail::Error {
        self.error(Kind::Unavailable, failure)
    }

    /// Connects, with TLS from the first byte where the role says so.
    pub async fn connect(&self) -> Result<Dialogue, Failure> {
        let tcp = within_or(CONNECT_TOTAL, || Failure::Unreachable, self.connect_tcp()).await?;
        tcp.set_nodelay(true)?;
        let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE);
        SockRef::from(&tcp).set_tcp_keepalive(&keep_alive)?;
        let loopback = tcp.peer_addr()?.ip().to_canonical().is_loopback();
        let dialogue = Dialogue { private: loopback, ..Dialogue::new(Box::new(tcp)) };
        match self.security {
            Security::Implicit => self.handshake(dialogue).await,
            Security::Plain | Security::StartTls => Ok(dialogue),
        }
    }

    /// TLS after the service has agreed to STARTTLS or STLS. Everything learnt before is void.
    pub async fn start_tls(&self, dialogue: Dialogue) -> Result<Dialogue, Failure> {
        match dialogue.input.is_empty() {
            true => self.handshake(dialogue).await,
            false => Err(Failure::Injected),
        }
    }

    async fn handshake(&self, dialogue: Dialogue) -> Result<Dialogue, Failure> {
        let host = &self.host.name;
        let connecting = async {
            let handshake = self.tls.connect(host, dialogue.stream).await;
            handshake.map_err(|error| Failure::of_handshake(host, error))
        };
        let silent = || Failure::Tls(io::ErrorKind::TimedOut.into());
        let stream = within_or(TLS_HANDSHAKE, silent, connecting).await?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let chain = chain.iter().map(|one| one.clone().into_owned()).collect();
        Ok(Dialogue { private: true, chain, ..Dialogue::new(Box::new(stream)) })
    }

    /// Tries all addresses, each with a head start over the next; the first connection wins.
    async fn connect_tcp(&self) -> Result<TcpStream, Failure> {
        let name = (self.host.name.as_str(), self.host.port);
        let found = tokio::net::lookup_host(name).await.map_err(Failure::Resolve)?;
        let mut waiting = by_turns(found.collect());
        let mut attempts = FuturesUnordered::new();
        let mut last = Failure::Resolve(io::Error::other("no address"));
        loop {
            if let Some(address) = waiting.pop_front() {
                attempts.push(connect_one(address));
            }
            let stagger = tokio::time::sleep(CONNECT_STAGGER);
            tokio::select! {
                result = attempts.next() => match result {
                    Some(Ok(stream)) => return Ok(stream),
                    Some(Err(failure)) => last = failure,
                    None => return Err(last),
                },
                () = stagger, if !waiting.is_empty() => {}
            }
        }
    }
}

async fn connect_one(address: SocketAddr) -> Result<TcpStream, Failure> {
    let connecting = async { TcpStream::connect(address).await.map_err(Failure::of_connect) };
    within_or(CONNECT_EACH, || Failure::Unreachable, connecting).await
}

/// Address families by turns, the resolver's favourite first (RFC 8305 section 4): a network whose
/// IPv6 leads nowhere then costs one head start.
fn by_turns(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut a, mut b): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut ordered = VecDeque::with_capacity(a.len() + b.len());
    while !(a.is_empty() && b.is_empty()) {
        ordered.extend(a.pop_front());
        ordered.extend(b.pop_front());
    }
    ordered
}

async fn within_or<T>(
    limit: Duration,
    late: impl FnOnce() -> Failure,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(late()))
}

/// Gives up after `limit`.
pub async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    within_or(limit, || Failure::Silent(limit), work).await
}

/// A connection on which lines go back and forth.
pub struct Dialogue {
    stream: Box<dyn Duplex>,
    /// What has arrived and is not read yet.
    pub input: BytesMut,
    /// True with TLS, or when the bytes do not leave this machine.
    private: bool,
    /// What the service showed in the handshake, its own certificate first.
    chain: Vec<CertificateDer<'static>>,
}

impl Dialogue {
    /// Over a stream that is connected.
    pub fn new(stream: Box<dyn Duplex>) -> Self {
        Self { stream, input: BytesMut::new(), private: false, chain: Vec::new() }
    }

    /// False when others on the network can read what is sent.
    pub fn is_private(&self) -> bool {
        self.private
    }

    /// The service's certificates, its own first; none without TLS.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// Sends all of it.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// Sends all of it, unless the peer says something before all is on its way: then false, and
    /// what it said is in `input`. A peer that answers early often reads no further.
    pub async fn send_unless_answered(
        &mut self,
        pieces: &mut VecDeque<Bytes>,
    ) -> Result<bool, Failure> {
        if !self.input.is_empty() {
            return Ok(false);
        }
        poll_fn(|context| {
            let mut stream = Pin::new(&mut self.stream);
            while !pieces.is_empty() {
                match poll_write(stream.as_mut(), context, pieces)? {
                    Poll::Ready(0) => return Poll::Ready(Err(Failure::Closed)),
                    Poll::Ready(octets) => drop_written(pieces, octets),
                    Poll::Pending => return poll_input(stream, context, &mut self.input),
                }
            }
            match stream.as_mut().poll_flush(context)? {
                Poll::Ready(()) => Poll::Ready(Ok(true)),
                Poll::Pending => poll_input(stream, context, &mut self.input),
            }
        })
        .await
    }

    /// Waits for more input.
    pub async fn fill(&mut self) -> Result<(), Failure> {
        self.input.reserve(READ_SIZE);
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err(Failure::Closed),
            _ => Ok(()),
        }
    }

    /// The next line without its line end; longer than `max` octets is a failure.
    pub async fn line(&mut self, max: usize) -> Result<Bytes, Failure> {
        loop {
            let end = memchr::memchr(b'\n', &self.input);
            if end.unwrap_or(self.input.len()) > max {
                return Err(Failure::Malformed(format!("a line of more than {max} octets")));
            }
            if let Some(end) = end {
                let mut line = self.input.split_to(end).freeze();
                self.input.advance(1);
                if line.ends_with(b"\r") {
                    line.truncate(line.len() - 1);
                }
                return Ok(line);
            }
            self.fill().await?;
        }
    }

    /// Exactly `count` octets.
    pub async fn octets(&mut self, count: usize) -> Result<Bytes, Failure> {
        while self.input.len() < count {
            self.fill().await?;
        }
        Ok(self.input.split_to(count).freeze())
    }

    /// True when nothing has arrived and the peer has not closed, as far as is known right now.
    pub fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut context = Context::from_waker(Waker::noop());
        self.input.is_empty()
            && Pin::new(&mut self.stream).poll_read(&mut context, &mut buffer).is_pending()
    }

    /// Ends our side in an orderly way.
    pub async fn shutdown(&mut self) -> Result<(), Failure> {
        Ok(self.stream.shutdown().await?)
    }

    /// The stream, and what has arrived and was not read.
    pub fn into_parts(self) -> (Box<dyn Duplex>, Bytes) {
        (self.stream, self.input.freeze())
    }
}

/// Writes pieces together, without copying them into one.
fn poll_write(
    stream: Pin<&mut Box<dyn Duplex>>,
    context: &mut Context<'_>,
    pieces: &VecDeque<Bytes>,
) -> Poll<std::io::Result<usize>> {
    let mut slices = [IoSlice::new(&[]); PIECES_AT_ONCE];
    let count = pieces.len().min(PIECES_AT_ONCE);
    for (slice, piece) in slices.iter_mut().zip(pieces) {
        *slice = IoSlice::new(piece);
    }
    stream.poll_write_vectored(context, &slices[..count])
}

fn drop_written(pieces: &mut VecDeque<Bytes>, mut octets: usize) {
    while let Some(piece) = pieces.front_mut() {
        if octets < piece.len() {
            piece.advance(octets);
            return;
        }
        octets -= piece.len();
        pieces.pop_front();
    }
}

/// False when there is input; pending, never true, while there is none.
fn poll_input(
    mut stream: Pin<&mut Box<dyn Duplex>>,
    context: &mut Context<'_>,
    input: &mut BytesMut,
) -> Poll<Result<bool, Failure>> {
    let mut room = [0; READ_SIZE];
    let mut buffer = ReadBuf::new(&mut room);
    ready!(stream.as_mut().poll_read(context, &mut buffer))?;
    input.extend_from_slice(buffer.filled());
    match buffer.filled().is_empty() {
        true => Poll::Ready(Err(Failure::Closed)),
        false => Poll::Ready(Ok(false)),
    }
}

impl std::fmt::Debug for Dialogue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialogue").field("private", &self.private).finish_non_exhaustive()
    }
}

/// A peer's text as it may stand in a log line: printable, one line, bounded, and without tokens:
/// services repeat a command that they do not understand, and what followed it.
pub fn printable(text: &[u8]) -> String {
    oauth::quote(&String::from_utf8_lossy(text), &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_text_is_one_line_without_tokens() {
        let blob = "dXNlcj1h".repeat(40);
        for (text, shown) in [
            ("BAD no\r\nsuch\x1b[1m thing".to_owned(), "BAD no such [1m thing".to_owned()),
            (
                format!("BAD unknown: a1 AUTHENTICATE XOAUTH2 {blob}"),
                "BAD unknown: a1 AUTHENTICATE XOAUTH2 [removed]".to_owned(),
            ),
            (blob[..299].to_owned(), "[removed]".to_owned()),
        ] {
            assert_eq!(printable(text.as_bytes()), shown);
        }
        assert!(printable(&b"a ".repeat(5000)).chars().count() <= 301);
    }
}
