//! A connection whose other side has said all it will ever say.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use super::pieces;

/// What was written to an [`Octets`].
pub(crate) type Heard = Arc<Mutex<Vec<u8>>>;

/// Reads come from a list of pieces and then end; writes are kept.
pub(crate) struct Octets {
    pieces: VecDeque<Vec<u8>>,
    heard: Heard,
}

impl Octets {
    /// A peer that sends `octets`, cut where `seed` says.
    pub fn new(octets: &[u8], seed: u8) -> (Self, Heard) {
        let heard = Heard::default();
        let pieces = pieces(octets, seed).into_iter().map(<[u8]>::to_vec).collect();
        (Self { pieces, heard: Arc::clone(&heard) }, heard)
    }
}

impl AsyncRead for Octets {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(mut piece) = this.pieces.pop_front() {
            let rest = piece.split_off(piece.len().min(buf.remaining()));
            buf.put_slice(&piece);
            if !rest.is_empty() {
                this.pieces.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Octets {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.heard.lock().expect("nobody panics with it").extend_from_slice(octets);
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The longest that a session may wait for anything once its peer has said all: the lingering at its
/// end, or a task beside it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a session to its end, which must not wait for a time-out: the clock jumps whenever everything
/// waits.
pub(crate) fn run<T>(session: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: Runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
    }
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let began = Instant::now();
            let result = session.await;
            let waited = began.elapsed();
            assert!(waited < PATIENCE, "it waits for {waited:?} after the end of its input");
            result
        })
    })
}
