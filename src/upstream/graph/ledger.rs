//! What this role has lately sent, and what it may have sent.
//!
//! Danger: a client that was told to try again sends a message that went out after all; and a
//! client that splits a long list of recipients sends one Message-ID several times, so that the copy
//! of the first part looks like proof for the second. Rule: a message whose outcome was not certain
//! is searched for before it is sent again, and only a copy beyond those that are known counts.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, PoisonError};

/// Messages remembered, each with a few dozen octets. Retries come within hours.
const REMEMBERED: usize = 20_000;

/// Names a message in one mailbox: every part of a split list has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct MessageKey(u64);

impl MessageKey {
    pub fn new(user: &str, message_id: &str) -> Self {
        Self(hash(&(user.to_lowercase(), message_id)))
    }
}

/// Names a message to certain recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PartKey(u64);

impl PartKey {
    /// The order of the recipients does not matter.
    pub fn new<'a>(message: MessageKey, recipients: impl Iterator<Item = &'a str>) -> Self {
        let mut recipients: Vec<String> = recipients.map(str::to_lowercase).collect();
        recipients.sort_unstable();
        Self(hash(&(message, recipients)))
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The memory of one role; lost at a restart.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    /// Copies in Sent Items that are known.
    copies: HashMap<MessageKey, usize>,
    copies_by_age: VecDeque<MessageKey>,
    uncertain: HashSet<PartKey>,
    uncertain_by_age: VecDeque<PartKey>,
}

impl Ledger {
    /// Copies of the message that Sent Items holds for certain.
    pub fn copies(&self, message: MessageKey) -> usize {
        self.with(|entries| entries.copies.get(&message).copied().unwrap_or_default())
    }

    /// True when an earlier attempt may have sent it.
    pub fn is_uncertain(&self, part: PartKey) -> bool {
        self.with(|entries| entries.uncertain.contains(&part))
    }

    /// It is sent, and Sent Items has one copy more.
    pub fn sent(&self, message: MessageKey, part: PartKey) {
        self.with(|entries| {
            entries.uncertain.remove(&part);
            let copies = entries.copies.entry(message).or_default();
            *copies += 1;
            if *copies == 1 {
                entries.copies_by_age.push_back(message);
            }
            if entries.copies_by_age.len() > REMEMBERED {
                let oldest = entries.copies_by_age.pop_front();
                oldest.map(|oldest| entries.copies.remove(&oldest));
            }
        });
    }

    /// It may be sent.
    pub fn uncertain(&self, part: PartKey) {
        self.with(|entries| {
            if entries.uncertain.insert(part) {
                entries.uncertain_by_age.push_back(part);
            }
            if entries.uncertain_by_age.len() > REMEMBERED {
                let oldest = entries.uncertain_by_age.pop_front();
                oldest.map(|oldest| entries.uncertain.remove(&oldest));
            }
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut Entries) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Notes a part as uncertain unless it is settled: also when a client vanishes and its delivery is
/// dropped half-way.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    ledger: &'a Ledger,
    part: Option<PartKey>,
}

impl<'a> Attempt<'a> {
    pub fn new(ledger: &'a Ledger, part: PartKey) -> Self {
        Self { ledger, part: Some(part) }
    }

    /// Whether it was sent is known.
    pub fn settle(mut self) {
        self.part = None;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(part) = self.part {
            self.ledger.uncertain(part);
        }
    }
}

/// A message as it is looked for in Sent Items.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sought<'a> {
    /// With its brackets.
    pub message_id: &'a str,
    pub key: MessageKey,
    pub ledger: &'a Ledger,
}

impl Sought<'_> {
    /// Copies that are there for another reason, as of now.
    pub fn known_copies(&self) -> usize {
        self.ledger.copies(self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_one_message_are_told_apart() {
        let message = MessageKey::new("User@d", "<a@b>");
        assert_eq!(message, MessageKey::new("user@D", "<a@b>"));
        let part = PartKey::new(message, ["x@y", "Z@y"].into_iter());
        assert_eq!(part, PartKey::new(message, ["z@Y", "x@y"].into_iter()));
        let other = PartKey::new(message, ["x@y"].into_iter());
        let ledger = Ledger::default();
        ledger.uncertain(part);
        assert!(ledger.is_uncertain(part) && !ledger.is_uncertain(other));
        ledger.sent(message, other);
        assert!(ledger.is_uncertain(part));
        ledger.sent(message, part);
        assert!(!ledger.is_uncertain(part));
        assert_eq!(ledger.copies(message), 2);
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let ledger = Ledger::default();
        let key = |n: usize| MessageKey::new("u", &format!("<{n}@b>"));
        for n in 0..=REMEMBERED {
            let part = PartKey::new(key(n), ["x@y"].into_iter());
            ledger.sent(key(n), part);
            ledger.uncertain(part);
        }
        assert_eq!((ledger.copies(key(0)), ledger.copies(key(1))), (0, 1));
        let part = |n| PartKey::new(key(n), ["x@y"].into_iter());
        assert!(!ledger.is_uncertain(part(0)) && ledger.is_uncertain(part(1)));
    }
}
