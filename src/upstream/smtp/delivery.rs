//! Handing the message over: BDAT in one piece where CHUNKING is offered, else DATA.
//!
//! Danger: after the last octet has gone out and before the answer has come, nobody knows whether
//! the message was sent; a step earlier it certainly was not. Rule: [`Interrupted`] keeps the two
//! apart. The service acts only on a complete message: DATA ends at CRLF.CRLF, `BDAT n LAST` at
//! octet n, so whatever stops us earlier sends nothing, and the connection is dropped.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::connection::Connection;
use crate::mail::Message;
use crate::protocol::smtp::data::DotStuffer;
use crate::protocol::smtp::reply::Reply;
use crate::upstream::connect::Failure;

/// Octets whose pieces are written together: few system calls and full TLS records.
const BLOCK: usize = 128 << 10;

/// Why there is no answer to the message.
pub(super) enum Interrupted {
    /// The connection was gone before anything of the message was handed over.
    NotBegun(Failure),
    /// The service refused to take it.
    Refused(Reply),
    /// The connection failed before the last octet: not sent.
    Before(Failure),
    /// Our own copy cannot be read: not sent.
    Content(std::io::Error),
    /// The connection failed after the last octet, or the service made no sense: perhaps sent.
    After(Failure),
}

impl From<Failure> for Interrupted {
    fn from(failure: Failure) -> Self {
        Self::Before(failure)
    }
}

/// Sends the message and waits for the answer.
pub(super) async fn hand_over(
    connection: &mut Connection,
    message: &Message,
) -> Result<Reply, Interrupted> {
    let sent = match connection.extensions.chunking {
        true => send_by_bdat(connection, message).await,
        false => send_by_data(connection, message).await,
    };
    match sent {
        Ok(()) => {
            let limit = connection.timeouts.data_end;
            connection.last_reply(limit).await.map_err(Interrupted::After)
        }
        Err(Interrupted::Before(failure)) => Err(last_words(connection, failure).await),
        Err(other) => Err(other),
    }
}

/// A service that closes while we write has often said why.
async fn last_words(connection: &mut Connection, failure: Failure) -> Interrupted {
    if !matches!(failure, Failure::Broken(_) | Failure::Closed) {
        return Interrupted::Before(failure);
    }
    match connection.reply(connection.timeouts.farewell).await {
        Ok(reply) if reply.code >= 400 => Interrupted::Refused(reply),
        _ => Interrupted::Before(failure),
    }
}

/// RFC 3030 section 2: no dots, no end mark, no round trip before the content.
async fn send_by_bdat(connection: &mut Connection, message: &Message) -> Result<(), Interrupted> {
    // The command and the message leave together; whether somebody still listens is asked before,
    // as a message that went nowhere would count as perhaps sent.
    if connection.is_idle() {
        let limit = connection.timeouts.data_start;
        let answer = connection.command("NOOP", limit).await.map_err(Interrupted::NotBegun)?;
        if answer.code == 421 {
            return Err(Interrupted::NotBegun(Failure::Closed));
        }
    }
    let command = format!("BDAT {} LAST\r\n", message.size());
    let mut blocks = Blocks::new(connection);
    blocks.push(Bytes::from(command)).await?;
    let mut reader = message.reader();
    while let Some(piece) = reader.next().await.map_err(Interrupted::Content)? {
        blocks.push(piece).await?;
    }
    blocks.flush().await
}

/// RFC 5321 section 4.1.1.4.
async fn send_by_data(connection: &mut Connection, message: &Message) -> Result<(), Interrupted> {
    let limit = connection.timeouts.data_start;
    let reply = connection.command("DATA", limit).await.map_err(Interrupted::NotBegun)?;
    match reply.code {
        354 => {}
        421 if connection.was_idle => return Err(Interrupted::NotBegun(Failure::Closed)),
        400.. => return Err(Interrupted::Refused(reply)),
        _ => {
            connection.distrust();
            return Err(Failure::Malformed(format!("{reply} in answer to DATA")).into());
        }
    }
    let mut blocks = Blocks::new(connection);
    let (mut stuffer, mut stuffed) = (DotStuffer::new(), BytesMut::new());
    let mut reader = message.reader();
    while let Some(piece) = reader.next().await.map_err(Interrupted::Content)? {
        stuffer.feed(&piece, &mut stuffed);
        blocks.push(stuffed.split().freeze()).await?;
    }
    stuffer.finish(&mut stuffed);
    blocks.push(stuffed.freeze()).await?;
    blocks.flush().await
}

/// Sends a part of the message. A service that has seen enough answers early and reads no further:
/// what it says is the outcome, and the connection, on which half a message stands, is dropped.
async fn send(
    connection: &mut Connection,
    pieces: &mut VecDeque<Bytes>,
) -> Result<(), Interrupted> {
    if connection.send_part(pieces).await? {
        return Ok(());
    }
    let reply = connection.reply(connection.timeouts.farewell).await?;
    match reply.code {
        400.. => Err(Interrupted::Refused(reply)),
        _ => {
            let words = format!("{reply} before it had the whole message");
            Err(Interrupted::After(Failure::Malformed(words)))
        }
    }
}

/// Writes many pieces together, none of them copied.
struct Blocks<'a> {
    connection: &'a mut Connection,
    pending: VecDeque<Bytes>,
    size: usize,
}

impl<'a> Blocks<'a> {
    fn new(connection: &'a mut Connection) -> Self {
        Self { connection, pending: VecDeque::new(), size: 0 }
    }

    /// A large piece, such as a long header, leaves in several blocks: each has its time.
    async fn push(&mut self, mut piece: Bytes) -> Result<(), Interrupted> {
        while !piece.is_empty() {
            let now = piece.split_to(piece.len().min(BLOCK - self.size));
            self.size += now.len();
            self.pending.push_back(now);
            if self.size == BLOCK {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Interrupted> {
        self.size = 0;
        match self.pending.is_empty() {
            true => Ok(()),
            false => send(self.connection, &mut self.pending).await,
        }
    }
}
