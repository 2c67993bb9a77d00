//! Where a session stands, and which command may come next.
//!
//! Danger: a login kept over STARTTLS, recipients kept over RSET, a MAIL inside another one's
//! chunks. Rule: what exists only in a state lives in that state and goes with it; what is legal
//! when is the one table [`allowed`].

use std::collections::HashSet;

use super::receive::Chunks;
use crate::frontend::login::Login;
use crate::mail::{Address, Features, ReversePath, SenderRule, Transaction};
use crate::protocol::smtp::answer::Answer;
use crate::protocol::smtp::command::Command;

/// Where a session stands.
pub(super) enum State {
    /// Nothing was said yet, or TLS has just begun.
    Connected,
    /// HELO or EHLO; a login is needed.
    Greeted,
    /// HELO or EHLO from a network that needs no login; it may log in all the same.
    Trusted(Sender),
    /// Logged in.
    Authenticated(Sender),
    /// MAIL was accepted.
    InTransaction(Sender, Mail),
    /// BDAT has begun.
    InChunks(Sender, Mail, Box<Chunks>),
}

/// Who sends, and through what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sender {
    /// The login; `None`: an anonymous network.
    pub login: Option<String>,
    /// Name of the sending role.
    pub role: String,
    /// Addresses in lower case or `*@domain`; `None`: any.
    pub allowed: Option<Vec<String>>,
}

impl From<Login> for Sender {
    fn from(login: Login) -> Self {
        Self { login: Some(login.name), role: login.sending, allowed: login.allowed_senders }
    }
}

impl Sender {
    /// What the log calls it.
    pub fn name(&self) -> &str {
        self.login.as_deref().unwrap_or("(anonymous network)")
    }

    /// The state between two messages.
    pub fn ready(self) -> State {
        match self.login {
            Some(_) => State::Authenticated(self),
            None => State::Trusted(self),
        }
    }
}

/// A message on its way: envelope first.
pub(super) struct Mail {
    /// Takes the message.
    pub transaction: Box<dyn Transaction>,
    /// MAIL's argument.
    pub from: ReversePath,
    /// What becomes of senders other than the role's mailbox.
    pub rule: SenderRule,
    /// Who receives, so far.
    pub recipients: HashSet<Address>,
    /// True after any RCPT, a refused one too.
    pub tried: bool,
    /// What the role offers.
    pub features: Features,
}

/// The states without what they own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Connected,
    Greeted,
    Trusted,
    Authenticated,
    InTransaction,
    InChunks,
}

impl State {
    pub fn stage(&self) -> Stage {
        match self {
            Self::Connected => Stage::Connected,
            Self::Greeted => Stage::Greeted,
            Self::Trusted(_) => Stage::Trusted,
            Self::Authenticated(_) => Stage::Authenticated,
            Self::InTransaction(..) => Stage::InTransaction,
            Self::InChunks(..) => Stage::InChunks,
        }
    }

    /// Who sends, once that is known.
    pub fn sender(&self) -> Option<&Sender> {
        match self {
            Self::Connected | Self::Greeted => None,
            Self::Trusted(sender)
            | Self::Authenticated(sender)
            | Self::InTransaction(sender, _)
            | Self::InChunks(sender, ..) => Some(sender),
        }
    }

    /// Drops a message that was begun; a login stays (RFC 5321 section 4.1.1.5).
    pub fn reset(self) -> Self {
        match self {
            Self::InTransaction(sender, _) | Self::InChunks(sender, ..) => sender.ready(),
            other => other,
        }
    }
}

/// A command's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Hello,
    Auth,
    StartTls,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Vrfy,
    Help,
    Quit,
}

impl From<&Command> for Verb {
    fn from(command: &Command) -> Self {
        match command {
            Command::Hello { .. } => Self::Hello,
            Command::Auth { .. } => Self::Auth,
            Command::StartTls => Self::StartTls,
            Command::Mail(_) => Self::Mail,
            Command::Rcpt(_) => Self::Rcpt,
            Command::Data => Self::Data,
            Command::Bdat { .. } => Self::Bdat,
            Command::Rset => Self::Rset,
            Command::Noop => Self::Noop,
            Command::Vrfy => Self::Vrfy,
            Command::Help => Self::Help,
            Command::Quit => Self::Quit,
        }
    }
}

/// Why a command may not come now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutOfPlace {
    HelloFirst,
    LoginFirst,
    LoggedIn,
    MailFirst,
    MidMessage,
}

impl OutOfPlace {
    pub fn answer(self) -> Answer {
        match self {
            Self::HelloFirst => Answer::new(503, "5.5.1", "Say EHLO or HELO first"),
            Self::LoginFirst => Answer::new(530, "5.7.0", "Authentication required"),
            Self::LoggedIn => Answer::new(503, "5.5.1", "Already authenticated"),
            Self::MailFirst => Answer::new(503, "5.5.1", "Say MAIL first"),
            Self::MidMessage => Answer::new(503, "5.5.1", "Not while a message is being sent"),
        }
    }
}

impl Verb {
    /// Whether the command may come in this state.
    pub fn allowed_in(self, state: &State) -> Result<(), OutOfPlace> {
        allowed(self, state.stage())
    }
}

/// What is legal when (RFC 5321 section 4.1.4, RFC 3030, RFC 3207 section 4.2, RFC 4954 section 4).
fn allowed(verb: Verb, stage: Stage) -> Result<(), OutOfPlace> {
    use OutOfPlace::{HelloFirst, LoggedIn, LoginFirst, MailFirst, MidMessage};
    use Stage::{Authenticated, Connected, Greeted, InChunks, InTransaction, Trusted};
    match (verb, stage) {
        (Verb::Hello | Verb::Rset | Verb::Noop | Verb::Vrfy | Verb::Help | Verb::Quit, _) => Ok(()),
        (Verb::Auth | Verb::StartTls | Verb::Mail, InTransaction | InChunks) => Err(MidMessage),
        (Verb::StartTls, _) => Ok(()),
        (_, Connected) => Err(HelloFirst),
        (Verb::Auth, Authenticated) => Err(LoggedIn),
        (Verb::Auth, _) => Ok(()),
        (_, Greeted) => Err(LoginFirst),
        (Verb::Mail, _) => Ok(()),
        (Verb::Rcpt | Verb::Data | Verb::Bdat, Trusted | Authenticated) => Err(MailFirst),
        (Verb::Rcpt | Verb::Data, InChunks) => Err(MidMessage),
        (Verb::Rcpt | Verb::Data, InTransaction) => Ok(()),
        (Verb::Bdat, InTransaction | InChunks) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::OutOfPlace::{HelloFirst, LoggedIn, LoginFirst, MailFirst, MidMessage};
    use super::*;

    const STAGES: [Stage; 6] = [
        Stage::Connected,
        Stage::Greeted,
        Stage::Trusted,
        Stage::Authenticated,
        Stage::InTransaction,
        Stage::InChunks,
    ];

    #[test]
    fn every_command_in_every_state() {
        let ok = Ok(());
        let no = Err;
        let table: [(Verb, [Result<(), OutOfPlace>; 6]); 12] = [
            (Verb::Hello, [ok, ok, ok, ok, ok, ok]),
            (Verb::Auth, [no(HelloFirst), ok, ok, no(LoggedIn), no(MidMessage), no(MidMessage)]),
            (Verb::StartTls, [ok, ok, ok, ok, no(MidMessage), no(MidMessage)]),
            (Verb::Mail, [no(HelloFirst), no(LoginFirst), ok, ok, no(MidMessage), no(MidMessage)]),
            (
                Verb::Rcpt,
                [no(HelloFirst), no(LoginFirst), no(MailFirst), no(MailFirst), ok, no(MidMessage)],
            ),
            (
                Verb::Data,
                [no(HelloFirst), no(LoginFirst), no(MailFirst), no(MailFirst), ok, no(MidMessage)],
            ),
            (Verb::Bdat, [no(HelloFirst), no(LoginFirst), no(MailFirst), no(MailFirst), ok, ok]),
            (Verb::Rset, [ok, ok, ok, ok, ok, ok]),
            (Verb::Noop, [ok, ok, ok, ok, ok, ok]),
            (Verb::Vrfy, [ok, ok, ok, ok, ok, ok]),
            (Verb::Help, [ok, ok, ok, ok, ok, ok]),
            (Verb::Quit, [ok, ok, ok, ok, ok, ok]),
        ];
        for (verb, expected) in table {
            for (stage, expected) in STAGES.into_iter().zip(expected) {
                assert_eq!(allowed(verb, stage), expected, "{verb:?} in {stage:?}");
            }
        }
    }

    #[test]
    fn a_state_owns_its_sender() {
        let login = Login {
            name: "jane".to_owned(),
            sending: "Mail.Sending".to_owned(),
            receiving: "Mail.Receiving".to_owned(),
            allowed_senders: None,
        };
        let sender = Sender::from(login);
        let state = sender.clone().ready();
        assert_eq!((state.stage(), state.sender()), (Stage::Authenticated, Some(&sender)));
        let anonymous = Sender { login: None, ..sender };
        assert_eq!(anonymous.name(), "(anonymous network)");
        assert_eq!(anonymous.ready().reset().stage(), Stage::Trusted);
        assert_eq!(Verb::Mail.allowed_in(&State::Connected), Err(HelloFirst));
    }
}
