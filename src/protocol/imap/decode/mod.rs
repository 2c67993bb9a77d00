//! Commands after login.
//!
//! Danger: a client that is logged in may still be broken or hostile: lists without end, brackets
//! within brackets, sets of millions. Rule: [`scan_request`] bounds a command before it is read;
//! [`parse_request`] reads all of it or says why not, and its recursion and counts have limits.
//!
//! `scan` finds a command's end, `words` reads its words, the others each a family of commands.

mod append;
mod date;
mod fetch;
mod flags;
mod folders;
mod name;
mod scan;
mod search;
#[cfg(test)]
mod tests;
mod words;

use super::command::{Malformed, is_tag, without_line_end};
use super::request::{Request, Verb};
use words::{Read, Words, is_atom_char};

pub use append::{Announcement, announced_message};
pub use scan::{RequestProgress, RequestScan, scan_request};

/// Reads a complete command, or an APPEND up to its message. `utf8`: names are UTF-8, not modified
/// UTF-7 (RFC 9755, RFC 9051). More or trailing spaces are forgiven.
pub fn parse_request(command: &[u8], utf8: bool) -> Result<Request, Malformed> {
    let mut words = Words::new(without_line_end(command), utf8);
    let tag = words.word();
    if !is_tag(tag) {
        return Err(Malformed { tag: None, why: "a command starts with a tag" });
    }
    let tag = String::from_utf8_lossy(tag).into_owned();
    let name = String::from_utf8_lossy(words.word()).to_ascii_uppercase();
    match verb(&name, &mut words) {
        Ok(verb) => Ok(Request { tag, verb }),
        Err(why) => Err(Malformed { tag: Some(tag), why }),
    }
}

fn verb(name: &str, words: &mut Words<'_>) -> Read<Verb> {
    let verb = match name {
        "" => return Err("a command follows the tag"),
        name if !name.bytes().all(is_atom_char) => return Err("a command is a word"),
        // What follows may hold a password: it is not looked at.
        "LOGIN" | "AUTHENTICATE" | "STARTTLS" => return Ok(Verb::BeforeLogin),
        "CAPABILITY" => Verb::Capability,
        "NOOP" => Verb::Noop,
        "LOGOUT" => Verb::Logout,
        "NAMESPACE" => Verb::Namespace,
        "IDLE" => Verb::Idle,
        "CHECK" => Verb::Check,
        "CLOSE" => Verb::Close,
        "UNSELECT" => Verb::Unselect,
        "EXPUNGE" => Verb::Expunge(None),
        _ => match with_arguments(name, words)? {
            Some(verb) => verb,
            None => return Ok(Verb::Unknown(name.to_owned())),
        },
    };
    words.end()?;
    Ok(verb)
}

/// `None` when it is no command that we know.
fn with_arguments(name: &str, words: &mut Words<'_>) -> Read<Option<Verb>> {
    let verb = match name {
        "ID" => id(words)?,
        "ENABLE" => enable(words)?,
        "UID" => uid(words)?,
        "SELECT" => folders::select(words, false)?,
        "EXAMINE" => folders::select(words, true)?,
        "CREATE" => folders::create(words)?,
        "DELETE" => Verb::Delete(folders::only(words)?),
        "RENAME" => folders::rename(words)?,
        "SUBSCRIBE" => Verb::Subscribe(folders::only(words)?),
        "UNSUBSCRIBE" => Verb::Unsubscribe(folders::only(words)?),
        "LIST" => folders::list(words)?,
        "LSUB" => folders::lsub(words)?,
        "STATUS" => folders::status(words)?,
        "APPEND" => append::append(words)?,
        _ => return on_messages(name, words, false),
    };
    Ok(Some(verb))
}

/// Commands that UID may stand before.
fn on_messages(name: &str, words: &mut Words<'_>, uid: bool) -> Read<Option<Verb>> {
    let verb = match name {
        "SEARCH" => search::search(words, uid)?,
        "SORT" => search::sort(words, uid)?,
        "THREAD" => search::thread(words, uid)?,
        "FETCH" => fetch::fetch(words, uid)?,
        "STORE" => fetch::store(words, uid)?,
        "COPY" => Verb::Copy(fetch::transfer(words, uid)?),
        "MOVE" => Verb::Move(fetch::transfer(words, uid)?),
        _ => return Ok(None),
    };
    Ok(Some(verb))
}

/// `uid = "UID" SP (copy / move / fetch / search / store / uid-expunge / sort / thread)`.
fn uid(words: &mut Words<'_>) -> Read<Verb> {
    const UNKNOWN: &str = "UID goes with FETCH, STORE, SEARCH, SORT, THREAD, COPY, MOVE, EXPUNGE";
    words.space()?;
    let name = words.name()?;
    if name == "EXPUNGE" {
        words.space()?;
        return words.set().map(|set| Verb::Expunge(Some(set)));
    }
    on_messages(&name, words, true)?.ok_or(UNKNOWN)
}

/// `enable = "ENABLE" 1*(SP capability)` (RFC 5161).
fn enable(words: &mut Words<'_>) -> Read<Verb> {
    let mut capabilities = Vec::new();
    while words.another()? {
        capabilities.push(words.atom()?.to_ascii_uppercase());
    }
    match capabilities.is_empty() {
        true => Err("ENABLE names at least one capability"),
        false => Ok(Verb::Enable(capabilities)),
    }
}

/// `id = "ID" SP id-params-list` (RFC 2971), whose values are of no use to us.
fn id(words: &mut Words<'_>) -> Read<Verb> {
    if words.another()? && !words.eat_name("NIL") {
        words.list(|words| match words.eat_name("NIL") {
            true => Ok(()),
            false => words.string().map(drop),
        })?;
    }
    Ok(Verb::Id)
}
