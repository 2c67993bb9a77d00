//! POP3 as Gmail speaks it (RFC 1939, 2449, 5034).
//!
//! Danger: a server that deletes at DELE, or on a dropped connection, loses mail. Rule: message
//! numbers are a snapshot taken at login, sizes are the octets that RETR sends, and deletions
//! happen at QUIT alone.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use super::login::{self, Outcome};
use super::wire::{Wire, with_dots};
use super::{Door, Tls};

struct Session {
    door: Door,
    wire: Wire,
    user: Option<String>,
    drop: Option<Maildrop>,
}

struct Maildrop {
    address: String,
    messages: Vec<Entry>,
    deleted: BTreeSet<usize>,
}

struct Entry {
    uid: u32,
    unique_id: String,
    raw: Arc<[u8]>,
}

pub(super) async fn session(mut wire: Wire, door: Door) -> io::Result<()> {
    wire.send_line("+OK Gpop ready for requests from 127.0.0.1 sandbox").await?;
    let mut session = Session { door, wire, user: None, drop: None };
    loop {
        let line = session.wire.line().await?;
        let line = String::from_utf8(line).unwrap_or_default();
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let verb = verb.to_ascii_uppercase();
        if session.door.cuts_at(&verb) {
            session.wire.reset();
            return Ok(());
        }
        if let Some(text) = session.door.scripted(&verb) {
            session.wire.send_line(text).await?;
            continue;
        }
        if verb == "QUIT" {
            session.quit();
            session.wire.send_line("+OK Farewell.").await?;
            return session.wire.close().await;
        }
        let answer = session.answer(&verb, rest).await?;
        session.wire.send(answer.as_slice()).await?;
        if verb == "STLS" && answer.starts_with(b"+OK") {
            session.wire.start_tls(&session.door.acceptor).await?;
        }
    }
}

fn ok(text: &str) -> Vec<u8> {
    format!("+OK {text}\r\n").into_bytes()
}

fn err(text: &str) -> Vec<u8> {
    format!("-ERR {text}\r\n").into_bytes()
}

impl Session {
    async fn answer(&mut self, verb: &str, rest: &str) -> io::Result<Vec<u8>> {
        let locked = self.door.manner.tls == Tls::Required && !self.wire.is_tls();
        Ok(match (verb, &self.drop) {
            ("CAPA", _) => self.capabilities(),
            ("STLS", None) if locked && !self.wire.has_buffered() => ok("Begin TLS negotiation"),
            ("USER" | "PASS" | "AUTH", None) if locked => err("[AUTH] TLS is required first."),
            ("USER", None) => {
                self.user = Some(rest.to_owned());
                ok("send PASS")
            }
            ("PASS", None) => self.pass(rest),
            ("AUTH", None) => self.auth(rest).await?,
            ("NOOP", Some(_)) => ok(""),
            (_, Some(_)) => self.transaction(verb, rest),
            _ => err("bad command"),
        })
    }

    fn capabilities(&self) -> Vec<u8> {
        let mut lines = vec!["USER", "RESP-CODES", "EXPIRE 0", "LOGIN-DELAY 300", "TOP", "UIDL"];
        if self.drop.is_none() {
            lines.push("SASL XOAUTH2 PLAIN");
        }
        if self.door.manner.tls == Tls::Required && !self.wire.is_tls() {
            lines.push("STLS");
        }
        format!("+OK Capability list follows\r\n{}\r\n.\r\n", lines.join("\r\n")).into_bytes()
    }

    fn pass(&mut self, password: &str) -> Vec<u8> {
        match self.user.take() {
            Some(user) => self.login("USER", &user, password),
            None => err("USER first"),
        }
    }

    fn login(&mut self, how: &'static str, login: &str, password: &str) -> Vec<u8> {
        match login::password(&self.door, how, login, password) {
            Outcome::In(address) => self.open(address),
            Outcome::TokenNeeded => err("[AUTH] Application-specific password required"),
            Outcome::Refused => err("[AUTH] Username and password not accepted."),
        }
    }

    async fn auth(&mut self, rest: &str) -> io::Result<Vec<u8>> {
        let (mechanism, initial) = rest.split_once(' ').unwrap_or((rest, ""));
        let mechanism = mechanism.to_ascii_uppercase();
        if !["XOAUTH2", "PLAIN"].contains(&mechanism.as_str()) {
            return Ok(err("[AUTH] Unknown authentication type"));
        }
        let blob = if initial.is_empty() {
            self.wire.send(b"+ \r\n").await?;
            self.wire.line().await?
        } else {
            initial.as_bytes().to_vec()
        };
        if mechanism == "PLAIN" {
            return Ok(match login::plain(&blob) {
                Some((login, password)) => self.login("PLAIN", &login, &password),
                None => err("[AUTH] Cannot decode response"),
            });
        }
        match login::xoauth2(&self.door, &blob) {
            Ok(address) => Ok(self.open(address)),
            Err(_) if self.door.is_exchange() => {
                Ok(err("Authentication failure: unknown user name or bad password."))
            }
            Err(status) => {
                self.wire.send_line(&format!("+ {}", login::challenge(status))).await?;
                // The refusal comes after the client's empty line, and not before.
                let empty = self.wire.line().await?.is_empty();
                let text = "[AUTH] Username and password not accepted.";
                Ok(err(if empty { text } else { "bad command" }))
            }
        }
    }

    fn open(&mut self, address: String) -> Vec<u8> {
        let state = self.door.cloud.state();
        let folder = state.folder(&address, "INBOX");
        let messages = folder.map(|folder| {
            let entry = |message: &super::super::mailbox::StoredMessage| Entry {
                uid: message.uid,
                unique_id: format!("GmailId{:x}{:08x}", folder.uid_validity, message.uid),
                raw: message.raw.clone(),
            };
            folder.messages.iter().map(entry).collect()
        });
        drop(state);
        let messages = messages.unwrap_or_default();
        self.drop = Some(Maildrop { address, messages, deleted: BTreeSet::new() });
        ok("Welcome.")
    }

    fn transaction(&mut self, verb: &str, rest: &str) -> Vec<u8> {
        let Some(maildrop) = &mut self.drop else { return err("bad command") };
        let mut words = rest.split_ascii_whitespace();
        let first = words.next();
        match (verb, first) {
            ("STAT", None) => {
                let (count, size) = maildrop.total();
                ok(&format!("{count} {size}"))
            }
            ("RSET", None) => {
                maildrop.deleted.clear();
                ok("")
            }
            ("LIST", _) => maildrop.list(first, |entry| entry.raw.len().to_string()),
            ("UIDL", _) => maildrop.list(first, |entry| entry.unique_id.clone()),
            ("RETR", Some(number)) => match maildrop.find(number) {
                Some((_, entry)) => multi("message follows", &with_dots(&entry.raw)),
                None => err("no such message"),
            },
            ("TOP", Some(number)) => {
                let lines = words.next().and_then(|lines| lines.parse().ok());
                match maildrop.find(number).zip(lines) {
                    Some(((_, entry), lines)) => {
                        multi("message follows", &with_dots(top(&entry.raw, lines)))
                    }
                    None => err("no such message"),
                }
            }
            ("DELE", Some(number)) => match maildrop.find(number).map(|(index, _)| index) {
                Some(index) => {
                    maildrop.deleted.insert(index);
                    ok("marked for deletion")
                }
                None => err("no such message"),
            },
            _ => err("bad command"),
        }
    }

    /// UPDATE: the only place where messages go.
    fn quit(&mut self) {
        let Some(maildrop) = self.drop.take().filter(|drop| !drop.deleted.is_empty()) else {
            return;
        };
        let uids: Vec<u32> = maildrop.deleted.iter().map(|&i| maildrop.messages[i].uid).collect();
        if let Some(folder) = self.door.cloud.state().folder_mut(&maildrop.address, "INBOX") {
            folder.remove(&uids);
        }
        self.door.cloud.changed();
    }
}

impl Maildrop {
    fn present(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.messages.iter().enumerate().filter(|(index, _)| !self.deleted.contains(index))
    }

    fn total(&self) -> (usize, usize) {
        self.present().fold((0, 0), |(count, size), (_, e)| (count + 1, size + e.raw.len()))
    }

    fn find(&self, number: &str) -> Option<(usize, &Entry)> {
        let index = number.parse::<usize>().ok()?.checked_sub(1)?;
        self.present().find(|(known, _)| *known == index)
    }

    fn list(&self, one: Option<&str>, show: impl Fn(&Entry) -> String) -> Vec<u8> {
        if let Some(number) = one {
            return match self.find(number) {
                Some((index, entry)) => ok(&format!("{} {}", index + 1, show(entry))),
                None => err("no such message"),
            };
        }
        let (count, size) = self.total();
        let lines = self.present().map(|(i, entry)| format!("{} {}\r\n", i + 1, show(entry)));
        let lines: String = lines.chain([".\r\n".to_owned()]).collect();
        multi(&format!("{count} messages ({size} bytes)"), lines.as_bytes())
    }
}

fn multi(text: &str, lines: &[u8]) -> Vec<u8> {
    [format!("+OK {text}\r\n").as_bytes(), lines].concat()
}

/// The header, its empty line, and so many lines of the body.
fn top(raw: &[u8], lines: usize) -> &[u8] {
    let mut end = super::super::mime::header_length(raw);
    for _ in 0..lines {
        end += raw[end..].iter().position(|&b| b == b'\n').map_or(raw.len() - end, |n| n + 1);
    }
    &raw[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top_counts_lines_of_the_body() {
        let raw = b"A: 1\r\n\r\none\r\ntwo\r\n";
        assert_eq!(top(raw, 0), b"A: 1\r\n\r\n");
        assert_eq!(top(raw, 1), b"A: 1\r\n\r\none\r\n");
        assert_eq!(top(raw, 9), raw);
    }
}
