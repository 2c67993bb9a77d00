//! Verifications and test messages that run in the background.
//!
//! Danger: a button that is pressed a hundred times opens a hundred connections to the provider; a
//! result that is kept for ever is a leak. Rule: one of a kind for each role at a time, few in all,
//! each with its patience; results are counted, and the oldest is forgotten.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::timeout;

use super::Actions;
use super::report::{RoleReport, Verdict};
use super::sessions::random_hex;

/// At the same time; each opens a handful of connections.
const MAX_RUNNING: usize = 8;

/// Results kept for those who look at their page again.
const MAX_KEPT: usize = 64;

/// A round trip waits some minutes for its message.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Verify,
    SendTest {
        /// Where to.
        address: String,
    },
}

/// A report and when it was made.
#[derive(Clone, Debug)]
pub(super) struct Dated {
    pub at: SystemTime,
    pub report: RoleReport,
}

impl Dated {
    pub fn verdict(&self) -> Verdict {
        self.report.verdict()
    }
}

/// One that runs or has run.
pub(super) struct Job {
    pub id: String,
    pub role: String,
    pub what: What,
    pub began: SystemTime,
    /// How often the configuration had changed by then.
    changes: u64,
    outcome: OnceLock<Outcome>,
}

/// How it ended.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Report(Dated),
    /// It took too long or broke off.
    GaveUp,
}

impl Job {
    /// `None` while it runs.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.get()
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct Jobs {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Arc<Job>>,
    /// The last report of each role; roles are as many as are configured.
    latest: HashMap<String, Dated>,
    /// How often the configuration has changed.
    changes: u64,
    /// Which change a role was part of last; kept while something runs that began before it.
    changed: HashMap<String, u64>,
}

impl Jobs {
    /// Starts one, or finds the one that does the same already. `None`: too many run.
    pub fn begin(
        self: &Arc<Self>,
        actions: &Arc<dyn Actions>,
        role: &str,
        what: What,
    ) -> Option<Arc<Job>> {
        let job = {
            let mut state = self.state();
            let mut running = state.jobs.iter().filter(|job| job.outcome().is_none());
            let is_same = |job: &&Arc<Job>| {
                job.role == role && job.what == what && state.is_of_now(job, role)
            };
            if let Some(same) = running.clone().find(is_same) {
                return Some(Arc::clone(same));
            }
            if running.nth(MAX_RUNNING - 1).is_some() {
                return None;
            }
            let job = Arc::new(Job {
                id: random_hex::<8>()?,
                role: role.to_owned(),
                what,
                began: SystemTime::now(),
                changes: state.changes,
                outcome: OnceLock::new(),
            });
            state.jobs.push_back(Arc::clone(&job));
            state.forget();
            job
        };
        tokio::spawn(Arc::clone(self).finish(Arc::clone(actions), Arc::clone(&job)));
        Some(job)
    }

    /// The one with this id.
    pub fn find(&self, id: &str) -> Option<Arc<Job>> {
        self.state().jobs.iter().find(|job| job.id == id).map(Arc::clone)
    }

    /// The last report of a role.
    pub fn latest(&self, role: &str) -> Option<Dated> {
        self.state().latest.get(role).cloned()
    }

    /// These roles are others now: what was found out about them is of no account any more, and what
    /// still runs will not be either.
    pub fn outdate(&self, roles: &[String]) {
        let mut state = self.state();
        if state.jobs.iter().all(|job| job.outcome().is_some()) {
            state.changed.clear();
        }
        state.changes += 1;
        let change = state.changes;
        for role in roles {
            state.latest.remove(role);
            state.changed.insert(role.clone(), change);
        }
    }

    /// Waits for the report in a task of its own, so that one that breaks off is noticed.
    async fn finish(self: Arc<Self>, actions: Arc<dyn Actions>, job: Arc<Job>) {
        let (role, what) = (job.role.clone(), job.what.clone());
        let mut task = tokio::spawn(async move {
            match what {
                What::Verify => actions.verify(&role).await,
                What::SendTest { address } => actions.send_test(&role, &address).await,
            }
        });
        let outcome = match timeout(PATIENCE, &mut task).await {
            Ok(Ok(report)) => Outcome::Report(Dated { at: SystemTime::now(), report }),
            Ok(Err(_)) | Err(_) => Outcome::GaveUp,
        };
        task.abort();
        if let Outcome::Report(dated) = &outcome {
            // Roles that are one mailbox are proved together.
            let names = std::iter::once(&job.role).chain(&dated.report.roles);
            let mut state = self.state();
            for name in names {
                if state.is_of_now(&job, name) {
                    state.latest.insert(name.clone(), dated.clone());
                }
            }
        }
        let _ = job.outcome.set(outcome);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// False when the role has changed since the job began.
    fn is_of_now(&self, job: &Job, role: &str) -> bool {
        self.changed.get(role).is_none_or(|change| *change <= job.changes)
    }

    /// The oldest results go; what runs stays.
    fn forget(&mut self) {
        while self.jobs.len() > MAX_KEPT {
            let Some(oldest) = self.jobs.iter().position(|job| job.outcome().is_some()) else {
                return;
            };
            self.jobs.remove(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::secret::Secret;

    /// Ends a job for each permit.
    struct Slow {
        may_end: Semaphore,
    }

    impl Actions for Slow {
        fn verify<'a>(&'a self, role: &'a str) -> BoxFuture<'a, RoleReport> {
            async move {
                let permit = self.may_end.acquire().await;
                permit.expect("open").forget();
                assert_ne!(role, "breaks", "as wanted by the test");
                RoleReport { roles: vec![role.to_owned()], steps: Vec::new() }
            }
            .boxed()
        }

        fn send_test<'a>(&'a self, role: &'a str, _: &'a str) -> BoxFuture<'a, RoleReport> {
            self.verify(role)
        }

        fn password_is_right(&self, _: IpAddr, _: Secret) -> BoxFuture<'_, bool> {
            std::future::ready(false).boxed()
        }
    }

    fn actions(permits: usize) -> (Arc<Slow>, Arc<dyn Actions>) {
        let slow = Arc::new(Slow { may_end: Semaphore::new(permits) });
        let actions: Arc<dyn Actions> = slow.clone();
        (slow, actions)
    }

    async fn ended(job: &Job) -> &Outcome {
        loop {
            match job.outcome() {
                Some(outcome) => return outcome,
                None => tokio::task::yield_now().await,
            }
        }
    }

    #[tokio::test]
    async fn one_of_a_kind_runs_and_few_in_all() {
        let (slow, actions) = actions(0);
        let jobs = Arc::new(Jobs::default());
        let begin = |role: &str| jobs.begin(&actions, role, What::Verify);
        let first = begin("a").expect("free");
        assert_eq!(begin("a").expect("the same").id, first.id);
        let test = What::SendTest { address: "x@example.com".to_owned() };
        let other = jobs.begin(&actions, "a", test).expect("another kind");
        assert_ne!(other.id, first.id);
        for name in ["b", "c", "d", "e", "f", "g"] {
            assert!(begin(name).is_some(), "{name}");
        }
        assert!(begin("h").is_none(), "eight run");
        assert!(begin("a").is_some(), "the one that runs is still found");
        assert!(jobs.latest("a").is_none());
        slow.may_end.add_permits(8);
        assert!(
            matches!(ended(&first).await, Outcome::Report(dated) if dated.report.roles == ["a"])
        );
        assert!(jobs.latest("a").is_some());
        assert_eq!(jobs.find(&first.id).expect("kept").role, "a");
    }

    #[tokio::test]
    async fn one_that_breaks_off_has_an_end_and_old_results_go() {
        let (_, actions) = actions(1000);
        let jobs = Arc::new(Jobs::default());
        let broken = jobs.begin(&actions, "breaks", What::Verify).expect("free");
        assert!(matches!(ended(&broken).await, Outcome::GaveUp));
        assert!(jobs.latest("breaks").is_none());
        for _ in 0..MAX_KEPT {
            let job = jobs.begin(&actions, "a", What::Verify).expect("free");
            ended(&job).await;
        }
        assert!(jobs.find(&broken.id).is_none());
        assert_eq!(jobs.state().jobs.len(), MAX_KEPT);
    }

    #[tokio::test]
    async fn a_role_that_has_changed_is_unproved_whatever_still_runs() {
        let (slow, actions) = actions(2);
        let jobs = Arc::new(Jobs::default());
        let begin = |role: &str| jobs.begin(&actions, role, What::Verify).expect("free");
        ended(&begin("a")).await;
        ended(&begin("b")).await;
        let running = begin("a");
        jobs.outdate(&["a".to_owned()]);
        assert!(jobs.latest("a").is_none() && jobs.latest("b").is_some());
        let new = begin("a");
        assert_ne!(new.id, running.id, "that one proves what is no longer configured");
        slow.may_end.add_permits(1);
        assert!(matches!(ended(&running).await, Outcome::Report(_)), "its own page has it");
        assert!(jobs.latest("a").is_none(), "of the configuration before");
        slow.may_end.add_permits(1);
        ended(&new).await;
        assert!(jobs.latest("a").is_some());
        jobs.outdate(&["c".to_owned()]);
        assert_eq!(jobs.state().changed.len(), 1, "nothing runs that is older than a's change");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_never_ends_is_given_up() {
        let (_, actions) = actions(0);
        let jobs = Arc::new(Jobs::default());
        let job = jobs.begin(&actions, "a", What::Verify).expect("free");
        tokio::time::sleep(PATIENCE + Duration::from_secs(1)).await;
        assert!(matches!(ended(&job).await, Outcome::GaveUp));
    }
}
