//! Handing a message over for sending.
//!
//! Danger: a reply of 250 is a promise. Rule: [`Transaction::deliver`] returns `Ok` only when the
//! upstream has taken the message for every recipient that [`Transaction::recipient`] accepted,
//! or when it is on disk; dropping a transaction before that sends nothing.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::{Address, Error, Message, Recipient, ReversePath};

/// A place that takes messages: an upstream SMTP service, Graph, the spool.
pub trait Submission: Send + Sync {
    /// What the place is known to offer right now, for EHLO. Never waits.
    fn features(&self) -> Features;

    /// Starts a transaction for the client `login` (`None`: an anonymous network).
    ///
    /// An upstream that can tell at once refuses a bad sender here or at the first recipient.
    fn begin<'a>(
        &'a self,
        login: Option<&'a str>,
        from: ReversePath,
    ) -> BoxFuture<'a, Result<Box<dyn Transaction>, Error>>;

    /// What a front-end does about senders other than the role's mailbox (`Sender.Policy`).
    fn sender_rule(&self, _login: Option<&str>) -> SenderRule {
        SenderRule::Keep
    }
}

/// What becomes of a message whose sender is not the role's mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SenderRule {
    /// It goes on as it is: the service decides.
    Keep,
    /// From becomes this mailbox, the old one Reply-To.
    Rewrite(Address),
    /// It is refused; `None`: the mailbox is not known, nothing may be sent.
    Reject(Option<Address>),
}

/// One message on its way: recipients, then the message.
pub trait Transaction: Send {
    /// Adds a recipient. An error refuses this recipient alone; the transaction goes on.
    fn recipient(&mut self, recipient: Recipient) -> BoxFuture<'_, Result<(), Error>>;

    /// Names where the message comes from, so that it is taken once although it may be handed in
    /// again after a crash. Only a spool can keep that promise; what sends at once ignores it.
    fn came_from(&mut self, _origin: &str) {}

    /// Gives what tells a spool that the client repeats itself, not having heard our answer before a
    /// crash. What sends at once ignores it.
    fn client_keeps(&mut self, _copy: ClientCopy) {}

    /// Gives the signal that the outcome is known to all who would try again: the queue has it, or the
    /// client's answer is on its way. Until then, and when the signal ends without a word, an upstream
    /// that remembers attempts keeps this one as "may have been sent". Without a signal the end of
    /// [`Self::deliver`] counts.
    fn noted_by(&mut self, _noted: oneshot::Receiver<()>) {}

    /// Hands the message over for all accepted recipients.
    fn deliver(
        self: Box<Self>,
        message: Arc<Message>,
    ) -> BoxFuture<'static, Result<Delivered, Error>>;
}

/// The message as the client keeps it until it is answered.
#[derive(Debug)]
pub struct ClientCopy {
    /// SHA-256 of what it has sent, before anything was added: the same again is the same message.
    pub digest: [u8; 32],
    /// Told when the answer is on its way to the client; closed when it never will be.
    pub answered: oneshot::Receiver<()>,
}

/// The message was taken: by the upstream, or by the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// What the upstream said, such as its queue id; goes into the client's 250 reply and the log.
    pub note: String,
    /// It is on our disk, and the service has it later: it was not sent yet.
    pub queued: bool,
}

/// What a [`Submission`] offers beyond plain SMTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Largest message in octets, where known (RFC 1870).
    pub max_size: Option<u64>,
    /// Takes DSN parameters (RFC 3461). Only then does EHLO offer DSN.
    pub dsn: bool,
}
