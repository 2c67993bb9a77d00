//! What we answer to a client.
//!
//! Danger: text from an upstream with a line break in it becomes a second reply, and every later
//! one is read as the answer to the wrong command. Rule: an [`Answer`] is printable ASCII, each of
//! its lines at most 512 octets with CRLF (RFC 5321 section 4.5.3.1.5), whatever it is made from.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};

/// Longest reply line, in octets with CRLF.
const MAX_LINE: usize = 512;

/// One reply, of one or more lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    code: u16,
    enhanced: Cow<'static, str>,
    lines: Vec<Cow<'static, str>>,
}

impl Answer {
    /// A reply with an enhanced status code (RFC 2034).
    pub fn new(
        code: u16,
        enhanced: impl Into<Cow<'static, str>>,
        text: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { code, enhanced: enhanced.into(), lines: vec![text.into()] }
    }

    /// A reply without: the greeting, 334 and 354 (RFC 2034 section 4).
    pub fn bare(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(code, "", text)
    }

    /// A reply of several lines, without enhanced status code: the answer to EHLO.
    pub fn list(code: u16, lines: Vec<String>) -> Self {
        let lines = lines.into_iter().map(Cow::Owned).collect();
        Self { code, enhanced: Cow::Borrowed(""), lines }
    }

    /// The reply code.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// Appends the reply as it goes over the wire.
    pub fn encode(&self, out: &mut BytesMut) {
        for (at, line) in self.lines.iter().enumerate() {
            let last = at + 1 == self.lines.len();
            let separator = if last { ' ' } else { '-' };
            let gap = if self.enhanced.is_empty() { "" } else { " " };
            let text = format!("{}{separator}{}{gap}{line}", self.code, self.enhanced);
            let safe = text.bytes().map(|byte| if (32..127).contains(&byte) { byte } else { b' ' });
            out.extend(safe.take(MAX_LINE - 2));
            out.put_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(answer: &Answer) -> String {
        let mut out = BytesMut::new();
        answer.encode(&mut out);
        String::from_utf8(out.to_vec()).expect("ASCII")
    }

    #[test]
    fn replies_have_the_form_of_rfc_5321_section_4_2() {
        let list = Answer::list(250, vec!["host".into(), "PIPELINING".into(), "SIZE 1".into()]);
        let table = [
            (Answer::new(250, "2.1.0", "Ok"), "250 2.1.0 Ok\r\n"),
            (Answer::bare(334, ""), "334 \r\n"),
            (Answer::bare(354, "Go on"), "354 Go on\r\n"),
            (list, "250-host\r\n250-PIPELINING\r\n250 SIZE 1\r\n"),
        ];
        for (answer, expected) in table {
            assert_eq!(wire(&answer), expected);
        }
    }

    #[test]
    fn no_text_makes_a_second_line_or_a_long_one() {
        let answer = Answer::new(250, "2.0.0", "queued\r\n550 no\0\u{e9}\u{7f}");
        assert_eq!(wire(&answer), "250 2.0.0 queued  550 no    \r\n");
        let long = wire(&Answer::new(550, "5.0.0", "x".repeat(2000)));
        assert_eq!(long.len(), 512);
        assert!(long.ends_with("x\r\n"));
    }
}
