//! Folders: IMAP mailbox and Graph mailFolder in one.
//!
//! Danger: a UID that is used twice, or a message that vanishes without a trace, would hide lost
//! mail. Rule: UIDs only ever ascend, what leaves is noted for delta, and messages are found by id
//! without looking at all of them: a test's folder has ten thousand.

use std::collections::HashMap;

use super::accounts::random_text;
use super::mailbox::{Changing, StoredMessage, next_version};

/// A message that has left its folder.
#[derive(Clone, Debug)]
pub(crate) struct Gone {
    pub version: u64,
    pub immutable_id: String,
    pub mutable_id: String,
}

impl Gone {
    /// The id in the form the request asked for.
    pub fn graph_id(&self, immutable: bool) -> &str {
        if immutable { &self.immutable_id } else { &self.mutable_id }
    }
}

/// A folder.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    /// IMAP name: the path.
    pub name: String,
    /// Graph's displayName.
    pub display: String,
    /// Graph id of the parent; `None`: the root.
    pub parent: Option<String>,
    pub hidden: bool,
    /// True: `#microsoft.graph.mailSearchFolder`.
    pub search: bool,
    /// Graph's well-known name, or empty.
    pub well_known: &'static str,
    /// SPECIAL-USE attribute, or empty.
    pub attribute: &'static str,
    pub graph_id: String,
    pub uid_validity: u32,
    pub uid_next: u32,
    pub subscribed: bool,
    /// Ascending by UID.
    pub messages: Vec<StoredMessage>,
    pub gone: Vec<Gone>,
    /// Version of the last change of the folder's own properties or counts.
    pub changed: u64,
    /// UIDs by either Graph id.
    ids: HashMap<String, u32>,
}

impl Folder {
    pub fn new(name: &str, well_known: &'static str, attribute: &'static str) -> Self {
        let display = if well_known == "inbox" { "Inbox" } else { name };
        Self {
            name: name.to_owned(),
            display: display.to_owned(),
            parent: None,
            hidden: false,
            search: false,
            well_known,
            attribute,
            graph_id: format!("AAMkAGI2{}=", random_text(111)),
            uid_validity: new_uid_validity(),
            uid_next: 1,
            subscribed: true,
            messages: Vec::new(),
            gone: Vec::new(),
            changed: next_version(),
            ids: HashMap::new(),
        }
    }

    pub fn microsoft_set() -> Vec<Self> {
        let mut recoverable =
            Self::new("Recoverable Items Deletions", "recoverableitemsdeletions", "");
        // Below a root of its own, beside the one that a mail program sees.
        recoverable.parent = Some(format!("AAMkAGI2{}=", random_text(111)));
        recoverable.hidden = true;
        vec![
            Self::new("INBOX", "inbox", ""),
            Self::new("Drafts", "drafts", "\\Drafts"),
            Self::new("Sent Items", "sentitems", "\\Sent"),
            Self::new("Deleted Items", "deleteditems", "\\Trash"),
            Self::new("Junk Email", "junkemail", "\\Junk"),
            Self::new("Outbox", "outbox", ""),
            Self::new("Archive", "archive", "\\Archive"),
            recoverable,
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
        let uid = self.uid_next;
        self.uid_next += 1;
        message.uid = uid;
        message.mutable_id = message.id_in(&self.graph_id);
        message.versions = super::mailbox::Versions { added: next_version(), read: 0, other: 0 };
        self.changed = message.versions.added;
        self.ids.insert(message.immutable_id.clone(), uid);
        self.ids.insert(message.mutable_id.clone(), uid);
        self.messages.push(message);
        uid
    }

    fn index(&self, uid: u32) -> Option<usize> {
        self.messages.binary_search_by_key(&uid, |message| message.uid).ok()
    }

    pub fn message(&self, uid: u32) -> Option<&StoredMessage> {
        self.messages.get(self.index(uid)?)
    }

    /// A message by the id of this form.
    pub fn by_id(&self, id: &str, immutable: bool) -> Option<&StoredMessage> {
        let message = self.message(*self.ids.get(id)?)?;
        (message.graph_id(immutable) == id).then_some(message)
    }

    pub fn message_mut(&mut self, uid: u32) -> Option<Changing<'_>> {
        let index = self.index(uid)?;
        Some(Changing::new(&mut self.messages[index], &mut self.changed))
    }

    /// Takes messages out for good.
    pub fn remove(&mut self, uids: &[u32]) {
        let mut doomed = uids.to_vec();
        doomed.sort_unstable();
        let (gone, ids) = (&mut self.gone, &mut self.ids);
        let mut last = self.changed;
        self.messages.retain(|message| {
            if doomed.binary_search(&message.uid).is_err() {
                return true;
            }
            ids.remove(&message.immutable_id);
            ids.remove(&message.mutable_id);
            last = next_version();
            gone.push(Gone {
                version: last,
                immutable_id: message.immutable_id.clone(),
                mutable_id: message.mutable_id.clone(),
            });
            false
        });
        self.changed = last;
    }

    pub fn unread(&self) -> usize {
        self.messages.iter().filter(|message| !message.is_read()).count()
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
    fn ids_find_in_their_own_form_and_what_left_is_noted() {
        let mut folder = Folder::new("INBOX", "inbox", "");
        folder.add(StoredMessage::new(b"a".to_vec()));
        let message = folder.messages[0].clone();
        assert!(folder.by_id(&message.immutable_id, true).is_some());
        assert!(folder.by_id(&message.immutable_id, false).is_none());
        assert!(folder.by_id(&message.mutable_id, false).is_some());
        let before = folder.changed;
        folder.remove(&[1]);
        assert!(folder.by_id(&message.immutable_id, true).is_none());
        assert_eq!(folder.gone[0].graph_id(true), message.immutable_id);
        assert!(folder.gone[0].version > before && folder.changed == folder.gone[0].version);
    }
}
