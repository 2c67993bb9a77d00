//! What the queue keeps of a message.
//!
//! Danger: a state that two places understand differently sends twice or never. Rule: these types
//! are all there is; how they are written is known to this folder alone.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use crate::mail::{Message, Recipient, ReversePath};

/// Names an entry; never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId(pub(super) i64);

/// As people see and type it: a decimal number.
impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for EntryId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// A message to be written down.
#[derive(Clone, Debug)]
pub struct NewEntry<'a> {
    /// The sending role's name.
    pub role: &'a str,
    /// The client's login; `None`: an anonymous network, a pickup folder or a report of our own.
    pub login: Option<&'a str>,
    /// Entries of one lane share a mailbox, its pace and its troubles.
    pub lane: &'a str,
    /// MAIL.
    pub from: &'a ReversePath,
    /// Who is still to receive it; at least one.
    pub recipients: &'a [Recipient],
    /// The message, complete.
    pub message: &'a Message,
    /// Where it came from, so that it is taken once.
    pub origin: Option<&'a str>,
    /// Why it waits, for people; empty when it was not tried yet.
    pub reason: &'a str,
    /// When its age begins.
    pub accepted: SystemTime,
    /// When it is tried.
    pub start: Start,
}

/// When a new entry is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// From then on.
    At(SystemTime),
    /// When it is released; removed when the process ends before.
    Held,
    /// It is being sent by whoever puts it: taken from the beginning.
    Taken,
}

/// An entry that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueEntry {
    /// Which one.
    pub id: EntryId,
    /// The envelope's sender, or the login, in lower case: what order is kept by.
    pub sender: String,
}

/// An entry, without its message.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Which one.
    pub id: EntryId,
    /// As in [`NewEntry`].
    pub role: String,
    /// As in [`NewEntry`].
    pub login: Option<String>,
    /// As in [`NewEntry`].
    pub lane: String,
    /// As in [`NewEntry`].
    pub from: ReversePath,
    /// All recipients, settled ones too.
    pub recipients: Vec<QueuedRecipient>,
    /// When its age began.
    pub accepted: SystemTime,
    /// Attempts so far.
    pub attempts: u32,
    /// When it is tried next; without meaning when dead.
    pub next: SystemTime,
    /// Where it stands.
    pub state: EntryState,
    /// The last failure, for people.
    pub reason: String,
    /// Octets of the message.
    pub size: u64,
}

/// A recipient of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedRecipient {
    /// Who, with DSN parameters.
    pub recipient: Recipient,
    /// What became of it.
    pub state: RecipientState,
}

/// What became of a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientState {
    /// Not sent yet.
    Waiting,
    /// The upstream has taken the message for it.
    Sent,
    /// Given up. `status` such as `5.1.1`, `reply` in the upstream's or our words (RFC 3464).
    Failed {
        /// RFC 3463.
        status: String,
        /// One line.
        reply: String,
    },
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryState {
    /// Until [`Entry::next`].
    Waiting,
    /// It is being sent.
    Taken,
    /// Until it is released.
    Held,
    /// Given up for at least one recipient, nothing left to try: the dead-letter list.
    Dead,
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// New states, by the recipient's position in [`Entry::recipients`].
    pub recipients: Vec<(usize, RecipientState)>,
    /// What comes next.
    pub next: Next,
    /// The failure, for people; empty: there was none.
    pub reason: String,
}

/// What comes after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Every recipient has it: the entry goes.
    Done,
    /// Tried again then; `counts`: this was an attempt, not only a wait for somebody's turn.
    Again {
        /// When.
        at: SystemTime,
        /// Whether it counts.
        counts: bool,
    },
    /// Nothing is left to try, and somebody did not get it.
    Dead,
}

/// Which entries are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only dead ones, or only ones that are not; `None`: all.
    pub dead: Option<bool>,
    /// Only this role's, compared without case.
    pub role: Option<String>,
}

/// A line of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Which one.
    pub id: EntryId,
    /// The role.
    pub role: String,
    /// The envelope's sender; empty: the null reverse-path.
    pub sender: String,
    /// The first recipient that is not settled (of a dead one: that failed).
    pub recipient: String,
    /// How many recipients wait (of a dead one: have failed).
    pub open: u64,
    /// Octets.
    pub size: u64,
    /// When its age began.
    pub accepted: SystemTime,
    /// When it is tried next.
    pub next: SystemTime,
    /// Attempts so far.
    pub attempts: u32,
    /// Where it stands.
    pub state: EntryState,
    /// The last failure.
    pub reason: String,
}

/// How many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Waiting, taken and held.
    pub waiting: u64,
    /// Dead letters.
    pub dead: u64,
    /// Octets of all messages.
    pub octets: u64,
    /// When the oldest that is not dead was accepted.
    pub oldest: Option<SystemTime>,
}
