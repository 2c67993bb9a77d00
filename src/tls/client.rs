//! TLS towards upstreams.
//!
//! Danger: see the module above. Rule: the system's own roots, plus `Proxy.Upstream.CaPath`.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use rustls_platform_verifier::Verifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Error;
use super::identity::{problem, read};
use crate::platform;

/// Octets that a connection encrypts ahead of the socket: a message of middle size leaves in one
/// system call. Held only while the service does not read.
const WRITE_BUFFER: usize = 256 << 10;

/// How we connect to services over TLS. Cheap to clone; sessions are resumed across clones.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
}

impl ClientTls {
    /// Trusts the system's roots and those in `extra_roots` (PEM).
    pub fn new(extra_roots: Option<&Path>) -> Result<Self, Error> {
        let extra = extra_roots.map(read_roots).transpose()?.unwrap_or_default();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let own_roots_only = !extra.is_empty() && !platform::VERIFIER_TAKES_EXTRA_ROOTS;
        let verifier = match own_roots_only {
            true => None,
            false => Verifier::new_with_extra_roots(extra.clone(), Arc::clone(&provider)).ok(),
        };
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = match verifier {
            Some(verifier) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Named { verifier, named: extra }))
                .with_no_client_auth(),
            // Also on a system without any root of its own; without extra ones nobody is trusted.
            None => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(extra);
                builder.with_root_certificates(roots).with_no_client_auth()
            }
        };
        Ok(Self { config: Arc::new(config) })
    }

    /// The configuration for HTTP clients, which set their own ALPN.
    pub fn rustls_config(&self) -> ClientConfig {
        ClientConfig::clone(&self.config)
    }

    /// Does the handshake; fails when the certificate is not valid for `host`.
    pub async fn connect<S>(&self, host: &str, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        TlsConnector::from(Arc::clone(&self.config))
            .connect_with(name, stream, |tls| tls.set_buffer_limit(Some(WRITE_BUFFER)))
            .await
    }
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientTls")
    }
}

/// Also accepts a server's certificate that is itself in `Proxy.Upstream.CaPath`.
///
/// What `openssl req -x509` makes says that it is an authority, and such a certificate is refused
/// as a server's (webpki: `CaUsedAsEndEntity`). Whoever names it trusts it for all it could sign;
/// its time was checked before that refusal, the name is checked here, the key by the handshake.
#[derive(Debug)]
struct Named<V> {
    verifier: V,
    named: Vec<CertificateDer<'static>>,
}

impl<V: ServerCertVerifier> ServerCertVerifier for Named<V> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = self.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verdict {
            Err(error) if is_authority(&error) && self.named.contains(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// The one refusal that comes after the certificate's time was found good.
fn is_authority(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(CertificateError::Other(other)) = error else {
        return false;
    };
    format!("{other:?}").contains("CaUsedAsEndEntity")
}

fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let content = read(path)?;
    let roots: Vec<_> = CertificateDer::pem_slice_iter(&content)
        .collect::<Result<_, _>>()
        .map_err(|error| problem(path, format!("broken PEM certificate ({error})")))?;
    match roots.is_empty() {
        true => Err(problem(path, "holds no certificate (-----BEGIN CERTIFICATE-----)")),
        false => Ok(roots),
    }
}
