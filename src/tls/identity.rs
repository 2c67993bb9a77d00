//! A certificate with its key, from PEM or PKCS#12.
//!
//! Danger: administrators have keys in every form that tools ever wrote, and a wrong password or a
//! missing half must not end in a panic or an empty chain. Rule: what is missing is named, with the
//! file and the fix. RC2-40 and triple DES are read, since old keys use them (facts: Google's P12).

use std::path::Path;
use std::time::SystemTime;

use p12_keystore::Pkcs12Archive;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_cert::der::Decode;

use super::Error;

/// A certificate chain (end entity first) and the private key.
pub struct Identity {
    /// May be empty: some PKCS#12 files hold a key alone.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key.
    pub key: PrivateKeyDer<'static>,
}

/// What a file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PemOrPkcs12 {
    /// Text with `-----BEGIN`.
    Pem,
    /// Binary DER.
    Pkcs12,
}

impl PemOrPkcs12 {
    /// Looks at the content, not at the name.
    pub fn of(content: &[u8]) -> Self {
        match memchr::memmem::find(content, b"-----BEGIN") {
            Some(_) => Self::Pem,
            None => Self::Pkcs12,
        }
    }
}

impl Identity {
    /// Reads certificate and key. With PEM the key may stand in `key_path` or in the same file.
    pub fn load(path: &Path, key_path: Option<&Path>, password: &str) -> Result<Self, Error> {
        let content = read(path)?;
        match (PemOrPkcs12::of(&content), key_path) {
            (PemOrPkcs12::Pem, None) => Self::from_pem(path, &content, path, &content),
            (PemOrPkcs12::Pem, Some(key_path)) => {
                Self::from_pem(path, &content, key_path, &read(key_path)?)
            }
            (PemOrPkcs12::Pkcs12, _) => Self::from_pkcs12(path, &content, password),
        }
    }

    /// Decodes PKCS#12 (RFC 7292); `path` is for the error's text.
    pub fn from_pkcs12(path: &Path, content: &[u8], password: &str) -> Result<Self, Error> {
        let archive = Pkcs12Archive::from_pkcs12(content, password).map_err(|error| {
            problem(path, format!("not readable as PKCS#12, or the password is wrong ({error})"))
        })?;
        let [bag] = archive.keys.as_slice() else {
            let count = archive.keys.len();
            return Err(problem(path, format!("holds {count} private keys; it must be one")));
        };
        let key = PrivatePkcs8KeyDer::from(bag.key.as_der().to_vec());
        let mut certificates = archive.certs;
        // The key's own certificate first, then what else is in the file.
        let own = bag.local_key_id.as_ref().map(|id| id.as_ref().to_vec());
        certificates.sort_by_key(|bag| bag.local_key_id != own);
        let chain = certificates
            .iter()
            .map(|bag| CertificateDer::from(bag.cert.as_der().to_vec()))
            .collect();
        Ok(Self { chain, key: key.into() })
    }

    /// When the key's own certificate ends (RFC 5280 section 4.1.2.5); `None` when there is none,
    /// or it can't be read.
    pub fn expires_at(&self) -> Option<SystemTime> {
        let certificate = x509_cert::Certificate::from_der(self.chain.first()?).ok()?;
        Some(certificate.tbs_certificate().validity().not_after.to_system_time())
    }

    fn from_pem(
        path: &Path,
        content: &[u8],
        key_path: &Path,
        key_content: &[u8],
    ) -> Result<Self, Error> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(content)
            .collect::<Result<_, _>>()
            .map_err(|error| problem(path, format!("broken PEM certificate ({error})")))?;
        if chain.is_empty() {
            return Err(problem(path, "holds no certificate (-----BEGIN CERTIFICATE-----)"));
        }
        let key = PrivateKeyDer::from_pem_slice(key_content).map_err(|error| {
            problem(key_path, format!("holds no readable, unencrypted private key ({error})"))
        })?;
        Ok(Self { chain, key })
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

pub(super) fn problem(path: &Path, problem: impl Into<String>) -> Error {
    Error::Content { path: path.to_owned(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/keys").join(name)
    }

    #[test]
    fn a_certificate_s_end_is_read_from_every_form() {
        let mut ends = Vec::new();
        for (name, password) in [("entra.pem", ""), ("entra.pfx", "modern")] {
            let identity = Identity::load(&fixture(name), None, password).expect(name);
            ends.push(identity.expires_at().expect(name));
        }
        assert_eq!(ends[0], ends[1], "one certificate in two forms");
        let google = Identity::load(&fixture("google.p12"), None, "notasecret").expect("read");
        assert!(google.expires_at().is_some_and(|end| end > SystemTime::UNIX_EPOCH));
    }

    #[test]
    fn no_certificate_and_a_broken_one_have_no_end() {
        let identity = Identity::load(&fixture("entra.pem"), None, "").expect("read");
        let bare = Identity { chain: Vec::new(), ..identity };
        assert_eq!(bare.expires_at(), None);
        let broken = Identity { chain: vec![CertificateDer::from(vec![0x30, 0x82, 1])], ..bare };
        assert_eq!(broken.expires_at(), None);
    }
}
