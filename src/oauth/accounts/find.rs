//! Which entry of the cache is the account that a role names.
//!
//! Danger: one sign-in name can stand in a cache several times: as a work account and as a personal
//! one, in the home tenant and as a guest. Rule: name, application and cloud must fit; among several
//! the one of the application's tenant is taken, else the newest.

use std::cmp::Reverse;

use super::record::Who;
use super::who;
use crate::oauth::delegated::{environment, is_personal};
use crate::oauth::msal::{Account, Document};
use crate::oauth::public_app::PublicApp;

/// The account of that name, if it is signed in for the application.
pub(super) fn account(document: &Document, app: &PublicApp, username: &str) -> Option<Account> {
    let wanted = Who::new(username, &app.client_id);
    let fitting = all(document, app).into_iter().filter(|account| {
        // Last, since it goes through the whole file.
        who(account) == wanted && document.refresh_token(&account.owner).is_some()
    });
    fitting.min_by_key(|account| (rank(account, app), Reverse(account.renewed_at)))
}

/// All accounts that are signed in for the application.
pub(super) fn all(document: &Document, app: &PublicApp) -> Vec<Account> {
    let Some(environment) = environment(app) else { return Vec::new() };
    let is_ours = |account: &Account| {
        account.owner.client_id.eq_ignore_ascii_case(&app.client_id)
            && account.owner.is_in(&environment)
    };
    document.accounts().into_iter().filter(is_ours).collect()
}

/// Of which tenant the account's access tokens must be; `None` where the setting does not tell
/// (the name of a domain).
pub(super) fn realm<'a>(account: &'a Account, app: &'a PublicApp) -> Option<&'a str> {
    let tenant = app.tenant_id.as_str();
    let is_alias = ["organizations", "common", "consumers"];
    match uuid::Uuid::try_parse(tenant) {
        Ok(_) => Some(tenant),
        Err(_) if is_alias.iter().any(|alias| alias.eq_ignore_ascii_case(tenant)) => {
            account.owner.home_tenant()
        }
        Err(_) => None,
    }
}

/// How well the account fits the application's tenant: less is better.
fn rank(account: &Account, app: &PublicApp) -> u8 {
    let is_personal = is_personal(&account.owner.home_account_id);
    if account.realm.eq_ignore_ascii_case(&app.tenant_id) {
        return 0;
    }
    match app.tenant_id.to_ascii_lowercase().as_str() {
        "consumers" => u8::from(!is_personal),
        "common" => 0,
        _ => 1 + u8::from(is_personal),
    }
}
