//! Proves a receiving role: the way there, the token, the mailbox, one folder.
//!
//! Danger: an IMAP service may say OK to the login and nothing after it, and a POP3 maildrop that is
//! opened is locked for others. Rule: one command is asked after the login, and the session is ended
//! in the protocol's own way at once.

use std::future::ready;
use std::sync::Arc;

use super::clock;
use super::endpoint::{self, Endpoint};
use super::progress::{Outcome, Progress};
use super::talk::{Talk, Trouble};
use super::{ANY_LOGIN, Site, TEMPLATE, is_public};
use crate::admin::report::Subject;
use crate::config::{MailServer, Microsoft365, ReceivingKind, ReceivingRole, ServerAuth};
use crate::mail::{Opened, Protocol, Upstream};
use crate::oauth::Service;

impl Site<'_> {
    /// Everything about a receiving role. `None`: a step has failed.
    pub(super) async fn receiving(
        self,
        role: &ReceivingRole,
        progress: &mut Progress<'_>,
    ) -> Option<()> {
        let (server, protocol, service) = match &role.kind {
            ReceivingKind::Imap(server) => (server, Protocol::Imap, Service::Imap),
            ReceivingKind::Pop3(server) => (server, Protocol::Pop3, Service::Pop3),
            ReceivingKind::Mapi => {
                let text = "there is nothing to prove: MAPI is left to the application";
                progress.note(Subject::Mailbox, Outcome::not_proved(text));
                return Some(());
            }
            ReceivingKind::Microsoft365 { account, .. } => {
                self.way_there(endpoint::of_receiving(role), progress).await?;
                return self.graph_mailbox(&role.name, account, progress).await;
            }
        };
        self.way_there(endpoint::of_receiving(role), progress).await?;
        let upstream = match self.builder.receiving(role) {
            Ok(upstream) => upstream,
            Err(error) => {
                progress.note(Subject::Token, Outcome::failed(error.to_string()));
                return None;
            }
        };
        self.server_token(&role.name, server, service, progress).await?;
        if server.needs_login() {
            progress.note(Subject::Mailbox, Outcome::not_proved(TEMPLATE));
            return Some(());
        }
        log_in(&upstream, server, protocol, progress).await
    }

    /// Network, TLS and clock. A wrong clock is told, and the rest tried all the same.
    pub(super) async fn way_there(
        self,
        endpoints: Vec<Endpoint>,
        progress: &mut Progress<'_>,
    ) -> Option<()> {
        let reached = progress.step(Subject::Network, self.reach(endpoints)).await?;
        let seen = progress.step(Subject::Tls, self.secure(reached)).await?;
        if let Some(outcome) = clock::compare(&seen) {
            progress.step(Subject::Clock, ready(outcome)).await;
        }
        Some(())
    }

    /// The token of a role whose upstream has been built.
    pub(super) async fn server_token(
        self,
        role: &str,
        server: &MailServer,
        service: Service,
        progress: &mut Progress<'_>,
    ) -> Option<()> {
        let Some(tokens) = self.builder.source(role) else { return Some(()) };
        match &server.auth {
            ServerAuth::None | ServerAuth::Basic { .. } => Some(()),
            // A token of Google's is for one mailbox, and that is not known before a login.
            ServerAuth::Google(_) if server.needs_login() => Some(()),
            ServerAuth::Google(_) => self.google_token(&tokens, progress).await,
            ServerAuth::Microsoft(account) if server.needs_login() && is_public(account) => {
                Some(())
            }
            ServerAuth::Microsoft(account) => {
                self.microsoft_token(account, service, &tokens, progress).await.map(drop)
            }
        }
    }

    async fn graph_mailbox(
        self,
        role: &str,
        account: &Microsoft365,
        progress: &mut Progress<'_>,
    ) -> Option<()> {
        if account.needs_login() && is_public(account) {
            progress.note(Subject::Mailbox, Outcome::not_proved(TEMPLATE));
            return Some(());
        }
        let tokens = match self.builder.graph_tokens(role, account, Service::GraphReading) {
            Ok(tokens) => tokens,
            Err(error) => {
                progress.note(Subject::Token, Outcome::failed(error.to_string()));
                return None;
            }
        };
        self.microsoft_token(account, Service::GraphReading, &tokens, progress).await?;
        if account.needs_login() {
            progress.note(Subject::Mailbox, Outcome::not_proved(TEMPLATE));
            return Some(());
        }
        let proof = self.builder.mailbox_proof(role, account, tokens, ANY_LOGIN);
        let work = async {
            match proof.read_inbox().await {
                Ok(told) => Ok((Outcome::works("Microsoft Graph opens the mailbox"), told)),
                Err(error) => Err(Outcome::failed(error.chain())),
            }
        };
        let told = progress.step(Subject::Mailbox, work).await?;
        progress.note(Subject::Folder, Outcome::works(told));
        Some(())
    }
}

async fn log_in(
    upstream: &Arc<dyn Upstream>,
    server: &MailServer,
    protocol: Protocol,
    progress: &mut Progress<'_>,
) -> Option<()> {
    let work = async {
        match upstream.open(ANY_LOGIN, protocol).await {
            Ok(opened) => Ok((Outcome::works(let_in(server)), opened)),
            Err(error) => Err(Outcome::failed(error.chain())),
        }
    };
    let Opened::Relay(relay) = progress.step(Subject::Mailbox, work).await? else {
        return Some(());
    };
    let mut talk = Talk::new(relay);
    let work = async {
        let count = match protocol {
            Protocol::Imap => talk.examine().await,
            Protocol::Pop3 => talk.stat().await,
        };
        match count {
            Ok(count) => {
                let text = format!("{} has let us in, and {}", server.host, read(protocol, count));
                Ok((Outcome::works(text), ()))
            }
            Err(trouble) => Err(Outcome::failed(unread(server, protocol, &trouble))),
        }
    };
    let read = progress.step(Subject::Folder, work).await;
    talk.end(protocol).await;
    read
}

/// What is said of a service that took the login.
pub(super) fn let_in(server: &MailServer) -> String {
    match &server.auth {
        ServerAuth::None => format!("{} answers", server.host),
        _ => format!("{} has let us in", server.host),
    }
}

fn read(protocol: Protocol, count: u64) -> String {
    match protocol {
        Protocol::Imap => format!("INBOX can be read ({count} messages)"),
        Protocol::Pop3 => format!("the maildrop can be read ({count} messages)"),
    }
}

fn unread(server: &MailServer, protocol: Protocol, trouble: &Trouble) -> String {
    let host = &server.host;
    match (protocol, trouble) {
        (Protocol::Imap, Trouble::Refused(_)) => format!(
            "{host} lets us in but does not open INBOX: it {trouble}; see that IMAP is on for the \
             mailbox, that INBOX is shown in IMAP (Gmail: Settings, Labels), and that the login has \
             the right to read it (Exchange: Add-MailboxPermission -AccessRights FullAccess)"
        ),
        (Protocol::Pop3, Trouble::Refused(_)) => format!(
            "{host} lets us in but does not open the maildrop: it {trouble}; see that POP is on for \
             the mailbox (Gmail: Settings, Forwarding and POP/IMAP; Exchange: Set-CASMailbox \
             -PopEnabled $true), and that no other program has it open"
        ),
        (_, Trouble::Ended(_)) => format!(
            "{host} lets us in but ends the session with the first command ({trouble}): it knows \
             the login and does not open the mailbox; check the right to it, and that {protocol} is \
             on for it"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Host, Security};
    use crate::upstream::connect::Failure;

    #[test]
    fn a_mailbox_that_does_not_open_is_told_with_what_to_look_at() {
        let host = Host { name: "h".to_owned(), port: 993 };
        let server = MailServer { host, security: Security::Implicit, auth: ServerAuth::None };
        let refused = || Trouble::Refused("NO [NONEXISTENT] x".to_owned());
        for (protocol, trouble, words) in [
            (Protocol::Imap, refused(), "[NONEXISTENT]|shown in IMAP|FullAccess"),
            (Protocol::Pop3, refused(), "POP is on|PopEnabled"),
            (Protocol::Imap, Trouble::Ended(Failure::Closed), "closed the connection|IMAP is on"),
        ] {
            let text = unread(&server, protocol, &trouble);
            for word in words.split('|') {
                assert!(text.contains(word), "{word} in {text}");
            }
        }
        assert_eq!(let_in(&server), "h:993 answers");
    }
}
