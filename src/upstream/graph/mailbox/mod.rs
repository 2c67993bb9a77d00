//! A Microsoft 365 mailbox as folders and messages: [`crate::mail::Mailbox`] over Graph.
//!
//! Danger: Graph has no UIDs, forgets moves, repeats changes, lets links expire and makes messages
//! anew each time they are read. Rule: one [`Engine`] a mailbox, however many sessions; the store is
//! written before anything is published; one lock a folder, held for a synchronisation or a change;
//! what the service says is merged, never taken as the whole truth. `docs/mailbox.md` has the design.

mod append;
mod change_flags;
mod content;
mod engine;
mod expunge;
mod folder;
mod header;
mod item;
mod keyword;
mod message;
mod newline;
mod transfer;

pub(super) use engine::{Engine, Settings};
pub(super) use folder::OpenFolder;
