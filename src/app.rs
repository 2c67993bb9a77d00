//! Builds everything from the configuration; starts, serves and shuts down.
//!
//! Danger: a half-started proxy takes mail that it can't deliver; a hasty stop cuts a message in
//! two. Rule: everything that can fail at start fails before the first listener accepts, and a stop
//! waits for what is in flight, up to a grace period.

mod lock;
mod notes;
mod page;
mod roles;
mod signed_in;
mod verify;
mod warnings;

use std::fs::File;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use self::lock::try_lock;
pub use self::notes::not_in_effect;
pub use self::page::PASSWORD_FILE as PAGE_PASSWORD_FILE;
pub use self::roles::accounts;
pub use self::verify::{OnStep, Verifier};
use self::warnings::Warnings;
pub use self::warnings::listener_expiry;
use crate::admin::{self, AdminListeners, Page};
use crate::config::{Config, Pickup, ReceivingKind, ReceivingRole};
use crate::frontend::Context;
use crate::frontend::listener::{Bound, ListenError, Listeners};
use crate::frontend::login::Logins;
use crate::frontend::pickup;
use crate::mail::MemoryBudget;
use crate::secret::Secret;
use crate::spool::Spool;
use crate::store::queue::{Access, Queue};
use crate::store::{self, Store};
use crate::telemetry::activity::Activity;
use crate::tls::{self, ClientTls, ServerTls};

use crate::{oauth, platform};

/// Memory for messages in flight, all sessions together, in octets; more goes to temporary files.
const MESSAGE_MEMORY: usize = 128 << 20;

/// How long a stop waits for messages in flight and for clients to end their sessions. Service
/// managers kill after 90 s (systemd) or less.
const GRACE: Duration = Duration::from_secs(25);

/// The name in greetings and in EHLO upstream. Clients are local, and services know us by our
/// login: the machine's real name helps nobody and says much.
const HOST_NAME: &str = "localhost";

/// Why the proxy can't start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate, key or root file.
    #[error("{0}")]
    Tls(#[from] tls::Error),
    /// An address to listen on.
    #[error("{0}")]
    Listen(#[from] ListenError),
    /// The HTTP client, or a role's credentials.
    #[error("{0}")]
    Credentials(#[from] oauth::Error),
    /// The state store can't be opened.
    #[error("{0}")]
    Store(#[from] store::Error),
    /// The web page's address.
    #[error("{0}")]
    Admin(#[from] admin::Error),
    /// The web page's password.
    #[error("{0}")]
    AdminPassword(#[from] page::PasswordError),
    /// Two processes would each serve snapshots that lack the other's changes.
    #[error(
        "{}: another authbridge keeps its mail in this folder; stop it, or set \
         Proxy.StateDirectory to a folder of its own", .0.display()
    )]
    InUse(PathBuf),
    /// The state folder can't be made.
    #[error("Proxy.StateDirectory: {}: {source}; create it, or name another folder", .path.display())]
    StateDirectory {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A proxy whose listeners are bound.
pub struct App {
    listeners: Listeners,
    context: Context,
    admin: AdminListeners,
    page: Page,
    first_password: Option<Secret>,
    accounts: oauth::Accounts,
    /// Sign-ins that must not lapse.
    kept: Vec<oauth::Kept>,
    /// Where the clients seen are kept.
    clients: PathBuf,
    /// Where messages wait; `None` without a sending role.
    spool: Option<Spool>,
    pickups: Vec<Pickup>,
    /// Held for as long as the store is in use.
    _lock: Option<File>,
}

impl App {
    /// Builds every role and binds every listener.
    pub async fn start(config: &Config) -> Result<Self, Error> {
        platform::raise_open_file_limit();
        let state = &config.state_directory;
        platform::create_private_directory(state)
            .map_err(|source| Error::StateDirectory { path: state.clone(), source })?;
        let client_tls = ClientTls::new(config.upstream.ca_path.as_deref())?;
        let lock = lock_state(config)?;
        let store = open_store(config).await?;
        let queue = open_queue(config).await?;
        let activity = Activity::new();
        let handovers = queue.as_ref().map(Queue::handovers);
        let built = roles::build(config, &client_tls, store, handovers)?;
        let messages = MemoryBudget::with_folder(MESSAGE_MEMORY, state.clone());
        let spool =
            queue.clone().map(|queue| Spool::new(queue, Arc::clone(&activity), messages.clone()));
        let roles = roles::spooled(config, &built, spool.as_ref());
        let tls = server_tls(config)?;
        let context = Context {
            logins: Arc::new(Logins::new(config.clients.clone())),
            roles,
            anonymous: config.anonymous.clone(),
            limits: config.limits.clone(),
            tls: tls.clone(),
            messages,
            host_name: HOST_NAME.to_owned(),
            activity: Arc::clone(&activity),
            stopping: CancellationToken::new(),
        };
        let listeners = Listeners::bind(&config.listen)?;
        let admin = AdminListeners::bind(&config.admin.listen).await?;
        // Last: one that is made in a start that fails would be kept, and nobody would have seen it.
        let password = page::password(config)?;
        let (accounts, kept) = (built.accounts.clone(), signed_in::kept(config));
        let parts = page::Parts { built, activity, tls, password_hash: password.hash, queue };
        let page = page::build(config, &client_tls, parts)?;
        let first_password = password.made;
        let clients = state.join("clients.json");
        Ok(Self {
            listeners,
            context,
            admin,
            page,
            first_password,
            accounts,
            kept,
            clients,
            spool,
            pickups: config.pickups.clone(),
            _lock: lock,
        })
    }

    /// What is bound, with the ports that were picked.
    pub fn bound(&self) -> &[Bound] {
        self.listeners.bound()
    }

    /// Where the web page is.
    pub fn admin_bound(&self) -> &[std::net::SocketAddr] {
        self.admin.bound()
    }

    /// The web page's password when it was made just now: to be shown once.
    pub fn first_password(&self) -> Option<&Secret> {
        self.first_password.as_ref()
    }

    /// Serves until `stop` is done, then lets sessions finish.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let stopping = self.context.stopping.clone();
        let kept = CancellationToken::new();
        let keeper = Arc::clone(&self.context.activity).keep(self.clients, kept.clone());
        let keeper = tokio::spawn(keeper);
        let warnings = Warnings::new(&self.page, self.kept.clone());
        let warnings = tokio::spawn(warnings.tell(kept.clone()));
        let page_at = self.admin.bound().first().copied();
        tokio::spawn(signed_in::keep(self.accounts, self.kept, page_at, stopping.clone()));
        // The sender stays: without it the accept loops would take no further connection.
        let context = Arc::new(self.context);
        let spooling = self.spool.clone().map(|spool| tokio::spawn(spool.run(stopping.clone())));
        for folder in pickups(&self.pickups, self.spool.as_ref()) {
            tokio::spawn(pickup::watch(folder, Arc::clone(&context), stopping.clone()));
        }
        let (_contexts, contexts) = watch::channel(context);
        let page = tokio::spawn(self.admin.serve(self.page, stopping.clone()));
        let sessions = self.listeners.serve(contexts, stopping.clone());
        stop.await;
        tracing::info!("stopping: {} sessions may finish within {GRACE:?}", sessions.count());
        stopping.cancel();
        match sessions.finish(GRACE).await {
            0 => tracing::info!("stopped"),
            cut_off => tracing::warn!(cut_off, "stopped; these sessions had not ended"),
        }
        if let Some(spooling) = spooling {
            let _ = tokio::time::timeout(GRACE, spooling).await;
        }
        page.abort();
        kept.cancel();
        let _ = tokio::join!(keeper, warnings);
    }
}

/// The folders that are watched, with the roles they send through.
fn pickups(configured: &[Pickup], spool: Option<&Spool>) -> Vec<pickup::Folder> {
    let folder = |one: &Pickup| {
        Some(pickup::Folder {
            name: one.name.clone(),
            directory: one.directory.clone(),
            bad_mail: one.bad_mail.clone(),
            role: one.sending.clone(),
            submission: spool?.durable(&one.sending)?,
        })
    };
    configured.iter().filter_map(folder).collect()
}

/// True when a role needs the store: others start without.
fn needs_store(config: &Config) -> bool {
    let is_served = |role: &ReceivingRole| matches!(role.kind, ReceivingKind::Microsoft365 { .. });
    config.receiving.iter().any(is_served)
}

/// The right to use the store, given back by the system however the process ends.
fn lock_state(config: &Config) -> Result<Option<File>, Error> {
    let folder = &config.state_directory;
    if !needs_store(config) && config.sending.is_empty() {
        return Ok(None);
    }
    let failed = |source| Error::StateDirectory { path: folder.clone(), source };
    let held = try_lock(folder).map_err(failed)?;
    held.map(Some).ok_or_else(|| Error::InUse(folder.clone()))
}

async fn open_store(config: &Config) -> Result<Option<Store>, store::Error> {
    if !needs_store(config) {
        return Ok(None);
    }
    Store::open(&config.state_directory, config.limits.max_cache_bytes).await.map(Some)
}

/// Where messages wait and attempts are noted; none without a sending role.
async fn open_queue(config: &Config) -> Result<Option<Queue>, store::Error> {
    if config.sending.is_empty() {
        return Ok(None);
    }
    Queue::open(&config.state_directory, Access::Owner).await.map(Some)
}

fn server_tls(config: &Config) -> Result<ServerTls, tls::Error> {
    match &config.tls {
        Some(files) => ServerTls::from_files(&files.certificate, files.key.as_deref()),
        None => ServerTls::self_signed(&config.state_directory.join("certs")),
    }
}
