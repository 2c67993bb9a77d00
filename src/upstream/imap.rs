//! Logging in to an IMAP service, after which bytes pass through.
//!
//! Danger: Exchange answers OK to a token and then refuses the mailbox; a refused XOAUTH2 hangs
//! until its challenge is answered; a password with a quote in it ends the command early. Rule: the
//! client hears OK only when the mailbox answers; every challenge gets its empty line; strings that
//! a quoted string cannot hold go as literals (RFC 3501 section 4.3). Nothing is parsed after login.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use zeroize::Zeroizing;

use super::connect::{Dialogue, Failure, Service, printable, within};
use super::login::{
    Attempt, Credentials, Login, SignIn, broken, explain_challenge, plain_blob, xoauth2_blob,
};
use crate::config::{MailServer, Security};
use crate::mail::{self, Kind, Opened, Protocol, Relay};
use crate::secret::Secret;
use crate::tls::ClientTls;

/// How long the service may take for one answer before login is complete. Mail programs give up
/// after a minute or two.
const ANSWER: Duration = Duration::from_secs(60);

/// Longest response, in octets, literals included; a capability list has a few hundred.
const MAX_RESPONSE: usize = 16 << 10;

/// Longest literal that LITERAL- lets us send without waiting (RFC 7888 section 5).
const MAX_LITERAL_MINUS: usize = 4096;

/// A receiving role that is an IMAP service.
pub struct ImapUpstream {
    service: Service,
    login: Login,
    warned: AtomicBool,
}

impl ImapUpstream {
    /// The service of role `role`.
    pub fn new(role: &str, server: &MailServer, login: Login, tls: ClientTls) -> Self {
        Self { service: Service::new(role, server, tls), login, warned: AtomicBool::new(false) }
    }

    async fn log_in(&self, client: &str) -> Result<Opened, mail::Error> {
        let (role, client) = (self.service.role.as_str(), Some(client));
        let credentials = self.login.credentials(role, client).await?;
        let session = self.login.sign_in(self, role, client, credentials).await?;
        let (stream, early) = session.dialogue.into_parts();
        let capabilities = session.capabilities.unwrap_or_default();
        Ok(Opened::Relay(Relay { stream, capabilities, early }))
    }

    /// Logs in over a connection that has said nothing yet.
    pub(super) async fn log_in_over(
        &self,
        dialogue: Dialogue,
        credentials: &Credentials<'_>,
    ) -> Result<Session, SignIn> {
        let (service, broken) = (&self.service, broken(&self.service));
        let mut session = Session { dialogue, capabilities: None, tag: 0 };
        session.greeting(service).await?;
        if service.security == Security::StartTls {
            session = session.start_tls(service).await?;
        }
        credentials.check_privacy(service, &session.dialogue, &self.warned)?;
        session.learn_capabilities().await.map_err(&broken)?;
        let login = session.authenticate(service, credentials).await;
        login.map_err(|refused| refused.without(credentials))?;
        // Before any other command, which would be the one that Exchange refuses.
        if self.login.probes() {
            session.probe(service).await?;
        }
        session.learn_capabilities().await.map_err(&broken)?;
        tracing::debug!(role = service.role, host = %service.host, "IMAP mailbox open");
        Ok(session)
    }
}

impl Attempt for ImapUpstream {
    type Session = Session;

    async fn attempt(&self, credentials: &Credentials<'_>) -> Result<Session, SignIn> {
        let dialogue = self.service.connect().await.map_err(broken(&self.service))?;
        self.log_in_over(dialogue, credentials).await
    }
}

impl mail::Upstream for ImapUpstream {
    fn open<'a>(
        &'a self,
        login: &'a str,
        protocol: Protocol,
    ) -> BoxFuture<'a, Result<Opened, mail::Error>> {
        async move {
            match protocol {
                Protocol::Imap => self.log_in(login).await,
                Protocol::Pop3 => {
                    let words = format!(
                        "{} reads by IMAP; point the application at the IMAP listener",
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
pub(super) struct Session {
    dialogue: Dialogue,
    /// As last heard; `None` when what was heard is void.
    capabilities: Option<Vec<String>>,
    tag: u32,
}

/// How the service ended a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Ok,
    No,
    Bad,
    /// It closes the connection.
    Bye,
}

/// The end of a command: status, and the text with its response code.
struct Done {
    status: Status,
    text: String,
}

enum Answer {
    /// `+`, with the challenge.
    Continue(String),
    Done(Done),
}

impl Session {
    /// Reads the greeting. PREAUTH (RFC 3501 section 7.1.4) is refused: the mailbox that it opens is
    /// not known to be the client's, and before STARTTLS it may be an attacker's word (RFC 9051
    /// section 11.1).
    async fn greeting(&mut self, service: &Service) -> Result<(), SignIn> {
        let response = match self.response().await {
            Err(Failure::Silent(_)) if service.security != Security::Implicit => {
                let words = "sent no greeting; if the port begins with TLS, as 993 does, set \
                             UseSSL = True and TlsMode = Implicit";
                return Err(service.error(Kind::Unavailable, words).into());
            }
            response => response.map_err(broken(service))?,
        };
        let text = String::from_utf8_lossy(&response).into_owned();
        let Some((word, rest)) = text.strip_prefix("* ").map(split_word) else {
            let words = format!("something that is no IMAP greeting ({})", printable(&response));
            return Err(broken(service)(Failure::Malformed(words)));
        };
        self.note_capability_code(rest);
        match word.to_ascii_uppercase().as_str() {
            "OK" => Ok(()),
            "PREAUTH" => {
                let words = "is logged in before we are (PREAUTH), and as whom is not known; name a \
                             port in Server at which the service asks for a login";
                Err(service.error(Kind::SignInNeeded, words).into())
            }
            _ => {
                let done = Done { status: Status::Bye, text: printable(rest.as_bytes()) };
                Err(refused(service, "the connection", &done, None))
            }
        }
    }

    /// RFC 3501 section 6.2.1.
    async fn start_tls(mut self, service: &Service) -> Result<Self, SignIn> {
        let broken = broken(service);
        self.learn_capabilities().await.map_err(&broken)?;
        if !self.offers("STARTTLS") {
            return Err(broken(Failure::NoStartTls("STARTTLS")));
        }
        let done = self.command("STARTTLS").await.map_err(&broken)?;
        if done.status != Status::Ok {
            return Err(refused(service, "STARTTLS", &done, None));
        }
        let dialogue = service.start_tls(self.dialogue).await.map_err(&broken)?;
        Ok(Self { dialogue, capabilities: None, tag: self.tag })
    }

    /// CAPABILITY, unless it was told already.
    async fn learn_capabilities(&mut self) -> Result<(), Failure> {
        if self.capabilities.is_none() {
            let done = self.command("CAPABILITY").await?;
            if done.status != Status::Ok {
                let words = format!("\"{}\" in answer to CAPABILITY", done.text);
                return Err(Failure::Malformed(words));
            }
        }
        Ok(())
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
                self.by_sasl(service, "XOAUTH2", &blob).await
            }
            Credentials::Password { login, password } => {
                if self.offers("AUTH=PLAIN") {
                    let blob = plain_blob(service, login, password)?;
                    return self.by_sasl(service, "PLAIN", &blob).await;
                }
                if self.offers("LOGINDISABLED") {
                    return Err(self.not_offered(service, "LOGIN"));
                }
                let done = self.by_login(login, password).await.map_err(broken(service))?;
                self.finish(service, "LOGIN", &done, None)
            }
        }
    }

    /// AUTHENTICATE, with the response in the same line where SASL-IR is offered (RFC 4959).
    async fn by_sasl(
        &mut self,
        service: &Service,
        mechanism: &'static str,
        response: &Secret,
    ) -> Result<(), SignIn> {
        let broken = broken(service);
        if !self.offers(&format!("AUTH={mechanism}")) {
            return Err(self.not_offered(service, mechanism));
        }
        let mut answer = if self.offers("SASL-IR") {
            let text = Zeroizing::new(format!("AUTHENTICATE {mechanism} {}", response.expose()));
            self.start(&text).await.map_err(&broken)?;
            self.answer().await.map_err(&broken)?
        } else {
            self.start(&format!("AUTHENTICATE {mechanism}")).await.map_err(&broken)?;
            match self.answer().await.map_err(&broken)? {
                Answer::Continue(_) => {
                    self.send_line(response.expose()).await.map_err(&broken)?;
                    self.answer().await.map_err(&broken)?
                }
                done => done,
            }
        };
        let mut challenge = None;
        if let Answer::Continue(text) = answer {
            self.send_line("").await.map_err(&broken)?;
            challenge = Some(text);
            answer = self.answer().await.map_err(&broken)?;
        }
        match answer {
            Answer::Done(done) => self.finish(service, mechanism, &done, challenge.as_deref()),
            Answer::Continue(_) => Err(broken(Failure::Malformed("two challenges".to_owned()))),
        }
    }

    /// `LOGIN SP userid SP password`, both `astring` (RFC 3501 section 6.2.3).
    async fn by_login(&mut self, login: &str, password: &Secret) -> Result<Done, Failure> {
        self.tag += 1;
        let mut line = Zeroizing::new(format!("a{} LOGIN", self.tag));
        for text in [login, password.expose()] {
            line.push(' ');
            if let Some(quoted) = quoted(text) {
                line.push_str(&quoted);
                continue;
            }
            let without_waiting = self.offers("LITERAL+")
                || (self.offers("LITERAL-") && text.len() <= MAX_LITERAL_MINUS);
            let plus = if without_waiting { "+" } else { "" };
            line.push_str(&format!("{{{}{plus}}}", text.len()));
            if without_waiting {
                line.push_str("\r\n");
            } else {
                self.send_line(&line).await?;
                if let Answer::Done(done) = self.answer().await? {
                    return Ok(done);
                }
                line.clear();
            }
            line.push_str(text);
        }
        self.capabilities = None;
        self.send_line(&line).await?;
        self.done().await
    }

    fn finish(
        &self,
        service: &Service,
        mechanism: &str,
        done: &Done,
        challenge: Option<&str>,
    ) -> Result<(), SignIn> {
        match done.status {
            Status::Ok => Ok(()),
            _ => Err(refused(service, mechanism, done, challenge)),
        }
    }

    /// Exchange Online opens the mailbox only with the first command after AUTHENTICATE (facts:
    /// entra-oauth.md section 7); NAMESPACE changes nothing.
    async fn probe(&mut self, service: &Service) -> Result<(), SignIn> {
        let kept = self.capabilities.clone();
        let done = self.command("NAMESPACE").await.map_err(broken(service))?;
        self.capabilities = self.capabilities.take().or(kept);
        match done.status {
            Status::Ok | Status::No => Ok(()),
            Status::Bad | Status::Bye => {
                let words = format!(
                    "accepts the token but does not open the mailbox ({}): the signed-in account \
                     or the application has no right to it, or IMAP is off for it. Check \
                     AccountName or UserObjectId; for an application, New-ServicePrincipal with \
                     the object id of the enterprise application and Add-MailboxPermission \
                     -AccessRights FullAccess; and Set-CASMailbox -ImapEnabled $true",
                    done.text
                );
                Err(service.error(Kind::SignInNeeded, words).into())
            }
        }
    }

    fn offers(&self, capability: &str) -> bool {
        let known = self.capabilities.as_deref().unwrap_or_default();
        known.iter().any(|offered| offered.eq_ignore_ascii_case(capability))
    }

    fn not_offered(&self, service: &Service, mechanism: &str) -> SignIn {
        let offered = self.capabilities.as_deref().unwrap_or_default().join(" ");
        let words = format!(
            "does not offer a login with {mechanism} here (it offers {}); check AuthType, UseSSL \
             and TlsMode",
            printable(offered.as_bytes())
        );
        service.error(Kind::SignInNeeded, words).into()
    }

    /// Sends a command that holds no secret and waits for its end.
    async fn command(&mut self, text: &str) -> Result<Done, Failure> {
        self.start(text).await?;
        self.done().await
    }

    /// Sends a command; what was heard of capabilities before is void after a login.
    async fn start(&mut self, text: &str) -> Result<(), Failure> {
        self.tag += 1;
        self.capabilities = None;
        let line = Zeroizing::new(format!("a{} {text}", self.tag));
        self.send_line(&line).await
    }

    async fn send_line(&mut self, text: &str) -> Result<(), Failure> {
        let line = Zeroizing::new(format!("{text}\r\n"));
        within(ANSWER, self.dialogue.send(line.as_bytes())).await
    }

    async fn done(&mut self) -> Result<Done, Failure> {
        match self.answer().await? {
            Answer::Done(done) => Ok(done),
            Answer::Continue(_) => {
                Err(Failure::Malformed("a challenge where none was due".to_owned()))
            }
        }
    }

    /// The continuation or the end of the running command; notes capabilities on the way.
    async fn answer(&mut self) -> Result<Answer, Failure> {
        let tag = format!("a{}", self.tag);
        // A service that sends other lines for ever must not hold us.
        within(ANSWER, async {
            loop {
                let response = self.response().await?;
                let text = printable_long(&response);
                if let Some(challenge) = text.strip_prefix('+') {
                    return Ok(Answer::Continue(challenge.trim().to_owned()));
                }
                let (first, rest) = split_word(&text);
                let (word, rest) = split_word(rest);
                let word = word.to_ascii_uppercase();
                let status = match (first == "*", word.as_str()) {
                    (true, "BYE") => Status::Bye,
                    (true, "CAPABILITY") => {
                        self.capabilities = Some(words(rest));
                        continue;
                    }
                    (true, _) => continue,
                    (false, "OK") if first == tag => Status::Ok,
                    (false, "NO") if first == tag => Status::No,
                    (false, "BAD") if first == tag => Status::Bad,
                    _ => {
                        let words = format!("something that is no IMAP ({})", printable(&response));
                        return Err(Failure::Malformed(words));
                    }
                };
                self.note_capability_code(rest);
                return Ok(Answer::Done(Done { status, text: printable(rest.as_bytes()) }));
            }
        })
        .await
    }

    /// One response with its literals.
    async fn response(&mut self) -> Result<Bytes, Failure> {
        within(ANSWER, async {
            let first = self.dialogue.line(MAX_RESPONSE).await?;
            let Some(mut count) = literal_size(&first) else { return Ok(first) };
            let mut whole = first.to_vec();
            loop {
                if whole.len().saturating_add(count) > MAX_RESPONSE {
                    let words = format!("a response of more than {MAX_RESPONSE} octets");
                    return Err(Failure::Malformed(words));
                }
                whole.extend_from_slice(&self.dialogue.octets(count).await?);
                let line = self.dialogue.line(MAX_RESPONSE).await?;
                whole.extend_from_slice(&line);
                match literal_size(&line) {
                    Some(next) => count = next,
                    None => return Ok(whole.into()),
                }
            }
        })
        .await
    }

    /// `[CAPABILITY …]` in a status response (RFC 3501 section 7.1).
    fn note_capability_code(&mut self, text: &str) {
        let code = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let Some((name, list)) = code.map(|(code, _)| split_word(code)) else { return };
        if name.eq_ignore_ascii_case("CAPABILITY") {
            self.capabilities = Some(words(list));
        }
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

fn split_word(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

/// Like [`printable`], for responses that are read on.
fn printable_long(response: &[u8]) -> String {
    let text = String::from_utf8_lossy(response);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `{n}` at the end of a line announces a literal.
fn literal_size(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"}")?;
    let open = memchr::memrchr(b'{', line)?;
    let digits = std::str::from_utf8(&line[open + 1..]).ok()?;
    digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `quoted = DQUOTE *QUOTED-CHAR DQUOTE`; `None` for what only a literal can hold.
fn quoted(text: &str) -> Option<Zeroizing<String>> {
    if !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return None;
    }
    let escaped = Zeroizing::new(text.replace('\\', "\\\\").replace('"', "\\\""));
    Some(Zeroizing::new(format!("\"{}\"", *escaped)))
}

/// Sorts a refusal by its response code (RFC 5530) or, where there is none, by its text.
fn refused(service: &Service, what: &str, done: &Done, challenge: Option<&str>) -> SignIn {
    let kind = refusal_kind(done);
    let mut words = match (kind, what) {
        (Kind::SignInNeeded, "PLAIN" | "LOGIN") => format!(
            "the upstream does not accept the login and password of role {}: {}; check Login and \
             Password",
            service.role, done.text
        ),
        (Kind::SignInNeeded, _) => format!(
            "does not accept the login ({what}): {}; check that IMAP is on for the mailbox, that it \
             is the one that GsuiteUser (Google), AccountName or UserObjectId (Microsoft) names, and \
             the right to it (Exchange: the permission IMAP.AccessAsApp and Add-MailboxPermission \
             -AccessRights FullAccess)",
            done.text
        ),
        (Kind::Throttled { .. }, _) => format!(
            "allows no more connections or traffic for this mailbox now: {}; close programs that \
             read it, or wait",
            done.text
        ),
        _ => format!("answered {what} with {}", done.text),
    };
    if let Some(explained) = challenge.and_then(explain_challenge) {
        words.push_str("; ");
        words.push_str(explained);
    }
    let newer_may_help =
        kind == Kind::SignInNeeded && what == "XOAUTH2" && done.status == Status::No;
    SignIn::Refused { error: service.error(kind, words), newer_may_help }
}

fn refusal_kind(done: &Done) -> Kind {
    let text = done.text.to_ascii_uppercase();
    let code = text.strip_prefix('[').and_then(|rest| rest.split([']', ' ']).next()).unwrap_or("");
    let says = |words: &str| text.contains(words);
    let limited = says("TOO MANY") || says("BANDWIDTH LIMIT") || says("THROTTL");
    match (code, done.status) {
        ("LIMIT" | "OVERQUOTA", _) => Kind::Throttled { retry_after: None },
        _ if limited => Kind::Throttled { retry_after: None },
        ("UNAVAILABLE" | "INUSE" | "SERVERBUG" | "CONTACTADMIN", _) => Kind::Unavailable,
        (_, Status::No) => Kind::SignInNeeded,
        _ => Kind::Unavailable,
    }
}

#[cfg(test)]
mod tests;
