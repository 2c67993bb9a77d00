//! Proves what each role promises, for `check`: a token, and that the service lets us in.
//!
//! Danger: a proof that leaves something behind, or that waits for ever on one silent server. Rule:
//! nothing is sent, stored or marked; every role is proved at the same time as the others,
//! with its own connection, and given up after [`PATIENCE`].

use std::future::Future;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use tokio::io::AsyncWriteExt;

use super::Error;
use super::roles::Builder;
use crate::config::{
    Config, MailServer, Microsoft365, MicrosoftApp, ReceivingKind, ReceivingRole, SendingKind,
    SendingRole, ServerAuth,
};
use crate::mail::{Opened, Protocol};
use crate::oauth::Service;
use crate::tls::ClientTls;

/// Longest time for one role. A person waits for the answer; a service that needs longer for a
/// login is not one that an application can work with.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a service may take to hear our goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// Stands for a client's login where any will do: an application's token serves every mailbox.
const ANY_LOGIN: &str = "postmaster@localhost";

const TOKEN_OF_TEMPLATE: &str =
    "there is an access token; the mailbox is that of the client that logs in ({login})";

const SIGN_IN: &str = "signing in comes with a later version; until then use IntegrationType = \
                       Confidential with an application of its own";

/// What was found out about a role, or about several that are one mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Their names.
    pub roles: Vec<String>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a proof. Each text is for the administrator and holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It works, as far as the text says.
    Proved(String),
    /// Nothing can be proved from here, and why.
    Unprovable(String),
    /// It does not work: why, and what to do.
    Failed(String),
}

impl Outcome {
    /// True when somebody must act.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

/// Proves every role that `chosen` picks by its name, all at the same time.
pub async fn probe(config: &Config, chosen: impl Fn(&str) -> bool) -> Result<Vec<Finding>, Error> {
    let tls = ClientTls::new(config.upstream.ca_path.as_deref())?;
    let builder = Builder::new(config, &tls)?;
    let sending = config.sending.iter().filter(|role| chosen(&role.name));
    let receiving = config.receiving.iter().filter(|role| chosen(&role.name));
    let proofs: Vec<BoxFuture<'_, Finding>> = sending
        .map(|role| finding(vec![role.name.clone()], builder.prove_sending(role)).boxed())
        .chain(
            mailboxes(receiving)
                .into_iter()
                .map(|(role, names)| finding(names, builder.prove_receiving(role)).boxed()),
        )
        .collect();
    Ok(join_all(proofs).await)
}

/// Each mailbox once, with the names of all its roles: the `EmailClient` roles inherit theirs, and
/// one wrong password must not count as three failed logins.
fn mailboxes<'a>(
    roles: impl Iterator<Item = &'a ReceivingRole>,
) -> Vec<(&'a ReceivingRole, Vec<String>)> {
    let mut found: Vec<(&ReceivingRole, Vec<String>)> = Vec::new();
    for role in roles {
        match found.iter_mut().find(|(other, _)| other.kind == role.kind) {
            Some((_, names)) => names.push(role.name.clone()),
            None => found.push((role, vec![role.name.clone()])),
        }
    }
    found
}

async fn finding(
    roles: Vec<String>,
    proof: impl Future<Output = Result<Outcome, String>>,
) -> Finding {
    let outcome = match tokio::time::timeout(PATIENCE, proof).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(text)) => {
            Outcome::Failed(roles.iter().fold(text, |text, role| without_role(role, &text)))
        }
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            Outcome::Failed(format!(
                "there was no end to it within {seconds} seconds; see whether the service is slow, \
                 or a firewall swallows the connection"
            ))
        }
    };
    Finding { roles, outcome }
}

/// The text without the role's name in front, which whoever prints a finding puts there.
fn without_role(role: &str, text: &str) -> String {
    let prefix = format!("{role}: ");
    let mut rest = text;
    while let Some(shorter) = rest.strip_prefix(&prefix) {
        rest = shorter;
    }
    let rest = match rest.strip_prefix(&format!("{role} (")).and_then(|r| r.split_once("): ")) {
        Some((mailbox, rest)) => format!("{mailbox}: {rest}"),
        None => rest.to_owned(),
    };
    rest.replace(&format!(": {prefix}"), ": ")
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Builder {
    async fn prove_sending(&self, role: &SendingRole) -> Result<Outcome, String> {
        match &role.kind {
            SendingKind::Smtp { server, .. } if server.needs_login() => {
                self.prove_template(&role.name, server, Service::Smtp).await
            }
            SendingKind::Smtp { server, messages_per_session } => {
                refuse_public(server)?;
                let smtp = self.smtp(&role.name, server, *messages_per_session).map_err(text)?;
                smtp.try_login(None).await.map_err(text)?;
                Ok(let_in(server))
            }
            SendingKind::Microsoft365 { account, .. } => {
                self.prove_graph_token(&role.name, account).await?;
                Ok(Outcome::Proved(
                    "there is an access token; the right to send as this mailbox shows with the \
                     first message"
                        .to_owned(),
                ))
            }
        }
    }

    async fn prove_receiving(&self, role: &ReceivingRole) -> Result<Outcome, String> {
        let (server, protocol) = match &role.kind {
            ReceivingKind::Imap(server) => (server, Protocol::Imap),
            ReceivingKind::Pop3(server) => (server, Protocol::Pop3),
            ReceivingKind::Mapi => {
                return Ok(Outcome::Unprovable("there is nothing to prove".to_owned()));
            }
            ReceivingKind::Microsoft365 { account, .. } => {
                return self.prove_graph_mailbox(&role.name, account).await;
            }
        };
        if server.needs_login() {
            let service = match protocol {
                Protocol::Imap => Service::Imap,
                Protocol::Pop3 => Service::Pop3,
            };
            return self.prove_template(&role.name, server, service).await;
        }
        refuse_public(server)?;
        let upstream = self.receiving(role).map_err(text)?;
        let opened = upstream.open(ANY_LOGIN, protocol).await.map_err(text)?;
        say_goodbye(opened, protocol).await;
        Ok(let_in(server))
    }

    async fn prove_graph_mailbox(
        &self,
        role: &str,
        account: &Microsoft365,
    ) -> Result<Outcome, String> {
        if account.needs_login() {
            self.prove_graph_token(role, account).await?;
            return Ok(Outcome::Proved(TOKEN_OF_TEMPLATE.to_owned()));
        }
        if matches!(account.app, MicrosoftApp::Public { .. }) {
            return Err(SIGN_IN.to_owned());
        }
        self.prove_mailbox(role, account, ANY_LOGIN).await.map(Outcome::Proved)
    }

    async fn prove_graph_token(&self, role: &str, account: &Microsoft365) -> Result<(), String> {
        if matches!(account.app, MicrosoftApp::Public { .. }) {
            return Err(SIGN_IN.to_owned());
        }
        let tokens = self.graph_tokens(role, account, Service::GraphReading).map_err(text)?;
        tokens.token(Some(ANY_LOGIN)).await.map(drop).map_err(text)
    }

    /// A role whose mailbox is the client's: the application can be proved, the mailbox can't.
    async fn prove_template(
        &self,
        role: &str,
        server: &MailServer,
        service: Service,
    ) -> Result<Outcome, String> {
        refuse_public(server)?;
        // Also reads a Google key; a token of Google's is for one mailbox, so none is asked for.
        let tokens = self.tokens(role, &server.auth, service).map_err(text)?;
        let tokens = tokens.filter(|_| matches!(server.auth, ServerAuth::Microsoft(_)));
        let Some(tokens) = tokens else {
            return Ok(Outcome::Unprovable(
                "its mailbox is that of the client that logs in ({login}), so nothing is proved \
                 before one does"
                    .to_owned(),
            ));
        };
        tokens.token(Some(ANY_LOGIN)).await.map_err(text)?;
        Ok(Outcome::Proved(TOKEN_OF_TEMPLATE.to_owned()))
    }
}

fn refuse_public(server: &MailServer) -> Result<(), String> {
    match &server.auth {
        ServerAuth::Microsoft(account) if matches!(account.app, MicrosoftApp::Public { .. }) => {
            Err(SIGN_IN.to_owned())
        }
        _ => Ok(()),
    }
}

fn let_in(server: &MailServer) -> Outcome {
    Outcome::Proved(match &server.auth {
        ServerAuth::None => format!("{} answers", server.host),
        _ => format!("{} has let us in", server.host),
    })
}

/// Ends the session in the protocol's own way; nothing was selected, nothing is marked.
async fn say_goodbye(opened: Opened, protocol: Protocol) {
    let Opened::Relay(mut relay) = opened else { return };
    let goodbye: &[u8] = match protocol {
        Protocol::Imap => b"bye LOGOUT\r\n",
        Protocol::Pop3 => b"QUIT\r\n",
    };
    let sent = async {
        relay.stream.write_all(goodbye).await?;
        relay.stream.shutdown().await
    };
    // The proof is done: whether the service hears it changes nothing.
    let _ = tokio::time::timeout(GOODBYE, sent).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_is_not_named_twice() {
        for (text, expected) in [
            ("Mail.Sending: no", "no"),
            ("Mail.Sending: there is no token: Mail.Sending: why", "there is no token: why"),
            ("other: Mail.Sending", "other: Mail.Sending"),
            ("Mail.Sending (a@b.example): while x: no", "a@b.example: while x: no"),
            ("Mail.Sending (a@b.example", "Mail.Sending (a@b.example"),
        ] {
            assert_eq!(without_role("Mail.Sending", text), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_service_is_given_up() {
        let begin = tokio::time::Instant::now();
        let finding = finding(vec!["Mail.Sending".to_owned()], std::future::pending()).await;
        assert_eq!(begin.elapsed(), PATIENCE);
        assert!(finding.outcome.is_failure());
    }
}
