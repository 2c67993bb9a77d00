//! Reading and writing once a client is in and we serve it ourselves.
//!
//! Danger: an answer written piece by piece is a packet each; a client that never reads fills the
//! memory; an idle session that keeps its buffers costs more than the mailbox. Rule: output is
//! collected, and written when it is large or old or when we are about to wait for the client; every
//! wait ends by a time-out or when the process stops; empty buffers are given back; behind an answer
//! that was cut off nothing is written, for the client would read it as more of that answer.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::conversation::Parting;
use super::stream::ClientStream;
use crate::telemetry::activity::LiveSession;

/// Output is written when it has come to so many octets.
const WRITE_FROM: usize = 64 << 10;
/// It is not held back for longer: what comes next may have to be read from the service.
const WRITE_WITHIN: Duration = Duration::from_secs(1);
/// What is read at a time.
const READ_OCTETS: usize = 16 << 10;
/// A client that does not read for this long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(300);
/// So long it has when the process stops, which must not wait for it.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long what a client still sends is read after our last word.
const LINGER: Duration = Duration::from_secs(2);

/// A logged-in client's connection.
pub struct Connected {
    stream: ClientStream,
    input: BytesMut,
    output: BytesMut,
    idle_timeout: Duration,
    stopping: CancellationToken,
    /// Since when there has been output.
    owed_since: Option<Instant>,
    /// An answer was written in part.
    is_cut: bool,
    /// Where octets are noted.
    live: Option<Arc<LiveSession>>,
}

impl Connected {
    /// `input` is what the client has sent behind its login.
    pub fn new(
        stream: ClientStream,
        input: Bytes,
        idle_timeout: Duration,
        stopping: CancellationToken,
    ) -> Self {
        let (input, output) = (BytesMut::from(input), BytesMut::new());
        let (owed_since, live) = (None, None);
        Self { stream, input, output, idle_timeout, stopping, owed_since, is_cut: false, live }
    }

    /// Notes octets as they move.
    pub fn noting(self, live: Option<&Arc<LiveSession>>) -> Self {
        Self { live: live.cloned(), ..self }
    }

    fn note(&self, to_client: usize, from_client: usize) {
        if let Some(live) = &self.live {
            live.moved(to_client as u64, from_client as u64);
        }
    }

    /// What has been read and not taken.
    pub fn input(&self) -> &[u8] {
        &self.input
    }

    /// Takes the first `octets` of the input.
    pub fn take(&mut self, octets: usize) -> BytesMut {
        let taken = self.input.split_to(octets.min(self.input.len()));
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        taken
    }

    /// Writes what is owed, then reads more input.
    pub async fn fill(&mut self) -> Result<(), Parting> {
        match self.fill_or(std::future::pending::<()>()).await {
            Ok(_) => Ok(()),
            Err(parting) => Err(parting),
        }
    }

    /// Writes what is owed, then reads more input, or returns what `other` yields if that is
    /// sooner. `None`: there is more input.
    pub async fn fill_or<T>(
        &mut self,
        other: impl Future<Output = T>,
    ) -> Result<Option<T>, Parting> {
        self.flush().await?;
        self.input.reserve(READ_OCTETS);
        let before = self.input.len();
        let reading = timeout(self.idle_timeout, self.stream.read_buf(&mut self.input));
        let outcome = tokio::select! {
            biased;
            () = self.stopping.cancelled() => Err(Parting::Stopping),
            read = reading => match read {
                Err(_) => Err(Parting::TimedOut),
                Ok(Ok(0)) => Err(Parting::Closed),
                Ok(Ok(_)) => Ok(None),
                Ok(Err(error)) => Err(error.into()),
            },
            value = other => Ok(Some(value)),
        };
        if self.input.len() > before {
            self.note(0, self.input.len() - before);
        }
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        outcome
    }

    /// Adds to the output.
    pub fn push(&mut self, octets: impl AsRef<[u8]>) {
        self.output.extend_from_slice(octets.as_ref());
        if self.owed_since.is_none() {
            self.owed_since = Some(Instant::now());
        }
    }

    /// Writes the output when there is much of it, or some of it is old: call it between the parts of
    /// a long answer.
    pub async fn settle(&mut self) -> Result<(), Parting> {
        let is_old = self.owed_since.is_some_and(|since| since.elapsed() >= WRITE_WITHIN);
        match is_old || self.output.len() >= WRITE_FROM {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    /// Writes the output.
    pub async fn flush(&mut self) -> Result<(), Parting> {
        if self.output.is_empty() {
            return Ok(());
        }
        let output = std::mem::take(&mut self.output);
        self.owed_since = None;
        self.is_cut = true;
        let Self { stream, stopping, .. } = self;
        let writing = async {
            stream.write_all(&output).await?;
            stream.flush().await
        };
        tokio::select! {
            biased;
            written = writing => written?,
            parting = impatience(stopping) => return Err(parting),
        }
        self.is_cut = false;
        self.note(output.len(), 0);
        Ok(())
    }

    /// True once the process is to stop: a session ends as soon as it owes nothing.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Says a last word and closes, so that the client gets to see it.
    pub async fn part(mut self, last_word: &str) {
        if self.is_cut {
            return;
        }
        self.push(last_word);
        if self.flush().await.is_err() {
            return;
        }
        let close = async {
            self.stream.shutdown().await?;
            tokio::io::copy(&mut self.stream, &mut tokio::io::sink()).await
        };
        // Nobody is left to be told about an error.
        let _ = timeout(LINGER, close).await;
    }
}

/// Returns when a client that does not read is given up.
async fn impatience(stopping: &CancellationToken) -> Parting {
    let stopped = async {
        stopping.cancelled().await;
        sleep(LAST_WRITE_TIMEOUT).await;
    };
    tokio::select! {
        () = sleep(WRITE_TIMEOUT) => Parting::TimedOut,
        () = stopped => Parting::Stopping,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn connected() -> (TcpStream, Connected) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("address");
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let stream = ClientStream::Plain(far.expect("accepted").0);
        let (input, idle) = (Bytes::from_static(b"early"), Duration::from_secs(60));
        (near.expect("connected"), Connected::new(stream, input, idle, CancellationToken::new()))
    }

    #[tokio::test]
    async fn what_is_owed_is_written_before_waiting() {
        let (mut client, mut talk) = connected().await;
        assert_eq!(&talk.take(9)[..], b"early");
        talk.push("hello ");
        talk.push("there\r\n");
        client.write_all(b"x").await.expect("written");
        talk.fill().await.expect("more");
        assert_eq!(talk.input(), b"x");
        let mut answer = [0; 13];
        client.read_exact(&mut answer).await.expect("answered");
        assert_eq!(&answer, b"hello there\r\n");
    }

    #[tokio::test]
    async fn the_sooner_of_input_and_another_event() {
        let (mut client, mut talk) = connected().await;
        talk.take(5);
        let event = talk.fill_or(std::future::ready(7)).await.expect("open");
        assert_eq!(event, Some(7));
        client.write_all(b"DONE\r\n").await.expect("written");
        let event = talk.fill_or(std::future::pending::<()>()).await.expect("open");
        assert_eq!((event, talk.input()), (None, &b"DONE\r\n"[..]));
        talk.stopping.cancel();
        assert!(matches!(talk.fill().await, Err(Parting::Stopping)));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_the_end_are_told_apart() {
        let (client, mut talk) = connected().await;
        assert!(matches!(talk.fill().await, Err(Parting::TimedOut)));
        drop(client);
        assert!(matches!(talk.fill().await, Err(Parting::Closed)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_holds_up_nobody_and_gets_no_word_in_the_middle() {
        for is_stopping in [false, true] {
            let (mut client, mut talk) = connected().await;
            let began = tokio::time::Instant::now();
            talk.push(vec![b'x'; 32 << 20]);
            if is_stopping {
                talk.stopping.cancel();
            }
            let parting = talk.flush().await.expect_err("nobody reads");
            let limit = if is_stopping { LAST_WRITE_TIMEOUT } else { WRITE_TIMEOUT };
            assert_eq!(began.elapsed(), limit, "{parting}");
            talk.part("* BYE\r\n").await;
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).await.expect("closed");
            assert!(heard.iter().all(|octet| *octet == b'x'));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn output_is_written_when_it_is_much_or_old() {
        let (client, mut talk) = connected().await;
        let mut buffer = [0; 16];
        talk.push("* 1 FETCH");
        talk.settle().await.expect("written");
        assert!(client.try_read(&mut buffer).is_err(), "held back");
        tokio::time::advance(WRITE_WITHIN).await;
        talk.settle().await.expect("written");
        client.readable().await.expect("open");
        assert_eq!(client.try_read(&mut buffer).expect("written"), 9);
    }
}
