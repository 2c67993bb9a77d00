//! Content-Type and the parameters that it shares with Content-Disposition (RFC 2045 section 5.1,
//! RFC 2183, RFC 2231).
//!
//! Danger: programs leave out quotes, put comments anywhere and cut parameters into pieces. Rule:
//! every field can be read, in one pass; what makes no sense as a type is no type.

/// A type with its parameters; type and subtype in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentType {
    /// Such as `text`.
    pub kind: String,
    /// Such as `plain`.
    pub subtype: String,
    /// What follows.
    pub parameters: Parameters,
}

impl Default for ContentType {
    /// RFC 2045 section 5.2.
    fn default() -> Self {
        let charset = (b"charset".to_vec(), b"us-ascii".to_vec());
        Self::new("text", "plain", Parameters(vec![charset]))
    }
}

impl ContentType {
    fn new(kind: &str, subtype: &str, parameters: Parameters) -> Self {
        Self { kind: kind.to_owned(), subtype: subtype.to_owned(), parameters }
    }

    /// What a part of a digest is unless it says otherwise (RFC 2046 section 5.1.5).
    pub fn message() -> Self {
        Self::new("message", "rfc822", Parameters::default())
    }

    /// `type "/" subtype *(";" parameter)`; `None` where that is not what stands there.
    pub fn of(value: &[u8]) -> Option<Self> {
        let (start, parameters) = read(value);
        let start = String::from_utf8(start).ok()?.to_ascii_lowercase();
        let (kind, subtype) = start.split_once('/')?;
        let (kind, subtype) = (kind.trim(), subtype.trim());
        let is_token = |text: &str| !text.is_empty() && text.bytes().all(is_token_byte);
        (is_token(kind) && is_token(subtype)).then(|| Self::new(kind, subtype, parameters))
    }

    /// True for `message/rfc822` and `message/global` (RFC 6532 section 3.7).
    pub fn is_message(&self) -> bool {
        self.kind == "message" && matches!(self.subtype.as_str(), "rfc822" | "global")
    }

    /// True for a multipart that can be taken apart.
    pub fn has_parts(&self) -> bool {
        self.boundary().is_some()
    }

    /// The boundary of a multipart.
    pub fn boundary(&self) -> Option<Vec<u8>> {
        if self.kind != "multipart" {
            return None;
        }
        // White space at the end is what transport adds (RFC 2046 section 5.1.1).
        let boundary = self.parameters.joined("boundary")?.trim_ascii_end().to_vec();
        (!boundary.is_empty()).then_some(boundary)
    }

    /// The same, announced as octets: what is a multipart or a message by name alone would be asked
    /// for parts that it does not have.
    pub(super) fn opaque(self) -> Self {
        Self::new("application", "octet-stream", self.parameters)
    }
}

/// RFC 2045 section 5.1: `token`.
fn is_token_byte(byte: u8) -> bool {
    byte > b' ' && byte < 127 && !b"()<>@,;:\\\"/[]?=".contains(&byte)
}

/// Parameters in order: names in lower case as they are written (`filename*0*`), values unquoted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(pub Vec<(Vec<u8>, Vec<u8>)>);

impl Parameters {
    /// What stands before the first semicolon of a field, and the parameters after it.
    pub fn of(value: &[u8]) -> (Vec<u8>, Self) {
        read(value)
    }

    /// The value as text; continuations joined (RFC 2231 section 3).
    pub fn value(&self, name: &str) -> Option<String> {
        self.joined(name).map(|value| String::from_utf8_lossy(&value).into_owned())
    }

    /// The value; where it is in pieces, the pieces together, escapes and charset mark undone.
    fn joined(&self, name: &str) -> Option<Vec<u8>> {
        if let Some(value) = self.exactly(name.as_bytes()) {
            return Some(value.to_vec());
        }
        if let Some(value) = self.exactly(format!("{name}*").as_bytes()) {
            return Some(unescape(without_charset(value)));
        }
        let mut whole = Vec::new();
        for number in 0..self.0.len() {
            let plain = format!("{name}*{number}");
            if let Some(piece) = self.exactly(plain.as_bytes()) {
                whole.extend_from_slice(piece);
            } else if let Some(piece) = self.exactly(format!("{plain}*").as_bytes()) {
                whole.extend(unescape(if number == 0 { without_charset(piece) } else { piece }));
            } else if number == 0 {
                return None;
            } else {
                break;
            }
        }
        (!whole.is_empty()).then_some(whole)
    }

    fn exactly(&self, name: &[u8]) -> Option<&[u8]> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_slice())
    }
}

/// Drops `charset'language'`.
fn without_charset(value: &[u8]) -> &[u8] {
    value.splitn(3, |byte| *byte == b'\'').nth(2).unwrap_or(value)
}

fn unescape(value: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let octet = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match octet.filter(|_| byte == b'%') {
            Some(octet) => {
                plain.push(octet);
                rest = &after[2..];
            }
            None => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    plain
}

/// Parameters of one field; the rest of a longer list is left out.
const MAX_PARAMETERS: usize = 200;

/// What stands before the first semicolon, and the parameters.
pub(super) fn read(value: &[u8]) -> (Vec<u8>, Parameters) {
    let mut pieces = Pieces { rest: value };
    let start = pieces.next().map(|piece| piece.text).unwrap_or_default();
    let parameters = pieces.filter_map(|piece| {
        let name = piece.name?.to_ascii_lowercase();
        (!name.is_empty()).then_some((name, piece.text))
    });
    (start, Parameters(parameters.take(MAX_PARAMETERS).collect()))
}

/// The one word of a field, in lower case.
pub(super) fn token(value: &[u8]) -> String {
    String::from_utf8_lossy(&read(value).0).to_ascii_lowercase()
}

/// What stands between two semicolons.
#[derive(Debug, Default)]
struct Piece {
    /// Before the first `=`.
    name: Option<Vec<u8>>,
    /// The rest, quotes undone, comments and outer white space gone.
    text: Vec<u8>,
}

/// Cuts a field at its semicolons.
struct Pieces<'a> {
    rest: &'a [u8],
}

impl Iterator for Pieces<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        if self.rest.is_empty() {
            return None;
        }
        let mut piece = Piece::default();
        let mut is_quoted = false;
        while let Some((&byte, after)) = self.rest.split_first() {
            self.rest = after;
            match byte {
                b';' => break,
                b'(' => self.skip_comment(),
                // What follows a quoted value up to the semicolon is noise.
                b'"' if !is_quoted && piece.text.trim_ascii().is_empty() => {
                    piece.text = self.quoted();
                    is_quoted = true;
                }
                b'=' if piece.name.is_none() && !is_quoted => {
                    piece.name = Some(std::mem::take(&mut piece.text).trim_ascii().to_vec());
                }
                b'\r' | b'\n' => {}
                _ if is_quoted => {}
                _ => piece.text.push(byte),
            }
        }
        if !is_quoted {
            piece.text = piece.text.trim_ascii().to_vec();
        }
        Some(piece)
    }
}

impl Pieces<'_> {
    /// RFC 5322 section 3.2.2; one that does not end goes to the end of the field.
    fn skip_comment(&mut self) {
        let mut depth = 1_usize;
        while let Some((&byte, after)) = self.rest.split_first() {
            self.rest = after;
            match byte {
                b'\\' => self.rest = after.get(1..).unwrap_or_default(),
                b'(' => depth += 1,
                b')' if depth == 1 => return,
                b')' => depth -= 1,
                _ => {}
            }
        }
    }

    /// RFC 5322 section 3.2.4, behind the opening quote.
    fn quoted(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        while let Some((&byte, after)) = self.rest.split_first() {
            self.rest = after;
            match byte {
                b'"' => break,
                b'\r' | b'\n' => {}
                b'\\' => {
                    text.extend(after.first());
                    self.rest = after.get(1..).unwrap_or_default();
                }
                _ => text.push(byte),
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(value: &str) -> String {
        let (start, parameters) = read(value.as_bytes());
        let mut all = vec![String::from_utf8_lossy(&start).into_owned()];
        all.extend(parameters.0.iter().map(|(name, value)| {
            format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
        }));
        all.join("|")
    }

    #[test]
    fn fields_are_read_as_programs_write_them() {
        for (value, expected) in [
            (" text/plain\r\n", "text/plain"),
            (" text/plain; charset=us-ascii (Plain text)\r\n", "text/plain|charset=us-ascii"),
            (
                " a/b ; Charset = \"utf-8\" ;\r\n\tname=\"a \\\"b\\\"; c\"\r\n",
                "a/b|charset=utf-8|name=a \"b\"; c",
            ),
            ("m/m; boundary=\"foo\r\n bar\"", "m/m|boundary=foo bar"),
            ("a/b; name=my file.pdf; x", "a/b|name=my file.pdf"),
            ("a/b;;; =x; y=", "a/b|y="),
            ("a/b; x=\"\"; y=\"q\"z", "a/b|x=|y=q"),
            ("(c (d) \\) e) a/b; name=\"(no)\"", "a/b|name=(no)"),
            ("a/b; name=\"open", "a/b|name=open"),
            (
                "a/b; filename*0*=utf-8''%C3; filename*1=b",
                "a/b|filename*0*=utf-8''%C3|filename*1=b",
            ),
            ("a/b; x=a=b", "a/b|x=a=b"),
            ("a/b; (never ends", "a/b"),
            ("", ""),
        ] {
            assert_eq!(flat(value), expected, "{value:?}");
        }
    }

    #[test]
    fn types_that_make_no_sense_are_none() {
        for value in
            ["", "text", "text/", "/plain", "a b/c", "text/plain/x", "te\"xt/plain", "\u{e9}/x"]
        {
            assert_eq!(ContentType::of(value.as_bytes()), None, "{value:?}");
        }
        let found = ContentType::of(b" Text / HTML").expect("a type");
        assert_eq!((found.kind.as_str(), found.subtype.as_str()), ("text", "html"));
    }

    #[test]
    fn values_in_pieces_are_joined() {
        for (value, expected) in [
            ("a/b; name=x; name*=utf-8''y", Some("x")),
            ("a/b; name*=utf-8'en'%C3%A9%2", Some("\u{e9}%2")),
            ("a/b; name*1=b; name*0=a; name*3=d", Some("ab")),
            ("a/b; name*0*=utf-8''%41; name*1=%41; name*2*=%42", Some("A%41B")),
            ("a/b; name*1=b", None),
            ("a/b", None),
        ] {
            let found = read(value.as_bytes()).1.value("name");
            assert_eq!(found.as_deref(), expected, "{value}");
        }
        let long = "a/b".to_owned() + &"; x=y".repeat(1000);
        assert_eq!(read(long.as_bytes()).1.0.len(), MAX_PARAMETERS);
    }

    #[test]
    fn boundaries_belong_to_multiparts() {
        for (value, expected) in [
            ("multipart/mixed; boundary=\"a b  \"", Some("a b")),
            ("multipart/mixed; boundary*0=a; boundary*1=b", Some("ab")),
            ("multipart/mixed; boundary=\"\"", None),
            ("multipart/mixed", None),
            ("text/plain; boundary=a", None),
        ] {
            let found = ContentType::of(value.as_bytes()).expect("a type").boundary();
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{value}");
        }
    }
}
