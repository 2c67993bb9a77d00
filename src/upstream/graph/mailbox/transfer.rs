//! Copying and moving messages.

use super::OpenFolder;
use crate::mail::mailbox::{Copied, Moved, Uid};
use crate::mail::{Error, Kind};

/// See [`crate::mail::Folder::copy`].
#[allow(clippy::unused_async, unused_variables)]
pub(super) async fn copy(
    from: &OpenFolder,
    uids: Vec<Uid>,
    to: &OpenFolder,
) -> Result<Copied, Error> {
    Err(Error::new(Kind::Unsupported, "not yet"))
}

/// See [`crate::mail::Folder::move_to`].
#[allow(clippy::unused_async, unused_variables)]
pub(super) async fn move_to(
    from: &OpenFolder,
    uids: Vec<Uid>,
    to: &OpenFolder,
) -> Result<Moved, Error> {
    Err(Error::new(Kind::Unsupported, "not yet"))
}
