//! A buffered connection of a line protocol, with or without TLS.
//!
//! Danger: bytes that a client, or somebody between, sent in the clear before TLS must not count
//! after it. Rule: [`Wire::start_tls`] fails when anything is buffered; lines end with CRLF and
//! nothing else, and no line is longer than its limit.

use std::io;
use std::net::SocketAddr;

use memchr::memmem;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The longest line: SASL tokens take 12288 octets at most (RFC 4954 section 4), IMAP lines with
/// long UID sets more.
const MAX_LINE: usize = 64 * 1024;
const READ_SIZE: usize = 16 * 1024;

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// Between the two, and after a failed handshake.
    Gone,
}

/// The connection.
pub(super) struct Wire {
    stream: Stream,
    buffer: Vec<u8>,
}

impl Wire {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream: Stream::Plain(stream), buffer: Vec::new() }
    }

    pub fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// Where the connection comes from.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.tcp()?.peer_addr().ok()
    }

    pub fn has_buffered(&self) -> bool {
        !self.buffer.is_empty()
    }

    pub async fn start_tls(&mut self, acceptor: &TlsAcceptor) -> io::Result<()> {
        let stream = std::mem::replace(&mut self.stream, Stream::Gone);
        let Stream::Plain(stream) = stream else { return Err(io::ErrorKind::InvalidInput.into()) };
        if !self.buffer.is_empty() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.stream = Stream::Tls(Box::new(acceptor.accept(stream).await?));
        Ok(())
    }

    /// Ends the connection with a TCP reset.
    pub fn reset(self) {
        if let Some(tcp) = self.tcp() {
            let _ = tcp.set_zero_linger();
        }
    }

    fn tcp(&self) -> Option<&TcpStream> {
        match &self.stream {
            Stream::Plain(tcp) => Some(tcp),
            Stream::Tls(tls) => Some(tls.get_ref().0),
            Stream::Gone => None,
        }
    }

    fn io(&mut self) -> io::Result<&mut (dyn Both + Send)> {
        match &mut self.stream {
            Stream::Plain(tcp) => Ok(tcp),
            Stream::Tls(tls) => Ok(tls.as_mut()),
            Stream::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Reads more; an end of the stream is an error, since every protocol here says goodbye.
    pub async fn fill(&mut self) -> io::Result<()> {
        let mut more = [0; READ_SIZE];
        let count = self.io()?.read(&mut more).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.buffer.extend_from_slice(&more[..count]);
        Ok(())
    }

    /// A line without its CRLF. A bare LF or CR inside stays in it, for the parser to refuse.
    pub async fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = memmem::find(&self.buffer, b"\r\n") {
                let mut line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                line.truncate(end);
                return Ok(line);
            }
            if self.buffer.len() > MAX_LINE {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.fill().await?;
        }
    }

    /// Exactly so many bytes.
    pub async fn exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            self.fill().await?;
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// The message after DATA, dots removed: it ends at CRLF `.` CRLF and nowhere else (RFC 5321
    /// section 4.1.1.4). `None` when it is longer than `most`; it is read to its end all the same.
    pub async fn data(&mut self, most: usize) -> io::Result<Option<Vec<u8>>> {
        let mut raw = b"\r\n".to_vec();
        let mut too_long = false;
        loop {
            let old = raw.len().saturating_sub(4);
            raw.append(&mut self.buffer);
            if let Some(at) = memmem::find(&raw[old..], b"\r\n.\r\n") {
                let end = old + at;
                self.buffer = raw.split_off(end + 5);
                raw.truncate(end + 2);
                return Ok((!too_long && raw.len() <= most).then(|| without_dots(&raw)));
            }
            if raw.len() > most {
                too_long = true;
                raw.drain(..raw.len() - 4);
            }
            self.fill().await?;
        }
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let io = self.io()?;
        io.write_all(bytes).await?;
        io.flush().await
    }

    pub async fn send_line(&mut self, line: &str) -> io::Result<()> {
        self.send(format!("{line}\r\n").as_bytes()).await
    }

    /// Says goodbye to TLS properly.
    pub async fn close(mut self) -> io::Result<()> {
        self.io()?.shutdown().await
    }
}

/// A stream of either kind.
trait Both: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Both for T {}

/// `raw` starts with the CRLF in front of the message.
fn without_dots(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memmem::find(rest, b"\r\n.") {
        out.extend_from_slice(&rest[..at + 2]);
        rest = &rest[at + 3..];
    }
    out.extend_from_slice(rest);
    out.drain(..2);
    out
}

/// The message as DATA and RETR send it: a dot more on lines that start with one, and the end.
pub(super) fn with_dots(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + 64);
    let mut start_of_line = true;
    for &byte in raw {
        if start_of_line && byte == b'.' {
            out.push(b'.');
        }
        out.push(byte);
        start_of_line = byte == b'\n';
    }
    if !start_of_line {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn wire() -> (TcpStream, Wire) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        (client.expect("connects"), Wire::new(server.expect("accepts").0))
    }

    #[tokio::test]
    async fn only_the_one_true_end_ends_a_message() {
        let sent = b"..a\r\n.\n.\r.\r\n\n.\r\n..b\r\n.\r\nQUIT\r\n";
        let want = b".a\r\n\n.\r.\r\n\n.\r\n.b\r\n";
        for split in 0..sent.len() {
            let (mut client, mut wire) = wire().await;
            client.write_all(&sent[..split]).await.expect("writes");
            let rest = async {
                tokio::task::yield_now().await;
                client.write_all(&sent[split..]).await
            };
            let (read, written) = tokio::join!(wire.data(1000), rest);
            written.expect("writes");
            let got = read.expect("a message").expect("short enough");
            assert_eq!(got, want, "split at {split}");
            assert_eq!(wire.line().await.expect("a line"), b"QUIT");
        }
    }

    #[tokio::test]
    async fn an_empty_message_ends_and_a_long_one_is_swallowed() {
        let (mut client, mut wire) = wire().await;
        client.write_all(b".\r\n").await.expect("writes");
        assert_eq!(wire.data(10).await.expect("reads"), Some(Vec::new()));
        client.write_all(b"0123456789abcdef\r\n.\r\nNOOP\r\n").await.expect("writes");
        assert_eq!(wire.data(10).await.expect("reads"), None);
        assert_eq!(wire.line().await.expect("reads"), b"NOOP");
        drop(client);
        assert!(wire.line().await.is_err());
    }

    #[test]
    fn dots_are_doubled() {
        assert_eq!(with_dots(b".a\r\nb.\r\n..\r\n"), b"..a\r\nb.\r\n...\r\n.\r\n");
        assert_eq!(with_dots(b"x"), b"x\r\n.\r\n");
        assert_eq!(with_dots(b""), b".\r\n");
    }
}
