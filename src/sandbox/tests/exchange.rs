//! Exchange Online's own protocols with Entra's tokens.

use super::*;

#[tokio::test]
async fn the_right_audience_and_role_open_and_others_do_not() {
    let world = World::new().await;
    let good = world.entra_token("https://outlook.office365.com/.default").await;
    let graph = world.graph_token().await;
    let ends = world.sandbox.endpoints();
    let mut client = Client::plain(&world, &ends.exchange_smtp).await;
    client.play("S: 220 \nC: EHLO me").await;
    client.until("250 ").await;
    client.play("C: STARTTLS\nS: 220").await;
    let mut client = client.upgrade().await;
    client.play("C: EHLO me").await;
    client.until("250 ").await;
    let refusals = [
        xoauth2("m@contoso.example", &graph),
        xoauth2("nobody@contoso.example", &good),
        xoauth2("g@gmail.example", &good),
    ];
    for blob in refusals {
        client.play(&format!("C: AUTH XOAUTH2\nS: 334 \nC: {blob}\nS: 535 5.7.3")).await;
    }
    let blob = xoauth2("m@contoso.example", &good);
    client.play(&format!("C: AUTH XOAUTH2 {blob}\nS: 235\n")).await;
    client
        .play(
            "C: MAIL FROM:<m@contoso.example>\nS: 250\nC: RCPT TO:<x@y>\nS: 250\nC: DATA\n\
        S: 354\nC: A: 1\nC: .\nS: 250\nC: QUIT\nS: 221",
        )
        .await;
    assert_eq!(world.sandbox.sent_items("m@contoso.example").len(), 1);
    // A good token for a mailbox that it does not open: IMAP alone lets it in, and no further.
    let imap = world.sandbox.add_app(App::new(&world.app.tenant).with_role("IMAP.AccessAsApp"));
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", imap.client_id.as_str()),
        ("client_secret", imap.secret.as_str()),
        ("scope", "https://outlook.office365.com/.default"),
    ];
    let (_, body) = world.form(&world.token_url(), &fields).await;
    let token = body["access_token"].as_str().expect("a token");
    let nobody = xoauth2("nobody@contoso.example", token);
    let mut client = Client::tls(&world, &ends.exchange_imap).await;
    client
        .play(&format!(
            "S: * OK\nC: a AUTHENTICATE XOAUTH2 {nobody}\nS: a OK AUTHENTICATE completed.\n\
             C: b CAPABILITY\nS: b BAD User is authenticated but not connected.\nS: * BYE"
        ))
        .await;
    // The application has no role for IMAP and POP3.
    let mut client = Client::tls(&world, &ends.exchange_imap).await;
    client
        .play(&format!("S: * OK\nC: a AUTHENTICATE XOAUTH2 {blob}\nS: a NO AUTHENTICATE failed."))
        .await;
    let mut client = Client::tls(&world, &ends.exchange_pop3).await;
    client.play(&format!("S: +OK\nC: AUTH XOAUTH2\nS: + \nC: {blob}\nS: -ERR Auth")).await;
}

async fn logged_in(world: &World, blob: &str) -> Client {
    let mut client = Client::plain(world, &world.sandbox.endpoints().exchange_smtp).await;
    client.play("S: 220 \nC: EHLO me").await;
    client.until("250 ").await;
    client.play("C: STARTTLS\nS: 220").await;
    let mut client = client.upgrade().await;
    client.play("C: EHLO me").await;
    assert!(client.until("250 ").await.contains(&"250-SIZE 157286400".to_owned()));
    client.send(format!("AUTH XOAUTH2 {blob}\r\n")).await;
    client
}

#[tokio::test]
async fn three_connections_and_no_strange_sender() {
    let world = World::new().await;
    let token = world.entra_token("https://outlook.office365.com/.default").await;
    let blob = xoauth2("m@contoso.example", &token);
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut client = logged_in(&world, &blob).await;
        client.play("S: 235").await;
        open.push(client);
    }
    logged_in(&world, &blob).await.play("S: 432 4.3.2").await;
    let mut client = open.remove(0);
    let mail = "C: MAIL FROM:<m@contoso.example>\nS: 250\nC: RCPT TO:<x@y>\nS: 250\nC: DATA\n\
        S: 354\n";
    client.play(&format!("{mail}C: From: strange@contoso.example\nC: \nC: .\nS: 550 5.7.60")).await;
    client.play(&format!("{mail}C: From: boss@contoso.example\nC: \nC: .\nS: 250")).await;
    client.play("C: QUIT\nS: 221").await;
    assert!(client.ended().await);
    logged_in(&world, &blob).await.play("S: 235").await;
    assert_eq!(world.sandbox.sent().len(), 1);
}
