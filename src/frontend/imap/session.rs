//! An IMAP session until its client has logged in.
//!
//! Danger and rule: see the module above. RFC 3501 section 6.2: the state that leads to is the
//! service's own; ours end with the login.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::mailbox::Session;
use super::reply::{capabilities, farewell, refusal};
use super::state::forbidden;
use crate::frontend::Context;
use crate::frontend::attempts::{Attempts, LoggedIn};
use crate::frontend::connected::Connected;
use crate::frontend::conversation::{Conversation, Parting};
use crate::frontend::handover::{Asked, Handover};
use crate::frontend::sasl::{self, Exchange};
use crate::frontend::stream::{ClientStream, Peer, Privacy};
use crate::mail::{Opened, Protocol, Relay};
use crate::protocol::imap::{self, AsksCapability, Body, Limits, Malformed, Progress};
use crate::protocol::sasl::Credentials;
use crate::telemetry::activity::LiveSession;

/// Before login a command is a login and a password: RFC 7888 asks for 4096 octets in a literal,
/// and AUTHENTICATE with an initial response may hold both in base64.
const LIMITS: Limits = Limits { command: 16 << 10, literal: 4096 };

/// How a session goes on after the login.
pub(super) enum After {
    /// The service speaks IMAP.
    Relay(Box<Handover>),
    /// We serve the mailbox.
    Mailbox(Box<Session>),
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
    let attempts = Attempts::new(Arc::clone(&context), peer, Protocol::Imap, live);
    let guest = Guest { context: Arc::clone(&context), attempts, privacy };
    match guest.run(&mut talk).await {
        Ok(logged_in) => go_on(&context, talk, logged_in),
        Err(parting) => {
            tracing::debug!("session ended before login: {parting}");
            talk.part(farewell(&parting).unwrap_or_default()).await;
            None
        }
    }
}

fn go_on(context: &Arc<Context>, talk: Conversation, logged_in: LoggedIn) -> Option<After> {
    let (client, input) = talk.into_parts()?;
    let live = logged_in.references.live().cloned();
    match logged_in.opened {
        Opened::Relay(relay) => {
            Some(After::Relay(Box::new(hand_over(client, input, relay, live?))))
        }
        Opened::Mailbox(mailbox) => {
            let (idle, stopping) = (context.limits.idle_timeout, context.stopping.clone());
            let client = Connected::new(client, input, idle, stopping).noting(live.as_ref());
            let session = Session::new(context, mailbox, client, logged_in.references);
            Some(After::Mailbox(Box::new(session)))
        }
    }
}

fn hand_over(client: ClientStream, input: Bytes, relay: Relay, live: Arc<LiveSession>) -> Handover {
    let list = imap::capability::rewrite(&relay.capabilities).join(" ");
    let noted = Arc::clone(&live);
    let recognise = move |input: &[u8]| match imap::asks_capability(input) {
        // Nothing to tell: the service answers itself.
        _ if list.is_empty() => Asked::Other,
        AsksCapability::Undecided => Asked::Undecided,
        AsksCapability::No => {
            // The last of the client's words that anybody looks at.
            if let Some(program) = imap::id::program(input) {
                noted.named(&program);
            }
            Asked::Other
        }
        AsksCapability::Yes { tag, octets } => {
            Asked::Capabilities { octets, answer: capability_answer(&tag, &list) }
        }
    };
    Handover::new(client, input, relay, Box::new(recognise), live)
}

fn capability_answer(tag: &str, list: &str) -> String {
    format!("* CAPABILITY {list}\r\n{tag} OK CAPABILITY completed\r\n")
}

/// What a command leads to.
enum Step {
    /// An answer, with the tag in front when it is written.
    Say(String),
    /// As `Say`, and counted: enough of them end the session.
    Fail(String),
    In(Box<LoggedIn>),
}

fn bad(text: impl std::fmt::Display) -> Step {
    Step::Fail(format!("BAD {text}"))
}

/// A client that has not logged in.
struct Guest {
    context: Arc<Context>,
    attempts: Attempts,
    privacy: Privacy,
}

impl Guest {
    async fn run(mut self, talk: &mut Conversation) -> Result<LoggedIn, Parting> {
        let list = capabilities(self.privacy);
        talk.send(&format!("* OK [CAPABILITY {list}] authbridge ready\r\n")).await?;
        loop {
            let text = next_command(talk).await?;
            let (tag, step) = match imap::parse(&text) {
                Ok(command) => {
                    if command.body == Body::Id
                        && let Some(program) = imap::id::program(&text)
                    {
                        self.attempts.live().named(&program);
                    }
                    let step = self.answer(talk, &command.tag, command.body).await?;
                    (command.tag, step)
                }
                Err(Malformed { tag, why }) => (tag.unwrap_or_else(|| "*".to_owned()), bad(why)),
            };
            match step {
                Step::Say(text) if text.is_empty() => {}
                Step::Say(text) => talk.send(&format!("{tag} {text}\r\n")).await?,
                Step::Fail(text) => {
                    talk.send(&format!("{tag} {text}\r\n")).await?;
                    self.attempts.count_failure()?;
                }
                Step::In(logged_in) => {
                    talk.send(&welcome(&tag, &logged_in)).await?;
                    return Ok(*logged_in);
                }
            }
        }
    }

    async fn answer(
        &mut self,
        talk: &mut Conversation,
        tag: &str,
        body: Body,
    ) -> Result<Step, Parting> {
        if let Some(answer) = forbidden(&body, self.privacy) {
            return Ok(Step::Fail(answer.to_owned()));
        }
        Ok(match body {
            Body::Capability => {
                talk.send(&capability_answer(tag, capabilities(self.privacy))).await?;
                Step::Say(String::new())
            }
            Body::Noop => Step::Say("OK NOOP completed".to_owned()),
            Body::Id => {
                talk.send("* ID (\"name\" \"authbridge\")\r\n").await?;
                Step::Say("OK ID completed".to_owned())
            }
            Body::Logout => {
                talk.send(&format!("* BYE logging out\r\n{tag} OK LOGOUT completed\r\n")).await?;
                return Err(Parting::Quit);
            }
            Body::StartTls => {
                talk.send(&format!("{tag} OK begin TLS negotiation now\r\n")).await?;
                talk.start_tls(&self.context.tls).await?;
                self.privacy = Privacy::Encrypted;
                self.attempts.live().secured();
                Step::Say(String::new())
            }
            Body::Login(credentials) => self.log_in(&credentials, "LOGIN").await,
            Body::Authenticate { mechanism, initial } => {
                match sasl::exchange(talk, &mechanism, initial).await? {
                    Exchange::Credentials(credentials) => {
                        self.log_in(&credentials, &mechanism).await
                    }
                    Exchange::Cancelled => bad("AUTHENTICATE cancelled"),
                    Exchange::Malformed => bad("the answer is not what the mechanism asks for"),
                    Exchange::UnknownMechanism => {
                        Step::Fail("NO [CANNOT] only PLAIN and LOGIN are known here".to_owned())
                    }
                }
            }
            Body::Other(_) => bad("unknown command"),
        })
    }

    async fn log_in(&mut self, credentials: &Credentials, mechanism: &str) -> Step {
        match self.attempts.log_in(credentials, sasl::known(mechanism)).await {
            Ok(logged_in) => {
                self.attempts.let_in(&logged_in);
                Step::In(Box::new(logged_in))
            }
            Err(refused) => Step::Fail(refusal(refused)),
        }
    }
}

fn welcome(tag: &str, logged_in: &LoggedIn) -> String {
    let list = match &logged_in.opened {
        Opened::Relay(relay) => imap::capability::rewrite(&relay.capabilities),
        Opened::Mailbox(mailbox) => super::mailbox::capabilities(&**mailbox),
    };
    match list.is_empty() {
        true => format!("{tag} OK logged in\r\n"),
        false => format!("{tag} OK [CAPABILITY {}] logged in\r\n", list.join(" ")),
    }
}

/// Reads one whole command, asking for its literals.
async fn next_command(talk: &mut Conversation) -> Result<BytesMut, Parting> {
    let deadline = talk.deadline();
    let mut asked = 0;
    loop {
        let scan = imap::scan(talk.input(), LIMITS);
        while asked < scan.continuations {
            talk.send("+ go ahead\r\n").await?;
            asked += 1;
        }
        match scan.progress {
            Progress::Complete(octets) => return Ok(talk.take(octets)),
            Progress::Partial => talk.fill(deadline).await?,
            Progress::TooLong => return Err(Parting::TooLong),
        }
    }
}
