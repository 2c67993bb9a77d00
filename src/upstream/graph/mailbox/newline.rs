//! Line ends made CRLF while a message passes through.
//!
//! Danger: the service's MIME has lone LFs in odd places, and a message whose size counts them
//! differs from what a client counts. Rule: a lone LF or CR becomes CRLF, wherever a piece is split;
//! pieces that need no change are passed on uncopied.

use bytes::{BufMut, Bytes, BytesMut};

/// Makes line ends CRLF (RFC 5322 section 2.1).
#[derive(Debug, Default)]
pub(super) struct Newlines {
    /// The last octet was a CR.
    after_cr: bool,
}

impl Newlines {
    /// The next piece with its line ends mended.
    pub fn push(&mut self, piece: Bytes) -> Bytes {
        let Some(first) = self.first_wrong(&piece) else {
            self.after_cr = piece.last().map_or(self.after_cr, |last| *last == b'\r');
            return piece;
        };
        let mut mended = BytesMut::with_capacity(piece.len() + piece.len() / 32 + 2);
        mended.put_slice(&piece[..first]);
        if first > 0 {
            self.after_cr = piece[first - 1] == b'\r';
        }
        for octet in &piece[first..] {
            match (self.after_cr, octet) {
                (true, b'\n') | (false, b'\r') => {}
                (true, _) => mended.put_u8(b'\n'),
                (false, b'\n') => mended.put_u8(b'\r'),
                (false, _) => {}
            }
            mended.put_u8(*octet);
            self.after_cr = *octet == b'\r';
        }
        mended.freeze()
    }

    /// What is missing at the end.
    pub fn finish(self) -> Option<Bytes> {
        self.after_cr.then(|| Bytes::from_static(b"\n"))
    }

    /// Where the first octet stands before which something is missing.
    fn first_wrong(&self, piece: &[u8]) -> Option<usize> {
        let first = piece.first()?;
        if self.after_cr && *first != b'\n' {
            return Some(0);
        }
        let wrong = |at: &usize| match piece[*at] {
            b'\n' if *at == 0 => !self.after_cr,
            b'\n' => piece[at - 1] != b'\r',
            _ => piece.get(at + 1).is_some_and(|next| *next != b'\n'),
        };
        let at = memchr::memchr2_iter(b'\r', b'\n', piece).find(wrong)?;
        Some(if piece[at] == b'\r' { at + 1 } else { at })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mend(pieces: &[&[u8]]) -> Vec<u8> {
        let mut newlines = Newlines::default();
        let mut mended = Vec::new();
        for piece in pieces {
            mended.extend_from_slice(&newlines.push(Bytes::copy_from_slice(piece)));
        }
        mended.extend_from_slice(&newlines.finish().unwrap_or_default());
        mended
    }

    #[test]
    fn line_ends_become_crlf_wherever_they_are_split() {
        for (text, expected) in [
            ("", ""),
            ("a\r\nb\r\n", "a\r\nb\r\n"),
            ("a\nb", "a\r\nb"),
            ("\n\n", "\r\n\r\n"),
            ("a\rb", "a\r\nb"),
            ("a\r\r\nb", "a\r\n\r\nb"),
            ("\r", "\r\n"),
            ("a\n\r\n\rb\n", "a\r\n\r\n\r\nb\r\n"),
            ("\r\n", "\r\n"),
        ] {
            let octets = text.as_bytes();
            for at in 0..=octets.len() {
                let (one, other) = octets.split_at(at);
                assert_eq!(mend(&[one, other]), expected.as_bytes(), "{text:?} at {at}");
            }
            let single: Vec<&[u8]> = octets.chunks(1).collect();
            assert_eq!(mend(&single), expected.as_bytes(), "{text:?}");
        }
    }

    #[test]
    fn what_is_right_is_not_copied() {
        let piece = Bytes::from_static(b"a\r\nb\r");
        let mut newlines = Newlines::default();
        assert_eq!(newlines.push(piece.clone()).as_ptr(), piece.as_ptr());
        assert_eq!(newlines.push(Bytes::from_static(b"\nc")), "\nc");
        assert_eq!(newlines.finish(), None);
    }

    proptest! {
        #[test]
        fn mended_text_has_no_lone_line_end(text in "[ab\r\n]{0,40}", at in 0usize..40) {
            let octets = text.as_bytes();
            let (one, other) = octets.split_at(at.min(octets.len()));
            let mended = mend(&[one, other]);
            let lines = String::from_utf8(mended.clone()).expect("ASCII").replace("\r\n", "");
            prop_assert!(!lines.contains(['\r', '\n']));
            prop_assert_eq!(&mend(&[&mended]), &mended);
        }
    }
}
