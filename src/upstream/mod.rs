//! The services behind the roles: SMTP, IMAP and POP3 servers, and Microsoft Graph.
//!
//! Danger: every service has its own way to fail. Rule: what leaves this room is a
//! [`crate::mail::Error`] with a plain sentence; no service's JSON, reply or token leaves it.

pub mod connect;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub mod graph;
pub mod imap;
pub mod login;
pub mod mapi;
pub mod pop3;
#[cfg(test)]
#[allow(clippy::panic, reason = "a difference from the transcript fails the test")]
mod scripted;
pub mod smtp;
mod token_failure;

pub use imap::ImapUpstream;
pub use login::Login;
pub use mapi::MapiUpstream;
pub use pop3::Pop3Upstream;
pub use smtp::SmtpSubmission;
pub(crate) use token_failure::token_failure;
