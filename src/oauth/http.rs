//! The one HTTP client for token requests and for Graph.
//!
//! Danger: a client that follows redirects hands a secret to whoever redirects it; one without a
//! limit reads an endless answer into memory; one that ignores the proxy never leaves the building.
//! Rule: no redirects, TLS as [`crate::tls::ClientTls`] checks it, `Proxy.Upstream.HttpProxy` else
//! the environment's proxy (`NO_PROXY` holds in both cases), and loopback never goes through one.
//! Token answers are read up to [`MAX_ANSWER_BYTES`].

use std::error::Error as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};
use reqwest::{Method, NoProxy, Proxy, RequestBuilder, Url};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::Error;
use crate::config::UpstreamNet;
use crate::secret::Secret;
use crate::tls::ClientTls;

/// What we call ourselves.
pub const USER_AGENT: &str = concat!("authbridge/", env!("CARGO_PKG_VERSION"));

/// Name lookup, TCP, proxy and TLS together; a service that needs longer is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Firewalls forget idle connections after some minutes without telling; be faster.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// A whole token request. Entra and Google answer within a second; sessions wait for this.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);

/// A token answer has 2 to 6 KiB.
pub(super) const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Longest wait that a provider's `Retry-After` may impose; more is a mistake of its clock.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// HTTP client shared by `oauth` and `upstream::graph`. Cheap to clone.
#[derive(Clone)]
pub struct HttpClient {
    direct: reqwest::Client,
    proxied: reqwest::Client,
}

/// What a token endpoint said.
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl HttpClient {
    /// Builds it; fails when `Proxy.Upstream.HttpProxy` can't be used.
    pub fn new(tls: &ClientTls, net: &UpstreamNet) -> Result<Self, Error> {
        let proxied = match &net.http_proxy {
            Some(address) => builder(tls).proxy(configured_proxy(address)?),
            None => builder(tls),
        };
        Ok(Self { direct: build(builder(tls).no_proxy())?, proxied: build(proxied)? })
    }

    /// A request to `url`, through the proxy unless it goes to this machine.
    pub fn request(&self, method: Method, url: &str) -> RequestBuilder {
        match Url::parse(url).is_ok_and(|url| is_loopback(&url)) {
            true => self.direct.request(method, url),
            false => self.proxied.request(method, url),
        }
    }

    /// Posts an encoded form and reads the answer; any status is an answer.
    pub(super) async fn post_form(&self, url: Url, form: Vec<u8>) -> Result<Answer, Error> {
        let host = host_and_port(&url);
        let request = self
            .request(Method::POST, url.as_str())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .body(form);
        match tokio::time::timeout(TOKEN_TIMEOUT, read_answer(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(unreachable(&host, &error)),
            Err(_) => Err(Error::passing(format!(
                "{host} has not answered within {} seconds",
                TOKEN_TIMEOUT.as_secs()
            ))),
        }
    }
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HttpClient")
    }
}

impl Answer {
    /// How long the provider asks us to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        retry_after(&self.headers).map(|wait| wait.min(MAX_RETRY_AFTER))
    }

    /// The media type, for error texts.
    pub fn media_type(&self) -> String {
        let value = self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let value = value.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let sane =
            !value.is_empty() && value.len() < 80 && value.bytes().all(|b| b.is_ascii_graphic());
        if sane { value.to_owned() } else { "of unknown type".to_owned() }
    }
}

/// `Retry-After`: seconds or an HTTP date (RFC 9110 section 10.2.3).
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    // An HTTP date is RFC 2822's but for the name of its zone.
    let date = OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822).ok()?;
    Some(SystemTime::from(date).duration_since(SystemTime::now()).unwrap_or_default())
}

/// An endpoint's address; `key` is the setting that holds it. Secrets travel over TLS alone, except
/// within this machine.
pub(super) fn endpoint(address: &str, key: &str) -> Result<Url, Error> {
    let person = |problem: &str| Error::person(format!("{key} = {address:?} {problem}"));
    let url = Url::parse(address).map_err(|error| person(&format!("is not a URL ({error})")))?;
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => Ok(url),
        ("http", Some(_)) if is_loopback(&url) => Ok(url),
        ("http", Some(_)) => {
            Err(person("must start with https://, or the secret would travel unprotected"))
        }
        _ => Err(person("must start with https://")),
    }
}

fn builder(tls: &ClientTls) -> reqwest::ClientBuilder {
    let mut config = tls.rustls_config();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .tcp_nodelay(true)
        // For `check`, which tells how long a service's certificate is good for.
        .tls_info(true)
        .user_agent(USER_AGENT)
}

fn build(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, Error> {
    let failed = |error| format!("the HTTP client can't be built: {}", cause(&error));
    builder.build().map_err(|error| Error::person(failed(error)))
}

/// The address may hold a password, so no error shows it.
fn configured_proxy(address: &Secret) -> Result<Proxy, Error> {
    let person = |problem: &str| {
        Error::person(format!(
            "Proxy.Upstream.HttpProxy {problem}; write http://proxy.example.com:3128 or \
             http://user:password@proxy.example.com:3128"
        ))
    };
    let text = address.expose().trim();
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&text).map_err(|_| person("is not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(person("is not the address of an HTTP proxy"));
    }
    let proxy = Proxy::all(url).map_err(|_| person("can't be used"))?;
    Ok(proxy.no_proxy(NoProxy::from_env()))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let named = host == "localhost" || host.ends_with(".localhost");
    named || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

async fn read_answer(request: RequestBuilder) -> Result<Answer, reqwest::Error> {
    let mut response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let room = MAX_ANSWER_BYTES - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if body.len() == MAX_ANSWER_BYTES {
                    break;
                }
            }
            Ok(None) => break,
            // Where the connection's end is the answer's (HTTP/1.0), some servers hang up without
            // close_notify. A document that is complete has not been cut.
            Err(_) if is_complete(&body) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(Answer { status, headers, body })
}

fn is_complete(body: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

/// A request that got no answer, in plain words. The innermost cause says most.
fn unreachable(host: &str, error: &reqwest::Error) -> Error {
    let cause = cause(error);
    let lower = cause.to_ascii_lowercase();
    if lower.contains("proxy auth") {
        let text = "the HTTP proxy asks for a login: put user and password into \
                    Proxy.Upstream.HttpProxy (http://user:password@host:port)";
        return Error::person(text);
    }
    if lower.contains("certificate") {
        let text = format!(
            "the certificate of {host} is not trusted ({cause}): if an inspection proxy stands in \
             between, name its root certificate in Proxy.Upstream.CaPath"
        );
        return Error::person(text);
    }
    if error.is_timeout() {
        return Error::passing(format!("{host} can't be reached in time ({cause})"));
    }
    match error.is_connect() {
        true => Error::passing(format!("{host} can't be reached ({cause})")),
        false => Error::passing(format!("the connection to {host} broke ({cause})")),
    }
}

/// The innermost error; reqwest's own text would only repeat the address.
fn cause(error: &reqwest::Error) -> String {
    let mut innermost = error.source();
    while let Some(deeper) = innermost.and_then(|error| error.source()) {
        innermost = Some(deeper);
    }
    innermost.map_or_else(|| "no further cause known".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests;
