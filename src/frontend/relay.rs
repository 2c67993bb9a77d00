//! Copies bytes both ways between a client and a service, until both are done.
//!
//! Danger: thousands of sessions wait idle for hours, and a buffer held by each would fill the
//! memory; a side that closes its half, or takes nothing more, must not cut off what it has sent.
//! Rule: a direction borrows a buffer from a pool only while it moves bytes, the end of one is
//! passed on and the other drains, and silence in both directions ends the session.

mod direction;
mod pool;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::telemetry::activity::LiveSession;
use direction::Direction;
pub use pool::Pool;

/// How long the second direction may be silent once the first has ended: services answer the end
/// of a client by closing, and one that does not would hold the session for ever.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a relay may be silent once the process is stopping: a command that is being answered
/// moves bytes, and a client that waits for news loses nothing.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// The buffers of all relays.
static BUFFERS: Pool = Pool::new();

/// Bytes that were read before the relay began and go first.
#[derive(Debug, Default)]
pub struct Ahead {
    /// From the client.
    pub to_upstream: Bytes,
    /// From the service, or from us.
    pub to_client: Bytes,
}

/// What a relay has done.
#[derive(Debug)]
pub struct Summary {
    /// Octets written to the service.
    pub to_upstream: u64,
    /// Octets written to the client.
    pub to_client: u64,
    /// Why it ended.
    pub end: End,
}

/// Why a relay ended.
#[derive(Debug)]
pub enum End {
    /// Both sides have closed.
    Closed,
    /// Nothing moved for too long.
    Idle,
    /// One of the connections broke.
    Broken(io::Error),
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::Idle => f.write_str("idle for too long"),
            Self::Broken(error) => write!(f, "connection lost ({error})"),
        }
    }
}

/// Copies between `client` and `upstream` until both have closed, one breaks, or nothing has moved
/// for `idle_timeout`.
pub fn relay<C, U>(client: C, upstream: U, ahead: Ahead, idle_timeout: Duration) -> Relaying<C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    with_buffers(&BUFFERS, client, upstream, ahead, idle_timeout)
}

/// [`relay`] with buffers from `pool`.
pub fn with_buffers<C, U>(
    pool: &'static Pool,
    client: C,
    upstream: U,
    ahead: Ahead,
    idle_timeout: Duration,
) -> Relaying<C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let now = Instant::now();
    Relaying {
        client,
        upstream,
        to_upstream: Direction::new(pool, ahead.to_upstream),
        to_client: Direction::new(pool, ahead.to_client),
        live: None,
        last_move: now,
        idle_timeout,
        alarm: Box::pin(sleep_until(now + idle_timeout)),
    }
}

/// A relay at work.
pub struct Relaying<C, U> {
    client: C,
    upstream: U,
    to_upstream: Direction,
    to_client: Direction,
    /// Where octets are noted while they move.
    live: Option<Arc<LiveSession>>,
    last_move: Instant,
    idle_timeout: Duration,
    /// Not moved at every byte: when it rings, the last move is looked at.
    alarm: Pin<Box<Sleep>>,
}

impl<C, U> Relaying<C, U> {
    /// Notes octets as they move.
    pub fn noting(self, live: Arc<LiveSession>) -> Self {
        Self { live: Some(live), ..self }
    }

    /// From now on a short silence ends it.
    pub fn hurry(&mut self) {
        self.idle_timeout = self.idle_timeout.min(STOP_TIMEOUT);
        self.last_move = Instant::now();
        self.alarm.as_mut().reset(self.last_move + self.idle_timeout);
    }

    fn summary(&self, end: End) -> Summary {
        Summary { to_upstream: self.to_upstream.octets(), to_client: self.to_client.octets(), end }
    }

    /// Octets to the client and from it.
    fn moved(&self) -> (u64, u64) {
        (self.to_client.octets(), self.to_upstream.octets())
    }

    /// What has moved since `before` keeps the session alive.
    fn note_moves(&mut self, before: (u64, u64)) {
        let now = self.moved();
        if now == before {
            return;
        }
        self.last_move = Instant::now();
        if let Some(live) = &self.live {
            live.moved(now.0 - before.0, now.1 - before.1);
        }
    }

    fn half_done(&self) -> bool {
        self.to_upstream.is_done() || self.to_client.is_done()
    }

    fn patience(&self) -> Duration {
        match self.half_done() {
            true => self.idle_timeout.min(DRAIN_TIMEOUT),
            false => self.idle_timeout,
        }
    }

    /// Ready when nothing has moved for too long.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.alarm.as_mut().poll(cx).is_ready() {
            let due = self.last_move + self.patience();
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            self.alarm.as_mut().reset(due);
        }
        Poll::Pending
    }
}

impl<C, U> Future for Relaying<C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    type Output = Summary;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Summary> {
        let this = self.get_mut();
        let (moved, half_done) = (this.moved(), this.half_done());
        let up = this.to_upstream.poll_copy(cx, &mut this.client, &mut this.upstream);
        let down = this.to_client.poll_copy(cx, &mut this.upstream, &mut this.client);
        this.note_moves(moved);
        let done = up.is_ready() && down.is_ready();
        let lost = this.to_upstream.has_lost_its_reader() || this.to_client.has_lost_its_reader();
        if done || lost {
            let failure = this.to_upstream.take_failure().or_else(|| this.to_client.take_failure());
            return Poll::Ready(this.summary(failure.map_or(End::Closed, End::Broken)));
        }
        if this.half_done() != half_done {
            // From now on the shorter patience counts, from now.
            this.last_move = Instant::now();
            let due = this.last_move + this.patience();
            this.alarm.as_mut().reset(due);
        }
        this.poll_idle(cx).map(|()| this.summary(End::Idle))
    }
}

#[cfg(test)]
mod tests;
