//! Reading: a first synchronisation, large folders, POP3.

use std::path::Path;
use std::process::Command;

use authbridge::sandbox::Quirks;

use crate::harness::wire::Wire;
use crate::harness::{LOGIN, PASSWORD, Proxy, succeed};
use crate::office::{Office, figure, least, note, seconds};

/// Messages of a first synchronisation.
const SOME: usize = 1_000;
/// Messages of a large folder.
const MANY: usize = 10_000;
/// What a client asks of each message to show a folder.
const OVERVIEW: &str = "FETCH 1:* (UID FLAGS INTERNALDATE ENVELOPE)";

pub fn mbsync() {
    let office = Office::start(SOME);
    let folder = tempfile::tempdir().unwrap();
    let took = seconds(|| run_mbsync(&office.proxy, folder.path()));
    let copied = std::fs::read_dir(folder.path().join("inbox/new")).unwrap().count()
        + std::fs::read_dir(folder.path().join("inbox/cur")).unwrap().count();
    assert_eq!(copied, SOME);
    figure("mbsync of 1,000 messages: requests a message", office.requests() / 1e3, 1.05);
    figure("  time / 1,000 requests of 30 ms, 4 at a time", took / least(SOME), 1.25);
    run_mbsync(&office.proxy, folder.path());
    figure("  again, nothing has changed: requests", office.requests(), 1.0);
    let office = office.restart();
    run_mbsync(&office.proxy, folder.path());
    figure("  again, after authbridge was killed: requests", office.requests(), 1.0);
}

fn run_mbsync(proxy: &Proxy, folder: &Path) {
    let here = folder.display();
    let configuration = format!(
        "IMAPAccount a\nHost 127.0.0.1\nPort {}\nUser {LOGIN}\nPass {PASSWORD}\nSSLType None\n\
         AuthMechs LOGIN\n\nIMAPStore far\nAccount a\n\nMaildirStore near\nPath {here}/\n\
         Inbox {here}/inbox\nSubFolders Verbatim\n\nChannel c\nFar :far:\nNear :near:\n\
         Patterns INBOX\nCreate Near\nExpunge Both\nSync All\nSyncState {here}/\n",
        proxy.port("IMAP")
    );
    let file = folder.join("mbsyncrc");
    std::fs::write(&file, configuration).unwrap();
    succeed(Command::new("mbsync").arg("-q").arg("-c").arg(&file).arg("-a"), b"");
}

pub fn listing() {
    for (name, quirks, limit) in [
        ("", Quirks::default(), 45.0),
        (", pages over 400 time out", Quirks { slow_pages: Some(400), ..Quirks::default() }, 45.0),
    ] {
        let office = Office::start(MANY);
        office.set_quirks(quirks);
        let mut client = Wire::imap(&office.proxy);
        let before = office.resident_kib();
        office.forget_peak();
        let took = seconds(|| {
            client.succeed("SELECT INBOX");
            let answer = client.succeed(OVERVIEW);
            assert_eq!(answer.count("ENVELOPE"), MANY);
        });
        figure(&format!("10,000 messages listed{name}: requests"), office.requests(), limit);
        note("  seconds", took);
        note("  peak memory, MiB more than before", (office.peak_kib() - before) / 1024.0);
        let took = seconds(|| drop(client.succeed(OVERVIEW)));
        figure("  again: requests", office.requests(), 0.0);
        note("  seconds", took);
    }
}

pub fn flags() {
    let office = Office::start(500);
    let mut client = Wire::imap(&office.proxy);
    client.succeed("SELECT INBOX");
    office.requests();
    let took = seconds(|| {
        client.succeed("STORE 1:500 +FLAGS (\\Flagged)");
        client.succeed("NOOP");
    });
    figure("one flag on 500 messages, and NOOP: requests", office.requests(), 30.0);
    note("  seconds", took);
}

pub fn pop3() {
    let office = Office::start(MANY);
    let mut client = None;
    let took = seconds(|| client = Some(Wire::pop3(&office.proxy)));
    let mut client = client.unwrap();
    note("POP3 login to 10,000 messages never read: requests", office.requests());
    note("  seconds", took);
    let took = seconds(|| {
        assert!(client.ask("STAT").starts_with("+OK 10000 "));
        assert_eq!(client.lines("UIDL").0, MANY);
        assert_eq!(client.lines("LIST").0, MANY);
    });
    figure("  STAT, UIDL, LIST: requests", office.requests(), 201.0);
    figure("  time / 200 requests of 30 ms, 4 at a time", took / least(200), 1.25);
    let took = seconds(|| {
        for number in 1..=200 {
            client.lines(&format!("RETR {number}"));
        }
    });
    // What was fetched ahead of the last one comes on top.
    figure("  RETR of 200 messages in order: requests a message", office.requests() / 200.0, 1.05);
    figure("  time / 200 requests of 30 ms, 4 at a time", took / least(200), 1.25);
}

pub fn bodies() {
    let office = Office::start(SOME);
    let mut client = Wire::imap(&office.proxy);
    client.succeed("SELECT INBOX");
    office.requests();
    let mut fetch = || {
        let answer = client.succeed("FETCH 1:* (UID BODY.PEEK[])");
        assert_eq!(answer.count("BODY[]"), SOME);
    };
    let took = seconds(&mut fetch);
    figure("FETCH of 1,000 messages never read: requests a message", office.requests() / 1e3, 1.0);
    figure("  time / 1,000 requests of 30 ms, 4 at a time", took / least(SOME), 1.25);
    let took = seconds(&mut fetch);
    figure("  again: requests", office.requests(), 0.0);
    note("  messages a second", SOME as f64 / took);
    let office = office.restart();
    let mut client = Wire::imap(&office.proxy);
    client.succeed("SELECT INBOX");
    office.requests();
    let took = seconds(|| drop(client.succeed("FETCH 1:* (UID BODY.PEEK[])")));
    figure("  again, after authbridge was killed: requests", office.requests(), 0.0);
    note("  messages a second", SOME as f64 / took);
}
