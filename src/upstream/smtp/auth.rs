//! AUTH towards an SMTP service (RFC 4954).
//!
//! Danger: after an XOAUTH2 refusal the service waits for an empty line; without it the session
//! hangs. A token of 4 KB in one command line exceeds what services read. Rule: the initial
//! response is used only when the line stays within 512 octets; every 334 is answered; no AUTH line
//! is ever logged, and buffers that hold one are wiped.

use zeroize::Zeroizing;

use super::connection::Connection;
use super::refusal;
use crate::mail::Kind;
use crate::protocol::smtp::reply::Reply;
use crate::secret::Secret;
use crate::upstream::connect::{Failure, Service};
use crate::upstream::login::{Credentials, SignIn, broken, plain_blob, xoauth2_blob};

/// Longest command line with its CRLF, in octets (RFC 5321 section 4.5.3.1.4). AUTH may be longer
/// (RFC 4954 section 4), but not every service knows.
const MAX_COMMAND_LINE: usize = 512;

/// Logs in on a fresh connection.
pub(super) async fn log_in(
    connection: &mut Connection,
    service: &Service,
    credentials: &Credentials<'_>,
) -> Result<(), SignIn> {
    match credentials {
        Credentials::None => Ok(()),
        Credentials::Token(token) => {
            require(connection, service, "XOAUTH2")?;
            let blob = xoauth2_blob(service, token)?;
            let answer = respond(connection, "XOAUTH2", &blob).await.map_err(broken(service))?;
            finish_xoauth2(connection, service, answer).await
        }
        Credentials::Password { login, password } => {
            let offers = |mechanism| connection.extensions.offers_auth(mechanism);
            if offers("LOGIN") && !offers("PLAIN") {
                return log_in_by_login(connection, service, login, password).await;
            }
            require(connection, service, "PLAIN")?;
            let blob = plain_blob(service, login, password)?;
            let answer = respond(connection, "PLAIN", &blob).await.map_err(broken(service))?;
            accepted(service, "PLAIN", &answer)
        }
    }
}

/// Says what is missing, which is more than the service's own 504 would.
fn require(connection: &Connection, service: &Service, mechanism: &str) -> Result<(), SignIn> {
    if connection.extensions.offers_auth(mechanism) {
        return Ok(());
    }
    let offered = match connection.extensions.auth.as_slice() {
        [] => "no login at all".to_owned(),
        offered => offered.join(" "),
    };
    let words = format!(
        "does not offer a login with {mechanism} here, it offers {offered}; check AuthType, UseSsl \
         and TlsMode, or set UseAuth = False if it wants no login"
    );
    Err(service.error(Kind::SignInNeeded, words).into())
}

/// Sends mechanism and response, together when they are short.
async fn respond(
    connection: &mut Connection,
    mechanism: &str,
    response: &Secret,
) -> Result<Reply, Failure> {
    let limit = connection.timeouts.greeting;
    let line = Zeroizing::new(format!("AUTH {mechanism} {}", response.expose()));
    if line.len() + 2 <= MAX_COMMAND_LINE {
        let reply = secret_line(connection, &line).await?;
        // A service that knows no initial response calls it a wrong argument: RFC 4954 section 4
        // wants it, RFC 2554's first implementations did not all have it.
        if !matches!(reply.code, 500 | 501) {
            return Ok(reply);
        }
    }
    let reply = connection.command(&format!("AUTH {mechanism}"), limit).await?;
    match reply.code {
        334 => secret_line(connection, response.expose()).await,
        _ => Ok(reply),
    }
}

async fn secret_line(connection: &mut Connection, text: &str) -> Result<Reply, Failure> {
    let limit = connection.timeouts.greeting;
    let line = Zeroizing::new(format!("{text}\r\n"));
    connection.send(line.as_bytes()).await?;
    connection.last_reply(limit).await
}

/// A refusal comes as a challenge, which an empty line must answer (facts/google-oauth.md 3).
async fn finish_xoauth2(
    connection: &mut Connection,
    service: &Service,
    answer: Reply,
) -> Result<(), SignIn> {
    if answer.code != 334 {
        return accepted(service, "XOAUTH2", &answer);
    }
    let challenge = answer.text();
    let limit = connection.timeouts.greeting;
    let last = connection.command("", limit).await.map_err(broken(service))?;
    if last.is_positive() {
        let words = format!("accepted a login that it had refused before: {last}");
        return Err(service.error(Kind::Unavailable, words).into());
    }
    Err(refusal::of_login(service, "XOAUTH2", &last, Some(&challenge)))
}

/// AUTH LOGIN: login and password, each after its own challenge (draft-murchison-sasl-login).
async fn log_in_by_login(
    connection: &mut Connection,
    service: &Service,
    login: &str,
    password: &Secret,
) -> Result<(), SignIn> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    let limit = connection.timeouts.greeting;
    let mut answer = connection.command("AUTH LOGIN", limit).await.map_err(broken(service))?;
    for text in [login, password.expose()] {
        if answer.code != 334 {
            return accepted(service, "LOGIN", &answer).and(Err(out_of_step(service)));
        }
        let encoded = Zeroizing::new(STANDARD.encode(text));
        answer = secret_line(connection, &encoded).await.map_err(broken(service))?;
    }
    accepted(service, "LOGIN", &answer)
}

fn out_of_step(service: &Service) -> SignIn {
    service.error(Kind::Unavailable, "accepted AUTH LOGIN before it had the password").into()
}

fn accepted(service: &Service, mechanism: &str, answer: &Reply) -> Result<(), SignIn> {
    match answer.code {
        235 => Ok(()),
        _ => Err(refusal::of_login(service, mechanism, answer, None)),
    }
}
