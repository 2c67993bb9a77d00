//! The listener over real sockets.

use std::net::SocketAddr;

use tokio::sync::oneshot;

use super::super::attempt::Answer;
use super::*;
use crate::secret::Secret;

const CODE: &str = "/cb?code=c0de&state=st4te";

struct Running {
    listener: Listener,
    answer: oneshot::Receiver<Answer>,
    port: u16,
}

fn loopback(text: &str) -> redirect::Loopback {
    match redirect::Redirect::of(text) {
        Ok(redirect::Redirect::Loopback(loopback)) => loopback,
        other => unreachable!("{other:?}"),
    }
}

async fn start(redirect: &str) -> Running {
    let redirect = loopback(redirect);
    let sockets = Sockets::bind(&redirect).await.expect("listening");
    let (attempt, answer) = Attempt::new("jo", Secret::new("st4te"));
    let port = sockets.port;
    Running { listener: sockets.serve(redirect.path(), attempt), answer, port }
}

impl Running {
    fn v4(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn request(&self, line: &str) -> String {
        format!("{line} HTTP/1.1\r\nHost: localhost:{}\r\nAccept: */*\r\n\r\n", self.port)
    }

    async fn ask(&self, line: &str) -> String {
        exchange(self.v4(), self.request(line).as_bytes()).await
    }

    async fn code(&mut self) -> String {
        let answer = (&mut self.answer).await.expect("answered").expect("a code");
        answer.expose().to_owned()
    }
}

/// What comes back until the connection's end.
async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(request).await.expect("sent");
    read_all(stream).await
}

async fn read_all(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    text
}

fn has_ipv6() -> bool {
    std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

#[tokio::test]
async fn localhost_is_served_on_both_addresses() {
    let running = start("http://localhost/cb").await;
    let mut addresses = vec![running.v4()];
    if has_ipv6() {
        addresses.push((Ipv6Addr::LOCALHOST, running.port).into());
    }
    for address in addresses {
        let answer = exchange(address, running.request("GET /x").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{address}: {answer}");
    }
    let running = start("http://127.0.0.1/cb").await;
    assert!(TcpStream::connect((Ipv6Addr::LOCALHOST, running.port)).await.is_err());
    assert!(running.ask("GET /x").await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn the_named_port_is_taken_when_it_is_free_on_both_addresses() {
    let mut seen = false;
    for _ in 0..20 {
        // Free a moment ago; another program may be faster, so there are several tries.
        let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = free.local_addr().expect("address").port();
        drop(free);
        let sockets = Sockets::bind(&loopback(&format!("http://localhost:{port}"))).await;
        seen |= sockets.expect("listening").port == port;
    }
    assert!(seen);
    let mut others = vec![std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port")];
    if has_ipv6() {
        others.push(std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).expect("a port"));
    }
    for taken in others {
        let port = taken.local_addr().expect("address").port();
        let sockets = Sockets::bind(&loopback(&format!("http://localhost:{port}"))).await;
        assert_ne!(sockets.expect("listening").port, port, "{taken:?}");
    }
}

#[tokio::test]
async fn strangers_change_nothing_and_the_browser_hears_the_outcome() {
    let mut running = start("http://localhost/cb").await;
    for (line, status) in [
        ("GET /favicon.ico", 404),
        ("GET /", 404),
        ("GET /cb", 400),
        ("GET /cb?code=c0de", 400),
        ("GET /cb?code=c0de&state=other", 400),
        ("GET /cb?error=access_denied&state=other", 400),
        ("GET /cb?state=st4te", 400),
        ("POST /cb?code=c0de&state=st4te", 405),
        ("HEAD /cb?code=c0de&state=st4te", 200),
        ("DELETE /", 405),
        ("nonsense", 400),
    ] {
        let answer = running.ask(line).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{line}: {answer}");
        assert!(!answer.contains("st4te") && !answer.contains("c0de"), "{answer}");
        assert!(running.answer.try_recv().is_err(), "{line}");
    }
    let request = running.request(&format!("GET {CODE}"));
    for (from, to) in [
        ("Host: localhost", "Host: evil.example"),
        ("Host: localhost", "X-Host: localhost"),
        ("Accept: */*", "Host: evil.example"),
        ("Accept: */*", "Sec-Purpose: prefetch;prerender"),
    ] {
        let answer = exchange(running.v4(), request.replace(from, to).as_bytes()).await;
        assert!(!answer.starts_with("HTTP/1.1 200 "), "{to}: {answer}");
        assert!(running.answer.try_recv().is_err(), "{to}");
    }
    let browser = tokio::spawn(exchange_owned(running.v4(), request));
    assert_eq!(running.code().await, "c0de");
    assert!(!browser.is_finished(), "the outcome is not known yet");
    let second = running.ask(&format!("GET {CODE}")).await;
    assert!(second.starts_with("HTTP/1.1 410 ") && second.contains("another window"), "{second}");
    running.listener.close(Page::signed_in("jo@example.com")).await;
    let shown = browser.await.expect("an answer");
    assert!(shown.starts_with("HTTP/1.1 200 ") && shown.contains("Signed in"), "{shown}");
    assert!(shown.ends_with("</html>"), "{shown}");
}

async fn exchange_owned(address: SocketAddr, request: String) -> String {
    exchange(address, request.as_bytes()).await
}

#[tokio::test]
async fn of_many_tabs_at_once_one_is_taken() {
    let mut running = start("http://127.0.0.1/cb").await;
    let tabs: Vec<_> = (0..20)
        .map(|_| {
            let request = running.request(&format!("GET {CODE}"));
            tokio::spawn(exchange_owned(running.v4(), request))
        })
        .collect();
    assert_eq!(running.code().await, "c0de");
    // All but the one that waits have their answer before the attempt ends.
    while tabs.iter().filter(|tab| !tab.is_finished()).count() > 1 {
        tokio::task::yield_now().await;
    }
    running.listener.close(Page::failed("consent is missing")).await;
    let mut statuses = Vec::new();
    for tab in tabs {
        statuses.push(tab.await.expect("an answer")[9..12].to_owned());
    }
    assert_eq!(statuses.iter().filter(|status| *status == "200").count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| *status == "410").count(), 19, "{statuses:?}");
}

#[tokio::test]
async fn slow_and_idle_connections_keep_nobody_out() {
    let mut running = start("http://localhost/cb").await;
    let mut idle = Vec::new();
    for number in 0..MAX_CONNECTIONS - 1 {
        let mut stream = TcpStream::connect(running.v4()).await.expect("connected");
        if number % 2 == 1 {
            stream.write_all(b"GET /cb?code=").await.expect("sent");
        }
        idle.push(stream);
    }
    assert!(running.ask("GET /x").await.starts_with("HTTP/1.1 404 "));
    let mut slow = idle.pop().expect("a connection");
    // One more than there is room for waits until another leaves.
    idle.push(TcpStream::connect(running.v4()).await.expect("connected"));
    idle.push(TcpStream::connect(running.v4()).await.expect("connected"));
    let waiting = tokio::spawn(exchange_owned(running.v4(), running.request("GET /x")));
    idle.clear();
    assert!(waiting.await.expect("an answer").starts_with("HTTP/1.1 404 "));
    for byte in running.request(&format!("GET {CODE}")).bytes() {
        slow.write_all(&[byte]).await.expect("sent");
        tokio::task::yield_now().await;
    }
    assert_eq!(running.code().await, "c0de");
    running.listener.close(Page::signed_in("jo")).await;
    assert!(read_all(slow).await.contains("Signed in"));
}

#[tokio::test]
async fn an_endless_request_is_refused() {
    let running = start("http://localhost/cb").await;
    let cookies = "x".repeat(MAX_HEAD + 1);
    let request = running.request("GET /cb").replace("*/*", &cookies);
    let answer = exchange(running.v4(), request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    // Many cookies of other programs on localhost are no reason to refuse.
    let request = running.request("GET /x").replace("*/*", &"x".repeat(MAX_HEAD / 2));
    assert!(exchange(running.v4(), request.as_bytes()).await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn whoever_stops_sending_is_dropped_in_the_end() {
    let running = start("http://localhost/cb").await;
    let mut silent = TcpStream::connect(running.v4()).await.expect("connected");
    silent.write_all(b"GET /cb HTTP/1.1\r\n").await.expect("sent");
    // The clock runs ahead to the limit as soon as nothing else is to do.
    tokio::time::pause();
    assert_eq!(read_all(silent).await, "");
}

#[tokio::test]
async fn nothing_listens_any_more_after_the_end() {
    for close in [true, false] {
        let running = start("http://localhost/cb").await;
        let address = running.v4();
        match close {
            true => running.listener.close(Page::over()).await,
            false => drop(running.listener),
        }
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}
