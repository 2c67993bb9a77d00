//! The grants of a signed-in user: code, refresh token, device code (facts/entra-oauth.md sections
//! 3 to 5).
//!
//! Danger: a code that works twice, a verifier that is not compared, or a refresh token that never
//! dies, hides the client's worst mistakes. Rule: who asks is proved by the way the redirect address
//! is registered; a code is good once and for ten minutes; a refresh token is one client's, and dies
//! of revocation, ninety days of rest, or a day in a browser's script.

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use time::Duration;

use super::super::accounts::{App, Platform, Standing};
use super::super::store::State as Store;
use super::client;
use super::error::Refusal;
use super::issue::{self, Issue};
use super::scope::Scopes;
use super::sign_ins::{Grant, Outcome, covers};
use super::token::Form;

/// The life of an authorization code.
const CODE_LIFETIME: Duration = Duration::minutes(10);
/// A refresh token that rests for longer is dead.
const MAX_REST: Duration = Duration::days(90);
/// The whole life of a sign-in made by a browser's script.
const SCRIPT_LIFETIME: Duration = Duration::hours(24);
/// What a poll that comes too soon adds to the interval (RFC 8628 section 3.5).
const SLOWER: Duration = Duration::seconds(5);

/// A token request whose application is known.
pub(super) struct Asked<'a> {
    pub base: &'a str,
    /// As it stands in the URL.
    pub tenant: &'a str,
    pub app: &'a App,
    pub form: &'a Form,
    /// True with an `Origin`.
    pub from_script: bool,
}

impl Asked<'_> {
    /// Public clients send no secret, confidential ones must.
    fn prove(&self, store: &mut Store, platform: Platform) -> Result<(), Refusal> {
        let secret = ["client_secret", "client_assertion"].iter().any(|n| self.has(n));
        match platform {
            Platform::Native | Platform::Spa if secret => Err(Refusal::known(700_025)),
            Platform::Spa if !self.from_script => Err(Refusal::known(9_002_327)),
            Platform::Native | Platform::Web if self.from_script => Err(Refusal::known(9_002_326)),
            Platform::Native | Platform::Spa => Ok(()),
            Platform::Web => {
                let (base, app) = (self.base, self.app);
                client::authenticate(store, base, app, self.tenant, self.form, 7_000_218)
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        self.form.optional(name).is_some()
    }

    /// The scopes of this request, or the first resource of the sign-in's.
    fn scopes(&self, grant: &Grant) -> Result<Scopes, Refusal> {
        if let Some(text) = self.form.optional("scope") {
            return Scopes::read(text);
        }
        let mut scopes = grant.scopes.clone();
        scopes.wanted.truncate(1);
        Ok(scopes)
    }

    fn issue(&self, store: &mut Store, grant: &Grant, refresh: bool) -> Result<Response, Refusal> {
        let issue = Issue {
            app: self.app,
            grant,
            scopes: self.scopes(grant)?,
            client_info: self.form.optional("client_info") == Some("1"),
            base: self.base,
        };
        issue.answer(store, refresh)
    }
}

/// True for who is still there, in good standing, and meets what is required of every token.
fn check_user(store: &Store, grant: &Grant) -> Result<(), Refusal> {
    let gone = || Refusal::new(50_034, "The user account was deleted.");
    let owner = issue::owner(store, &grant.user).ok_or_else(gone)?;
    if owner.person.standing == Standing::Disabled {
        return Err(Refusal::known(50_057));
    }
    if grant.generation != store.sign_ins.generation(&grant.user) {
        return Err(Refusal::known(50_173));
    }
    if owner.person.second_factor && !grant.second_factor {
        return Err(Refusal::known(50_076));
    }
    let Some(required) = store.sign_ins.required.get(&grant.user) else { return Ok(()) };
    if grant.claims.as_ref().is_some_and(|claims| covers(claims, required)) {
        return Ok(());
    }
    let mut refusal = Refusal::known(50_076).worded("interaction_required");
    refusal.claims = Some(required.to_string());
    Err(refusal)
}

/// `authorization_code`.
pub(super) fn code(store: &mut Store, asked: &Asked<'_>) -> Result<Response, Refusal> {
    let text = asked.form.mandatory("code")?;
    let address = asked.form.mandatory("redirect_uri")?;
    let found = store.sign_ins.codes.get(text).cloned();
    let code = found.filter(|code| code.grant.client_id == asked.app.client_id);
    let code = code.ok_or_else(|| Refusal::known(70_000))?;
    asked.prove(store, code.grant.platform)?;
    if code.used {
        return Err(Refusal::known(54_005));
    }
    if store.now() - code.issued > CODE_LIFETIME {
        return Err(Refusal::known(70_008));
    }
    if address != code.redirect_uri {
        return Err(Refusal::known(500_112));
    }
    if !verified(code.challenge.as_ref(), asked.form.optional("code_verifier")) {
        return Err(Refusal::known(501_481));
    }
    check_user(store, &code.grant)?;
    let response = asked.issue(store, &code.grant, code.grant.scopes.offline)?;
    if let Some(code) = store.sign_ins.codes.get_mut(text) {
        code.used = true;
    }
    store.sign_ins.count(&code.grant.user).codes += 1;
    Ok(response)
}

/// RFC 7636 section 4.6. A verifier without a challenge is as wrong as the reverse.
fn verified(challenge: Option<&(String, String)>, verifier: Option<&str>) -> bool {
    let (Some((method, challenge)), Some(verifier)) = (challenge, verifier) else {
        return challenge.is_none() && verifier.is_none();
    };
    let well_formed = (43..=128).contains(&verifier.len())
        && verifier.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
    let made = if method == "S256" {
        URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes()))
    } else {
        verifier.to_owned()
    };
    well_formed && made == *challenge
}

/// `refresh_token`.
pub(super) fn refresh(store: &mut Store, asked: &Asked<'_>) -> Result<Response, Refusal> {
    let text = asked.form.mandatory("refresh_token")?;
    let found = store.sign_ins.refresh.get(text).cloned();
    let known = found.filter(|refresh| refresh.grant.client_id == asked.app.client_id);
    let refresh = known.ok_or_else(|| Refusal::known(70_000))?;
    let grant = &refresh.grant;
    asked.prove(store, grant.platform)?;
    let now = store.now();
    let old = match grant.platform {
        Platform::Spa if now - grant.at > SCRIPT_LIFETIME => Some(Refusal::known(700_084)),
        _ if now - refresh.last_used > MAX_REST => Some(Refusal::known(700_082)),
        _ => check_user(store, grant).err(),
    };
    if let Some(refusal) = old {
        store.sign_ins.count(&grant.user).dead_refreshes += 1;
        return Err(refusal);
    }
    let response = asked.issue(store, grant, true)?;
    store.counters.entra_refreshes += 1;
    let counted = store.sign_ins.count(&grant.user);
    counted.refreshes += 1;
    counted.reused += usize::from(refresh.uses > 0);
    if let Some(refresh) = store.sign_ins.refresh.get_mut(text) {
        refresh.uses += 1;
        refresh.last_used = now;
    }
    Ok(response)
}

/// `device_code`.
pub(super) fn device(store: &mut Store, asked: &Asked<'_>) -> Result<Response, Refusal> {
    let text = asked.form.mandatory("device_code")?;
    let platform = if asked.app.public_flows { Platform::Native } else { Platform::Web };
    asked.prove(store, platform)?;
    let now = store.now();
    let found = store.sign_ins.devices.get_mut(text);
    let device = found.filter(|device| device.client_id == asked.app.client_id);
    let device = device.ok_or_else(|| Refusal::known(70_018))?;
    let too_soon = device.polled.is_some_and(|last| now - last < device.interval);
    device.polled = Some(now);
    let grant = match &device.outcome {
        Outcome::Redeemed => return Err(Refusal::known(54_005)),
        Outcome::Declined => return Err(Refusal::known(65_004).worded("authorization_declined")),
        _ if device.expires <= now => return Err(Refusal::known(70_020)),
        _ if too_soon => {
            device.interval += SLOWER;
            let text = "OAuth 2.0 device flow error. Polling too fast: wait for longer.";
            return Err(Refusal::new(70_016, text).worded("slow_down"));
        }
        Outcome::Waiting => return Err(Refusal::known(70_016)),
        Outcome::Granted(grant) => grant.clone(),
    };
    let mut grant = *grant;
    grant.platform = platform;
    if let Some(claims) = asked.form.optional("claims") {
        let read = serde_json::from_str::<Value>(claims);
        grant.claims = Some(read.map_err(|_| Refusal::known(9_002_313))?);
    }
    check_user(store, &grant)?;
    let response = asked.issue(store, &grant, grant.scopes.offline)?;
    if let Some(device) = store.sign_ins.devices.get_mut(text) {
        device.outcome = Outcome::Redeemed;
    }
    store.sign_ins.count(&grant.user).device_codes += 1;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifiers_are_compared_exactly() {
        // RFC 7636 appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let pair = |method: &str, challenge: &str| (method.to_owned(), challenge.to_owned());
        let good = pair("S256", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert!(verified(Some(&good), Some(verifier)));
        assert!(verified(Some(&pair("plain", verifier)), Some(verifier)));
        assert!(verified(None, None));
        assert!(!verified(Some(&good), None) && !verified(None, Some(verifier)));
        assert!(!verified(Some(&good), Some(&verifier.replace('d', "e"))));
        let short = "short";
        assert!(!verified(Some(&pair("plain", short)), Some(short)));
    }
}
