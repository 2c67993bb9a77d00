//! From a checked role to the object that does its work.
//!
//! Danger: two roles that share an object share its mailbox. Rule: each role has its own token
//! source and its own upstream; only the HTTP client, the trusted roots and the turns at a mailbox
//! are common.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Error, HOST_NAME};
use crate::config::{
    Config, MailServer, Microsoft365, ReceivingKind, ReceivingRole, SendingKind, SendingRole,
    ServerAuth,
};
use crate::mail::{Roles, Submission, Upstream};
use crate::oauth::msal::CacheFile;
use crate::oauth::{self, Accounts, HttpClient, Service, TokenSource};
use crate::spool::{Route, Spool};
use crate::store::Store;
use crate::store::handovers::Handovers;
use crate::tls::ClientTls;
use crate::upstream::graph::{
    Engines, GraphMailbox, GraphSubmission, MailboxProof, MailboxSettings, Turns,
};
use crate::upstream::{ImapUpstream, Login, MapiUpstream, Pop3Upstream, SmtpSubmission};

/// Large messages of a Microsoft 365 role in one SMTP session (the schema's own default).
pub(super) const LARGE_PER_SESSION: u32 = 3;

/// What every role is built with.
pub(super) struct Builder {
    tls: ClientTls,
    http: HttpClient,
    turns: Turns,
    max_message: u64,
    /// Where a mailbox that we serve ourselves is kept; `None` for one who only proves logins.
    engines: Option<Engines>,
    /// Where messages of unknown outcome are noted; `None` for one who only proves logins.
    handovers: Option<Handovers>,
    accounts: Accounts,
    /// The token source of each role that has been built.
    sources: Mutex<Vec<(String, Arc<dyn TokenSource>)>>,
}

/// All roles, and what the page shows about them.
pub(super) struct Built {
    /// What sessions read from.
    pub receiving: Roles,
    /// What the spool sends through.
    pub sending: Vec<Route>,
    /// The token sources by role.
    pub tokens: Vec<(String, Arc<dyn TokenSource>)>,
    /// Who has signed in.
    pub accounts: Accounts,
}

/// All roles that are on.
pub(super) fn build(
    config: &Config,
    tls: &ClientTls,
    store: Option<Store>,
    handovers: Option<Handovers>,
) -> Result<Built, Error> {
    let engines = store.map(Engines::new);
    let builder = Builder { engines, handovers, ..Builder::new(config, tls)? };
    let mut sending = Vec::new();
    for role in &config.sending {
        sending.push(Route { role: role.clone(), upstream: builder.sending(role)? });
    }
    let mut receiving = Roles::default();
    for role in &config.receiving {
        receiving.add_receiving(&role.name, builder.receiving(role)?);
    }
    let tokens = builder.sources.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Built { receiving, sending, tokens, accounts: builder.accounts })
}

/// The roles as sessions see them: those that send stand behind the spool.
pub(super) fn spooled(config: &Config, built: &Built, spool: Option<&Spool>) -> Roles {
    let mut roles = built.receiving.clone();
    let Some(spool) = spool else { return roles };
    spool.configure(&config.spool, built.sending.clone());
    for role in &config.sending {
        if let Some(submission) = spool.submission(&role.name) {
            roles.add_sending(&role.name, submission);
        }
    }
    roles
}

/// The signed-in accounts that a configuration names.
pub fn accounts(config: &Config, http: &HttpClient) -> Accounts {
    let state = &config.state_directory;
    let key_file = config.tokens_key_file.clone().unwrap_or_else(|| state.join("tokens.key"));
    let cache = config.msal_cache.folder.join(&config.msal_cache.file_name);
    Accounts::new(CacheFile::new(cache, key_file), &state.join("accounts.json"), http.clone())
}

impl Builder {
    /// The HTTP client and the trusted roots that all roles share.
    pub(super) fn new(config: &Config, tls: &ClientTls) -> Result<Self, Error> {
        let http = HttpClient::new(tls, &config.upstream)?;
        let max_message = config.limits.max_message_bytes;
        let accounts = accounts(config, &http);
        Ok(Self {
            tls: tls.clone(),
            http,
            turns: Turns::default(),
            max_message,
            engines: None,
            handovers: None,
            accounts,
            sources: Mutex::default(),
        })
    }

    /// A sending role.
    pub(super) fn sending(&self, role: &SendingRole) -> Result<Arc<dyn Submission>, Error> {
        Ok(match &role.kind {
            SendingKind::Smtp { server, messages_per_session } => {
                Arc::new(self.smtp(&role.name, server, *messages_per_session)?)
            }
            SendingKind::Microsoft365 { account, save_to_sent_items, large_messages, smtp } => {
                let large = match smtp {
                    Some(server) => Some(self.smtp(&role.name, server, LARGE_PER_SESSION)?),
                    None => None,
                };
                let graph = GraphSubmission::new(
                    &role.name,
                    account,
                    *save_to_sent_items,
                    *large_messages,
                    self.graph_tokens(&role.name, account, Service::GraphSending)?,
                    self.http.clone(),
                    &self.turns,
                )
                .with_handovers(self.handovers.clone());
                match large {
                    Some(smtp) => Arc::new(graph.with_smtp(Arc::new(smtp))),
                    None => Arc::new(graph),
                }
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
        let (login, tls) = (self.login(role, server, Service::Smtp)?, self.tls.clone());
        Ok(SmtpSubmission::new(role, server, messages_per_session, login, tls, HOST_NAME))
    }

    /// Tokens for Graph.
    pub(super) fn graph_tokens(
        &self,
        role: &str,
        account: &Microsoft365,
        service: Service,
    ) -> Result<Arc<dyn TokenSource>, Error> {
        let tokens = oauth::microsoft(account, service, &self.http, role, &self.accounts)?;
        self.note(role, &tokens);
        Ok(tokens)
    }

    fn note(&self, role: &str, tokens: &Arc<dyn TokenSource>) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.push((role.to_owned(), Arc::clone(tokens)));
    }

    /// A receiving role.
    pub(super) fn receiving(&self, role: &ReceivingRole) -> Result<Arc<dyn Upstream>, Error> {
        let name = role.name.as_str();
        Ok(match &role.kind {
            ReceivingKind::Imap(server) => {
                let login = self.login(name, server, Service::Imap)?;
                Arc::new(ImapUpstream::new(name, server, login, self.tls.clone()))
            }
            ReceivingKind::Pop3(server) => {
                let login = self.login(name, server, Service::Pop3)?;
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
                    self.graph_tokens(name, account, Service::GraphReading)?,
                    self.http.clone(),
                    &self.turns,
                    self.engines.as_ref().ok_or_else(none)?,
                ))
            }
        })
    }

    /// Proofs of a mailbox at Graph, with this role's own tokens.
    pub(super) fn mailbox_proof(
        &self,
        role: &str,
        account: &Microsoft365,
        tokens: Arc<dyn TokenSource>,
        login: &str,
    ) -> MailboxProof {
        MailboxProof::new(role, account, tokens, self.http.clone(), &self.turns, login)
    }

    /// The token source that was built last for a role.
    pub(super) fn source(&self, role: &str) -> Option<Arc<dyn TokenSource>> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let found = sources.iter().rev().find(|(name, _)| name == role);
        found.map(|(_, tokens)| Arc::clone(tokens))
    }

    /// The HTTP client of all roles.
    pub(super) fn http(&self) -> &HttpClient {
        &self.http
    }

    /// Who has signed in.
    pub(super) fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    fn login(&self, role: &str, server: &MailServer, service: Service) -> Result<Login, Error> {
        let tokens = self.tokens(role, &server.auth, service)?;
        Login::new(&server.auth, tokens).ok_or_else(|| {
            let text = format!("{role}: no access token can be had for this way of logging in");
            oauth::Error::person(text).into()
        })
    }

    pub(super) fn tokens(
        &self,
        role: &str,
        auth: &ServerAuth,
        service: Service,
    ) -> Result<Option<Arc<dyn TokenSource>>, Error> {
        let tokens = match auth {
            ServerAuth::None | ServerAuth::Basic { .. } => None,
            ServerAuth::Google(account) => Some(oauth::google(account, &self.http, role)?),
            ServerAuth::Microsoft(account) => {
                Some(oauth::microsoft(account, service, &self.http, role, &self.accounts)?)
            }
        };
        if let Some(tokens) = &tokens {
            self.note(role, tokens);
        }
        Ok(tokens)
    }
}
