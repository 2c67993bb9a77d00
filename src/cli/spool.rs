//! `authbridge spool`: looks into the queue and steers it.
//!
//! Danger: an administrator who drops or retries what the running proxy is sending doubles or loses
//! it. Rule: the command opens the proxy's own queue as a visitor, to which what is being sent stays
//! closed; what a proxy that died was sending is given back only under the state folder's lock.

mod list;
mod show;
mod shown;
mod steer;
#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;

use super::{ConfigFiles, Failure};
use crate::app;
use crate::store;
use crate::store::queue::{Access, EntryId, Queue};

/// The queue's database in the state folder; the queue makes it, and we only look for it.
const DATABASE: &str = "spool.sqlite";

/// Look into and steer the queue of messages that wait to be sent
///
/// The queue is in the state folder (Proxy.StateDirectory) of the configuration. The commands work
/// whether authbridge runs or not, and leave alone what is being sent just now. A message that could
/// not be sent to somebody within Proxy.Spool.MaxAge, or that was refused for good, is a dead letter:
/// its sender has got a report, and it is kept until it is retried or dropped.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  authbridge spool list --dead\n  authbridge spool show 42\n  \
    authbridge spool retry --dead\n  authbridge spool drop 42 43")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(list::Args),
    Show(show::Args),
    Retry(steer::Retry),
    Drop(steer::Drop),
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new().context("the runtime can't start")?;
    runtime.block_on(async {
        match &args.action {
            Action::List(args) => list::run(args).await,
            Action::Show(args) => show::run(args).await,
            Action::Retry(args) => steer::retry(args).await,
            Action::Drop(args) => steer::remove(args).await,
        }
    })
}

/// A queue that is there, and where.
struct Place {
    folder: PathBuf,
    queue: Queue,
}

impl Place {
    /// That of the configuration. None is made: an empty one would hide a wrong folder.
    async fn open(config: &ConfigFiles) -> Result<Self, Failure> {
        let folder = config.load()?.config.state_directory;
        if !folder.join(DATABASE).is_file() {
            return Err(Failure::Failed(anyhow::anyhow!(
                "there is no queue in {} yet: authbridge makes one when it first runs with a sending \
                 role; if it has, Proxy.StateDirectory of this configuration names another folder",
                folder.display()
            )));
        }
        let queue = Queue::open(&folder, Access::Visitor).await.map_err(failed)?;
        Ok(Self { folder, queue })
    }

    /// What a process that died was sending waits again. False: the process is alive.
    async fn give_back(&self) -> Result<bool, Failure> {
        let lock = app::try_lock(&self.folder).with_context(|| {
            format!(
                "the lock in {} can't be tried; use the proxy's own user",
                self.folder.display()
            )
        })?;
        let Some(_lock) = lock else { return Ok(false) };
        Queue::open(&self.folder, Access::Owner).await.map_err(failed)?;
        Ok(true)
    }
}

fn failed(error: store::Error) -> Failure {
    Failure::Failed(error.into())
}

fn no_such_entry(id: EntryId) -> String {
    format!("there is no entry {id}: it was sent or dropped, or never was (authbridge spool list)")
}

/// An entry's number, as `spool list` shows it.
fn entry_id(text: &str) -> Result<EntryId, String> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let id = text.parse().ok().filter(|_| is_number);
    id.ok_or_else(|| "it is no entry's number; \"authbridge spool list\" shows them".to_owned())
}

/// Writes octets. False: nobody reads them any more, which is no failure.
fn put(octets: &[u8]) -> bool {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(octets).and_then(|()| stdout.flush()).is_ok()
}
