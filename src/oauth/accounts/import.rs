//! Sign-ins of another program's cache, taken over (facts/msal-cache.md section 5).
//!
//! Danger: a refresh token that is copied without a look may be dead, of another application, or
//! lack a permission, and all of that shows weeks later; and a changed source file ends the other
//! program's sign-ins. Rule: the source is read and never written; each sign-in is redeemed for
//! every service it is to serve, and stored only when all is granted.

use std::collections::HashSet;
use std::path::Path;
use std::time::SystemTime;

use super::obtain::{Need, identity, missing, of, redeem};
use super::{Accounts, Imported, find};
use crate::oauth::delegated::{Delegated, Refused};
use crate::oauth::msal::{Account, CacheFile, Document, Tokens};
use crate::oauth::public_app::{PublicApp, Service};
use crate::oauth::sign_in::Identity;
use crate::oauth::{Error, Fault, quote};

/// Names the asker in errors.
const ASKER: &str = "import";

/// A sign-in that has been tried.
struct Tried {
    /// As the service tells it; the file's word for it may be false or old.
    username: String,
    scopes: Vec<String>,
    tokens: Vec<Tokens>,
}

impl Accounts {
    /// Takes over the sign-ins of `app` from another cache file, which is only read. Each is
    /// redeemed first, to see that it lives.
    pub async fn import(
        &self,
        app: &PublicApp,
        services: &[Service],
        source: &Path,
    ) -> Result<Vec<Imported>, Error> {
        self.check_source(source)?;
        let file = CacheFile::new(source.to_owned(), self.cache().key_file().to_owned());
        let document = file.read().await?;
        let accounts = distinct(find::all(&document, app));
        if accounts.is_empty() {
            return Err(nothing(&document, app, source));
        }
        let mut imported = Vec::new();
        for account in &accounts {
            imported.push(self.take_over(app, services, &document, account).await);
        }
        Ok(imported)
    }

    fn check_source(&self, source: &Path) -> Result<(), Error> {
        let path = source.display();
        let real = std::fs::canonicalize(source)
            .map_err(|error| Error::person(format!("{path} can't be read: {error}")))?;
        let is_ours = std::fs::canonicalize(self.cache().path()).is_ok_and(|ours| ours == real);
        match is_ours {
            false => Ok(()),
            true => Err(Error::person(format!(
                "{path} is authbridge's own cache (MSAL.Cache): its sign-ins are in use already, \
                 and there is nothing to import"
            ))),
        }
    }

    async fn take_over(
        &self,
        app: &PublicApp,
        services: &[Service],
        document: &Document,
        account: &Account,
    ) -> Imported {
        let username = account.username.clone();
        let mut tried = Tried { username, scopes: Vec::new(), tokens: Vec::new() };
        let tested = self.test(app, services, document, account, &mut tried).await;
        let stored = match tested {
            Ok(()) => self.store_all(tried.tokens).await,
            Err(error) => Err(error),
        };
        tried.scopes.sort();
        tried.scopes.dedup();
        Imported {
            username: tried.username,
            scopes: tried.scopes,
            problem: stored.err().map(|error| error.text),
        }
    }

    /// Redeems the sign-in once for each resource, each time with the newest refresh token.
    async fn test(
        &self,
        app: &PublicApp,
        services: &[Service],
        document: &Document,
        account: &Account,
        tried: &mut Tried,
    ) -> Result<(), Error> {
        let gone = || Error::person("its refresh token is not in the file");
        let mut refresh = document.refresh_token(&account.owner).ok_or_else(gone)?;
        for service in one_of_each_resource(services, app) {
            let need = Need { role: ASKER, app, username: &account.username, service };
            let asked_at = SystemTime::now();
            let delegated = redeem(self, &need, &refresh, &account.owner).await;
            let delegated = delegated.and_then(|delegated| of(account, delegated, &need));
            let delegated = delegated.map_err(explained)?;
            let of_resource = |other: &&Service| resource(**other, app) == resource(service, app);
            let lacks = services.iter().filter(of_resource);
            if let Some(permission) = lacks.filter_map(|s| missing(*s, &delegated.scopes)).next() {
                return Err(Error::person(format!(
                    "it has not been granted the permission {permission}: add it (delegated) under \
                     App registrations → API permissions, then sign in with `authbridge token add`"
                )));
            }
            refresh = delegated.refresh.clone().unwrap_or(refresh);
            tried.scopes.extend(delegated.scopes.iter().cloned());
            let identity = proven(account, &delegated, &need);
            tried.username.clone_from(&identity.username);
            // The file's own refresh token is as good as a new one where none came.
            let tokens = delegated.tokens(app, &identity, asked_at);
            let stored = |tokens| Tokens { refresh: Some(refresh.clone()), ..tokens };
            tried.tokens.extend(tokens.map(stored));
        }
        Ok(())
    }

    async fn store_all(&self, tokens: Vec<Tokens>) -> Result<(), Error> {
        for tokens in tokens {
            self.store(tokens).await?;
        }
        Ok(())
    }
}

fn resource(service: Service, app: &PublicApp) -> &'static str {
    service.delegated_resource(app.cloud)
}

/// One service of each resource; without any, Graph shows that the sign-in lives.
fn one_of_each_resource(services: &[Service], app: &PublicApp) -> Vec<Service> {
    let mut chosen: Vec<Service> = Vec::new();
    for service in services {
        if chosen.iter().all(|known| resource(*known, app) != resource(*service, app)) {
            chosen.push(*service);
        }
    }
    if chosen.is_empty() { vec![Service::GraphReading] } else { chosen }
}

/// One entry for each refresh token: guests have an account entry in each tenant.
fn distinct(accounts: Vec<Account>) -> Vec<Account> {
    let mut seen = HashSet::new();
    let is_new = |account: &Account| seen.insert(account.owner.home_account_id.to_lowercase());
    let mut distinct = accounts;
    distinct.retain(is_new);
    distinct
}

/// Roles find a sign-in by its name: what the service says counts, not what the file says.
fn proven(account: &Account, delegated: &Delegated, need: &Need<'_>) -> Identity {
    let known = identity(account, delegated, need);
    let told = delegated.id_token.as_ref().and_then(|token| {
        Identity::of(token, delegated.client_info.as_deref(), &need.app.client_id).ok()
    });
    match told {
        Some(told) if told.home_account_id.eq_ignore_ascii_case(&known.home_account_id) => {
            Identity { username: told.username, ..known }
        }
        _ => known,
    }
}

fn explained(refused: Refused) -> Error {
    let error = refused.error;
    match error.fault {
        Fault::Passing => Error { text: format!("{}; import again later", error.text), ..error },
        Fault::Person => {
            let text = format!("{}; sign in with `authbridge token add` instead", error.text);
            Error { text, ..error }
        }
    }
}

fn nothing(document: &Document, app: &PublicApp, source: &Path) -> Error {
    let (path, ours) = (source.display(), &app.client_id);
    let mut others: Vec<String> =
        document.accounts().into_iter().map(|account| account.owner.client_id).collect();
    others.sort();
    others.dedup();
    Error::person(match others.is_empty() {
        true => format!(
            "{path} holds no sign-in of a user: if it belongs to an application with a secret of \
             its own, there is nothing to import; else sign in with `authbridge token add`"
        ),
        false => format!(
            "{path} holds no sign-in for application {ours} in this cloud, only for {}: a sign-in \
             serves one application, so set ClientId to that one, or sign in with `authbridge \
             token add`",
            quote(&others.join(", "), &[])
        ),
    })
}
