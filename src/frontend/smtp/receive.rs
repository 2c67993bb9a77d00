//! Takes a message in, from DATA or in chunks.
//!
//! Danger: half a message delivered because the client vanished, or the rest of a message that was
//! too large run as commands. Rule: a message exists only when its end was seen; one that is
//! refused is still read to its end, but not kept.

use std::io;
use std::time::Duration;

use ring::digest;
use tokio::time::Instant;

use super::connection::{BLOCK_TIMEOUT, Connection, End};
use crate::frontend::outgoing::no_room;
use crate::mail::{Error, Kind, MemoryBudget, Message, MessageBuffer, SmtpReply};
use crate::protocol::smtp::answer::Answer;
use crate::protocol::smtp::data::{DataDecoder, LineEnds};

/// A client may send slower than [`SLOWEST`] for so long.
const HEAD_START: Duration = Duration::from_secs(10 * 60);
/// Octets a second that a client must send in the long run; a modem sends three times as many.
const SLOWEST: usize = 1 << 10;
/// Largest header, in octets: a thousand recipients with long names fit ten times.
const MAX_HEADER: usize = 1 << 20;
/// A message is read on for so many octets beyond its limit before we hang up instead.
const MAX_EXCESS: u64 = 1 << 30;
/// Chunks that come before a login are read over up to this size; a client that pipelines has an
/// excuse for one, nobody has for more.
pub(super) const MAX_STRAY_CHUNK: u64 = 1 << 20;

/// A message that is coming in.
pub(in crate::frontend) struct Incoming {
    kept: Result<MessageBuffer, Problem>,
    limit: u64,
    received: u64,
    /// Not in the session itself: it is as large as the rest together.
    digest: Box<digest::Context>,
}

/// Why a message is not kept.
#[derive(Debug)]
pub(in crate::frontend) enum Problem {
    TooLarge,
    HeaderTooLarge,
    /// There is no memory for its header, or a temporary file can't be written.
    Storage(io::Error),
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::TooLarge => Self::new(Kind::TooLarge, "the message exceeds the size limit")
                .with_reply(SmtpReply::new(552, (5, 3, 4), "The message is too large")),
            Problem::HeaderTooLarge => {
                Self::new(Kind::TooLarge, "the message's header exceeds 1 MiB")
                    .with_reply(SmtpReply::new(552, (5, 3, 4), "The message's header is too large"))
            }
            Problem::Storage(cause) => no_room(cause),
        }
    }
}

impl Incoming {
    pub fn new(budget: &MemoryBudget, limit: u64) -> Self {
        let digest = Box::new(digest::Context::new(&digest::SHA256));
        Self { kept: Ok(MessageBuffer::new(budget)), limit, received: 0, digest }
    }

    /// Takes octets in.
    pub fn push(&mut self, octets: &[u8]) {
        self.received = self.received.saturating_add(octets.len() as u64);
        let Ok(buffer) = &mut self.kept else { return };
        if self.received > self.limit {
            self.kept = Err(Problem::TooLarge);
        } else if let Err(error) = buffer.push(octets) {
            self.kept = Err(Problem::Storage(error));
        } else if buffer.header_size() > MAX_HEADER {
            self.kept = Err(Problem::HeaderTooLarge);
        } else {
            self.digest.update(octets);
        }
    }

    /// Lets go of what need not be in memory.
    pub async fn settle(&mut self) {
        if let Ok(buffer) = &mut self.kept
            && let Err(error) = buffer.settle().await
        {
            self.kept = Err(Problem::Storage(error));
        }
    }

    /// True when reading on to the end has no more sense.
    fn is_endless(&self) -> bool {
        self.received > self.limit.saturating_add(MAX_EXCESS)
    }

    /// SHA-256 of what is kept.
    pub fn digest(&self) -> [u8; 32] {
        let mut octets = [0; 32];
        octets.copy_from_slice(digest::Context::clone(&self.digest).finish().as_ref());
        octets
    }

    /// The complete message.
    pub async fn finish(self) -> Result<Message, Problem> {
        self.kept?.finish().await.map_err(Problem::Storage)
    }
}

/// Reads what follows DATA, up to CRLF.CRLF.
pub(super) async fn data(connection: &mut Connection, incoming: &mut Incoming) -> Result<(), End> {
    let mut decoder = DataDecoder::default();
    let mut pace = Pace::begin();
    loop {
        let input = connection.data(pace.deadline()).await?;
        let fed = decoder.feed(input, &mut |octets| incoming.push(octets));
        connection.used(fed.used);
        pace.add(fed.used);
        incoming.settle().await;
        if fed.ended {
            connection.shrink();
            return Ok(());
        }
        if incoming.is_endless() {
            connection.reply(&Answer::new(552, "5.3.4", "The message is too large; closing"));
            return Err(End::Refused("the message has no end"));
        }
    }
}

/// A message that comes in chunks (RFC 3030).
pub(super) struct Chunks {
    incoming: Incoming,
    ends: LineEnds,
}

impl Chunks {
    pub fn new(incoming: Incoming) -> Self {
        Self { incoming, ends: LineEnds::default() }
    }

    /// Reads one chunk.
    pub async fn read(&mut self, connection: &mut Connection, size: u64) -> Result<(), End> {
        if size > self.incoming.limit.saturating_add(MAX_EXCESS) {
            connection.reply(&Answer::new(552, "5.3.4", "The chunk is too large; closing"));
            return Err(End::Refused("a chunk far beyond the limit"));
        }
        let mut chunk = Chunk::of(size);
        while let Some(octets) = chunk.next(connection).await? {
            let used = octets.len();
            self.ends.feed(octets, &mut |octets| self.incoming.push(octets));
            connection.used(used);
            self.incoming.settle().await;
        }
        connection.shrink();
        Ok(())
    }

    /// Why the chunks so far are not kept.
    pub fn problem(self) -> Result<Self, Problem> {
        match self.incoming.kept {
            Err(problem) => Err(problem),
            Ok(_) => Ok(self),
        }
    }

    /// The last chunk was read.
    pub fn finish(mut self) -> Incoming {
        let incoming = &mut self.incoming;
        self.ends.finish(&mut |octets| incoming.push(octets));
        self.incoming
    }
}

/// Reads over a chunk that nobody wants; its octets are no commands.
pub(super) async fn skip(connection: &mut Connection, size: u64) -> Result<(), End> {
    let mut chunk = Chunk::of(size);
    while let Some(octets) = chunk.next(connection).await? {
        let used = octets.len();
        connection.used(used);
    }
    connection.shrink();
    Ok(())
}

/// What is left to read of one chunk.
struct Chunk {
    left: u64,
    pace: Pace,
}

impl Chunk {
    fn of(size: u64) -> Self {
        Self { left: size, pace: Pace::begin() }
    }

    /// The next octets of the chunk; the caller uses all of them.
    async fn next<'a>(&mut self, connection: &'a mut Connection) -> Result<Option<&'a [u8]>, End> {
        if self.left == 0 {
            return Ok(None);
        }
        let input = connection.data(self.pace.deadline()).await?;
        let now = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
        self.left -= now as u64;
        self.pace.add(now);
        Ok(Some(&input[..now]))
    }
}

/// How fast a client must send: one octet every three minutes would keep memory, or a temporary
/// file, for years.
struct Pace {
    deadline: Instant,
    /// Octets not yet worth a second.
    rest: usize,
}

impl Pace {
    fn begin() -> Self {
        Self { deadline: Instant::now() + HEAD_START, rest: 0 }
    }

    fn add(&mut self, octets: usize) {
        let octets = self.rest + octets;
        self.deadline += Duration::from_secs((octets / SLOWEST) as u64);
        self.rest = octets % SLOWEST;
    }

    /// Until when the next octets must come.
    fn deadline(&self) -> Instant {
        self.deadline.min(Instant::now() + BLOCK_TIMEOUT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incoming(limit: u64) -> (Incoming, MemoryBudget) {
        let budget = MemoryBudget::new(8 << 20);
        (Incoming::new(&budget, limit), budget)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_drips_runs_out_of_time() {
        let mut pace = Pace::begin();
        let begun = Instant::now();
        assert_eq!(pace.deadline() - begun, BLOCK_TIMEOUT);
        for _ in 0..10 {
            tokio::time::advance(Duration::from_secs(59)).await;
            pace.add(1);
        }
        assert_eq!(pace.deadline() - begun, HEAD_START);
        (0..SLOWEST).for_each(|_| pace.add(20));
        assert_eq!(pace.deadline() - begun, HEAD_START + Duration::from_secs(20));
        pace.add(1 << 20);
        assert_eq!(pace.deadline() - Instant::now(), BLOCK_TIMEOUT);
    }

    #[tokio::test]
    async fn the_limit_is_exact_and_what_exceeds_it_is_not_kept() {
        for (octets, fits) in [(99, true), (100, true), (101, false)] {
            let (mut incoming, budget) = incoming(100);
            (0..octets).for_each(|_| incoming.push(b"x"));
            assert_eq!(incoming.finish().await.is_ok(), fits, "{octets}");
            assert_eq!(budget.used(), 0);
        }
    }

    #[test]
    fn a_header_without_end_is_refused() {
        let (mut incoming, _) = incoming(u64::MAX);
        (0..=MAX_HEADER / 1024).for_each(|_| incoming.push(&[b'x'; 1024]));
        assert!(matches!(incoming.kept, Err(Problem::HeaderTooLarge)));
        assert!(!incoming.is_endless());
    }

    #[test]
    fn each_problem_has_its_reply() {
        let full = io::Error::other("no space left on device");
        for (problem, code) in [
            (Problem::TooLarge, 552),
            (Problem::HeaderTooLarge, 552),
            (Problem::Storage(full), 452),
        ] {
            let error = Error::from(problem);
            assert_eq!(error.reply.as_ref().map(|reply| reply.code), Some(code), "{error}");
        }
    }
}
