//! Pickup folders: messages that applications leave as `.eml` files (IIS, `System.Net.Mail`).
//!
//! Danger: a file that is still being written is half a message; one that is read twice, because we
//! died between sending and removing it, is two. Rule: a file is taken when nobody writes to it any
//! more, by moving it; it goes when its message is durable, under a name that makes it the same
//! message after a crash; what can't be read goes to BadMail with the reason, never away.
//!
//! `inbox` takes files, `events` hears of them, `reading` and `dots` make a message of one,
//! `envelope` says who sends and receives, `intake` hands it over, `bad_mail` keeps what is refused.

mod bad_mail;
mod dots;
pub mod envelope;
mod events;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod inbox;
mod intake;
mod reading;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use notify::RecommendedWatcher;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::events::Writing;
use self::inbox::{Gathered, Inbox, Taken};
use super::Context;
use crate::mail::Submission;

/// How often a folder is looked at: shares on a network tell of nothing.
const SCAN_EVERY: Duration = Duration::from_secs(5);
/// The same while files wait for being complete.
const SCAN_SOON: Duration = Duration::from_millis(500);
/// Events within this time are one.
const TOGETHER: Duration = Duration::from_millis(100);
/// The first pause after a failure that passes; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// An administrator who has made room does not want to wait for long.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// So many failures in a row are about the disk rather than the files: the rest waits.
const FAILURES_IN_A_ROW: u32 = 3;

/// A folder that is watched (`Proxy.Pickup.<name>.*`).
pub struct Folder {
    /// The name in the key.
    pub name: String,
    /// Where applications put files.
    pub directory: PathBuf,
    /// Where refused files go; `None`: they stay, under another name.
    pub bad_mail: Option<PathBuf>,
    /// Its sending role.
    pub role: String,
    /// Takes the messages; durable when it says yes.
    pub submission: Arc<dyn Submission>,
}

/// Why a file is not sent.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// For good: one sentence.
    #[error("{0}")]
    Refused(String),
    /// For now.
    #[error("{0}")]
    Later(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Later(error.to_string())
    }
}

impl From<crate::mail::Error> for Failure {
    fn from(error: crate::mail::Error) -> Self {
        match error.kind.is_temporary() {
            true => Self::Later(error.chain()),
            false => Self::Refused(error.chain()),
        }
    }
}

/// Takes files until `stopping`.
pub async fn watch(folder: Folder, context: Arc<Context>, stopping: CancellationToken) {
    let mut station = Station::new(folder, context);
    loop {
        let pause = station.round(&stopping).await;
        let woken = async {
            station.wake.notified().await;
            tokio::time::sleep(TOGETHER).await;
        };
        tokio::select! {
            () = stopping.cancelled() => return,
            () = woken => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// One folder at work.
struct Station {
    folder: Arc<Folder>,
    context: Arc<Context>,
    /// `None` only while it looks.
    inbox: Option<Inbox>,
    writing: Writing,
    watcher: Option<RecommendedWatcher>,
    wake: Arc<Notify>,
    retries: HashMap<Uuid, Retry>,
    /// Why the folder can't be looked at, once that was told.
    trouble: Option<String>,
    /// Files fail for now, and that was told.
    is_stuck: bool,
}

/// A file that is tried again.
struct Retry {
    at: Instant,
    pause: Duration,
}

impl Station {
    fn new(folder: Folder, context: Arc<Context>) -> Self {
        let writing = Writing::default();
        let inbox = Some(Inbox::new(folder.directory.clone(), writing.clone()));
        Self {
            folder: Arc::new(folder),
            context,
            inbox,
            writing,
            watcher: None,
            wake: Arc::new(Notify::new()),
            retries: HashMap::new(),
            trouble: None,
            is_stuck: false,
        }
    }

    /// Takes what is complete and hands in all that is ours; the time until the next look.
    async fn round(&mut self, stopping: &CancellationToken) -> Duration {
        let gathered = match self.gather(Instant::now()).await {
            Ok(gathered) => gathered,
            Err(error) => {
                self.tell_of_trouble(&error);
                return SCAN_EVERY;
            }
        };
        if self.trouble.take().is_some() {
            tracing::info!(pickup = self.folder.name, "the folder is watched");
        }
        self.retries.retain(|id, _| gathered.taken.iter().any(|taken| taken.id == *id));
        let mut in_a_row = 0;
        for taken in &gathered.taken {
            if stopping.is_cancelled() || in_a_row == FAILURES_IN_A_ROW {
                break;
            }
            if self.retries.get(&taken.id).is_some_and(|retry| Instant::now() < retry.at) {
                continue;
            }
            in_a_row = match self.settle(taken).await {
                true => 0,
                false => in_a_row + 1,
            };
        }
        if gathered.waiting { SCAN_SOON } else { SCAN_EVERY }
    }

    /// Looks by a thread that may wait for a disk.
    async fn gather(&mut self, now: Instant) -> io::Result<Gathered> {
        if self.watcher.is_none() || self.trouble.is_some() {
            let directory = self.folder.directory.clone();
            let (writing, wake) = (self.writing.clone(), Arc::clone(&self.wake));
            let begun = move || events::watch(&directory, writing, wake);
            self.watcher = tokio::task::spawn_blocking(begun).await.map_err(io::Error::other)?;
        }
        let own = || Inbox::new(self.folder.directory.clone(), self.writing.clone());
        let mut inbox = self.inbox.take().unwrap_or_else(own);
        let looking = tokio::task::spawn_blocking(move || {
            let gathered = inbox.gather(now);
            (inbox, gathered)
        });
        let (inbox, gathered) = looking.await.map_err(io::Error::other)?;
        self.inbox = Some(inbox);
        gathered
    }

    fn tell_of_trouble(&mut self, error: &io::Error) {
        let text = error.to_string();
        if self.trouble.as_ref() != Some(&text) {
            let directory = self.folder.directory.display();
            tracing::warn!(
                pickup = self.folder.name,
                "Proxy.Pickup.{}.Directory: {directory}: {text}; files there wait until it can be \
                 used, which is tried every few seconds",
                self.folder.name
            );
            let text = format!("{directory}: {text}");
            let Folder { name, role, .. } = &*self.folder;
            self.context.activity.folder_failed(name, role, &text);
        }
        self.trouble = Some(text);
    }

    /// Hands one file in; false: it stays for now.
    async fn settle(&mut self, taken: &Taken) -> bool {
        let settled = match intake::hand_in(&self.folder, &self.context, taken).await {
            Ok(()) => remove(&taken.path).await.map_err(Failure::from),
            Err(Failure::Refused(reason)) => self.put_away(taken, reason).await,
            later => later,
        };
        match settled {
            Ok(()) => {
                self.retries.remove(&taken.id);
                if std::mem::take(&mut self.is_stuck) {
                    tracing::info!(pickup = self.folder.name, "files can be taken again");
                }
                true
            }
            Err(failure) => {
                self.put_off(taken, &failure);
                false
            }
        }
    }

    async fn put_away(&self, taken: &Taken, reason: String) -> Result<(), Failure> {
        let (folder, file, text) = (Arc::clone(&self.folder), taken.clone(), reason.clone());
        let moved = tokio::task::spawn_blocking(move || {
            bad_mail::put_away(&file, &folder.directory, folder.bad_mail.as_deref(), &text)
        });
        let target = moved.await.map_err(io::Error::other)??;
        tracing::warn!(
            pickup = self.folder.name,
            role = self.folder.role,
            file = %taken.name.to_string_lossy(),
            now_at = %target.display(),
            "a pickup file was not sent: {reason}"
        );
        Ok(())
    }

    fn put_off(&mut self, taken: &Taken, failure: &Failure) {
        let earlier = self.retries.get(&taken.id).map(|retry| retry.pause * 2);
        let pause = earlier.unwrap_or(FIRST_PAUSE).min(LONGEST_PAUSE);
        self.retries.insert(taken.id, Retry { at: Instant::now() + pause, pause });
        let (file, pickup) = (taken.name.to_string_lossy(), &self.folder.name);
        match std::mem::replace(&mut self.is_stuck, true) {
            false => tracing::warn!(pickup, %file, "a pickup file has to wait: {failure}"),
            true => tracing::debug!(pickup, %file, "a pickup file has to wait: {failure}"),
        }
    }
}

/// Removes a file whose message is durable; one that is gone is fine.
async fn remove(path: &std::path::Path) -> io::Result<()> {
    match tokio::fs::remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
