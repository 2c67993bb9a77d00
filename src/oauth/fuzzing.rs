//! Keys and answers of token endpoints as hostile octets; see `crate::fuzzing`.
//!
//! Danger: a key file comes from a person who was told to copy it, an answer from whoever sits
//! between. Rule: what can't be used is refused in a sentence that shows nothing of the file.

use std::path::Path;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::answer::{self, TokenAnswer};
use super::google_key::ServiceAccountKey;
use super::http::Answer;
use super::sign_in::fuzzing::identity;
use super::{entra_error, google_error};
use crate::secret::Secret;
use crate::tls::Identity;

pub use super::msal::fuzzing::msal_cache;

/// What stands for a token in the answers.
const TOKEN: &str = "eyJ0b2tlbi1vZi1hLXRlc3QifQ";

/// A Google key of either form.
pub fn google_key(data: &[u8]) {
    let password = Secret::new("notasecret");
    let decoded = ServiceAccountKey::decode(Path::new("key.json"), data, &password, "");
    match decoded {
        Ok(key) => assert!(!key.service_account.is_empty() && !key.token_url.is_empty()),
        Err(problem) => assert!(
            problem.starts_with("key.json")
                || problem.contains("key.json")
                || problem.contains("GoogleOAuth2"),
            "{problem}"
        ),
    }
}

/// A PKCS#12 file.
pub fn p12(data: &[u8]) {
    match Identity::from_pkcs12(Path::new("key.p12"), data, "notasecret") {
        Ok(identity) => drop(identity.expires_at()),
        Err(error) => assert!(error.to_string().starts_with("key.p12")),
    }
}

/// An answer of Entra's or Google's token endpoint; the first octet chooses the status.
pub fn token_answer(data: &[u8]) {
    let (seed, body) = data.split_first().map_or((0, data), |(seed, rest)| (*seed, rest));
    if let Ok(parsed) = serde_json::from_slice::<TokenAnswer>(body)
        && let Ok(granted) = parsed.granted("Mail.Sending", "Entra")
    {
        assert!(!granted.secret.expose().is_empty());
        assert!(granted.life <= Duration::from_secs(366 * 24 * 3600), "{:?}", granted.life);
    }
    let statuses = [400, 401, 403, 429, 500, 200];
    let status = StatusCode::from_u16(statuses[usize::from(seed) % statuses.len()]);
    let status = status.unwrap_or(StatusCode::OK);
    let refused = Answer { status, headers: HeaderMap::new(), body: body.to_vec() };
    let errors = [
        entra_error::explain("Mail.Sending", &refused, &[TOKEN]),
        google_error::explain("Mail.Sending", "jane@example.com", &refused, &[TOKEN]),
        answer::unreadable("Mail.Sending", "Entra", &refused),
    ];
    for error in errors {
        assert!(!error.text.contains(TOKEN), "a secret is shown");
        assert!(!error.text.contains(['\r', '\n']), "{:?} is more than a line", error.text);
        assert!(error.text.len() < 8192, "{} octets of error", error.text.len());
    }
    identity(&String::from_utf8_lossy(body));
}
