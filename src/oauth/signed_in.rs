//! Tokens of a signed-in user (RFC 6749 section 6): the grant behind a public application's role.
//!
//! Danger: a rotated refresh token that is lost before it is stored ends the sign-in; one process's
//! stale copy overwrites another's new one. Rule: the cache is read under its lock for every
//! request, the new refresh token is on disk before the access token is served, and a failure that
//! needs a person is forgotten as soon as the account's sign-in in the cache has changed.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::accounts::Need;
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
        subject: &'a Subject,
        known: Option<&'a Secret>,
    ) -> BoxFuture<'a, Result<Granted, Error>> {
        async move {
            let Self { role, app, service, .. } = self;
            let need = Need { role, app, username: &subject.user, service: *service };
            self.accounts.obtain(&need, known).await
        }
        .boxed()
    }

    /// The file's stamp: another account's renewal changes it too, and then `Accounts` answers for
    /// a sign-in that is still the refused one.
    fn revision(&self, _: &Subject) -> u64 {
        self.accounts.cache().stamp().map_or(0, |stamp| stamp.0)
    }
}
