//! What there is once in a process, whatever the configuration.
//!
//! Danger: two queues on one folder send a message twice; two engines on one mailbox number it
//! twice; a reload that forgets lock-outs gives whoever guesses passwords a new start. Rule: what is
//! here is opened when the first configuration needs it, and stays until the process ends.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

use super::roles::Common;
use super::warnings::Told;
use super::{Error, MESSAGE_MEMORY, try_lock};
use crate::admin::LoadState;
use crate::config::{Config, ReceivingKind, ReceivingRole};
use crate::frontend::login::Logins;
use crate::mail::MemoryBudget;
use crate::platform;
use crate::spool::Spool;
use crate::store::Store;
use crate::store::queue::{Access, Queue};
use crate::telemetry::activity::Activity;
use crate::upstream::graph::Engines;

/// Everything that outlives a configuration.
pub(super) struct Process {
    pub common: Common,
    /// Where messages wait; `None` until there is a sending role.
    pub queue: Option<Queue>,
    /// What sends them.
    pub spool: Option<Spool>,
    pub activity: Arc<Activity>,
    /// Memory for messages in flight.
    pub messages: MemoryBudget,
    /// Checks clients.
    pub logins: Arc<Logins>,
    /// Checks who opens the page.
    pub page_logins: Arc<Logins>,
    pub load_state: Arc<LoadState>,
    /// Which ends of credentials the log has told of.
    pub told: Told,
    pub stopping: CancellationToken,
    state: PathBuf,
    /// Held for as long as store or queue are in use; given back by the system however the process
    /// ends.
    lock: Option<File>,
}

impl Process {
    /// Makes the state folder; nothing in it is open yet.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let state = config.state_directory.clone();
        platform::create_private_directory(&state)
            .map_err(|source| Error::StateDirectory { path: state.clone(), source })?;
        Ok(Self {
            common: Common::default(),
            queue: None,
            spool: None,
            activity: Activity::new(),
            messages: MemoryBudget::with_folder(MESSAGE_MEMORY, state.clone()),
            logins: Arc::new(Logins::new(Vec::new())),
            page_logins: Arc::new(Logins::new(Vec::new())),
            load_state: Arc::new(LoadState::new(SystemTime::now())),
            told: Told::default(),
            stopping: CancellationToken::new(),
            state,
            lock: None,
        })
    }

    /// Opens what this configuration needs and is not open yet.
    pub async fn open_for(&mut self, config: &Config) -> Result<(), Error> {
        let (store, queue) = (needs_store(config), !config.sending.is_empty());
        if (store || queue) && self.lock.is_none() {
            self.lock = Some(self.lock_state()?);
        }
        if store && self.common.engines.is_none() {
            let store = Store::open(&self.state, config.limits.max_cache_bytes).await?;
            self.common.engines = Some(Engines::new(store));
        }
        if queue && self.spool.is_none() {
            let queue = Queue::open(&self.state, Access::Owner).await?;
            self.common.handovers = Some(queue.handovers());
            let (activity, messages) = (Arc::clone(&self.activity), self.messages.clone());
            self.spool = Some(Spool::new(queue.clone(), activity, messages));
            self.queue = Some(queue);
        }
        Ok(())
    }

    /// The right to use what is stored in the folder.
    fn lock_state(&self) -> Result<File, Error> {
        let failed = |source| Error::StateDirectory { path: self.state.clone(), source };
        let held = try_lock(&self.state).map_err(failed)?;
        held.ok_or_else(|| Error::InUse(self.state.clone()))
    }
}

/// True when a role needs the store: others start without.
fn needs_store(config: &Config) -> bool {
    let is_served = |role: &ReceivingRole| matches!(role.kind, ReceivingKind::Microsoft365 { .. });
    config.receiving.iter().any(is_served)
}
