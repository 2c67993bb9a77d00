//! From a checked role to the object that does its work.
//!
//! Danger: two roles that share an object share its mailbox. Rule: each role has its own token
//! source and its own upstream; only the HTTP client, the trusted roots and the turns at a mailbox
//! are common.

use std::sync::Arc;

use super::{Error, HOST_NAME};
use crate::config::{
    Config, MailServer, ReceivingKind, ReceivingRole, SendingKind, SendingRole, ServerAuth,
};
use crate::mail::{Roles, Submission, Upstream};
use crate::oauth::{self, HttpClient, TokenSource};
use crate::tls::ClientTls;
use crate::upstream::graph::{GraphMailbox, GraphSubmission, Turns};
use crate::upstream::{ImapUpstream, Login, MapiUpstream, Pop3Upstream, SmtpSubmission};

/// What every role is built with.
struct Builder<'a> {
    tls: &'a ClientTls,
    http: HttpClient,
    turns: Turns,
}

/// All roles that are on.
pub(super) fn build(config: &Config, tls: &ClientTls) -> Result<Roles, Error> {
    let builder =
        Builder { tls, http: HttpClient::new(tls, &config.upstream)?, turns: Turns::default() };
    let mut roles = Roles::default();
    for role in &config.sending {
        roles.add_sending(&role.name, builder.sending(role)?);
    }
    for role in &config.receiving {
        roles.add_receiving(&role.name, builder.receiving(role)?);
    }
    Ok(roles)
}

impl Builder<'_> {
    fn sending(&self, role: &SendingRole) -> Result<Arc<dyn Submission>, Error> {
        Ok(match &role.kind {
            SendingKind::Smtp { server, messages_per_session } => Arc::new(SmtpSubmission::new(
                &role.name,
                server,
                *messages_per_session,
                self.login(&role.name, server)?,
                self.tls.clone(),
                HOST_NAME,
            )),
            SendingKind::Microsoft365 { account, save_to_sent_items, large_messages } => {
                let resource = account.cloud.graph();
                Arc::new(GraphSubmission::new(
                    &role.name,
                    account,
                    *save_to_sent_items,
                    *large_messages,
                    oauth::microsoft(account, resource, &self.http, &role.name)?,
                    self.http.clone(),
                    &self.turns,
                ))
            }
        })
    }

    fn receiving(&self, role: &ReceivingRole) -> Result<Arc<dyn Upstream>, Error> {
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
            ReceivingKind::Microsoft365 { .. } => Arc::new(GraphMailbox::new(name)),
        })
    }

    fn login(&self, role: &str, server: &MailServer) -> Result<Login, Error> {
        let tokens = self.tokens(role, &server.auth)?;
        Login::new(&server.auth, tokens).ok_or_else(|| {
            let text = format!("{role}: no access token can be had for this way of logging in");
            oauth::Error::person(text).into()
        })
    }

    fn tokens(&self, role: &str, auth: &ServerAuth) -> Result<Option<Arc<dyn TokenSource>>, Error> {
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
