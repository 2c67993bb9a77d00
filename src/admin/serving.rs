//! The page while it is served: other addresses and another configuration without a pause.
//!
//! Danger: a page that is rebuilt forgets who has logged in, and which sign-in is half done. Rule:
//! the site is swapped as a whole and hands on its sessions, jobs and attempts; an address that
//! stays keeps its socket, and a new one is bound before anything changes.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::Server;
use super::places::Places;
use super::site::{self, Current, Site, Visitors};
use super::{AdminListeners, Error, Page, is_plain};

/// The page that is served.
pub struct WebPage {
    site: Current,
    router: Router,
    places: Places,
    servers: TaskTracker,
    open: Mutex<Vec<Open>>,
    stopping: CancellationToken,
}

/// An address that is listened on.
#[derive(Clone, Debug)]
struct Open {
    asked: SocketAddr,
    bound: SocketAddr,
    closing: CancellationToken,
}

/// Addresses of another configuration, those that are new bound already.
#[derive(Debug)]
pub struct Prepared {
    kept: Vec<Open>,
    gone: Vec<Open>,
    fresh: AdminListeners,
}

impl WebPage {
    pub(super) fn start(
        listeners: AdminListeners,
        page: Page,
        stopping: CancellationToken,
    ) -> Self {
        let site = Current::new(Site::new(page, stopping.clone()));
        let router = site::router(&site);
        let (places, servers) = (Places::default(), TaskTracker::new());
        let this = Self { site, router, places, servers, open: Mutex::default(), stopping };
        let open = this.serve_all(listeners);
        this.remember(open);
        this
    }

    /// Where the page is, with real ports.
    pub fn bound(&self) -> Vec<SocketAddr> {
        self.open().iter().map(|open| open.bound).collect()
    }

    /// Binds what is new. Nothing changes yet.
    pub async fn prepare(&self, addresses: &[SocketAddr]) -> Result<Prepared, Error> {
        let mut gone = self.open();
        let (mut kept, mut missing) = (Vec::new(), Vec::new());
        for address in addresses {
            let same = |open: &Open| open.asked == *address || open.bound == *address;
            match gone.iter().position(same) {
                Some(found) => kept.push(Open { asked: *address, ..gone.remove(found) }),
                None => missing.push(*address),
            }
        }
        let fresh =
            AdminListeners::bind(&missing).await.map_err(|error| in_the_way(error, &gone))?;
        Ok(Prepared { kept, gone, fresh })
    }

    /// Shows this page there from now on; what was proved of the roles that have `changed` is
    /// forgotten. Returns the addresses that have come and gone.
    pub fn apply(
        &self,
        prepared: Prepared,
        page: Page,
        visitors: Visitors,
        changed: &[String],
    ) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
        let Prepared { kept: mut open, gone, fresh } = prepared;
        self.site.replace(self.site.site().renewed(page, visitors));
        // After the swap: what is begun from here on is of the new configuration.
        self.site.site().jobs.outdate(changed);
        let added = fresh.bound().to_vec();
        open.extend(self.serve_all(fresh));
        gone.iter().for_each(|open| open.closing.cancel());
        self.remember(open);
        (added, gone.iter().map(|open| open.bound).collect())
    }

    /// Waits until nothing is served any more.
    pub async fn finished(&self) {
        self.servers.close();
        self.servers.wait().await;
    }

    fn serve_all(&self, listeners: AdminListeners) -> Vec<Open> {
        let addresses = listeners.bound.into_iter().zip(listeners.asked);
        let serve = |(listener, (bound, asked))| self.serve(listener, bound, asked);
        listeners.listeners.into_iter().zip(addresses).map(serve).collect()
    }

    fn serve(&self, listener: TcpListener, bound: SocketAddr, asked: SocketAddr) -> Open {
        let closing = self.stopping.child_token();
        let server = Server {
            listener,
            is_plain: is_plain(&bound),
            site: self.site.clone(),
            router: self.router.clone(),
            places: self.places.clone(),
        };
        self.servers.spawn(server.run(closing.clone()));
        Open { asked, bound, closing }
    }

    fn open(&self) -> Vec<Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, open: Vec<Open>) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = open;
    }
}

/// An address that overlaps one of our own can't be bound before that one is closed, and what is
/// closed first is lost when the new one can't be had.
fn in_the_way(error: Error, gone: &[Open]) -> Error {
    let Error::Listen { address, source } = error else { return error };
    let overlaps = |open: &&Open| {
        let same_family = open.bound.is_ipv4() == address.is_ipv4();
        let any = open.bound.ip().is_unspecified() || address.ip().is_unspecified();
        same_family && open.bound.port() == address.port() && any
    };
    match gone.iter().find(overlaps) {
        Some(open) => Error::Overlaps { address, held: open.bound },
        None => Error::Listen { address, source },
    }
}
