//! Puts a changed configuration in force while the proxy runs.
//!
//! Danger: a reload that fails half-way, or two at once, leave a mixture that nobody has configured.
//! Rule: one at a time, the last one wins; the whole configuration is read, checked and built as at a
//! start before anything changes; one that can't be used changes nothing and every mistake in it is
//! in the log. A look that fails is repeated with the next change, and every half minute: a port
//! becomes free, a file readable.

mod changes;
mod files;
mod fixed;
mod watch;

use std::time::SystemTime;

pub(super) use self::changes::Swapped;
#[cfg(test)]
pub(super) use self::changes::tests::configured;
pub use self::files::{Found, read};
pub(super) use self::files::{Snapshot, of_config, of_listeners, of_receiving, of_sending};
use self::watch::{Asked, Watch};
use super::serving::Serving;
use crate::config::{Config, LoadRequest, Loaded};
use crate::platform::ReloadSignal;
use crate::secret::Secret;
use crate::telemetry::{LevelSwitch, metrics};

/// What a running proxy reloads its configuration with.
pub struct Reloads {
    /// What was read at the start, and is read again.
    pub request: LoadRequest,
    /// What the start has found.
    pub found: Found,
    /// Administrators ask by it.
    pub signal: ReloadSignal,
    /// `Proxy.Log.Level`.
    pub level: LevelSwitch,
    /// Shows a password for the page that was made just now.
    pub on_password: fn(&Config, &Secret),
}

/// Reloads for as long as it is polled. Dropped between two steps, it has changed nothing by halves.
pub(super) async fn run(reloads: Reloads, serving: &mut Serving) {
    let Reloads { request, found, signal, level, on_password } = reloads;
    // Our own certificate may have been made after the files were read. What is shown counts, not
    // what the files hold by now.
    let snapshot = found.snapshot.with(serving.certificate());
    let mut watch = Watch::new(signal);
    watch.follow(&snapshot.paths());
    let mut reloader = Reloader { request, snapshot, trouble: None, level, on_password };
    // What has changed between the start and the first watch.
    reloader.look(Asked::Files, serving).await;
    loop {
        let asked = watch.next().await;
        reloader.look(asked, serving).await;
        watch.follow(&reloader.snapshot.paths());
    }
}

struct Reloader {
    request: LoadRequest,
    /// What was in the files when they were looked at last.
    snapshot: Snapshot,
    /// Why what they hold is not in force.
    trouble: Option<String>,
    level: LevelSwitch,
    on_password: fn(&Config, &Secret),
}

impl Reloader {
    async fn look(&mut self, asked: Asked, serving: &mut Serving) {
        let Some(found) = self.read(asked).await else { return };
        // A broken file may no longer name what the running configuration depends on.
        let running = self.snapshot.again();
        self.snapshot = match &found.loaded {
            Ok(_) => found.snapshot,
            Err(_) => running.with(found.snapshot),
        };
        match found.loaded {
            Ok(loaded) => self.apply(asked, loaded, serving).await,
            Err(problems) => self.refuse(asked, &problems.to_string(), serving),
        }
        // A certificate of our own may have been made anew.
        self.snapshot = std::mem::take(&mut self.snapshot).with(serving.certificate());
    }

    /// `None`: the files hold what they held.
    async fn read(&self, asked: Asked) -> Option<Found> {
        let (request, known) = (self.request.clone(), self.snapshot.clone());
        let in_any_case = asked == Asked::Person || self.trouble.is_some();
        let reading = move || (in_any_case || known.again() != known).then(|| read(&request));
        // It ends early only when the process does.
        tokio::task::spawn_blocking(reading).await.ok().flatten()
    }

    async fn apply(&mut self, asked: Asked, loaded: Loaded, serving: &mut Serving) {
        let Loaded { mut config, warnings, .. } = loaded;
        let before = serving.config().clone();
        let waiting = fixed::keep(&before, &mut config);
        let level = config.log.level.clone();
        let notes = super::not_in_effect(&config);
        let swapped = match serving.replace(config).await {
            Ok(swapped) => swapped,
            Err(error) => return self.refuse(asked, &error.to_string(), serving),
        };
        self.trouble = None;
        metrics::config_reloaded(true);
        let words = changes::between(&before, serving.config(), &swapped);
        match words.is_empty() {
            true => tracing::info!("configuration reloaded: nothing that is in use has changed"),
            false => tracing::info!("configuration reloaded: {}", words.join(", ")),
        }
        for key in waiting {
            tracing::warn!("{key} has changed, which takes effect after a restart");
        }
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        notes.iter().for_each(|note| tracing::warn!("{note}"));
        if let Err(error) = self.level.set(&level) {
            tracing::error!("{error}");
        }
        if let Some(password) = serving.first_password() {
            (self.on_password)(serving.config(), &password);
        }
    }

    /// The same trouble is told again only to who asks for it.
    fn refuse(&mut self, asked: Asked, mistakes: &str, serving: &Serving) {
        let is_known = self.trouble.as_deref() == Some(mistakes);
        if is_known && asked == Asked::Files {
            return;
        }
        for mistake in mistakes.lines() {
            tracing::error!("the changed configuration can't be used: {mistake}");
        }
        tracing::error!("the running configuration stays in force");
        metrics::config_reloaded(false);
        let first = mistakes.lines().next().unwrap_or_default();
        serving.process().load_state.refused(SystemTime::now(), first);
        self.trouble = Some(mistakes.to_owned());
    }
}
