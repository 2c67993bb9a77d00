//! Messages as a folder lists them.
//!
//! Danger: ten thousand messages times two hundred sessions. Rule: an [`Entry`] is small and shared;
//! a [`Snapshot`] is shared by every session that has nothing newer.

use std::fmt;
use std::sync::Arc;

use time::OffsetDateTime;

use super::Flags;

/// A unique identifier (RFC 9051 section 2.3.1.1); never 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(u32);

impl Uid {
    /// The lowest.
    pub const FIRST: Self = Self(1);

    /// `None` for 0.
    pub fn new(number: u32) -> Option<Self> {
        (number != 0).then_some(Self(number))
    }

    /// The number.
    pub fn number(self) -> u32 {
        self.0
    }

    /// The next higher one; `None` when there is none: the folder needs a new UIDVALIDITY.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}", self.0)
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A modification sequence (RFC 7162): at least 1, below 2^63.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModSeq(pub u64);

/// A message's size in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Of the bytes that are served.
    Exact(u64),
    /// What the service says of its own form; the message has not been read yet.
    Estimated(u64),
}

impl Size {
    /// The exact one.
    pub fn exact(self) -> Option<u64> {
        match self {
            Self::Exact(octets) => Some(octets),
            Self::Estimated(_) => None,
        }
    }

    /// Either.
    pub fn octets(self) -> u64 {
        match self {
            Self::Exact(octets) | Self::Estimated(octets) => octets,
        }
    }
}

/// A message in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its UID.
    pub uid: Uid,
    /// When its flags last changed, or when it came.
    pub modseq: ModSeq,
    /// Flags and keywords.
    pub flags: Flags,
    /// INTERNALDATE.
    pub date: OffsetDateTime,
    /// RFC822.SIZE.
    pub size: Size,
    /// Names the message for good: the same after a move, and when UIDs start anew. For UIDL and
    /// EMAILID (RFC 8474).
    pub object_id: [u8; 16],
}

/// The messages of a folder at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// UIDNEXT: above every UID there ever was.
    pub uid_next: Uid,
    /// HIGHESTMODSEQ: of messages and of expunges.
    pub highest_modseq: ModSeq,
    /// In the order of their UIDs.
    pub messages: Vec<Arc<Entry>>,
}

impl Snapshot {
    /// The message with that UID.
    pub fn find(&self, uid: Uid) -> Option<&Arc<Entry>> {
        self.position(uid).map(|at| &self.messages[at])
    }

    /// Its place, counted from 0.
    pub fn position(&self, uid: Uid) -> Option<usize> {
        self.messages.binary_search_by_key(&uid, |entry| entry.uid).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_by_uid() {
        let entry = |uid| {
            Arc::new(Entry {
                uid: Uid(uid),
                modseq: ModSeq(1),
                flags: Flags::default(),
                date: OffsetDateTime::UNIX_EPOCH,
                size: Size::Estimated(3),
                object_id: [0; 16],
            })
        };
        let snapshot = Snapshot {
            uid_validity: 1,
            uid_next: Uid(10),
            highest_modseq: ModSeq(1),
            messages: vec![entry(2), entry(5), entry(9)],
        };
        assert_eq!(snapshot.position(Uid(5)), Some(1));
        assert_eq!(snapshot.find(Uid(9)).map(|entry| entry.uid), Some(Uid(9)));
        assert_eq!(snapshot.find(Uid(4)), None);
        assert_eq!((Uid::new(0), Uid(u32::MAX).next()), (None, None));
        assert_eq!((Size::Exact(2).exact(), Size::Estimated(2).exact()), (Some(2), None));
    }
}
