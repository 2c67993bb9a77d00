//! Authorization code with PKCE (RFC 6749 section 4.1, RFC 7636, RFC 8252).
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow>
//!
//! Danger: the page's address and the one the browser ends at are all that a thief would need. Rule:
//! `state` and verifier have 256 bits each and leave this process only where the protocol says so,
//! the redirect address sent for the token is the very text sent for the code, and an attempt that
//! is dropped listens no more.

use std::sync::Arc;
use std::time::Duration;

use oauth2::{CsrfToken, PkceCodeChallenge};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::attempt::{Answer, Attempt};
use super::loopback::{Listener, Sockets};
use super::page::Page;
use super::redeem::Redemption;
use super::redirect::Redirect;
use super::scopes::{self, Resource};
use super::{Paster, Progress, SignedIn, Wanted};
use crate::oauth::{Accounts, Error};
use crate::secret::Secret;

/// How long a person may take: a second factor, a forgotten password. A code lives as long.
const TIME_LIMIT: Duration = Duration::from_secs(600);

/// 256 bits.
const STATE_BYTES: u32 = 32;

/// A sign-in in a browser, waiting for its end.
pub struct BrowserSignIn {
    accounts: Accounts,
    wanted: Wanted,
    resources: Vec<Resource>,
    url: String,
    redirect_uri: String,
    verifier: Secret,
    attempt: Arc<Attempt>,
    answer: oneshot::Receiver<Answer>,
    listener: Option<Listener>,
    deadline: Instant,
    progress: watch::Sender<Progress>,
}

impl BrowserSignIn {
    /// Listens where `RedirectUri` says (when that is this machine) and makes the page's address.
    pub async fn begin(accounts: &Accounts, wanted: Wanted) -> Result<Self, Error> {
        let resources = scopes::of_sign_in(&wanted)?;
        let (redirect_uri, place) = listen(&wanted).await?;
        let state = Secret::new(CsrfToken::new_random_len(STATE_BYTES).into_secret());
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let claims = match &wanted.account {
            Some(account) => accounts.wanted_claims(account).await,
            None => None,
        };
        let url = page_address(
            &wanted,
            &[
                ("client_id", wanted.app.client_id.as_str()),
                ("response_type", "code"),
                ("redirect_uri", &redirect_uri),
                ("response_mode", "query"),
                ("scope", &scopes::for_consent(&resources)),
                ("state", state.expose()),
                ("code_challenge", challenge.as_str()),
                ("code_challenge_method", challenge.method().as_str()),
                ("client_info", "1"),
            ],
            claims.as_deref(),
        )?;
        let (attempt, answer) = Attempt::new(wanted.role(), state);
        let listener = place.map(|(sockets, path)| sockets.serve(&path, Arc::clone(&attempt)));
        Ok(Self {
            accounts: accounts.clone(),
            wanted,
            resources,
            url,
            redirect_uri,
            verifier: Secret::new(verifier.into_secret()),
            attempt,
            answer,
            listener,
            deadline: Instant::now() + TIME_LIMIT,
            progress: watch::Sender::new(Progress::Waiting),
        })
    }

    /// The page to open.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// True when the browser comes back to this process by itself, if it runs on this machine.
    pub fn comes_back(&self) -> bool {
        self.listener.is_some()
    }

    /// For the address at which the browser has ended.
    pub fn paster(&self) -> Paster {
        Paster::new(&self.attempt)
    }

    /// How far it is.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Waits for the person, at most ten minutes; redeems, checks, stores.
    pub async fn finish(mut self) -> Result<SignedIn, Error> {
        let outcome = self.complete().await;
        if let Some(listener) = self.listener.take() {
            let page = match &outcome {
                Ok(signed_in) => Page::signed_in(&signed_in.username),
                Err(error) => Page::failed(&error.text),
            };
            listener.close(page).await;
        }
        outcome
    }

    async fn complete(&mut self) -> Result<SignedIn, Error> {
        let code = match timeout_at(self.deadline, &mut self.answer).await {
            Ok(Ok(answer)) => answer?,
            Ok(Err(_)) | Err(_) => {
                return Err(self.wanted.person(format_args!(
                    "nobody has finished the sign-in within {} minutes: start it again",
                    TIME_LIMIT.as_secs() / 60
                )));
            }
        };
        let redemption = Redemption {
            accounts: &self.accounts,
            wanted: &self.wanted,
            resources: &self.resources,
            progress: &self.progress,
        };
        redemption.code(&code, &self.redirect_uri, &self.verifier).await
    }
}

/// The redirect address to send and, on this machine, the sockets and the path it names.
async fn listen(wanted: &Wanted) -> Result<(String, Option<(Sockets, String)>), Error> {
    let redirect = Redirect::of(&wanted.app.redirect_uri);
    let loopback = match redirect.map_err(|problem| wanted.person(problem))? {
        Redirect::Elsewhere(address) => return Ok((address, None)),
        Redirect::Loopback(loopback) => loopback,
    };
    let sockets = Sockets::bind(&loopback).await.map_err(|error| {
        wanted.person(format_args!(
            "the sign-in can't listen on this machine for the browser's return ({error}): see what \
             forbids it (a firewall, a security program), or sign in with a device code"
        ))
    })?;
    let path = loopback.path().to_owned();
    Ok((loopback.address(sockets.port), Some((sockets, path))))
}

/// The page on which the person signs in.
fn page_address(
    wanted: &Wanted,
    parameters: &[(&str, &str)],
    claims: Option<&str>,
) -> Result<String, Error> {
    let mut url = wanted.endpoint("authorize")?;
    let mut query = url.query_pairs_mut();
    query.extend_pairs(parameters);
    match &wanted.account {
        Some(account) => query.append_pair("login_hint", account),
        // Else the browser's own account would be taken without a question.
        None => query.append_pair("prompt", "select_account"),
    };
    if let Some(claims) = claims {
        query.append_pair("claims", claims);
    }
    drop(query);
    Ok(url.into())
}

/// Shows neither the page's address, which holds `state`, nor the verifier.
impl std::fmt::Debug for BrowserSignIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BrowserSignIn")
            .field("wanted", &self.wanted)
            .field("comes_back", &self.comes_back())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
