//! All integration tests, in one binary: it links once.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod dependencies;
mod layout;
