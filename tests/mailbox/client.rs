//! An IMAP client that survives the end of its server: what was answered before it stays known.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use crate::harness::{LOGIN, PASSWORD, PATIENCE, Proxy};

/// A connection to the proxy.
pub struct Imap {
    stream: BufReader<TcpStream>,
    tag: usize,
}

/// What came up to and with the tagged line.
#[derive(Debug, Default)]
pub struct Answer {
    /// Untagged responses with their literals in place, without the last CRLF.
    pub untagged: Vec<Vec<u8>>,
    /// The tagged line without its tag; `None` when the connection ended before.
    pub tagged: Option<String>,
}

impl Answer {
    /// True when it was answered with OK.
    pub fn is_ok(&self) -> bool {
        self.tagged.as_ref().is_some_and(|line| line.starts_with("OK"))
    }

    /// The untagged responses as text.
    pub fn lines(&self) -> Vec<String> {
        self.untagged.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    /// The number after `word` in any line, such as `UIDVALIDITY`.
    pub fn number(&self, word: &str) -> Option<u64> {
        self.lines().iter().chain(&self.tagged).find_map(|line| number_after(line, word))
    }

    /// The tagged line must be OK.
    pub fn ok(self) -> Self {
        assert!(self.is_ok(), "{:?} after {:?}", self.tagged, self.lines());
        self
    }
}

/// The number that follows `word ` in a line.
pub fn number_after(line: &str, word: &str) -> Option<u64> {
    let (_, rest) = line.split_once(&format!("{word} "))?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

impl Imap {
    /// Connected and logged in.
    pub fn login(proxy: &Proxy) -> Self {
        Self::try_login(proxy).expect("a login")
    }

    /// `None` when the proxy ends in the middle.
    pub fn try_login(proxy: &Proxy) -> Option<Self> {
        let stream = TcpStream::connect(proxy.address("IMAP")).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut imap = Self { stream: BufReader::new(stream), tag: 0 };
        imap.response()?;
        let login = imap.command(&format!("LOGIN {LOGIN} {PASSWORD}"));
        login.is_ok().then_some(imap)
    }

    /// Sends a command and reads its answer.
    pub fn command(&mut self, command: &str) -> Answer {
        self.send(command);
        self.answer()
    }

    /// Sends it and reads nothing.
    pub fn send(&mut self, command: &str) {
        self.send_octets(command.as_bytes());
    }

    fn send_octets(&mut self, command: &[u8]) {
        self.tag += 1;
        let mut octets = format!("t{} ", self.tag).into_bytes();
        octets.extend_from_slice(command);
        octets.extend_from_slice(b"\r\n");
        // A server that has ended does not read.
        let _ = self.stream.get_mut().write_all(&octets);
    }

    /// An APPEND with a literal that needs no invitation, not answered yet.
    pub fn send_append(&mut self, folder: &str, options: &str, message: &[u8]) {
        let mut command =
            format!("APPEND {folder} {options} {{{}+}}\r\n", message.len()).into_bytes();
        command.extend_from_slice(message);
        self.send_octets(&command);
    }

    /// Appends, and waits for the answer.
    pub fn append(&mut self, folder: &str, options: &str, message: &[u8]) -> Answer {
        self.send_append(folder, options, message);
        self.answer()
    }

    /// Begins IDLE.
    pub fn idle(&mut self) {
        self.send("IDLE");
        let line = self.response().expect("a continuation");
        assert!(line.starts_with(b"+"), "{}", String::from_utf8_lossy(&line));
    }

    /// Ends IDLE.
    pub fn done(&mut self) -> Answer {
        self.stream.get_mut().write_all(b"DONE\r\n").unwrap();
        self.answer()
    }

    /// The answer to the last command that was sent.
    pub fn answer(&mut self) -> Answer {
        let tag = format!("t{} ", self.tag);
        let mut answer = Answer::default();
        while let Some(line) = self.response() {
            if let Some(rest) = line.strip_prefix(tag.as_bytes()) {
                answer.tagged = Some(String::from_utf8_lossy(rest).into_owned());
                break;
            }
            answer.untagged.push(line);
        }
        answer
    }

    /// One response with its literals, without the last CRLF; `None` at the end.
    pub fn response(&mut self) -> Option<Vec<u8>> {
        let mut whole = Vec::new();
        loop {
            let begin = whole.len();
            self.stream.read_until(b'\n', &mut whole).ok()?;
            if !whole.ends_with(b"\r\n") || whole.len() == begin {
                return None;
            }
            match literal(&whole[begin..]) {
                Some(octets) => {
                    let begin = whole.len();
                    whole.resize(begin + octets, 0);
                    self.stream.read_exact(&mut whole[begin..]).ok()?;
                }
                None => {
                    whole.truncate(whole.len() - 2);
                    return Some(whole);
                }
            }
        }
    }

    /// UID and Message-ID of every message of the selected folder.
    pub fn listing(&mut self) -> BTreeMap<u32, String> {
        let answer = self.command("UID FETCH 1:* (UID ENVELOPE)").ok();
        let pair = |line: &String| {
            let uid = number_after(line, "UID")?;
            let begin = line.rfind('<')?;
            let end = line.rfind('>')?;
            Some((u32::try_from(uid).ok()?, line.get(begin..=end)?.to_owned()))
        };
        answer.lines().iter().filter_map(pair).collect()
    }

    /// A message's bytes; `None` when the command failed or the server ended.
    pub fn body(&mut self, uid: u32) -> Option<Vec<u8>> {
        let answer = self.command(&format!("UID FETCH {uid} (RFC822.SIZE BODY.PEEK[])"));
        if !answer.is_ok() {
            return None;
        }
        let line = answer.untagged.iter().find(|line| line.windows(6).any(|w| w == b"BODY[]"))?;
        let text = String::from_utf8_lossy(line).into_owned();
        let size = usize::try_from(number_after(&text, "RFC822.SIZE")?).ok()?;
        let end = line.windows(3).position(|w| w == b"}\r\n")? + 3;
        let body = line.get(end..end + size).expect("RFC822.SIZE is the literal's length");
        assert!(line.len() <= end + size + 40, "the literal is longer than RFC822.SIZE: {text}");
        Some(body.to_vec())
    }
}

/// The length of the literal that a line announces.
fn literal(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"}\r\n")?;
    let begin = line.iter().rposition(|octet| *octet == b'{')?;
    std::str::from_utf8(&line[begin + 1..]).ok()?.parse().ok()
}
