//! The account cache: MSAL's unified JSON in one file that other programs may share.
//!
//! Danger: MSAL deletes a cache that it can't read, and with it every sign-in of every program that
//! shares it; a reader that drops what it does not know does the same, slowly. Rule: what is not
//! understood is kept as it is, the file is replaced as a whole under MSAL's own lock file, in the
//! protection in which it was found, and a file that can't be read is never written.

pub mod document;
mod environment;
pub mod file;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod json;
mod lock;
pub mod protection;
mod put;
mod scope;
mod sealed;

pub use document::{Account, CachedAccess, Document, Owner, OwnerKey, Tokens};
pub use file::{CacheFile, Stamp};
pub use protection::Protection;
