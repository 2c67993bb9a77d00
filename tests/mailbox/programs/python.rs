//! Python's imaplib and poplib.

use std::process::Command;

use super::{Office, letter, with_delivery};
use crate::harness::cloud::OFFICE;
use crate::harness::{have, python};
use crate::reading::certificate_of;

/// So that the end of IDLE is not waited for.
pub const POLL: &str = "Mail.Receiving.Microsoft365.PollInterval = '1s'\n";

#[test]
fn imaplib_lives_long() {
    if !have("python3") {
        return;
    }
    let office = Office::empty(POLL);
    office.cloud.sandbox.fill(OFFICE, "inbox", 25, letter);
    let ports = [office.proxy.port("IMAP"), office.proxy.port("IMAPS")];
    let certificate = certificate_of(office.proxy.folder.path());
    let program = include_str!("imaplib_life.py");
    let mut command = Command::new("python3");
    command.args(["-c", program, &ports[0], &ports[1], &certificate, "25"]);
    with_delivery(&office, &mut command);
    let left: Vec<_> = office.cloud.sandbox.folders(OFFICE);
    assert!(left.contains(&"Arbeit".to_owned()), "{left:?}");
    assert!(!left.iter().any(|name| name.contains("Büro")), "{left:?}");
    let arbeit = office.cloud.sandbox.folder(OFFICE, "Arbeit");
    assert_eq!(arbeit.len(), 1);
    assert_eq!(*arbeit[0].raw, *letter(2));
    assert!(!arbeit[0].is_read());
    let inbox = office.cloud.sandbox.inbox(OFFICE);
    assert_eq!(inbox.len(), 26);
    assert_eq!(inbox.iter().filter(|message| message.is_read()).count(), 1);
}

#[test]
fn poplib_empties_a_maildrop_in_two_sessions() {
    if !have("python3") {
        return;
    }
    let office = Office::with_inbox(12);
    let talk = |office: &Office, work: &str| {
        let ports = [office.proxy.port("POP3"), office.proxy.port("POP3S")];
        let certificate = certificate_of(office.proxy.folder.path());
        python(include_str!("poplib_life.py"), &[&ports[0], &ports[1], &certificate, work])
    };
    let before = talk(&office, "read");
    assert_eq!(before.lines().count(), 12);
    let office = office.restarted();
    // Unique ids and sizes survive; the messages are not read again.
    office.cloud.sandbox.reset_graph_counts();
    assert_eq!(talk(&office, "read"), before);
    assert_eq!((office.downloads(), office.writes()), (0, vec![]));
    talk(&office, "undo");
    assert_eq!(office.cloud.sandbox.inbox(OFFICE).len(), 12);
    assert_eq!(talk(&office, "delete"), before);
    let left = office.cloud.sandbox.inbox(OFFICE);
    assert_eq!(left.len(), 1);
    assert_eq!(*left[0].raw, *letter(3));
    let last = talk(&office, "read");
    assert_eq!(last.lines().count(), 1);
    assert!(before.contains(last.split_whitespace().nth(1).unwrap()), "{last} of {before}");
}
