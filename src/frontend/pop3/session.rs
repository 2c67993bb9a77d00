//! A POP3 session until its client has logged in: the AUTHORIZATION state of RFC 1939 section 4.
//!
//! Danger and rule: see the module above.

use std::sync::Arc;

use bytes::Bytes;

use super::maildrop::{Maildrop, Session};
use super::reply::{capabilities, farewell, refusal};
use super::state::{State, forbidden};
use crate::frontend::Context;
use crate::frontend::attempts::{Attempts, LoggedIn};
use crate::frontend::connected::Connected;
use crate::frontend::conversation::{Conversation, Parting};
use crate::frontend::handover::{Asked, Handover};
use crate::frontend::sasl::{self, Exchange};
use crate::frontend::stream::{ClientStream, Peer, Privacy};
use crate::mail::{Opened, Protocol, Relay};
use crate::protocol::pop3::{self, AsksCapa, Command};
use crate::protocol::sasl::Credentials;
use crate::telemetry::activity::LiveSession;

/// RFC 2449 allows 255 octets; a login with its password in base64 may be longer.
const MAX_LINE: usize = 16 << 10;

/// How a session goes on after the login.
pub(super) enum After {
    /// The service speaks POP3.
    Relay(Box<Handover>),
    /// We serve the mailbox.
    Maildrop(Box<Session>),
}

/// Talks to a client until it has logged in; `None` when it ended before.
pub(super) async fn until_login(
    context: Arc<Context>,
    peer: Peer,
    stream: ClientStream,
    live: Arc<LiveSession>,
) -> Option<After> {
    let privacy = Privacy::of(&peer, &stream);
    let mut talk = Conversation::new(stream, context.stopping.clone());
    let attempts = Attempts::new(Arc::clone(&context), peer, Protocol::Pop3, live);
    let guest = Guest { context: Arc::clone(&context), attempts, privacy, state: State::Greeted };
    match guest.run(&mut talk).await {
        Ok((logged_in, maildrop)) => go_on(&context, talk, logged_in, maildrop),
        Err(parting) => {
            tracing::debug!("session ended before login: {parting}");
            talk.part(farewell(&parting).unwrap_or_default()).await;
            None
        }
    }
}

fn go_on(
    context: &Arc<Context>,
    talk: Conversation,
    logged_in: LoggedIn,
    maildrop: Option<Maildrop>,
) -> Option<After> {
    let (client, input) = talk.into_parts()?;
    let live = logged_in.references.live().cloned();
    match (logged_in.opened, maildrop) {
        (Opened::Relay(relay), _) => {
            Some(After::Relay(Box::new(hand_over(client, input, relay, live?))))
        }
        (Opened::Mailbox(_), Some(maildrop)) => {
            let (idle, stopping) = (context.limits.idle_timeout, context.stopping.clone());
            let client = Connected::new(client, input, idle, stopping).noting(live.as_ref());
            let session = Session::new(maildrop, client, logged_in.references);
            Some(After::Maildrop(Box::new(session)))
        }
        (Opened::Mailbox(_), None) => None,
    }
}

fn hand_over(client: ClientStream, input: Bytes, relay: Relay, live: Arc<LiveSession>) -> Handover {
    let list = pop3::capability::rewrite(&relay.capabilities);
    let recognise = move |input: &[u8]| match pop3::asks_capa(input) {
        // Nothing to tell: the service answers itself.
        _ if list.is_empty() => Asked::Other,
        AsksCapa::Undecided => Asked::Undecided,
        AsksCapa::No => Asked::Other,
        AsksCapa::Yes(octets) => {
            Asked::Capabilities { octets, answer: pop3::capability::answer(&list) }
        }
    };
    Handover::new(client, input, relay, Box::new(recognise), live)
}

/// What a command leads to.
enum Step {
    Say(String),
    /// As `Say`, and counted: enough of them end the session.
    Fail(String),
    In(Box<LoggedIn>, Option<Maildrop>),
}

fn say(text: &str) -> Step {
    Step::Say(format!("{text}\r\n"))
}

fn fail(text: impl std::fmt::Display) -> Step {
    Step::Fail(format!("{text}\r\n"))
}

/// A client that has not logged in.
struct Guest {
    context: Arc<Context>,
    attempts: Attempts,
    privacy: Privacy,
    state: State,
}

impl Guest {
    async fn run(
        mut self,
        talk: &mut Conversation,
    ) -> Result<(LoggedIn, Option<Maildrop>), Parting> {
        talk.send("+OK authbridge ready\r\n").await?;
        loop {
            let line = talk.line(MAX_LINE).await?;
            let step = match pop3::parse(&line) {
                Ok(command) => self.answer(talk, command).await?,
                Err(malformed) => fail(format_args!("-ERR {malformed}")),
            };
            match step {
                Step::Say(text) => talk.send(&text).await?,
                Step::Fail(text) => {
                    talk.send(&text).await?;
                    self.attempts.count_failure()?;
                }
                Step::In(logged_in, maildrop) => {
                    talk.send("+OK logged in\r\n").await?;
                    return Ok((*logged_in, maildrop));
                }
            }
        }
    }

    async fn answer(&mut self, talk: &mut Conversation, command: Command) -> Result<Step, Parting> {
        if let Some(answer) = forbidden(&command, self.privacy, &self.state) {
            return Ok(fail(answer));
        }
        Ok(match command {
            Command::Capa => Step::Say(pop3::capability::answer(&capabilities(self.privacy))),
            Command::Noop => say("+OK"),
            Command::Quit => {
                talk.send("+OK goodbye\r\n").await?;
                return Err(Parting::Quit);
            }
            Command::Stls => {
                talk.send("+OK begin TLS negotiation\r\n").await?;
                talk.start_tls(&self.context.tls).await?;
                self.privacy = Privacy::Encrypted;
                self.attempts.live().secured();
                self.state = State::Greeted;
                Step::Say(String::new())
            }
            Command::User(login) => {
                self.state = State::Named(login);
                say("+OK send the password")
            }
            Command::Pass(password) => match std::mem::replace(&mut self.state, State::Greeted) {
                State::Greeted => fail("-ERR USER comes first"),
                State::Named(login) => self.log_in(&Credentials { login, password }, "USER").await,
            },
            Command::Auth { mechanism: None, .. } => {
                say("+OK mechanisms follow\r\nPLAIN\r\nLOGIN\r\n.")
            }
            Command::Auth { mechanism: Some(mechanism), initial } => {
                match sasl::exchange(talk, &mechanism, initial).await? {
                    Exchange::Credentials(credentials) => {
                        self.log_in(&credentials, &mechanism).await
                    }
                    Exchange::Cancelled => fail("-ERR AUTH cancelled"),
                    Exchange::Malformed => {
                        fail("-ERR the answer is not what the mechanism asks for")
                    }
                    Exchange::UnknownMechanism => fail("-ERR only PLAIN and LOGIN are known here"),
                }
            }
            Command::Other(_) => fail("-ERR unknown command"),
        })
    }

    async fn log_in(&mut self, credentials: &Credentials, mechanism: &str) -> Step {
        match self.attempts.log_in(credentials, sasl::known(mechanism)).await {
            Ok(logged_in) => self.lock(logged_in).await,
            Err(refused) => fail(refusal(refused)),
        }
    }

    /// RFC 1939 section 4: the maildrop is locked before the client hears that it is in.
    async fn lock(&mut self, mut logged_in: LoggedIn) -> Step {
        let Opened::Mailbox(mailbox) = &logged_in.opened else {
            self.attempts.let_in(&logged_in);
            return Step::In(Box::new(logged_in), None);
        };
        match Maildrop::lock(mailbox, &mut logged_in.references).await {
            Ok(maildrop) => {
                self.attempts.let_in(&logged_in);
                Step::In(Box::new(logged_in), Some(maildrop))
            }
            Err(answer) => {
                self.attempts.turn_away(&logged_in);
                Step::Fail(answer)
            }
        }
    }
}
