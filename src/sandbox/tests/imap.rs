//! IMAP dialogues.

use super::*;

const LOGIN: &str = "S: * OK\nC: a login old@classic.example \"pass word\"\nS: a OK [CAPABILITY";

async fn classic(world: &World) -> Client {
    let mut client = Client::plain(world, &world.sandbox.endpoints().imap_plain).await;
    client.play(LOGIN).await;
    client
}

#[tokio::test]
async fn a_session_from_select_to_expunge() {
    let world = World::new().await;
    for n in 1..=3 {
        let raw = format!("Subject: s{n}\r\n\r\nbody {n}\r\n");
        world.sandbox.put("old@classic.example", "INBOX", raw.as_bytes()).expect("an inbox");
    }
    let mut client = classic(&world).await;
    client.play("C: b SELECT inbox").await;
    let lines = client.until("b OK [READ-WRITE]").await;
    for wanted in
        ["* 3 EXISTS", "* OK [UNSEEN 1] First unseen", "* OK [UIDNEXT 4] Predicted next UID"]
    {
        assert!(lines.iter().any(|line| line == wanted), "{wanted}: {lines:?}");
    }
    client.play("C: c FETCH 2 (UID RFC822.SIZE BODY[TEXT])\n\
        S: * 2 FETCH (UID 2 RFC822.SIZE 23 BODY[TEXT] {8}\nS: body 2\n\
        S:  FLAGS (\\Seen))\nS: c OK\nC: d SEARCH UNSEEN\nS: * SEARCH 1 3\nS: d OK\n\
        C: e UID STORE 1:2 +FLAGS.SILENT (\\Deleted)\nS: e OK\nC: f UID COPY 3 Trash\n\
        S: f OK [COPYUID\nC: g EXPUNGE\nS: * 2 EXPUNGE\nS: * 1 EXPUNGE\nS: g OK\n\
        C: h FETCH 2 FLAGS\nS: h BAD\nC: i UID FETCH 99 FLAGS\nS: i OK\n\
        C: j STATUS Trash (MESSAGES UIDNEXT)\nS: * STATUS \"Trash\" (MESSAGES 1 UIDNEXT 2)\nS: j OK\n\
        C: k FOO\nS: k BAD\nC: l SELECT None\nS: l NO [NONEXISTENT]\nC: m FETCH 1 FLAGS\nS: m BAD\n\
        C: n LOGOUT\nS: * BYE\nS: n OK").await;
    assert!(client.ended().await);
    assert_eq!(world.sandbox.inbox("old@classic.example").len(), 1);
}

#[tokio::test]
async fn append_waits_for_the_literal_and_idle_hears_of_mail() {
    let world = World::new().await;
    let mut client = classic(&world).await;
    client.play("C: b APPEND Drafts (\\Draft) \"01-Feb-2024 10:00:00 +0000\" {8}\nS: +").await;
    client.send("A: 1\r\n\r\n\r\n").await;
    client.play("S: b OK [APPENDUID\nC: c APPEND None {1+}").await;
    client.send("x\r\n").await;
    client.play("S: c NO [TRYCREATE]\nC: d EXAMINE INBOX").await;
    client.until("d OK [READ-ONLY]").await;
    client.play("C: e IDLE\nS: + idling").await;
    world.sandbox.put("old@classic.example", "INBOX", b"A: 1\r\n\r\n").expect("an inbox");
    client
        .play("S: * 1 EXISTS\nC: DONE\nS: e OK\nC: f STORE 1 FLAGS (\\Seen)\nS: f NO [READ-ONLY]")
        .await;
    let drafts = world.sandbox.folder("old@classic.example", "Drafts");
    assert_eq!(&*drafts[0].raw, b"A: 1\r\n\r\n");
    assert_eq!(drafts[0].received, time::macros::datetime!(2024-02-01 10:00 UTC));
}

#[tokio::test]
async fn move_tells_copyuid_before_expunge() {
    let world = World::new().await;
    world.sandbox.put("old@classic.example", "INBOX", b"A: 1\r\n\r\n").expect("an inbox");
    let mut client = classic(&world).await;
    client.play("C: b SELECT INBOX").await;
    client.until("b OK").await;
    client.play("C: c UID MOVE 1 Trash\nS: * OK [COPYUID\nS: * 1 EXPUNGE\nS: c OK").await;
    assert_eq!(world.sandbox.folder("old@classic.example", "Trash").len(), 1);
}

#[tokio::test]
async fn tokens_open_gmail_and_the_refusal_takes_an_empty_line() {
    let world = World::new().await;
    let token = world.gmail_token().await;
    let mut client = Client::tls(&world, &world.sandbox.endpoints().imap).await;
    client.play("S: * OK\nC: a CAPABILITY").await;
    assert!(client.until("a OK").await[0].contains("AUTH=XOAUTH2"));
    client.play("C: b LOGIN g@gmail.example x\nS: b NO [ALERT]").await;
    let wrong = xoauth2("g@gmail.example", "wrong");
    client
        .play(&format!(
            "C: c AUTHENTICATE XOAUTH2 {wrong}\nS: + \nC: \nS: c NO [AUTHENTICATIONFAILED]"
        ))
        .await;
    let blob = xoauth2("g@gmail.example", &token);
    client.play(&format!("C: d AUTHENTICATE XOAUTH2\nS: + \nC: {blob}\nS: d OK [CAPABILITY")).await;
    client.play("C: e LIST \"\" \"[Gmail]/S%\"").await;
    let lines = client.until("e OK").await;
    assert!(lines[0].contains("\\Sent") && lines.len() == 3, "{lines:?}");
}

#[tokio::test]
async fn nothing_works_before_tls_where_it_is_required() {
    let world = World::new().await;
    let mut client = Client::plain(&world, &world.sandbox.endpoints().imap_starttls).await;
    client.play("S: * OK\nC: a LOGIN a b\nS: a NO [PRIVACYREQUIRED]\nC: b STARTTLS\nS: b OK").await;
    let mut client = client.upgrade().await;
    client.play("C: c LOGIN old@classic.example {9}\nS: +\nC: pass word\nS: c OK").await;
}
