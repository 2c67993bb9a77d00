//! Folders and the messages in them.
//!
//! Danger: a UID that is used twice, or a size that is not the size of the bytes served, would make
//! a broken proxy look right. Rule: UIDs only ever ascend, a message's bytes never change, and the
//! two kinds of Graph id are as different as in the real service: one survives a move, the other
//! does not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use time::OffsetDateTime;

use super::accounts::random_text;

/// Length of an immutable Graph id as observed (facts/graph-mail.md section 4).
const IMMUTABLE_ID_LENGTH: usize = 72;

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

/// A message as it lies in a folder.
#[derive(Clone, Debug)]
pub struct StoredMessage {
    /// IMAP UID.
    pub uid: u32,
    /// Graph id that survives moves.
    pub immutable_id: String,
    /// The MIME, byte for byte.
    pub raw: Arc<[u8]>,
    /// IMAP flags.
    pub flags: BTreeSet<String>,
    /// When it arrived.
    pub received: OffsetDateTime,
    /// Graph's `isDraft`.
    pub draft: bool,
    /// Extended properties by id (`Boolean 0x0E01`).
    pub extended: BTreeMap<String, String>,
    /// Files attached to a Graph draft after its creation.
    pub attachments: Vec<Attachment>,
}

impl StoredMessage {
    /// A message that arrives now.
    pub(crate) fn new(raw: Vec<u8>) -> Self {
        Self {
            uid: 0,
            immutable_id: random_text(IMMUTABLE_ID_LENGTH),
            raw: raw.into(),
            flags: BTreeSet::new(),
            received: OffsetDateTime::now_utc(),
            draft: false,
            extended: BTreeMap::new(),
            attachments: Vec::new(),
        }
    }

    pub(crate) fn flagged(mut self, flag: &str) -> Self {
        self.flags.insert(flag.to_owned());
        self
    }

    /// The default Graph id: another one in every folder.
    pub(crate) fn mutable_id(&self, folder: &Folder) -> String {
        let seed = format!("{}/{}", folder.graph_id, self.immutable_id);
        let digest = ring::digest::digest(&ring::digest::SHA384, seed.as_bytes());
        let twice = [digest.as_ref(), digest.as_ref()].concat();
        format!("AAMkAGI2{}AAA=", URL_SAFE.encode(twice))
    }

    /// The id in the form the request asked for.
    pub(crate) fn graph_id(&self, folder: &Folder, immutable: bool) -> String {
        if immutable { self.immutable_id.clone() } else { self.mutable_id(folder) }
    }
}

/// A folder: IMAP mailbox and Graph mailFolder in one.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    /// IMAP name and Graph displayName.
    pub name: String,
    /// Graph's well-known name, or empty.
    pub well_known: &'static str,
    /// SPECIAL-USE attribute, or empty.
    pub attribute: &'static str,
    pub graph_id: String,
    pub uid_validity: u32,
    pub uid_next: u32,
    pub subscribed: bool,
    pub messages: Vec<StoredMessage>,
}

impl Folder {
    pub fn new(name: &str, well_known: &'static str, attribute: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            well_known,
            attribute,
            graph_id: format!("AAMkAGI2{}=", random_text(111)),
            uid_validity: new_uid_validity(),
            uid_next: 1,
            subscribed: true,
            messages: Vec::new(),
        }
    }

    pub fn microsoft_set() -> Vec<Self> {
        vec![
            Self::new("INBOX", "inbox", ""),
            Self::new("Drafts", "drafts", "\\Drafts"),
            Self::new("Sent Items", "sentitems", "\\Sent"),
            Self::new("Deleted Items", "deleteditems", "\\Trash"),
            Self::new("Junk Email", "junkemail", "\\Junk"),
            Self::new("Outbox", "outbox", ""),
            Self::new("Archive", "archive", "\\Archive"),
            Self::new("Recoverable Items Deletions", "recoverableitemsdeletions", ""),
        ]
    }

    pub fn gmail_set() -> Vec<Self> {
        vec![
            Self::new("INBOX", "inbox", ""),
            Self::new("[Gmail]/Drafts", "", "\\Drafts"),
            Self::new("[Gmail]/Sent Mail", "sentitems", "\\Sent"),
            Self::new("[Gmail]/Spam", "", "\\Junk"),
            Self::new("[Gmail]/Trash", "", "\\Trash"),
        ]
    }

    pub fn classic_set() -> Vec<Self> {
        vec![
            Self::new("INBOX", "inbox", ""),
            Self::new("Drafts", "", ""),
            Self::new("Sent", "", ""),
            Self::new("Trash", "", ""),
        ]
    }

    /// Puts a message in under the next UID and tells it.
    pub fn add(&mut self, mut message: StoredMessage) -> u32 {
        message.uid = self.uid_next;
        self.uid_next += 1;
        self.messages.push(message);
        self.uid_next - 1
    }

    pub fn message(&self, uid: u32) -> Option<&StoredMessage> {
        self.messages.iter().find(|message| message.uid == uid)
    }

    pub fn message_mut(&mut self, uid: u32) -> Option<&mut StoredMessage> {
        self.messages.iter_mut().find(|message| message.uid == uid)
    }

    /// Takes messages out for good.
    pub fn remove(&mut self, uids: &[u32]) {
        self.messages.retain(|message| !uids.contains(&message.uid));
    }
}

/// Another number for each folder made, also for one made anew under an old name.
fn new_uid_validity() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(1_700_000_001);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_ascend_and_are_never_used_again() {
        let mut folder = Folder::new("INBOX", "inbox", "");
        assert_eq!(folder.add(StoredMessage::new(b"a".to_vec())), 1);
        assert_eq!(folder.add(StoredMessage::new(b"b".to_vec())), 2);
        folder.remove(&[2]);
        assert_eq!(folder.add(StoredMessage::new(b"c".to_vec())), 3);
        assert_eq!(folder.message(3).map(|m| m.raw.to_vec()), Some(b"c".to_vec()));
        assert!(folder.message(2).is_none());
        assert_ne!(folder.uid_validity, Folder::new("INBOX", "inbox", "").uid_validity);
    }

    #[test]
    fn one_id_survives_a_move_and_the_other_does_not() {
        let (one, other) = (Folder::new("A", "", ""), Folder::new("B", "", ""));
        let message = StoredMessage::new(Vec::new());
        assert_eq!(message.graph_id(&one, true), message.graph_id(&other, true));
        assert_ne!(message.graph_id(&one, false), message.graph_id(&other, false));
        assert_eq!(message.immutable_id.len(), 72);
        assert!(message.mutable_id(&one).len() >= 140);
    }
}
