//! A receiving role behind which is a Microsoft 365 mailbox.
//!
//! Danger: two roles, or forty sessions, that read one mailbox must not number its messages twice.
//! Rule: all share one [`Engines`], which knows a mailbox by service, application and name; one that
//! nobody uses stays for some minutes, because clients of POP3 come back each minute.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep_until};

use super::engine::{Engine, Settings};
use super::item::not_stored;
use crate::config::role::Microsoft365;
use crate::mail::{Error, Opened, Protocol, Upstream};
use crate::oauth::{HttpClient, TokenSource};
use crate::store::Store;
use crate::upstream::graph::Turns;
use crate::upstream::graph::client::{Client, Mailbox};

/// How long a mailbox that nobody uses stays in memory.
const KEPT: Duration = Duration::from_secs(10 * 60);

/// The mailboxes that are open, and where they are stored; clones are the same.
#[derive(Clone)]
pub struct Engines {
    store: Store,
    open: Arc<tokio::sync::Mutex<HashMap<Key, Open>>>,
}

/// Service, application and mailbox, in lower case.
type Key = (String, String, String);

/// A mailbox that somebody uses or has used.
struct Open {
    engine: Weak<Engine>,
    kept: Weak<Kept>,
}

/// Keeps a mailbox in memory.
struct Kept {
    engine: Arc<Engine>,
    used: Mutex<Instant>,
}

impl Engines {
    /// None is open yet.
    pub fn new(store: Store) -> Self {
        Self { store, open: Arc::default() }
    }

    /// The mailbox that `graph` leads to.
    pub(super) async fn engine(
        &self,
        graph_url: &str,
        client_id: &str,
        graph: Mailbox,
        settings: Settings,
    ) -> Result<Arc<Engine>, Error> {
        let lower = str::to_lowercase;
        let key = (lower(graph_url), lower(client_id), lower(&graph.user));
        let mut open = self.open.lock().await;
        open.retain(|_, open| open.engine.strong_count() > 0);
        let found = open.get(&key).and_then(|open| open.engine.upgrade());
        let engine = match found {
            Some(engine) => {
                engine.also_serve(&graph.client.role, settings);
                engine
            }
            None => {
                let identity = format!("{} {} {}", key.0, key.1, key.2);
                let store = self.store.mailbox(&identity).await.map_err(not_stored)?;
                Engine::new(graph, store, settings)
            }
        };
        match open.get(&key).and_then(|open| open.kept.upgrade()) {
            Some(kept) => kept.note_use(),
            None => {
                let kept = Kept::new(&engine);
                let one = Open { engine: Arc::downgrade(&engine), kept: Arc::downgrade(&kept) };
                open.insert(key, one);
                tokio::spawn(kept.keep());
            }
        }
        Ok(engine)
    }
}

impl Kept {
    fn new(engine: &Arc<Engine>) -> Arc<Self> {
        Arc::new(Self { engine: Arc::clone(engine), used: Mutex::new(Instant::now()) })
    }

    fn note_use(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Lives until nobody has used the mailbox for some time.
    async fn keep(self: Arc<Self>) {
        loop {
            if self.engine.is_used(1) {
                self.note_use();
            }
            let until = *self.used.lock().unwrap_or_else(PoisonError::into_inner) + KEPT;
            if until <= Instant::now() {
                break;
            }
            sleep_until(until.min(Instant::now() + KEPT / 10)).await;
        }
        self.engine.close();
    }
}

/// A receiving role behind which is a Microsoft 365 mailbox.
pub struct GraphMailbox {
    pub(super) client: Arc<Client>,
    graph_url: String,
    client_id: String,
    settings: Settings,
    pub(super) engines: Engines,
}

impl GraphMailbox {
    /// The mailbox of the role of that name. `http` and `turns` as for
    /// [`crate::upstream::graph::GraphSubmission::new`]; `engines` is one for all roles.
    pub fn new(
        role: &str,
        account: &Microsoft365,
        settings: Settings,
        tokens: Arc<dyn TokenSource>,
        http: HttpClient,
        turns: &Turns,
        engines: &Engines,
    ) -> Self {
        Self {
            client: Arc::new(Client::new(role, account, tokens, http, turns)),
            graph_url: account.graph_url.clone(),
            client_id: account.client_id.clone(),
            settings,
            engines: engines.clone(),
        }
    }
}

impl Upstream for GraphMailbox {
    fn open<'a>(
        &'a self,
        login: &'a str,
        _protocol: Protocol,
    ) -> BoxFuture<'a, Result<Opened, Error>> {
        async move {
            let graph = self.client.mailbox(Some(login)).await?;
            let engines = &self.engines;
            let engine =
                engines.engine(&self.graph_url, &self.client_id, graph, self.settings).await?;
            Ok(Opened::Mailbox(engine))
        }
        .boxed()
    }
}
