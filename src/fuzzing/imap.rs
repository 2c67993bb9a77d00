//! Commands of IMAP and POP3, and lists of capabilities.

use super::{pieces, split_seed};
use crate::protocol::imap::{
    AsksCapability, Limits, Progress, RequestProgress, announced_message, asks_capability, id,
    parse, parse_request, scan, scan_request,
};
use crate::protocol::{imap, pop3};

/// As the sessions have them before login.
const GUEST: Limits = Limits { command: 16 << 10, literal: 4096 };
/// Small enough for a fuzzer to reach them.
const SMALL: Limits = Limits { command: 600, literal: 200 };

/// Where a command ends, and what it says. A command that is found complete is so whatever follows
/// it, and none is longer than its limit.
pub fn imap_command(data: &[u8]) {
    for limits in [GUEST, SMALL] {
        if let Progress::Complete(end) = scan(data, limits).progress {
            assert!(end <= data.len() && end <= limits.command);
            assert_eq!(scan(&data[..end], limits), scan(data, limits), "depends on what follows");
            assert!(scan(&data[..end - 1], limits).progress != Progress::Complete(end));
            check_tag(parse(&data[..end]).ok().map(|command| command.tag));
        }
        match scan_request(data, limits).progress {
            RequestProgress::Complete(end) => check_request(&data[..end], limits),
            RequestProgress::Append(end) => {
                check_request(&data[..end], limits);
                let announced = announced_message(&data[..end]);
                assert!(announced.is_some(), "an APPEND without a message");
            }
            RequestProgress::Partial | RequestProgress::TooLong => {}
        }
    }
    if let AsksCapability::Yes { tag, octets } = asks_capability(data) {
        assert!(octets <= data.len());
        check_tag(Some(tag));
    }
    let _ = id::program(data);
}

fn check_request(command: &[u8], limits: Limits) {
    assert!(command.len() <= limits.command);
    for utf8 in [false, true] {
        match parse_request(command, utf8) {
            Ok(request) => check_tag(Some(request.tag)),
            Err(malformed) => check_tag(malformed.tag),
        }
    }
}

/// The tag begins our answer: it must not bring a line of its own.
fn check_tag(tag: Option<String>) {
    if let Some(tag) = tag {
        assert!(!tag.is_empty() && tag.bytes().all(|byte| byte.is_ascii_graphic()), "{tag:?}");
    }
}

/// The capabilities that a service names, one a line: what a client sees of them offers no login and
/// stays on its line.
pub fn capabilities(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let list: Vec<String> = text.split('\n').map(str::to_owned).collect();
    for capability in imap::capability::rewrite(&list) {
        let upper = capability.to_ascii_uppercase();
        assert!(!upper.starts_with("AUTH=") && upper != "STARTTLS" && upper != "LOGINDISABLED");
        assert!(capability.bytes().all(|byte| byte.is_ascii_graphic() && byte != b']'));
    }
    let kept = pop3::capability::rewrite(&list);
    for capability in &kept {
        let name = capability.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        assert!(!["SASL", "STLS", "USER"].contains(&name.as_str()), "{capability:?}");
        assert!(!capability.contains(char::is_control), "{capability:?}");
    }
    let answer = pop3::capability::answer(&kept);
    assert_eq!(answer.matches("\r\n").count(), kept.len() + 2, "an answer of other lines");
}

/// POP3 commands; and a message as RETR and TOP send it, read back by the rule of RFC 1939.
pub fn pop3_command(data: &[u8]) {
    if let pop3::Line::Complete(end) = pop3::scan(data, 512) {
        assert!(end <= data.len() && end <= 512);
        let line = &data[..end];
        let _ = (pop3::parse(line), pop3::parse_transaction(line));
    }
    if let pop3::AsksCapa::Yes(octets) = pop3::asks_capa(data) {
        assert!(octets <= data.len());
    }
    check_stuffing(data);
    check_top(data);
}

fn check_stuffing(data: &[u8]) {
    let (seed, message) = split_seed(data);
    let stuffed = |pieces: &[&[u8]]| {
        let (mut stuffer, mut out) = (pop3::Stuffer::default(), Vec::new());
        pieces.iter().for_each(|piece| stuffer.push(piece, &mut out));
        out.extend_from_slice(stuffer.end());
        out
    };
    let wire = stuffed(&[message]);
    assert_eq!(wire, stuffed(&pieces(message, seed)), "depends on how it is read");
    let framed = [b"\r\n", wire.as_slice()].concat();
    let end = memchr::memmem::find(&framed, b"\r\n.\r\n").expect("every answer ends");
    assert_eq!(end + 5, framed.len(), "the answer ends before its end");
}

fn check_top(data: &[u8]) {
    let (seed, message) = split_seed(data);
    let lines = u64::from(seed % 5);
    let whole = pop3::Top::new(lines).take(message);
    let mut top = pop3::Top::new(lines);
    let mut taken = 0;
    for piece in pieces(message, seed) {
        let some = top.take(piece);
        taken += some;
        if some < piece.len() {
            break;
        }
    }
    assert_eq!(taken, whole, "depends on how it is read");
}
