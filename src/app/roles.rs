//! From a checked role to the object that does its work.
//!
//! Danger: two roles that share an object share its mailbox; a role that is built anew without need
//! loses its connections and tokens. Rule: each role has its own token source and its own upstream;
//! only the HTTP client, the trusted roots and the turns at a mailbox are common. A role whose
//! configuration, and all that it depends on, is as before keeps its object.

use std::sync::{Arc, Mutex, PoisonError};

use super::reload::{Snapshot, of_receiving, of_sending};
use super::renewed::Sources;
use super::{Error, HOST_NAME};
use crate::config::{
    Config, MailServer, Microsoft365, ReceivingKind, ReceivingRole, SendingKind, SendingRole,
    ServerAuth, UpstreamNet,
};
use crate::mail::{Roles, Submission, Upstream};
use crate::oauth::msal::CacheFile;
use crate::oauth::{self, Accounts, HttpClient, Service, TokenSource};
use crate::spool::{Route, Spool};
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
    /// The token sources of mailboxes that outlive a configuration.
    lasting: Sources,
    /// The token source of each role that has been built.
    sources: Mutex<Vec<(String, Arc<dyn TokenSource>)>>,
}

/// The way to the services: one client for all roles, made anew only when its settings change.
#[derive(Clone)]
pub(super) struct Net {
    settings: UpstreamNet,
    pub tls: ClientTls,
    http: HttpClient,
    pub accounts: Accounts,
    /// The same in clones.
    made: Arc<()>,
}

impl Net {
    /// The trusted roots, the proxy, and who has signed in.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let tls = ClientTls::new(config.upstream.ca_path.as_deref())?;
        let http = HttpClient::new(&tls, &config.upstream)?;
        let accounts = accounts(config, &http);
        let made = Arc::new(());
        Ok(Self { settings: config.upstream.clone(), tls, http, accounts, made })
    }
}

/// What roles of all configurations share.
#[derive(Clone, Default)]
pub(super) struct Common {
    /// Whose turn it is at a mailbox.
    pub turns: Turns,
    /// The mailboxes that we serve ourselves.
    pub engines: Option<Engines>,
    /// Where messages of unknown outcome are noted.
    pub handovers: Option<Handovers>,
    /// Token sources of those mailboxes.
    pub lasting: Sources,
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
    /// Roles that were made, not taken over.
    pub rebuilt: Vec<String>,
    /// The way to the services.
    pub net: Net,
    /// The receiving roles, for the next configuration.
    received: Vec<(ReceivingRole, Arc<dyn Upstream>)>,
    /// What was in the files that roles name.
    files: Snapshot,
    max_message: u64,
}

impl Built {
    /// The way to the services for another configuration: the same, where that will do.
    pub fn net_for(&self, config: &Config, files: &Snapshot) -> Result<Net, Error> {
        let roots: Vec<_> = config.upstream.ca_path.iter().cloned().collect();
        match config.upstream == self.net.settings && files.agrees_on(&self.files, &roots) {
            true => Ok(self.net.clone()),
            false => Net::new(config),
        }
    }

    fn sends(&self, role: &SendingRole, files: &Snapshot) -> Option<Arc<dyn Submission>> {
        let same = self.sending.iter().find(|route| route.role == *role)?;
        let agrees = files.agrees_on(&self.files, &of_sending(role));
        agrees.then(|| Arc::clone(&same.upstream))
    }

    fn receives(
        &self,
        role: &ReceivingRole,
        files: &Snapshot,
        max_message: u64,
    ) -> Option<Arc<dyn Upstream>> {
        let (_, same) = self.received.iter().find(|(known, _)| known == role)?;
        let agrees = files.agrees_on(&self.files, &of_receiving(role));
        (agrees && max_message == self.max_message).then(|| Arc::clone(same))
    }

    /// The token sources of a role that is taken over.
    fn tokens_of(&self, role: &str) -> impl Iterator<Item = &Arc<dyn TokenSource>> {
        self.tokens.iter().filter(move |(name, _)| name == role).map(|(_, tokens)| tokens)
    }
}

/// All roles that are on; those that are as `before` are taken over. `files`: what was in the files
/// that the configuration names.
pub(super) fn build(
    config: &Config,
    net: Net,
    common: Common,
    files: Snapshot,
    before: Option<&Built>,
) -> Result<Built, Error> {
    let before = before.filter(|built| Arc::ptr_eq(&built.net.made, &net.made));
    let builder = Builder::of(config, &net, common);
    let max_message = config.limits.max_message_bytes;
    let (mut rebuilt, mut sending) = (Vec::new(), Vec::new());
    for role in &config.sending {
        let upstream = match before.and_then(|built| built.sends(role, &files)) {
            Some(same) => builder.taken_over(before, &role.name, same),
            None => {
                rebuilt.push(role.name.clone());
                builder.sending(role)?
            }
        };
        sending.push(Route { role: role.clone(), upstream });
    }
    let (mut receiving, mut received) = (Roles::default(), Vec::new());
    for role in &config.receiving {
        let same = before.and_then(|built| built.receives(role, &files, max_message));
        let upstream = match same {
            Some(same) => builder.taken_over(before, &role.name, same),
            None => {
                rebuilt.push(role.name.clone());
                builder.receiving(role)?
            }
        };
        receiving.add_receiving(&role.name, Arc::clone(&upstream));
        received.push((role.clone(), upstream));
    }
    let tokens = builder.sources.into_inner().unwrap_or_else(PoisonError::into_inner);
    let accounts = builder.accounts;
    Ok(Built { receiving, sending, tokens, accounts, rebuilt, net, received, files, max_message })
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
        let accounts = accounts(config, &http);
        let settings = config.upstream.clone();
        let net = Net { settings, tls: tls.clone(), http, accounts, made: Arc::new(()) };
        Ok(Self::of(config, &net, Common::default()))
    }

    fn of(config: &Config, net: &Net, common: Common) -> Self {
        let Common { turns, engines, handovers, lasting } = common;
        Self {
            tls: net.tls.clone(),
            http: net.http.clone(),
            turns,
            max_message: config.limits.max_message_bytes,
            engines,
            handovers,
            accounts: net.accounts.clone(),
            lasting,
            sources: Mutex::default(),
        }
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

    /// A role's object of the configuration before, its tokens with it.
    fn taken_over<T>(&self, before: Option<&Built>, role: &str, same: T) -> T {
        let tokens = before.into_iter().flat_map(|built| built.tokens_of(role));
        tokens.for_each(|tokens| self.note(role, tokens));
        same
    }

    /// Tokens for a mailbox that is kept open beyond the role's configuration.
    fn lasting_tokens(
        &self,
        role: &str,
        account: &Microsoft365,
    ) -> Result<Arc<dyn TokenSource>, Error> {
        let tokens = self.graph_tokens(role, account, Service::GraphReading)?;
        Ok(self.lasting.of(role, account, tokens))
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
                    self.lasting_tokens(name, account)?,
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
