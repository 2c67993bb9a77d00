//! The services behind the roles: SMTP, IMAP and POP3 servers, and Microsoft Graph.
//!
//! Danger: every service has its own way to fail. Rule: what leaves this room is a
//! [`crate::mail::Error`] with a plain sentence; no service's JSON, reply or token leaves it.

pub mod connect;
pub mod graph;
pub mod imap;
pub mod pop3;
pub mod smtp;
mod token_failure;

pub(crate) use token_failure::token_failure;
