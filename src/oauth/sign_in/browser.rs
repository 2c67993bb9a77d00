//! Authorization code with PKCE (RFC 6749 section 4.1, RFC 7636, RFC 8252).

use tokio::sync::watch;

use super::{Progress, SignedIn, Wanted};
use crate::oauth::{Accounts, Error};

/// A sign-in in a browser, waiting for its end.
pub struct BrowserSignIn {
    url: String,
}

/// Takes the address at which a browser has ended, from a person who copied it.
#[derive(Clone)]
pub struct Paster {}

impl BrowserSignIn {
    /// Listens where `RedirectUri` says (when that is this machine) and makes the page's address.
    pub async fn begin(_accounts: &Accounts, _wanted: Wanted) -> Result<Self, Error> {
        Err(Error::person("not built yet"))
    }

    /// The page to open.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// True when the browser comes back to this process by itself, if it runs on this machine.
    pub fn comes_back(&self) -> bool {
        false
    }

    /// For the address at which the browser has ended.
    pub fn paster(&self) -> Paster {
        Paster {}
    }

    /// How far it is.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        watch::channel(Progress::Waiting).1
    }

    /// Waits for the person, at most ten minutes; redeems, checks, stores.
    pub async fn finish(self) -> Result<SignedIn, Error> {
        Err(Error::person("not built yet"))
    }
}

impl Paster {
    /// Takes the address; an error says what is wrong with it, and another may be pasted.
    pub fn paste(&self, _address: &str) -> Result<(), Error> {
        Err(Error::person("not built yet"))
    }
}
