//! Google service accounts (RFC 7523 section 2.1) that act for the users of a Workspace domain.
//! <https://developers.google.com/identity/protocols/oauth2/service-account>
//!
//! Danger: this one request is all that stands between a Workspace domain and every mailbox in it.
//! Rule: the assertion goes to Google's own hosts only (see `google_key`), for one user, with the
//! mail scope alone.
//!
//! `yup-oauth2` 12.1.2 can't do this: it reads an answer of any size, overflows (and panics) on a
//! huge `expires_in`, loses HTTP status and `Retry-After` (a 503 page looks like broken JSON),
//! writes assertion and token to the debug log, pads its base64url against RFC 7515, leaves no room
//! for a clock that runs ahead, ignores its time limit, and needs a second HTTP stack that knows no
//! proxy.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::StatusCode;

use super::answer::{Granted, TokenAnswer, unreadable};
use super::assertion::{Delegation, for_google};
use super::google_key::{ServiceAccountKey, TOKEN_URL, is_google};
use super::http::{HttpClient, endpoint};
use super::key_file::KeyFile;
use super::subject::{Subject, resolve};
use super::tokens::Grant;
use super::{Ending, Error, Expiry, google_error};
use crate::config::{GoogleAccount, Template};
use crate::secret::Secret;

/// IMAP, POP3 and SMTP all need this one (xoauth2-protocol), slash included.
const SCOPE: &str = "https://mail.google.com/";

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

const PROVIDER: &str = "Google's token service";

/// The service account of one role.
pub(super) struct ServiceAccount {
    role: String,
    user: Template,
    path: PathBuf,
    key: Arc<KeyFile<ServiceAccountKey>>,
    token_url: Option<String>,
    http: HttpClient,
}

impl ServiceAccount {
    pub fn new(account: &GoogleAccount, http: &HttpClient, role: &str) -> Result<Self, Error> {
        if let Some(address) = &account.token_url {
            endpoint(address, &format!("{role}: GoogleOAuth2.TokenUrl"))?;
        }
        let password = account.key_password.clone();
        let configured = account.service_account.trim().to_owned();
        let decode = move |path: &_, content: &_| {
            ServiceAccountKey::decode(path, content, &password, &configured)
        };
        Ok(Self {
            role: role.to_owned(),
            user: account.user.clone(),
            path: account.key_file.clone(),
            key: KeyFile::new(&account.key_file, decode),
            token_url: account.token_url.clone(),
            http: http.clone(),
        })
    }

    async fn granted(&self, user: &str) -> Result<Granted, Error> {
        let key =
            self.key.current().await.map_err(|problem| {
                self.person(&format!("GoogleOAuth2.CertificatePath: {problem}"))
            })?;
        let address = self.token_address(&key)?;
        let url = endpoint(address, &format!("{}: GoogleOAuth2.TokenUrl", self.role))?;
        let delegation = Delegation {
            service_account: &key.service_account,
            user,
            scope: SCOPE,
            token_endpoint: address,
            key_id: key.key_id.as_deref(),
        };
        let assertion = for_google(&key.key, &delegation, SystemTime::now())
            .map_err(|problem| self.person(&problem))?;
        // Neither part holds a character that a form must encode but the colons, which it may.
        let form = format!("grant_type={GRANT_TYPE}&assertion={}", assertion.expose());
        let answer = self
            .http
            .post_form(url, form.into_bytes())
            .await
            .map_err(|error| Error { text: format!("{}: {}", self.role, error.text), ..error })?;
        if answer.status == StatusCode::OK {
            let token = serde_json::from_slice::<TokenAnswer>(&answer.body);
            let token = token.map_err(|_| unreadable(&self.role, PROVIDER, &answer))?;
            return token.granted(&self.role, PROVIDER);
        }
        Err(google_error::explain(&self.role, user, &answer, &[assertion.expose()]))
    }

    fn token_address<'a>(&'a self, key: &'a ServiceAccountKey) -> Result<&'a str, Error> {
        match &self.token_url {
            Some(address) => Ok(address),
            None if is_google(&key.token_url) => Ok(&key.token_url),
            None => Err(self.person(&format!(
                "the key file's token_uri is {:?}, which is not Google's ({TOKEN_URL}): download \
                 the key again, or set GoogleOAuth2.TokenUrl if that is what you want",
                key.token_url
            ))),
        }
    }

    /// When a P12 key's certificate ends. What is wrong with the file is told by the token request.
    fn expiry(&self) -> Option<Expiry> {
        let path = self.path.display();
        let key = self.key.read().ok()?;
        Some(Expiry {
            kind: Ending::Certificate,
            what: format!("the key {path} ({}: GoogleOAuth2.CertificatePath)", self.role),
            at: key.expires_at?,
            fix: format!(
                "make a new one for {} under IAM & Admin → Service Accounts → Keys, then replace \
                 the file; authbridge need not be restarted",
                key.service_account
            ),
        })
    }

    fn person(&self, problem: &str) -> Error {
        Error::person(problem).of_role(&self.role)
    }
}

impl Grant for ServiceAccount {
    fn subject(&self, login: Option<&str>) -> Result<Subject, Error> {
        let user = resolve(&self.role, "GoogleOAuth2.GsuiteUser", &self.user, login)?;
        // Addresses compare without case at Google.
        Ok(Subject { key: user.to_lowercase(), user })
    }

    fn request<'a>(
        &'a self,
        subject: &'a Subject,
        _known: Option<&'a Secret>,
    ) -> BoxFuture<'a, Result<Granted, Error>> {
        self.granted(&subject.user).boxed()
    }

    fn expiries(&self) -> Vec<Expiry> {
        self.expiry().into_iter().collect()
    }
}

#[cfg(test)]
mod tests;
