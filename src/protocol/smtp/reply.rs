//! Replies: reading an upstream's, EHLO keywords included.
//!
//! Danger: a reply that is read too early or too late shifts every later answer to the wrong
//! command, and a service that never ends its reply fills the memory. Rule: one decoder keeps the
//! unfinished reply between reads, all lines of a reply carry one code, and lines and their number
//! are bounded. Text is made printable here, so that no log line or client sees a peer's controls.

use bytes::{Buf, BytesMut};

/// Longest reply line, in octets. RFC 5321 section 4.5.3.1.5 says 512; services write longer ones.
pub const MAX_LINE: usize = 4096;

/// Most lines of one reply. The longest EHLO answers seen have some twenty.
pub const MAX_LINES: usize = 100;

/// Enhanced status code (RFC 3463): class, subject, detail.
pub type Enhanced = (u8, u16, u16);

/// A complete reply (RFC 5321 section 4.2).
///
/// `Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub code: u16,
    /// What follows the code, one entry a line, printable.
    pub lines: Vec<String>,
}

/// Why bytes are not a reply. The connection is of no use afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// No three digits, or something else than a space or hyphen after them.
    #[error("a reply line that does not begin with a reply code")]
    Code,
    /// Two lines of one reply differ in their code.
    #[error("a reply whose lines have different codes")]
    Mixed,
    /// More than [`MAX_LINE`] octets without a line end.
    #[error("a reply line of more than {MAX_LINE} octets")]
    LineTooLong,
    /// More than [`MAX_LINES`] lines.
    #[error("a reply of more than {MAX_LINES} lines")]
    TooManyLines,
}

impl Reply {
    /// True for 2xx.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// True for 4xx.
    pub fn is_temporary(&self) -> bool {
        self.code / 100 == 4
    }

    /// The enhanced status code, when there is one whose class is the reply's own (RFC 2034).
    pub fn enhanced(&self) -> Option<Enhanced> {
        self.lines.first().and_then(|line| split_enhanced(self.code, line)).map(|(code, _)| code)
    }

    /// All lines as one, without codes.
    pub fn text(&self) -> String {
        let lines = self.lines.iter().map(|line| {
            split_enhanced(self.code, line).map_or(line.as_str(), |(_, text)| text).trim()
        });
        lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

/// `550 5.7.1 text`, as one line.
impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some((class, subject, detail)) = self.enhanced() {
            write!(f, " {class}.{subject}.{detail}")?;
        }
        match self.text() {
            text if text.is_empty() => Ok(()),
            text => write!(f, " {text}"),
        }
    }
}

/// `status-code = class "." subject "." detail` (RFC 2034 section 4), then the text.
fn split_enhanced(reply_code: u16, line: &str) -> Option<(Enhanced, &str)> {
    let (code, text) = line.split_once(' ').unwrap_or((line, ""));
    let mut numbers = code.split('.');
    let (class, subject, detail) = (numbers.next()?, numbers.next()?, numbers.next()?);
    let number = |text: &str| {
        let digits = text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| digits)
    };
    let class = number(class).filter(|class| *class == reply_code / 100)?;
    if numbers.next().is_some() {
        return None;
    }
    Some(((u8::try_from(class).ok()?, number(subject)?, number(detail)?), text))
}

/// Keeps the part of a reply that has arrived.
#[derive(Debug, Default)]
pub struct ReplyDecoder {
    code: Option<u16>,
    lines: Vec<String>,
}

impl ReplyDecoder {
    /// At the start of a reply.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes lines from the front of `input`; `None` until the reply is complete. What follows the
    /// reply stays in `input`. A line may end in a bare LF: nothing is decided by it here.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Reply>, ReplyError> {
        while let Some(end) = memchr::memchr(b'\n', input) {
            if end >= MAX_LINE {
                return Err(ReplyError::LineTooLong);
            }
            let last = self.push(&input[..end])?;
            input.advance(end + 1);
            if last {
                let (code, lines) = (self.code.take(), std::mem::take(&mut self.lines));
                return Ok(code.map(|code| Reply { code, lines }));
            }
        }
        match input.len() > MAX_LINE {
            true => Err(ReplyError::LineTooLong),
            false => Ok(None),
        }
    }

    /// Adds a line; true when it is the reply's last.
    fn push(&mut self, line: &[u8]) -> Result<bool, ReplyError> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some((digits, rest)) = line.split_at_checked(3) else { return Err(ReplyError::Code) };
        if !matches!(digits[0], b'2'..=b'5') || !digits.iter().all(u8::is_ascii_digit) {
            return Err(ReplyError::Code);
        }
        let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
        if *self.code.get_or_insert(code) != code {
            return Err(ReplyError::Mixed);
        }
        if self.lines.len() == MAX_LINES {
            return Err(ReplyError::TooManyLines);
        }
        let (last, text) = match rest.split_first() {
            None => (true, rest),
            Some((b' ', text)) => (true, text),
            Some((b'-', text)) => (false, text),
            Some(_) => return Err(ReplyError::Code),
        };
        self.lines.push(printable(text));
        Ok(last)
    }
}

fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What an EHLO reply offers (RFC 5321 section 4.1.1.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// SIZE (RFC 1870).
    pub size: bool,
    /// SIZE's limit, when it is one: 0 and nothing mean that there is none.
    pub max_size: Option<u64>,
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced_status_codes: bool,
    /// AUTH (RFC 4954): mechanisms in upper case, in the order offered.
    pub auth: Vec<String>,
}

impl Extensions {
    /// Reads the keywords: every line but the first.
    pub fn from_reply(reply: &Reply) -> Self {
        let mut extensions = Self::default();
        for line in reply.lines.iter().skip(1) {
            extensions.add(line);
        }
        extensions
    }

    /// True when the mechanism is offered.
    pub fn offers_auth(&self, mechanism: &str) -> bool {
        self.auth.iter().any(|offered| offered == mechanism)
    }

    fn add(&mut self, line: &str) {
        // `AUTH=LOGIN` is how services before RFC 2554 wrote it, and some still add that line.
        let mut words = line.split([' ', '\t', '=']).filter(|word| !word.is_empty());
        let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
        match keyword.as_str() {
            "SIZE" => {
                self.size = true;
                self.max_size = words.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
            }
            "PIPELINING" => self.pipelining = true,
            "8BITMIME" => self.eight_bit_mime = true,
            "SMTPUTF8" => self.smtputf8 = true,
            "CHUNKING" => self.chunking = true,
            "DSN" => self.dsn = true,
            "STARTTLS" => self.starttls = true,
            "ENHANCEDSTATUSCODES" => self.enhanced_status_codes = true,
            "AUTH" => {
                for mechanism in words.map(str::to_ascii_uppercase) {
                    if !self.auth.contains(&mechanism) {
                        self.auth.push(mechanism);
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_all(text: &[u8]) -> Result<Vec<Reply>, ReplyError> {
        let (mut decoder, mut input) = (ReplyDecoder::new(), BytesMut::from(text));
        let mut replies = Vec::new();
        while let Some(reply) = decoder.decode(&mut input)? {
            replies.push(reply);
        }
        Ok(replies)
    }

    fn reply(code: u16, lines: &[&str]) -> Reply {
        Reply { code, lines: lines.iter().map(|line| (*line).to_owned()).collect() }
    }

    #[test]
    fn replies_in_order_however_they_arrive() {
        let text = b"220 mx ESMTP\r\n250-mx\r\n250-SIZE 10\r\n250 DSN\r\n354\r\n550 5.1.1 no\r\n";
        let expected = vec![
            reply(220, &["mx ESMTP"]),
            reply(250, &["mx", "SIZE 10", "DSN"]),
            reply(354, &[]).tap_line(""),
            reply(550, &["5.1.1 no"]),
        ];
        assert_eq!(decode_all(text), Ok(expected.clone()));
        for cut in 0..text.len() {
            let (mut decoder, mut input) = (ReplyDecoder::new(), BytesMut::new());
            let mut replies = Vec::new();
            for part in [&text[..cut], &text[cut..]] {
                input.extend_from_slice(part);
                while let Some(reply) = decoder.decode(&mut input).expect("valid") {
                    replies.push(reply);
                }
            }
            assert_eq!(replies, expected, "cut {cut}");
        }
    }

    impl Reply {
        fn tap_line(mut self, line: &str) -> Self {
            self.lines.push(line.to_owned());
            self
        }
    }

    #[test]
    fn junk_and_floods_are_errors() {
        let long = format!("250 {}\r\n", "x".repeat(MAX_LINE));
        let endless = "250-x\r\n".repeat(MAX_LINES + 1);
        for (text, error) in [
            ("hello\r\n", ReplyError::Code),
            ("\r\n", ReplyError::Code),
            ("25\r\n", ReplyError::Code),
            ("150 x\r\n", ReplyError::Code),
            ("650 x\r\n", ReplyError::Code),
            ("250x\r\n", ReplyError::Code),
            ("250-a\r\n550 b\r\n", ReplyError::Mixed),
            ("250-a\r\njunk\r\n", ReplyError::Code),
            (&long, ReplyError::LineTooLong),
            (long.trim_end(), ReplyError::LineTooLong),
            (&endless, ReplyError::TooManyLines),
        ] {
            assert_eq!(decode_all(text.as_bytes()), Err(error), "{}", &text[..text.len().min(20)]);
        }
    }

    #[test]
    fn long_lines_and_many_lines_within_bounds_are_read() {
        let long = format!("250 {}\r\n", "x".repeat(MAX_LINE - 6));
        assert_eq!(decode_all(long.as_bytes()).expect("read").len(), 1);
        let many = format!("{}250 x\r\n", "250-x\r\n".repeat(MAX_LINES - 1));
        assert_eq!(decode_all(many.as_bytes()).expect("read")[0].lines.len(), MAX_LINES);
    }

    #[test]
    fn enhanced_codes_are_taken_when_their_class_fits() {
        let cases: [(Reply, Option<Enhanced>, &str); 6] = [
            (reply(550, &["5.1.1 no such user"]), Some((5, 1, 1)), "no such user"),
            (reply(535, &["5.7.139 a", "5.7.139 b"]), Some((5, 7, 139)), "a b"),
            (reply(250, &["OK"]), None, "OK"),
            (reply(550, &["4.1.1 odd"]), None, "4.1.1 odd"),
            (reply(250, &["2.0.0"]), Some((2, 0, 0)), ""),
            (reply(550, &["5.1.1.1 x"]), None, "5.1.1.1 x"),
        ];
        for (reply, enhanced, text) in cases {
            assert_eq!((reply.enhanced(), reply.text().as_str()), (enhanced, text));
        }
        assert_eq!(reply(550, &["5.1.1 no", "5.1.1 user"]).to_string(), "550 5.1.1 no user");
        assert_eq!(reply(354, &[""]).to_string(), "354");
    }

    #[test]
    fn controls_never_leave_the_decoder() {
        let replies = decode_all(b"250 a\x1b[31m\0b\xff\r\n").expect("read");
        assert_eq!(replies[0].lines[0], "a [31m b\u{fffd}");
    }

    #[test]
    fn keywords_are_read_as_gmail_and_exchange_write_them() {
        let gmail = reply(
            250,
            &[
                "smtp.gmail.com at your service, SIZE 1",
                "SIZE 35882577",
                "8BITMIME",
                "AUTH LOGIN PLAIN XOAUTH2 PLAIN-CLIENTTOKEN OAUTHBEARER XOAUTH",
                "ENHANCEDSTATUSCODES",
                "PIPELINING",
                "CHUNKING",
                "SMTPUTF8",
            ],
        );
        let extensions = Extensions::from_reply(&gmail);
        assert_eq!(extensions.max_size, Some(35_882_577));
        assert!(extensions.size && extensions.eight_bit_mime && extensions.pipelining);
        assert!(extensions.chunking && extensions.smtputf8 && extensions.enhanced_status_codes);
        assert!(!extensions.dsn && !extensions.starttls);
        assert!(extensions.offers_auth("XOAUTH2") && !extensions.offers_auth("CRAM-MD5"));
        let odd = reply(250, &["x", "size", "AUTH=LOGIN plain", "auth login", "dsn", "StartTLS"]);
        let extensions = Extensions::from_reply(&odd);
        assert_eq!(extensions.auth, ["LOGIN", "PLAIN"]);
        assert!(extensions.size && extensions.max_size.is_none());
        assert!(extensions.dsn && extensions.starttls);
        let unlimited = Extensions::from_reply(&reply(250, &["x", "SIZE 0"]));
        assert_eq!((unlimited.size, unlimited.max_size), (true, None));
    }
}
