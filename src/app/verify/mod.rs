//! Proves what each role promises, step by step: for `check` and the page's buttons.
//!
//! Danger: a proof that leaves something behind, or that waits for ever on one silent server. Rule:
//! nothing is sent, stored or marked unless a test message was asked for; every role is proved at
//! the same time as the others, with its own connection, and given up after its patience.
//!
//! `progress` notes the steps, `endpoint` says where a role leads, `network`, `certificate` and
//! `clock` look at the way there, `token` at what opens the mailbox, `reading` and `sending` at the
//! mailbox itself, `round_trip` sends and finds a message, `expiry` tells what ends soon.

mod certificate;
mod clock;
#[cfg(test)]
mod document;
mod endpoint;
mod expiry;
mod network;
mod progress;
mod reading;
mod round_trip;
mod sending;
mod starttls;
mod talk;
#[cfg(test)]
mod tests;
mod token;
mod trip_message;
mod words;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};

use self::certificate::OwnRoots;
use self::progress::{IN_ALL, Outcome, Progress};
use super::Error;
use super::roles::Builder;
use crate::admin::report::{RoleReport, Step, Subject};
use crate::config::{Config, Microsoft365, MicrosoftApp, ReceivingRole, SendingRole};
use crate::tls::ClientTls;

/// Stands for a client's login where any will do: an application's token serves every mailbox.
const ANY_LOGIN: &str = "postmaster@localhost";

/// Told where the mailbox is the client's.
const TEMPLATE: &str = "its mailbox is that of the client that logs in ({login}), so nothing is \
                        proved before one does";

/// Proves roles of one configuration.
pub struct Verifier {
    config: Config,
    tls: ClientTls,
    roots: OwnRoots,
}

/// Told while it goes on, for a progress line: the role's names and the step that has just ended.
pub type OnStep<'a> = &'a (dyn Fn(&[String], &Step) + Sync);

impl Verifier {
    /// Nothing is connected yet. Token sources are made for each verification and dropped after
    /// it, so that a running proxy's page leaves none behind.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let extra = config.upstream.ca_path.as_deref();
        let tls = ClientTls::new(extra)?;
        // A proxy or credential that can't be used is told at once.
        Builder::new(config, &tls)?;
        Ok(Self { config: config.clone(), roots: OwnRoots::read(extra), tls })
    }

    /// Every role that `chosen` picks by its name, all at the same time.
    pub async fn roles(
        &self,
        chosen: &(dyn Fn(&str) -> bool + Sync),
        on_step: OnStep<'_>,
    ) -> Vec<RoleReport> {
        let sending = self.config.sending.iter().filter(|role| chosen(&role.name));
        let receiving = self.config.receiving.iter().filter(|role| chosen(&role.name));
        let (sending, receiving): (Vec<_>, _) = (sending.collect(), mailboxes(receiving));
        let names = sending.iter().map(|role| vec![role.name.clone()]);
        let builder = match Builder::new(&self.config, &self.tls) {
            Ok(builder) => builder,
            Err(error) => {
                let names = names.chain(receiving.into_iter().map(|(_, names)| names));
                let failed = |names| not_built(names, &error, on_step);
                return names.map(failed).collect();
            }
        };
        let site = Site { verifier: self, builder: &builder };
        let proofs: Vec<BoxFuture<'_, RoleReport>> = sending
            .iter()
            .map(|role| site.prove_sending(role, on_step).boxed())
            .chain(
                receiving
                    .into_iter()
                    .map(|(role, names)| site.prove_receiving(role, names, on_step).boxed()),
            )
            .collect();
        join_all(proofs).await
    }

    /// Sends a test message by a sending role and looks for it where a receiving role opens that
    /// address.
    pub async fn send_test(&self, role: &str, address: &str, on_step: OnStep<'_>) -> RoleReport {
        match Builder::new(&self.config, &self.tls) {
            Ok(builder) => {
                let site = Site { verifier: self, builder: &builder };
                site.round_trip(role, address, on_step).await
            }
            Err(error) => not_built(vec![role.to_owned()], &error, on_step),
        }
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier")
    }
}

/// What one verification works with.
#[derive(Clone, Copy)]
struct Site<'a> {
    verifier: &'a Verifier,
    builder: &'a Builder,
}

/// Each mailbox once, with the names of all its roles: the `EmailClient` roles inherit theirs, and
/// one wrong password must not count as three failed logins.
fn mailboxes<'a>(
    roles: impl Iterator<Item = &'a ReceivingRole>,
) -> Vec<(&'a ReceivingRole, Vec<String>)> {
    let mut found: Vec<(&ReceivingRole, Vec<String>)> = Vec::new();
    for role in roles {
        match found.iter_mut().find(|(other, _)| other.kind == role.kind) {
            Some((_, names)) => names.push(role.name.clone()),
            None => found.push((role, vec![role.name.clone()])),
        }
    }
    found
}

fn not_built(roles: Vec<String>, error: &Error, on_step: OnStep<'_>) -> RoleReport {
    let mut progress = Progress::new(roles, on_step);
    progress.note(Subject::Configuration, Outcome::failed(error.to_string()));
    progress.report()
}

/// Whose rights a role uses.
fn is_public(account: &Microsoft365) -> bool {
    matches!(account.app, MicrosoftApp::Public { .. })
}

/// The first step of every role: its line, which the configuration's own check has passed.
fn describe(progress: &mut Progress<'_>, line: &str, name: &str) {
    let line = words::without_role(name, line);
    progress.note(Subject::Configuration, Outcome::works(line));
}

impl Site<'_> {
    /// Proves a sending role.
    async fn prove_sending(self, role: &SendingRole, on_step: OnStep<'_>) -> RoleReport {
        let mut progress = Progress::new(vec![role.name.clone()], on_step);
        describe(&mut progress, &role.to_string(), &role.name);
        let work = async {
            self.sending(role, &mut progress).await;
            self.expiry(&role.name, &mut progress).await;
        };
        if tokio::time::timeout(IN_ALL, work).await.is_err() {
            progress.give_up();
        }
        progress.report()
    }

    /// Proves a receiving role.
    async fn prove_receiving(
        self,
        role: &ReceivingRole,
        names: Vec<String>,
        on_step: OnStep<'_>,
    ) -> RoleReport {
        let mut progress = Progress::new(names, on_step);
        describe(&mut progress, &role.to_string(), &role.name);
        let work = async {
            self.receiving(role, &mut progress).await;
            self.expiry(&role.name, &mut progress).await;
        };
        if tokio::time::timeout(IN_ALL, work).await.is_err() {
            progress.give_up();
        }
        progress.report()
    }
}
