//! A mailbox that we serve ourselves, in the words that IMAP and POP3 share.
//!
//! Danger: sessions that change a common list under one another give a client the wrong message.
//! Rule: a [`Folder`] publishes immutable [`Snapshot`]s; a session works on the one that it has told
//! its client about and moves on when its protocol allows; a UID never means another message.

mod entry;
mod flags;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use time::OffsetDateTime;
use tokio::sync::watch;

pub use entry::{Entry, ModSeq, Size, Snapshot, Uid};
pub use flags::{Flag, FlagChange, Flags, Keyword};

use super::{Content, Error, Message};

/// The separator between the names of folders in a path.
pub const SEPARATOR: char = '/';

/// A mailbox with folders. Cheap to share: all sessions of one mailbox have the same.
///
/// Folder names are paths in UTF-8, their parts joined by [`SEPARATOR`]; `INBOX` is the inbox in any
/// case. An unknown name fails with [`super::Kind::NotFound`].
pub trait Mailbox: Send + Sync {
    /// Every folder, parents before children. Asks the service, unless that was done a moment ago.
    fn folders(&self) -> BoxFuture<'_, Result<Arc<[FolderInfo]>, Error>>;

    /// Opens a folder, as fresh as the service can tell.
    fn open<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<dyn Folder>, Error>>;

    /// Counts of several folders, in the order asked, each as fresh as the service can tell. A
    /// folder that was never opened is not read for it.
    fn status<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Vec<Result<Status, Error>>>;

    /// Makes a folder and those above it; [`super::Kind::AlreadyExists`] when it is there.
    fn create<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), Error>>;

    /// Deletes a folder with its messages. One that has children or a special use is not deleted.
    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), Error>>;

    /// Renames or moves a folder with its children; UIDs stay. Renaming INBOX moves its messages
    /// into a new folder (RFC 3501 section 6.3.5).
    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, Result<(), Error>>;

    /// Remembers whether the folder is subscribed. A name without a folder may be subscribed too.
    fn subscribe<'a>(&'a self, name: &'a str, on: bool) -> BoxFuture<'a, Result<(), Error>>;

    /// Names that are subscribed without a folder of that name.
    fn subscribed_names(&self) -> BoxFuture<'_, Result<Vec<String>, Error>>;

    /// Stores a message with flags and date; neither header nor content changes.
    fn append<'a>(
        &'a self,
        name: &'a str,
        message: Arc<Message>,
        flags: Flags,
        date: Option<OffsetDateTime>,
    ) -> BoxFuture<'a, Result<Appended, Error>>;

    /// Largest message that [`Self::append`] takes, in octets (RFC 7889).
    fn append_limit(&self) -> u64;

    /// The lock of RFC 1939 section 4: one POP3 session at a time. `None`: another one has it.
    fn lock_maildrop(&self) -> Option<MaildropLock>;
}

/// A folder that is open. Reading [`Self::snapshot`] never waits.
pub trait Folder: Send + Sync {
    /// The messages as last heard.
    fn snapshot(&self) -> Arc<Snapshot>;

    /// Names the folder for good, for MAILBOXID (RFC 8474): the same under another name, and no other
    /// folder ever has it.
    fn object_id(&self) -> [u8; 16];

    /// Becomes different with each new snapshot.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Asks the service for changes; they are in the snapshot when this is done.
    fn refresh(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// As long as the result lives, the service is asked again and again (`PollInterval`).
    fn watch(&self) -> Watch;

    /// Messages that no session has called recent before (`\Recent`, RFC 3501); with `claim` they are
    /// that session's, and no other will be given them.
    fn recent(&self, claim: bool) -> Range<Uid>;

    /// The main header fields of messages: Date, Subject, From, Sender, Reply-To, To, Cc, Bcc,
    /// In-Reply-To, Message-ID and References, as lines of a header, ended by CRLF, with an empty
    /// line. Enough for ENVELOPE, SORT and THREAD; never needs the message. In the order asked;
    /// messages that are gone are left out.
    fn headers(&self, uids: Vec<Uid>) -> BoxFuture<'_, Result<Vec<(Uid, Bytes)>, Error>>;

    /// A whole message, header and all. [`super::Kind::NotFound`] when it is gone. Afterwards its
    /// size is exact in the snapshot.
    fn content(&self, uid: Uid) -> BoxFuture<'_, Result<Arc<Content>, Error>>;

    /// Tells which messages will be asked for next, in that order. Never waits.
    fn prefetch(&self, uids: &[Uid]);

    /// Changes flags. Done for all, or failed with what was done visible in the snapshot.
    /// `unchanged_since` leaves out what has changed since then and returns it (RFC 7162 section
    /// 3.1.3). `\Draft` is never changed.
    fn change_flags<'a>(
        &'a self,
        uids: Vec<Uid>,
        change: &'a FlagChange,
        unchanged_since: Option<ModSeq>,
    ) -> BoxFuture<'a, Result<Vec<Uid>, Error>>;

    /// Deletes messages for good, or as the role's `Expunge` says. Ones that are gone don't matter.
    fn expunge(&self, uids: Vec<Uid>) -> BoxFuture<'_, Result<(), Error>>;

    /// Copies messages into another folder: all or none.
    fn copy<'a>(&'a self, uids: Vec<Uid>, to: &'a str) -> BoxFuture<'a, Result<Copied, Error>>;

    /// Moves messages into another folder, each wholly or not at all. What was moved before a
    /// failure stands in the error's place only when nothing was.
    fn move_to<'a>(&'a self, uids: Vec<Uid>, to: &'a str) -> BoxFuture<'a, Result<Moved, Error>>;

    /// UIDs that were expunged after `since`, ascending; `None` when that is no longer known.
    fn vanished_since(&self, since: ModSeq) -> BoxFuture<'_, Result<Option<Vec<Uid>>, Error>>;
}

/// A folder in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderInfo {
    /// The path.
    pub name: String,
    /// What it is for.
    pub special_use: Option<SpecialUse>,
    /// True when folders are below it.
    pub has_children: bool,
    /// True when it is subscribed.
    pub subscribed: bool,
}

/// Special uses of folders (RFC 6154 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecialUse {
    /// `\Archive`.
    Archive,
    /// `\Drafts`.
    Drafts,
    /// `\Junk`.
    Junk,
    /// `\Sent`.
    Sent,
    /// `\Trash`.
    Trash,
}

/// What STATUS tells (RFC 9051 section 6.3.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Messages.
    pub messages: u32,
    /// Those without `\Seen`.
    pub unseen: u32,
    /// Those with `\Deleted`.
    pub deleted: u32,
    /// Those that no session has seen (RFC 3501).
    pub recent: u32,
    /// See [`Snapshot::uid_next`].
    pub uid_next: Uid,
    /// See [`Snapshot::uid_validity`].
    pub uid_validity: u32,
    /// See [`Snapshot::highest_modseq`].
    pub highest_modseq: ModSeq,
    /// Octets, at least the sum of all sizes (RFC 8438).
    pub size: u64,
    /// See [`Folder::object_id`].
    pub object_id: [u8; 16],
}

/// Where a message was put (RFC 4315).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Of the folder.
    pub uid_validity: u32,
    /// Of the message.
    pub uid: Uid,
}

/// What a copy made (RFC 4315).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Of the folder copied to.
    pub uid_validity: u32,
    /// UIDs here and there, in the order asked; messages that were gone are left out.
    pub pairs: Vec<(Uid, Uid)>,
}

/// What a move did.
#[derive(Debug)]
pub struct Moved {
    /// What was moved; it is gone from the snapshot.
    pub copied: Copied,
    /// Why the rest was not.
    pub failure: Option<Error>,
}

/// Held while changes are looked for.
pub struct Watch(#[allow(dead_code)] Box<dyn Send + Sync>);

impl Watch {
    /// Ends when `guard` is dropped.
    pub fn new(guard: impl Send + Sync + 'static) -> Self {
        Self(Box::new(guard))
    }
}

/// Held by the POP3 session that has the maildrop.
pub struct MaildropLock(#[allow(dead_code)] Box<dyn Send + Sync>);

impl MaildropLock {
    /// Unlocks when `guard` is dropped.
    pub fn new(guard: impl Send + Sync + 'static) -> Self {
        Self(Box::new(guard))
    }
}
