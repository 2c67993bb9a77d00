//! Builds everything from the configuration; starts, serves, reloads and shuts down.
//!
//! Danger: a half-started proxy takes mail that it can't deliver; a hasty stop cuts a message in
//! two. Rule: everything that can fail at start fails before the first listener accepts, and a stop
//! waits for what is in flight, up to a grace period.
//!
//! `process` is what there is once, `assembly` what one configuration makes, `serving` what runs,
//! `reload` what puts another configuration in force.

mod assembly;
mod lock;
mod notes;
mod page;
mod process;
mod reload;
mod renewed;
mod roles;
mod serving;
mod signed_in;
mod verify;
mod warnings;

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use self::assembly::{Assembly, assemble};
pub use self::lock::try_lock;
pub use self::notes::not_in_effect;
pub use self::page::PASSWORD_FILE as PAGE_PASSWORD_FILE;
use self::process::Process;
pub use self::reload::{Found, Reloads, read};
pub use self::roles::accounts;
use self::serving::Serving;
pub use self::verify::{OnStep, Verifier};
pub use self::warnings::listener_expiry;
use crate::admin::{self, AdminListeners, Page};
use crate::config::Config;
use crate::frontend::listener::{Bound, ListenError, Listeners};
use crate::secret::Secret;
use crate::telemetry::metrics;
use crate::{oauth, platform, store, tls};

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
    admin: AdminListeners,
    page: Page,
    process: Process,
    assembly: Assembly,
    /// Where the clients seen are kept.
    clients: PathBuf,
}

impl App {
    /// Builds every role and binds every listener.
    pub async fn start(config: &Config) -> Result<Self, Error> {
        platform::raise_open_file_limit();
        let mut process = Process::new(config)?;
        let mut assembly = assemble(config.clone(), &mut process, None).await?;
        let listeners = Listeners::bind(&config.listen)?;
        let admin = AdminListeners::bind(&config.admin.listen).await?;
        let page = assembly.page(&process)?;
        let clients = config.state_directory.join("clients.json");
        metrics::config_loaded();
        Ok(Self { listeners, admin, page, process, assembly, clients })
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
        self.assembly.first_password.as_ref()
    }

    /// Serves until `stop` is done, then lets sessions finish.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let serving = self.begin();
        stop.await;
        serving.finish().await;
    }

    /// The same, with another configuration in force whenever the files hold one.
    pub async fn serve_reloading(self, stop: impl Future<Output = ()>, reloads: Reloads) {
        let mut serving = self.begin();
        tokio::select! {
            biased;
            () = stop => {}
            () = reload::run(reloads, &mut serving) => {}
        }
        serving.finish().await;
    }

    fn begin(self) -> Serving {
        let Self { listeners, admin, page, process, mut assembly, clients } = self;
        // It has been shown.
        assembly.first_password = None;
        Serving::start(process, assembly, (listeners, admin), page, clients)
    }
}
