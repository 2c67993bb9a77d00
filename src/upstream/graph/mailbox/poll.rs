//! Looking again and again, for clients that wait (RFC 2177).
//!
//! Danger: polling for nobody, twenty times for twenty sessions, or into a service that is down.
//! Rule: one task a folder, as long as somebody holds a [`Watch`]; after a failure it waits longer.

use std::mem::discriminant;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::{OpenFolder, following};
use crate::mail::mailbox::Watch;
use crate::mail::{Error, Kind};

/// Longest time between two looks while the service fails.
const MAX_WAIT: Duration = Duration::from_secs(10 * 60);

/// The watchers of one folder.
#[derive(Debug, Default)]
pub(super) struct Poll(Mutex<Weak<Task>>);

/// Ends with its last holder.
#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// See [`crate::mail::Folder::watch`].
pub(super) fn watch(folder: &Arc<OpenFolder>) -> Watch {
    let mut current = folder.poll.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(task) = current.upgrade() {
        return Watch::new(task);
    }
    let task = Arc::new(Task(tokio::spawn(run(Arc::clone(folder))).abort_handle()));
    *current = Arc::downgrade(&task);
    Watch::new(task)
}

async fn run(folder: Arc<OpenFolder>) {
    let interval = folder.engine.settings.poll_interval;
    let mut trouble = Trouble::default();
    let mut last = folder.gate.last().unwrap_or_else(Instant::now);
    loop {
        let wait = trouble.wait(interval);
        sleep_until(last + wait).await;
        // Somebody else may have looked: then the time counts from there.
        let looked = folder.gate.last().filter(|looked| *looked > last);
        if let Some(looked) = looked.filter(|looked| looked.elapsed() < wait) {
            last = looked;
            continue;
        }
        last = Instant::now();
        let result = following::refresh(&folder, last).await;
        trouble.note(&folder.engine.graph.client.role, result);
    }
}

/// Failures in a row.
#[derive(Debug, Default)]
struct Trouble {
    times: u32,
    kind: Option<Kind>,
}

impl Trouble {
    /// Until the next look.
    fn wait(&self, interval: Duration) -> Duration {
        let longer = interval.saturating_mul(1 << self.times.min(10));
        let asked = match self.kind {
            Some(Kind::Throttled { retry_after }) => retry_after.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        longer.min(MAX_WAIT.max(interval)).max(asked)
    }

    /// Logged once, until it is another failure.
    fn note(&mut self, role: &str, result: Result<(), Error>) {
        match result {
            Ok(()) => {
                if self.kind.is_some() {
                    tracing::info!("{role}: changes can be looked for again");
                }
                *self = Self::default();
            }
            Err(error) => {
                if self.kind.as_ref().map(discriminant) != Some(discriminant(&error.kind)) {
                    tracing::warn!("{role}: looking for changes failed: {}", error.chain());
                }
                self.times = self.times.saturating_add(1);
                self.kind = Some(error.kind);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_make_the_wait_longer_until_one_look_succeeds() {
        let second = Duration::from_secs(1);
        let mut trouble = Trouble::default();
        assert_eq!(trouble.wait(30 * second), 30 * second);
        for expected in [60, 120, 240, 480, 600, 600] {
            trouble.note("role", Err(Error::new(Kind::Unavailable, "down")));
            assert_eq!(trouble.wait(30 * second), expected * second);
        }
        let kind = Kind::Throttled { retry_after: Some(900 * second) };
        trouble.note("role", Err(Error::new(kind, "slow")));
        assert_eq!(trouble.wait(30 * second), 900 * second);
        trouble.note("role", Ok(()));
        assert_eq!(trouble.wait(30 * second), 30 * second);
        assert_eq!(Trouble::default().wait(3600 * second), 3600 * second);
    }
}
