//! All integration tests, in one binary: it links once.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod admin;
mod browser;
mod clients;
mod commands;
mod dependencies;
mod dovecot;
mod faults;
mod graph;
mod harness;
mod hostile;
mod layout;
mod mailbox;
mod metrics;
mod outsider;
mod pickup;
mod postfix;
mod reading;
mod reloading;
mod running;
mod sending;
mod tokens;
mod warnings;
