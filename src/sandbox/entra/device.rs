//! The device flow's codes and its page (facts/entra-oauth.md section 4).
//!
//! Danger: a code typed into the wrong person's browser signs a stranger's device in. Rule: codes
//! live for fifteen minutes, are found by the whole user code alone, and lead through the same
//! pages as every other sign-in.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::json;
use time::Duration;

use super::super::accounts::{guid, random_text};
use super::super::faults::{Place, What};
use super::super::store::{Cloud, State as Store};
use super::super::web;
use super::error::Refusal;
use super::scope::Scopes;
use super::sign_ins::{Ask, Device, INTERVAL, Outcome, Purpose};
use super::token::{Form, missing};
use super::{pages, tenant_and_app};

/// How long a device code may be signed in with.
const LIFETIME: Duration = Duration::seconds(900);
/// Without letters and digits that look alike.
const LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const CODE_LENGTH: usize = 9;

/// `POST /{tenant}/oauth2/v2.0/devicecode`.
pub(super) async fn code(
    State(cloud): State<Arc<Cloud>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let base = &cloud.endpoints.authority_url;
    let mut store = cloud.state();
    issue(&mut store, base, &tenant, &headers, &body)
        .unwrap_or_else(|refusal| refusal.into_response(base))
}

fn issue(
    store: &mut Store,
    base: &str,
    tenant: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, Refusal> {
    let fits = |what: &What| matches!(what, What::Aadsts(_));
    if let Some(What::Aadsts(code)) = store.faults.take(Place::EntraDevice, fits) {
        return Err(Refusal::known(code));
    }
    if web::media_type(headers) != "application/x-www-form-urlencoded" {
        return Err(missing("client_id"));
    }
    let form = Form(web::form(body).ok_or_else(|| Refusal::known(9_002_313))?);
    let (_, app) = tenant_and_app(store, tenant, form.mandatory("client_id")?)?;
    let scopes = Scopes::read(form.mandatory("scope")?)?;
    let claims = form.optional("claims").map(serde_json::from_str).transpose();
    let interval = store.sign_ins.interval.unwrap_or(INTERVAL);
    let device_code = format!("{}A{}", guid(), random_text(150));
    let user_code = user_code();
    let device = Device {
        user_code: user_code.clone(),
        client_id: app.client_id,
        tenant: tenant.to_owned(),
        scopes,
        claims: claims.map_err(|_| Refusal::known(9_002_313))?,
        expires: store.now() + LIFETIME,
        interval,
        polled: None,
        outcome: Outcome::Waiting,
    };
    store.sign_ins.devices.insert(device_code.clone(), device);
    store.counters.entra_device_codes += 1;
    let uri = format!("{base}/common/oauth2/deviceauth");
    let message = format!(
        "To sign in, use a web browser to open the page {uri} and enter the code {user_code} to \
         authenticate."
    );
    Ok(web::json(
        StatusCode::OK,
        &json!({
            "user_code": user_code,
            "device_code": device_code,
            "verification_uri": uri,
            "expires_in": LIFETIME.whole_seconds(),
            "interval": interval.whole_seconds(),
            "message": message,
        }),
    ))
}

fn user_code() -> String {
    let id = uuid::Uuid::new_v4();
    let letter = |byte: &u8| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]);
    // Bytes 6 and 8 of such an id are not all random.
    let random = id.as_bytes().iter().enumerate().filter(|(at, _)| !matches!(at, 6 | 8));
    random.map(|(_, byte)| letter(byte)).take(CODE_LENGTH).collect()
}

/// `GET /common/oauth2/deviceauth`.
pub(super) async fn page(RawQuery(query): RawQuery) -> Response {
    let form = Form(web::form(query.unwrap_or_default().as_bytes()).unwrap_or_default());
    pages::device_code(form.text("otc"), None)
}

/// `POST /common/oauth2/deviceauth`: the code was entered.
pub(super) async fn entered(State(cloud): State<Arc<Cloud>>, body: Bytes) -> Response {
    let form = Form(web::form(&body).unwrap_or_default());
    let code = form.text("code").trim();
    let mut store = cloud.state();
    let now = store.now();
    let found = store.sign_ins.devices.iter().find(|(_, device)| {
        device.user_code.eq_ignore_ascii_case(code) && matches!(device.outcome, Outcome::Waiting)
    });
    let Some((device_code, device)) = found else {
        return pages::device_code(code, Some(&Refusal::known(70_018)));
    };
    if device.expires <= now {
        return pages::device_code(code, Some(&Refusal::known(70_019)));
    }
    let ask = Ask {
        tenant: device.tenant.clone(),
        client_id: device.client_id.clone(),
        scopes: device.scopes.clone(),
        claims: device.claims.clone(),
        consent_again: false,
        purpose: Purpose::Device(device_code.clone()),
        user: None,
        second_factor: false,
        agreed: false,
    };
    let ctx = guid();
    store.sign_ins.asks.insert(ctx.clone(), ask);
    pages::sign_in(&ctx, "", None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_codes_can_be_read_aloud() {
        let codes: Vec<String> = std::iter::repeat_with(user_code).take(50).collect();
        for code in &codes {
            assert_eq!(code.len(), CODE_LENGTH);
            assert!(!code.contains(['0', 'O', '1', 'I']), "{code}");
        }
        assert!(codes.iter().any(|code| code != &codes[0]));
    }
}
