//! One connection to an SMTP service: greeting, EHLO, STARTTLS, and replies in step with commands.
//!
//! Danger: a connection on which a reply is still due gives that reply to the next command, and so
//! the next message. Rule: [`Connection::settled`] is false from the first octet sent until the
//! last reply due has come; a connection that is dropped meanwhile is never used again.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::refusal;
use crate::config::Security;
use crate::mail::{self, Kind};
use crate::protocol::smtp::reply::{Extensions, Reply, ReplyDecoder};
use crate::upstream::connect::{Dialogue, Failure, Service, within};

/// How long to wait for a service. The defaults are those of RFC 5321 section 4.5.3.2, but for the
/// greeting.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// The greeting, and answers to EHLO, STARTTLS and AUTH. The RFC says five minutes; but nothing
    /// is handed over yet, a wrong TlsMode shows as silence here, and applications give up after
    /// 100 seconds (`System.Net.Mail`), so the cause must be told before.
    pub greeting: Duration,
    /// Answers to MAIL, RCPT and RSET.
    pub command: Duration,
    /// The answer to DATA.
    pub data_start: Duration,
    /// Each block of the message.
    pub block: Duration,
    /// The answer after the last octet: the service may be delivering meanwhile.
    pub data_end: Duration,
    /// Waiting for a connection where the service allows no more of them. Applications give up
    /// after 100 seconds.
    pub turn: Duration,
    /// A connection is held for a client that is silent in the middle of its transaction.
    pub hold: Duration,
    /// After so long without a reply a connection may have been lost unnoticed.
    pub idle: Duration,
    /// The answer to QUIT, which changes nothing any more; and a reply that explains why the
    /// service closed while we were sending.
    pub farewell: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            greeting: Duration::from_secs(60),
            command: Duration::from_secs(5 * 60),
            data_start: Duration::from_secs(2 * 60),
            block: Duration::from_secs(3 * 60),
            data_end: Duration::from_secs(10 * 60),
            turn: Duration::from_secs(45),
            hold: Duration::from_secs(30),
            idle: Duration::from_secs(5),
            farewell: Duration::from_secs(2),
        }
    }
}

/// A connection past EHLO.
#[derive(Debug)]
pub struct Connection {
    /// The stream.
    pub dialogue: Dialogue,
    decoder: ReplyDecoder,
    /// What the service offers; nothing after HELO.
    pub extensions: Extensions,
    /// False while a reply is due.
    settled: bool,
    /// True when MAIL was sent and no message completed since: RSET comes before the next one.
    pub needs_reset: bool,
    /// Messages completed on this connection.
    pub messages: u32,
    /// When the last reply came.
    heard: Instant,
    /// The last command came after a pause in which the connection may have been lost.
    pub was_idle: bool,
    /// How long we wait.
    pub timeouts: Timeouts,
}

impl Connection {
    /// Connects, up to and including EHLO and TLS; not logged in.
    pub async fn open(
        service: &Service,
        name: &str,
        timeouts: Timeouts,
    ) -> Result<Self, mail::Error> {
        let dialogue = service.connect().await.map_err(|failure| service.unavailable(&failure))?;
        Self::open_over(dialogue, service, name, timeouts).await
    }

    /// The same over a connection that has said nothing yet.
    pub async fn open_over(
        dialogue: Dialogue,
        service: &Service,
        name: &str,
        timeouts: Timeouts,
    ) -> Result<Self, mail::Error> {
        let mut connection = Self::over(dialogue, timeouts);
        let greeting =
            connection.reply(timeouts.greeting).await.map_err(broken_greeting(service))?;
        if greeting.code != 220 {
            return Err(refusal::of_reply(service, "the connection", &greeting));
        }
        connection.greet(service, name).await?;
        if service.security == Security::StartTls {
            connection = connection.start_tls(service).await?;
            connection.greet(service, name).await?;
        }
        Ok(connection)
    }

    /// Over a stream that has said nothing yet.
    pub fn over(dialogue: Dialogue, timeouts: Timeouts) -> Self {
        Self {
            dialogue,
            decoder: ReplyDecoder::new(),
            extensions: Extensions::default(),
            settled: true,
            needs_reset: false,
            messages: 0,
            heard: Instant::now(),
            was_idle: false,
            timeouts,
        }
    }

    /// EHLO, or HELO where that is unknown (RFC 5321 section 3.2).
    async fn greet(&mut self, service: &Service, name: &str) -> Result<(), mail::Error> {
        let broken = |failure: Failure| service.unavailable(&failure);
        let limit = self.timeouts.greeting;
        let reply = self.command(&format!("EHLO {name}"), limit).await.map_err(broken)?;
        if reply.is_positive() {
            self.extensions = Extensions::from_reply(&reply);
            return Ok(());
        }
        self.extensions = Extensions::default();
        if reply.is_temporary() {
            return Err(refusal::of_reply(service, "EHLO", &reply));
        }
        let reply = self.command(&format!("HELO {name}"), limit).await.map_err(broken)?;
        match reply.is_positive() {
            true => Ok(()),
            false => Err(refusal::of_reply(service, "HELO", &reply)),
        }
    }

    /// RFC 3207. Never skipped: without the offer, or without consent, there is no connection.
    async fn start_tls(mut self, service: &Service) -> Result<Self, mail::Error> {
        let broken = |failure: Failure| service.unavailable(&failure);
        if !self.extensions.starttls {
            return Err(broken(Failure::NoStartTls("STARTTLS")));
        }
        let limit = self.timeouts.greeting;
        let reply = self.command("STARTTLS", limit).await.map_err(broken)?;
        if reply.code != 220 {
            let words = format!("offers STARTTLS but answered it with {reply}");
            return Err(service.error(Kind::Unavailable, words));
        }
        let timeouts = self.timeouts;
        let dialogue = service.start_tls(self.dialogue).await.map_err(broken)?;
        Ok(Self::over(dialogue, timeouts))
    }

    /// Sends one command and waits for its reply.
    pub async fn command(&mut self, line: &str, limit: Duration) -> Result<Reply, Failure> {
        self.send(format!("{line}\r\n").as_bytes()).await?;
        self.last_reply(limit).await
    }

    /// Sends octets to which a reply is due: one [`Self::last_reply`] must follow.
    pub async fn send(&mut self, octets: &[u8]) -> Result<(), Failure> {
        self.settled = false;
        self.was_idle = self.is_idle();
        within(self.timeouts.block, self.dialogue.send(octets)).await
    }

    /// Sends a part of the message; false when the service began to answer before all was written.
    pub async fn send_part(&mut self, pieces: &mut VecDeque<Bytes>) -> Result<bool, Failure> {
        self.settled = false;
        within(self.timeouts.block, self.dialogue.send_unless_answered(pieces)).await
    }

    /// True when there was no reply for a while.
    pub fn is_idle(&self) -> bool {
        self.heard.elapsed() >= self.timeouts.idle
    }

    /// The next reply, when more are due after it.
    pub async fn reply(&mut self, limit: Duration) -> Result<Reply, Failure> {
        let reply = within(limit, async {
            loop {
                let decoded = self.decoder.decode(&mut self.dialogue.input);
                let decoded = decoded.map_err(|error| Failure::Malformed(error.to_string()))?;
                match decoded {
                    Some(reply) => return Ok(reply),
                    None => self.dialogue.fill().await?,
                }
            }
        });
        let reply = reply.await?;
        self.heard = Instant::now();
        Ok(reply)
    }

    /// The last reply that is due. After 421 the service closes (RFC 5321 section 3.8).
    pub async fn last_reply(&mut self, limit: Duration) -> Result<Reply, Failure> {
        let reply = self.reply(limit).await?;
        self.settled = reply.code != 421;
        Ok(reply)
    }

    /// The service is out of step: this connection is never used again.
    pub fn distrust(&mut self) {
        self.settled = false;
    }

    /// True when the next command's reply will be its own.
    pub fn is_usable(&self) -> bool {
        self.settled && self.dialogue.input.is_empty()
    }

    /// True when the service has neither closed nor sent anything meanwhile, as far as is known.
    pub fn is_quiet(&mut self) -> bool {
        self.is_usable() && self.dialogue.is_quiet()
    }

    /// Ends the session in an orderly way; failures no longer matter.
    pub async fn quit(mut self) {
        let limit = self.timeouts.farewell;
        if self.settled {
            let _ = self.command("QUIT", limit).await;
        }
        let _ = within(limit, self.dialogue.shutdown()).await;
    }

    /// Like [`Self::quit`], while the caller goes on.
    pub fn quit_behind(self) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(self.quit());
        }
    }
}

/// Silence instead of a greeting has one likely cause.
fn broken_greeting(service: &Service) -> impl Fn(Failure) -> mail::Error {
    |failure| match failure {
        Failure::Silent(_) | Failure::Closed if service.security != Security::Implicit => {
            let words = format!(
                "{failure} when its greeting was due; if the port begins with TLS, as 465 does, \
                 set UseSsl = True and TlsMode = Implicit"
            );
            service.error(Kind::Unavailable, words)
        }
        failure => service.unavailable(&failure),
    }
}
