//! Who signed in, what they agreed to, and the codes and refresh tokens that came of it.
//!
//! Danger: a code or a refresh token that outlives a revocation is a stolen mailbox. Rule: every one
//! carries the grant it stands for, with the generation of its user's sign-ins; revoking moves the
//! generation on, and everything older is refused.

use std::collections::HashMap;

use serde_json::Value;
use time::{Duration, OffsetDateTime};

use super::super::accounts::Platform;
use super::authorize::Request;
use super::scope::{Scopes, full};

/// Seconds between two polls of a device code, unless a test wants less.
pub(super) const INTERVAL: Duration = Duration::seconds(5);

/// What a person agreed to at one sign-in.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub client_id: String,
    /// Object id.
    pub user: String,
    /// How the redirect address is registered; the device flow is a public client's.
    pub platform: Platform,
    pub scopes: Scopes,
    pub nonce: Option<String>,
    pub claims: Option<Value>,
    /// True when a second factor was given.
    pub second_factor: bool,
    pub generation: u64,
    pub at: OffsetDateTime,
}

/// An authorization code.
#[derive(Clone, Debug)]
pub(super) struct Code {
    pub grant: Grant,
    pub redirect_uri: String,
    /// Method and challenge.
    pub challenge: Option<(String, String)>,
    pub used: bool,
    pub issued: OffsetDateTime,
}

/// A refresh token.
#[derive(Clone, Debug)]
pub(super) struct Refresh {
    pub grant: Grant,
    pub last_used: OffsetDateTime,
    pub uses: usize,
}

/// How a device code stands.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Waiting,
    Declined,
    Granted(Box<Grant>),
    Redeemed,
}

/// A device code.
#[derive(Clone, Debug)]
pub(super) struct Device {
    pub user_code: String,
    pub client_id: String,
    /// The tenant in the URL.
    pub tenant: String,
    pub scopes: Scopes,
    pub claims: Option<Value>,
    pub expires: OffsetDateTime,
    pub interval: Duration,
    pub polled: Option<OffsetDateTime>,
    pub outcome: Outcome,
}

/// What pages under way lead to.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    Redirect(Box<Request>),
    /// The device code.
    Device(String),
}

/// Pages under way.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// As it stands in the URL.
    pub tenant: String,
    pub client_id: String,
    pub scopes: Scopes,
    pub claims: Option<Value>,
    /// `prompt=consent`.
    pub consent_again: bool,
    pub purpose: Purpose,
    /// Who gave the right password.
    pub user: Option<String>,
    pub second_factor: bool,
    /// True once the person agreed on the consent page.
    pub agreed: bool,
}

/// A browser's session (its cookie).
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub user: String,
    pub second_factor: bool,
    pub generation: u64,
}

/// What happened to one user's sign-ins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserSignIns {
    /// Finished on the pages, for a redirect address or a device.
    pub sign_ins: usize,
    /// Authorization codes redeemed.
    pub codes: usize,
    /// Device codes redeemed.
    pub device_codes: usize,
    /// Refresh tokens redeemed.
    pub refreshes: usize,
    /// Among them those that had been redeemed before.
    pub reused: usize,
    /// Refusals because the refresh token was revoked or expired.
    pub dead_refreshes: usize,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct SignIns {
    pub(super) asks: HashMap<String, Ask>,
    pub(super) codes: HashMap<String, Code>,
    pub(super) devices: HashMap<String, Device>,
    pub(super) refresh: HashMap<String, Refresh>,
    pub(super) sessions: HashMap<String, Session>,
    /// Object id, client id, permission with its principal.
    pub(super) consents: Vec<(String, String, String)>,
    /// By object id: how often sign-ins were revoked.
    pub(super) generations: HashMap<String, u64>,
    /// By object id: claims that every token request must meet.
    pub(super) required: HashMap<String, Value>,
    pub(super) interval: Option<Duration>,
    /// By object id.
    pub(super) counted: HashMap<String, UserSignIns>,
}

impl SignIns {
    pub fn generation(&self, user: &str) -> u64 {
        self.generations.get(user).copied().unwrap_or_default()
    }

    pub fn revoke(&mut self, user: &str) {
        *self.generations.entry(user.to_owned()).or_default() += 1;
    }

    pub fn consent(&mut self, user: &str, client_id: &str, permissions: &[String]) {
        for permission in permissions {
            let entry = (user.to_owned(), client_id.to_owned(), permission.clone());
            if !self.consents.contains(&entry) {
                self.consents.push(entry);
            }
        }
    }

    /// What the user agreed to, at one principal.
    pub fn consented(&self, user: &str, client_id: &str, principal: &str) -> Vec<String> {
        let start = full(principal, "");
        let is = |entry: &&(String, String, String)| {
            entry.0 == user && entry.1 == client_id && entry.2.starts_with(&start)
        };
        self.consents.iter().filter(is).map(|entry| entry.2.clone()).collect()
    }

    pub fn count(&mut self, user: &str) -> &mut UserSignIns {
        self.counted.entry(user.to_owned()).or_default()
    }
}

/// True when claims that were asked for meet those that are required: clients may add their own.
pub(super) fn covers(have: &Value, want: &Value) -> bool {
    match (have, want) {
        (Value::Object(have), Value::Object(want)) => want
            .iter()
            .all(|(name, value)| have.get(name).is_some_and(|found| covers(found, value))),
        _ => have == want,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn revoking_moves_one_user_s_generation() {
        let mut all = SignIns::default();
        all.revoke("a");
        assert_eq!((all.generation("a"), all.generation("b")), (1, 0));
    }

    #[test]
    fn consents_are_per_user_application_and_principal() {
        let mut all = SignIns::default();
        let both = ["https://x/A".to_owned(), "https://y/B".to_owned()];
        all.consent("u", "app", &both);
        all.consent("u", "app", &both);
        assert_eq!(all.consents.len(), 2);
        assert_eq!(all.consented("u", "app", "https://x"), ["https://x/A"]);
        assert!(all.consented("u", "other", "https://x").is_empty());
        assert!(all.consented("v", "app", "https://x").is_empty());
    }

    #[test]
    fn more_claims_than_required_are_enough() {
        let want = json!({"access_token": {"acrs": {"essential": true, "value": "c1"}}});
        let mut have = want.clone();
        have["access_token"]["xms_cc"] = json!({"values": ["cp1"]});
        assert!(covers(&have, &want));
        assert!(!covers(&json!({"access_token": {}}), &want));
        have["access_token"]["acrs"]["value"] = json!("c2");
        assert!(!covers(&have, &want));
    }
}
