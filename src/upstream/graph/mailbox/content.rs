//! Reading messages once, into the cache.

use std::sync::Arc;

use super::OpenFolder;
use crate::mail::mailbox::Uid;
use crate::mail::{Content, Error, Kind};

/// Downloads under way and wanted, of one mailbox.
#[derive(Debug, Default)]
pub(in crate::upstream::graph) struct Downloads;

/// See [`crate::mail::Folder::content`].
#[allow(clippy::unused_async, unused_variables)]
pub(super) async fn content(folder: &OpenFolder, uid: Uid) -> Result<Arc<Content>, Error> {
    Err(Error::new(Kind::Unsupported, "not yet"))
}

/// See [`crate::mail::Folder::prefetch`].
pub(super) fn prefetch(folder: &Arc<OpenFolder>, uids: &[Uid]) {
    let _ = (folder, uids);
}
