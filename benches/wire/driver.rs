//! The client side of the benchmark: as little work as possible for each message.

use std::net::SocketAddr;

use authbridge::tls::ClientTls;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Messages 1, 2 and 3 of the upstream's mailbox, in octets.
pub const IMAP_SIZES: [usize; 3] = [5 << 10, 100 << 10, 10 << 20];

/// A message of about `size` octets in lines of 76.
pub fn message(size: usize) -> Vec<u8> {
    let mut text = b"From: a@example.com\r\nTo: b@example.com\r\nSubject: bench\r\n\
        Date: Tue, 24 Nov 2026 09:00:00 +0000\r\nMessage-ID: <bench@example.com>\r\n\r\n"
        .to_vec();
    while text.len() < size {
        text.extend_from_slice(&[b'x'; 76]);
        text.extend_from_slice(b"\r\n");
    }
    text
}

/// A connection with a buffer for lines.
pub struct Wire<S> {
    stream: S,
    buffer: Vec<u8>,
    start: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::with_capacity(64 << 10), start: 0 }
    }

    pub async fn write(&mut self, bytes: &[u8]) -> Option<()> {
        self.stream.write_all(bytes).await.ok()?;
        self.stream.flush().await.ok()
    }

    /// Writes at once: pipelined commands were answered in one packet only by a cleverer server.
    pub async fn answer(&mut self, bytes: &[u8]) -> Option<()> {
        self.write(bytes).await
    }

    async fn fill(&mut self) -> Option<usize> {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
        self.buffer.reserve(64 << 10);
        match self.stream.read_buf(&mut self.buffer).await.ok()? {
            0 => None,
            read => Some(read),
        }
    }

    pub async fn line(&mut self) -> Option<String> {
        let mut from = self.start;
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer[from..]) {
                let line = &self.buffer[self.start..from + end];
                let text = String::from_utf8_lossy(line).trim_end().to_owned();
                self.start = from + end + 1;
                return Some(text);
            }
            let seen = self.buffer.len() - self.start;
            self.fill().await?;
            from = self.start + seen;
        }
    }

    /// Reads and drops `octets`.
    pub async fn skip(&mut self, mut octets: usize) -> Option<()> {
        loop {
            let have = (self.buffer.len() - self.start).min(octets);
            self.start += have;
            octets -= have;
            if octets == 0 {
                return Some(());
            }
            self.fill().await?;
        }
    }

    /// Reads and drops up to and including `end`.
    pub async fn skip_past(&mut self, end: &[u8]) -> Option<()> {
        loop {
            if let Some(found) = memchr::memmem::find(&self.buffer[self.start..], end) {
                self.start += found + end.len();
                return Some(());
            }
            self.start = self.buffer.len().saturating_sub(end.len() - 1).max(self.start);
            let kept = self.buffer.split_off(self.start);
            self.buffer.clear();
            self.buffer.extend_from_slice(&kept);
            self.start = 0;
            self.fill().await?;
        }
    }
}

/// One of the three ways to the upstream.
#[derive(Clone)]
pub struct Way {
    pub smtp: SocketAddr,
    pub imap: SocketAddr,
    pub pop3: SocketAddr,
    /// TLS where the driver talks to the upstream itself.
    pub tls: Option<ClientTls>,
    /// True when the login is the proxy's own, by password.
    pub password: bool,
}

/// XOAUTH2 for `a@example.com`, as the proxy would send it.
const BLOB: &str = "dXNlcj1hQGV4YW1wbGUuY29tAWF1dGg9QmVhcmVyIHR0dHR0dHR0AQE=";
/// PLAIN for login `bench`, password `bench-password`.
const PLAIN: &str = "AGJlbmNoAGJlbmNoLXBhc3N3b3Jk";

/// Either kind of stream.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Way {
    async fn connect(&self, address: SocketAddr) -> Option<Wire<Box<dyn Stream>>> {
        let stream = TcpStream::connect(address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let stream: Box<dyn Stream> = match &self.tls {
            Some(tls) => Box::new(tls.connect("localhost", stream).await.ok()?),
            None => Box::new(stream),
        };
        Some(Wire::new(stream))
    }

    pub async fn open_smtp(&self) -> Option<Wire<Box<dyn Stream>>> {
        let mut wire = self.connect(self.smtp).await?;
        wire.line().await?;
        wire.write(b"EHLO bench\r\n").await?;
        smtp_reply(&mut wire).await?;
        let auth = match self.password {
            true => format!("AUTH PLAIN {PLAIN}\r\n"),
            false => format!("AUTH XOAUTH2 {BLOB}\r\n"),
        };
        wire.write(auth.as_bytes()).await?;
        expect(smtp_reply(&mut wire).await?, "235");
        Some(wire)
    }

    pub async fn open_imap(&self) -> Option<Wire<Box<dyn Stream>>> {
        let mut wire = self.connect(self.imap).await?;
        wire.line().await?;
        let login = match self.password {
            true => "a LOGIN bench bench-password\r\n".to_owned(),
            false => format!("a AUTHENTICATE XOAUTH2 {BLOB}\r\n"),
        };
        wire.write(login.as_bytes()).await?;
        imap_done(&mut wire).await?;
        Some(wire)
    }

    pub async fn open_pop3(&self) -> Option<Wire<Box<dyn Stream>>> {
        let mut wire = self.connect(self.pop3).await?;
        wire.line().await?;
        if self.password {
            wire.write(b"USER popper\r\n").await?;
            expect(wire.line().await?, "+OK");
            wire.write(b"PASS bench-password\r\n").await?;
        } else {
            wire.write(format!("AUTH XOAUTH2 {BLOB}\r\n").as_bytes()).await?;
        }
        expect(wire.line().await?, "+OK");
        Some(wire)
    }
}

fn expect(line: String, start: &str) {
    assert!(line.starts_with(start), "expected {start}, got {line}");
}

async fn smtp_reply(wire: &mut Wire<Box<dyn Stream>>) -> Option<String> {
    loop {
        let line = wire.line().await?;
        if line.as_bytes().get(3) != Some(&b'-') {
            return Some(line);
        }
    }
}

async fn imap_done(wire: &mut Wire<Box<dyn Stream>>) -> Option<()> {
    loop {
        let line = wire.line().await?;
        if let Some(answer) = line.strip_prefix("a ") {
            expect(answer.to_owned(), "OK");
            return Some(());
        }
    }
}

/// One message over an open session; `text` ends with CRLF.CRLF.
pub async fn send(wire: &mut Wire<Box<dyn Stream>>, text: &[u8]) -> Option<()> {
    wire.write(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n").await?;
    for expected in ["250", "250", "354"] {
        expect(smtp_reply(wire).await?, expected);
    }
    wire.write(text).await?;
    expect(smtp_reply(wire).await?, "250");
    Some(())
}

/// Fetches message `index` (from 1) by IMAP.
pub async fn fetch(wire: &mut Wire<Box<dyn Stream>>, index: usize) -> Option<()> {
    wire.write(format!("a FETCH {index} BODY[]\r\n").as_bytes()).await?;
    let line = wire.line().await?;
    let size = line.rsplit_once('{')?.1.strip_suffix('}')?.parse().ok()?;
    wire.skip(size).await?;
    imap_done(wire).await
}

/// Fetches message `index` (from 1) by POP3.
pub async fn retrieve(wire: &mut Wire<Box<dyn Stream>>, index: usize) -> Option<()> {
    wire.write(format!("RETR {index}\r\n").as_bytes()).await?;
    expect(wire.line().await?, "+OK");
    wire.skip_past(b"\r\n.\r\n").await
}

/// SELECT and its answer.
pub async fn select(wire: &mut Wire<Box<dyn Stream>>) -> Option<()> {
    wire.write(b"a SELECT INBOX\r\n").await?;
    imap_done(wire).await
}
