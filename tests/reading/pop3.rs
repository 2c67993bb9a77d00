//! POP3 clients in front of Gmail: every way to log in, a maildrop at work, capability lists.

use super::Scene;
use crate::harness::cloud::ANNA;

#[test]
fn poplib_logs_in_in_every_way() {
    let scene = Scene::new();
    if !scene.python(include_str!("../clients/pop3_logins.py"), "POP3") {
        return;
    }
    let logins = scene.cloud.sandbox.counters().logins;
    assert!(logins.len() >= 7, "{logins:?}");
    for login in logins {
        assert!(login.accepted && login.mechanism == "XOAUTH2" && login.user == ANNA, "{login:?}");
    }
    assert_eq!(scene.tokens(), 1, "a token is kept");
    let log = scene.proxy.log();
    assert!(!log.contains("local-password") && !log.contains("ya29."), "{log}");
}

#[test]
fn poplib_empties_a_maildrop() {
    let scene = Scene::new();
    for number in 1..=3 {
        let raw = format!("Subject: number {number}\r\n\r\n.dot {number}\r\nlast\r\n");
        scene.cloud.sandbox.put(ANNA, "INBOX", raw.as_bytes());
    }
    if !scene.python(include_str!("../clients/pop3_maildrop.py"), "POP3") {
        return;
    }
    let inbox = scene.cloud.sandbox.inbox(ANNA);
    assert_eq!(inbox.iter().map(|message| message.uid).collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn a_connection_lost_after_dele_deletes_nothing() {
    let scene = Scene::new();
    scene.cloud.sandbox.put(ANNA, "INBOX", b"Subject: stay\r\n\r\nhi\r\n");
    let mut talk = scene.pop3();
    assert!(talk.ask("DELE 1").starts_with("+OK"));
    drop(talk);
    scene.proxy.wait_for_log("session ended: ");
    let mut talk = scene.pop3();
    assert!(talk.ask("STAT").starts_with("+OK 1 "));
    assert!(talk.ask("QUIT").starts_with("+OK"));
    assert_eq!(scene.cloud.sandbox.inbox(ANNA).len(), 1);
}

#[test]
fn a_capability_list_offers_what_works_now() {
    let scene = Scene::new();
    let mut talk = scene.talk("POP3");
    talk.line();
    talk.send("CAPA\r\n");
    let before = talk.until(".");
    for line in ["USER", "UIDL", "TOP", "SASL PLAIN LOGIN", "RESP-CODES", "AUTH-RESP-CODE", "STLS"]
    {
        assert!(before.iter().any(|known| known == line), "{line}: {before:?}");
    }
    talk.send("AUTH\r\n");
    assert_eq!(talk.until(".")[1..], ["PLAIN", "LOGIN", "."]);
    talk.send("USER popper\r\nPASS local-password\r\nCAPA\r\nCAPA\r\n");
    talk.line();
    assert!(talk.line().starts_with("+OK"));
    for _ in 0..2 {
        let after = talk.until(".");
        assert!(after.iter().any(|line| line == "UIDL"), "{after:?}");
        for word in ["STLS", "SASL", "USER"] {
            assert!(!after.iter().any(|line| line.starts_with(word)), "{after:?}");
        }
    }
    assert!(talk.ask("STAT").starts_with("+OK 0 "));
}

#[test]
fn what_is_pipelined_behind_pass_reaches_the_service_in_order() {
    let scene = Scene::new();
    scene.cloud.sandbox.put(ANNA, "INBOX", b"Subject: one\r\n\r\n.hi\r\n");
    let mut talk = scene.talk("POP3");
    talk.send("USER popper\r\nPASS local-password\r\nSTAT\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n");
    let text = String::from_utf8(talk.rest()).unwrap();
    let expected = ["+OK 1 21", "Subject: one", "", "..hi", ".", "+OK marked for deletion"];
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("+OK message")).collect();
    assert_eq!(lines[3..9], expected, "{text}");
    assert!(scene.cloud.sandbox.inbox(ANNA).is_empty());
}

#[test]
fn what_comes_before_stls_does_not_count_after_it() {
    let scene = Scene::new();
    let mut talk = scene.talk("POP3");
    talk.line();
    talk.send("STLS\r\nUSER popper\r\nPASS local-password\r\n");
    assert!(talk.line().starts_with("+OK"));
    talk.finish();
    let rest = talk.rest();
    assert!(!String::from_utf8_lossy(&rest).contains("+OK"), "{rest:?}");
    assert!(scene.cloud.sandbox.counters().logins.is_empty());
}
