//! A token endpoint for tests, over real sockets on loopback: it records what it receives and
//! answers what the test says. No part of the program; one request per connection.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub head: String,
    pub body: String,
}

/// One answer.
#[derive(Clone)]
pub(super) struct Reply {
    pub status: u16,
    pub headers: String,
    pub body: Vec<u8>,
}

pub(super) struct FakeEndpoint {
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    task: JoinHandle<()>,
}

impl Received {
    pub fn form(&self) -> HashMap<String, String> {
        let url = format!("http://x/?{}", self.body);
        let url = reqwest::Url::parse(&url).expect("a form");
        url.query_pairs().into_owned().collect()
    }
}

impl Reply {
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let headers = "Content-Type: application/json; charset=utf-8\r\n".to_owned();
        Self { status, headers, body: body.into() }
    }

    pub fn html(status: u16, body: &str) -> Self {
        let headers = "Content-Type: text/html\r\n".to_owned();
        Self { status, headers, body: body.into() }
    }

    pub fn with(mut self, header: &str) -> Self {
        self.headers.push_str(header);
        self.headers.push_str("\r\n");
        self
    }

    pub fn token(token: &str) -> Self {
        let body = serde_json::json!({
            "access_token": token, "token_type": "Bearer", "expires_in": 3599
        });
        Self::json(200, body.to_string())
    }
}

impl FakeEndpoint {
    /// `answer` gets the request and its number, from 0.
    pub async fn start(answer: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let received = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&received);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(stream, &answer, &log).await;
            }
        });
        Self { address, received, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().expect("not poisoned").clone()
    }
}

impl Drop for FakeEndpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers one request on a stream, TLS or not.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    answer: &impl Fn(&Received, usize) -> Reply,
    log: &Mutex<Vec<Received>>,
) {
    let Some(request) = read_request(&mut stream).await else { return };
    let number = {
        let mut log = log.lock().expect("not poisoned");
        log.push(request.clone());
        log.len() - 1
    };
    let reply = answer(&request, number);
    let head = format!(
        "HTTP/1.1 {} X\r\nConnection: close\r\nContent-Length: {}\r\n{}\r\n",
        reply.status,
        reply.body.len(),
        reply.headers
    );
    // A client that has read enough may be gone.
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&reply.body).await;
    let _ = stream.shutdown().await;
}

/// Reads head and, with Content-Length, body; `None` when the client leaves.
pub(super) async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Received> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length =
        head.to_ascii_lowercase().split("content-length: ").nth(1).map_or(0, |rest| {
            rest.split("\r\n").next().unwrap_or_default().parse().expect("a length")
        });
    let mut body = bytes.split_off(end);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Received { head, body: String::from_utf8_lossy(&body).into_owned() })
}
