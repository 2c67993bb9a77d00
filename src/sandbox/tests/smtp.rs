//! SMTP dialogues.

use super::*;

const HELLO: &str = "C: EHLO me\nS: 250-\nS: 250-SIZE 35882577\nS: 250-8BITMIME\n\
    S: 250-AUTH LOGIN PLAIN XOAUTH2\nS: 250-ENHANCEDSTATUSCODES\nS: 250-PIPELINING\n\
    S: 250-CHUNKING\nS: 250 SMTPUTF8\n";

#[tokio::test]
async fn a_token_sends_and_gmail_keeps_a_copy() {
    let world = World::new().await;
    let token = world.gmail_token().await;
    let mut client = Client::tls(&world, &world.sandbox.endpoints().smtp).await;
    client.play(&format!("S: 220 \n{HELLO}C: MAIL FROM:<g@gmail.example>\nS: 530 5.7.0")).await;
    let blob = xoauth2("g@gmail.example", &token);
    client
        .play(&format!("C: AUTH XOAUTH2 {blob}\nS: 235 2.7.0\nC: AUTH XOAUTH2 {blob}\nS: 503"))
        .await;
    client
        .play(
            "C: MAIL FROM:<g@gmail.example> SIZE=10 BODY=8BITMIME\nS: 250\n\
            C: RCPT TO:<old@classic.example>\nS: 250\nC: RCPT TO:<x@far.example>\nS: 250\n\
            C: DATA\nS: 354\nC: Bcc: x@far.example\nC: \nC: ..dot\nC: .\nS: 250 2.0.0\n\
            C: QUIT\nS: 221",
        )
        .await;
    let raw = b"Bcc: x@far.example\r\n\r\n.dot\r\n";
    assert_eq!(&*world.sandbox.inbox("old@classic.example")[0].raw, raw);
    assert_eq!(&*world.sandbox.sent_items("g@gmail.example")[0].raw, raw);
    let outbox = world.sandbox.outbox();
    assert_eq!((outbox.len(), outbox[0].recipient.as_str()), (1, "x@far.example"));
    let session = world.sandbox.counters().smtp_sessions.remove(0);
    let login = "g@gmail.example".to_owned();
    assert_eq!(session, SmtpSession { login, messages: 1, tls: true, quit: true });
}

#[tokio::test]
async fn a_refused_token_costs_the_whole_exchange() {
    let world = World::new().await;
    let token = world.gmail_token().await;
    world.sandbox.add_mailbox(Mailbox::google("other@gmail.example"));
    let mut client = Client::tls(&world, &world.sandbox.endpoints().smtp).await;
    client.play(&format!("S: 220 \n{HELLO}")).await;
    let refusals = [
        (xoauth2("g@gmail.example", "wrong"), "401"),
        (xoauth2("other@gmail.example", &token), "400"),
        (base64("user=g@gmail.example auth=Bearer x"), "400"),
        (world.graph_token().await, "400"),
    ];
    for (blob, status) in refusals {
        client.send(format!("AUTH XOAUTH2 {blob}\r\n")).await;
        let line = client.line().await;
        let challenge = base64(&format!(
            r#"{{"status":"{status}","schemes":"Bearer","scope":"https://mail.google.com/"}}"#
        ));
        assert_eq!(line, format!("334 {challenge}"));
        client.play("C: \nS: 535 5.7.8").await;
    }
    let plain = base64("\0g@gmail.example\0any");
    client.play(&format!("C: AUTH PLAIN {plain}\nS: 534 5.7.9")).await;
    client
        .play(&format!(
            "C: AUTH XOAUTH2\nS: 334 \nC: {}\nS: 235",
            xoauth2("g@gmail.example", &token)
        ))
        .await;
}

#[tokio::test]
async fn what_smuggles_or_breaks_the_rules_is_refused() {
    let world = World::new().await;
    let mut client = Client::plain(&world, &world.sandbox.endpoints().smtp_plain).await;
    client.play(&format!("S: 220 \nC: MAIL FROM:<a@b>\nS: 503\n{HELLO}")).await;
    client
        .play(
            "C: RCPT TO:<a@b>\nS: 503\nC: DATA\nS: 503\nC: MAIL FROM: <a@b>\nS: 555\n\
            C: MAIL FROM:<a@b> SIZE=99999999\nS: 552 5.3.4\nC: MAIL FROM:<a@b> X=1\nS: 555\n\
            C: RSET\nS: 250",
        )
        .await;
    let long = format!("{}\r\n", "a".repeat(999));
    for body in ["a\n.\r\n", "a\r\n.\n", "\n.\n", "a\rb\r\n", long.as_str()] {
        let mut client = Client::plain(&world, &world.sandbox.endpoints().smtp_plain).await;
        client
            .play(&format!("S: 220 \n{HELLO}C: MAIL FROM:<>\nS: 250\nC: RCPT TO:<x@y>\nS: 250"))
            .await;
        client.send(format!("DATA\r\nA: 1\r\n\r\n{body}\r\n.\r\n")).await;
        client.play("S: 354\nS: 550 5.6").await;
        client.play("C: MAIL FROM:<>\nS: 250\nC: RCPT TO:<x@y>\nS: 250").await;
        client.send(format!("BDAT {} LAST\r\n{body}", body.len())).await;
        client.play("S: 550 5.6").await;
    }
    assert!(world.sandbox.deliveries().is_empty());
}

#[tokio::test]
async fn bdat_counts_octets_and_a_hundred_may_receive() {
    let world = World::new().await;
    let mut client = Client::plain(&world, &world.sandbox.endpoints().smtp_plain).await;
    let plain = base64("\0old@classic.example\0pass word");
    client.play(&format!("S: 220 \n{HELLO}C: AUTH PLAIN\nS: 334 \nC: {plain}\nS: 235\n")).await;
    client.play("C: MAIL FROM:<a@b>\nS: 250").await;
    for number in 0..100 {
        client.play(&format!("C: RCPT TO:<r{number}@far.example>\nS: 250 2.1.5")).await;
    }
    client.play("C: RCPT TO:<more@far.example>\nS: 452 4.5.3").await;
    client.send("BDAT 5\r\nA: 1\rBDAT 9 LAST\r\n\n\r\n..\r\n\r\n").await;
    client.play("S: 250 2.0.0 5\nS: 250 2.0.0 OK").await;
    let outbox = world.sandbox.outbox();
    assert_eq!((outbox.len(), &*outbox[0].raw), (100, &b"A: 1\r\n\r\n..\r\n\r\n"[..]));
    assert_eq!(outbox[0].login, "old@classic.example");
}

#[tokio::test]
async fn starttls_comes_first_and_alone() {
    let world = World::new().await;
    let host = &world.sandbox.endpoints().smtp_starttls;
    let mut client = Client::plain(&world, host).await;
    client.play("S: 220 \nC: EHLO me").await;
    assert!(client.until("250 ").await.contains(&"250-STARTTLS".to_owned()));
    client
        .play("C: AUTH PLAIN\nS: 530 5.7.0\nC: MAIL FROM:<a@b>\nS: 530\nC: STARTTLS\nS: 220")
        .await;
    let mut client = client.upgrade().await;
    client.play("C: MAIL FROM:<a@b>\nS: 503\n").await;
    client.play(HELLO).await;
    let mut client = Client::plain(&world, host).await;
    client.send("EHLO me\r\nSTARTTLS\r\nNOOP\r\n").await;
    client.until("421 4.5.0").await;
    assert!(client.ended().await);
}
