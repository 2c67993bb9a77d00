//! The web page, `/healthz` and `/metrics`.
//!
//! Danger: a page on localhost is open to every web site that the administrator visits (DNS
//! rebinding, cross-site requests), and shows what a stranger would like to know. Rule: Host and
//! Origin are checked before anything else, everything but the health check asks for the password,
//! every change needs the session's own token, nothing is loaded from outside, and no page ever
//! holds a secret.

mod assets;
mod attempts;
mod condition;
mod configuration;
mod connection;
mod csv;
mod frame;
mod guard;
mod health;
mod job_page;
mod jobs;
mod login;
mod overview;
mod places;
mod plots;
pub mod report;
mod role_page;
mod serving;
mod sessions;
mod sign_in_page;
mod site;
mod spool_page;
mod tables;
#[cfg(test)]
mod tests;
mod units;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use self::configuration::LoadState;
use self::report::RoleReport;
pub use self::serving::{Prepared, WebPage};
pub use self::site::Visitors;
use crate::oauth::sign_in::Wanted;
use crate::oauth::{Accounts, Expiry, TokenSource};
use crate::secret::Secret;
use crate::store::queue::Queue;
use crate::telemetry::activity::Activity;
use crate::telemetry::metrics::Recorder;
use crate::tls::ServerTls;

/// What the page can have done.
pub trait Actions: Send + Sync {
    /// Proves a role, as `check` does.
    fn verify<'a>(&'a self, role: &'a str) -> BoxFuture<'a, RoleReport>;

    /// Sends a test message to `address` and looks for it.
    fn send_test<'a>(&'a self, role: &'a str, address: &'a str) -> BoxFuture<'a, RoleReport>;

    /// Whether the page's password is right; wrong ones are slowed down and locked out.
    fn password_is_right(&self, from: IpAddr, password: Secret) -> BoxFuture<'_, bool>;
}

/// A role as the page shows it.
#[derive(Clone)]
pub struct RoleInfo {
    /// Its name.
    pub name: String,
    /// What it does, in a line without secrets.
    pub summary: String,
    /// `Microsoft 365`, `Google`, the host of another service, `MAPI`.
    pub provider: String,
    /// True when it sends.
    pub sends: bool,
    /// Its tokens; `None`: it has none.
    pub tokens: Option<Arc<dyn TokenSource>>,
    /// What to sign in, for a public application; its account is `None` when it depends on the
    /// login.
    pub sign_in: Option<Wanted>,
    /// The account of a public application as configured, `{login}` included.
    pub account: Option<String>,
}

/// What the page is made of.
pub struct Page {
    /// All roles that are on.
    pub roles: Vec<RoleInfo>,
    /// Logins that are configured.
    pub logins: Vec<String>,
    /// What happens.
    pub activity: Arc<Activity>,
    /// Metrics.
    pub recorder: Recorder,
    /// Who has signed in.
    pub accounts: Accounts,
    /// Ends that are known beforehand and belong to no role (the listeners' certificate).
    pub expiries: Vec<Expiry>,
    /// Names in the listeners' certificate: the page may be opened by them over TLS.
    pub host_names: Vec<String>,
    /// Where messages wait; `None`: no sending role is on.
    pub queue: Option<Queue>,
    /// What its buttons do.
    pub actions: Arc<dyn Actions>,
    /// For addresses off loopback, where the page is served over TLS.
    pub tls: ServerTls,
    /// Whether the configuration on the disk is the one in force.
    pub load_state: Arc<LoadState>,
}

/// Why the page can't be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken or not ours.
    #[error("Proxy.Admin.Listen = {address}: {source}; choose another address, or \"\" for none")]
    Listen {
        /// Which one.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The address can't be had while the page is served on another one.
    #[error(
        "Proxy.Admin.Listen = {address}: the page is still at {held}, which overlaps; restart \
         authbridge, or move the page elsewhere first and here by a second change"
    )]
    Overlaps {
        /// Which one.
        address: SocketAddr,
        /// Where it is now.
        held: SocketAddr,
    },
}

/// Sockets that accept nothing yet.
#[derive(Debug)]
pub struct AdminListeners {
    listeners: Vec<TcpListener>,
    bound: Vec<SocketAddr>,
    /// As configured: port 0 stands for any.
    asked: Vec<SocketAddr>,
}

impl AdminListeners {
    /// Listens on every address.
    pub async fn bind(addresses: &[SocketAddr]) -> Result<Self, Error> {
        let asked = addresses.to_vec();
        let mut all = Self { listeners: Vec::new(), bound: Vec::new(), asked };
        for &address in addresses {
            let failed = |source| Error::Listen { address, source };
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            all.bound.push(listener.local_addr().map_err(failed)?);
            all.listeners.push(listener);
        }
        Ok(all)
    }

    /// What is listened on, with real ports.
    pub fn bound(&self) -> &[SocketAddr] {
        &self.bound
    }

    /// Serves until `stopping`. `/healthz/ready` is ready from here on, until `stopping`.
    pub async fn serve(self, page: Page, stopping: CancellationToken) {
        self.start(page, stopping).finished().await;
    }

    /// The same in the background, so that page and addresses can be changed.
    pub fn start(self, page: Page, stopping: CancellationToken) -> WebPage {
        WebPage::start(self, page, stopping)
    }
}

/// The page's address for a person, such as `http://127.0.0.1:8025/`.
pub fn address(bound: &SocketAddr) -> String {
    let scheme = if is_plain(bound) { "http" } else { "https" };
    format!("{scheme}://{bound}/")
}

/// Only what never leaves this machine goes without TLS.
fn is_plain(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}
