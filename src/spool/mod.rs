//! Messages that are kept until the upstream takes them: the promise behind a 250.
//!
//! Danger: an old application does not try again, so that a throttled service or a broken line loses
//! its message; one who tries again on its behalf may send twice, or to somebody who has it. Rule: an
//! entry is durable before its 250; each recipient has a state of its own; one attempt at a time has
//! an entry; what may have been sent is looked for before it is sent again (that is the upstream's
//! part, see [`crate::store::handovers`]); what is given up is reported to its sender and kept.
//!
//! `submission` stands before every sending role; `handover` sends a complete message or writes it
//! down; `dispatch` sends what waits, lane by lane (a lane is a mailbox); `attempt` is one try,
//! `settle` what comes after it; `pace`, `backoff` and `clock` say when; `report` writes delivery
//! status reports.

mod attempt;
mod backoff;
mod clock;
mod dispatch;
#[cfg(test)]
mod fake;
mod handover;
pub mod heading;
mod lane;
mod pace;
mod repeated;
mod report;
mod reports;
mod settle;
mod submission;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use backoff::Backoff;
use clock::Clock;
use lane::Lanes;
use pace::Paces;

use crate::config::{SendingRole, Spool as Settings, SpoolMode};
use crate::mail::{Kind, MemoryBudget, Submission};
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
    settings: RwLock<Settings>,
    /// By role in lower case.
    routes: RwLock<HashMap<String, Arc<Route>>>,
    /// Something may be due.
    wake: Notify,
    lanes: Lanes,
    paces: Paces,
    clock: Clock,
    timing: Timing,
    /// Messages that are being handed over for clients.
    tasks: TaskTracker,
    stopping: CancellationToken,
}

/// How long things take.
#[derive(Clone, Copy, Debug)]
struct Timing {
    /// Waits after troubles of the service or a message.
    service: Backoff,
    /// Waits while a sign-in is missing: a person mends it at any moment, and asking costs little.
    sign_in: Backoff,
    /// A new message brings the next question to a lane in trouble forward to this long after the
    /// last one.
    hurry: Duration,
    /// A client waits this long for the upstream: .NET gives up after 100 s in all.
    patience: Duration,
    /// And this long once the process stops: less than what a stop waits for sessions.
    last_patience: Duration,
    /// An attempt without end is over after this: larger than any upstream's own time-outs, a large
    /// message on a slow line included.
    attempt: Duration,
    /// Another process may have made something due.
    poll: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let (seconds, minutes) =
            (Duration::from_secs, |count: u64| Duration::from_secs(60 * count));
        Self {
            service: Backoff { first: seconds(15), longest: minutes(30) },
            sign_in: Backoff { first: seconds(15), longest: minutes(5) },
            hurry: seconds(5),
            patience: seconds(30),
            last_patience: seconds(10),
            attempt: minutes(30),
            poll: seconds(2),
        }
    }
}

impl Timing {
    fn backoff(&self, kind: Kind) -> Backoff {
        match kind {
            Kind::SignInNeeded => self.sign_in,
            _ => self.service,
        }
    }
}

impl Spool {
    /// A spool that knows no roles yet. Messages that wait are files, and reports return a megabyte
    /// at most: none of it counts as a message in flight.
    pub fn new(queue: Queue, activity: Arc<Activity>, _messages: MemoryBudget) -> Self {
        Self::with_timing(queue, activity, Timing::default())
    }

    fn with_timing(queue: Queue, activity: Arc<Activity>, timing: Timing) -> Self {
        let settings = Settings { mode: SpoolMode::Off, max_age: Duration::ZERO, bounce_to: None };
        Self(Arc::new(Inner {
            queue,
            activity,
            settings: RwLock::new(settings),
            routes: RwLock::default(),
            wake: Notify::new(),
            lanes: Lanes::default(),
            paces: Paces::default(),
            clock: Clock::new(SystemTime::now(), Instant::now()),
            timing,
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        }))
    }

    /// From now on these roles are sent for. What waits for a role that is gone goes on waiting.
    pub fn configure(&self, settings: &Settings, routes: Vec<Route>) {
        let by_name = |route: Route| (route.role.name.to_lowercase(), Arc::new(route));
        *self.0.settings.write().unwrap_or_else(PoisonError::into_inner) = settings.clone();
        *self.0.routes.write().unwrap_or_else(PoisonError::into_inner) =
            routes.into_iter().map(by_name).collect();
        self.0.lanes.forgive();
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

    fn settings(&self) -> Settings {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When delivery is given up; `None` before there is a configuration.
    fn max_age(&self) -> Option<Duration> {
        Some(self.settings().max_age).filter(|age| !age.is_zero())
    }

    /// Until a client has waited long enough.
    async fn patience(&self) {
        let stopped = async {
            self.stopping.cancelled().await;
            sleep(self.timing.last_patience).await;
        };
        tokio::select! {
            () = sleep(self.timing.patience) => {}
            () = stopped => {}
        }
    }
}
