//! Messages that are kept until the upstream takes them: the promise behind a 250.
//!
//! Danger: an old application does not try again, so that a throttled service or a broken line loses
//! its message; one who tries again on its behalf may send twice, or to somebody who has it. Rule: an
//! entry is durable before its 250; each recipient has a state of its own; one attempt at a time has
//! an entry; what may have been sent is looked for before it is sent again (that is the upstream's
//! part, see [`crate::store::handovers`]); what is given up is reported to its sender and kept.
//!
//! `submission` stands before every sending role and writes down what has to wait; `dispatch` sends
//! it, lane by lane (a lane is a mailbox); `pace` and `backoff` say when; `report` writes delivery
//! status reports.

mod backoff;
mod dispatch;
pub mod heading;
mod pace;
mod report;
mod submission;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config::{SendingRole, Spool as Settings, SpoolMode};
use crate::mail::{MemoryBudget, Submission};
use crate::store::queue::Queue;
use crate::telemetry::activity::Activity;

/// A sending role, and what sends for it.
#[derive(Clone)]
pub struct Route {
    /// The role as configured.
    pub role: SendingRole,
    /// The upstream itself.
    pub upstream: Arc<dyn Submission>,
}

/// The spool of this process; clones are the same.
#[derive(Clone)]
pub struct Spool(Arc<Inner>);

struct Inner {
    queue: Queue,
    activity: Arc<Activity>,
    /// Memory for reports.
    messages: MemoryBudget,
    settings: RwLock<Settings>,
    /// By role in lower case.
    routes: RwLock<HashMap<String, Arc<Route>>>,
    /// Something may be due.
    wake: Notify,
}

impl Spool {
    /// A spool that knows no roles yet.
    pub fn new(queue: Queue, activity: Arc<Activity>, messages: MemoryBudget) -> Self {
        let settings =
            Settings { mode: SpoolMode::Off, max_age: std::time::Duration::ZERO, bounce_to: None };
        Self(Arc::new(Inner {
            queue,
            activity,
            messages,
            settings: RwLock::new(settings),
            routes: RwLock::default(),
            wake: Notify::new(),
        }))
    }

    /// From now on these roles are sent for. What waits for a role that is gone goes on waiting.
    pub fn configure(&self, settings: &Settings, routes: Vec<Route>) {
        let by_name = |route: Route| (route.role.name.to_lowercase(), Arc::new(route));
        *self.0.settings.write().unwrap_or_else(PoisonError::into_inner) = settings.clone();
        *self.0.routes.write().unwrap_or_else(PoisonError::into_inner) =
            routes.into_iter().map(by_name).collect();
        self.0.wake.notify_one();
    }

    /// The role as sessions see it: paced, and spooled as its mode says. Made for one configuration:
    /// a session that began with it finishes with it.
    pub fn submission(&self, role: &str) -> Option<Arc<dyn Submission>> {
        let mode = self.0.settings.read().unwrap_or_else(PoisonError::into_inner).mode;
        submission::Spooled::new(&self.0, role, mode)
    }

    /// The role for a pickup folder: whatever the mode, a message is written down first.
    pub fn durable(&self, role: &str) -> Option<Arc<dyn Submission>> {
        submission::Spooled::new(&self.0, role, SpoolMode::Always)
    }

    /// Sends what waits, until `stopping`; then lets attempts finish.
    pub async fn run(self, stopping: CancellationToken) {
        dispatch::run(self.0, stopping).await;
    }
}

impl Inner {
    fn route(&self, role: &str) -> Option<Arc<Route>> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        routes.get(&role.to_lowercase()).cloned()
    }
}
