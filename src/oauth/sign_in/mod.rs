//! Signing a person in for a public application: in a browser, or with a device code.
//!
//! Danger: a sign-in that ends with the wrong account or half the permissions fails weeks later; a
//! code caught by another program opens the mailbox. Rule: PKCE and an unguessable `state` guard
//! every attempt, the account and each needed permission are checked before anything is stored, and
//! what is wrong is told in a sentence with its fix.

//!
//! `redirect` says where the browser comes back, `attempt` takes what it brings, `loopback`,
//! `request` and `page` serve it; `scopes` says what is asked for and whether it was granted.

mod attempt;
mod browser;
mod device;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod id_token;
mod loopback;
mod page;
mod redeem;
mod redirect;
mod request;
mod scopes;
#[cfg(test)]
mod tests;

use reqwest::Url;

pub use attempt::Paster;
pub use browser::BrowserSignIn;
pub use device::DeviceSignIn;
pub use id_token::Identity;

use super::Error;
use super::http::endpoint;
use super::public_app::{PublicApp, Service};

/// What is to be signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The application.
    pub app: PublicApp,
    /// The account that must sign in; `None`: any.
    pub account: Option<String>,
    /// What its tokens are for; permissions are asked for and checked accordingly.
    pub services: Vec<Service>,
}

/// Who has signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// The sign-in name.
    pub username: String,
    /// The person's name.
    pub name: Option<String>,
    /// Tenant id.
    pub tenant: String,
    /// Scopes that were granted, all resources together.
    pub scopes: Vec<String>,
    /// What is not as it should be but does not hinder: one sentence each.
    pub warnings: Vec<String>,
}

/// Names the attempt to the administrator while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Waiting for the person.
    Waiting,
    /// The person is done; tokens are being fetched.
    Redeeming,
    /// Account and permissions are being checked.
    Checking,
    /// The sign-in is being stored.
    Storing,
}

impl Wanted {
    /// Whom errors are about.
    fn role(&self) -> &str {
        self.account.as_deref().unwrap_or("sign-in")
    }

    /// An error that names the account.
    fn person(&self, text: impl std::fmt::Display) -> Error {
        Error::person(format!("{}: {text}", self.role()))
    }

    /// One of the tenant's endpoints: `authorize`, `devicecode`.
    fn endpoint(&self, name: &str) -> Result<Url, Error> {
        let app = &self.app;
        let address = format!("{}/{}/oauth2/v2.0/{name}", app.authority_url, app.tenant_id);
        endpoint(&address, "Microsoft365.AuthorityUrl").map_err(|error| error.of_role(self.role()))
    }
}
