//! From a checked role to the object that does its work.
//!
//! Danger: two roles that share an object share its mailbox. Rule: each role has its own token
//! source and its own upstream; only the HTTP client, the trusted roots and the turns at a mailbox
//! are common.

use std::sync::Arc;

use super::{Error, HOST_NAME};
use crate::config::{
    Config, MailServer, Microsoft365, ReceivingKind, ReceivingRole, SendingKind, SendingRole,
    ServerAuth,
};
use crate::mail::{Roles, Submission, Upstream};
use crate::oauth::{self, HttpClient, TokenSource};
use crate::store::Store;
use crate::tls::ClientTls;
use crate::upstream::graph::{
    Engines, GraphMailbox, GraphSubmission, MailboxSettings, Turns, prove_mailbox,
};
use crate::upstream::{ImapUpstream, Login, MapiUpstream, Pop3Upstream, SmtpSubmission};

/// What every role is built with.
pub(super) struct Builder {
    tls: ClientTls,
    http: HttpClient,
    turns: Turns,
    max_message: u64,
    /// Where a mailbox that we serve ourselves is kept; `None` for one who only proves logins.
    engines: Option<Engines>,
}

/// All roles that are on.
pub(super) fn build(
    config: &Config,
    tls: &ClientTls,
    store: Option<Store>,
) -> Result<Roles, Error> {
    let engines = store.map(Engines::new);
    let builder = Builder { engines, ..Builder::new(config, tls)? };
    let mut roles = Roles::default();
    for role in &config.sending {
        roles.add_sending(&role.name, builder.sending(role)?);
    }
    for role in &config.receiving {
        roles.add_receiving(&role.name, builder.receiving(role)?);
    }
    Ok(roles)
}

impl Builder {
    /// The HTTP client and the trusted roots that all roles share.
    pub(super) fn new(config: &Config, tls: &ClientTls) -> Result<Self, Error> {
        let http = HttpClient::new(tls, &config.upstream)?;
        let max_message = config.limits.max_message_bytes;
        Ok(Self { tls: tls.clone(), http, turns: Turns::default(), max_message, engines: None })
    }

    fn sending(&self, role: &SendingRole) -> Result<Arc<dyn Submission>, Error> {
        Ok(match &role.kind {
            SendingKind::Smtp { server, messages_per_session } => {
                Arc::new(self.smtp(&role.name, server, *messages_per_session)?)
            }
            SendingKind::Microsoft365 { account, save_to_sent_items, large_messages } => {
                Arc::new(GraphSubmission::new(
                    &role.name,
                    account,
                    *save_to_sent_items,
                    *large_messages,
                    self.graph_tokens(&role.name, account)?,
                    self.http.clone(),
                    &self.turns,
                ))
            }
        })
    }

    /// A sending role that is an SMTP service.
    pub(super) fn smtp(
        &self,
        role: &str,
        server: &MailServer,
        messages_per_session: u32,
    ) -> Result<SmtpSubmission, Error> {
        let (login, tls) = (self.login(role, server)?, self.tls.clone());
        Ok(SmtpSubmission::new(role, server, messages_per_session, login, tls, HOST_NAME))
    }

    /// Tokens for Graph.
    pub(super) fn graph_tokens(
        &self,
        role: &str,
        account: &Microsoft365,
    ) -> Result<Arc<dyn TokenSource>, Error> {
        Ok(oauth::microsoft(account, account.cloud.graph(), &self.http, role)?)
    }

    /// A receiving role.
    pub(super) fn receiving(&self, role: &ReceivingRole) -> Result<Arc<dyn Upstream>, Error> {
        let name = role.name.as_str();
        Ok(match &role.kind {
            ReceivingKind::Imap(server) => {
                let login = self.login(name, server)?;
                Arc::new(ImapUpstream::new(name, server, login, self.tls.clone()))
            }
            ReceivingKind::Pop3(server) => {
                let login = self.login(name, server)?;
                Arc::new(Pop3Upstream::new(name, server, login, self.tls.clone()))
            }
            ReceivingKind::Mapi => Arc::new(MapiUpstream::new(name)),
            ReceivingKind::Microsoft365 { account, expunge, poll_interval } => {
                let settings = MailboxSettings {
                    expunge: *expunge,
                    poll_interval: *poll_interval,
                    max_message: self.max_message,
                };
                let none = || oauth::Error::person(format!("{name}: there is no state store"));
                Arc::new(GraphMailbox::new(
                    name,
                    account,
                    settings,
                    self.graph_tokens(name, account)?,
                    self.http.clone(),
                    &self.turns,
                    self.engines.as_ref().ok_or_else(none)?,
                ))
            }
        })
    }

    /// What is known of a mailbox that we serve ourselves once its INBOX has been read.
    pub(super) async fn prove_mailbox(
        &self,
        role: &str,
        account: &Microsoft365,
        login: &str,
    ) -> Result<String, String> {
        let tokens = self.graph_tokens(role, account).map_err(|error| error.to_string())?;
        let proof = prove_mailbox(role, account, tokens, self.http.clone(), &self.turns, login);
        proof.await.map_err(|error| error.chain())
    }

    fn login(&self, role: &str, server: &MailServer) -> Result<Login, Error> {
        let tokens = self.tokens(role, &server.auth)?;
        Login::new(&server.auth, tokens).ok_or_else(|| {
            let text = format!("{role}: no access token can be had for this way of logging in");
            oauth::Error::person(text).into()
        })
    }

    pub(super) fn tokens(
        &self,
        role: &str,
        auth: &ServerAuth,
    ) -> Result<Option<Arc<dyn TokenSource>>, Error> {
        Ok(match auth {
            ServerAuth::None | ServerAuth::Basic { .. } => None,
            ServerAuth::Google(account) => Some(oauth::google(account, &self.http, role)?),
            ServerAuth::Microsoft(account) => {
                let resource = account.cloud.exchange();
                Some(oauth::microsoft(account, resource, &self.http, role)?)
            }
        })
    }
}
