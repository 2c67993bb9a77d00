//! Commands before login.
//!
//! Danger and rule: see the module above.

use crate::secret::Secret;

/// The line at the start of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// More octets are needed.
    Partial,
    /// It takes this many octets, its end included.
    Complete(usize),
    /// It exceeds the limit.
    TooLong,
}

/// Finds the end of the line at the start of `input`: LF, with or without CR.
pub fn scan(input: &[u8], limit: usize) -> Line {
    match memchr::memchr(b'\n', input) {
        Some(at) if at < limit => Line::Complete(at + 1),
        None if input.len() <= limit => Line::Partial,
        _ => Line::TooLong,
    }
}

/// Whether the next line is `CAPA` and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsksCapa {
    /// It may become one.
    Undecided,
    /// It is something else.
    No,
    /// It is, and takes this many octets.
    Yes(usize),
}

/// Looks at what a client sends right after its login.
pub fn asks_capa(input: &[u8]) -> AsksCapa {
    let starts = |whole: &[u8]| {
        input.len() >= whole.len() && input[..whole.len()].eq_ignore_ascii_case(whole)
    };
    let whole = b"CAPA\r\n";
    match input.len() {
        _ if starts(whole) => AsksCapa::Yes(whole.len()),
        _ if starts(b"CAPA\n") => AsksCapa::Yes(5),
        octets if octets < whole.len() && input.eq_ignore_ascii_case(&whole[..octets]) => {
            AsksCapa::Undecided
        }
        _ => AsksCapa::No,
    }
}

/// What a client asks for before login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// RFC 2449 section 5.
    Capa,
    /// RFC 1939 section 5; before login too, for monitors use it.
    Noop,
    /// RFC 1939 section 5.
    Quit,
    /// RFC 2595 section 4.
    Stls,
    /// RFC 1939 section 7.
    User(String),
    /// RFC 1939 section 7: the rest of the line, verbatim.
    Pass(Secret),
    /// RFC 5034; without mechanism it asks for a list (draft of RFC 1734, used by Outlook).
    Auth {
        /// The mechanism in upper case.
        mechanism: Option<String>,
        /// The initial response in base64, `=` for an empty one.
        initial: Option<Secret>,
    },
    /// Anything else, in upper case.
    Other(String),
}

/// Why a line can't be read; answered with `-ERR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// Reads a complete line: `keyword [SP arguments] CRLF`.
pub fn parse(line: &[u8]) -> Result<Command, Malformed> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = std::str::from_utf8(line).map_err(|_| Malformed("UTF-8 expected"))?;
    if line.contains('\0') {
        return Err(Malformed("NUL is not allowed"));
    }
    let (keyword, rest) = line.split_once(' ').unwrap_or((line, ""));
    match keyword.to_ascii_uppercase().as_str() {
        "CAPA" => alone(rest, Command::Capa),
        "NOOP" => alone(rest, Command::Noop),
        "QUIT" => alone(rest, Command::Quit),
        "STLS" => alone(rest, Command::Stls),
        "USER" if rest.trim().is_empty() => Err(Malformed("USER needs a login")),
        "USER" => Ok(Command::User(rest.trim().to_owned())),
        "PASS" => Ok(Command::Pass(Secret::new(rest))),
        "AUTH" => auth(rest),
        other => Ok(Command::Other(other.to_owned())),
    }
}

fn alone(rest: &str, command: Command) -> Result<Command, Malformed> {
    match rest.trim().is_empty() {
        true => Ok(command),
        false => Err(Malformed("too many arguments")),
    }
}

fn auth(rest: &str) -> Result<Command, Malformed> {
    let mut words = rest.split_ascii_whitespace();
    let mechanism = words.next().map(str::to_ascii_uppercase);
    let initial = words.next().map(Secret::new);
    match words.next() {
        None => Ok(Command::Auth { mechanism, initial }),
        Some(_) => Err(Malformed("too many arguments")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth_command(mechanism: Option<&str>, initial: Option<&str>) -> Command {
        Command::Auth { mechanism: mechanism.map(str::to_owned), initial: initial.map(Secret::new) }
    }

    #[test]
    fn reads_commands() {
        for (input, command) in [
            ("CAPA\r\n", Command::Capa),
            ("capa \n", Command::Capa),
            ("NOOP\r\n", Command::Noop),
            ("QUIT\r\n", Command::Quit),
            ("STLS\r\n", Command::Stls),
            ("USER  mrose \r\n", Command::User("mrose".to_owned())),
            ("USER a b\r\n", Command::User("a b".to_owned())),
            ("PASS tanstaaf\r\n", Command::Pass(Secret::new("tanstaaf"))),
            ("pass  two words \r\n", Command::Pass(Secret::new(" two words "))),
            ("PASS\r\n", Command::Pass(Secret::new(""))),
            ("AUTH\r\n", auth_command(None, None)),
            ("AUTH plain\r\n", auth_command(Some("PLAIN"), None)),
            ("AUTH PLAIN dGVzdA==\r\n", auth_command(Some("PLAIN"), Some("dGVzdA=="))),
            ("AUTH LOGIN =\r\n", auth_command(Some("LOGIN"), Some("="))),
            ("APOP mrose c4c9334bac560ecc979e58001b3e22fb\r\n", Command::Other("APOP".to_owned())),
            ("\r\n", Command::Other(String::new())),
        ] {
            assert_eq!(scan(input.as_bytes(), 100), Line::Complete(input.len()));
            assert_eq!(parse(input.as_bytes()), Ok(command), "{input:?}");
        }
    }

    #[test]
    fn capa_is_recognised_at_every_split_and_nothing_else_is() {
        let input = b"capa\r\nSTAT\r\n";
        for end in 0..input.len() {
            let expected = if end < 6 { AsksCapa::Undecided } else { AsksCapa::Yes(6) };
            assert_eq!(asks_capa(&input[..end]), expected, "{end}");
        }
        assert_eq!(asks_capa(b"CAPA\nSTAT"), AsksCapa::Yes(5));
        for other in ["STAT", "CAPA ", "CAPAX", "CAPA\rX", "\r\n", "CS"] {
            assert_eq!(asks_capa(other.as_bytes()), AsksCapa::No, "{other:?}");
        }
    }

    #[test]
    fn refuses_what_it_can_not_read() {
        for input in ["USER\r\n", "USER  \r\n", "QUIT now\r\n", "AUTH PLAIN a b\r\n", "PASS \0\r\n"]
        {
            assert!(parse(input.as_bytes()).is_err(), "{input:?}");
        }
        assert!(parse(b"PASS \xff\r\n").is_err());
    }

    #[test]
    fn lines_end_within_the_limit_at_every_split() {
        let input = b"PASS a b\r\nRETR 1\r\n";
        for end in 0..input.len() {
            let expected = if end < 10 { Line::Partial } else { Line::Complete(10) };
            assert_eq!(scan(&input[..end], 12), expected, "{end}");
        }
        assert_eq!(scan(&[b'x'; 13], 12), Line::TooLong);
        assert_eq!(scan(b"xxxxxxxxxxxxx\n", 12), Line::TooLong);
        assert_eq!(scan(&[b'x'; 12], 12), Line::Partial);
    }
}
