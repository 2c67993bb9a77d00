//! One message's transaction: MAIL, RCPT, then the message.
//!
//! Danger: a connection that the service has closed meanwhile fails at the next command, and a
//! client must not pay for it; one that waits for a slow client is missing elsewhere; and a client
//! that was told 250 for a recipient relies on it. Rule: as long as nothing of the message was
//! handed over, the transaction may begin anew on another connection, with every recipient that was
//! accepted, or it fails; a connection is held for a silent client only for a while.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::delivery::{Interrupted, hand_over};
use super::envelope::{begin, mail_command, needs_utf8, rcpt_command};
use super::held::Held;
use super::outcome::{again, check_message, conclude, no_recipients, no_utf8, too_large};
use super::{Lease, Sender, refusal};
use crate::mail::{self, Delivered, Kind, Message, Recipient, ReversePath, Transaction};
use crate::protocol::mime::recipients::without_bcc;
use crate::protocol::smtp::reply::Reply;
use crate::upstream::connect::{Failure, Service};

/// A transaction of [`super::SmtpSubmission`]. Dropping it gives the connection back.
pub(super) struct SmtpTransaction {
    sender: Arc<Sender>,
    client: Option<String>,
    from: ReversePath,
    /// Recipients that the client was told 250 for.
    accepted: Vec<Recipient>,
    held: Held,
    /// MAIL was refused, or the service is lost: the same answer to everything.
    dead: Option<mail::Error>,
}

/// Why a recipient was not accepted.
enum Trouble {
    /// The connection is gone. Another one may do.
    Lost(Failure),
    /// The service said that it closes. Another connection may do.
    Closing(Reply),
    /// The whole transaction is refused.
    Transaction(mail::Error),
    /// This recipient is.
    Recipient(mail::Error),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Lost(failure)
    }
}

impl Trouble {
    fn is_stale(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Closing(_))
    }

    fn into_error(self, service: &Service) -> mail::Error {
        match self {
            Self::Lost(failure) => service.unavailable(&failure),
            Self::Closing(reply) => refusal::of_reply(service, "the transaction", &reply),
            Self::Transaction(error) | Self::Recipient(error) => error,
        }
    }
}

impl SmtpTransaction {
    /// Takes a connection and refuses what the service is known not to take.
    pub async fn begin(
        sender: Arc<Sender>,
        client: Option<&str>,
        from: ReversePath,
    ) -> Result<Self, mail::Error> {
        let lease = sender.lease(client).await?;
        let checked = check_sender(&sender.service, &lease, &from);
        let mut held = Held::new(&sender);
        held.put(lease);
        checked?;
        let client = client.map(str::to_owned);
        Ok(Self { sender, client, from, accepted: Vec::new(), held, dead: None })
    }

    /// While a command is under way the lease is here alone: a future that is dropped before its
    /// reply has come takes the connection with it.
    async fn add(&mut self, recipient: Recipient) -> Result<(), mail::Error> {
        if let Some(error) = &self.dead {
            return Err(again(error));
        }
        let mut lease = self.lease().await?;
        let mut outcome = self.ask(&mut lease, &recipient).await;
        if outcome.as_ref().is_err_and(Trouble::is_stale) && lease.may_be_stale() {
            lease = self.replacement().await.map_err(|error| self.die(error))?;
            outcome = self.ask(&mut lease, &recipient).await;
        }
        if !outcome.as_ref().is_err_and(Trouble::is_stale) {
            self.held.put(lease);
        }
        match outcome {
            Ok(()) => {
                self.accepted.push(recipient);
                Ok(())
            }
            Err(Trouble::Recipient(error)) => Err(error),
            Err(trouble) => {
                let error = trouble.into_error(&self.sender.service);
                Err(self.die(error))
            }
        }
    }

    /// The connection that was held, else another one.
    async fn lease(&mut self) -> Result<Lease, mail::Error> {
        if let Some(mut lease) = self.held.take()
            && lease.connection.is_quiet()
        {
            return Ok(lease);
        }
        self.sender.lease(self.client.as_deref()).await
    }

    async fn replacement(&self) -> Result<Lease, mail::Error> {
        tracing::debug!(role = self.sender.service.role, "the connection was closed; new one");
        self.sender.fresh(self.client.as_deref()).await
    }

    /// Asks the service whether it takes the recipient.
    async fn ask(&self, lease: &mut Lease, recipient: &Recipient) -> Result<(), Trouble> {
        let service = &self.sender.service;
        let connection = &mut lease.connection;
        let utf8 = lease.utf8.unwrap_or(connection.extensions.smtputf8);
        if !recipient.address.is_ascii() && !utf8 {
            return Err(Trouble::Recipient(no_utf8(service)));
        }
        let reply = match lease.utf8 {
            None => self.start(lease, Some(recipient)).await?.ok_or(Failure::Closed)?,
            Some(_) => {
                let command = rcpt_command(recipient, &connection.extensions);
                connection.command(&command, connection.timeouts.command).await?
            }
        };
        match reply.code {
            200..300 => Ok(()),
            421 => Err(Trouble::Closing(reply)),
            _ => {
                let what = format!("RCPT TO:<{}>", recipient.address);
                Err(Trouble::Recipient(refusal::of_reply(service, &what, &reply)))
            }
        }
    }

    /// MAIL, and RCPT for all that were accepted before, which must be accepted again; then for
    /// `next`, whose reply is returned.
    async fn start(
        &self,
        lease: &mut Lease,
        next: Option<&Recipient>,
    ) -> Result<Option<Reply>, Trouble> {
        let service = &self.sender.service;
        let connection = &mut lease.connection;
        let offered = &connection.extensions;
        let all = || self.accepted.iter().chain(next);
        let utf8 = offered.smtputf8 && needs_utf8(&self.from, all());
        let mail = mail_command(&self.from, offered, utf8);
        let commands: Vec<String> = all().map(|one| rcpt_command(one, offered)).collect();
        let answers = begin(connection, &mail, &commands).await?;
        if says_goodbye(&answers.mail) {
            return Err(Trouble::Closing(answers.mail));
        }
        if !answers.mail.is_positive() {
            let sender = self.from.address.as_ref().map_or("", |address| address.as_str());
            let what = format!("MAIL FROM:<{sender}>");
            return Err(Trouble::Transaction(refusal::of_reply(service, &what, &answers.mail)));
        }
        let mut replies = answers.recipients.into_iter();
        for recipient in &self.accepted {
            match replies.next() {
                Some(reply) if reply.is_positive() => {}
                Some(reply) if reply.code == 421 => return Err(Trouble::Closing(reply)),
                Some(reply) => {
                    let words = format!(
                        "took the recipient {} at first, and does not any more: {reply}",
                        recipient.address
                    );
                    return Err(Trouble::Transaction(service.error(Kind::Unavailable, words)));
                }
                None => return Err(Failure::Closed.into()),
            }
        }
        lease.utf8 = Some(utf8);
        Ok(replies.next())
    }

    /// Nothing more can succeed in this transaction.
    fn die(&mut self, error: mail::Error) -> mail::Error {
        self.dead = Some(again(&error));
        error
    }

    async fn finish(mut self, message: &Message) -> Result<Delivered, mail::Error> {
        if let Some(error) = self.dead.take() {
            return Err(error);
        }
        if self.accepted.is_empty() {
            return Err(no_recipients(&self.sender.service));
        }
        let without_bcc = without_bcc(&message.header);
        let header = without_bcc.map_or_else(|| message.header.clone(), Bytes::from);
        let message = message.with_header(header);
        let mut lease = self.lease().await?;
        let mut outcome = self.deliver_on(&mut lease, &message).await;
        if outcome.as_ref().is_err_and(Unsent::is_stale) && lease.may_be_stale() {
            lease = self.replacement().await?;
            outcome = self.deliver_on(&mut lease, &message).await;
        }
        let service = &self.sender.service;
        let result = match outcome {
            Ok(reply) => conclude(service, &mut lease.connection, Ok(reply)),
            Err(Unsent::Envelope(trouble)) => Err(trouble.into_error(service)),
            Err(Unsent::Refused(error)) => Err(error),
            Err(Unsent::Message(why)) => conclude(service, &mut lease.connection, Err(why)),
        };
        // The pool takes back only what is in step.
        self.held.put(lease);
        result
    }

    async fn deliver_on(&self, lease: &mut Lease, message: &Message) -> Result<Reply, Unsent> {
        if lease.utf8.is_none() {
            self.start(lease, None).await.map_err(Unsent::Envelope)?;
        }
        let connection = &mut lease.connection;
        check_message(&self.sender.service, &connection.extensions, &self.from, message)
            .await
            .map_err(Unsent::Refused)?;
        hand_over(connection, message).await.map_err(Unsent::Message)
    }
}

/// Why there is no answer to the message.
enum Unsent {
    Envelope(Trouble),
    Refused(mail::Error),
    Message(Interrupted),
}

impl Unsent {
    /// Nothing of the message was handed over, and another connection may do.
    fn is_stale(&self) -> bool {
        match self {
            Self::Envelope(trouble) => trouble.is_stale(),
            Self::Message(Interrupted::NotBegun(_)) => true,
            Self::Message(_) | Self::Refused(_) => false,
        }
    }
}

/// 421, or Gmail's words for a connection that was silent for too long.
fn says_goodbye(reply: &Reply) -> bool {
    reply.code == 421 || (reply.code == 451 && reply.enhanced() == Some((4, 4, 2)))
}

fn check_sender(service: &Service, lease: &Lease, from: &ReversePath) -> Result<(), mail::Error> {
    let offered = &lease.connection.extensions;
    if let (Some(declared), Some(max)) = (from.declared_size, offered.max_size)
        && declared > max
    {
        return Err(too_large(service, declared, max));
    }
    match &from.address {
        Some(address) if !address.is_ascii() && !offered.smtputf8 => Err(no_utf8(service)),
        _ => Ok(()),
    }
}

impl Transaction for SmtpTransaction {
    fn recipient(&mut self, recipient: Recipient) -> BoxFuture<'_, Result<(), mail::Error>> {
        self.add(recipient).boxed()
    }

    fn deliver(
        self: Box<Self>,
        message: Arc<Message>,
    ) -> BoxFuture<'static, Result<Delivered, mail::Error>> {
        async move { self.finish(&message).await }.boxed()
    }
}
