//! A mailbox's folders as a tree, and how they change.
//!
//! Danger: two doors with two ideas of where a folder is. Rule: the parent's id is the truth, the
//! IMAP path is worked out anew after every change; names of siblings differ in more than case
//! (facts/graph-mail.md section 2); what is removed is noted for delta.

use super::accounts::{Mailbox, Provider};
use super::mailbox::{Folder, next_version};

/// Why a folder can't be changed so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// A sibling has this name.
    Exists,
    /// It is one of the service's own folders.
    Distinguished,
    /// There is no such folder.
    Missing,
    /// It would come to lie in itself.
    Circular,
    /// No name at all.
    Nameless,
}

impl Mailbox {
    fn is_microsoft(&self) -> bool {
        matches!(self.provider, Provider::Microsoft { .. })
    }

    pub(crate) fn folder_index(&self, graph_id: &str) -> Option<usize> {
        self.folders.iter().position(|folder| folder.graph_id == graph_id)
    }

    /// The folders right below this one; `None`: below the root.
    pub(crate) fn children<'a>(
        &'a self,
        parent: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Folder> {
        self.folders.iter().filter(move |folder| folder.parent.as_deref() == parent)
    }

    fn sibling_exists(&self, parent: Option<&str>, display: &str, but: Option<&str>) -> bool {
        let name = display.to_lowercase();
        self.children(parent)
            .any(|f| f.display.to_lowercase() == name && Some(f.graph_id.as_str()) != but)
    }

    /// Makes a folder; gives its id.
    pub(crate) fn add_folder(
        &mut self,
        parent: Option<&str>,
        display: &str,
        hidden: bool,
    ) -> Result<String, Unfit> {
        if display.is_empty() {
            return Err(Unfit::Nameless);
        }
        if self.sibling_exists(parent, display, None) {
            return Err(Unfit::Exists);
        }
        if parent.is_some_and(|id| self.folder_index(id).is_none()) {
            return Err(Unfit::Missing);
        }
        let mut folder = Folder::new(display, "", "");
        folder.parent = parent.map(str::to_owned);
        folder.hidden = hidden;
        let id = folder.graph_id.clone();
        self.folders.push(folder);
        self.name_paths();
        Ok(id)
    }

    /// Another displayName.
    pub(crate) fn rename_folder(&mut self, id: &str, display: &str) -> Result<(), Unfit> {
        let index = self.folder_index(id).ok_or(Unfit::Missing)?;
        if display.is_empty() {
            return Err(Unfit::Nameless);
        }
        let folder = &self.folders[index];
        if !folder.well_known.is_empty() {
            return Err(Unfit::Distinguished);
        }
        if self.sibling_exists(folder.parent.as_deref(), display, Some(id)) {
            return Err(Unfit::Exists);
        }
        let folder = &mut self.folders[index];
        display.clone_into(&mut folder.display);
        folder.changed = next_version();
        self.name_paths();
        Ok(())
    }

    /// Another parent.
    pub(crate) fn move_folder(&mut self, id: &str, parent: Option<&str>) -> Result<(), Unfit> {
        let index = self.folder_index(id).ok_or(Unfit::Missing)?;
        if !self.folders[index].well_known.is_empty() {
            return Err(Unfit::Distinguished);
        }
        if self.subtree(id).iter().any(|inside| Some(inside.as_str()) == parent) {
            return Err(Unfit::Circular);
        }
        if self.sibling_exists(parent, &self.folders[index].display, Some(id)) {
            return Err(Unfit::Exists);
        }
        let folder = &mut self.folders[index];
        folder.parent = parent.map(str::to_owned);
        folder.changed = next_version();
        self.name_paths();
        Ok(())
    }

    /// A copy of a folder with all that is in it; gives the copy's id.
    pub(crate) fn copy_folder(&mut self, id: &str, parent: Option<&str>) -> Result<String, Unfit> {
        let index = self.folder_index(id).ok_or(Unfit::Missing)?;
        if self.subtree(id).iter().any(|inside| Some(inside.as_str()) == parent) {
            return Err(Unfit::Circular);
        }
        let (display, hidden) = (self.folders[index].display.clone(), self.folders[index].hidden);
        let made = self.add_folder(parent, &display, hidden)?;
        let copies: Vec<_> = self.folders[index].messages.iter().map(|m| m.copied()).collect();
        if let Some(folder) = self.folders.last_mut() {
            for message in copies {
                folder.add(message);
            }
        }
        let children: Vec<String> =
            self.children(Some(id)).map(|child| child.graph_id.clone()).collect();
        for child in children {
            self.copy_folder(&child, Some(&made))?;
        }
        Ok(made)
    }

    /// Takes a folder and what is below it away; the messages become recoverable items.
    pub(crate) fn delete_folder(&mut self, id: &str) -> Result<(), Unfit> {
        let doomed = self.subtree(id);
        let known = |id: &String| self.folders.iter().find(|folder| folder.graph_id == *id);
        if doomed.iter().filter_map(known).count() == 0 {
            return Err(Unfit::Missing);
        }
        if doomed.iter().filter_map(known).any(|folder| !folder.well_known.is_empty()) {
            return Err(Unfit::Distinguished);
        }
        let (out, kept) = std::mem::take(&mut self.folders)
            .into_iter()
            .partition::<Vec<Folder>, _>(|folder| doomed.contains(&folder.graph_id));
        self.folders = kept;
        for folder in out {
            self.gone_folders.push((next_version(), folder.graph_id.clone()));
            let dump = self.folders.iter_mut().find(|f| is_dump(f));
            if let Some(dump) = dump {
                folder.messages.into_iter().for_each(|message| {
                    dump.add(message);
                });
            }
        }
        self.touch_parents();
        Ok(())
    }

    /// The folder and all that is below it, by id.
    pub(crate) fn subtree(&self, id: &str) -> Vec<String> {
        let mut all = vec![id.to_owned()];
        let mut at = 0;
        while let Some(parent) = all.get(at).cloned() {
            all.extend(self.children(Some(&parent)).map(|folder| folder.graph_id.clone()));
            at += 1;
        }
        all
    }

    /// `childFolderCount` has changed somewhere: delta tells of every folder that has children.
    fn touch_parents(&mut self) {
        let version = next_version();
        let parents: Vec<String> = self.folders.iter().filter_map(|f| f.parent.clone()).collect();
        for folder in &mut self.folders {
            if parents.contains(&folder.graph_id) {
                folder.changed = version;
            }
        }
    }

    /// Works the IMAP names out anew.
    pub(crate) fn name_paths(&mut self) {
        if !self.is_microsoft() {
            return;
        }
        let names: Vec<String> = (0..self.folders.len()).map(|i| self.path(i)).collect();
        for (folder, name) in self.folders.iter_mut().zip(names) {
            folder.name = name;
        }
    }

    fn path(&self, mut index: usize) -> String {
        let mut path: Vec<&str> = Vec::new();
        // No deeper than there are folders: a ring can't be made, and would end here.
        for _ in 0..self.folders.len() {
            let folder = &self.folders[index];
            let inbox = folder.well_known == "inbox";
            path.push(if inbox { "INBOX" } else { &folder.display });
            let parent = folder.parent.as_deref().and_then(|id| self.folder_index(id));
            let Some(parent) = parent else { break };
            index = parent;
        }
        path.reverse();
        path.join("/")
    }

    /// IMAP's CREATE: a path, missing parents made too.
    pub(crate) fn create_path(&mut self, path: &str) -> Result<String, Unfit> {
        if !self.is_microsoft() {
            self.folders.push(Folder::new(path, "", ""));
            return Ok(self.folders.last().map(|f| f.graph_id.clone()).unwrap_or_default());
        }
        let mut parent: Option<String> = None;
        let mut at = String::new();
        for name in path.split('/') {
            if !at.is_empty() {
                at.push('/');
            }
            at.push_str(name);
            let known = self.folders.iter().find(|folder| folder.name == at);
            let id = match known {
                Some(folder) => folder.graph_id.clone(),
                None => self.add_folder(parent.as_deref(), name, false)?,
            };
            parent = Some(id);
        }
        parent.ok_or(Unfit::Nameless)
    }

    /// IMAP's DELETE.
    pub(crate) fn delete_path(&mut self, path: &str) -> Result<(), Unfit> {
        let found = self.folders.iter().find(|folder| folder.name == path);
        let id = found.map(|folder| folder.graph_id.clone()).ok_or(Unfit::Missing)?;
        if self.is_microsoft() {
            return self.delete_folder(&id);
        }
        self.folders.retain(|folder| folder.graph_id != id);
        Ok(())
    }
}

fn is_dump(folder: &Folder) -> bool {
    folder.well_known == "recoverableitemsdeletions"
}

#[cfg(test)]
mod tests {
    use super::super::mailbox::StoredMessage;
    use super::*;

    fn named(mailbox: &Mailbox, id: &str) -> String {
        mailbox.folder_index(id).map(|i| mailbox.folders[i].name.clone()).unwrap_or_default()
    }

    #[test]
    fn paths_follow_the_tree() {
        let mut mailbox = Mailbox::microsoft("t", "m@x");
        let a = mailbox.create_path("INBOX/a/b").expect("made");
        assert_eq!(named(&mailbox, &a), "INBOX/a/b");
        let parent = mailbox.folders.iter().find(|f| f.name == "INBOX/a").expect("made too");
        let parent = parent.graph_id.clone();
        mailbox.rename_folder(&parent, "z").expect("renamed");
        assert_eq!(named(&mailbox, &a), "INBOX/z/b");
        assert_eq!(mailbox.move_folder(&parent, Some(&a)), Err(Unfit::Circular));
        mailbox.move_folder(&parent, None).expect("moved");
        assert_eq!(named(&mailbox, &a), "z/b");
        assert_eq!(mailbox.add_folder(Some(&parent), "B", false), Err(Unfit::Exists));
        let copy = mailbox.copy_folder(&a, None).expect("copied");
        assert_eq!(named(&mailbox, &copy), "b");
        mailbox.delete_path("z").expect("deleted");
        assert_eq!(named(&mailbox, &a), "");
        assert_eq!(mailbox.gone_folders.len(), 2);
        assert_eq!(mailbox.delete_path("INBOX"), Err(Unfit::Distinguished));
        assert_eq!(mailbox.delete_path("none"), Err(Unfit::Missing));
    }

    #[test]
    fn what_was_in_a_deleted_folder_is_recoverable() {
        let mut mailbox = Mailbox::microsoft("t", "m@x");
        let id = mailbox.add_folder(None, "a", false).expect("made");
        let index = mailbox.folder_index(&id).expect("there");
        mailbox.folders[index].add(StoredMessage::new(b"x".to_vec()));
        mailbox.delete_folder(&id).expect("deleted");
        let dump = mailbox.folders.iter().find(|f| is_dump(f)).expect("there");
        assert_eq!(dump.messages.len(), 1);
    }
}
