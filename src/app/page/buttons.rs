//! What the page's buttons do.

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::admin::Actions;
use crate::admin::report::RoleReport;
use crate::app::verify::Verifier;
use crate::config::{Client, ClientPassword};
use crate::frontend::login::{Logins, Verdict};
use crate::secret::Secret;

/// The one login of the page.
const LOGIN: &str = "admin";

/// The proofs of `check`, and the password check of mail clients with its lock-out and equal times.
pub(super) struct Buttons {
    verifier: Verifier,
    logins: Arc<Logins>,
}

/// Who logs in to the page.
pub(in crate::app) fn administrator(password_hash: &Secret) -> Client {
    Client {
        login: LOGIN.to_owned(),
        password: ClientPassword::Hash(password_hash.clone()),
        sending: String::new(),
        receiving: String::new(),
        allowed_senders: None,
    }
}

impl Buttons {
    /// `logins` knows the [`administrator`].
    pub fn new(verifier: Verifier, logins: Arc<Logins>) -> Self {
        Self { verifier, logins }
    }
}

impl Actions for Buttons {
    fn verify<'a>(&'a self, role: &'a str) -> BoxFuture<'a, RoleReport> {
        async move {
            let chosen = |name: &str| name == role;
            let reports = self.verifier.roles(&chosen, &|_, _| ()).await;
            let none = || RoleReport { roles: vec![role.to_owned()], steps: Vec::new() };
            reports.into_iter().next().unwrap_or_else(none)
        }
        .boxed()
    }

    fn send_test<'a>(&'a self, role: &'a str, address: &'a str) -> BoxFuture<'a, RoleReport> {
        async move { self.verifier.send_test(role, address, &|_, _| ()).await }.boxed()
    }

    fn password_is_right(&self, from: IpAddr, password: Secret) -> BoxFuture<'_, bool> {
        async move {
            let verdict = self.logins.verify(from, LOGIN, &password).await;
            matches!(verdict, Verdict::Granted(_))
        }
        .boxed()
    }
}
