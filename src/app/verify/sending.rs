//! Proves the right to send, without sending.
//!
//! Danger: "works" about what only a message can show. Rule: SMTP services are asked whether they
//! would take an envelope, which is taken back; Graph can't be asked, so the token's word and the
//! mailbox's presence are told as just that, and Send As is said to be unproved.

use super::endpoint;
use super::progress::{Outcome, Progress};
use super::reading::let_in;
use super::token::Says;
use super::{ANY_LOGIN, Site, TEMPLATE, is_public};
use crate::admin::report::Subject;
use crate::app::roles::LARGE_PER_SESSION;
use crate::config::{
    MailServer, Microsoft365, MicrosoftApp, SendingKind, SendingRole, ServerAuth, Template,
};
use crate::mail::{Address, Kind};
use crate::oauth::Service;
use crate::upstream::smtp::Trial;

/// What a step about the second way is told with.
const LARGE: &str = "large messages (LargeMessages = Smtp)";

impl Site<'_> {
    /// Everything about a sending role. `None`: a step has failed.
    pub(super) async fn sending(
        self,
        role: &SendingRole,
        progress: &mut Progress<'_>,
    ) -> Option<()> {
        self.way_there(endpoint::of_sending(role), progress).await?;
        match &role.kind {
            SendingKind::Smtp { server, messages_per_session } => {
                self.smtp(&role.name, server, *messages_per_session, progress).await
            }
            SendingKind::Microsoft365 { account, smtp, .. } => {
                self.graph_sending(&role.name, account, progress).await?;
                match smtp {
                    Some(server) => self.large_messages(&role.name, server, progress).await,
                    None => Some(()),
                }
            }
        }
    }

    async fn smtp(
        self,
        role: &str,
        server: &MailServer,
        messages_per_session: u32,
        progress: &mut Progress<'_>,
    ) -> Option<()> {
        let smtp = match self.builder.smtp(role, server, messages_per_session) {
            Ok(smtp) => smtp,
            Err(error) => {
                progress.note(Subject::Token, Outcome::failed(error.to_string()));
                return None;
            }
        };
        self.server_token(role, server, Service::Smtp, progress).await?;
        if server.needs_login() {
            progress.note(Subject::Mailbox, Outcome::not_proved(TEMPLATE));
            return Some(());
        }
        let mailbox = address_of_server(&server.auth);
        let work = async {
            match smtp.try_login(None, mailbox.as_ref()).await {
                Ok(trial) => Ok((Outcome::works(let_in(server)), trial)),
                Err(error) => Err(Outcome::failed(error.chain())),
            }
        };
        let trial = progress.step(Subject::Mailbox, work).await?;
        progress.note(Subject::Sending, judge(server, mailbox.as_ref(), &trial));
        Some(())
    }

    /// The way that large messages take (`LargeMessages` = `Smtp`): another service with another
    /// token, which may be shut while Graph works.
    async fn large_messages(
        self,
        role: &str,
        server: &MailServer,
        progress: &mut Progress<'_>,
    ) -> Option<()> {
        let smtp = match self.builder.smtp(role, server, LARGE_PER_SESSION) {
            Ok(smtp) => smtp,
            Err(error) => {
                progress.note(Subject::Token, Outcome::failed(format!("{LARGE}: {error}")));
                return None;
            }
        };
        if server.needs_login() {
            let text = format!("{LARGE}: {TEMPLATE}");
            progress.note(Subject::Sending, Outcome::not_proved(text));
            return Some(());
        }
        let mailbox = address_of_server(&server.auth);
        let work = async {
            match smtp.try_login(None, mailbox.as_ref()).await {
                Ok(trial) => {
                    let outcome = judge(server, mailbox.as_ref(), &trial);
                    Ok((Outcome { text: format!("{LARGE}: {}", outcome.text), ..outcome }, ()))
                }
                Err(error) => Err(Outcome::failed(format!("{LARGE}: {}", error.chain()))),
            }
        };
        progress.step(Subject::Sending, work).await
    }

    async fn graph_sending(
        self,
        role: &str,
        account: &Microsoft365,
        progress: &mut Progress<'_>,
    ) -> Option<()> {
        if account.needs_login() && is_public(account) {
            progress.note(Subject::Mailbox, Outcome::not_proved(TEMPLATE));
            return Some(());
        }
        let tokens = match self.builder.graph_tokens(role, account, Service::GraphSending) {
            Ok(tokens) => tokens,
            Err(error) => {
                progress.note(Subject::Token, Outcome::failed(error.to_string()));
                return None;
            }
        };
        let service = Service::GraphSending;
        let says = self.microsoft_token(account, service, &tokens, progress).await?;
        if account.needs_login() {
            progress.note(Subject::Mailbox, Outcome::not_proved(TEMPLATE));
            return Some(());
        }
        let proof = self.builder.mailbox_proof(role, account, tokens, ANY_LOGIN);
        let work = async {
            match proof.see_sender().await {
                Ok(()) => Ok((Outcome::works("the mailbox is there"), ())),
                Err(error) if error.kind == Kind::NotPermitted => Ok((
                    Outcome::not_proved(
                        "the application may not read mail, which sending does not need: whether the \
                         mailbox is there shows with the first message, and a message whose answer \
                         is lost can't be looked for and is reported to its sender as one that may \
                         have been sent; grant Mail.Read to have such messages looked for",
                    ),
                    (),
                )),
                Err(error) => Err(Outcome::failed(error.chain())),
            }
        };
        progress.step(Subject::Mailbox, work).await?;
        progress.note(Subject::Sending, graph_right(says));
        Some(())
    }
}

fn graph_right(says: Says) -> Outcome {
    match says {
        Says::Granted => Outcome::works(
            "there is an access token that permits sending (Mail.Send); nothing was sent: a From \
             address other than the mailbox's own needs Send As, which shows with the first such \
             message",
        ),
        Says::Missing => Outcome::not_proved(
            "the token has no Mail.Send, so messages are refused unless RBAC for Applications \
             grants it: --send-test shows it",
        ),
        Says::Nothing => Outcome::not_proved(
            "whether sending is permitted shows with the first message: --send-test sends one",
        ),
    }
}

fn judge(server: &MailServer, mailbox: Option<&Address>, trial: &Trial) -> Outcome {
    let host = &server.host;
    let mailbox = mailbox.map_or("", |mailbox| mailbox.as_str());
    match trial {
        Trial::NotAsked => Outcome::works(format!(
            "{}; no mailbox address is known that it could be asked about, --send-test sends a \
             message",
            let_in(server)
        )),
        Trial::Accepted => Outcome::works(format!(
            "{host} has let us in and would take a message from {mailbox} (asked, and taken back)"
        )),
        Trial::SenderRefused(error) if error.kind.is_temporary() => {
            Outcome::warning(format!("{} (this may pass by itself)", error.chain()))
        }
        Trial::SenderRefused(error) => Outcome::failed(error.chain()),
        Trial::RecipientRefused(error) => Outcome::warning(format!(
            "{host} lets {mailbox} send, but takes no mail for it, so delivery reports have nowhere \
             to go: {}",
            error.chain()
        )),
    }
}

/// The mailbox that a login opens, where it is an address.
pub(super) fn address_of_server(auth: &ServerAuth) -> Option<Address> {
    match auth {
        ServerAuth::None => None,
        ServerAuth::Basic { login, .. } => address(login),
        ServerAuth::Google(account) => address(&account.user),
        ServerAuth::Microsoft(account) => address_of_account(account),
    }
}

/// The mailbox of an account, unless it is named by its object id.
pub(super) fn address_of_account(account: &Microsoft365) -> Option<Address> {
    match &account.app {
        MicrosoftApp::Confidential { user, .. } => address(user),
        MicrosoftApp::Public { account, .. } => address(account),
    }
}

fn address(template: &Template) -> Option<Address> {
    let text = template.as_str();
    let known = !template.needs_login() && text.contains('@');
    Address::parse(text).ok().filter(|_| known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::report::Verdict;
    use crate::config::{Host, Security};
    use crate::mail;

    #[test]
    fn what_a_service_says_to_an_envelope_is_judged() {
        let host = Host { name: "h".to_owned(), port: 465 };
        let server = MailServer { host, security: Security::Implicit, auth: ServerAuth::None };
        let mailbox = Address::parse("a@b.example").expect("valid");
        let error = |kind| mail::Error::new(kind, "R: h answered MAIL with 550 5.7.60 no");
        for (trial, verdict, words) in [
            (Trial::NotAsked, Verdict::Works, "h:465 answers"),
            (Trial::Accepted, Verdict::Works, "from a@b.example"),
            (Trial::SenderRefused(error(Kind::NotPermitted)), Verdict::Failed, "550 5.7.60"),
            (Trial::SenderRefused(error(Kind::Unavailable)), Verdict::Warning, "pass by itself"),
            (Trial::RecipientRefused(error(Kind::NotFound)), Verdict::Warning, "delivery reports"),
        ] {
            let outcome = judge(&server, Some(&mailbox), &trial);
            assert_eq!(outcome.verdict, verdict, "{trial:?}");
            assert!(outcome.text.contains(words), "{words} in {}", outcome.text);
        }
    }

    #[test]
    fn a_right_that_nobody_named_is_not_claimed() {
        for (says, verdict, words) in [
            (Says::Granted, Verdict::Works, "Send As"),
            (Says::Missing, Verdict::NotProved, "RBAC"),
            (Says::Nothing, Verdict::NotProved, "--send-test"),
        ] {
            let outcome = graph_right(says);
            assert_eq!(outcome.verdict, verdict);
            assert!(outcome.text.contains(words), "{}", outcome.text);
        }
    }

    #[test]
    fn only_addresses_are_asked_about() {
        for (text, expected) in [
            ("jo@example.com", Some("jo@example.com")),
            ("{login}", None),
            ("{login}@example.com", None),
            ("jo", None),
            ("postmaster", None),
            ("11111111-2222-3333-4444-555555555555", None),
        ] {
            let found = address(&Template::new(text));
            assert_eq!(found.as_ref().map(Address::as_str), expected, "{text}");
        }
    }
}
