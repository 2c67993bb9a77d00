//! What services answer, as hostile octets; see `crate::fuzzing`.
//!
//! Danger: after a name was hijacked, or behind a wrong port, somebody else answers, and what it says
//! goes into errors, logs and the answer to our client. Rule: a dialogue with a peer that says
//! anything at all ends with its input, shows nothing but one printable line, and never what we sent.

use std::sync::LazyLock;

use super::connect::{Dialogue, Service};
use super::login::Credentials;
use super::smtp::fuzzing::log_in;
use super::{ImapUpstream, Login, Pop3Upstream};
use crate::config::{Host, MailServer, Security, ServerAuth};
use crate::fuzzing::{Octets, run, split_seed};
use crate::mail;
use crate::secret::Secret;
use crate::tls::{ClientTls, install_provider};

pub use super::graph::fuzzing::graph_json;

/// What must not come back in an error.
const PASSWORD: &str = "sesame-open-7731";

static TLS: LazyLock<ClientTls> = LazyLock::new(|| {
    install_provider();
    ClientTls::new(None).expect("no file is read")
});

fn server(seed: u8) -> MailServer {
    let security = if seed & 1 == 0 { Security::Plain } else { Security::StartTls };
    let host = Host { name: "mail.example".to_owned(), port: 143 };
    MailServer { host, security, auth: ServerAuth::None }
}

/// The dialogue with a peer that says `octets`, and how we log in there.
fn over<'a>(octets: &[u8], seed: u8, password: &'a Secret) -> (Dialogue, Credentials<'a>) {
    let (stream, _) = Octets::new(octets, seed);
    let login = "jane@mail.example".to_owned();
    (Dialogue::new(Box::new(stream)), Credentials::Password { login, password })
}

fn check(error: &mail::Error) {
    let text = error.chain();
    assert!(!text.contains(PASSWORD), "the password is shown");
    assert!(!text.contains(['\r', '\n']), "{text:?} is more than a line");
    assert!(text.len() < 8192, "{} octets of error", text.len());
}

/// Logging in to an IMAP service.
pub fn imap_upstream(data: &[u8]) {
    let (seed, octets) = split_seed(data);
    let (password, login) = (Secret::new(PASSWORD), Login::None);
    let upstream = ImapUpstream::new("Mail.Receiving", &server(seed), login, TLS.clone());
    let (dialogue, credentials) = over(octets, seed, &password);
    if let Err(refused) = run(upstream.log_in_over(dialogue, &credentials)) {
        check(&refused.into_error());
    }
}

/// Logging in to a POP3 service.
pub fn pop3_upstream(data: &[u8]) {
    let (seed, octets) = split_seed(data);
    let (password, login) = (Secret::new(PASSWORD), Login::None);
    let upstream = Pop3Upstream::new("Mail.Receiving", &server(seed), login, TLS.clone());
    let (dialogue, credentials) = over(octets, seed, &password);
    if let Err(refused) = run(upstream.log_in_over(dialogue, &credentials)) {
        check(&refused.into_error());
    }
}

/// Greeting, EHLO and login of an SMTP service.
pub fn smtp_upstream(data: &[u8]) {
    let (seed, octets) = split_seed(data);
    let password = Secret::new(PASSWORD);
    let service = Service::new("Mail.Sending", &server(seed), TLS.clone());
    let (dialogue, credentials) = over(octets, seed, &password);
    if let Err(error) = run(log_in(dialogue, &service, &credentials)) {
        check(&error);
    }
}
