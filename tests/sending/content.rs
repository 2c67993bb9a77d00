//! What arrives: envelope and octets.

use super::client::Client;
use super::{BOB, EVE, assert_same, gmail, letter, only_delivery, reached, started};
use crate::harness::cloud::ANNA;

/// Folded fields, odd case, tabs, 8-bit text, dots, trailing blanks, an empty line at the end.
const AWKWARD: &str = "Received: from x by y; Tue, 24 Nov 2026 09:00:00 +0000\r\n\
    from: =?utf-8?q?Anna?= <anna@workspace.example>\r\n\
    TO: Bob <bob@elsewhere.example>,\r\n\t\"Carol, C.\" <carol@elsewhere.example>\r\n\
    {bcc}Subject: folded\r\n  twice \r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n\
    Message-Id: <awkward@client.example>\r\nX-Own:\r\nMIME-Version: 1.0\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
    .\r\n..\r\n.dot\r\nÄnderung \u{a0}€  \r\n\r\nBcc: not a field\r\n\r\n";

#[test]
fn gmail_gets_every_octet_but_bcc_with_either_kind_of_key() {
    for key in ["key.json", "key.p12"] {
        let (cloud, proxy) = started(|cloud| cloud.gmail_smtp("Mail.Sending", key));
        let sent =
            AWKWARD.replace("{bcc}", "BCC: Eve <eve@elsewhere.example>,\r\n me@x.example\r\n");
        let mut client = Client::logged_in(&proxy);
        client.expect("MAIL FROM:<anna@workspace.example> BODY=8BITMIME", "250");
        client.expect("RCPT TO:<bob@elsewhere.example>", "250");
        client.expect("RCPT TO:<eve@elsewhere.example>", "250");
        let reply = client.data(&sent);
        assert!(reply.starts_with("250 2.0.0"), "{reply}");
        client.quit();

        let deliveries = cloud.sandbox.deliveries();
        assert_eq!(reached(&cloud), [BOB, EVE], "{key}");
        for delivery in &deliveries {
            assert_same(&delivery.submitted, AWKWARD.replace("{bcc}", "").as_bytes());
            assert_eq!((delivery.login.as_str(), delivery.from.as_str()), (ANNA, ANNA));
        }
        let counters = cloud.sandbox.counters();
        let session = &counters.smtp_sessions[0];
        assert!(session.tls && session.login == ANNA && session.messages == 1, "{session:?}");
        assert_eq!(counters.logins[0].mechanism, "XOAUTH2");
    }
}

#[test]
fn a_recipient_only_in_the_envelope_gets_it_and_nobody_in_the_header_does() {
    let (cloud, proxy) = gmail();
    let message = letter(ANNA, "stranger@elsewhere.example");
    Client::logged_in(&proxy).sends(ANNA, &[EVE], &message);
    let delivery = only_delivery(&cloud);
    assert_eq!(delivery.recipient, EVE);
    assert_same(&delivery.submitted, message.as_bytes());
}

#[test]
fn a_repeated_recipient_gets_it_once() {
    let (cloud, proxy) = gmail();
    Client::logged_in(&proxy).sends(ANNA, &[BOB, EVE, BOB], letter(ANNA, BOB));
    assert_eq!(reached(&cloud), [BOB, EVE]);
}

#[test]
fn date_message_id_and_from_are_put_in_front_when_they_are_missing() {
    let (cloud, proxy) = gmail();
    let body = "To: bob@elsewhere.example\r\nSubject: bare\r\n\r\nText\r\n";
    Client::logged_in(&proxy).sends(ANNA, &[BOB], body);
    let raw = only_delivery(&cloud).submitted;
    let text = String::from_utf8(raw.to_vec()).unwrap();
    assert!(text.ends_with(body), "{text}");
    let parsed = mail_parser::MessageParser::default().parse(text.as_bytes()).unwrap();
    assert_eq!(parsed.from().unwrap().first().unwrap().address(), Some(ANNA));
    assert!(parsed.date().is_some_and(|date| date.year >= 2024), "{text}");
    let id = parsed.message_id().unwrap();
    assert!(id.contains('@') && id.len() > 20, "{text}");
}

#[test]
fn two_messages_without_an_id_get_two_ids() {
    let (cloud, proxy) = gmail();
    let mut client = Client::logged_in(&proxy);
    for _ in 0..2 {
        client.sends(ANNA, &[BOB], "Subject: x\r\n\r\nText\r\n");
    }
    let ids: Vec<String> = cloud
        .sandbox
        .deliveries()
        .iter()
        .map(|one| {
            let parsed = mail_parser::MessageParser::default().parse(&one.submitted[..]).unwrap();
            parsed.message_id().unwrap().to_owned()
        })
        .collect();
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn the_null_sender_stays_null() {
    let (cloud, proxy) = gmail();
    let report = "From: Mailer <mailer@client.example>\r\nTo: bob@elsewhere.example\r\n\
        Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <report@client.example>\r\n\
        Auto-Submitted: auto-replied\r\n\r\nFailed.\r\n";
    Client::logged_in(&proxy).sends("", &[BOB], report);
    let delivery = only_delivery(&cloud);
    assert_eq!(delivery.from, "");
    assert_same(&delivery.submitted, report.as_bytes());
}

#[test]
fn a_message_without_a_header_becomes_one_with_the_text_as_its_body() {
    let (cloud, proxy) = gmail();
    Client::logged_in(&proxy).sends(ANNA, &[BOB], "Just words, not a field\r\nmore\r\n");
    let text = String::from_utf8(only_delivery(&cloud).submitted.to_vec()).unwrap();
    let (header, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(header.contains("From: ") && !header.contains("Just words"), "{text}");
    assert_eq!(body, "Just words, not a field\r\nmore\r\n");
}

#[test]
fn addresses_in_utf8_pass_when_the_client_says_so() {
    let (cloud, proxy) = gmail();
    let mut client = Client::logged_in(&proxy);
    client.expect("MAIL FROM:<anna@workspace.example>", "250");
    client.expect("RCPT TO:<jürgen@exämple.de>", "553 5.6.7");
    client.expect("RSET", "250");
    client.expect("MAIL FROM:<anna@workspace.example> SMTPUTF8 BODY=8BITMIME", "250");
    client.expect("RCPT TO:<jürgen@exämple.de>", "250");
    let message = letter(ANNA, "Jürgen <jürgen@exämple.de>");
    let reply = client.data(&message);
    assert!(reply.starts_with("250"), "{reply}");
    let delivery = only_delivery(&cloud);
    assert_eq!(delivery.recipient, "jürgen@exämple.de");
    assert_same(&delivery.submitted, message.as_bytes());
}

#[test]
fn chunks_make_one_message_and_dots_in_them_mean_nothing() {
    let (cloud, proxy) = gmail();
    let mut client = Client::logged_in(&proxy);
    let message = letter(ANNA, BOB) + ".\r\n.dot\r\n..two\r\nEnd\r\n";
    client.envelope(ANNA, &[BOB]);
    // Cut inside a CRLF, and once into nothing.
    let (first, second) = message.split_at(message.find("\r\n.dot").unwrap() + 1);
    client.send(format!("BDAT {}\r\n{first}", first.len()));
    client.expect_reply("250 2.0.0");
    client.send(format!("BDAT {}\r\n{second}", second.len()));
    client.expect_reply("250 2.0.0");
    client.expect("BDAT 0 LAST", "250 2.0.0");
    // The same in one piece with the envelope, as a client that pipelines does.
    let whole = format!(
        "MAIL FROM:<{ANNA}>\r\nRCPT TO:<{EVE}>\r\nBDAT {} LAST\r\n{message}NOOP\r\n",
        message.len()
    );
    client.send(whole);
    for start in ["250 2.1.0", "250 2.1.5", "250 2.0.0", "250 2.0.0"] {
        client.expect_reply(start);
    }
    assert_eq!(reached(&cloud), [BOB, EVE]);
    for delivery in cloud.sandbox.deliveries() {
        assert_same(&delivery.submitted, message.as_bytes());
    }
}

#[test]
fn a_large_message_arrives_whole() {
    let (cloud, proxy) = gmail();
    let mut message = letter(ANNA, BOB);
    for line in 0..80_000 {
        message.push_str(&format!(".{line} {}\r\n", "x".repeat(90)));
    }
    assert!(message.len() > 7 << 20);
    Client::logged_in(&proxy).sends(ANNA, &[BOB], &message);
    assert!(*only_delivery(&cloud).submitted == *message.as_bytes());
}
