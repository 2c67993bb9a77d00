//! The routes, and what every request goes through on its way to one.
//!
//! Danger: a route that forgets to ask who is there. Rule: a handler gets at a session's parts only
//! through [`Member`], and at a form's fields only through [`Posted`], which has compared the
//! session's token; the gate in front of all routes looks at Host and Origin.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::attempts::Attempts;
use super::connection::Peer;
use super::jobs::Jobs;
use super::sessions::{Presence, Sessions, cookie_name, values_of};
use super::{Page, RoleInfo, assets, guard, health, job_page, login, overview, role_page};
use super::{frame, sign_in_page, spool_page};
use crate::secret::Secret;

/// A form: the largest is an address that a browser has ended at, with a code of some kilobytes.
const MAX_BODY: usize = 64 * 1024;

/// For a request, body and answer together; a device code is asked for in between.
const PATIENCE: Duration = Duration::from_secs(60);

/// The page's script says that it, not a person, asks.
const SCRIPT_FIELD: &str = "x-authbridge-live";

/// What all handlers share.
pub(super) struct Site {
    pub page: Page,
    pub sessions: Sessions,
    pub jobs: Arc<Jobs>,
    pub attempts: Arc<Attempts>,
    pub started: Instant,
    pub stopping: CancellationToken,
}

impl Site {
    pub fn new(page: Page, stopping: CancellationToken) -> Self {
        Self {
            page,
            sessions: Sessions::default(),
            jobs: Arc::default(),
            attempts: Arc::default(),
            started: Instant::now(),
            stopping,
        }
    }

    /// The role of that name.
    pub fn role(&self, name: &str) -> Option<&RoleInfo> {
        self.page.roles.iter().find(|role| role.name == name)
    }
}

/// All routes behind the gate.
pub(super) fn router(site: &Arc<Site>) -> Router {
    Router::new()
        .route("/", get(overview::show))
        .route("/role/{name}", get(role_page::show))
        .route("/clients.csv", get(overview::clients_csv))
        .route("/verify", post(job_page::verify))
        .route("/send-test", post(job_page::send_test))
        .route("/job/{id}", get(job_page::show))
        .route("/sign-in", post(sign_in_page::begin))
        .route("/sign-in/{id}", get(sign_in_page::show))
        .route("/sign-in/{id}/paste", post(sign_in_page::paste))
        .route("/sign-in/{id}/cancel", post(sign_in_page::cancel))
        .route("/spool", get(spool_page::waiting))
        .route("/spool/dead", get(spool_page::dead))
        .route("/spool/{id}", get(spool_page::show))
        .route("/spool/{id}/retry", post(spool_page::retry))
        .route("/spool/{id}/drop", post(spool_page::remove))
        .route("/login", get(login::show).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/healthz", get(health::ready))
        .route("/healthz/ready", get(health::ready))
        .route("/healthz/live", get(health::live))
        .route("/metrics", get(health::metrics))
        .route("/static/page.css", get(assets::style))
        .route("/static/page.js", get(assets::script))
        .route("/static/icon.svg", get(assets::icon))
        .fallback(missing)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(Arc::clone(site), gate))
        .with_state(Arc::clone(site))
}

async fn gate(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let tls = request.extensions().get::<Peer>().is_some_and(|peer| peer.tls);
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    // Without TLS no browser has compared the name with the certificate.
    let names = if tls { site.page.host_names.as_slice() } else { &[] };
    let admitted = guard::admit(method, uri, headers, tls, names);
    let strict = tls && admitted != Err(guard::Refusal::Host) && guard::is_own_name(headers);
    let mut response = match admitted {
        Err(refusal @ guard::Refusal::Host) => {
            plain(StatusCode::MISDIRECTED_REQUEST, refusal.text())
        }
        Err(refusal @ guard::Refusal::Origin) => plain(StatusCode::FORBIDDEN, refusal.text()),
        Ok(()) => timeout(PATIENCE, next.run(request)).await.unwrap_or_else(|_| {
            plain(StatusCode::GATEWAY_TIMEOUT, "This took too long and was given up; try again.")
        }),
    };
    guard::protect(response.headers_mut(), strict);
    response
}

async fn missing(State(site): State<Arc<Site>>, member: Member) -> Response {
    let text = "There is no such page here, or no longer.";
    frame::notice(&site, &member, StatusCode::NOT_FOUND, "Not found", text)
}

/// A sentence without a page around it.
pub(super) fn plain(status: StatusCode, text: &str) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (status, headers, format!("{text}\n")).into_response()
}

/// Sends the browser to another page of ours (POST, redirect, GET).
pub(super) fn see_other(path: &str) -> Response {
    let location = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response()
}

/// The name of the session cookie of whoever sends these fields.
pub(super) fn cookie_for(headers: &HeaderMap, tls: bool) -> String {
    cookie_name(guard::port(headers), tls)
}

/// The cookie of the session that a request is of.
pub(super) fn cookie<'a>(site: &Site, headers: &'a HeaderMap, tls: bool) -> Option<&'a str> {
    let name = cookie_for(headers, tls);
    let fields = headers.get_all(header::COOKIE).iter().filter_map(|field| field.to_str().ok());
    site.sessions.own(values_of(fields, &name), Instant::now())
}

/// Somebody who has logged in; others are sent to the login page.
pub(super) struct Member {
    /// Goes into every form.
    pub csrf: Secret,
}

impl FromRequestParts<Arc<Site>> for Member {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Response> {
        let presence = match parts.headers.contains_key(SCRIPT_FIELD) {
            true => Presence::Script,
            false => Presence::Person,
        };
        let tls = parts.extensions.get::<Peer>().is_some_and(|peer| peer.tls);
        let csrf = cookie(site, &parts.headers, tls)
            .and_then(|cookie| site.sessions.csrf(cookie, presence, Instant::now()));
        csrf.map(|csrf| Self { csrf }).ok_or_else(|| see_other("/login"))
    }
}

/// A form of a member's own session.
pub(super) struct Posted {
    fields: Vec<(String, String)>,
    /// Who.
    pub member: Member,
}

impl Posted {
    /// A field's value without the blanks around it; empty when it is missing.
    pub fn field(&self, name: &str) -> &str {
        field(&self.fields, name).trim()
    }
}

impl FromRequest<Arc<Site>> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, site: &Arc<Site>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let member = Member::from_request_parts(&mut parts, site).await?;
        let fields = fields(Request::from_parts(parts, body), site).await?;
        // Compared in constant time: Secret's equality is.
        if Secret::new(field(&fields, "csrf")) != member.csrf {
            let text = "This form is not of your session, so nothing was done: it was opened \
                        before the last login. Go back, reload the page and press the button again.";
            return Err(frame::notice(site, &member, StatusCode::FORBIDDEN, "Not done", text));
        }
        Ok(Self { fields, member })
    }
}

/// The fields of a form.
pub(super) async fn fields(
    request: Request,
    site: &Arc<Site>,
) -> Result<Vec<(String, String)>, Response> {
    let form = Form::<Vec<(String, String)>>::from_request(request, site).await;
    form.map(|Form(fields)| fields).map_err(|error| {
        let status = error.into_response().status();
        plain(status, "This form can't be read. Go back, reload the page and try again.")
    })
}

/// The first of that name.
pub(super) fn field<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    fields.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
}
