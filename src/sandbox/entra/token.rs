//! `POST /{tenant}/oauth2/v2.0/token`: the form, and which grant it is.
//!
//! Danger: a parameter that is forgiven here is refused in production. Rule: the form is read
//! strictly, parameters are asked for in the real order, and each grant has its own file.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::super::faults::{Place, What};
use super::super::store::{Cloud, State as Store};
use super::super::web;
use super::error::Refusal;
use super::grants::{self, Asked};
use super::{client_credentials, directory, tenant_and_app};

/// RFC 8628 section 3.4.
const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// The fields of a form or a query.
pub(super) struct Form(pub Vec<(String, String)>);

impl Form {
    pub fn optional(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, value)| known == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    pub fn mandatory(&self, name: &str) -> Result<&str, Refusal> {
        self.optional(name).ok_or_else(|| missing(name))
    }

    /// Empty when it is not there.
    pub fn text(&self, name: &str) -> &str {
        self.optional(name).unwrap_or_default()
    }
}

pub(super) fn missing(name: &str) -> Refusal {
    let text = format!("The request body must contain the following parameter: '{name}'.");
    Refusal::new(900_144, text)
}

pub(super) async fn token(
    State(cloud): State<Arc<Cloud>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let base = &cloud.endpoints.authority_url;
    let mut store = cloud.state();
    answer(&mut store, base, &tenant, &headers, &body)
        .unwrap_or_else(|refusal| refusal.into_response(base))
}

fn answer(
    store: &mut Store,
    base: &str,
    tenant_name: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, Refusal> {
    on_demand(store)?;
    // A body of another type is not read, and so every parameter is missing.
    if web::media_type(headers) != "application/x-www-form-urlencoded" {
        return Err(missing("grant_type"));
    }
    let form = Form(web::form(body).ok_or_else(|| Refusal::known(9_002_313))?);
    directory(store, tenant_name)?;
    let grant = form.mandatory("grant_type")?;
    if !["client_credentials", "authorization_code", "refresh_token", DEVICE].contains(&grant) {
        return Err(Refusal::known(70_003));
    }
    if form.optional("resource").is_some() {
        return Err(Refusal::known(901_002));
    }
    let client_id = form.mandatory("client_id")?;
    let (tenant, app) = tenant_and_app(store, tenant_name, client_id)?;
    if grant == "client_credentials" {
        let who = (tenant.as_ref(), &app);
        return client_credentials::answer(store, base, tenant_name, who, &form);
    }
    let asked = Asked {
        base,
        tenant: tenant_name,
        app: &app,
        form: &form,
        from_script: headers.contains_key(axum::http::header::ORIGIN),
    };
    match grant {
        "authorization_code" => grants::code(store, &asked),
        "refresh_token" => grants::refresh(store, &asked),
        _ => grants::device(store, &asked),
    }
}

/// A refusal that a test asked for.
fn on_demand(store: &mut Store) -> Result<(), Refusal> {
    let fits = |what: &What| matches!(what, What::LoopDetected | What::Aadsts(_));
    match store.faults.take(Place::EntraToken, fits) {
        Some(What::Aadsts(code)) => Err(Refusal::known(code)),
        Some(_) => Err(Refusal::known(50_196)),
        None => Ok(()),
    }
}
