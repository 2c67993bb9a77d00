//! The socket of one session, with what was read and not yet used.
//!
//! Danger: a client that sends one octet a minute, or never reads, holds its session for ever; ten
//! thousand idle sessions with a buffer each fill the memory. Rule: every wait has an end; an idle
//! session holds no buffer; replies leave together, but always before we wait for the client.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::ready;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroize;

use crate::frontend::stream::ClientStream;
use crate::protocol::smtp::answer::Answer;
use crate::protocol::smtp::line::{Expected, LineFault, LineReader};
use crate::tls::ServerTls;

/// Read at once while commands are expected.
const COMMAND_READ: usize = 8 << 10;
/// Read at once while a message comes in.
const DATA_READ: usize = 64 << 10;
/// Replies are sent when they exceed this, even if more commands are waiting.
const REPLIES_HELD: usize = 16 << 10;
/// RFC 5321 section 4.5.3.2.5: three minutes for each block of the message; and for our replies.
pub(super) const BLOCK_TIMEOUT: Duration = Duration::from_secs(180);
/// A handshake is a few packets; as long as a client before its login gets for a command.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);
/// What a client still sends when we close is read for so long, or the last reply is lost in a
/// reset of the connection.
const LINGER: Duration = Duration::from_secs(2);

/// Why a session ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the client said QUIT")]
    Quit,
    #[error("the client closed the connection")]
    Gone,
    #[error("the client was silent for too long")]
    TimedOut,
    #[error("authbridge is stopping")]
    Stopping,
    #[error("{0}")]
    Refused(&'static str),
    #[error("connection: {0}")]
    Io(#[from] io::Error),
}

pub(super) struct Connection {
    stream: ClientStream,
    input: BytesMut,
    output: BytesMut,
    /// To be told when the output is on its way.
    told: Vec<oneshot::Sender<()>>,
    lines: LineReader,
}

impl Connection {
    pub fn new(stream: ClientStream) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            output: BytesMut::new(),
            told: Vec::new(),
            lines: LineReader::default(),
        }
    }

    pub fn is_tls(&self) -> bool {
        self.stream.is_tls()
    }

    /// Puts a reply in line; it leaves before the next wait.
    pub fn reply(&mut self, answer: &Answer) {
        answer.encode(&mut self.output);
    }

    /// As [`Self::reply`]; `told` hears when it has left, and is dropped when it can't.
    pub fn reply_and_tell(&mut self, answer: &Answer, told: oneshot::Sender<()>) {
        self.reply(answer);
        self.told.push(told);
    }

    /// The next command line. Its octets may hold a password: wipe them with [`wipe`].
    pub async fn line(
        &mut self,
        expected: Expected,
        patience: Duration,
        stopping: Option<&CancellationToken>,
    ) -> Result<Result<BytesMut, LineFault>, End> {
        if self.output.len() > REPLIES_HELD {
            self.flush().await?;
        }
        let deadline = Instant::now() + patience;
        loop {
            if let Some(line) = self.lines.next(&mut self.input, expected) {
                return Ok(line);
            }
            self.flush().await?;
            if self.input.is_empty() {
                self.input = BytesMut::new();
            }
            let read = timeout_at(deadline, read_some(&mut self.stream, &mut self.input));
            let read = match stopping {
                None => read.await,
                Some(stopping) => tokio::select! {
                    biased;
                    () = stopping.cancelled() => return Err(End::Stopping),
                    read = read => read,
                },
            };
            if read.map_err(|_| End::TimedOut)?? == 0 {
                return Err(End::Gone);
            }
        }
    }

    /// What was read and not yet used, at least one octet.
    pub async fn data(&mut self, deadline: Instant) -> Result<&[u8], End> {
        if self.input.is_empty() {
            self.flush().await?;
            let read = timeout_at(deadline, read_much(&mut self.stream, &mut self.input)).await;
            if read.map_err(|_| End::TimedOut)?? == 0 {
                return Err(End::Gone);
            }
        }
        Ok(&self.input)
    }

    /// Drops the first octets of what [`Self::data`] gave.
    pub fn used(&mut self, octets: usize) {
        self.input.advance(octets);
    }

    /// Gives back the large buffer after a message; what follows it stays.
    pub fn shrink(&mut self) {
        self.input = BytesMut::from(&self.input[..]);
    }

    pub async fn flush(&mut self) -> Result<(), End> {
        if self.output.is_empty() {
            return Ok(());
        }
        let output = std::mem::take(&mut self.output);
        let written = timeout(BLOCK_TIMEOUT, async {
            self.stream.write_all(&output).await?;
            self.stream.flush().await
        });
        written.await.map_err(|_| End::TimedOut)??;
        for told in self.told.drain(..) {
            // Who does not keep messages does not listen.
            let _ = told.send(());
        }
        Ok(())
    }

    /// Starts TLS. What the client sent before is dropped, never read as if it came protected.
    pub async fn start_tls(mut self, tls: &ServerTls) -> Result<Self, End> {
        self.flush().await?;
        let handshake = timeout(HANDSHAKE_TIMEOUT, self.stream.start_tls(tls));
        Ok(Self::new(handshake.await.map_err(|_| End::TimedOut)??))
    }

    /// Sends what is left to say and closes.
    pub async fn close(mut self) {
        let farewell = async {
            self.flush().await?;
            self.stream.shutdown().await?;
            while read_some(&mut self.stream, &mut self.input).await? > 0 {
                self.input.clear();
            }
            Ok::<_, End>(())
        };
        // The client may be gone already or stay longer than we wait; nothing is owed any more.
        let _ = timeout(LINGER, farewell).await;
    }
}

/// Reads what has arrived. The room for it exists only while there is something to copy.
async fn read_some(stream: &mut ClientStream, input: &mut BytesMut) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut room = [0; COMMAND_READ];
        let mut buf = ReadBuf::new(&mut room);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf))?;
        input.extend_from_slice(buf.filled());
        let octets = buf.filled().len();
        room.zeroize();
        std::task::Poll::Ready(Ok(octets))
    })
    .await
}

/// Reads a part of a message into the empty `input`, which has its room only while octets come: five
/// thousand clients that are silent in the middle of a message hold none.
async fn read_much(stream: &mut ClientStream, input: &mut BytesMut) -> io::Result<usize> {
    poll_fn(|cx| {
        input.reserve(DATA_READ);
        let read = pin!(stream.read_buf(&mut *input)).poll(cx);
        if read.is_pending() {
            *input = BytesMut::new();
        }
        read
    })
    .await
}

/// Overwrites a line that held a password.
pub(super) fn wipe(mut line: BytesMut) {
    line.as_mut().zeroize();
}
