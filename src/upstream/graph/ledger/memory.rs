//! The part of the ledger that is lost at a restart.
//!
//! Danger: it grows for as long as the process lives. Rule: the oldest goes; retries come within
//! hours.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::{Left, MessageKey, PartKey, Since, Uncertain};

/// Messages remembered, each with a few dozen octets.
const REMEMBERED: usize = 20_000;
/// Copies remembered of one message: parts of a list, or messages of a program that numbers badly.
const REMEMBERED_COPIES: usize = 1000;

#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    /// Copies in Sent Items that are known, and since when.
    copies: HashMap<MessageKey, VecDeque<SystemTime>>,
    copies_by_age: VecDeque<MessageKey>,
    uncertain: HashMap<PartKey, Uncertain>,
    /// Those that were settled are still named here.
    uncertain_by_age: VecDeque<PartKey>,
}

impl Memory {
    pub fn copies(&self, message: MessageKey, since: SystemTime) -> u64 {
        self.with(|entries| {
            let copies = entries.copies.get(&message);
            copies.map_or(0, |copies| copies.iter().filter(|at| **at >= since).count() as u64)
        })
    }

    pub fn uncertain(&self, part: PartKey) -> Option<Uncertain> {
        self.with(|entries| entries.uncertain.get(&part).cloned())
    }

    pub fn begin(&self, part: PartKey, since: Since, left: Left) {
        self.with(|entries| {
            if let Some(known) = entries.uncertain.get_mut(&part) {
                known.left = left;
                return;
            }
            entries.uncertain.insert(part, Uncertain { since, left });
            entries.uncertain_by_age.push_back(part);
            if entries.uncertain_by_age.len() > REMEMBERED {
                let oldest = entries.uncertain_by_age.pop_front();
                oldest.map(|oldest| entries.uncertain.remove(&oldest));
            }
        });
    }

    pub fn settle(&self, part: PartKey, message: MessageKey, sent: Option<SystemTime>) {
        self.with(|entries| {
            entries.uncertain.remove(&part);
            // The one that was begun last is mostly the one that is settled first.
            if entries.uncertain_by_age.back() == Some(&part) {
                entries.uncertain_by_age.pop_back();
            }
            let Some(at) = sent else { return };
            let copies = entries.copies.entry(message).or_default();
            if copies.is_empty() {
                entries.copies_by_age.push_back(message);
            }
            if copies.len() == REMEMBERED_COPIES {
                copies.pop_front();
            }
            copies.push_back(at);
            if entries.copies_by_age.len() > REMEMBERED {
                let oldest = entries.copies_by_age.pop_front();
                oldest.map(|oldest| entries.copies.remove(&oldest));
            }
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut Entries) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Clock;
    use super::*;

    fn now() -> Since {
        Since { at: SystemTime::now(), clock: Clock::Service }
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let memory = Memory::default();
        let key = |n: usize| MessageKey::new("u", &format!("<{n}@b>"));
        let part = |n: usize| PartKey::new(key(n), ["x@y"].into_iter());
        for n in 0..=REMEMBERED {
            memory.settle(part(n), key(n), Some(SystemTime::now()));
            memory.begin(part(n), now(), Left::Copy);
        }
        let copies = |n| memory.copies(key(n), SystemTime::UNIX_EPOCH);
        assert_eq!((copies(0), copies(1)), (0, 1));
        let is_uncertain = |n| memory.uncertain(part(n)).is_some();
        assert!(!is_uncertain(0) && is_uncertain(1));
    }

    #[test]
    fn what_is_settled_takes_no_place() {
        let memory = Memory::default();
        let message = MessageKey::new("u", "<a@b>");
        let part = PartKey::new(message, ["x@y"].into_iter());
        for _ in 0..=REMEMBERED_COPIES {
            memory.begin(part, now(), Left::Copy);
            memory.settle(part, message, Some(SystemTime::now()));
        }
        assert_eq!(memory.with(|entries| entries.uncertain_by_age.len()), 0);
        assert_eq!(memory.copies(message, SystemTime::UNIX_EPOCH), REMEMBERED_COPIES as u64);
    }
}
