//! A client that is as simple as can be: for counting, timing, and what no library does.
//!
//! It looks at nothing but line ends, literals and the last line of an answer, and keeps only what
//! is asked for, so that a hundred megabytes cost it no memory.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::{LOGIN, PASSWORD, PATIENCE, Proxy};

/// A session.
pub struct Wire {
    stream: BufReader<TcpStream>,
}

/// What an IMAP command was answered with.
#[derive(Debug, Default)]
pub struct Answer {
    /// The untagged responses, without their literals.
    pub untagged: Vec<String>,
    /// The tagged line without its tag.
    pub tagged: String,
    /// Octets of all literals.
    pub literals: u64,
}

impl Answer {
    /// How many untagged responses contain `text`.
    pub fn count(&self, text: &str) -> usize {
        self.untagged.iter().filter(|line| line.contains(text)).count()
    }
}

impl Wire {
    /// Connects; the greeting is still to be read.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::with_capacity(256 << 10, stream) }
    }

    /// An IMAP session of [`LOGIN`], logged in.
    pub fn imap(proxy: &Proxy) -> Self {
        let mut wire = Self::connect(proxy.address("IMAP"));
        assert!(wire.line().starts_with("* OK"));
        wire.succeed(&format!("LOGIN {LOGIN} {PASSWORD}"));
        wire
    }

    /// A POP3 session of [`LOGIN`], logged in.
    pub fn pop3(proxy: &Proxy) -> Self {
        let mut wire = Self::connect(proxy.address("POP3"));
        assert!(wire.line().starts_with("+OK"));
        for command in [format!("USER {LOGIN}"), format!("PASS {PASSWORD}")] {
            let answer = wire.ask(&command);
            assert!(answer.starts_with("+OK"), "{answer}");
        }
        wire
    }

    /// Sends a line.
    pub fn send(&mut self, line: &str) {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
    }

    /// The next line without its end.
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).unwrap();
        assert!(line.ends_with(b"\r\n"), "the connection ended after {line:?}");
        line.truncate(line.len() - 2);
        String::from_utf8_lossy(&line).into_owned()
    }

    /// Sends a line, reads one.
    pub fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.line()
    }

    /// Sends a POP3 command; the lines and the octets of its answer, which must be `+OK`.
    pub fn lines(&mut self, command: &str) -> (usize, usize) {
        let first = self.ask(command);
        assert!(first.starts_with("+OK"), "{command}: {first}");
        let (mut lines, mut octets) = (0, 0);
        let mut line = Vec::new();
        loop {
            line.clear();
            self.stream.read_until(b'\n', &mut line).unwrap();
            assert!(line.ends_with(b"\r\n"), "{command}: the connection ended");
            if line == b".\r\n" {
                return (lines, octets);
            }
            (lines, octets) = (lines + 1, octets + line.len());
        }
    }

    /// Sends an IMAP command and reads to its tagged answer.
    pub fn command(&mut self, command: &str) -> Answer {
        self.send(&format!("a {command}"));
        self.answer()
    }

    /// Reads to the tagged answer of a command that was sent with the tag `a`.
    pub fn answer(&mut self) -> Answer {
        let mut answer = Answer::default();
        loop {
            let mut line = self.line();
            while let Some(octets) = literal(&line) {
                self.skip(octets);
                answer.literals += octets;
                line += &self.line();
            }
            match line.strip_prefix("a ") {
                Some(tagged) => {
                    answer.tagged = tagged.to_owned();
                    return answer;
                }
                None => answer.untagged.push(line),
            }
        }
    }

    /// The same; the answer must be `OK`.
    pub fn succeed(&mut self, command: &str) -> Answer {
        let answer = self.command(command);
        assert!(answer.tagged.starts_with("OK"), "{command}: {}", answer.tagged);
        answer
    }

    fn skip(&mut self, octets: u64) {
        let skipped = std::io::copy(&mut (&mut self.stream).take(octets), &mut std::io::sink());
        assert_eq!(skipped.unwrap(), octets, "the connection ended within a message");
    }
}

/// The length of the literal that a line announces.
fn literal(line: &str) -> Option<u64> {
    let (_, length) = line.strip_suffix('}')?.rsplit_once('{')?;
    length.parse().ok()
}
