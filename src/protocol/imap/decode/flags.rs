//! Flags in commands.
//!
//! Danger: a flag that is no atom would break every answer that lists it. Rule: flags are atoms, with
//! or without a backslash; `\Recent` is the server's own and refused (RFC 3501 section 2.3.2).

use super::words::{Read, Words};

/// Flags in one command. A message has a handful; the list is compared with each message's.
const MAX_FLAGS: usize = 200;

/// `flag = "\Answered" / … / flag-keyword / flag-extension`, as written.
fn flag(words: &mut Words<'_>) -> Read<String> {
    let system = words.eat(b'\\');
    let name = words.atom().map_err(|_| "a flag is expected")?;
    match system {
        true if name.eq_ignore_ascii_case("Recent") => Err("\\Recent can't be set"),
        true => Ok(format!("\\{name}")),
        false => Ok(name),
    }
}

/// `flag-list = "(" [flag *(SP flag)] ")"`.
pub(super) fn flag_list(words: &mut Words<'_>) -> Read<Vec<String>> {
    bounded(words.list(flag)?)
}

/// `flag-list / (flag *(SP flag))`: the end of a STORE.
pub(super) fn flags_to_end(words: &mut Words<'_>) -> Read<Vec<String>> {
    if words.peek() == Some(b'(') {
        return flag_list(words);
    }
    let mut flags = vec![flag(words)?];
    while words.another()? {
        flags.push(flag(words)?);
    }
    bounded(flags)
}

fn bounded(flags: Vec<String>) -> Read<Vec<String>> {
    if flags.len() > MAX_FLAGS { Err("too many flags") } else { Ok(flags) }
}
