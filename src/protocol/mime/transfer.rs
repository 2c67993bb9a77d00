//! Content transfer encodings, decoded as they stream past (RFC 2045 section 6).
//!
//! Danger: an attachment decoded in one go is in memory twice, and one decoded wrongly arrives
//! broken without anybody noticing. Rule: octets go in by pieces cut anywhere and come out the
//! same; an encoding that is not known is never guessed at.

/// How the octets of a body became lines of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// `7bit`, `8bit`, `binary` or nothing said: the octets themselves.
    #[default]
    Identity,
    /// `base64` (RFC 2045 section 6.8).
    Base64,
    /// `quoted-printable` (RFC 2045 section 6.7).
    QuotedPrintable,
    /// Another one, such as `x-uuencode`.
    Unknown,
}

impl Encoding {
    /// The encoding of that name, in any case.
    pub fn named(name: &str) -> Self {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "7bit" | "8bit" | "binary" => Self::Identity,
            "base64" => Self::Base64,
            "quoted-printable" => Self::QuotedPrintable,
            _ => Self::Unknown,
        }
    }
}

/// Undoes one [`Encoding`].
#[derive(Clone, Debug)]
pub struct Decoder {
    encoding: Encoding,
    /// Base64: the bits so far of a group of four characters.
    bits: u32,
    characters: u8,
    /// Quoted-printable: an `=` and what followed it, or white space that a line end may drop.
    held: Vec<u8>,
}

/// White space held back before a line end, in octets; RFC 2045 lines have 76 characters.
const MAX_HELD: usize = 1024;

impl Decoder {
    /// A decoder at the start of a body. [`Encoding::Unknown`] passes octets as they are.
    pub fn new(encoding: Encoding) -> Self {
        Self { encoding, bits: 0, characters: 0, held: Vec::new() }
    }

    /// Appends to `out` what `octets` stand for.
    pub fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        match self.encoding {
            Encoding::Identity | Encoding::Unknown => out.extend_from_slice(octets),
            Encoding::Base64 => octets.iter().for_each(|byte| self.base64(*byte, out)),
            Encoding::QuotedPrintable => octets.iter().for_each(|byte| self.quoted(*byte, out)),
        }
    }

    /// Appends what was held back. Call once, at the end.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.end_group(out);
        // A lone `=` at the very end is a soft line break; other remains are text.
        if self.held != b"=" && self.held != b"=\r" {
            out.append(&mut self.held);
        }
        self.held.clear();
    }

    /// Characters outside the alphabet are line ends or noise, both ignored by the RFC's word.
    fn base64(&mut self, byte: u8, out: &mut Vec<u8>) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => return self.end_group(out),
            _ => return,
        };
        self.bits = self.bits << 6 | u32::from(value);
        self.characters += 1;
        if self.characters == 4 {
            out.extend_from_slice(&self.bits.to_be_bytes()[1..]);
            (self.bits, self.characters) = (0, 0);
        }
    }

    fn end_group(&mut self, out: &mut Vec<u8>) {
        match self.characters {
            2 => out.push((self.bits >> 4).to_be_bytes()[3]),
            3 => out.extend_from_slice(&(self.bits >> 2).to_be_bytes()[2..]),
            _ => {}
        }
        (self.bits, self.characters) = (0, 0);
    }

    fn quoted(&mut self, byte: u8, out: &mut Vec<u8>) {
        if self.held.first() == Some(&b'=') {
            return self.escape(byte, out);
        }
        match byte {
            b'=' => {
                out.append(&mut self.held);
                self.held.push(byte);
            }
            b' ' | b'\t' if self.held.len() < MAX_HELD => self.held.push(byte),
            // White space before a line end was added in transit (RFC 2045 section 6.7, rule 3).
            b'\r' | b'\n' => {
                self.held.clear();
                out.push(byte);
            }
            _ => {
                out.append(&mut self.held);
                out.push(byte);
            }
        }
    }

    /// What follows an `=`: two digits, or the line end of a soft break.
    fn escape(&mut self, byte: u8, out: &mut Vec<u8>) {
        let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
        let in_break = self.held[1..].iter().all(|byte| blank(byte) || *byte == b'\r');
        match byte {
            b'\n' if in_break => self.held.clear(),
            b'\r' | b' ' | b'\t' if in_break && self.held.len() < MAX_HELD => self.held.push(byte),
            _ if byte.is_ascii_hexdigit() && self.held.len() == 1 => self.held.push(byte),
            _ => {
                let high = self.held.get(1).copied().filter(u8::is_ascii_hexdigit);
                match high.and_then(|high| hex(high, byte)) {
                    Some(octet) => {
                        self.held.clear();
                        out.push(octet);
                    }
                    // Not an escape after all: it stands for itself.
                    None => {
                        out.append(&mut self.held);
                        self.quoted(byte, out);
                    }
                }
            }
        }
    }
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(encoding: Encoding, pieces: &[&[u8]]) -> Vec<u8> {
        let mut decoder = Decoder::new(encoding);
        let mut out = Vec::new();
        for piece in pieces {
            decoder.push(piece, &mut out);
        }
        decoder.finish(&mut out);
        out
    }

    #[test]
    fn encodings_are_undone_however_they_are_cut() {
        let table: &[(Encoding, &[u8], &[u8])] = &[
            (Encoding::Identity, b"a\r\n=3D", b"a\r\n=3D"),
            (Encoding::Base64, b"", b""),
            (Encoding::Base64, b"Zg==", b"f"),
            (Encoding::Base64, b"Zm8=\r\n", b"fo"),
            (Encoding::Base64, b"Zm9v\r\nYmFy\r\n", b"foobar"),
            (Encoding::Base64, b"Zg==Zm8=", b"ffo"),
            (Encoding::Base64, b"Zm 9v!", b"foo"),
            (Encoding::Base64, b"+/8", b"\xfb\xff"),
            (Encoding::QuotedPrintable, b"a=3Db=e9=E9", b"a=b\xe9\xe9"),
            (Encoding::QuotedPrintable, b"soft=\r\nbreak= \t\r\n.", b"softbreak."),
            (Encoding::QuotedPrintable, b"end \t\r\nx y\n", b"end\r\nx y\n"),
            (Encoding::QuotedPrintable, b"=zz=4=41", b"=zz=4A"),
            (Encoding::QuotedPrintable, b"a=", b"a"),
            (Encoding::QuotedPrintable, b"a=4", b"a=4"),
            (Encoding::QuotedPrintable, b"==3D", b"=="),
        ];
        for (encoding, text, expected) in table {
            for cut in 0..=text.len() {
                let found = decode(*encoding, &[&text[..cut], &text[cut..]]);
                assert_eq!(found, *expected, "{:?} cut {cut}", String::from_utf8_lossy(text));
            }
        }
    }

    #[test]
    fn names_have_no_case() {
        assert_eq!(Encoding::named(" Base64 "), Encoding::Base64);
        assert_eq!(Encoding::named("QUOTED-PRINTABLE"), Encoding::QuotedPrintable);
        assert_eq!(Encoding::named("8BIT"), Encoding::Identity);
        assert_eq!(Encoding::named("x-uuencode"), Encoding::Unknown);
    }
}
