//! Token requests in a signed-in user's name: code, device code, refresh token; one way to ask and
//! to read the answer.
//!
//! Danger: the answer holds three secrets, and its refusals differ in what must happen next. Rule:
//! what was granted and why not are told apart here, and nothing of either is ever printed.

use super::answer::Granted;
use super::http::HttpClient;
use super::public_app::PublicApp;
use super::{Error, msal};
use crate::secret::Secret;

/// What a token endpoint has given.
#[derive(Clone, Debug)]
pub(super) struct Delegated {
    /// The access token.
    pub granted: Granted,
    /// The next refresh token.
    pub refresh: Option<Secret>,
    /// Whose it is (raw JWT).
    pub id_token: Option<Secret>,
    /// base64url JSON with `uid` and `utid`.
    pub client_info: Option<String>,
    /// `scope`: what was really granted.
    pub scopes: Vec<String>,
}

/// Why it has not.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    /// In plain words.
    pub error: Error,
    /// OAuth's `error`, such as `authorization_pending`; empty when there was no answer.
    pub name: String,
    /// Claims that the next sign-in must carry (Conditional Access).
    pub claims: Option<String>,
}

/// Asks `app`'s token endpoint. `form` has everything but `client_id`; `role` names whom errors are
/// about; `secrets` are removed from what is told.
pub(super) async fn ask(
    _http: &HttpClient,
    _app: &PublicApp,
    _role: &str,
    _form: &[(&str, &str)],
    _secrets: &[&str],
) -> Result<Delegated, Refused> {
    let error = Error::person("not built yet");
    Err(Refused { error, name: String::new(), claims: None })
}

impl Delegated {
    /// As the cache wants it.
    pub(super) fn tokens(
        &self,
        _app: &PublicApp,
        _identity: &super::sign_in::Identity,
        _asked_at: std::time::SystemTime,
    ) -> Option<msal::Tokens> {
        None
    }
}
