//! Microsoft Entra: discovery and the token endpoint.
//!
//! Danger: a token endpoint that forgives a wrong parameter lets a client into production that the
//! real one refuses. Rule: parameters are checked in the real order with the real codes, and a
//! token says nothing beyond what an administrator granted.

mod error;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::json;

use self::error::Refusal;
use super::accounts::Tenant;
use super::faults::Place;
use super::store::Cloud;
use super::web;

pub(super) fn router(cloud: Arc<Cloud>) -> Router {
    Router::new()
        .route("/{tenant}/oauth2/v2.0/token", post(token::token))
        .route("/{tenant}/v2.0/.well-known/openid-configuration", get(discovery))
        .with_state(cloud)
}

pub(super) fn place_of(_: &Method, path: &str) -> Place {
    if path.ends_with("/oauth2/v2.0/token") { Place::EntraToken } else { Place::Other }
}

/// By GUID or verified domain.
fn tenant(cloud: &Cloud, name: &str) -> Result<Tenant, Refusal> {
    let state = cloud.state();
    let is = |tenant: &&Tenant| {
        tenant.id.eq_ignore_ascii_case(name) || tenant.domain.eq_ignore_ascii_case(name)
    };
    state.tenants.iter().find(is).cloned().ok_or_else(|| {
        let text = format!(
            "Tenant '{name}' not found. Check to make sure you have the correct tenant ID and are \
             signing into the correct cloud."
        );
        Refusal::new(90_002, text)
    })
}

async fn discovery(State(cloud): State<Arc<Cloud>>, Path(name): Path<String>) -> Response {
    let base = &cloud.endpoints.authority_url;
    let tenant = match tenant(&cloud, &name) {
        Ok(tenant) => tenant.id,
        Err(refusal) => return refusal.into_response(base),
    };
    let oauth = format!("{base}/{tenant}/oauth2/v2.0");
    let body = json!({
        "issuer": format!("{base}/{tenant}/v2.0"),
        "token_endpoint": format!("{oauth}/token"),
        "authorization_endpoint": format!("{oauth}/authorize"),
        "device_authorization_endpoint": format!("{oauth}/devicecode"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        "response_types_supported": ["code"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
    });
    web::json(StatusCode::OK, &body)
}
