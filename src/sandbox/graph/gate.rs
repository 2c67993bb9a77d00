//! What every Graph request passes: ids, token, concurrency, size.
//!
//! Danger: a request let in without these checks would make a client look right that Graph refuses.
//! Rule: the token's audience must be Graph, at most four requests run at a time per application
//! and mailbox (facts/graph-mail.md section 11), a body has at most 4 MB, and every answer carries
//! `request-id`.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::accounts::{Mailbox, Provider, guid};
use super::super::store::{Cloud, State as Store};
use super::super::web;
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
    /// `Prefer: IdType="ImmutableId"`.
    pub immutable: bool,
}

/// What an application may be granted for mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    Read,
    Write,
    Send,
}

impl Caller {
    /// The mailbox's primary address, when the user exists, has a mailbox, and the token the right.
    pub fn open(&self, store: &Store, user: &str, right: Right) -> Result<String, GraphError> {
        let wanted: &[&str] = match right {
            Right::Read => &["Mail.Read", "Mail.ReadWrite"],
            Right::Write => &["Mail.ReadWrite"],
            Right::Send => &["Mail.Send"],
        };
        if !self.roles.iter().any(|role| wanted.contains(&role.as_str())) {
            return Err(GraphError::access_denied());
        }
        let unknown = || {
            let text = format!("The requested user '{user}' is invalid.");
            GraphError::new(StatusCode::NOT_FOUND, "ErrorInvalidUser", text)
        };
        let found = store.mailboxes.iter().find(|mailbox| self.is(mailbox, user));
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
    let request_id = guid();
    let client_id = request.headers().get("client-request-id").cloned();
    let date = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    let response = match enter(&cloud, request, next).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    };
    let client_text = client_id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or(&request_id);
    let mut response = match response.extensions().get::<GraphError>() {
        Some(error) => web::json(error.status, &error.body(&request_id, client_text, &date)),
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

async fn enter(cloud: &Arc<Cloud>, request: Request, next: Next) -> Result<Response, GraphError> {
    let caller = caller(cloud, request.headers())?;
    let user = request.uri().path().split('/').nth(3).unwrap_or_default().to_ascii_lowercase();
    let _slot = Slot::take(cloud, &caller.app, &user)?;
    let (mut parts, body) = request.into_parts();
    let body = limited(body).await?;
    parts.extensions.insert(caller);
    Ok(next.run(Request::from_parts(parts, Body::from(body))).await)
}

fn caller(cloud: &Cloud, headers: &HeaderMap) -> Result<Caller, GraphError> {
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
    let immutable = headers.get_all("prefer").iter().any(|value| {
        value.to_str().is_ok_and(|text| {
            text.split(',').any(|one| one.trim().eq_ignore_ascii_case("IdType=\"ImmutableId\""))
        })
    });
    Ok(Caller {
        app: token.app.clone(),
        tenant: token.tenant.clone(),
        roles: token.roles.clone(),
        immutable,
    })
}

async fn limited(body: Body) -> Result<Bytes, GraphError> {
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
