//! Device code (RFC 8628): the person signs in on another machine.

use std::time::SystemTime;

use tokio::sync::watch;

use super::{Progress, SignedIn, Wanted};
use crate::oauth::{Accounts, Error};

/// A sign-in whose code has been issued.
pub struct DeviceSignIn {}

impl DeviceSignIn {
    /// Asks for a code.
    pub async fn begin(_accounts: &Accounts, _wanted: Wanted) -> Result<Self, Error> {
        Err(Error::person("not built yet"))
    }

    /// What the person enters.
    pub fn user_code(&self) -> &str {
        ""
    }

    /// Where.
    pub fn verification_uri(&self) -> &str {
        ""
    }

    /// Until when.
    pub fn expires_at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    /// How far it is.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        watch::channel(Progress::Waiting).1
    }

    /// Polls until the person is done or the code has expired; checks, stores.
    pub async fn finish(self) -> Result<SignedIn, Error> {
        Err(Error::person("not built yet"))
    }
}
