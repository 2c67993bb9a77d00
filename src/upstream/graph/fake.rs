//! A strict Graph for the tests of this folder, over real HTTP on loopback.
//!
//! Rule: it refuses what Graph refuses and records every request; a test asserts on what arrived.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::client::Timing;
use super::ledger::Book;
use super::{GraphSubmission, Turns};
use crate::config::UpstreamNet;
use crate::config::role::{
    Cloud, LargeMessages, Microsoft365, MicrosoftApp, MicrosoftCredential, Template,
};
use crate::oauth::{self, AccessToken, HttpClient, TokenSource};
use crate::secret::Secret;
use crate::tls::ClientTls;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Such as `POST /v1.0/me/sendMail`, with the query.
    pub line: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Recorded {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }
}

/// What happens to one request instead of what should.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing is done, this is answered.
    Answer(u16, &'static str, Option<(&'static str, &'static str)>),
    /// It is done, and this is answered.
    DoneBut(u16),
    /// It is done, and no answer ever comes.
    DoneThenSilence,
    Silence,
}

/// An item in the mailbox.
#[derive(Clone, Debug, Default)]
pub struct Item {
    pub mime: Vec<u8>,
    /// Name and octets.
    pub attachments: Vec<(Value, Vec<u8>)>,
    pub sent: bool,
    /// It went to Deleted Items.
    pub binned: bool,
    pub made: String,
    pub changes: Vec<Value>,
}

#[derive(Debug, Default)]
pub struct Mailbox {
    pub requests: Vec<Recorded>,
    /// Faults by a part of the request line, each used once.
    pub faults: Vec<(&'static str, VecDeque<Fault>)>,
    pub items: HashMap<String, Item>,
    uploads: Vec<(String, Value, Vec<u8>)>,
    pub limit: usize,
    /// Its clock is ahead of ours by so many seconds.
    pub ahead: i64,
    pub most_at_once: usize,
    at_once: usize,
}

#[derive(Clone)]
pub struct Fake {
    pub url: String,
    mailbox: Arc<Mutex<Mailbox>>,
}

impl Fake {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let mailbox = Mailbox { limit: 4_000_000, ..Mailbox::default() };
        let fake = Self { url, mailbox: Arc::new(Mutex::new(mailbox)) };
        let app = axum::Router::new().fallback(answer).with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        fake
    }

    pub fn mailbox(&self) -> MutexGuard<'_, Mailbox> {
        self.mailbox.lock().expect("no test panicked")
    }

    pub fn fault(&self, at: &'static str, faults: impl IntoIterator<Item = Fault>) {
        self.mailbox().faults.push((at, faults.into_iter().collect()));
    }

    /// The request lines, without query and version.
    pub fn lines(&self) -> Vec<String> {
        let shorten = |request: &Recorded| {
            let line = request.line.split('?').next().unwrap_or_default();
            line.replace("/v1.0/users/user%40example.com", "")
        };
        self.mailbox().requests.iter().map(shorten).collect()
    }

    pub fn sent(&self) -> Vec<Item> {
        self.mailbox().items.values().filter(|item| item.sent).cloned().collect()
    }
}

async fn answer(State(fake): State<Fake>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.expect("a whole request").to_vec();
    let line = format!("{} {}", parts.method, parts.uri);
    let recorded = Recorded { line, headers: parts.headers, body };
    let fault = {
        let mut mailbox = fake.mailbox();
        mailbox.requests.push(recorded.clone());
        mailbox.at_once += 1;
        mailbox.most_at_once = mailbox.most_at_once.max(mailbox.at_once);
        let mut faults = mailbox.faults.iter_mut();
        faults.find_map(|(at, list)| recorded.line.contains(*at).then(|| list.pop_front())?)
    };
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    let response = match fault {
        None => act(&fake, &recorded),
        Some(Fault::Answer(status, body, header)) => {
            let mut response = (code(status), body).into_response();
            if let Some((name, value)) = header {
                response.headers_mut().insert(name, value.parse().expect("header"));
            }
            response
        }
        Some(Fault::DoneBut(status)) => {
            act(&fake, &recorded);
            code(status).into_response()
        }
        Some(silence) => {
            if matches!(silence, Fault::DoneThenSilence) {
                act(&fake, &recorded);
            }
            fake.mailbox().at_once -= 1;
            std::future::pending().await
        }
    };
    fake.mailbox().at_once -= 1;
    dated(&fake, response)
}

/// Every answer tells the time.
fn dated(fake: &Fake, mut response: Response) -> Response {
    let rfc = &time::format_description::well_known::Rfc2822;
    let date = clock(&fake.mailbox()).format(rfc).expect("a date").replace("+0000", "GMT");
    let headers = response.headers_mut();
    headers.insert("date", date.parse().expect("a value"));
    headers.insert("request-id", "fake-id".parse().expect("a value"));
    response
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("status")
}

fn refuse(status: u16, code_text: &str) -> Response {
    let body = json!({ "error": { "code": code_text, "message": "fake" } });
    (code(status), [("request-id", "fake-id")], body.to_string()).into_response()
}

fn reply(status: u16, body: &Value) -> Response {
    (code(status), [("request-id", "fake-id")], body.to_string()).into_response()
}

fn act(fake: &Fake, request: &Recorded) -> Response {
    let mut mailbox = fake.mailbox();
    if request.line.contains("/upload/") {
        return upload(&mut mailbox, request);
    }
    if !request.header("authorization").starts_with("Bearer token-") {
        return refuse(401, "InvalidAuthenticationToken");
    }
    assert_eq!(request.header("prefer"), "IdType=\"ImmutableId\"");
    let (method, rest) = request.line.split_once(' ').expect("two words");
    let path = rest
        .strip_prefix("/v1.0/me")
        .or_else(|| rest.strip_prefix("/v1.0/users/user%40example.com"))
        .expect("a mailbox");
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let segments: Vec<&str> = path[1..].split('/').collect();
    match (method, segments.as_slice()) {
        ("POST", ["sendMail"]) => create(&mut mailbox, request, true),
        ("POST", ["messages"]) => create(&mut mailbox, request, false),
        ("GET", ["mailFolders", folder @ ("sentitems" | "drafts"), "messages"]) => {
            search(&mailbox, query, *folder == "sentitems")
        }
        (method, ["messages", id, rest @ ..]) => {
            on_item(&mut mailbox, request, (method, id, rest), &fake.url)
        }
        _ => refuse(404, "ResourceNotFound"),
    }
}

fn create(mailbox: &mut Mailbox, request: &Recorded, sent: bool) -> Response {
    assert_eq!(request.header("content-type"), "text/plain");
    assert_eq!(request.header("content-length"), request.body.len().to_string());
    if request.body.len() > mailbox.limit {
        return refuse(413, "RequestEntityTooLarge");
    }
    let Ok(mime) = STANDARD.decode(&request.body) else {
        return refuse(400, "ErrorMimeContentInvalidBase64String");
    };
    let id = format!("id-{}=", mailbox.items.len());
    let now = clock(mailbox);
    let made = now.format(&time::format_description::well_known::Rfc3339).expect("a date");
    mailbox.items.insert(id.clone(), Item { mime, sent, made, ..Item::default() });
    match sent {
        true => (StatusCode::ACCEPTED, [("request-id", "fake-id")]).into_response(),
        false => reply(201, &json!({ "id": id, "isDraft": true })),
    }
}

fn clock(mailbox: &Mailbox) -> time::OffsetDateTime {
    time::OffsetDateTime::now_utc() + time::Duration::seconds(mailbox.ahead)
}

fn search(mailbox: &Mailbox, query: &str, sent: bool) -> Response {
    let filter = query.split('&').find_map(|pair| pair.strip_prefix("$filter=")).expect("filter");
    let wanted = filter
        .strip_prefix("internetMessageId%20eq%20%27%3C")
        .and_then(|rest| rest.strip_suffix("%3E%27"))
        .expect("a filter for a Message-ID");
    let wanted = wanted.replace("%40", "@").replace("%27%27", "'");
    let found = mailbox.items.iter().filter(|(_, item)| {
        item.sent == sent
            && !item.binned
            && String::from_utf8_lossy(&item.mime).contains(&format!("<{wanted}>"))
    });
    let found: Vec<Value> = found
        .map(|(id, item)| {
            json!({
                "id": id,
                "internetMessageId": format!("<{wanted}>"),
                "isDraft": !item.sent,
                "createdDateTime": item.made,
            })
        })
        .collect();
    reply(200, &json!({ "value": found }))
}

fn on_item(
    mailbox: &mut Mailbox,
    request: &Recorded,
    (method, id, rest): (&str, &str, &[&str]),
    url: &str,
) -> Response {
    let id = id.replace("%3D", "=");
    let uploads = mailbox.uploads.len();
    let Some(item) = mailbox.items.get_mut(&id) else { return refuse(404, "ErrorItemNotFound") };
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    match (method, rest) {
        ("GET", []) => reply(200, &json!({ "id": id, "isDraft": !item.sent })),
        ("PATCH", []) => {
            item.changes.push(body);
            reply(200, &json!({ "id": id }))
        }
        ("DELETE", []) => {
            mailbox.items.remove(&id);
            StatusCode::NO_CONTENT.into_response()
        }
        ("POST", ["move"]) => {
            assert_eq!(body["destinationId"], "deleteditems");
            item.binned = true;
            reply(201, &json!({ "id": id }))
        }
        ("POST", ["send"]) => {
            assert_eq!(request.header("content-length"), "0");
            if item.sent {
                return refuse(400, "ErrorInvalidRequest");
            }
            item.sent = true;
            StatusCode::ACCEPTED.into_response()
        }
        ("POST", ["attachments"]) => {
            let octets = STANDARD.decode(body["contentBytes"].as_str().expect("octets"));
            item.attachments.push((body, octets.expect("base64")));
            reply(201, &json!({ "id": "attachment" }))
        }
        ("POST", ["attachments", "createUploadSession"]) => {
            let described = body["AttachmentItem"].clone();
            if described["size"].as_u64().expect("size") < super::attachment::SESSION_FROM {
                return refuse(400, "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize");
            }
            mailbox.uploads.push((id, described, Vec::new()));
            let url = format!("{url}/upload/{uploads}?authtoken=hidden");
            reply(201, &json!({ "uploadUrl": url, "nextExpectedRanges": ["0-"] }))
        }
        _ => refuse(404, "ResourceNotFound"),
    }
}

fn upload(mailbox: &mut Mailbox, request: &Recorded) -> Response {
    assert!(request.line.ends_with("?authtoken=hidden"));
    assert!(!request.headers.contains_key("authorization"), "the token went elsewhere");
    let number = request.line.split(['/', '?']).nth(2).expect("number");
    let number: usize = number.parse().expect("number");
    let (id, described, octets) = &mut mailbox.uploads[number];
    let expected = json!({ "nextExpectedRanges": [format!("{}-", octets.len())] });
    if request.line.starts_with("GET") {
        return reply(200, &expected);
    }
    if request.line.starts_with("DELETE") {
        return StatusCode::NO_CONTENT.into_response();
    }
    let total = described["size"].as_u64().expect("size");
    let (start, end) = (octets.len(), octets.len() + request.body.len());
    let range = format!("bytes {start}-{}/{total}", end - 1);
    assert_eq!(request.header("content-type"), "application/octet-stream");
    if request.header("content-range") != range {
        return refuse(416, "InvalidRange");
    }
    assert!(request.body.len() < 4_000_000);
    octets.extend_from_slice(&request.body);
    if (end as u64) < total {
        return reply(200, &json!({ "nextExpectedRanges": [format!("{end}-")] }));
    }
    let attachment = (described.clone(), octets.clone());
    let item = mailbox.items.get_mut(id).expect("a draft");
    item.attachments.push(attachment);
    StatusCode::CREATED.into_response()
}

/// Tokens `token-0`, `token-1` and so on; a replacement is the next one.
#[derive(Default)]
pub struct Tokens {
    pub replaced: std::sync::atomic::AtomicUsize,
    pub failure: Option<oauth::Error>,
    /// Another mailbox than `user@example.com`.
    pub user: Option<&'static str>,
}

impl Tokens {
    fn current(&self) -> Result<Arc<AccessToken>, oauth::Error> {
        let number = self.replaced.load(std::sync::atomic::Ordering::SeqCst);
        match &self.failure {
            Some(error) => Err(error.clone()),
            None => Ok(Arc::new(AccessToken {
                secret: Secret::new(format!("token-{number}")),
                user: self.user.unwrap_or("user@example.com").to_owned(),
                expires_at: SystemTime::now() + Duration::from_secs(3600),
            })),
        }
    }
}

impl TokenSource for Tokens {
    fn token<'a>(
        &'a self,
        _login: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Arc<AccessToken>, oauth::Error>> {
        std::future::ready(self.current()).boxed()
    }

    fn replace<'a>(
        &'a self,
        _login: Option<&'a str>,
        _rejected: &'a AccessToken,
    ) -> BoxFuture<'a, Result<Arc<AccessToken>, oauth::Error>> {
        self.replaced.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        std::future::ready(self.current()).boxed()
    }
}

/// Short waits: the tests' looks and retries are real.
pub const TIMING: Timing = Timing {
    read_patience: Duration::from_secs(5),
    request: Duration::from_millis(1500),
    turn: Duration::from_secs(20),
    patience: Duration::from_millis(1500),
    retry_after: Duration::from_millis(1),
    looks: [Duration::from_millis(1); 3],
};

pub fn account(url: &str, delegated: bool) -> Microsoft365 {
    let app = match delegated {
        true => MicrosoftApp::Public {
            redirect_uri: "http://localhost".to_owned(),
            account: Template::new("user@example.com"),
        },
        false => MicrosoftApp::Confidential {
            credential: MicrosoftCredential::Secret { value: Secret::new("s"), expires: None },
            user: Template::new("user@example.com"),
        },
    };
    Microsoft365 {
        app,
        client_id: "client".to_owned(),
        tenant_id: "tenant".to_owned(),
        cloud: Cloud::Global,
        authority_url: String::new(),
        graph_url: url.to_owned(),
    }
}

/// The client that the program uses.
pub fn http_client() -> HttpClient {
    crate::tls::install_provider();
    let tls = ClientTls::new(None).expect("system roots");
    HttpClient::new(&tls, &UpstreamNet::default()).expect("no proxy configured")
}

/// A submission with short waits.
pub fn submission(url: &str, save: bool, large: LargeMessages, tokens: Tokens) -> GraphSubmission {
    submission_in(&Turns::default(), url, save, large, tokens)
}

/// One that keeps its notes in `book`, which outlives it.
pub fn submission_noting(book: &Book, url: &str, save: bool) -> GraphSubmission {
    let mut one = submission(url, save, LargeMessages::Upload, Tokens::default());
    one.memory = Arc::new(super::delivery::Memory::new(book.clone()));
    one
}

/// One that shares its turns.
pub fn submission_in(
    turns: &Turns,
    url: &str,
    save: bool,
    large: LargeMessages,
    tokens: Tokens,
) -> GraphSubmission {
    let http = http_client();
    let tokens = Arc::new(tokens);
    let account = account(url, false);
    let mut one = GraphSubmission::new("Mail.Sending", &account, save, large, tokens, http, turns);
    let client = Arc::get_mut(&mut one.client).expect("not shared yet");
    client.timing = TIMING;
    one
}

/// A whole answer after which the connection ends, for raw listeners.
pub fn raw(status: u16, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
