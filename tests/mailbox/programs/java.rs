//! A Java program with javax.mail.

use std::process::Command;

use super::python::POLL;
use super::{Office, letter, with_delivery};
use crate::harness::cloud::OFFICE;
use crate::harness::{LOGIN, PASSWORD, have, succeed};

const LIBRARY: &str = "/usr/share/java/javax.mail.jar";

/// Octets of the attachment: the program reads it in pieces of 16 KB.
const LARGE: u32 = 100_000;

/// A message with an attachment whose octet n is 7 n.
fn large_one() -> Vec<u8> {
    use base64::Engine;
    let octets: Vec<u8> = (0..LARGE).map(|n| (n * 7 % 256) as u8).collect();
    let text = base64::engine::general_purpose::STANDARD.encode(octets);
    let lines: Vec<_> = text.as_bytes().chunks(76).map(String::from_utf8_lossy).collect();
    format!(
        "From: Somebody <x@y.example>\r\nTo: {OFFICE}\r\nSubject: large one\r\n\
         Date: Mon, 02 Nov 2026 12:00:00 +0100\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
         Zwölf\r\n--x\r\nContent-Type: application/octet-stream;\r\n \
         name=\"=?utf-8?Q?gro=C3=9Fe_Liste.bin?=\"\r\nContent-Transfer-Encoding: base64\r\n\r\n\
         {}\r\n--x--\r\n",
        lines.join("\r\n")
    )
    .into_bytes()
}

#[test]
fn javax_mail_works_in_a_mailbox() {
    if !have("java") || !have("javac") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mailbox/programs/Client.java");
    let mut compiler = Command::new("javac");
    succeed(compiler.args(["-cp", LIBRARY, "-d"]).arg(folder.path()).arg(source), b"");
    let office = Office::empty(POLL);
    let sandbox = &office.cloud.sandbox;
    sandbox.fill(OFFICE, "inbox", 21, |n| if n == 20 { large_one() } else { letter(n) });
    let path = format!("{}:{LIBRARY}", folder.path().display());
    let mut program = Command::new("java");
    program.args(["-Xshare:auto", "-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8", "-cp"]);
    program.args([&path, "Client", &office.proxy.port("IMAP"), "21", LOGIN, PASSWORD]);
    let said = with_delivery(&office, &mut program);
    assert_eq!(said.last().map(String::as_str), Some("done"));
    let inbox = sandbox.inbox(OFFICE);
    // One moved away, one delivered.
    assert_eq!(inbox.len(), 21);
    assert_eq!(*inbox[0].raw, *letter(1));
    assert!(inbox[0].flags.contains("\\Flagged"), "{:?}", inbox[0].flags);
    assert_eq!(inbox[0].categories, ["Rechnung"]);
}
