//! What this role has lately sent, and what it may have sent.
//!
//! Danger: a client that was told to try again sends a message that went out after all; and a
//! client that splits a long list of recipients sends one Message-ID several times, so that the copy
//! of the first part looks like proof for the second; a program that gives every message the same
//! Message-ID has proof of everything. Rule: a message whose outcome was not certain is searched for
//! before it is sent again, and only a copy counts that was made since the first attempt and is
//! beyond those that are known.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Messages remembered, each with a few dozen octets. Retries come within hours.
const REMEMBERED: usize = 20_000;
/// Copies remembered of one message: parts of a list, or messages of a program that numbers badly.
const REMEMBERED_COPIES: usize = 1000;
/// Our clock and the service's may differ by so much.
const CLOCKS_DIFFER: Duration = Duration::from_secs(15 * 60);

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
    /// Copies in Sent Items that are known, and since when.
    copies: HashMap<MessageKey, VecDeque<SystemTime>>,
    copies_by_age: VecDeque<MessageKey>,
    /// With the time of the first attempt.
    uncertain: HashMap<PartKey, SystemTime>,
    uncertain_by_age: VecDeque<PartKey>,
}

impl Ledger {
    /// Copies of the message, made after `since`, that Sent Items holds for certain.
    pub fn copies(&self, message: MessageKey, since: SystemTime) -> usize {
        self.with(|entries| {
            let copies = entries.copies.get(&message);
            copies.map_or(0, |copies| copies.iter().filter(|at| **at >= since).count())
        })
    }

    /// When an earlier attempt that may have sent it began.
    pub fn uncertain_since(&self, part: PartKey) -> Option<SystemTime> {
        self.with(|entries| entries.uncertain.get(&part).copied())
    }

    /// It is sent, and Sent Items has one copy more.
    pub fn sent(&self, message: MessageKey, part: PartKey) {
        self.with(|entries| {
            entries.uncertain.remove(&part);
            let copies = entries.copies.entry(message).or_default();
            if copies.is_empty() {
                entries.copies_by_age.push_back(message);
            }
            if copies.len() == REMEMBERED_COPIES {
                copies.pop_front();
            }
            copies.push_back(SystemTime::now());
            if entries.copies_by_age.len() > REMEMBERED {
                let oldest = entries.copies_by_age.pop_front();
                oldest.map(|oldest| entries.copies.remove(&oldest));
            }
        });
    }

    /// An attempt that began at `since` may have sent it.
    pub fn uncertain(&self, part: PartKey, since: SystemTime) {
        self.with(|entries| {
            entries.uncertain.entry(part).or_insert_with(|| {
                entries.uncertain_by_age.push_back(part);
                since
            });
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
    since: SystemTime,
}

impl<'a> Attempt<'a> {
    /// An attempt that began at `since`.
    pub fn new(ledger: &'a Ledger, part: PartKey, since: SystemTime) -> Self {
        Self { ledger, part: Some(part), since }
    }

    /// Whether it was sent is known.
    pub fn settle(mut self) {
        self.part = None;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(part) = self.part {
            self.ledger.uncertain(part, self.since);
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
    /// When the first attempt began.
    pub since: SystemTime,
}

impl Sought<'_> {
    /// A copy made before can't be of any attempt.
    pub fn earliest(&self) -> SystemTime {
        self.since.checked_sub(CLOCKS_DIFFER).unwrap_or(self.since)
    }

    /// Later copies that are there for another reason, as of now.
    pub fn known_copies(&self) -> usize {
        self.ledger.copies(self.key, self.earliest())
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
        let first = SystemTime::now();
        ledger.uncertain(part, first);
        ledger.uncertain(part, first + Duration::from_secs(60));
        assert_eq!(ledger.uncertain_since(part), Some(first));
        assert_eq!(ledger.uncertain_since(other), None);
        ledger.sent(message, other);
        assert!(ledger.uncertain_since(part).is_some());
        ledger.sent(message, part);
        assert!(ledger.uncertain_since(part).is_none());
        assert_eq!(ledger.copies(message, first), 2);
        assert_eq!(ledger.copies(message, first + Duration::from_secs(60)), 0);
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let ledger = Ledger::default();
        let key = |n: usize| MessageKey::new("u", &format!("<{n}@b>"));
        for n in 0..=REMEMBERED {
            let part = PartKey::new(key(n), ["x@y"].into_iter());
            ledger.sent(key(n), part);
            ledger.uncertain(part, SystemTime::now());
        }
        let copies = |n| ledger.copies(key(n), SystemTime::UNIX_EPOCH);
        assert_eq!((copies(0), copies(1)), (0, 1));
        let part = |n| PartKey::new(key(n), ["x@y"].into_iter());
        let is_uncertain = |n| ledger.uncertain_since(part(n)).is_some();
        assert!(!is_uncertain(0) && is_uncertain(1));
    }
}
