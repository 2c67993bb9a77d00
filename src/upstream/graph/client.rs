//! One mailbox at Graph: requests with its token, in its turn, within bounds.
//!
//! Danger: a hung call freezes the relay, a fifth one at a time is refused (facts: four a mailbox),
//! and a request whose answer was lost may have done its work. Rule: every request has a permit, a
//! time limit that grows with its size and a bounded answer; a failure says whether the service can
//! have had the whole request.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use tokio::time::{Instant, timeout};

use super::ask::Urgency;
use super::body::Mime;
use super::failure;
use super::ledger::UnderWay;
use super::service_time::ServiceTime;
use super::turns::{CONCURRENT, NoTurn, Turn, Turns, Turnstile};
use crate::config::role::{Microsoft365, MicrosoftApp};
use crate::mail::{Error, Kind};
use crate::oauth::{AccessToken, HttpClient, TokenSource};
use crate::telemetry::metrics;
use crate::upstream::token_failure;

/// Octets of an answer that are read; errors and single items are far smaller.
const MAX_ANSWER: usize = 256 << 10;
/// A line slower than this, in octets a second, is taken for dead.
const SLOWEST: u64 = 64 << 10;

/// How long things may take. One value for production, shorter ones for tests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// For a request and its answer, besides what its size adds. Graph itself gives up after 30 s
    /// or so with a 504.
    pub request: Duration,
    /// For a turn among the mailbox's requests.
    pub turn: Duration,
    /// Waiting for Retry-After within one delivery, all together: a client is waiting too.
    pub patience: Duration,
    /// Waiting when the service asks us to come back and does not say when.
    pub retry_after: Duration,
    /// Waiting for the service within one request of a client that reads, all together. Clients give
    /// up after a minute or more.
    pub read_patience: Duration,
    /// Before each look for a message whose outcome is unknown: it travels through Drafts and the
    /// Outbox first.
    pub looks: [Duration; 3],
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(60),
            turn: Duration::from_secs(60),
            patience: Duration::from_secs(10),
            retry_after: Duration::from_secs(2),
            read_patience: Duration::from_secs(45),
            looks: [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(6)],
        }
    }
}

/// What all mailboxes of a role share.
pub(super) struct Client {
    pub role: String,
    pub timing: Timing,
    http: HttpClient,
    /// Of the service, with the version.
    pub root: String,
    delegated: bool,
    tokens: Arc<dyn TokenSource>,
    client_id: String,
    turns: Turns,
    /// What time it is there.
    pub time: ServiceTime,
    /// It has been said that lost messages can't be looked for.
    pub told_blind: AtomicBool,
}

impl Client {
    pub fn new(
        role: &str,
        account: &Microsoft365,
        tokens: Arc<dyn TokenSource>,
        http: HttpClient,
        turns: &Turns,
    ) -> Self {
        Self {
            role: role.to_owned(),
            timing: Timing::default(),
            http,
            root: format!("{}/v1.0", account.graph_url),
            delegated: matches!(account.app, MicrosoftApp::Public { .. }),
            tokens,
            client_id: account.client_id.clone(),
            turns: turns.clone(),
            time: ServiceTime::default(),
            told_blind: AtomicBool::new(false),
        }
    }

    /// Who is sending what right now, in whatever role.
    pub fn under_way(&self) -> &UnderWay {
        self.turns.under_way()
    }

    /// The mailbox that `login` stands for. Asks for its token.
    pub async fn mailbox(self: &Arc<Self>, login: Option<&str>) -> Result<Mailbox, Error> {
        let token = self.tokens.token(login).await.map_err(|e| token_failure(&self.role, e))?;
        let path = match self.delegated {
            true => "me".to_owned(),
            false => format!("users/{}", self.user_segment(&token.user)?),
        };
        Ok(Mailbox {
            root: format!("{}/{path}", self.root),
            path: format!("/{path}"),
            user: token.user.clone(),
            turns: self.turns.of(&self.client_id, &token.user),
            token: Mutex::new(token),
            login: login.map(str::to_owned),
            client: Arc::clone(self),
        })
    }

    /// `..` would be another path, and `{login}` comes from a client.
    fn user_segment(&self, user: &str) -> Result<String, Error> {
        if user.bytes().all(|byte| byte == b'.') {
            let text = format!("{}: {user:?} is no mailbox; set UserObjectId", self.role);
            return Err(Error::new(Kind::NotFound, text));
        }
        Ok(percent_encode(user))
    }
}

/// One mailbox and the token that opens it.
pub(super) struct Mailbox {
    pub client: Arc<Client>,
    pub user: String,
    login: Option<String>,
    root: String,
    /// Of the mailbox, below the version: `/users/…` or `/me`.
    pub path: String,
    token: Mutex<Arc<AccessToken>>,
    pub turns: Arc<Turnstile>,
}

/// What a request carries.
#[derive(Clone)]
pub(super) enum Payload {
    None,
    Json(serde_json::Value),
    /// Base64 of a message as `text/plain`, the form in which Graph takes MIME
    /// (Graph page `concepts/outlook-send-mime-message`).
    Mime(Mime),
}

impl fmt::Debug for Payload {
    /// Not what people write.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "nothing",
            Self::Json(_) => "JSON",
            Self::Mime(_) => "MIME",
        })
    }
}

/// What the service said.
#[derive(Clone)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl fmt::Debug for Answer {
    /// Not what people write, nor where an upload goes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {} octets", self.status, self.body.len())
    }
}

/// What tells how a request went.
pub(super) trait Answered {
    /// The service's verdict.
    fn status(&self) -> StatusCode;
}

impl Answered for Answer {
    fn status(&self) -> StatusCode {
        self.status
    }
}

impl Answered for reqwest::Response {
    fn status(&self) -> StatusCode {
        self.status()
    }
}

impl Answer {
    /// The body as JSON; null when it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A request that is ready to go.
pub(super) struct Outgoing {
    pub request: reqwest::RequestBuilder,
    /// Octets of its body.
    pub size: u64,
    /// True once all of the body has been taken.
    pub done: Arc<AtomicBool>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The service cannot have acted on the request.
    NotSent(Error),
    /// The whole request went out; what became of it is not known.
    Lost(Error),
}

impl NoAnswer {
    /// The failure, for requests that may be made twice without harm.
    pub fn into_error(self) -> Error {
        match self {
            Self::NotSent(error) | Self::Lost(error) => error,
        }
    }

    /// True when another attempt may fare better: not without a token, nor out of turn.
    pub fn may_pass(&self) -> bool {
        let (Self::NotSent(error) | Self::Lost(error)) = self;
        error.kind == Kind::Unavailable
    }
}

impl Mailbox {
    /// Makes a request to a path below the mailbox, such as `/sendMail`. A refused token is
    /// replaced once.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        payload: &Payload,
    ) -> Result<Answer, NoAnswer> {
        let token = self.token();
        let answer = self.call_with(&token, method.clone(), path, payload).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let token = self.replace(&token).await.map_err(NoAnswer::NotSent)?;
        self.call_with(&token, method, path, payload).await
    }

    /// The token in use.
    pub fn token(&self) -> Arc<AccessToken> {
        Arc::clone(&self.token.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Another token in the place of one that the service has refused.
    pub async fn replace(&self, refused: &AccessToken) -> Result<Arc<AccessToken>, Error> {
        let token = self.client.tokens.replace(self.login.as_deref(), refused).await;
        let token = token.map_err(|error| token_failure(&self.client.role, error))?;
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&token);
        Ok(token)
    }

    /// Makes a request that may be made again without harm as long as the service asks to wait.
    pub async fn call_patiently(
        &self,
        method: Method,
        path: &str,
        payload: &Payload,
        patience: &mut Patience,
    ) -> Result<Answer, Error> {
        loop {
            let answer = self.call(method.clone(), path, payload).await;
            let answer = answer.map_err(NoAnswer::into_error)?;
            if !asks_to_wait(answer.status) || !patience.wait(Some(&answer)).await {
                return Ok(answer);
            }
        }
    }

    async fn call_with(
        &self,
        token: &AccessToken,
        method: Method,
        path: &str,
        payload: &Payload,
    ) -> Result<Answer, NoAnswer> {
        let request = self.request(token, method, &format!("{}{path}", self.root), payload);
        let Outgoing { request, size, done } = request.map_err(NoAnswer::NotSent)?;
        let answer = self.exchange(request, size, &done).await?;
        self.client.time.hear(&answer.headers);
        Ok(answer)
    }

    /// A request with everything that Graph wants to see.
    pub fn request(
        &self,
        token: &AccessToken,
        method: Method,
        url: &str,
        payload: &Payload,
    ) -> Result<Outgoing, Error> {
        let done = Arc::new(AtomicBool::new(matches!(payload, Payload::None)));
        let mut request = self
            .client
            .http
            .request(method, url)
            .header(AUTHORIZATION, bearer(token).ok_or_else(|| self.unusable_token())?)
            .header("Prefer", "IdType=\"ImmutableId\"")
            .header("client-request-id", uuid::Uuid::new_v4().to_string())
            .header("return-client-request-id", "true");
        let mut size = 0;
        match payload {
            Payload::None => request = request.header(CONTENT_LENGTH, 0),
            Payload::Json(value) => {
                let text = value.to_string();
                size = text.len() as u64;
                done.store(true, Ordering::Release);
                request = request.header(CONTENT_TYPE, "application/json").body(text);
            }
            Payload::Mime(mime) => {
                size = mime.encoded_size();
                request = request
                    .header(CONTENT_TYPE, "text/plain")
                    .header(CONTENT_LENGTH, size)
                    .body(mime.clone().into_body(Arc::clone(&done)));
            }
        }
        Ok(Outgoing { request, size, done })
    }

    /// Makes a request to an upload session's own address, which is its own authorisation
    /// (Graph page `concepts/outlook-large-attachments`).
    pub async fn call_elsewhere(
        &self,
        method: Method,
        url: &str,
        range: Option<(String, Bytes)>,
    ) -> Result<Answer, NoAnswer> {
        let mut request = self.client.http.request(method, url);
        let mut size = 0;
        if let Some((range, octets)) = range {
            size = octets.len() as u64;
            request = request
                .header("Content-Range", range)
                .header(CONTENT_TYPE, "application/octet-stream")
                .body(octets);
        }
        self.exchange(request, size, &AtomicBool::new(true)).await
    }

    async fn exchange(
        &self,
        request: reqwest::RequestBuilder,
        size: u64,
        done: &AtomicBool,
    ) -> Result<Answer, NoAnswer> {
        let _turn = self.turn(Urgency::Waiting, 1).await.map_err(NoAnswer::NotSent)?;
        self.within(size, done, read(request, MAX_ANSWER)).await
    }

    /// Waits for what the service says, as long as `size` octets and an answer may take.
    pub async fn within<T: Answered>(
        &self,
        size: u64,
        done: &AtomicBool,
        answer: impl Future<Output = Result<T, reqwest::Error>>,
    ) -> Result<T, NoAnswer> {
        let limit = self.client.timing.request + Duration::from_secs(size / SLOWEST);
        let (host, began) = (self.host(), Instant::now());
        let answer = timeout(limit, answer).await;
        count(&answer, began.elapsed());
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let handed_over = done.load(Ordering::Acquire) && !error.is_connect();
                Err(no_answer(handed_over, self.broken(error)))
            }
            Err(_) => {
                let text = format!("{}: {host} did not answer in {limit:?}", self.client.role);
                let error = Error::new(Kind::Unavailable, text);
                Err(no_answer(done.load(Ordering::Acquire), error))
            }
        }
    }

    /// The failure of a connection.
    pub fn broken(&self, error: reqwest::Error) -> Error {
        let text = format!("{}: the connection to {} failed", self.client.role, self.host());
        // The address may be a secret: an upload session's is.
        Error::new(Kind::Unavailable, text).with_source(error.without_url())
    }

    fn host(&self) -> &str {
        self.root.split('/').nth(2).unwrap_or_default()
    }

    /// Waits for turns among the mailbox's requests.
    pub async fn turn(&self, urgency: Urgency, weight: usize) -> Result<Turn, Error> {
        let turn = self.turns.enter(urgency, weight, self.client.timing.turn).await;
        turn.map_err(|no_turn| {
            let (role, user) = (&self.client.role, &self.user);
            let (text, retry_after) = match no_turn {
                NoTurn::Busy => (
                    format!(
                        "{role}: {user} has {CONCURRENT} requests under way, which is all that \
                         Microsoft 365 allows at a time"
                    ),
                    None,
                ),
                NoTurn::Silent(wait) => (
                    format!("{role}: Microsoft 365 throttles {user} for another {wait:.0?}"),
                    Some(wait),
                ),
            };
            Error::new(Kind::Throttled { retry_after }, text)
        })
    }

    fn unusable_token(&self) -> Error {
        let text = format!("{}: the access token is no header value", self.client.role);
        Error::new(Kind::SignInNeeded, text)
    }

    /// True when an upload session may be trusted with a message: no worse guarded than Graph.
    pub fn may_upload_to(&self, url: &str) -> bool {
        url.starts_with("https://")
            || (self.root.starts_with("http://") && url.starts_with("http://"))
    }

    /// The failure that an answer means.
    pub fn refusal(&self, doing: &str, answer: &Answer) -> Error {
        failure::refusal(&self.client.role, &self.user, doing, answer)
    }
}

/// Counts a request: answered, broken or given up.
fn count<T: Answered, E, G>(answer: &Result<Result<T, E>, G>, took: Duration) {
    let status = match answer {
        Ok(Ok(answer)) => Some(answer.status()),
        _ => None,
    };
    metrics::graph_request(status.map(|status| status.as_u16()), took);
    if status == Some(StatusCode::TOO_MANY_REQUESTS) {
        metrics::throttled();
    }
}

fn no_answer(handed_over: bool, error: Error) -> NoAnswer {
    if handed_over { NoAnswer::Lost(error) } else { NoAnswer::NotSent(error) }
}

fn bearer(token: &AccessToken) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.secret.expose())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Makes a request and reads its answer, up to `limit` octets.
pub(super) async fn read(
    request: reqwest::RequestBuilder,
    limit: usize,
) -> Result<Answer, reqwest::Error> {
    Ok(read_rest(request.send().await?, limit).await)
}

/// Reads the rest of an answer, up to `limit` octets.
pub(super) async fn read_rest(mut response: reqwest::Response, limit: usize) -> Answer {
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    // The status is the answer: a body that breaks off explains less, but changes nothing.
    while let Ok(Some(piece)) = response.chunk().await {
        body.extend_from_slice(&piece);
        if body.len() > limit {
            body.truncate(limit);
            break;
        }
    }
    Answer { status, headers, body: body.into() }
}

/// Escapes all but the unreserved characters (RFC 3986 section 2.3).
pub(super) fn percent_encode(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// What one delivery may still wait for the service.
#[derive(Debug)]
pub(super) struct Patience {
    left: Duration,
    unsaid: Duration,
}

impl Patience {
    pub fn new(timing: &Timing) -> Self {
        Self { left: timing.patience, unsaid: timing.retry_after }
    }

    /// Waits as long as `answer` asks; false when that is longer than there is patience for.
    pub async fn wait(&mut self, answer: Option<&Answer>) -> bool {
        let asked = answer.and_then(|answer| failure::retry_after(&answer.headers));
        let wait = asked.unwrap_or(self.unsaid);
        if wait > self.left {
            return false;
        }
        // Never nothing, so that a service that says 0 for ever is not asked for ever.
        self.left -= wait.max(self.unsaid).min(self.left);
        tokio::time::sleep(wait).await;
        metrics::throttle_waited(wait);
        !self.left.is_zero() || !wait.is_zero()
    }
}

/// True for an answer that asks to come again, given before anything was done.
pub(super) fn asks_to_wait(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 503 | 504)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_segments_are_escaped() {
        assert_eq!(percent_encode("a b@x/y.de?'=é"), "a%20b%40x%2Fy.de%3F%27%3D%C3%A9");
    }

    #[test]
    fn requests_are_counted_by_what_became_of_them() {
        let answer = |status| Answer { status, headers: HeaderMap::new(), body: Bytes::new() };
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let took = Duration::from_millis(300);
        ::metrics::with_local_recorder(&recorder, || {
            for status in [StatusCode::ACCEPTED, StatusCode::TOO_MANY_REQUESTS] {
                count::<_, (), ()>(&Ok(Ok(answer(status))), took);
            }
            count::<Answer, _, ()>(&Ok(Err(())), took);
            count::<Answer, (), _>(&Err(()), took);
        });
        let page = recorder.handle().render();
        for line in [
            "authbridge_graph_requests_total{status=\"202\"} 1\n",
            "authbridge_graph_requests_total{status=\"429\"} 1\n",
            "authbridge_graph_requests_total{status=\"error\"} 2\n",
            "authbridge_throttled_total 1\n",
        ] {
            assert!(page.contains(line), "{page}");
        }
    }

    #[tokio::test]
    async fn patience_ends() {
        let timing = Timing {
            patience: Duration::from_secs(2),
            retry_after: Duration::from_millis(400),
            ..Timing::default()
        };
        let answer = |wait: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", HeaderValue::from_static(wait));
            Answer { status: StatusCode::TOO_MANY_REQUESTS, headers, body: Bytes::new() }
        };
        let mut patience = Patience::new(&timing);
        assert!(!patience.wait(Some(&answer("3"))).await);
        assert!(patience.wait(Some(&answer("1"))).await);
        assert_eq!(patience.left, Duration::from_secs(1));
        assert!(!patience.wait(Some(&answer("2"))).await);
        assert!(patience.wait(None).await);
        assert_eq!(patience.left, Duration::from_millis(600));
        let zero = answer("0");
        assert!(patience.wait(Some(&zero)).await);
        assert!(!patience.wait(Some(&zero)).await);
    }
}
