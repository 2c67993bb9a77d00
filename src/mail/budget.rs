//! The memory that messages in flight may use together.
//!
//! Danger: thousands of clients, each with a message half sent, fill the memory, and one client
//! that does so on purpose shuts out all others. Rule: what a message holds is counted in its
//! `Share`, by capacity and headers included, and given back when the share is dropped; the first
//! `FREE` octets of each message are not counted, so that usual mail passes a budget that is used
//! up (its content then goes to a file).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Octets of each message that need no budget: more than most headers have, and still no more than
/// 160 MiB with the ten thousand connections that are the default limit.
pub(super) const FREE: usize = 16 << 10;

/// Memory that all messages in flight may use together, in octets.
#[derive(Clone, Debug)]
pub struct MemoryBudget(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    limit: usize,
    used: AtomicUsize,
    folder: Option<PathBuf>,
}

impl MemoryBudget {
    /// A budget of `limit` octets; what exceeds it goes to files in the system's folder for them.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Budget { limit, used: AtomicUsize::new(0), folder: None }))
    }

    /// A budget whose files are in `folder`: the system's own may be in memory too (tmpfs).
    pub fn with_folder(limit: usize, folder: PathBuf) -> Self {
        Self(Arc::new(Budget { limit, used: AtomicUsize::new(0), folder: Some(folder) }))
    }

    /// Octets in use now.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// A file without a name: it is gone when it is closed, a crash included. Blocks.
    pub(super) fn file(&self) -> io::Result<std::fs::File> {
        match &self.0.folder {
            Some(folder) => tempfile::tempfile_in(folder),
            None => tempfile::tempfile(),
        }
    }

    fn take(&self, octets: usize) -> bool {
        let taken = self.0.used.fetch_add(octets, Ordering::Relaxed) + octets <= self.0.limit;
        if !taken {
            self.give_back(octets);
        }
        taken
    }

    fn give_back(&self, octets: usize) {
        self.0.used.fetch_sub(octets, Ordering::Relaxed);
    }
}

/// What one message holds.
#[derive(Debug)]
pub(super) struct Share {
    budget: MemoryBudget,
    held: usize,
}

impl Share {
    pub fn new(budget: &MemoryBudget) -> Self {
        Self { budget: budget.clone(), held: 0 }
    }

    pub fn budget(&self) -> &MemoryBudget {
        &self.budget
    }

    pub fn held(&self) -> usize {
        self.held
    }

    /// Holds `octets` more; false, and nothing changes, when the budget is used up.
    pub fn take(&mut self, octets: usize) -> bool {
        let held = self.held + octets;
        let taken = self.budget.take(counted(held) - counted(self.held));
        if taken {
            self.held = held;
        }
        taken
    }

    /// Gives back all but `octets`.
    pub fn keep(&mut self, octets: usize) {
        let kept = self.held.min(octets);
        self.budget.give_back(counted(self.held) - counted(kept));
        self.held = kept;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.keep(0);
    }
}

fn counted(held: usize) -> usize {
    held.saturating_sub(FREE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_counted_beyond_what_is_free_and_given_back() {
        let budget = MemoryBudget::new(1000);
        let mut one = Share::new(&budget);
        let mut other = Share::new(&budget);
        for (taken, octets, used) in [(true, FREE - 1, 0), (true, 2, 1), (true, 999, 1000)] {
            assert_eq!((one.take(octets), budget.used()), (taken, used));
        }
        assert!(!one.take(1) && other.take(FREE) && !other.take(1));
        one.keep(FREE + 10);
        assert_eq!((one.held(), budget.used()), (FREE + 10, 10));
        assert!(other.take(990) && !other.take(1));
        drop(other);
        one.keep(5);
        assert_eq!((one.held(), budget.used()), (5, 0));
    }
}
