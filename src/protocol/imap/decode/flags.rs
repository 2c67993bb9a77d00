//! Flags in commands.

use super::words::{Read, Words};

/// `flag = "\Answered" / … / flag-keyword / flag-extension`, as written.
pub(super) fn flag(words: &mut Words<'_>) -> Read<String> {
    let system = words.eat(b'\\');
    let name = words.atom().map_err(|_| "a flag is expected")?;
    match system {
        true if name.eq_ignore_ascii_case("Recent") => Err("\\Recent can't be set"),
        true => Ok(format!("\\{name}")),
        false => Ok(name),
    }
}

/// `flag-list / (flag *(SP flag))`: the end of a STORE.
pub(super) fn flags_to_end(words: &mut Words<'_>) -> Read<Vec<String>> {
    if words.peek() == Some(b'(') {
        return words.list(flag);
    }
    let mut flags = vec![flag(words)?];
    while words.another()? {
        flags.push(flag(words)?);
    }
    Ok(flags)
}
