//! What goes into the store and comes out of it.

use std::fmt;

use bytes::Bytes;
use time::OffsetDateTime;

use crate::mail::mailbox::{Entry, Flags, ModSeq, Size, Uid};

/// Names a folder in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FolderKey(pub i64);

/// What the service says of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderFacts {
    /// The service's id.
    pub graph_id: String,
    /// Of the folder above; `None`: at the top.
    pub parent_id: Option<String>,
    /// Its own name, as the service has it.
    pub display_name: String,
    /// The service's well-known name, where it has one.
    pub well_known: Option<String>,
    /// Items in it.
    pub total: u32,
    /// Those unread.
    pub unread: u32,
}

/// A folder in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderRecord {
    /// Its key.
    pub key: FolderKey,
    /// What the service said last.
    pub facts: FolderFacts,
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// UIDNEXT.
    pub uid_next: Uid,
    /// HIGHESTMODSEQ.
    pub highest_modseq: ModSeq,
    /// See [`super::MailboxStore::set_recent`].
    pub recent_from: Uid,
    /// Where the next changes are; `None` when the folder has to be compared with the service anew.
    pub link: Option<String>,
    /// True once all messages are in the index.
    pub is_indexed: bool,
}

/// A message as the service has it, for the index.
#[derive(Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// The service's immutable id.
    pub graph_id: String,
    /// The service's version of it.
    pub etag: Option<String>,
    /// Flags and keywords.
    pub flags: Flags,
    /// INTERNALDATE.
    pub date: OffsetDateTime,
    /// RFC822.SIZE, or the service's estimate. A message in the cache has its exact one instead.
    pub size: Size,
    /// See [`crate::mail::mailbox::Folder::headers`].
    pub header: Bytes,
    /// Tells one content from another while the id stays: a draft is edited. Empty: never changes.
    pub revision: String,
}

impl fmt::Debug for NewMessage {
    /// The header is what people write: its length will do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewMessage")
            .field("graph_id", &self.graph_id)
            .field("etag", &self.etag)
            .field("flags", &self.flags)
            .field("date", &self.date)
            .field("size", &self.size)
            .field("header", &format_args!("{} octets", self.header.len()))
            .field("revision", &self.revision)
            .finish()
    }
}

/// What changed of a message that is in the index. `None` leaves as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Which one.
    pub graph_id: String,
    /// See [`NewMessage::etag`].
    pub etag: Option<String>,
    /// See [`NewMessage::flags`]. Unchanged flags raise no modification sequence.
    pub flags: Option<Flags>,
    /// See [`NewMessage::size`].
    pub size: Option<Size>,
    /// See [`NewMessage::revision`]: the content is the same, what tells it from others is not.
    pub revision: Option<String>,
}

/// What becomes different in one folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// New, in the order of their UIDs.
    pub added: Vec<NewMessage>,
    /// Known already.
    pub updated: Vec<Update>,
    /// Gone, by id; unknown ones don't matter.
    pub removed: Vec<String>,
    /// Content has changed: each gets a new UID, its old one vanishes, the cache forgets it.
    pub replaced: Vec<NewMessage>,
    /// In another folder now, whose own changes may never tell: remembered until
    /// [`super::MailboxStore::forget_strays`].
    pub strays: Vec<Stray>,
    /// The new link; `None` leaves the old one.
    pub link: Option<String>,
    /// Forgets the link: the folder has to be compared anew.
    pub forget_link: bool,
    /// All messages are in the index now.
    pub now_indexed: bool,
}

impl Changes {
    /// True when there is nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A message that lies, or may lie, in another folder than the index says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stray {
    /// The message.
    pub graph_id: String,
    /// The service's id of the folder.
    pub folder_id: String,
}

/// What came of [`Changes`]; the snapshot is made from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The folder.
    pub folder: FolderKey,
    /// UIDNEXT now.
    pub uid_next: Uid,
    /// HIGHESTMODSEQ now.
    pub highest_modseq: ModSeq,
    /// New or different entries, ascending by UID.
    pub entries: Vec<Entry>,
    /// UIDs that are gone.
    pub removed: Vec<Uid>,
    /// The UID of each message in `added`, in its order.
    pub added: Vec<Uid>,
}

/// What a comparison with the service needs of a message in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The service's immutable id.
    pub graph_id: String,
    /// Its UID.
    pub uid: Uid,
    /// See [`NewMessage::etag`].
    pub etag: Option<String>,
    /// See [`NewMessage::flags`].
    pub flags: Flags,
    /// See [`NewMessage::date`].
    pub date: OffsetDateTime,
    /// See [`NewMessage::size`].
    pub size: Size,
    /// See [`NewMessage::revision`].
    pub revision: String,
}

/// An APPEND under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendRecord {
    /// Where to.
    pub folder: FolderKey,
    /// SHA-256 of the message, in hex.
    pub digest: String,
    /// Its Message-ID, angle brackets and all, where it has one.
    pub message_id: Option<String>,
    /// When it was begun.
    pub started: OffsetDateTime,
    /// The id under which the service has it, once that is known.
    pub graph_id: Option<String>,
}
