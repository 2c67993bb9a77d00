//! One request per account at a time.
//!
//! Danger: two roles that redeem one refresh token at the same time get two successors, and the one
//! that is stored last may be the older. Rule: whoever wants to ask takes the account's turn first,
//! and looks into the cache once it is his.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use super::record::Who;

/// From so many on those that nobody holds are dropped.
const SWEEP_FROM: usize = 1_000;

#[derive(Default)]
pub(super) struct Turns {
    turns: Mutex<HashMap<Who, Arc<tokio::sync::Mutex<()>>>>,
}

/// Held while one asks; the next one's turn comes when it is dropped.
pub(super) type Turn = OwnedMutexGuard<()>;

impl Turns {
    /// Waits for the account's turn.
    pub async fn take(&self, who: &Who) -> Turn {
        self.of(who).lock_owned().await
    }

    fn of(&self, who: &Who) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.len() >= SWEEP_FROM {
            // Held or waited for: another handle on it exists, and none is made meanwhile.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        Arc::clone(turns.entry(who.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_account_s_turns_come_one_after_the_other_and_others_do_not_wait() {
        let turns = Turns::default();
        let (jo, al) = (Who::new("jo", "app"), Who::new("al", "app"));
        let first = turns.take(&jo).await;
        let _other = turns.take(&al).await;
        let second = turns.take(&jo);
        tokio::pin!(second);
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        second.await;
    }

    #[tokio::test]
    async fn only_turns_that_somebody_holds_are_kept() {
        let turns = Turns::default();
        let held = turns.take(&Who::new("held", "app")).await;
        for number in 0..3 * SWEEP_FROM {
            drop(turns.take(&Who::new(&format!("u{number}"), "app")).await);
        }
        let count = turns.turns.lock().expect("not poisoned").len();
        assert!(count <= SWEEP_FROM, "{count}");
        let who = Who::new("held", "app");
        let again = turns.take(&who);
        tokio::pin!(again);
        assert!(futures_util::poll!(&mut again).is_pending(), "it was not forgotten");
        drop(held);
        again.await;
    }
}
