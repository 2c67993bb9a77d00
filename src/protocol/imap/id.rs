//! Which program a client says it is (RFC 2971).
//!
//! Danger: the list is a stranger's, with strings of any length. Rule: only a whole command is
//! read, two of its values are taken, and whoever shows them cuts and cleans them.

/// Name and version in an ID command; `None` for any other command, a part of one, or a client that
/// does not say.
///
/// `id = "ID" SP ("(" string SP nstring *(SP string SP nstring) ")" / nil)`.
pub fn program(command: &[u8]) -> Option<String> {
    let after_tag = &command[memchr::memchr(b' ', command)? + 1..];
    let (verb, list) = after_tag.split_at_checked(3)?;
    if !verb.eq_ignore_ascii_case(b"ID ") {
        return None;
    }
    let mut rest = list.trim_ascii_start().strip_prefix(b"(")?;
    let (mut name, mut version) = (None, None);
    loop {
        rest = rest.trim_ascii_start();
        if rest.starts_with(b")") {
            break;
        }
        let (key, after_key) = value_of(rest)?;
        let (value, after_value) = value_of(after_key.trim_ascii_start())?;
        rest = after_value;
        match key?.to_ascii_lowercase().as_slice() {
            b"name" => name = value,
            b"version" => version = value,
            _ => {}
        }
    }
    let text = |value: Vec<u8>| String::from_utf8_lossy(&value).trim().to_owned();
    let name = name.map(text).filter(|name| !name.is_empty())?;
    match version.map(text).filter(|version| !version.is_empty()) {
        Some(version) => Some(format!("{name} {version}")),
        None => Some(name),
    }
}

/// An `nstring` (`None`: NIL) and what follows it.
fn value_of(input: &[u8]) -> Option<(Option<Vec<u8>>, &[u8])> {
    match input.first()? {
        b'"' => quoted(&input[1..]).map(|(value, rest)| (Some(value), rest)),
        b'{' => literal(&input[1..]).map(|(value, rest)| (Some(value.to_vec()), rest)),
        _ => {
            let (word, rest) = input.split_at_checked(3)?;
            word.eq_ignore_ascii_case(b"NIL").then_some((None, rest))
        }
    }
}

fn quoted(input: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (mut value, mut octets) = (Vec::new(), input.iter().enumerate());
    while let Some((at, octet)) = octets.next() {
        match octet {
            b'"' => return Some((value, &input[at + 1..])),
            b'\\' => value.push(*octets.next()?.1),
            octet => value.push(*octet),
        }
    }
    None
}

fn literal(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'}', input)?;
    let digits = input[..end].strip_suffix(b"+").unwrap_or(&input[..end]);
    let octets: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    input[end + 1..].strip_prefix(b"\r\n")?.split_at_checked(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_version_are_found_in_every_form() {
        let table = [
            (
                "a ID (\"name\" \"Thunderbird\" \"version\" \"140.0\")\r\n",
                Some("Thunderbird 140.0"),
            ),
            ("a id (\"VERSION\" \"7\" \"os\" NIL \"Name\" \"ERP\")\r\n", Some("ERP 7")),
            ("a ID (\"name\" \"x\" \"version\" NIL)\r\n", Some("x")),
            ("a ID (\"name\" {3}\r\na)c \"vendor\" \"v\")\r\n", Some("a)c")),
            ("a ID (\"name\" {1+}\r\n\" \"version\" \"\")\r\n", Some("\"")),
            ("a ID (\"name\" \"a \\\"b\\\\\")\r\n", Some("a \"b\\")),
            ("a ID  ( \"name\"  \"x\" )\r\n", Some("x")),
            ("a ID (\"version\" \"1\")\r\n", None),
            ("a ID (\"name\" \"  \")\r\n", None),
            ("a ID NIL\r\n", None),
            ("a ID ()\r\n", None),
            ("a NOOP\r\n", None),
            ("a IDLE\r\n", None),
            ("a", None),
            ("", None),
            ("a ID (\"name\" {99999999999999999999}\r\nx)\r\n", None),
            ("a ID (NIL \"x\")\r\n", None),
            ("a ID (name x)\r\n", None),
        ];
        for (command, expected) in table {
            assert_eq!(program(command.as_bytes()).as_deref(), expected, "{command:?}");
        }
    }

    #[test]
    fn a_part_of_a_command_says_nothing() {
        let command = b"a ID (\"name\" {3}\r\nabc \"version\" \"1\\\"\")\r\n";
        for end in 0..command.len() - 2 {
            assert_eq!(program(&command[..end]), None, "{end}");
        }
        assert_eq!(program(command).as_deref(), Some("abc 1\""));
    }
}
