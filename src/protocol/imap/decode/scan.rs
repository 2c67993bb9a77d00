//! Where a command after login ends.
//!
//! Danger: a literal announced as 4 GB, a line that never ends, or thousands of empty literals that
//! are looked at anew with each octet that arrives. Rule: everything but an APPEND's message stays
//! within the caller's limits and [`MAX_LITERALS`]; only commands that can use a literal get a `+`.

use super::super::command::{Limits, Literal, announcement, without_line_end};

/// Literals in one command. A search has a handful; each is a line more to look at in every scan.
const MAX_LITERALS: usize = 256;

/// Commands with an argument that may be a literal. No other is kept open by a `+`; LOGIN is not
/// among them, so that a password sent too late is not asked for.
const TAKE_LITERALS: [&str; 19] = [
    "ID",
    "SELECT",
    "EXAMINE",
    "CREATE",
    "DELETE",
    "RENAME",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "LIST",
    "LSUB",
    "STATUS",
    "APPEND",
    "SEARCH",
    "SORT",
    "THREAD",
    "FETCH",
    "UID",
    "COPY",
    "MOVE",
];

/// How far the command at the start of the input has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestScan {
    /// Synchronising literals seen so far: the client is owed that many `+` in all. The message of
    /// an APPEND is not among them.
    pub continuations: usize,
    /// Whether the command is complete.
    pub progress: RequestProgress,
}

/// See [`RequestScan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestProgress {
    /// More octets are needed.
    Partial,
    /// The command takes this many octets, its last line end included.
    Complete(usize),
    /// An APPEND up to the announcement of its message, line end included, takes this many; then the
    /// message follows, and a line end after it.
    Append(usize),
    /// It exceeds the limits, and where it ends can't be known.
    TooLong,
}

/// Finds the end of the command at the start of `input`.
///
/// A synchronising literal that is too large, or that the command can't use, ends the command: the
/// client does not send it without our `+`, and `parse_request` then says what is wrong. A line ends
/// at LF, with or without CR; what a literal holds is a matter of its count alone.
pub fn scan_request(input: &[u8], limits: Limits) -> RequestScan {
    let verb = Verb::of(input);
    let (mut continuations, mut literals, mut from) = (0, 0, 0);
    let progress = loop {
        let Some(line_end) = memchr::memchr(b'\n', &input[from..]).map(|at| from + at + 1) else {
            break partial(input.len(), limits);
        };
        if line_end > limits.command {
            break RequestProgress::TooLong;
        }
        let Some((start, literal)) = announced(&input[from..line_end]) else {
            break RequestProgress::Complete(line_end);
        };
        if verb.is("APPEND") && (literals > 0 || verb.is_followed(&input[..start])) {
            break RequestProgress::Append(line_end);
        }
        literals += 1;
        let fits = literals <= MAX_LITERALS
            && literal.octets <= limits.literal
            && line_end + literal.octets <= limits.command;
        match literal.synchronising {
            true if !fits || !verb.takes_literals() => break RequestProgress::Complete(line_end),
            true => continuations += 1,
            false if !fits => break RequestProgress::TooLong,
            false => {}
        }
        from = line_end + literal.octets;
        if from > input.len() {
            break RequestProgress::Partial;
        }
    };
    RequestScan { continuations, progress }
}

fn partial(length: usize, limits: Limits) -> RequestProgress {
    if length > limits.command { RequestProgress::TooLong } else { RequestProgress::Partial }
}

/// The literal or literal8 that a line announces at its end, and where that begins in the line. It
/// follows a space or parenthesis, for otherwise it belongs to an atom.
pub(super) fn announced(line: &[u8]) -> Option<(usize, Literal)> {
    let text = without_line_end(line);
    let open = memchr::memrchr(b'{', text)?;
    let literal = announcement(&text[open..])?;
    let start = if text[..open].ends_with(b"~") { open - 1 } else { open };
    matches!(text[..start].last(), Some(b' ' | b'(')).then_some((start, literal))
}

/// The second word of a command.
struct Verb<'a> {
    word: &'a [u8],
    end: usize,
}

impl<'a> Verb<'a> {
    fn of(input: &'a [u8]) -> Self {
        let line = &input[..memchr::memchr(b'\n', input).unwrap_or(input.len())];
        let tag = word_end(line, 0);
        let end = word_end(line, tag);
        Self { word: line[tag..end].trim_ascii_start(), end }
    }

    fn is(&self, verb: &str) -> bool {
        self.word.eq_ignore_ascii_case(verb.as_bytes())
    }

    fn takes_literals(&self) -> bool {
        TAKE_LITERALS.iter().any(|verb| self.is(verb))
    }

    /// True when there is an argument between the verb and the end of that part.
    fn is_followed(&self, part: &[u8]) -> bool {
        part.get(self.end..).is_some_and(|between| between.iter().any(|byte| *byte != b' '))
    }
}

/// The end of the first word that begins at `from` or later.
fn word_end(line: &[u8], from: usize) -> usize {
    let start = line[from..].iter().position(|byte| *byte != b' ').map_or(line.len(), |n| from + n);
    memchr::memchr(b' ', &line[start..]).map_or(line.len(), |length| start + length)
}
