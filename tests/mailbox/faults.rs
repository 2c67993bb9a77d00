//! Graph fails in every way while clients read and change a mailbox.
//!
//! Danger: an error handed out as a message, a truncated message in the cache, a client that is cut
//! off. Rule: what passes is waited out unseen; what stays is NO with a code and a reference, and
//! what was read before can still be read.

use authbridge::sandbox::{Fault, Limits, Place, Quirks, What};

use super::client::Imap;
use crate::harness::Proxy;
use crate::harness::cloud::{Cloud, OFFICE};
use crate::reading::talk::Talk;

/// All places of Graph where reading and changing go by.
const PLACES: [Place; 10] = [
    Place::GraphRead,
    Place::GraphDelta,
    Place::GraphValue,
    Place::GraphBatch,
    Place::GraphUpdate,
    Place::GraphDelete,
    Place::GraphTransfer,
    Place::GraphCreate,
    Place::GraphImport,
    Place::GraphFolder,
];

fn letter(number: usize) -> Vec<u8> {
    let text = format!("Line of message {number}.\r\n").repeat(600);
    format!(
        "From: eve@elsewhere.example\r\nTo: {OFFICE}\r\nSubject: n{number}\r\n\
         Message-ID: <n{number}@faults.example>\r\n\r\n{text}"
    )
    .into_bytes()
}

fn started() -> (Cloud, Proxy) {
    let cloud = Cloud::start();
    cloud.sandbox.create_folder(OFFICE, "Away");
    cloud.sandbox.fill(OFFICE, "inbox", 12, letter);
    let configuration = cloud.base() + &cloud.graph("Mail.Receiving");
    let proxy = Proxy::start_in(cloud.folder(), &configuration);
    (cloud, proxy)
}

fn fault(cloud: &Cloud, at: Place, what: What, times: usize) {
    cloud.sandbox.fault(Fault { at, what, times });
}

#[test]
fn what_passes_is_waited_out_and_no_answer_is_wrong() {
    let (cloud, proxy) = started();
    let wait = || What::Status(429, Some(1));
    fault(&cloud, Place::GraphRead, wait(), 1);
    fault(&cloud, Place::GraphDelta, What::Status(503, None), 1);
    let mut imap = Imap::login(&proxy);
    imap.command("SELECT INBOX").ok();
    assert_eq!(imap.listing().len(), 12);
    for what in [wait(), What::Truncate, What::ResetAfter, What::Truncate, What::Status(504, None)]
    {
        fault(&cloud, Place::GraphValue, what, 1);
    }
    let truth = cloud.sandbox.inbox(OFFICE);
    for uid in 1..=12_u32 {
        let at = usize::try_from(uid - 1).unwrap();
        // An honest NO is no message; then the next attempt is served.
        let body = imap.body(uid).or_else(|| imap.body(uid)).or_else(|| imap.body(uid));
        assert!(body.as_deref() == Some(&*truth[at].raw), "message {uid}");
    }
    fault(&cloud, Place::GraphUpdate, wait(), 2);
    imap.command("UID STORE 1:3 +FLAGS (\\Flagged)").ok();
    fault(&cloud, Place::GraphTransfer, wait(), 1);
    fault(&cloud, Place::GraphBatch, What::ResetAfter, 1);
    let moved = imap.command("UID MOVE 1:3 Away");
    assert!(moved.tagged.is_some(), "cut off");
    let away = cloud.sandbox.folder(OFFICE, "Away").len();
    assert_eq!(away + cloud.sandbox.inbox(OFFICE).len(), 12);
    imap.command("SELECT INBOX").ok();
    assert_eq!(imap.listing().len(), 12 - away);
    imap.command("SELECT Away").ok();
    assert_eq!(imap.listing().len(), away);
    cloud.sandbox.clear_faults();
}

#[test]
fn a_service_that_is_down_is_told_as_that_and_what_was_read_stays_readable() {
    let (cloud, proxy) = started();
    let mut imap = Imap::login(&proxy);
    imap.command("SELECT INBOX").ok();
    let read = imap.body(1).expect("a message");
    for at in PLACES {
        fault(&cloud, at, What::ResetBefore, 10_000);
    }
    for command in ["UID FETCH 5 (BODY.PEEK[])", "UID STORE 5 +FLAGS (\\Seen)", "UID MOVE 5 Away"] {
        let answer = imap.command(command);
        let tagged = answer.tagged.clone().expect("still connected");
        assert!(tagged.starts_with("NO [UNAVAILABLE]"), "{command}: {tagged}");
        assert!(tagged.contains("ref"), "{command}: {tagged}");
        assert!(answer.lines().iter().all(|line| !line.contains("BODY[]")), "{answer:?}");
    }
    let answer = imap.command("NOOP");
    assert!(!answer.tagged.unwrap().starts_with("BAD"));
    assert!(imap.body(1).as_ref() == Some(&read), "what was read stays readable");
    imap.command("UID FETCH 1:* (FLAGS INTERNALDATE)").ok();
    let mut pop = Talk::to(proxy.address("POP3"));
    assert!(pop.line().starts_with("+OK"));
    assert!(pop.ask("USER app").starts_with("+OK"));
    let refused = pop.ask("PASS local-password");
    assert!(refused.starts_with("-ERR [SYS/TEMP]"), "{refused}");
    cloud.sandbox.clear_faults();
    imap.command("NOOP").ok();
    assert!(imap.body(5).as_deref() == Some(&*cloud.sandbox.inbox(OFFICE)[4].raw));
}

#[test]
fn dead_tokens_slow_pages_and_a_small_budget_are_no_failure() {
    let (cloud, proxy) = started();
    cloud.sandbox.fill(OFFICE, "Away", 90, letter);
    cloud.sandbox.set_quirks(OFFICE, Quirks { slow_pages: Some(25), ..Quirks::default() });
    let mut imap = Imap::login(&proxy);
    imap.command("SELECT Away").ok();
    assert_eq!(imap.listing().len(), 90);
    cloud.sandbox.revoke_tokens();
    assert!(imap.body(7).is_some());
    imap.command("UID STORE 7 +FLAGS (\\Seen)").ok();
    let budget = Some((6, std::time::Duration::from_millis(500)));
    cloud.sandbox.set_limits(Limits { budget, ..Limits::default() });
    for uid in 1..=20 {
        assert!(imap.body(uid).is_some(), "{uid}");
    }
}
