//! POP3 dialogues.

use super::*;

#[tokio::test]
async fn deletions_happen_at_quit_alone() {
    let world = World::new().await;
    for body in ["one", ".two"] {
        let raw = format!("Subject: {body}\r\n\r\n{body}\r\n");
        world.sandbox.put("old@classic.example", "INBOX", raw.as_bytes()).expect("an inbox");
    }
    let login = "S: +OK\nC: USER old@classic.example\nS: +OK\nC: PASS pass word\nS: +OK\n";
    let host = &world.sandbox.endpoints().pop3_plain;
    let mut client = Client::plain(&world, host).await;
    client.play(login).await;
    client
        .play(
            "C: STAT\nS: +OK 2 44\nC: LIST 2\nS: +OK 2 23\nC: RETR 2\nS: +OK\n\
        S: Subject: .two\nS: \nS: ..two\nS: .\nC: TOP 1 0\nS: +OK\nS: Subject: one\nS: \nS: .\n\
        C: DELE 1\nS: +OK\nC: RETR 1\nS: -ERR\nC: STAT\nS: +OK 1 23",
        )
        .await;
    drop(client);
    let mut client = Client::plain(&world, host).await;
    client.play(login).await;
    client
        .play(
            "C: STAT\nS: +OK 2\nC: DELE 1\nS: +OK\nC: RSET\nS: +OK\nC: DELE 2\nS: +OK\n\
        C: QUIT\nS: +OK",
        )
        .await;
    assert!(client.ended().await);
    assert_eq!(world.sandbox.inbox("old@classic.example").len(), 1);
}

#[tokio::test]
async fn tokens_and_refusals() {
    let world = World::new().await;
    let token = world.gmail_token().await;
    world.sandbox.put("g@gmail.example", "INBOX", b"A: 1\r\n\r\n").expect("an inbox");
    let mut client = Client::tls(&world, &world.sandbox.endpoints().pop3).await;
    client
        .play(
            "S: +OK\nC: STAT\nS: -ERR\nC: USER g@gmail.example\nS: +OK\nC: PASS x\nS: -ERR [AUTH]",
        )
        .await;
    client.play(&format!("C: AUTH XOAUTH2 {}\nS: + ", xoauth2("g@gmail.example", "no"))).await;
    client.play("C: \nS: -ERR [AUTH]").await;
    let blob = xoauth2("g@gmail.example", &token);
    client.play(&format!("C: AUTH XOAUTH2\nS: + \nC: {blob}\nS: +OK Welcome.")).await;
    client.play("C: UIDL 1\nS: +OK 1 GmailId\nC: LIST 2\nS: -ERR\nC: CAPA\nS: +OK").await;
    assert!(!client.until(".").await.iter().any(|line| line.starts_with("SASL")));
    let logins: Vec<bool> =
        world.sandbox.counters().logins.iter().map(|login| login.accepted).collect();
    assert_eq!(logins, [false, false, true]);
}

#[tokio::test]
async fn stls_is_required_where_it_is_offered() {
    let world = World::new().await;
    let mut client = Client::plain(&world, &world.sandbox.endpoints().pop3_starttls).await;
    client.play("S: +OK\nC: USER a\nS: -ERR [AUTH]\nC: STLS\nS: +OK").await;
    let mut client = client.upgrade().await;
    client
        .play("C: USER old@classic.example\nS: +OK\nC: PASS wrong\nS: -ERR\nC: STLS\nS: -ERR")
        .await;
}
