//! Handing one file in.
//!
//! Danger: a message of which some recipients were refused, or that is told as taken and is not
//! durable. Rule: everything about a file is checked before it is handed over; it is handed over
//! whole or refused whole, under an origin that makes the queue take it once.

use std::sync::Arc;
use std::time::Instant;

use super::envelope::{self, Envelope, Sender};
use super::inbox::Taken;
use super::reading::{Limit, Opened};
use super::{Failure, Folder};
use crate::frontend::Context;
use crate::frontend::outgoing::{Completing, policy};
use crate::mail::{Address, BodyKind, Message, Recipient, ReversePath, SenderRule};
use crate::telemetry::metrics;

/// Hands it in; its message is durable when this returns `Ok`.
pub(super) async fn hand_in(
    folder: &Folder,
    context: &Context,
    taken: &Taken,
) -> Result<(), Failure> {
    let (began, file) = (Instant::now(), taken.name.to_string_lossy());
    let handed = deliver(folder, context, taken).await;
    let (activity, name, role) = (&context.activity, &folder.name, &folder.role);
    match &handed {
        Ok((recipients, size, note)) => {
            tracing::info!(pickup = name, role, %file, recipients, size, note, "pickup file taken");
            activity.file_taken(name, role, *size, began.elapsed());
        }
        Err(Failure::Later(reason)) => {
            metrics::message_failed(role, true);
            activity.folder_failed(name, role, &format!("{file}: {reason}"));
        }
        Err(Failure::Refused(reason)) => {
            metrics::message_failed(role, false);
            activity.file_refused(name, role, &format!("{file}: {reason}"));
        }
    }
    handed.map(|_| ())
}

/// Recipients, octets, and what the queue says.
async fn deliver(
    folder: &Folder,
    context: &Context,
    taken: &Taken,
) -> Result<(usize, u64, String), Failure> {
    let limit = Limit::of(folder, context);
    let (path, largest) = (taken.path.clone(), limit.clone());
    let opened = tokio::task::spawn_blocking(move || Opened::open(&path, &largest));
    let opened = opened.await.map_err(std::io::Error::other)??;
    let is_eight_bit = opened.is_eight_bit();
    let message = opened.message(&context.messages, &limit).await?;
    let envelope =
        envelope::read(&message.header).map_err(|fault| Failure::Refused(fault.to_string()))?;
    let message = message.with_header(message.header.slice(envelope.length..));
    let rule = folder.submission.sender_rule(None);
    let from = reverse_path(&envelope, &rule, is_eight_bit)?;
    let completing = Completing { messages: &context.messages, host_name: &context.host_name };
    let message = completing.complete(from.address.as_ref(), message).await?;
    let message = policy::message(&rule, message)?;
    let from = policy::reverse_path(&rule, from)?;
    hand_over(folder, taken, envelope.recipients, from, message).await
}

async fn hand_over(
    folder: &Folder,
    taken: &Taken,
    recipients: Vec<Address>,
    from: ReversePath,
    message: Message,
) -> Result<(usize, u64, String), Failure> {
    let (count, size) = (recipients.len(), message.size());
    let mut transaction = folder.submission.begin(None, from).await?;
    transaction.came_from(&format!("pickup:{}", taken.id));
    for address in recipients {
        transaction.recipient(Recipient::new(address)).await?;
    }
    let delivered = transaction.deliver(Arc::new(message)).await?;
    Ok((count, size, delivered.note))
}

/// MAIL as a client would have said it.
fn reverse_path(
    envelope: &Envelope,
    rule: &SenderRule,
    is_eight_bit: bool,
) -> Result<ReversePath, Failure> {
    let address = match (&envelope.sender, rule) {
        (Sender::Address(address), _) => Some(address.clone()),
        (Sender::Null, _) => None,
        // A From that will be replaced need not be readable.
        (Sender::Unknown, SenderRule::Rewrite(mailbox)) => Some(mailbox.clone()),
        (Sender::Unknown, _) => {
            let text = "it does not say who sends it: neither X-Sender at the top nor an address in \
                        From or Sender";
            return Err(Failure::Refused(text.to_owned()));
        }
    };
    let all = envelope.recipients.iter().chain(&address);
    Ok(ReversePath {
        smtputf8: all.into_iter().any(|one| !one.is_ascii()),
        address,
        body: if is_eight_bit { BodyKind::EightBit } else { BodyKind::SevenBit },
        ..ReversePath::default()
    })
}
