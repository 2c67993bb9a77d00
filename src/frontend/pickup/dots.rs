//! Dots at the beginning of lines in a file.
//!
//! Danger: `System.Net.Mail` of the .NET Framework doubles a dot that begins a line, as if the file
//! were sent over SMTP, and IIS undoes it; .NET Core 3.0 and later do not (dotnet/corefx issue
//! 33304). Undone where it was not done, a dot is lost; left where it was done, `.class` becomes
//! `..class`. Rule: only a file with an envelope at its top, which these libraries write, can be of
//! the first kind, and it is when every line that begins with a dot begins with two.

/// Looks for lines that begin with dots.
#[derive(Debug)]
pub(super) struct Survey {
    place: Place,
    single: bool,
    double: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    LineStart,
    AfterDot,
    InLine,
}

impl Default for Survey {
    fn default() -> Self {
        Self { place: Place::LineStart, single: false, double: false }
    }
}

impl Survey {
    /// The next octets of the file.
    pub fn feed(&mut self, mut octets: &[u8]) {
        while let Some(&first) = octets.first() {
            match self.place {
                Place::LineStart if first == b'.' => {
                    self.place = Place::AfterDot;
                    octets = &octets[1..];
                    continue;
                }
                Place::AfterDot if first == b'.' => self.double = true,
                Place::AfterDot => self.single = true,
                Place::LineStart | Place::InLine => {}
            }
            self.place = Place::InLine;
            match memchr::memchr(b'\n', octets) {
                Some(end) => {
                    self.place = Place::LineStart;
                    octets = &octets[end + 1..];
                }
                None => return,
            }
        }
    }

    /// True when the dots were doubled.
    pub fn is_stuffed(&self) -> bool {
        self.double && !self.single && self.place != Place::AfterDot
    }
}

/// Takes the first dot of each line away.
#[derive(Debug)]
pub(super) struct Unstuff {
    at_start: bool,
}

impl Default for Unstuff {
    fn default() -> Self {
        Self { at_start: true }
    }
}

impl Unstuff {
    /// Hands on the octets that stay.
    pub fn feed(&mut self, mut octets: &[u8], sink: &mut impl FnMut(&[u8])) {
        while !octets.is_empty() {
            if self.at_start {
                octets = octets.strip_prefix(b".").unwrap_or(octets);
            }
            let end = memchr::memchr(b'\n', octets);
            self.at_start = end.is_some();
            let (line, rest) = octets.split_at(end.map_or(octets.len(), |at| at + 1));
            sink(line);
            octets = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubled_dots_are_told_from_single_ones_however_the_file_is_cut() {
        let table = [
            ("a\r\n..b\r\n", true, "a\r\n.b\r\n"),
            ("..\r\n...\r\n", true, ".\r\n..\r\n"),
            ("a\r\n.b\r\n..c\r\n", false, ""),
            ("a.b..c\r\n", false, ""),
            ("..a\n.", false, ""),
            ("", false, ""),
            ("..", true, "."),
        ];
        for (text, stuffed, plain) in table {
            for cut in 0..=text.len() {
                let (one, two) = text.as_bytes().split_at(cut);
                let mut survey = Survey::default();
                survey.feed(one);
                survey.feed(two);
                assert_eq!(survey.is_stuffed(), stuffed, "{text:?} at {cut}");
                if stuffed {
                    let (mut unstuff, mut out) = (Unstuff::default(), Vec::new());
                    unstuff.feed(one, &mut |octets| out.extend_from_slice(octets));
                    unstuff.feed(two, &mut |octets| out.extend_from_slice(octets));
                    assert_eq!(out, plain.as_bytes(), "{text:?} at {cut}");
                }
            }
        }
    }
}
