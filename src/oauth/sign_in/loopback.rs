//! The redirect's listener on this machine (RFC 8252 section 7.3).
//!
//! Danger: whoever runs a program here, and every web page that is open here, can connect; slow,
//! endless and parallel requests must not keep the person's browser out. Browsers may ask `::1`
//! first, and another program that holds the port there would get the code. Rule: both addresses or
//! another port; one bounded request per connection, each with its own time; and the browser
//! hears the real outcome, since its answer waits until the sign-in is stored or has failed.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::poll_fn;
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::attempt::{Arrival, Attempt};
use super::page::Page;
use super::redirect;
use super::request::{self, Request};

/// A code has 2 KiB, and browsers add the cookies of everything that ever ran on localhost.
const MAX_HEAD: usize = 64 << 10;

/// Browsers open some connections ahead and leave them idle.
const MAX_CONNECTIONS: usize = 64;

/// A request on this machine takes milliseconds; idle connections make room after this.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// A browser on this machine reads a page at once.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// How long the browser waits for the outcome: some token requests, less than browsers' patience.
const HOLD_LIMIT: Duration = Duration::from_secs(120);

/// How long the end of the attempt waits for the browser to take its page.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// What is still on its way when a request is refused is read up to here, or the refusal is lost
/// with the connection's reset.
const MAX_DRAINED: u64 = 1 << 20;

/// See [`MAX_DRAINED`].
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// Ports to try before giving up; one that is free on one address is seldom taken on the other.
const MAX_TRIES: usize = 16;

/// After a failure to accept, which is mostly a want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Sockets that accept nothing yet.
pub(super) struct Sockets {
    listeners: Vec<TcpListener>,
    /// Of all of them.
    pub port: u16,
}

/// Listens until it is dropped.
pub(super) struct Listener {
    door: Arc<Door>,
    task: JoinHandle<()>,
}

/// What every connection needs.
struct Door {
    path: String,
    port: u16,
    attempt: Arc<Attempt>,
    outcome: watch::Sender<Option<Page>>,
    /// A permit is held from a request's end to its answer's.
    answering: Semaphore,
}

impl Sockets {
    /// The named port when it is free, else any: Entra ignores the port of loopback addresses.
    pub async fn bind(redirect: &redirect::Loopback) -> io::Result<Self> {
        let both = redirect.both_families;
        if let Some(port) = redirect.port
            && let Ok(sockets) = Self::at(port, both).await
        {
            return Ok(sockets);
        }
        let mut tries = 1;
        loop {
            match Self::at(0, both).await {
                Err(error) if is_taken(&error) && tries < MAX_TRIES => tries += 1,
                outcome => return outcome,
            }
        }
    }

    async fn at(port: u16, both_families: bool) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let port = listener.local_addr()?.port();
        let mut listeners = vec![listener];
        if both_families {
            match TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
                Ok(listener) => listeners.push(listener),
                Err(error) if is_taken(&error) => return Err(error),
                // There is no IPv6 here, so no browser asks for it.
                Err(_) => {}
            }
        }
        Ok(Self { listeners, port })
    }

    /// Serves the attempt's callback at `path`.
    pub fn serve(self, path: &str, attempt: Arc<Attempt>) -> Listener {
        let door = Arc::new(Door {
            path: path.to_owned(),
            port: self.port,
            attempt,
            outcome: watch::Sender::new(None),
            answering: Semaphore::new(MAX_CONNECTIONS),
        });
        let task = tokio::spawn(accept_all(self.listeners, Arc::clone(&door)));
        Listener { door, task }
    }
}

/// Windows says that access is denied where a port is another program's alone.
fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
}

impl Listener {
    /// Shows the outcome to the browser that waits for it, and ends.
    pub async fn close(self, outcome: Page) {
        self.door.outcome.send_replace(Some(outcome));
        let all = u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX);
        // A browser that does not read its page has had its chance.
        let _ = timeout(FLUSH_LIMIT, self.door.answering.acquire_many(all)).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept_all(listeners: Vec<TcpListener>, door: Arc<Door>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = accept(&listeners), if connections.len() < MAX_CONNECTIONS => {
                match accepted {
                    Ok(stream) => drop(connections.spawn(converse(stream, Arc::clone(&door)))),
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// From whichever has one.
async fn accept(listeners: &[TcpListener]) -> io::Result<TcpStream> {
    let ready = poll_fn(|context| {
        let accepted = listeners.iter().map(|listener| listener.poll_accept(context));
        accepted.into_iter().find(Poll::is_ready).unwrap_or(Poll::Pending)
    });
    ready.await.map(|(stream, _)| stream)
}

/// One request, one answer.
async fn converse(mut stream: TcpStream, door: Arc<Door>) {
    let Ok(Some(head)) = timeout(READ_LIMIT, read_head(&mut stream)).await else { return };
    let Ok(answering) = door.answering.acquire().await else { return };
    let answer = door.answer(&head).await;
    let sent = timeout(WRITE_LIMIT, async {
        stream.write_all(&answer).await?;
        stream.shutdown().await
    });
    let sent = matches!(sent.await, Ok(Ok(())));
    drop(answering);
    if sent {
        let mut rest = stream.take(MAX_DRAINED);
        let _ = timeout(DRAIN_LIMIT, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    }
}

/// Up to the empty line, or as much as is too much; `None` when the client leaves before.
async fn read_head(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        // The end may have come in two parts.
        let unseen = bytes.len().saturating_sub(3);
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        if let Some(end) = memchr::memmem::find(&bytes[unseen..], b"\r\n\r\n") {
            bytes.truncate(unseen + end + 4);
            return Some(bytes);
        }
        if bytes.len() > MAX_HEAD {
            return Some(bytes);
        }
    }
}

impl Door {
    async fn answer(&self, head: &[u8]) -> Vec<u8> {
        if head.len() > MAX_HEAD {
            return Page::refused(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE).to_http(false);
        }
        match request::read(head, &self.path, self.port) {
            Request::Other(status, without_body) => Page::refused(status).to_http(without_body),
            Request::Callback(query) => self.callback(query).await.to_http(false),
        }
    }

    async fn callback(&self, query: &str) -> Page {
        match self.attempt.arrive(query) {
            Arrival::Taken => self.outcome().await,
            Arrival::Over => Page::over(),
            Arrival::Stranger => Page::stranger(),
            Arrival::Empty => Page::empty(),
        }
    }

    async fn outcome(&self) -> Page {
        let mut seen = self.outcome.subscribe();
        let known = timeout(HOLD_LIMIT, seen.wait_for(Option::is_some)).await;
        let page = known.ok().and_then(Result::ok).and_then(|page| page.clone());
        page.unwrap_or_else(Page::going_on)
    }
}

#[cfg(test)]
mod tests;
