//! fetchmail and getmail: mail that is taken out of a mailbox, over IMAP and POP3.

use std::path::Path;
use std::process::Command;

use super::{Office, letter};
use crate::harness::cloud::OFFICE;
use crate::harness::{LOGIN, PASSWORD, have, run};

/// What is done with a message that was fetched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Keep,
    Delete,
}

/// fetchmail's exit code for a mailbox without new mail.
const NO_MAIL: i32 = 1;

/// Polls once; gives the exit code and what was fetched.
fn fetchmail(office: &Office, here: &Path, protocol: &str, after: After) -> (i32, String) {
    let out = here.join("fetched");
    let _ = std::fs::remove_file(&out);
    let kept = match after {
        // Over POP3 it remembers what it has seen only when told so.
        After::Keep if protocol == "pop3" => "keep uidl",
        After::Keep => "keep",
        After::Delete => "nokeep fetchall",
    };
    let uidl = if kept.ends_with("uidl") { "uidl" } else { "" };
    let configuration = format!(
        "poll localhost protocol {protocol} port {} {uidl} auth password\n\
         user \"{LOGIN}\" password \"{PASSWORD}\" sslproto \"\" {} mda \"cat >> {}\"\n",
        office.proxy.port(&protocol.to_uppercase()),
        kept.trim_end_matches(" uidl"),
        out.display()
    );
    let output = run(
        Command::new("fetchmail")
            .args(["-f", "-", "--nosyslog", "--nodetach", "-d0", "--pidfile"])
            .arg(here.join("fetchmail.pid"))
            .arg("--idfile")
            .arg(here.join("fetchids"))
            .env("FETCHMAILHOME", here),
        configuration.as_bytes(),
    );
    let code = output.status.code().unwrap_or(-1);
    assert!(code == 0 || code == NO_MAIL, "{output:?}");
    (code, std::fs::read_to_string(&out).unwrap_or_default())
}

/// How many of the letters are in a mail folder, each once.
fn letters(fetched: &str, count: usize) -> usize {
    let copies = |n| fetched.matches(&format!("Subject: letter {n}\n")).count();
    (0..count).map(copies).inspect(|&copies| assert!(copies < 2, "{fetched}")).sum()
}

#[test]
fn fetchmail_keeps_and_then_empties_the_mailbox() {
    if !have("fetchmail") {
        return;
    }
    for protocol in ["imap", "pop3"] {
        let (office, here) = (Office::with_inbox(10), tempfile::tempdir().unwrap());
        let (code, fetched) = fetchmail(&office, here.path(), protocol, After::Keep);
        assert_eq!((code, letters(&fetched, 10)), (0, 10), "{protocol}");
        assert!(fetched.contains("Zwölf Boxkämpfer, 7\n.\n"), "{protocol}: {fetched}");
        assert_eq!(office.cloud.sandbox.inbox(OFFICE).len(), 10);
        let office = office.restarted();
        office.cloud.sandbox.reset_graph_counts();
        let (code, fetched) = fetchmail(&office, here.path(), protocol, After::Keep);
        assert_eq!((code, fetched.as_str()), (NO_MAIL, ""), "{protocol}: nothing is new");
        assert_eq!(office.writes(), vec![]);
        office.cloud.sandbox.deliver(OFFICE, &letter(10));
        let (code, fetched) = fetchmail(&office, here.path(), protocol, After::Keep);
        assert_eq!((code, letters(&fetched, 11)), (0, 1), "{protocol}");
        let (code, fetched) = fetchmail(&office, here.path(), protocol, After::Delete);
        assert_eq!((code, letters(&fetched, 11)), (0, 11), "{protocol}");
        assert!(office.cloud.sandbox.inbox(OFFICE).is_empty(), "{protocol}");
    }
}

/// Runs getmail once; gives the messages that it has delivered. A maildir of its own it would refuse
/// to root.
fn getmail(office: &Office, here: &Path, protocol: &str, after: After) -> Vec<String> {
    let (kind, mailboxes) = match protocol {
        "imap" => ("SimpleIMAPRetriever", "mailboxes = (\"INBOX\",)\n"),
        _ => ("SimplePOP3Retriever", ""),
    };
    let mail = here.join("mail");
    std::fs::create_dir_all(&mail).unwrap();
    let delete = if after == After::Delete { "true" } else { "false" };
    let configuration = format!(
        "[retriever]\ntype = {kind}\nserver = localhost\nport = {}\nusername = {LOGIN}\n\
         password = {PASSWORD}\n{mailboxes}\n[destination]\n\
         type = MDA_external\npath = /bin/sh\nallow_root_commands = true\n\
         arguments = (\"-c\", \"cat > $(mktemp -p {})\")\n\n\
         [options]\nread_all = false\ndelete = {delete}\ndelivered_to = false\nreceived = false\n",
        office.proxy.port(&protocol.to_uppercase()),
        mail.display()
    );
    std::fs::write(here.join("getmailrc"), configuration).unwrap();
    let mut command = Command::new("getmail");
    command.arg(format!("--getmaildir={}", here.display())).args(["--rcfile", "getmailrc"]);
    let output = run(command.env("HOME", here), b"");
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert!(!said.contains("error") && !said.contains("warning"), "{said}");
    let files = std::fs::read_dir(mail).unwrap();
    let text = |file: std::io::Result<std::fs::DirEntry>| {
        without_own_fields(&std::fs::read_to_string(file.unwrap().path()).unwrap())
    };
    files.map(text).collect()
}

/// The files in which getmail notes what it has seen are named after the port.
fn move_memory(here: &Path, old: &str, new: &str) {
    let files = std::fs::read_dir(here).unwrap().map(|file| file.unwrap().path());
    let named = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let memory: Vec<_> = files.filter(|path| named(path).starts_with("oldmail-")).collect();
    assert_eq!(memory.len(), 1, "{memory:?}");
    std::fs::rename(&memory[0], here.join(named(&memory[0]).replace(old, new))).unwrap();
}

/// What getmail adds.
fn without_own_fields(text: &str) -> String {
    let own = |line: &&str| line.starts_with("Return-Path:") || line.starts_with("X-getmail-");
    text.split_inclusive('\n').filter(|line| !own(line)).collect()
}

#[test]
fn getmail_fetches_each_message_once() {
    if !have("getmail") {
        return;
    }
    for protocol in ["imap", "pop3"] {
        let (office, here) = (Office::with_inbox(10), tempfile::tempdir().unwrap());
        let mut fetched = getmail(&office, here.path(), protocol, After::Keep);
        let lf = |n| String::from_utf8(letter(n)).unwrap().replace("\r\n", "\n");
        let mut all: Vec<_> = (0..10).map(lf).collect();
        all.sort();
        fetched.sort();
        assert_eq!(fetched, all, "{protocol}");
        let old = office.proxy.port(&protocol.to_uppercase());
        let office = office.restarted();
        move_memory(here.path(), &old, &office.proxy.port(&protocol.to_uppercase()));
        office.cloud.sandbox.reset_graph_counts();
        assert_eq!(getmail(&office, here.path(), protocol, After::Keep).len(), 10, "{protocol}");
        assert_eq!((office.writes(), office.downloads()), (vec![], 0));
        office.cloud.sandbox.deliver(OFFICE, &letter(10));
        assert_eq!(getmail(&office, here.path(), protocol, After::Delete).len(), 11, "{protocol}");
        assert!(office.cloud.sandbox.inbox(OFFICE).is_empty(), "{protocol}");
    }
}
