//! authbridge: SMTP, IMAP and POP3 with a plain login on one side, OAuth 2 mail services on the
//! other.
//!
//! # The map
//! | room | what it is for |
//! | --- | --- |
//! | [`cli`] | one file per command |
//! | [`app`] | builds everything from the configuration; starts and shuts down |
//! | [`admin`] | web page, health, metrics |
//! | [`config`] | keys, files, environment; checked roles |
//! | [`protocol`] | codecs for SMTP, IMAP, POP3, SASL and MIME; no I/O |
//! | [`mail`] | neutral types; the traits [`mail::Upstream`] and [`mail::Submission`] |
//! | [`frontend`] | listeners, logins, sessions, the copy loop |
//! | [`upstream`] | logs in to SMTP, IMAP and POP3 services; sends and serves mailboxes over Graph |
//! | [`oauth`] | token sources, one file per grant; signing in; the account cache |
//! | `sandbox` | the make-believe cloud of the demo and the tests |
//! | [`spool`] | what waits to be sent: queue, retry, pace, delivery reports |
//! | [`store`] | what survives a restart: index of mailboxes, messages on disk, the queue |
//! | [`telemetry`] | the log; what happens (activity); metrics |
//! | [`tls`], [`secret`], [`platform`] | certificates and streams; what never prints; what differs between systems |
//!
//! # How data flows
//! A client connects to a listener in [`frontend`]. Its session feeds bytes to [`protocol`], gets a
//! command and checks it against the state's table. The login finds the client's roles; then
//! [`mail::Upstream`] opens the mailbox: an IMAP or POP3 service's turns the session into a byte relay,
//! one of Microsoft 365 is a [`mail::Mailbox`] that the session drives command by command, with Graph
//! and [`store`] behind it. For SMTP, envelope and message go through [`mail::Submission`]: [`spool`] first,
//! behind it an SMTP service or Graph. Tokens come from [`oauth::TokenSource`]; a person's sign-in, begun by [`cli`] or
//! [`admin`], goes into the account cache, where the token sources find it.
//!
//! # What always holds
//! - 250 after DATA means that the upstream has taken the message, or that it is on the disk.
//! - The envelope alone decides who receives.
//! - An upstream's failure is never told as a wrong password.
//! - A UID is on the disk before a client hears of it, and never names another message.
//! - A new refresh token is on the disk before its access token is used.
//! - A secret is a [`secret::Secret`] from the moment it is read.

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod frontend;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod mail;
pub mod oauth;
pub mod platform;
pub mod protocol;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod secret;
pub mod spool;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod upstream;
