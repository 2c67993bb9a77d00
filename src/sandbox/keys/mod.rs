//! RSA keys that everybody knows, so that the demo and the tests have some.
//!
//! Danger: a private key in a public repository protects nothing. Rule: these are used by the
//! make-believe cloud alone, say so in their names, and no real service was ever told of them.
//! They are files because ring verifies RSA signatures but cannot make keys.

/// The Google service account's private key, PKCS#8 PEM. Public test material.
pub const GOOGLE_KEY_PEM: &str = include_str!("google.key.pem");
/// The same key in Google's old P12 form, password `notasecret`. Public test material.
pub const GOOGLE_P12: &[u8] = include_bytes!("google.p12");
/// The Entra application's private key, PKCS#8 PEM. Public test material.
pub const ENTRA_KEY_PEM: &str = include_str!("entra.key.pem");
/// The Entra application's certificate, PEM. Public test material.
pub const ENTRA_CERTIFICATE_PEM: &str = include_str!("entra.cert.pem");

/// The bytes between the first BEGIN and END lines of a PEM text.
pub(crate) fn pem_to_der(pem: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    let body: String = pem
        .lines()
        .skip_while(|line| !line.starts_with("-----BEGIN"))
        .skip(1)
        .take_while(|line| !line.starts_with("-----END"))
        .map(str::trim)
        .collect();
    base64::engine::general_purpose::STANDARD.decode(body).ok().filter(|der| !der.is_empty())
}

/// The PKCS#1 public key inside an X.509 certificate (RFC 5280 section 4.1): the bit string of
/// `tbsCertificate.subjectPublicKeyInfo`.
pub(crate) fn certificate_public_key(der: &[u8]) -> Option<Vec<u8>> {
    let (_, certificate, _) = element(der)?;
    let (_, tbs, _) = element(certificate)?;
    let (tag, _, after_first) = element(tbs)?;
    // An explicit version stands first in every v2 and v3 certificate.
    let mut rest = if tag == 0xa0 { after_first } else { tbs };
    for _ in ["serial", "signature", "issuer", "validity", "subject"] {
        (_, _, rest) = element(rest)?;
    }
    let (_, info, _) = element(rest)?;
    let (_, _, after_algorithm) = element(info)?;
    let (_, bits, _) = element(after_algorithm)?;
    // The first octet of a bit string counts its unused bits.
    Some(bits.get(1..)?.to_vec())
}

/// Splits off one DER element: its tag, its content, and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 4 {
            return None;
        }
        let length = rest.get(..count)?.iter().fold(0, |sum, &b| (sum << 8) | usize::from(b));
        (length, rest.get(count..)?)
    };
    Some((tag, rest.get(..length)?, rest.get(length..)?))
}

#[cfg(test)]
mod tests {
    use p12_keystore::{KeyStore, Pkcs12ImportPolicy};
    use ring::signature::{KeyPair as _, RsaKeyPair};

    use super::*;

    #[test]
    fn the_certificate_holds_the_key_s_public_part() {
        let key = pem_to_der(ENTRA_KEY_PEM).expect("PEM");
        let key = RsaKeyPair::from_pkcs8(&key).expect("PKCS#8");
        let certificate = pem_to_der(ENTRA_CERTIFICATE_PEM).expect("PEM");
        let public = certificate_public_key(&certificate).expect("certificate");
        assert_eq!(public, key.public_key().as_ref());
    }

    #[test]
    fn the_p12_opens_with_google_s_password_and_holds_the_same_key() {
        let store = KeyStore::from_pkcs12(GOOGLE_P12, "notasecret", Pkcs12ImportPolicy::Relaxed)
            .expect("opens");
        let (alias, chain) = store.private_key_chain().expect("one key");
        assert_eq!(alias, "privatekey");
        let der = pem_to_der(GOOGLE_KEY_PEM).expect("PEM");
        let from_pem = RsaKeyPair::from_pkcs8(&der).expect("PKCS#8");
        let from_p12 = RsaKeyPair::from_pkcs8(chain.key().as_der()).expect("PKCS#8");
        assert_eq!(from_pem.public_key().as_ref(), from_p12.public_key().as_ref());
        assert!(KeyStore::from_pkcs12(GOOGLE_P12, "wrong", Pkcs12ImportPolicy::Relaxed).is_err());
    }

    #[test]
    fn a_cut_certificate_is_no_certificate() {
        let whole = pem_to_der(ENTRA_CERTIFICATE_PEM).expect("PEM");
        for end in 0..whole.len() {
            assert_eq!(certificate_public_key(&whole[..end]), None, "cut at {end}");
        }
        assert_eq!(pem_to_der("no PEM"), None);
    }
}
