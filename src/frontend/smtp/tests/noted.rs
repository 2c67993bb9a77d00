//! What a session leaves in the activity.

use super::*;
use crate::telemetry::activity::{Activity, ClientRow};

/// The clients seen, once `login` is among them: refusals are noted in their own time.
async fn seen(activity: &Arc<Activity>, login: &str) -> ClientRow {
    let looking = async {
        loop {
            let clients = activity.snapshot().clients;
            if let Some(row) = clients.into_iter().find(|row| row.login == login) {
                return row;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, looking).await.expect("noted in time")
}

#[tokio::test]
async fn a_message_and_who_sent_it() {
    let mut talk = Setup::default().jane().await;
    let row = talk.activity.snapshot().sessions.remove(0);
    assert_eq!(
        (row.protocol, row.tls, row.login.as_deref()),
        ("SMTP", false, Some("jane@example.com"))
    );
    assert_eq!((row.role.as_deref(), row.program.as_deref()), (Some("Mail.Sending"), Some("here")));
    talk.say(
        "C: MAIL FROM:<jane@example.com>
         C: RCPT TO:<a@b>
         C: DATA
         S: 250 2.1.0 Ok
         S: 250 2.1.5 Ok
         S: 354 ...
         C: X-Mailer: ERP mailer 7
         C: Subject: s
         C:
         C: text
         C: .
         S: 250 2.0.0 Ok: queued as 1",
    )
    .await;
    let snapshot = talk.activity.snapshot();
    let (session, client, role) = (&snapshot.sessions[0], &snapshot.clients[0], &snapshot.roles[0]);
    assert_eq!((session.messages, session.program.as_deref()), (1, Some("ERP mailer 7")));
    assert!(session.from_client > 40, "{session:?}");
    assert_eq!((client.mechanism, client.logins, client.messages), ("PLAIN", 1, 1));
    assert_eq!(client.program.as_deref(), Some("ERP mailer 7"));
    assert_eq!((role.role.as_str(), role.sent, role.failures), ("Mail.Sending", 1, 0));
    assert_eq!(role.octets, session.from_client);
    let activity = Arc::clone(&talk.activity);
    talk.vanish().await;
    assert_eq!(activity.snapshot().sessions, []);
}

#[tokio::test]
async fn tls_that_is_started_later() {
    let mut talk = Setup::default().connect().await;
    talk.say("S: 220 ...\nC: STARTTLS\nS: 220 2.0.0 ...").await;
    let mut talk = talk.start_tls().await;
    talk.say("C: HELO x\nS: 250 mail.local").await;
    assert!(talk.activity.snapshot().sessions[0].tls);
}

#[tokio::test]
async fn known_and_unknown_logins_hear_the_same_and_are_noted_apart() {
    let mut talk = Setup::default().connect().await;
    talk.say(
        "S: 220 ...
         C: HELO x
         S: 250 mail.local
         C: AUTH PLAIN AEphbmVAZXhhbXBsZS5jb20Ad3Jvbmc=
         S: 535 5.7.8 Authentication credentials invalid
         C: AUTH LOGIN Z2hvc3Q=
         S: 334 UGFzc3dvcmQ6
         C: eA==
         S: 535 5.7.8 Authentication credentials invalid
         C: AUTH PLAIN AAAA
         S: 535 5.7.8 Authentication credentials invalid",
    )
    .await;
    for (login, known, mechanism) in
        [("Jane@example.com", true, "PLAIN"), ("ghost", false, "LOGIN"), ("", false, "PLAIN")]
    {
        let row = seen(&talk.activity, login).await;
        assert_eq!((row.known, row.mechanism), (known, mechanism), "{login}");
        assert_eq!((row.logins, row.refusals), (0, 1), "{login}");
    }
    assert_eq!(talk.activity.snapshot().sessions[0].login, None);
}

#[tokio::test]
async fn a_failure_is_noted_under_the_reference_that_the_client_heard() {
    let setup = Setup::default();
    let down = || Error::new(Kind::Unavailable, "smtp.example.com is down");
    setup.role.faults.lock().expect("no panic").begin = Some(down);
    let mut talk = setup.jane().await;
    talk.send(b"MAIL FROM:<jane@example.com>\r\n").await;
    let heard = talk.hear().await;
    let role = talk.activity.snapshot().roles.remove(0);
    let (_, reference, text) = role.last_failure.expect("noted");
    assert!(heard.contains(&format!("(ref {reference})")), "{heard}: {reference}");
    assert_eq!((text.as_str(), role.failures, role.sent), ("smtp.example.com is down", 1, 0));
}

#[tokio::test]
async fn a_network_that_needs_no_login() {
    let setup = Setup { anonymous: Some("127.0.0.0/8"), ..Setup::default() };
    let mut talk = setup.connect().await;
    talk.say("S: 220 ...\nC: HELO printer\nS: 250 mail.local").await;
    assert_eq!(talk.activity.snapshot().clients, [], "it has not sent anything");
    talk.say("C: MAIL FROM:<a@b>\nS: 250 2.1.0 Ok\nC: RSET\nS: 250 ...").await;
    talk.say("C: MAIL FROM:<a@b>\nS: 250 2.1.0 Ok").await;
    let clients = talk.activity.snapshot().clients;
    let row = &clients[0];
    assert_eq!((clients.len(), row.login.as_str(), row.mechanism), (1, "", "none"));
    assert_eq!((row.logins, row.program.as_deref()), (1, Some("printer")));
}

#[tokio::test]
async fn what_is_only_written_down_is_not_counted_as_sent() {
    let role = Role { queues: true, ..Role::default() };
    let mut talk = Setup { role, ..Setup::default() }.jane().await;
    talk.say(
        "C: MAIL FROM:<jane@example.com>
         C: RCPT TO:<a@b>
         C: DATA
         S: 250 2.1.0 Ok
         S: 250 2.1.5 Ok
         S: 354 ...
         C: text
         C: .
         S: 250 2.0.0 Ok: queued as 1",
    )
    .await;
    let snapshot = talk.activity.snapshot();
    let (session, client, role) = (&snapshot.sessions[0], &snapshot.clients[0], &snapshot.roles[0]);
    assert_eq!((session.messages, client.messages, role.sent), (1, 1, 0));
    assert_eq!(role.octets, session.from_client);
    talk.activity.sent_later("Mail.Sending", Duration::from_millis(1));
    let role = talk.activity.snapshot().roles.remove(0);
    assert_eq!((role.sent, role.octets), (1, session.from_client));
}
