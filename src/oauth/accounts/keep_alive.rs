//! Renews sign-ins that nobody uses, before they lapse.
//!
//! Danger: a mailbox that sends one message a quarter loses its sign-in after 90 days without use,
//! silently. Rule: every account that a configured role names is renewed when nothing else has done
//! so for a week; twelve attempts remain before the end, and the first failure is in the log.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::obtain::Need;
use super::record::Who;
use super::{Accounts, find, who};
use crate::oauth::msal::Account;
use crate::oauth::public_app::{PublicApp, Service};

/// Older refresh tokens are renewed.
const RENEW_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// Ages are looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// The first look comes within this time after the start, when mailboxes have had their turn.
const FIRST_LOOK: Duration = Duration::from_secs(60);

/// Sign-ins are told apart by at least this much, so that a start does not look like an attack.
const PAUSE: Duration = Duration::from_millis(200);

/// A sign-in that is kept alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The role that names it.
    pub role: String,
    /// Its application.
    pub app: PublicApp,
    /// `AccountName`; `None` where it depends on the client's login: every account of the
    /// application.
    pub account: Option<String>,
    /// What its token is for.
    pub service: Service,
}

impl Accounts {
    /// Renews what nobody uses, until `stop`. Looks once within a minute and then every hour.
    pub async fn keep_alive(&self, kept: Vec<Kept>, stop: CancellationToken) {
        if kept.is_empty() {
            return;
        }
        let mut failing = HashSet::new();
        let mut wait = FIRST_LOOK.mul_f64(chance());
        loop {
            let look = async {
                tokio::time::sleep(wait).await;
                self.renew_all(&kept, &mut failing).await;
            };
            if stop.run_until_cancelled(look).await.is_none() {
                return;
            }
            wait = LOOK_EVERY.mul_f64(0.9 + 0.2 * chance());
        }
    }

    pub(super) async fn renew_all(&self, kept: &[Kept], failing: &mut HashSet<Who>) {
        let mut seen = HashSet::new();
        for kept in kept {
            for username in self.names(kept).await {
                if seen.insert(Who::new(&username, &kept.app.client_id)) {
                    self.renew_one(kept, &username, failing).await;
                }
            }
        }
    }

    /// Who is due, by the cache as it is now. What is wrong with it is told by those who need it.
    async fn names(&self, kept: &Kept) -> Vec<String> {
        let document = self.cache().read().await.unwrap_or_default();
        let histories = self.inner.record.read().await;
        let due = |account: &Account| {
            let known = histories.get(&who(account)).and_then(|history| history.renewed());
            is_due(account, known, SystemTime::now())
        };
        let accounts = match &kept.account {
            Some(name) => find::account(&document, &kept.app, name).into_iter().collect(),
            None => find::all(&document, &kept.app),
        };
        accounts.into_iter().filter(due).map(|account| account.username).collect()
    }

    async fn renew_one(&self, kept: &Kept, username: &str, failing: &mut HashSet<Who>) {
        let Kept { role, app, service, .. } = kept;
        let need = Need { role, app, username, service: *service };
        let who = Who::new(username, &app.client_id);
        let known = self.inner.record.read().await.get(&who).and_then(|history| history.renewed());
        let due = |account: &Account| is_due(account, known, SystemTime::now());
        match self.keep(&need, due).await {
            Ok(renewed) => {
                failing.remove(&who);
                if renewed {
                    tracing::info!(role, account = username, "the sign-in is renewed for 90 days");
                    tokio::time::sleep(PAUSE).await;
                }
            }
            Err(error) if failing.insert(who) => {
                tracing::warn!(role, account = username, code = error.code, "{error}");
            }
            Err(error) => tracing::debug!(role, account = username, "{error}"),
        }
    }
}

/// True when nothing says that the refresh token is younger than a week.
fn is_due(account: &Account, recorded: Option<SystemTime>, now: SystemTime) -> bool {
    let renewed = account.renewed_at.max(recorded);
    renewed.is_none_or(|at| now.duration_since(at).is_ok_and(|age| age >= RENEW_AFTER))
}

/// From 0 to 1, so that processes that start together do not look together.
fn chance() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_bytes()[0]) / 255.0
}
