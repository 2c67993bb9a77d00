//! How sessions end: clients that vanish, patience, stopping.

use super::*;

const DATA: &str = "C: MAIL FROM:<jane@example.com>
                    C: RCPT TO:<a@example.com>
                    C: DATA
                    S: 250 2.1.0 Ok
                    S: 250 2.1.5 Ok
                    S: 354 ...";

#[tokio::test]
async fn a_client_that_vanishes_has_sent_nothing() {
    for begun in [
        "C: Subject: x\nC:\nC: half a mess\\",
        "C: Subject: x\nC:\nC: all but the dot",
        "C: Subject: x\nC:\nC: text\nC: .\\",
        "C: Subject: x\nC:\nC: text\nC: .\\r\\",
    ] {
        let mut talk = Setup::default().jane().await;
        talk.say(DATA).await;
        talk.say(begun).await;
        let (role, messages) = talk.vanish().await;
        assert_eq!(role.sent(), [], "{begun}");
        assert_eq!(messages.used(), 0);
        timeout(PATIENCE, role.dropped.notified()).await.expect("the transaction is dropped");
    }
    let mut talk = Setup::default().jane().await;
    talk.say(
        "C: MAIL FROM:<jane@example.com>
         C: RCPT TO:<a@example.com>
         C: BDAT 4
         C: a\\r\\n\\
         S: 250 2.1.0 Ok
         S: 250 2.1.5 Ok",
    )
    .await;
    let (role, _) = talk.vanish().await;
    assert_eq!(role.sent(), []);
}

#[tokio::test]
async fn a_silent_client_is_told_and_cut() {
    let limits = Limits { idle_timeout: Duration::from_millis(30), ..Setup::default().limits };
    let mut talk = Setup { limits, ..Setup::default() }.connect().await;
    talk.say("S: 220 ...\nS: 421 4.4.2 Timeout; closing\nS: (closed)").await;
    timeout(PATIENCE, talk.session).await.expect("ends").expect("no panic");
}

#[tokio::test]
async fn a_client_that_drips_is_cut_all_the_same() {
    let limits = Limits { idle_timeout: Duration::from_millis(100), ..Setup::default().limits };
    let talk = Setup { limits, ..Setup::default() }.connect().await;
    let (mut reader, mut writer) = tokio::io::split(talk.client.into_inner());
    let drip = async {
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        loop {
            pace.tick().await;
            if writer.write_all(b"N").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let heard = async {
        let mut text = Vec::new();
        // The connection may end in a reset, as the client still sends.
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut text).await;
        String::from_utf8_lossy(&text).into_owned()
    };
    let text = timeout(PATIENCE, async {
        tokio::select! {
            text = heard => text,
            () = drip => unreachable!("dripping never ends"),
        }
    });
    let text = text.await.expect("cut in time");
    assert!(text.ends_with("421 4.4.2 Timeout; closing\r\n"), "{text}");
}

#[tokio::test]
async fn a_web_page_gets_nowhere() {
    let mut talk = Setup { anonymous: Some("127.0.0.0/8"), ..Setup::default() }.connect().await;
    talk.say(
        "C: POST / HTTP/1.1
         C: Host: localhost
         C:
         C: HELO x
         C: MAIL FROM:<a@b>
         S: 220 ...
         S: 554 5.5.1 ...
         S: (closed)",
    )
    .await;
}

#[tokio::test]
async fn nonsense_without_end_is_cut() {
    let mut talk = Setup::default().connect().await;
    talk.say("S: 220 ...").await;
    for _ in 0..30 {
        talk.say("C: nonsense\nS: 500 5.5.1 ...").await;
    }
    talk.say("S: 421 4.7.0 Too many errors; closing\nS: (closed)").await;
}

#[tokio::test]
async fn stopping_ends_idle_sessions_at_once() {
    let mut fresh = Setup::default().connect().await;
    fresh.say("S: 220 ...").await;
    let mut idle = Setup::default().jane().await;
    let mut in_envelope = Setup::default().jane().await;
    in_envelope.say("C: MAIL FROM:<jane@example.com>\nS: 250 2.1.0 Ok").await;
    let mut in_auth = Setup::default().connect().await;
    in_auth.say("S: 220 ...\nC: HELO x\nS: 250 ...\nC: AUTH LOGIN\nS: 334 ...").await;
    for talk in [&mut fresh, &mut idle, &mut in_envelope, &mut in_auth] {
        talk.stopping.cancel();
        talk.say("S: 421 4.3.2 authbridge is stopping\nS: (closed)").await;
    }
}

#[tokio::test]
async fn stopping_waits_for_a_message_that_is_coming_in() {
    let mut talk = Setup::default().jane().await;
    talk.say(DATA).await;
    talk.say("C: Subject: x\nC:").await;
    talk.stopping.cancel();
    talk.say(
        "C: text
         C: .
         S: 250 2.0.0 Ok: queued as 1
         S: 421 4.3.2 authbridge is stopping
         S: (closed)",
    )
    .await;
    assert_eq!(talk.role.only().content(), "text\r\n");
}

#[tokio::test]
async fn stopping_waits_between_chunks_and_while_delivering() {
    let setup = Setup::default();
    let hold = Arc::new(Notify::new());
    setup.role.faults.lock().expect("no panic").hold = Some(Arc::clone(&hold));
    let mut talk = setup.jane().await;
    talk.say(
        "C: MAIL FROM:<jane@example.com>
         C: RCPT TO:<a@example.com>
         C: BDAT 6
         C: text
         S: 250 2.1.0 Ok
         S: 250 2.1.5 Ok
         S: 250 2.0.0 6 octets received",
    )
    .await;
    talk.stopping.cancel();
    talk.say("C: BDAT 0 LAST").await;
    timeout(PATIENCE, talk.role.delivering.notified()).await.expect("delivery begins");
    assert!(!talk.session.is_finished());
    hold.notify_one();
    talk.say("S: 250 2.0.0 Ok: queued as 1\nS: 421 4.3.2 ...\nS: (closed)").await;
    assert_eq!(talk.role.only().content(), "text\r\n");
}

#[tokio::test]
async fn an_upstream_that_hangs_is_an_unknown_outcome() {
    let setup = Setup::default();
    setup.role.faults.lock().expect("no panic").hold = Some(Arc::new(Notify::new()));
    let mut talk = setup.jane().await;
    talk.say(DATA).await;
    talk.say("C: Subject: x\nC:\nC: text\nC: .").await;
    timeout(PATIENCE, talk.role.delivering.notified()).await.expect("delivery begins");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(571)).await;
    tokio::time::resume();
    talk.say("S: 451 4.4.2 ...\nC: NOOP\nS: 250 2.0.0 Ok").await;
    assert_eq!(talk.role.sent(), []);
}

#[tokio::test]
async fn an_idle_session_costs_little() {
    let setup = Setup::default();
    let (role, limits) = (Arc::new(setup.role), setup.limits);
    let context = context(&role, &setup.roles, limits, None, None);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let stream = TcpStream::connect(address).await.expect("connected");
    let peer = Peer { address, local: address, session: SessionId::random() };
    let session = serve(Arc::new(context), peer, ClientStream::Plain(stream));
    let octets = size_of_val(&session);
    assert!(octets < 8 << 10, "{octets}");
}

/// Where a test's log goes.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_has_the_cause_under_the_clients_reference_and_no_secret() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let setup = Setup::default();
    setup.role.faults.lock().expect("no panic").deliver = Some(|| {
        Error::new(Kind::Unavailable, "smtp.example.com is down")
            .with_source(std::io::Error::other("connection refused"))
    });
    let mut talk = setup.jane().await;
    talk.say(DATA).await;
    talk.say("C: Subject: confidential\nC:\nC: the text\nC: .").await;
    let answer = talk.hear().await;
    let reference = answer.split("(ref ").nth(1).and_then(|rest| rest.strip_suffix(')'));
    talk.role.faults.lock().expect("no panic").deliver = None;
    talk.say(DATA).await;
    talk.say("C: .\nS: 250 2.0.0 Ok: queued as 1").await;
    let log = String::from_utf8(lines.0.lock().expect("no panic").clone()).expect("UTF-8");
    for expected in [
        reference.expect("a reference"),
        "smtp.example.com is down: connection refused",
        "message sent",
        "queued as 1",
        "jane@example.com",
        "Mail.Sending",
    ] {
        assert!(log.contains(expected), "{expected} is missing in {log}");
    }
    for hidden in ["secret", "c2VjcmV0", "AGphbmV", "confidential", "the text"] {
        assert!(!log.contains(hidden), "{hidden} is in {log}");
    }
}
