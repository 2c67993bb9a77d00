//! Device code (RFC 8628): the person signs in on another machine.
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-device-code>
//!
//! Danger: polling too often gets the application locked out, and one lost packet must not cost a
//! person who is about to enter the code. Rule: the provider's interval holds and grows when it or
//! the network asks for it; only an answer that ends the sign-in ends it, or the code's own end.

use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::StatusCode;
use oauth2::url::form_urlencoded;
use reqwest::Url;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::redeem::{Issued, Redemption};
use super::scopes::{self, Resource};
use super::{Progress, SignedIn, Wanted};
use crate::oauth::delegated::{Refused, ask};
use crate::oauth::http::Answer;
use crate::oauth::{Accounts, Error, Fault, entra_error};
use crate::secret::Secret;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// RFC 8628 section 3.2: when the provider names none.
const DEFAULT_INTERVAL: u64 = 5;

/// RFC 8628 section 3.5: what `slow_down` adds.
const SLOW_DOWN: Duration = Duration::from_secs(5);

/// Longer would make the person wait in front of a finished sign-in.
const MAX_INTERVAL: Duration = Duration::from_secs(60);

/// Entra's codes live 15 minutes.
const DEFAULT_LIFE: u64 = 900;

/// No attempt runs longer, whatever the provider says.
const MAX_LIFE: u64 = 1800;

/// RFC 8628 section 6.1 advises eight characters or so; this goes onto a screen.
const MAX_USER_CODE: usize = 40;

/// Addresses are typed by hand.
const MAX_URI: usize = 200;

/// Codes by which organisations forbid device codes (authentication-flows policies among them).
const BLOCKED: &[&str] = &["AADSTS53003", "AADSTS530032", "AADSTS530036"];

/// A sign-in whose code has been issued.
pub struct DeviceSignIn {
    accounts: Accounts,
    wanted: Wanted,
    resources: Vec<Resource>,
    claims: Option<String>,
    issued: Code,
    deadline: Instant,
    expires_at: SystemTime,
    progress: watch::Sender<Progress>,
}

/// What the provider has given (RFC 8628 section 3.2), checked.
struct Code {
    device_code: Secret,
    user_code: String,
    verification_uri: String,
    life: Duration,
    interval: Duration,
}

/// As it comes.
#[derive(Deserialize)]
struct CodeAnswer {
    device_code: String,
    user_code: String,
    #[serde(alias = "verification_url")]
    verification_uri: String,
    #[serde(default)]
    expires_in: serde_json::Value,
    #[serde(default)]
    interval: serde_json::Value,
}

/// Whom the polls go to.
trait Endpoint: Sync {
    fn poll(&self) -> BoxFuture<'_, Result<Issued, Refused>>;
}

impl DeviceSignIn {
    /// Asks for a code. A code's token is of one resource, so it is asked for the first alone; the
    /// refresh token brings the others.
    pub async fn begin(accounts: &Accounts, wanted: Wanted) -> Result<Self, Error> {
        let resources = scopes::of_sign_in(&wanted)?;
        let scope = resources.first().map(Resource::of_code).unwrap_or_default();
        let url = wanted.endpoint("devicecode")?;
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", &wanted.app.client_id)
            .append_pair("scope", &scope)
            .finish();
        let answer = accounts.http().post_form(url, form.into_bytes()).await;
        let answer = answer.map_err(|error| error.of_role(wanted.role()))?;
        let issued = Code::read(&wanted, &answer)?;
        let claims = match &wanted.account {
            Some(account) => accounts.wanted_claims(account).await,
            None => None,
        };
        Ok(Self {
            accounts: accounts.clone(),
            wanted,
            resources,
            claims,
            deadline: Instant::now() + issued.life,
            expires_at: SystemTime::now() + issued.life,
            issued,
            progress: watch::Sender::new(Progress::Waiting),
        })
    }

    /// What the person enters.
    pub fn user_code(&self) -> &str {
        &self.issued.user_code
    }

    /// Where.
    pub fn verification_uri(&self) -> &str {
        &self.issued.verification_uri
    }

    /// Until when.
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// How far it is.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Polls until the person is done or the code has expired; checks, stores.
    pub async fn finish(self) -> Result<SignedIn, Error> {
        let tokens = wait(&self, self.wanted.role(), self.issued.interval, self.deadline).await?;
        self.progress.send_replace(Progress::Redeeming);
        let redemption = Redemption {
            accounts: &self.accounts,
            wanted: &self.wanted,
            resources: &self.resources,
            progress: &self.progress,
        };
        let outcome = redemption.tokens(tokens).await;
        outcome.map_err(|error| match error.code.as_deref() {
            // A device code asks for the consent of one resource only.
            Some("AADSTS65001") => {
                advised(error, "or sign in with the browser, which asks for all")
            }
            _ => error,
        })
    }
}

impl Endpoint for DeviceSignIn {
    fn poll(&self) -> BoxFuture<'_, Result<Issued, Refused>> {
        self.ask().boxed()
    }
}

impl DeviceSignIn {
    async fn ask(&self) -> Result<Issued, Refused> {
        let code = self.issued.device_code.expose();
        let mut form = vec![("grant_type", GRANT), ("device_code", code), ("client_info", "1")];
        if let Some(claims) = &self.claims {
            form.push(("claims", claims));
        }
        let asked_at = SystemTime::now();
        let (app, role) = (&self.wanted.app, self.wanted.role());
        match ask(self.accounts.http(), app, role, &form, &[code]).await {
            Ok(delegated) => Ok(Issued { delegated, asked_at }),
            Err(refused) => {
                if let (Some(claims), Some(owner)) = (&refused.claims, &self.wanted.account) {
                    self.accounts.want_claims(owner, &app.client_id, claims.clone()).await;
                }
                Err(refused)
            }
        }
    }
}

impl Code {
    fn read(wanted: &Wanted, answer: &Answer) -> Result<Self, Error> {
        if answer.status != StatusCode::OK {
            return Err(blocked(entra_error::explain(wanted.role(), answer, &[])));
        }
        let issued = serde_json::from_slice::<CodeAnswer>(&answer.body).ok().and_then(Self::of);
        issued.ok_or_else(|| {
            wanted.person(format_args!(
                "Microsoft's sign-in service answered the request for a device code with \
                 something that is none ({}): check Microsoft365.AuthorityUrl, and any proxy in \
                 between",
                answer.media_type()
            ))
        })
    }

    /// `None` when it could not be shown or used.
    fn of(answer: CodeAnswer) -> Option<Self> {
        let CodeAnswer { device_code, user_code, verification_uri, expires_in, interval } = answer;
        let uri = Url::parse(&verification_uri).ok()?;
        let showable = |text: &str, max| {
            !text.is_empty()
                && text.len() <= max
                && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let usable = matches!(uri.scheme(), "https" | "http")
            && showable(&verification_uri, MAX_URI)
            && showable(&user_code, MAX_USER_CODE)
            && !device_code.is_empty();
        let life = seconds(&expires_in).unwrap_or(DEFAULT_LIFE).clamp(1, MAX_LIFE);
        let interval = seconds(&interval).unwrap_or(DEFAULT_INTERVAL).max(1);
        usable.then(|| Self {
            device_code: Secret::new(device_code),
            user_code,
            verification_uri,
            life: Duration::from_secs(life),
            interval: Duration::from_secs(interval).min(MAX_INTERVAL),
        })
    }
}

/// A number, also as text, as older endpoints write it.
fn seconds(value: &serde_json::Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// Polls until there are tokens, the provider says no, or the code has expired.
async fn wait(
    endpoint: &impl Endpoint,
    role: &str,
    mut interval: Duration,
    deadline: Instant,
) -> Result<Issued, Error> {
    let mut pause = interval;
    loop {
        let next = Instant::now() + pause;
        if next >= deadline {
            return Err(expired(role));
        }
        sleep_until(next).await;
        match endpoint.poll().await {
            Ok(issued) => return Ok(issued),
            Err(refused) => pause = judged(role, refused, &mut interval)?,
        }
    }
}

/// How long to wait before the next poll, or why there is none (RFC 8628 section 3.5).
fn judged(role: &str, refused: Refused, interval: &mut Duration) -> Result<Duration, Error> {
    let own = |text: &str| Error {
        text: format!("{role}: {text}"),
        fault: Fault::Person,
        ..refused.error.clone()
    };
    match refused.name.as_str() {
        "authorization_pending" => {}
        "slow_down" => *interval = (*interval + SLOW_DOWN).min(MAX_INTERVAL),
        "authorization_declined" | "access_denied" => {
            return Err(own("the sign-in was declined: start it again and accept what is asked"));
        }
        "expired_token" => return Err(expired(role)),
        "bad_verification_code" => {
            return Err(own(
                "Microsoft's sign-in service does not know this device code any more: \
                            start the sign-in again",
            ));
        }
        // RFC 8628 section 3.5: back off when the network or the service fails.
        _ if refused.error.fault == Fault::Passing => {
            *interval = (*interval * 2).min(MAX_INTERVAL);
        }
        _ => return Err(blocked(refused.error)),
    }
    Ok(refused.error.retry_after.unwrap_or_default().clamp(*interval, MAX_INTERVAL))
}

fn expired(role: &str) -> Error {
    Error::person(format!(
        "{role}: the device code has expired before the sign-in was finished: start it again"
    ))
}

/// Many organisations forbid device codes and allow the browser.
fn blocked(error: Error) -> Error {
    match error.code.as_deref() {
        Some(code) if BLOCKED.contains(&code) => advised(
            error,
            "if the organisation only forbids device codes, sign in with the browser instead",
        ),
        _ => error,
    }
}

fn advised(error: Error, advice: &str) -> Error {
    Error { text: format!("{}; {advice}", error.text), ..error }
}

/// Shows neither code.
impl std::fmt::Debug for DeviceSignIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceSignIn").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
