//! IMAP clients in front of Gmail: every way to log in, a mailbox at work, capability lists.

use super::Scene;
use crate::harness::cloud::ANNA;

#[test]
fn imaplib_logs_in_in_every_way() {
    let scene = Scene::with("Proxy.Client.odd.Password = 'a \"b\\ c{3}'\n");
    if !scene.python(include_str!("../clients/imap_logins.py"), "IMAP") {
        return;
    }
    let logins = scene.cloud.sandbox.counters().logins;
    assert!(logins.len() >= 8, "{logins:?}");
    for login in logins {
        assert!(login.accepted && login.mechanism == "XOAUTH2" && login.user == ANNA, "{login:?}");
    }
    assert_eq!(scene.tokens(), 1, "a token is kept");
    let log = scene.proxy.log();
    assert!(!log.contains("local-password") && !log.contains("ya29."), "{log}");
}

#[test]
fn imaplib_works_in_a_mailbox() {
    let scene = Scene::new();
    for number in 1..=3 {
        let raw = format!("Subject: number {number}\r\n\r\n.dot {number}\r\n");
        scene.cloud.sandbox.put(ANNA, "INBOX", raw.as_bytes());
    }
    if !scene.python(include_str!("../clients/imap_mailbox.py"), "IMAP") {
        return;
    }
    let inbox = scene.cloud.sandbox.inbox(ANNA);
    let subjects: Vec<_> = inbox.iter().map(|message| message.raw[9..17].to_vec()).collect();
    assert_eq!(subjects, [b"number 1", b"number 3", b"appended"]);
    assert!(inbox[0].flags.contains("\\Flagged"), "{:?}", inbox[0].flags);
    assert_eq!(&*inbox[2].raw, b"Subject: appended\r\n\r\n.a\r\n\xc3\xa4\r\n");
    assert!(inbox[2].flags.contains("\\Seen"), "{:?}", inbox[2].flags);
}

#[test]
fn idle_hears_of_a_message_that_arrives() {
    let scene = Scene::new();
    let mut talk = scene.imap();
    talk.send("s SELECT INBOX\r\n");
    talk.until("s OK");
    assert_eq!(talk.ask("i IDLE"), "+ idling");
    scene.cloud.sandbox.put(ANNA, "INBOX", b"Subject: news\r\n\r\nnow\r\n");
    assert_eq!(talk.line(), "* 1 EXISTS");
    assert!(talk.ask("DONE").starts_with("i OK"));
    talk.send("o LOGOUT\r\n");
    assert!(talk.until("o OK")[0].starts_with("* BYE"));
    talk.assert_closed();
}

/// The words of a capability list, from `* CAPABILITY …` or `[CAPABILITY …]`.
fn capabilities(line: &str) -> Vec<&str> {
    let (_, list) = line.split_once("CAPABILITY ").unwrap_or_else(|| panic!("no list in {line}"));
    list.split(']').next().unwrap().split(' ').collect()
}

#[test]
fn a_capability_list_offers_what_works_now() {
    let scene = Scene::new();
    let mut talk = scene.talk("IMAP");
    let greeting = talk.line();
    let before = capabilities(&greeting);
    for word in ["IMAP4rev1", "SASL-IR", "AUTH=PLAIN", "AUTH=LOGIN", "STARTTLS"] {
        assert!(before.contains(&word), "{greeting}");
    }
    assert!(!greeting.contains("XOAUTH2") && !greeting.contains("LOGINDISABLED"), "{greeting}");
    talk.send("1 CAPABILITY\r\n");
    let asked = talk.until("1 OK");
    assert_eq!(capabilities(&asked[0]), before);
    let welcome = talk.ask("2 LOGIN app local-password");
    let after = capabilities(&welcome);
    for word in ["IMAP4rev1", "IDLE", "UIDPLUS", "MOVE"] {
        assert!(after.contains(&word), "{welcome}");
    }
    // Twice, as clients do that take no list from the OK, and in any case.
    for command in ["3 CAPABILITY", "4 capability"] {
        talk.send(&format!("{command}\r\n"));
        let asked = talk.until(&format!("{} OK", &command[..1]));
        assert_eq!(asked.len(), 2, "{asked:?}");
        assert_eq!(capabilities(&asked[0]), after);
    }
    for word in ["STARTTLS", "AUTH=", "LOGINDISABLED", "SASL-IR"] {
        assert!(!welcome.contains(word), "{welcome}");
    }
    // What the service says later passes through; it offers no login either.
    talk.send("5 NOOP\r\n6 CAPABILITY\r\n");
    let later = talk.until("6 OK");
    assert!(!later.join("\n").contains("AUTH="), "{later:?}");
}

#[test]
fn what_is_pipelined_behind_login_reaches_the_service_in_order() {
    let scene = Scene::new();
    scene.cloud.sandbox.put(ANNA, "INBOX", b"Subject: one\r\n\r\nhi\r\n");
    let mut talk = scene.talk("IMAP");
    talk.line();
    talk.send(
        "a LOGIN {3+}\r\napp {14+}\r\nlocal-password\r\nb CAPABILITY\r\nc SELECT INBOX\r\n\
         d FETCH 1 BODY.PEEK[]\r\ne LOGOUT\r\n",
    );
    let answers = String::from_utf8(talk.rest()).unwrap();
    let is_tagged = |line: &&str| line.get(1..4) == Some(" OK") && !line.starts_with('*');
    let tags: Vec<_> = answers.lines().filter(is_tagged).map(|line| &line[..4]).collect();
    assert_eq!(tags, ["a OK", "b OK", "c OK", "d OK", "e OK"]);
    // Octet by octet, too.
    let mut slow = scene.talk("IMAP");
    slow.line();
    for octet in "a LOGIN app local-password\r\nb CAPABILITY\r\nc NOOP\r\n".chars() {
        slow.send(&octet.to_string());
    }
    let answers = slow.until("c OK");
    assert!(answers[0].starts_with("a OK"), "{answers:?}");
    assert!(answers[1].starts_with("* CAPABILITY") && answers[2].starts_with("b OK"));
}

#[test]
fn what_comes_before_starttls_does_not_count_after_it() {
    let scene = Scene::new();
    let mut talk = scene.talk("IMAP");
    talk.line();
    talk.send("a STARTTLS\r\nb LOGIN app local-password\r\n");
    assert!(talk.line().starts_with("a OK"));
    // Taken for a handshake, or thrown away: in no case answered.
    talk.finish();
    let rest = talk.rest();
    assert!(!String::from_utf8_lossy(&rest).contains("b OK"), "{rest:?}");
    assert!(scene.cloud.sandbox.counters().logins.is_empty());
}
