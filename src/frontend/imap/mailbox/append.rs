//! APPEND (RFC 9051 section 6.3.12, RFC 4315, RFC 7889, RFC 9755).
//!
//! Danger: octets of a message that nobody reads are taken for commands; a message half sent is
//! stored; one that never ends fills the disk. Rule: what can be refused is refused before the `+`;
//! of a literal that comes without it all octets are read, or the connection is closed; time and
//! memory are limited; only a complete message is handed on.
//!
//! Lone CRs and LFs become CRLF: the service does the same, and clients compare what comes back.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::answer::{refuse, refuse_target};
use super::store::parse_flags;
use super::{Outcome, Session, Tagged};
use crate::frontend::conversation::Parting;
use crate::mail::mailbox::Flags;
use crate::mail::{Error, Kind, MemoryBudget, Message, MessageBuffer};
use crate::protocol::imap::request;
use crate::protocol::smtp::data::LineEnds;

/// A header that is larger is none, in octets; it is held in memory.
const MAX_HEADER: usize = 1 << 20;
/// Of a message that is refused so many octets beyond the limit are read and dropped; a larger one
/// ends the connection.
const MAX_EXCESS: u64 = 64 << 20;
/// A client may think so long before it sends, and is as slow as [`SLOWEST`] afterwards.
const HEAD_START: Duration = Duration::from_secs(300);
/// Octets a second that a client must send at least: the space of a message is held meanwhile.
const SLOWEST: u64 = 1 << 10;
/// What follows a message: a line end, and a parenthesis.
const MAX_TAIL: usize = 16;

const TOO_BIG: &str = "NO [TOOBIG] the message is too large";
const NO_MEMORY: &str = "NO [UNAVAILABLE] no room for the message at present; try again later";
/// A second message, or nonsense. Its octets must not become commands.
const BAD_TAIL: &str = "BAD one message only, and nothing behind it; closing";

/// Reads the message and stores it.
pub(super) async fn run(session: &mut Session, tag: &str, append: &request::Append) -> Outcome {
    let limit = session.mailbox.append_limit().min(session.context.limits.max_message_bytes);
    let (flags, incoming) = match admit(append, limit) {
        Ok(flags) => (flags, Incoming::new(&session.context.messages, limit, append.literal8)),
        Err(refusal) if append.synchronising => return Ok(refusal),
        Err(refusal) if append.size > limit.saturating_add(MAX_EXCESS) => {
            return close(session, tag, &refusal).await;
        }
        Err(refusal) => (Flags::default(), Incoming::dropped(refusal)),
    };
    if append.synchronising {
        session.client.push("+ go ahead\r\n");
    }
    let message = match receive(session, tag, append, incoming).await? {
        Ok(message) => message,
        Err(refusal) => return Ok(refusal),
    };
    let appending = session.mailbox.append(&append.mailbox, Arc::new(message), flags, append.date);
    Ok(match appending.await {
        Ok(appended) => {
            let (validity, uid) = (appended.uid_validity, appended.uid);
            format!("OK [APPENDUID {validity} {uid}] APPEND completed")
        }
        Err(error) => refuse_target(session, &error, "APPEND"),
    })
}

/// What can be said before the message is there.
fn admit(append: &request::Append, limit: u64) -> Result<Flags, Tagged> {
    let flags = parse_flags(&append.flags)?;
    match append.size {
        // RFC 3502 calls this a client that has changed its mind.
        0 => Err("NO an empty message can't be stored".to_owned()),
        size if size > limit => Err(TOO_BIG.to_owned()),
        _ => Ok(flags),
    }
}

/// The last word to a client whose next octets can't be told from commands.
async fn close(session: &mut Session, tag: &str, refusal: &str) -> Outcome {
    session.client.push(format!("{tag} {refusal}\r\n* BYE closing\r\n"));
    session.client.flush().await?;
    Err(Parting::Quit)
}

/// Reads the literal and what closes the command.
async fn receive(
    session: &mut Session,
    tag: &str,
    append: &request::Append,
    incoming: Incoming,
) -> Result<Result<Message, Tagged>, Parting> {
    let deadline = Instant::now() + HEAD_START + Duration::from_secs(append.size / SLOWEST);
    let reading = read(session, append, incoming);
    let reading = timeout_at(deadline, reading).await.map_err(|_| Parting::TimedOut)?;
    let Some(incoming) = reading? else {
        close(session, tag, BAD_TAIL).await?;
        return Err(Parting::Quit);
    };
    Ok(match incoming.finish().await {
        Ok(message) => Ok(message),
        Err(Problem::Refused(refusal)) => Err(refusal),
        Err(Problem::Storage(error)) => Err(storage(session, error)),
    })
}

/// `None`: what follows the literal does not end the command.
async fn read(
    session: &mut Session,
    append: &request::Append,
    mut incoming: Incoming,
) -> Result<Option<Incoming>, Parting> {
    let client = &mut session.client;
    let mut left = append.size;
    while left > 0 {
        if client.input().is_empty() {
            client.fill().await?;
        }
        let octets = client.take(usize::try_from(left).unwrap_or(usize::MAX));
        left -= octets.len() as u64;
        incoming.push(&octets);
        incoming.settle().await;
    }
    let tails: [&[u8]; 2] = match append.utf8 {
        true => [b")\r\n", b")\n"],
        false => [b"\r\n", b"\n"],
    };
    loop {
        let input = client.input();
        if let Some(tail) = tails.iter().find(|tail| input.starts_with(tail)) {
            client.take(tail.len());
            return Ok(Some(incoming));
        }
        let may_come = tails.iter().any(|tail| tail.starts_with(input));
        if !may_come || input.len() > MAX_TAIL {
            return Ok(None);
        }
        client.fill().await?;
    }
}

fn storage(session: &mut Session, error: io::Error) -> Tagged {
    if error.kind() == io::ErrorKind::OutOfMemory {
        return NO_MEMORY.to_owned();
    }
    let text = "a message that is being appended can't be put into a temporary file";
    refuse(session, &Error::new(Kind::Unavailable, text).with_source(error), "APPEND")
}

/// Why a message that is coming in is not kept.
enum Problem {
    Refused(Tagged),
    Storage(io::Error),
}

/// A message that is coming in. What is refused is read all the same: its octets are no commands.
struct Incoming {
    kept: Result<MessageBuffer, Problem>,
    ends: LineEnds,
    limit: u64,
    /// RFC 9051 section 4.3.1: only a literal8 may hold NUL.
    is_literal8: bool,
}

impl Incoming {
    fn new(budget: &MemoryBudget, limit: u64, is_literal8: bool) -> Self {
        let kept = Ok(MessageBuffer::new(budget));
        Self { kept, ends: LineEnds::default(), limit, is_literal8 }
    }

    /// Nothing of it is kept.
    fn dropped(refusal: Tagged) -> Self {
        let kept = Err(Problem::Refused(refusal));
        Self { kept, ends: LineEnds::default(), limit: 0, is_literal8: true }
    }

    fn push(&mut self, octets: &[u8]) {
        if !self.is_literal8 && memchr::memchr(0, octets).is_some() && self.kept.is_ok() {
            self.refuse("BAD a message with NUL needs a literal8");
        }
        let Self { kept, ends, .. } = self;
        let Ok(buffer) = kept else { return };
        let mut outcome = Ok(());
        ends.feed(octets, &mut |clean| {
            if outcome.is_ok() {
                outcome = buffer.push(clean);
            }
        });
        self.check(outcome);
    }

    fn check(&mut self, outcome: io::Result<()>) {
        if let Err(error) = outcome {
            self.kept = Err(Problem::Storage(error));
        }
        let Ok(buffer) = &self.kept else { return };
        if buffer.size() > self.limit {
            self.refuse(TOO_BIG);
        } else if buffer.header_size() > MAX_HEADER {
            self.refuse("NO [TOOBIG] the header is too large");
        }
    }

    fn refuse(&mut self, refusal: &str) {
        self.kept = Err(Problem::Refused(refusal.to_owned()));
    }

    async fn settle(&mut self) {
        if let Ok(buffer) = &mut self.kept
            && let Err(error) = buffer.settle().await
        {
            self.kept = Err(Problem::Storage(error));
        }
    }

    async fn finish(mut self) -> Result<Message, Problem> {
        let mut outcome = Ok(());
        if let Ok(buffer) = &mut self.kept {
            self.ends.finish(&mut |clean| outcome = buffer.push(clean));
        }
        self.check(outcome);
        self.kept?.finish().await.map_err(Problem::Storage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn taken(pieces: &[&[u8]], limit: u64, literal8: bool) -> Result<Vec<u8>, String> {
        let budget = MemoryBudget::new(8 << 20);
        let mut incoming = Incoming::new(&budget, limit, literal8);
        for piece in pieces {
            incoming.push(piece);
            incoming.settle().await;
        }
        let message = incoming.finish().await.map_err(|problem| match problem {
            Problem::Refused(refusal) => refusal,
            Problem::Storage(error) => error.to_string(),
        })?;
        let (mut reader, mut text) = (message.reader(), Vec::new());
        while let Some(piece) = reader.next_piece().expect("memory") {
            text.extend_from_slice(&piece);
        }
        Ok(text)
    }

    #[tokio::test]
    async fn line_ends_become_crlf_however_the_message_is_cut() {
        let text = b"A: b\n\nx\ry\r\n\rz\r";
        for cut in 0..=text.len() {
            let found = taken(&[&text[..cut], &text[cut..]], 100, false).await;
            let found = found.expect("small");
            assert_eq!(String::from_utf8_lossy(&found), "A: b\r\n\r\nx\r\ny\r\n\r\nz\r\n", "{cut}");
        }
    }

    #[tokio::test]
    async fn limits_count_what_is_kept() {
        for (text, limit, literal8, expected) in [
            (&b"A: b\r\n\r\nx"[..], 9, false, "A: b"),
            (b"A: b\r\n\r\nxy", 9, false, TOO_BIG),
            (b"A: b\n\nx", 8, false, TOO_BIG),
            (b"x\r", 2, false, TOO_BIG),
            (b"A: b\r\n\r\n\0", 99, false, "BAD a message with NUL needs a literal8"),
            (b"A: b\r\n\r\n\0", 99, true, "A: b"),
        ] {
            let found = taken(&[text], limit, literal8).await;
            let found = found.map(|text| String::from_utf8_lossy(&text[..4]).into_owned());
            assert_eq!(found.unwrap_or_else(|refusal| refusal), expected, "{text:?}");
        }
        let endless = vec![b'x'; MAX_HEADER + 1];
        let refusal = taken(&[&endless], u64::MAX, false).await.expect_err("refused");
        assert_eq!(refusal, "NO [TOOBIG] the header is too large");
    }

    #[test]
    fn what_can_be_refused_is_refused_before_the_message() {
        let append = |size, flags: &[&str]| request::Append {
            mailbox: "INBOX".to_owned(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            date: None,
            size,
            synchronising: true,
            literal8: false,
            utf8: false,
        };
        for (size, flags, expected) in [
            (10, &["\\Seen"][..], ""),
            (0, &[], "NO an"),
            (11, &[], "NO [TOOBIG]"),
            (u64::MAX, &[], "NO [TOOBIG]"),
            (10, &["\\Recent"], "BAD "),
            (10, &["\\Nonsense"], "BAD "),
        ] {
            let refusal = admit(&append(size, flags), 10).err().unwrap_or_default();
            assert!(refusal.starts_with(expected), "{size} {flags:?}: {refusal}");
            assert_eq!(refusal.is_empty(), expected.is_empty());
        }
    }
}
