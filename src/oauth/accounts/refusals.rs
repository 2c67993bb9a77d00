//! Sign-ins that have just been refused.
//!
//! Danger: a failure of a role is forgotten when the cache file changes, and in a file of many
//! accounts that is every minute; a dead sign-in would be asked for again and again. Rule: what was
//! refused for one refresh token is answered from memory for a moment, as long as the cache holds
//! the same one.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ring::digest::{SHA256, digest};
use tokio::time::Instant;

use super::obtain::Need;
use super::record::Who;
use crate::oauth::{Error, Service};
use crate::secret::Secret;

/// As long as the first wait of a role's own memory: a person needs longer to put it right.
const REMEMBERED: Duration = Duration::from_secs(30);

/// A refusal of one refresh token.
struct Refusal {
    fingerprint: Vec<u8>,
    error: Error,
    at: Instant,
}

/// Who, for what, and which tenant: one tenant's refusal is not another's.
type Asked = (Who, Service, String);

#[derive(Default)]
pub(super) struct Refusals {
    recent: Mutex<HashMap<Asked, Refusal>>,
}

impl Refusals {
    /// What was said a moment ago about this very refresh token.
    /// Names no role.
    pub fn of(&self, need: &Need<'_>, refresh: &Secret) -> Option<Error> {
        let recent = self.lock();
        let refusal = recent.get(&asked(need))?;
        let holds = refusal.at.elapsed() < REMEMBERED && refusal.fingerprint == of_token(refresh);
        holds.then(|| refusal.error.clone())
    }

    pub fn remember(&self, need: &Need<'_>, refresh: &Secret, error: &Error) {
        // Another role may hear it.
        let text = error.text.strip_prefix(&format!("{}: ", need.role)).unwrap_or(&error.text);
        let error = Error { text: text.to_owned(), ..error.clone() };
        let refusal = Refusal { fingerprint: of_token(refresh), error, at: Instant::now() };
        let mut recent = self.lock();
        recent.retain(|_, refusal| refusal.at.elapsed() < REMEMBERED);
        recent.insert(asked(need), refusal);
    }

    /// The account has been signed in again.
    pub fn forget(&self, who: &Who) {
        self.lock().retain(|(known, ..), _| known != who);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Asked, Refusal>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn asked(need: &Need<'_>) -> Asked {
    (need.who(), need.service, need.app.tenant_id.to_lowercase())
}

/// The token itself need not be kept.
fn of_token(refresh: &Secret) -> Vec<u8> {
    digest(&SHA256, refresh.expose().as_bytes()).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::super::tests::app;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refusal_holds_for_a_moment_for_one_token_and_one_service() {
        let refusals = Refusals::default();
        let app = app("https://login.microsoftonline.com");
        let need = |username| Need { role: "R", app: &app, username, service: Service::Imap };
        let (jo, al) = (need("jo"), need("al"));
        let (old, new) = (Secret::new("old"), Secret::new("new"));
        refusals.remember(&jo, &old, &Error::person("R: no"));
        let said = |need: &Need<'_>, token| refusals.of(need, token).map(|error| error.text);
        assert_eq!(said(&Need { role: "other", ..jo }, &old).as_deref(), Some("no"));
        assert_eq!(said(&jo, &new), None, "somebody has signed in");
        assert_eq!(said(&Need { service: Service::Smtp, ..jo }, &old), None);
        assert_eq!(said(&al, &old), None);
        tokio::time::advance(REMEMBERED).await;
        assert_eq!(said(&jo, &old), None);
        refusals.remember(&jo, &old, &Error::person("R: no"));
        refusals.forget(&jo.who());
        assert_eq!(said(&jo, &old), None);
    }
}
