//! What the listeners' certificate says about itself: its names and its end (RFC 5280).
//!
//! The certificate has been loaded already when this is asked; one that x509-cert can't read has no
//! names and no end here, and says nothing wrong.

use std::path::PathBuf;

use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::config::Config;
use crate::oauth::Expiry;
use crate::tls::Identity;

/// See the module.
#[derive(Default)]
pub(super) struct Facts {
    /// DNS names, `*.example.com` included.
    pub names: Vec<String>,
    pub expiry: Option<Expiry>,
}

/// That of this configuration.
pub(super) fn of(config: &Config) -> Facts {
    let made = config.state_directory.join("certs");
    let (certificate, key, fix) = match &config.tls {
        Some(files) => (
            files.certificate.clone(),
            files.key.clone(),
            "Get a new one, put it there and restart authbridge.",
        ),
        None => (
            made.join("cert.pem"),
            Some(made.join("key.pem")),
            "Delete cert.pem and key.pem and restart authbridge, which makes new ones.",
        ),
    };
    let Ok(identity) = Identity::load(&certificate, key.as_deref(), "") else {
        return Facts::default();
    };
    identity.chain.first().map(|der| read(der, &certificate, fix)).unwrap_or_default()
}

fn read(der: &[u8], path: &PathBuf, fix: &str) -> Facts {
    let Ok(certificate) = Certificate::from_der(der) else { return Facts::default() };
    let content = certificate.tbs_certificate();
    let what = format!("the listeners' certificate {} (Proxy.Tls.Certificate)", path.display());
    let at = content.validity().not_after.to_system_time();
    let names = match content.get_extension::<SubjectAltName>() {
        Ok(Some((_, names))) => names.0.iter().filter_map(dns_name).collect(),
        _ => Vec::new(),
    };
    Facts { names, expiry: Some(Expiry { what, at, fix: fix.to_owned() }) }
}

fn dns_name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn names_and_end_of_a_certificate_are_read() {
        let names =
            ["proxy.example.com".to_owned(), "*.example.org".to_owned(), "192.0.2.1".into()];
        let made = rcgen::generate_simple_self_signed(names).expect("made");
        let facts = read(made.cert.der(), &"cert.pem".into(), "renew it");
        assert_eq!(facts.names, ["proxy.example.com", "*.example.org"]);
        let expiry = facts.expiry.expect("an end");
        assert!(expiry.at > SystemTime::now() + Duration::from_secs(86_400 * 365));
        assert!(expiry.what.contains("cert.pem") && expiry.fix == "renew it");
    }

    #[test]
    fn what_is_no_certificate_says_nothing() {
        let facts = read(b"\x30\x03abc", &"cert.pem".into(), "");
        assert!(facts.names.is_empty() && facts.expiry.is_none());
    }
}
