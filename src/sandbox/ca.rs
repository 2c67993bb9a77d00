//! The certificate authority of the make-believe cloud.
//!
//! Danger: a test that skips certificate checks proves nothing about the program that must not skip
//! them. Rule: every TLS listener shows a certificate for `localhost`, `127.0.0.1` and `::1` signed
//! by an authority made at start; who wants to talk to the sandbox has to trust that authority
//! (`Proxy.Upstream.CaPath`). The authority's key lives in memory and dies with the sandbox.

use std::io;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};
use tokio_rustls::TlsAcceptor;

/// How long the certificates last: longer than any demo stays up.
const LIFETIME: Duration = Duration::days(365);
/// Clocks of test machines disagree a little.
const BACKDATED: Duration = Duration::hours(1);

/// An authority and the one certificate it signed.
pub(crate) struct Authority {
    /// The root certificate, PEM.
    pub root_pem: String,
    /// Accepts HTTPS: HTTP/2 and HTTP/1.1 by ALPN.
    pub web: TlsAcceptor,
    /// Accepts the mail protocols: no ALPN.
    pub mail: TlsAcceptor,
}

/// Makes a new authority.
pub(crate) fn make() -> io::Result<Authority> {
    let root = root().map_err(io::Error::other)?;
    let (leaf, key) = leaf(&root).map_err(io::Error::other)?;
    let chain = vec![leaf.der().clone(), root.der().clone()];
    let server = |alpn: &[&[u8]]| -> io::Result<TlsAcceptor> {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(chain.clone(), key)
            .map_err(io::Error::other)?;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    };
    Ok(Authority { root_pem: root.pem(), web: server(&[b"h2", b"http/1.1"])?, mail: server(&[])? })
}

fn root() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = dated(CertificateParams::new(Vec::new())?);
    params.distinguished_name.push(DnType::CommonName, "authbridge sandbox authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

fn leaf(
    root: &CertifiedIssuer<'static, KeyPair>,
) -> Result<(rcgen::Certificate, KeyPair), rcgen::Error> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut params = dated(CertificateParams::new(names)?);
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, root)?;
    Ok((certificate, key))
}

fn dated(mut params: CertificateParams) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - BACKDATED;
    params.not_after = now + LIFETIME;
    params
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
    use rustls::{ClientConfig, RootCertStore};
    use tokio_rustls::TlsConnector;

    use super::*;

    async fn handshake(name: &str, root_pem: &str, acceptor: &TlsAcceptor) -> io::Result<()> {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(root_pem.as_bytes()).expect("PEM");
        roots.add(root).expect("a root");
        let config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_root_certificates(roots)
                .with_no_client_auth();
        let (client, server) = tokio::io::duplex(64 * 1024);
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        let (client, _) = tokio::join!(connector.connect(name, client), acceptor.accept(server));
        client.map(drop)
    }

    #[tokio::test]
    async fn the_three_names_are_good_and_others_are_not() {
        let authority = make().expect("an authority");
        for good in ["localhost", "127.0.0.1", "::1"] {
            let result = handshake(good, &authority.root_pem, &authority.mail).await;
            assert!(result.is_ok(), "{good}: {result:?}");
        }
        assert!(handshake("example.com", &authority.root_pem, &authority.mail).await.is_err());
    }

    #[tokio::test]
    async fn another_authority_is_not_trusted() {
        let (one, other) = (make().expect("one"), make().expect("other"));
        assert!(handshake("localhost", &other.root_pem, &one.web).await.is_err());
    }
}
