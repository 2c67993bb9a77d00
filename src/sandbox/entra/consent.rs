//! What an application may do for a user: registered, granted by an administrator, agreed to.
//!
//! Danger: `.default` means something else on every day: what was agreed to, or, for who agreed to
//! nothing yet, the whole registration. Rule: one function says what is granted, one what is still
//! missing, and pages and token endpoint both use them.

use super::super::accounts::App;
use super::super::store::State as Store;
use super::error::Refusal;
use super::scope::{Scopes, Wanted, full, is_for_admins, normal};
use super::sign_ins::Ask;

/// Everything granted at a principal: by an administrator and by the user.
pub(super) fn granted(store: &Store, app: &App, user: &str, principal: &str) -> Vec<String> {
    let start = full(principal, "");
    let by_admin = app.admin_consent.iter().map(|scope| normal(scope));
    let mut all: Vec<String> = by_admin.filter(|scope| scope.starts_with(&start)).collect();
    for scope in store.sign_ins.consented(user, &app.client_id, principal) {
        if !all.contains(&scope) {
            all.push(scope);
        }
    }
    all
}

/// The permissions that a person still has to agree to.
pub(super) fn missing(
    store: &Store,
    app: &App,
    user: &str,
    ask: &Ask,
) -> Result<Vec<String>, Refusal> {
    let mut all = Vec::new();
    for wanted in &ask.scopes.wanted {
        let has = granted(store, app, user, wanted.principal);
        let again = ask.consent_again && !ask.agreed;
        let asked = asked(app, wanted);
        if wanted.names.is_empty() && has.is_empty() && asked.is_empty() {
            return Err(Refusal::known(650_057));
        }
        // Whoever agreed to anything is not asked for `.default` again.
        let satisfied = wanted.names.is_empty() && !has.is_empty();
        all.extend(asked.into_iter().filter(|s| again || (!satisfied && !has.contains(s))));
    }
    Ok(all)
}

fn asked(app: &App, wanted: &Wanted) -> Vec<String> {
    if !wanted.names.is_empty() {
        return wanted.full();
    }
    let start = full(wanted.principal, "");
    let registered = app.permissions.iter().map(|scope| normal(scope));
    registered.filter(|scope| scope.starts_with(&start)).collect()
}

/// AADSTS90094, when what is missing takes an administrator.
pub(super) fn blocked(store: &Store, app: &App, user: &str, ask: &Ask) -> Option<Refusal> {
    let granted = |scope: &String| {
        ask.scopes
            .wanted
            .iter()
            .any(|wanted| self::granted(store, app, user, wanted.principal).contains(scope))
    };
    let missing = missing(store, app, user, ask).ok()?;
    let for_admins = |scope: &String| !app.user_consent || is_for_admins(scope);
    let stopped = missing.iter().any(|scope| !granted(scope) && for_admins(scope));
    stopped.then(|| Refusal::known(90_094))
}

/// What the consent page lists.
pub(super) fn listed(missing: &[String], scopes: &Scopes) -> Vec<String> {
    let mut lines = missing.to_vec();
    if scopes.openid || scopes.profile {
        lines.push("View your basic profile".to_owned());
    }
    if scopes.offline {
        lines.push("Maintain access to data you have given it access to".to_owned());
    }
    lines
}
