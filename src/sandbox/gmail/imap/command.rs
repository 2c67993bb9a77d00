//! Commands off the wire: literals joined, words taken apart (RFC 3501 section 9).
//!
//! Danger: a parser that guesses hides a client's malformed command. Rule: exactly one space
//! between words, nothing left over at the end, literals only as long as allowed; everything else
//! is `None`, which the session answers with BAD.

use std::io;

use super::super::wire::Wire;

/// The largest synchronising literal: an APPEND of Gmail's own message limit.
const MAX_LITERAL: usize = 35_882_577;
/// The largest one without waiting (LITERAL-, RFC 7888 section 5).
const MAX_EAGER_LITERAL: usize = 4096;

/// One command with its literals in it, or `None` when a literal is not allowed.
pub(super) async fn read(wire: &mut Wire) -> io::Result<Option<Vec<u8>>> {
    let mut command = Vec::new();
    loop {
        let line = wire.line().await?;
        let literal = literal_length(&line);
        command.extend_from_slice(&line);
        let Some((length, eager)) = literal else { return Ok(Some(command)) };
        if length > if eager { MAX_EAGER_LITERAL } else { MAX_LITERAL } {
            return Ok(None);
        }
        if !eager {
            wire.send(b"+ go ahead\r\n").await?;
        }
        command.extend_from_slice(b"\r\n");
        command.extend_from_slice(&wire.exact(length).await?);
    }
}

/// `{n}` or `{n+}` at the end of a line.
fn literal_length(line: &[u8]) -> Option<(usize, bool)> {
    let inner = line.strip_suffix(b"}")?;
    let start = inner.iter().rposition(|&b| b == b'{')? + 1;
    let text = std::str::from_utf8(&inner[start..]).ok()?;
    let (digits, eager) = text.strip_suffix('+').map_or((text, false), |digits| (digits, true));
    let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    Some((digits.parse().ok().filter(|_| all_digits)?, eager))
}

/// Reads a command from left to right.
#[derive(Clone)]
pub(super) struct Words<'a>(pub &'a [u8]);

impl<'a> Words<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn done(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }

    pub fn eat(&mut self, wanted: &str) -> bool {
        let same = self
            .0
            .get(..wanted.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(wanted.as_bytes()));
        if same {
            self.0 = &self.0[wanted.len()..];
        }
        same
    }

    pub fn space(&mut self) -> Option<()> {
        self.eat(" ").then_some(())
    }

    fn take_while(&mut self, good: impl Fn(u8) -> bool) -> Option<&'a str> {
        let end = self.0.iter().position(|&b| !good(b)).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        std::str::from_utf8(word).ok().filter(|word| !word.is_empty())
    }

    /// A word up to a space or parenthesis.
    pub fn atom(&mut self) -> Option<&'a str> {
        self.take_while(|b| b > b' ' && b < 0x7f && !b"(){\"".contains(&b))
    }

    pub fn number(&mut self) -> Option<u32> {
        self.take_while(|b| b.is_ascii_digit())?.parse().ok()
    }

    /// Quoted, literal, or an atom that may hold `]`.
    pub fn astring(&mut self) -> Option<String> {
        match self.0.first()? {
            b'"' | b'{' => String::from_utf8(self.string()?).ok(),
            _ => self.atom().map(str::to_owned),
        }
    }

    /// A LIST pattern: an astring in which `%` and `*` are ordinary.
    pub fn pattern(&mut self) -> Option<String> {
        self.astring()
    }

    /// Quoted or literal.
    pub fn string(&mut self) -> Option<Vec<u8>> {
        if self.eat("\"") {
            return self.quoted();
        }
        let end = self.0.windows(2).position(|pair| pair == b"\r\n")?;
        let (length, _) = literal_length(&self.0[..end])?;
        let bytes = self.0.get(end + 2..end + 2 + length)?.to_vec();
        self.0 = &self.0[end + 2 + length..];
        Some(bytes)
    }

    fn quoted(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        loop {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            match byte {
                b'"' => return Some(out),
                b'\r' | b'\n' | 0 => return None,
                b'\\' => {
                    let (&escaped, rest) = self.0.split_first()?;
                    if escaped != b'"' && escaped != b'\\' {
                        return None;
                    }
                    self.0 = rest;
                    out.push(escaped);
                }
                other => out.push(other),
            }
        }
    }

    /// `(a b c)` of astrings; also `()`.
    pub fn list(&mut self) -> Option<Vec<String>> {
        if !self.eat("(") {
            return None;
        }
        let mut all = Vec::new();
        while !self.eat(")") {
            if !all.is_empty() {
                self.space()?;
            }
            all.push(self.astring()?);
        }
        Some(all)
    }

    pub fn set(&mut self) -> Option<Set> {
        Set::parse(self.take_while(|b| b.is_ascii_digit() || b":,*".contains(&b))?)
    }
}

/// A sequence set; `None` stands for `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Set(Vec<(Option<u32>, Option<u32>)>);

impl Set {
    pub fn parse(text: &str) -> Option<Self> {
        let end = |text: &str| match text {
            "*" => Some(None),
            digits => digits.parse().ok().filter(|&n: &u32| n > 0).map(Some),
        };
        let range = |part: &str| match part.split_once(':') {
            Some((from, to)) => Some((end(from)?, end(to)?)),
            None => end(part).map(|one| (one, one)),
        };
        text.split(',').map(range).collect::<Option<Vec<_>>>().map(Self)
    }

    /// True when `number` is in the set; `largest` is what `*` means.
    pub fn contains(&self, number: u32, largest: u32) -> bool {
        self.0.iter().any(|&(a, b)| {
            let (a, b) = (a.unwrap_or(largest), b.unwrap_or(largest));
            (a.min(b)..=a.max(b)).contains(&number)
        })
    }

    /// The largest number named.
    pub fn highest(&self, largest: u32) -> u32 {
        let ends = self.0.iter().flat_map(|&(a, b)| [a, b]);
        ends.map(|end| end.unwrap_or(largest)).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_count_both_ways_and_the_star_is_the_last() {
        let set = Set::parse("2,5:4,7:*").expect("a set");
        let inside: Vec<u32> = (1..=10).filter(|&n| set.contains(n, 9)).collect();
        assert_eq!(inside, [2, 4, 5, 7, 8, 9]);
        assert!(Set::parse("5:*").expect("a set").contains(3, 3));
        assert_eq!(set.highest(9), 9);
        for bad in ["", "0", "1,", ":", "1:2:3", "a", "-1"] {
            assert_eq!(Set::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn words_are_atoms_quoted_and_literals() {
        let mut words = Words(b"a{3}\r\nb\"c \"d\\\"e\\\\\" (x \"y z\") end");
        assert_eq!(words.atom(), Some("a"));
        assert_eq!(words.astring().as_deref(), Some("b\"c"));
        words.space().expect("a space");
        assert_eq!(words.astring().as_deref(), Some("d\"e\\"));
        words.space().expect("a space");
        assert_eq!(words.list(), Some(vec!["x".to_owned(), "y z".to_owned()]));
        words.space().expect("a space");
        assert_eq!(words.atom(), Some("end"));
        assert!(words.done().is_some());
        for bad in ["\"a", "\"a\\b\"", "\"a\nb\"", "{5}\r\nabc", "{x}\r\n"] {
            assert_eq!(Words(bad.as_bytes()).astring(), None, "{bad:?}");
        }
    }

    #[test]
    fn literals_are_announced_at_the_end_of_a_line() {
        let table = [
            ("a {10}", Some((10, false))),
            ("a {10+}", Some((10, true))),
            ("a {}", None),
            ("a {-1}", None),
            ("a {1} ", None),
            ("{99999999999999999999}", None),
        ];
        for (line, want) in table {
            assert_eq!(literal_length(line.as_bytes()), want, "{line}");
        }
    }
}
