//! The names in the listeners' certificate (RFC 5280 section 4.2.1.6): the page may be opened by
//! them.
//!
//! Danger: a name too many opens the page to DNS rebinding. Rule: only DNS names of the certificate
//! that the administrator has configured count, and over TLS only, where a browser has compared them
//! itself; one that x509-cert can't read has no names.

use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::config::Config;
use crate::tls::Identity;

/// DNS names, `*.example.com` included. The self-signed certificate names this machine only, which
/// the page answers to in any case.
pub(super) fn names(config: &Config) -> Vec<String> {
    let Some(files) = &config.tls else { return Vec::new() };
    let identity = Identity::load(&files.certificate, files.key.as_deref(), "").ok();
    let first = identity.as_ref().and_then(|identity| identity.chain.first());
    first.map(|der| read(der)).unwrap_or_default()
}

fn read(der: &[u8]) -> Vec<String> {
    let Ok(certificate) = Certificate::from_der(der) else { return Vec::new() };
    match certificate.tbs_certificate().get_extension::<SubjectAltName>() {
        Ok(Some((_, names))) => names.0.iter().filter_map(dns_name).collect(),
        _ => Vec::new(),
    }
}

fn dns_name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_names_of_a_certificate_are_read() {
        let names = ["proxy.example.com", "*.example.org", "192.0.2.1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).expect("made");
        assert_eq!(read(made.cert.der()), ["proxy.example.com", "*.example.org"]);
        assert_eq!(read(b"\x30\x03abc"), Vec::<String>::new());
    }
}
