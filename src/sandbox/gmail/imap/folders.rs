//! The commands of an authenticated session: folders, STATUS, SELECT, APPEND.
//!
//! Rule: names compare exactly but for INBOX; a folder made anew gets a new UIDVALIDITY; what does
//! not exist is NO, what can't be parsed BAD.

use std::io;

use time::OffsetDateTime;

use super::super::super::mailbox::{Folder, StoredMessage};
use super::command::Words;
use super::structure::nstring;
use super::{Answer, Session, State, View, bad, done, no};

const NONEXISTENT: &str = "[NONEXISTENT] Unknown Mailbox (Failure)";

impl Session {
    pub(super) async fn authenticated(
        &mut self,
        verb: &str,
        mut words: Words<'_>,
    ) -> io::Result<Answer> {
        match verb {
            "IDLE" if words.is_empty() => return self.idle().await,
            "NAMESPACE" if words.is_empty() => {
                self.wire.send_line("* NAMESPACE ((\"\" \"/\")) NIL NIL").await?;
                return Ok(done("Success"));
            }
            _ => {}
        }
        if words.space().is_none() {
            return Ok(Err(format!("BAD Unknown command or bad arguments: {verb}")));
        }
        match verb {
            "LIST" | "LSUB" => self.list(verb, words).await,
            "STATUS" => self.status(words).await,
            "SELECT" => self.select(words, false).await,
            "EXAMINE" => self.select(words, true).await,
            "APPEND" => Ok(self.append(words)),
            "CREATE" | "DELETE" | "SUBSCRIBE" | "UNSUBSCRIBE" => {
                let name = words.astring().filter(|_| words.is_empty());
                Ok(name.map_or_else(bad, |name| self.change_folder(verb, &name)))
            }
            _ => Ok(Err(format!("BAD Unknown command {verb}"))),
        }
    }

    fn change_folder(&mut self, verb: &str, name: &str) -> Answer {
        let address = self.address().to_owned();
        let mut store = self.door.cloud.state();
        let exists = store.folder(&address, name).is_some();
        if verb == "CREATE" {
            let name = name.trim_end_matches('/');
            let Some(mailbox) = store.mailbox_mut(&address).filter(|_| !exists && !name.is_empty())
            else {
                return no("[ALREADYEXISTS] Duplicate folder name (Failure)");
            };
            if mailbox.create_path(name).is_err() {
                return no("[CANNOT] Invalid name (Failure)");
            }
            return done("Success");
        }
        let Some(folder) = store.folder_mut(&address, name) else { return no(NONEXISTENT) };
        if verb != "DELETE" {
            folder.subscribed = verb == "SUBSCRIBE";
            return done("Success");
        }
        if !folder.attribute.is_empty() || folder.well_known == "inbox" {
            return no("[CANNOT] A system folder stays (Failure)");
        }
        if let Some(mailbox) = store.mailbox_mut(&address) {
            // What can't go was refused above; below a folder there may be nothing that can't.
            if mailbox.delete_path(name).is_err() {
                return no("[CANNOT] A system folder stays (Failure)");
            }
        }
        done("Success")
    }

    async fn list(&mut self, verb: &str, mut words: Words<'_>) -> io::Result<Answer> {
        let parsed = words.astring().zip(words.space()).and_then(|(reference, ())| {
            let pattern = words.pattern()?;
            words.done()?;
            Some(reference + &pattern)
        });
        let Some(pattern) = parsed else { return Ok(bad()) };
        if pattern.is_empty() {
            self.wire.send_line(&format!("* {verb} (\\Noselect) \"/\" \"\"")).await?;
            return Ok(done("Success"));
        }
        let lines = {
            let store = self.door.cloud.state();
            let folders = store.mailbox(self.address()).map(|m| m.folders.as_slice());
            listed(folders.unwrap_or_default(), verb, &pattern)
        };
        for line in lines {
            self.wire.send_line(&line).await?;
        }
        Ok(done("Success"))
    }

    async fn status(&mut self, mut words: Words<'_>) -> io::Result<Answer> {
        let parsed = words.astring().zip(words.space()).and_then(|(name, ())| {
            let items = words.list()?;
            words.done()?;
            Some((name, items))
        });
        let Some((name, items)) = parsed else { return Ok(bad()) };
        let line = {
            let store = self.door.cloud.state();
            let Some(folder) = store.folder(self.address(), &name) else {
                return Ok(no(NONEXISTENT));
            };
            let Some(values) =
                items.iter().map(|i| status_item(folder, i)).collect::<Option<Vec<_>>>()
            else {
                return Ok(bad());
            };
            format!("* STATUS {} ({})", nstring(Some(&name)), values.join(" "))
        };
        self.wire.send_line(&line).await?;
        Ok(done("Success"))
    }

    pub(super) async fn select(
        &mut self,
        mut words: Words<'_>,
        read_only: bool,
    ) -> io::Result<Answer> {
        let Some(name) = words.astring().filter(|_| words.is_empty()) else { return Ok(bad()) };
        let address = self.address().to_owned();
        let opened = {
            let store = self.door.cloud.state();
            store.folder(&address, &name).map(|folder| {
                let unseen = folder.messages.iter().position(|m| !m.flags.contains("\\Seen"));
                let view = View::new(folder, read_only);
                (view, folder.uid_validity, folder.uid_next, unseen)
            })
        };
        // A failed SELECT leaves nothing selected (RFC 3501 section 6.3.1).
        let Some((view, uid_validity, uid_next, unseen)) = opened else {
            self.state = State::In(address);
            return Ok(no(NONEXISTENT));
        };
        let mut text = String::from(
            "* FLAGS (\\Answered \\Flagged \\Draft \\Deleted \\Seen)\r\n\
             * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Draft \\Deleted \\Seen \\*)] Limited\r\n",
        );
        text.push_str(&format!("* {} EXISTS\r\n* 0 RECENT\r\n", view.uids.len()));
        if let Some(index) = unseen {
            text.push_str(&format!("* OK [UNSEEN {}] First unseen\r\n", index + 1));
        }
        text.push_str(&format!("* OK [UIDVALIDITY {uid_validity}] UIDs valid\r\n"));
        text.push_str(&format!("* OK [UIDNEXT {uid_next}] Predicted next UID"));
        self.wire.send_line(&text).await?;
        let name = view.folder.clone();
        self.state = State::Selected(address, view);
        let mode = if read_only { "READ-ONLY" } else { "READ-WRITE" };
        Ok(done(&format!("[{mode}] {name} selected. (Success)")))
    }

    fn append(&mut self, mut words: Words<'_>) -> Answer {
        let Some((name, message)) = appended(&mut words) else { return bad() };
        let address = self.address().to_owned();
        let mut store = self.door.cloud.state();
        let Some(folder) = store.folder_mut(&address, &name) else {
            return no("[TRYCREATE] No folder (Failure)");
        };
        let uid = folder.add(message);
        let text = format!("[APPENDUID {} {uid}] (Success)", folder.uid_validity);
        drop(store);
        self.door.cloud.changed();
        done(&text)
    }
}

/// `mailbox [(flags)] ["date"] literal`.
fn appended(words: &mut Words<'_>) -> Option<(String, StoredMessage)> {
    let name = words.astring()?;
    words.space()?;
    let flags = match words.0.first()? {
        b'(' => {
            let flags = words.list()?;
            words.space()?;
            flags
        }
        _ => Vec::new(),
    };
    let mut received = None;
    if words.0.first() == Some(&b'"') {
        received = Some(date_time(&String::from_utf8(words.string()?).ok()?)?);
        words.space()?;
    }
    let raw = words.string()?;
    words.done()?;
    if raw.is_empty() || flags.iter().any(|flag| flag.eq_ignore_ascii_case("\\Recent")) {
        return None;
    }
    let mut message = StoredMessage::new(raw);
    message.flags = flags.into_iter().collect();
    message.received = received.unwrap_or(message.received);
    Some((name, message))
}

/// ` 3-Feb-2024 04:05:06 +0100`.
fn date_time(text: &str) -> Option<OffsetDateTime> {
    let form = time::macros::format_description!(
        "[day padding:none]-[month repr:short]-[year] [hour]:[minute]:[second] \
         [offset_hour sign:mandatory][offset_minute]"
    );
    OffsetDateTime::parse(text.trim_start(), &form).ok()
}

fn status_item(folder: &Folder, item: &str) -> Option<String> {
    let item = item.to_ascii_uppercase();
    let value = match item.as_str() {
        "MESSAGES" => folder.messages.len(),
        "RECENT" => 0,
        "UNSEEN" => folder.messages.iter().filter(|m| !m.flags.contains("\\Seen")).count(),
        "UIDNEXT" => folder.uid_next as usize,
        "UIDVALIDITY" => folder.uid_validity as usize,
        _ => return None,
    };
    Some(format!("{item} {value}"))
}

fn listed(folders: &[Folder], verb: &str, pattern: &str) -> Vec<String> {
    // Parents that are no folders themselves, such as `[Gmail]`.
    let mut all: Vec<(String, String)> = Vec::new();
    for folder in folders {
        if let Some((parent, _)) = folder.name.rsplit_once('/')
            && !folders.iter().any(|known| known.name == parent)
            && !all.iter().any(|(known, _)| known == parent)
        {
            all.push((parent.to_owned(), "\\HasChildren \\Noselect".to_owned()));
        }
        if verb == "LSUB" && !folder.subscribed {
            continue;
        }
        let prefix = format!("{}/", folder.name);
        let has = folders.iter().any(|known| known.name.starts_with(&prefix));
        let children = if has { "\\HasChildren" } else { "\\HasNoChildren" };
        let attributes = format!("{children} {}", folder.attribute);
        all.push((folder.name.clone(), attributes.trim_end().to_owned()));
    }
    let shown = all.into_iter().filter(|(name, _)| matches(pattern.as_bytes(), name.as_bytes()));
    shown
        .map(|(name, attributes)| format!("* {verb} ({attributes}) \"/\" {}", nstring(Some(&name))))
        .collect()
}

/// `*` is anything, `%` anything but the separator; INBOX in any case.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|skip| matches(rest, &name[skip..])),
        Some((b'%', rest)) => {
            let end = name.iter().position(|&b| b == b'/').unwrap_or(name.len());
            (0..=end).any(|skip| matches(rest, &name[skip..]))
        }
        Some((&first, rest)) => match name.split_first() {
            _ if name == b"INBOX" && pattern.eq_ignore_ascii_case(b"INBOX") => true,
            Some((&byte, name)) => byte == first && matches(rest, name),
            None => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_respect_the_separator() {
        let table = [
            ("*", "[Gmail]/Trash", true),
            ("%", "[Gmail]/Trash", false),
            ("[Gmail]/%", "[Gmail]/Trash", true),
            ("inbox", "INBOX", true),
            ("inb*", "INBOX", false),
            ("a", "b", false),
        ];
        for (pattern, name, want) in table {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), want, "{pattern} {name}");
        }
    }

    #[test]
    fn lists_show_parents_and_special_uses() {
        let lines = listed(&Folder::gmail_set(), "LIST", "*");
        assert!(lines.contains(&"* LIST (\\HasChildren \\Noselect) \"/\" \"[Gmail]\"".to_owned()));
        let sent = "* LIST (\\HasNoChildren \\Sent) \"/\" \"[Gmail]/Sent Mail\"";
        assert!(lines.contains(&sent.to_owned()));
        assert_eq!(listed(&Folder::gmail_set(), "LIST", "%").len(), 2);
    }

    #[test]
    fn append_takes_flags_and_date() {
        let command = b"Drafts (\\Seen x) \" 3-Feb-2024 04:05:06 +0100\" {3}\r\na\r\n";
        let (name, message) = appended(&mut Words(command)).expect("good");
        assert_eq!((name.as_str(), &*message.raw), ("Drafts", &b"a\r\n"[..]));
        assert_eq!(message.received, time::macros::datetime!(2024-02-03 04:05:06 +01:00));
        assert!(message.flags.contains("x") && message.flags.contains("\\Seen"));
        for bad in ["D {0}\r\n", "D (\\Recent) {1}\r\na", "D \"x\" {1}\r\na", "D {1}\r\nab", "D"] {
            assert!(appended(&mut Words(bad.as_bytes())).is_none(), "{bad:?}");
        }
    }
}
