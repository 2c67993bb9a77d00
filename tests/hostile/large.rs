//! Too much: literals, headers, lines.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{BOB, Client, OFFICE, Stage, letter, size};
use crate::harness::{PATIENCE, wait_until};

/// Octets of a message that is all header, or one line: 100 MB under `make hostile`.
fn octets() -> usize {
    if size(0) == 0 { 16 << 20 } else { 100 << 20 }
}

/// A message without its final dot.
fn all_header() -> Vec<u8> {
    let mut message = letter(OFFICE, BOB).split_once("\r\n\r\n").unwrap().0.as_bytes().to_vec();
    while message.len() < octets() {
        message.extend_from_slice(b"\r\nX-Filler: ");
        message.extend_from_slice(&[b'x'; 900]);
    }
    message.extend_from_slice(b"\r\n\r\nbody\r\n");
    message
}

fn one_line(start: &str) -> Vec<u8> {
    let mut message = letter(OFFICE, BOB).into_bytes();
    let header = message.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    message.splice(header..header, start.bytes());
    message.resize(message.len() + octets(), b'A');
    message.extend_from_slice(b"\r\n");
    message
}

#[test]
fn a_message_that_is_all_header_or_one_line_is_answered_and_costs_little() {
    let encoded = "\r\nContent-Transfer-Encoding: base64";
    let folded = "\r\nSubject: =?utf-8?B?";
    for (name, message) in [
        ("a header", all_header()),
        ("a line of base64", one_line(encoded)),
        ("a line", one_line("")),
        ("a boundary", one_line("\r\nContent-Type: multipart/mixed; boundary=\"A\"")),
        ("a field without end", [folded.as_bytes(), &vec![b'A'; octets()], b"\r\n\r\n"].concat()),
    ] {
        let stage = Stage::new();
        let mut client = Client::logged_in(&stage.proxy).patient(PATIENCE * 5);
        client.envelope(OFFICE, &[BOB]);
        client.expect("DATA", "354");
        let sending = std::thread::scope(|scope| {
            let meanwhile = scope.spawn(|| stage.serve_normally());
            client.send(&message);
            client.send("\r\n.\r\n");
            let reply = client.reply();
            meanwhile.join().unwrap();
            reply
        });
        eprintln!("{name} of {} MB: {sending}", octets() >> 20);
        assert!(sending.starts_with('5') || sending.starts_with("250"), "{name}: {sending}");
        let delivered = stage.cloud.sandbox.deliveries().len();
        assert_eq!(delivered, 1 + usize::from(sending.starts_with("250")), "{name}");
        stage.assert_small(name);
        client.expect("NOOP", "250");
    }
}

/// What is sent at once.
const BOMBS: [(&str, &str); 9] = [
    ("IMAP", "a LOGIN {4294967295}\r\n"),
    ("IMAP", "a LOGIN {99999999999999999999999}\r\n"),
    ("IMAP", "a LOGIN {4294967295+}\r\n"),
    ("IMAP", "a AUTHENTICATE PLAIN {4000000000+}\r\n"),
    ("IMAP", "in LOGIN app local-password\r\na APPEND INBOX {4294967295}\r\n"),
    ("IMAP", "in LOGIN app local-password\r\na APPEND INBOX {4294967295+}\r\n"),
    ("IMAP", "in LOGIN app local-password\r\na SEARCH TEXT {4294967295+}\r\n"),
    ("IMAP", "in LOGIN app local-password\r\na SELECT {4294967295}\r\n"),
    ("SMTP", "EHLO x\r\nBDAT 18446744073709551615\r\n"),
];

#[test]
fn announcements_of_gigabytes_cost_nothing() {
    let stage = Stage::new();
    for (protocol, bomb) in BOMBS {
        let mut stream = TcpStream::connect(stage.proxy.address(protocol)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bomb.as_bytes()).unwrap();
        // As much as the system takes without the other side reading, and some more.
        stream.set_write_timeout(Some(std::time::Duration::from_secs(1))).unwrap();
        for _ in 0..64 {
            if stream.write_all(&[b'y'; 64 << 10]).is_err() {
                break;
            }
        }
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut heard = Vec::new();
        // A reset is an end too.
        let _ = stream.read_to_end(&mut heard);
        let text = String::from_utf8_lossy(&heard);
        assert!(text.len() < 100_000, "{bomb}: {} octets of answer", text.len());
        assert!(!text.contains("a OK"), "{bomb}: {text}");
    }
    stage.assert_small("announcements");
    stage.serve_normally();
    wait_until("an end of what was begun", || stage.cloud.sandbox.deliveries().len() == 1);
}

/// Many literals, each small, in one command; and lines without an end.
#[test]
fn many_small_literals_and_endless_lines_end_the_session() {
    let stage = Stage::new();
    let literals = "{1+}\r\nx ".repeat(200_000);
    let endless = "x".repeat(4 << 20);
    let login = "in LOGIN app local-password\r\n";
    for (protocol, text) in [
        ("IMAP", format!("a LOGIN {literals}\r\n")),
        ("IMAP", format!("{login}a SEARCH TEXT {literals}\r\n")),
        ("IMAP", format!("a LOGIN {endless}")),
        ("IMAP", format!("{login}a FETCH 1 ({endless}")),
        ("SMTP", format!("EHLO {endless}")),
        ("POP3", format!("USER {endless}")),
    ] {
        let mut stream = TcpStream::connect(stage.proxy.address(protocol)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stream.write_all(text.as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        assert!(heard.len() < 1 << 20, "{protocol}: {} octets of answer", heard.len());
    }
    stage.assert_small("literals and lines");
    stage.serve_normally();
}
