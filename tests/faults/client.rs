//! An SMTP client that survives everything.
//!
//! Rule: only a 250 after the whole message is a promise; a connection that breaks, a reply that
//! does not come and a refusal are none.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::harness::PASSWORD;
use crate::sending::client::plain;

use super::dice::Dice;
use super::letter::Letter;

/// As `System.Net.Mail` has it, but shorter: rounds are.
const PATIENCE: Duration = Duration::from_secs(45);
/// The largest chunk of BDAT.
const CHUNK: u64 = 400_000;

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 250 for the recipients of these numbers, in these words.
    Taken(Vec<usize>, String),
    /// Refused, with this reply; of a recipient: all were.
    Refused(String),
    /// The connection broke, or no reply came.
    Broken,
}

/// A session that is logged in.
pub struct Session {
    stream: BufReader<TcpStream>,
}

/// The connection is of no more use.
#[derive(Debug)]
pub struct Gone;

impl From<std::io::Error> for Gone {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

impl Session {
    /// Connects and logs in.
    pub fn open(address: SocketAddr, login: &str) -> Result<Self, Gone> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut session = Self { stream: BufReader::new(stream) };
        let greeted = session.reply()?.starts_with("220")
            && session.say("EHLO client.example")?.starts_with("250")
            && session.say(&plain(login, PASSWORD))?.starts_with("235");
        greeted.then_some(session).ok_or(Gone)
    }

    /// Hands a message over for those of its recipients; `at_end` is called when its last octet has
    /// gone out.
    pub fn send(
        &mut self,
        letter: &Letter,
        open: &[usize],
        dice: &mut Dice,
        at_end: impl FnOnce(),
    ) -> Outcome {
        self.transaction(letter, open, dice, at_end).unwrap_or(Outcome::Broken)
    }

    fn transaction(
        &mut self,
        letter: &Letter,
        open: &[usize],
        dice: &mut Dice,
        at_end: impl FnOnce(),
    ) -> Result<Outcome, Gone> {
        let reply = self.say(&format!("MAIL FROM:<{}>", letter.from))?;
        if !reply.starts_with("250") {
            return Ok(Outcome::Refused(reply));
        }
        let (mut taken, mut last) = (Vec::new(), String::new());
        for number in open.iter().copied() {
            last = self.say(&format!("RCPT TO:<{}>", letter.recipients[number]))?;
            if last.starts_with('2') {
                taken.push(number);
            }
        }
        if taken.is_empty() {
            let _ = self.say("RSET")?;
            return Ok(Outcome::Refused(last));
        }
        let reply = match dice.percent(30) {
            true => self.bdat(&letter.raw, dice, at_end)?,
            false => self.data(letter, at_end)?,
        };
        Ok(match reply.starts_with("250") {
            true => Outcome::Taken(taken, reply),
            false => Outcome::Refused(reply),
        })
    }

    fn data(&mut self, letter: &Letter, at_end: impl FnOnce()) -> Result<String, Gone> {
        let reply = self.say("DATA")?;
        if !reply.starts_with("354") {
            return Ok(reply);
        }
        let mut stuffed = letter.stuffed();
        stuffed.extend_from_slice(b".\r\n");
        self.stream.get_mut().write_all(&stuffed)?;
        at_end();
        self.reply()
    }

    fn bdat(&mut self, raw: &[u8], dice: &mut Dice, at_end: impl FnOnce()) -> Result<String, Gone> {
        let mut rest = raw;
        loop {
            let size = usize::try_from(dice.spread(200, CHUNK)).unwrap_or(1).min(rest.len());
            let (chunk, more) = rest.split_at(size);
            let last = if more.is_empty() { " LAST" } else { "" };
            let command = format!("BDAT {size}{last}\r\n");
            self.stream.get_mut().write_all(&[command.as_bytes(), chunk].concat())?;
            if more.is_empty() {
                at_end();
                return self.reply();
            }
            let reply = self.reply()?;
            if !reply.starts_with("250") {
                return Ok(reply);
            }
            rest = more;
        }
    }

    fn say(&mut self, command: &str) -> Result<String, Gone> {
        self.stream.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
        self.reply()
    }

    /// The last line of a reply.
    fn reply(&mut self) -> Result<String, Gone> {
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            if !line.ends_with('\n') {
                return Err(Gone);
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line.trim_end().to_owned());
            }
        }
    }
}
