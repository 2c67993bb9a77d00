//! Where a role leads: every host that must be reached for it, and which key names it.
//!
//! Danger: a proof of the mail server alone says "fine" on a machine that can't reach the sign-in
//! service. Rule: whatever a role talks to is listed here, with the key that mends it; only Google's
//! key file may name another token service than is looked at.

use reqwest::Url;

use crate::config::{
    Config, Host, MailServer, Microsoft365, ReceivingKind, ReceivingRole, SendingKind, SendingRole,
    ServerAuth,
};

/// Where Google gives tokens, unless a setting says otherwise.
const GOOGLE_TOKENS: &str = "https://oauth2.googleapis.com/token";

/// What is spoken to a mail service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Smtp,
    Imap,
    Pop3,
}

/// How an endpoint is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// HTTP; the address without path.
    Http { origin: String, tls: bool },
    /// A mail service.
    Mail { server: MailServer, wire: Wire },
}

/// A host that a role needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// What it is to the administrator.
    pub what: &'static str,
    /// The setting that names it.
    pub key: &'static str,
    pub host: Host,
    pub way: Way,
}

impl Endpoint {
    fn http(what: &'static str, key: &'static str, address: &str) -> Option<Self> {
        let url = Url::parse(address).ok()?;
        let name = url.host_str()?.trim_matches(['[', ']']).to_owned();
        let host = Host { name, port: url.port_or_known_default()? };
        let tls = url.scheme() == "https";
        Some(Self {
            what,
            key,
            host,
            way: Way::Http { origin: url.origin().ascii_serialization(), tls },
        })
    }

    fn mail(server: &MailServer, wire: Wire) -> Self {
        let what = match wire {
            Wire::Smtp => "the SMTP service",
            Wire::Imap => "the IMAP service",
            Wire::Pop3 => "the POP3 service",
        };
        let way = Way::Mail { server: server.clone(), wire };
        Self { what, key: "the role's Server key", host: server.host.clone(), way }
    }

    fn authority(account: &Microsoft365) -> Option<Self> {
        let key = "Microsoft365.AuthorityUrl";
        Self::http("Microsoft's sign-in service", key, &account.authority_url)
    }

    fn graph(account: &Microsoft365) -> Option<Self> {
        Self::http("Microsoft Graph", "Microsoft365.GraphUrl", &account.graph_url)
    }
}

/// What a sending role needs.
pub(super) fn of_sending(role: &SendingRole) -> Vec<Endpoint> {
    match &role.kind {
        SendingKind::Smtp { server, .. } => of_server(server, Wire::Smtp),
        SendingKind::Microsoft365 { account, smtp, .. } => {
            let large = smtp.as_ref().map(|server| Endpoint::mail(server, Wire::Smtp));
            of_graph(account).into_iter().chain(large).collect()
        }
    }
}

/// What a receiving role needs.
pub(super) fn of_receiving(role: &ReceivingRole) -> Vec<Endpoint> {
    match &role.kind {
        ReceivingKind::Imap(server) => of_server(server, Wire::Imap),
        ReceivingKind::Pop3(server) => of_server(server, Wire::Pop3),
        ReceivingKind::Mapi => Vec::new(),
        ReceivingKind::Microsoft365 { account, .. } => of_graph(account),
    }
}

fn of_graph(account: &Microsoft365) -> Vec<Endpoint> {
    [Endpoint::authority(account), Endpoint::graph(account)].into_iter().flatten().collect()
}

fn of_server(server: &MailServer, wire: Wire) -> Vec<Endpoint> {
    let tokens = match &server.auth {
        ServerAuth::None | ServerAuth::Basic { .. } => None,
        ServerAuth::Google(account) => {
            let address = account.token_url.as_deref().unwrap_or(GOOGLE_TOKENS);
            Endpoint::http("Google's token service", "GoogleOAuth2.TokenUrl", address)
        }
        ServerAuth::Microsoft(account) => Endpoint::authority(account),
    };
    std::iter::once(Endpoint::mail(server, wire)).chain(tokens).collect()
}

/// What stands between us and a host over HTTP; `None`: nothing. As `oauth::HttpClient` decides.
pub(super) fn proxy_for(config: &Config, host: &str) -> Option<&'static str> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let loopback = host == "localhost"
        || host.ends_with(".localhost")
        || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    let exempt = || {
        let list = variable("NO_PROXY").or_else(|| variable("no_proxy")).unwrap_or_default();
        is_exempt(&list, host)
    };
    if loopback || exempt() {
        return None;
    }
    if config.upstream.http_proxy.is_some() {
        return Some("Proxy.Upstream.HttpProxy");
    }
    let names = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let set = names.into_iter().any(|name| variable(name).is_some());
    set.then_some("the HTTP proxy of the environment (HTTPS_PROXY)")
}

/// `NO_PROXY`: names and their subdomains, or `*`.
fn is_exempt(list: &str, host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    list.split(',').map(|entry| entry.trim().trim_start_matches('.').to_ascii_lowercase()).any(
        |entry| {
            let below = || host.strip_suffix(&entry).is_some_and(|rest| rest.ends_with('.'));
            entry == "*" || (!entry.is_empty() && (host == entry || below()))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_hosts() {
        for (address, host, origin, tls) in [
            (
                "https://login.example.com",
                "login.example.com:443",
                "https://login.example.com",
                true,
            ),
            ("https://localhost:8443/token", "localhost:8443", "https://localhost:8443", true),
            ("http://[::1]:80/x", "[::1]:80", "http://[::1]", false),
        ] {
            let endpoint = Endpoint::http("x", "K", address).expect(address);
            assert_eq!(endpoint.host.to_string(), host);
            assert_eq!(endpoint.way, Way::Http { origin: origin.to_owned(), tls });
        }
        assert_eq!(Endpoint::http("x", "K", "no address"), None);
    }

    #[test]
    fn hosts_are_exempt_from_the_proxy_by_name() {
        for (list, host, expected) in [
            ("", "a.example", false),
            ("a.example", "A.example", true),
            (".example, x", "a.example", true),
            ("example", "counterexample", false),
            ("*", "a.example", true),
            (" , ", "a.example", false),
        ] {
            assert_eq!(is_exempt(list, host), expected, "{list:?} {host}");
        }
    }
}
