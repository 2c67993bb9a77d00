//! Messages as they lie in folders.
//!
//! Danger: a message whose bytes change under one identity, or whose changes leave no trace, would
//! make a broken proxy look right. Rule: bytes change by [`StoredMessage::set_raw`] alone, every
//! change gets a version from one clock, and the two kinds of Graph id are as different as in the
//! real service: one survives a move, the other does not.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use time::OffsetDateTime;

use super::accounts::random_text;
pub(crate) use super::folder::Folder;
use super::reading::{Head, Text};

/// Length of an immutable Graph id as observed (facts/graph-mail.md section 4).
const IMMUTABLE_ID_LENGTH: usize = 72;

/// The next number of the clock that all changes share.
pub(crate) fn next_version() -> u64 {
    static CLOCK: AtomicU64 = AtomicU64::new(1);
    CLOCK.fetch_add(1, Ordering::Relaxed)
}

/// A file attached to a Graph draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Graph's id.
    pub id: String,
    /// File name.
    pub name: String,
    /// Media type.
    pub content_type: String,
    /// Content-ID of an inline picture.
    pub content_id: Option<String>,
    /// Shown inside the text.
    pub inline: bool,
    /// The content.
    pub bytes: Vec<u8>,
}

/// When what about a message last changed, on the clock of [`next_version`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Versions {
    /// It came into its folder.
    pub added: u64,
    /// It was marked read or unread, and nothing else.
    pub read: u64,
    /// Anything else.
    pub other: u64,
}

impl Versions {
    /// The last change of any kind.
    pub fn last(&self) -> u64 {
        self.added.max(self.read).max(self.other)
    }
}

/// A message as it lies in a folder.
#[derive(Clone, Debug)]
pub struct StoredMessage {
    /// IMAP UID.
    pub uid: u32,
    /// Graph id that survives moves.
    pub immutable_id: String,
    /// The MIME, byte for byte. Whoever replaces it calls `set_raw`.
    pub raw: Arc<[u8]>,
    /// IMAP flags.
    pub flags: BTreeSet<String>,
    /// When it arrived.
    pub received: OffsetDateTime,
    /// When anything about it last changed.
    pub modified: OffsetDateTime,
    /// Graph's `isDraft`.
    pub draft: bool,
    /// Graph's `categories`.
    pub categories: Vec<String>,
    /// Graph's `importance`: `low`, `normal`, `high`.
    pub importance: String,
    /// True: the follow-up flag says `complete`.
    pub completed: bool,
    /// Extended properties by id (`Boolean 0x0E01`).
    pub extended: BTreeMap<String, String>,
    /// Files attached to a Graph draft after its creation.
    pub attachments: Vec<Attachment>,
    /// True when it came through transport, so that the service kept its header block.
    pub(crate) transported: bool,
    /// True for a draft that is on its way: it can't be sent again.
    pub(crate) submitted: bool,
    /// True when it came into its folder by a move.
    pub(crate) moved_in: bool,
    /// The default Graph id, set by the folder.
    pub(crate) mutable_id: String,
    pub(crate) versions: Versions,
    head: OnceLock<Arc<Head>>,
    text: OnceLock<Arc<Text>>,
}

impl StoredMessage {
    /// A message that arrives now.
    pub(crate) fn new(raw: Vec<u8>) -> Self {
        let now = OffsetDateTime::now_utc();
        Self {
            uid: 0,
            immutable_id: random_text(IMMUTABLE_ID_LENGTH),
            raw: raw.into(),
            flags: BTreeSet::new(),
            received: now,
            modified: now,
            draft: false,
            categories: Vec::new(),
            importance: "normal".into(),
            completed: false,
            extended: BTreeMap::new(),
            attachments: Vec::new(),
            transported: true,
            submitted: false,
            moved_in: false,
            mutable_id: String::new(),
            versions: Versions::default(),
            head: OnceLock::new(),
            text: OnceLock::new(),
        }
    }

    pub(crate) fn flagged(mut self, flag: &str) -> Self {
        self.flags.insert(flag.to_owned());
        self
    }

    /// True when it is marked read.
    pub fn is_read(&self) -> bool {
        self.flags.contains("\\Seen")
    }

    /// The same content as another item.
    pub(crate) fn copied(&self) -> Self {
        let immutable_id = random_text(IMMUTABLE_ID_LENGTH);
        Self { immutable_id, moved_in: false, ..self.clone() }
    }

    pub(crate) fn set_raw(&mut self, raw: Vec<u8>) {
        self.raw = raw.into();
        self.head = OnceLock::new();
        self.text = OnceLock::new();
    }

    /// What the header says, read once.
    pub(crate) fn head(&self) -> &Head {
        self.head.get_or_init(|| Arc::new(Head::read(&self.raw)))
    }

    /// What the body says, read once.
    pub(crate) fn text(&self) -> &Text {
        self.text.get_or_init(|| Arc::new(Text::read(&self.raw)))
    }

    /// The default Graph id: another one in every folder.
    pub(crate) fn id_in(&self, folder_id: &str) -> String {
        let seed = format!("{folder_id}/{}", self.immutable_id);
        let digest = ring::digest::digest(&ring::digest::SHA384, seed.as_bytes());
        let twice = [digest.as_ref(), digest.as_ref()].concat();
        format!("AAMkAGI2{}AAA=", URL_SAFE.encode(twice))
    }

    /// The id in the form the request asked for.
    pub(crate) fn graph_id(&self, immutable: bool) -> &str {
        if immutable { &self.immutable_id } else { &self.mutable_id }
    }
}

/// A message being changed: what was changed is noted when this is dropped.
pub(crate) struct Changing<'a> {
    message: &'a mut StoredMessage,
    folder_changed: &'a mut u64,
    before: Box<StoredMessage>,
}

impl<'a> Changing<'a> {
    pub fn new(message: &'a mut StoredMessage, folder_changed: &'a mut u64) -> Self {
        let before = Box::new(message.clone());
        Self { message, folder_changed, before }
    }

    fn differs_besides_read(&self) -> bool {
        let (now, before) = (&*self.message, &*self.before);
        let but_seen = |m: &StoredMessage| {
            let mut flags = m.flags.clone();
            flags.remove("\\Seen");
            flags
        };
        !Arc::ptr_eq(&now.raw, &before.raw)
            || now.draft != before.draft
            || now.completed != before.completed
            || now.received != before.received
            || now.importance != before.importance
            || now.categories != before.categories
            || now.extended != before.extended
            || now.attachments.len() != before.attachments.len()
            || but_seen(now) != but_seen(before)
    }
}

impl Deref for Changing<'_> {
    type Target = StoredMessage;

    fn deref(&self) -> &StoredMessage {
        self.message
    }
}

impl DerefMut for Changing<'_> {
    fn deref_mut(&mut self) -> &mut StoredMessage {
        self.message
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        let read = self.message.is_read() != self.before.is_read();
        let other = self.differs_besides_read();
        if !read && !other {
            return;
        }
        let version = next_version();
        if other {
            self.message.versions.other = version;
        } else {
            self.message.versions.read = version;
        }
        if read {
            *self.folder_changed = version;
        }
        self.message.modified = OffsetDateTime::now_utc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_id_survives_a_move_and_the_other_does_not() {
        let (mut one, mut other) = (Folder::new("A", "", ""), Folder::new("B", "", ""));
        let message = StoredMessage::new(Vec::new());
        one.add(message.clone());
        other.add(message.clone());
        let (one, other) = (&one.messages[0], &other.messages[0]);
        assert_eq!(one.graph_id(true), other.graph_id(true));
        assert_ne!(one.graph_id(false), other.graph_id(false));
        assert_eq!(one.immutable_id.len(), 72);
        assert!(one.graph_id(false).len() >= 140);
        assert_ne!(one.copied().immutable_id, one.immutable_id);
    }

    #[test]
    fn changes_are_told_apart() {
        let mut folder = Folder::new("A", "", "");
        folder.add(StoredMessage::new(Vec::new()));
        let versions = |folder: &Folder| folder.messages[0].versions;
        let first = versions(&folder);
        drop(folder.message_mut(1));
        assert_eq!(versions(&folder), first);
        folder.message_mut(1).expect("there").flags.insert("\\Seen".into());
        let read = versions(&folder);
        assert!(read.read > first.last() && read.other == 0);
        folder.message_mut(1).expect("there").categories.push("x".into());
        assert!(versions(&folder).other > read.last());
        let last = versions(&folder);
        folder.message_mut(1).expect("there").set_raw(b"a".to_vec());
        assert!(versions(&folder).other > last.last());
    }
}
