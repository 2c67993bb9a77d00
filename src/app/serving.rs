//! The proxy while it serves: what runs, and how another configuration takes its place.
//!
//! Danger: a swap that takes turns with sessions shows some of them half of each configuration; a
//! keeper that is not ended goes on for ever with roles that are gone. Rule: the swap itself neither
//! waits nor fails; new sessions get one context with everything in it, running ones keep theirs;
//! what works for a configuration ends with it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::assembly::{Assembly, assemble};
use super::process::Process;
use super::reload::{Snapshot, Swapped, of_listeners};
use super::warnings::Warnings;
use super::{Error, GRACE, signed_in};
use crate::admin::{AdminListeners, Page, Visitors, WebPage};
use crate::config::{Config, Limits, Pickup};
use crate::frontend::Context;
use crate::frontend::listener::{Listeners, Sessions};
use crate::frontend::pickup;
use crate::spool::Spool;

/// Sessions that are cut off at the end of the grace leave messages behind that are still to be
/// written down: a matter of milliseconds. Both together are less than the 30 s after which some
/// service managers kill.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A proxy that serves.
pub(super) struct Serving {
    process: Process,
    current: Assembly,
    contexts: watch::Sender<Arc<Context>>,
    sessions: Sessions,
    web: WebPage,
    keepers: Keepers,
    pickups: Vec<Watching>,
    spooling: Option<JoinHandle<()>>,
    /// Ends when everything else has.
    noting: (CancellationToken, JoinHandle<()>),
}

/// What looks after one configuration's credentials.
struct Keepers {
    stop: CancellationToken,
    warnings: JoinHandle<()>,
}

/// A pickup folder that is watched.
struct Watching {
    pickup: Pickup,
    limits: Limits,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Serving {
    /// Accepts clients from here on. `clients`: where those that were seen are kept.
    pub fn start(
        process: Process,
        current: Assembly,
        (listeners, admin): (Listeners, AdminListeners),
        page: Page,
        clients: PathBuf,
    ) -> Self {
        let kept = CancellationToken::new();
        let noting = tokio::spawn(Arc::clone(&process.activity).keep(clients, kept.clone()));
        let context = Arc::new(current.put_in_force(&process));
        let (contexts, receiver) = watch::channel(context);
        let keepers = Keepers::start(&current, &page, admin.bound().first().copied(), &process);
        let web = admin.start(page, process.stopping.clone());
        let sessions = listeners.serve(receiver, process.stopping.clone());
        let mut this = Self {
            process,
            current,
            contexts,
            sessions,
            web,
            keepers,
            pickups: Vec::new(),
            spooling: None,
            noting: (kept, noting),
        };
        this.send_what_waits();
        this.watch_folders(&[]);
        this
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.current.config
    }

    /// What was in the files of the listeners' certificate when they were read.
    pub fn certificate(&self) -> Snapshot {
        self.current.certificate.clone()
    }

    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The page's password when it was made with the configuration in force.
    pub fn first_password(&mut self) -> Option<crate::secret::Secret> {
        self.current.first_password.take()
    }

    /// Puts another configuration in force, or fails with nothing changed.
    pub async fn replace(&mut self, config: Config) -> Result<Swapped, Error> {
        let replaced = self.try_replace(config).await;
        if replaced.is_err() {
            self.process.common.lasting.forget();
        }
        replaced
    }

    async fn try_replace(&mut self, config: Config) -> Result<Swapped, Error> {
        let mut new = assemble(config, &mut self.process, Some(&self.current)).await?;
        let listeners = self.sessions.prepare(&new.config.listen)?;
        let admin = self.web.prepare(&new.config.admin.listen).await?;
        let page = new.page(&self.process)?;
        // Nothing waits and nothing fails from here on.
        let context = Arc::new(new.put_in_force(&self.process));
        self.contexts.send_replace(context);
        let visitors = match new.password_hash == self.current.password_hash {
            true => Visitors::Stay,
            false => Visitors::LogInAgain,
        };
        let page_at = self.web.bound().first().copied();
        let keepers = Keepers::start(&new, &page, page_at, &self.process);
        std::mem::replace(&mut self.keepers, keepers).stop.cancel();
        let (page_added, page_removed) = self.web.apply(admin, page, visitors, &new.built.rebuilt);
        let pairs = [of_listeners(&self.current.config), of_listeners(&new.config)].concat();
        let swapped = Swapped {
            listeners: self.sessions.apply(listeners),
            page_added,
            page_removed,
            rebuilt: new.built.rebuilt.clone(),
            certificate: !new.certificate.agrees_on(&self.current.certificate, &pairs),
        };
        self.current = new;
        self.send_what_waits();
        self.watch_folders(&swapped.rebuilt);
        self.process.load_state.loaded(SystemTime::now());
        Ok(swapped)
    }

    /// Starts the spool once there is one.
    fn send_what_waits(&mut self) {
        if let (Some(spool), None) = (&self.process.spool, &self.spooling) {
            let stopping = self.process.stopping.clone();
            self.spooling = Some(tokio::spawn(spool.clone().run(stopping)));
        }
    }

    /// Folders that are as before stay watched, unless their role is another one now.
    fn watch_folders(&mut self, rebuilt: &[String]) {
        let context = Arc::clone(&self.contexts.borrow());
        let limits = &self.current.config.limits;
        let mut before = std::mem::take(&mut self.pickups);
        for pickup in &self.current.config.pickups {
            let same = |watching: &Watching| watching.pickup.name == pickup.name;
            let old = before.iter().position(same).map(|found| before.remove(found));
            let is_same = old.as_ref().is_some_and(|old| {
                old.pickup == *pickup && old.limits == *limits && !rebuilt.contains(&pickup.sending)
            });
            match old {
                Some(old) if is_same => self.pickups.push(old),
                old => {
                    let Some(folder) = folder(pickup, self.process.spool.as_ref()) else {
                        continue;
                    };
                    let stop = self.process.stopping.child_token();
                    let watch = pickup::watch(folder, Arc::clone(&context), stop.clone());
                    let task = tokio::spawn(after(old, watch));
                    let (pickup, limits) = (pickup.clone(), limits.clone());
                    self.pickups.push(Watching { pickup, limits, stop, task });
                }
            }
        }
        before.iter().for_each(|gone| gone.stop.cancel());
    }

    /// Lets what is in flight finish.
    pub async fn finish(self) {
        let count = self.sessions.count();
        tracing::info!("stopping: {count} sessions may finish within {GRACE:?}");
        let end = Instant::now() + GRACE;
        self.process.stopping.cancel();
        match self.sessions.finish(GRACE).await {
            0 => tracing::info!("stopped"),
            cut_off => tracing::warn!(cut_off, "stopped; these sessions had not ended"),
        }
        if let Some(spooling) = self.spooling {
            // What is cut off here waits in the queue, and is looked for before it is sent again.
            let end = end.max(Instant::now() + LAST_WORDS);
            if timeout_at(end, spooling).await.is_err() {
                tracing::warn!("stopped in the middle of sending; the next start goes on with it");
            }
        }
        self.keepers.stop.cancel();
        let (kept, noting) = self.noting;
        kept.cancel();
        let _ = tokio::join!(noting, self.keepers.warnings);
    }
}

impl Keepers {
    fn start(
        assembly: &Assembly,
        page: &Page,
        page_at: Option<std::net::SocketAddr>,
        process: &Process,
    ) -> Self {
        let kept = signed_in::kept(&assembly.config);
        let stop = CancellationToken::new();
        let warnings = tokio::spawn(
            Warnings::new(page, kept.clone(), process.told.clone()).tell(stop.clone()),
        );
        let accounts = assembly.built.accounts.clone();
        let (keeping, stopping) = (stop.clone(), process.stopping.clone());
        tokio::spawn(async move {
            let keep = signed_in::keep(accounts, kept, page_at, keeping);
            stopping.run_until_cancelled(keep).await;
        });
        Self { stop, warnings }
    }
}

/// The folder, with what it sends through.
fn folder(one: &Pickup, spool: Option<&Spool>) -> Option<pickup::Folder> {
    Some(pickup::Folder {
        name: one.name.clone(),
        directory: one.directory.clone(),
        bad_mail: one.bad_mail.clone(),
        role: one.sending.clone(),
        submission: spool?.durable(&one.sending)?,
    })
}

/// Two that watch one folder would take each other's files: the old one ends first.
async fn after(old: Option<Watching>, watch: impl Future<Output = ()>) {
    if let Some(old) = old {
        old.stop.cancel();
        let _ = old.task.await;
    }
    watch.await;
}
