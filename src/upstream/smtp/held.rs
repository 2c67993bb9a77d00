//! A connection between two commands of its transaction.
//!
//! Danger: services allow a mailbox few connections (Exchange Online: three), and a client that
//! thinks for minutes between its commands, or sends its message over a slow line, keeps one from
//! all others. Rule: after [`super::Timeouts::hold`] without a command the connection goes back to
//! the pool; the transaction begins anew on another one when it goes on.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::AbortHandle;

use super::{Lease, Sender};

/// Holds the lease of one transaction.
pub(super) struct Held {
    sender: Arc<Sender>,
    place: Arc<Mutex<Option<Lease>>>,
    timer: Option<AbortHandle>,
}

impl Held {
    pub fn new(sender: &Arc<Sender>) -> Self {
        Self { sender: Arc::clone(sender), place: Arc::default(), timer: None }
    }

    /// Holds `lease` for a while. One that is out of step is closed instead.
    pub fn put(&mut self, lease: Lease) {
        drop(self.take());
        if !lease.connection.is_usable() {
            return;
        }
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Some(lease);
        let (place, sender) = (Arc::downgrade(&self.place), Arc::clone(&self.sender));
        let timer = tokio::spawn(async move {
            tokio::time::sleep(sender.timeouts.hold).await;
            if let Some(lease) = place.upgrade().and_then(|place| taken_from(&place)) {
                sender.pool.put(&lease.key, lease.connection);
            }
        });
        self.timer = Some(timer.abort_handle());
    }

    /// The lease, if it is still held.
    pub fn take(&mut self) -> Option<Lease> {
        if let Some(timer) = self.timer.take() {
            timer.abort();
        }
        taken_from(&self.place)
    }
}

fn taken_from(place: &Mutex<Option<Lease>>) -> Option<Lease> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(lease) = self.take() {
            self.sender.pool.put(&lease.key, lease.connection);
        }
    }
}
