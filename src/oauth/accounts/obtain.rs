//! An access token of a signed-in account: from the cache, or for its refresh token.
//!
//! Danger: a refresh token whose successor is lost ends the sign-in, and one that is stored over a
//! newer one undoes what a person has just put right. Rule: under the account's turn the cache is
//! read, asked for, read again and changed in one step; the new refresh token is on disk before the
//! access token is served, and it replaces only the one that it came for.

use std::time::{Duration, SystemTime};

use super::record::Who;
use super::turns::Turn;
use super::{Accounts, find, sign_in_again};
use crate::oauth::answer::Granted;
use crate::oauth::delegated::{Delegated, Refused, ask};
use crate::oauth::msal::{Account, CachedAccess, Document, Owner, Tokens};
use crate::oauth::public_app::{PublicApp, Service};
use crate::oauth::sign_in::Identity;
use crate::oauth::{Error, Fault};
use crate::secret::Secret;

/// A token of another role is served with so much left at least, so that it isn't at its end as
/// soon as it is in use: MSAL counts a token as expired five minutes before its end, too.
const LEAST_LEFT: Duration = Duration::from_secs(300);

/// No token lives longer (see `answer`); an entry that says so is a mistake or another clock.
const MOST_LEFT: Duration = Duration::from_secs(28 * 3600);

/// Refusals that a new sign-in cures (facts/entra-oauth.md section 5).
const SIGN_IN_AGAIN: &[&str] =
    &["invalid_grant", "interaction_required", "consent_required", "login_required"];

/// Whose token is wanted, for what, and by whom.
#[derive(Clone, Copy, Debug)]
pub(in crate::oauth) struct Need<'a> {
    /// Names the asker in errors.
    pub role: &'a str,
    pub app: &'a PublicApp,
    pub username: &'a str,
    pub service: Service,
}

/// A sign-in as it stands in the cache.
struct SignIn {
    account: Account,
    refresh: Secret,
}

impl Need<'_> {
    pub(super) fn who(&self) -> Who {
        Who::new(self.username, &self.app.client_id)
    }

    fn resource(&self) -> &'static str {
        self.service.delegated_resource(self.app.cloud)
    }
}

impl Accounts {
    /// A token for `need`. `known` is one that the asker has had and that is not good any more.
    pub(in crate::oauth) async fn obtain(
        &self,
        need: &Need<'_>,
        known: Option<&Secret>,
    ) -> Result<Granted, Error> {
        let turn = self.inner.turns.take(&need.who()).await;
        let document = self.read(need).await?;
        let now = SystemTime::now();
        if let Some(account) = find::account(&document, need.app, need.username) {
            let realm = find::realm(&account, need.app);
            let cached = document.access_tokens(&account.owner, need.resource(), realm);
            let mut newer = newer(&cached, known);
            if let Some(granted) = newer.find_map(|token| still_good(token, need, known, now)) {
                self.inner.record.used(&need.who(), now).await;
                return Ok(granted);
            }
        }
        self.renew_to_the_end(need, document, turn).await
    }

    /// Redeems the refresh token although an access token may be good, so that the sign-in does
    /// not lapse; `due` looks at the account once its turn has come.
    pub(super) async fn keep(
        &self,
        need: &Need<'_>,
        due: impl FnOnce(&Account) -> bool,
    ) -> Result<bool, Error> {
        let turn = self.inner.turns.take(&need.who()).await;
        let document = self.read(need).await?;
        let account = find::account(&document, need.app, need.username);
        if account.is_some_and(|account| !due(&account)) {
            return Ok(false);
        }
        self.renew_to_the_end(need, document, turn).await.map(|_| true)
    }

    /// In a task of its own: whoever waits may be cancelled between the answer and its storing, and
    /// the new refresh token would be lost.
    async fn renew_to_the_end(
        &self,
        need: &Need<'_>,
        document: Document,
        turn: Turn,
    ) -> Result<Granted, Error> {
        let (accounts, role) = (self.clone(), need.role.to_owned());
        let (app, username) = (need.app.clone(), need.username.to_owned());
        let service = need.service;
        let task = tokio::spawn(async move {
            let _turn = turn;
            let need = Need { role: &role, app: &app, username: &username, service };
            accounts.renew(&need, &document).await
        });
        let failed = "the token request failed inside authbridge; please report it";
        task.await.unwrap_or_else(|_| Err(Error::passing(failed).of_role(need.role)))
    }

    async fn read(&self, need: &Need<'_>) -> Result<Document, Error> {
        self.cache().read().await.map_err(|error| error.of_role(need.role))
    }

    async fn renew(&self, need: &Need<'_>, document: &Document) -> Result<Granted, Error> {
        let Some(sign_in) = sign_in(document, need) else { return Err(self.nobody(need)) };
        let outcome = self.redeem(need, &sign_in).await;
        let Err(refused) = &outcome else { return outcome.map_err(|refused| refused.error) };
        if !SIGN_IN_AGAIN.contains(&refused.name.as_str()) {
            return outcome.map_err(|refused| refused.error);
        }
        // Another process may have signed in or renewed since the cache was read.
        let document = self.read(need).await?;
        match self::sign_in(&document, need) {
            Some(newer) if newer.refresh != sign_in.refresh => {
                self.redeem(need, &newer).await.map_err(|refused| refused.error)
            }
            _ => outcome.map_err(|refused| refused.error),
        }
    }

    async fn redeem(&self, need: &Need<'_>, sign_in: &SignIn) -> Result<Granted, Refused> {
        let (who, refresh) = (need.who(), &sign_in.refresh);
        if let Some(error) = self.inner.refusals.of(need, refresh) {
            return Err(error.of_role(need.role).into());
        }
        let asked_at = SystemTime::now();
        let redeemed = redeem(self, need, refresh, &sign_in.account.owner).await;
        let redeemed = redeemed.and_then(|delegated| of(&sign_in.account, delegated, need));
        match redeemed {
            Ok(delegated) => self.keep_and_check(need, sign_in, delegated, asked_at).await,
            Err(refused) => {
                let refused = with_fix(refused, need);
                let (error, claims) = (&refused.error, refused.claims.clone());
                self.inner.record.failed(&who, error, claims, asked_at).await;
                if error.fault == Fault::Person {
                    self.inner.refusals.remember(need, refresh, error);
                }
                Err(refused)
            }
        }
    }

    /// Stores first, checks then, serves last.
    async fn keep_and_check(
        &self,
        need: &Need<'_>,
        sign_in: &SignIn,
        delegated: Delegated,
        asked_at: SystemTime,
    ) -> Result<Granted, Refused> {
        let (who, granted) = (need.who(), delegated.granted.clone());
        let missing = missing(need.service, &delegated.scopes);
        let latest = delegated.refresh.clone().unwrap_or_else(|| sign_in.refresh.clone());
        let stored = self.put(need, sign_in, &delegated, asked_at).await;
        if let Some(permission) = missing {
            let error = not_granted(need, permission);
            self.inner.record.failed(&who, &error, None, asked_at).await;
            self.inner.refusals.remember(need, &latest, &error);
            return Err(error.into());
        }
        match stored {
            Ok(()) => self.inner.record.renewed(&who, asked_at).await,
            Err(error) => {
                let error = not_stored(need, &error, self);
                tracing::error!(role = need.role, account = need.username, "{error}");
                self.inner.record.used(&who, asked_at).await;
                self.inner.record.failed(&who, &error, None, asked_at).await;
            }
        }
        Ok(granted)
    }

    async fn put(
        &self,
        need: &Need<'_>,
        sign_in: &SignIn,
        delegated: &Delegated,
        asked_at: SystemTime,
    ) -> Result<(), Error> {
        let identity = identity(&sign_in.account, delegated, need);
        let Some(tokens) = delegated.tokens(need.app, &identity, asked_at) else { return Ok(()) };
        // Entries keep the environment under which they were found.
        let tokens = Tokens { owner: sign_in.account.owner.clone(), ..tokens };
        let redeemed = sign_in.refresh.clone();
        self.cache().update(move |document| put(document, tokens, &redeemed)).await
    }

    fn nobody(&self, need: &Need<'_>) -> Error {
        Error::person(format!(
            "{}: Microsoft365.PublicApp.AccountName {} is not signed in for application {} (there \
             is no such account in {}): {}",
            need.role,
            need.username,
            need.app.client_id,
            self.cache().path().display(),
            sign_in_again(need.username)
        ))
    }
}

/// What one refresh token gives for the service's resource: all that was consented to; see
/// [`Refused::wants_names`].
pub(super) async fn redeem(
    accounts: &Accounts,
    need: &Need<'_>,
    refresh: &Secret,
    owner: &Owner,
) -> Result<Delegated, Refused> {
    let resource = need.resource();
    let all = redeem_for(accounts, need, refresh, &format!("{resource}/.default")).await;
    match all {
        Err(refused) if refused.wants_names(&owner.home_account_id) => {
            let names = need.service.asked().iter().map(|name| format!("{resource}/{name}"));
            let named = names.collect::<Vec<_>>().join(" ");
            redeem_for(accounts, need, refresh, &named).await
        }
        outcome => outcome,
    }
}

async fn redeem_for(
    accounts: &Accounts,
    need: &Need<'_>,
    refresh: &Secret,
    permissions: &str,
) -> Result<Delegated, Refused> {
    let scope = format!("{permissions} offline_access openid profile");
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.expose()),
        ("scope", &scope),
        ("client_info", "1"),
    ];
    ask(accounts.http(), need.app, need.role, &form, &[refresh.expose()]).await
}

/// The answer, if it is not somebody else's.
pub(super) fn of(
    account: &Account,
    delegated: Delegated,
    need: &Need<'_>,
) -> Result<Delegated, Refused> {
    delegated.belonging_to(&account.owner.home_account_id, need.role, need.username)
}

/// The first permission that the service needs and that was not granted. An answer that names no
/// scope grants what was asked for (RFC 6749 section 5.1).
pub(super) fn missing(service: Service, scopes: &[String]) -> Option<&'static str> {
    service.missing(scopes).next().filter(|_| !scopes.is_empty())
}

/// Whose tokens these are: the account for which the refresh token was redeemed, whatever else the
/// answer says; the ID token adds tenant and name.
pub(super) fn identity(account: &Account, delegated: &Delegated, need: &Need<'_>) -> Identity {
    let home = &account.owner.home_account_id;
    let object_id = home.split('.').next().unwrap_or_default().to_owned();
    let told = delegated.id_token.as_ref().and_then(|token| {
        Identity::of(token, delegated.client_info.as_deref(), &need.app.client_id).ok()
    });
    let told = told.filter(|told| told.home_account_id.eq_ignore_ascii_case(home));
    let of_cache = Identity {
        home_account_id: home.clone(),
        tenant: account.realm.clone(),
        object_id,
        username: account.username.clone(),
        name: account.name.clone(),
    };
    match told {
        // The name under which roles know it stays, even if the person has been given another.
        Some(told) => Identity {
            home_account_id: home.clone(),
            username: account.username.clone(),
            name: told.name.clone().or(of_cache.name),
            ..told
        },
        None => of_cache,
    }
}

fn sign_in(document: &Document, need: &Need<'_>) -> Option<SignIn> {
    let account = find::account(document, need.app, need.username)?;
    let refresh = document.refresh_token(&account.owner)?;
    Some(SignIn { account, refresh })
}

/// Those that came after the one that is not good any more. Programs with other scopes keep their
/// own, and who has ended one of a user's tokens has ended those before it: served in turn, two of
/// them would be rejected for ever.
fn newer<'a>(
    cached: &'a [CachedAccess],
    known: Option<&Secret>,
) -> impl Iterator<Item = &'a CachedAccess> + use<'a> {
    let known = known.and_then(|known| cached.iter().find(|token| token.secret == *known));
    let since = known.map(|known| known.cached_at);
    cached.iter().filter(move |token| since.is_none_or(|since| token.cached_at > since))
}

fn still_good(
    token: &CachedAccess,
    need: &Need<'_>,
    known: Option<&Secret>,
    now: SystemTime,
) -> Option<Granted> {
    let left = token.expires_at.duration_since(now).ok().filter(|left| *left <= MOST_LEFT)?;
    let life = token.expires_at.duration_since(token.cached_at).ok()?;
    let fits = known != Some(&token.secret)
        && !token.scopes.is_empty()
        && missing(need.service, &token.scopes).is_none()
        && left >= LEAST_LEFT.max(life / 4);
    fits.then(|| Granted { secret: token.secret.clone(), life: left })
}

/// Puts the new tokens beside what the cache holds by now.
fn put(document: &mut Document, tokens: Tokens, redeemed: &Secret) {
    let tokens = match document.refresh_token(&tokens.owner) {
        Some(current) if current == *redeemed => tokens,
        // Somebody has signed in meanwhile: that refresh token may rest on what ours lacks.
        Some(_) => Tokens { refresh: None, ..tokens },
        // Somebody has removed the account meanwhile, and it stays removed.
        None => return,
    };
    document.put(&tokens, SystemTime::now());
}

fn with_fix(refused: Refused, need: &Need<'_>) -> Refused {
    if !SIGN_IN_AGAIN.contains(&refused.name.as_str()) || refused.error.fault != Fault::Person {
        return refused;
    }
    let text = format!("{}. To put it right, {}", refused.error.text, sign_in_again(need.username));
    Refused { error: Error { text, ..refused.error }, ..refused }
}

fn not_granted(need: &Need<'_>, permission: &str) -> Error {
    let (role, username) = (need.role, need.username);
    Error::person(format!(
        "{role}: {username} has not granted the permission {permission}: add it (delegated) under \
         App registrations → API permissions, then {}",
        sign_in_again(username)
    ))
}

fn not_stored(need: &Need<'_>, error: &Error, accounts: &Accounts) -> Error {
    Error::person(format!(
        "{}: the renewed sign-in of {} can't be stored in {}: {error}. Mail still works with the \
         sign-in from before; see to the file before that one ends",
        need.role,
        need.username,
        accounts.cache().path().display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(refresh: &str) -> Tokens {
        let now = SystemTime::now();
        Tokens {
            owner: Owner {
                home_account_id: "oid.tid".to_owned(),
                environment: "login.microsoftonline.com".to_owned(),
                client_id: "app".to_owned(),
            },
            realm: "tid".to_owned(),
            access: CachedAccess {
                secret: Secret::new("access"),
                scopes: vec!["Mail.Send".to_owned()],
                cached_at: now,
                expires_at: now + Duration::from_secs(3600),
            },
            refresh: Some(Secret::new(refresh)),
            id_token: None,
            client_info: None,
            username: "jo@example.com".to_owned(),
            local_account_id: "oid".to_owned(),
            name: None,
        }
    }

    #[test]
    fn a_new_refresh_token_replaces_only_the_one_it_came_for() {
        for (in_cache, expected) in
            [(Some("redeemed"), Some("new")), (Some("signed in"), Some("signed in")), (None, None)]
        {
            let mut document = Document::default();
            if let Some(current) = in_cache {
                document.put(&tokens(current), SystemTime::now());
            }
            put(&mut document, tokens("new"), &Secret::new("redeemed"));
            let stored = document.refresh_token(&tokens("").owner);
            assert_eq!(stored.as_ref().map(Secret::expose), expected, "{in_cache:?}");
        }
    }

    #[test]
    fn needed_permissions_are_found_with_or_without_their_resource() {
        for (service, scopes, expected) in [
            (Service::GraphSending, "openid Mail.Send", None),
            (Service::GraphSending, "https://graph.microsoft.com/mail.send", None),
            (Service::GraphSending, "Mail.Send.Shared", Some("Mail.Send")),
            (Service::GraphReading, "Mail.Read", Some("Mail.ReadWrite")),
            (Service::Smtp, "https://outlook.office.com/SMTP.Send", None),
            (Service::Imap, "https://outlook.office.com/SMTP.Send", Some("IMAP.AccessAsUser.All")),
            (Service::Imap, "", None),
        ] {
            let scopes: Vec<String> = scopes.split_whitespace().map(str::to_owned).collect();
            assert_eq!(missing(service, &scopes), expected, "{service:?} {scopes:?}");
        }
    }
}
