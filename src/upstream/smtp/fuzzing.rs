//! The dialogue up to the login, for `crate::fuzzing`.
//!
//! Danger: see the module above. Rule: the same steps as [`super::connection::Connection::open`] and
//! the pool take them.

use super::auth;
use super::connection::{Connection, Timeouts};
use crate::mail;
use crate::upstream::connect::{Dialogue, Service};
use crate::upstream::login::{Credentials, SignIn};

/// Greeting, EHLO and login.
pub(in crate::upstream) async fn log_in(
    dialogue: Dialogue,
    service: &Service,
    credentials: &Credentials<'_>,
) -> Result<(), mail::Error> {
    let timeouts = Timeouts::default();
    let mut connection = Connection::open_over(dialogue, service, "here", timeouts).await?;
    let login = auth::log_in(&mut connection, service, credentials).await;
    login.map_err(|refused| refused.without(credentials)).map_err(SignIn::into_error)
}
