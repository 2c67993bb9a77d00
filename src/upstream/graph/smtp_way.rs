//! The way of large messages that may not be taken apart: Exchange Online's own SMTP.
//!
//! Danger: two services with one mailbox, of which the second knows nothing of what the first was
//! promised; a Bcc that travels. Rule: the message goes byte for byte under its own header, without
//! Bcc, to the envelope's recipients, in the mailbox's name: Exchange takes no other reverse-path,
//! and Graph sets the same one. All recipients or none. After a lost answer a copy in Sent Items is
//! proof, its absence is not: Exchange does not promise one for SMTP.

use std::sync::Arc;

use super::client::Mailbox;
use super::ledger::Sought;
use super::outcome::{Failed, Finding, Trace, look};
use crate::mail::{Address, Error, Kind, Message, Recipient, ReversePath, Submission, Transaction};

/// What a message needs to go over SMTP.
#[derive(Clone, Copy)]
pub(super) struct SmtpWay<'a> {
    pub service: &'a Arc<dyn Submission>,
    /// With the header that the client gave it.
    pub message: &'a Arc<Message>,
    pub from: &'a ReversePath,
    pub recipients: &'a [Recipient],
    pub login: Option<&'a str>,
}

impl SmtpWay<'_> {
    /// Sends it; gives the service's note.
    pub async fn send(
        self,
        mailbox: &Mailbox,
        sought: Option<Sought<'_>>,
    ) -> Result<String, Failed> {
        let transaction = self.begin(mailbox).await?;
        let error = match transaction.deliver(Arc::clone(self.message)).await {
            Ok(delivered) => return Ok(delivered.note),
            Err(error) if error.kind != Kind::OutcomeUnknown => return Err(error.into()),
            Err(error) => error,
        };
        tracing::warn!(role = mailbox.client.role, error = %error.chain(), "was the message sent?");
        match look(mailbox, Trace::SentItems(sought)).await {
            Finding::Sent => Ok("found among the sent messages".to_owned()),
            Finding::NotSent | Finding::Unclear(_) | Finding::Blind(_) => {
                Err(Failed::uncertain(error))
            }
        }
    }

    /// Everything up to the message.
    async fn begin(self, mailbox: &Mailbox) -> Result<Box<dyn Transaction>, Error> {
        let address = Address::parse(&mailbox.user).map_err(|_| self.no_address(mailbox))?;
        let from = ReversePath {
            address: Some(address),
            declared_size: Some(self.message.size()),
            ..self.from.clone()
        };
        let mut transaction = self.service.begin(self.login, from).await?;
        for recipient in self.recipients {
            transaction.recipient(recipient.clone()).await?;
        }
        Ok(transaction)
    }

    fn no_address(self, mailbox: &Mailbox) -> Error {
        let text = format!(
            "{}: {:?} is no address, which SMTP needs for large messages (LargeMessages = Smtp); \
             write the mailbox's address into UserObjectId, or set LargeMessages = Upload",
            mailbox.client.role, mailbox.user
        );
        Error::new(Kind::NotFound, text)
    }
}
