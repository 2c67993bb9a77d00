//! What clients look up before they ask: endpoints, hosts, keys.
//!
//! Rule: addresses keep the tenant as it was asked for (`common` stays `common`), but a domain
//! becomes its GUID; the issuer of `common` is the template that the real service shows.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::super::jwt;
use super::super::store::Cloud;
use super::super::web;
use super::directory;

/// `/{tenant}/v2.0/.well-known/openid-configuration`.
pub(super) async fn openid(State(cloud): State<Arc<Cloud>>, Path(name): Path<String>) -> Response {
    let base = &cloud.endpoints.authority_url;
    let (segment, issuer) = match directory(&cloud.state(), &name) {
        Ok(Some(tenant)) => (tenant.id.clone(), tenant.id),
        Ok(None) => (name, "{tenantid}".to_owned()),
        Err(refusal) => return refusal.into_response(base),
    };
    let oauth = format!("{base}/{segment}/oauth2/v2.0");
    let body = json!({
        "issuer": format!("{base}/{issuer}/v2.0"),
        "token_endpoint": format!("{oauth}/token"),
        "authorization_endpoint": format!("{oauth}/authorize"),
        "device_authorization_endpoint": format!("{oauth}/devicecode"),
        "jwks_uri": format!("{base}/{segment}/discovery/v2.0/keys"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        "response_modes_supported": ["query", "fragment", "form_post"],
        "response_types_supported": ["code"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
    });
    web::json(StatusCode::OK, &body)
}

/// `/common/discovery/instance`: this host is its own only alias.
pub(super) async fn instance(State(cloud): State<Arc<Cloud>>) -> Response {
    let base = &cloud.endpoints.authority_url;
    let host = base.trim_start_matches("https://");
    let body = json!({
        "tenant_discovery_endpoint": format!("{base}/common/v2.0/.well-known/openid-configuration"),
        "api-version": "1.1",
        "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
    });
    web::json(StatusCode::OK, &body)
}

/// `/{tenant}/discovery/v2.0/keys`: what ID tokens are signed with.
pub(super) async fn keys() -> Response {
    web::json(StatusCode::OK, &json!({"keys": [jwt::public_jwk()]}))
}
