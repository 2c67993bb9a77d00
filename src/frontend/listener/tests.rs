//! Listeners with real sockets.

use super::*;
use crate::frontend::rehearsal::{Dialogue, Stage};

const GRACE: Duration = Duration::from_secs(10);

struct Running {
    stage: Stage,
    bound: Vec<Bound>,
    sessions: Sessions,
    /// Kept, so that contexts can still come.
    contexts: watch::Sender<Arc<Context>>,
}

fn start() -> Running {
    let stage = Stage::new("IMAP4rev1", "", None);
    let any: Vec<SocketAddr> = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let listen = Listen { imap: any.clone(), imaps: any.clone(), pop3: any, ..Listen::default() };
    let listeners = Listeners::bind(&listen).expect("bound");
    let bound = listeners.bound().to_vec();
    let (contexts, receiver) = watch::channel(Arc::clone(&stage.context));
    let sessions = listeners.serve(receiver, stage.context.stopping.clone());
    Running { stage, bound, sessions, contexts }
}

impl Running {
    async fn connect(&self, protocol: Protocol, tls: bool) -> Dialogue<TcpStream> {
        let mut all = self.bound.iter();
        let bound = all.find(|bound| bound.protocol == protocol && bound.tls == tls);
        let address = bound.expect("bound").address;
        Dialogue::new(TcpStream::connect(address).await.expect("connected"))
    }

    async fn greeted(&self, protocol: Protocol) -> Dialogue<TcpStream> {
        let mut client = self.connect(protocol, false).await;
        let line = client.line().await;
        assert!(line.contains("authbridge ready"), "{line}");
        client
    }
}

#[tokio::test]
async fn each_protocol_is_spoken_where_it_belongs() {
    let running = start();
    running.greeted(Protocol::Imap).await;
    running.greeted(Protocol::Pop3).await;
    let bare = running.connect(Protocol::Imap, true).await;
    let tls = running.stage.client_tls();
    let mut client = Dialogue::new(tls.connect("localhost", bare.0).await.expect("handshake"));
    let line = client.line().await;
    assert!(line.contains("AUTH=PLAIN") && !line.contains("STARTTLS"), "{line}");
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_so_and_places_come_back() {
    let running = start();
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(running.greeted(Protocol::Imap).await);
    }
    assert_eq!(running.sessions.count(), 3);
    let refused = running.connect(Protocol::Imap, false).await.rest().await;
    assert_eq!(refused, "* BYE [UNAVAILABLE] too many connections, try again later\r\n");
    let refused = running.connect(Protocol::Pop3, false).await.rest().await;
    assert_eq!(refused, "-ERR [SYS/TEMP] too many connections, try again later\r\n");
    assert_eq!(running.connect(Protocol::Imap, true).await.rest().await, "");
    let mut client = clients.pop().expect("three");
    client.say("a LOGOUT\r\n").await;
    client.rest().await;
    drop(client);
    while running.sessions.count() == 3 {
        tokio::task::yield_now().await;
    }
    running.greeted(Protocol::Pop3).await;
}

#[tokio::test]
async fn new_sessions_get_the_new_context() {
    let running = start();
    let mut old = running.greeted(Protocol::Imap).await;
    let next = Stage::new("IMAP4rev1 NEW", "", None);
    running.contexts.send_replace(Arc::clone(&next.context));
    let mut new = running.greeted(Protocol::Imap).await;
    for client in [&mut old, &mut new] {
        client.say("a LOGIN erp \"pass word\"\r\n").await;
        assert!(client.line().await.starts_with("a OK"));
    }
    running.stage.opened().await;
    next.opened().await;
}

#[tokio::test]
async fn stopping_ends_idle_sessions_at_once_and_relays_after_their_grace() {
    let running = start();
    let mut idle = running.greeted(Protocol::Imap).await;
    let mut busy = running.greeted(Protocol::Imap).await;
    busy.say("a LOGIN erp \"pass word\"\r\n").await;
    busy.line().await;
    let (_, _, mut service) = running.stage.opened().await;
    running.stage.context.stopping.cancel();
    assert!(idle.rest().await.starts_with("* BYE"));
    drop(idle);
    while running.sessions.count() > 1 {
        tokio::task::yield_now().await;
    }
    busy.say("b NOOP\r\n").await;
    service.hear("b NOOP\r\n").await;
    let address = running.bound[0].address;
    let finish = running.sessions.clone().finish(Duration::from_millis(50));
    assert_eq!(finish.await, 1);
    assert_eq!(service.rest().await, "");
    assert!(TcpStream::connect(address).await.is_err());
    assert_eq!(running.sessions.finish(GRACE).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_clients_that_wait_for_news() {
    let running = start();
    let mut client = running.greeted(Protocol::Imap).await;
    client.say("a LOGIN erp \"pass word\"\r\n").await;
    client.line().await;
    let (_, _, mut service) = running.stage.opened().await;
    client.say("b IDLE\r\n").await;
    service.hear("b IDLE\r\n").await;
    running.stage.context.stopping.cancel();
    assert_eq!(running.sessions.finish(GRACE).await, 0);
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn finishing_ends_listeners_that_nobody_stopped() {
    let running = start();
    let mut client = running.greeted(Protocol::Pop3).await;
    assert_eq!(running.sessions.clone().finish(Duration::from_millis(20)).await, 1);
    assert_eq!(client.rest().await, "");
    assert!(TcpStream::connect(running.bound[0].address).await.is_err());
}

#[tokio::test]
async fn addresses_move_while_sessions_go_on() {
    let running = start();
    let mut old = running.greeted(Protocol::Imap).await;
    let at = |protocol, tls| {
        let mut bound = running.bound.iter();
        bound.find(|bound| bound.protocol == protocol && bound.tls == tls).expect("bound").address
    };
    let (imap, imaps, pop3) =
        (at(Protocol::Imap, false), at(Protocol::Imap, true), at(Protocol::Pop3, false));
    // POP3 goes to IMAP's address, the TLS one goes, a new one comes.
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listen = Listen { pop3: vec![imap], smtp: vec![any], ..Listen::default() };
    let prepared = running.sessions.prepare(&listen).expect("free");
    assert_eq!(running.sessions.bound(), running.bound, "nothing has changed yet");
    let moved = running.sessions.apply(prepared);
    assert_eq!((moved.added.len(), moved.removed.len()), (2, 3), "{moved:?}");
    let mut new = Dialogue::new(TcpStream::connect(imap).await.expect("still there"));
    assert!(new.line().await.starts_with("+OK"));
    let smtp = moved.added.iter().find(|bound| bound.protocol == Protocol::Smtp).expect("new");
    let mut new = Dialogue::new(TcpStream::connect(smtp.address).await.expect("new"));
    assert!(new.line().await.starts_with("220 "));
    for gone in [imaps, pop3] {
        while TcpStream::connect(gone).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
    old.say("a NOOP\r\n").await;
    assert!(old.line().await.starts_with("a OK"));
    let same = running.sessions.apply(running.sessions.prepare(&listen).expect("the same"));
    assert_eq!(same, Moved::default());
}

#[tokio::test]
async fn an_address_that_is_taken_changes_nothing() {
    let running = start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("address");
    let listen = Listen { smtp: vec![address], ..Listen::default() };
    let error = running.sessions.prepare(&listen).expect_err("taken");
    assert!(error.to_string().contains("Proxy.Listen.Smtp"), "{error}");
    assert_eq!(running.sessions.bound(), running.bound);
    running.greeted(Protocol::Pop3).await;
}

#[tokio::test]
async fn a_refused_smtp_client_hears_a_reply_code() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("address");
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    refuse(far.expect("accepted").0, Bound { protocol: Protocol::Smtp, tls: false, address });
    let mut client = Dialogue::new(near.expect("connected"));
    assert_eq!(client.rest().await, "421 4.7.0 too many connections, try again later\r\n");
}

#[test]
fn errors_of_one_connection_do_not_slow_the_others() {
    for (kind, one) in [
        (io::ErrorKind::ConnectionAborted, true),
        (io::ErrorKind::ConnectionReset, true),
        (io::ErrorKind::Other, false),
        (io::ErrorKind::OutOfMemory, false),
    ] {
        assert_eq!(is_about_one_connection(&kind.into()), one, "{kind}");
    }
}
