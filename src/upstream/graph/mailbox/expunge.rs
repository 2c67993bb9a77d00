//! Deleting messages.

use super::OpenFolder;
use crate::mail::Error;
use crate::mail::mailbox::Uid;

/// See [`crate::mail::Folder::expunge`].
#[allow(clippy::unused_async, unused_variables)]
pub(super) async fn expunge(folder: &OpenFolder, uids: Vec<Uid>) -> Result<(), Error> {
    Ok(())
}
