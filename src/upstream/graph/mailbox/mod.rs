//! A Microsoft 365 mailbox as folders and messages: [`crate::mail::Mailbox`] over Graph.
//!
//! Danger: Graph has no UIDs, forgets moves, repeats changes, lets links expire and makes messages
//! anew each time they are read. Rule: one [`Engine`] a mailbox, however many sessions; the store is
//! written before anything is published; one lock a folder, held for a synchronisation or a change;
//! what the service says is merged, never taken as the whole truth. `docs/mailbox.md` has the design.
//!
//! `list`, `tree` and `name` are the folders, `arrange` changes them, `counts` tells of many;
//! `comparing` and `following` synchronise one, by way of `delta`, `inquiry` and `merge`; `poll` does
//! so again and again, `gate` once for all who ask; `proof` is for `check`.

mod append;
mod arrange;
mod change_flags;
mod comparing;
mod content;
mod counts;
mod delta;
mod engine;
mod expunge;
mod folder;
mod following;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod gate;
mod header;
mod inquiry;
mod item;
mod keyword;
mod list;
mod merge;
mod message;
mod name;
mod newline;
#[cfg(all(test, feature = "sandbox"))]
mod operations;
mod poll;
mod proof;
mod role;
#[cfg(all(test, feature = "sandbox"))]
mod tests;
mod transfer;
mod tree;

pub(super) use engine::Engine;
pub use engine::Settings;
pub(super) use folder::OpenFolder;
pub use proof::MailboxProof;
pub use role::{Engines, GraphMailbox};
