//! A client that says exactly what a test wants, octet by octet.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::harness::{LOGIN, PASSWORD, PATIENCE, Proxy};

/// A connection to an SMTP listener.
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects to the proxy's plain listener and reads the greeting.
    pub fn connect(proxy: &Proxy) -> Self {
        Self::connect_to(proxy.address("SMTP"))
    }

    /// The same to any server.
    pub fn connect_to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Self { stream: BufReader::new(stream) };
        let greeting = client.reply();
        assert!(greeting.starts_with("220 "), "{greeting}");
        client
    }

    /// Waits longer than usual for replies.
    pub fn patient(self, patience: Duration) -> Self {
        self.stream.get_ref().set_read_timeout(Some(patience)).unwrap();
        self
    }

    /// Connects, says EHLO, logs in as the usual client.
    pub fn logged_in(proxy: &Proxy) -> Self {
        Self::logged_in_as(proxy, LOGIN, PASSWORD)
    }

    /// The same as another client.
    pub fn logged_in_as(proxy: &Proxy, login: &str, password: &str) -> Self {
        let mut client = Self::connect(proxy);
        client.expect("EHLO client.example", "250");
        client.expect(&plain(login, password), "235 2.7.0");
        client
    }

    /// Sends octets as they are.
    pub fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(octets.as_ref()).unwrap();
    }

    /// A reply, its lines joined by LF; empty when the connection has ended.
    pub fn reply(&mut self) -> String {
        let mut lines: Vec<String> = Vec::new();
        loop {
            let mut line = String::new();
            match self.stream.read_line(&mut line) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
                Err(error) => panic!("no reply: {error}; so far {lines:?}"),
            }
            let more = line.as_bytes().get(3) == Some(&b'-');
            lines.push(line.trim_end_matches("\r\n").to_owned());
            if !more {
                return lines.join("\n");
            }
        }
    }

    /// A command and its reply.
    pub fn say(&mut self, command: &str) -> String {
        self.send(format!("{command}\r\n"));
        self.reply()
    }

    /// A command whose reply must begin so.
    #[track_caller]
    pub fn expect(&mut self, command: &str, start: &str) -> String {
        let reply = self.say(command);
        assert!(reply.starts_with(start), "{command}: wanted {start}, got {reply}");
        reply
    }

    /// A reply that must begin so.
    #[track_caller]
    pub fn expect_reply(&mut self, start: &str) -> String {
        let reply = self.reply();
        assert!(reply.starts_with(start), "wanted {start}, got {reply}");
        reply
    }

    /// MAIL and RCPT, all of which must be accepted.
    #[track_caller]
    pub fn envelope(&mut self, from: &str, to: &[&str]) {
        self.expect(&format!("MAIL FROM:<{from}>"), "250 2.1.0");
        for to in to {
            self.expect(&format!("RCPT TO:<{to}>"), "250 2.1.5");
        }
    }

    /// DATA with the message, dots stuffed as RFC 5321 wants; the reply.
    #[track_caller]
    pub fn data(&mut self, message: impl AsRef<[u8]>) -> String {
        self.expect("DATA", "354");
        self.send(stuffed(message.as_ref()));
        self.reply()
    }

    /// A whole transaction; the reply to the message.
    #[track_caller]
    pub fn mail(&mut self, from: &str, to: &[&str], message: impl AsRef<[u8]>) -> String {
        self.envelope(from, to);
        self.data(message)
    }

    /// A whole transaction that must succeed.
    #[track_caller]
    pub fn sends(&mut self, from: &str, to: &[&str], message: impl AsRef<[u8]>) {
        let reply = self.mail(from, to, message);
        assert!(reply.starts_with("250 2.0.0"), "{reply}");
    }

    /// QUIT, and the end of the connection.
    #[track_caller]
    pub fn quit(mut self) {
        self.expect("QUIT", "221");
        assert!(self.has_ended());
    }

    /// True when nothing more comes.
    pub fn has_ended(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

/// AUTH PLAIN with its initial response.
pub fn plain(login: &str, password: &str) -> String {
    format!("AUTH PLAIN {}", base64(&format!("\0{login}\0{password}")))
}

/// Base64 of a text.
pub fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 64);
    let mut at_start = true;
    for &byte in message {
        if at_start && byte == b'.' {
            out.push(b'.');
        }
        out.push(byte);
        at_start = byte == b'\n' && out.ends_with(b"\r\n");
    }
    if !at_start {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}
