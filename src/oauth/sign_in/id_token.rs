//! Claims of an ID token: whose sign-in it is.
//! <https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference>
//!
//! Danger: a sign-in stored under the wrong name is found by nobody, and one issued to another
//! application is useless here. Rule: the token came from the token endpoint over TLS, so its
//! signature adds nothing (OpenID Connect Core section 3.1.3.7 number 6); its audience is checked,
//! and a token without user or tenant is refused.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::oauth::Error;
use crate::secret::Secret;

/// An ID token has about 1 KiB; more is not read.
const MAX_BYTES: usize = 32 << 10;

/// Names and ids longer than this are no names.
const MAX_CLAIM: usize = 512;

/// Whose sign-in it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `{uid}.{utid}` of `client_info`, else `{oid}.{tid}`.
    pub home_account_id: String,
    /// `tid`.
    pub tenant: String,
    /// `oid`.
    pub object_id: String,
    /// `preferred_username`, else `upn`, else `email`.
    pub username: String,
    /// `name`.
    pub name: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    aud: Audience,
    #[serde(default)]
    oid: Option<String>,
    #[serde(default)]
    tid: Option<String>,
    #[serde(default)]
    preferred_username: Option<String>,
    #[serde(default)]
    upn: Option<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    name: Option<String>,
}

/// One or several (RFC 7519 section 4.1.3).
#[derive(Default, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
    #[default]
    None,
}

/// <https://learn.microsoft.com/entra/msal/> calls it so; every MSAL reads it.
#[derive(Deserialize)]
struct ClientInfo {
    uid: String,
    utid: String,
}

impl Identity {
    /// From an answer of the token endpoint, for this application.
    pub(in crate::oauth) fn of(
        id_token: &Secret,
        client_info: Option<&str>,
        client_id: &str,
    ) -> Result<Self, Error> {
        let claims = Claims::read(id_token).ok_or_else(|| unusable("can't be read"))?;
        if !claims.aud.names(client_id) {
            return Err(unusable("is for another application"));
        }
        let (Some(tenant), Some(object_id)) = (sane(claims.tid), sane(claims.oid)) else {
            return Err(unusable("names no user and tenant (oid, tid)"));
        };
        let names = [claims.preferred_username, claims.upn, claims.email];
        let Some(username) = names.into_iter().find_map(sane) else {
            return Err(unusable("names no sign-in name (preferred_username)"));
        };
        let home_account_id =
            client_info.and_then(Self::home).unwrap_or_else(|| format!("{object_id}.{tenant}"));
        Ok(Self { home_account_id, tenant, object_id, username, name: sane(claims.name) })
    }

    /// `{uid}.{utid}` of `client_info`.
    pub(in crate::oauth) fn home(client_info: &str) -> Option<String> {
        let ClientInfo { uid, utid } = decoded(client_info)?;
        let (uid, utid) = (sane(Some(uid))?, sane(Some(utid))?);
        Some(format!("{uid}.{utid}"))
    }
}

impl Claims {
    fn read(id_token: &Secret) -> Option<Self> {
        let mut parts = id_token.expose().split('.');
        let (_header, payload) = (parts.next()?, parts.next()?);
        decoded(payload)
    }
}

impl Audience {
    fn names(&self, client_id: &str) -> bool {
        match self {
            Self::One(name) => name.eq_ignore_ascii_case(client_id),
            Self::Several(names) => names.iter().any(|name| name.eq_ignore_ascii_case(client_id)),
            Self::None => false,
        }
    }
}

fn unusable(problem: &str) -> Error {
    Error::person(format!(
        "the ID token of the sign-in {problem}: check ClientId and Microsoft365.AuthorityUrl, and \
         any proxy that alters answers"
    ))
}

/// base64url of JSON; some write the padding.
fn decoded<T: DeserializeOwned>(text: &str) -> Option<T> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Goes into error texts, pages and the cache: one line of bounded length, or nothing.
fn sane(text: Option<String>) -> Option<String> {
    let text = text?.trim().to_owned();
    let valid = !text.is_empty() && text.len() <= MAX_CLAIM && !text.contains(char::is_control);
    valid.then_some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn token(claims: &Value) -> Secret {
        Secret::new(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string())))
    }

    fn full() -> Value {
        json!({"aud": "app-1", "oid": "oid-1", "tid": "tid-1", "name": "Jo Doe",
            "preferred_username": "Jo@Example.com", "upn": "upn@example.com"})
    }

    fn with(key: &str, value: Value) -> Value {
        let mut claims = full();
        claims[key] = value;
        claims
    }

    #[test]
    fn the_identity_is_read() {
        let info = URL_SAFE_NO_PAD.encode(r#"{"uid":"u-1","utid":"t-1"}"#);
        let identity = Identity::of(&token(&full()), Some(&info), "APP-1").expect("read");
        let expected = Identity {
            home_account_id: "u-1.t-1".to_owned(),
            tenant: "tid-1".to_owned(),
            object_id: "oid-1".to_owned(),
            username: "Jo@Example.com".to_owned(),
            name: Some("Jo Doe".to_owned()),
        };
        assert_eq!(identity, expected);
        for info in [None, Some(""), Some("%%%"), Some("e30"), Some("bnVsbA==")] {
            let identity = Identity::of(&token(&full()), info, "app-1").expect("read");
            assert_eq!(identity.home_account_id, "oid-1.tid-1", "{info:?}");
        }
    }

    #[test]
    fn the_sign_in_name_has_three_places() {
        for (preferred, upn, email, name) in [
            (json!("a@x"), json!("b@x"), json!("c@x"), "a@x"),
            (json!(null), json!("b@x"), json!("c@x"), "b@x"),
            (json!(" "), json!(null), json!("c@x"), "c@x"),
            (json!("a\r\nb"), json!("b@x"), json!(null), "b@x"),
        ] {
            let claims = json!({"aud": ["other", "app-1"], "oid": "o", "tid": "t",
                "preferred_username": preferred, "upn": upn, "email": email});
            let identity = Identity::of(&token(&claims), None, "app-1").expect("read");
            assert_eq!((identity.username.as_str(), identity.name), (name, None));
        }
    }

    #[test]
    fn what_is_no_identity_is_refused_without_showing_it() {
        let long = "x".repeat(MAX_CLAIM + 1);
        for (id_token, word) in [
            (Secret::new(""), "read"),
            (Secret::new("s3cret"), "read"),
            (Secret::new("e30.%%%.x"), "read"),
            (Secret::new("e30.bnVsbA.x"), "read"),
            (Secret::new(format!("e30.{}.x", "A".repeat(MAX_BYTES + 1))), "read"),
            (token(&with("oid", json!(7))), "read"),
            (token(&with("aud", json!("app-2"))), "another application"),
            (token(&with("aud", json!(null))), "another application"),
            (token(&with("aud", json!([]))), "another application"),
            (token(&with("oid", json!(null))), "oid"),
            (token(&with("tid", json!(""))), "tid"),
            (token(&with("tid", json!(long))), "tid"),
            (token(&json!({"aud": "app-1", "oid": "o", "tid": "t"})), "preferred_username"),
        ] {
            let error = Identity::of(&id_token, None, "app-1").expect_err(word);
            assert!(error.text.contains(word) && error.text.contains("ClientId"), "{error}");
            assert!(!error.text.contains("s3cret"));
        }
    }
}
