//! Tells the log what ends soon: credentials, sign-ins, the listeners' own certificate.
//!
//! Danger: whoever reads no page and runs no `check` hears of a dead secret from the users; a line
//! for every look is a log that nobody reads. Rule: each end that is near or past is told at start
//! and once on every day (UTC) after it, with role, days and fix, louder as it comes near. Sign-ins
//! count that a role uses; the cache may hold others', which end as they like.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;
use tracing::Level;

use crate::admin::{Page, RoleInfo};
use crate::config::Config;
use crate::oauth::{Accounts, Ending, Expiry, Kept, TokenSource};
use crate::tls::{Identity, ServerTls};

/// A look costs a few small files. Every hour, and by the wall clock, because a machine that was
/// asleep has not counted its days.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// With more days left it is a note, with fewer a warning: time for who is on holiday.
const WARN_DAYS: u64 = 14;

/// Seconds of a day.
const DAY: u64 = 24 * 3600;

/// All that says when it ends.
pub(super) struct Warnings {
    roles: Vec<(String, Arc<dyn TokenSource>)>,
    accounts: Accounts,
    kept: Vec<Kept>,
    /// Of no role.
    others: Vec<Expiry>,
    told: Told,
}

/// What has been told, whatever the configuration: role and name of each end, and on which day it
/// was told last. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Told(Arc<Mutex<HashMap<(String, String), u64>>>);

impl Told {
    fn days(&self) -> MutexGuard<'_, HashMap<(String, String), u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line of the log.
#[derive(Debug, PartialEq, Eq)]
struct Warning {
    level: Level,
    /// Whom it stops; `None`: everybody.
    role: Option<String>,
    days_left: Option<u64>,
    text: String,
}

impl Warnings {
    /// Of everything that the page knows; `kept`: the sign-ins that roles use. What has been `told`
    /// today is not told again by a reload.
    pub fn new(page: &Page, kept: Vec<Kept>, told: Told) -> Self {
        let source = |role: &RoleInfo| Some((role.name.clone(), role.tokens.clone()?));
        Self {
            roles: page.roles.iter().filter_map(source).collect(),
            accounts: page.accounts.clone(),
            kept,
            others: page.expiries.clone(),
            told,
        }
    }

    /// Tells the log until `stop`, which waits for nothing.
    pub async fn tell(mut self, stop: CancellationToken) {
        let telling = async {
            loop {
                for warning in self.due(SystemTime::now()).await {
                    log(&warning);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        stop.run_until_cancelled(telling).await;
    }

    /// What has not been told today; the nearest end first.
    async fn due(&mut self, now: SystemTime) -> Vec<Warning> {
        let day = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() / DAY;
        let mut ends = self.ends().await;
        ends.retain(|(_, end)| end.is_near(now));
        ends.sort_by_key(|(_, end)| end.at);
        let key = |role: &Option<String>, end: &Expiry| {
            (role.clone().unwrap_or_default(), end.what.clone())
        };
        // What was renewed is forgotten, so that its next end is told at once.
        let near: HashSet<_> = ends.iter().map(|(role, end)| key(role, end)).collect();
        let mut told = self.told.days();
        told.retain(|known, _| near.contains(known));
        ends.retain(|(role, end)| told.insert(key(role, end), day) != Some(day));
        ends.into_iter().map(|(role, end)| Warning::new(role, &end, now)).collect()
    }

    async fn ends(&self) -> Vec<(Option<String>, Expiry)> {
        let of_role = |(role, tokens): &(String, Arc<dyn TokenSource>)| {
            let role = role.clone();
            tokens.expiries().into_iter().map(move |end| (Some(role.clone()), end))
        };
        let mut ends: Vec<_> = self.roles.iter().flat_map(of_role).collect();
        ends.extend(self.others.iter().cloned().map(|end| (None, end)));
        if self.kept.is_empty() {
            return ends;
        }
        let sign_ins = self.accounts.expiries().await;
        ends.extend(sign_ins.into_iter().filter_map(|end| Some((Some(self.users(&end)?), end))));
        ends
    }

    /// The roles that use this sign-in, in their order; `None`: nobody does.
    fn users(&self, end: &Expiry) -> Option<String> {
        let Ending::SignIn { username, client_id } = &end.kind else { return None };
        let uses = |kept: &&Kept| {
            let is_named = kept.account.as_ref().is_none_or(|account| same(account, username));
            is_named && same(&kept.app.client_id, client_id)
        };
        let roles: Vec<&str> = self.kept.iter().filter(uses).map(|kept| &*kept.role).collect();
        (!roles.is_empty()).then(|| roles.join(", "))
    }
}

impl Warning {
    fn new(role: Option<String>, end: &Expiry, now: SystemTime) -> Self {
        let days_left = end.days_left(now);
        let level = match days_left {
            None => Level::ERROR,
            Some(days) if days <= WARN_DAYS => Level::WARN,
            Some(_) => Level::INFO,
        };
        Self { level, role, days_left, text: end.sentence(now) }
    }
}

/// A level can't be chosen at run time, so there is a line for each.
fn log(warning: &Warning) {
    let Warning { level, role, days_left, text } = warning;
    let (role, days_left) = (role.as_deref(), *days_left);
    match *level {
        Level::ERROR => tracing::error!(role, days_left, "{text}"),
        Level::WARN => tracing::warn!(role, days_left, "{text}"),
        _ => tracing::info!(role, days_left, "{text}"),
    }
}

/// When the certificate in the files of our own listeners ends; `None`: there is none yet.
pub fn listener_expiry(config: &Config) -> Option<Expiry> {
    let (certificate, key) = match &config.tls {
        Some(files) => (files.certificate.clone(), files.key.clone()),
        None => {
            let folder = config.state_directory.join("certs");
            (folder.join("cert.pem"), Some(folder.join("key.pem")))
        }
    };
    let identity = Identity::load(&certificate, key.as_deref(), "").ok()?;
    Some(of_listeners(config, identity.expires_at()?))
}

/// When the certificate ends that our listeners show, whatever has become of the file.
pub(super) fn shown_expiry(config: &Config, tls: &ServerTls) -> Option<Expiry> {
    Some(of_listeners(config, tls.expires_at()?))
}

fn of_listeners(config: &Config, at: SystemTime) -> Expiry {
    let (path, fix) = match &config.tls {
        Some(files) => (
            files.certificate.clone(),
            "put a renewed one into the file of Proxy.Tls.CertificatePath; no restart is needed",
        ),
        None => (
            config.state_directory.join("certs").join("cert.pem"),
            "restart authbridge, which makes a new one, and let the clients trust that",
        ),
    };
    let what = format!("the listeners' certificate {}", path.display());
    Expiry { kind: Ending::ListenerCertificate, what, at, fix: fix.to_owned() }
}

fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

#[cfg(test)]
mod tests;
