//! One attempt: the message is handed over for those who still wait.
//!
//! Danger: one recipient's refusal is taken for all, or a refusal of this message for trouble of the
//! mailbox, so that others wait for it; an attempt that panics takes the dispatcher with it. Rule:
//! each recipient has its own outcome, each trouble says what it is about, and a panic or an attempt
//! without end is an outcome like others.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::mail::{
    Delivered, Error, Kind, Message, Recipient, ReversePath, Submission, Transaction,
};
use crate::store::queue::RecipientState;

/// What an attempt has brought.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Who is settled, by position.
    pub settled: Vec<(usize, RecipientState)>,
    /// Why the others wait.
    pub trouble: Option<Trouble>,
    /// What the service said when it took the message.
    pub note: String,
    /// Told when all this is written down: see [`Transaction::noted_by`].
    pub noted: Option<oneshot::Sender<()>>,
}

/// Why somebody has to wait.
#[derive(Debug)]
pub(super) struct Trouble {
    pub error: Error,
    pub about: About,
}

/// What a trouble holds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// Everything that goes through this mailbox.
    Mailbox,
    /// This message alone.
    Message,
    /// Nothing: the rest goes in the next transaction.
    Rest,
}

impl Trouble {
    /// Trouble before a message is handed over.
    pub fn before(error: Error) -> Self {
        let about = match error.kind {
            Kind::OverQuota | Kind::OutcomeUnknown => About::Message,
            _ => About::Mailbox,
        };
        Self { error, about }
    }

    /// Trouble with the message itself. A reply of 4xx to it is about it: the service can be reached
    /// and is busy with nothing else.
    pub fn with_message(error: Error) -> Self {
        let answered = error.kind == Kind::Unavailable && error.reply.is_some();
        match answered {
            true => Self { error, about: About::Message },
            false => Self::before(error),
        }
    }
}

impl Outcome {
    /// Nobody was tried.
    pub fn none(trouble: Trouble) -> Self {
        Self { trouble: Some(trouble), ..Self::default() }
    }

    /// The answer to a message that was handed over for these recipients.
    pub fn of(answer: Result<Delivered, Error>, positions: &[usize]) -> Self {
        let all =
            |state: &RecipientState| positions.iter().map(|at| (*at, state.clone())).collect();
        match answer {
            Ok(Delivered { note, .. }) => {
                Self { settled: all(&RecipientState::Sent), note, ..Self::default() }
            }
            Err(error) if error.kind.is_temporary() => Self::none(Trouble::with_message(error)),
            Err(error) => Self { settled: all(&refused(&error)), ..Self::default() },
        }
    }
}

/// Hands the message over for `recipients`, who have these positions.
pub(super) async fn attempt(
    upstream: &dyn Submission,
    login: Option<&str>,
    from: ReversePath,
    recipients: Vec<(usize, Recipient)>,
    message: Arc<Message>,
) -> Outcome {
    let mut transaction = match upstream.begin(login, from).await {
        Ok(transaction) => transaction,
        Err(error) if error.kind.is_temporary() => return Outcome::none(Trouble::before(error)),
        Err(error) => {
            let all = recipients.into_iter().map(|(at, _)| (at, refused(&error))).collect();
            return Outcome { settled: all, ..Outcome::default() };
        }
    };
    let mut asked = Outcome::default();
    let mut accepted = Vec::new();
    for (at, recipient) in recipients {
        match transaction.recipient(recipient).await {
            Ok(()) => accepted.push(at),
            Err(error) if is_too_many(&error) && !accepted.is_empty() => {
                asked.trouble = Some(Trouble { error, about: About::Rest });
                break;
            }
            Err(error) if error.kind.is_temporary() => {
                let about = match error.kind {
                    Kind::Unavailable if error.reply.is_some() => About::Message,
                    _ => Trouble::before_kind(error.kind),
                };
                asked.trouble.get_or_insert(Trouble { error, about });
            }
            Err(error) => asked.settled.push((at, refused(&error))),
        }
    }
    if accepted.is_empty() {
        return asked;
    }
    let (noted, signal) = oneshot::channel();
    transaction.noted_by(signal);
    let answer = Outcome::of(transaction.deliver(message).await, &accepted);
    let went_through = answer.trouble.is_none();
    asked.settled.extend(answer.settled);
    // What was said about the message is the news; "too many" is only true for what went through.
    let trouble = match (answer.trouble, asked.trouble) {
        (None, asked) => asked.map(|trouble| Trouble {
            about: match trouble.about {
                // The mailbox has just sent something.
                About::Mailbox => About::Message,
                about => about,
            },
            ..trouble
        }),
        (answered, _) => answered,
    };
    debug_assert!(went_through || trouble.is_some());
    Outcome { settled: asked.settled, trouble, note: answer.note, noted: Some(noted) }
}

impl Trouble {
    fn before_kind(kind: Kind) -> About {
        match kind {
            Kind::OverQuota | Kind::OutcomeUnknown => About::Message,
            _ => About::Mailbox,
        }
    }
}

/// RFC 5321 section 4.5.3.1.10: the rest belongs into another transaction.
pub(super) fn is_too_many(error: &Error) -> bool {
    error.reply.as_ref().is_some_and(|reply| reply.code == 452 && reply.enhanced == (4, 5, 3))
}

/// Hands over what was accepted, to an end in any case.
pub(super) async fn deliver(
    transaction: Box<dyn Transaction>,
    message: Arc<Message>,
    limit: Duration,
) -> Result<Delivered, Error> {
    let work = AssertUnwindSafe(async { transaction.deliver(message).await }).catch_unwind();
    match timeout(limit, work).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(panicked()),
        Err(_) => Err(endless(limit)),
    }
}

/// An attempt that comes to an end in any case.
pub(super) async fn contained(work: impl Future<Output = Outcome>, limit: Duration) -> Outcome {
    match timeout(limit, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Outcome::none(Trouble::before(panicked())),
        Err(_) => Outcome::none(Trouble::before(endless(limit))),
    }
}

/// What the panic was is in the log of the process; the message may have been sent before it.
fn panicked() -> Error {
    let text =
        "authbridge has met an error of its own while it sent this message; please report it";
    Error::new(Kind::OutcomeUnknown, text)
}

fn endless(limit: Duration) -> Error {
    let text = format!("the mail service has not answered for {} minutes", limit.as_secs() / 60);
    Error::new(Kind::OutcomeUnknown, text)
}

/// A permanent failure as a report tells it: RFC 3463 status, and a line without what is meant for
/// administrators.
pub(super) fn refused(error: &Error) -> RecipientState {
    let (status, words) = match error.kind {
        Kind::NotFound => ("5.1.1", "there is no such mailbox"),
        Kind::NotPermitted => ("5.7.1", "the mail service does not permit this"),
        Kind::TooLarge => ("5.3.4", "the message is too large for the mail service"),
        Kind::Unsupported => ("5.3.3", "the mail service cannot do this"),
        _ => ("5.6.0", "the mail service has refused the message"),
    };
    let Some(reply) = &error.reply else {
        return RecipientState::Failed { status: status.to_owned(), reply: words.to_owned() };
    };
    let (class, subject, detail) = reply.enhanced;
    let status = match class {
        5 => format!("5.{subject}.{detail}"),
        _ => status.to_owned(),
    };
    let reply = format!("{} {status} {}", reply.code, reply.text);
    RecipientState::Failed { status, reply }
}

/// A temporary failure in a few words that a client may hear.
pub(super) fn in_short(kind: Kind) -> &'static str {
    match kind {
        Kind::Throttled { .. } => "the mail service is busy",
        Kind::SignInNeeded => "the mail service does not accept our sign-in",
        Kind::OverQuota => "the mailbox is full",
        Kind::OutcomeUnknown => "the mail service did not confirm the message",
        _ => "the mail service is not available",
    }
}
