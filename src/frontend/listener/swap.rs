//! Other addresses while sessions run.
//!
//! Danger: an address that stays and is opened anew is deaf in between, and a new one that is taken
//! must not leave the proxy with half of its listeners. Rule: what stays keeps its socket, also when
//! another protocol is spoken there from now on; what is new is bound before anything changes; what
//! goes stops accepting, and its sessions go on.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::bind::{self, Asked, ListenError, Opened};
use super::{Bound, Sessions};
use crate::config::Listen;

/// An address that is listened on; clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Open {
    asked: Asked,
    bound: Arc<Mutex<Bound>>,
    closing: CancellationToken,
}

impl Open {
    pub fn new(asked: Asked, bound: Bound) -> Self {
        Self { asked, bound: Arc::new(Mutex::new(bound)), closing: CancellationToken::new() }
    }

    /// What is spoken there now.
    pub fn bound(&self) -> Bound {
        *self.bound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the address is given up.
    pub async fn closed(&self) {
        self.closing.cancelled().await;
    }

    /// The same socket for another line of the configuration.
    fn speak(self, asked: Asked) -> Self {
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        (bound.protocol, bound.tls) = (asked.protocol, asked.tls);
        drop(bound);
        Self { asked, ..self }
    }

    /// Port 0 asks for any port but this socket's own: that line keeps the socket it has.
    fn is_at(&self, asked: &Asked) -> bool {
        asked.address.port() != 0 && self.bound().address == asked.address
    }
}

/// Addresses of another configuration, those that are new bound already.
#[derive(Debug)]
pub struct Prepared {
    kept: Vec<(Open, Asked)>,
    fresh: Vec<Opened>,
    gone: Vec<Open>,
}

/// What has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Listened on from now on.
    pub added: Vec<Bound>,
    /// No longer.
    pub removed: Vec<Bound>,
}

impl Sessions {
    /// What is listened on now, with real ports.
    pub fn bound(&self) -> Vec<Bound> {
        self.open().iter().map(Open::bound).collect()
    }

    /// Binds what is new, or reports each address that fails. Nothing changes yet.
    pub fn prepare(&self, listen: &Listen) -> Result<Prepared, ListenError> {
        let mut left = self.open();
        let mut kept = Vec::new();
        let mut missing = bind::asked(listen);
        for same in [|open: &Open, asked: &Asked| open.asked == *asked, Open::is_at] {
            missing.retain(|asked| {
                let Some(found) = left.iter().position(|open| same(open, asked)) else {
                    return true;
                };
                kept.push((left.remove(found), *asked));
                false
            });
        }
        let going: Vec<_> = left.iter().map(|open| open.bound().address).collect();
        Ok(Prepared { kept, fresh: bind::open_all(missing, &going)?, gone: left })
    }

    /// Listens there from now on.
    pub fn apply(&self, prepared: Prepared) -> Moved {
        let Prepared { kept, fresh, gone } = prepared;
        let mut moved = Moved::default();
        let mut open = Vec::new();
        for (same, asked) in kept {
            let before = same.bound();
            let same = same.speak(asked);
            if same.bound() != before {
                moved.removed.push(before);
                moved.added.push(same.bound());
            }
            open.push(same);
        }
        moved.added.extend(fresh.iter().map(|opened| opened.bound));
        moved.removed.extend(gone.iter().map(Open::bound));
        open.extend(fresh.into_iter().map(|opened| self.accept_on(opened)));
        gone.iter().for_each(|open| open.closing.cancel());
        self.remember(open);
        moved
    }

    fn open(&self) -> Vec<Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
