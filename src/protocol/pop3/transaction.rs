//! Commands after login, and messages in the form of an answer: the TRANSACTION state of RFC 1939
//! section 5.
//!
//! Danger: a line of the message that begins with a dot ends the answer, and what follows is taken
//! for the next one. Rule: everything goes through [`Stuffer`], which also ends the last line.

use super::command::Malformed;

/// What a client asks for after login. Message numbers are at least 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transaction {
    /// RFC 2449 section 5.
    Capa,
    /// RFC 1939 section 5.
    Noop,
    /// Section 6: into the UPDATE state.
    Quit,
    /// Section 5.
    Stat,
    /// Section 5.
    List(Option<u32>),
    /// Section 7.
    Uidl(Option<u32>),
    /// Section 5.
    Retr(u32),
    /// Section 5.
    Dele(u32),
    /// Section 5.
    Rset,
    /// Section 7: the header and so many lines.
    Top(u32, u64),
    /// Anything else, in upper case.
    Other(String),
}

/// Reads a complete line.
pub fn parse_transaction(line: &[u8]) -> Result<Transaction, Malformed> {
    let line = std::str::from_utf8(line).map_err(|_| Malformed("UTF-8 expected"))?;
    let mut words = line.split_ascii_whitespace();
    let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
    let mut arguments = Arguments(words);
    let command = match keyword.as_str() {
        "CAPA" => Transaction::Capa,
        "NOOP" => Transaction::Noop,
        "QUIT" => Transaction::Quit,
        "STAT" => Transaction::Stat,
        "RSET" => Transaction::Rset,
        "LIST" => Transaction::List(arguments.message_or_none()?),
        "UIDL" => Transaction::Uidl(arguments.message_or_none()?),
        "RETR" => Transaction::Retr(arguments.message()?),
        "DELE" => Transaction::Dele(arguments.message()?),
        "TOP" => Transaction::Top(arguments.message()?, arguments.lines()?),
        _ => return Ok(Transaction::Other(keyword)),
    };
    match arguments.0.next() {
        None => Ok(command),
        Some(_) => Err(Malformed("too many arguments")),
    }
}

struct Arguments<'a>(std::str::SplitAsciiWhitespace<'a>);

impl Arguments<'_> {
    fn message_or_none(&mut self) -> Result<Option<u32>, Malformed> {
        match self.0.next() {
            None => Ok(None),
            Some(word) => match word.parse() {
                Ok(number) if number > 0 => Ok(Some(number)),
                _ => Err(Malformed("a message number expected")),
            },
        }
    }

    fn message(&mut self) -> Result<u32, Malformed> {
        self.message_or_none()?.ok_or(Malformed("a message number expected"))
    }

    fn lines(&mut self) -> Result<u64, Malformed> {
        let word = self.0.next().ok_or(Malformed("a number of lines expected"))?;
        word.parse().map_err(|_| Malformed("a number of lines expected"))
    }
}

/// Puts a dot before each line that begins with one (RFC 1939 section 3).
#[derive(Clone, Copy, Debug)]
pub struct Stuffer {
    last: [u8; 2],
}

impl Default for Stuffer {
    fn default() -> Self {
        Self { last: *b"\r\n" }
    }
}

impl Stuffer {
    /// The next octets of the message, as they go to the client.
    pub fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        let mut from = 0;
        for at in memchr::memchr_iter(b'.', octets) {
            let before = match at {
                0 => self.last,
                1 => [self.last[1], octets[0]],
                _ => [octets[at - 2], octets[at - 1]],
            };
            if before == *b"\r\n" {
                out.extend_from_slice(&octets[from..at]);
                out.push(b'.');
                from = at;
            }
        }
        out.extend_from_slice(&octets[from..]);
        match octets {
            [] => {}
            [one] => self.last = [self.last[1], *one],
            [.., one, two] => self.last = [*one, *two],
        }
    }

    /// What ends the answer.
    pub fn end(self) -> &'static [u8] {
        match &self.last {
            b"\r\n" => b".\r\n",
            _ => b"\r\n.\r\n",
        }
    }
}

/// Cuts a message behind its header and so many lines (TOP).
#[derive(Clone, Copy, Debug)]
pub struct Top {
    lines: u64,
    in_header: bool,
    line_is_empty: bool,
}

impl Top {
    /// The header, its empty line, and `lines` lines.
    pub fn new(lines: u64) -> Self {
        Self { lines, in_header: true, line_is_empty: true }
    }

    /// How many of the next octets belong to it; fewer than all: that was the end.
    pub fn take(&mut self, octets: &[u8]) -> usize {
        let mut from = 0;
        loop {
            if !self.in_header && self.lines == 0 {
                return from;
            }
            let Some(at) = memchr::memchr(b'\n', &octets[from..]).map(|at| from + at) else {
                let rest = &octets[from..];
                self.line_is_empty = self.line_is_empty && rest.iter().all(|byte| *byte == b'\r');
                return octets.len();
            };
            let empty = self.line_is_empty && octets[from..at].iter().all(|byte| *byte == b'\r');
            match self.in_header {
                true => self.in_header = !empty,
                false => self.lines -= 1,
            }
            self.line_is_empty = true;
            from = at + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_commands() {
        for (line, expected) in [
            ("stat", Transaction::Stat),
            ("LIST", Transaction::List(None)),
            ("LIST 7", Transaction::List(Some(7))),
            ("uidl 10000", Transaction::Uidl(Some(10_000))),
            ("RETR 1 ", Transaction::Retr(1)),
            ("DELE  2", Transaction::Dele(2)),
            ("TOP 1 0", Transaction::Top(1, 0)),
            ("RSET", Transaction::Rset),
            ("CAPA", Transaction::Capa),
            ("noop", Transaction::Noop),
            ("QUIT", Transaction::Quit),
            ("xtnd x", Transaction::Other("XTND".to_owned())),
            ("", Transaction::Other(String::new())),
        ] {
            assert_eq!(parse_transaction(line.as_bytes()), Ok(expected), "{line}");
        }
        for line in [
            "RETR",
            "RETR 0",
            "RETR x",
            "RETR -1",
            "RETR 1 2",
            "TOP 1",
            "TOP 1 x",
            "LIST 99999999999",
            "STAT 1",
        ] {
            assert!(parse_transaction(line.as_bytes()).is_err(), "{line}");
        }
        assert!(parse_transaction(b"\xff").is_err());
    }

    #[test]
    fn dots_are_stuffed_however_the_message_is_cut() {
        for (message, expected) in [
            ("", ".\r\n"),
            (".\r\n", "..\r\n.\r\n"),
            ("a\r\n.\r\n..b\r\nc.d\r\n", "a\r\n..\r\n...b\r\nc.d\r\n.\r\n"),
            ("no end", "no end\r\n.\r\n"),
            ("cr\r", "cr\r\r\n.\r\n"),
            ("a\n.b\r\n", "a\n.b\r\n.\r\n"),
        ] {
            for cut in 0..=message.len() {
                let (first, second) = message.as_bytes().split_at(cut);
                let mut out = Vec::new();
                let mut stuffer = Stuffer::default();
                stuffer.push(first, &mut out);
                stuffer.push(second, &mut out);
                out.extend_from_slice(stuffer.end());
                assert_eq!(String::from_utf8_lossy(&out), expected, "{message:?} at {cut}");
            }
        }
    }

    #[test]
    fn top_ends_after_its_lines_however_the_message_is_cut() {
        let message = "A: b\r\nC: d\r\n\r\none\r\n\r\nthree\r\n";
        for (lines, expected) in [
            (0, "A: b\r\nC: d\r\n\r\n"),
            (1, "A: b\r\nC: d\r\n\r\none\r\n"),
            (2, "A: b\r\nC: d\r\n\r\none\r\n\r\n"),
            (9, message),
        ] {
            for cut in 0..=message.len() {
                let (first, second) = message.as_bytes().split_at(cut);
                let mut top = Top::new(lines);
                let taken = top.take(first);
                let mut out = first[..taken].to_vec();
                if taken == first.len() {
                    out.extend_from_slice(&second[..top.take(second)]);
                }
                assert_eq!(String::from_utf8_lossy(&out), expected, "{lines} at {cut}");
            }
        }
    }
}
