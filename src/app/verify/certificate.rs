//! TLS to a role's services: whose certificate it is, and how long it is good for.
//!
//! Danger: an inspection proxy shows a certificate of its own, which is fine for as long as its root
//! is trusted here and an outage on the day that it changes. Rule: the handshake is made with the
//! roots that are really used; what was shown is told with its days, and a root of
//! `Proxy.Upstream.CaPath` is named as such.

use std::error::Error as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::join_all;
use reqwest::{Method, Response, header};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::name::Name;

use super::Site;
use super::clock::{self, Seen};
use super::endpoint::{Endpoint, Way, Wire, proxy_for};
use super::network::Reached;
use super::progress::Outcome;
use super::starttls::{agree, goodbye};
use crate::admin::report::Verdict;
use crate::config::{MailServer, Security};
use crate::upstream::connect::{Dialogue, Failure, explain_certificate};

/// A service that has not renewed its certificate so long before its end has forgotten to.
const RENEWED_BY: Duration = Duration::from_secs(7 * DAY);

/// Seconds of a day.
const DAY: u64 = 24 * 3600;

/// Certificates of `Proxy.Upstream.CaPath` that are looked at.
const MAX_ROOTS: usize = 1000;

/// The names of the certificates in `Proxy.Upstream.CaPath`.
pub(super) struct OwnRoots(Vec<Name>);

impl OwnRoots {
    /// None when there is no file, or none that can be read: `ClientTls` has told that.
    pub fn read(path: Option<&Path>) -> Self {
        let content = path.and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        let roots = CertificateDer::pem_slice_iter(&content).flatten().take(MAX_ROOTS);
        let names = roots.filter_map(|root| Certificate::from_der(&root).ok());
        Self(names.map(|root| root.tbs_certificate().subject().clone()).collect())
    }
}

/// What is told of a service's certificate.
struct Shown {
    text: String,
    verdict: Verdict,
}

impl Site<'_> {
    /// Does the handshake with each service, and asks the HTTP ones for the time.
    pub(super) async fn secure(
        self,
        reached: Vec<Reached>,
    ) -> Result<(Outcome, Vec<Seen>), Outcome> {
        let results = join_all(reached.into_iter().map(|one| self.secure_one(one))).await;
        let (mut told, mut failures, mut seen) = (Vec::new(), Vec::new(), Vec::new());
        let mut verdict = Verdict::Works;
        for result in results {
            match result {
                Ok((shown, date)) => {
                    verdict = verdict.max(shown.verdict);
                    told.push(shown.text);
                    seen.extend(date);
                }
                Err(text) => failures.push(text),
            }
        }
        if !failures.is_empty() {
            return Err(Outcome::failed(failures.join("; ")));
        }
        let text = told.join("; ");
        let outcome = match verdict {
            Verdict::Works => Outcome::works(text),
            _ => Outcome::warning(text),
        };
        Ok((outcome, seen))
    }

    async fn secure_one(self, reached: Reached) -> Result<(Shown, Option<Seen>), String> {
        let Reached { endpoint, dialogue, .. } = reached;
        match (&endpoint.way, dialogue) {
            (Way::Http { origin, tls }, _) => self.visit(&endpoint, origin, *tls).await,
            (Way::Mail { server, wire }, Some(dialogue)) => {
                let shown = self.shake_hands(&endpoint, server, *wire, dialogue).await?;
                Ok((shown, None))
            }
            (Way::Mail { .. }, None) => Err(format!("{} was not reached", endpoint.host)),
        }
    }

    /// HTTP: the same client as in real use, proxy included. Any answer will do.
    async fn visit(
        self,
        endpoint: &Endpoint,
        origin: &str,
        tls: bool,
    ) -> Result<(Shown, Option<Seen>), String> {
        let begun = (Instant::now(), SystemTime::now());
        let request = self.builder.http().request(Method::HEAD, &format!("{origin}/"));
        let response = request.send().await.map_err(|error| {
            let proxy = proxy_for(&self.verifier.config, &endpoint.host.name);
            explain_http(endpoint, proxy, &error)
        })?;
        let seen = date(&response).map(|date| {
            let middle = begun.1 + begun.0.elapsed() / 2;
            Seen { host: endpoint.host.name.clone(), theirs: date, ours: middle }
        });
        if !tls {
            let text = format!("{} is asked without TLS, on this machine", endpoint.host);
            return Ok((Shown { text, verdict: Verdict::Works }, seen));
        }
        let info = response.extensions().get::<reqwest::tls::TlsInfo>();
        let certificate = info.and_then(|info| info.peer_certificate());
        let chain: Vec<&[u8]> = certificate.into_iter().collect();
        Ok((self.tell(endpoint, &chain), seen))
    }

    async fn shake_hands(
        self,
        endpoint: &Endpoint,
        server: &MailServer,
        wire: Wire,
        mut dialogue: Dialogue,
    ) -> Result<Shown, String> {
        if server.security == Security::Plain {
            goodbye(dialogue, wire).await;
            return Ok(plain(endpoint, server));
        }
        let failed = |failure: Failure| match failure {
            Failure::Certificate(text) => format!("{}: {text}", endpoint.host),
            failure => format!("{} {failure}", endpoint.host),
        };
        if server.security == Security::StartTls {
            agree(&mut dialogue, wire).await.map_err(failed)?;
        }
        let service = self.service(endpoint, server.security);
        let dialogue = service.start_tls(dialogue).await.map_err(failed)?;
        let chain: Vec<&[u8]> = dialogue.chain().iter().map(AsRef::as_ref).collect();
        let shown = self.tell(endpoint, &chain);
        goodbye(dialogue, wire).await;
        Ok(shown)
    }

    fn tell(self, endpoint: &Endpoint, chain: &[&[u8]]) -> Shown {
        let host = &endpoint.host.name;
        let own = chain.first().and_then(|own| Certificate::from_der(own).ok());
        let Some(own) = own else {
            let text = format!("{host}: TLS works");
            return Shown { text, verdict: Verdict::Works };
        };
        let own = own.tbs_certificate();
        let end = own.validity().not_after.to_system_time();
        let left = end.duration_since(SystemTime::now()).unwrap_or_default();
        let mut text =
            format!("{host}: the certificate is good for {} more days", left.as_secs() / DAY);
        let through_own = chain.iter().any(|one| {
            let one = Certificate::from_der(one).ok();
            one.is_some_and(|one| self.verifier.roots.0.contains(one.tbs_certificate().issuer()))
        });
        if through_own {
            let issuer = printable(&own.issuer().to_string());
            text.push_str(&format!(
                ", trusted through Proxy.Upstream.CaPath (issued by {issuer}: a private authority, \
                 or an inspection proxy on the way)"
            ));
        }
        if left > RENEWED_BY {
            return Shown { text, verdict: Verdict::Works };
        }
        text.push_str("; whoever runs the service should have renewed it by now: tell them");
        Shown { text, verdict: Verdict::Warning }
    }
}

/// A certificate's names are whatever its maker wrote.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

fn plain(endpoint: &Endpoint, server: &MailServer) -> Shown {
    let host = &endpoint.host;
    let loopback = host.name == "localhost"
        || host.name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    match (&server.auth, loopback) {
        (crate::config::ServerAuth::None, _) | (_, true) => {
            let text = format!("{host} is reached without TLS (UseSsl = False)");
            Shown { text, verdict: Verdict::Works }
        }
        _ => {
            let text = format!(
                "{host} is reached without TLS (UseSsl = False): login and mail cross the network \
                 readable for others; set UseSsl = True if the service offers TLS"
            );
            Shown { text, verdict: Verdict::Warning }
        }
    }
}

/// The time of an HTTP answer (RFC 9110 section 6.6.1).
fn date(response: &Response) -> Option<SystemTime> {
    clock::http_date(response.headers().get(header::DATE)?.to_str().ok()?)
}

fn explain_http(endpoint: &Endpoint, proxy: Option<&str>, error: &reqwest::Error) -> String {
    let Endpoint { what, key, host, .. } = endpoint;
    if let Some(rustls::Error::InvalidCertificate(problem)) = rustls_error(error) {
        let why = explain_certificate(&host.name, key, problem);
        return format!(
            "{what}, {host}: {why}; an inspection proxy on the way has such a root too"
        );
    }
    let cause = innermost(error);
    if cause.to_ascii_lowercase().contains("proxy auth") {
        return "the HTTP proxy asks for a login: put user and password into \
                Proxy.Upstream.HttpProxy (http://user:password@host:port)"
            .to_owned();
    }
    match proxy {
        Some(proxy) => format!(
            "{what}, {host}, is not reached through {proxy} ({cause}): check that this proxy is \
             the right one, runs, and lets connections to {host} pass"
        ),
        None => format!(
            "{what}, {host}, does not answer over HTTPS ({cause}): check {key}, \
             Proxy.Upstream.HttpProxy, and firewalls on the way"
        ),
    }
}

/// rustls's own words lie inside an I/O error, which does not show them as its source.
fn rustls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| in_io(inner)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

fn in_io<'a>(
    inner: &'a (dyn std::error::Error + Send + Sync + 'static),
) -> Option<&'a rustls::Error> {
    let nested = inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    inner.downcast_ref::<rustls::Error>().or_else(|| nested.and_then(in_io))
}

fn innermost(error: &reqwest::Error) -> String {
    let mut innermost = error.source();
    while let Some(deeper) = innermost.and_then(|error| error.source()) {
        innermost = Some(deeper);
    }
    innermost.map_or_else(|| "no further cause known".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_of_ones_own_are_known_by_name() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("ca.pem");
        let made = rcgen::generate_simple_self_signed(vec!["ca.example".to_owned()]);
        let made = made.expect("certificate");
        std::fs::write(&file, made.cert.pem()).expect("written");
        assert_eq!(OwnRoots::read(Some(&file)).0.len(), 1);
        assert!(OwnRoots::read(Some(&folder.path().join("absent"))).0.is_empty());
        assert!(OwnRoots::read(None).0.is_empty());
        assert_eq!(printable("a\r\nb"), "a  b");
    }
}
