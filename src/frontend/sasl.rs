//! PLAIN and LOGIN as IMAP and POP3 carry them: `+` challenges, lines of base64.
//!
//! Danger: the lines hold passwords. Rule: they go straight into a [`Secret`], and a line that is
//! not base64 is reported without being shown.

use super::conversation::{Conversation, Parting};
use crate::protocol::sasl::{self, Credentials};
use crate::secret::Secret;

/// Longest line of base64: a login and a password of some thousand octets.
const MAX_LINE: usize = 12 << 10;

/// What an exchange ended with.
#[derive(Debug, PartialEq, Eq)]
pub enum Exchange {
    /// A login and password.
    Credentials(Credentials),
    /// The client sent `*` (RFC 3501 section 6.2.2, RFC 5034 section 4).
    Cancelled,
    /// What the client sent can't be read.
    Malformed,
    /// We do not have this mechanism.
    UnknownMechanism,
}

/// The name under which a way to log in is noted.
pub fn known(mechanism: &str) -> &'static str {
    ["PLAIN", "LOGIN", "USER"].into_iter().find(|known| *known == mechanism).unwrap_or("none")
}

/// Runs the exchange of `mechanism` (in upper case) after the client has asked for it.
pub async fn exchange(
    talk: &mut Conversation,
    mechanism: &str,
    initial: Option<Secret>,
) -> Result<Exchange, Parting> {
    match mechanism {
        "PLAIN" => plain(talk, initial).await,
        "LOGIN" => login(talk, initial).await,
        _ => Ok(Exchange::UnknownMechanism),
    }
}

/// RFC 4616.
async fn plain(talk: &mut Conversation, initial: Option<Secret>) -> Result<Exchange, Parting> {
    let message = match answer(talk, "", initial).await? {
        Ok(message) => message,
        Err(end) => return Ok(end),
    };
    let credentials = sasl::decode_plain(&message);
    Ok(credentials.map_or(Exchange::Malformed, Exchange::Credentials))
}

/// draft-murchison-sasl-login; some clients send the login as initial response.
async fn login(talk: &mut Conversation, initial: Option<Secret>) -> Result<Exchange, Parting> {
    let login = match answer(talk, sasl::LOGIN_USERNAME_CHALLENGE, initial).await? {
        Ok(login) => login.expose().to_owned(),
        Err(end) => return Ok(end),
    };
    match answer(talk, sasl::LOGIN_PASSWORD_CHALLENGE, None).await? {
        Ok(password) if !login.is_empty() => {
            Ok(Exchange::Credentials(Credentials { login, password }))
        }
        Ok(_) => Ok(Exchange::Malformed),
        Err(end) => Ok(end),
    }
}

/// The decoded answer to a challenge, unless it came with the command.
async fn answer(
    talk: &mut Conversation,
    challenge: &str,
    initial: Option<Secret>,
) -> Result<Result<Secret, Exchange>, Parting> {
    let line = match initial {
        Some(line) => line,
        None => {
            talk.send(&format!("+ {challenge}\r\n")).await?;
            let line = talk.line(MAX_LINE).await?;
            Secret::new(String::from_utf8_lossy(&line))
        }
    };
    if line.expose().trim_end() == "*" {
        return Ok(Err(Exchange::Cancelled));
    }
    Ok(sasl::decode_line(line.expose()).ok_or(Exchange::Malformed))
}
