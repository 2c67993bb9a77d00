//! Token requests in a signed-in user's name: code, device code, refresh token; one way to ask and
//! to read the answer.
//!
//! Danger: the answer holds three secrets, and its refusals differ in what must happen next. Rule:
//! what was granted and why not are told apart here, and nothing of either is ever printed.

use std::time::SystemTime;

use http::StatusCode;
use reqwest::Url;
use serde::{Deserialize, Deserializer};

use super::answer::{Granted, TokenAnswer, unreadable};
use super::http::{Answer, HttpClient, endpoint};
use super::public_app::PublicApp;
use super::sign_in::Identity;
use super::{Error, entra_error, msal};
use crate::secret::Secret;

const PROVIDER: &str = "Microsoft's sign-in service";

/// Claims of a Conditional Access challenge have some hundred octets; they go into a URL.
const MAX_CLAIMS_BYTES: usize = 4 << 10;

/// `client_info` holds two ids.
const MAX_CLIENT_INFO_BYTES: usize = 2 << 10;

/// An application has at most some 400 permissions.
const MAX_SCOPES: usize = 500;

/// The home tenant of all personal accounts (facts/msal-cache.md section 1).
const PERSONAL_TENANT: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

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

/// What stands beside the access token; of another type than text it counts as missing.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Beside {
    #[serde(deserialize_with = "text")]
    refresh_token: String,
    #[serde(deserialize_with = "text")]
    id_token: String,
    #[serde(deserialize_with = "text")]
    client_info: String,
    #[serde(deserialize_with = "text")]
    scope: String,
}

/// What a refusal says beside the words for a person.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    #[serde(deserialize_with = "text")]
    error: String,
    #[serde(deserialize_with = "text")]
    claims: String,
}

/// Asks `app`'s token endpoint. `form` has everything but `client_id`; `role` names whom errors are
/// about; `secrets` are removed from what is told.
pub(super) async fn ask(
    http: &HttpClient,
    app: &PublicApp,
    role: &str,
    form: &[(&str, &str)],
    secrets: &[&str],
) -> Result<Delegated, Refused> {
    let address = format!("{}/{}/oauth2/v2.0/token", app.authority_url, app.tenant_id);
    let url = endpoint(&address, &format!("{role}.Microsoft365.AuthorityUrl"))?;
    let form = encoded(&url, &app.client_id, form);
    let answer = http.post_form(url, form).await.map_err(|error| error.of_role(role))?;
    if answer.status != StatusCode::OK {
        return Err(refused(role, &answer, secrets));
    }
    let token: TokenAnswer =
        serde_json::from_slice(&answer.body).map_err(|_| unreadable(role, PROVIDER, &answer))?;
    let granted = token.granted(role, PROVIDER)?;
    Ok(Delegated::of(granted, serde_json::from_slice(&answer.body).unwrap_or_default()))
}

impl Refused {
    /// True when the same may be granted to this account if its permissions are named. Personal
    /// accounts refuse `.default`, at times as if the sign-in had ended (facts/entra-oauth.md
    /// section 6).
    pub fn wants_names(&self, home_account_id: &str) -> bool {
        let is_of_scope = matches!(self.name.as_str(), "invalid_grant" | "invalid_scope");
        is_of_scope && is_personal(home_account_id)
    }
}

/// A failure without an answer.
impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { error, name: String::new(), claims: None }
    }
}

impl Delegated {
    /// The answer, if it is not for another account than `home_account_id`: a proxy that keeps
    /// answers gives one person's to the next, and mail would go out in the wrong name.
    pub(super) fn belonging_to(
        self,
        home_account_id: &str,
        role: &str,
        username: &str,
    ) -> Result<Self, Refused> {
        match self.client_info.as_deref().and_then(Identity::home) {
            Some(home) if !home.eq_ignore_ascii_case(home_account_id) => {
                Err(Refused::from(Error::passing(format!(
                    "{role}: the answer to the token request of {username} is for another account \
                     and was not used: see that no proxy in between keeps or mixes up answers"
                ))))
            }
            _ => Ok(self),
        }
    }

    fn of(granted: Granted, beside: Beside) -> Self {
        let secret = |text: String| is_one_word(&text).then(|| Secret::new(text));
        let info = Some(beside.client_info);
        Self {
            granted,
            refresh: secret(beside.refresh_token),
            id_token: secret(beside.id_token),
            client_info: info.filter(|t| is_one_word(t) && t.len() <= MAX_CLIENT_INFO_BYTES),
            scopes: scopes(&beside.scope),
        }
    }

    /// As the cache wants it; `None` when the authority has no host.
    pub(super) fn tokens(
        &self,
        app: &PublicApp,
        identity: &Identity,
        asked_at: SystemTime,
    ) -> Option<msal::Tokens> {
        let owner = msal::Owner {
            home_account_id: identity.home_account_id.clone(),
            environment: environment(app)?,
            client_id: app.client_id.clone(),
        };
        let access = msal::CachedAccess {
            secret: self.granted.secret.clone(),
            scopes: self.scopes.clone(),
            cached_at: asked_at,
            expires_at: asked_at + self.granted.life,
        };
        Some(msal::Tokens {
            owner,
            realm: identity.tenant.clone(),
            access,
            refresh: self.refresh.clone(),
            id_token: self.id_token.clone(),
            client_info: self.client_info.clone(),
            username: identity.username.clone(),
            local_account_id: identity.object_id.clone(),
            name: identity.name.clone(),
        })
    }
}

/// True for an account of a person, not of an organisation.
pub(super) fn is_personal(home_account_id: &str) -> bool {
    let tenant = home_account_id.rsplit_once('.').map(|(_, tenant)| tenant);
    tenant.is_some_and(|tenant| tenant.eq_ignore_ascii_case(PERSONAL_TENANT))
}

/// The authority's host, which is MSAL's environment.
pub(super) fn environment(app: &PublicApp) -> Option<String> {
    Url::parse(&app.authority_url).ok()?.host_str().map(str::to_owned)
}

/// `application/x-www-form-urlencoded`, which is also how a URL writes its query.
fn encoded(url: &Url, client_id: &str, form: &[(&str, &str)]) -> Vec<u8> {
    let mut url = url.clone();
    url.query_pairs_mut().clear().append_pair("client_id", client_id).extend_pairs(form);
    url.query().unwrap_or_default().as_bytes().to_vec()
}

fn refused(role: &str, answer: &Answer, secrets: &[&str]) -> Refused {
    let refusal: Refusal = serde_json::from_slice(&answer.body).unwrap_or_default();
    Refused {
        error: entra_error::explain(role, answer, secrets),
        name: super::quote(&refusal.error, secrets),
        claims: claims(refusal.claims, secrets),
    }
}

/// Claims as they may go into the next sign-in's address: a JSON object of bounded size.
fn claims(text: String, secrets: &[&str]) -> Option<String> {
    let is_object =
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).is_ok();
    let echoes = secrets.iter().any(|secret| !secret.is_empty() && text.contains(secret));
    (is_object && !echoes && text.len() <= MAX_CLAIMS_BYTES).then_some(text)
}

fn scopes(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().take(MAX_SCOPES).map(str::to_owned).collect()
}

fn is_one_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(text) => text,
        _ => String::new(),
    })
}

#[cfg(test)]
mod tests;
