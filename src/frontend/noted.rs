//! What sessions that read mail leave in the activity.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::attempts::References;
use super::connected::Connected;
use super::rehearsal::{Dialogue, Stage};
use super::stream::ClientStream;
use super::{imap, pop3};
use crate::mail::{Error, Kind, SessionId};
use crate::telemetry::activity::{Activity, ClientRow, LiveSession, Opening, Snapshot};

fn snapshot(stage: &Stage) -> Snapshot {
    stage.context.activity.snapshot()
}

/// The clients seen, once there are some: refusals are noted in their own time.
async fn seen(stage: &Stage) -> Vec<ClientRow> {
    let looking = async {
        loop {
            match snapshot(stage).clients {
                clients if clients.is_empty() => tokio::task::yield_now().await,
                clients => return clients,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), looking).await.expect("noted in time")
}

fn live(activity: &Arc<Activity>) -> Arc<LiveSession> {
    let address = "127.0.0.1:9".parse().expect("an address");
    let id = SessionId::random().to_string();
    let opening = Opening { id, protocol: "IMAP", tls: false, address };
    Arc::new(activity.open(opening))
}

#[tokio::test]
async fn an_imap_relay_shows_while_it_runs() {
    let stage = Stage::new("IMAP4rev1", "", None);
    let mut client = stage.connect(imap::serve, None).await;
    client.line().await;
    assert_eq!(snapshot(&stage).sessions[0].protocol, "IMAP");
    client.say("a ID (\"name\" \"Mutt\" \"version\" \"2.2\")\r\n").await;
    (client.line().await, client.line().await);
    client.say("b LOGIN ERP \"pass word\"\r\n").await;
    let (_, _, mut service) = stage.opened().await;
    client.line().await;
    client.say("c NOOP\r\n").await;
    service.hear("c NOOP\r\n").await;
    service.say("* 1 EXISTS\r\nc OK\r\n").await;
    client.hear("* 1 EXISTS\r\nc OK\r\n").await;
    let Snapshot { sessions, clients, roles, history } = snapshot(&stage);
    let row = &sessions[0];
    assert_eq!((row.login.as_deref(), row.role.as_deref()), (Some("erp"), Some("Mail.Receiving")));
    assert_eq!((row.to_client, row.from_client), (18, 8));
    assert_eq!(row.program.as_deref(), Some("Mutt 2.2"));
    assert_eq!((clients[0].mechanism, clients[0].program.as_deref()), ("LOGIN", Some("Mutt 2.2")));
    assert_eq!((roles[0].opened, roles[0].octets), (1, 26));
    let opened = history.iter().filter(|point| point.opened == 1 && point.median.is_some());
    assert_eq!(opened.count(), 1);
    drop(service);
    client.rest().await;
    drop(client);
    let ending = async {
        while !snapshot(&stage).sessions.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ending).await.expect("ends");
}

#[tokio::test]
async fn a_program_that_tells_its_name_after_the_login() {
    let stage = Stage::new("IMAP4rev1", "", None);
    let mut client = stage.connect(imap::serve, None).await;
    client.line().await;
    client.say("b LOGIN erp \"pass word\"\r\n").await;
    let (_, _, mut service) = stage.opened().await;
    client.line().await;
    let id = "c ID (\"name\" \"Thunderbird\")\r\n";
    client.say(id).await;
    service.hear(id).await;
    assert_eq!(snapshot(&stage).sessions[0].program.as_deref(), Some("Thunderbird"));
}

#[tokio::test]
async fn a_pop3_session_that_starts_tls() {
    let stage = Stage::new("UIDL", "", None);
    let mut client = stage.connect(pop3::serve, None).await;
    client.line().await;
    client.transcript(&[("STLS\r\n", "+OK begin TLS negotiation\r\n")]).await;
    let stream = stage.client_tls().connect("localhost", client.0).await.expect("handshake");
    let mut client = Dialogue::new(stream);
    client.transcript(&[("USER erp\r\n", "+OK send the password\r\n")]).await;
    client.say("PASS pass word\r\n").await;
    let (_, _, _service) = stage.opened().await;
    client.line().await;
    let Snapshot { sessions, clients, .. } = snapshot(&stage);
    assert_eq!((sessions[0].protocol, sessions[0].tls), ("POP3", true));
    let row = &clients[0];
    assert_eq!((row.mechanism, row.tls, row.known, row.logins), ("USER", true, true, 1));
}

#[tokio::test]
async fn refused_logins_are_noted_whether_they_are_known_or_not() {
    for (login, known) in [("erp", true), ("nobody", false)] {
        let stage = Stage::new("", "", None);
        let mut client = stage.connect(imap::serve, None).await;
        client.line().await;
        client.say(&format!("a LOGIN {login} wrong\r\n")).await;
        client.hear("a NO [AUTHENTICATIONFAILED] wrong login or password\r\n").await;
        let rows = seen(&stage).await;
        let row = &rows[0];
        assert_eq!((row.login.as_str(), row.known, row.refusals), (login, known, 1));
        assert_eq!((rows.len(), row.logins), (1, 0));
        assert_eq!(snapshot(&stage).roles, [], "no role is to blame");
    }
}

#[tokio::test]
async fn a_service_that_fails_is_noted_under_the_reference_that_the_client_heard() {
    for (login, role) in [("erp", "Mail.Receiving"), ("lost", "Mail.Lost")] {
        let stage = Stage::new("", "", Some(Kind::Unavailable));
        let mut client = stage.connect(pop3::serve, None).await;
        client.line().await;
        client.transcript(&[(&format!("USER {login}\r\n"), "+OK send the password\r\n")]).await;
        client.say("PASS pass word\r\n").await;
        let heard = client.line().await;
        let Snapshot { clients, roles, .. } = snapshot(&stage);
        let (_, reference, _) = roles[0].last_failure.as_ref().expect("noted");
        assert!(heard.contains(&format!("(ref {reference})")), "{heard}: {reference}");
        assert_eq!((roles[0].role.as_str(), roles[0].opened, roles[0].failures), (role, 0, 1));
        assert_eq!((clients[0].known, clients[0].logins, clients[0].refusals), (true, 0, 1));
    }
}

#[test]
fn what_does_not_exist_is_no_failure_of_the_role() {
    let activity = Activity::new();
    let mut references =
        References::new(SessionId::random()).noting(&live(&activity), "Mail.Receiving");
    for (kind, failures) in [
        (Kind::NotFound, 0),
        (Kind::AlreadyExists, 0),
        (Kind::Unavailable, 1),
        (Kind::Throttled { retry_after: None }, 2),
    ] {
        let reference = references.report(&Error::new(kind, "the cause")).to_string();
        let roles = activity.snapshot().roles;
        assert_eq!(roles.first().map_or(0, |role| role.failures), failures, "{kind:?}");
        if failures > 0 {
            let (_, noted, text) = roles[0].last_failure.as_ref().expect("noted");
            assert_eq!((noted, text.as_str()), (&reference, "the cause"));
        }
    }
}

#[tokio::test]
async fn octets_of_a_mailbox_that_we_serve_are_noted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("address");
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (mut client, stream) = (near.expect("connected"), far.expect("accepted").0);
    let (activity, idle) = (Activity::new(), Duration::from_secs(60));
    let live = live(&activity);
    let stream = ClientStream::Plain(stream);
    let mut talk =
        Connected::new(stream, Bytes::new(), idle, CancellationToken::new()).noting(Some(&live));
    talk.push("* 1 EXISTS\r\n");
    client.write_all(b"a NOOP\r\n").await.expect("written");
    while talk.input().len() < 8 {
        talk.fill().await.expect("more");
    }
    let mut heard = [0; 12];
    client.read_exact(&mut heard).await.expect("read");
    let row = activity.snapshot().sessions.remove(0);
    assert_eq!((row.to_client, row.from_client), (12, 8));
}
