//! Garbage, halves of commands and commands out of place: refused, and the next client is served.

use super::*;

#[tokio::test]
async fn imap_commands_belong_to_their_states() {
    let world = World::new().await;
    let needs_login =
        ["SELECT INBOX", "LIST \"\" *", "STATUS INBOX (MESSAGES)", "IDLE", "CREATE x"];
    let needs_folder = [
        "FETCH 1 FLAGS",
        "STORE 1 FLAGS ()",
        "SEARCH ALL",
        "EXPUNGE",
        "CLOSE",
        "UID FETCH 1 FLAGS",
        "COPY 1 Trash",
        "CHECK",
    ];
    let mut client = Client::plain(&world, &world.sandbox.endpoints().imap_plain).await;
    client.play("S: * OK").await;
    for command in needs_login.iter().chain(&needs_folder) {
        client.play(&format!("C: a {command}\nS: a BAD")).await;
    }
    client.play("C: b LOGIN old@classic.example \"pass word\"\nS: b OK").await;
    for command in needs_folder.iter().chain(&["LOGIN a b", "AUTHENTICATE PLAIN", "STARTTLS"]) {
        client.play(&format!("C: c {command}\nS: c BAD")).await;
    }
    for broken in ["d SELECT", "d SELECT  INBOX", "d SELECT INBOX ", "d LIST \"\"", "d APPEND x"] {
        client.play(&format!("C: {broken}\nS: d BAD")).await;
    }
    client.play("C: *\nS: * BAD\nC: e NOOP\nS: e OK").await;
}

#[tokio::test]
async fn pop3_commands_belong_to_their_states() {
    let world = World::new().await;
    let mut client = Client::plain(&world, &world.sandbox.endpoints().pop3_plain).await;
    client.play("S: +OK").await;
    for command in ["STAT", "LIST", "RETR 1", "DELE 1", "UIDL", "NOOP", "STLS", "PASS x", "FOO"] {
        client.play(&format!("C: {command}\nS: -ERR")).await;
    }
    client.play("C: USER old@classic.example\nS: +OK\nC: PASS pass word\nS: +OK").await;
    for command in ["USER a", "AUTH PLAIN", "RETR", "RETR 0", "RETR 1", "RETR x", "TOP 1", "STAT 1"]
    {
        client.play(&format!("C: {command}\nS: -ERR")).await;
    }
}

#[tokio::test]
async fn garbage_ends_nothing_but_its_own_connection() {
    let world = World::new().await;
    let ends = world.sandbox.endpoints().clone();
    let garbage: Vec<u8> = (0..=255u8).cycle().take(4096).collect();
    for host in [&ends.smtp_plain, &ends.imap_plain, &ends.pop3_plain, &ends.smtp, &ends.imap] {
        let mut client = Client::plain(&world, host).await;
        client.send(&garbage).await;
        drop(client);
    }
    for (host, greeting) in [(&ends.smtp, "220"), (&ends.imap, "* OK"), (&ends.pop3, "+OK")] {
        let mut client = Client::tls(&world, host).await;
        client.play(&format!("S: {greeting}")).await;
    }
    let mut client = Client::plain(&world, &ends.smtp_plain).await;
    client.play("S: 220\nC: EHLO\nS: 501\nC: FOO\nS: 502").await;
    client.send(b"MAIL\xff\r\n").await;
    client.play("S: 500\nC: BDAT x\nS: 421").await;
    assert!(client.ended().await);
    let mut client = Client::plain(&world, &ends.imap_plain).await;
    client.play("S: * OK\nC: a LOGIN {99999999}\nS: * BYE").await;
    assert!(client.ended().await);
}
