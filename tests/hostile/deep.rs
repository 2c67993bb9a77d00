//! Too deep, and too many: messages, patterns, searches, sets.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::{OFFICE, Stage};
use crate::harness::wire::Wire;
use crate::harness::{LOGIN, PASSWORD};
use crate::reading::talk::Talk;

/// How long one of these commands may keep its own session busy.
const PATIENT: Duration = Duration::from_secs(if cfg!(debug_assertions) { 30 } else { 5 });

/// Multiparts inside each other.
fn multiparts(depth: usize) -> String {
    let mut message = "From: a@b.example\r\nSubject: deep\r\nMIME-Version: 1.0\r\n".to_owned();
    for level in 0..depth {
        let _ = write!(
            message,
            "Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n"
        );
    }
    message + "\r\nneedle\r\n"
}

/// Messages inside each other.
fn messages(depth: usize) -> String {
    "From: a@b.example\r\nSubject: deep\r\nContent-Type: message/rfc822\r\n\r\n".repeat(depth)
        + "Subject: last\r\n\r\nneedle\r\n"
}

#[test]
fn a_message_nested_ten_thousand_deep_can_be_read() {
    let stage = Stage::new();
    for message in [multiparts(10_000), messages(10_000)] {
        stage.cloud.sandbox.put(OFFICE, "Inbox", message.as_bytes()).unwrap();
    }
    let mut imap = Wire::imap(&stage.proxy);
    assert_eq!(imap.succeed("SELECT INBOX").count("2 EXISTS"), 1);
    let began = Instant::now();
    for command in [
        "FETCH 1:2 (RFC822.SIZE ENVELOPE)",
        "FETCH 1:2 (BODYSTRUCTURE BODY)",
        "SEARCH TEXT needle",
        "SEARCH BODY nowhere HEADER Subject deep",
        "FETCH 1:2 (BODY.PEEK[1.1.1.1.1.1.1.1.HEADER] BODY.PEEK[1.MIME] BINARY.SIZE[1])",
        "THREAD REFERENCES UTF-8 ALL",
    ] {
        let answer = imap.command(command);
        let lines: usize = answer.untagged.iter().map(String::len).sum();
        assert!(lines < 1 << 20, "{command}: {lines} octets");
        assert!(
            answer.tagged.starts_with("OK") || answer.tagged.starts_with("NO"),
            "{command}: {}",
            answer.tagged
        );
    }
    assert_eq!(
        imap.succeed("FETCH 1:2 BODY.PEEK[]").literals,
        (multiparts(10_000).len() + messages(10_000).len()) as u64
    );
    assert!(began.elapsed() < PATIENT, "{:?}", began.elapsed());
    let mut pop3 = Wire::pop3(&stage.proxy);
    assert!(pop3.lines("TOP 1 1").0 > 3);
    stage.assert_small("nested messages");
    stage.serve_normally();
}

#[test]
fn commands_that_explode_are_answered_or_refused_at_once() {
    let stage = Stage::new();
    for number in 0..20 {
        let message = format!("Subject: {number}\r\n\r\ntext\r\n");
        stage.cloud.sandbox.put(OFFICE, "Inbox", message.as_bytes()).unwrap();
    }
    let mut set = "1:4294967295".to_owned();
    for number in 0..100_000 {
        let _ = write!(set, ",{number}:*");
    }
    let folder = "a".repeat(200);
    for command in [
        format!("LIST \"\" \"{}\"", "*%".repeat(500)),
        format!("LIST \"\" ({})", "* ".repeat(5000).trim_end()),
        format!("LIST \"{folder}\" \"{}b\"", "*a".repeat(400)),
        format!("SEARCH {}ALL", "OR ALL ".repeat(10_000)),
        format!("SEARCH {}ALL", "NOT ".repeat(10_000)),
        format!("SEARCH {}ALL{}", "(".repeat(10_000), ")".repeat(10_000)),
        format!("SEARCH {}", "TEXT x ".repeat(2000).trim_end()),
        format!("SEARCH {}", "a".repeat(30_000)),
        format!("FETCH {set} FLAGS"),
        format!("UID FETCH {set} FLAGS"),
        "FETCH 1:4294967295,4294967295:1,*:1,1:* (FLAGS)".to_owned(),
        format!("FETCH 1 ({})", "FLAGS ".repeat(10_000).trim_end()),
        format!("FETCH 1 (BODY.PEEK[{}1])", "1.".repeat(10_000)),
        format!("FETCH 1 BODY.PEEK[HEADER.FIELDS ({})]", "X ".repeat(10_000).trim_end()),
        format!(
            "STORE 1 +FLAGS ({})",
            (0..5000).map(|n| format!("k{n} ")).collect::<String>().trim_end()
        ),
        format!("CREATE {}", "a/".repeat(5000)),
        format!("STATUS INBOX ({})", "MESSAGES ".repeat(10_000).trim_end()),
        format!("SORT ({}) UTF-8 ALL", "REVERSE SUBJECT ".repeat(5000).trim_end()),
    ] {
        // A session for each: some are too long for any command, and end it.
        let mut imap = Talk::to(stage.proxy.address("IMAP"));
        imap.send(&format!("l LOGIN {LOGIN} {PASSWORD}\r\ns SELECT INBOX\r\n"));
        imap.until("s OK");
        let began = Instant::now();
        imap.send_what_is_taken(format!("a {command}\r\n").as_bytes());
        imap.finish_if_open();
        let heard = imap.rest_or_reset();
        let text = String::from_utf8_lossy(&heard);
        let start = &command[..command.len().min(30)];
        let is_answer = |line: &str| line.starts_with("a ") || line.starts_with("* BYE");
        // Whoever is still sending when the session ends may get a reset for its farewell.
        assert!(heard.is_empty() || text.lines().any(is_answer), "{start}: {text:.200}");
        assert!(heard.len() < 8 << 20, "{start}: an answer of {} octets", heard.len());
        assert!(began.elapsed() < PATIENT, "{start}: {:?}", began.elapsed());
    }
    stage.assert_small("exploding commands");
    stage.serve_normally();
}

/// reqwest asks for no compressed answer and opens none, unless somebody turns that on: a megabyte of
/// gzip is a gigabyte of JSON. The limits of the HTTP clients count what arrives.
#[test]
fn nothing_opens_a_compressed_answer() {
    let lock = include_str!("../../Cargo.lock");
    for name in ["async-compression", "flate2", "brotli", "zstd", "miniz_oxide"] {
        let entry = format!("name = \"{name}\"");
        assert!(!lock.contains(&entry), "{name} is in the program: who limits what it makes?");
    }
}
