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
mod layout;
mod mailbox;
mod metrics;
mod outsider;
mod postfix;
mod reading;
mod running;
mod sending;
mod tokens;
mod warnings;
