//! Transcripts of SMTP sessions, over real sockets.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::config::{Host, Security, ServerAuth, Template};
use crate::mail::{Address, BodyKind, Delivered, Kind, Message, Recipient};
use crate::upstream::scripted::{Scripted, Tokens, blob, client_tls, strict_client_tls};

const MESSAGE: &[u8] = b"Subject: x\r\nBcc: hidden@example.com\r\nTo: b@c\r\n\r\n.dot\r\nend\r\n";
const ON_THE_WIRE: &[u8] = b"Subject: x\r\nTo: b@c\r\n\r\n.dot\r\nend\r\n";
const STUFFED: &[u8] = b"Subject: x\r\nTo: b@c\r\n\r\n..dot\r\nend\r\n.\r\n";

const HELLO: &str = "S: 220 mx ESMTP
    C: EHLO client.example
    S: 250-mx
    S: 250 PIPELINING";
const START: &str = "C: MAIL FROM:<a@b.example>
    C: RCPT TO:<b@c.example>
    S: 250 2.1.0 ok
    S: 250 2.1.5 ok";
const DATA: &str = "C: DATA
    S: 354 go
    DATA
    S: 250 2.0.0 queued as 7";

fn submission(scripted: &Scripted, security: Security, login: Login) -> SmtpSubmission {
    with_server(&scripted.server(security), login)
}

fn with_server(server: &MailServer, login: Login) -> SmtpSubmission {
    SmtpSubmission::new("Mail.Sending", server, 3, login, client_tls(), "client.example")
}

fn tokens(tokens: Tokens) -> (Arc<Tokens>, Login) {
    let tokens = Arc::new(tokens);
    (Arc::clone(&tokens), Login::Xoauth2 { tokens, probe: false })
}

fn from() -> ReversePath {
    ReversePath { address: Address::parse("a@b.example").ok(), ..ReversePath::default() }
}

fn to(text: &str) -> Recipient {
    Recipient::new(Address::parse(text).expect("valid"))
}

async fn send(submission: &SmtpSubmission) -> Result<Delivered, mail::Error> {
    send_bytes(submission, from(), MESSAGE.to_vec()).await
}

async fn send_bytes(
    submission: &SmtpSubmission,
    from: ReversePath,
    message: Vec<u8>,
) -> Result<Delivered, mail::Error> {
    let mut transaction = submission.begin(Some("jane"), from).await?;
    transaction.recipient(to("b@c.example")).await?;
    transaction.deliver(Arc::new(Message::from_bytes(Bytes::from(message)))).await
}

async fn begin_failure(submission: &SmtpSubmission) -> mail::Error {
    submission.begin(Some("jane"), from()).await.err().expect("refused")
}

#[tokio::test]
async fn data_is_stuffed_and_bcc_dropped_and_connections_carry_three_messages() {
    let one = format!("{START}\n{DATA}");
    let first = format!("{HELLO}\n{one}\n{one}\n{one}\nC: QUIT\nS: 221 bye\nEOF");
    let second = format!("{HELLO}\n{one}\nHOLD");
    let scripted = Scripted::start(&[&first, &second]).await;
    let submission = submission(&scripted, Security::Plain, Login::None);
    for _ in 0..4 {
        assert_eq!(send(&submission).await.expect("sent").note, "queued as 7");
    }
    assert_eq!(submission.sender.pool.unused(), 1);
    drop(submission);
    assert_eq!(scripted.finish().await, [STUFFED; 4]);
}

#[tokio::test]
async fn bdat_is_byte_exact_over_starttls() {
    let transcript = format!(
        "S: 220 mx
        C: EHLO client.example
        S: 250-mx
        S: 250 STARTTLS
        C: STARTTLS
        S: 220 go
        TLS
        C: EHLO client.example
        S: 250-mx
        S: 250-SIZE 1000
        S: 250-DSN
        S: 250-8BITMIME
        S: 250-CHUNKING
        S: 250 PIPELINING
        C: MAIL FROM:<a@b.example> BODY=8BITMIME
        C: RCPT TO:<b@c.example>
        S: 250 ok
        S: 250 ok
        C: BDAT {0} LAST
        N: {0}
        S: 250 2.0.0 ok
        HOLD",
        ON_THE_WIRE.len()
    );
    let scripted = Scripted::start(&[&transcript]).await;
    let submission = submission(&scripted, Security::StartTls, Login::None);
    assert_eq!(submission.features(), Features::default());
    let declared = ReversePath { body: BodyKind::EightBit, ..from() };
    send_bytes(&submission, declared, MESSAGE.to_vec()).await.expect("sent");
    assert_eq!(submission.features(), Features { max_size: Some(1000), dsn: true });
    drop(submission);
    assert_eq!(scripted.finish().await, [ON_THE_WIRE]);
}

#[tokio::test]
async fn large_messages_arrive_whole_both_ways() {
    let mut message = b"Subject: x\r\n\r\n".to_vec();
    for line in 0..20_000 {
        message.extend_from_slice(format!(".line {line}\r\n").as_bytes());
    }
    let by_bdat = format!(
        "S: 220 mx\nC: EHLO client.example\nS: 250-mx\nS: 250-CHUNKING\nS: 250 PIPELINING\n{START}\n\
         C: BDAT {0} LAST\nN: {0}\nS: 250 ok\nHOLD",
        message.len()
    );
    let by_data = format!("{HELLO}\n{START}\n{DATA}\nHOLD");
    let stuffed = String::from_utf8_lossy(&message).replace("\r\n.", "\r\n..") + ".\r\n";
    for (transcript, expected) in [(by_bdat, message.clone()), (by_data, stuffed.into_bytes())] {
        let scripted = Scripted::start(&[&transcript]).await;
        let submission = submission(&scripted, Security::Plain, Login::None);
        send_bytes(&submission, from(), message.clone()).await.expect("sent");
        drop(submission);
        assert!(scripted.finish().await == [expected], "octets differ");
    }
}

#[tokio::test]
async fn without_pipelining_each_command_waits_and_helo_will_do() {
    let transcript = "S: 220 mx
        C: EHLO client.example
        S: 502 what
        C: HELO client.example
        S: 250 mx
        C: MAIL FROM:<a@b.example>
        S: 250 ok
        C: RCPT TO:<b@c.example>
        S: 250 ok
        C: DATA
        S: 354 go
        DATA
        S: 250 ok
        HOLD";
    let scripted = Scripted::start(&[transcript]).await;
    let submission = submission(&scripted, Security::Plain, Login::None);
    send(&submission).await.expect("sent");
    drop(submission);
    scripted.finish().await;
}

#[tokio::test]
async fn starttls_fails_closed() {
    for (transcript, words) in [
        ("S: 220 mx\nC~ EHLO\nS: 250 mx\nEOF", "does not offer STARTTLS"),
        ("S: 220 mx\nC~ EHLO\nS: 502 no\nC~ HELO\nS: 250 mx\nEOF", "does not offer STARTTLS"),
        (
            "S: 220 mx\nC~ EHLO\nS: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\n\
             S: 220 go\\r\\n250 injected\nEOF",
            "ahead of the TLS handshake",
        ),
        (
            "S: 220 mx\nC~ EHLO\nS: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 no\nEOF",
            "answered it with 454",
        ),
    ] {
        let scripted = Scripted::start(&[transcript]).await;
        let login = Login::Basic { login: Template::new("jane"), password: "hunter2".into() };
        let error = begin_failure(&submission(&scripted, Security::StartTls, login)).await;
        assert!(error.text.contains(words), "{}", error.text);
        assert_eq!(error.kind, Kind::Unavailable);
        scripted.finish().await;
    }
}

fn auth_hello(mechanisms: &str) -> String {
    format!(
        "S: 220 mx\nC: EHLO client.example\nS: 250-mx\nS: 250-AUTH {mechanisms}\nS: 250 PIPELINING"
    )
}

#[tokio::test]
async fn xoauth2_uses_the_form_that_fits_its_line() {
    let hello = auth_hello("LOGIN PLAIN XOAUTH2");
    let long = format!("token-1{}", "x".repeat(2000));
    for (padding, dialogue) in [
        (0, format!("C: AUTH XOAUTH2 {}", blob("token-1"))),
        (2000, format!("C: AUTH XOAUTH2\nS: 334 \nC: {}", blob(&long))),
    ] {
        let transcript =
            format!("{hello}\n{dialogue}\nS: 235 2.7.0 Accepted\n{START}\n{DATA}\nHOLD");
        let scripted = Scripted::start(&[&transcript]).await;
        let (_, login) = tokens(Tokens { padding, ..Tokens::default() });
        let submission = submission(&scripted, Security::Plain, login);
        send(&submission).await.expect("sent");
        drop(submission);
        scripted.finish().await;
    }
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_and_then_a_person_is_asked() {
    let refusal = format!(
        "{}\nC~ AUTH XOAUTH2 \nS: 334 eyJzdGF0dXMiOiI0MDAifQ==\nC:\n\
         S: 535 5.7.8 Username and Password not accepted\nC: QUIT\nS: 221 bye\nEOF",
        auth_hello("XOAUTH2")
    );
    let success = format!(
        "{}\nC: AUTH XOAUTH2 {}\nS: 235 ok\n{START}\n{DATA}\nHOLD",
        auth_hello("XOAUTH2"),
        blob("token-2")
    );
    let scripted = Scripted::start(&[&refusal, &success]).await;
    let (source, login) = tokens(Tokens::default());
    let submission_ = submission(&scripted, Security::Plain, login);
    send(&submission_).await.expect("sent");
    assert_eq!(*source.refused.lock().expect("not poisoned"), ["token-1"]);
    drop(submission_);
    scripted.finish().await;

    let scripted = Scripted::start(&[&refusal, &refusal]).await;
    let error =
        begin_failure(&submission(&scripted, Security::Plain, tokens(Tokens::default()).1)).await;
    assert_eq!(error.kind, Kind::SignInNeeded);
    assert!(error.text.contains("status 400"), "{}", error.text);
    assert!(!error.chain().contains("token-"), "{}", error.chain());
    assert_eq!(error.reply.map(|reply| reply.code), Some(454));
    scripted.finish().await;

    let scripted = Scripted::start(&[&refusal]).await;
    let (_, login) = tokens(Tokens { no_replacement: true, ..Tokens::default() });
    let error = begin_failure(&submission(&scripted, Security::Plain, login)).await;
    assert!(error.text.contains("the sign-in has expired"), "{}", error.text);
    scripted.finish().await;
}

#[tokio::test]
async fn refusals_that_a_new_token_cannot_mend_are_not_repeated() {
    for (answer, kind) in [
        ("535 5.7.139 SmtpClientAuthentication is disabled", Kind::SignInNeeded),
        ("454 4.7.0 Too many login attempts", Kind::Throttled { retry_after: None }),
    ] {
        let transcript =
            format!("{}\nC~ AUTH XOAUTH2\nS: {answer}\nC: QUIT", auth_hello("XOAUTH2"));
        let scripted = Scripted::start(&[&transcript]).await;
        let (source, login) = tokens(Tokens::default());
        let error = begin_failure(&submission(&scripted, Security::Plain, login)).await;
        assert_eq!(error.kind, kind);
        assert!(source.refused.lock().expect("not poisoned").is_empty());
        scripted.finish().await;
    }
}

#[tokio::test]
async fn passwords_go_by_plain_or_by_login() {
    for (mechanisms, dialogue) in [
        ("LOGIN PLAIN", "C: AUTH PLAIN AGphbmUAaHVudGVyMg=="),
        (
            "LOGIN",
            "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: amFuZQ==\nS: 334 UGFzc3dvcmQ6\nC: aHVudGVyMg==",
        ),
    ] {
        for (answer, end, accepted) in
            [("235 ok", "HOLD", true), ("535 5.7.8 no", "C: QUIT", false)]
        {
            let transcript = format!("{}\n{dialogue}\nS: {answer}\n{end}", auth_hello(mechanisms));
            let scripted = Scripted::start(&[&transcript]).await;
            let login =
                Login::Basic { login: Template::new("{login}"), password: "hunter2".into() };
            let submission = submission(&scripted, Security::Plain, login);
            match submission.begin(Some("jane"), from()).await {
                Ok(_) => assert!(accepted, "{mechanisms}"),
                Err(error) => {
                    assert!(!accepted, "{mechanisms}");
                    assert_eq!(error.kind, Kind::SignInNeeded);
                    assert!(!error.chain().contains("hunter2"));
                }
            }
            drop(submission);
            scripted.finish().await;
        }
    }
}

#[tokio::test]
async fn a_missing_mechanism_is_named() {
    let scripted = Scripted::start(&[&format!("{HELLO}\nC: QUIT")]).await;
    let login = tokens(Tokens::default()).1;
    let error = begin_failure(&submission(&scripted, Security::Plain, login)).await;
    assert!(error.text.contains("no login at all"), "{}", error.text);
    scripted.finish().await;
}

#[tokio::test]
async fn a_stale_kept_connection_is_replaced_silently() {
    let good = format!("{HELLO}\n{START}\n{DATA}");
    for end in ["", "C~ MAIL\nC~ RCPT\nS: 421 4.4.2 timeout", "C~ MAIL\nC~ RCPT"] {
        let first = format!("{good}\n{end}");
        let second = format!("{good}\nHOLD");
        let scripted = Scripted::start(&[&first, &second]).await;
        let submission = submission(&scripted, Security::Plain, Login::None);
        for _ in 0..2 {
            send(&submission).await.expect("sent");
        }
        drop(submission);
        assert_eq!(scripted.finish().await.len(), 2, "{end}");
    }
}

#[tokio::test]
async fn a_fresh_connection_that_fails_is_not_repeated() {
    let transcript = format!("{HELLO}\nC~ MAIL\nC~ RCPT\nS: 421 4.3.2 shutting down");
    let scripted = Scripted::start(&[&transcript]).await;
    let submission = submission(&scripted, Security::Plain, Login::None);
    let error = send(&submission).await.expect_err("refused");
    assert_eq!(error.kind, Kind::Unavailable);
    let reply = error.reply.expect("passed on");
    assert_eq!((reply.code, reply.enhanced), (451, (4, 3, 2)));
    scripted.finish().await;
}

#[tokio::test]
async fn refused_recipients_leave_the_others_and_the_next_message_begins_with_rset() {
    let transcript = format!(
        "{HELLO}
        C: MAIL FROM:<a@b.example>
        C: RCPT TO:<x@c.example>
        S: 250 ok
        S: 550 5.1.1 no such user
        C: RCPT TO:<y@c.example>
        S: 452 4.5.3 too many
        C: RSET
        C: MAIL FROM:<a@b.example>
        C: RCPT TO:<b@c.example>
        S: 250 reset
        S: 250 ok
        S: 250 ok
        {DATA}
        HOLD"
    );
    let scripted = Scripted::start(&[&transcript]).await;
    let submission = submission(&scripted, Security::Plain, Login::None);
    let mut transaction = submission.begin(None, from()).await.expect("open");
    let error = transaction.recipient(to("x@c.example")).await.expect_err("refused");
    assert_eq!((error.kind, error.reply.expect("reply").code), (Kind::NotFound, 550));
    let error = transaction.recipient(to("y@c.example")).await.expect_err("refused");
    assert_eq!((error.kind, error.reply.expect("reply").code), (Kind::Unavailable, 452));
    let message = Arc::new(Message::from_bytes(Bytes::from_static(MESSAGE)));
    let error = transaction.deliver(message).await.expect_err("nobody receives");
    assert_eq!(error.kind, Kind::Rejected);
    send(&submission).await.expect("sent");
    drop(submission);
    scripted.finish().await;
}

#[tokio::test]
async fn a_refused_sender_is_the_answer_to_every_recipient() {
    let transcript = format!(
        "{HELLO}\nC~ MAIL\nC~ RCPT\nS: 530 5.7.0 Authentication Required\nS: 503 5.5.1 MAIL first\n\
         HOLD"
    );
    let scripted = Scripted::start(&[&transcript]).await;
    let submission = submission(&scripted, Security::Plain, Login::None);
    let mut transaction = submission.begin(None, from()).await.expect("open");
    for _ in 0..2 {
        let error = transaction.recipient(to("x@c.example")).await.expect_err("refused");
        assert_eq!(error.kind, Kind::SignInNeeded);
        assert_eq!(error.reply.expect("reply").code, 454);
    }
    drop(transaction);
    drop(submission);
    scripted.finish().await;
}

#[tokio::test]
async fn after_the_dot_silence_is_an_unknown_outcome() {
    for end in ["", "HOLD", "S: junk\nHOLD", "S: 354 what\nHOLD"] {
        let transcript = format!("{HELLO}\n{START}\nC: DATA\nS: 354 go\nDATA\n{end}");
        let scripted = Scripted::start(&[&transcript]).await;
        let mut submission = submission(&scripted, Security::Plain, Login::None);
        submission.adjust(|sender| sender.timeouts.data_end = Duration::from_millis(100));
        let error = send(&submission).await.expect_err("unknown");
        assert_eq!(error.kind, Kind::OutcomeUnknown, "{end}: {}", error.text);
        assert_eq!(submission.sender.pool.unused(), 0);
        scripted.finish().await;
    }
}

/// The service vanishes after each step of a transaction: before it has all of the message nothing
/// was sent, after that nobody knows.
#[tokio::test]
async fn a_cut_is_an_unknown_outcome_from_the_last_octet_on_and_never_before() {
    let by_data = format!("{HELLO}\n{START}\nC: DATA\nS: 354 go\nDATA");
    let by_bdat = format!(
        "S: 220 mx\nC: EHLO client.example\nS: 250-mx\nS: 250-CHUNKING\nS: 250 PIPELINING\n{START}\n\
         C: BDAT {0} LAST\nN: {0}",
        ON_THE_WIRE.len()
    );
    for whole in [by_data, by_bdat] {
        let steps: Vec<&str> = whole.lines().collect();
        for played in 1..=steps.len() {
            // A message as small as this one is on its way before the cut can be seen.
            let last = steps[played - 1].trim_start();
            if last == "S: 354 go" || last.starts_with("C: BDAT") {
                continue;
            }
            let scripted = Scripted::start(&[&steps[..played].join("\n")]).await;
            let submission = submission(&scripted, Security::Plain, Login::None);
            let error = send(&submission).await.expect_err("cut");
            let expected = match played == steps.len() {
                true => Kind::OutcomeUnknown,
                false => Kind::Unavailable,
            };
            assert_eq!(error.kind, expected, "after {last}: {}", error.text);
            assert_eq!(submission.sender.pool.unused(), 0, "after {last}");
            scripted.finish().await;
        }
    }
}

#[tokio::test]
async fn refusals_of_the_message_pass_through() {
    for (answer, kind, code) in [
        ("S: 552 5.3.4 too big", Kind::TooLarge, 552),
        ("S: 451 4.3.0 later", Kind::Unavailable, 451),
        ("S: 421 4.7.0 try again later", Kind::Throttled { retry_after: None }, 451),
        ("S: 550-5.7.1 spam\nS: 550 5.7.1 really", Kind::NotPermitted, 550),
    ] {
        for begin in ["C: DATA", "C: DATA\nS: 354 go\nDATA"] {
            let transcript = format!("{HELLO}\n{START}\n{begin}\n{answer}\nHOLD");
            let scripted = Scripted::start(&[&transcript]).await;
            let submission = submission(&scripted, Security::Plain, Login::None);
            let error = send(&submission).await.expect_err("refused");
            assert_eq!((error.kind, error.reply.expect("reply").code), (kind, code), "{begin}");
            drop(submission);
            scripted.finish().await;
        }
    }
}

#[tokio::test]
async fn a_reset_in_the_middle_sends_nothing_and_is_temporary() {
    let transcript = format!("{HELLO}\n{START}\nC: DATA\nS: 354 go\nN: 1000");
    let scripted = Scripted::start(&[&transcript]).await;
    let submission = submission(&scripted, Security::Plain, Login::None);
    let message = [b"Subject: x\r\n\r\n".to_vec(), vec![b'x'; 16 << 20]].concat();
    let error = send_bytes(&submission, from(), message).await.expect_err("broken");
    assert_eq!(error.kind, Kind::Unavailable, "{}", error.text);
    assert_eq!(submission.sender.pool.unused(), 0);
    scripted.finish().await;
}

#[tokio::test]
async fn what_the_service_does_not_take_is_refused_before_it_is_sent() {
    let hello = "S: 220 mx\nC~ EHLO\nS: 250-mx\nS: 250-SIZE 20\nS: 250 PIPELINING\n";
    let large = ReversePath { declared_size: Some(21), ..from() };
    let utf8 = ReversePath { address: Address::parse("jürgen@b.example").ok(), ..from() };
    for (from, kind, code) in [(large, Kind::TooLarge, 552), (utf8, Kind::Unsupported, 550)] {
        let scripted = Scripted::start(&[&format!("{hello}HOLD")]).await;
        let submission = submission(&scripted, Security::Plain, Login::None);
        let error = submission.begin(None, from).await.err().expect("refused");
        assert_eq!((error.kind, error.reply.expect("reply").code), (kind, code));
        drop(submission);
        scripted.finish().await;
    }
    let eight_bit = ReversePath { body: BodyKind::EightBit, ..from() };
    for (content, accepted) in [("ä", false), ("a", true)] {
        let rest = if accepted { DATA } else { "" };
        let scripted = Scripted::start(&[&format!("{HELLO}\n{START}\n{rest}\nHOLD")]).await;
        let submission = submission(&scripted, Security::Plain, Login::None);
        let message = format!("A: b\r\n\r\n{content}\r\n").into_bytes();
        let outcome = send_bytes(&submission, eight_bit.clone(), message).await;
        assert_eq!(outcome.is_ok(), accepted);
        if let Err(error) = outcome {
            assert_eq!(error.reply.expect("reply").enhanced, (5, 6, 3));
        }
        drop(submission);
        scripted.finish().await;
    }
}

/// A transaction with one recipient accepted, whose client then does nothing for a while.
async fn slow_client(submission: &SmtpSubmission) -> Box<dyn Transaction> {
    let mut transaction = submission.begin(Some("jane"), from()).await.expect("open");
    transaction.recipient(to("b@c.example")).await.expect("accepted");
    transaction
}

async fn deliver(transaction: Box<dyn Transaction>) -> Result<Delivered, mail::Error> {
    transaction.deliver(Arc::new(Message::from_bytes(Bytes::from_static(MESSAGE)))).await
}

#[tokio::test]
async fn a_slow_client_loses_no_mail_when_the_service_has_closed_meanwhile() {
    for end in ["", "S: 421 4.4.2 Timeout - closing connection"] {
        let first = format!("{HELLO}\n{START}\n{end}");
        let second = format!("{HELLO}\n{START}\n{DATA}\nHOLD");
        let scripted = Scripted::start(&[&first, &second]).await;
        let submission = submission(&scripted, Security::Plain, Login::None);
        let transaction = slow_client(&submission).await;
        scripted.played(1).await;
        deliver(transaction).await.expect("sent");
        drop(submission);
        assert_eq!(scripted.finish().await, [STUFFED], "{end}");
    }
}

#[tokio::test]
async fn a_connection_that_was_lost_unnoticed_is_replaced_before_the_message() {
    let chunking = HELLO.replace("S: 250-mx", "S: 250-mx\nS: 250-CHUNKING");
    let bdat = format!("C: BDAT {0} LAST\nN: {0}\nS: 250 ok", ON_THE_WIRE.len());
    for (hello, probe, message, wire) in [
        (HELLO, "C: DATA", DATA, STUFFED),
        (HELLO, "C: DATA\nS: 421 4.4.2 too slow", DATA, STUFFED),
        (&chunking, "C: NOOP", &format!("C: NOOP\nS: 250 ok\n{bdat}"), ON_THE_WIRE),
        (&chunking, "C: NOOP\nS: 421 bye", &format!("C: NOOP\nS: 250 ok\n{bdat}"), ON_THE_WIRE),
    ] {
        let first = format!("{hello}\n{START}\n{probe}");
        let second = format!("{hello}\n{START}\n{message}\nHOLD");
        let scripted = Scripted::start(&[&first, &second]).await;
        let mut submission = submission(&scripted, Security::Plain, Login::None);
        submission.adjust(|sender| sender.timeouts.idle = Duration::ZERO);
        let transaction = slow_client(&submission).await;
        deliver(transaction).await.expect("sent");
        drop(submission);
        assert_eq!(scripted.finish().await, [wire], "{probe}");
    }
}

#[tokio::test]
async fn a_recipient_that_is_refused_the_second_time_stops_the_message() {
    let first = format!("{HELLO}\n{START}");
    let second = format!("{HELLO}\nC~ MAIL\nC~ RCPT\nS: 250 ok\nS: 550 5.1.1 gone\nHOLD");
    let scripted = Scripted::start(&[&first, &second]).await;
    let submission = submission(&scripted, Security::Plain, Login::None);
    let transaction = slow_client(&submission).await;
    scripted.played(1).await;
    let error = deliver(transaction).await.expect_err("not sent");
    assert_eq!(error.kind, Kind::Unavailable, "{}", error.text);
    drop(submission);
    scripted.finish().await;
}

#[tokio::test]
async fn a_slow_client_leaves_its_connection_to_others() {
    let begun_anew =
        format!("C: RSET\n{START}\n{DATA}").replace("S: 250 2.1.0", "S: 250 reset\nS: 250 2.1.0");
    let transcript = format!("{HELLO}\n{START}\n{begun_anew}\n{START}\n{DATA}\nHOLD");
    let scripted = Scripted::start(&[&transcript]).await;
    let mut submission = submission(&scripted, Security::Plain, Login::None);
    submission.adjust(|sender| sender.timeouts.hold = Duration::from_millis(20));
    let slow = slow_client(&submission).await;
    while submission.sender.pool.unused() == 0 {
        tokio::task::yield_now().await;
    }
    send(&submission).await.expect("sent over the same connection");
    deliver(slow).await.expect("sent as well");
    drop(submission);
    assert_eq!(scripted.finish().await, [STUFFED; 2]);
}

#[tokio::test]
async fn who_gets_no_connection_waits_for_one_that_comes_free() {
    let login = format!("{}\nC~ AUTH PLAIN", auth_hello("PLAIN"));
    let first = format!("{login}\nS: 235 ok\n{START}\n{DATA}\n{START}\n{DATA}\nHOLD");
    let refused = format!("{login}\nS: 432 4.3.2 Concurrent connections limit exceeded\nC: QUIT");
    let scripted = Scripted::start(&[&first, &refused]).await;
    let password = || Login::Basic { login: Template::new("jane"), password: "hunter2".into() };
    let busy = submission(&scripted, Security::Plain, password());
    let slow = slow_client(&busy).await;
    let (waiting, held) = tokio::join!(send(&busy), async {
        scripted.played(1).await;
        deliver(slow).await
    });
    waiting.expect("sent");
    held.expect("sent");
    // In the end the client hears why.
    let scripted = Scripted::start(&[&refused]).await;
    let mut submission = submission(&scripted, Security::Plain, password());
    submission.adjust(|sender| sender.timeouts.turn = Duration::ZERO);
    let error = begin_failure(&submission).await;
    assert_eq!(error.kind, Kind::Throttled { retry_after: None });
    assert_eq!(error.reply.expect("reply").enhanced, (4, 3, 2));
}

#[tokio::test]
async fn a_reply_that_nobody_waited_for_is_not_taken_for_the_next_one() {
    let first = format!("{HELLO}\n{START}\nC: RCPT TO:<x@c.example>\nC~ never\n");
    let second = format!(
        "{HELLO}\nC~ MAIL\nC: RCPT TO:<b@c.example>\nC: RCPT TO:<y@c.example>\nS: 250 ok\nS: 250 ok\n\
         S: 550 5.1.1 no\n{DATA}\nHOLD"
    );
    let scripted = Scripted::start(&[&first.replace("C~ never", "EOF"), &second]).await;
    let submission = submission(&scripted, Security::Plain, Login::None);
    let mut transaction = slow_client(&submission).await;
    let patience = Duration::from_millis(50);
    let given_up = tokio::time::timeout(patience, transaction.recipient(to("x@c.example"))).await;
    assert!(given_up.is_err(), "answered: {given_up:?}");
    let error = transaction.recipient(to("y@c.example")).await.expect_err("refused");
    assert_eq!(error.kind, Kind::NotFound);
    deliver(transaction).await.expect("sent");
    drop(submission);
    assert_eq!(scripted.finish().await, [STUFFED]);
}

#[tokio::test]
async fn an_early_refusal_is_heard_while_the_message_is_written() {
    for start in ["C: DATA\nS: 354 go", "C~ BDAT"] {
        let hello = match start {
            "C~ BDAT" => HELLO.replace("S: 250-mx", "S: 250-mx\nS: 250-CHUNKING"),
            _ => HELLO.to_owned(),
        };
        let transcript = format!("{hello}\n{START}\n{start}\nS: 552 5.3.4 too big\nWAIT");
        let scripted = Scripted::start(&[&transcript]).await;
        let submission = submission(&scripted, Security::Plain, Login::None);
        let message = [b"Subject: x\r\n\r\n".to_vec(), vec![b'x'; 32 << 20]].concat();
        let sending = send_bytes(&submission, from(), message);
        let error = tokio::time::timeout(Duration::from_secs(20), sending).await;
        let error = error.expect("in time").expect_err("refused");
        assert_eq!((error.kind, error.reply.expect("reply").code), (Kind::TooLarge, 552));
        assert_eq!(submission.sender.pool.unused(), 0);
    }
}

#[tokio::test]
async fn an_answer_to_data_that_is_neither_go_nor_no_ends_the_connection() {
    let transcript = format!("{HELLO}\n{START}\nC: DATA\nS: 250 what\nEOF");
    let scripted = Scripted::start(&[&transcript]).await;
    let submission = submission(&scripted, Security::Plain, Login::None);
    assert_eq!(send(&submission).await.expect_err("not sent").kind, Kind::Unavailable);
    assert_eq!(submission.sender.pool.unused(), 0);
    scripted.finish().await;
}

#[tokio::test]
async fn idle_connections_are_ended_with_quit() {
    let transcript = format!("{HELLO}\n{START}\n{DATA}\nC: QUIT\nS: 221 bye\nEOF");
    let scripted = Scripted::start(&[&transcript]).await;
    let mut submission = submission(&scripted, Security::Plain, Login::None);
    submission.adjust(|sender| {
        sender.pool = sender.pool.clone().with_idle(Duration::from_millis(50));
    });
    send(&submission).await.expect("sent");
    scripted.finish().await;
    assert_eq!(submission.sender.pool.unused(), 0);
}

#[tokio::test]
async fn silence_junk_and_floods_are_told_apart() {
    let long = format!("S: 220 {}\nHOLD", "x".repeat(5000));
    for (transcript, security, words) in [
        ("HOLD", Security::Plain, "TlsMode = Implicit"),
        ("", Security::Plain, "TlsMode = Implicit"),
        ("S: * OK IMAP4rev1\nHOLD", Security::Plain, "does not begin with a reply code"),
        ("S: 220-mx\nS: 250 x\nHOLD", Security::Plain, "different codes"),
        (long.as_str(), Security::Plain, "more than 4096 octets"),
        ("S: 554 go away\nHOLD", Security::Plain, "554 go away"),
        ("S: 220 mx ESMTP\nHOLD", Security::Implicit, "TlsMode = StartTls"),
    ] {
        let scripted = Scripted::start(&[transcript]).await;
        let mut submission = submission(&scripted, security, Login::None);
        submission.adjust(|sender| sender.timeouts.greeting = Duration::from_millis(200));
        let error = begin_failure(&submission).await;
        assert!(error.text.contains(words), "{transcript:.20}: {}", error.text);
        scripted.finish().await;
    }
}

#[tokio::test]
async fn nobody_listening_a_wrong_name_and_an_unknown_root_are_told_apart() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    let server = |name: &str, port| MailServer {
        host: Host { name: name.to_owned(), port },
        security: Security::Implicit,
        auth: ServerAuth::None,
    };
    let error = begin_failure(&with_server(&server("localhost", port), Login::None)).await;
    assert!(error.text.contains("refuses connections"), "{}", error.text);
    let error = begin_failure(&with_server(&server("no.such.invalid", 465), Login::None)).await;
    assert!(error.text.contains("cannot be resolved"), "{}", error.text);

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("bound").port();
    let folder = tempfile::tempdir().expect("temporary folder");
    let tls = crate::tls::ServerTls::self_signed(folder.path()).expect("made");
    let accepting = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("accepted");
        tls.accept(stream).await.is_err()
    });
    let mut submission = with_server(&server("localhost", port), Login::None);
    submission.adjust(|sender| sender.service.tls = strict_client_tls());
    let error = begin_failure(&submission).await;
    assert!(error.text.contains("Proxy.Upstream.CaPath"), "{}", error.text);
    assert!(accepting.await.expect("no panic"));
}

#[test]
fn ehlo_gets_a_domain_or_a_literal() {
    for (name, expected) in
        [("host.example", "host.example"), ("", "[127.0.0.1]"), ("my host\r\n", "[127.0.0.1]")]
    {
        assert_eq!(ehlo_name(name), expected);
    }
}
