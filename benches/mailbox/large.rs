//! A message of a hundred megabytes, against a bare copy.

use std::io::Write;
use std::net::TcpListener;

use crate::harness::cloud::{Cloud, OFFICE};
use crate::harness::wire::Wire;
use crate::office::{Office, figure, note, seconds};

/// Its length, about.
const LARGE: usize = 100 << 20;
/// What may be held of it, in MiB.
const HELD: f64 = 16.0;
/// The same while it comes in: up to 32 MiB of a message stay in memory, then it goes to a file.
const HELD_COMING_IN: f64 = 64.0;

pub fn large() {
    let cloud = Cloud::start();
    let text = message();
    cloud.sandbox.deliver(OFFICE, &text);
    let office = Office::before(cloud);
    let bare = bare_copy(&text);
    note("a bare copy of a message of 100 MB through a socket: MB/s", speed(bare));
    let mut client = Wire::imap(&office.proxy);
    client.succeed("SELECT INBOX");
    let mut pop3 = Wire::pop3(&office.proxy);
    let mut fetch = || {
        let fetched = client.succeed("FETCH 1 BODY.PEEK[]").literals;
        assert_eq!(fetched, text.len() as u64);
    };
    let took = held(&office, HELD, "FETCH from the service", &mut fetch);
    note("  MB/s", speed(took));
    let took = held(&office, HELD, "FETCH from the cache", &mut fetch);
    note("  MB/s", speed(took));
    note("  time / bare copy", took / bare);
    let took = held(&office, HELD, "RETR from the cache", || {
        assert_eq!(pop3.lines("RETR 1").1, text.len());
    });
    note("  MB/s", speed(took));
    let took = held(&office, HELD_COMING_IN, "APPEND", || {
        client.send(&format!("a APPEND Archive {{{}}}", text.len()));
        assert!(client.line().starts_with('+'));
        client.send(std::str::from_utf8(&text).unwrap());
        let answer = client.answer();
        assert!(answer.tagged.starts_with("OK"), "{}", answer.tagged);
    });
    note("  MB/s", speed(took));
}

fn message() -> Vec<u8> {
    let mut text = b"From: a@example.com\r\nTo: b@example.com\r\nSubject: large\r\n\
        Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <large@example.com>\r\n\
        MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\n\
        --b\r\nContent-Type: text/plain\r\n\r\nSee below.\r\n--b\r\n\
        Content-Type: application/octet-stream; name=\"large.bin\"\r\n\
        Content-Disposition: attachment; filename=\"large.bin\"\r\n\
        Content-Transfer-Encoding: base64\r\n\r\n"
        .to_vec();
    while text.len() < LARGE {
        text.extend_from_slice(&[b'A'; 76]);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"--b--\r\n");
    text
}

fn speed(seconds: f64) -> f64 {
    LARGE as f64 / 1e6 / seconds
}

/// Runs `work` and prints what memory it took; its seconds.
fn held(office: &Office, limit: f64, name: &str, work: impl FnOnce()) -> f64 {
    let before = office.resident_kib();
    office.forget_peak();
    let took = seconds(work);
    let more = (office.peak_kib() - before) / 1024.0;
    figure(&format!("{name}, 100 MB: peak memory, MiB more than before"), more, limit);
    took
}

/// The seconds in which the same client takes the same octets from a socket.
fn bare_copy(text: &[u8]) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = Wire::connect(listener.local_addr().unwrap());
    let (mut stream, _) = listener.accept().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            stream
                .write_all(format!("* 1 FETCH (BODY[] {{{}}}\r\n", text.len()).as_bytes())
                .unwrap();
            stream.write_all(text).unwrap();
            stream.write_all(b")\r\na OK\r\n").unwrap();
        });
        seconds(|| assert_eq!(client.answer().literals, text.len() as u64))
    })
}
