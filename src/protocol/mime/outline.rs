//! The tree of MIME parts as ranges of the message, found while the message streams past
//! (RFC 2045, RFC 2046 section 5.1).
//!
//! Danger: a message of 140 MB that is parsed into values is in memory twice, and a hostile one
//! with a million parts is there a hundred times. Rule: only part headers are kept while reading,
//! parts are ranges, and depth, number and header sizes have limits; what exceeds them is an error,
//! never a guess.

use std::ops::Range;

use super::transfer::Encoding;

/// Multiparts inside each other; mail that people write has three or four.
const MAX_DEPTH: usize = 50;
/// Parts of one message.
const MAX_PARTS: usize = 10_000;
/// Header octets of all parts together, the message's own header apart.
const MAX_PART_HEADERS: usize = 4 << 20;
/// The message's own header, in octets.
const MAX_HEADER: usize = 1 << 20;
/// A longer line is no delimiter: boundaries have at most 70 characters (RFC 2046 section 5.1.1),
/// and some programs write longer ones.
const MAX_DELIMITER_LINE: usize = 1024;

/// Why a message has no outline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More than 50 multiparts inside each other.
    #[error("its parts are nested more than {MAX_DEPTH} deep")]
    Depth,
    /// More than 10,000 parts.
    #[error("it has more than {MAX_PARTS} parts")]
    Parts,
    /// Part headers of more than 4 MiB.
    #[error("its headers are too large")]
    Headers,
}

/// The parts of a message in the order in which they begin; the first is the message itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// The parts.
    pub parts: Vec<Part>,
}

/// One part of a message. Offsets count from the message's first octet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The multipart it belongs to; `None` for the message itself.
    pub parent: Option<usize>,
    /// Where its delimiter begins, with the line end that belongs to the delimiter.
    pub start: u64,
    /// Its header with the empty line.
    pub header: Range<u64>,
    /// Its body without the line end before the next delimiter.
    pub body: Range<u64>,
    /// Type and subtype in lower case, such as `text/plain`.
    pub content_type: String,
    /// Its transfer encoding.
    pub encoding: Encoding,
    /// True with `Content-Disposition: attachment`.
    pub is_attachment: bool,
    /// The decoded file name.
    pub file_name: Option<String>,
    /// Content-ID without angle brackets.
    pub content_id: Option<String>,
}

impl Part {
    /// True when it holds parts of its own.
    pub fn is_multipart(&self) -> bool {
        self.content_type.starts_with("multipart/")
    }
}

impl Outline {
    /// True when a part is signed or encrypted (RFC 1847, RFC 8551): such a message stays valid
    /// only byte for byte.
    pub fn is_protected(&self) -> bool {
        const PROTECTED: [&str; 4] = [
            "multipart/signed",
            "multipart/encrypted",
            "application/pkcs7-mime",
            "application/x-pkcs7-mime",
        ];
        self.parts.iter().any(|part| PROTECTED.contains(&part.content_type.as_str()))
    }

    /// The parts that are attachments: leaves of a multipart that are neither the text nor one of
    /// its alternatives, in an encoding that can be undone.
    pub fn attachments(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.parts.len()).filter(|index| {
            let part = &self.parts[*index];
            let Some(parent) = part.parent else { return false };
            let is_text = part.content_type.starts_with("text/") && part.file_name.is_none();
            !part.is_multipart()
                && part.encoding != Encoding::Unknown
                && self.parts[parent].content_type != "multipart/alternative"
                && (part.is_attachment || !is_text)
        })
    }

    /// The message without the parts `cut`, as ranges and inserted text in order. A multipart that
    /// would lose every part keeps an empty text, as services refuse one without parts.
    pub fn without(&self, cut: &[usize], size: u64) -> Vec<Segment> {
        let mut left: Vec<usize> = vec![0; self.parts.len()];
        for (index, part) in self.parts.iter().enumerate() {
            if let Some(parent) = part.parent.filter(|_| !cut.contains(&index)) {
                left[parent] += 1;
            }
        }
        let mut segments = Vec::new();
        let mut from = 0;
        for (index, part) in self.parts.iter().enumerate().filter(|(i, _)| cut.contains(i)) {
            let parent = part.parent.unwrap_or(index);
            let empties = left[parent] == 0;
            left[parent] += usize::from(empties);
            let end = if empties { part.header.start } else { part.start };
            segments.push(Segment::Range(from..end.max(from)));
            if empties {
                segments.push(Segment::Text(b"Content-Type: text/plain\r\n\r\n"));
            }
            from = part.body.end;
        }
        segments.push(Segment::Range(from..size));
        segments
    }
}

/// A piece of a message that is put together from another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Octets of the other message.
    Range(Range<u64>),
    /// Octets of our own.
    Text(&'static [u8]),
}

impl Segment {
    /// Octets.
    pub fn size(&self) -> u64 {
        match self {
            Self::Range(range) => range.end - range.start,
            Self::Text(text) => text.len() as u64,
        }
    }
}

/// Makes an [`Outline`] from a message that is fed in pieces.
#[derive(Debug)]
pub struct Builder {
    parts: Vec<Part>,
    /// Multiparts whose delimiters are looked for, outermost first.
    open: Vec<Open>,
    /// Offset of what is fed next.
    at: u64,
    /// The part whose header or body is being read.
    current: usize,
    /// The header being read; `None` in a body.
    header: Option<Vec<u8>>,
    part_headers: usize,
    /// The start of a line that a piece ended in.
    line: Vec<u8>,
    line_length: u64,
    /// Length of the line end before the current line.
    line_end: u64,
    failed: Option<Error>,
}

#[derive(Debug)]
struct Open {
    part: usize,
    boundary: Vec<u8>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            parts: vec![Part::default()],
            open: Vec::new(),
            at: 0,
            current: 0,
            header: Some(Vec::new()),
            part_headers: 0,
            line: Vec::new(),
            line_length: 0,
            line_end: 0,
            failed: None,
        }
    }
}

impl Builder {
    /// Takes the next octets.
    pub fn push(&mut self, piece: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        for segment in piece.split_inclusive(|byte| *byte == b'\n') {
            self.at += segment.len() as u64;
            self.line_length += segment.len() as u64;
            if self.line_length == segment.len() as u64 && segment.ends_with(b"\n") {
                self.end_line(segment);
            } else {
                let limit = if self.header.is_some() { MAX_HEADER } else { MAX_DELIMITER_LINE };
                let room = limit.saturating_sub(self.line.len());
                self.line.extend_from_slice(&segment[..segment.len().min(room)]);
                if segment.ends_with(b"\n") {
                    let line = std::mem::take(&mut self.line);
                    self.end_line(&line);
                }
            }
        }
    }

    /// The outline of what was fed.
    pub fn finish(mut self) -> Result<Outline, Error> {
        if self.line_length > 0 {
            let line = std::mem::take(&mut self.line);
            self.end_line(&line);
        }
        if self.header.is_some() {
            self.end_header(self.at);
        }
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.close(0, self.at);
        Ok(Outline { parts: self.parts })
    }

    /// A line is complete; `self.at` is behind it.
    fn end_line(&mut self, line: &[u8]) {
        let start = self.at - self.line_length;
        let end = if line.ends_with(b"\r\n") { 2 } else { u64::from(line.ends_with(b"\n")) };
        let is_whole = self.line_length == line.len() as u64;
        self.line_length = 0;
        match self.delimiter(line).filter(|_| is_whole) {
            Some((level, is_last)) => self.at_delimiter(level, is_last, start),
            None => self.take_line(line, is_whole),
        }
        self.line_end = end;
    }

    fn take_line(&mut self, line: &[u8], is_whole: bool) {
        let is_root = self.current == 0;
        let Some(header) = &mut self.header else { return };
        header.extend_from_slice(line);
        self.part_headers += if is_root { 0 } else { line.len() };
        let too_large = if is_root { header.len() > MAX_HEADER } else { false };
        if too_large || self.part_headers > MAX_PART_HEADERS || !is_whole {
            self.failed = Some(Error::Headers);
        } else if line == b"\r\n" || line == b"\n" {
            self.end_header(self.at);
        }
    }

    /// Which open multipart's delimiter the line is, and whether it is the closing one.
    fn delimiter(&self, line: &[u8]) -> Option<(usize, bool)> {
        let text = line.strip_prefix(b"--")?.trim_ascii_end();
        self.open.iter().enumerate().rev().find_map(|(level, open)| {
            match text.strip_prefix(open.boundary.as_slice())? {
                b"" => Some((level, false)),
                b"--" => Some((level, true)),
                _ => None,
            }
        })
    }

    fn at_delimiter(&mut self, level: usize, is_last: bool, start: u64) {
        let end = start - self.line_end;
        if self.header.is_some() {
            // No empty line ended it. An empty header shares its line end with the delimiter.
            self.end_header(end.max(self.parts[self.current].header.start));
        }
        // The line end that ended the header of an empty part is not the delimiter's too: multiparts
        // around it would end before it.
        let end = end.max(self.parts[self.current].body.start);
        let owner = self.open[level].part;
        self.close(owner + 1, end);
        self.open.truncate(level + usize::from(!is_last));
        self.current = owner;
        if is_last {
            return;
        }
        if self.parts.len() >= MAX_PARTS {
            self.failed = Some(Error::Parts);
            return;
        }
        self.current = self.parts.len();
        self.header = Some(Vec::new());
        self.parts.push(Part {
            parent: Some(owner),
            start: end,
            header: self.at..self.at,
            ..Part::default()
        });
    }

    /// Ends the body of every part from `first` on that has no end yet.
    fn close(&mut self, first: usize, end: u64) {
        // A part's number is above its parent's, so what is open is found from the back.
        for part in self.parts[first..].iter_mut().rev() {
            if part.body.end == OPEN_END {
                part.body.end = end.max(part.body.start);
            } else if first > 0 && part.parent == Some(first - 1) {
                break;
            }
        }
    }

    fn end_header(&mut self, end: u64) {
        let Some(header) = self.header.take() else { return };
        let in_digest = self.parts[self.current]
            .parent
            .is_some_and(|parent| self.parts[parent].content_type == "multipart/digest");
        let part = &mut self.parts[self.current];
        part.header.end = end;
        part.body = end..OPEN_END;
        let boundary = describe(part, &header, in_digest);
        let Some(boundary) = boundary.filter(|_| part.is_multipart()) else { return };
        if self.open.len() == MAX_DEPTH {
            self.failed = Some(Error::Depth);
            return;
        }
        self.open.push(Open { part: self.current, boundary });
    }
}

/// The end of a body that goes on.
const OPEN_END: u64 = u64::MAX;

/// Fills in what the header says; gives the boundary.
fn describe(part: &mut Part, header: &[u8], in_digest: bool) -> Option<Vec<u8>> {
    use mail_parser::MimeHeaders;
    // RFC 2046 section 5.1.5: a digest's parts are messages unless they say otherwise.
    part.content_type = if in_digest { "message/rfc822" } else { "text/plain" }.to_owned();
    let parser = mail_parser::MessageParser::new().with_mime_headers();
    let message = parser.parse_headers(header)?;
    let root = message.parts.first()?;
    part.encoding = Encoding::named(root.content_transfer_encoding().unwrap_or_default());
    let disposition = root.content_disposition();
    part.is_attachment = disposition.is_some_and(mail_parser::ContentType::is_attachment);
    part.file_name = root.attachment_name().map(str::to_owned);
    part.content_id = root.content_id().map(str::to_owned);
    let content_type = root.content_type()?;
    let subtype = content_type.subtype().unwrap_or_default();
    part.content_type = format!("{}/{subtype}", content_type.ctype()).to_ascii_lowercase();
    let boundary = content_type.attribute("boundary").filter(|boundary| !boundary.is_empty());
    boundary.map(|boundary| boundary.trim_end().as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by fuzzing: the parts around an empty one ended two octets before it.
    #[test]
    fn an_empty_part_lies_within_the_parts_around_it() {
        let inner = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
        let head = "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n";
        let middle = "Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n";
        let outline = outline(&format!("{head}{middle}{inner}--a\r\n\r\nlast\r\n--a--\r\n"));
        assert_eq!(outline.parts.len(), 4);
        for part in &outline.parts[1..] {
            let around = &outline.parts[part.parent.expect("not the message")].body;
            assert!(around.start <= part.header.start && part.body.end <= around.end, "{part:?}");
        }
        assert!(outline.parts[3].start >= outline.parts[2].body.end, "octets of two parts");
    }

    fn outline(text: &str) -> Outline {
        let mut builder = Builder::default();
        builder.push(text.as_bytes());
        builder.finish().expect("within limits")
    }

    const MESSAGE: &str = "From: a@b\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/mixed;\r\n boundary=\"out er\"\r\n\r\n\
        preamble\r\n--out er\r\n\
        Content-Type: Multipart/Alternative; boundary=in\r\n\r\n\
        --in\r\n\r\nplain\r\n--outer\r\n--in\r\nContent-Type: text/html\r\n\
        Content-Transfer-Encoding: Quoted-Printable\r\n\r\n<p>\r\n--in--\r\nepilogue\r\n\
        --out er  \r\nContent-Type: image/png; name=a.png\r\n\
        Content-Disposition: inline\r\nContent-ID: <x@y>\r\n\
        Content-Transfer-Encoding: base64\r\n\r\nZm9v\r\n\r\n\
        --out er\r\nContent-Disposition: attachment;\r\n filename*=utf-8''%C3%A9.txt\r\n\r\n\
        note\r\n--out er--\r\nafter --out er\r\n";

    #[test]
    fn parts_are_ranges_of_the_message() {
        let outline = outline(MESSAGE);
        let found: Vec<_> = outline
            .parts
            .iter()
            .map(|part| {
                let body = part.body.start as usize..part.body.end as usize;
                (part.parent, part.content_type.as_str(), &MESSAGE[body])
            })
            .collect();
        let all = MESSAGE.find("preamble").expect("there");
        let inner = MESSAGE.find("--in\r\n").expect("there");
        let inner_end = MESSAGE.find("epilogue").expect("there") + "epilogue".len();
        let expected: Vec<(Option<usize>, &str, &str)> = vec![
            (None, "multipart/mixed", &MESSAGE[all..]),
            (Some(0), "multipart/alternative", &MESSAGE[inner..inner_end]),
            (Some(1), "text/plain", "plain\r\n--outer"),
            (Some(1), "text/html", "<p>"),
            (Some(0), "image/png", "Zm9v\r\n"),
            (Some(0), "text/plain", "note"),
        ];
        assert_eq!(found, expected);
        assert_eq!(outline.parts[3].encoding, Encoding::QuotedPrintable);
        assert_eq!(outline.parts[4].encoding, Encoding::Base64);
        assert_eq!(outline.parts[4].content_id.as_deref(), Some("x@y"));
        assert_eq!(outline.parts[4].file_name.as_deref(), Some("a.png"));
        assert!(!outline.parts[4].is_attachment);
        assert_eq!(outline.parts[5].file_name.as_deref(), Some("\u{e9}.txt"));
        assert!(outline.parts[5].is_attachment);
        assert_eq!(outline.attachments().collect::<Vec<_>>(), [4, 5]);
        assert!(!outline.is_protected());
    }

    #[test]
    fn pieces_may_end_anywhere() {
        let whole = outline(MESSAGE);
        for cut in 0..MESSAGE.len() {
            let mut builder = Builder::default();
            builder.push(&MESSAGE.as_bytes()[..cut]);
            builder.push(&MESSAGE.as_bytes()[cut..]);
            assert_eq!(builder.finish().expect("within limits"), whole, "cut {cut}");
        }
        let mut builder = Builder::default();
        MESSAGE.bytes().for_each(|byte| builder.push(&[byte]));
        assert_eq!(builder.finish().expect("within limits"), whole);
    }

    fn without(text: &str, cut: &[usize]) -> String {
        let segments = outline(text).without(cut, text.len() as u64);
        let pieces = segments.iter().map(|segment| match segment {
            Segment::Range(range) => &text[range.start as usize..range.end as usize],
            Segment::Text(text) => std::str::from_utf8(text).expect("text"),
        });
        pieces.collect()
    }

    #[test]
    fn cut_parts_leave_a_whole_message() {
        let less = without(MESSAGE, &[4, 5]);
        let found = outline(&less);
        assert_eq!(found.parts.len(), 4);
        assert!(less.contains("epilogue\r\n--out er--\r\nafter"), "{less}");
        assert_eq!(without(MESSAGE, &[]), MESSAGE);
        let one_left = without(MESSAGE, &[4]);
        let last = outline(&one_left).parts[4].clone();
        assert_eq!(&one_left[last.body.start as usize..last.body.end as usize], "note");
    }

    #[test]
    fn a_multipart_never_loses_its_last_part() {
        let text = "Content-Type: multipart/mixed; boundary=b\r\n\r\n\
            --b\r\nContent-Type: image/png\r\n\r\nA\r\n\
            --b\r\nContent-Type: image/gif\r\n\r\nB\r\n--b--\r\n";
        let expected = "Content-Type: multipart/mixed; boundary=b\r\n\r\n\
            --b\r\nContent-Type: text/plain\r\n\r\n\r\n--b--\r\n";
        assert_eq!(without(text, &[1, 2]), expected);
    }

    #[test]
    fn broken_structures_have_an_outline_too() {
        let head = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
        for (text, bodies) in [
            ("--b\r\n\r\nno end", vec!["no end"]),
            ("--b\r\n--b\r\nA: b\r\n--b--", vec!["", ""]),
            ("--b--\r\n--b\r\n\r\nx", vec![]),
            ("no parts", vec![]),
            ("--b\n\nlone\n--b--\n", vec!["lone"]),
            ("--b", vec![""]),
        ] {
            let text = format!("{head}{text}");
            let parts = outline(&text).parts;
            let found: Vec<&str> = parts[1..]
                .iter()
                .map(|part| &text[part.body.start as usize..part.body.end as usize])
                .collect();
            assert_eq!(found, bodies, "{text:?}");
            for cut in 0..=parts.len() {
                let _ = without(&text, &(1..cut).collect::<Vec<_>>());
            }
        }
        assert_eq!(outline("").parts[0].content_type, "text/plain");
        assert_eq!(outline("A: b").parts[0].body, 4..4);
    }

    #[test]
    fn attached_messages_are_not_looked_into() {
        let text = "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\n\
            Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n--b--";
        let outline = outline(text);
        assert_eq!(outline.parts.len(), 2);
        assert_eq!(outline.parts[1].content_type, "message/rfc822");
        assert_eq!(outline.attachments().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn signed_and_encrypted_are_known() {
        for kind in [
            "multipart/signed",
            "Multipart/Encrypted",
            "application/pkcs7-mime",
            "application/X-pkcs7-mime; smime-type=enveloped-data",
        ] {
            let text = format!("Content-Type: {kind}; boundary=b\r\n\r\nx");
            assert!(outline(&text).is_protected(), "{kind}");
            let inner =
                format!("Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n{text}\r\n--o--");
            assert!(outline(&inner).is_protected(), "{kind}");
        }
    }

    fn error(text: &str) -> Option<Error> {
        let mut builder = Builder::default();
        builder.push(text.as_bytes());
        builder.finish().err()
    }

    #[test]
    fn limits_hold() {
        let nested: String = (0..60)
            .map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}x\r\n\r\n--b{n}x\r\n"))
            .collect();
        assert_eq!(error(&nested), Some(Error::Depth));
        let head = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
        let many = format!("{head}{}", "--b\r\n\r\n".repeat(MAX_PARTS + 1));
        assert_eq!(error(&many), Some(Error::Parts));
        assert_eq!(error(&format!("A: {}", "x".repeat(2 << 20))), Some(Error::Headers));
        let long = format!("{head}--b\r\nA: {}\r\n\r\n", "x".repeat(5 << 20));
        assert_eq!(error(&long), Some(Error::Headers));
    }
}
