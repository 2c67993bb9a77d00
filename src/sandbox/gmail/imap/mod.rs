//! IMAP4rev1 as Gmail speaks it, as far as it is needed: small, sound, and honest about the rest.
//!
//! Danger: a server that renumbers messages in the middle of a command, or offers an extension that
//! it lacks, breaks clients in ways that look like the proxy's fault. Rule: each session has its own
//! numbering ([`View`]), expunges are told only where RFC 3501 section 7.4.1 allows, and only what
//! works is in CAPABILITY.

mod command;
mod fetch;
mod folders;
mod messages;
mod search;
mod structure;

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use self::command::Words;
use super::login::{self, Outcome};
use super::wire::Wire;
use super::{Door, Tls};

/// Before login.
const CAPABILITY: &str = "IMAP4rev1 UNSELECT IDLE NAMESPACE ID CHILDREN SASL-IR LITERAL- \
    AUTH=XOAUTH2 AUTH=PLAIN";
/// Before TLS, where TLS is required.
const CAPABILITY_LOCKED: &str = "IMAP4rev1 STARTTLS LOGINDISABLED ID LITERAL-";
/// After login.
const CAPABILITY_IN: &str = "IMAP4rev1 UNSELECT IDLE NAMESPACE ID CHILDREN LITERAL- UIDPLUS MOVE \
    SPECIAL-USE";

/// How far a session has come.
enum State {
    Greeted,
    In(String),
    Selected(String, View),
    /// Exchange's: logged in, and the mailbox is not opened.
    Unconnected,
    Out,
}

/// A selected folder as this session numbers it.
struct View {
    folder: String,
    read_only: bool,
    /// UIDs by sequence number.
    uids: Vec<u32>,
    /// Flags as last told.
    told: BTreeMap<u32, BTreeSet<String>>,
}

struct Session {
    door: Door,
    wire: Wire,
    state: State,
}

/// The end of an answer: `OK`, `NO` or `BAD` and the text.
type Answer = Result<String, String>;

fn bad() -> Answer {
    Err("BAD Could not parse command".into())
}

fn no(text: &str) -> Answer {
    Err(format!("NO {text}"))
}

fn done(text: &str) -> Answer {
    Ok(format!("OK {text}"))
}

pub(super) async fn session(mut wire: Wire, door: Door) -> io::Result<()> {
    wire.send_line("* OK Gimap ready for requests from 127.0.0.1 sandbox").await?;
    let mut session = Session { door, wire, state: State::Greeted };
    loop {
        let Some(bytes) = command::read(&mut session.wire).await? else {
            session.wire.send_line("* BYE Literal too large").await?;
            return session.wire.close().await;
        };
        let mut words = Words(&bytes);
        let (Some(tag), Some(()), Some(verb)) = (words.atom(), words.space(), words.atom()) else {
            session.wire.send_line("* BAD Invalid tag or command").await?;
            continue;
        };
        let verb = verb.to_ascii_uppercase();
        if session.door.cuts_at(&verb) {
            session.wire.reset();
            return Ok(());
        }
        if let State::Unconnected = session.state {
            let refusal = format!("{tag} BAD User is authenticated but not connected.");
            session.wire.send_line(&refusal).await?;
            session.wire.send_line("* BYE Connection closed. 14").await?;
            return session.wire.close().await;
        }
        if let Some(text) = session.door.scripted(&verb) {
            session.wire.send_line(&format!("{tag} {text}")).await?;
            continue;
        }
        let answer = session.run(&verb, words).await?;
        let text = answer.unwrap_or_else(|refusal| refusal);
        session.wire.send_line(&format!("{tag} {text}")).await?;
        if verb == "STARTTLS" && text.starts_with("OK") {
            session.wire.start_tls(&session.door.acceptor).await?;
        }
        if matches!(session.state, State::Out) {
            return session.wire.close().await;
        }
    }
}

impl Session {
    /// The commands of every state, then those of the session's own.
    async fn run(&mut self, verb: &str, mut words: Words<'_>) -> io::Result<Answer> {
        let bare = words.is_empty();
        match verb {
            "CAPABILITY" if bare => {
                let list = self.capability();
                self.wire.send_line(&format!("* CAPABILITY {list}")).await?;
                Ok(done("Thats all she wrote!"))
            }
            "NOOP" if bare => {
                self.sync(true).await?;
                Ok(done("Success"))
            }
            "LOGOUT" if bare => {
                self.wire.send_line("* BYE LOGOUT Requested").await?;
                self.state = State::Out;
                Ok(done("73 good day (Success)"))
            }
            "ID" if words.space().is_some() => {
                self.wire.send_line("* ID (\"name\" \"Gimap\" \"vendor\" \"sandbox\")").await?;
                Ok(done("Success"))
            }
            _ => match &self.state {
                State::Greeted => self.greeted(verb, words).await,
                State::In(_) => self.authenticated(verb, words).await,
                State::Selected(..) => self.selected(verb, words).await,
                State::Unconnected | State::Out => Ok(bad()),
            },
        }
    }

    fn locked(&self) -> bool {
        self.door.manner.tls == Tls::Required && !self.wire.is_tls()
    }

    fn capability(&self) -> &'static str {
        match self.state {
            State::Greeted if self.locked() => CAPABILITY_LOCKED,
            State::Greeted => CAPABILITY,
            _ => CAPABILITY_IN,
        }
    }

    async fn greeted(&mut self, verb: &str, mut words: Words<'_>) -> io::Result<Answer> {
        Ok(match verb {
            "STARTTLS" if self.locked() && words.is_empty() => {
                if self.wire.has_buffered() {
                    bad()
                } else {
                    done("Begin TLS negotiation now")
                }
            }
            "LOGIN" | "AUTHENTICATE" if self.locked() => {
                no("[PRIVACYREQUIRED] TLS is required first")
            }
            "LOGIN" => match credentials(&mut words) {
                Some((login, password)) => self.password("LOGIN", &login, &password),
                None => bad(),
            },
            "AUTHENTICATE" => self.authenticate(words).await?,
            _ => Err(format!("BAD Unknown command {verb}, or not before login")),
        })
    }

    fn password(&mut self, how: &'static str, login: &str, password: &str) -> Answer {
        match login::password(&self.door, how, login, password) {
            Outcome::In(address) => self.enter(address),
            Outcome::TokenNeeded => no("[ALERT] Application-specific password required (Failure)"),
            Outcome::Refused => no("[AUTHENTICATIONFAILED] Invalid credentials (Failure)"),
        }
    }

    fn enter(&mut self, address: String) -> Answer {
        let text = format!("[CAPABILITY {CAPABILITY_IN}] {address} authenticated (Success)");
        self.state = State::In(address);
        done(&text)
    }

    async fn authenticate(&mut self, mut words: Words<'_>) -> io::Result<Answer> {
        let Some(mechanism) = words.space().and_then(|()| words.atom()) else { return Ok(bad()) };
        let mechanism = mechanism.to_ascii_uppercase();
        if !["XOAUTH2", "PLAIN"].contains(&mechanism.as_str()) {
            return Ok(no("Unsupported authentication mechanism"));
        }
        let blob = if words.is_empty() {
            self.wire.send(b"+ \r\n").await?;
            self.wire.line().await?
        } else {
            let initial = words.space().and_then(|()| words.atom()).filter(|_| words.is_empty());
            let Some(initial) = initial else { return Ok(bad()) };
            if initial == "=" { Vec::new() } else { initial.as_bytes().to_vec() }
        };
        if blob == b"*" {
            return Ok(Err("BAD Authentication cancelled".into()));
        }
        if mechanism == "PLAIN" {
            return Ok(match login::plain(&blob) {
                Some((login, password)) => self.password("PLAIN", &login, &password),
                None => no("[AUTHENTICATIONFAILED] Invalid SASL argument"),
            });
        }
        match login::xoauth2(&self.door, &blob) {
            Ok(address) => Ok(self.enter(address)),
            Err(login::NOT_CONNECTED) => {
                self.state = State::Unconnected;
                Ok(done("AUTHENTICATE completed."))
            }
            Err(_) if self.door.is_exchange() => Ok(no("AUTHENTICATE failed.")),
            Err(status) => {
                self.wire.send_line(&format!("+ {}", login::challenge(status))).await?;
                // The refusal comes after the client's empty line, and not before.
                if !self.wire.line().await?.is_empty() {
                    return Ok(Err("BAD Invalid SASL argument".into()));
                }
                Ok(no("[AUTHENTICATIONFAILED] Invalid credentials (Failure)"))
            }
        }
    }

    fn address(&self) -> &str {
        match &self.state {
            State::In(address) | State::Selected(address, _) => address,
            State::Greeted | State::Unconnected | State::Out => "",
        }
    }

    /// Tells what changed since the last word about the selected folder.
    async fn sync(&mut self, expunges: bool) -> io::Result<()> {
        let State::Selected(address, view) = &mut self.state else { return Ok(()) };
        let lines = {
            let store = self.door.cloud.state();
            match store.folder(address, &view.folder) {
                Some(folder) => view.update(folder, expunges),
                None => Vec::new(),
            }
        };
        for line in lines {
            self.wire.send_line(&line).await?;
        }
        Ok(())
    }

    /// Waits for changes until the client says DONE (RFC 2177).
    async fn idle(&mut self) -> io::Result<Answer> {
        let mut changes = self.door.cloud.watch();
        self.wire.send_line("+ idling").await?;
        self.sync(true).await?;
        // A read given up for a change loses nothing: fill() adds to the buffer only when done.
        while !self.wire.has_buffered() {
            let changed = tokio::select! {
                filled = self.wire.fill() => { filled?; false }
                changed = changes.changed() => changed.is_ok(),
            };
            if changed {
                self.sync(true).await?;
            }
        }
        let line = self.wire.line().await?;
        let ends = line.eq_ignore_ascii_case(b"DONE");
        Ok(if ends { done("IDLE terminated (Success)") } else { bad() })
    }
}

/// `login password`, two astrings.
fn credentials(words: &mut Words<'_>) -> Option<(String, String)> {
    words.space()?;
    let login = words.astring()?;
    words.space()?;
    let password = words.astring()?;
    words.done()?;
    Some((login, password))
}

impl View {
    fn new(folder: &super::super::mailbox::Folder, read_only: bool) -> Self {
        Self {
            folder: folder.name.clone(),
            read_only,
            uids: folder.messages.iter().map(|message| message.uid).collect(),
            told: folder.messages.iter().map(|m| (m.uid, m.flags.clone())).collect(),
        }
    }

    fn number(&self, uid: u32) -> Option<usize> {
        self.uids.iter().position(|&known| known == uid).map(|index| index + 1)
    }

    /// Takes over what changed, and says so.
    fn update(&mut self, folder: &super::super::mailbox::Folder, expunges: bool) -> Vec<String> {
        let mut lines = Vec::new();
        if expunges {
            for index in (0..self.uids.len()).rev() {
                if folder.message(self.uids[index]).is_none() {
                    self.told.remove(&self.uids.remove(index));
                    lines.push(format!("* {} EXPUNGE", index + 1));
                }
            }
        }
        let last = self.uids.last().copied().unwrap_or(0);
        let before = self.uids.len();
        for message in folder.messages.iter().filter(|message| message.uid > last) {
            self.uids.push(message.uid);
            self.told.insert(message.uid, message.flags.clone());
        }
        if self.uids.len() > before {
            lines.push(format!("* {} EXISTS", self.uids.len()));
        }
        for message in &folder.messages {
            let (Some(number), Some(told)) =
                (self.number(message.uid), self.told.get_mut(&message.uid))
            else {
                continue;
            };
            if *told != message.flags {
                told.clone_from(&message.flags);
                let flags = fetch::flags(message);
                lines.push(format!("* {number} FETCH (UID {} FLAGS ({flags}))", message.uid));
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::mailbox::{Folder, StoredMessage};
    use super::*;

    #[test]
    fn a_view_keeps_its_numbers_until_it_may_tell() {
        let mut folder = Folder::new("INBOX", "inbox", "");
        for _ in 0..3 {
            folder.add(StoredMessage::new(Vec::new()));
        }
        let mut view = View::new(&folder, false);
        folder.remove(&[1, 2]);
        folder.add(StoredMessage::new(Vec::new()));
        assert_eq!(view.update(&folder, false), ["* 4 EXISTS"]);
        assert_eq!(view.number(3), Some(3));
        assert_eq!(view.update(&folder, true), ["* 2 EXPUNGE", "* 1 EXPUNGE"]);
        assert_eq!(view.uids, [3, 4]);
        folder.message_mut(4).expect("a message").flags.insert("\\Seen".into());
        assert_eq!(view.update(&folder, true), ["* 2 FETCH (UID 4 FLAGS (\\Seen))"]);
        assert!(view.update(&folder, true).is_empty());
    }
}
