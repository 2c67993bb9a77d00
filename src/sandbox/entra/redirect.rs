//! Redirect addresses: which one is registered, and how an answer gets there.
//!
//! Danger: an address that is matched loosely sends a code to a stranger; one that is matched here
//! and not at Entra fails on the first day. Rule (facts/entra-oauth.md section 3): byte by byte, but
//! the port of `http://localhost` and `http://127.0.0.1`; no path and `/` are the same; `[::1]` is
//! never registered.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::super::accounts::{App, Platform};
use super::pages;

/// `response_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Query,
    Fragment,
    FormPost,
}

impl Mode {
    pub fn read(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("query") => Some(Self::Query),
            Some("fragment") => Some(Self::Fragment),
            Some("form_post") => Some(Self::FormPost),
            Some(_) => None,
        }
    }
}

/// The platform under which the address is registered.
pub(super) fn platform(app: &App, uri: &str) -> Option<Platform> {
    let wanted = without_loopback_port(uri);
    let is = |known: &str| without_loopback_port(known) == wanted;
    app.redirects.iter().find(|known| is(&known.uri)).map(|known| known.platform)
}

/// Host and path of a loopback address; anything else as it is.
fn without_loopback_port(uri: &str) -> String {
    for host in ["http://localhost", "http://127.0.0.1"] {
        let Some(rest) = uri.strip_prefix(host) else { continue };
        let path = match rest.strip_prefix(':') {
            Some(port) => {
                let digits = port.bytes().take_while(u8::is_ascii_digit).count();
                if !port[..digits].parse::<u16>().is_ok_and(|port| port > 0) {
                    return uri.to_owned();
                }
                &port[digits..]
            }
            None => rest,
        };
        if path.is_empty() || path.starts_with('/') {
            let path = if path.is_empty() { "/" } else { path };
            return format!("{host}{path}");
        }
    }
    uri.to_owned()
}

/// The answer at a redirect address.
pub(super) fn answer(uri: &str, mode: Mode, fields: &[(&str, String)]) -> Response {
    if mode == Mode::FormPost {
        return pages::form_post(uri, fields);
    }
    let pairs: Vec<String> =
        fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    let separator = match mode {
        Mode::Fragment => '#',
        _ if uri.contains('?') => '&',
        _ => '?',
    };
    let location = format!("{}{separator}{}", with_path(uri), pairs.join("&"));
    let Ok(location) = HeaderValue::from_str(&location) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    (StatusCode::FOUND, [(header::LOCATION, location)]).into_response()
}

/// An address without a path comes back with one.
fn with_path(uri: &str) -> String {
    let bare = uri.split_once("://").is_some_and(|(_, rest)| !rest.contains(['/', '?']));
    if bare { format!("{uri}/") } else { uri.to_owned() }
}

/// Percent-encoded (RFC 3986 section 2.3).
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_ports_are_ignored() {
        let app = App::new("t")
            .with_redirect("http://localhost", Platform::Native)
            .with_redirect("http://127.0.0.1:7/Back", Platform::Native)
            .with_redirect("https://app.example/cb", Platform::Web)
            .with_redirect("http://localhost:1/spa", Platform::Spa);
        let table = [
            ("http://localhost", Some(Platform::Native)),
            ("http://localhost/", Some(Platform::Native)),
            ("http://localhost:8400", Some(Platform::Native)),
            ("http://localhost:65535/", Some(Platform::Native)),
            ("http://localhost:65536/", None),
            ("http://localhost:0", None),
            ("http://localhost:x", None),
            ("http://localhost:", None),
            ("http://localhost:8400/other", None),
            ("http://localhost:8400?x=1", None),
            ("http://localhost.evil.example", None),
            ("http://LOCALHOST:1", None),
            ("https://localhost:8400", None),
            ("http://127.0.0.1:9/Back", Some(Platform::Native)),
            ("http://127.0.0.1:9/back", None),
            ("http://127.0.0.1:9", None),
            ("http://[::1]:9/Back", None),
            ("https://app.example/cb", Some(Platform::Web)),
            ("https://app.example:443/cb", None),
            ("https://app.example/cb/", None),
            ("http://localhost:2/spa", Some(Platform::Spa)),
        ];
        for (uri, want) in table {
            assert_eq!(platform(&app, uri), want, "{uri}");
        }
    }

    #[test]
    fn answers_are_escaped_and_have_a_path() {
        let fields = [("code", "a b&c".to_owned())];
        let table = [
            ("http://localhost:1", Mode::Query, "http://localhost:1/?code=a%20b%26c"),
            ("http://localhost:1/x?y=1", Mode::Query, "http://localhost:1/x?y=1&code=a%20b%26c"),
            ("http://localhost:1/x", Mode::Fragment, "http://localhost:1/x#code=a%20b%26c"),
        ];
        for (uri, mode, want) in table {
            let response = answer(uri, mode, &fields);
            assert_eq!(response.status(), StatusCode::FOUND);
            assert_eq!(response.headers()[header::LOCATION], want);
        }
        assert_eq!(Mode::read(Some("web_message")), None);
    }
}
