//! `grant_type=client_credentials`: an application's own token (facts/entra-oauth.md section 2).
//!
//! Danger: a token is issued without any permission, and only Graph says so later. Rule: exactly
//! one resource's `.default`, the roles that an administrator granted and no others, never a
//! refresh token, and never without a tenant.

use axum::response::Response;
use serde_json::json;

use super::super::accounts::{App, Tenant, guid};
use super::super::jwt;
use super::super::store::{State as Store, Token};
use super::client;
use super::error::Refusal;
use super::issue::{LIFETIME, uncached};
use super::token::Form;

/// The resources whose `.default` may be asked for, each with how its application roles end.
const RESOURCES: &[(&str, bool)] = &[
    ("https://graph.microsoft.com", false),
    ("https://outlook.office365.com", true),
    ("https://outlook.office.com", true),
];
/// Application roles of Exchange's own protocols; all others are Graph's.
const EXCHANGE_ROLES: &[&str] = &["IMAP.AccessAsApp", "POP.AccessAsApp", "SMTP.SendAsApp"];

/// Answers a request for an application's own token.
pub(super) fn answer(
    store: &mut Store,
    base: &str,
    tenant_name: &str,
    (tenant, app): (Option<&Tenant>, &App),
    form: &Form,
) -> Result<Response, Refusal> {
    if tenant.is_none() {
        return Err(Refusal::known(9_001_023));
    }
    let resource = resource(form.mandatory("scope")?)?;
    client::authenticate(store, base, app, tenant_name, form, 7_000_216)?;
    Ok(issue(store, app, resource))
}

/// One resource, and its `.default` alone.
fn resource(scope: &str) -> Result<(&'static str, bool), Refusal> {
    let wanted: Vec<&str> = scope.split_ascii_whitespace().collect();
    if wanted.len() > 1 && wanted.iter().all(|scope| scope.ends_with("/.default")) {
        let text = format!("The provided value for scope {scope} names more than one resource.");
        return Err(Refusal::new(700_022, text));
    }
    let invalid = || {
        let text = format!(
            "The provided request must include a 'scope' input parameter. The provided value for \
             the input parameter 'scope' is not valid. The scope {scope} is not valid."
        );
        Refusal::new(70_011, text)
    };
    let [one] = wanted.as_slice() else { return Err(invalid()) };
    let Some(name) = one.strip_suffix("/.default") else {
        // Client credentials take no named permission.
        let text = format!(
            "The provided value for scope {scope} is not valid. Client credential \
             flows must have a scope value with /.default suffixed to the resource identifier."
        );
        return Err(if one.starts_with("https://") {
            Refusal::new(1_002_012, text)
        } else {
            invalid()
        });
    };
    let found = RESOURCES.iter().find(|(known, _)| *known == name).copied();
    found.ok_or_else(|| {
        let text = format!("The resource principal named {name} was not found in the tenant.");
        Refusal::new(500_011, text)
    })
}

fn issue(state: &mut Store, app: &App, (resource, exchange): (&str, bool)) -> Response {
    let lifetime = state.token_lifetime.unwrap_or(LIFETIME);
    let now = state.now();
    let is_exchange = |role: &&String| EXCHANGE_ROLES.contains(&role.as_str()) == exchange;
    let roles: Vec<String> = app.roles.iter().filter(is_exchange).cloned().collect();
    let token = jwt::shaped(&json!({
        "aud": resource,
        "appid": app.client_id,
        "tid": app.tenant,
        "iat": now.unix_timestamp(),
        "exp": (now + lifetime).unix_timestamp(),
        "roles": roles,
        "uti": guid(),
    }));
    let remembered = Token {
        audience: resource.to_owned(),
        app: app.client_id.clone(),
        tenant: app.tenant.clone(),
        subject: String::new(),
        roles,
        scopes: Vec::new(),
        expires: now + lifetime,
    };
    state.tokens.insert(token.clone(), remembered);
    state.counters.entra_tokens += 1;
    let seconds = lifetime.whole_seconds();
    let body = json!({
        "token_type": "Bearer",
        "expires_in": seconds,
        "ext_expires_in": seconds,
        "access_token": token,
    });
    uncached(&body)
}
