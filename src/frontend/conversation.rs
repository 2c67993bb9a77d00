//! Reading and writing before a client has logged in to IMAP or POP3.
//!
//! Danger: a stranger may send nothing, send for ever, or never read our answers; and what it sent
//! before STARTTLS must not count after it. Rule: every wait ends by a deadline or when the process
//! stops, input is bounded by its reader, and TLS starts with an empty input.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::stream::ClientStream;
use crate::tls::ServerTls;

/// How long a client may take for one command before it has logged in. RFC 9051 section 5.4 allows
/// less than 30 minutes here; clients log in as soon as they connect.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a client may take in all until it logs in, whatever it sends meanwhile: a stranger that
/// sends NOOP for ever would keep a place that others need. Waits for the service do not count.
const STRANGER_TIMEOUT: Duration = Duration::from_secs(600);
/// A client that does not read our answer for this long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// A TLS handshake takes a few round trips.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long what a client still sends is read after our last word: closing earlier makes the
/// system send a reset, and the client may never see that word.
const LINGER: Duration = Duration::from_secs(2);
/// What is read at a time.
const READ_OCTETS: usize = 2048;

/// Why a conversation before login ends.
#[derive(Debug)]
pub enum Parting {
    /// The client said so.
    Quit,
    /// The client is gone.
    Closed,
    /// The connection broke.
    Broken(io::Error),
    /// The client was silent for too long.
    TimedOut,
    /// The process stops.
    Stopping,
    /// A line or command exceeded its limit.
    TooLong,
    /// Too many wrong logins or commands.
    TooManyFailures,
}

impl std::fmt::Display for Parting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Quit => "the client logged out",
            Self::Closed => "the client closed the connection",
            Self::Broken(error) => return write!(f, "the connection broke ({error})"),
            Self::TimedOut => "the client was silent for too long",
            Self::Stopping => "the proxy is stopping",
            Self::TooLong => "the client's command is too long",
            Self::TooManyFailures => "too many failures",
        })
    }
}

impl From<io::Error> for Parting {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// A client's connection and what has been read from it.
pub struct Conversation {
    /// `None` after a failed handshake.
    stream: Option<ClientStream>,
    input: BytesMut,
    stopping: CancellationToken,
    /// When a stranger's time is over.
    ends: Instant,
}

impl Conversation {
    /// Nothing has been read yet.
    pub fn new(stream: ClientStream, stopping: CancellationToken) -> Self {
        let ends = Instant::now() + STRANGER_TIMEOUT;
        Self { stream: Some(stream), input: BytesMut::new(), stopping, ends }
    }

    /// What has been read and not yet taken.
    pub fn input(&self) -> &[u8] {
        &self.input
    }

    /// Takes octets from the start of the input.
    pub fn take(&mut self, octets: usize) -> BytesMut {
        self.input.split_to(octets.min(self.input.len()))
    }

    /// When a command that begins now must be complete.
    pub fn deadline(&self) -> Instant {
        self.ends.min(Instant::now() + COMMAND_TIMEOUT)
    }

    /// Reads some more.
    pub async fn fill(&mut self, deadline: Instant) -> Result<(), Parting> {
        let stream = self.stream.as_mut().ok_or(Parting::Closed)?;
        self.input.reserve(READ_OCTETS);
        tokio::select! {
            read = stream.read_buf(&mut self.input) => match read? {
                0 => Err(Parting::Closed),
                _ => Ok(()),
            },
            () = self.stopping.cancelled() => Err(Parting::Stopping),
            () = sleep_until(deadline) => Err(Parting::TimedOut),
        }
    }

    /// The next line without its end, of at most `limit` octets.
    pub async fn line(&mut self, limit: usize) -> Result<BytesMut, Parting> {
        let deadline = self.deadline();
        loop {
            match memchr::memchr(b'\n', &self.input) {
                Some(at) if at < limit => {
                    let mut line = self.take(at + 1);
                    line.truncate(at);
                    if line.last() == Some(&b'\r') {
                        line.truncate(at - 1);
                    }
                    return Ok(line);
                }
                None if self.input.len() <= limit => self.fill(deadline).await?,
                _ => return Err(Parting::TooLong),
            }
        }
    }

    /// Writes and flushes.
    pub async fn send(&mut self, text: &str) -> Result<(), Parting> {
        let stream = self.stream.as_mut().ok_or(Parting::Closed)?;
        let sending = async {
            stream.write_all(text.as_bytes()).await?;
            stream.flush().await
        };
        timeout(WRITE_TIMEOUT, sending).await.map_err(|_| Parting::TimedOut)?.map_err(Into::into)
    }

    /// Does the TLS handshake; what was read before is dropped (CVE-2011-0411).
    pub async fn start_tls(&mut self, tls: &ServerTls) -> Result<(), Parting> {
        let stream = self.stream.take().ok_or(Parting::Closed)?;
        self.input = BytesMut::new();
        let shaking = timeout(HANDSHAKE_TIMEOUT, stream.start_tls(tls));
        let shaken = self.stopping.run_until_cancelled(shaking).await.ok_or(Parting::Stopping)?;
        self.stream = Some(shaken.map_err(|_| Parting::TimedOut)??);
        Ok(())
    }

    /// Says a last word and closes, so that the client gets to see it.
    pub async fn part(mut self, last_word: &str) {
        if self.send(last_word).await.is_err() {
            return;
        }
        let Some(mut stream) = self.stream else { return };
        let close = async {
            stream.shutdown().await?;
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
        };
        // Nobody is left to be told about an error.
        let _ = timeout(LINGER, close).await;
    }

    /// The connection, and what was read and not taken; `None` after a failed handshake.
    pub fn into_parts(self) -> Option<(ClientStream, Bytes)> {
        // A copy, so that the large buffer of the conversation is freed.
        self.stream.map(|stream| (stream, Bytes::copy_from_slice(&self.input)))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn connected() -> (TcpStream, Conversation) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("address");
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let stream = ClientStream::Plain(far.expect("accepted").0);
        (near.expect("connected"), Conversation::new(stream, CancellationToken::new()))
    }

    #[tokio::test]
    async fn lines_end_at_lf_and_what_follows_stays() {
        let (mut client, mut talk) = connected().await;
        client.write_all(b"one\r\ntwo\n\r\nthr").await.expect("written");
        for expected in ["one", "two", ""] {
            let line = talk.line(16).await.expect("a line");
            assert_eq!(String::from_utf8_lossy(&line), expected);
        }
        while talk.input().len() < 3 {
            talk.fill(talk.deadline()).await.expect("more");
        }
        let (_, input) = talk.into_parts().expect("open");
        assert_eq!(&input[..], b"thr");
    }

    #[tokio::test]
    async fn long_lines_and_ends_are_told_apart() {
        for (sent, limit) in [("12345\n", 4), ("12345", 4)] {
            let (mut client, mut talk) = connected().await;
            client.write_all(sent.as_bytes()).await.expect("written");
            assert!(matches!(talk.line(limit).await, Err(Parting::TooLong)), "{sent:?}");
        }
        let (mut client, mut talk) = connected().await;
        client.write_all(b"half").await.expect("written");
        drop(client);
        assert!(matches!(talk.line(100).await, Err(Parting::Closed)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_that_never_logs_in_is_sent_away_however_busy_it_is() {
        let (mut client, mut talk) = connected().await;
        let began = Instant::now();
        let end = loop {
            client.write_all(b"a NOOP\r\n").await.expect("written");
            match talk.line(100).await {
                Ok(_) => tokio::time::sleep(Duration::from_secs(60)).await,
                Err(end) => break end,
            }
        };
        assert!(matches!(end, Parting::TimedOut), "{end}");
        assert_eq!(began.elapsed(), STRANGER_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_drips_ends_at_its_deadline() {
        let (mut client, mut talk) = connected().await;
        let began = Instant::now();
        let dripping = tokio::spawn(async move {
            while client.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(50)).await;
            }
        });
        assert!(matches!(talk.line(100).await, Err(Parting::TimedOut)));
        assert_eq!(began.elapsed(), COMMAND_TIMEOUT);
        dripping.abort();
    }

    #[tokio::test]
    async fn the_last_word_arrives_although_the_client_was_still_sending() {
        let (mut client, mut talk) = connected().await;
        client.write_all(&[b'x'; 50_000]).await.expect("written");
        talk.fill(talk.deadline()).await.expect("some");
        let parting = tokio::spawn(talk.part("bye\r\n"));
        let mut word = String::new();
        client.read_to_string(&mut word).await.expect("no reset");
        assert_eq!(word, "bye\r\n");
        drop(client);
        parting.await.expect("no panic");
    }
}
