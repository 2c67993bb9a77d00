//! The head of a request to the redirect's listener (RFC 9112 sections 3 and 5). No I/O.
//!
//! Danger: a web page that has pointed its own name at this machine (DNS rebinding) can call the
//! listener, and browsers fetch addresses ahead that nobody has opened. Rule: the Host field must
//! be this listener's, once; only GET opens anything; what is fetched ahead opens nothing.

use http::StatusCode;

/// What a request is, as far as the listener cares.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request<'a> {
    /// GET of the redirect's path: the query.
    Callback(&'a str),
    /// Anything else: the answer's status. `true`: the answer has no body (HEAD).
    Other(StatusCode, bool),
}

/// Reads a head that ends with its empty line. `path` and `port` are the listener's own.
pub(super) fn read<'a>(head: &'a [u8], path: &str, port: u16) -> Request<'a> {
    let Ok(head) = std::str::from_utf8(head) else { return Request::bad() };
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Request::bad();
    };
    if !version.starts_with("HTTP/1.") {
        return Request::bad();
    }
    let fields = Fields::of(lines);
    if !fields.host.is_some_and(|host| is_own(host, port)) {
        return Request::bad();
    }
    let is_head = method == "HEAD";
    if !is_head && method != "GET" {
        return Request::Other(StatusCode::METHOD_NOT_ALLOWED, false);
    }
    let (found, query) = target.split_once('?').unwrap_or((target, ""));
    match found == path {
        false => Request::Other(StatusCode::NOT_FOUND, is_head),
        // Safe (RFC 9110 section 9.2.1): the code stays for the GET that follows.
        true if is_head => Request::Other(StatusCode::OK, true),
        true if fields.is_ahead => Request::Other(StatusCode::SERVICE_UNAVAILABLE, false),
        true => Request::Callback(query),
    }
}

impl Request<'_> {
    fn bad() -> Self {
        Self::Other(StatusCode::BAD_REQUEST, false)
    }
}

struct Fields<'a> {
    /// `None` when it is missing or there twice (RFC 9112 section 3.2).
    host: Option<&'a str>,
    /// Fetched before anybody has asked for it.
    is_ahead: bool,
}

impl<'a> Fields<'a> {
    fn of(lines: impl Iterator<Item = &'a str>) -> Self {
        let mut hosts = Vec::new();
        let mut is_ahead = false;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("host") {
                hosts.push(value.trim());
            }
            // Fetch standard, and what older browsers send.
            let purpose = ["sec-purpose", "purpose", "x-purpose", "x-moz"];
            if purpose.iter().any(|known| name.eq_ignore_ascii_case(known)) {
                let value = value.to_ascii_lowercase();
                is_ahead |= value.contains("prefetch") || value.contains("preview");
            }
        }
        let host = match hosts.as_slice() {
            [host] => Some(*host),
            _ => None,
        };
        Self { host, is_ahead }
    }
}

/// The names by which this machine calls itself, with the listener's port.
fn is_own(host: &str, port: u16) -> bool {
    let names = ["localhost", "127.0.0.1", "[::1]"];
    names.iter().any(|name| match host.get(..name.len()) {
        Some(front) if front.eq_ignore_ascii_case(name) => {
            let rest = &host[name.len()..];
            rest.strip_prefix(':')
                .map_or(rest.is_empty() && port == 80, |digits| digits.parse() == Ok(port))
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str = "Host: localhost:4711\r\n";

    fn status(status: u16, is_head: bool) -> Request<'static> {
        Request::Other(StatusCode::from_u16(status).expect("a status"), is_head)
    }

    #[test]
    fn requests_are_told_apart() {
        for (line, fields, expected) in [
            ("GET /cb?code=1&state=2 HTTP/1.1", OK, Request::Callback("code=1&state=2")),
            ("GET /cb HTTP/1.0", OK, Request::Callback("")),
            ("GET /cb?a?b HTTP/1.1", OK, Request::Callback("a?b")),
            ("HEAD /cb?code=1 HTTP/1.1", OK, status(200, true)),
            ("HEAD /x HTTP/1.1", OK, status(404, true)),
            ("GET /favicon.ico HTTP/1.1", OK, status(404, false)),
            ("GET /cb/ HTTP/1.1", OK, status(404, false)),
            ("GET /CB HTTP/1.1", OK, status(404, false)),
            ("GET / HTTP/1.1", OK, status(404, false)),
            ("GET http://localhost:4711/cb?code=1 HTTP/1.1", OK, status(404, false)),
            ("POST /cb?code=1 HTTP/1.1", OK, status(405, false)),
            ("get /cb HTTP/1.1", OK, status(405, false)),
            ("OPTIONS * HTTP/1.1", OK, status(405, false)),
            ("GET /cb HTTP/2", OK, status(400, false)),
            ("GET /cb", OK, status(400, false)),
            ("GET  /cb HTTP/1.1", OK, status(400, false)),
            ("", OK, status(400, false)),
            ("GET /cb?code=1 HTTP/1.1", "", status(400, false)),
            ("GET /cb?code=1 HTTP/1.1", "Host: a\r\nHost: localhost:4711\r\n", status(400, false)),
            (
                "GET /cb?code=1 HTTP/1.1",
                "host: localhost:4711\r\nSec-Purpose: prefetch;prerender\r\n",
                status(503, false),
            ),
            ("GET /cb HTTP/1.1", "Host:localhost:4711\r\nX-moz: prefetch\r\n", status(503, false)),
        ] {
            let head = format!("{line}\r\n{fields}\r\n");
            assert_eq!(read(head.as_bytes(), "/cb", 4711), expected, "{line} {fields}");
        }
        assert_eq!(read(b"GET /\xff HTTP/1.1\r\n\r\n", "/", 1), Request::bad());
    }

    #[test]
    fn only_our_own_host_is_served() {
        for (host, port, own) in [
            ("localhost:4711", 4711, true),
            ("LOCALHOST:4711", 4711, true),
            ("127.0.0.1:4711", 4711, true),
            ("[::1]:4711", 4711, true),
            ("localhost", 80, true),
            ("localhost:80", 80, true),
            ("localhost", 4711, false),
            ("localhost:4712", 4711, false),
            ("localhost:", 4711, false),
            ("localhost.evil.example:4711", 4711, false),
            ("evil.example:4711", 4711, false),
            ("localhost@evil.example:4711", 4711, false),
            ("127.0.0.2:4711", 4711, false),
            ("::1:4711", 4711, false),
            ("", 80, false),
            ("ä", 80, false),
        ] {
            assert_eq!(is_own(host, port), own, "{host} {port}");
        }
    }
}
