//! APPEND up to its message.
//!
//! Danger: a message is too large to be held with its command, and one that does not wait for `+`
//! comes even after a BAD: read as commands, it would act. Rule: the announcement is the last thing
//! read here, and [`announced_message`] tells its size also where the rest is malformed.

use super::super::command::{Literal, announcement};
use super::super::request::{Append, Verb};
use super::flags;
use super::scan;
use super::words::{Read, Words};

/// A message that is going to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Its octets.
    pub octets: u64,
    /// True when the client sends them only after our `+`.
    pub synchronising: bool,
}

impl From<Literal> for Announcement {
    fn from(literal: Literal) -> Self {
        let octets = u64::try_from(literal.octets).unwrap_or(u64::MAX);
        Self { octets, synchronising: literal.synchronising }
    }
}

/// What an APPEND up to its message announces, even where it is malformed otherwise: a message that
/// does not wait for `+` comes all the same and is to be passed over.
pub fn announced_message(command: &[u8]) -> Option<Announcement> {
    let line = command.strip_suffix(b"\n").unwrap_or(command);
    let start = memchr::memrchr(b'\n', line).map_or(0, |at| at + 1);
    scan::announced(&line[start..]).map(|(_, literal)| literal.into())
}

/// `append = "APPEND" SP mailbox [SP flag-list] [SP date-time] SP append-data`;
/// `append-data = literal / literal8 / "UTF8" SP "(" literal8 ")"` (RFC 9051 section 6.3.12, RFC 9755).
pub(super) fn append(words: &mut Words<'_>) -> Read<Verb> {
    words.space()?;
    let mailbox = words.mailbox()?;
    words.space()?;
    let mut flags = Vec::new();
    if words.peek() == Some(b'(') {
        flags = flags::flag_list(words)?;
        words.space()?;
    }
    let mut date = None;
    if words.peek() == Some(b'"') {
        date = Some(words.date_time()?);
        words.space()?;
    }
    let (message, literal8, utf8) = message(words)?;
    let Announcement { octets: size, synchronising } = message;
    Ok(Verb::Append(Append { mailbox, flags, date, size, synchronising, literal8, utf8 }))
}

/// The announcement, which is the rest of the command; whether it is a literal8, and of the UTF8
/// form.
fn message(words: &mut Words<'_>) -> Read<(Announcement, bool, bool)> {
    const NO_MESSAGE: &str = "APPEND takes flags, then a date, then the message as a literal";
    let utf8 = words.eat_name("UTF8");
    if utf8 {
        words.space()?;
        words.expect(b'(', NO_MESSAGE)?;
    }
    let octets = words.take_rest();
    let (literal, literal8) = match octets.strip_prefix(b"~") {
        None if utf8 => return Err("UTF8 takes a literal8"),
        None => (octets, false),
        Some(literal) => (literal, true),
    };
    announcement(literal).map(|literal| (literal.into(), literal8, utf8)).ok_or(NO_MESSAGE)
}
