//! MAIL, RCPT, who may send as whom, what an upstream refuses.

use super::*;
use crate::mail::{Address, BodyKind, Ret, SmtpReply};

#[tokio::test]
async fn the_envelope_arrives_as_it_was_given() {
    let mut talk = Setup::default().jane().await;
    talk.say(
        "C: MAIL FROM:<jürgen@example.com> SIZE=5 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=Q1
         S: 250 2.1.0 Ok
         C: RCPT TO:<a@example.com> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a@x
         S: 250 2.1.5 Ok
         C: RCPT TO:<ünal@example.com>
         S: 250 2.1.5 Ok
         C: RCPT TO:<A@EXAMPLE.com>
         S: 250 2.1.5 Ok
         C: RCPT TO:<Postmaster>
         S: 250 2.1.5 Ok
         C: DATA
         S: 354 ...
         C: .
         S: 250 2.0.0 ...",
    )
    .await;
    let sent = talk.role.only();
    assert_eq!(sent.login.as_deref(), Some("jane@example.com"));
    assert_eq!(sent.addresses(), ["a@example.com", "ünal@example.com", "Postmaster"]);
    assert_eq!(sent.recipients[0].notify.as_deref(), Some("SUCCESS,DELAY"));
    assert_eq!(sent.recipients[0].orcpt.as_deref(), Some("rfc822;a@x"));
    let from = sent.from;
    assert_eq!(from.address.expect("given").as_str(), "jürgen@example.com");
    assert_eq!((from.declared_size, from.body), (Some(5), BodyKind::EightBit));
    assert_eq!((from.smtputf8, from.ret), (true, Some(Ret::Headers)));
    assert_eq!(from.envid.as_deref(), Some("Q1"));
}

#[tokio::test]
async fn commands_at_the_wrong_time_and_in_the_wrong_form() {
    let mut talk = Setup::default().jane().await;
    talk.say(
        "C: RCPT TO:<a@b>
         S: 503 5.5.1 Say MAIL first
         C: DATA
         S: 503 5.5.1 Say MAIL first
         C: MAIL FROM:<a@b>\\0<c@d>
         S: 501 5.5.2 ...
         C: MAIL FROM:<root>
         S: 501 5.1.7 ...
         C: MAIL FROM:<jürgen@example.com>
         S: 553 5.6.7 ...
         C: MAIL FROM:<a@b> FOO=1
         S: 555 5.5.4 ...
         C: MAIL FROM:<>
         S: 250 2.1.0 Ok
         C: MAIL FROM:<a@b>
         S: 503 5.5.1 Not while a message is being sent
         C: DATA
         S: 503 5.5.1 Say RCPT first
         C: RCPT TO:<a b@c>
         S: 501 5.1.3 ...
         C: RCPT TO:<ünal@example.com>
         S: 553 5.6.7 ...
         C: DATA
         S: 554 5.5.1 No valid recipients
         C: NOOP\\nQUIT
         S: 500 5.5.2 ...
         S: 500 5.5.2 ...
         C: FOO
         S: 500 5.5.1 Unknown command
         C: EXPN x
         S: 502 5.5.1 ...
         C: VRFY x
         S: 252 2.5.0 ...
         C: HELP
         S: 214 2.0.0 ...
         C: RSET
         S: 250 2.0.0 Ok
         C: RCPT TO:<a@b>
         S: 503 5.5.1 Say MAIL first",
    )
    .await;
    talk.send(&[b'x'; 100_000]).await;
    talk.say("S: 500 5.5.6 The line is too long\nC: \nC: NOOP\nS: 250 2.0.0 Ok").await;
    assert_eq!(talk.role.sent(), []);
}

#[tokio::test]
async fn ehlo_resets_the_message_and_keeps_the_login() {
    let mut talk = Setup::default().jane().await;
    talk.say(
        "C: MAIL FROM:<jane@example.com>
         S: 250 2.1.0 Ok
         C: HELO again
         S: 250 mail.local
         C: RCPT TO:<a@b>
         S: 503 5.5.1 Say MAIL first
         C: MAIL FROM:<jane@example.com>
         S: 250 2.1.0 Ok",
    )
    .await;
    timeout(PATIENCE, talk.role.dropped.notified()).await.expect("the first one is dropped");
}

#[tokio::test]
async fn a_pipelined_session_is_answered_in_order() {
    let mut talk = Setup::default().jane().await;
    talk.say(
        "C: MAIL FROM:<jane@example.com>
         C: RCPT TO:<a@b>
         C: RCPT TO:<broken
         C: RCPT TO:<c@d>
         C: DATA
         C: Subject: x
         C:
         C: text
         C: .
         C: RSET
         C: QUIT
         S: 250 2.1.0 Ok
         S: 250 2.1.5 Ok
         S: 501 5.5.2 ...
         S: 250 2.1.5 Ok
         S: 354 ...
         S: 250 2.0.0 Ok: queued as 1
         S: 250 2.0.0 Ok
         S: 221 2.0.0 Bye
         S: (closed)",
    )
    .await;
    assert_eq!(talk.role.only().addresses(), ["a@b", "c@d"]);
}

#[tokio::test]
async fn replies_to_a_group_leave_together() {
    let mut talk = Setup::default().jane().await;
    talk.send(&b"NOOP\r\n".repeat(50)).await;
    let arrived = timeout(PATIENCE, talk.client.fill_buf()).await.expect("in time");
    assert_eq!(arrived.expect("readable"), b"250 2.0.0 Ok\r\n".repeat(50));
}

#[tokio::test]
async fn a_refused_message_with_many_pipelined_recipients_does_not_end_the_session() {
    let setup = Setup::default();
    setup.role.faults.lock().expect("no panic").begin =
        Some(|| Error::new(Kind::Throttled { retry_after: None }, "x"));
    let mut talk = setup.jane().await;
    talk.say("C: MAIL FROM:<jane@example.com>\nS: 451 4.3.2 ...").await;
    for _ in 0..100 {
        talk.say("C: RCPT TO:<a@b>\nS: 503 5.5.1 Say MAIL first").await;
    }
    talk.role.faults.lock().expect("no panic").begin = None;
    talk.say("C: MAIL FROM:<jane@example.com>\nS: 250 2.1.0 Ok").await;
}

#[tokio::test]
async fn a_thousand_recipients_and_no_more() {
    let mut talk = Setup::default().jane().await;
    talk.say("C: MAIL FROM:<jane@example.com>\nS: 250 2.1.0 Ok").await;
    for at in 0..1000 {
        talk.say(&format!("C: RCPT TO:<r{at}@example.com>\nS: 250 2.1.5 Ok")).await;
    }
    talk.say(
        "C: RCPT TO:<one-more@example.com>
         S: 452 4.5.3 ...
         C: RCPT TO:<r0@example.com>
         S: 250 2.1.5 Ok
         C: DATA
         S: 354 ...
         C: .
         S: 250 2.0.0 ...",
    )
    .await;
    assert_eq!(talk.role.only().recipients.len(), 1000);
}

#[tokio::test]
async fn one_refused_recipient_stops_nobody_else() {
    let setup = Setup::default();
    let unknown: MakeError = || {
        Error::new(Kind::NotFound, "x").with_reply(SmtpReply::new(550, (5, 1, 1), "No such user"))
    };
    setup.role.faults.lock().expect("no panic").recipients.insert("b@x", unknown);
    let mut talk = setup.jane().await;
    talk.say(
        "C: MAIL FROM:<jane@example.com>
         S: 250 2.1.0 Ok
         C: RCPT TO:<a@x>
         S: 250 2.1.5 Ok
         C: RCPT TO:<b@x>
         S: 550 5.1.1 No such user (ref ...
         C: RCPT TO:<c@x>
         S: 250 2.1.5 Ok
         C: DATA
         S: 354 ...
         C: .
         S: 250 2.0.0 ...",
    )
    .await;
    assert_eq!(talk.role.only().addresses(), ["a@x", "c@x"]);
}

#[tokio::test]
async fn an_upstream_failure_is_told_where_it_happens_and_is_no_login_failure() {
    let sign_in: MakeError = || {
        let reply = SmtpReply::new(535, (5, 7, 8), "Username and Password not accepted");
        Error::new(Kind::SignInNeeded, "the key was revoked").with_reply(reply)
    };
    let setup = Setup::default();
    setup.role.faults.lock().expect("no panic").begin = Some(sign_in);
    let mut talk = setup.jane().await;
    talk.say(
        "C: MAIL FROM:<jane@example.com>
         S: 454 4.7.0 ...
         C: RCPT TO:<a@b>
         S: 503 5.5.1 Say MAIL first",
    )
    .await;
    let kinds: [(MakeError, &str); 5] = [
        (|| Error::new(Kind::Throttled { retry_after: None }, "x"), "S: 451 4.3.2 ..."),
        (|| Error::new(Kind::NotPermitted, "x"), "S: 550 5.7.1 ..."),
        (|| Error::new(Kind::OutcomeUnknown, "x"), "S: 451 4.4.2 ..."),
        (|| Error::new(Kind::Rejected, "x"), "S: 554 5.6.0 ..."),
        (|| Error::new(Kind::Unavailable, "x"), "S: 451 4.4.1 ..."),
    ];
    for (error, expected) in kinds {
        let setup = Setup::default();
        setup.role.faults.lock().expect("no panic").deliver = Some(error);
        let mut talk = setup.jane().await;
        talk.say(
            "C: MAIL FROM:<j@x>\nC: RCPT TO:<a@b>\nC: DATA\nS: 250 ...\nS: 250 ...\nS: 354 ...",
        )
        .await;
        talk.say(&format!("C: x\nC: .\n{expected}\nC: NOOP\nS: 250 2.0.0 Ok")).await;
        assert_eq!(talk.role.sent(), []);
    }
}

#[tokio::test]
async fn a_role_that_is_off_is_named() {
    let mut talk = Setup { roles: vec!["App.other.Mail.Sending"], ..Setup::default() }.jane().await;
    talk.say(
        "C: MAIL FROM:<jane@example.com>
         S: 550 5.3.5 the role Mail.Sending is off in authbridge's configuration (ref ...
         C: QUIT
         S: 221 2.0.0 Bye",
    )
    .await;
}

#[tokio::test]
async fn allowed_senders_hold_for_envelope_and_header() {
    let allowed = Some(vec!["jane@example.com".to_owned(), "*@example.org".to_owned()]);
    let mut talk = Setup { allowed, ..Setup::default() }.jane().await;
    talk.say("C: MAIL FROM:<ceo@example.com>\nS: 550 5.7.1 ...").await;
    let cases = [
        ("<Jane@Example.com>", "From: Jane <jane@example.com>", "250 2.0.0 ..."),
        ("<x@example.org>", "Subject: From is added", "250 2.0.0 ..."),
        ("<>", "From: y@example.org", "250 2.0.0 ..."),
        ("<>", "Subject: no From at all", "550 5.7.1 ..."),
        ("<jane@example.com>", "From: ceo@example.com", "550 5.7.1 ..."),
        ("<jane@example.com>", "From: \"jane@example.com\" <ceo@example.com>", "550 5.7.1 ..."),
        ("<jane@example.com>", "From: <jane@example.com", "550 5.7.1 ..."),
        ("<jane@example.com>", "From: jane@example.com\\nFrom: ceo@example.com", "550 5.7.1 ..."),
        ("<jane@example.com>", "From: jane@example.com\\0", "550 5.6.0 ..."),
        ("<jane@example.com>", "Text\\nFrom: ceo@example.com", "250 2.0.0 ..."),
    ];
    for (from, field, expected) in cases {
        talk.say(&format!(
            "C: MAIL FROM:{from}
             C: RCPT TO:<a@b>
             C: DATA
             S: 250 2.1.0 Ok
             S: 250 2.1.5 Ok
             S: 354 ...
             C: {field}
             C:
             C: text
             C: .
             S: {expected}"
        ))
        .await;
    }
    assert_eq!(talk.role.sent().len(), 4);
    assert_eq!(talk.role.sent()[3].content(), "Text\r\nFrom: ceo@example.com\r\n\r\ntext\r\n");
}

/// MAIL with this sender, a message with this field; what is said to MAIL and to the message.
async fn sent_as(talk: &mut super::Talk, from: &str, field: &str, mail: &str, data: &str) {
    talk.say(&format!("C: MAIL FROM:{from}\nS: {mail}")).await;
    if mail.starts_with('2') {
        talk.say(&format!(
            "C: RCPT TO:<a@b>
             C: DATA
             S: 250 2.1.5 Ok
             S: 354 ...
             C: {field}
             C: Date: d
             C: Message-ID: <i>
             C:
             C: text
             C: .
             S: {data}"
        ))
        .await;
    }
}

fn erp() -> Address {
    Address::parse("erp@example.com").expect("valid")
}

#[tokio::test]
async fn with_reject_the_mailbox_alone_sends() {
    let role = Role { rule: Some(SenderRule::Reject(Some(erp()))), ..Role::default() };
    let mut talk = Setup { role, ..Setup::default() }.jane().await;
    let no =
        "550 5.7.60 Send as erp@example.com only: use it in MAIL FROM and in the From header ...";
    let (ok, sent) = ("250 2.1.0 Ok", "250 2.0.0 ...");
    for (from, field, mail, data) in [
        ("<jane@example.com>", "From: erp@example.com", no, ""),
        ("<ERP@example.com>", "From: Erp <Erp@Example.com>", ok, sent),
        ("<erp@example.com>", "Subject: From is added", ok, sent),
        ("<erp@example.com>", "From: jane@example.com", ok, no),
        ("<erp@example.com>", "From: erp@example.com\\nSender: jane@example.com", ok, no),
        ("<erp@example.com>", "From: erp@example.com\\nFrom: jane@example.com", ok, no),
        ("<erp@example.com>", "From: scanner", ok, no),
        ("<>", "From: erp@example.com", ok, sent),
        ("<>", "From: jane@example.com", ok, no),
    ] {
        sent_as(&mut talk, from, field, mail, data).await;
    }
    assert_eq!(talk.role.sent().len(), 3);
}

#[tokio::test]
async fn without_a_known_mailbox_reject_lets_nothing_pass() {
    let role = Role { rule: Some(SenderRule::Reject(None)), ..Role::default() };
    let mut talk = Setup { role, ..Setup::default() }.jane().await;
    for from in ["<jane@example.com>", "<>"] {
        sent_as(&mut talk, from, "", "550 5.7.60 ...", "").await;
    }
    assert_eq!(talk.role.sent(), []);
}

#[tokio::test]
async fn with_rewrite_the_mailbox_sends_and_others_get_the_answers() {
    let role = Role { rule: Some(SenderRule::Rewrite(erp())), ..Role::default() };
    let mut talk = Setup { role, ..Setup::default() }.jane().await;
    let table = [
        ("<erp@example.com>", "From: erp@example.com", "From: erp@example.com"),
        ("<jane@x>", "From: J <jane@x>", "From: J <erp@example.com>\r\nReply-To: J <jane@x>"),
        ("<jane@x>", "Subject: s", "From: erp@example.com\r\nReply-To: jane@x\r\nSubject: s"),
        ("<>", "From: scanner", "From: \"scanner\" <erp@example.com>"),
        ("<jane@x>", "Sender: x@y\\nFrom: erp@example.com", "From: erp@example.com"),
    ];
    for (from, field, expected) in table {
        sent_as(&mut talk, from, field, "250 2.1.0 Ok", "250 2.0.0 ...").await;
        let sent = talk.role.sent().pop().expect("sent");
        let rest = "\r\nDate: d\r\nMessage-ID: <i>\r\n\r\ntext\r\n";
        assert_eq!(sent.message, format!("{expected}{rest}"));
        let envelope = sent.from.address.map(|address| address.to_string());
        assert_eq!(envelope.as_deref(), (from != "<>").then_some("erp@example.com"));
    }
}

#[tokio::test]
async fn a_login_s_own_list_judges_before_anything_is_rewritten() {
    let role = Role { rule: Some(SenderRule::Rewrite(erp())), ..Role::default() };
    let allowed = Some(vec!["jane@example.com".to_owned()]);
    let mut talk = Setup { role, allowed, ..Setup::default() }.jane().await;
    let (jane, ok) = ("<jane@example.com>", "250 2.1.0 Ok");
    sent_as(&mut talk, "<ceo@example.com>", "", "550 5.7.1 ...", "").await;
    sent_as(&mut talk, jane, "From: ceo@example.com", ok, "550 5.7.1 ...").await;
    sent_as(&mut talk, jane, "From: jane@example.com", ok, "250 2.0.0 ...").await;
    assert!(talk.role.only().message.starts_with("From: erp@example.com\r\n"));
}
