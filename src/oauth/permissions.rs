//! What an access token says that it permits.
//!
//! Danger: a token belongs to the service, not to us: it need not say anything (Entra page
//! `access-tokens`), and what it does not say may be granted elsewhere (RBAC for Applications).
//! Rule: what is read here explains and warns, and is never the reason not to try; a token that is
//! no JWT, or too large to be one, says nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// Octets of a token that is looked into; real ones have 2 to 8 KB.
const MAX_TOKEN: usize = 64 << 10;

/// Permissions of a token that are read; an application for mail has three or four.
const MAX_NAMES: usize = 64;

/// The permissions that a token names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// As they stand in the token.
    pub names: Vec<String>,
    /// True for a signed-in user's (`scp`), false for an application's own (`roles`).
    pub delegated: bool,
}

impl Permissions {
    /// Those of this token; `None`: it does not say.
    pub fn of(token: &str) -> Option<Self> {
        let claims = claims(token)?;
        let (names, delegated): (Vec<&str>, bool) = match (&claims["roles"], &claims["scp"]) {
            (_, Value::String(scopes)) => (scopes.split_ascii_whitespace().collect(), true),
            (Value::Array(roles), _) => (roles.iter().filter_map(Value::as_str).collect(), false),
            _ => return None,
        };
        let sane = |name: &&str| {
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:/".contains(&byte))
        };
        let names = names.into_iter().filter(sane).take(MAX_NAMES).map(str::to_owned).collect();
        Some(Self { names, delegated })
    }

    /// With or without `.All`, `.Shared`.
    pub fn has(&self, permission: &str) -> bool {
        self.names.iter().any(|name| {
            let rest = name.strip_prefix(permission);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }

    /// Which of these are not named.
    pub fn missing(&self, needed: &'static [&'static str]) -> Vec<&'static str> {
        needed.iter().copied().filter(|permission| !self.has(permission)).collect()
    }
}

/// The middle part of a token that is a JWT (RFC 7519 section 3).
fn claims(token: &str) -> Option<Value> {
    let middle = token.split('.').nth(1).filter(|_| token.len() <= MAX_TOKEN)?;
    let json = URL_SAFE_NO_PAD.decode(middle.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(claims: &str) -> Option<Permissions> {
        Permissions::of(&format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)))
    }

    #[test]
    fn claims_are_read_leniently() {
        for (claims, expected, delegated) in [
            (r#"{"roles":["Mail.Send","Mail.ReadWrite"]}"#, "Mail.Send Mail.ReadWrite", false),
            (r#"{"scp":"openid Mail.ReadWrite.Shared"}"#, "openid Mail.ReadWrite.Shared", true),
            (r#"{"roles":["User.Read.All",7,"Mail\nx"]}"#, "User.Read.All", false),
            (r#"{"roles":[]}"#, "", false),
            (r#"{"roles":["x"],"scp":"Mail.Send"}"#, "Mail.Send", true),
        ] {
            let found = of(claims).expect(claims);
            assert_eq!((found.names.join(" ").as_str(), found.delegated), (expected, delegated));
        }
        let long = format!("a.{}.b", "e".repeat(MAX_TOKEN));
        for token in ["", "opaque", "a.b", "a.!.c", "EwB0A8l6BAAU", long.as_str()] {
            assert_eq!(Permissions::of(token), None, "{token}");
        }
        for silent in [r#"{"roles":"Mail.Send"}"#, "{}", "[]", "not json"] {
            assert_eq!(of(silent), None, "{silent}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let found = of(r#"{"roles":["Mail.ReadBasic","Mail.Send.All"]}"#).expect("roles");
        assert_eq!(found.missing(&["Mail.Send"]), [""; 0]);
        assert_eq!(found.missing(&["Mail.Send", "Mail.Read"]), ["Mail.Read"]);
    }
}
