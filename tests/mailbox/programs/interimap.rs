//! interimap: two IMAP servers kept the same by QRESYNC; and what several tests do with a Dovecot.

use std::path::Path;
use std::process::Command;

use super::{FOLDERS, Office, letter};
use crate::dovecot::server::{self, Dovecot};
use crate::harness::cloud::OFFICE;
use crate::harness::{LOGIN, PASSWORD, have, run, succeed};
use crate::reading::certificate_of;

/// `imap_dump.py` at a server: port, certificate, login, password.
type At = [String; 4];

pub fn at_dovecot(dovecot: &Dovecot) -> At {
    let authority = dovecot.folder.path().join("ca.pem").display().to_string();
    [dovecot.ports.imaps.to_string(), authority, server::USER.into(), server::PASSWORD.into()]
}

pub fn at_proxy(office: &Office) -> At {
    let certificate = certificate_of(office.proxy.folder.path());
    [office.proxy.port("IMAPS"), certificate, LOGIN.into(), PASSWORD.into()]
}

fn script(at: &At) -> Command {
    let mut command = Command::new("python3");
    command.args(["-c", include_str!("imap_dump.py")]).args(at);
    command
}

/// Puts letters into a folder.
pub fn put(at: &At, folder: &str, numbers: impl Iterator<Item = usize>) {
    let one = |number| {
        let raw = letter(number);
        [format!("{}\n", raw.len()).as_bytes(), &raw].concat()
    };
    let input: Vec<u8> = numbers.flat_map(one).collect();
    succeed(script(at).arg(folder), &input);
}

/// Every message, a line each.
pub fn dump(at: &At) -> Vec<String> {
    succeed(&mut script(at), b"").lines().map(str::to_owned).collect()
}

/// The same without UIDs, which every server gives as it likes.
pub fn content(at: &At) -> Vec<String> {
    let mut lines = dump(at);
    for line in &mut lines {
        line.truncate(line.rfind(' ').unwrap());
    }
    lines.sort();
    lines
}

fn interimap(office: &Office, dovecot: &Dovecot, here: &Path) {
    let configuration = format!(
        "database = {0}/interimap.db\n\n[local]\ntype = imaps\nhost = localhost\nport = {1}\n\
         username = {2}\npassword = {3}\nSSL_CAfile = {4}/ca.pem\n\n\
         [remote]\ntype = imap\nhost = localhost\nport = {5}\nSTARTTLS = YES\n\
         username = {LOGIN}\npassword = {PASSWORD}\nSSL_CAfile = {6}\n",
        here.display(),
        dovecot.ports.imaps,
        server::USER,
        server::PASSWORD,
        dovecot.folder.path().display(),
        office.proxy.port("IMAP"),
        certificate_of(office.proxy.folder.path()),
    );
    let file = here.join("interimap.conf");
    std::fs::write(&file, configuration).unwrap();
    let mut command = Command::new("interimap");
    command.arg(format!("--config={}", file.display())).env("HOME", here);
    let output = run(&mut command, b"");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("WARNING") && !said.contains("ERROR"), "{said}");
}

/// A run that finds nothing to do, at either end.
fn nothing_to_do(office: &Office, dovecot: &Dovecot, here: &Path) {
    let before = (dump(&at_proxy(office)), dump(&at_dovecot(dovecot)));
    office.cloud.sandbox.reset_graph_counts();
    interimap(office, dovecot, here);
    assert_eq!((office.writes(), office.downloads()), (vec![], 0));
    assert_eq!((dump(&at_proxy(office)), dump(&at_dovecot(dovecot))), before);
}

#[test]
fn interimap_keeps_dovecot_and_the_mailbox_the_same() {
    if !have("interimap") || !have("python3") {
        return;
    }
    let Some(dovecot) = Dovecot::start() else { return };
    let (office, here) = (Office::with_inbox(15), tempfile::tempdir().unwrap());
    let sandbox = &office.cloud.sandbox;
    for (parent, name, _) in FOLDERS {
        sandbox.create_named_folder(OFFICE, parent, name).unwrap();
    }
    sandbox.fill(OFFICE, "Projekte", 10, |n| letter(100 + n));
    put(&at_dovecot(&dovecot), "INBOX", 40..45);
    put(&at_dovecot(&dovecot), "Dort", 50..55);
    interimap(&office, &dovecot, here.path());
    let both = content(&at_proxy(&office));
    assert_eq!(both.len(), 15 + 10 + 5 + 5);
    assert_eq!(both, content(&at_dovecot(&dovecot)));
    nothing_to_do(&office, &dovecot, here.path());
    // Vanished, changed and new at both ends, told since the last MODSEQ.
    assert!(sandbox.delete_message(OFFICE, "letter 3"));
    assert!(sandbox.move_message(OFFICE, "letter 4", "Projekte"));
    assert!(sandbox.mark_read(OFFICE, "letter 5", true));
    assert!(sandbox.flag_message(OFFICE, "letter 101", "flagged"));
    sandbox.deliver(OFFICE, &letter(20));
    put(&at_dovecot(&dovecot), "Projekte", 60..62);
    let office = office.restarted();
    interimap(&office, &dovecot, here.path());
    let both = content(&at_proxy(&office));
    assert_eq!(both.len(), 35 - 1 + 1 + 2);
    assert_eq!(both, content(&at_dovecot(&dovecot)));
    nothing_to_do(&office, &dovecot, here.path());
}
