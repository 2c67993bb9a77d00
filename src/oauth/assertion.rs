//! Signed assertions (JWT, RFC 7519; RFC 7523): how a certificate or a service account proves
//! itself.
//!
//! Danger: a provider's "invalid JWT" names none of the twenty things that can be wrong. Rule: what
//! can be checked here (key type, key length) is checked here and named; encoding is base64url
//! without padding as RFC 7515 demands; times allow for a clock that is a little off.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa;
use ring::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding};
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};

use crate::secret::Secret;

/// How long an assertion for Entra may be used; it advises 5 to 10 minutes.
const ENTRA_LIFE: Duration = Duration::from_secs(600);

/// Google allows an hour at most, counted from `iat`.
const GOOGLE_LIFE: Duration = Duration::from_secs(3600);

/// How far the provider's clock may be behind ours.
const SKEW: Duration = Duration::from_secs(30);

/// RFC 7518 section 3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// RSASSA-PKCS1-v1_5, SHA-256.
    Rs256,
    /// RSASSA-PSS, SHA-256, salt of 32 octets.
    Ps256,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }

    fn encoding(self) -> &'static dyn RsaEncoding {
        match self {
            Self::Rs256 => &RSA_PKCS1_SHA256,
            Self::Ps256 => &RSA_PSS_SHA256,
        }
    }
}

/// A private key that signs.
pub(super) struct SigningKey(rsa::KeyPair);

impl SigningKey {
    /// Takes an RSA key of at least 2048 bits; otherwise says what it is.
    pub fn new(key: &PrivateKeyDer<'_>) -> Result<Self, String> {
        let pair = match key {
            PrivateKeyDer::Pkcs8(key) => rsa::KeyPair::from_pkcs8(key.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(key) => rsa::KeyPair::from_der(key.secret_pkcs1_der()),
            _ => return Err("the private key is no RSA key; only RSA keys can be used".to_owned()),
        };
        pair.map(Self).map_err(|error| match error.to_string().as_str() {
            "TooSmall" => "the RSA key is shorter than 2048 bits, which is no longer safe: \
                           make a new key"
                .to_owned(),
            "TooLarge" => {
                "the RSA key is longer than 4096 bits: make one of 2048 to 4096".to_owned()
            }
            "WrongAlgorithm" => {
                "the private key is no RSA key; only RSA keys can be used".to_owned()
            }
            other => format!("the private key can't be used ({other})"),
        })
    }

    /// The compact form of RFC 7515 section 7.1. It is a credential: see [`Secret`].
    fn sign(&self, algorithm: Algorithm, header: &Value, claims: &Value) -> Result<Secret, String> {
        let mut token = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let mut signature = vec![0; self.0.public().modulus_len()];
        self.0
            .sign(algorithm.encoding(), &SystemRandom::new(), token.as_bytes(), &mut signature)
            .map_err(|_| "the private key can't sign".to_owned())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(Secret::new(token))
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey")
    }
}

/// SHA-256 of a DER certificate, as `x5t#S256` wants it (RFC 7515 section 4.1.8).
pub(super) fn thumbprint(certificate: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, certificate))
}

/// For Entra: identity-platform/certificate-credentials.
pub(super) fn for_entra(
    key: &SigningKey,
    algorithm: Algorithm,
    thumbprint: &str,
    client_id: &str,
    token_endpoint: &str,
    now: SystemTime,
) -> Result<Secret, String> {
    let header = json!({"alg": algorithm.name(), "typ": "JWT", "x5t#S256": thumbprint});
    let issued = unix(now).saturating_sub(SKEW.as_secs());
    let claims = json!({
        "aud": token_endpoint,
        "iss": client_id,
        "sub": client_id,
        "jti": uuid::Uuid::new_v4().to_string(),
        "nbf": issued,
        "iat": issued,
        "exp": issued + ENTRA_LIFE.as_secs(),
    });
    key.sign(algorithm, &header, &claims)
}

/// What a Google service account asks for.
pub(super) struct Delegation<'a> {
    pub service_account: &'a str,
    pub user: &'a str,
    pub scope: &'a str,
    pub token_endpoint: &'a str,
    pub key_id: Option<&'a str>,
}

/// For Google: developers.google.com/identity/protocols/oauth2/service-account.
pub(super) fn for_google(
    key: &SigningKey,
    delegation: &Delegation<'_>,
    now: SystemTime,
) -> Result<Secret, String> {
    let mut header = json!({"alg": Algorithm::Rs256.name(), "typ": "JWT"});
    if let Some(id) = delegation.key_id {
        header["kid"] = id.into();
    }
    let issued = unix(now).saturating_sub(SKEW.as_secs());
    let claims = json!({
        "iss": delegation.service_account,
        "sub": delegation.user,
        "scope": delegation.scope,
        "aud": delegation.token_endpoint,
        "iat": issued,
        "exp": issued + GOOGLE_LIFE.as_secs(),
    });
    key.sign(Algorithm::Rs256, &header, &claims)
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
pub(super) mod tests {
    use ring::signature::{
        RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey,
        VerificationAlgorithm,
    };
    use rustls_pki_types::pem::PemObject;

    use super::*;

    const PEM: &[u8] = include_bytes!("../../tests/fixtures/keys/entra.pem");
    const PKCS1: &[u8] = include_bytes!("../../tests/fixtures/keys/rsa-pkcs1.key");
    const SHORT: &[u8] = include_bytes!("../../tests/fixtures/keys/rsa1024.key");
    const PUBLIC: &[u8] = include_bytes!("../../tests/fixtures/keys/rsa.pub.der");

    fn key(pem: &[u8]) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(pem).expect("key")
    }

    /// Checks the signature with the fixtures' public key; gives header and claims.
    pub(in super::super) fn verified(assertion: &str) -> (Value, Value) {
        let (signed, signature) = assertion.rsplit_once('.').expect("three parts");
        let (header, claims) = signed.split_once('.').expect("three parts");
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("base64url, no padding");
        let header: Value = serde_json::from_slice(&decode(header)).expect("JSON");
        let claims: Value = serde_json::from_slice(&decode(claims)).expect("JSON");
        let algorithm: &dyn VerificationAlgorithm = match header["alg"].as_str() {
            Some("PS256") => &RSA_PSS_2048_8192_SHA256,
            Some("RS256") => &RSA_PKCS1_2048_8192_SHA256,
            other => unreachable!("algorithm {other:?}"),
        };
        UnparsedPublicKey::new(algorithm, PUBLIC)
            .verify(signed.as_bytes(), &decode(signature))
            .expect("signature");
        (header, claims)
    }

    #[test]
    fn an_entra_assertion_has_the_documented_form() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for (pem, algorithm, name) in [
            (PEM, Algorithm::Ps256, "PS256"),
            (PEM, Algorithm::Rs256, "RS256"),
            (PKCS1, Algorithm::Ps256, "PS256"),
        ] {
            let key = SigningKey::new(&key(pem)).expect("usable");
            let made = |_| for_entra(&key, algorithm, "tp", "client", "https://e/token", now);
            let [first, second] = [0, 1].map(|n| made(n).expect("signed"));
            let (header, claims) = verified(first.expose());
            assert_eq!(header, json!({"alg": name, "typ": "JWT", "x5t#S256": "tp"}));
            assert_eq!((&claims["iss"], &claims["sub"]), (&json!("client"), &json!("client")));
            assert_eq!(claims["aud"], "https://e/token");
            assert_eq!(
                (&claims["nbf"], &claims["iat"]),
                (&json!(1_799_999_970), &json!(1_799_999_970))
            );
            assert_eq!(claims["exp"], 1_800_000_570);
            assert_ne!(claims["jti"], verified(second.expose()).1["jti"]);
        }
    }

    #[test]
    fn a_google_assertion_has_the_documented_form() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let key = SigningKey::new(&key(PEM)).expect("usable");
        let mut delegation = Delegation {
            service_account: "sa@p",
            user: "jo@example.com",
            scope: "https://mail.google.com/",
            token_endpoint: "https://t",
            key_id: Some("kid1"),
        };
        let (header, claims) = verified(for_google(&key, &delegation, now).expect("ok").expose());
        assert_eq!(header, json!({"alg": "RS256", "typ": "JWT", "kid": "kid1"}));
        let expected = json!({"iss": "sa@p", "sub": "jo@example.com", "aud": "https://t",
            "scope": "https://mail.google.com/", "iat": 1_799_999_970, "exp": 1_800_003_570});
        assert_eq!(claims, expected);
        delegation.key_id = None;
        let (header, _) = verified(for_google(&key, &delegation, now).expect("ok").expose());
        assert_eq!(header, json!({"alg": "RS256", "typ": "JWT"}));
    }

    #[test]
    fn the_thumbprint_is_that_of_openssl() {
        let certificate = rustls_pki_types::CertificateDer::from_pem_slice(PEM).expect("there");
        // `openssl x509 -outform DER | openssl dgst -sha256`
        let expected = "87ceffe890b1b1bc568a3f100ee71c247968f0c5d6ffbcc74b5b9869d367456d";
        let bytes = URL_SAFE_NO_PAD.decode(thumbprint(&certificate)).expect("base64url");
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
    }

    #[test]
    fn a_key_that_cannot_be_used_is_named() {
        let ec = rcgen::KeyPair::generate().expect("EC key");
        let ec = PrivateKeyDer::try_from(ec.serialize_der()).expect("PKCS#8");
        for (key, word) in [(key(SHORT), "2048"), (ec, "RSA")] {
            let problem = SigningKey::new(&key).expect_err("refused");
            assert!(problem.contains(word), "{problem}");
        }
        let key = SigningKey::new(&key(PEM)).expect("usable");
        assert_eq!(format!("{key:?}"), "SigningKey");
    }
}
