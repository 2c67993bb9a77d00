//! The message's octets between DATA and its end: dot-stuffing both ways, and line ends.
//!
//! Danger: a reader that takes `LF . LF` or `CR LF . LF` for the end of a message runs what
//! follows as commands: a stranger's text becomes a second mail with a forged sender (SMTP
//! smuggling, CVE-2023-51764). Rule: CRLF.CRLF alone ends a message. A CR or LF that is not part of
//! CRLF becomes CRLF in what is stored, so that its dot is stuffed on the way out, and never counts
//! as the start of a line on the way in. NUL and 8-bit octets pass (RFC 5321 section 4.1.1.4).
//!
//! Everything may be split anywhere. Unchanged runs, usually whole reads, go out in one piece.

use bytes::BytesMut;

/// Decodes what follows the 354 reply (RFC 5321 section 4.5.2).
#[derive(Debug)]
pub struct DataDecoder {
    state: State,
}

/// What was seen and not yet passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A line begins, after CRLF or at the very start.
    Start,
    /// Inside a line, or after a bare line end.
    Text,
    /// A CR inside a line.
    Cr,
    /// A dot that began a line.
    Dot,
    /// That dot, and a CR.
    DotCr,
    /// CRLF.CRLF was seen.
    End,
}

/// How far [`DataDecoder::feed`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fed {
    /// Octets of the input that belong to the message.
    pub used: usize,
    /// True after the final dot: the rest of the input are commands.
    pub ended: bool,
}

impl Default for DataDecoder {
    fn default() -> Self {
        Self { state: State::Start }
    }
}

impl DataDecoder {
    /// Takes octets in and hands the message's own to `sink`.
    pub fn feed(&mut self, input: &[u8], sink: &mut impl FnMut(&[u8])) -> Fed {
        let mut at = 0;
        while at < input.len() {
            let byte = input[at];
            self.state = match (self.state, byte) {
                (State::End, _) => break,
                (State::DotCr, b'\n') => {
                    self.state = State::End;
                    at += 1;
                    break;
                }
                (State::Cr, b'\n') => {
                    sink(b"\r\n");
                    at += 1;
                    State::Start
                }
                // The CR stood alone; the present octet is looked at again, inside the line.
                (State::Cr | State::DotCr, _) => {
                    sink(b"\r\n");
                    State::Text
                }
                (State::Start, b'.') => {
                    at += 1;
                    State::Dot
                }
                (State::Dot, b'\r') => {
                    at += 1;
                    State::DotCr
                }
                (State::Start | State::Text | State::Dot, _) => {
                    let (used, state) = run(&input[at..], sink);
                    at += used;
                    state
                }
            };
        }
        Fed { used: at, ended: self.state == State::End }
    }
}

/// Octets that [`plain_prefix`] looks at in one go.
const STRIDE: usize = 1024;

/// Octets at the start of `input`, inside a line or at the start of one without a dot, that hold
/// nothing but text and CRLF before text. Looks at pairs of neighbours without a branch, so that the
/// compiler takes many at a time: a line at a time costs a fifth of all work on a message.
fn plain_prefix(input: &[u8]) -> usize {
    let mut end = 0;
    if input.first() == Some(&b'\n') {
        return 0;
    }
    while let Some(stride) = input.get(end..=end + STRIDE) {
        let odd = stride.iter().zip(&stride[1..]).fold(0, |odd, (left, right)| {
            let half = u8::from(*left == b'\r') ^ u8::from(*right == b'\n');
            odd | half | (u8::from(*left == b'\n') & u8::from(*right == b'.'))
        });
        if odd != 0 {
            break;
        }
        end += STRIDE;
    }
    // A CR stays with its LF.
    end - usize::from(end > 0 && input[end - 1] == b'\r')
}

/// Passes on everything up to the next octet that changes something.
fn run(input: &[u8], sink: &mut impl FnMut(&[u8])) -> (usize, State) {
    let mut from = plain_prefix(input);
    loop {
        let Some(found) = memchr::memchr2(b'\r', b'\n', &input[from..]) else {
            sink(input);
            return (input.len(), State::Text);
        };
        let end = from + found;
        match (input[end], input.get(end + 1), input.get(end + 2)) {
            (b'\r', Some(b'\n'), Some(b'.')) => {
                sink(&input[..end + 2]);
                return (end + 3, State::Dot);
            }
            (b'\r', Some(b'\n'), Some(_)) => from = end + 2,
            (b'\r', Some(b'\n'), None) => {
                sink(input);
                return (input.len(), State::Start);
            }
            (b'\r', ..) => {
                sink(&input[..end]);
                return (end + 1, State::Cr);
            }
            _ => {
                sink(&input[..end]);
                sink(b"\r\n");
                return (end + 1, State::Text);
            }
        }
    }
}

/// Makes every bare CR and LF a CRLF; for BDAT, where there are no dots (RFC 3030).
#[derive(Debug)]
pub struct LineEnds {
    after_cr: bool,
    at_start: bool,
    dots: Dots,
}

/// What happens to a dot that begins a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dots {
    Kept,
    Stuffed,
}

impl Default for LineEnds {
    fn default() -> Self {
        Self { after_cr: false, at_start: true, dots: Dots::Kept }
    }
}

impl LineEnds {
    /// Takes octets in and hands them on with clean line ends.
    pub fn feed(&mut self, input: &[u8], sink: &mut impl FnMut(&[u8])) {
        let mut rest = input;
        if self.after_cr && !rest.is_empty() {
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
            self.end_line(sink);
        }
        while !rest.is_empty() {
            if self.at_start && self.dots == Dots::Stuffed && rest[0] == b'.' {
                sink(b".");
            }
            rest = self.run(rest, sink);
        }
    }

    /// Ends the input: a CR that came last was a bare one.
    pub fn finish(&mut self, sink: &mut impl FnMut(&[u8])) {
        if self.after_cr {
            self.end_line(sink);
        }
    }

    fn end_line(&mut self, sink: &mut impl FnMut(&[u8])) {
        sink(b"\r\n");
        (self.after_cr, self.at_start) = (false, true);
    }

    /// Passes on a run that needs no change, and the line end after it; returns what is left.
    fn run<'a>(&mut self, input: &'a [u8], sink: &mut impl FnMut(&[u8])) -> &'a [u8] {
        let mut from = plain_prefix(input);
        loop {
            let Some(found) = memchr::memchr2(b'\r', b'\n', &input[from..]) else {
                sink(input);
                self.at_start = from == input.len();
                return &[];
            };
            let end = from + found;
            match (input[end], input.get(end + 1)) {
                (b'\r', Some(b'\n')) => from = end + 2,
                (b'\r', None) => {
                    sink(&input[..end]);
                    self.after_cr = true;
                    return &[];
                }
                _ => {
                    sink(&input[..end]);
                    self.end_line(sink);
                    return &input[end + 1..];
                }
            }
            if self.dots == Dots::Stuffed && input.get(from) == Some(&b'.') {
                sink(&input[..from]);
                self.at_start = true;
                return &input[from..];
            }
        }
    }
}

/// Encodes a message for an upstream's DATA (RFC 5321 section 4.5.2).
#[derive(Debug)]
pub struct DotStuffer(LineEnds);

impl Default for DotStuffer {
    fn default() -> Self {
        Self(LineEnds { dots: Dots::Stuffed, ..LineEnds::default() })
    }
}

impl DotStuffer {
    /// A stuffer at the start of a message.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `piece` as it goes over the wire.
    pub fn feed(&mut self, piece: &[u8], out: &mut BytesMut) {
        out.reserve(piece.len());
        self.0.feed(piece, &mut |octets| out.extend_from_slice(octets));
    }

    /// Appends the missing last line end, if it is missing, and the final dot.
    pub fn finish(&mut self, out: &mut BytesMut) {
        self.0.finish(&mut |octets| out.extend_from_slice(octets));
        if !self.0.at_start {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The message, how many octets it took, whether it ended.
    fn decode(pieces: &[&[u8]]) -> (Vec<u8>, usize, bool) {
        let (mut decoder, mut out, mut used) = (DataDecoder::default(), Vec::new(), 0);
        for piece in pieces {
            let fed = decoder.feed(piece, &mut |octets| out.extend_from_slice(octets));
            used += fed.used;
            if fed.ended {
                return (out, used, true);
            }
            assert_eq!(fed.used, piece.len());
        }
        (out, used, false)
    }

    fn stuff(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut stuffer, mut out) = (DotStuffer::new(), BytesMut::new());
        pieces.iter().for_each(|piece| stuffer.feed(piece, &mut out));
        stuffer.finish(&mut out);
        out.to_vec()
    }

    /// The rule in its plainest words.
    fn normalise(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut bytes = text.iter().peekable();
        while let Some(byte) = bytes.next() {
            match byte {
                b'\r' => {
                    bytes.next_if_eq(&&b'\n');
                    out.extend_from_slice(b"\r\n");
                }
                b'\n' => out.extend_from_slice(b"\r\n"),
                other => out.push(*other),
            }
        }
        out
    }

    fn with_last_line_end(mut text: Vec<u8>) -> Vec<u8> {
        if !text.is_empty() && !text.ends_with(b"\r\n") {
            text.extend_from_slice(b"\r\n");
        }
        text
    }

    /// One octet at a time goes the slow way, all at once the fast one; one odd octet or pair lies
    /// at every place around a stride's end.
    #[test]
    fn long_text_is_read_alike_in_strides_and_octet_by_octet() {
        let odd: [&[u8]; 9] =
            [b"\r", b"\n", b"\r\n", b"\r\n.", b"\n.", b"\r\n.\r\n", b"\r\n.\n", b".\r", b"x"];
        for odd in odd {
            for at in (0..6).chain(STRIDE - 6..STRIDE + 6).chain(2 * STRIDE - 4..2 * STRIDE + 4) {
                let mut text: Vec<u8> = b"line\r\n".repeat(3 * STRIDE / 6);
                text.splice(at..at + odd.len(), odd.iter().copied());
                text.extend_from_slice(b"\r\n.\r\n");
                let octets: Vec<&[u8]> = text.chunks(1).collect();
                assert_eq!(decode(&[&text]), decode(&octets), "{odd:?} at {at}");
                assert_eq!(stuff(&[&text]), stuff(&octets), "{odd:?} at {at}");
            }
        }
    }

    #[test]
    fn decodes_alike_however_the_input_is_cut() {
        let table: [(&[u8], &[u8]); 12] = [
            (b".\r\n", b""),
            (b"a\r\n.\r\n", b"a\r\n"),
            (b"..\r\n.\r\n", b".\r\n"),
            (b"a\r\n..b\r\n...\r\n.\r\n", b"a\r\n.b\r\n..\r\n"),
            (b".a\r\n.\r\n", b"a\r\n"),
            (b"\r\n\r\n.\r\n", b"\r\n\r\n"),
            (b". \r\n.\r\n", b" \r\n"),
            (b"a\0\xff\r\n.\r\n", b"a\0\xff\r\n"),
            (b"a\nb\rc\r\n.\r\n", b"a\r\nb\r\nc\r\n"),
            (b"a\r\r\n.\r\n", b"a\r\n\r\n"),
            (b"a\r\n.\r.\r\n.\r\n", b"a\r\n\r\n.\r\n"),
            (b"a\r\n.\r\r\n.\r\n", b"a\r\n\r\n\r\n"),
        ];
        for (wire, expected) in table {
            let with_next = [wire, b"QUIT\r\n"].concat();
            let whole = (expected.to_vec(), wire.len(), true);
            for cut in 0..with_next.len() {
                let got = decode(&[&with_next[..cut], &with_next[cut..]]);
                assert_eq!(got, whole, "{wire:?} cut at {cut}");
            }
            let bytes: Vec<&[u8]> = with_next.chunks(1).collect();
            assert_eq!(decode(&bytes), whole, "{wire:?}");
        }
    }

    #[test]
    fn no_smuggling_sequence_ends_a_message_here_or_upstream() {
        let ends: [&[u8]; 14] = [
            b"\n.\n",
            b"\n.\r\n",
            b"\r.\r",
            b"\r.\r\n",
            b"\r\n.\r",
            b"\r\n.\n",
            b"\r.\n",
            b"\n.\r",
            b"\r\n\0.\r\n",
            b"\r\n.\0\r\n",
            b"\r\n.\r\r\n",
            b"\r\n. \r\n",
            b"\n\n.\n\n",
            b"\r\r.\r\r",
        ];
        for end in ends {
            let smuggled = [b"text", end, b"MAIL FROM:<ceo@example.com>\r\n"].concat();
            let bytes: Vec<&[u8]> = smuggled.chunks(1).collect();
            let (stored, _, ended) = decode(&bytes);
            assert!(!ended, "{end:?} ended the message");
            assert_eq!(normalise(&stored), stored, "{end:?} left a bare line end");
            let onward = stuff(&[&stored]);
            let first = memchr::memmem::find(&onward, b"\r\n.\r\n").expect("the true end");
            assert_eq!(first + 5, onward.len(), "{end:?} would end the message upstream");
            let (again, used, _) = decode(&[&onward]);
            assert_eq!((again, used), (stored, onward.len()), "{end:?}");
        }
    }

    #[test]
    fn stuffs_alike_however_the_input_is_cut() {
        let table: [(&[u8], &[u8]); 8] = [
            (b"", b".\r\n"),
            (b"a", b"a\r\n.\r\n"),
            (b"a\r\n", b"a\r\n.\r\n"),
            (b".\r\n.a\r\nb.\r\n", b"..\r\n..a\r\nb.\r\n.\r\n"),
            (b"a\r\n.", b"a\r\n..\r\n.\r\n"),
            (b"a\n.\nb", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"a\r.\r", b"a\r\n..\r\n.\r\n"),
            (b"\r\r\n\n", b"\r\n\r\n\r\n.\r\n"),
        ];
        for (text, expected) in table {
            for cut in 0..=text.len() {
                let got = stuff(&[&text[..cut], &text[cut..]]);
                assert_eq!(got, expected, "{text:?} cut at {cut}");
            }
            let bytes: Vec<&[u8]> = text.chunks(1).collect();
            assert_eq!(stuff(&bytes), expected, "{text:?}");
        }
    }

    #[test]
    fn a_usual_message_passes_in_one_piece() {
        let text =
            "a line of seventy-six characters or so, as most messages have them\r\n".repeat(900);
        let mut pieces = 0;
        DataDecoder::default().feed(text.as_bytes(), &mut |_| pieces += 1);
        assert_eq!(pieces, 1);
    }

    /// Texts that are mostly made of what matters here.
    fn wire_text() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b'a'), any::<u8>()];
        proptest::collection::vec(byte, 0..60)
    }

    proptest! {
        #[test]
        fn decoding_undoes_stuffing(text in wire_text(), cut in 0..60_usize, cut2 in 0..90_usize) {
            let cut = cut.min(text.len());
            let wire = stuff(&[&text[..cut], &text[cut..]]);
            let cut2 = cut2.min(wire.len());
            let (got, used, ended) = decode(&[&wire[..cut2], &wire[cut2..]]);
            prop_assert_eq!(got, with_last_line_end(normalise(&text)));
            prop_assert!(ended && used == wire.len());
        }

        #[test]
        fn what_is_decoded_has_clean_line_ends(text in wire_text(), cut in 0..60_usize) {
            let cut = cut.min(text.len());
            let (whole, used, ended) = decode(&[&text]);
            prop_assert_eq!((whole.clone(), used, ended), decode(&[&text[..cut], &text[cut..]]));
            prop_assert_eq!(normalise(&whole), whole);
        }

        #[test]
        fn chunks_get_clean_line_ends(text in wire_text(), cut in 0..60_usize) {
            let cut = cut.min(text.len());
            let (mut ends, mut out) = (LineEnds::default(), Vec::new());
            ends.feed(&text[..cut], &mut |octets| out.extend_from_slice(octets));
            ends.feed(&text[cut..], &mut |octets| out.extend_from_slice(octets));
            ends.finish(&mut |octets| out.extend_from_slice(octets));
            prop_assert_eq!(out, normalise(&text));
        }
    }
}
