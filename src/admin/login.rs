//! The login form and the logout.
//!
//! Danger: an answer that tells a lock-out from a wrong password tells a guesser when to go on; a
//! login that a strange site posts puts its session into the administrator's browser. Rule: there is
//! one refusal, whatever its reason, after the same time; the gate has compared the form's origin
//! with ours (which is why the form needs no token of its own); each login makes a new session.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use maud::html;

use super::connection::Peer;
use super::frame;
use super::sessions::{clear_cookie, set_cookie};
use super::site::{Posted, Site, cookie, cookie_for, field, fields, plain, see_other};
use crate::secret::Secret;

/// For a wrong password, a lock-out and a service that is too busy to know.
const REFUSED: &str = "That is not the password, or there were too many wrong ones: then wait a few \
                       minutes.";

/// The form.
pub(super) async fn show() -> Response {
    form(StatusCode::OK, None)
}

fn form(status: StatusCode, complaint: Option<&str>) -> Response {
    let body = html! {
        main.narrow {
            h1 { "authbridge" }
            @if let Some(complaint) = complaint {
                p.complaint #complaint role="alert" { (complaint) }
            }
            form #login-form method="post" action="/login" {
                // Password stores want a name; there is but one login.
                input #username type="text" name="username" value="admin" hidden readonly
                    autocomplete="username" aria-label="User name";
                label for="password" { "Password" }
                input #password type="password" name="password" required autofocus
                    autocomplete="current-password";
                button #login type="submit" { "Log in" }
            }
            p.dim {
                "The password was printed when authbridge ran for the first time. "
                "To set another, put its hash into " code { "Proxy.Admin.PasswordHash" } "; "
                code { "authbridge passwd" } " makes one."
            }
        }
    };
    (status, frame::bare("Log in", &body)).into_response()
}

/// Checks the password.
pub(super) async fn log_in(
    State(site): State<Arc<Site>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    let old = cookie(&site, request.headers(), peer.tls).map(str::to_owned);
    let name = cookie_for(request.headers(), peer.tls);
    let fields = match fields(request, &site).await {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let password = Secret::new(field(&fields, "password"));
    if !site.page.actions.password_is_right(peer.address, password).await {
        tracing::warn!(address = %peer.address, "the web page's login was refused");
        return form(StatusCode::FORBIDDEN, Some(REFUSED));
    }
    if let Some(old) = old {
        site.sessions.end(&old);
    }
    let Some(value) = site.sessions.begin(Instant::now()) else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "The system gives no random numbers.");
    };
    tracing::info!(address = %peer.address, "logged in to the web page");
    with_cookie(see_other("/"), &set_cookie(&name, &value, peer.tls))
}

/// Ends the session.
pub(super) async fn log_out(
    State(site): State<Arc<Site>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    _posted: Posted,
) -> Response {
    if let Some(cookie) = cookie(&site, &headers, peer.tls) {
        site.sessions.end(cookie);
    }
    let name = cookie_for(&headers, peer.tls);
    with_cookie(see_other("/login"), &clear_cookie(&name, peer.tls))
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(mut value) = HeaderValue::from_str(cookie) {
        value.set_sensitive(true);
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}
