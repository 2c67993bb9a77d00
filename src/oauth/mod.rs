//! Access tokens: one file per grant, one cache in front of them.
//!
//! Danger: a token request per login gets an application locked out by its provider, and one that
//! is made only when a client logs in fails in front of the user. Rule: upstreams ask a
//! [`TokenSource`]; one token per role and mailbox lives in memory, is refreshed ahead of its
//! expiry by one request at a time, and a failure is remembered for as long as it backs off.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;

use crate::secret::Secret;

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

/// Who must act before a token request can succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody: network, throttling, a failure of the provider. Try again later.
    Passing,
    /// A person: credentials, consent, policy, configuration.
    Person,
}
