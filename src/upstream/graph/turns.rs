//! Whose turn it is at a mailbox.
//!
//! Danger: Microsoft 365 refuses a fifth request at a time to a mailbox from one application, and it
//! counts without regard to our roles. Rule: all roles share one [`Turns`], which knows a mailbox by
//! application and name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

/// Requests of one mailbox at a time (Graph page `concepts/throttling-limits`: Outlook, 4).
pub(super) const CONCURRENT: usize = 4;

/// The turns of every mailbox; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Turns(Arc<Mutex<ByMailbox>>);

/// By application and mailbox.
type ByMailbox = HashMap<(String, String), Arc<Semaphore>>;

impl Turns {
    /// Those of the mailbox `user` for the application `client_id`.
    pub(super) fn of(&self, client_id: &str, user: &str) -> Arc<Semaphore> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
        let turn = turns.entry((client_id.to_lowercase(), user.to_lowercase()));
        Arc::clone(turn.or_insert_with(|| Arc::new(Semaphore::new(CONCURRENT))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_has_its_own_turns_whatever_the_role() {
        let turns = Turns::default();
        let one = turns.of("APP", "Jane@example.com");
        assert!(Arc::ptr_eq(&one, &turns.clone().of("app", "jane@Example.com")));
        assert!(!Arc::ptr_eq(&one, &turns.of("app", "john@example.com")));
        assert!(!Arc::ptr_eq(&one, &turns.of("other", "jane@example.com")));
        drop(one);
        let _ = turns.of("app", "x");
        assert_eq!(turns.0.lock().expect("no panic").len(), 1);
    }
}
