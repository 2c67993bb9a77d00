//! What every request must pass, and what every answer carries.
//!
//! Danger: a web site that the administrator visits can name itself after this machine (DNS
//! rebinding) and read the page, or have the browser post a form to it (cross-site request, login
//! CSRF). Rule: the name in the address must be `localhost`, an IP address or a name of our own
//! certificate, whichever port stands behind it (tunnels change it, and rebinding needs a name);
//! whatever is not a plain read must come from this very origin, as browsers always say; another site
//! may lead to a page by a link, and load or frame none. The answer tells the browser to load nothing
//! from outside and to show the page in nobody's frame.
//!
//! The referrer policy is `same-origin`: with `no-referrer` browsers send `Origin: null` with our
//! own forms (Fetch, "append a request Origin header"), which could not be told from a stranger's.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};

/// Scripts and styles are ours; forms go to us; nobody frames the page.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; frame-ancestors 'none'; \
                      base-uri 'none'";

/// Fields of every answer.
const FIELDS: &[(&str, &str)] = &[
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cache-control", "no-store"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
];

/// A day: long enough between two visits, short enough when TLS is turned off again. It is sent under
/// names of the certificate only: `localhost` is the name of all web servers of a machine, and a
/// browser that took it would reach none of the others, nor the redirect of a sign-in.
const TRANSPORT: &str = "max-age=86400";

/// Why a request is not even looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The address names somebody else.
    Host,
    /// Another site's form or script.
    Origin,
}

impl Refusal {
    /// For the person in front of the browser.
    pub fn text(self) -> &'static str {
        match self {
            Self::Host => {
                "This page answers to localhost, to IP addresses and to the names in its \
                 certificate only, so that no web site can pass itself off as it. Open it by one \
                 of those, such as http://127.0.0.1:8025/."
            }
            Self::Origin => {
                "This request did not come from this page, so nothing was done. Open the page \
                 itself and press the button there."
            }
        }
    }
}

/// Looks at a request before anything else does. `names` stand in the certificate.
pub(super) fn admit(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    tls: bool,
    names: &[String],
) -> Result<(), Refusal> {
    let host = host(uri, headers).ok_or(Refusal::Host)?;
    let (name, _port) = split(host).ok_or(Refusal::Host)?;
    if !is_ours(name, names) {
        return Err(Refusal::Host);
    }
    let is_read = *method == Method::GET || *method == Method::HEAD;
    let may_pass = match is_read {
        true => is_link_or_ours(headers),
        false => is_same_origin(headers, host, tls),
    };
    match may_pass {
        true => Ok(()),
        false => Err(Refusal::Origin),
    }
}

/// The one `Host` field; an absolute address (RFC 9112 section 3.2.2) must say the same.
fn host<'a>(uri: &Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let mut fields = headers.get_all(header::HOST).iter();
    let host = fields.next()?.to_str().ok()?;
    let agrees = uri.authority().is_none_or(|named| named.as_str().eq_ignore_ascii_case(host));
    (fields.next().is_none() && agrees).then_some(host)
}

/// Whether the browser knows us by a name that is ours alone. The request was let in.
pub(super) fn is_own_name(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).and_then(split);
    host.is_some_and(|(name, _)| !is_ours(name, &[]))
}

/// The port of the address by which the browser knows us; `None`: that of the scheme.
pub(super) fn port(headers: &HeaderMap) -> Option<u16> {
    split(headers.get(header::HOST)?.to_str().ok()?)?.1
}

/// Name and port, where there is one.
fn split(host: &str) -> Option<(&str, Option<u16>)> {
    let end = match host.starts_with('[') {
        true => host.find(']')? + 1,
        false => host.find(':').unwrap_or(host.len()),
    };
    let (name, rest) = host.split_at(end);
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Some((name, None)),
        None => None,
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some((name, Some(port.parse().ok()?)))
        }
        Some(_) => None,
    }
}

fn is_ours(name: &str, names: &[String]) -> bool {
    if let Some(inner) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().is_ok();
    }
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<Ipv4Addr>().is_ok()
        || names.iter().any(|ours| matches(ours, name))
}

/// A name of the certificate; `*` stands for one label (RFC 9525 section 6.3).
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        None => pattern.eq_ignore_ascii_case(name),
        Some(domain) => name.split_once('.').is_some_and(|(first, rest)| {
            !first.is_empty() && domain.contains('.') && rest.eq_ignore_ascii_case(domain)
        }),
    }
}

/// Other sites, and other web servers of this machine ("same-site"), may only lead here: what they
/// load in the background or in a frame tells them something even where they can't read it (Fetch
/// Metadata, "resource isolation policy").
fn is_link_or_ours(headers: &HeaderMap) -> bool {
    let says = |name: &str, value: &str| headers.get(name).is_some_and(|field| field == value);
    let is_foreign = says("sec-fetch-site", "cross-site") || says("sec-fetch-site", "same-site");
    !is_foreign || (says("sec-fetch-mode", "navigate") && says("sec-fetch-dest", "document"))
}

/// Browsers send `Origin` with every post, and most say besides how it relates to us. A request that
/// says neither is no browser's, or one's that hides it: not taken.
fn is_same_origin(headers: &HeaderMap, host: &str, tls: bool) -> bool {
    let site = headers.get("sec-fetch-site");
    if site.is_some_and(|site| site != "same-origin") {
        return false;
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => site.is_some(),
        (Some(origin), None) => {
            let scheme = if tls { "https" } else { "http" };
            origin
                .to_str()
                .is_ok_and(|origin| origin.eq_ignore_ascii_case(&format!("{scheme}://{host}")))
        }
        (Some(_), Some(_)) => false,
    }
}

/// Puts the fields of every answer in; with `strict`, browsers come back over TLS only.
pub(super) fn protect(headers: &mut HeaderMap, strict: bool) {
    for (name, value) in FIELDS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if strict {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(TRANSPORT));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(pair).collect()
    }

    #[test]
    fn only_our_own_names_are_answered() {
        let names = ["proxy.example.com".to_owned(), "*.corp.example.com".to_owned()];
        for (host, ours) in [
            ("localhost", true),
            ("LOCALHOST:8025", true),
            ("127.0.0.1:8025", true),
            ("127.0.0.1:1", true),
            ("192.0.2.7", true),
            ("[::1]:8025", true),
            ("[::1]", true),
            ("proxy.example.com:8025", true),
            ("mail.corp.example.com", true),
            ("a.b.corp.example.com", false),
            ("corp.example.com", false),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("127.1", false),
            ("0x7f000001", false),
            ("localhost.", false),
            ("localhost@evil.example", false),
            ("localhost:80:80", false),
            ("localhost:+80", false),
            ("localhost:99999", false),
            ("[::1", false),
            ("[::1]x", false),
            ("[evil]", false),
            ("::1", false),
            ("", false),
        ] {
            let fields = headers(&[("host", host)]);
            let verdict = admit(&Method::GET, &Uri::from_static("/"), &fields, false, &names);
            let expected = if ours { Ok(()) } else { Err(Refusal::Host) };
            assert_eq!(verdict, expected, "{host}");
        }
    }

    #[test]
    fn a_host_is_there_once_and_agrees_with_an_absolute_address() {
        let get = |uri: &'static str, fields: &[(&'static str, &'static str)]| {
            admit(&Method::GET, &Uri::from_static(uri), &headers(fields), false, &[]).is_ok()
        };
        assert!(!get("/", &[]));
        assert!(!get("/", &[("host", "localhost"), ("host", "localhost")]));
        assert!(get("http://localhost:1/", &[("host", "localhost:1")]));
        assert!(!get("http://evil.example/", &[("host", "localhost:1")]));
        assert!(!get("http://evil.example/", &[("host", "evil.example")]));
    }

    #[test]
    fn changes_come_from_this_very_origin() {
        type Fields = &'static [(&'static str, &'static str)];
        let table: &[(Fields, bool, bool)] = &[
            (&[("origin", "http://127.0.0.1:8025")], false, true),
            (&[("origin", "https://127.0.0.1:8025")], true, true),
            (
                &[("origin", "http://127.0.0.1:8025"), ("sec-fetch-site", "same-origin")],
                false,
                true,
            ),
            (&[("sec-fetch-site", "same-origin")], false, true),
            (&[("origin", "https://127.0.0.1:8025")], false, false),
            (&[("origin", "http://127.0.0.1:8025")], true, false),
            (&[("origin", "http://127.0.0.1:9999")], false, false),
            (&[("origin", "http://localhost:8025")], false, false),
            (&[("origin", "http://evil.example")], false, false),
            (&[("origin", "null")], false, false),
            (
                &[("origin", "http://127.0.0.1:8025"), ("sec-fetch-site", "cross-site")],
                false,
                false,
            ),
            (&[("origin", "http://127.0.0.1:8025"), ("sec-fetch-site", "same-site")], false, false),
            (&[("sec-fetch-site", "none")], false, false),
            (&[("origin", "http://127.0.0.1:8025"), ("origin", "http://x")], false, false),
            (&[], false, false),
        ];
        for (fields, tls, right) in table {
            let mut all = headers(fields);
            all.insert("host", HeaderValue::from_static("127.0.0.1:8025"));
            let uri = Uri::from_static("/verify");
            for method in [Method::POST, Method::DELETE, Method::OPTIONS] {
                let verdict = admit(&method, &uri, &all, *tls, &[]);
                let expected = if *right { Ok(()) } else { Err(Refusal::Origin) };
                assert_eq!(verdict, expected, "{method} {fields:?} {tls}");
            }
            let is_foreign = fields.iter().any(|(_, value)| value.ends_with("-site"));
            let expected = if is_foreign { Err(Refusal::Origin) } else { Ok(()) };
            assert_eq!(admit(&Method::GET, &uri, &all, *tls, &[]), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_name_is_ours_alone_when_it_is_of_the_certificate() {
        for (host, own, port) in [
            ("proxy.example.com:8025", true, Some(8025)),
            ("proxy.example.com", true, None),
            ("localhost:8025", false, Some(8025)),
            ("LOCALHOST", false, None),
            ("192.0.2.7:1", false, Some(1)),
            ("[::1]:443", false, Some(443)),
            ("localhost:x", false, None),
        ] {
            let fields = headers(&[("host", host)]);
            assert_eq!((is_own_name(&fields), super::port(&fields)), (own, port), "{host}");
        }
        assert!(!is_own_name(&HeaderMap::new()));
    }

    #[test]
    fn answers_load_nothing_from_outside() {
        let mut fields = HeaderMap::new();
        protect(&mut fields, false);
        let policy = fields["content-security-policy"].to_str().expect("text");
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        assert_eq!(fields["cache-control"], "no-store");
        assert!(!fields.contains_key("strict-transport-security"));
        protect(&mut fields, true);
        assert_eq!(fields["strict-transport-security"], TRANSPORT);
    }
}
