//! Access tokens: one file per grant, one cache in front of them.
//!
//! Danger: a token request per login gets an application locked out by its provider, and one that
//! is made only when a client logs in fails in front of the user. Rule: upstreams ask a
//! [`TokenSource`]; one token per role and mailbox lives in memory, is refreshed ahead of its
//! expiry by one request at a time, and a failure is remembered for as long as it backs off.
//! [`microsoft`] and [`fn@google`] build the sources; [`HttpClient`] is shared with Graph.

mod accounts;
mod answer;
mod assertion;
mod client_credentials;
mod delegated;
pub mod entra_error;
mod entry;
mod expiry;
#[cfg(test)]
mod fake_endpoint;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod google;
mod google_error;
mod google_key;
mod http;
mod key_file;
pub mod msal;
mod permissions;
mod public_app;
mod quote;
pub mod sign_in;
mod signed_in;
mod subject;
mod tokens;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;

pub use accounts::{AccountStatus, Accounts, INACTIVITY, Imported, Kept};
pub use answer::Granted;
pub use expiry::{Ending, Expiry, WARN_BEFORE};
#[cfg(test)]
pub(crate) use google_error::explained as google_explained;
pub use http::{HttpClient, USER_AGENT, retry_after};
pub use permissions::Permissions;
pub use public_app::{PublicApp, Service};
pub(crate) use quote::quote;
pub use subject::Subject;
pub use tokens::{Grant, Tokens};

use crate::config::{GoogleAccount, Microsoft365, MicrosoftApp};
use crate::secret::Secret;

/// The source of tokens for a Microsoft 365 mailbox. A public application's come from `accounts`.
pub fn microsoft(
    account: &Microsoft365,
    service: Service,
    http: &HttpClient,
    role: &str,
    accounts: &Accounts,
) -> Result<Arc<dyn TokenSource>, Error> {
    match &account.app {
        MicrosoftApp::Confidential { credential, user } => {
            let resource = service.resource(account.cloud);
            let grant = client_credentials::ClientCredentials::new(
                account, credential, user, resource, http, role,
            )?;
            Ok(Arc::new(Tokens::new(role, grant)))
        }
        MicrosoftApp::Public { redirect_uri, account: name } => {
            let app = PublicApp {
                client_id: account.client_id.clone(),
                tenant_id: account.tenant_id.clone(),
                authority_url: account.authority_url.clone(),
                cloud: account.cloud,
                redirect_uri: redirect_uri.clone(),
            };
            let grant = signed_in::SignedInUser::new(role, app, name, service, accounts);
            Ok(Arc::new(Tokens::new(role, grant)))
        }
    }
}

/// The source of tokens for a Google mailbox.
pub fn google(
    account: &GoogleAccount,
    http: &HttpClient,
    role: &str,
) -> Result<Arc<dyn TokenSource>, Error> {
    let grant = google::ServiceAccount::new(account, http, role)?;
    Ok(Arc::new(Tokens::new(role, grant)))
}

/// Gives access tokens to upstreams. Answers from memory whenever it can.
pub trait TokenSource: Send + Sync {
    /// A token for the mailbox that `login` stands for (`None`: an anonymous SMTP client).
    fn token<'a>(
        &'a self,
        login: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Arc<AccessToken>, Error>>;

    /// A newer token than `rejected`, which the service has refused. However many sessions report
    /// the same one, it is replaced once.
    fn replace<'a>(
        &'a self,
        login: Option<&'a str>,
        rejected: &'a AccessToken,
    ) -> BoxFuture<'a, Result<Arc<AccessToken>, Error>>;

    /// What is known about each subject, for metrics and the web page.
    fn snapshot(&self) -> Vec<SubjectStatus> {
        Vec::new()
    }

    /// Which of the role's credentials end on a day that is known.
    fn expiries(&self) -> Vec<Expiry> {
        Vec::new()
    }
}

/// How one subject's tokens fare.
#[derive(Clone, Debug)]
pub struct SubjectStatus {
    /// The mailbox, or the application whose token serves all its mailboxes.
    pub subject: String,
    /// Until when the token in memory works.
    pub expires_at: Option<SystemTime>,
    /// When a token was last issued.
    pub last_success: Option<SystemTime>,
    /// When and why it last failed.
    pub last_failure: Option<(SystemTime, Error)>,
}

/// A bearer token (RFC 6750) and what it is for.
#[derive(Debug)]
pub struct AccessToken {
    /// The token.
    pub secret: Secret,
    /// The mailbox: `user=` of XOAUTH2, `/users/{user}` of Graph.
    pub user: String,
    /// When it stops working.
    pub expires_at: SystemTime,
}

/// Why there is no token.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    /// Who must act.
    pub fault: Fault,
    /// What failed, for which role, what to do and where: for the log, `check` and the web page.
    /// Never holds a secret.
    pub text: String,
    /// The provider's own code, such as `AADSTS7000215` or `unauthorized_client`.
    pub code: Option<String>,
    /// How long the provider asks us to wait.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// A failure that passes by itself.
    pub fn passing(text: impl Into<String>) -> Self {
        Self { fault: Fault::Passing, text: text.into(), code: None, retry_after: None }
    }

    /// A failure that a person must put right.
    pub fn person(text: impl Into<String>) -> Self {
        Self { fault: Fault::Person, ..Self::passing(text) }
    }

    /// The same failure, naming the role that met it.
    fn of_role(self, role: &str) -> Self {
        Self { text: format!("{role}: {}", self.text), ..self }
    }
}

/// Who must act before a token request can succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody: network, throttling, a failure of the provider. Try again later.
    Passing,
    /// A person: credentials, consent, policy, configuration.
    Person,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_prints_its_text_and_a_token_prints_no_secret() {
        let error = Error::person("wrong").of_role("Mail.Sending");
        assert_eq!(
            (error.to_string().as_str(), error.fault),
            ("Mail.Sending: wrong", Fault::Person)
        );
        let token = AccessToken {
            secret: Secret::new("t0ken"),
            user: "jo@example.com".to_owned(),
            expires_at: SystemTime::UNIX_EPOCH,
        };
        assert!(!format!("{token:?}").contains("t0ken"));
    }
}
