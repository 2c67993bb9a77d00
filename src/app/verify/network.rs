//! The way to a role's services: names in the DNS, then TCP.
//!
//! Danger: "connection failed" does not say whether a name is wrong, a port is shut or a firewall
//! eats the packets. Rule: each is told apart in plain words, with the key that mends it; where a
//! proxy stands in between, that is said, since names are its business then.

use std::collections::BTreeSet;
use std::io;

use futures_util::future::join_all;

use super::Site;
use super::endpoint::{Endpoint, Way, proxy_for};
use super::progress::Outcome;
use crate::config::Security;
use crate::upstream::connect::{Dialogue, Failure, Service};

/// Addresses of a name that are told; large services have dozens.
const MAX_ADDRESSES: usize = 4;

/// An endpoint that answers.
pub(super) struct Reached {
    pub endpoint: Endpoint,
    /// The TCP connection; `None` where a proxy makes it.
    pub dialogue: Option<Dialogue>,
    /// What to say of it.
    told: String,
}

impl Site<'_> {
    /// Reaches all of them, at the same time.
    pub(super) async fn reach(
        self,
        endpoints: Vec<Endpoint>,
    ) -> Result<(Outcome, Vec<Reached>), Outcome> {
        let attempts = endpoints.into_iter().map(|endpoint| self.reach_one(endpoint));
        let mut reached = Vec::new();
        let mut failures = Vec::new();
        for attempt in join_all(attempts).await {
            match attempt {
                Ok(one) => reached.push(one),
                Err(text) => failures.push(text),
            }
        }
        if !failures.is_empty() {
            return Err(Outcome::failed(failures.join("; ")));
        }
        let told: Vec<&str> = reached.iter().map(|one| one.told.as_str()).collect();
        Ok((Outcome::works(told.join("; ")), reached))
    }

    async fn reach_one(self, endpoint: Endpoint) -> Result<Reached, String> {
        let host = endpoint.host.clone();
        if let (Way::Http { .. }, Some(proxy)) =
            (&endpoint.way, proxy_for(&self.verifier.config, &host.name))
        {
            let told = format!("{host} is reached through {proxy}, which looks the name up");
            return Ok(Reached { endpoint, dialogue: None, told });
        }
        let addresses = look_up(&endpoint).await?;
        let service = self.service(&endpoint, Security::Plain);
        let dialogue = service.connect().await.map_err(|failure| explain(&endpoint, &failure))?;
        let told = format!("{host} is reached ({addresses})");
        Ok(Reached { endpoint, dialogue: Some(dialogue), told })
    }

    /// The endpoint as `upstream` connects to it.
    pub(super) fn service(self, endpoint: &Endpoint, security: Security) -> Service {
        Service {
            role: String::new(),
            host: endpoint.host.clone(),
            security,
            tls: self.verifier.tls.clone(),
        }
    }
}

async fn look_up(endpoint: &Endpoint) -> Result<String, String> {
    let name = (endpoint.host.name.as_str(), endpoint.host.port);
    let found = tokio::net::lookup_host(name).await;
    let found = found.map_err(|error| explain(endpoint, &Failure::Resolve(error)))?;
    let addresses: BTreeSet<String> = found.map(|address| address.ip().to_string()).collect();
    let more = addresses.len().saturating_sub(MAX_ADDRESSES);
    let told: Vec<String> = addresses.into_iter().take(MAX_ADDRESSES).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Ok(told.join(", ") + &more)
}

/// What stands in the way, and where to look.
fn explain(endpoint: &Endpoint, failure: &Failure) -> String {
    let Endpoint { what, key, host, way } = endpoint;
    let through_proxy = match way {
        Way::Http { .. } => {
            ", or name the proxy in Proxy.Upstream.HttpProxy if this machine reaches the internet \
             only through one"
        }
        Way::Mail { .. } => "",
    };
    match failure {
        Failure::Resolve(error) if is_resolver_trouble(error) => format!(
            "{what}, {}: the DNS server does not answer ({error}): check this machine's name \
             resolution and its network{through_proxy}",
            host.name
        ),
        Failure::Resolve(error) => format!(
            "{what}, {}: the DNS knows no such name ({error}): look for a typing error in {key}\
             {through_proxy}",
            host.name
        ),
        Failure::Refused => format!(
            "{what}, {host}, refuses connections (the connection was refused: nobody listens \
             there): check host and port in {key}{through_proxy}"
        ),
        Failure::Unreachable => format!(
            "{what}, {host}, does not answer: a firewall on the way swallows the connection, or \
             the port is wrong; have outgoing connections to it allowed, and check {key}\
             {through_proxy}"
        ),
        other => format!("{what}, {host}: {other}: check the network and {key}{through_proxy}"),
    }
}

/// Resolvers say "Temporary failure in name resolution" (glibc), "try again" (musl), "temporarily"
/// (Windows).
fn is_resolver_trouble(error: &io::Error) -> bool {
    let text = error.to_string().to_ascii_lowercase();
    ["temporar", "try again"].iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::super::endpoint::of_receiving;
    use super::*;
    use crate::config::{Host, MailServer, ReceivingKind, ReceivingRole, ServerAuth};

    fn imap(name: &str) -> Endpoint {
        let host = Host { name: name.to_owned(), port: 993 };
        let server = MailServer { host, security: Security::Implicit, auth: ServerAuth::None };
        let role = ReceivingRole { name: "R".to_owned(), kind: ReceivingKind::Imap(server) };
        of_receiving(&role).remove(0)
    }

    #[test]
    fn failures_are_told_in_plain_words_with_the_key() {
        for (failure, words) in [
            (Failure::Resolve(io::Error::other("Name or service not known")), "no such name"),
            (
                Failure::Resolve(io::Error::other("Temporary failure in name resolution")),
                "DNS server does not answer",
            ),
            (Failure::Refused, "nobody listens"),
            (Failure::Unreachable, "firewall"),
            (Failure::Closed, "closed the connection"),
        ] {
            let text = explain(&imap("imap.example.com"), &failure);
            assert!(text.contains(words) && text.contains("imap.example.com"), "{text}");
            assert!(!text.contains("HttpProxy"), "mail does not go through it: {text}");
        }
        let text = explain(&imap("h"), &Failure::Refused);
        assert!(text.contains("h:993") && text.contains("Server key"), "{text}");
    }

    #[tokio::test]
    async fn names_are_looked_up() {
        assert_eq!(look_up(&imap("127.0.0.1")).await.as_deref(), Ok("127.0.0.1"));
        // Longer than a label may be: refused without asking anybody.
        let long = "x".repeat(70);
        let text = look_up(&imap(&long)).await.expect_err("no name");
        assert!(text.contains(&long) && text.contains("Server key"), "{text}");
    }
}
