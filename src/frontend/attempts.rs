//! Attempts to log in over IMAP or POP3, and what comes of them.
//!
//! Danger: an upstream failure told as a wrong password. Rule: [`Refusal`] keeps the two apart, and
//! each failure gets a reference under which the log tells the whole story.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::Context;
use super::conversation::Parting;
use super::login::{Login, Verdict, shown};
use super::stream::Peer;
use crate::mail::{Error, Kind, Opened, Protocol, Reference, SessionId};
use crate::protocol::sasl::Credentials;
use crate::telemetry::activity::LiveSession;

/// Wrong logins and commands after which the connection is closed.
const MAX_FAILURES: u32 = 10;

/// Opening a mailbox takes a token, a connection and a login; clients wait about a minute.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a client is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Wrong password, unknown login or locked out.
    Wrong,
    /// The password is right or unchecked; the mailbox can't be opened.
    Failed(Failure),
}

/// What a client is told of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Of which kind it is.
    pub kind: Kind,
    /// Said instead of the kind's general words.
    pub hint: Option<&'static str>,
    /// Leads to the log.
    pub reference: Reference,
}

/// A client that is in.
pub struct LoggedIn {
    /// Who it is.
    pub login: Login,
    /// Its mailbox.
    pub opened: Opened,
    /// For what fails later in the session.
    pub references: References,
    mechanism: &'static str,
    began: Instant,
}

/// The attempts of one session.
pub struct Attempts {
    context: Arc<Context>,
    peer: Peer,
    protocol: Protocol,
    failures: u32,
    references: References,
    live: Arc<LiveSession>,
}

/// Makes the references of one session.
#[derive(Clone, Debug)]
pub struct References {
    session: SessionId,
    count: u32,
    /// Where failures are noted, and as which role's.
    noted: Option<(Arc<LiveSession>, String)>,
}

impl References {
    /// None so far.
    pub fn new(session: SessionId) -> Self {
        Self { session, count: 0, noted: None }
    }

    /// Failures are noted as the role's from now on.
    pub fn noting(self, live: &Arc<LiveSession>, role: &str) -> Self {
        Self { noted: Some((Arc::clone(live), role.to_owned())), ..self }
    }

    /// Where the session is noted.
    pub fn live(&self) -> Option<&Arc<LiveSession>> {
        self.noted.as_ref().map(|(live, _)| live)
    }

    /// A new one for a failure of the service, which is noted under it. That something does not
    /// exist, or exists already, is no failure of the service.
    pub fn report(&mut self, error: &Error) -> Reference {
        let reference = self.issue();
        if let Some((live, role)) = &self.noted
            && !matches!(error.kind, Kind::NotFound | Kind::AlreadyExists)
        {
            live.failed(role, &reference.to_string(), &error.chain());
        }
        reference
    }

    /// A new one.
    pub fn issue(&mut self) -> Reference {
        self.count += 1;
        self.session.reference(self.count)
    }
}

impl Attempts {
    /// None so far.
    pub fn new(
        context: Arc<Context>,
        peer: Peer,
        protocol: Protocol,
        live: Arc<LiveSession>,
    ) -> Self {
        let references = References::new(peer.session);
        Self { context, peer, protocol, failures: 0, references, live }
    }

    /// Where the session is noted.
    pub fn live(&self) -> &Arc<LiveSession> {
        &self.live
    }

    /// Counts a wrong login or command; the last one ends the session.
    pub fn count_failure(&mut self) -> Result<(), Parting> {
        self.failures += 1;
        if self.failures < MAX_FAILURES { Ok(()) } else { Err(Parting::TooManyFailures) }
    }

    /// Notes that the client is in. What else must succeed first has done so.
    pub fn let_in(&self, logged_in: &LoggedIn) {
        let LoggedIn { login, mechanism, began, .. } = logged_in;
        tracing::info!(login = ?login.name, role = %login.receiving, "logged in");
        self.live.logged_in(&login.name, &login.receiving, mechanism);
        self.live.opened(&login.receiving, began.elapsed());
    }

    /// Notes that the mailbox can't be had after all.
    pub fn turn_away(&self, logged_in: &LoggedIn) {
        self.live.turned_away(&logged_in.login.name, logged_in.mechanism);
    }

    /// Checks the password, then opens the mailbox. The client is not in before
    /// [`Attempts::let_in`].
    pub async fn log_in(
        &mut self,
        credentials: &Credentials,
        mechanism: &'static str,
    ) -> Result<LoggedIn, Refusal> {
        let from = self.peer.address.ip();
        let name = &credentials.login;
        let login = match self.context.logins.verify(from, name, &credentials.password).await {
            Verdict::Granted(login) => login,
            Verdict::Refused => {
                tracing::warn!(login = ?shown(name), "wrong login or password, or locked out");
                self.context.logins.note_refusal(&self.live, name, mechanism);
                return Err(Refusal::Wrong);
            }
            Verdict::Busy => {
                let text = "too many logins are being checked at the same time";
                let busy = Error::new(Kind::Throttled { retry_after: None }, text);
                self.live.put_off();
                return Err(self.failed(name, "", &busy));
            }
        };
        let began = Instant::now();
        match self.open(&login).await {
            Ok(opened) => {
                let references = self.references.clone().noting(&self.live, &login.receiving);
                Ok(LoggedIn { login, opened, references, mechanism, began })
            }
            Err(error) => {
                self.live.turned_away(&login.name, mechanism);
                Err(self.failed(&login.name, &login.receiving, &error))
            }
        }
    }

    async fn open(&self, login: &Login) -> Result<Opened, Error> {
        let Some(upstream) = self.context.roles.receiving(&login.receiving) else {
            let text = format!(
                "the receiving role {} is off or not configured; set {}.ServerType, or another \
                 role with Proxy.Client.{}.Receiving",
                login.receiving, login.receiving, login.name
            );
            return Err(Error::new(Kind::Unsupported, text));
        };
        let opening = timeout(OPEN_TIMEOUT, upstream.open(&login.name, self.protocol));
        match self.context.stopping.run_until_cancelled(opening).await {
            None => Err(Error::new(Kind::Unavailable, "the proxy is stopping")),
            Some(Ok(opened)) => opened,
            Some(Err(_)) => {
                let text = format!(
                    "the service behind {} did not let us in within {} s",
                    login.receiving,
                    OPEN_TIMEOUT.as_secs()
                );
                Err(Error::new(Kind::Unavailable, text))
            }
        }
    }

    fn failed(&mut self, login: &str, role: &str, error: &Error) -> Refusal {
        let reference = self.references.issue();
        tracing::error!(%reference, login = ?shown(login), role, kind = ?error.kind, "{}", error.chain());
        if !role.is_empty() {
            self.live.failed(role, &reference.to_string(), &error.chain());
        }
        Refusal::Failed(Failure { kind: error.kind, hint: error.hint, reference })
    }
}
