//! From a code to stored tokens: token requests, checks, cache.
//!
//! Danger: the wrong account, half the permissions or a sign-in without a refresh token all look
//! like success today and fail weeks later. Rule: every wanted resource is proved by a token of its
//! own, all checks come before anything is stored, and what is stored has the newest refresh token.

use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::sleep;

use super::scopes::{self, Resource};
use super::{Identity, Progress, SignedIn, Wanted};
use crate::oauth::delegated::{Delegated, Refused, ask};
use crate::oauth::{Accounts, Error, Fault};
use crate::secret::Secret;

/// A person waits, and a code can't be had twice: a hiccup of the network must not cost the
/// sign-in.
const MAX_TRIES: usize = 3;

/// Between two tries, unless the provider names another time.
const PAUSE: Duration = Duration::from_secs(2);

/// Longest wait in front of a person.
const MAX_PAUSE: Duration = Duration::from_secs(15);

/// What a sign-in is checked against and where it goes.
pub(super) struct Redemption<'a> {
    pub accounts: &'a Accounts,
    pub wanted: &'a Wanted,
    /// Not empty.
    pub resources: &'a [Resource],
    pub progress: &'a watch::Sender<Progress>,
}

/// Tokens and when they were asked for.
#[derive(Debug)]
pub(super) struct Issued {
    pub delegated: Delegated,
    pub asked_at: SystemTime,
}

impl Redemption<'_> {
    /// Redeems an authorization code, then as [`Self::tokens`].
    pub async fn code(
        &self,
        code: &Secret,
        redirect_uri: &str,
        verifier: &Secret,
    ) -> Result<SignedIn, Error> {
        self.progress.send_replace(Progress::Redeeming);
        let scope = self.resources.first().map(Resource::of_code).unwrap_or_default();
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier.expose()),
            ("scope", &scope),
            ("client_info", "1"),
        ];
        let first = self.ask(&form, &[code.expose(), verifier.expose()]).await;
        match first {
            Ok(first) => self.tokens(first).await,
            Err(refused) => Err(self.refused(refused, self.wanted.account.as_deref()).await),
        }
    }

    /// Fetches the other resources' tokens, checks all, stores all.
    pub async fn tokens(&self, first: Issued) -> Result<SignedIn, Error> {
        let (identity, issued) = self.checked(first).await?;
        let warnings = self.each(&issued).flat_map(|(resource, scopes)| resource.warnings(scopes));
        let warnings = warnings.collect();
        self.progress.send_replace(Progress::Storing);
        self.store(&identity, &issued).await?;
        let mut scopes: Vec<String> = Vec::new();
        for scope in issued.into_iter().flat_map(|issued| issued.delegated.scopes) {
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        let Identity { username, name, tenant, .. } = identity;
        Ok(SignedIn { username, name, tenant, scopes, warnings })
    }

    /// Who has signed in, and an answer for each resource with all that is needed.
    async fn checked(&self, first: Issued) -> Result<(Identity, Vec<Issued>), Error> {
        self.progress.send_replace(Progress::Checking);
        let identity = self.identity(&first.delegated)?;
        self.check_account(&identity)?;
        let issued = self.all_resources(first, &identity).await?;
        self.progress.send_replace(Progress::Checking);
        self.check_permissions(&issued)?;
        Ok((identity, issued))
    }

    fn identity(&self, delegated: &Delegated) -> Result<Identity, Error> {
        let Some(id_token) = &delegated.id_token else {
            return Err(self.wanted.person(
                "Microsoft's sign-in service has not said who has signed in (no ID token): the \
                 permission openid was not granted; add openid and profile under App \
                 registrations → API permissions, and sign in again",
            ));
        };
        let client_info = delegated.client_info.as_deref();
        Identity::of(id_token, client_info, &self.wanted.app.client_id)
            .map_err(|error| error.of_role(self.wanted.role()))
    }

    fn check_account(&self, identity: &Identity) -> Result<(), Error> {
        let found = &identity.username;
        match &self.wanted.account {
            Some(account) if account.trim().to_lowercase() != found.to_lowercase() => {
                Err(self.wanted.person(format_args!(
                    "{found} has signed in instead of {account}, so nothing was stored: sign in \
                     again as {account} (in a private window, if the browser chooses by itself), \
                     or set Microsoft365.PublicApp.AccountName to {found}"
                )))
            }
            _ => Ok(()),
        }
    }

    /// One answer for each resource; every one but the first for the refresh token of the one
    /// before.
    async fn all_resources(
        &self,
        first: Issued,
        identity: &Identity,
    ) -> Result<Vec<Issued>, Error> {
        let Some(mut newest) = first.delegated.refresh.clone() else {
            return Err(self.wanted.person(
                "the sign-in has brought no refresh token, so it would end within the hour and \
                 nothing was stored: add offline_access under App registrations → API \
                 permissions → Microsoft Graph → Delegated permissions, grant consent, and sign in \
                 again",
            ));
        };
        let mut issued = vec![first];
        for resource in self.resources.iter().skip(1) {
            self.progress.send_replace(Progress::Redeeming);
            let next = self.refresh(resource, &newest, identity).await?;
            newest = next.delegated.refresh.clone().unwrap_or(newest);
            issued.push(next);
        }
        for (resource, issued) in self.resources.iter().zip(&mut issued) {
            // All of one user and application: whichever is stored last, the newest stays.
            issued.delegated.refresh = Some(newest.clone());
            // RFC 6749 section 5.1: without `scope` all that was asked is granted.
            if issued.delegated.scopes.is_empty() {
                issued.delegated.scopes = resource.permissions();
            }
        }
        Ok(issued)
    }

    /// All that was consented to; see [`Refused::wants_names`].
    async fn refresh(
        &self,
        resource: &Resource,
        token: &Secret,
        identity: &Identity,
    ) -> Result<Issued, Error> {
        let outcome = match self.refresh_for(&resource.of_refresh(), token).await {
            Err(refused) if refused.wants_names(&identity.home_account_id) => {
                self.refresh_for(&resource.of_code(), token).await
            }
            outcome => outcome,
        };
        let (home, role) = (&identity.home_account_id, self.wanted.role());
        let outcome = outcome.and_then(|Issued { delegated, asked_at }| {
            let delegated = delegated.belonging_to(home, role, &identity.username)?;
            Ok(Issued { delegated, asked_at })
        });
        match outcome {
            Ok(issued) => Ok(issued),
            Err(refused) => Err(self.refused(refused, Some(&identity.username)).await),
        }
    }

    async fn refresh_for(&self, scope: &str, token: &Secret) -> Result<Issued, Refused> {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token.expose()),
            ("scope", scope),
            ("client_info", "1"),
        ];
        self.ask(&form, &[token.expose()]).await
    }

    /// The next sign-in carries the claims that this one lacked.
    async fn refused(&self, refused: Refused, owner: Option<&str>) -> Error {
        if let (Some(claims), Some(owner)) = (refused.claims, owner) {
            self.accounts.want_claims(owner, &self.wanted.app.client_id, claims).await;
        }
        refused.error
    }

    /// Tells all that is missing at once: consent is given once.
    fn check_permissions(&self, issued: &[Issued]) -> Result<(), Error> {
        let missing: Vec<&str> =
            self.each(issued).flat_map(|(resource, scopes)| resource.missing(scopes)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let missing = missing.join(" and ");
        Err(self.wanted.person(format_args!(
            "the sign-in was not granted {missing}, so nothing was stored: {}",
            scopes::add(&missing)
        )))
    }

    /// Each resource with what was granted for it.
    fn each<'a>(
        &'a self,
        issued: &'a [Issued],
    ) -> impl Iterator<Item = (&'a Resource, &'a [String])> + 'a {
        let granted = issued.iter().map(|issued| issued.delegated.scopes.as_slice());
        self.resources.iter().zip(granted)
    }

    async fn store(&self, identity: &Identity, issued: &[Issued]) -> Result<(), Error> {
        for Issued { delegated, asked_at } in issued {
            let Some(tokens) = delegated.tokens(&self.wanted.app, identity, *asked_at) else {
                return Err(self.wanted.person(
                    "the sign-in can't be stored, since Microsoft365.AuthorityUrl names no host: \
                     check it",
                ));
            };
            let stored = self.accounts.store(tokens).await;
            stored.map_err(|error| error.of_role(self.wanted.role()))?;
        }
        Ok(())
    }

    async fn ask(&self, form: &[(&str, &str)], secrets: &[&str]) -> Result<Issued, Refused> {
        let mut tries = 1;
        loop {
            let asked_at = SystemTime::now();
            let (app, role) = (&self.wanted.app, self.wanted.role());
            match ask(self.accounts.http(), app, role, form, secrets).await {
                Ok(delegated) => return Ok(Issued { delegated, asked_at }),
                Err(refused) if refused.error.fault == Fault::Passing && tries < MAX_TRIES => {
                    sleep(refused.error.retry_after.unwrap_or(PAUSE).min(MAX_PAUSE)).await;
                }
                Err(refused) => return Err(refused),
            }
            tries += 1;
        }
    }
}

#[cfg(test)]
mod tests;
