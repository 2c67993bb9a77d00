//! The make-believe cloud: Entra, Graph mail, Google's token endpoint, Gmail's SMTP, IMAP and POP3,
//! Exchange Online's, and classic servers with passwords, in memory, on loopback, with an own certificate authority.
//!
//! Danger: a stand-in that is kinder than the real service, or that shares code with the program it
//! judges, proves nothing. Rule: strict as the real services are, never lenient to help a client;
//! nothing of the program is imported, only crates; every listener works on one state
//! (`store`), which tests read and in which they provoke faults (`faults`).

mod accounts;
mod ca;
mod changes;
mod entra;
mod faults;
mod folder;
mod gmail;
mod google;
mod graph;
mod inspect;
mod jwt;
pub mod keys;
mod mailbox;
mod mime;
mod quirks;
mod reading;
mod store;
#[cfg(test)]
mod tests;
mod tree;
mod web;

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::accounts::{
    App, GMAIL_SCOPE, Mailbox, Platform, Provider, Redirect, ServiceAccount, ServiceAccountKey,
    Standing, Tenant,
};
pub use self::entra::UserSignIns;
pub use self::faults::{Fault, Place, What};
pub use self::mailbox::{Attachment, StoredMessage};
pub use self::quirks::{Limits, Quirks};
pub use self::store::{Counters, Delivery, Login, Sent, SmtpSession, Via};

use self::ca::Authority;
use self::gmail::{House, Manner, Tls};
use self::store::Cloud;

/// Which ports to listen on; 0 picks a free one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Entra.
    pub authority: u16,
    /// Graph.
    pub graph: u16,
    /// The host of upload URLs.
    pub upload: u16,
    /// Google's token endpoint.
    pub google: u16,
    /// SMTP with TLS from the first byte.
    pub smtp: u16,
    /// SMTP with STARTTLS required.
    pub smtp_starttls: u16,
    /// SMTP without TLS, login optional.
    pub smtp_plain: u16,
    /// IMAP with TLS from the first byte.
    pub imap: u16,
    /// IMAP with STARTTLS required.
    pub imap_starttls: u16,
    /// IMAP without TLS.
    pub imap_plain: u16,
    /// POP3 with TLS from the first byte.
    pub pop3: u16,
    /// POP3 with STLS required.
    pub pop3_starttls: u16,
    /// POP3 without TLS.
    pub pop3_plain: u16,
    /// Exchange Online's SMTP: STARTTLS and Entra's tokens.
    pub exchange_smtp: u16,
    /// Exchange Online's IMAP: TLS from the first byte and Entra's tokens.
    pub exchange_imap: u16,
    /// Exchange Online's POP3: TLS from the first byte and Entra's tokens.
    pub exchange_pop3: u16,
}

/// Where everything listens. URLs are without a trailing slash, hosts are `localhost:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Entra: `https://localhost:port`.
    pub authority_url: String,
    /// Graph: `https://localhost:port`.
    pub graph_url: String,
    /// Google's token endpoint, with its path.
    pub google_token_url: String,
    /// The host of upload URLs: `https://localhost:port`.
    pub upload_url: String,
    /// SMTP with TLS from the first byte.
    pub smtp: String,
    /// SMTP with STARTTLS required.
    pub smtp_starttls: String,
    /// SMTP without TLS, login optional.
    pub smtp_plain: String,
    /// IMAP with TLS from the first byte.
    pub imap: String,
    /// IMAP with STARTTLS required.
    pub imap_starttls: String,
    /// IMAP without TLS.
    pub imap_plain: String,
    /// POP3 with TLS from the first byte.
    pub pop3: String,
    /// POP3 with STLS required.
    pub pop3_starttls: String,
    /// POP3 without TLS.
    pub pop3_plain: String,
    /// Exchange Online's SMTP: STARTTLS and Entra's tokens.
    pub exchange_smtp: String,
    /// Exchange Online's IMAP: TLS from the first byte and Entra's tokens.
    pub exchange_imap: String,
    /// Exchange Online's POP3: TLS from the first byte and Entra's tokens.
    pub exchange_pop3: String,
}

/// A running cloud. Dropping it closes every listener and connection.
pub struct Sandbox {
    cloud: Arc<Cloud>,
    root_pem: String,
    _stop: DropGuard,
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("endpoints", &self.cloud.endpoints).finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Binds everything on 127.0.0.1 and serves until dropped.
    pub async fn start(options: Options) -> io::Result<Self> {
        Self::start_behind(options, |own| own).await
    }

    /// The same behind something that passes connections on: `front` is told where the sandbox
    /// listens, and gives where clients shall go. Every address that the sandbox hands out, and
    /// every audience that it checks, is one of these.
    pub async fn start_behind(
        options: Options,
        front: impl FnOnce(Endpoints) -> Endpoints,
    ) -> io::Result<Self> {
        let authority = ca::make()?;
        let sockets = Sockets::bind(options).await?;
        let cloud = Arc::new(Cloud::new(front(sockets.endpoints()?)));
        let stop = CancellationToken::new();
        sockets.serve(&cloud, &authority, &stop);
        Ok(Self { cloud, root_pem: authority.root_pem, _stop: stop.drop_guard() })
    }

    /// Where everything listens.
    pub fn endpoints(&self) -> &Endpoints {
        &self.cloud.endpoints
    }

    /// The root certificate, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.root_pem
    }

    /// Writes the root certificate to a file, for `Proxy.Upstream.CaPath`.
    pub fn write_ca(&self, path: &Path) -> io::Result<()> {
        std::fs::write(path, &self.root_pem)
    }
}

/// Every listening socket.
struct Sockets {
    authority: TcpListener,
    graph: TcpListener,
    upload: TcpListener,
    google: TcpListener,
    smtp: [TcpListener; 3],
    imap: [TcpListener; 3],
    pop3: [TcpListener; 3],
    /// SMTP, IMAP, POP3.
    exchange: [TcpListener; 3],
}

/// The three ways a mail protocol is offered, in the order of the arrays above.
const MANNERS: [Manner; 3] = [
    Manner { tls: Tls::Implicit, anonymous: false, house: House::Gmail },
    Manner { tls: Tls::Required, anonymous: false, house: House::Gmail },
    Manner { tls: Tls::Never, anonymous: true, house: House::Gmail },
];
/// Exchange Online's SMTP, IMAP and POP3.
const EXCHANGE: [(Place, Manner); 3] = [
    (Place::Smtp, Manner { tls: Tls::Required, anonymous: false, house: House::Exchange }),
    (Place::Imap, Manner { tls: Tls::Implicit, anonymous: false, house: House::Exchange }),
    (Place::Pop3, Manner { tls: Tls::Implicit, anonymous: false, house: House::Exchange }),
];

impl Sockets {
    async fn bind(options: Options) -> io::Result<Self> {
        let Options { smtp, smtp_starttls, smtp_plain, .. } = options;
        Ok(Self {
            authority: bind(options.authority).await?,
            graph: bind(options.graph).await?,
            upload: bind(options.upload).await?,
            google: bind(options.google).await?,
            smtp: bind_three([smtp, smtp_starttls, smtp_plain]).await?,
            imap: bind_three([options.imap, options.imap_starttls, options.imap_plain]).await?,
            pop3: bind_three([options.pop3, options.pop3_starttls, options.pop3_plain]).await?,
            exchange: bind_three([
                options.exchange_smtp,
                options.exchange_imap,
                options.exchange_pop3,
            ])
            .await?,
        })
    }

    fn endpoints(&self) -> io::Result<Endpoints> {
        let host = |listener: &TcpListener| -> io::Result<String> {
            Ok(format!("localhost:{}", listener.local_addr()?.port()))
        };
        let url = |listener: &TcpListener| host(listener).map(|host| format!("https://{host}"));
        Ok(Endpoints {
            authority_url: url(&self.authority)?,
            graph_url: url(&self.graph)?,
            google_token_url: format!("{}/token", url(&self.google)?),
            upload_url: url(&self.upload)?,
            smtp: host(&self.smtp[0])?,
            smtp_starttls: host(&self.smtp[1])?,
            smtp_plain: host(&self.smtp[2])?,
            imap: host(&self.imap[0])?,
            imap_starttls: host(&self.imap[1])?,
            imap_plain: host(&self.imap[2])?,
            pop3: host(&self.pop3[0])?,
            pop3_starttls: host(&self.pop3[1])?,
            pop3_plain: host(&self.pop3[2])?,
            exchange_smtp: host(&self.exchange[0])?,
            exchange_imap: host(&self.exchange[1])?,
            exchange_pop3: host(&self.exchange[2])?,
        })
    }

    fn serve(self, cloud: &Arc<Cloud>, authority: &Authority, stop: &CancellationToken) {
        let sites = [
            (self.authority, entra::router(cloud.clone()), entra::place_of as PlaceOf),
            (self.graph, graph::router(cloud.clone()), graph::place_of),
            (self.upload, graph::upload_router(cloud.clone()), graph::upload_place_of),
            (self.google, google::router(cloud.clone()), google::place_of),
        ];
        for (listener, router, place_of) in sites {
            let site = web::Site { cloud: cloud.clone(), router, place_of };
            tokio::spawn(web::serve(listener, authority.web.clone(), site, stop.clone()));
        }
        let mut mail = Vec::new();
        for (place, three) in
            [(Place::Smtp, self.smtp), (Place::Imap, self.imap), (Place::Pop3, self.pop3)]
        {
            mail.extend(MANNERS.map(|manner| (place, manner)).into_iter().zip(three));
        }
        mail.extend(EXCHANGE.into_iter().zip(self.exchange));
        for ((place, manner), listener) in mail {
            let acceptor = authority.mail.clone();
            let door = gmail::Door { cloud: cloud.clone(), place, manner, acceptor };
            tokio::spawn(gmail::serve(listener, door, stop.clone()));
        }
    }
}

type PlaceOf = fn(&axum::http::Method, &str) -> Place;

async fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", port)).await
}

async fn bind_three([one, two, three]: [u16; 3]) -> io::Result<[TcpListener; 3]> {
    Ok([bind(one).await?, bind(two).await?, bind(three).await?])
}
