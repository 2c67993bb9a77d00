//! Dialogues over real sockets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::net::TcpStream;

use super::serve;
use crate::frontend::rehearsal::{Dialogue, Stage};
use crate::mail::{Kind, Protocol};

const GREETING: &str = "+OK authbridge ready\r\n";
const UPSTREAM: &str = "TOP,UIDL,STLS,USER,SASL PLAIN XOAUTH2,EXPIRE NEVER";
const LISTED: &str = "+OK capabilities follow\r\nTOP\r\nUIDL\r\nEXPIRE NEVER\r\n.\r\n";
const USER: (&str, &str) = ("USER erp\r\n", "+OK send the password\r\n");
const WRONG: &str = "-ERR [AUTH] wrong login or password\r\n";

fn stage() -> Stage {
    Stage::new(UPSTREAM, "", None)
}

async fn greeted(stage: &Stage) -> Dialogue<TcpStream> {
    let mut client = stage.connect(serve, None).await;
    client.hear(GREETING).await;
    client
}

#[tokio::test]
async fn every_form_of_login_leads_to_the_relay() {
    let stage = stage();
    let plain = STANDARD.encode("\0ERP\0pass word");
    let (login, password) = (STANDARD.encode("erp"), STANDARD.encode("pass word"));
    let forms: Vec<Vec<(String, &str)>> = vec![
        vec![(USER.0.into(), USER.1), ("PASS pass word\r\n".into(), "")],
        vec![(format!("AUTH PLAIN {plain}\r\n"), "")],
        vec![("auth plain\r\n".into(), "+ \r\n"), (format!("{plain}\r\n"), "")],
        vec![
            ("AUTH LOGIN\r\n".into(), "+ VXNlcm5hbWU6\r\n"),
            (format!("{login}\r\n"), "+ UGFzc3dvcmQ6\r\n"),
            (format!("{password}\r\n"), ""),
        ],
        vec![
            (format!("AUTH LOGIN {login}\r\n"), "+ UGFzc3dvcmQ6\r\n"),
            (format!("{password}\r\n"), ""),
        ],
    ];
    for form in forms {
        let mut client = greeted(&stage).await;
        for (line, answer) in &form {
            client.say(line).await;
            client.hear(answer).await;
        }
        client.hear("+OK logged in\r\n").await;
        let (name, protocol, mut service) = stage.opened().await;
        assert_eq!((name.as_str(), protocol), ("erp", Protocol::Pop3));
        client.say("STAT\r\n").await;
        service.hear("STAT\r\n").await;
        service.say("+OK 0 0\r\n").await;
        client.hear("+OK 0 0\r\n").await;
    }
}

#[tokio::test]
async fn what_is_pipelined_behind_the_login_reaches_the_service_in_order() {
    let stage = stage();
    let mut client = greeted(&stage).await;
    client.say("CAPA\r\nUSER erp\r\nPASS pass word\r\nCAPA\r\nSTAT\r\nCAPA\r\nRETR").await;
    client
        .hear(
            "+OK capabilities follow\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n\
             PIPELINING\r\nUSER\r\nSASL PLAIN LOGIN\r\nSTLS\r\nIMPLEMENTATION authbridge\r\n.\r\n",
        )
        .await;
    client.hear("+OK send the password\r\n+OK logged in\r\n").await;
    client.hear(LISTED).await;
    let (_, _, mut service) = stage.opened().await;
    service.hear("STAT\r\nCAPA\r\nRETR").await;
    client.say(" 1\r\n").await;
    service.hear(" 1\r\n").await;
}

#[tokio::test]
async fn a_wrong_login_is_told_from_a_failure_behind_it() {
    let mut client = greeted(&stage()).await;
    client
        .transcript(&[
            USER,
            ("PASS pass word \r\n", WRONG),
            ("PASS pass word\r\n", "-ERR USER comes first\r\n"),
            ("USER nobody\r\n", "+OK send the password\r\n"),
            ("PASS pass word\r\n", WRONG),
            ("USER lost\r\n", "+OK send the password\r\n"),
            ("PASS pass word\r\n", "-ERR [SYS/PERM] "),
        ])
        .await;
    for (kind, code) in [
        (Kind::Unavailable, "SYS/TEMP"),
        (Kind::SignInNeeded, "SYS/TEMP"),
        (Kind::NotPermitted, "SYS/PERM"),
        (Kind::Unsupported, "SYS/PERM"),
    ] {
        let failing = Stage::new(UPSTREAM, "", Some(kind));
        let mut client = greeted(&failing).await;
        client.transcript(&[USER]).await;
        client.say("PASS pass word\r\nNOOP\r\n").await;
        let line = client.line().await;
        assert!(line.starts_with(&format!("-ERR [{code}] ")), "{line}");
        assert!(line.contains("-1)"), "{line}");
        client.hear("+OK\r\n").await;
    }
}

#[tokio::test]
async fn commands_before_login() {
    let mut client = greeted(&stage()).await;
    client
        .transcript(&[
            ("NOOP\r\n", "+OK\r\n"),
            ("AUTH\r\n", "+OK mechanisms follow\r\nPLAIN\r\nLOGIN\r\n.\r\n"),
            ("STAT\r\n", "-ERR unknown command, or one for after the login\r\n"),
            ("APOP erp x\r\n", "-ERR unknown command, or one for after the login\r\n"),
            ("USER\r\n", "-ERR USER needs a login\r\n"),
            ("AUTH PLAIN\r\n", "+ \r\n"),
            ("*\r\n", "-ERR AUTH cancelled\r\n"),
            ("AUTH NTLM\r\n", "-ERR only PLAIN and LOGIN are known here\r\n"),
            ("AUTH PLAIN =\r\n", "-ERR the answer is not what the mechanism asks for\r\n"),
            ("QUIT\r\n", "+OK goodbye\r\n"),
        ])
        .await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn what_was_sent_before_tls_does_not_count_after_it() {
    let stage = stage();
    let mut client = greeted(&stage).await;
    client.transcript(&[USER]).await;
    client.say("STLS\r\nPASS pass word\r\n").await;
    client.hear("+OK begin TLS negotiation\r\n").await;
    let stream = stage.client_tls().connect("localhost", client.0).await.expect("handshake");
    let mut client = Dialogue::new(stream);
    client
        .transcript(&[
            ("PASS pass word\r\n", "-ERR USER comes first\r\n"),
            ("STLS\r\n", "-ERR TLS is active\r\n"),
            USER,
            ("PASS pass word\r\n", "+OK logged in\r\n"),
            ("CAPA\r\n", LISTED),
        ])
        .await;
    let (_, _, mut service) = stage.opened().await;
    client.say("QUIT\r\n").await;
    service.hear("QUIT\r\n").await;
    service.say("+OK bye\r\n").await;
    drop(service);
    assert_eq!(client.rest().await, "+OK bye\r\n");
}

#[tokio::test]
async fn off_loopback_no_password_is_taken_before_tls() {
    let mut client = stage().connect(serve, Some("2001:db8::1")).await;
    let refused = "-ERR [SYS/PERM] start TLS (STLS) before you log in\r\n";
    client.hear(GREETING).await;
    client
        .transcript(&[
            USER_REFUSED,
            ("AUTH PLAIN\r\n", refused),
            (
                "CAPA\r\n",
                "+OK capabilities follow\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n\
                 PIPELINING\r\nSTLS\r\nIMPLEMENTATION authbridge\r\n.\r\n",
            ),
        ])
        .await;
}

const USER_REFUSED: (&str, &str) =
    ("USER erp\r\n", "-ERR [SYS/PERM] start TLS (STLS) before you log in\r\n");

#[tokio::test]
async fn floods_and_guesses_are_ended_with_a_word() {
    let stage = stage();
    let mut client = greeted(&stage).await;
    client.say(&"x".repeat(70_000)).await;
    assert_eq!(client.rest().await, "-ERR the line is too long\r\n");
    let mut client = greeted(&stage).await;
    for _ in 0..9 {
        client
            .transcript(&[("X\r\n", "-ERR unknown command, or one for after the login\r\n")])
            .await;
    }
    client.say("X\r\n").await;
    client.hear("-ERR unknown command, or one for after the login\r\n").await;
    assert_eq!(client.rest().await, "-ERR too many failures, closing\r\n");
}

#[tokio::test]
async fn stopping_ends_those_who_have_not_logged_in() {
    let stage = stage();
    let mut client = greeted(&stage).await;
    stage.context.stopping.cancel();
    assert_eq!(client.rest().await, "-ERR [SYS/TEMP] shutting down; try again soon\r\n");
}
