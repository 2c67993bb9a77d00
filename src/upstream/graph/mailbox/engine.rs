//! One mailbox: its folders, and the ones that are open.

use std::sync::Arc;
use std::time::Duration;

use super::OpenFolder;
use crate::config::role::Expunge;
use crate::mail::{Error, Kind};
use crate::store::MailboxStore;
use crate::upstream::graph::client;

/// What a role says about its mailbox.
#[derive(Clone, Copy, Debug)]
pub(in crate::upstream::graph) struct Settings {
    pub expunge: Expunge,
    pub poll_interval: Duration,
    pub max_message: u64,
}

/// One mailbox, shared by all sessions.
pub(in crate::upstream::graph) struct Engine {
    pub graph: client::Mailbox,
    pub store: MailboxStore,
    pub settings: Settings,
    pub downloads: super::content::Downloads,
    pub appending: super::append::Appending,
}

#[allow(clippy::unused_async, unused_variables)]
impl Engine {
    /// A folder by its path, its index complete; not refreshed. [`Kind::NotFound`] for none.
    pub async fn folder(&self, name: &str) -> Result<Arc<OpenFolder>, Error> {
        Err(Error::new(Kind::NotFound, "no such folder"))
    }

    /// An open or indexed folder by the service's id; `None`: it is not followed.
    pub async fn followed(&self, graph_id: &str) -> Result<Option<Arc<OpenFolder>>, Error> {
        Ok(None)
    }

    /// The service's id of a special folder, such as `drafts` or `sentitems`.
    pub async fn well_known(&self, name: &str) -> Result<String, Error> {
        Err(Error::new(Kind::NotFound, "no such folder"))
    }
}
