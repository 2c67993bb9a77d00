//! The words of a command: atoms, strings, numbers, lists.
//!
//! Danger: one reader that skips what it does not know reads the next argument for another. Rule:
//! every reader takes exactly one thing or fails with a plain reason; more spaces than one are
//! forgiven between things, and nothing else.

use std::borrow::Cow;

use super::super::command::{literal_at, quoted_at};
use super::super::request::SequenceSet;

/// What a reader returns; the reason goes to the client after BAD.
pub(super) type Read<T> = Result<T, &'static str>;

/// Ranges in one set: more than the UIDs that a command line of 64 KiB usually holds.
const MAX_RANGES: usize = 20_000;

/// Modification sequences have 63 bits (RFC 7162 section 3.1).
const MAX_MODSEQ: u64 = i64::MAX as u64;

/// What is left of a command.
pub(super) struct Words<'a> {
    rest: &'a [u8],
    /// Mailbox names are UTF-8.
    pub utf8: bool,
}

impl<'a> Words<'a> {
    pub fn new(rest: &'a [u8], utf8: bool) -> Self {
        Self { rest, utf8 }
    }

    /// What is left, as it is.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// All that is left, taken.
    pub fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub fn skip_spaces(&mut self) {
        while let Some(rest) = self.rest.strip_prefix(b" ") {
            self.rest = rest;
        }
    }

    /// The space before an argument that must be there.
    pub fn space(&mut self) -> Read<()> {
        match self.peek() {
            Some(b' ') => {
                self.skip_spaces();
                Ok(())
            }
            Some(_) => Err("a space is missing between arguments"),
            None => Err("an argument is missing"),
        }
    }

    /// The space before an argument that may be there; false at the end of the command.
    pub fn another(&mut self) -> Read<bool> {
        if self.rest.is_empty() {
            return Ok(false);
        }
        self.space()?;
        Ok(!self.rest.is_empty())
    }

    /// The space after an item of a list, unless the list ends.
    pub fn space_or_close(&mut self) -> Read<()> {
        match self.peek() {
            Some(b')') => Ok(()),
            Some(b' ') => self.space(),
            Some(_) => Err("a space is missing in a list"),
            None => Err("a list does not end"),
        }
    }

    /// Nothing may follow.
    pub fn end(&mut self) -> Read<()> {
        self.skip_spaces();
        if self.rest.is_empty() { Ok(()) } else { Err("too many arguments") }
    }

    /// Takes the octet if it is next.
    pub fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        if is_next {
            self.rest = &self.rest[1..];
        }
        is_next
    }

    /// Takes the octet, or fails for that reason.
    pub fn expect(&mut self, byte: u8, why: &'static str) -> Read<()> {
        if self.eat(byte) { Ok(()) } else { Err(why) }
    }

    /// Octets as long as they belong; maybe none.
    fn run(&mut self, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !belongs(*byte)).unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at(end);
        self.rest = rest;
        run
    }

    /// Everything up to the next space.
    pub fn word(&mut self) -> &'a [u8] {
        self.skip_spaces();
        self.run(|byte| byte != b' ')
    }

    /// A word of the grammar, in upper case: letters, digits, dots, hyphens and signs.
    pub fn name(&mut self) -> Read<String> {
        let name = self.run(|byte| byte.is_ascii_alphanumeric() || b".-+".contains(&byte));
        match name {
            [] => Err("a word is missing"),
            name => Ok(String::from_utf8_lossy(name).to_ascii_uppercase()),
        }
    }

    /// Takes that word of the grammar if it is next.
    pub fn eat_name(&mut self, name: &str) -> bool {
        let mut ahead = Self::new(self.rest, self.utf8);
        let is_next = ahead.name().is_ok_and(|next| next == name);
        if is_next {
            self.rest = ahead.rest;
        }
        is_next
    }

    /// Takes that word of the grammar, or fails for that reason.
    pub fn expect_name(&mut self, name: &str, why: &'static str) -> Read<()> {
        if self.eat_name(name) { Ok(()) } else { Err(why) }
    }

    /// `atom = 1*ATOM-CHAR`.
    pub fn atom(&mut self) -> Read<String> {
        match self.run(is_atom_char) {
            [] => Err("an atom is missing"),
            atom => Ok(String::from_utf8_lossy(atom).into_owned()),
        }
    }

    /// `string = quoted / literal`.
    pub fn string(&mut self) -> Read<Cow<'a, [u8]>> {
        let (content, octets) = match self.peek() {
            Some(b'"') => quoted_at(self.rest).map(|(content, n)| (Cow::Owned(content), n))?,
            Some(b'{') => literal_at(self.rest).map(|(content, n)| (Cow::Borrowed(content), n))?,
            _ => return Err("a string is missing"),
        };
        self.rest = &self.rest[octets..];
        Ok(content)
    }

    /// `astring = 1*ASTRING-CHAR / string`, with more octets allowed in the first form.
    ///
    /// Quirk `raw_eight_bit`: octets above 127 are taken in an atom, for scripts with Python's imaplib
    /// or PHP's imap functions send names and search words as their author typed them.
    pub fn astring(&mut self, also: &[u8]) -> Read<Cow<'a, [u8]>> {
        if matches!(self.peek(), Some(b'"' | b'{')) {
            return self.string();
        }
        let belongs = |byte: u8| {
            is_atom_char(byte) || byte == b']' || !byte.is_ascii() || also.contains(&byte)
        };
        match self.run(belongs) {
            [] if self.rest.is_empty() => Err("an argument is missing"),
            [] => Err("a name or a string is expected"),
            word => Ok(Cow::Borrowed(word)),
        }
    }

    /// An astring that is text.
    ///
    /// Quirk `latin1_text`: what is no UTF-8 counts as Latin-1. javax.mail 1.6, as soon as it has
    /// enabled UTF8=ACCEPT, sends the words that it searches for so, and names no CHARSET.
    pub fn text(&mut self) -> Read<String> {
        let octets = self.astring(b"")?;
        if octets.contains(&0) {
            return Err("NUL is not allowed");
        }
        let text = std::str::from_utf8(&octets).map(str::to_owned);
        Ok(text.unwrap_or_else(|_| octets.iter().map(|&octet| char::from(octet)).collect()))
    }

    /// `"(" *(item) ")"`, items with spaces between them; maybe none.
    pub fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        self.expect(b'(', "a list in parentheses is expected")?;
        self.skip_spaces();
        let mut items = Vec::new();
        while !self.eat(b')') {
            items.push(item(self)?);
            self.space_or_close()?;
        }
        Ok(items)
    }

    /// `number64`.
    pub fn number(&mut self) -> Read<u64> {
        let digits = self.run(|byte| byte.is_ascii_digit());
        if digits.is_empty() {
            return Err("a number is missing");
        }
        String::from_utf8_lossy(digits).parse().map_err(|_| "a number is too large")
    }

    /// `nz-number`.
    pub fn positive(&mut self) -> Read<u32> {
        match u32::try_from(self.number()?) {
            Ok(0) => Err("0 is not allowed here"),
            Ok(number) => Ok(number),
            Err(_) => Err("a number is too large"),
        }
    }

    /// `mod-sequence-valzer` (RFC 7162).
    pub fn modseq(&mut self) -> Read<u64> {
        match self.number()? {
            value @ 0..=MAX_MODSEQ => Ok(value),
            _ => Err("a modification sequence has 63 bits"),
        }
    }

    /// `sequence-set`, or `$`.
    pub fn set(&mut self) -> Read<SequenceSet> {
        if self.eat(b'$') {
            return Ok(SequenceSet::Saved);
        }
        let mut ranges = Vec::new();
        loop {
            let first = self.seq_number()?;
            let last = if self.eat(b':') { self.seq_number()? } else { first };
            ranges.push((first, last));
            if !self.eat(b',') {
                return Ok(SequenceSet::Ranges(ranges));
            }
            if ranges.len() == MAX_RANGES {
                return Err("a set has too many ranges");
            }
        }
    }

    /// `seq-number = nz-number / "*"`.
    fn seq_number(&mut self) -> Read<u32> {
        match self.peek() {
            Some(b'*') => {
                self.rest = &self.rest[1..];
                Ok(SequenceSet::LAST)
            }
            Some(b'0'..=b'9') => self.positive(),
            _ => Err("message numbers are expected"),
        }
    }
}

/// `ATOM-CHAR` (RFC 9051 section 9).
pub(super) fn is_atom_char(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"(){%*\"\\]".contains(&byte)
}
