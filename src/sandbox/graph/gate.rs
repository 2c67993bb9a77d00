//! What every Graph request passes: ids, token, concurrency, size.
//!
//! Danger: a request let in without these checks would make a client look right that Graph refuses.
//! Rule: the token's audience must be Graph, at most four requests run at a time per application
//! and mailbox (facts/graph-mail.md section 11), a body has at most 4 MB, and every answer carries
//! `request-id`.

use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::accounts::{Mailbox, Provider, guid};
use super::super::faults::{Place, What};
use super::super::store::{Cloud, State as Store};
use super::super::web;
use super::batch;
use super::error::GraphError;

/// The resource in the tokens we take.
const AUDIENCE: &str = "https://graph.microsoft.com";
/// Requests at a time per application and mailbox.
const MAX_AT_ONCE: usize = 4;
/// The largest request, "4 MB".
pub(super) const MAX_BODY: usize = 4 << 20;
/// How much of a larger request is read before it is refused: a client that is still writing
/// would see a reset instead of the 413.
const MAX_DRAINED: usize = 64 << 20;

/// Who asks, and how.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub app: String,
    tenant: String,
    roles: Vec<String>,
    /// The signed-in user's address; empty for an application's own token.
    user: String,
    /// The signed-in user's permissions.
    scopes: Vec<String>,
    /// `Prefer: IdType="ImmutableId"`.
    pub immutable: bool,
    /// `Prefer: odata.maxpagesize=…`.
    pub page_size: Option<usize>,
    /// True in the version `beta`.
    pub beta: bool,
    /// Path and query as they came, octet by octet.
    pub asked: String,
}

/// What an application may be granted for mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    Read,
    Write,
    Send,
    /// What only `Mail-Advanced` may.
    Advanced,
}

impl Right {
    fn roles(self) -> &'static [&'static str] {
        match self {
            Self::Advanced => &["Mail-Advanced.ReadWrite.All"],
            other => other.scopes(),
        }
    }

    /// Delegated permissions, without `.Shared`.
    fn scopes(self) -> &'static [&'static str] {
        match self {
            Self::Read => &["Mail.Read", "Mail.ReadWrite"],
            Self::Write => &["Mail.ReadWrite"],
            Self::Send => &["Mail.Send"],
            Self::Advanced => &["Mail-Advanced.ReadWrite"],
        }
    }
}

impl Caller {
    /// The mailbox's primary address, when the user exists, has a mailbox, and the token the right.
    pub fn open(&self, store: &Store, user: &str, right: Right) -> Result<String, GraphError> {
        let unknown = || {
            let text = format!("The requested user '{user}' is invalid.");
            GraphError::new(StatusCode::NOT_FOUND, "ErrorInvalidUser", text)
        };
        let found = store.mailboxes.iter().find(|mailbox| self.is(mailbox, user));
        // Without any such right nothing is said about who exists.
        if !self.may(right, found) {
            return Err(GraphError::access_denied());
        }
        let mailbox = found.ok_or_else(unknown)?;
        if let Provider::Microsoft { rest_enabled: false, .. } = mailbox.provider {
            let text = "The mailbox is either inactive, soft-deleted, or is hosted on-premise.";
            return Err(GraphError::new(
                StatusCode::NOT_FOUND,
                "MailboxNotEnabledForRESTAPI",
                text,
            ));
        }
        Ok(mailbox.address.clone())
    }

    /// An application's role opens every mailbox. A user's permission opens their own; another's
    /// takes a `.Shared` one and access to it.
    fn may(&self, right: Right, mailbox: Option<&Mailbox>) -> bool {
        if self.user.is_empty() {
            return self.roles.iter().any(|role| right.roles().contains(&role.as_str()));
        }
        let own = mailbox.is_none_or(|found| found.address.eq_ignore_ascii_case(&self.user));
        let open = mailbox.is_none_or(|found| found.opens_for(&self.user));
        open && self.scopes.iter().any(|scope| {
            let plain = scope.strip_suffix(".Shared");
            let name = plain.unwrap_or(scope);
            (own || plain.is_some()) && right.scopes().contains(&name)
        })
    }

    /// `v1.0` or `beta`.
    pub fn version(&self) -> &'static str {
        if self.beta { "beta" } else { "v1.0" }
    }

    /// The path as it came.
    pub fn path(&self) -> &str {
        self.asked.split('?').next().unwrap_or_default()
    }

    /// Object id or user principal name, in the token's own tenant; an alias is neither.
    fn is(&self, mailbox: &Mailbox, user: &str) -> bool {
        matches!(&mailbox.provider, Provider::Microsoft { tenant, object_id, .. }
            if *tenant == self.tenant
                && (object_id.eq_ignore_ascii_case(user)
                    || mailbox.address.eq_ignore_ascii_case(user)))
    }
}

/// The middleware.
pub(super) async fn gate(
    State(cloud): State<Arc<Cloud>>,
    request: Request,
    next: Next,
) -> Response {
    cloud.state().tally.requests += 1;
    if batch::is_batch(request.uri().path()) {
        return batch::answer(&cloud, request, next).await;
    }
    answer(&cloud, request, next).await
}

/// One request, alone or out of a batch.
pub(super) async fn answer(cloud: &Arc<Cloud>, request: Request, next: Next) -> Response {
    let client_id = request.headers().get("client-request-id").cloned();
    let response = match enter(cloud, request, next).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    };
    finished(response, client_id)
}

/// Writes refusals out and puts the ids on.
pub(super) fn finished(response: Response, client_id: Option<HeaderValue>) -> Response {
    let request_id = guid();
    let date = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    let client_text = client_id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or(&request_id);
    let mut response = match response.extensions().get::<GraphError>() {
        Some(error) => {
            let mut written = web::json(error.status, &error.body(&request_id, client_text, &date));
            if let Some(seconds) = error.retry_after {
                written.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            written
        }
        None => response,
    };
    let headers = response.headers_mut();
    headers.insert("request-id", HeaderValue::from_str(&request_id).unwrap_or(EMPTY));
    if let Some(id) = client_id {
        headers.insert("client-request-id", id);
    }
    if response.status() == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().entry(header::RETRY_AFTER).or_insert(HeaderValue::from(1));
    }
    response
}

const EMPTY: HeaderValue = HeaderValue::from_static("");

async fn enter(
    cloud: &Arc<Cloud>,
    mut request: Request,
    next: Next,
) -> Result<Response, GraphError> {
    let asked = request.uri().path_and_query().map_or("", |both| both.as_str()).to_owned();
    let mut path = plain_path(request.uri().path());
    cloud.state().tally.count(request.method().as_str(), &path);
    let mut caller = caller(cloud, request.headers())?;
    caller.beta = path.starts_with("/beta/");
    caller.asked.clone_from(&asked);
    // `/me` is whoever signed in; for an application's own token it is nobody.
    for version in ["/v1.0", "/beta"] {
        if let Some(rest) = path.strip_prefix(&format!("{version}/me/"))
            && !caller.user.is_empty()
        {
            path = format!("{version}/users/{}/{rest}", caller.user);
        }
    }
    let query = asked.split_once('?').map_or(String::new(), |(_, query)| format!("?{query}"));
    let broken = |_| GraphError::bad("BadRequest", "The path can't be read.");
    *request.uri_mut() = format!("{path}{query}").parse().map_err(broken)?;
    let user = path.split('/').nth(3).unwrap_or_default().replace("%40", "@").to_ascii_lowercase();
    refused_on_demand(cloud, super::place_of(request.method(), &path))?;
    let _slot = Slot::take(cloud, &caller.app, &user)?;
    let latency = cloud.state().limits.latency;
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let (mut parts, body) = request.into_parts();
    let body = limited(body).await?;
    parts.extensions.insert(caller);
    Ok(next.run(Request::from_parts(parts, Body::from(body))).await)
}

/// A refusal that a test asked for.
fn refused_on_demand(cloud: &Cloud, place: Place) -> Result<(), GraphError> {
    let asked = cloud.state().faults.take(place, |what| matches!(what, What::Graph(..)));
    let Some(What::Graph(status, code)) = asked else { return Ok(()) };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Err(GraphError::new(status, code, "Refused on demand."))
}

/// Collections by the spelling of the routes: Graph does not mind the case.
const COLLECTIONS: [&str; 4] = ["users", "mailFolders", "childFolders", "messages"];

/// `users('a')/mailFolders('b')` is `users/a/mailFolders/b`, and `delta()` is `delta`.
fn plain_path(path: &str) -> String {
    let mut out = Vec::new();
    for segment in path.split('/') {
        let keyed = segment.strip_suffix("')").and_then(|rest| rest.split_once("('"));
        let (name, key) = keyed.map_or((segment, None), |(name, key)| (name, Some(key)));
        let known = COLLECTIONS.into_iter().find(|known| known.eq_ignore_ascii_case(name));
        out.push(known.unwrap_or_else(|| name.trim_end_matches("()")));
        out.extend(key);
    }
    out.join("/")
}

pub(super) fn caller(cloud: &Cloud, headers: &HeaderMap) -> Result<Caller, GraphError> {
    let text = web::bearer(headers).ok_or_else(|| GraphError::token("Access token is empty."))?;
    let store = cloud.state();
    let known = store.tokens.contains_key(text);
    let token = store.token(text).ok_or_else(|| {
        GraphError::token(if known {
            "Lifetime validation failed, the token is expired."
        } else {
            "IDX14100: JWT is not well formed, or its signature is invalid."
        })
    })?;
    if token.audience != AUDIENCE {
        return Err(GraphError::token("Access token validation failure. Invalid audience."));
    }
    let mut caller = Caller {
        app: token.app.clone(),
        tenant: token.tenant.clone(),
        roles: token.roles.clone(),
        user: token.subject.clone(),
        scopes: token.scopes.clone(),
        immutable: false,
        page_size: None,
        beta: false,
        asked: String::new(),
    };
    let prefer = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    for wish in prefer.flat_map(|text| text.split(',')).map(str::trim) {
        caller.immutable |= wish.eq_ignore_ascii_case("IdType=\"ImmutableId\"");
        if let Some((name, size)) = wish.split_once('=')
            && name.trim().eq_ignore_ascii_case("odata.maxpagesize")
        {
            caller.page_size = size.trim().trim_matches('"').parse().ok();
        }
    }
    Ok(caller)
}

pub(super) async fn limited(body: Body) -> Result<Bytes, GraphError> {
    let mut kept = Vec::new();
    let mut length = 0;
    let mut stream = body.into_data_stream();
    while let Some(piece) = stream.next().await {
        let read = || GraphError::bad("RequestBodyRead", "The request body could not be read.");
        let piece = piece.map_err(|_| read())?;
        length += piece.len();
        if length > MAX_DRAINED {
            break;
        }
        if length <= MAX_BODY {
            kept.extend_from_slice(&piece);
        }
    }
    if length > MAX_BODY {
        let text = "The size of the request is larger than allowed.";
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return Err(GraphError::new(status, "RequestEntityTooLarge", text));
    }
    Ok(kept.into())
}

/// One of the few requests that run at a time.
struct Slot {
    cloud: Arc<Cloud>,
    key: (String, String),
}

impl Slot {
    fn take(cloud: &Arc<Cloud>, app: &str, user: &str) -> Result<Self, GraphError> {
        let key = (app.to_owned(), mailbox_key(cloud, user));
        let mut store = cloud.state();
        within_budget(&mut store, &key)?;
        let running = store.busy.entry(key.clone()).or_default();
        if *running >= MAX_AT_ONCE {
            let text = "Application is over its MailboxConcurrency limit.";
            let status = StatusCode::TOO_MANY_REQUESTS;
            return Err(GraphError::new(status, "ApplicationThrottled", text));
        }
        *running += 1;
        let running = *running;
        store.counters.most_at_once = store.counters.most_at_once.max(running);
        drop(store);
        Ok(Self { cloud: cloud.clone(), key })
    }
}

/// Requests that are throttled count too (facts/graph-mail.md section 11).
fn within_budget(store: &mut Store, key: &(String, String)) -> Result<(), GraphError> {
    let Some((most, window)) = store.limits.budget else { return Ok(()) };
    let now = Instant::now();
    let recent = store.tally.recent.entry(key.clone()).or_default();
    while recent.front().is_some_and(|time| now.duration_since(*time) >= window) {
        recent.pop_front();
    }
    recent.push_back(now);
    if recent.len() <= most {
        return Ok(());
    }
    // When enough of them are old.
    let oldest = recent.get(recent.len() - most - 1).copied().unwrap_or(now);
    let wait = window.saturating_sub(now.duration_since(oldest));
    let text = "Application is over its ApplicationThrottled limit.";
    let mut error = GraphError::new(StatusCode::TOO_MANY_REQUESTS, "ApplicationThrottled", text);
    error.retry_after = Some(wait.as_secs() + 1);
    Err(error)
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut store = self.cloud.state();
        if let Some(running) = store.busy.get_mut(&self.key) {
            *running -= 1;
        }
    }
}

/// Object id and address are one mailbox.
fn mailbox_key(cloud: &Cloud, user: &str) -> String {
    let store = cloud.state();
    let found = store.mailboxes.iter().find(|mailbox| {
        mailbox.object_id().eq_ignore_ascii_case(user) || mailbox.address.eq_ignore_ascii_case(user)
    });
    found.map_or_else(|| user.to_owned(), |mailbox| mailbox.address.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_brackets_are_segments() {
        let table = [
            (
                "/v1.0/users('a%40b')/mailFolders('c=')/messages/delta()",
                "/v1.0/users/a%40b/mailFolders/c=/messages/delta",
            ),
            ("/v1.0/Users/a/mailfolders/Inbox", "/v1.0/users/a/mailFolders/Inbox"),
            ("/v1.0/users/a/messages/b/$value", "/v1.0/users/a/messages/b/$value"),
        ];
        for (path, want) in table {
            assert_eq!(plain_path(path), want);
        }
    }
}
