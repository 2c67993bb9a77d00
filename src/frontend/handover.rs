//! From a client that has just logged in to the relay.
//!
//! Danger: right after login many clients ask for the capabilities once more, and the upstream's
//! own answer may offer logins; but any parsing beyond that would get between client and service.
//! Rule: requests for the capabilities are answered as long as nothing else has been said by either
//! side; from then on bytes pass through.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::relay::{Ahead, End, relay};
use super::stream::ClientStream;
use crate::mail::{Duplex, Relay};
use crate::telemetry::activity::LiveSession;

/// What the service sends at once while it should be silent: a line or two.
const UNASKED_OCTETS: usize = 1024;

/// What the client's next words are.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// Not to be told yet.
    Undecided,
    /// Not for us.
    Other,
    /// A request of `octets` octets for the capabilities.
    Capabilities {
        /// Its length.
        octets: usize,
        /// What the client is told.
        answer: String,
    },
}

/// Looks at the client's next words.
pub type Recognise = Box<dyn Fn(&[u8]) -> Asked + Send>;

/// Everything that is left of a session after login.
pub struct Handover {
    client: ClientStream,
    input: BytesMut,
    upstream: Box<dyn Duplex>,
    early: Bytes,
    recognise: Recognise,
    live: Arc<LiveSession>,
}

impl Handover {
    /// `input` is what the client has sent behind its login.
    pub fn new(
        client: ClientStream,
        input: Bytes,
        relay: Relay,
        recognise: Recognise,
        live: Arc<LiveSession>,
    ) -> Self {
        let Relay { stream: upstream, early, capabilities: _ } = relay;
        Self { client, input: BytesMut::from(input), upstream, early, recognise, live }
    }

    /// Answers for the capabilities, then relays until the end; once the process is stopping,
    /// until both sides are silent.
    pub async fn run(self: Box<Self>, idle_timeout: Duration, stopping: &CancellationToken) {
        let live = Arc::clone(&self.live);
        // Boxed, so that nothing of it is left while the relay runs.
        match Box::pin(self.answer_capabilities(idle_timeout, stopping)).await {
            Ok((client, upstream, ahead)) => {
                let mut relaying = relay(client, upstream, ahead, idle_timeout).noting(live);
                let summary = match stopping.run_until_cancelled(&mut relaying).await {
                    Some(summary) => summary,
                    None => {
                        relaying.hurry();
                        (&mut relaying).await
                    }
                };
                tracing::info!(
                    to_upstream = summary.to_upstream,
                    to_client = summary.to_client,
                    "session ended: {}",
                    summary.end
                );
            }
            Err(end) => tracing::info!("session ended: {end}"),
        }
    }

    async fn answer_capabilities(
        mut self: Box<Self>,
        idle_timeout: Duration,
        stopping: &CancellationToken,
    ) -> Result<(ClientStream, Box<dyn Duplex>, Ahead), End> {
        let early = std::mem::take(&mut self.early);
        self.tell(&early, idle_timeout).await?;
        let mut to_client = Bytes::new();
        loop {
            match (self.recognise)(&self.input) {
                Asked::Other => break,
                Asked::Capabilities { octets, answer } => {
                    self.input.advance(octets.min(self.input.len()));
                    self.tell(answer.as_bytes(), idle_timeout).await?;
                }
                Asked::Undecided => {
                    match stopping.run_until_cancelled(self.listen(idle_timeout)).await {
                        Some(Ok(Heard::Client)) => {}
                        Some(Ok(Heard::Upstream(bytes))) => {
                            to_client = bytes;
                            break;
                        }
                        Some(Err(end)) => return Err(end),
                        Some(Ok(Heard::End)) | None => break,
                    }
                }
            }
        }
        let ahead = Ahead { to_upstream: self.input.freeze(), to_client };
        Ok((self.client, self.upstream, ahead))
    }

    async fn tell(&mut self, bytes: &[u8], patience: Duration) -> Result<(), End> {
        let telling = async {
            self.client.write_all(bytes).await?;
            self.client.flush().await
        };
        within(patience, telling).await
    }

    /// Waits until one side says something. The end of either is left for the relay to see again.
    async fn listen(&mut self, patience: Duration) -> Result<Heard, End> {
        let mut unasked = [0; UNASKED_OCTETS];
        let listening = async {
            tokio::select! {
                read = self.client.read_buf(&mut self.input) => {
                    read.map(|octets| if octets == 0 { Heard::End } else { Heard::Client })
                }
                read = self.upstream.read(&mut unasked) => read.map(|octets| match octets {
                    0 => Heard::End,
                    _ => Heard::Upstream(Bytes::copy_from_slice(&unasked[..octets])),
                }),
            }
        };
        within(patience, listening).await
    }
}

enum Heard {
    Client,
    Upstream(Bytes),
    End,
}

async fn within<T>(
    patience: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, End> {
    timeout(patience, work).await.map_err(|_| End::Idle)?.map_err(End::Broken)
}
