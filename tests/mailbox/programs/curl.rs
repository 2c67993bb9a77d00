//! curl: messages as URLs.

use std::process::Command;

use super::{Office, letter};
use crate::harness::cloud::OFFICE;
use crate::harness::{LOGIN, PASSWORD, have, run};
use crate::reading::certificate_of;

/// Asks for `path` at a listener; `more` are curl's options.
fn curl(office: &Office, listener: &str, path: &str, more: &[&str]) -> Vec<u8> {
    let port = office.proxy.port(listener);
    let url = format!("{}://localhost:{port}/{path}", listener.to_lowercase());
    let certificate = certificate_of(office.proxy.folder.path());
    let user = format!("{LOGIN}:{PASSWORD}");
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "30", "--cacert", &certificate, "-u", &user, &url]);
    let output = run(command.args(more), b"");
    assert!(output.status.success(), "{url} {more:?}: {output:?}");
    output.stdout
}

fn text(office: &Office, listener: &str, path: &str, more: &[&str]) -> String {
    String::from_utf8(curl(office, listener, path, more)).unwrap()
}

#[test]
fn curl_reads_searches_and_appends_over_imap() {
    if !have("curl") {
        return;
    }
    let office = Office::with_inbox(8);
    let folders = text(&office, "IMAP", "", &[]);
    assert!(folders.contains("\"INBOX\"") && folders.contains("\\Sent"), "{folders}");
    assert_eq!(curl(&office, "IMAP", "INBOX;UID=4", &[]), letter(3));
    assert_eq!(curl(&office, "IMAPS", "INBOX;MAILINDEX=6", &[]), letter(5));
    assert_eq!(curl(&office, "IMAP", "INBOX;UID=1", &["--ssl-reqd"]), letter(0));
    let head = text(&office, "IMAP", "INBOX;UID=2;SECTION=HEADER.FIELDS%20(Subject)", &[]);
    assert_eq!(head, "Subject: letter 1\r\n\r\n");
    let found = text(&office, "IMAP", "INBOX?SUBJECT%20%22letter%207%22", &[]);
    assert_eq!(found, "* SEARCH 8\r\n");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("letter.eml");
    std::fs::write(&file, letter(30)).unwrap();
    let file = file.display().to_string();
    text(&office, "IMAP", "Drafts", &["-X", "CREATE Ablage"]);
    curl(&office, "IMAP", "Ablage", &["-T", &file]);
    assert_eq!(curl(&office, "IMAP", "Ablage;UID=1", &[]), letter(30));
    assert_eq!(office.cloud.sandbox.folder(OFFICE, "Ablage").len(), 1);
    let told = text(&office, "IMAP", "INBOX", &["-X", "STORE 1:3 +FLAGS.SILENT \\Flagged"]);
    assert!(!told.contains("BAD"), "{told}");
    let flagged = office.cloud.sandbox.inbox(OFFICE).into_iter();
    assert_eq!(flagged.filter(|message| message.flags.contains("\\Flagged")).count(), 3);
}

#[test]
fn curl_reads_and_deletes_over_pop3() {
    if !have("curl") {
        return;
    }
    let office = Office::with_inbox(3);
    let listing = text(&office, "POP3", "", &["--ssl-reqd"]);
    let sizes = (0..3).map(|n| format!("{} {}\r\n", n + 1, letter(n).len())).collect::<String>();
    assert_eq!(listing, sizes);
    assert_eq!(curl(&office, "POP3", "2", &[]), letter(1));
    assert_eq!(curl(&office, "POP3S", "3", &[]), letter(2));
    let ids = text(&office, "POP3", "", &["-X", "UIDL"]);
    assert_eq!(ids.lines().count(), 3, "{ids}");
    curl(&office, "POP3", "1", &["-X", "DELE", "-I"]);
    assert_eq!(office.cloud.sandbox.inbox(OFFICE).len(), 2);
}

#[test]
fn curl_is_told_what_is_missing() {
    if !have("curl") {
        return;
    }
    let office = Office::with_inbox(1);
    // CURLE_REMOTE_FILE_NOT_FOUND; CURLE_LOGIN_DENIED, which is its word for a refused SELECT too.
    for (path, code) in [("INBOX;UID=77", 78), ("Nowhere;UID=1", 67)] {
        let url = format!("imap://localhost:{}/{path}", office.proxy.port("IMAP"));
        let user = format!("{LOGIN}:{PASSWORD}");
        let output = run(Command::new("curl").args(["-sS", "-u", &user, &url]), b"");
        assert_eq!(output.status.code(), Some(code), "{path}: {output:?}");
    }
}
