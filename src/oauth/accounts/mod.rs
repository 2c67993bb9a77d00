//! The signed-in accounts: one cache for all roles and processes.
//!
//! Danger: two roles that refresh the same token at the same time, a new refresh token that is lost
//! before it was stored, a sign-in that dies because nobody used it. Rule: one request per account
//! at a time; a refresh token is on disk before its access token is served; what another role or
//! process has fetched is used; accounts of configured roles are kept alive.

mod record;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::http::HttpClient;
use super::msal::CacheFile;
use super::public_app::PublicApp;
use super::{Error, Expiry};

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
    pub fn new(cache: CacheFile, _record: &Path, http: HttpClient) -> Self {
        Self { inner: Arc::new(Inner { cache, http }) }
    }

    /// The cache file.
    pub fn cache(&self) -> &CacheFile {
        &self.inner.cache
    }

    pub(super) fn http(&self) -> &HttpClient {
        &self.inner.http
    }

    /// Stores a sign-in, and forgets what was wrong with the account before.
    pub(super) async fn store(&self, _tokens: super::msal::Tokens) -> Result<(), Error> {
        Ok(())
    }

    /// Claims that the next sign-in of this account must carry (Conditional Access).
    pub(super) async fn wanted_claims(&self, _username: &str) -> Option<String> {
        None
    }

    /// Everybody who has signed in.
    pub async fn list(&self) -> Result<Vec<AccountStatus>, Error> {
        Ok(Vec::new())
    }

    /// Removes an account's tokens: of one application, or (`None`) of all. Returns how many.
    pub async fn remove(&self, _username: &str, _client_id: Option<&str>) -> Result<usize, Error> {
        Ok(0)
    }

    /// Takes over the sign-ins of `app` from another cache file, which is only read. Each is
    /// redeemed first, to see that it lives.
    pub async fn import(
        &self,
        _app: &PublicApp,
        _services: &[super::Service],
        _source: &Path,
    ) -> Result<Vec<Imported>, Error> {
        Ok(Vec::new())
    }

    /// When sign-ins lapse for want of use.
    pub async fn expiries(&self) -> Vec<Expiry> {
        Vec::new()
    }
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accounts").field("cache", &self.inner.cache.path()).finish_non_exhaustive()
    }
}
