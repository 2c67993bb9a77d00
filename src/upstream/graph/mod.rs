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
#[cfg(all(test, feature = "sandbox"))]
mod tests;
mod turns;
mod upload;

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

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
pub use mailbox::{Engines, GraphMailbox, MailboxProof, Settings as MailboxSettings};
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
        handovers: Option<Handovers>,
    ) -> Self {
        let _ = handovers;
        Self {
            client: Arc::new(Client::new(role, account, tokens, http, turns)),
            policy: Policy { save_to_sent_items, large_messages },
            memory: Arc::default(),
        }
    }
}

impl Submission for GraphSubmission {
    fn features(&self) -> Features {
        let max_size = match self.policy.large_messages {
            LargeMessages::Upload => MAX_MESSAGE,
            LargeMessages::Smtp | LargeMessages::Reject => body::plain_size(DOCUMENTED_LIMIT),
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
                recipients: Vec::new(),
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
    recipients: Vec<Recipient>,
}

impl Transaction for GraphTransaction {
    fn recipient(&mut self, recipient: Recipient) -> BoxFuture<'_, Result<(), Error>> {
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
            let message = Arc::new(message.with_header(header.into()));
            let delivery = delivery::Delivery {
                mailbox: &self.mailbox,
                message: &message,
                policy: self.policy,
                memory: &self.memory,
            };
            Ok(Delivered { note: delivery.run(&envelope).await? })
        }
        .boxed()
    }
}

impl GraphTransaction {
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
