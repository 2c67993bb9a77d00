//! Compact signed tokens (RFC 7519, RFC 7515): taking one apart and checking its RSA signature.
//!
//! Danger: a verifier that takes the algorithm from the token accepts `none`. Rule: the caller
//! names the algorithms it takes; anything else, also an unknown one, is a bad signature.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RSA_PSS_2048_8192_SHA256, RsaKeyPair,
    UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::Value;

/// A token taken apart, not yet believed.
pub(crate) struct Jwt<'a> {
    pub header: Value,
    pub claims: Value,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Jwt<'a> {
    /// Three parts of base64url without padding, the first two JSON objects.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        Some(Self {
            header: object(header)?,
            claims: object(claims)?,
            signed,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    /// True when one of the algorithms allowed verifies under the PKCS#1 public key.
    pub fn verifies(&self, public_key: &[u8], allowed: &[&str]) -> bool {
        let Some(name) = self.header["alg"].as_str().filter(|name| allowed.contains(name)) else {
            return false;
        };
        let algorithm: &dyn VerificationAlgorithm = match name {
            "PS256" => &RSA_PSS_2048_8192_SHA256,
            "RS256" => &RSA_PKCS1_2048_8192_SHA256,
            _ => return false,
        };
        UnparsedPublicKey::new(algorithm, public_key)
            .verify(self.signed.as_bytes(), &self.signature)
            .is_ok()
    }

    /// A text claim; empty when it is missing.
    pub fn text(&self, claim: &str) -> &str {
        self.claims[claim].as_str().unwrap_or_default()
    }

    /// A time claim in whole seconds.
    pub fn seconds(&self, claim: &str) -> Option<i64> {
        // A NumericDate may have a fraction (RFC 7519 section 2), and MSAL for Python sends one.
        let value = &self.claims[claim];
        value.as_i64().or_else(|| value.as_number()?.to_string().split_once('.')?.0.parse().ok())
    }
}

fn object(part: &str) -> Option<Value> {
    let value: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()?;
    value.is_object().then_some(value)
}

/// A token without meaning to anybody but who issued it: the shape of a JWT, a random signature.
pub(crate) fn shaped(claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = serde_json::json!({"typ": "JWT", "alg": "RS256", "kid": "sandbox"});
    let signature = super::accounts::random_text(340);
    format!("{}.{}.{signature}", encode(&header), encode(claims))
}

/// The name of the key that [`signed`] uses.
const KEY_ID: &str = "sandbox-1";

/// A token that verifies under [`public_jwk`]. Empty when the key file is damaged, which no client
/// takes for a token.
pub(crate) fn signed(claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = serde_json::json!({"typ": "JWT", "alg": "RS256", "kid": KEY_ID});
    let text = format!("{}.{}", encode(&header), encode(claims));
    let Some(key) = issuer_key() else { return String::new() };
    let mut signature = vec![0; key.public().modulus_len()];
    match key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature) {
        Ok(()) => format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)),
        Err(_) => String::new(),
    }
}

/// The public part of the key (RFC 7517).
pub(crate) fn public_jwk() -> Value {
    let Some(key) = issuer_key() else { return Value::Null };
    let parts: PublicKeyComponents<Vec<u8>> = key.public().into();
    serde_json::json!({
        "kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY_ID,
        "n": URL_SAFE_NO_PAD.encode(parts.n), "e": URL_SAFE_NO_PAD.encode(parts.e),
    })
}

fn issuer_key() -> Option<RsaKeyPair> {
    RsaKeyPair::from_pkcs8(&super::keys::pem_to_der(super::keys::ENTRA_KEY_PEM)?).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use ring::signature::{KeyPair as _, RSA_PSS_SHA256};
    use serde_json::json;

    use super::super::keys;
    use super::*;

    /// Signs as a client would.
    pub fn sign(key_pem: &str, header: &Value, claims: &Value) -> String {
        let key = RsaKeyPair::from_pkcs8(&keys::pem_to_der(key_pem).expect("PEM")).expect("key");
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let padding: &dyn ring::signature::RsaEncoding =
            if header["alg"] == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(padding, &SystemRandom::new(), signed.as_bytes(), &mut signature).expect("signs");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn public(key_pem: &str) -> Vec<u8> {
        let der = keys::pem_to_der(key_pem).expect("PEM");
        RsaKeyPair::from_pkcs8(&der).expect("key").public_key().as_ref().to_vec()
    }

    #[test]
    fn only_the_algorithms_asked_for_and_the_right_key_verify() {
        let right = public(keys::ENTRA_KEY_PEM);
        let wrong = public(keys::GOOGLE_KEY_PEM);
        for alg in ["PS256", "RS256"] {
            let token = sign(keys::ENTRA_KEY_PEM, &json!({"alg": alg}), &json!({"a": 1}));
            let jwt = Jwt::parse(&token).expect("three parts");
            assert!(jwt.verifies(&right, &["PS256", "RS256"]));
            assert!(!jwt.verifies(&wrong, &["PS256", "RS256"]));
            assert!(!jwt.verifies(&right, &["none"]));
            let other = if alg == "PS256" { "RS256" } else { "PS256" };
            assert!(!jwt.verifies(&right, &[other]));
        }
        let token = sign(keys::ENTRA_KEY_PEM, &json!({"alg": "none"}), &json!({}));
        assert!(!Jwt::parse(&token).expect("parts").verifies(&right, &["none", "PS256"]));
    }

    #[test]
    fn what_we_sign_verifies_under_the_key_we_publish() {
        let token = signed(&json!({"aud": "app"}));
        let jwt = Jwt::parse(&token).expect("three parts");
        assert!(jwt.verifies(&public(keys::ENTRA_KEY_PEM), &["RS256"]));
        let key = public_jwk();
        assert_eq!((&key["e"], &key["kid"]), (&json!("AQAB"), &jwt.header["kid"]));
        assert_eq!(key["n"].as_str().map(str::len), Some(342));
    }

    #[test]
    fn a_changed_claim_breaks_the_signature() {
        let token = sign(keys::ENTRA_KEY_PEM, &json!({"alg": "RS256"}), &json!({"sub": "a"}));
        let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
        parts[1] = URL_SAFE_NO_PAD.encode(r#"{"sub":"b"}"#);
        let forged = parts.join(".");
        let jwt = Jwt::parse(&forged).expect("parts");
        assert_eq!(jwt.text("sub"), "b");
        assert!(!jwt.verifies(&public(keys::ENTRA_KEY_PEM), &["RS256"]));
    }

    #[test]
    fn what_is_no_token_does_not_parse() {
        for bad in ["", "a.b", "a.b.c", "e30.e30", "e30.W10.AA", "e30=.e30.AA"] {
            assert!(Jwt::parse(bad).is_none(), "{bad}");
        }
        assert!(Jwt::parse(&shaped(&json!({"aud": "x"}))).is_some());
    }
}
