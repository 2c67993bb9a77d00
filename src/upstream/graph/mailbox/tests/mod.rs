//! Synchronisation against a Graph with all its habits, with a real store.

mod folders;
mod messages;
mod service;

use std::sync::Arc;
use std::time::Duration;

use service::Service;

use super::{Engines, Settings};
use crate::config::role::Expunge;
use crate::mail::mailbox::{Folder, Snapshot};
use crate::mail::{Error, Mailbox, Opened, Protocol, Upstream};
use crate::store::Store;
use crate::upstream::graph::fake::{Tokens, account, http_client};
use crate::upstream::graph::{GraphMailbox, Turns};

/// A mailbox, the service behind it and the store under it.
struct Desk {
    service: Service,
    mailbox: Arc<dyn Mailbox>,
    role: GraphMailbox,
    folder: tempfile::TempDir,
}

const SETTINGS: Settings = Settings {
    expunge: Expunge::Delete,
    poll_interval: Duration::from_millis(20),
    max_message: 1 << 20,
};

async fn role(service: &Service, engines: &Engines, tokens: Tokens) -> GraphMailbox {
    let account = account(&service.url, false);
    let turns = Turns::default();
    GraphMailbox::new("Mail", &account, SETTINGS, Arc::new(tokens), http_client(), &turns, engines)
}

async fn mailbox(role: &GraphMailbox) -> Result<Arc<dyn Mailbox>, Error> {
    match role.open("app", Protocol::Imap).await? {
        Opened::Mailbox(mailbox) => Ok(mailbox),
        Opened::Relay(_) => unreachable!("a relay"),
    }
}

impl Desk {
    async fn new(service: Service) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), 1 << 20).await.expect("a store");
        let role = role(&service, &Engines::new(store), Tokens::default()).await;
        let mailbox = mailbox(&role).await.expect("open");
        Self { service, mailbox, role, folder }
    }

    async fn with(ids: &[&str]) -> Self {
        let service = Service::start().await;
        ids.iter().for_each(|id| service.mail().add("id-inbox", id));
        Self::new(service).await
    }

    /// The same mailbox after a restart of the program.
    async fn restarted(self) -> Self {
        let Self { service, mailbox: old, role: old_role, folder } = self;
        drop((old, old_role));
        let store = Store::open(folder.path(), 1 << 20).await.expect("a store");
        let role = role(&service, &Engines::new(store), Tokens::default()).await;
        let mailbox = mailbox(&role).await.expect("open");
        Self { service, mailbox, role, folder }
    }

    /// The engine behind the mailbox.
    async fn engine(&self) -> Arc<super::Engine> {
        let graph = self.role.client.mailbox(Some("app")).await.expect("a token");
        let engines = &self.role.engines;
        engines.engine(&self.service.url, "client", graph, SETTINGS).await.expect("open")
    }

    async fn open(&self, name: &str) -> Arc<dyn Folder> {
        self.mailbox.open(name).await.expect("a folder")
    }

    async fn names(&self) -> Vec<String> {
        // Whatever was heard a moment ago is not asked for again: a change in between is new.
        let folders = self.mailbox.folders().await.expect("a list");
        folders.iter().map(|folder| folder.name.clone()).collect()
    }
}

fn uids(snapshot: &Snapshot) -> Vec<u32> {
    snapshot.messages.iter().map(|entry| entry.uid.number()).collect()
}
