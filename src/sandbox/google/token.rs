//! `POST /token`: a signed assertion for an access token (facts/google-oauth.md section 2).
//!
//! Danger: delegation is all or nothing per scope string and per user, and a lenient stand-in hides
//! a missing slash until the first day in production. Rule: signature, audience, time window, scope
//! and subject are compared exactly, and each mistake gets Google's own words.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::super::accounts::{ServiceAccount, random_text};
use super::super::faults::{Place, What};
use super::super::jwt::Jwt;
use super::super::mime::is_address;
use super::super::store::{Cloud, Token};
use super::super::web;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The life of a token.
const LIFETIME: Duration = Duration::seconds(3599);
/// The longest an assertion may be valid.
const LONGEST_ASSERTION: i64 = 3600;
/// How far clocks may disagree.
const SKEW: i64 = 300;

/// No delegation, or none for these scopes.
const NOT_DELEGATED: &str = "Client is unauthorized to retrieve access tokens using this method, \
    or client not authorized for any of the scopes requested.";

/// `error`, `error_description`, HTTP status.
type Refusal = (&'static str, String, StatusCode);

fn bad(error: &'static str, text: &str) -> Refusal {
    (error, text.to_owned(), StatusCode::BAD_REQUEST)
}

fn unauthorized(error: &'static str, text: &str) -> Refusal {
    (error, text.to_owned(), StatusCode::UNAUTHORIZED)
}

pub(super) async fn token(
    State(cloud): State<Arc<Cloud>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match answer(&cloud, &headers, &body) {
        Ok(response) => response,
        Err((error, text, status)) => {
            web::json(status, &json!({"error": error, "error_description": text}))
        }
    }
}

fn answer(cloud: &Cloud, headers: &HeaderMap, body: &[u8]) -> Result<Response, Refusal> {
    on_demand(cloud)?;
    let form =
        web::form(body).filter(|_| web::media_type(headers) == "application/x-www-form-urlencoded");
    let form = form.ok_or_else(|| bad("invalid_request", "Bad Request"))?;
    let value = |name: &str| form.iter().find(|(known, _)| known == name).map(|(_, v)| v.as_str());
    if value("grant_type") != Some(GRANT) {
        return Err(bad("unsupported_grant_type", "Invalid grant_type"));
    }
    let assertion = value("assertion").unwrap_or_default();
    let jwt = Jwt::parse(assertion).ok_or_else(|| bad("invalid_grant", "Bad Request"))?;
    let account = issuer(cloud, &jwt)?;
    check_claims(cloud, &jwt)?;
    let subject = delegated(&account, &jwt)?;
    Ok(issue(cloud, &account, subject))
}

/// A refusal that a test asked for; the status is the one that Google gives with the word.
fn on_demand(cloud: &Cloud) -> Result<(), Refusal> {
    let fits = |what: &What| matches!(what, What::Google(..));
    let Some(What::Google(error, text)) = cloud.state().faults.take(Place::GoogleToken, fits)
    else {
        return Ok(());
    };
    let status = match error {
        "unauthorized_client" | "disabled_client" | "invalid_client" => StatusCode::UNAUTHORIZED,
        "access_denied" | "org_internal" | "admin_policy_enforced" => StatusCode::FORBIDDEN,
        "internal_failure" => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    Err((error, text.to_owned(), status))
}

fn issuer(cloud: &Cloud, jwt: &Jwt<'_>) -> Result<ServiceAccount, Refusal> {
    let email = jwt.text("iss");
    let is = |account: &&ServiceAccount| account.email == email;
    let account = cloud.state().service_accounts.iter().find(is).cloned();
    let gone = || bad("invalid_grant", "Invalid grant: account not found");
    let account = account.ok_or_else(gone)?;
    if !jwt.verifies(&account.public_key, &["RS256"]) {
        return Err(bad("invalid_grant", "Invalid JWT Signature."));
    }
    if account.disabled {
        return Err(unauthorized("disabled_client", "The OAuth client was disabled."));
    }
    Ok(account)
}

fn check_claims(cloud: &Cloud, jwt: &Jwt<'_>) -> Result<(), Refusal> {
    if jwt.text("aud") != cloud.endpoints.google_token_url {
        return Err(bad("invalid_grant", "Invalid JWT: Failed audience check."));
    }
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let in_time = jwt.seconds("iat").zip(jwt.seconds("exp")).is_some_and(|(from, to)| {
        from <= now + SKEW && to >= now && to > from && to - from <= LONGEST_ASSERTION
    });
    if !in_time {
        let text = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a \
             reasonable timeframe. Check your iat and exp values in the JWT claim.";
        return Err(bad("invalid_grant", text));
    }
    Ok(())
}

/// The user to impersonate, when the administrator allowed it. Without one it is the account itself,
/// which has no mailbox.
fn delegated<'a>(account: &ServiceAccount, jwt: &'a Jwt<'_>) -> Result<&'a str, Refusal> {
    let scopes: Vec<&str> = jwt.text("scope").split_ascii_whitespace().collect();
    if scopes.is_empty() || !scopes.iter().all(|scope| scope.starts_with("https://")) {
        let text = "Invalid OAuth scope or ID token audience provided.";
        return Err(bad("invalid_scope", text));
    }
    let subject = jwt.text("sub");
    if subject.is_empty() {
        return Ok(subject);
    }
    if !is_address(subject) {
        return Err(bad(
            "invalid_request",
            "Invalid impersonation \"sub\" field: prn email address",
        ));
    }
    let listed = |scope: &&str| account.delegated_scopes.iter().any(|known| known == scope);
    if !scopes.iter().any(listed) {
        return Err(unauthorized("unauthorized_client", NOT_DELEGATED));
    }
    if !scopes.iter().all(listed) {
        let text = "Requested client not authorized.".to_owned();
        return Err(("access_denied", text, StatusCode::FORBIDDEN));
    }
    if !account.subjects.iter().any(|known| known.eq_ignore_ascii_case(subject)) {
        return Err(bad("invalid_grant", "Invalid email or User ID"));
    }
    Ok(subject)
}

fn issue(cloud: &Cloud, account: &ServiceAccount, subject: &str) -> Response {
    let mut state = cloud.state();
    let lifetime = state.token_lifetime.unwrap_or(LIFETIME);
    let token = format!("ya29.c.{}", random_text(180));
    let remembered = Token {
        audience: super::super::GMAIL_SCOPE.to_owned(),
        app: account.email.clone(),
        tenant: String::new(),
        subject: subject.to_owned(),
        roles: Vec::new(),
        scopes: Vec::new(),
        expires: state.now() + lifetime,
    };
    state.tokens.insert(token.clone(), remembered);
    state.counters.google_tokens += 1;
    let body = json!({
        "access_token": token,
        "expires_in": lifetime.whole_seconds(),
        "token_type": "Bearer",
    });
    web::json(StatusCode::OK, &body)
}
