//! `/healthz` for probes and `/metrics` for Prometheus.
//!
//! Danger: a probe that tells strangers about roles and failures; figures that are read only by
//! whoever has no password because the scraper can't log in; a reverse proxy on this machine makes
//! the whole world look like this machine. Rule: the health check says one word; the metrics are for
//! a request of this machine that nobody has passed on, or for who knows the page's password (HTTP
//! Basic, RFC 7617).

use std::sync::Arc;
use std::time::SystemTime;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Version, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::connection::Peer;
use super::site::{Site, plain};
use crate::oauth::{Ending, Expiry};
use crate::secret::Secret;
use crate::telemetry::metrics::{Credential, Ends};

/// The user name of `/metrics`.
const USER: &str = "admin";

/// Fields by which a proxy says for whom it asks (RFC 7239, RFC 9110 section 7.6.3, and habits).
const PASSED_ON: &[&str] = &[
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-real-ip",
    "cf-connecting-ip",
    "true-client-ip",
];

/// Asks for the password (RFC 9110 section 11.6.1).
const CHALLENGE: &str = "Basic realm=\"authbridge\", charset=\"UTF-8\"";

/// The text format of Prometheus.
const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The label of our own certificate, which belongs to no role.
const LISTENERS: &str = "listeners";

/// The process answers.
pub(super) async fn live() -> Response {
    plain(StatusCode::OK, "ok")
}

/// It takes clients.
pub(super) async fn ready(State(site): State<Arc<Site>>) -> Response {
    match site.stopping.is_cancelled() {
        false => plain(StatusCode::OK, "ok"),
        true => plain(StatusCode::SERVICE_UNAVAILABLE, "stopping"),
    }
}

/// The figures.
pub(super) async fn metrics(
    State(site): State<Arc<Site>>,
    Extension(peer): Extension<Peer>,
    version: Version,
    headers: HeaderMap,
) -> Response {
    if !may_read(&site, peer, version, &headers).await {
        let text = "User name admin and the web page's password, please.";
        let challenge = [(header::WWW_AUTHENTICATE, CHALLENGE)];
        return (challenge, plain(StatusCode::UNAUTHORIZED, text)).into_response();
    }
    let page = measured(&site, SystemTime::now()).await;
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], page).into_response()
}

async fn may_read(site: &Site, peer: Peer, version: Version, headers: &HeaderMap) -> bool {
    if peer.address.is_loopback() && !is_passed_on(version, headers) {
        return true;
    }
    let Some(password) = basic_password(headers) else { return false };
    let is_right = site.page.actions.password_is_right(peer.address, password).await;
    if !is_right {
        tracing::warn!(address = %peer.address, "a login for /metrics was refused");
    }
    is_right
}

/// True when a proxy asks for somebody else. nginx says nothing of the sort unless it is told to, but
/// asks in HTTP/1.0, which no scraper has spoken for twenty years.
fn is_passed_on(version: Version, headers: &HeaderMap) -> bool {
    version < Version::HTTP_11 || PASSED_ON.iter().any(|name| headers.contains_key(*name))
}

/// The password of an `Authorization: Basic` field for [`USER`].
fn basic_password(headers: &HeaderMap) -> Option<Secret> {
    let (scheme, credentials) =
        headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    (user == USER).then(|| Secret::new(password))
}

/// The page, with what changes by the clock alone as it is now.
async fn measured(site: &Site, now: SystemTime) -> String {
    // A cache that can't be read is told on the page and by `check`.
    let accounts = site.page.accounts.list().await.unwrap_or_default();
    let sources = site.page.roles.iter().filter_map(|role| Some((role, role.tokens.as_ref()?)));
    let known: Vec<_> = sources
        .map(|(role, tokens)| (role.name.as_str(), tokens.snapshot(), tokens.expiries()))
        .collect();
    let mut ends = Ends::default();
    for (role, subjects, expiries) in &known {
        for subject in subjects {
            if let Some(end) = subject.expires_at {
                ends.token(role, &subject.subject, seconds(end, now));
            }
        }
        credentials(&mut ends, role, expiries, now);
    }
    credentials(&mut ends, LISTENERS, &site.page.expiries, now);
    for account in &accounts {
        if let Some(end) = account.lapses_at {
            ends.sign_in(&account.username, &account.client_id, seconds(end, now));
        }
    }
    site.page.recorder.render(&ends)
}

fn credentials<'a>(ends: &mut Ends<'a>, role: &'a str, expiries: &[Expiry], now: SystemTime) {
    for expiry in expiries {
        let credential = match expiry.kind {
            Ending::Secret => Credential::Secret,
            Ending::Certificate | Ending::ListenerCertificate => Credential::Certificate,
            // Has a family of its own.
            Ending::SignIn { .. } => continue,
        };
        ends.credential(role, credential, seconds(expiry.at, now));
    }
}

/// Negative once it has ended.
fn seconds(end: SystemTime, now: SystemTime) -> f64 {
    match end.duration_since(now) {
        Ok(ahead) => ahead.as_secs_f64(),
        Err(behind) => -behind.duration().as_secs_f64(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_password_comes_out_of_basic_credentials_for_admin_only() {
        for (field, expected) in [
            (format!("Basic {}", STANDARD.encode("admin:s3cret")), Some("s3cret")),
            (format!("basic  {}", STANDARD.encode("admin:a:b")), Some("a:b")),
            (format!("Basic {}", STANDARD.encode("admin:")), Some("")),
            (format!("Basic {}", STANDARD.encode("root:s3cret")), None),
            (format!("Basic {}", STANDARD.encode("admin")), None),
            (format!("Bearer {}", STANDARD.encode("admin:s3cret")), None),
            ("Basic %%%".to_owned(), None),
            ("Basic".to_owned(), None),
        ] {
            let mut headers = HeaderMap::new();
            let value = HeaderValue::from_str(&field).expect("a field");
            headers.insert(header::AUTHORIZATION, value);
            let found = basic_password(&headers);
            assert_eq!(found.as_ref().map(Secret::expose), expected, "{field}");
        }
        assert!(basic_password(&HeaderMap::new()).is_none());
    }

    #[test]
    fn what_has_ended_counts_down_below_zero() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let hour = Duration::from_secs(60);
        assert!((seconds(now + hour, now) - 60.0).abs() < 1e-9);
        assert!((seconds(now - hour, now) + 60.0).abs() < 1e-9);
    }
}
