//! Microsoft Entra: discovery, sign-in pages, device codes and the token endpoint.
//!
//! Danger: a token endpoint that forgives a wrong parameter lets a client into production that the
//! real one refuses. Rule: parameters are checked in the real order with the real codes, and a
//! token says nothing beyond what an administrator or a user granted.

mod authorize;
mod client;
mod client_credentials;
mod codes;
mod codes_table;
mod consent;
mod device;
mod discovery;
mod error;
mod grants;
mod inspect;
mod issue;
mod login;
mod pages;
mod redirect;
mod scope;
mod sign_ins;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use axum::routing::{get, post};

pub(crate) use self::sign_ins::SignIns;
pub use self::sign_ins::UserSignIns;

use self::error::Refusal;
use super::accounts::{App, Tenant};
use super::faults::Place;
use super::store::{Cloud, State as Store};

pub(super) fn router(cloud: Arc<Cloud>) -> Router {
    Router::new()
        .route("/{tenant}/oauth2/v2.0/authorize", get(authorize::get).post(authorize::post))
        .route("/{tenant}/oauth2/v2.0/devicecode", post(device::code))
        .route("/{tenant}/oauth2/v2.0/token", post(token::token))
        .route("/{tenant}/v2.0/.well-known/openid-configuration", get(discovery::openid))
        .route("/{tenant}/discovery/v2.0/keys", get(discovery::keys))
        .route("/common/discovery/instance", get(discovery::instance))
        .route("/common/oauth2/deviceauth", get(device::page).post(device::entered))
        .route("/common/login", post(login::login))
        .route("/common/approve", post(login::approve))
        .route("/common/consent", post(login::agree))
        .with_state(cloud)
}

pub(super) fn place_of(_: &Method, path: &str) -> Place {
    match path.rsplit_once("/oauth2/v2.0/") {
        Some((_, "token")) => Place::EntraToken,
        Some((_, "authorize")) => Place::EntraAuthorize,
        Some((_, "devicecode")) => Place::EntraDevice,
        _ => Place::Other,
    }
}

/// By GUID or verified domain; `None` for `common` and `organizations`.
fn directory(store: &Store, name: &str) -> Result<Option<Tenant>, Refusal> {
    match name {
        "common" | "organizations" => return Ok(None),
        // There are no personal accounts here.
        "consumers" => return Err(Refusal::known(9_002_332)),
        _ => {}
    }
    let is = |tenant: &&Tenant| {
        tenant.id.eq_ignore_ascii_case(name) || tenant.domain.eq_ignore_ascii_case(name)
    };
    store.tenants.iter().find(is).cloned().map(Some).ok_or_else(|| {
        let text = format!(
            "Tenant '{name}' not found. Check to make sure you have the correct tenant ID and are \
             signing into the correct cloud."
        );
        Refusal::new(90_002, text)
    })
}

/// The tenant in the URL and an application that may be used there.
fn tenant_and_app(
    store: &Store,
    name: &str,
    client_id: &str,
) -> Result<(Option<Tenant>, App), Refusal> {
    let tenant = directory(store, name)?;
    let is = |app: &&App| app.client_id.eq_ignore_ascii_case(client_id);
    let found = store.apps.iter().find(is).cloned();
    let known_there = |app: &App| {
        app.multi_tenant || tenant.as_ref().is_none_or(|tenant| tenant.id == app.tenant)
    };
    let app = found.filter(known_there).ok_or_else(|| {
        let text = format!(
            "Application with identifier '{client_id}' was not found in the directory '{}'.",
            tenant.as_ref().map_or(name, |tenant| &tenant.id)
        );
        Refusal::new(700_016, text)
    })?;
    if tenant.is_none() && !app.multi_tenant {
        return Err(Refusal::known(50_194));
    }
    if app.disabled {
        return Err(Refusal::known(7_000_112));
    }
    Ok((tenant, app))
}
