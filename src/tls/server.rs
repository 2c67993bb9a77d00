//! The certificate that our own listeners show.
//!
//! Danger: an expired or unreadable certificate stops every client at once. Rule: what can't be
//! used is refused at start, with the file's name, and one whose time is over is named; without
//! configuration a pair for `localhost` is made in the state folder, its key readable for its owner
//! only, and made anew at a start shortly before its end.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, RootCertStore, ServerConfig};
use rustls_pki_types::UnixTime;
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::identity::problem;
use super::{Error, Identity};
use crate::platform;

/// How long a self-signed certificate lasts. Clients that pin it would break at each renewal.
const SELF_SIGNED_DAYS: i64 = 3650;

/// A start so long before its end makes a new one: the next start may come too late.
const RENEW_BEFORE: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 3600);

/// Whom ours is from. A pair that somebody else has put into the folder is never replaced.
const OWN_NAME: &str = "authbridge on localhost";

/// Quirk `no_tickets`: a TLS 1.3 ticket after STARTTLS wakes the reading thread of OfflineIMAP's
/// imaplib2 while its other thread writes, and now and then it waits for ever. A new handshake with
/// somebody on the same machine costs less than a millisecond.
const TICKETS: usize = 0;

/// Accepts TLS on our listeners. Cheap to clone.
#[derive(Clone)]
pub struct ServerTls {
    acceptor: TlsAcceptor,
    expires_at: Option<SystemTime>,
}

impl ServerTls {
    /// Shows the given certificate.
    pub fn from_files(certificate: &Path, key: Option<&Path>) -> Result<Self, Error> {
        let identity = Identity::load(certificate, key, "").map_err(|error| match error {
            Error::Content { path, problem } if problem.contains("PKCS#12") => Error::Content {
                path,
                problem: format!("{problem}; the listeners' file must have an empty password"),
            },
            error => error,
        })?;
        if let Some(trouble) = untimely(&identity, UnixTime::now()) {
            tracing::warn!("{}: {trouble}; clients will refuse it", certificate.display());
        }
        Self::from_identity(certificate, identity)
    }

    /// Shows the self-signed pair in `folder`, making it when there is none or it ends soon.
    pub fn self_signed(folder: &Path) -> Result<Self, Error> {
        let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        if !certificate.exists() || !key.exists() {
            make_self_signed(folder, &certificate, &key)?;
        } else if ends_soon(&certificate, &key, SystemTime::now()) {
            make_self_signed(folder, &certificate, &key)?;
            tracing::warn!(
                "{}: the certificate was about to end, so a new one was made; clients that trust \
                 the old one must be given it",
                certificate.display()
            );
        }
        Self::from_files(&certificate, Some(&key))
    }

    fn from_identity(path: &Path, identity: Identity) -> Result<Self, Error> {
        let expires_at = identity.expires_at();
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(identity.chain, identity.key)
            .map_err(|error| {
                let text = "certificate and key do not fit together; the file's first certificate \
                            must be the key's own";
                problem(path, format!("{text} ({error})"))
            })?;
        config.send_tls13_tickets = TICKETS;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), expires_at })
    }

    /// When the certificate that is shown ends, if it says so.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.expires_at
    }

    /// Does the handshake with a client.
    pub async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.acceptor.accept(stream).await
    }
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerTls")
    }
}

/// Says that the certificate's time is over or has not come; whom it is from does not matter here.
fn untimely(identity: &Identity, now: UnixTime) -> Option<&'static str> {
    let certificate = ParsedCertificate::try_from(identity.chain.first()?).ok()?;
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    // Nobody is trusted, so this always fails; but the time is looked at first.
    let nobody = RootCertStore::empty();
    let verdict =
        verify_server_cert_signed_by_trust_anchor(&certificate, &nobody, &[], now, algorithms.all);
    match verdict.err()? {
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => Some("the certificate has expired"),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => Some("the certificate is not valid yet, or this computer's clock is wrong"),
        _ => None,
    }
}

/// True for a certificate of ours that is in its last days. One that can't be read is told later.
fn ends_soon(certificate: &Path, key: &Path, now: SystemTime) -> bool {
    let Ok(identity) = Identity::load(certificate, Some(key), "") else { return false };
    let end = identity.expires_at().filter(|end| *end <= now + RENEW_BEFORE);
    let first = identity.chain.first().and_then(|der| Certificate::from_der(der).ok());
    end.is_some() && first.is_some_and(|first| is_ours(&first))
}

fn is_ours(certificate: &Certificate) -> bool {
    let own = format!("CN={OWN_NAME}");
    let (subject, issuer) =
        (certificate.tbs_certificate().subject(), certificate.tbs_certificate().issuer());
    subject.to_string() == own && issuer.to_string() == own
}

fn make_self_signed(folder: &Path, certificate: &Path, key: &Path) -> Result<(), Error> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::File { path, source }
    };
    platform::create_private_directory(folder).map_err(file(folder))?;
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let failed = |error: rcgen::Error| problem(certificate, format!("can't be made ({error})"));
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, OWN_NAME);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = OffsetDateTime::now_utc() - Duration::days(1);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(SELF_SIGNED_DAYS);
    let pair = KeyPair::generate().map_err(failed)?;
    let signed = params.self_signed(&pair).map_err(failed)?;
    // A key without its certificate, after a crash in between, is made anew.
    for path in [certificate, key] {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(file(path)(error));
            }
            _ => {}
        }
    }
    platform::write_private_file(key, pair.serialize_pem().as_bytes()).map_err(file(key))?;
    std::fs::write(certificate, signed.pem()).map_err(file(certificate))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::{ClientTls, install_provider};
    use super::*;

    #[tokio::test]
    async fn a_client_that_trusts_the_self_signed_pair_connects_by_the_right_name_only() {
        install_provider();
        let folder = tempfile::tempdir().expect("temporary folder");
        let server = ServerTls::self_signed(folder.path()).expect("made");
        let client = ClientTls::new(Some(&folder.path().join("cert.pem"))).expect("trusted");
        for (name, trusted) in [("localhost", true), ("127.0.0.1", true), ("example.com", false)] {
            let (near, far) = tokio::io::duplex(16 << 10);
            let server = server.clone();
            let accepted = tokio::spawn(async move {
                let mut stream = server.accept(far).await?;
                stream.write_all(b"hello").await?;
                stream.shutdown().await
            });
            let connected = client.connect(name, near).await;
            assert_eq!(connected.is_ok(), trusted, "{name}");
            if let Ok(mut stream) = connected {
                let mut text = String::new();
                stream.read_to_string(&mut text).await.expect("read");
                assert_eq!(text, "hello");
                assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0, "quirk no_tickets");
            }
            assert_eq!(accepted.await.expect("no panic").is_ok(), trusted, "{name}");
        }
    }

    #[test]
    fn the_pair_is_made_once_and_a_lost_half_is_replaced() {
        install_provider();
        let folder = tempfile::tempdir().expect("temporary folder");
        let read = |name: &str| std::fs::read(folder.path().join(name)).expect("there");
        ServerTls::self_signed(folder.path()).expect("made");
        let first = read("cert.pem");
        ServerTls::self_signed(folder.path()).expect("read");
        assert_eq!(read("cert.pem"), first);
        let day = std::time::Duration::from_secs(24 * 3600);
        let end = SystemTime::now() + day * u32::try_from(SELF_SIGNED_DAYS).expect("few");
        let shown = ServerTls::self_signed(folder.path()).expect("read").expires_at();
        assert!(shown.is_some_and(|shown| shown > end - day && shown < end + day), "{shown:?}");
        std::fs::remove_file(folder.path().join("cert.pem")).expect("removed");
        ServerTls::self_signed(folder.path()).expect("made again");
        assert_ne!(read("cert.pem"), first);
    }

    #[test]
    fn a_pair_of_ours_is_made_anew_before_its_end_and_a_foreign_one_is_kept() {
        install_provider();
        for (name, days, renewed) in
            [(OWN_NAME, 10, true), (OWN_NAME, -1, true), (OWN_NAME, 40, false), ("erp", 10, false)]
        {
            let folder = tempfile::tempdir().expect("temporary folder");
            let file = |name: &str| folder.path().join(name);
            let mut params = CertificateParams::new(Vec::new()).expect("no names");
            params.distinguished_name.push(DnType::CommonName, name);
            params.not_after = OffsetDateTime::now_utc() + Duration::days(days);
            let pair = KeyPair::generate().expect("a key");
            let pem = params.self_signed(&pair).expect("signed").pem();
            std::fs::write(file("cert.pem"), &pem).expect("written");
            std::fs::write(file("key.pem"), pair.serialize_pem()).expect("written");
            let shown = ServerTls::self_signed(folder.path()).expect("read or made");
            let kept = std::fs::read_to_string(file("cert.pem")).expect("there") == pem;
            assert_eq!(kept, !renewed, "{name} {days}");
            let far = SystemTime::now() + RENEW_BEFORE;
            assert_eq!(shown.expires_at().is_some_and(|end| end > far), renewed || days == 40);
        }
    }

    #[test]
    fn a_certificate_whose_time_is_over_or_has_not_come_is_told() {
        install_provider();
        let folder = tempfile::tempdir().expect("temporary folder");
        ServerTls::self_signed(folder.path()).expect("made");
        let load = |name: &str| folder.path().join(name);
        let identity = Identity::load(&load("cert.pem"), Some(&load("key.pem")), "").expect("read");
        let years = |count: i64| {
            let time = OffsetDateTime::now_utc() + Duration::days(365 * count);
            let secs = u64::try_from(time.unix_timestamp()).expect("after 1970");
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(secs))
        };
        assert_eq!(untimely(&identity, years(0)), None);
        assert_eq!(untimely(&identity, years(11)), Some("the certificate has expired"));
        assert!(untimely(&identity, years(-1)).is_some_and(|text| text.contains("not valid yet")));
    }

    fn fixture(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/keys").join(name)
    }

    #[test]
    fn a_pkcs12_file_needs_an_empty_password_and_a_pair_must_fit() {
        install_provider();
        let error = ServerTls::from_files(&fixture("entra.pfx"), None).expect_err("a password");
        assert!(error.to_string().contains("empty password"), "{error}");
        let folder = tempfile::tempdir().expect("temporary folder");
        ServerTls::self_signed(folder.path()).expect("made");
        let foreign = folder.path().join("key.pem");
        let error = ServerTls::from_files(&fixture("entra.pem"), Some(&foreign)).expect_err("two");
        assert!(error.to_string().contains("the key's own"), "{error}");
        ServerTls::from_files(&fixture("entra.pem"), None).expect("key and certificate in one");
    }

    #[test]
    fn a_broken_file_is_named() {
        install_provider();
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("bad.pem");
        std::fs::write(&path, "-----BEGIN NONSENSE-----\n-----END NONSENSE-----\n").expect("write");
        let error = ServerTls::from_files(&path, None).expect_err("refused").to_string();
        assert!(error.contains("bad.pem") && error.contains("certificate"), "{error}");
        let error = ServerTls::from_files(&folder.path().join("none"), None).expect_err("refused");
        assert!(error.to_string().contains("none"), "{error}");
    }
}
