//! A TCP proxy before each listener of the cloud, which breaks connections.
//!
//! Danger: a fault that nobody can place proves nothing: whether a reply was seen decides whether a
//! doubled message is a fault of the program. Rule: what strikes a connection follows from the seed,
//! the listener and the connection's number, at an octet drawn beforehand; each connection keeps
//! when the last piece went through to the client, and when and how it ended.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use authbridge::sandbox::Endpoints;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

use super::dice::Dice;
use super::journal::Journal;

/// Where a strike may fall: from within the TLS handshake to the middle of a large attachment.
const OFFSETS: (u64, u64) = (32, 1 << 19);
/// What has just been passed on may be lost when a reset follows at once.
const OVERTAKEN: Duration = Duration::from_millis(500);
/// After a FIN the client has so long to close its side.
const FAREWELL: Duration = Duration::from_secs(2);

/// What strikes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    Reset,
    /// FIN in the middle.
    Truncate,
    /// Nothing moves for a while, in this direction.
    Delay(Duration),
    /// The same, and then a reset.
    StallAndReset(Duration),
    /// Nothing moves any more: the other side has gone without a word.
    Hang,
}

impl Blow {
    fn draw(dice: &mut Dice) -> Self {
        let ms = Duration::from_millis;
        match dice.below(11) {
            0..=2 => Self::Reset,
            3..=5 => Self::Truncate,
            6 => Self::Delay(dice.time(ms(5), ms(200))),
            7 | 8 => Self::Delay(dice.time(ms(200), ms(2500))),
            9 => Self::StallAndReset(dice.time(ms(200), ms(2500))),
            _ => Self::Hang,
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Reset => "tcp reset",
            Self::Truncate => "tcp truncation",
            Self::Delay(time) if time < Duration::from_millis(200) => "tcp delay",
            Self::Delay(_) => "tcp stall, then on",
            Self::StallAndReset(_) => "tcp stall, then reset",
            Self::Hang => "tcp stall without an end",
        }
    }
}

/// What became of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passage {
    /// When the last whole piece went through to the client.
    pub last_answer: Option<Instant>,
    /// When it ended.
    pub ended: Option<Instant>,
    /// Whether it was us who ended it.
    pub broken: bool,
}

impl Passage {
    /// True when what was said to the client at `at` or later can't have been read: it did not go
    /// through, or a reset was right behind it.
    pub fn lost_what_was_said(&self, at: Instant) -> bool {
        let Some(last) = self.last_answer.filter(|last| *last >= at) else {
            return self.ended.is_some();
        };
        self.broken && self.ended.is_some_and(|ended| ended < last + OVERTAKEN)
    }
}

/// All of them.
pub struct Taps(Arc<Shared>);

struct Shared {
    seed: u64,
    journal: Arc<Journal>,
    storm: AtomicBool,
    /// Of a hundred connections so many are struck, in each direction.
    often: AtomicU64,
    /// Of SMTP: by the address that the cloud sees, with when they began. Ports are used again.
    passages: Mutex<HashMap<SocketAddr, Vec<(Instant, Passage)>>>,
}

impl Taps {
    /// None yet, and calm.
    pub fn new(seed: u64, journal: Arc<Journal>) -> Self {
        let (storm, often) = (AtomicBool::new(false), AtomicU64::new(50));
        Self(Arc::new(Shared { seed, journal, storm, often, passages: Mutex::default() }))
    }

    /// Puts one before every listener that is used for sending.
    pub fn before(&self, own: Endpoints, runtime: &Handle) -> Endpoints {
        let tap = |text: &str, name: &'static str| self.listen(text, name, runtime);
        Endpoints {
            authority_url: tap(&own.authority_url, "entra"),
            graph_url: tap(&own.graph_url, "graph"),
            google_token_url: tap(&own.google_token_url, "google"),
            upload_url: tap(&own.upload_url, "upload"),
            smtp: tap(&own.smtp, "gmail"),
            smtp_plain: tap(&own.smtp_plain, "plain"),
            exchange_smtp: tap(&own.exchange_smtp, "exchange"),
            ..own
        }
    }

    /// From now on connections are struck, or not.
    pub fn set_storm(&self, on: bool) {
        self.0.storm.store(on, Ordering::SeqCst);
    }

    /// Of a hundred connections so many are struck.
    pub fn set_often(&self, percent: u64) {
        self.0.often.store(percent, Ordering::SeqCst);
    }

    /// What became of the connection that the cloud saw coming from there at that time.
    pub fn passage(&self, peer: SocketAddr, at: Instant) -> Option<Passage> {
        let passages = self.0.passages.lock().unwrap_or_else(PoisonError::into_inner);
        let of_peer = passages.get(&peer)?.iter().rev();
        of_peer.filter(|(began, _)| *began <= at).map(|(_, passage)| *passage).next()
    }

    fn listen(&self, address: &str, name: &'static str, runtime: &Handle) -> String {
        let (_, rest) = address.split_once("localhost:").unwrap();
        let port: u16 = rest.split('/').next().unwrap().parse().unwrap();
        let _inside = runtime.enter();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let own = listener.local_addr().unwrap().port();
        let shared = Arc::clone(&self.0);
        runtime.spawn(async move {
            for number in 0_u64.. {
                let Ok((client, _)) = listener.accept().await else { return };
                let line = Line { shared: Arc::clone(&shared), name, number };
                tokio::spawn(line.carry(client, port));
            }
        });
        address.replacen(&format!("localhost:{port}"), &format!("localhost:{own}"), 1)
    }
}

/// One connection.
struct Line {
    shared: Arc<Shared>,
    name: &'static str,
    number: u64,
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    ByItself,
    Reset,
    Fin,
}

impl Line {
    async fn carry(self, mut client: TcpStream, port: u16) {
        let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let Ok(peer) = server.local_addr() else { return };
        self.begins(peer);
        let end = {
            let (mut from_client, mut to_client) = client.split();
            let (mut from_server, mut to_server) = server.split();
            tokio::select! {
                end = self.pump(&mut from_client, &mut to_server, "up", None) => end,
                end = self.pump(&mut from_server, &mut to_client, "down", Some(peer)) => end,
            }
        };
        self.noted(peer, |passage| {
            passage.ended = Some(Instant::now());
            passage.broken = end != End::ByItself;
        });
        if end == End::Reset {
            let _ = (client.set_zero_linger(), server.set_zero_linger());
            return;
        }
        drop(server);
        let _ = client.shutdown().await;
        let mut rest = [0; 4096];
        let drained =
            async { while client.read(&mut rest).await.is_ok_and(|octets| octets > 0) {} };
        let _ = tokio::time::timeout(FAREWELL, drained).await;
    }

    /// Nobody asks for others than these, and the same port may lead to several services.
    fn is_smtp(&self) -> bool {
        matches!(self.name, "gmail" | "plain" | "exchange")
    }

    fn begins(&self, peer: SocketAddr) {
        if self.is_smtp() {
            let mut passages = self.shared.passages.lock().unwrap_or_else(PoisonError::into_inner);
            passages.entry(peer).or_default().push((Instant::now(), Passage::default()));
        }
    }

    fn noted(&self, peer: SocketAddr, change: impl FnOnce(&mut Passage)) {
        if self.is_smtp() {
            let mut passages = self.shared.passages.lock().unwrap_or_else(PoisonError::into_inner);
            let last = passages.get_mut(&peer).and_then(|of_peer| of_peer.last_mut());
            if let Some((_, passage)) = last {
                change(passage);
            }
        }
    }

    /// Passes on what comes, up to the next blow.
    async fn pump(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        direction: &str,
        answers: Option<SocketAddr>,
    ) -> End {
        let mut dice = Dice::new(self.shared.seed, (self.name, self.number, direction));
        let struck = dice.percent(self.shared.often.load(Ordering::SeqCst));
        let mut next = if struck { dice.spread(OFFSETS.0, OFFSETS.1) } else { u64::MAX };
        let mut passed = 0_u64;
        let mut buffer = vec![0; 16 << 10];
        loop {
            let Ok(octets @ 1..) = from.read(&mut buffer).await else { return End::ByItself };
            let mut rest = &buffer[..octets];
            while passed + rest.len() as u64 > next {
                let before = usize::try_from(next - passed).unwrap_or_default();
                if self.shared.storm.load(Ordering::SeqCst) {
                    if to.write_all(&rest[..before]).await.is_err() {
                        return End::ByItself;
                    }
                    (passed, rest) = (next, &rest[before..]);
                    if let Some(end) = self.strike(Blow::draw(&mut dice), direction, passed).await {
                        return end;
                    }
                }
                next += dice.spread(OFFSETS.0, OFFSETS.1);
            }
            if to.write_all(rest).await.is_err() {
                return End::ByItself;
            }
            passed += rest.len() as u64;
            if let Some(peer) = answers {
                self.noted(peer, |passage| passage.last_answer = Some(Instant::now()));
            }
        }
    }

    async fn strike(&self, blow: Blow, direction: &str, offset: u64) -> Option<End> {
        let details = format!("{} {} {direction} at {offset}, {blow:?}", self.name, self.number);
        self.shared.journal.fault(blow.kind(), &details);
        match blow {
            Blow::Reset => Some(End::Reset),
            Blow::Truncate => Some(End::Fin),
            Blow::Delay(time) => {
                tokio::time::sleep(time).await;
                None
            }
            Blow::StallAndReset(time) => {
                tokio::time::sleep(time).await;
                Some(End::Reset)
            }
            // Until one of the two sides has had enough. No service keeps a dead connection for ever,
            // and some allow three of them.
            Blow::Hang => {
                while self.shared.storm.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Some(End::Reset)
            }
        }
    }
}

#[test]
fn what_was_said_is_lost_only_when_it_did_not_go_through() {
    let at = Instant::now();
    let later = |ms| Some(at + Duration::from_millis(ms));
    let before = at.checked_sub(Duration::from_millis(5));
    for (last_answer, ended, broken, lost) in [
        // Still open: the reply may be under way.
        (before, None, false, false),
        (before, later(10), true, true),
        (before, later(10), false, true),
        (later(5), later(10), true, true),
        (later(5), later(10), false, false),
        (later(5), later(2000), true, false),
        (later(5), None, false, false),
    ] {
        let passage = Passage { last_answer, ended, broken };
        assert_eq!(passage.lost_what_was_said(at), lost, "{passage:?}");
    }
}
