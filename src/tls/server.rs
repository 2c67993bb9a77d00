//! The certificate that our own listeners show.
//!
//! Danger: an expired or unreadable certificate stops every client at once. Rule: what can't be
//! used is refused at start, with the file's name; without configuration a pair for `localhost`
//! is made once in the state folder, its key readable for its owner only.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::identity::problem;
use super::{Error, Identity};
use crate::platform;

/// How long a self-signed certificate lasts. Clients that pin it would break at each renewal.
const SELF_SIGNED_DAYS: i64 = 3650;

/// Accepts TLS on our listeners. Cheap to clone.
#[derive(Clone)]
pub struct ServerTls {
    acceptor: TlsAcceptor,
}

impl ServerTls {
    /// Shows the given certificate.
    pub fn from_files(certificate: &Path, key: Option<&Path>) -> Result<Self, Error> {
        let identity = Identity::load(certificate, key, "")?;
        Self::from_identity(certificate, identity)
    }

    /// Shows the self-signed pair in `folder`, making it when there is none.
    pub fn self_signed(folder: &Path) -> Result<Self, Error> {
        let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        if !certificate.exists() || !key.exists() {
            make_self_signed(folder, &certificate, &key)?;
        }
        Self::from_files(&certificate, Some(&key))
    }

    fn from_identity(path: &Path, identity: Identity) -> Result<Self, Error> {
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(identity.chain, identity.key)
            .map_err(|error| problem(path, format!("certificate and key do not fit ({error})")))?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)) })
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

fn make_self_signed(folder: &Path, certificate: &Path, key: &Path) -> Result<(), Error> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::File { path, source }
    };
    platform::create_private_directory(folder).map_err(file(folder))?;
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let failed = |error: rcgen::Error| problem(certificate, format!("can't be made ({error})"));
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, "authbridge on localhost");
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
        std::fs::remove_file(folder.path().join("cert.pem")).expect("removed");
        ServerTls::self_signed(folder.path()).expect("made again");
        assert_ne!(read("cert.pem"), first);
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
