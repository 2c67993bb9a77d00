//! DATA and BDAT: the message, and handing it over.
//!
//! Danger: a message told as sent that was not, or sent twice because nobody knew. Rule: the
//! message is handed over once, when its end was seen; the reply waits for the upstream's own, and
//! a wait without an answer is told as an unknown outcome.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::connection::End;
use super::program;
use super::receive::{self, Chunks, Incoming};
use super::session::Session;
use super::state::{Mail, Sender, State};
use super::transaction::sender_not_allowed;
use crate::frontend::outgoing::allowed::header_is_allowed;
use crate::frontend::outgoing::{Completing, policy};
use crate::mail::{Address, ClientCopy, Delivered, Error, Kind, Message, SenderRule};
use crate::protocol::smtp::answer::Answer;

/// Clients wait ten minutes after the final dot (RFC 5321 section 4.5.3.2.6); an upstream's own
/// time-outs are shorter, this is the last resort against one that hangs.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(570);

impl Session {
    pub(super) async fn data(&mut self, state: State) -> Result<State, End> {
        let State::InTransaction(sender, mail) = state else { return Ok(state) };
        if let Err(answer) = has_recipients(&mail) {
            self.reply(&answer);
            return Ok(State::InTransaction(sender, mail));
        }
        self.reply(&Answer::bare(354, "End data with <CR><LF>.<CR><LF>"));
        self.connection.flush().await?;
        let mut incoming = self.incoming(&mail);
        receive::data(&mut self.connection, &mut incoming).await?;
        self.deliver(&sender, mail, incoming).await;
        Ok(sender.ready())
    }

    pub(super) async fn chunk(
        &mut self,
        state: State,
        size: u64,
        last: bool,
    ) -> Result<State, End> {
        let (sender, mail, mut chunks) = match state {
            State::InTransaction(sender, mail) => {
                let chunks = Chunks::new(self.incoming(&mail));
                (sender, mail, chunks)
            }
            State::InChunks(sender, mail, chunks) => (sender, mail, *chunks),
            other => return Ok(other),
        };
        chunks.read(&mut self.connection, size).await?;
        if let Err(answer) = has_recipients(&mail) {
            self.reply(&answer);
            // RFC 3030 section 2: only RSET helps now. What follows in a pipeline must not become a
            // message that lacks this chunk.
            return Ok(sender.ready());
        }
        if last {
            self.deliver(&sender, mail, chunks.finish()).await;
            return Ok(sender.ready());
        }
        match chunks.problem() {
            Ok(chunks) => {
                self.reply(&Answer::new(250, "2.0.0", format!("{size} octets received")));
                Ok(State::InChunks(sender, mail, Box::new(chunks)))
            }
            Err(problem) => {
                let answer = self.refuse(&Error::from(problem), &sender, "BDAT");
                self.reply(&answer);
                Ok(sender.ready())
            }
        }
    }

    fn incoming(&self, mail: &Mail) -> Incoming {
        Incoming::new(&self.context.messages, self.max_size(mail.features))
    }

    async fn deliver(&mut self, sender: &Sender, mut mail: Mail, incoming: Incoming) {
        let started = Instant::now();
        let digest = incoming.digest();
        let (recipients, from) = (mail.recipients.len(), mail.from.address.as_ref());
        let message = match self.prepare(sender, from, &mail.rule, incoming).await {
            Ok(message) => message,
            Err(error) => {
                let answer = self.refuse(&error, sender, "the message");
                return self.reply(&answer);
            }
        };
        self.note_mailer(&message);
        let size = message.size();
        let (told, answered) = oneshot::channel();
        mail.transaction.client_keeps(ClientCopy { digest, answered });
        let delivery = timeout(DELIVERY_TIMEOUT, mail.transaction.deliver(Arc::new(message)));
        let answer = match delivery.await.unwrap_or_else(|_| Err(hangs())) {
            Ok(Delivered { note, queued }) => {
                let did = if queued { "queued" } else { "sent" };
                let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                tracing::info!(
                    client_login = sender.name(),
                    role = sender.role,
                    recipients,
                    size,
                    note,
                    duration_ms,
                    "message {did}"
                );
                match queued {
                    true => self.live.queued(&sender.role, size),
                    false => self.live.sent(&sender.role, size, started.elapsed()),
                }
                Answer::new(250, "2.0.0", format!("Ok: {note}"))
            }
            Err(error) => self.refuse(&error, sender, "delivery"),
        };
        self.connection.reply_and_tell(&answer, told);
    }

    /// Once a session: programs do not change in the middle of one.
    fn note_mailer(&self, message: &Message) {
        if !self.live.is_named()
            && let Some(mailer) = program::mailer(&message.header)
        {
            self.live.named(&mailer);
        }
    }

    /// The message as it goes on: complete, and from a sender who may send it. The login's own list
    /// comes first, and judges what the client has written.
    async fn prepare(
        &self,
        sender: &Sender,
        from: Option<&Address>,
        rule: &SenderRule,
        incoming: Incoming,
    ) -> Result<Message, Error> {
        let message = incoming.finish().await?;
        let (messages, host_name) = (&self.context.messages, self.context.host_name.as_str());
        let completing = Completing { messages, host_name };
        let message = completing.complete(from, message).await?;
        match &sender.allowed {
            Some(allowed) if !header_is_allowed(allowed, &message.header) => {
                Err(sender_not_allowed())
            }
            _ => policy::message(rule, message),
        }
    }
}

/// RFC 5321 section 3.3: 503 when there was no RCPT, 554 when all were refused.
fn has_recipients(mail: &Mail) -> Result<(), Answer> {
    match (mail.recipients.is_empty(), mail.tried) {
        (false, _) => Ok(()),
        (true, true) => Err(Answer::new(554, "5.5.1", "No valid recipients")),
        (true, false) => Err(Answer::new(503, "5.5.1", "Say RCPT first")),
    }
}

fn hangs() -> Error {
    let text = "the mail service did not answer for nine and a half minutes after the message";
    Error::new(Kind::OutcomeUnknown, text)
}
