//! Commands before login.
//!
//! Danger: a command may hold literals, so its end is not the end of its line; a client waits for
//! our `+` before a synchronising literal, and must not wait for ever. Rule: [`scan`] counts the
//! literals that need a `+`; only LOGIN and ID get one, so that no other command is kept open.

use crate::protocol::sasl::Credentials;
use crate::secret::Secret;

/// How much a command before login may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Octets of the whole command, literals included.
    pub command: usize,
    /// Octets of one literal.
    pub literal: usize,
}

/// How far the command at the start of the input has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Synchronising literals seen so far: the client is owed that many `+` in all.
    pub continuations: usize,
    /// Whether the command is complete.
    pub progress: Progress,
}

/// See [`Scan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More octets are needed.
    Partial,
    /// The command takes this many octets, its last line end included.
    Complete(usize),
    /// It exceeds the limits, and where it ends can't be known.
    TooLong,
}

/// Finds the end of the command at the start of `input`.
///
/// A line ends at LF, with or without CR: nothing but our own answer depends on it here.
pub fn scan(input: &[u8], limits: Limits) -> Scan {
    let mut continuations = 0;
    let mut from = 0;
    let progress = loop {
        let Some(line_end) = memchr::memchr(b'\n', &input[from..]).map(|at| from + at + 1) else {
            break partial(input.len(), limits);
        };
        if line_end > limits.command {
            break Progress::TooLong;
        }
        let Some(literal) = literal_at_end(&input[from..line_end]) else {
            break Progress::Complete(line_end);
        };
        let fits = literal.octets <= limits.literal && line_end + literal.octets <= limits.command;
        match literal.synchronising {
            // Not answered with `+`, so the client sends nothing more of it.
            true if !fits || !may_hold_literals(&input[..line_end]) => {
                break Progress::Complete(line_end);
            }
            true => continuations += 1,
            false if !fits => break Progress::TooLong,
            false => {}
        }
        from = line_end + literal.octets;
        if from > input.len() {
            break Progress::Partial;
        }
    };
    Scan { continuations, progress }
}

fn partial(length: usize, limits: Limits) -> Progress {
    if length > limits.command { Progress::TooLong } else { Progress::Partial }
}

/// `literal = "{" number ["+"] "}" CRLF *CHAR8` (RFC 3501 section 9, RFC 7888).
#[derive(Clone, Copy)]
pub(super) struct Literal {
    pub octets: usize,
    pub synchronising: bool,
}

/// The literal that a line announces at its end; a `{` must follow a space or parenthesis, for
/// otherwise it belongs to an atom.
fn literal_at_end(line: &[u8]) -> Option<Literal> {
    let text = without_line_end(line);
    let open = memchr::memrchr(b'{', text)?;
    if !matches!(text.get(open.checked_sub(1)?)?, b' ' | b'(') {
        return None;
    }
    announcement(&text[open..])
}

/// Reads `{number}` or `{number+}`, and nothing else.
pub(super) fn announcement(text: &[u8]) -> Option<Literal> {
    let inner = text.strip_prefix(b"{")?.strip_suffix(b"}")?;
    let (digits, synchronising) = match inner.strip_suffix(b"+") {
        Some(digits) => (digits, false),
        None => (inner, true),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // A number too large for us is a literal too large for the limits.
    let octets = std::str::from_utf8(digits).ok()?.parse().unwrap_or(usize::MAX >> 1);
    Some(Literal { octets, synchronising })
}

fn may_hold_literals(command: &[u8]) -> bool {
    let mut words = command.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    words
        .nth(1)
        .is_some_and(|verb| verb.eq_ignore_ascii_case(b"LOGIN") || verb.eq_ignore_ascii_case(b"ID"))
}

pub(super) fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Whether the next command is `tag CAPABILITY` and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AsksCapability {
    /// It may become one.
    Undecided,
    /// It is something else.
    No,
    /// It is, and takes this many octets.
    Yes {
        /// Its tag.
        tag: String,
        /// Its length with the line end.
        octets: usize,
    },
}

/// Longest tag that is waited for; clients use about eight octets.
const MAX_TAG: usize = 64;

/// Looks at what a client sends right after its login.
pub fn asks_capability(input: &[u8]) -> AsksCapability {
    let line_end = memchr::memchr(b'\n', input).map(|at| at + 1);
    let line = &input[..line_end.unwrap_or(input.len())];
    let Some(space) = memchr::memchr(b' ', line) else {
        let may_be_tag = input.is_empty() || (is_tag(line) && line.len() <= MAX_TAG);
        return if may_be_tag { AsksCapability::Undecided } else { AsksCapability::No };
    };
    let (tag, verb) = (&line[..space], &line[space + 1..]);
    let whole = b"CAPABILITY\r\n";
    match line_end {
        _ if !is_tag(tag) => AsksCapability::No,
        Some(octets) if without_line_end(verb).eq_ignore_ascii_case(&whole[..10]) => {
            AsksCapability::Yes { tag: String::from_utf8_lossy(tag).into_owned(), octets }
        }
        None if verb.len() < whole.len() && verb.eq_ignore_ascii_case(&whole[..verb.len()]) => {
            AsksCapability::Undecided
        }
        _ => AsksCapability::No,
    }
}

/// A command with its tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The client's tag, as sent.
    pub tag: String,
    /// What it asks for.
    pub body: Body,
}

/// What a client asks for before login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// RFC 3501 section 6.1.1.
    Capability,
    /// RFC 3501 section 6.1.2.
    Noop,
    /// RFC 3501 section 6.1.3.
    Logout,
    /// RFC 3501 section 6.2.1.
    StartTls,
    /// RFC 2971; its parameters are of no use to us.
    Id,
    /// RFC 3501 section 6.2.3.
    Login(Credentials),
    /// RFC 3501 section 6.2.2, RFC 4959.
    Authenticate {
        /// The mechanism, in upper case.
        mechanism: String,
        /// The initial response in base64, `=` for an empty one.
        initial: Option<Secret>,
    },
    /// Anything else, in upper case.
    Other(String),
}

/// Why a command can't be read; answered with BAD.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Malformed {
    /// The tag, where there is a usable one.
    pub tag: Option<String>,
    /// What is wrong.
    pub why: &'static str,
}

/// Reads a complete command: `tag SP verb [SP arguments] CRLF`. More or trailing spaces are
/// forgiven.
pub fn parse(command: &[u8]) -> Result<Command, Malformed> {
    let mut rest = Arguments(without_line_end(command));
    let tag = rest.word();
    if !is_tag(tag) {
        return Err(Malformed { tag: None, why: "a command starts with a tag" });
    }
    let tag = String::from_utf8_lossy(tag).into_owned();
    let verb = String::from_utf8_lossy(rest.word()).to_ascii_uppercase();
    match body(&verb, &mut rest) {
        Ok(body) => Ok(Command { tag, body }),
        Err(why) => Err(Malformed { tag: Some(tag), why }),
    }
}

fn body(verb: &str, rest: &mut Arguments<'_>) -> Result<Body, &'static str> {
    let body = match verb {
        "CAPABILITY" => Body::Capability,
        "NOOP" => Body::Noop,
        "LOGOUT" => Body::Logout,
        "STARTTLS" => Body::StartTls,
        "ID" => return Ok(Body::Id),
        "LOGIN" => login(rest)?,
        "AUTHENTICATE" => authenticate(rest)?,
        "" => return Err("a command follows the tag"),
        other => return Ok(Body::Other(other.to_owned())),
    };
    match rest.is_empty() {
        true => Ok(body),
        false => Err("too many arguments"),
    }
}

/// `login = "LOGIN" SP userid SP password`, both astrings.
fn login(rest: &mut Arguments<'_>) -> Result<Body, &'static str> {
    let login = rest.astring()?;
    let password = Secret::new(rest.astring()?);
    Ok(Body::Login(Credentials { login, password }))
}

/// `authenticate = "AUTHENTICATE" SP auth-type [SP (base64 / "=")]`.
fn authenticate(rest: &mut Arguments<'_>) -> Result<Body, &'static str> {
    let mechanism = String::from_utf8_lossy(rest.word()).to_ascii_uppercase();
    if mechanism.is_empty() {
        return Err("AUTHENTICATE needs a mechanism");
    }
    let initial = match rest.word() {
        [] => None,
        word => Some(Secret::new(std::str::from_utf8(word).map_err(|_| "base64 expected")?)),
    };
    Ok(Body::Authenticate { mechanism, initial })
}

/// `tag = 1*<any ASTRING-CHAR except "+">`.
pub(super) fn is_tag(word: &[u8]) -> bool {
    let special = |byte: &u8| b"(){%*\"\\+".contains(byte);
    !word.is_empty() && word.iter().all(|byte| byte.is_ascii_graphic() && !special(byte))
}

/// What is left of a command.
struct Arguments<'a>(&'a [u8]);

impl<'a> Arguments<'a> {
    fn skip_spaces(&mut self) {
        while let Some(rest) = self.0.strip_prefix(b" ") {
            self.0 = rest;
        }
    }

    fn is_empty(&mut self) -> bool {
        self.skip_spaces();
        self.0.is_empty()
    }

    /// The next word up to a space; empty when there is none.
    fn word(&mut self) -> &'a [u8] {
        self.skip_spaces();
        let end = memchr::memchr(b' ', self.0).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        word
    }

    /// `astring = 1*ASTRING-CHAR / string`. Characters that an atom should not have are forgiven,
    /// for applications send passwords without quotes.
    fn astring(&mut self) -> Result<String, &'static str> {
        self.skip_spaces();
        match self.0.first() {
            None => Err("LOGIN needs a login and a password"),
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal(),
            Some(_) => text(self.word()),
        }
    }

    fn quoted(&mut self) -> Result<String, &'static str> {
        let (content, octets) = quoted_at(self.0)?;
        self.0 = &self.0[octets..];
        self.ends_here().and_then(|()| text(&content))
    }

    fn literal(&mut self) -> Result<String, &'static str> {
        let (content, octets) = literal_at(self.0)?;
        self.0 = &self.0[octets..];
        self.ends_here().and_then(|()| text(content))
    }

    /// A string is followed by a space or by nothing.
    fn ends_here(&self) -> Result<(), &'static str> {
        match self.0.first() {
            None | Some(b' ') => Ok(()),
            Some(_) => Err("a space must follow a string"),
        }
    }
}

/// `quoted = DQUOTE *QUOTED-CHAR DQUOTE` at the start of the input: its content, and the octets that
/// it takes.
pub(super) fn quoted_at(input: &[u8]) -> Result<(Vec<u8>, usize), &'static str> {
    let mut content = Vec::new();
    let mut bytes = input.iter().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Ok((content, at + 1)),
            b'\\' => match bytes.next() {
                Some((_, escaped @ (b'"' | b'\\'))) => content.push(*escaped),
                _ => return Err("only \\\" and \\\\ may be escaped in a quoted string"),
            },
            b'\r' | b'\n' => break,
            other => content.push(*other),
        }
    }
    Err("a quoted string does not end")
}

/// A literal at the start of the input: its content, and the octets that it takes.
pub(super) fn literal_at(input: &[u8]) -> Result<(&[u8], usize), &'static str> {
    const BROKEN: &str = "a literal is broken or too long";
    let line_end = memchr::memchr(b'\n', input).ok_or(BROKEN)? + 1;
    let literal = announcement(without_line_end(&input[..line_end])).ok_or(BROKEN)?;
    let end = line_end.checked_add(literal.octets).ok_or(BROKEN)?;
    let content = input.get(line_end..end).ok_or(BROKEN)?;
    Ok((content, end))
}

fn text(bytes: &[u8]) -> Result<String, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "login and password must be UTF-8")?;
    match text.contains('\0') {
        true => Err("NUL is not allowed"),
        false => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { command: 200, literal: 64 };

    fn credentials(login: &str, password: &str) -> Body {
        Body::Login(Credentials { login: login.to_owned(), password: Secret::new(password) })
    }

    fn authenticate(mechanism: &str, initial: Option<&str>) -> Body {
        Body::Authenticate { mechanism: mechanism.to_owned(), initial: initial.map(Secret::new) }
    }

    fn readable() -> Vec<(&'static str, &'static str, Body, usize)> {
        vec![
            ("a1 CAPABILITY\r\n", "a1", Body::Capability, 0),
            ("a1 capability\n", "a1", Body::Capability, 0),
            ("a.1  NoOp  \r\n", "a.1", Body::Noop, 0),
            ("z LOGOUT\r\n", "z", Body::Logout, 0),
            ("z STARTTLS\r\n", "z", Body::StartTls, 0),
            ("z ID (\"name\" \"x\" \"version\" NIL)\r\n", "z", Body::Id, 0),
            ("z ID (\"name\" {3}\r\nabc)\r\n", "z", Body::Id, 1),
            ("a001 LOGIN SMITH SESAME\r\n", "a001", credentials("SMITH", "SESAME"), 0),
            ("a LOGIN \"a@b\" \"p \\\"\\\\ w\"\r\n", "a", credentials("a@b", "p \"\\ w"), 0),
            ("a LOGIN {3}\r\na@b {4+}\r\np\r\nw\r\n", "a", credentials("a@b", "p\r\nw"), 1),
            ("a LOGIN {3+}\r\na@b {0}\r\n\r\n", "a", credentials("a@b", ""), 1),
            (
                "A001 LOGIN {11}\r\nFRED FOOBAR {7}\r\nfat man\r\n",
                "A001",
                credentials("FRED FOOBAR", "fat man"),
                2,
            ),
            ("a login x{3} y]z%*\r\n", "a", credentials("x{3}", "y]z%*"), 0),
            ("a LOGIN x p{3}\r\n", "a", credentials("x", "p{3}"), 0),
            ("a LOGIN jürgen \"pässe\"\r\n", "a", credentials("jürgen", "pässe"), 0),
            ("a AUTHENTICATE plain\r\n", "a", authenticate("PLAIN", None), 0),
            ("a AUTHENTICATE PLAIN dGVzdA==\r\n", "a", authenticate("PLAIN", Some("dGVzdA==")), 0),
            ("a AUTHENTICATE LOGIN =\r\n", "a", authenticate("LOGIN", Some("=")), 0),
            ("a SELECT INBOX\r\n", "a", Body::Other("SELECT".to_owned()), 0),
            ("a APPEND x {3+}\r\nabc\r\n", "a", Body::Other("APPEND".to_owned()), 0),
            ("a APPEND x {3}\r\n", "a", Body::Other("APPEND".to_owned()), 0),
        ]
    }

    #[test]
    fn reads_commands() {
        for (input, tag, body, continuations) in readable() {
            let complete = Scan { continuations, progress: Progress::Complete(input.len()) };
            assert_eq!(scan(input.as_bytes(), LIMITS), complete, "{input:?}");
            let command = Command { tag: tag.to_owned(), body };
            assert_eq!(parse(input.as_bytes()), Ok(command), "{input:?}");
        }
    }

    #[test]
    fn waits_at_every_split_and_leaves_what_follows() {
        for (input, _, _, continuations) in readable() {
            for end in 0..input.len() {
                let scan = scan(&input.as_bytes()[..end], LIMITS);
                assert_eq!(scan.progress, Progress::Partial, "{:?}", &input.as_bytes()[..end]);
                assert!(scan.continuations <= continuations);
            }
            let followed = [input.as_bytes(), b"b NOOP\r\n"].concat();
            assert_eq!(scan(&followed, LIMITS).progress, Progress::Complete(input.len()));
        }
    }

    #[test]
    fn a_client_that_waits_is_answered() {
        for (input, continuations) in [
            ("a LOGIN {3}\r\n", 1),
            ("a LOGIN {3+}\r\n", 0),
            ("a LOGIN {3}\r\nabc {4}\r\n", 2),
            ("a LOGIN {3}\r\nab", 1),
        ] {
            let expected = Scan { continuations, progress: Progress::Partial };
            assert_eq!(scan(input.as_bytes(), LIMITS), expected, "{input:?}");
        }
    }

    #[test]
    fn capability_is_recognised_at_every_split_and_nothing_else_is() {
        let input = b"a.7 Capability\r\n";
        for end in 0..input.len() {
            assert_eq!(asks_capability(&input[..end]), AsksCapability::Undecided, "{end}");
        }
        let yes = |octets| AsksCapability::Yes { tag: "a.7".to_owned(), octets };
        assert_eq!(asks_capability(input), yes(16));
        assert_eq!(asks_capability(b"a.7 CAPABILITY\nb NOOP\r\n"), yes(15));
        for other in [
            "a SELECT",
            "a C ",
            "a CAPABILITY X",
            "a CAPABILITYX",
            "a  CAPABILITY\r\n",
            "* ",
            "\r\n",
            "a\r\n",
            "+",
            " ",
            "a CAPABILITY \r\n",
            "a CAP\r\n",
        ] {
            assert_eq!(asks_capability(other.as_bytes()), AsksCapability::No, "{other:?}");
        }
        assert_eq!(asks_capability(&[b'x'; MAX_TAG + 1]), AsksCapability::No);
    }

    #[test]
    fn limits_hold() {
        let long = "x".repeat(201);
        let line = format!("a LOGIN x {long}\r\n");
        for (input, progress) in [
            (long.as_str(), Progress::TooLong),
            (line.as_str(), Progress::TooLong),
            ("a LOGIN {65+}\r\n", Progress::TooLong),
            ("a LOGIN {99999999999999999999999+}\r\n", Progress::TooLong),
            ("a LOGIN {65}\r\n", Progress::Complete(14)),
            ("a LOGIN {99999999999999999999999}\r\n", Progress::Complete(35)),
        ] {
            assert_eq!(scan(input.as_bytes(), LIMITS).progress, progress, "{input:?}");
        }
        assert!(parse(b"a LOGIN {65}\r\n").is_err());
        assert!(parse(b"a LOGIN {99999999999999999999999}\r\n").is_err());
    }

    #[test]
    fn says_what_is_wrong_under_the_right_tag() {
        for (input, tag) in [
            ("\r\n", None),
            ("   \r\n", None),
            ("+ NOOP\r\n", None),
            ("* NOOP\r\n", None),
            ("\u{1}\u{2}\r\n", None),
            ("a\r\n", Some("a")),
            ("a LOGIN\r\n", Some("a")),
            ("a LOGIN x\r\n", Some("a")),
            ("a LOGIN x y z\r\n", Some("a")),
            ("a LOGIN \"x\r\n", Some("a")),
            ("a LOGIN \"x\"y\r\n", Some("a")),
            ("a LOGIN \"x\\y\" z\r\n", Some("a")),
            ("a LOGIN x \"\\\r\n", Some("a")),
            ("a LOGIN {1+}\r\nxy z\r\n", Some("a")),
            ("a LOGIN x {1+}\r\n\0\r\n", Some("a")),
            ("a NOOP x\r\n", Some("a")),
            ("a AUTHENTICATE\r\n", Some("a")),
            ("a AUTHENTICATE PLAIN x y\r\n", Some("a")),
        ] {
            let error = parse(input.as_bytes()).expect_err(input);
            assert_eq!(error.tag.as_deref(), tag, "{input:?}");
        }
        assert!(parse(b"a LOGIN x \xff\r\n").is_err());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(input in proptest::collection::vec(
            proptest::prop_oneof![
                proptest::prelude::any::<u8>(),
                proptest::sample::select(b"a LOGIN \"\\{}+019\r\n".to_vec()),
            ], 0..120)
        ) {
            let scan = scan(&input, LIMITS);
            if let Progress::Complete(length) = scan.progress {
                let _ = parse(&input[..length]);
            }
            let _ = parse(&input);
        }
    }
}
