//! Reads commands, checks them against the table, runs them, and ends the session.
//!
//! Danger: a session that is cut at the wrong moment loses a reply that a client waits for; one
//! that is never cut blocks the stop of the service. Rule: a message whose data has begun is
//! finished and answered first; everything else ends with 421 when we stop or patience ends.

use std::sync::Arc;
use std::time::Duration;

use super::connection::{Connection, End, wipe};
use super::hello::{Offer, extensions, shared};
use super::state::{Sender, Stage, State, Verb};
use super::{program, receive, refusal};
use crate::frontend::Context;
use crate::frontend::stream::{ClientStream, Peer};
use crate::mail::{Error, Features, Submission};
use crate::protocol::smtp::answer::Answer;
use crate::protocol::smtp::command::{Command, Fault, parse};
use crate::protocol::smtp::line::{Expected, LineFault};
use crate::telemetry::activity::LiveSession;
use crate::telemetry::metrics;

/// A command of a client that may send: RFC 5321 section 4.5.3.2.7.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(300);
/// A command of a client that has not logged in: a stranger gets less of our time.
const STRANGER_TIMEOUT: Duration = Duration::from_secs(60);
/// Faulty commands before the session is closed: more than a client that probes our abilities
/// sends, far less than one that guesses.
const MAX_FAULTS: u32 = 30;

/// One client's session.
pub(super) struct Session {
    pub context: Arc<Context>,
    pub peer: Peer,
    pub connection: Connection,
    /// Where the session is noted.
    pub live: Arc<LiveSession>,
    /// Failures so far, for their references.
    failures: u32,
    /// Commands that were no commands, or came at the wrong time, since one that mattered.
    faults: u32,
    /// Logins that were refused.
    pub failed_logins: u32,
}

/// What a command leads to.
#[expect(clippy::large_enum_variant, reason = "taken apart at once, never stored")]
pub(super) enum Next {
    State(State),
    StartTls,
}

impl From<State> for Next {
    fn from(state: State) -> Self {
        Self::State(state)
    }
}

impl Session {
    pub fn new(
        context: Arc<Context>,
        peer: Peer,
        stream: ClientStream,
        live: Arc<LiveSession>,
    ) -> Self {
        let connection = Connection::new(stream);
        Self { context, peer, connection, live, failures: 0, faults: 0, failed_logins: 0 }
    }

    /// Talks until the client or we end it.
    pub async fn run(mut self) {
        tracing::debug!(tls = self.connection.is_tls(), "connected");
        let greeting = format!("{} ESMTP authbridge", self.context.host_name);
        self.reply(&Answer::bare(220, greeting));
        let mut state = State::Connected;
        loop {
            match self.step(state).await {
                Ok(Next::State(next)) => state = next,
                Ok(Next::StartTls) => match self.start_tls().await {
                    Ok(session) => (self, state) = (session, State::Connected),
                    Err(end) => return tracing::info!(reason = %end, "TLS failed"),
                },
                Err(end) => return self.end(end).await,
            }
        }
    }

    async fn step(&mut self, state: State) -> Result<Next, End> {
        let command = self.command(state.stage()).await?;
        match command {
            Ok(command) => self.obey(state, command).await,
            Err((code, enhanced, text)) => {
                self.reply(&Answer::new(code, enhanced, text));
                self.count_fault()?;
                Ok(state.into())
            }
        }
    }

    /// The next command, or the reply to what is none.
    async fn command(
        &mut self,
        stage: Stage,
    ) -> Result<Result<Command, (u16, &'static str, &'static str)>, End> {
        let in_flight = stage == Stage::InChunks;
        if !in_flight && self.context.stopping.is_cancelled() {
            return Err(End::Stopping);
        }
        let patience = self.patience(stage);
        let stopping = Some(&self.context.stopping).filter(|_| !in_flight);
        let line = match self.connection.line(Expected::Command, patience, stopping).await? {
            Ok(line) => line,
            Err(fault) => return Ok(Err(line_fault(fault))),
        };
        let command = parse(&line);
        if let (Ok(Command::Hello { .. }), Some(name)) = (&command, program::host(&line)) {
            self.live.greeted(&name);
        }
        wipe(line);
        match command {
            Err(fault) if fault.ends_session() => Err(self.refuse_session(fault)),
            command => Ok(command.map_err(Fault::reply)),
        }
    }

    pub fn patience(&self, stage: Stage) -> Duration {
        let own = match stage {
            Stage::Connected | Stage::Greeted => STRANGER_TIMEOUT,
            _ => COMMAND_TIMEOUT,
        };
        own.min(self.context.limits.idle_timeout)
    }

    async fn obey(&mut self, state: State, command: Command) -> Result<Next, End> {
        if let Err(problem) = Verb::from(&command).allowed_in(&state) {
            if let Command::Bdat { size, .. } = command {
                self.skip_chunk(state.stage(), size).await?;
            }
            self.reply(&problem.answer());
            if state.sender().is_none() {
                self.count_fault()?;
            }
            return Ok(state.into());
        }
        match command {
            Command::Hello { extended } => Ok(self.hello(state, extended).into()),
            Command::StartTls => Ok(self.offer_tls(state)),
            Command::Auth { mechanism, initial } => {
                self.auth(state, &mechanism, initial).await.map(Next::from)
            }
            Command::Mail(mail) => Ok(self.mail(state, mail).await.into()),
            Command::Rcpt(rcpt) => Ok(self.rcpt(state, rcpt).await.into()),
            Command::Data => self.data(state).await.map(Next::from),
            Command::Bdat { size, last } => self.chunk(state, size, last).await.map(Next::from),
            Command::Rset => {
                self.reply(&Answer::new(250, "2.0.0", "Ok"));
                Ok(state.reset().into())
            }
            Command::Noop => self.say(state, Answer::new(250, "2.0.0", "Ok")),
            Command::Vrfy => {
                let text = "Cannot verify, but will take a message and try to deliver it";
                self.say(state, Answer::new(252, "2.5.0", text))
            }
            Command::Help => {
                let text = "EHLO HELO AUTH STARTTLS MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT";
                self.say(state, Answer::new(214, "2.0.0", text))
            }
            Command::Quit => {
                self.reply(&Answer::new(221, "2.0.0", "Bye"));
                Err(End::Quit)
            }
        }
    }

    fn say(&mut self, state: State, answer: Answer) -> Result<Next, End> {
        self.reply(&answer);
        Ok(state.into())
    }

    /// Puts a reply in line.
    pub fn reply(&mut self, answer: &Answer) {
        self.connection.reply(answer);
    }

    /// Logs a failure and makes the reply that names its reference.
    pub fn refuse(&mut self, error: &Error, sender: &Sender, what: &str) -> Answer {
        self.failures += 1;
        let reference = self.peer.session.reference(self.failures);
        let answer = refusal::answer(error, reference);
        tracing::warn!(
            %reference,
            client_login = sender.name(),
            role = sender.role,
            kind = ?error.kind,
            code = answer.code(),
            cause = error.chain(),
            "{what} failed"
        );
        self.live.failed(&sender.role, &reference.to_string(), &error.chain());
        metrics::message_failed(&sender.role, answer.code() < 500);
        answer
    }

    /// One more command that made no sense.
    pub fn count_fault(&mut self) -> Result<(), End> {
        self.faults += 1;
        if self.faults < MAX_FAULTS {
            return Ok(());
        }
        self.reply(&Answer::new(421, "4.7.0", "Too many errors; closing"));
        Err(End::Refused("too many faulty commands"))
    }

    /// The client has got somewhere: what it did wrong before is forgiven.
    pub fn forgive_faults(&mut self) {
        self.faults = 0;
    }

    fn refuse_session(&mut self, fault: Fault) -> End {
        let (code, enhanced, text) = fault.reply();
        self.reply(&Answer::new(code, enhanced, text));
        End::Refused(text)
    }

    /// Reads over a chunk that came at the wrong time; one that is too large to read ends it all.
    async fn skip_chunk(&mut self, stage: Stage, size: u64) -> Result<(), End> {
        let most = match stage {
            Stage::Connected | Stage::Greeted => receive::MAX_STRAY_CHUNK,
            _ => self.context.limits.max_message_bytes.max(receive::MAX_STRAY_CHUNK),
        };
        if size > most {
            self.reply(&Answer::new(503, "5.5.1", "A chunk at the wrong time; closing"));
            return Err(End::Refused("a large chunk at the wrong time"));
        }
        receive::skip(&mut self.connection, size).await
    }

    fn hello(&mut self, state: State, extended: bool) -> State {
        let state = match state.reset() {
            State::Connected | State::Greeted => {
                self.anonymous_sender().map_or(State::Greeted, Sender::ready)
            }
            other => other,
        };
        let answer = if extended {
            let offer = self.offer(&state);
            Answer::list(250, extensions(&self.context.host_name, offer))
        } else {
            Answer::bare(250, self.context.host_name.clone())
        };
        self.reply(&answer);
        state
    }

    fn offer(&self, state: &State) -> Offer {
        let features = match state.sender() {
            Some(sender) => self.role(sender).map(|role| role.features()).unwrap_or_default(),
            None => shared(self.context.roles.all_sending().map(|role| role.features())),
        };
        Offer {
            max_size: self.max_size(features),
            dsn: features.dsn,
            auth: self.passwords_may_cross() && state.stage() != Stage::Authenticated,
            start_tls: !self.connection.is_tls(),
        }
    }

    /// The sending role, if it is on.
    pub fn role(&self, sender: &Sender) -> Option<Arc<dyn Submission>> {
        self.context.roles.sending(&sender.role).cloned()
    }

    /// Largest message, in octets: ours or the role's limit.
    pub fn max_size(&self, features: Features) -> u64 {
        let own = self.context.limits.max_message_bytes;
        features.max_size.map_or(own, |role| role.min(own))
    }

    /// True where a password cannot be read on its way.
    pub fn passwords_may_cross(&self) -> bool {
        self.connection.is_tls() || self.peer.is_loopback()
    }

    fn anonymous_sender(&self) -> Option<Sender> {
        let anonymous = self.context.anonymous.as_ref()?;
        let from = self.peer.address.ip().to_canonical();
        let known = anonymous.networks.iter().any(|network| network.contains(&from));
        let role = anonymous.sending.clone();
        known.then_some(Sender { login: None, role, allowed: None })
    }

    fn offer_tls(&mut self, state: State) -> Next {
        if self.connection.is_tls() {
            self.reply(&Answer::new(503, "5.5.1", "TLS is active already"));
            return state.into();
        }
        self.reply(&Answer::new(220, "2.0.0", "Ready to start TLS"));
        Next::StartTls
    }

    async fn start_tls(self) -> Result<Self, End> {
        let connection = self.connection.start_tls(&self.context.tls).await?;
        self.live.secured();
        Ok(Self { connection, ..self })
    }

    async fn end(mut self, end: End) {
        match &end {
            End::Stopping => self.reply(&Answer::new(421, "4.3.2", "authbridge is stopping")),
            End::TimedOut => self.reply(&Answer::new(421, "4.4.2", "Timeout; closing")),
            End::Quit | End::Gone | End::Refused(_) | End::Io(_) => {}
        }
        match end {
            End::Refused(_) => tracing::info!(reason = %end, "closed"),
            _ => tracing::debug!(reason = %end, "closed"),
        }
        self.connection.close().await;
    }
}

/// The reply to a line that is no command.
pub(super) fn line_fault(fault: LineFault) -> (u16, &'static str, &'static str) {
    match fault {
        LineFault::StrayLineEnd => {
            (500, "5.5.2", "End each line with CR LF, as in printf '...\\r\\n'")
        }
        LineFault::TooLong => (500, "5.5.6", "The line is too long"),
    }
}
