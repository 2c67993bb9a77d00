//! Changing flags: PATCH, 20 messages a request.

use super::OpenFolder;
use crate::mail::Error;
use crate::mail::mailbox::{FlagChange, ModSeq, Uid};

/// See [`crate::mail::Folder::change_flags`].
#[allow(clippy::unused_async, unused_variables)]
pub(super) async fn change(
    folder: &OpenFolder,
    uids: Vec<Uid>,
    change: &FlagChange,
    unchanged_since: Option<ModSeq>,
) -> Result<Vec<Uid>, Error> {
    Ok(Vec::new())
}
