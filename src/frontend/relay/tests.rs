//! Relays over memory and over sockets.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

struct Running {
    client: DuplexStream,
    upstream: DuplexStream,
    relay: JoinHandle<Summary>,
    pool: &'static Pool,
}

fn start(ahead: Ahead, capacity: usize, idle: Duration) -> Running {
    let pool: &'static Pool = Box::leak(Box::new(Pool::new()));
    let (client, near) = duplex(capacity);
    let (far, upstream) = duplex(capacity);
    let relay = tokio::spawn(with_buffers(pool, near, far, ahead, idle));
    Running { client, upstream, relay, pool }
}

async fn expect(stream: &mut DuplexStream, text: &str) {
    let mut got = vec![0; text.len()];
    stream.read_exact(&mut got).await.expect("read");
    assert_eq!(String::from_utf8_lossy(&got), text);
}

#[tokio::test]
async fn what_was_read_ahead_goes_first() {
    let ahead = Ahead { to_upstream: Bytes::from("a1 "), to_client: Bytes::from("* hello ") };
    let mut running = start(ahead, 4, HOUR);
    running.client.write_all(b"NOOP").await.expect("write");
    expect(&mut running.upstream, "a1 NOOP").await;
    running.upstream.write_all(b"bye").await.expect("write");
    expect(&mut running.client, "* hello bye").await;
    drop((running.client, running.upstream));
    let summary = running.relay.await.expect("no panic");
    assert!(matches!(summary.end, End::Closed), "{summary:?}");
    assert_eq!((summary.to_upstream, summary.to_client), (7, 11));
}

#[tokio::test]
async fn an_idle_relay_holds_no_buffer() {
    let mut running = start(Ahead::default(), 1024, HOUR);
    for _ in 0..3 {
        running.client.write_all(b"question").await.expect("write");
        expect(&mut running.upstream, "question").await;
        running.upstream.write_all(b"answer").await.expect("write");
        expect(&mut running.client, "answer").await;
        tokio::task::yield_now().await;
        assert_eq!(running.pool.lent(), 0);
    }
    assert!(size_of::<Relaying<DuplexStream, DuplexStream>>() < 512);
}

#[tokio::test]
async fn a_reader_that_stops_stops_the_writer_and_nothing_is_lost() {
    let mut running = start(Ahead::default(), 1000, HOUR);
    let sent: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let to_send = sent.clone();
    let mut client = running.client;
    let sending = tokio::spawn(async move {
        client.write_all(&to_send).await.expect("write");
        client.shutdown().await.expect("shutdown");
        client
    });
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    // One buffer, the two pipes, and no more.
    assert!(!sending.is_finished());
    assert_eq!(running.pool.lent(), 1);
    let mut got = Vec::new();
    running.upstream.read_to_end(&mut got).await.expect("read");
    assert!(got == sent);
    drop((sending.await.expect("no panic"), running.upstream));
    assert_eq!(running.relay.await.expect("no panic").to_upstream, 1_000_000);
    assert_eq!(running.pool.lent(), 0);
}

#[tokio::test]
async fn a_half_that_closes_leaves_the_other_half_open() {
    let mut running = start(Ahead::default(), 64, HOUR);
    running.client.write_all(b"last").await.expect("write");
    running.client.shutdown().await.expect("shutdown");
    let mut got = String::new();
    running.upstream.read_to_string(&mut got).await.expect("read");
    assert_eq!(got, "last");
    running.upstream.write_all(b"still here").await.expect("write");
    expect(&mut running.client, "still here").await;
    drop(running.upstream);
    let summary = running.relay.await.expect("no panic");
    assert!(matches!(summary.end, End::Closed), "{summary:?}");
}

#[tokio::test(start_paused = true)]
async fn silence_ends_it_and_any_traffic_keeps_it() {
    let mut running = start(Ahead::default(), 64, Duration::from_secs(1800));
    let began = Instant::now();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(29 * 60)).await;
        running.upstream.write_all(b"x").await.expect("write");
        expect(&mut running.client, "x").await;
    }
    let summary = running.relay.await.expect("no panic");
    assert!(matches!(summary.end, End::Idle), "{summary:?}");
    let lasted = began.elapsed().as_secs();
    assert!((3 * 29 * 60 + 1800..3 * 29 * 60 + 1802).contains(&lasted), "{lasted}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_ignores_the_end_is_left_soon() {
    let running = start(Ahead::default(), 64, HOUR);
    drop(running.client);
    let began = Instant::now();
    let summary = running.relay.await.expect("no panic");
    assert!(matches!(summary.end, End::Idle), "{summary:?}");
    assert_eq!(began.elapsed().as_secs(), DRAIN_TIMEOUT.as_secs());
    drop(running.upstream);
}

#[tokio::test(start_paused = true)]
async fn a_stopping_process_waits_for_bytes_that_move_and_for_no_others() {
    let (mut client, near) = duplex(64);
    let (far, mut upstream) = duplex(64);
    let mut relay =
        with_buffers(Box::leak(Box::new(Pool::new())), near, far, Ahead::default(), HOUR);
    relay.hurry();
    let began = Instant::now();
    let relay = tokio::spawn(relay);
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        upstream.write_all(b"more").await.expect("write");
        expect(&mut client, "more").await;
    }
    let summary = relay.await.expect("no panic");
    assert!(matches!(summary.end, End::Idle), "{summary:?}");
    assert_eq!(began.elapsed().as_secs(), 13);
}

/// Sends what it holds, then ends; takes nothing.
struct Deaf(&'static [u8]);

impl AsyncRead for Deaf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Deaf {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn what_a_service_has_sent_arrives_although_it_takes_nothing_more() {
    // The client reads slowly, so most of the message is still held when QUIT meets a closed door.
    let (mut client, near) = duplex(8);
    let message: &'static [u8] = &[b'm'; 50_000];
    let ahead = Ahead { to_upstream: Bytes::from("QUIT\r\n"), to_client: Bytes::new() };
    let relay = tokio::spawn(relay(near, Deaf(message), ahead, HOUR));
    let mut got = Vec::new();
    client.read_to_end(&mut got).await.expect("read");
    assert_eq!(got.len(), message.len());
    let summary = relay.await.expect("no panic");
    assert!(matches!(summary.end, End::Broken(_)), "{summary:?}");
    assert_eq!((summary.to_upstream, summary.to_client), (0, 50_000));
}

/// Gives some bytes, then fails once; then pretends to have ended, as sockets do.
struct Failing(Vec<io::Result<&'static [u8]>>);

impl AsyncRead for Failing {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(match self.get_mut().0.pop() {
            Some(result) => result.map(|bytes| buf.put_slice(bytes)),
            None => Ok(()),
        })
    }
}

impl AsyncWrite for Failing {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn bytes_before_an_error_arrive_and_the_error_is_kept() {
    for (kind, closed) in
        [(io::ErrorKind::ConnectionReset, false), (io::ErrorKind::UnexpectedEof, true)]
    {
        let (mut client, near) = duplex(64);
        let upstream = Failing(vec![Err(kind.into()), Ok(b"two "), Ok(b"one ")]);
        let relay = tokio::spawn(relay(near, upstream, Ahead::default(), HOUR));
        expect(&mut client, "one two ").await;
        drop(client);
        let end = relay.await.expect("no panic").end;
        assert_eq!(matches!(end, End::Closed), closed, "{end}");
        assert_eq!(matches!(end, End::Broken(_)), !closed, "{end}");
    }
}

async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("address");
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.expect("connected"), far.expect("accepted").0)
}

#[tokio::test]
async fn large_transfers_cross_sockets_both_ways_at_once() {
    const OCTETS: usize = 8 << 20;
    let (client, near) = connected().await;
    let (far, upstream) = connected().await;
    let relay = tokio::spawn(relay(near, far, Ahead::default(), HOUR));
    let ends = [(client, 3_u8), (upstream, 5_u8)].map(|(stream, step)| {
        tokio::spawn(async move {
            let (mut read, mut write) = stream.into_split();
            let sent: Vec<u8> = (0..OCTETS).map(|n| (n as u8).wrapping_mul(step)).collect();
            let sending = tokio::spawn(async move {
                write.write_all(&sent).await.expect("write");
                write.shutdown().await.expect("shutdown");
            });
            let mut got = Vec::new();
            read.read_to_end(&mut got).await.expect("read");
            sending.await.expect("no panic");
            (got, step)
        })
    });
    for (end, other) in ends.into_iter().zip([5_u8, 3]) {
        let (got, _) = end.await.expect("no panic");
        assert_eq!(got.len(), OCTETS);
        assert!(got.iter().enumerate().all(|(n, byte)| *byte == (n as u8).wrapping_mul(other)));
    }
    let summary = relay.await.expect("no panic");
    assert_eq!((summary.to_upstream, summary.to_client), (OCTETS as u64, OCTETS as u64));
    assert!(matches!(summary.end, End::Closed), "{summary:?}");
}

#[tokio::test]
async fn tls_on_both_sides_loses_nothing_and_passes_the_end_on() {
    use crate::frontend::rehearsal::Stage;
    use crate::frontend::stream::ClientStream;
    use crate::mail::Duplex;

    const OCTETS: usize = 3_000_001;
    let stage = Stage::new("", "", None);
    let (client_tls, server_tls) = (stage.client_tls(), stage.context.tls.clone());
    let ((client, near), (far, service)) = (connected().await, connected().await);
    let (client, near, far, service) = tokio::join!(
        client_tls.connect("localhost", client),
        ClientStream::Plain(near).start_tls(&server_tls),
        client_tls.connect("localhost", far),
        server_tls.accept(service),
    );
    let upstream: Box<dyn Duplex> = Box::new(far.expect("handshake"));
    let relay = tokio::spawn(relay(near.expect("handshake"), upstream, Ahead::default(), HOUR));
    let (mut client, mut service) = (client.expect("handshake"), service.expect("handshake"));
    let sent: Vec<u8> = (0..OCTETS).map(|n| (n % 253) as u8).collect();
    for chunk in sent.chunks(700_000) {
        let mut got = vec![0; chunk.len()];
        let (written, read) = tokio::join!(
            async {
                service.write_all(chunk).await?;
                service.flush().await
            },
            client.read_exact(&mut got)
        );
        written.expect("written");
        read.expect("read");
        assert!(got == chunk);
    }
    client.write_all(b"QUIT\r\n").await.expect("written");
    client.shutdown().await.expect("shutdown");
    let mut got = String::new();
    service.read_to_string(&mut got).await.expect("read");
    assert_eq!(got, "QUIT\r\n");
    service.write_all(b"+OK\r\n").await.expect("written");
    service.shutdown().await.expect("shutdown");
    let mut got = String::new();
    client.read_to_string(&mut got).await.expect("read");
    assert_eq!(got, "+OK\r\n");
    let summary = relay.await.expect("no panic");
    assert!(matches!(summary.end, End::Closed), "{summary:?}");
    assert_eq!((summary.to_upstream, summary.to_client), (6, OCTETS as u64 + 5));
}
