//! Command lines out of a stream of bytes.
//!
//! Danger: a line that one reader ends at a bare LF and another at CRLF hides a command in it: a
//! program that lets `\n` through in an address sends its user's own RCPT or DATA. A line without an
//! end fills the memory. Rule: only CRLF ends a line. A line with a stray CR or LF, or longer than
//! its limit, is reported the moment that is known and never run, nor is anything up to its CRLF.
//!
//! Programs that end their lines with LF alone mean well and wait for an answer to each: each gets
//! one, the fault. (To run such lines would not help them: their message would never end.)

use bytes::{Buf, BytesMut};

/// Longest command line, in octets with CRLF. RFC 5321 section 4.5.3.1.4 asks for 512; SIZE,
/// SMTPUTF8 and the DSN parameters each add to that (RFC 3461 section 5: up to 1036 for RCPT).
pub const MAX_COMMAND: usize = 2048;

/// Longest AUTH line or SASL response, in octets with CRLF (RFC 4954 section 4).
pub const MAX_AUTH: usize = 12288;

/// Why a line is not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFault {
    /// A CR or LF that is not part of CRLF.
    StrayLineEnd,
    /// Longer than its limit.
    TooLong,
}

/// What the next line is expected to be; it sets the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A command.
    Command,
    /// The answer to a SASL challenge.
    Sasl,
}

/// Cuts lines from the front of a buffer.
#[derive(Debug, Default)]
pub struct LineReader {
    dropping: Option<Dropping>,
}

/// Octets up to the next CRLF are dropped.
#[derive(Debug)]
struct Dropping {
    /// The last octet was a CR.
    after_cr: bool,
    /// What is being dropped began after a bare LF: to its sender it is a line of its own.
    is_line: bool,
}

impl LineReader {
    /// Takes the next line from `input`, without its CRLF. `None`: more octets are needed.
    pub fn next(
        &mut self,
        input: &mut BytesMut,
        expected: Expected,
    ) -> Option<Result<BytesMut, LineFault>> {
        while let Some(dropping) = &mut self.dropping {
            let (by_crlf, is_line) = (dropping.drop_line(input)?, dropping.is_line);
            match by_crlf {
                true => self.dropping = None,
                false => dropping.is_line = true,
            }
            if is_line {
                return Some(Err(LineFault::StrayLineEnd));
            }
        }
        let limit = limit(input, expected);
        let window = &input[..input.len().min(limit)];
        let Some(at) = memchr::memchr2(b'\r', b'\n', window) else {
            return (input.len() >= limit).then(|| self.refuse(input, limit, LineFault::TooLong));
        };
        match (input[at], input.get(at + 1)) {
            (b'\r', Some(b'\n')) if at + 2 > limit => {
                Some(self.refuse(input, at, LineFault::TooLong))
            }
            (b'\r', Some(b'\n')) => {
                let line = input.split_to(at);
                input.advance(2);
                Some(Ok(line))
            }
            (b'\r', None) if input.len() < limit => None,
            (b'\r', None) => Some(self.refuse(input, at, LineFault::TooLong)),
            _ => Some(self.refuse(input, at, LineFault::StrayLineEnd)),
        }
    }

    /// Drops the line. Its end is at `seen` or later; a stray line end is at `seen`.
    fn refuse(
        &mut self,
        input: &mut BytesMut,
        seen: usize,
        fault: LineFault,
    ) -> Result<BytesMut, LineFault> {
        let is_stray = fault == LineFault::StrayLineEnd;
        let is_line = is_stray && input[seen] == b'\n';
        input.advance(seen + usize::from(is_stray));
        self.dropping = Some(Dropping { after_cr: false, is_line });
        Err(fault)
    }
}

impl Dropping {
    /// Drops octets up to the next LF; true when it was CRLF. `None`: all were dropped.
    fn drop_line(&mut self, input: &mut BytesMut) -> Option<bool> {
        let Some(end) = memchr::memchr(b'\n', input) else {
            self.after_cr = input.last().map_or(self.after_cr, |last| *last == b'\r');
            input.clear();
            return None;
        };
        let by_crlf = if end == 0 { self.after_cr } else { input[end - 1] == b'\r' };
        input.advance(end + 1);
        self.after_cr = false;
        Some(by_crlf)
    }
}

fn limit(input: &[u8], expected: Expected) -> usize {
    let auth = input.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH"));
    match expected {
        Expected::Sasl => MAX_AUTH,
        Expected::Command if auth => MAX_AUTH,
        Expected::Command => MAX_COMMAND,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Found = Vec<Result<Vec<u8>, LineFault>>;

    fn lines(pieces: &[&[u8]], expected: Expected) -> (Found, Vec<u8>) {
        let mut reader = LineReader::default();
        let mut input = BytesMut::new();
        let mut found = Vec::new();
        for piece in pieces {
            input.extend_from_slice(piece);
            while let Some(line) = reader.next(&mut input, expected) {
                found.push(line.map(|line| line.to_vec()));
            }
        }
        (found, input.to_vec())
    }

    #[test]
    fn only_crlf_ends_a_line_however_the_input_is_cut() {
        let ok = |text: &str| Ok(text.as_bytes().to_vec());
        let stray = Err(LineFault::StrayLineEnd);
        let table: Vec<(&[u8], Found, &[u8])> = vec![
            (b"NOOP\r\nQUIT\r\n", vec![ok("NOOP"), ok("QUIT")], b""),
            (b"\r\nRSE", vec![ok("")], b"RSE"),
            (b"NOOP\nQUIT\r\nRSET\r\n", vec![stray.clone(), stray.clone(), ok("RSET")], b""),
            (b"A\nB\nC\nD\r\nE\r\n", [vec![stray.clone(); 4], vec![ok("E")]].concat(), b""),
            (b"NOOP\rQUIT\r\nRSET\r\n", vec![stray.clone(), ok("RSET")], b""),
            (b"A\rB\nC\r\nRSET\r\n", vec![stray.clone(), stray.clone(), ok("RSET")], b""),
            (b"NOOP\r\r\nRSET\r\n", vec![stray.clone(), ok("RSET")], b""),
            (b"NOOP\n\r\nRSET\r\n", vec![stray.clone(), stray.clone(), ok("RSET")], b""),
            (b"\n\nNOOP\r\nRSET\r\n", [vec![stray; 3], vec![ok("RSET")]].concat(), b""),
        ];
        for (text, expected, rest) in table {
            assert_eq!(lines(&[text], Expected::Command), (expected.clone(), rest.to_vec()));
            for cut in 0..text.len() {
                let found = lines(&[&text[..cut], &text[cut..]], Expected::Command);
                assert_eq!(found, (expected.clone(), rest.to_vec()), "{text:?} cut at {cut}");
            }
            let bytes: Vec<&[u8]> = text.chunks(1).collect();
            assert_eq!(lines(&bytes, Expected::Command), (expected, rest.to_vec()), "{text:?}");
        }
    }

    #[test]
    fn a_long_line_is_refused_once_and_never_kept() {
        let mut reader = LineReader::default();
        let mut input = BytesMut::new();
        let mut faults = 0;
        for _ in 0..100 {
            input.extend_from_slice(&[b'x'; 1000]);
            faults += usize::from(reader.next(&mut input, Expected::Command).is_some());
            assert!(input.len() <= MAX_COMMAND, "{}", input.len());
        }
        assert_eq!(faults, 1);
        input.extend_from_slice(b"\r\nNOOP\r\n");
        let line = reader.next(&mut input, Expected::Command);
        assert_eq!(line, Some(Ok(BytesMut::from(&b"NOOP"[..]))));
    }

    #[test]
    fn limits_count_the_crlf_and_differ_for_auth() {
        let padded = |start: &str, length: usize| {
            let mut line = start.as_bytes().to_vec();
            line.resize(length - 2, b'x');
            line.extend_from_slice(b"\r\n");
            line
        };
        let table = [
            (padded("NOOP ", MAX_COMMAND), Expected::Command, true),
            (padded("NOOP ", MAX_COMMAND + 1), Expected::Command, false),
            (padded("NOOP ", MAX_COMMAND + 2), Expected::Command, false),
            (padded("auth ", MAX_AUTH), Expected::Command, true),
            (padded("auth ", MAX_AUTH + 1), Expected::Command, false),
            (padded("", MAX_AUTH), Expected::Sasl, true),
            (padded("", MAX_AUTH + 1), Expected::Sasl, false),
        ];
        for (line, expected, good) in table {
            for cut in [0, 1, 4, line.len() - 2, line.len() - 1] {
                let (found, rest) = lines(&[&line[..cut], &line[cut..]], expected);
                assert_eq!((found.len(), rest.len()), (1, 0), "{} cut {cut}", line.len());
                assert_eq!(found[0].is_ok(), good, "{} cut {cut}", line.len());
            }
        }
    }
}
