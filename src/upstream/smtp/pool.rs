//! Connections kept open between messages.
//!
//! Danger: logging in for each message costs seconds and is throttled (`454 4.7.0`); a connection
//! kept too long is closed by the service just when it is needed. Rule: a connection goes back only
//! when no reply is due on it; it is closed with QUIT after [`IDLE`] or when it has carried the
//! messages that `NumberOfMessagesPerSession` allows; the task that closes them ends with the pool.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use super::connection::Connection;

/// How long an unused connection is kept. Services close after five minutes, some proxies on the
/// way after one; a burst of an application has gaps of seconds.
const IDLE: Duration = Duration::from_secs(20);

/// Unused connections kept for one mailbox. More are seldom used again before they are closed.
const MAX_IDLE: usize = 8;

/// Unused connections by mailbox.
#[derive(Clone, Debug)]
pub struct Pool {
    kept: Arc<Kept>,
    messages_per_session: u32,
    idle: Duration,
}

#[derive(Debug, Default)]
struct Kept {
    by_key: Mutex<HashMap<String, Vec<Idle>>>,
    freed: Notify,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    /// Connections carry at most this many messages.
    pub fn new(messages_per_session: u32) -> Self {
        Self { kept: Arc::default(), messages_per_session: messages_per_session.max(1), idle: IDLE }
    }

    #[cfg(test)]
    pub fn with_idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// The connection used last that is still open, as far as is known.
    pub fn take(&self, key: &str) -> Option<Connection> {
        loop {
            let mut idle = self.kept.lock().get_mut(key)?.pop()?;
            if idle.since.elapsed() < self.idle && idle.connection.is_quiet() {
                return Some(idle.connection);
            }
        }
    }

    /// Done when a connection is given back from now on, whatever becomes of it.
    pub fn freed(&self) -> Notified<'_> {
        self.kept.freed.notified()
    }

    /// Takes a connection back, or ends it.
    pub fn put(&self, key: &str, connection: Connection) {
        self.keep(key, connection);
        self.kept.freed.notify_waiters();
    }

    fn keep(&self, key: &str, connection: Connection) {
        if !connection.is_usable() {
            return;
        }
        if connection.messages >= self.messages_per_session {
            return connection.quit_behind();
        }
        // Without a runtime nobody could close it later.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let mut kept = self.kept.lock();
        let was_empty = kept.is_empty();
        let same = kept.entry(key.to_owned()).or_default();
        same.push(Idle { connection, since: Instant::now() });
        let oldest = (same.len() > MAX_IDLE).then(|| same.remove(0));
        drop(kept);
        if let Some(oldest) = oldest {
            oldest.connection.quit_behind();
        }
        if was_empty {
            runtime.spawn(close_idle(Arc::downgrade(&self.kept), self.idle));
        }
    }

    #[cfg(test)]
    pub fn unused(&self) -> usize {
        self.kept.lock().values().map(Vec::len).sum()
    }
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Idle>>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes what has been unused for `limit`; true when nothing is left.
    fn remove_old(&self, limit: Duration) -> (Vec<Connection>, bool) {
        let mut old = Vec::new();
        let mut by_key = self.lock();
        by_key.retain(|_, same| {
            while same.first().is_some_and(|idle| idle.since.elapsed() >= limit) {
                old.push(same.remove(0).connection);
            }
            !same.is_empty()
        });
        (old, by_key.is_empty())
    }
}

/// Runs while there are unused connections; the next one put into an empty pool starts it anew.
async fn close_idle(kept: Weak<Kept>, limit: Duration) {
    loop {
        tokio::time::sleep(limit / 2).await;
        let Some(kept) = kept.upgrade() else { return };
        let (old, none_left) = kept.remove_old(limit);
        for connection in old {
            connection.quit_behind();
        }
        if none_left {
            return;
        }
    }
}
