//! Tokens of a signed-in user (RFC 6749 section 6): the grant behind a public application's role.
//!
//! Danger: a rotated refresh token that is lost before it is stored ends the sign-in; one process's
//! stale copy overwrites another's new one. Rule: the cache is read under its lock for every
//! request, the new refresh token is on disk before the access token is served, and a failure that
//! needs a person is forgotten as soon as the account's sign-in in the cache has changed.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::answer::Granted;
use super::public_app::{PublicApp, Service};
use super::subject::{Subject, resolve};
use super::tokens::Grant;
use super::{Accounts, Error};
use crate::config::Template;
use crate::secret::Secret;

/// The accounts of one role.
pub(super) struct SignedInUser {
    role: String,
    app: PublicApp,
    account: Template,
    service: Service,
    accounts: Accounts,
}

impl SignedInUser {
    pub fn new(
        role: &str,
        app: PublicApp,
        account: &Template,
        service: Service,
        accounts: &Accounts,
    ) -> Self {
        Self {
            role: role.to_owned(),
            app,
            account: account.clone(),
            service,
            accounts: accounts.clone(),
        }
    }
}

impl Grant for SignedInUser {
    fn subject(&self, login: Option<&str>) -> Result<Subject, Error> {
        let key = "Microsoft365.PublicApp.AccountName";
        let user = resolve(&self.role, key, &self.account, login)?;
        Ok(Subject { key: user.to_lowercase(), user })
    }

    fn request<'a>(
        &'a self,
        _subject: &'a Subject,
        _known: Option<&'a Secret>,
    ) -> BoxFuture<'a, Result<Granted, Error>> {
        let _ = (&self.app, self.service, self.accounts.http());
        std::future::ready(Err(Error::person("not built yet").of_role(&self.role))).boxed()
    }
}
