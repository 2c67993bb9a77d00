//! Storing messages: the ways that Graph has, and the best that the token permits.

use std::sync::Arc;

use time::OffsetDateTime;

use super::{Engine, OpenFolder};
use crate::mail::mailbox::{Appended, Flags};
use crate::mail::{Error, Kind, Message};

/// See [`crate::mail::Mailbox::append`].
#[allow(clippy::unused_async, unused_variables)]
pub(super) async fn append(
    folder: &OpenFolder,
    message: Arc<Message>,
    flags: Flags,
    date: Option<OffsetDateTime>,
) -> Result<Appended, Error> {
    Err(Error::new(Kind::Unsupported, "not yet"))
}

/// Finishes or clears what a crash left half stored. Called once for each mailbox, before its first
/// folder is opened.
#[allow(clippy::unused_async, unused_variables)]
/// x
#[derive(Debug, Default)]
pub(in crate::upstream::graph) struct Appending;
pub(super) async fn recover(engine: &Engine) -> Result<(), Error> {
    Ok(())
}
