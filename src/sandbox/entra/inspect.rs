//! What a test does to sign-ins, and what it may look at.
//!
//! Rule: everything an administrator or a user does at the real service in a minute's work has one
//! call here; nothing here makes a token.

use std::time::Duration;

use super::super::Sandbox;
use super::super::accounts::{Mailbox, Standing};
use super::super::faults::{Fault, Place, What};
use super::UserSignIns;
use super::scope::normal;

impl Sandbox {
    /// Entra refuses with this AADSTS number, at [`Place::EntraToken`], [`Place::EntraAuthorize`] or
    /// [`Place::EntraDevice`]; the authorize endpoint shows it where the real one does.
    pub fn refuse(&self, at: Place, code: u32, times: usize) {
        self.fault(Fault { at, what: What::Aadsts(code), times });
    }

    /// The authorize endpoint sends this AADSTS number to the redirect address.
    pub fn refuse_to_redirect(&self, code: u32, times: usize) {
        let what = What::AadstsToRedirect(code);
        self.fault(Fault { at: Place::EntraAuthorize, what, times });
    }

    /// Google's token endpoint refuses with this `error` and `error_description`.
    pub fn refuse_google(&self, error: &'static str, description: &'static str, times: usize) {
        let what = What::Google(error, description);
        self.fault(Fault { at: Place::GoogleToken, what, times });
    }

    /// Ends a user's refresh tokens and browser sessions ("Revoke sessions"). Access tokens live
    /// on until they expire, as at the real service; see [`Sandbox::revoke_tokens`].
    pub fn revoke_sign_ins(&self, user: &str) {
        let mut state = self.cloud.state();
        if let Some(id) = state.mailbox(user).map(|found| found.object_id().to_owned()) {
            state.sign_ins.revoke(&id);
        }
    }

    /// Changes a user's password, which ends the sign-ins made with the old one.
    pub fn set_password(&self, user: &str, password: &str) {
        self.change(user, |mailbox| {
            mailbox.person.password = Some(password.to_owned());
            mailbox.person.wrong_passwords = 0;
        });
        self.revoke_sign_ins(user);
    }

    /// Keeps a user from signing in, or lets them again.
    pub fn set_standing(&self, user: &str, standing: Standing) {
        self.change(user, |mailbox| mailbox.person.standing = standing);
    }

    /// Asks a user for a second factor from now on, or no longer.
    pub fn require_second_factor(&self, user: &str, required: bool) {
        self.change(user, |mailbox| mailbox.person.second_factor = required);
    }

    /// Refuses every token of this user (`interaction_required`) until a sign-in with these claims
    /// (JSON). False when they are no JSON or there is no such user.
    pub fn require_claims(&self, user: &str, claims: &str) -> bool {
        let mut state = self.cloud.state();
        let id = state.mailbox(user).map(|found| found.object_id().to_owned());
        let (Some(id), Ok(claims)) = (id, serde_json::from_str(claims)) else { return false };
        state.sign_ins.required.insert(id, claims);
        true
    }

    /// Takes back what a user agreed to for an application.
    pub fn withdraw_consent(&self, user: &str, client_id: &str) {
        let mut state = self.cloud.state();
        let id = state.mailbox(user).map(|found| found.object_id().to_owned());
        state.sign_ins.consents.retain(|entry| {
            Some(&entry.0) != id.as_ref() || !entry.1.eq_ignore_ascii_case(client_id)
        });
    }

    /// Agrees for a user, as if on the consent page: permissions with their resource.
    pub fn consent(&self, user: &str, client_id: &str, permissions: &[&str]) {
        let mut state = self.cloud.state();
        let Some(id) = state.mailbox(user).map(|found| found.object_id().to_owned()) else {
            return;
        };
        let all: Vec<String> = permissions.iter().map(|scope| normal(scope)).collect();
        state.sign_ins.consent(&id, client_id, &all);
    }

    /// What a user agreed to for an application, each with its resource.
    pub fn consents(&self, user: &str, client_id: &str) -> Vec<String> {
        let state = self.cloud.state();
        let Some(id) = state.mailbox(user).map(|found| found.object_id().to_owned()) else {
            return Vec::new();
        };
        let all = state.sign_ins.consents.iter();
        let ours = all.filter(|entry| entry.0 == id && entry.1.eq_ignore_ascii_case(client_id));
        ours.map(|entry| entry.2.clone()).collect()
    }

    /// What happened to one user's sign-ins so far.
    pub fn sign_ins(&self, user: &str) -> UserSignIns {
        let state = self.cloud.state();
        let id = state.mailbox(user).map(Mailbox::object_id).unwrap_or_default();
        state.sign_ins.counted.get(id).copied().unwrap_or_default()
    }

    /// How many of one user's refresh tokens are still good for anything.
    pub fn live_refresh_tokens(&self, user: &str) -> usize {
        let state = self.cloud.state();
        let id = state.mailbox(user).map(Mailbox::object_id).unwrap_or_default();
        let generation = state.sign_ins.generation(id);
        let all = state.sign_ins.refresh.values();
        all.filter(|token| token.grant.user == id && token.grant.generation == generation).count()
    }

    /// The user code that a person was last asked to enter for a device, while it waits.
    pub fn user_codes(&self) -> Vec<String> {
        use super::sign_ins::Outcome;
        let state = self.cloud.state();
        let waiting = |device: &&super::sign_ins::Device| {
            matches!(device.outcome, Outcome::Waiting) && device.expires > state.now()
        };
        let devices = state.sign_ins.devices.values();
        devices.filter(waiting).map(|device| device.user_code.clone()).collect()
    }

    /// How far apart polls of new device codes must be.
    pub fn set_device_interval(&self, interval: Duration) {
        self.cloud.state().sign_ins.interval = time::Duration::try_from(interval).ok();
    }

    /// Moves the cloud's clock ahead: codes, refresh tokens and access tokens age at once.
    pub fn advance(&self, by: Duration) {
        let mut state = self.cloud.state();
        if let Ok(by) = time::Duration::try_from(by) {
            state.ahead = state.ahead.saturating_add(by);
        }
    }

    fn change(&self, user: &str, change: impl FnOnce(&mut Mailbox)) {
        if let Some(mailbox) = self.cloud.state().mailbox_mut(user) {
            change(mailbox);
        }
    }
}
