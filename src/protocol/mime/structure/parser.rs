//! Finds parts while a message streams past.
//!
//! Danger: a boundary may be cut by the end of a piece, belong to an outer multipart, or never
//! come; and what is kept for each line of a hostile message adds up. Rule: only lines that begin
//! with `--` are compared, with at most [`MAX_DEPTH`] boundaries; a line is kept no further than it
//! can matter; every open part ends where the boundary that ends it begins.

use std::ops::Range;

use memchr::memchr;

use super::super::fields;
use super::super::transfer::Encoding;
use super::{ContentType, Inside, Part, encoding};

/// Parts inside each other; mail that people write has five or six.
const MAX_DEPTH: usize = 60;
/// Parts of one message; digests of busy lists have hundreds.
const MAX_PARTS: usize = 2_000;
/// Header octets that are kept of a whole message. A field with 20,000 recipients still fits.
const MAX_HEADERS: usize = 1 << 20;
/// A longer line is no delimiter: boundaries have at most 70 characters (RFC 2046 section 5.1.1),
/// and some programs write longer ones.
const MAX_DELIMITER_LINE: usize = 1024;

/// Finds the parts of a message whose octets it is shown in order. Line ends are CRLF.
#[derive(Debug)]
pub struct StructureParser {
    /// Parts whose end is not known yet, outermost first; never empty.
    open: Vec<Open>,
    /// True while the header of the innermost open part is read.
    in_header: bool,
    /// Offset of what comes next.
    at: u64,
    /// Line ends so far.
    line_ends: u64,
    /// The start of a line that a piece ended in, as far as it can matter.
    line: Vec<u8>,
    line_length: u64,
    /// The octet before what comes next.
    last: u8,
    /// Length of the line end before the current line.
    line_end: u64,
    /// Header octets kept so far.
    kept: usize,
    parts: usize,
    /// No more parts: the rest belongs to the part in which the limit was reached.
    is_full: bool,
}

/// A part whose end is not known yet.
#[derive(Debug)]
struct Open {
    header: Vec<u8>,
    /// Some of the header was too much to keep.
    is_cut: bool,
    header_range: Range<u64>,
    /// Line ends before the body.
    line_ends: u64,
    /// Its type when nothing is said: a part of a digest is a message.
    in_digest: bool,
    inside: Inside,
    is_digest: bool,
    /// The boundary of a multipart that may have more parts.
    boundary: Option<Vec<u8>>,
}

impl Open {
    fn at(offset: u64, in_digest: bool) -> Self {
        Self {
            header: Vec::new(),
            is_cut: false,
            header_range: offset..offset,
            line_ends: 0,
            in_digest,
            inside: Inside::Leaf,
            is_digest: false,
            boundary: None,
        }
    }

    /// The part, which ends at `end` with so many line ends of the message before it.
    fn close(self, end: u64, line_ends: u64) -> Part {
        let body = self.header_range.end..end.max(self.header_range.end);
        let inside = match self.inside {
            Inside::Parts(parts) if parts.is_empty() => Inside::Parts(vec![empty(body.end)]),
            inside => inside,
        };
        Part {
            header: self.header,
            header_range: self.header_range,
            lines: line_ends.saturating_sub(self.line_ends),
            body_range: body,
            inside,
        }
    }
}

/// What a multipart without parts has instead: RFC 9051 section 9 (`body-type-mpart`) wants one.
fn empty(at: u64) -> Part {
    Part {
        header: Vec::new(),
        header_range: at..at,
        body_range: at..at,
        lines: 0,
        inside: Inside::Leaf,
    }
}

impl Default for StructureParser {
    fn default() -> Self {
        Self {
            open: vec![Open::at(0, false)],
            in_header: true,
            at: 0,
            line_ends: 0,
            line: Vec::new(),
            line_length: 0,
            last: 0,
            line_end: 0,
            kept: 0,
            parts: 1,
            is_full: false,
        }
    }
}

impl StructureParser {
    /// At the start of a message.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next octets.
    pub fn push(&mut self, octets: &[u8]) {
        let mut rest = octets;
        while let Some(end) = memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end + 1);
            rest = after;
            self.at += line.len() as u64;
            self.line_length += line.len() as u64;
            let before = line.len().checked_sub(2).map_or(self.last, |place| line[place]);
            let line_end = if before == b'\r' { 2 } else { 1 };
            if self.line_length == line.len() as u64 {
                self.end_line(line, line_end);
            } else {
                self.keep(line);
                let line = std::mem::take(&mut self.line);
                self.end_line(&line, line_end);
            }
            self.last = b'\n';
        }
        self.at += rest.len() as u64;
        self.line_length += rest.len() as u64;
        self.last = rest.last().copied().unwrap_or(self.last);
        self.keep(rest);
    }

    /// Keeps of an unfinished line what can matter.
    fn keep(&mut self, piece: &[u8]) {
        let room = if self.in_header { self.header_room() } else { 0 };
        let room = room.max(MAX_DELIMITER_LINE).saturating_sub(self.line.len());
        self.line.extend_from_slice(&piece[..piece.len().min(room)]);
    }

    fn header_room(&self) -> usize {
        MAX_HEADERS.saturating_sub(self.kept)
    }

    /// The message is complete.
    pub fn finish(mut self) -> Part {
        if self.line_length > 0 {
            let line = std::mem::take(&mut self.line);
            self.end_line(&line, 0);
        }
        while self.in_header {
            self.end_header(self.at);
        }
        self.close_above(0, self.at, self.line_ends);
        match self.open.pop() {
            Some(root) => root.close(self.at, self.line_ends),
            None => empty(0),
        }
    }

    /// A line is complete; `line` is what was kept of it, and `self.at` is behind it.
    fn end_line(&mut self, line: &[u8], line_end: u64) {
        let delimiter = self.delimiter(line);
        let line_ends_before = self.line_ends;
        self.line_ends += u64::from(line_end > 0);
        match delimiter {
            Some((level, is_last)) => self.at_delimiter(level, is_last, line_ends_before),
            None if self.in_header => self.header_line(line),
            None => {}
        }
        self.line_end = line_end;
        self.line_length = 0;
    }

    /// Which open multipart's delimiter the line is, and whether it is the closing one. The
    /// innermost comes first, as boundaries may begin alike.
    fn delimiter(&mut self, line: &[u8]) -> Option<(usize, bool)> {
        if self.is_full || self.line_length > MAX_DELIMITER_LINE as u64 {
            return None;
        }
        let text = line.strip_prefix(b"--")?.trim_ascii_end();
        let found = self.open.iter().enumerate().rev().find_map(|(level, open)| {
            match text.strip_prefix(open.boundary.as_deref()?)? {
                b"" => Some((level, false)),
                b"--" => Some((level, true)),
                _ => None,
            }
        });
        self.is_full = matches!(found, Some((_, false))) && self.parts >= MAX_PARTS;
        found.filter(|_| !self.is_full)
    }

    fn header_line(&mut self, line: &[u8]) {
        let is_empty = line == b"\r\n" || line == b"\n";
        let fits = self.line_length <= self.header_room() as u64;
        if let Some(open) = self.open.last_mut() {
            open.is_cut |= !fits;
            if is_empty || !open.is_cut {
                open.header.extend_from_slice(line);
                self.kept += line.len();
            }
        }
        if is_empty {
            self.end_header(self.at);
        }
    }

    /// The innermost part's header ends at `end`; says what is inside.
    fn end_header(&mut self, end: u64) {
        self.in_header = false;
        let may_open = self.open.len() < MAX_DEPTH;
        let Some(open) = self.open.last_mut() else { return };
        open.header_range.end = end;
        open.line_ends = self.line_ends;
        let length = usize::try_from(end - open.header_range.start).unwrap_or(usize::MAX);
        // The line end before a delimiter belongs to the delimiter.
        open.header.truncate(length);
        let field = fields(&open.header).find(|field| field.is("Content-Type"));
        let kind = match field {
            Some(field) => ContentType::of(field.value),
            None => open.in_digest.then(ContentType::message),
        };
        let Some(kind) = kind.filter(|_| may_open) else { return };
        let is_plain = encoding(&open.header) == Encoding::Identity;
        if let Some(boundary) = kind.boundary() {
            open.is_digest = kind.subtype == "digest";
            open.boundary = Some(boundary);
            open.inside = Inside::Parts(Vec::new());
        } else if kind.is_message() && is_plain && self.parts < MAX_PARTS {
            self.open_part(end, false);
        }
    }

    fn open_part(&mut self, at: u64, in_digest: bool) {
        self.parts += 1;
        self.open.push(Open::at(at, in_digest));
        self.in_header = true;
    }

    /// A delimiter line of the multipart at `level` was read; before it were so many line ends.
    fn at_delimiter(&mut self, level: usize, is_last: bool, line_ends: u64) {
        let end = self.at - self.line_length - self.line_end;
        while self.in_header {
            // No empty line ended it.
            let start = self.open.last().map_or(end, |open| open.header_range.start);
            self.end_header(end.max(start));
        }
        self.close_above(level, end, line_ends - u64::from(self.line_end > 0));
        let Some(open) = self.open.last_mut() else { return };
        if is_last {
            open.boundary = None;
            return;
        }
        let in_digest = open.is_digest;
        self.open_part(self.at, in_digest);
    }

    /// Ends every part inside the one at `level`. The line end before a delimiter belongs to it,
    /// except where it is the empty line of a header, which all that surrounds it holds too.
    fn close_above(&mut self, level: usize, mut end: u64, mut line_ends: u64) {
        while self.open.len() > level + 1 {
            let Some(part) = self.open.pop().map(|open| open.close(end, line_ends)) else { return };
            if part.body_range.end > end {
                end = part.body_range.end;
                line_ends += 1;
            }
            match self.open.last_mut().map(|open| &mut open.inside) {
                Some(Inside::Parts(parts)) => parts.push(part),
                Some(inside) => *inside = Inside::Message(Box::new(part)),
                None => return,
            }
        }
    }
}
