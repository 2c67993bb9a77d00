//! Thousands who connect and never come to an end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{Stage, size};
use crate::harness::cloud::OFFICE;

/// What a normal session may take with the crowd there. The issue asks for one second; tests share
/// their machine.
const PROMPT: Duration = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 });

/// A listener, what is said there and how often the other side is heard before silence.
struct Kind {
    protocol: &'static str,
    said: &'static [&'static str],
}

const LOGIN: &str = "AUTH PLAIN AGFwcABsb2NhbC1wYXNzd29yZA==\r\n";

/// Idle, half a command, half a message, a literal begun, a handshake begun.
const KINDS: [Kind; 10] = [
    Kind { protocol: "SMTP", said: &[] },
    Kind { protocol: "SMTP", said: &["EHLO x\r\n", "MAIL FROM:<half"] },
    Kind {
        protocol: "SMTP",
        said: &["EHLO x\r\n", LOGIN, "MAIL", "RCPT", "DATA\r\n", "Subject: ha"],
    },
    Kind { protocol: "SMTPS", said: &["\x16\x03\x01\x02\x00\x01\x00\x01"] },
    Kind { protocol: "IMAP", said: &[] },
    Kind { protocol: "IMAP", said: &["a LOGIN {2000}\r\n", "half"] },
    Kind {
        protocol: "IMAP",
        said: &["a LOGIN app local-password\r\n", "b APPEND INBOX {50000}\r\n", "h"],
    },
    Kind { protocol: "IMAPS", said: &["\x16\x03"] },
    Kind { protocol: "POP3", said: &["USER app\r\n", "PASS ha"] },
    Kind { protocol: "POP3", said: &["AUTH PLAIN\r\n", "AGFw"] },
];

/// Connects and says its words; what is answered to all but the last is waited for.
fn begin(stage: &Stage, kind: &Kind) -> TcpStream {
    let mut stream = TcpStream::connect(stage.proxy.address(kind.protocol)).unwrap();
    stream.set_read_timeout(Some(crate::harness::PATIENCE)).unwrap();
    if !kind.protocol.ends_with('S') {
        hear(&mut stream);
    }
    for (at, word) in kind.said.iter().enumerate() {
        let word = match *word {
            "MAIL" => format!("MAIL FROM:<{OFFICE}>\r\n"),
            "RCPT" => "RCPT TO:<bob@elsewhere.example>\r\n".to_owned(),
            word => word.to_owned(),
        };
        stream.write_all(word.as_bytes()).unwrap();
        if at + 1 < kind.said.len() {
            hear(&mut stream);
        }
    }
    stream
}

fn hear(stream: &mut TcpStream) {
    let mut room = [0; 1024];
    assert!(stream.read(&mut room).unwrap() > 0, "sent away");
}

#[test]
fn a_crowd_of_unfinished_sessions_costs_little_and_delays_nobody() {
    let stage = Stage::new();
    stage.serve_normally();
    let (empty, count) = (stage.memory("VmRSS"), size(1000));
    let kinds = KINDS.iter().cycle();
    let mut crowd: Vec<TcpStream> = kinds.take(count).map(|kind| begin(&stage, kind)).collect();
    // One octet a second each, for a while: nobody is idle, and nothing gets done.
    let mut slowest = Duration::ZERO;
    for _ in 0..3 {
        let began = Instant::now();
        for stream in &mut crowd {
            stream.write_all(b"x").unwrap();
        }
        slowest = slowest.max(stage.serve_normally());
        std::thread::sleep(Duration::from_secs(1).saturating_sub(began.elapsed()));
    }
    let full = stage.memory("VmRSS");
    eprintln!(
        "{count} hostile connections: {} MB, {} MB without; a normal session takes {slowest:?}",
        full >> 20,
        empty >> 20
    );
    stage.assert_small("a crowd");
    assert!(slowest < PROMPT, "a normal session took {slowest:?}");
    assert_eq!(stage.cloud.sandbox.deliveries().len(), 4, "half a message was delivered");
    drop(crowd);
    assert_eq!(stage.cloud.sandbox.deliveries().len(), 4, "half a message was delivered");
    stage.serve_normally();
}
