//! Claims of an ID token: whose sign-in it is.
//! <https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference>
//!
//! The token came from the token endpoint over TLS, so its signature adds nothing (OpenID Connect
//! Core section 3.1.3.7 number 6); its audience is checked.

use crate::oauth::Error;
use crate::secret::Secret;

/// Whose sign-in it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `{uid}.{utid}` of `client_info`, else `{oid}.{tid}`.
    pub home_account_id: String,
    /// `tid`.
    pub tenant: String,
    /// `oid`.
    pub object_id: String,
    /// `preferred_username`, else `upn`, else `email`.
    pub username: String,
    /// `name`.
    pub name: Option<String>,
}

impl Identity {
    /// From an answer of the token endpoint, for this application.
    pub(in crate::oauth) fn of(
        _id_token: &Secret,
        _client_info: Option<&str>,
        _client_id: &str,
    ) -> Result<Self, Error> {
        Err(Error::person("not built yet"))
    }
}
