//! SORT and THREAD (RFC 5256, RFC 5957).
//!
//! Danger: a mailing list's ten thousand replies, each to the one before, overflow what calls
//! itself, and a hostile header makes every comparison slow. Rule: what a header says is read once
//! into [`Facts`], in the form in which it is compared; nothing here calls itself for each message.

mod facts;
mod sort;
mod subject;
mod thread;

use time::OffsetDateTime;

pub use facts::{Facts, sent};
pub use sort::sort;
pub use thread::thread;

/// A message to be sorted or threaded.
#[derive(Clone, Debug)]
pub struct Sortable {
    /// What the answer calls it: sequence number or UID.
    pub number: u32,
    /// Its place in the folder: the last word when all keys are equal.
    pub position: u32,
    /// What its header says.
    pub facts: Facts,
    /// INTERNALDATE.
    pub arrival: OffsetDateTime,
    /// RFC822.SIZE.
    pub size: u64,
}

impl Sortable {
    /// RFC 5256 section 2.2: INTERNALDATE where the header has no date.
    fn sent(&self) -> OffsetDateTime {
        self.facts.sent.unwrap_or(self.arrival)
    }
}
