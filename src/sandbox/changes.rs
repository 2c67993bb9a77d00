//! What happens to a mailbox from outside: other people, other programs.
//!
//! Danger: a test that changes a mailbox in a way that the service's own clients can't proves
//! nothing. Rule: what is done here leaves the same traces as if Outlook had done it: versions,
//! removals, new ids where they change. A message is named by either Graph id or by its subject.

use super::Sandbox;
use super::accounts::Mailbox;
use super::graph::Link;
use super::mailbox::{Changing, Folder, StoredMessage};
use super::mime;
use super::quirks::{Limits, Quirks};
use super::store::State;

impl Sandbox {
    /// Delivers a message into the inbox; gives its immutable id, empty when there is no mailbox.
    pub fn deliver(&self, address: &str, raw: &[u8]) -> String {
        self.add_to(address, "inbox", raw).unwrap_or_default()
    }

    /// Puts a message into a folder (path or well-known name); gives its immutable id.
    pub fn add_to(&self, address: &str, folder: &str, raw: &[u8]) -> Option<String> {
        let message = StoredMessage::new(raw.to_vec());
        let id = message.immutable_id.clone();
        let added = self.with_folder(address, folder, |folder| {
            folder.add(message);
        });
        added.map(|()| id)
    }

    /// Puts `count` messages into a folder, one a second, the last of them now.
    pub fn fill(
        &self,
        address: &str,
        folder: &str,
        count: usize,
        mut make: impl FnMut(usize) -> Vec<u8>,
    ) {
        let now = time::OffsetDateTime::now_utc();
        self.with_folder(address, folder, |folder| {
            for number in 0..count {
                let mut message = StoredMessage::new(make(number));
                let before = i64::try_from(count - number).unwrap_or(i64::MAX);
                message.received = now - time::Duration::seconds(before);
                folder.add(message);
            }
        });
    }

    fn with_folder<T>(
        &self,
        address: &str,
        name: &str,
        work: impl FnOnce(&mut Folder) -> T,
    ) -> Option<T> {
        let mut state = self.cloud.state();
        let done = folder_of(&mut state, address, name).map(work);
        drop(state);
        self.cloud.changed();
        done
    }

    /// Changes a message in any way; false when there is none of that id or subject.
    pub fn change_message(
        &self,
        address: &str,
        which: &str,
        change: impl FnOnce(&mut StoredMessage),
    ) -> bool {
        self.with_message(address, which, |message| change(message))
    }

    fn with_message(
        &self,
        address: &str,
        which: &str,
        change: impl FnOnce(&mut Changing<'_>),
    ) -> bool {
        let mut state = self.cloud.state();
        let found = state.mailbox_mut(address).and_then(|mailbox| {
            let (folder, uid) = position(mailbox, which)?;
            mailbox.folders[folder].message_mut(uid)
        });
        let done = found.map(|mut message| change(&mut message)).is_some();
        drop(state);
        self.cloud.changed();
        done
    }

    /// Marks a message read or unread.
    pub fn mark_read(&self, address: &str, which: &str, read: bool) -> bool {
        self.change_message(address, which, |message| {
            if read {
                message.flags.insert("\\Seen".into());
            } else {
                message.flags.remove("\\Seen");
            }
        })
    }

    /// Flags a message for follow-up: `flagged`, `complete` or `notFlagged`.
    pub fn flag_message(&self, address: &str, which: &str, status: &str) -> bool {
        self.change_message(address, which, |message| {
            message.completed = status == "complete";
            message.flags.remove("\\Flagged");
            if status == "flagged" {
                message.flags.insert("\\Flagged".into());
            }
        })
    }

    /// Replaces a message's categories.
    pub fn categorize(&self, address: &str, which: &str, categories: &[&str]) -> bool {
        self.change_message(address, which, |message| {
            message.categories = categories.iter().map(|&name| name.to_owned()).collect();
        })
    }

    /// Marks a message as answered or forwarded (102, 103, 104), as Outlook does.
    pub fn mark_replied(&self, address: &str, which: &str, verb: u32) -> bool {
        let icon = if verb == 104 { "262" } else { "261" };
        self.change_message(address, which, |message| {
            message.extended.insert("integer 0x1081".into(), verb.to_string());
            message.extended.insert("integer 0x1080".into(), icon.into());
        })
    }

    /// Sets an extended property, by its id in any spelling.
    pub fn set_extended(&self, address: &str, which: &str, id: &str, value: &str) -> bool {
        let Some(key) = super::graph::property_key(id) else { return false };
        self.change_message(address, which, |message| {
            message.extended.insert(key, value.to_owned());
        })
    }

    /// An extended property of a message, those of the store too.
    pub fn extended(&self, address: &str, which: &str, id: &str) -> Option<String> {
        let state = self.cloud.state();
        let mailbox = state.mailbox(address)?;
        let (folder, uid) = position(mailbox, which)?;
        super::graph::extended_value(mailbox.folders[folder].message(uid)?, id)
    }

    /// Moves a message to another folder.
    pub fn move_message(&self, address: &str, which: &str, to: &str) -> bool {
        let mut state = self.cloud.state();
        if folder_of(&mut state, address, to).is_none() {
            return false;
        }
        let Some(mut message) = take(&mut state, address, which) else { return false };
        message.moved_in = true;
        let moved = folder_of(&mut state, address, to).map(|folder| folder.add(message)).is_some();
        drop(state);
        self.cloud.changed();
        moved
    }

    /// Deletes a message for good.
    pub fn delete_message(&self, address: &str, which: &str) -> bool {
        let gone = take(&mut self.cloud.state(), address, which).is_some();
        self.cloud.changed();
        gone
    }

    /// Gives a draft another subject; its ids stay.
    pub fn edit_draft(&self, address: &str, which: &str, subject: &str) -> bool {
        self.with_message(address, which, |message| {
            let rest = mime::without_field(&message.raw, "Subject");
            message.set_raw(mime::with_field(&rest, "Subject", subject));
        })
    }

    /// The folders that a mailbox has, by path.
    pub fn folders(&self, address: &str) -> Vec<String> {
        let state = self.cloud.state();
        let folders = state.mailbox(address).map(|mailbox| mailbox.folders.as_slice());
        folders.unwrap_or_default().iter().map(|folder| folder.name.clone()).collect()
    }

    /// Graph's id of a folder, by path or well-known name.
    pub fn folder_id(&self, address: &str, folder: &str) -> Option<String> {
        folder_of(&mut self.cloud.state(), address, folder).map(|folder| folder.graph_id.clone())
    }

    /// Makes a folder, missing parents too; gives Graph's id.
    pub fn create_folder(&self, address: &str, path: &str) -> Option<String> {
        self.with_mailbox(address, |mailbox| mailbox.create_path(path).ok()).flatten()
    }

    /// Makes a folder under a parent (a path; empty: the top) with a name that may hold a slash.
    pub fn create_named_folder(&self, address: &str, parent: &str, name: &str) -> Option<String> {
        let parent = match parent {
            "" => None,
            parent => Some(self.folder_id(address, parent)?),
        };
        let made = |mailbox: &mut Mailbox| mailbox.add_folder(parent.as_deref(), name, false).ok();
        self.with_mailbox(address, made).flatten()
    }

    /// Makes a hidden folder at the top.
    pub fn create_hidden_folder(&self, address: &str, name: &str) -> Option<String> {
        self.with_mailbox(address, |mailbox| mailbox.add_folder(None, name, true).ok()).flatten()
    }

    /// Makes a search folder at the top.
    pub fn create_search_folder(&self, address: &str, name: &str) -> Option<String> {
        self.with_mailbox(address, |mailbox| {
            let id = mailbox.add_folder(None, name, false).ok()?;
            let index = mailbox.folder_index(&id)?;
            mailbox.folders[index].search = true;
            Some(id)
        })
        .flatten()
    }

    /// Gives a folder another name; its id stays.
    pub fn rename_folder(&self, address: &str, path: &str, name: &str) -> bool {
        let Some(id) = self.folder_id(address, path) else { return false };
        self.with_mailbox(address, |mailbox| mailbox.rename_folder(&id, name).is_ok()) == Some(true)
    }

    /// Moves a folder under another one (a path; empty: the top).
    pub fn move_folder(&self, address: &str, path: &str, parent: &str) -> bool {
        let Some(id) = self.folder_id(address, path) else { return false };
        let target = match parent {
            "" => None,
            parent => match self.folder_id(address, parent) {
                Some(id) => Some(id),
                None => return false,
            },
        };
        let moved = |mailbox: &mut Mailbox| mailbox.move_folder(&id, target.as_deref()).is_ok();
        self.with_mailbox(address, moved) == Some(true)
    }

    /// Deletes a folder and what is below it.
    pub fn delete_folder(&self, address: &str, path: &str) -> bool {
        let Some(id) = self.folder_id(address, path) else { return false };
        self.with_mailbox(address, |mailbox| mailbox.delete_folder(&id).is_ok()) == Some(true)
    }

    fn with_mailbox<T>(&self, address: &str, work: impl FnOnce(&mut Mailbox) -> T) -> Option<T> {
        let done = self.cloud.state().mailbox_mut(address).map(work);
        self.cloud.changed();
        done
    }

    /// How a mailbox behaves from now on.
    pub fn set_quirks(&self, address: &str, quirks: Quirks) {
        self.with_mailbox(address, |mailbox| mailbox.quirks = quirks);
    }

    /// What Graph does with all requests from now on.
    pub fn set_limits(&self, limits: Limits) {
        let mut state = self.cloud.state();
        state.limits = limits;
        state.tally.recent.clear();
    }

    /// Every delta link, and every page of a delta round, is unknown from now on: 410.
    pub fn expire_delta_tokens(&self) {
        self.cloud.state().links.values_mut().for_each(Link::expire_delta);
    }

    /// HTTP requests at Graph; a batch is one.
    pub fn graph_requests(&self) -> usize {
        self.cloud.state().tally.requests
    }

    /// Requests at Graph with each part of a batch as one, and no batch.
    pub fn graph_parts(&self) -> usize {
        self.cloud.state().tally.parts
    }

    /// The same by method and kind of path (`GET`, `mailFolders/{id}/messages/delta`).
    pub fn graph_kinds(&self) -> std::collections::BTreeMap<(String, String), usize> {
        self.cloud.state().tally.kinds.clone()
    }

    /// Counts requests at Graph from zero again.
    pub fn reset_graph_counts(&self) {
        self.cloud.state().tally.reset();
    }
}

/// A folder by path or well-known name.
fn folder_of<'a>(state: &'a mut State, address: &str, name: &str) -> Option<&'a mut Folder> {
    if state.folder(address, name).is_some() {
        return state.folder_mut(address, name);
    }
    state.well_known(address, name).filter(|_| !name.is_empty())
}

/// By immutable id, default id, or subject (the first one).
fn position(mailbox: &Mailbox, which: &str) -> Option<(usize, u32)> {
    for immutable in [true, false] {
        for (index, folder) in mailbox.folders.iter().enumerate() {
            if let Some(message) = folder.by_id(which, immutable) {
                return Some((index, message.uid));
            }
        }
    }
    mailbox.folders.iter().enumerate().find_map(|(index, folder)| {
        let found = folder.messages.iter().find(|message| message.head().subject == which)?;
        Some((index, found.uid))
    })
}

fn take(state: &mut State, address: &str, which: &str) -> Option<StoredMessage> {
    let mailbox = state.mailbox_mut(address)?;
    let (folder, uid) = position(mailbox, which)?;
    let folder = &mut mailbox.folders[folder];
    let message = folder.message(uid)?.clone();
    folder.remove(&[uid]);
    Some(message)
}
