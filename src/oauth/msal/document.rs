//! The unified JSON (facts/msal-cache.md section 1), read and changed without losing what is
//! unknown.
//!
//! Danger: other programs' entries stand beside ours. Rule: entries are found by their fields,
//! never by their key; environments are compared through the alias set; unknown nodes and fields
//! stay.

use std::time::SystemTime;

use crate::secret::Secret;

/// A parsed cache.
#[derive(Clone, Default)]
pub struct Document {}

/// Whose entries: a user of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// `{uid}.{utid}`.
    pub home_account_id: String,
    /// Host of the authority, such as `login.microsoftonline.com`; compared through its aliases.
    pub environment: String,
    /// The application.
    pub client_id: String,
}

/// An `Account` entry that has a refresh token of some application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Whose, and by which application.
    pub owner: Owner,
    /// The sign-in name.
    pub username: String,
    /// The person's name.
    pub name: Option<String>,
    /// Tenant id.
    pub realm: String,
    /// When the refresh token was last replaced, where the entry says so (MSAL for Python and we
    /// write it).
    pub renewed_at: Option<SystemTime>,
}

/// An access token in the cache.
#[derive(Clone, Debug)]
pub struct CachedAccess {
    /// The token.
    pub secret: Secret,
    /// Granted scopes as written.
    pub scopes: Vec<String>,
    /// When it was issued.
    pub cached_at: SystemTime,
    /// When it ends.
    pub expires_at: SystemTime,
}

/// What a token endpoint has given, to be put in.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// Whose.
    pub owner: Owner,
    /// Tenant of the token.
    pub realm: String,
    /// The access token.
    pub access: CachedAccess,
    /// The refresh token, if a new one came.
    pub refresh: Option<Secret>,
    /// The raw ID token, if one came.
    pub id_token: Option<Secret>,
    /// base64url JSON with `uid` and `utid`, if it came.
    pub client_info: Option<String>,
    /// The sign-in name.
    pub username: String,
    /// Object id of the user in the realm.
    pub local_account_id: String,
    /// The person's name.
    pub name: Option<String>,
}

/// Why a text is no cache.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoCache(pub String);

impl Document {
    /// Parses; nothing at all is an empty cache.
    pub fn parse(_bytes: &[u8]) -> Result<Self, NoCache> {
        Ok(Self {})
    }

    /// The JSON.
    pub fn to_json(&self) -> zeroize::Zeroizing<Vec<u8>> {
        zeroize::Zeroizing::new(Vec::new())
    }

    /// Everybody who has a refresh token, in the order of the file.
    pub fn accounts(&self) -> Vec<Account> {
        Vec::new()
    }

    /// The refresh token of that user and application.
    pub fn refresh_token(&self, _owner: &Owner) -> Option<Secret> {
        None
    }

    /// Access tokens of that user and application whose scopes are of `resource`, newest first.
    pub fn access_tokens(&self, _owner: &Owner, _resource: &str) -> Vec<CachedAccess> {
        Vec::new()
    }

    /// Puts in what a token endpoint has given, as MSAL would; older entries of the same key and
    /// access tokens of the same resource that it replaces go.
    pub fn put(&mut self, _tokens: &Tokens, _now: SystemTime) {}

    /// Removes a user of an application: tokens, and the account when no other application of the
    /// file has tokens for it. False when there was nothing.
    pub fn remove(&mut self, _owner: &Owner) -> bool {
        false
    }
}

/// Shows no token.
impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Document")
    }
}
