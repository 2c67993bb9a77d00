//! A real Postfix as the service behind an anonymous role.
//!
//! Danger: a sandbox written by the same people shares their misunderstandings. Rule: what
//! authbridge says to a mail server must be understood by the most used one, down to the octets in
//! the recipient's mailbox.
#![cfg(unix)]

mod instance;
mod spooled;

use self::instance::{DOMAIN, Postfix, Security, possible};
use crate::harness::{Proxy, wait_until};
use crate::sending::client::Client;
use crate::sending::{assert_same, classic};

/// A Postfix and a proxy that sends through it without a login.
fn started(security: Security, more: &str) -> (Postfix, Proxy) {
    let postfix = Postfix::start(security, more);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), postfix.certificate()).unwrap();
    let tls = match security {
        Security::Plain => "",
        Security::StartTls => "{role}.Smtp.UseSsl = true",
    };
    let role = classic("Mail.Sending", &format!("localhost:{}", postfix.port), tls);
    let proxy = Proxy::start_in(folder, &format!("Proxy.Upstream.CaPath = 'ca.pem'\n{role}"));
    (postfix, proxy)
}

fn address(name: &str) -> String {
    format!("{name}@{DOMAIN}")
}

fn letter(name: &str, body: &str) -> String {
    format!(
        "From: Anna <anna@{DOMAIN}>\r\nTo: {name}@{DOMAIN}\r\nSubject: folded\r\n\tsubject\r\n\
         Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{name}@client.example>\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\n{body}"
    )
}

/// What was sent, taken out of a mailbox file: Unix line ends back to CRLF, the fields that
/// Postfix put in front taken away.
fn as_sent(stored: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(stored.to_vec()).unwrap().replace('\n', "\r\n");
    let begin = text.find("From: Anna").unwrap();
    let added = &text[..begin];
    let own = ["Return-Path: ", "X-Original-To: ", "Delivered-To: ", "Received: ", "\t", " "];
    let is_own = |line: &str| own.iter().any(|start| line.starts_with(start));
    assert!(added.lines().all(is_own), "{added}");
    text.as_bytes()[begin..].to_vec()
}

#[test]
fn a_message_lies_in_the_mailbox_octet_by_octet() {
    if !possible() {
        return;
    }
    for security in [Security::Plain, Security::StartTls] {
        let (postfix, proxy) = started(security, "");
        let (anna, bob, carol) = (address("anna"), address("bob"), address("carol"));
        let message = letter("bob", ".\r\n..\r\n.dot\r\nZwölf €  \r\n\r\nFrom here\r\n\r\n");
        let mut client = Client::logged_in(&proxy);
        client.sends(&anna, &[&bob, &carol], &message);
        for name in ["bob", "carol"] {
            assert_same(&as_sent(&postfix.mailbox(name, 1)[0]), message.as_bytes());
        }
        let chunked = letter("anna", ".\r\nin chunks\r\n");
        client.envelope(&anna, &[&anna]);
        client.send(format!("BDAT {} LAST\r\n{chunked}", chunked.len()));
        client.expect_reply("250 2.0.0");
        let stored = postfix.mailbox("anna", 1).remove(0);
        assert_same(&as_sent(&stored), chunked.as_bytes());
        let text = String::from_utf8(stored).unwrap();
        assert!(text.contains("Return-Path: <anna@"), "{text}");
        assert_eq!(text.contains("with ESMTPS"), security == Security::StartTls, "{text}");
    }
}

#[test]
fn a_large_message_passes_and_one_above_its_limit_is_told_at_once() {
    if !possible() {
        return;
    }
    let (postfix, proxy) = started(Security::Plain, "message_size_limit = 3000000\n");
    let (anna, bob) = (address("anna"), address("bob"));
    let large = letter("bob", &format!(".{}\r\n", "x".repeat(70)).repeat(30_000));
    let mut client = Client::logged_in(&proxy);
    client.sends(&anna, &[&bob], &large);
    assert!(as_sent(&postfix.mailbox("bob", 1)[0]) == large.as_bytes());
    // Its EHLO has been seen now.
    let offered = client.expect("EHLO client.example", "250-");
    assert!(offered.contains("SIZE 3000000"), "{offered}");
    client.expect(&format!("MAIL FROM:<{anna}> SIZE=3000001"), "552 5.3.4");
    let reply = client.mail(&anna, &[&bob], large.repeat(2));
    assert!(reply.starts_with("552 5.3.4"), "{reply}");
}

#[test]
fn an_unknown_recipient_is_550_and_the_others_get_it() {
    if !possible() {
        return;
    }
    let (postfix, proxy) = started(Security::Plain, "");
    let (anna, bob) = (address("anna"), address("bob"));
    let mut client = Client::logged_in(&proxy);
    client.expect(&format!("MAIL FROM:<{anna}>"), "250");
    let reply = client.expect(&format!("RCPT TO:<nobody@{DOMAIN}>"), "550 5.1.1");
    assert!(reply.contains("User unknown") && reply.contains("(ref "), "{reply}");
    client.expect(&format!("RCPT TO:<{bob}>"), "250");
    let message = letter("bob", "Text\r\n");
    assert!(client.data(&message).starts_with("250"));
    assert_same(&as_sent(&postfix.mailbox("bob", 1)[0]), message.as_bytes());
    // None accepted: no message.
    client.expect(&format!("MAIL FROM:<{anna}>"), "250");
    client.expect(&format!("RCPT TO:<nobody@{DOMAIN}>"), "550 5.1.1");
    client.expect("DATA", "554 5.5.1");
    client.quit();
}

#[test]
fn without_extensions_it_is_spoken_to_as_in_1982() {
    if !possible() {
        return;
    }
    let all = "pipelining, size, etrn, 8bitmime, dsn, chunking, smtputf8, enhancedstatuscodes";
    let more = format!("smtpd_discard_ehlo_keywords = {all}\n");
    let (postfix, proxy) = started(Security::Plain, &more);
    let (anna, bob, carol) = (address("anna"), address("bob"), address("carol"));
    let message = letter("bob", ".\r\n..\r\n.dot\r\nZwölf €  \r\n\r\nFrom here\r\n.\r\n");
    let mut client = Client::logged_in(&proxy);
    client.expect(&format!("MAIL FROM:<{anna}> SIZE={} RET=FULL", message.len()), "250");
    client.expect(&format!("RCPT TO:<{bob}> NOTIFY=NEVER"), "250");
    client.expect(&format!("RCPT TO:<nobody@{DOMAIN}>"), "550");
    client.expect(&format!("RCPT TO:<{carol}>"), "250");
    assert!(client.data(&message).starts_with("250 2.0.0"));
    let offered = client.expect("EHLO client.example", "250-");
    assert!(!offered.contains("DSN"), "{offered}");
    // The same connection again: RSET and MAIL one by one.
    client.sends(&anna, &[&carol], &message);
    assert_same(&as_sent(&postfix.mailbox("bob", 1)[0]), message.as_bytes());
    for stored in postfix.mailbox("carol", 2) {
        assert_same(&as_sent(&stored), message.as_bytes());
    }
}

#[test]
fn smuggled_line_ends_reach_it_as_text() {
    if !possible() {
        return;
    }
    let (postfix, proxy) = started(Security::Plain, "");
    let (anna, bob, carol) = (address("anna"), address("bob"), address("carol"));
    let mut client = Client::logged_in(&proxy);
    for end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r\n.\r", "\r.\r\n"] {
        client.envelope(&anna, &[&bob]);
        client.expect("DATA", "354");
        client.send(format!(
            "{}first{end}MAIL FROM:<{anna}>\r\nRCPT TO:<{carol}>\r\nDATA\r\nforged\r\n.\r\n",
            letter("bob", "")
        ));
        client.expect_reply("250 2.0.0");
        client.expect("NOOP", "250");
    }
    for message in postfix.mailbox("bob", 5) {
        assert!(String::from_utf8(message).unwrap().ends_with("DATA\nforged\n"));
    }
    // Whatever had been smuggled would have come before this one.
    client.sends(&anna, &[&carol], letter("carol", "Text\r\n"));
    assert_same(&as_sent(&postfix.mailbox("carol", 1)[0]), letter("carol", "Text\r\n").as_bytes());
}

#[test]
fn delivery_reports_are_offered_and_asked_for() {
    if !possible() {
        return;
    }
    let (postfix, proxy) = started(Security::Plain, "");
    let (anna, bob, carol) = (address("anna"), address("bob"), address("carol"));
    let mut client = Client::logged_in(&proxy);
    client.sends(&anna, &[&carol], letter("carol", "first\r\n"));
    let offered = client.expect("EHLO client.example", "250-");
    assert!(offered.lines().any(|line| &line[4..] == "DSN"), "{offered}");
    client.expect(&format!("MAIL FROM:<{anna}> RET=HDRS ENVID=order+2B4711"), "250");
    client.expect(
        &format!("RCPT TO:<{bob}> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b+2Bb@x.example"),
        "250",
    );
    client.expect(&format!("RCPT TO:<{carol}> NOTIFY=NEVER"), "250");
    assert!(client.data(letter("bob", "Text\r\n")).starts_with("250"));
    postfix.mailbox("bob", 1);
    postfix.mailbox("carol", 2);
    let report = String::from_utf8(postfix.mailbox("anna", 1).remove(0)).unwrap();
    for expected in [
        "report-type=delivery-status",
        "Original-Envelope-Id: order+4711",
        "Original-Recipient: rfc822;b+b@x.example",
        "Action: delivered",
        &format!("Final-Recipient: rfc822; {bob}"),
    ] {
        assert!(report.contains(expected), "{expected} in {report}");
    }
    assert!(!report.contains(&format!("Final-Recipient: rfc822; {carol}")), "{report}");
}

#[test]
fn a_session_of_messages_ends_with_quit_and_the_next_begins() {
    if !possible() {
        return;
    }
    let (postfix, proxy) = started(Security::StartTls, "");
    let (anna, bob) = (address("anna"), address("bob"));
    for _ in 0..7 {
        let mut client = Client::logged_in(&proxy);
        client.sends(&anna, &[&bob], letter("bob", "Text\r\n"));
        client.quit();
    }
    postfix.mailbox("bob", 7);
    let commands = |log: &str| -> Vec<String> {
        let ends =
            log.lines().filter(|line| line.contains("disconnect from") && line.contains("mail="));
        let counts = ends.filter_map(|line| line.split_once("ehlo="));
        counts.map(|(_, counts)| counts.to_owned()).collect()
    };
    // Three, three, and one that is still kept.
    wait_until("two sessions to end", || commands(&postfix.log()).len() == 2);
    for counts in commands(&postfix.log()) {
        assert!(counts.contains("mail=3") && counts.contains("quit=1"), "{counts}");
        assert!(counts.contains("starttls=1"), "{counts}");
    }
}

#[test]
fn a_postfix_that_wants_tls_is_not_spoken_to_without_trust() {
    if !possible() {
        return;
    }
    let postfix = Postfix::start(Security::StartTls, "");
    let role = classic(
        "Mail.Sending",
        &format!("localhost:{}", postfix.port),
        "{role}.Smtp.UseSsl = true",
    );
    // No CaPath: its certificate is a stranger's.
    let proxy = Proxy::start(&role);
    let mut client = Client::logged_in(&proxy);
    let reply = client.expect(&format!("MAIL FROM:<{}>", address("anna")), "4");
    let line = crate::sending::failures::logged_under(&proxy, &reply);
    assert!(line.contains("ertificate") && line.contains("CaPath"), "{line}");
}
