//! Logging in to a POP3 service, after which bytes pass through.
//!
//! Danger: a session that ends in `-ERR` for a busy maildrop looks like a wrong password. Rule: the
//! response codes of RFC 2449 and RFC 3206 decide; what has none is a refused login. Strings with a
//! line break in them are never sent. Nothing is parsed after login.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use zeroize::Zeroizing;

use super::connect::{Dialogue, Failure, Service, printable, within};
use super::login::{Attempt, Credentials, Login, SignIn, broken, explain_challenge, xoauth2_blob};
use crate::config::{MailServer, Security};
use crate::mail::{self, Kind, Opened, Protocol, Relay};
use crate::secret::Secret;
use crate::tls::ClientTls;

/// How long the service may take for one answer before login is complete. Opening a large maildrop
/// takes time; mail programs give up after a minute or two.
const ANSWER: Duration = Duration::from_secs(60);

/// Longest line, in octets; RFC 2449 section 4 says 512.
const MAX_LINE: usize = 4096;

/// Most capabilities.
const MAX_CAPABILITIES: usize = 100;

/// A receiving role that is a POP3 service.
pub struct Pop3Upstream {
    service: Service,
    login: Login,
    warned: AtomicBool,
}

impl Pop3Upstream {
    /// The service of role `role`.
    pub fn new(role: &str, server: &MailServer, login: Login, tls: ClientTls) -> Self {
        Self { service: Service::new(role, server, tls), login, warned: AtomicBool::new(false) }
    }

    async fn log_in(&self, client: &str) -> Result<Opened, mail::Error> {
        let (role, client) = (self.service.role.as_str(), Some(client));
        let credentials = self.login.credentials(role, client).await?;
        self.login.sign_in(self, role, client, credentials).await.map(Opened::Relay)
    }

    /// Logs in over a connection that has said nothing yet.
    pub(super) async fn log_in_over(
        &self,
        dialogue: Dialogue,
        credentials: &Credentials<'_>,
    ) -> Result<Relay, SignIn> {
        let (service, broken) = (&self.service, broken(&self.service));
        let mut session = Session { dialogue };
        session.greeting(service).await?;
        if service.security == Security::StartTls {
            session = session.start_tls(service).await?;
        }
        credentials.check_privacy(service, &session.dialogue, &self.warned)?;
        let login = session.authenticate(service, credentials).await;
        login.map_err(|refused| refused.without(credentials))?;
        let capabilities = session.capabilities().await.map_err(&broken)?;
        tracing::debug!(role = service.role, host = %service.host, "POP3 maildrop open");
        let (stream, early) = session.dialogue.into_parts();
        Ok(Relay { stream, capabilities, early })
    }
}

impl Attempt for Pop3Upstream {
    type Session = Relay;

    async fn attempt(&self, credentials: &Credentials<'_>) -> Result<Relay, SignIn> {
        let dialogue = self.service.connect().await.map_err(broken(&self.service))?;
        self.log_in_over(dialogue, credentials).await
    }
}

impl mail::Upstream for Pop3Upstream {
    fn open<'a>(
        &'a self,
        login: &'a str,
        protocol: Protocol,
    ) -> BoxFuture<'a, Result<Opened, mail::Error>> {
        async move {
            match protocol {
                Protocol::Pop3 => self.log_in(login).await,
                Protocol::Imap => {
                    let words = format!(
                        "{} reads by POP3; point the application at the POP3 listener",
                        self.service.role
                    );
                    Err(mail::Error::new(Kind::Unsupported, words))
                }
            }
        }
        .boxed()
    }
}

/// A connection before the relay.
struct Session {
    dialogue: Dialogue,
}

/// A status line (RFC 1939 section 3), or a continuation (RFC 5034 section 4).
enum Answer {
    Ok,
    Err(String),
    Continue(String),
}

impl Session {
    async fn greeting(&mut self, service: &Service) -> Result<(), SignIn> {
        match self.answer().await {
            Ok(Answer::Ok) => Ok(()),
            Ok(Answer::Err(text)) => Err(refused(service, "the connection", &text, None)),
            Ok(Answer::Continue(_)) => {
                Err(broken(service)(Failure::Malformed("no POP3 greeting".to_owned())))
            }
            Err(Failure::Silent(_)) if service.security != Security::Implicit => {
                let words = "sent no greeting; if the port begins with TLS, as 995 does, set \
                             UseSSL = True and TlsMode = Implicit";
                Err(service.error(Kind::Unavailable, words).into())
            }
            Err(failure) => Err(broken(service)(failure)),
        }
    }

    /// RFC 2595 section 4. Whoever strips the offer gets no login.
    async fn start_tls(mut self, service: &Service) -> Result<Self, SignIn> {
        let broken = broken(service);
        match self.command("STLS").await.map_err(&broken)? {
            Answer::Ok => {
                let dialogue = service.start_tls(self.dialogue).await.map_err(&broken)?;
                Ok(Self { dialogue })
            }
            _ => Err(broken(Failure::NoStartTls("STLS"))),
        }
    }

    async fn authenticate(
        &mut self,
        service: &Service,
        credentials: &Credentials<'_>,
    ) -> Result<(), SignIn> {
        match credentials {
            Credentials::None => {
                Err(service.error(Kind::SignInNeeded, "needs a Login and Password").into())
            }
            Credentials::Token(token) => {
                let blob = xoauth2_blob(service, token)?;
                self.by_xoauth2(service, &blob).await
            }
            Credentials::Password { login, password } => {
                self.by_password(service, login, password).await
            }
        }
    }

    /// In two steps: Exchange knows no other form, and a token is longer than a line may be.
    async fn by_xoauth2(&mut self, service: &Service, blob: &Secret) -> Result<(), SignIn> {
        let broken = broken(service);
        let mut answer = self.command("AUTH XOAUTH2").await.map_err(&broken)?;
        if let Answer::Continue(_) = answer {
            answer = self.command(blob.expose()).await.map_err(&broken)?;
        } else if let Answer::Ok = answer {
            return Err(broken(Failure::Malformed("+OK before it had the token".to_owned())));
        }
        let mut challenge = None;
        if let Answer::Continue(text) = answer {
            challenge = Some(text);
            answer = self.command("").await.map_err(&broken)?;
        }
        match answer {
            Answer::Ok if challenge.is_none() => Ok(()),
            Answer::Err(text) => Err(refused(service, "XOAUTH2", &text, challenge.as_deref())),
            _ => Err(broken(Failure::Malformed("an answer that is none to AUTH".to_owned()))),
        }
    }

    /// USER and PASS; the rest of the line is the password, blanks included (RFC 1939 section 7).
    async fn by_password(
        &mut self,
        service: &Service,
        login: &str,
        password: &Secret,
    ) -> Result<(), SignIn> {
        if login.chars().chain(password.expose().chars()).any(|c| matches!(c, '\r' | '\n' | '\0')) {
            let words = "cannot be logged in to: Login or Password contain a line break or NUL";
            return Err(service.error(Kind::SignInNeeded, words).into());
        }
        for (verb, text) in [("USER", login), ("PASS", password.expose())] {
            let line = Zeroizing::new(format!("{verb} {text}"));
            match self.command(&line).await.map_err(broken(service))? {
                Answer::Ok => {}
                Answer::Err(text) => return Err(refused(service, "PASS", &text, None)),
                Answer::Continue(_) => {
                    let words = format!("a challenge in answer to {verb}");
                    return Err(broken(service)(Failure::Malformed(words)));
                }
            }
        }
        Ok(())
    }

    /// CAPA after login (RFC 2449 section 5); a service without it has none.
    async fn capabilities(&mut self) -> Result<Vec<String>, Failure> {
        let mut capabilities = Vec::new();
        if !matches!(self.command("CAPA").await?, Answer::Ok) {
            return Ok(capabilities);
        }
        loop {
            let line = within(ANSWER, self.dialogue.line(MAX_LINE)).await?;
            if line.as_ref() == b"." {
                return Ok(capabilities);
            }
            if capabilities.len() == MAX_CAPABILITIES {
                let words = format!("more than {MAX_CAPABILITIES} capabilities");
                return Err(Failure::Malformed(words));
            }
            capabilities.push(printable(&line));
        }
    }

    async fn command(&mut self, text: &str) -> Result<Answer, Failure> {
        let line = Zeroizing::new(format!("{text}\r\n"));
        within(ANSWER, self.dialogue.send(line.as_bytes())).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> Result<Answer, Failure> {
        let line = within(ANSWER, self.dialogue.line(MAX_LINE)).await?;
        if line.starts_with(b"+OK") {
            return Ok(Answer::Ok);
        }
        if let Some(text) = line.strip_prefix(b"-ERR") {
            return Ok(Answer::Err(printable(text.trim_ascii())));
        }
        match line.strip_prefix(b"+") {
            Some(text) => {
                Ok(Answer::Continue(String::from_utf8_lossy(text.trim_ascii()).into_owned()))
            }
            None => {
                let words = format!("something that is no POP3 ({})", printable(&line));
                Err(Failure::Malformed(words))
            }
        }
    }
}

/// Sorts a refusal by its response code, or by what Exchange writes instead of one.
fn refused(service: &Service, what: &str, text: &str, challenge: Option<&str>) -> SignIn {
    let kind = refusal_kind(what, text);
    let mut words = match (kind, what) {
        (Kind::SignInNeeded, "PASS") => format!(
            "the upstream does not accept the login and password of role {}: {text}; check Login \
             and Password",
            service.role
        ),
        (Kind::SignInNeeded, _) => format!(
            "does not accept the login ({what}): {text}; check that POP3 is on for the mailbox, \
             that it is the one that GsuiteUser (Google), AccountName or UserObjectId (Microsoft) \
             names, and the right to it (Exchange: the permission POP.AccessAsApp and \
             Add-MailboxPermission -AccessRights FullAccess)"
        ),
        _ => format!("answered {what} with {text}"),
    };
    if text.to_ascii_uppercase().starts_with("[IN-USE]") {
        words.push_str("; another program has the maildrop open");
    }
    if let Some(explained) = challenge.and_then(explain_challenge) {
        words.push_str("; ");
        words.push_str(explained);
    }
    let newer_may_help = kind == Kind::SignInNeeded && what == "XOAUTH2";
    SignIn::Refused { error: service.error(kind, words), newer_may_help }
}

fn refusal_kind(what: &str, text: &str) -> Kind {
    let text = text.to_ascii_uppercase();
    let code = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(code, _)| code);
    let busy = text.contains("TOO MANY") || text.contains("BANDWIDTH LIMIT");
    match code {
        Some("LOGIN-DELAY") => Kind::Throttled { retry_after: None },
        Some("IN-USE" | "SYS/TEMP") => Kind::Unavailable,
        Some("SYS/PERM") => Kind::NotPermitted,
        Some("AUTH") if !busy => Kind::SignInNeeded,
        _ if busy => Kind::Throttled { retry_after: None },
        _ if text.contains("UNAVAILABLE") || what == "the connection" => Kind::Unavailable,
        _ => Kind::SignInNeeded,
    }
}

#[cfg(test)]
mod tests;
