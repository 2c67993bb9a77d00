//! A Google service account's key file, JSON or P12.
//!
//! Danger: a JSON key names the address that gets the assertion, so a forged file could have it
//! sent anywhere; editors and mail programs damage the line breaks of its `private_key`; a P12 file
//! does not say whose it is. Rule: the address is used only when it is Google's own (or
//! `GoogleOAuth2.TokenUrl` is set); damaged line breaks are mended; two different account names are
//! an error that shows both.

use std::path::Path;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer};
use serde::Deserialize;

use super::assertion::SigningKey;
use crate::secret::Secret;
use crate::tls::Identity;

/// Google's token endpoint, where the key file names none.
pub(super) const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";

/// What the key file says.
#[derive(Debug)]
pub(super) struct ServiceAccountKey {
    pub key: SigningKey,
    pub key_id: Option<String>,
    pub service_account: String,
    pub token_url: String,
    /// A P12 key's certificate says when it ends; a JSON key has none.
    pub expires_at: Option<SystemTime>,
}

/// The JSON file's fields that matter.
#[derive(Deserialize)]
struct JsonKey {
    #[serde(default)]
    r#type: String,
    private_key: Option<JsonSecret>,
    private_key_id: Option<String>,
    client_email: Option<String>,
    token_uri: Option<String>,
}

/// A secret as it is read from JSON.
#[derive(Deserialize)]
#[serde(from = "String")]
struct JsonSecret(Secret);

impl From<String> for JsonSecret {
    fn from(text: String) -> Self {
        Self(Secret::new(text))
    }
}

impl ServiceAccountKey {
    /// Decodes either form. `configured` is `GoogleOAuth2.ServiceAccount`.
    pub fn decode(
        path: &Path,
        content: &[u8],
        password: &Secret,
        configured: &str,
    ) -> Result<Self, String> {
        let text = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content).trim_ascii();
        match text.starts_with(b"{") {
            true => Self::from_json(path, text, configured),
            false => Self::from_pkcs12(path, content, password, configured),
        }
    }

    fn from_json(path: &Path, text: &[u8], configured: &str) -> Result<Self, String> {
        let path = path.display();
        let json: JsonKey = serde_json::from_slice(text).map_err(|error| {
            format!(
                "{path}: broken JSON in line {}: the file was altered (line breaks in private_key \
                 are a frequent reason); download the key again",
                error.line()
            )
        })?;
        if json.r#type != "service_account" {
            return Err(format!(
                "{path} is not the key of a service account (its type is {:?}): make one under \
                 IAM & Admin → Service Accounts → Keys → Add key → JSON",
                json.r#type
            ));
        }
        let missing = |field: &str| format!("{path} has no {field}; download the key again");
        let private_key = json.private_key.ok_or_else(|| missing("private_key"))?.0;
        let service_account = json.client_email.filter(|email| !email.is_empty());
        let service_account = service_account.ok_or_else(|| missing("client_email"))?;
        if !configured.is_empty() && !configured.eq_ignore_ascii_case(&service_account) {
            return Err(format!(
                "GoogleOAuth2.ServiceAccount is {configured}, but the key in {path} belongs to \
                 {service_account}: use the key of the one you mean"
            ));
        }
        let key = decode_pem(private_key.expose()).and_then(|der| SigningKey::new(&der));
        Ok(Self {
            key: key.map_err(|problem| format!("private_key in {path}: {problem}"))?,
            key_id: json.private_key_id.filter(|id| !id.is_empty()),
            service_account,
            token_url: json.token_uri.unwrap_or_else(|| TOKEN_URL.to_owned()),
            expires_at: None,
        })
    }

    fn from_pkcs12(
        path: &Path,
        content: &[u8],
        password: &Secret,
        configured: &str,
    ) -> Result<Self, String> {
        let identity =
            Identity::from_pkcs12(path, content, password.expose()).map_err(|error| {
                format!(
                    "{error}; a Google key is a JSON file or a P12 file, whose password \
                 (GoogleOAuth2.CertificatePassword) is notasecret"
                )
            })?;
        if configured.is_empty() {
            return Err(
                "GoogleOAuth2.ServiceAccount is missing: a P12 key does not say whose it is"
                    .to_owned(),
            );
        }
        let key = SigningKey::new(&identity.key)
            .map_err(|problem| format!("{}: {problem}", path.display()))?;
        Ok(Self {
            key,
            key_id: None,
            service_account: configured.to_owned(),
            token_url: TOKEN_URL.to_owned(),
            expires_at: identity.expires_at(),
        })
    }
}

/// True for the hosts to which an assertion may go without `GoogleOAuth2.TokenUrl`.
pub(super) fn is_google(address: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(address) else { return false };
    let host = url.host_str().unwrap_or_default();
    let ours = host == "accounts.google.com" || host.ends_with(".googleapis.com");
    ours && url.scheme() == "https" && url.port().is_none() && url.username().is_empty()
}

/// PEM whose line breaks may be gone, doubled, spaces, or the two characters `\n`.
fn decode_pem(text: &str) -> Result<PrivateKeyDer<'static>, String> {
    let damaged = "is damaged; download the key again".to_owned();
    let text = text.replace("\\n", "\n").replace("\\r", "");
    let (_, after) = text.split_once("-----BEGIN ").ok_or(damaged.clone())?;
    let (label, after) = after.split_once("-----").ok_or(damaged.clone())?;
    let (body, _) = after.split_once("-----END").ok_or(damaged.clone())?;
    let body: zeroize::Zeroizing<String> =
        body.chars().filter(|c| !c.is_whitespace()).collect::<String>().into();
    let der = STANDARD.decode(body.as_bytes()).map_err(|_| damaged)?;
    match label.trim() {
        "PRIVATE KEY" => Ok(PrivatePkcs8KeyDer::from(der).into()),
        "RSA PRIVATE KEY" => Ok(PrivatePkcs1KeyDer::from(der).into()),
        other => Err(format!("is a {other:?}, not a private key")),
    }
}
