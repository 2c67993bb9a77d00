//! Dialogues over real sockets.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::serve;
use crate::frontend::rehearsal::{Dialogue, Stage};
use crate::mail::{Kind, Protocol};

const GREETING: &str = "* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID STARTTLS AUTH=PLAIN \
                        AUTH=LOGIN] authbridge ready\r\n";
const UPSTREAM: &str = "IMAP4rev1,IDLE,AUTH=XOAUTH2,SASL-IR,STARTTLS,COMPRESS=DEFLATE";
const WELCOME: &str = "OK [CAPABILITY IMAP4rev1 IDLE COMPRESS=DEFLATE] logged in\r\n";
const LISTED: &str = "* CAPABILITY IMAP4rev1 IDLE COMPRESS=DEFLATE\r\n";
const WRONG: &str = "NO [AUTHENTICATIONFAILED] wrong login or password\r\n";

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
    let plain = STANDARD.encode("\0erp\0pass word");
    let (login, password) = (STANDARD.encode("erp"), STANDARD.encode("pass word"));
    let forms: Vec<Vec<(String, &str)>> = vec![
        vec![("t LOGIN ERP \"pass word\"\r\n".into(), "")],
        vec![("t login {3+}\r\nerp {9+}\r\npass word\r\n".into(), "")],
        vec![
            ("t LOGIN {3}\r\n".into(), "+ go ahead\r\n"),
            ("erp {9}\r\n".into(), "+ go ahead\r\n"),
            ("pass word\r\n".into(), ""),
        ],
        vec![(format!("t AUTHENTICATE PLAIN {plain}\r\n"), "")],
        vec![("t AUTHENTICATE plain\r\n".into(), "+ \r\n"), (format!("{plain}\r\n"), "")],
        vec![
            ("t AUTHENTICATE LOGIN\r\n".into(), "+ VXNlcm5hbWU6\r\n"),
            (format!("{login}\r\n"), "+ UGFzc3dvcmQ6\r\n"),
            (format!("{password}\r\n"), ""),
        ],
        vec![
            (format!("t AUTHENTICATE LOGIN {login}\r\n"), "+ UGFzc3dvcmQ6\r\n"),
            (format!("{password}\r\n"), ""),
        ],
    ];
    for form in forms {
        let mut client = greeted(&stage).await;
        for (line, answer) in &form {
            client.say(line).await;
            client.hear(answer).await;
        }
        client.hear("t ").await;
        client.hear(WELCOME).await;
        let (name, protocol, mut service) = stage.opened().await;
        assert_eq!((name.as_str(), protocol), ("erp", Protocol::Imap));
        client.say("u LOGIN again x\r\n").await;
        service.hear("u LOGIN again x\r\n").await;
        service.say("u BAD already\r\n").await;
        client.hear("u BAD already\r\n").await;
    }
}

#[tokio::test]
async fn what_is_pipelined_behind_the_login_reaches_the_service_in_order() {
    let stage = Stage::new(UPSTREAM, "* OK still here\r\n", None);
    let mut client = greeted(&stage).await;
    client
        .say(
            "a NOOP\r\nb LOGIN erp {9+}\r\npass word\r\nc CAPABILITY\r\nd capability\r\n\
             e SELECT INBOX\r\nf CAPABILITY\r\ng APP",
        )
        .await;
    client.hear("a OK NOOP completed\r\n").await;
    client.hear(&format!("b {WELCOME}* OK still here\r\n")).await;
    client.hear(&format!("{LISTED}c OK CAPABILITY completed\r\n")).await;
    client.hear(&format!("{LISTED}d OK CAPABILITY completed\r\n")).await;
    let (_, _, mut service) = stage.opened().await;
    service.hear("e SELECT INBOX\r\nf CAPABILITY\r\ng APP").await;
    client.say("END\r\n").await;
    service.hear("END\r\n").await;
}

#[tokio::test]
async fn capability_is_answered_here_until_anything_else_is_said() {
    let stage = stage();
    let mut client = greeted(&stage).await;
    client.say("a LOGIN erp \"pass word\"\r\n").await;
    client.hear(&format!("a {WELCOME}")).await;
    let (_, _, mut service) = stage.opened().await;
    for byte in ["b", " ", "C", "APABILIT", "Y", "\r"] {
        client.say(byte).await;
    }
    client.say("\n").await;
    client.hear(&format!("{LISTED}b OK CAPABILITY completed\r\n")).await;
    client.say("c CAPA").await;
    service.say("* BYE closing for maintenance\r\n").await;
    client.hear("* BYE closing for maintenance\r\n").await;
    service.hear("c CAPA").await;
    drop(service);
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_client_that_leaves_after_login_is_told_to_the_service() {
    let stage = stage();
    let mut client = greeted(&stage).await;
    client.say("a LOGIN erp \"pass word\"\r\nb LOGOUT\r\n").await;
    client.hear(&format!("a {WELCOME}")).await;
    let (_, _, mut service) = stage.opened().await;
    drop(client);
    assert_eq!(service.rest().await, "b LOGOUT\r\n");
}

#[tokio::test]
async fn a_wrong_login_is_told_from_a_failure_behind_it() {
    let mut client = greeted(&stage()).await;
    for login in ["erp wrong", "nobody \"pass word\"", "erp \"\""] {
        client.transcript(&[(&format!("a LOGIN {login}\r\n"), &format!("a {WRONG}"))]).await;
    }
    client.say("a LOGIN lost \"pass word\"\r\n").await;
    let line = client.line().await;
    assert!(line.starts_with("a NO [CANNOT] ") && line.contains("(ref "), "{line}");
    for (kind, code) in [
        (Kind::Unavailable, "UNAVAILABLE"),
        (Kind::SignInNeeded, "UNAVAILABLE"),
        (Kind::NotPermitted, "CONTACTADMIN"),
        (Kind::Unsupported, "CANNOT"),
    ] {
        let failing = Stage::new(UPSTREAM, "", Some(kind));
        let mut client = greeted(&failing).await;
        client.say("b LOGIN erp \"pass word\"\r\nc NOOP\r\n").await;
        let line = client.line().await;
        assert!(line.starts_with(&format!("b NO [{code}] ")), "{line}");
        assert!(line.contains("-1)"), "{line}");
        client.hear("c OK NOOP completed\r\n").await;
    }
}

#[tokio::test]
async fn commands_before_login() {
    let mut client = greeted(&stage()).await;
    let list = "* CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID STARTTLS AUTH=PLAIN AUTH=LOGIN\r\n";
    client
        .transcript(&[
            ("a CAPABILITY\r\n", &format!("{list}a OK CAPABILITY completed\r\n")),
            ("b  NOOP \r\n", "b OK NOOP completed\r\n"),
            ("c ID (\"name\" {3}\r\n", "+ go ahead\r\n"),
            ("abc)\r\n", "* ID (\"name\" \"authbridge\")\r\nc OK ID completed\r\n"),
            ("d SELECT INBOX\r\n", "d BAD unknown command, or one for after the login\r\n"),
            ("e LOGIN erp\r\n", "e BAD LOGIN needs a login and a password\r\n"),
            ("* NOOP\r\n", "* BAD a command starts with a tag\r\n"),
            ("f AUTHENTICATE PLAIN\r\n", "+ \r\n"),
            ("*\r\n", "f BAD AUTHENTICATE cancelled\r\n"),
            (
                "g AUTHENTICATE PLAIN ???\r\n",
                "g BAD the answer is not what the mechanism asks for\r\n",
            ),
            (
                "h AUTHENTICATE XOAUTH2 x\r\n",
                "h NO [CANNOT] only PLAIN and LOGIN are known here\r\n",
            ),
            ("i LOGOUT\r\n", "* BYE logging out\r\ni OK LOGOUT completed\r\n"),
        ])
        .await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn what_was_sent_before_tls_does_not_count_after_it() {
    let stage = stage();
    let mut client = greeted(&stage).await;
    client.say("a STARTTLS\r\nb LOGIN erp \"pass word\"\r\n").await;
    client.hear("a OK begin TLS negotiation now\r\n").await;
    let stream = stage.client_tls().connect("localhost", client.0).await.expect("handshake");
    let mut client = Dialogue::new(stream);
    client
        .transcript(&[
            (
                "c CAPABILITY\r\n",
                "* CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID AUTH=PLAIN AUTH=LOGIN\r\n\
                 c OK CAPABILITY completed\r\n",
            ),
            ("d STARTTLS\r\n", "d BAD TLS is active\r\n"),
            ("e LOGIN erp \"pass word\"\r\n", &format!("e {WELCOME}")),
        ])
        .await;
    assert_eq!(stage.service.opens.load(Ordering::Relaxed), 1);
    let (_, _, mut service) = stage.opened().await;
    client.say("f NOOP\r\n").await;
    service.hear("f NOOP\r\n").await;
}

#[tokio::test]
async fn off_loopback_no_password_is_taken_before_tls() {
    let stage = stage();
    let mut client = stage.connect(serve, Some("192.0.2.1")).await;
    client
        .hear(
            "* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID STARTTLS LOGINDISABLED] \
             authbridge ready\r\n",
        )
        .await;
    let refused = "NO [PRIVACYREQUIRED] start TLS before you log in\r\n";
    client
        .transcript(&[
            ("a LOGIN erp \"pass word\"\r\n", &format!("a {refused}")),
            ("b AUTHENTICATE PLAIN\r\n", &format!("b {refused}")),
            ("c STARTTLS\r\n", "c OK begin TLS negotiation now\r\n"),
        ])
        .await;
    let stream = stage.client_tls().connect("localhost", client.0).await.expect("handshake");
    let mut client = Dialogue::new(stream);
    client.transcript(&[("d LOGIN erp \"pass word\"\r\n", &format!("d {WELCOME}"))]).await;
}

#[tokio::test]
async fn floods_and_guesses_are_ended_with_a_word() {
    let stage = stage();
    let mut client = greeted(&stage).await;
    client.say(&"x".repeat(70_000)).await;
    assert_eq!(client.rest().await, "* BAD the command is too long\r\n* BYE closing\r\n");
    let mut client = greeted(&stage).await;
    client.say("a LOGIN {70000+}\r\n").await;
    assert_eq!(client.rest().await, "* BAD the command is too long\r\n* BYE closing\r\n");
    let mut client = greeted(&stage).await;
    client.say("a LOGIN {70000}\r\nb NOOP\r\n").await;
    client.hear("a BAD a literal is broken or too long\r\nb OK NOOP completed\r\n").await;
    for _ in 0..8 {
        client
            .transcript(&[("c FROB\r\n", "c BAD unknown command, or one for after the login\r\n")])
            .await;
    }
    client.say("d LOGIN erp wrong\r\n").await;
    assert_eq!(client.rest().await, format!("d {WRONG}* BYE too many failures\r\n"));
}

#[tokio::test]
async fn stopping_ends_those_who_have_not_logged_in() {
    let stage = stage();
    let mut idle = greeted(&stage).await;
    let mut busy = greeted(&stage).await;
    busy.transcript(&[("a LOGIN erp \"pass word\"\r\n", &format!("a {WELCOME}"))]).await;
    let (_, _, mut service) = stage.opened().await;
    stage.context.stopping.cancel();
    assert_eq!(idle.rest().await, "* BYE [UNAVAILABLE] shutting down; try again soon\r\n");
    busy.say("b FETCH 1 FAST\r\n").await;
    service.hear("b FETCH 1 FAST\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_sent_away() {
    let stage = stage();
    let mut client = greeted(&stage).await;
    client.say("a NOO").await;
    let began = tokio::time::Instant::now();
    let mut word = Vec::new();
    client.0.read_to_end(&mut word).await.expect("read");
    assert_eq!(String::from_utf8_lossy(&word), "* BYE you were silent for too long\r\n");
    let waited = began.elapsed().as_secs();
    assert!((119..=121).contains(&waited), "{waited}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_does_not_answer_is_unavailable_not_a_wrong_password() {
    let stage = stage();
    stage.service.stalls.store(true, Ordering::Relaxed);
    let mut client = greeted(&stage).await;
    client.say("a LOGIN erp \"pass word\"\r\n").await;
    let mut word = [0; 18];
    client.0.read_exact(&mut word).await.expect("read");
    assert_eq!(String::from_utf8_lossy(&word), "a NO [UNAVAILABLE]");
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_service_that_does_not_answer() {
    let stage = stage();
    stage.service.stalls.store(true, Ordering::Relaxed);
    let mut client = greeted(&stage).await;
    client.say("a LOGIN erp \"pass word\"\r\n").await;
    while stage.service.opens.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    stage.context.stopping.cancel();
    let told = client.rest().await;
    assert!(told.starts_with("a NO [UNAVAILABLE] ") && told.contains("* BYE "), "{told}");
}

#[tokio::test]
async fn a_session_is_small() {
    let stage = stage();
    let mut size = 0;
    let sized = |context, peer, stream| {
        let session = serve(context, peer, stream);
        size = size_of_val(&session);
        session
    };
    stage.connect(sized, None).await.hear(GREETING).await;
    assert!(size < 1000, "{size}");
}

/// Everything that is logged on this thread.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_shows_success_failure_and_reference_but_no_password() {
    let written = Written::default();
    let writer = written.clone();
    // With a single dispatcher, tracing asks the thread that comes first (another test's) whether
    // an event is wanted, and remembers its no.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let stage = stage();
    let mut client = greeted(&stage).await;
    client.transcript(&[("a LOGIN erp hunter2\r\n", &format!("a {WRONG}"))]).await;
    client.say("b LOGIN lost \"pass word\"\r\n").await;
    let told = client.line().await;
    let plain = STANDARD.encode("\0erp\0pass word");
    client
        .transcript(&[(&format!("c AUTHENTICATE PLAIN {plain}\r\n"), &format!("c {WELCOME}"))])
        .await;
    let (_, _, service) = stage.opened().await;
    client.say("d NOOP\r\n").await;
    drop(service);
    client.rest().await;
    let log = String::from_utf8_lossy(&written.0.lock().expect("not poisoned")).into_owned();
    let (_, reference) = told.split_once("(ref ").expect("a reference");
    for part in [reference.trim_end_matches(')'), "Mail.Lost", "logged in", "wrong login"] {
        assert!(log.contains(part), "{part}: {log}");
    }
    for secret in ["hunter2", "pass word", plain.as_str()] {
        assert!(!log.contains(secret), "{log}");
    }
}
