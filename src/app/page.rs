//! The web page's parts: roles, password, and what its buttons do.
//!
//! Danger: a password that nobody has set is one that everybody knows. Rule: without
//! `Proxy.Admin.PasswordHash` one is made at the first start, shown once, and kept as a hash in the
//! state folder; where the page is off, none is made.

mod buttons;
mod certificate;
mod described;
mod password;

use std::sync::Arc;

use self::buttons::Buttons;
pub use self::password::FILE as PASSWORD_FILE;
pub(super) use self::password::{PasswordError, password};
use super::Error;
use super::roles::Built;
use super::verify::Verifier;
use super::warnings::shown_expiry;
use crate::admin::Page;
use crate::config::Config;
use crate::secret::Secret;
use crate::store::queue::Queue;
use crate::telemetry::activity::Activity;
use crate::telemetry::metrics::Recorder;
use crate::tls::{ClientTls, ServerTls};

/// What the page is built from.
pub(super) struct Parts {
    pub built: Built,
    pub activity: Arc<Activity>,
    pub tls: ServerTls,
    pub password_hash: Secret,
    pub queue: Option<Queue>,
}

/// The page of this configuration.
pub(super) fn build(config: &Config, _tls: &ClientTls, parts: Parts) -> Result<Page, Error> {
    Ok(Page {
        roles: described::roles(config, &parts.built.tokens),
        logins: config.clients.iter().map(|client| client.login.clone()).collect(),
        activity: parts.activity,
        recorder: Recorder::install(),
        accounts: parts.built.accounts,
        expiries: shown_expiry(config, &parts.tls).into_iter().collect(),
        host_names: certificate::names(config),
        queue: parts.queue,
        actions: Arc::new(Buttons::new(Verifier::new(config)?, parts.password_hash)),
        tls: parts.tls,
    })
}
