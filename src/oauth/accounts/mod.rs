//! The signed-in accounts: one cache for all roles and processes.
//!
//! Danger: two roles that refresh the same token at the same time, a new refresh token that is lost
//! before it was stored, a sign-in that dies because nobody used it. Rule: one request per account
//! at a time; a refresh token is on disk before its access token is served; what another role or
//! process has fetched is used; accounts of configured roles are kept alive.

mod find;
mod import;
mod keep_alive;
mod obtain;
mod record;
mod refusals;
mod turns;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use keep_alive::Kept;
pub(super) use obtain::Need;

use self::record::{History, Record, Who};
use self::refusals::Refusals;
use self::turns::Turns;
use super::http::HttpClient;
use super::msal::{Account, CacheFile, Document, Owner, OwnerKey, Tokens};
use super::{Ending, Error, Expiry};

/// A refresh token that nobody uses dies after this (facts/entra-oauth.md section 5).
pub const INACTIVITY: Duration = Duration::from_secs(90 * 24 * 3600);

/// The accounts of this installation. Cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    inner: Arc<Inner>,
}

struct Inner {
    cache: CacheFile,
    http: HttpClient,
    record: Record,
    turns: Turns,
    refusals: Refusals,
}

/// What is known about one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountStatus {
    /// The sign-in name.
    pub username: String,
    /// The person's name.
    pub name: Option<String>,
    /// Tenant id.
    pub tenant: String,
    /// The application.
    pub client_id: String,
    /// Scopes of its access tokens in the cache.
    pub scopes: Vec<String>,
    /// When the newest access token ends.
    pub token_expires: Option<SystemTime>,
    /// When the refresh token was last replaced.
    pub renewed_at: Option<SystemTime>,
    /// When it dies if nobody uses it.
    pub lapses_at: Option<SystemTime>,
    /// When a token of it was last fetched or served from the cache.
    pub last_used: Option<SystemTime>,
    /// When and why it last failed, after its last success.
    pub last_error: Option<(SystemTime, String)>,
}

/// An account taken over from another cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The sign-in name.
    pub username: String,
    /// Scopes that were granted.
    pub scopes: Vec<String>,
    /// Why it was not taken over.
    pub problem: Option<String>,
}

impl Accounts {
    /// `record` is a file in the state folder for what MSAL's format has no place for (last use,
    /// last error).
    pub fn new(cache: CacheFile, record: &Path, http: HttpClient) -> Self {
        let record = Record::new(record);
        let (turns, refusals) = (Turns::default(), Refusals::default());
        Self { inner: Arc::new(Inner { cache, http, record, turns, refusals }) }
    }

    /// The cache file.
    pub fn cache(&self) -> &CacheFile {
        &self.inner.cache
    }

    pub(super) fn http(&self) -> &HttpClient {
        &self.inner.http
    }

    /// Stores a sign-in, and forgets what was wrong with the account before.
    pub(super) async fn store(&self, tokens: Tokens) -> Result<(), Error> {
        let who = Who::new(&tokens.username, &tokens.owner.client_id);
        let now = SystemTime::now();
        self.cache()
            .update(move |document| {
                remove_namesakes(document, &tokens);
                document.put(&tokens, now);
            })
            .await?;
        self.inner.refusals.forget(&who);
        self.inner.record.signed_in(&who, now).await;
        Ok(())
    }

    /// Remembers the claims of a refusal that a sign-in has met, for the next one.
    pub(super) async fn want_claims(&self, username: &str, client_id: &str, claims: String) {
        self.inner.record.claims(&Who::new(username, client_id), claims).await;
    }

    /// Claims that the next sign-in of this account must carry (Conditional Access).
    pub(super) async fn wanted_claims(&self, username: &str) -> Option<String> {
        let username = username.to_lowercase();
        let all = self.inner.record.read().await;
        let mut own: Vec<_> = all.iter().filter(|(who, _)| who.username == username).collect();
        own.sort_by_key(|(_, history)| history.last_error().map(|last| last.0));
        own.iter().rev().find_map(|(_, history)| history.claims()).map(str::to_owned)
    }

    /// Everybody who has signed in.
    pub async fn list(&self) -> Result<Vec<AccountStatus>, Error> {
        let document = self.cache().read().await?;
        let histories = self.inner.record.read().await;
        let granted = document.granted();
        Ok(document.accounts().iter().map(|of| status(of, &granted, &histories)).collect())
    }

    /// Removes an account's tokens: of one application, or (`None`) of all. Returns how many.
    pub async fn remove(&self, username: &str, client_id: Option<&str>) -> Result<usize, Error> {
        let username = username.to_lowercase();
        let client_id = client_id.map(str::to_lowercase);
        let meant = move |account: &Account| {
            account.username.to_lowercase() == username
                && client_id.as_ref().is_none_or(|id| account.owner.client_id.to_lowercase() == *id)
        };
        let removed = self.cache().update(move |document| {
            let mut accounts = document.accounts();
            accounts.retain(|account| meant(account) && document.remove(&account.owner));
            accounts
        });
        let removed = removed.await?;
        self.inner.record.forget(removed.iter().map(who).collect()).await;
        Ok(removed.len())
    }

    /// When sign-ins lapse for want of use.
    pub async fn expiries(&self) -> Vec<Expiry> {
        // What is wrong with the cache is told by whoever needs a token of it.
        let accounts = self.list().await.unwrap_or_default();
        accounts.iter().filter_map(lapse).collect()
    }
}

/// An account that was deleted and made anew has another id under the same name, in the same
/// tenant; its old tokens open nothing.
fn remove_namesakes(document: &mut Document, tokens: &Tokens) {
    let home = |id: &str| id.rsplit_once('.').map(|(_, tenant)| tenant.to_lowercase());
    let tenant = home(&tokens.owner.home_account_id);
    for account in document.accounts() {
        let owner = &account.owner;
        let as_new = Owner { environment: tokens.owner.environment.clone(), ..owner.clone() };
        let same_name = who(&account) == Who::new(&tokens.username, &tokens.owner.client_id);
        let same_tenant = tenant.is_some() && home(&owner.home_account_id) == tenant;
        let other_id = !owner.home_account_id.eq_ignore_ascii_case(&tokens.owner.home_account_id);
        if same_name && same_tenant && other_id && document.refresh_token(&as_new).is_some() {
            document.remove(owner);
        }
    }
}

fn who(account: &Account) -> Who {
    Who::new(&account.username, &account.owner.client_id)
}

fn status(
    account: &Account,
    granted: &HashMap<OwnerKey, (Vec<String>, Option<SystemTime>)>,
    histories: &HashMap<Who, History>,
) -> AccountStatus {
    let history = histories.get(&who(account)).cloned().unwrap_or_default();
    let (scopes, token_expires) = granted.get(&account.owner.key()).cloned().unwrap_or_default();
    let renewed_at = account.renewed_at.or(history.renewed());
    AccountStatus {
        username: account.username.clone(),
        name: account.name.clone(),
        tenant: account.realm.clone(),
        client_id: account.owner.client_id.clone(),
        scopes,
        token_expires,
        renewed_at,
        lapses_at: renewed_at.and_then(|renewed| renewed.checked_add(INACTIVITY)),
        last_used: history.last_used(),
        last_error: history.last_error(),
    }
}

fn lapse(account: &AccountStatus) -> Option<Expiry> {
    let name = &account.username;
    let client_id = account.client_id.clone();
    Some(Expiry {
        kind: Ending::SignIn { username: name.clone(), client_id },
        what: format!("the sign-in of {name} (application {})", account.client_id),
        at: account.lapses_at?,
        fix: format!(
            "let authbridge run with a role that uses {name}, which renews the sign-in, or {}",
            sign_in_again(name)
        ),
    })
}

/// What a person does about a sign-in that has ended.
fn sign_in_again(username: &str) -> String {
    format!(
        "sign {username} in again: run `authbridge token add {username}`, or press Sign in on \
         authbridge's web page"
    )
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accounts").field("cache", &self.inner.cache.path()).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests;
