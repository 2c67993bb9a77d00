//! Microsoft Graph: sending without SMTP AUTH.
//!
//! Danger: Graph has no envelope, answers success for what it did not send, limits size, pace and
//! concurrency, and writes messages anew. Rule: the header is made to name exactly the envelope's
//! recipients, 202 alone is success, a lost answer is looked up before anything is repeated, and no
//! JSON, token or Graph code leaves this folder but as a [`crate::mail::Error`].
//!
//! One file per remote call: `send_mail`, `draft`, `attachment`, `upload`; `outcome` looks up what
//! became of a message, `ledger` remembers, `delivery` chooses the way, `client` makes requests, `failure` explains.

mod ask;
mod attachment;
mod batch;
mod body;
mod client;
mod delivery;
mod download;
mod draft;
mod failure;
#[cfg(all(test, feature = "sandbox"))]
mod fake;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod ledger;
mod mailbox;
mod outcome;
mod send_mail;
mod service_time;
mod smtp_way;
mod stray;
#[cfg(all(test, feature = "sandbox"))]
mod tests;
mod turns;
mod upload;

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::config::role::{LargeMessages, Microsoft365};
use crate::mail::{
    Delivered, Error, Features, Kind, Message, Recipient, ReversePath, SmtpReply, Submission,
    Transaction,
};
use crate::oauth::{HttpClient, TokenSource};
use crate::protocol::mime::recipients;
use crate::store::handovers::Handovers;
use client::{Client, Mailbox};
use delivery::{DOCUMENTED_LIMIT, Policy};
#[cfg(test)]
pub(crate) use failure::explained;
use ledger::Book;
pub use mailbox::{Engines, GraphMailbox, MailboxProof, Settings as MailboxSettings};
use smtp_way::SmtpWay;
pub use turns::Turns;

/// Recipients of one message (Graph page `resources/message`: to, cc and bcc together).
const MAX_RECIPIENTS: usize = 500;
/// Largest message of Exchange Online, in octets; a mailbox's own limit is mostly lower.
const MAX_MESSAGE: u64 = 150 << 20;

/// A sending role behind which is a Microsoft 365 mailbox.
pub struct GraphSubmission {
    client: Arc<Client>,
    policy: Policy,
    memory: Arc<delivery::Memory>,
    smtp: Option<Arc<dyn Submission>>,
}

impl GraphSubmission {
    /// A submission for the role of that name. `http` has a connect time-out and follows the
    /// configuration of proxies and roots; `turns` is one for all roles.
    pub fn new(
        role: &str,
        account: &Microsoft365,
        save_to_sent_items: bool,
        large_messages: LargeMessages,
        tokens: Arc<dyn TokenSource>,
        http: HttpClient,
        turns: &Turns,
    ) -> Self {
        Self {
            client: Arc::new(Client::new(role, account, tokens, http, turns)),
            policy: Policy { save_to_sent_items, large_messages },
            memory: Arc::default(),
            smtp: None,
        }
    }

    /// Keeps its notes of what may have been sent in the state folder, too.
    #[must_use]
    pub fn with_handovers(self, handovers: Option<Handovers>) -> Self {
        let book = handovers.map_or(Book::None, Book::Disk);
        Self { memory: Arc::new(delivery::Memory::new(book)), ..self }
    }

    /// Sends what one request does not take over this service (`LargeMessages = Smtp`).
    #[must_use]
    pub fn with_smtp(self, service: Arc<dyn Submission>) -> Self {
        Self { smtp: Some(service), ..self }
    }
}

impl Submission for GraphSubmission {
    fn features(&self) -> Features {
        let max_size = match (self.policy.large_messages, &self.smtp) {
            (LargeMessages::Upload, _) => MAX_MESSAGE,
            // What the SMTP service says is known after the first connection to it.
            (LargeMessages::Smtp, Some(smtp)) => {
                smtp.features().max_size.unwrap_or(MAX_MESSAGE).min(MAX_MESSAGE)
            }
            (LargeMessages::Smtp | LargeMessages::Reject, _) => body::plain_size(DOCUMENTED_LIMIT),
        };
        Features { max_size: Some(max_size), dsn: false }
    }

    fn begin<'a>(
        &'a self,
        login: Option<&'a str>,
        from: ReversePath,
    ) -> BoxFuture<'a, Result<Box<dyn Transaction>, Error>> {
        async move {
            if from.declared_size > self.features().max_size {
                let text = format!("{}: the client declared a message too large", self.client.role);
                return Err(Error::new(Kind::TooLarge, text));
            }
            // A missing token fails here, before the message travels.
            let mailbox = Arc::new(self.client.mailbox(login).await?);
            let transaction = GraphTransaction {
                mailbox,
                policy: self.policy,
                memory: Arc::clone(&self.memory),
                smtp: self.smtp.clone(),
                login: login.map(str::to_owned),
                from,
                recipients: Vec::new(),
                noted: None,
            };
            Ok(Box::new(transaction) as Box<dyn Transaction>)
        }
        .boxed()
    }
}

struct GraphTransaction {
    mailbox: Arc<Mailbox>,
    policy: Policy,
    memory: Arc<delivery::Memory>,
    smtp: Option<Arc<dyn Submission>>,
    login: Option<String>,
    from: ReversePath,
    recipients: Vec<Recipient>,
    noted: Option<oneshot::Receiver<()>>,
}

impl Transaction for GraphTransaction {
    fn noted_by(&mut self, noted: oneshot::Receiver<()>) {
        self.noted = Some(noted);
    }

    fn recipient(&mut self, recipient: Recipient) -> BoxFuture<'_, Result<(), Error>> {
        if !recipients::is_unmistakable(recipient.address.as_str()) {
            return std::future::ready(Err(self.mistakable())).boxed();
        }
        let known = self.recipients.iter().any(|one| one.address == recipient.address);
        let result = match self.recipients.len() {
            MAX_RECIPIENTS.. if !known => Err(self.too_many()),
            _ => {
                self.recipients.extend(Some(recipient).filter(|_| !known));
                Ok(())
            }
        };
        std::future::ready(result).boxed()
    }

    fn deliver(
        self: Box<Self>,
        message: Arc<Message>,
    ) -> BoxFuture<'static, Result<Delivered, Error>> {
        async move {
            let envelope: Vec<&str> =
                self.recipients.iter().map(|recipient| recipient.address.as_str()).collect();
            if envelope.is_empty() {
                let text = format!("{}: a message without recipients", self.mailbox.client.role);
                return Err(Error::new(Kind::Rejected, text));
            }
            let header = recipients::for_graph(&message.header, &envelope);
            let original = message;
            let message = Arc::new(original.with_header(header.into()));
            let smtp = self.smtp.as_ref().map(|service| SmtpWay {
                service,
                message: &original,
                from: &self.from,
                recipients: &self.recipients,
                login: self.login.as_deref(),
            });
            let delivery = delivery::Delivery {
                mailbox: &self.mailbox,
                message: &message,
                policy: self.policy,
                memory: &self.memory,
                smtp,
            };
            let (note, unnoted) = delivery.run(&envelope).await?;
            if let Some(unnoted) = unnoted {
                let (mailbox, memory) = (Arc::clone(&self.mailbox), Arc::clone(&self.memory));
                let strike_out = async move { unnoted.noted(&mailbox.client.role, &memory).await };
                match self.noted {
                    None => strike_out.await,
                    Some(noted) => drop(tokio::spawn(async move {
                        if noted.await.is_ok() {
                            strike_out.await;
                        }
                    })),
                }
            }
            Ok(Delivered { note, queued: false })
        }
        .boxed()
    }
}

impl GraphTransaction {
    /// Graph finds recipients by parsing the header, and may find another address in this one.
    fn mistakable(&self) -> Error {
        let text = format!(
            "{}: a recipient's local part holds brackets, quotes or other signs that Microsoft 365 \
             may read as another address, so nothing is sent there; use an SMTP service for it",
            self.mailbox.client.role
        );
        let words = "Microsoft 365 may take this recipient for another address; not sent";
        Error::new(Kind::Rejected, text).with_reply(SmtpReply::new(553, (5, 1, 3), words))
    }

    /// Temporary, as RFC 5321 section 4.5.3.1.10 wants: the client sends to the rest once more.
    fn too_many(&self) -> Error {
        let text = format!(
            "{}: Microsoft 365 takes at most {MAX_RECIPIENTS} recipients a message",
            self.mailbox.client.role
        );
        let reply = SmtpReply::new(452, (4, 5, 3), "Too many recipients");
        Error::new(Kind::Throttled { retry_after: None }, text).with_reply(reply)
    }
}
