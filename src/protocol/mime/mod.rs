//! Reading and mending message headers (RFC 5322) and the outline of MIME parts (RFC 2045, 2046).
//!
//! Danger: a message that is taken apart and built anew is another message: signatures break,
//! recipients change. Rule: only header fields are ever edited, each edit for a reason that is
//! written beside it; the content is passed on byte for byte.

mod address_list;
pub mod complete;
pub mod fields;
pub mod outline;
pub mod recipients;
pub mod senders;
pub mod structure;
pub mod transfer;

pub use fields::{Field, Fields, fields};
