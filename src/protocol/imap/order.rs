//! SORT and THREAD (RFC 5256).

use time::OffsetDateTime;

use super::request::{SortKey, ThreadAlgorithm};

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

/// What a header says that sorting and threading ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts;

impl Facts {
    /// From a header.
    pub fn of(header: &[u8]) -> Self {
        let _ = header;
        Self
    }
}

/// Sorts by the keys.
pub fn sort(keys: &[SortKey], messages: &mut [Sortable]) {
    let _ = (keys, messages);
}

/// The threads, as they stand after `* THREAD ` (empty: none).
pub fn thread(algorithm: ThreadAlgorithm, messages: Vec<Sortable>) -> String {
    let _ = (algorithm, messages);
    String::new()
}
