//! A file in a pickup folder as hostile octets; see `crate::fuzzing`.
//!
//! Danger: who may write into the folder, or into a text that an application puts into its mail,
//! chooses recipients, or a dot is lost where none was doubled. Rule: the cuts of the disk change
//! nothing, undoing dots can be undone, and once the top names receivers nothing else does.

use std::collections::HashSet;

use super::dots::{Survey, Unstuff};
use super::envelope::{Envelope, Fault, MAX_RECIPIENTS, read};
use crate::fuzzing::{pieces, split_seed};
use crate::mail::Address;
use crate::protocol::mime::fields;
use crate::protocol::smtp::data::LineEnds;

/// A file: the first octet says how it is cut.
pub fn pickup(data: &[u8]) {
    let (seed, file) = split_seed(data);
    let cut = pieces(file, seed);
    check_dots(file, &cut);
    let message = clean(file);
    let end = memchr::memmem::find(&message, b"\r\n\r\n").map_or(message.len(), |at| at + 4);
    let header = &message[..end];
    match read(header) {
        Ok(envelope) => check_envelope(header, &envelope),
        Err(fault) => assert!(!fault.to_string().contains(char::is_control)),
    }
    check_top(header);
}

fn clean(file: &[u8]) -> Vec<u8> {
    let (mut ends, mut out) = (LineEnds::default(), Vec::new());
    ends.feed(file, &mut |octets| out.extend_from_slice(octets));
    ends.finish(&mut |octets| out.extend_from_slice(octets));
    out
}

/// Doubled dots are those that every line has which begins with one; whoever doubles them again
/// gets the file.
fn check_dots(file: &[u8], cut: &[&[u8]]) {
    let mut dotted = file.split(|octet| *octet == b'\n').filter(|line| line.starts_with(b"."));
    let expected = dotted.clone().count() > 0 && dotted.all(|line| line.starts_with(b".."));
    for pieces in [&[file][..], cut] {
        let (mut survey, mut unstuff, mut plain) = (Survey::default(), Unstuff::default(), vec![]);
        for piece in pieces {
            survey.feed(piece);
            unstuff.feed(piece, &mut |octets| plain.extend_from_slice(octets));
        }
        assert_eq!(survey.is_stuffed(), expected, "dots depend on how they arrive");
        if expected {
            assert_eq!(stuffed(&plain), file, "a dot is lost");
        }
    }
}

fn stuffed(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in plain.split_inclusive(|octet| *octet == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    out
}

fn check_envelope(header: &[u8], envelope: &Envelope) {
    let (top, rest) = header.split_at(envelope.length);
    assert!(
        fields(top).all(|field| is_envelope(field.name)),
        "a field of the message is taken out"
    );
    assert!(!fields(rest).next().is_some_and(|field| is_envelope(field.name)), "one is left");
    let all = &envelope.recipients;
    assert!((1..=MAX_RECIPIENTS).contains(&all.len()));
    assert_eq!(all.iter().collect::<HashSet<&Address>>().len(), all.len(), "one is named twice");
    for address in all {
        assert_eq!(Address::parse(address.as_str()).as_ref(), Ok(address));
    }
    if fields(top).any(|field| field.is("X-Receiver")) {
        let alone = read(&[top, b"\r\n"].concat());
        let alone = alone.map(|envelope| envelope.recipients);
        assert_eq!(alone.as_ref(), Ok(all), "the message has a say in who receives it");
    }
}

fn is_envelope(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"X-Sender") || name.eq_ignore_ascii_case(b"X-Receiver")
}

/// Behind any other field these two are fields like others.
fn check_top(header: &[u8]) {
    let shifted = [b"Subject: x\r\n", header].concat();
    let named = |name| fields(&shifted).any(|field| field.is(name));
    match read(&shifted) {
        Ok(envelope) => {
            assert_eq!(envelope.length, 0, "a field of the message is taken out");
            assert!(["To", "Cc", "Bcc"].into_iter().any(named), "X-Receiver is not at the top");
        }
        Err(fault) => assert!(!matches!(fault, Fault::NoAddress(_) | Fault::TwoSenders)),
    }
}
