//! AUTH (RFC 4954) with PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login).
//!
//! Danger: a password on an open network; a second login on top of the first; guessing without
//! end. Rule: no mechanism off loopback without TLS; the table lets AUTH come once; each refusal
//! counts, and its answer is the same whatever was wrong (the delay too: `Logins` sees to that).

use super::connection::{End, wipe};
use super::session::{Session, line_fault};
use super::state::{Sender, Stage, State};
use crate::frontend::login::Verdict;
use crate::frontend::sasl;
use crate::protocol::sasl::{
    Credentials, LOGIN_PASSWORD_CHALLENGE, LOGIN_USERNAME_CHALLENGE, decode_line, decode_plain,
};
use crate::protocol::smtp::answer::Answer;
use crate::protocol::smtp::line::Expected;
use crate::secret::Secret;

/// Refused logins before the session is closed.
const MAX_FAILED_LOGINS: u32 = 10;

/// Why there are no credentials to check.
enum NoCredentials {
    /// The exchange went wrong: this is the reply.
    Reply(Answer),
    /// It was base64, but not what the mechanism says: answered as a wrong password.
    Malformed,
}

impl Session {
    pub(super) async fn auth(
        &mut self,
        state: State,
        mechanism: &str,
        initial: Option<Secret>,
    ) -> Result<State, End> {
        if !self.passwords_may_cross() {
            let text = "Passwords are taken over TLS only; use STARTTLS";
            self.reply(&Answer::new(538, "5.7.11", text));
            return Ok(state);
        }
        let (stage, named) = (state.stage(), sasl::known(mechanism));
        let credentials = match mechanism {
            "PLAIN" => self.plain(stage, initial).await?,
            "LOGIN" => self.login(stage, initial).await?,
            _ => Err(NoCredentials::Reply(Answer::new(504, "5.5.4", "Unknown mechanism"))),
        };
        match credentials {
            Ok(credentials) => self.verify(state, Some(credentials), named).await,
            Err(NoCredentials::Malformed) => self.verify(state, None, named).await,
            Err(NoCredentials::Reply(answer)) => {
                self.reply(&answer);
                self.count_fault()?;
                Ok(state)
            }
        }
    }

    async fn verify(
        &mut self,
        state: State,
        credentials: Option<Credentials>,
        mechanism: &'static str,
    ) -> Result<State, End> {
        let from = self.peer.address.ip().to_canonical();
        let verdict = match &credentials {
            Some(given) => self.context.logins.verify(from, &given.login, &given.password).await,
            None => Verdict::Refused,
        };
        match verdict {
            Verdict::Granted(login) => {
                tracing::info!(client_login = login.name, role = login.sending, "logged in");
                self.live.logged_in(&login.name, &login.sending, mechanism);
                self.reply(&Answer::new(235, "2.7.0", "Authentication successful"));
                return Ok(Sender::from(login).ready());
            }
            Verdict::Busy => {
                tracing::warn!("too many logins are being checked at the same time");
                self.live.put_off();
                self.reply(&Answer::new(454, "4.7.0", "Too many logins at once; try again later"));
                return Ok(state);
            }
            Verdict::Refused => {}
        }
        tracing::warn!(failures = self.failed_logins + 1, "login refused");
        let name = credentials.as_ref().map_or("", |given| given.login.as_str());
        self.context.logins.note_refusal(&self.live, name, mechanism);
        self.reply(&Answer::new(535, "5.7.8", "Authentication credentials invalid"));
        self.failed_logins += 1;
        if self.failed_logins < MAX_FAILED_LOGINS {
            return Ok(state);
        }
        self.reply(&Answer::new(421, "4.7.0", "Too many failed logins; closing"));
        Err(End::Refused("too many failed logins"))
    }

    async fn plain(
        &mut self,
        stage: Stage,
        initial: Option<Secret>,
    ) -> Result<Result<Credentials, NoCredentials>, End> {
        let message = match self.response(stage, initial, "").await? {
            Ok(message) => message,
            Err(none) => return Ok(Err(none)),
        };
        Ok(decode_plain(&message).ok_or(NoCredentials::Malformed))
    }

    /// Some clients send the user name as initial response, some wait for its challenge.
    async fn login(
        &mut self,
        stage: Stage,
        initial: Option<Secret>,
    ) -> Result<Result<Credentials, NoCredentials>, End> {
        let name = match self.response(stage, initial, LOGIN_USERNAME_CHALLENGE).await? {
            Ok(name) => name,
            Err(none) => return Ok(Err(none)),
        };
        let password = match self.response(stage, None, LOGIN_PASSWORD_CHALLENGE).await? {
            Ok(password) => password,
            Err(none) => return Ok(Err(none)),
        };
        if name.is_empty() || name.expose().contains('\0') {
            return Ok(Err(NoCredentials::Malformed));
        }
        Ok(Ok(Credentials { login: name.expose().to_owned(), password }))
    }

    /// The decoded initial response, or the decoded answer to a challenge.
    async fn response(
        &mut self,
        stage: Stage,
        initial: Option<Secret>,
        challenge: &'static str,
    ) -> Result<Result<Secret, NoCredentials>, End> {
        let line = match initial {
            Some(initial) => initial,
            None => match self.ask(stage, challenge).await? {
                Ok(line) => line,
                Err(answer) => return Ok(Err(NoCredentials::Reply(answer))),
            },
        };
        if line.expose() == "*" {
            let answer = Answer::new(501, "5.0.0", "Authentication cancelled");
            return Ok(Err(NoCredentials::Reply(answer)));
        }
        let bad = Answer::new(501, "5.5.2", "The response is not valid base64");
        Ok(decode_line(line.expose()).ok_or(NoCredentials::Reply(bad)))
    }

    async fn ask(
        &mut self,
        stage: Stage,
        challenge: &'static str,
    ) -> Result<Result<Secret, Answer>, End> {
        self.reply(&Answer::bare(334, challenge));
        let patience = self.patience(stage);
        let stopping = Some(&self.context.stopping);
        let line = match self.connection.line(Expected::Sasl, patience, stopping).await? {
            Ok(line) => line,
            Err(fault) => {
                let (code, enhanced, text) = line_fault(fault);
                return Ok(Err(Answer::new(code, enhanced, text)));
            }
        };
        // What is not UTF-8 is not base64 either; the next step says so.
        let text = Secret::new(std::str::from_utf8(&line).unwrap_or("*not base64*"));
        wipe(line);
        Ok(Ok(text))
    }
}
