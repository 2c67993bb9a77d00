//! HTTPS: connections, faults, and the pieces that every web service of the cloud shares.
//!
//! Danger: a fault that is answered politely is no fault. Rule: a reset is a TCP reset (linger
//! zero), a truncated answer promises more bytes than it sends, a stall never ends; and a fault
//! that says "nothing was done" strikes before the request reaches a handler.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Router};
use futures_util::StreamExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::faults::{Place, What};
use super::store::Cloud;

/// The largest answer that the truncating fault cuts in half: ours are a few kilobytes.
const MAX_TRUNCATED: usize = 8 << 20;

/// One web service: which routes, and which place a request belongs to.
#[derive(Clone)]
pub(crate) struct Site {
    pub cloud: Arc<Cloud>,
    pub router: Router,
    pub place_of: fn(&Method, &str) -> Place,
}

/// Accepts connections until told to stop.
pub(crate) async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    site: Site,
    stop: CancellationToken,
) {
    let faults = middleware::from_fn_with_state(site.clone(), strike);
    let clock = middleware::from_fn_with_state(site.clone(), dated);
    let router = site.router.layer(faults).layer(clock);
    while let Some(stream) = accept(&listener, &stop).await {
        let (acceptor, router, stop) = (acceptor.clone(), router.clone(), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = connection(stream, acceptor, router) => {}
            }
        });
    }
}

/// The next connection; `None` when the sandbox ends.
pub(crate) async fn accept(listener: &TcpListener, stop: &CancellationToken) -> Option<TcpStream> {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return None,
            accepted = listener.accept() => accepted,
        };
        if let Ok((stream, _)) = accepted {
            let _ = stream.set_nodelay(true);
            return Some(stream);
        }
        // Out of file descriptors: let others finish.
        tokio::task::yield_now().await;
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, router: Router) {
    let cut = Cut::default();
    let Ok(stream) = acceptor.accept(Cuttable { stream, cut: cut.clone() }).await else { return };
    let service = TowerToHyperService::new(router.layer(Extension(cut)));
    // A client that goes away is no error of ours.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Cuts the connection that a request came over.
#[derive(Clone, Default)]
pub(crate) struct Cut(Arc<AtomicBool>);

impl Cut {
    fn cut(&self) -> Response {
        self.0.store(true, Ordering::SeqCst);
        StatusCode::OK.into_response()
    }
}

/// A socket that can be cut from above the TLS and HTTP layers.
struct Cuttable {
    stream: TcpStream,
    cut: Cut,
}

impl Cuttable {
    fn check(&self) -> io::Result<()> {
        if !self.cut.0.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.stream.set_zero_linger()?;
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

impl AsyncRead for Cuttable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Tells the cloud's own time, which a test may have moved (RFC 9110 section 6.6.1).
async fn dated(State(site): State<Site>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let now = site.cloud.state().now().format(&Rfc2822).unwrap_or_default();
    if let Ok(date) = HeaderValue::from_str(&now.replace("+0000", "GMT")) {
        response.headers_mut().insert(header::DATE, date);
    }
    response
}

/// Counts a request and lets the next fault of its place strike.
async fn strike(State(site): State<Site>, mut request: Request, next: Next) -> Response {
    let place = (site.place_of)(request.method(), request.uri().path());
    let cut = request.extensions().get::<Cut>().cloned().unwrap_or_default();
    let what = {
        let mut state = site.cloud.state();
        state.count(place);
        state.faults.take(place, |what| !what.is_an_answer())
    };
    // The service in question needs no body of the request in memory: handlers set their limits.
    match what {
        None => next.run(request).await,
        Some(What::Latency(time)) => {
            tokio::time::sleep(time).await;
            next.run(request).await
        }
        Some(What::AnswerLate(time)) => {
            let answer = next.run(request).await;
            tokio::time::sleep(time).await;
            answer
        }
        Some(What::Status(code, retry_after)) => status(code, retry_after),
        Some(What::StatusAfter(code)) => {
            next.run(request).await;
            status(code, None)
        }
        Some(What::ResetBefore) => cut.cut(),
        Some(What::ResetWhileReading) => {
            let _first = request.into_body().into_data_stream().next().await;
            cut.cut()
        }
        Some(What::ResetAfter) => {
            next.run(request).await;
            cut.cut()
        }
        Some(What::Truncate) => truncate(next.run(request).await, &cut).await,
        Some(What::Stall) => std::future::pending().await,
        Some(What::FalseSuccess) => StatusCode::OK.into_response(),
        Some(What::ExpireToken) => {
            expire(&site.cloud, request.headers_mut());
            next.run(request).await
        }
        // What is meant for a mail protocol would be a mistake in the test: say so loudly.
        Some(other) => {
            (StatusCode::NOT_IMPLEMENTED, format!("no fault of HTTP: {other:?}")).into_response()
        }
    }
}

/// The answer of an overloaded or broken service.
pub(crate) fn status(code: u16, retry_after: Option<u64>) -> Response {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let name = match code {
        401 => "InvalidAuthenticationToken",
        429 => "ApplicationThrottled",
        503 => "ErrorServerBusy",
        _ => "UnknownError",
    };
    let body = serde_json::json!({"error": {"code": name, "message": "Fault on demand."}});
    let mut response = json(status, &body);
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

async fn truncate(response: Response, cut: &Cut) -> Response {
    let (mut parts, body) = response.into_parts();
    let bytes = to_bytes(body, MAX_TRUNCATED).await.unwrap_or_default();
    if bytes.is_empty() {
        return cut.cut();
    }
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    let half = bytes.slice(..bytes.len() / 2);
    let pieces = [Ok::<Bytes, io::Error>(half), Err(io::ErrorKind::ConnectionReset.into())];
    Response::from_parts(parts, Body::from_stream(futures_util::stream::iter(pieces)))
}

fn expire(cloud: &Cloud, headers: &HeaderMap) {
    let Some(text) = bearer(headers) else { return };
    if let Some(token) = cloud.state().tokens.get_mut(text) {
        token.expires = OffsetDateTime::UNIX_EPOCH;
    }
}

/// The token of an `Authorization: Bearer` field.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, body: &serde_json::Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
    (status, headers, body.to_string()).into_response()
}

/// The media type of a request without its parameters, in lower case.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let value = value.unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The fields of an `application/x-www-form-urlencoded` body. `None`: not one, broken escapes, or
/// a name that stands twice.
pub(crate) fn form(body: &[u8]) -> Option<Vec<(String, String)>> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for pair in body.split(|&b| b == b'&').filter(|pair| !pair.is_empty()) {
        let (name, value) = std::str::from_utf8(pair).ok()?.split_once('=')?;
        let (name, value) = (unescape(name)?, unescape(value)?);
        if fields.iter().any(|(known, _)| *known == name) {
            return None;
        }
        fields.push((name, value));
    }
    Some(fields)
}

fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_strictly() {
        let pairs = |body: &str| form(body.as_bytes());
        let want = vec![("a b".to_owned(), "é&=".to_owned()), ("c".to_owned(), String::new())];
        assert_eq!(pairs("a+b=%C3%A9%26%3d&c="), Some(want));
        assert_eq!(pairs(""), Some(Vec::new()));
        for bad in ["a", "a=%", "a=%4", "a=%zz", "a=1&a=2", "a=%ff"] {
            assert_eq!(pairs(bad), None, "{bad}");
        }
        assert_eq!(form(b"a=\xff"), None);
    }

    #[test]
    fn bearer_and_media_type_ignore_case_and_parameters() {
        let mut headers = HeaderMap::new();
        assert_eq!(bearer(&headers), None);
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("bearer abc"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("Text/Plain; charset=x"));
        assert_eq!(bearer(&headers), Some("abc"));
        assert_eq!(media_type(&headers), "text/plain");
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Basic abc"));
        assert_eq!(bearer(&headers), None);
    }
}
