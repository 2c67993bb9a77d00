//! EHLO, AUTH, STARTTLS.

use super::*;

#[tokio::test]
async fn ehlo_offers_what_works_here() {
    let role = Role { features: Features { max_size: Some(1000), dsn: true }, ..Role::default() };
    let mut talk = Setup { role, ..Setup::default() }.connect().await;
    talk.say(
        "S: 220 mail.local ESMTP authbridge
         C: ehlo
         S: 250-mail.local
         S: 250-PIPELINING
         S: 250-SIZE 1000
         S: 250-8BITMIME
         S: 250-SMTPUTF8
         S: 250-ENHANCEDSTATUSCODES
         S: 250-CHUNKING
         S: 250-DSN
         S: 250-AUTH PLAIN LOGIN
         S: 250-AUTH=PLAIN LOGIN
         S: 250 STARTTLS
         C: MAIL FROM:<jane@example.com>
         S: 530 5.7.0 Authentication required
         C: QUIT
         S: 221 2.0.0 Bye
         S: (closed)",
    )
    .await;
}

#[tokio::test]
async fn auth_in_all_its_forms() {
    for exchange in [
        "C: AUTH PLAIN AGphbmVAZXhhbXBsZS5jb20Ac2VjcmV0",
        "C: auth plain amFuZUBleGFtcGxlLmNvbQBqYW5lQGV4YW1wbGUuY29tAHNlY3JldA==",
        "C: AUTH PLAIN\nS: 334 ...\nC: AGphbmVAZXhhbXBsZS5jb20Ac2VjcmV0",
        "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: amFuZUBleGFtcGxlLmNvbQ==\n\
         S: 334 UGFzc3dvcmQ6\nC: c2VjcmV0",
        "C: AUTH LOGIN amFuZUBleGFtcGxlLmNvbQ==\nS: 334 UGFzc3dvcmQ6\nC: c2VjcmV0",
    ] {
        let mut talk = Setup::default().connect().await;
        talk.say("S: 220 ...\nC: HELO x\nS: 250 mail.local").await;
        talk.say(exchange).await;
        talk.say(
            "S: 235 2.7.0 Authentication successful
             C: AUTH PLAIN AGphbmVAZXhhbXBsZS5jb20Ac2VjcmV0
             S: 503 5.5.1 Already authenticated
             C: EHLO x
             S: 250-mail.local
             S: 250-PIPELINING
             S: 250-SIZE 1048576
             S: 250-8BITMIME
             S: 250-SMTPUTF8
             S: 250-ENHANCEDSTATUSCODES
             S: 250-CHUNKING
             S: 250 STARTTLS
             C: MAIL FROM:<jane@example.com>
             S: 250 2.1.0 Ok
             C: AUTH PLAIN
             S: 503 5.5.1 Not while a message is being sent",
        )
        .await;
    }
}

#[tokio::test]
async fn auth_that_goes_wrong() {
    let mut talk = Setup::default().connect().await;
    talk.say(
        "S: 220 ...
         C: AUTH PLAIN AGphbmVAZXhhbXBsZS5jb20Ac2VjcmV0
         S: 503 5.5.1 Say EHLO or HELO first
         C: HELO x
         S: 250 mail.local
         C: AUTH CRAM-MD5
         S: 504 5.5.4 Unknown mechanism
         C: AUTH PLAIN
         S: 334 ...
         C: *
         S: 501 5.0.0 Authentication cancelled
         C: AUTH LOGIN
         S: 334 VXNlcm5hbWU6
         C: amFuZUBleGFtcGxlLmNvbQ==
         S: 334 UGFzc3dvcmQ6
         C: *
         S: 501 5.0.0 Authentication cancelled
         C: AUTH PLAIN not,base64
         S: 501 5.5.2 The response is not valid base64
         C: AUTH LOGIN
         S: 334 VXNlcm5hbWU6
         C: amFu\\nZQ==
         S: 500 5.5.2 ...
         S: 500 5.5.2 ...
         C: AUTH PLAIN =
         S: 535 5.7.8 Authentication credentials invalid
         C: AUTH LOGIN =
         S: 334 UGFzc3dvcmQ6
         C: c2VjcmV0
         S: 535 5.7.8 Authentication credentials invalid
         C: AUTH PLAIN AGphbmVAZXhhbXBsZS5jb20Ad3Jvbmc=
         S: 535 5.7.8 Authentication credentials invalid
         C: MAIL FROM:<jane@example.com>
         S: 530 5.7.0 Authentication required",
    )
    .await;
}

#[tokio::test]
async fn guessing_ends_the_session() {
    let mut talk = Setup::default().connect().await;
    talk.say("S: 220 ...\nC: HELO x\nS: 250 mail.local").await;
    for _ in 0..10 {
        talk.say("C: AUTH PLAIN AGphbmVAZXhhbXBsZS5jb20Ad3Jvbmc=\nS: 535 5.7.8 ...").await;
    }
    talk.say("S: 421 4.7.0 Too many failed logins; closing\nS: (closed)").await;
}

#[tokio::test]
async fn no_password_off_loopback_before_tls() {
    let setup = Setup { client: "192.0.2.7:50000", ..Setup::default() };
    let mut talk = setup.connect().await;
    talk.say(
        "S: 220 ...
         C: EHLO x
         S: 250-mail.local
         S: 250-PIPELINING
         S: 250-SIZE 1048576
         S: 250-8BITMIME
         S: 250-SMTPUTF8
         S: 250-ENHANCEDSTATUSCODES
         S: 250-CHUNKING
         S: 250 STARTTLS
         C: AUTH PLAIN AGphbmVAZXhhbXBsZS5jb20Ac2VjcmV0
         S: 538 5.7.11 ...
         C: STARTTLS
         S: 220 2.0.0 Ready to start TLS",
    )
    .await;
    let mut talk = talk.start_tls().await;
    talk.say(
        "C: MAIL FROM:<jane@example.com>
         S: 503 5.5.1 Say EHLO or HELO first
         C: EHLO x
         S: 250-mail.local
         S: 250-PIPELINING
         S: 250-SIZE 1048576
         S: 250-8BITMIME
         S: 250-SMTPUTF8
         S: 250-ENHANCEDSTATUSCODES
         S: 250-CHUNKING
         S: 250-AUTH PLAIN LOGIN
         S: 250 AUTH=PLAIN LOGIN
         C: STARTTLS
         S: 503 5.5.1 TLS is active already
         C: AUTH PLAIN AGphbmVAZXhhbXBsZS5jb20Ac2VjcmV0
         S: 235 2.7.0 ...
         C: QUIT
         S: 221 2.0.0 Bye
         S: (closed)",
    )
    .await;
}

#[tokio::test]
async fn nothing_said_before_tls_counts_after_it() {
    let mut talk = Setup::default().jane().await;
    // One write, so that the session has read what follows STARTTLS when it answers.
    talk.say(
        "C: STARTTLS
         C: EHLO injected
         C: MAIL FROM:<ceo@example.com>
         S: 220 2.0.0 Ready to start TLS",
    )
    .await;
    let mut talk = talk.start_tls().await;
    talk.say(
        "C: NOOP
         S: 250 2.0.0 Ok
         C: MAIL FROM:<jane@example.com>
         S: 503 5.5.1 Say EHLO or HELO first
         C: HELO x
         S: 250 mail.local
         C: MAIL FROM:<jane@example.com>
         S: 530 5.7.0 Authentication required",
    )
    .await;
}

#[tokio::test]
async fn an_anonymous_network_sends_without_a_login_and_others_do_not() {
    let anonymous = Some("192.0.2.0/24");
    let trusted = Setup { client: "[::ffff:192.0.2.7]:50000", anonymous, ..Setup::default() };
    let mut talk = trusted.connect().await;
    talk.say(
        "S: 220 ...
         C: HELO old-device
         S: 250 mail.local
         C: MAIL FROM: device@example.com
         S: 250 2.1.0 Ok
         C: RCPT TO: jane@example.com
         S: 250 2.1.5 Ok
         C: DATA
         S: 354 ...
         C: hello
         C: .
         S: 250 2.0.0 Ok: queued as 1",
    )
    .await;
    let sent = talk.role.only();
    assert_eq!((sent.login.as_deref(), sent.addresses()), (None, vec!["jane@example.com"]));
    let stranger = Setup { client: "198.51.100.7:50000", anonymous, ..Setup::default() };
    let mut talk = stranger.connect().await;
    talk.say(
        "S: 220 ...
         C: HELO x
         S: 250 mail.local
         C: MAIL FROM:<device@example.com>
         S: 530 5.7.0 Authentication required",
    )
    .await;
}
