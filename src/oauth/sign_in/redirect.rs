//! `RedirectUri`: where the browser goes when the person is done (RFC 8252 section 7.3).
//! <https://learn.microsoft.com/entra/identity-platform/reply-url>
//!
//! Danger: Entra compares the address byte by byte, but for the port of a loopback address;
//! `http://localhost` and `http://localhost/` are two addresses, and the one sent for the token
//! must be the one sent for the code. Rule: the text is cut, never parsed and printed again; only
//! the port is put in.

/// The port's room in an address whose host is this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loopback {
    /// `http://localhost`, as written.
    front: String,
    /// Path and query as written; may be empty.
    rest: String,
    /// The port that was named.
    pub port: Option<u16>,
    /// True for `localhost`, which browsers may take for `::1` as well as for `127.0.0.1`.
    pub both_families: bool,
}

/// A checked `RedirectUri`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    /// The browser comes back to this machine.
    Loopback(Loopback),
    /// The browser ends elsewhere; the person brings its address.
    Elsewhere(String),
}

const KEY: &str = "Microsoft365.PublicApp.RedirectUri";

impl Redirect {
    /// Reads the setting. The error is a sentence without a role.
    pub fn of(text: &str) -> Result<Self, String> {
        if text.contains('#') {
            // RFC 6749 section 3.1.2.
            return Err(format!(
                "{KEY} = {text:?} has a part after #, which no redirect address may have: write \
                 it exactly as under App registrations → Authentication"
            ));
        }
        match Loopback::of(text)? {
            Some(loopback) => Ok(Self::Loopback(loopback)),
            None => Ok(Self::Elsewhere(text.to_owned())),
        }
    }
}

impl Loopback {
    fn of(text: &str) -> Result<Option<Self>, String> {
        let Some((scheme, after)) = text.split_once("://") else { return Ok(None) };
        let end = after.find(['/', '?']).unwrap_or(after.len());
        let (authority, rest) = after.split_at(end);
        let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
        let both_families = host.eq_ignore_ascii_case("localhost");
        if !scheme.eq_ignore_ascii_case("http") || !(both_families || host == "127.0.0.1") {
            return Ok(None);
        }
        let front = format!("{scheme}://{host}");
        let port = match port {
            "" | "0" => None,
            digits => Some(digits.parse().map_err(|_| {
                format!("{KEY} = {text:?} has no port that exists: write http://localhost")
            })?),
        };
        Ok(Some(Self { front, rest: rest.to_owned(), port, both_families }))
    }

    /// The address that is sent, for the port that is listened on.
    pub fn address(&self, port: u16) -> String {
        format!("{}:{port}{}", self.front, self.rest)
    }

    /// The path that the browser asks for: never empty in HTTP (RFC 9112 section 3.2.1).
    pub fn path(&self) -> &str {
        match self.rest.split('?').next().unwrap_or_default() {
            "" => "/",
            path => path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_addresses_stay_as_they_are_written_but_for_the_port() {
        for (text, port, sent, path, both) in [
            ("http://localhost", None, "http://localhost:4711", "/", true),
            ("http://localhost/", None, "http://localhost:4711/", "/", true),
            ("http://localhost:8400", Some(8400), "http://localhost:4711", "/", true),
            ("http://localhost:8400/", Some(8400), "http://localhost:4711/", "/", true),
            ("http://localhost:0/x", None, "http://localhost:4711/x", "/x", true),
            ("http://localhost:/x", None, "http://localhost:4711/x", "/x", true),
            ("http://127.0.0.1", None, "http://127.0.0.1:4711", "/", false),
            ("http://127.0.0.1:80/Auth", Some(80), "http://127.0.0.1:4711/Auth", "/Auth", false),
            (
                "http://localhost/a//b%2Fc/",
                None,
                "http://localhost:4711/a//b%2Fc/",
                "/a//b%2Fc/",
                true,
            ),
            ("http://localhost/../a", None, "http://localhost:4711/../a", "/../a", true),
            ("http://localhost?x=1", None, "http://localhost:4711?x=1", "/", true),
            ("http://localhost/a?x=1", None, "http://localhost:4711/a?x=1", "/a", true),
            ("HTTP://LocalHost/A", None, "HTTP://LocalHost:4711/A", "/A", true),
        ] {
            let Ok(Redirect::Loopback(found)) = Redirect::of(text) else {
                unreachable!("{text} is loopback")
            };
            assert_eq!((found.port, found.address(4711).as_str()), (port, sent), "{text}");
            assert_eq!((found.path(), found.both_families), (path, both), "{text}");
        }
    }

    #[test]
    fn every_other_address_is_elsewhere_and_untouched() {
        for text in [
            "https://login.microsoftonline.com/common/oauth2/nativeclient",
            "https://localhost",
            "https://localhost:8443/",
            "http://[::1]:80/",
            "http://localhost.example.com/",
            "http://user@localhost/",
            "http://localhost@example.com/",
            "http://127.0.0.1.example.com",
            "http://127.0.0.2",
            "msal1234://auth",
            "urn:ietf:wg:oauth:2.0:oob",
        ] {
            assert_eq!(Redirect::of(text), Ok(Redirect::Elsewhere(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_can_never_work_is_refused_with_the_key() {
        for (text, word) in [
            ("http://localhost#x", "#"),
            ("https://example.com/#", "#"),
            ("http://localhost:http/", "port"),
            ("http://localhost:65536/", "port"),
            ("http://localhost:-1", "port"),
        ] {
            let problem = Redirect::of(text).expect_err(text);
            assert!(problem.contains(KEY) && problem.contains(word), "{problem}");
        }
    }
}
