//! How a role logs in upstream, and what a refusal means.
//!
//! Danger: a token that died an hour early looks like a missing permission, a refused token asked
//! for anew at each login gets the application locked out, and a password sent in the clear is
//! everybody's. Rule: a refused token is replaced once, then a person is asked; a token never
//! crosses a network without TLS; the service's own words are explained.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::connect::{Dialogue, Failure, Service};
use super::token_failure::token_failure;
use crate::config::{ServerAuth, Template};
use crate::mail::{self, Kind, SmtpReply};
use crate::oauth::{AccessToken, TokenSource};
use crate::protocol::sasl;
use crate::secret::Secret;

/// Shortest password that is looked for in a service's words.
const MIN_SCRUBBED: usize = 4;

/// How a role logs in.
#[derive(Clone)]
pub enum Login {
    /// Not at all.
    None,
    /// With a password.
    Basic {
        /// The login; may hold `{login}`.
        login: Template,
        /// The password.
        password: Secret,
    },
    /// With an access token.
    Xoauth2 {
        /// Where tokens come from.
        tokens: Arc<dyn TokenSource>,
        /// Exchange Online accepts a token for a mailbox that it then refuses to open; ask once
        /// more before the client hears OK.
        probe: bool,
    },
}

/// A service at which one attempt to log in can be made.
pub(super) trait Attempt: Sync {
    /// What a success yields.
    type Session: Send;

    /// Connects and logs in, once.
    fn attempt(
        &self,
        credentials: &Credentials<'_>,
    ) -> impl Future<Output = Result<Self::Session, SignIn>> + Send;
}

impl Login {
    /// The login that the configuration asks for; `None` when it needs tokens and there are none.
    pub fn new(auth: &ServerAuth, tokens: Option<Arc<dyn TokenSource>>) -> Option<Self> {
        match auth {
            ServerAuth::None => Some(Self::None),
            ServerAuth::Basic { login, password } => {
                Some(Self::Basic { login: login.clone(), password: password.clone() })
            }
            ServerAuth::Google(_) => Some(Self::Xoauth2 { tokens: tokens?, probe: false }),
            ServerAuth::Microsoft(_) => Some(Self::Xoauth2 { tokens: tokens?, probe: true }),
        }
    }

    /// True when the mailbox must be probed after login.
    pub(super) fn probes(&self) -> bool {
        matches!(self, Self::Xoauth2 { probe: true, .. })
    }

    /// What to log in with for the client `login`.
    pub(super) async fn credentials(
        &self,
        role: &str,
        client: Option<&str>,
    ) -> Result<Credentials<'_>, mail::Error> {
        match self {
            Self::None => Ok(Credentials::None),
            Self::Basic { login, password } => match login.resolve(client) {
                Some(login) => Ok(Credentials::Password { login, password }),
                None => Err(needs_login(role)),
            },
            Self::Xoauth2 { tokens, .. } => {
                let token = tokens.token(client).await;
                token.map(Credentials::Token).map_err(|error| token_failure(role, error))
            }
        }
    }

    /// Logs in; a refused token is replaced and tried once more, never twice.
    pub(super) async fn sign_in<A: Attempt>(
        &self,
        upstream: &A,
        role: &str,
        client: Option<&str>,
        credentials: Credentials<'_>,
    ) -> Result<A::Session, mail::Error> {
        let outcome = match upstream.attempt(&credentials).await {
            Err(refused) if refused.newer_may_help() => {
                let newer = self.newer(role, client, credentials).await?;
                upstream.attempt(&newer).await
            }
            outcome => outcome,
        };
        outcome.map_err(SignIn::into_error)
    }

    /// What to log in with after the service has refused `refused`.
    async fn newer(
        &self,
        role: &str,
        client: Option<&str>,
        refused: Credentials<'_>,
    ) -> Result<Credentials<'_>, mail::Error> {
        let (Self::Xoauth2 { tokens, .. }, Credentials::Token(token)) = (self, &refused) else {
            return self.credentials(role, client).await;
        };
        tracing::info!(role, "the service refused the access token; asking for a new one, once");
        let newer = tokens.replace(client, token).await;
        newer.map(Credentials::Token).map_err(|error| token_failure(role, error))
    }
}

fn needs_login(role: &str) -> mail::Error {
    let text = format!(
        "{role}: its Login contains {{login}}, so it serves only clients that log in to the proxy; \
         this one did not"
    );
    let reply = SmtpReply::new(550, (5, 7, 1), "This sender must log in first");
    mail::Error::new(Kind::NotPermitted, text).with_reply(reply)
}

/// What one login upstream uses.
pub(super) enum Credentials<'a> {
    /// Nothing.
    None,
    /// A password.
    Password {
        /// The login.
        login: String,
        /// The password.
        password: &'a Secret,
    },
    /// A token; it names its mailbox.
    Token(Arc<AccessToken>),
}

impl Credentials<'_> {
    /// Names the mailbox: connections with equal keys are interchangeable.
    pub fn key(&self) -> &str {
        match self {
            Self::None => "",
            Self::Password { login, .. } => login,
            Self::Token(token) => &token.user,
        }
    }

    /// Refuses to send a token where others can read it; a password is the user's own decision
    /// (`UseSsl` False with `BasicAuth`), so it is sent after one warning.
    pub fn check_privacy(
        &self,
        service: &Service,
        dialogue: &Dialogue,
        warned: &AtomicBool,
    ) -> Result<(), mail::Error> {
        if dialogue.is_private() {
            return Ok(());
        }
        match self {
            Self::None => Ok(()),
            Self::Password { .. } => {
                if !warned.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        role = service.role,
                        host = %service.host,
                        "the password crosses the network unencrypted; set UseSsl = True"
                    );
                }
                Ok(())
            }
            Self::Token(_) => {
                let words = "is reached without TLS, and an access token is not sent that way; set \
                             UseSsl = True";
                Err(service.error(Kind::SignInNeeded, words))
            }
        }
    }
}

/// Why a login did not work.
pub(super) enum SignIn {
    /// The dialogue failed, or something else than the login is wrong.
    Failed(mail::Error),
    /// The service does not accept token or password.
    Refused {
        /// What to tell when nothing more is tried.
        error: mail::Error,
        /// True when a newer token may be accepted.
        newer_may_help: bool,
    },
}

impl SignIn {
    /// What to tell when nothing more is tried.
    pub fn into_error(self) -> mail::Error {
        match self {
            Self::Failed(error) | Self::Refused { error, .. } => error,
        }
    }

    /// The same without the password, should the service have repeated it. (Tokens never get this
    /// far: see `connect::printable`.)
    pub fn without(mut self, credentials: &Credentials<'_>) -> Self {
        if let Credentials::Password { login, password } = credentials {
            let plain = sasl::encode_plain(login, password);
            let (Self::Failed(error) | Self::Refused { error, .. }) = &mut self;
            for secret in [Some(*password), plain.as_ref()].into_iter().flatten() {
                // Shorter ones would be found inside ordinary words.
                if secret.expose().len() >= MIN_SCRUBBED {
                    error.text = error.text.replace(secret.expose(), "[removed]");
                }
            }
        }
        self
    }

    /// True when the login may be tried again with a newer token.
    pub fn newer_may_help(&self) -> bool {
        matches!(self, Self::Refused { newer_may_help: true, .. })
    }
}

impl From<mail::Error> for SignIn {
    fn from(error: mail::Error) -> Self {
        Self::Failed(error)
    }
}

/// A failure of the dialogue during login.
pub(super) fn broken(service: &Service) -> impl Fn(Failure) -> SignIn {
    |failure| SignIn::Failed(service.unavailable(&failure))
}

/// The base64 of an XOAUTH2 message.
pub(super) fn xoauth2_blob(service: &Service, token: &AccessToken) -> Result<Secret, mail::Error> {
    sasl::encode_xoauth2(&token.user, &token.secret).ok_or_else(|| {
        let words = "cannot be logged in to: the mailbox's name contains a control character";
        service.error(Kind::SignInNeeded, words)
    })
}

/// The base64 of a PLAIN message.
pub(super) fn plain_blob(
    service: &Service,
    login: &str,
    password: &Secret,
) -> Result<Secret, mail::Error> {
    sasl::encode_plain(login, password).ok_or_else(|| {
        let words = "cannot be logged in to: Login or Password contain a NUL";
        service.error(Kind::SignInNeeded, words)
    })
}

/// Explains the error challenge of XOAUTH2: base64 of JSON whose `status` is an HTTP status
/// (facts/google-oauth.md section 3). `None` when it is something else.
pub(super) fn explain_challenge(challenge: &str) -> Option<&'static str> {
    let json = STANDARD.decode(challenge.trim()).ok()?;
    let value: serde_json::Value = serde_json::from_slice(&json).ok()?;
    let status = value.get("status")?;
    let status = status.as_str().map_or_else(|| status.to_string(), str::to_owned);
    CHALLENGES.iter().find(|(known, _)| *known == status).map(|(_, words)| *words)
}

/// The statuses that mean something.
const CHALLENGES: &[(&str, &str)] = &[
    (
        "400",
        "status 400: token and mailbox do not belong together; check GsuiteUser (or AccountName, \
         UserObjectId), which must be the mailbox that the token is for",
    ),
    (
        "401",
        "status 401: the token has expired or lacks the right to this mailbox; check the scope in \
         the domain-wide delegation (Google: https://mail.google.com/) or the application's \
         permissions and the mailbox permission (Microsoft)",
    ),
];

/// Every status with its words: for the table in `docs/CHECK.md`.
#[cfg(test)]
pub(crate) fn explained() -> &'static [(&'static str, &'static str)] {
    CHALLENGES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_explained_by_status() {
        let encode = |text: &str| STANDARD.encode(text);
        for (challenge, expected) in [
            (encode(r#"{"status":"400","schemes":"Bearer","scope":"x"}"#), Some("status 400")),
            (encode(r#"{"status":"401","schemes":"bearer mac"}"#), Some("status 401")),
            (encode(r#"{"status":401}"#), Some("status 401")),
            (encode(r#"{"status":"500"}"#), None),
            (encode("no json"), None),
            ("%%%".to_owned(), None),
            (String::new(), None),
        ] {
            let words = explain_challenge(&challenge).map(|words| &words[..10]);
            assert_eq!(words, expected, "{challenge}");
        }
    }

    #[test]
    fn a_password_that_the_service_repeats_is_taken_out() {
        let password = Secret::new("hunter2!");
        let credentials = Credentials::Password { login: "jo".to_owned(), password: &password };
        let blob = sasl::encode_plain("jo", &password).expect("no NUL");
        let text = format!("BAD LOGIN jo hunter2! or {}", blob.expose());
        let refused = SignIn::Refused {
            error: mail::Error::new(Kind::SignInNeeded, text.clone()),
            newer_may_help: false,
        };
        for sign_in in [refused, mail::Error::new(Kind::Unavailable, text).into()] {
            let error = sign_in.without(&credentials).into_error();
            assert_eq!(error.text, "BAD LOGIN jo [removed] or [removed]");
        }
    }

    #[tokio::test]
    async fn a_template_needs_a_client_that_logged_in() {
        let login = Login::Basic { login: Template::new("{login}"), password: "x".into() };
        let resolved = login.credentials("Mail.Sending", Some("jane@example.com")).await;
        assert_eq!(resolved.expect("resolved").key(), "jane@example.com");
        let error = login.credentials("Mail.Sending", None).await.err().expect("refused");
        assert_eq!(error.kind, Kind::NotPermitted);
        assert!(error.text.starts_with("Mail.Sending"), "{}", error.text);
    }

    #[test]
    fn tokens_are_needed_where_the_configuration_says_so() {
        assert!(matches!(Login::new(&ServerAuth::None, None), Some(Login::None)));
        let basic = ServerAuth::Basic { login: Template::new("a"), password: "b".into() };
        assert!(matches!(Login::new(&basic, None), Some(Login::Basic { .. })));
        let google = ServerAuth::Google(crate::config::GoogleAccount {
            key_file: "key.json".into(),
            key_password: "notasecret".into(),
            service_account: "s@example.iam".to_owned(),
            user: Template::new("u@example.com"),
            token_url: None,
        });
        assert!(Login::new(&google, None).is_none());
    }
}
