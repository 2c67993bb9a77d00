//! One direction of a relay.
//!
//! Danger: bytes that are read and then lost in an error, or written and never flushed, hang a
//! session. Rule: what has been read is written before anything else is looked at, the writer is
//! flushed whenever the reader has nothing more, and a failure says which of the two sides it is of:
//! what comes from a side that takes nothing more is still worth reading.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pool::{Buffer, Pool};

/// Buffers moved in one turn before other sessions get theirs.
const TURNS: usize = 32;

/// Bytes on their way.
enum Held {
    Nothing,
    Ahead(Bytes),
    Buffer { buffer: Buffer, start: usize, end: usize },
}

enum Phase {
    Copying,
    /// The reader has ended; the writer is being told.
    Closing,
    Done,
}

/// Why a direction ended before its time.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing more comes; what came before is written.
    Reader(io::Error),
    /// Nothing more is taken.
    Writer(io::Error),
}

/// See the module.
pub(super) struct Direction {
    pool: &'static Pool,
    held: Held,
    phase: Phase,
    /// What the reader said after the last bytes; acted on when they are written.
    ended: Option<io::Result<()>>,
    unflushed: bool,
    octets: u64,
    failure: Option<Failure>,
}

impl Direction {
    pub(super) fn new(pool: &'static Pool, ahead: Bytes) -> Self {
        let held = if ahead.is_empty() { Held::Nothing } else { Held::Ahead(ahead) };
        Self {
            pool,
            held,
            phase: Phase::Copying,
            ended: None,
            unflushed: false,
            octets: 0,
            failure: None,
        }
    }

    /// Octets written so far.
    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done)
    }

    /// True when it is done because its reader broke: then nothing can be written there either.
    pub(super) fn has_lost_its_reader(&self) -> bool {
        self.is_done() && matches!(self.failure, Some(Failure::Reader(_)))
    }

    /// Why it ended before its time.
    pub(super) fn take_failure(&mut self) -> Option<io::Error> {
        let (Failure::Reader(error) | Failure::Writer(error)) = self.failure.take()?;
        Some(error)
    }

    /// Copies as much as it can; ready when it is done.
    pub(super) fn poll_copy<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
    ) -> Poll<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        if let Err(error) = ready!(self.poll_steps(cx, reader, writer)) {
            self.failure = Some(Failure::Writer(error));
            self.phase = Phase::Done;
            self.release();
        }
        Poll::Ready(())
    }

    /// An error is the writer's.
    fn poll_steps<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        for _ in 0..TURNS {
            ready!(self.poll_write_out(cx, writer))?;
            match self.phase {
                Phase::Copying => ready!(self.poll_fill(cx, reader, writer))?,
                Phase::Closing => {
                    // An error means that the peer has gone already.
                    let _ = ready!(Pin::new(&mut *writer).poll_shutdown(cx));
                    self.phase = Phase::Done;
                }
                Phase::Done => return Poll::Ready(Ok(())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what is held; gives the buffer back.
    fn poll_write_out<W>(&mut self, cx: &mut Context<'_>, writer: &mut W) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin,
    {
        loop {
            let bytes = match &self.held {
                Held::Nothing => return Poll::Ready(Ok(())),
                Held::Ahead(bytes) => &bytes[..],
                Held::Buffer { buffer, start, end } => &buffer[*start..*end],
            };
            let written = ready!(Pin::new(&mut *writer).poll_write(cx, bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            self.octets += written as u64;
            self.consume(written);
        }
    }

    fn consume(&mut self, written: usize) {
        let left = match &mut self.held {
            Held::Nothing => return,
            Held::Ahead(bytes) => {
                bytes.advance(written);
                bytes.len()
            }
            Held::Buffer { start, end, .. } => {
                *start += written;
                *end - *start
            }
        };
        if left == 0 {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Held::Buffer { buffer, .. } = std::mem::replace(&mut self.held, Held::Nothing) {
            self.pool.give_back(buffer);
        }
    }

    /// Reads as much as there is, up to one buffer. Nothing is held when it returns `Pending`.
    fn poll_fill<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        if let Some(ended) = self.ended.take() {
            self.close(ended);
            return Poll::Ready(Ok(()));
        }
        let mut buffer = self.pool.take();
        let mut filling = ReadBuf::new(&mut buffer);
        let ended = loop {
            let before = filling.filled().len();
            match Pin::new(&mut *reader).poll_read(cx, &mut filling) {
                Poll::Pending => break None,
                Poll::Ready(Err(error)) => break Some(Err(error)),
                Poll::Ready(Ok(())) if filling.filled().len() == before => break Some(Ok(())),
                Poll::Ready(Ok(())) if filling.remaining() == 0 => break None,
                Poll::Ready(Ok(())) => {}
            }
        };
        let end = filling.filled().len();
        if end == 0 {
            self.pool.give_back(buffer);
        } else {
            self.held = Held::Buffer { buffer, start: 0, end };
        }
        match ended {
            None if end == 0 => self.poll_flush(cx, writer),
            ended => {
                self.ended = ended;
                Poll::Ready(Ok(()))
            }
        }
    }

    fn close(&mut self, ended: io::Result<()>) {
        // Many programs close TLS without saying so (no close_notify).
        let error = ended.err().filter(|error| error.kind() != io::ErrorKind::UnexpectedEof);
        self.failure = error.map(Failure::Reader);
        self.phase = Phase::Closing;
    }

    /// Always pending: the reader has nothing more for now.
    fn poll_flush<W>(&mut self, cx: &mut Context<'_>, writer: &mut W) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin,
    {
        if self.unflushed {
            ready!(Pin::new(writer).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Pending
    }
}

impl Drop for Direction {
    fn drop(&mut self) {
        self.release();
    }
}
