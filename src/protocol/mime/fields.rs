//! Header fields as they stand in a message, byte for byte.
//!
//! Danger: a header that is parsed and printed again is another header: signatures break, encoded
//! words change. Rule: fields are ranges of the original; an edit copies those it keeps.

/// One field of a header, folded lines included (RFC 5322 section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as written; empty for a line that is no field, such as mbox's `From ` line.
    pub name: &'a [u8],
    /// What follows the colon, line ends included.
    pub value: &'a [u8],
    /// The whole field, line end included.
    pub raw: &'a [u8],
}

impl Field<'_> {
    /// Compares the name without case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The fields of a header block, in order; stops at the empty line.
pub fn fields(header: &[u8]) -> Fields<'_> {
    Fields { rest: header }
}

/// Iterator over the fields of a header block.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        if self.rest.is_empty() || self.rest.starts_with(b"\r\n") {
            return None;
        }
        let (raw, rest) = self.rest.split_at(field_length(self.rest));
        self.rest = rest;
        Some(split_name(raw))
    }
}

/// Up to the line end that no folding white space follows.
fn field_length(bytes: &[u8]) -> usize {
    for end in memchr::memmem::find_iter(bytes, b"\r\n") {
        if !matches!(bytes.get(end + 2), Some(b' ' | b'\t')) {
            return end + 2;
        }
    }
    bytes.len()
}

fn split_name(raw: &[u8]) -> Field<'_> {
    let none = Field { name: &[], value: raw, raw };
    let Some(colon) = memchr::memchr(b':', raw) else { return none };
    let mut name = &raw[..colon];
    // RFC 5322 section 4.5 (obsolete syntax) has white space before the colon, but no line end: a
    // parser that reads line by line sees no field there.
    while let [rest @ .., b' ' | b'\t'] = name {
        name = rest;
    }
    match !name.is_empty() && name.iter().all(|byte| (33..=126).contains(byte)) {
        true => Field { name, value: &raw[colon + 1..], raw },
        false => none,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_fields_stay_whole() {
        let header = b"To: a@b,\r\n\tc@d\r\nSubject : x\r\nFrom me Mon\r\nX:\r\n\r\nbody: no\r\n";
        let found: Vec<_> = fields(header).map(|f| (f.name, f.value)).collect();
        let expected: Vec<(&[u8], &[u8])> = vec![
            (b"To", b" a@b,\r\n\tc@d\r\n"),
            (b"Subject", b" x\r\n"),
            (b"", b"From me Mon\r\n"),
            (b"X", b"\r\n"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_name_that_is_folded_is_no_field() {
        for header in ["To\r\n : a@b\r\n", "To\r\n\t: a@b\r\n", "T\r\n o: a@b\r\n", "\t: x\r\n"] {
            let field = fields(header.as_bytes()).next().expect("one");
            assert_eq!((field.name, field.raw), (&b""[..], header.as_bytes()), "{header:?}");
        }
        assert!(fields(b"To \t: a@b\r\n").next().expect("one").is("To"));
    }

    #[test]
    fn raw_fields_add_up_to_the_header() {
        for header in [&b"A: b\r\n c\r\nD"[..], b"", b"\r\nx", b"A: b", b": x\r\nB: c\r\n"] {
            let length: usize = fields(header).map(|field| field.raw.len()).sum();
            let end = memchr::memmem::find(header, b"\r\n\r\n").map_or(header.len(), |at| at + 2);
            let expected = if header.starts_with(b"\r\n") { 0 } else { end };
            assert_eq!(length, expected, "{header:?}");
        }
        assert!(fields(b"sUbJect: x\r\n").next().expect("one").is("Subject"));
    }
}
