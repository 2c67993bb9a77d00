//! The commands of a selected session: FETCH, STORE, SEARCH, COPY, MOVE, EXPUNGE, and their UID
//! forms.
//!
//! Rule: a sequence number out of range is BAD, an unknown UID is skipped; a read-only folder
//! changes in nothing; EXPUNGE lines never come during FETCH, STORE or SEARCH.

use std::io;

use super::super::super::mailbox::{Folder, StoredMessage};
use super::command::{Set, Words};
use super::fetch::{self, Item};
use super::search::{self, Candidate};
use super::{Answer, Session, State, View, bad, done, no};

impl Session {
    pub(super) async fn selected(
        &mut self,
        verb: &str,
        mut words: Words<'_>,
    ) -> io::Result<Answer> {
        let bare = words.is_empty();
        match verb {
            "CHECK" if bare => {
                self.sync(true).await?;
                Ok(done("Success"))
            }
            "CLOSE" | "UNSELECT" if bare => Ok(self.close(verb == "CLOSE")),
            "EXPUNGE" if bare => self.expunge(None).await,
            "UID" => {
                let Some(verb) = words.space().and_then(|()| words.atom()) else {
                    return Ok(bad());
                };
                let verb = verb.to_ascii_uppercase();
                if words.space().is_none() {
                    return Ok(bad());
                }
                if verb == "EXPUNGE" {
                    let set = words.set().filter(|_| words.is_empty());
                    return match set {
                        Some(set) => self.expunge(Some(set)).await,
                        None => Ok(bad()),
                    };
                }
                let answer = self.numbered(&verb, words, true).await?;
                self.sync(true).await?;
                Ok(answer)
            }
            "FETCH" | "STORE" | "SEARCH" | "COPY" | "MOVE" if words.space().is_some() => {
                let answer = self.numbered(verb, words, false).await?;
                self.sync(matches!(verb, "COPY" | "MOVE")).await?;
                Ok(answer)
            }
            _ => self.authenticated(verb, words).await,
        }
    }

    async fn numbered(&mut self, verb: &str, words: Words<'_>, by_uid: bool) -> io::Result<Answer> {
        match verb {
            "FETCH" => self.fetch(words, by_uid).await,
            "STORE" => self.store(words, by_uid).await,
            "SEARCH" => self.search(words, by_uid).await,
            "COPY" => self.copy(words, by_uid, false).await,
            "MOVE" => self.copy(words, by_uid, true).await,
            _ => Ok(bad()),
        }
    }

    /// The UIDs a set means, in the view's order. `None`: a number out of range.
    fn resolve(&self, set: &Set, by_uid: bool) -> Option<Vec<u32>> {
        let State::Selected(_, view) = &self.state else { return None };
        view.resolve(set, by_uid)
    }

    async fn fetch(&mut self, mut words: Words<'_>, by_uid: bool) -> io::Result<Answer> {
        let parsed = words.set().zip(words.space()).and_then(|(set, ())| {
            let items = fetch::items(&mut words)?;
            words.done()?;
            Some((set, items))
        });
        let Some((set, mut items)) = parsed else { return Ok(bad()) };
        let Some(uids) = self.resolve(&set, by_uid) else { return Ok(bad()) };
        if by_uid && !items.contains(&Item::Uid) {
            items.insert(0, Item::Uid);
        }
        for uid in uids {
            let Some(answer) = self.fetch_one(uid, &items) else { continue };
            self.wire.send(&answer).await?;
        }
        Ok(done("Success"))
    }

    /// A message that is gone but not yet told as such answers nothing.
    fn fetch_one(&mut self, uid: u32, items: &[Item]) -> Option<Vec<u8>> {
        let State::Selected(address, view) = &mut self.state else { return None };
        let number = view.number(uid)?;
        let mut store = self.door.cloud.state();
        let mut message = store.folder_mut(address, &view.folder)?.message_mut(uid)?;
        let reads = items.iter().any(|item| matches!(item, Item::Text(s) if s.marks_seen));
        if reads && !view.read_only && message.flags.insert("\\Seen".into()) {
            view.told.insert(uid, message.flags.clone());
            let mut with_flags = items.to_vec();
            if !items.contains(&Item::Flags) {
                with_flags.push(Item::Flags);
            }
            return Some(fetch::answer(number, &message, &with_flags));
        }
        Some(fetch::answer(number, &message, items))
    }

    async fn store(&mut self, mut words: Words<'_>, by_uid: bool) -> io::Result<Answer> {
        let Some((set, change)) = store_arguments(&mut words) else { return Ok(bad()) };
        let Some(uids) = self.resolve(&set, by_uid) else { return Ok(bad()) };
        let mut lines = Vec::new();
        {
            let State::Selected(address, view) = &mut self.state else { return Ok(bad()) };
            if view.read_only {
                return Ok(no("[READ-ONLY] Folder is read-only (Failure)"));
            }
            let mut store = self.door.cloud.state();
            for uid in uids {
                let message =
                    store.folder_mut(address, &view.folder).and_then(|f| f.message_mut(uid));
                let (Some(mut message), Some(number)) = (message, view.number(uid)) else {
                    continue;
                };
                change.apply(&mut message);
                view.told.insert(uid, message.flags.clone());
                if !change.silent {
                    let items: &[Item] =
                        if by_uid { &[Item::Uid, Item::Flags] } else { &[Item::Flags] };
                    lines.push(fetch::answer(number, &message, items));
                }
            }
        }
        for line in lines {
            self.wire.send(&line).await?;
        }
        self.door.cloud.changed();
        Ok(done("Success"))
    }

    async fn search(&mut self, mut words: Words<'_>, by_uid: bool) -> io::Result<Answer> {
        if words.eat("CHARSET ") {
            let Some(charset) = words.astring().filter(|_| words.space().is_some()) else {
                return Ok(bad());
            };
            if !["UTF-8", "US-ASCII"].iter().any(|known| charset.eq_ignore_ascii_case(known)) {
                return Ok(no("[BADCHARSET (UTF-8)] Unsupported charset"));
            }
        }
        let Some(key) = search::parse(&mut words) else { return Ok(bad()) };
        let found: Vec<String> = {
            let State::Selected(address, view) = &self.state else { return Ok(bad()) };
            let store = self.door.cloud.state();
            let folder = store.folder(address, &view.folder);
            let last_uid = view.uids.last().copied().unwrap_or(0);
            let numbered = (1u32..).zip(&view.uids);
            let candidates = numbered.filter_map(|(number, &uid)| {
                let message = folder?.message(uid)?;
                let last_number = u32::try_from(view.uids.len()).unwrap_or(u32::MAX);
                Some(Candidate { number, message, last_number, last_uid })
            });
            let found = candidates.filter(|candidate| key.holds(candidate));
            found.map(|c| if by_uid { c.message.uid } else { c.number }.to_string()).collect()
        };
        let separator = if found.is_empty() { "" } else { " " };
        self.wire.send_line(&format!("* SEARCH{separator}{}", found.join(" "))).await?;
        Ok(done("SEARCH completed (Success)"))
    }

    async fn copy(
        &mut self,
        mut words: Words<'_>,
        by_uid: bool,
        moves: bool,
    ) -> io::Result<Answer> {
        let parsed = words.set().zip(words.space()).and_then(|(set, ())| {
            let name = words.astring()?;
            words.done()?;
            Some((set, name))
        });
        let Some((set, name)) = parsed else { return Ok(bad()) };
        let Some(uids) = self.resolve(&set, by_uid) else { return Ok(bad()) };
        let copied = {
            let State::Selected(address, view) = &self.state else { return Ok(bad()) };
            if moves && view.read_only {
                return Ok(no("[READ-ONLY] Folder is read-only (Failure)"));
            }
            let mut store = self.door.cloud.state();
            let source = store.folder(address, &view.folder);
            let messages: Vec<StoredMessage> =
                uids.iter().filter_map(|&uid| source?.message(uid).cloned()).collect();
            let Some(target) = store.folder_mut(address, &name) else {
                return Ok(no("[TRYCREATE] No folder (Failure)"));
            };
            let code = copy_into(target, &messages, moves);
            if moves && let Some(source) = store.folder_mut(address, &view.folder) {
                source.remove(&uids);
            }
            code
        };
        self.door.cloud.changed();
        if moves && !copied.is_empty() {
            // Before the expunges (RFC 6851 section 4.3).
            self.wire.send_line(&format!("* OK {copied}")).await?;
            return Ok(done("Success"));
        }
        Ok(done(&format!("{copied} (Success)")))
    }

    async fn expunge(&mut self, only: Option<Set>) -> io::Result<Answer> {
        {
            let State::Selected(address, view) = &self.state else { return Ok(bad()) };
            if view.read_only {
                return Ok(no("[READ-ONLY] Folder is read-only (Failure)"));
            }
            let mut store = self.door.cloud.state();
            let largest = view.uids.last().copied().unwrap_or(0);
            if let Some(folder) = store.folder_mut(address, &view.folder) {
                let chosen = |uid| only.as_ref().is_none_or(|set| set.contains(uid, largest));
                remove_deleted(folder, chosen);
            }
        }
        self.door.cloud.changed();
        self.sync(true).await?;
        Ok(done("Success"))
    }

    fn close(&mut self, expunges: bool) -> Answer {
        let State::Selected(address, view) = std::mem::replace(&mut self.state, State::Greeted)
        else {
            return bad();
        };
        if expunges
            && !view.read_only
            && let Some(folder) = self.door.cloud.state().folder_mut(&address, &view.folder)
        {
            remove_deleted(folder, |_| true);
        }
        self.state = State::In(address);
        self.door.cloud.changed();
        done("Returned to authenticated state. (Success)")
    }
}

impl View {
    fn resolve(&self, set: &Set, by_uid: bool) -> Option<Vec<u32>> {
        if by_uid {
            let largest = self.uids.last().copied().unwrap_or(0);
            let inside = |uid: &u32| set.contains(*uid, largest);
            return Some(self.uids.iter().copied().filter(inside).collect());
        }
        let count = u32::try_from(self.uids.len()).ok()?;
        if set.highest(count) > count || count == 0 {
            return None;
        }
        let numbered = (1u32..).zip(self.uids.iter().copied());
        Some(numbered.filter(|(n, _)| set.contains(*n, count)).map(|(_, uid)| uid).collect())
    }
}

fn remove_deleted(folder: &mut Folder, chosen: impl Fn(u32) -> bool) {
    let deleted = folder.messages.iter().filter(|m| m.flags.contains("\\Deleted"));
    let uids: Vec<u32> = deleted.map(|m| m.uid).filter(|&uid| chosen(uid)).collect();
    folder.remove(&uids);
}

/// Puts copies in; gives the COPYUID code, or nothing when there was nothing to copy. A moved
/// message keeps its identity, a copied one gets a new one.
fn copy_into(target: &mut Folder, messages: &[StoredMessage], moves: bool) -> String {
    let (mut from, mut to) = (Vec::new(), Vec::new());
    for message in messages {
        let mut copy = if moves { message.clone() } else { message.copied() };
        copy.moved_in = moves;
        from.push(message.uid.to_string());
        to.push(target.add(copy).to_string());
    }
    if from.is_empty() {
        return String::new();
    }
    format!("[COPYUID {} {} {}]", target.uid_validity, from.join(","), to.join(","))
}

/// What STORE does to a message's flags.
struct Change {
    /// Some(true) adds, Some(false) takes away, None replaces.
    adds: Option<bool>,
    silent: bool,
    flags: Vec<String>,
}

fn store_arguments(words: &mut Words<'_>) -> Option<(Set, Change)> {
    let set = words.set()?;
    words.space()?;
    let adds = if words.eat("+") {
        Some(true)
    } else if words.eat("-") {
        Some(false)
    } else {
        None
    };
    if !words.eat("FLAGS") {
        return None;
    }
    let silent = words.eat(".SILENT");
    words.space()?;
    let flags = if words.0.starts_with(b"(") {
        words.list()?
    } else {
        let mut flags = vec![words.atom()?.to_owned()];
        while !words.is_empty() {
            words.space()?;
            flags.push(words.atom()?.to_owned());
        }
        flags
    };
    words.done()?;
    let recent = flags.iter().any(|flag| flag.eq_ignore_ascii_case("\\Recent"));
    (!recent).then_some((set, Change { adds, silent, flags }))
}

impl Change {
    fn apply(&self, message: &mut StoredMessage) {
        // System flags have one spelling, whatever the client's.
        let proper = |flag: &String| {
            let system = ["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft"];
            let known = system.iter().find(|known| known.eq_ignore_ascii_case(flag));
            known.map_or_else(|| flag.clone(), |known| (*known).to_owned())
        };
        let flags = self.flags.iter().map(proper);
        match self.adds {
            Some(true) => message.flags.extend(flags),
            Some(false) => flags.for_each(|flag| {
                message.flags.remove(&flag);
            }),
            None => message.flags = flags.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_adds_takes_away_and_replaces() {
        let table = [
            ("1 +FLAGS (\\seen)", "\\Flagged \\Seen", false),
            ("1 -flags.silent \\Flagged", "", true),
            ("1 FLAGS (a b)", "a b", false),
            ("1 FLAGS ()", "", false),
        ];
        for (arguments, want, silent) in table {
            let parsed = store_arguments(&mut Words(arguments.as_bytes()));
            let (_, change) = parsed.expect("good");
            let mut message = StoredMessage::new(Vec::new()).flagged("\\Flagged");
            change.apply(&mut message);
            assert_eq!((fetch::flags(&message).as_str(), change.silent), (want, silent));
        }
        for bad in ["1 FLAGS", "1 *FLAGS (a)", "1 FLAGS (\\Recent)", "x FLAGS (a)", "1 FLAGS (a"] {
            assert!(store_arguments(&mut Words(bad.as_bytes())).is_none(), "{bad}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_bad_and_unknown_uids_skipped() {
        let mut folder = Folder::new("INBOX", "inbox", "");
        for _ in 0..4 {
            folder.add(StoredMessage::new(Vec::new()));
        }
        folder.remove(&[2]);
        let view = View::new(&folder, false);
        let resolve = |set: &str, by_uid| view.resolve(&Set::parse(set).expect("a set"), by_uid);
        assert_eq!(resolve("1:2", false), Some(vec![1, 3]));
        assert_eq!(resolve("*", false), Some(vec![4]));
        assert_eq!(resolve("4", false), None);
        assert_eq!(resolve("2", true), Some(vec![]));
        assert_eq!(resolve("9:*", true), Some(vec![4]));
    }
}
