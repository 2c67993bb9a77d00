//! `POST /{tenant}/oauth2/v2.0/token`: client credentials with a secret or a certificate
//! (facts/entra-oauth.md section 2).
//!
//! Danger: an assertion that can be used twice, or was meant for another tenant, is a stolen
//! password. Rule: audience exact, issuer and subject the application, at most a few minutes old or
//! long, its `jti` used once, its signature under a certificate registered before.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::super::accounts::{App, guid};
use super::super::faults::{Place, What};
use super::super::jwt::{self, Jwt};
use super::super::store::{Cloud, Token};
use super::super::web;
use super::error::Refusal;

/// The resources whose `.default` may be asked for, each with how its application roles end.
const RESOURCES: &[(&str, bool)] = &[
    ("https://graph.microsoft.com", false),
    ("https://outlook.office365.com", true),
    ("https://outlook.office.com", true),
];
/// Application roles of Exchange's own protocols; all others are Graph's.
const EXCHANGE_ROLES: &[&str] = &["IMAP.AccessAsApp", "POP.AccessAsApp", "SMTP.SendAsApp"];
/// The usual life of a token.
const LIFETIME: Duration = Duration::seconds(3599);
/// How far clocks may disagree.
const SKEW: i64 = 300;
/// Entra refuses assertions that stay valid for more than a day.
const LONGEST_ASSERTION: i64 = 24 * 3600;
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The form of a token request.
struct Form(Vec<(String, String)>);

impl Form {
    fn optional(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, value)| known == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    fn mandatory(&self, name: &str) -> Result<&str, Refusal> {
        self.optional(name).ok_or_else(|| missing(name))
    }
}

fn missing(name: &str) -> Refusal {
    let text = format!("The request body must contain the following parameter: '{name}'.");
    Refusal::new(900_144, text)
}

pub(super) async fn token(
    State(cloud): State<Arc<Cloud>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match answer(&cloud, &tenant, &headers, &body) {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(&cloud.endpoints.authority_url),
    }
}

fn answer(
    cloud: &Cloud,
    tenant_name: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, Refusal> {
    let looping = cloud.state().faults.take(Place::EntraToken, |w| *w == What::LoopDetected);
    if looping.is_some() {
        let text =
            "The server terminated an operation because it encountered a client request loop.";
        return Err(Refusal::new(50_196, text));
    }
    // A body of another type is not read, and so every parameter is missing.
    if web::media_type(headers) != "application/x-www-form-urlencoded" {
        return Err(missing("grant_type"));
    }
    let malformed = || Refusal::new(9_002_313, "Invalid request. Request is malformed or invalid.");
    let form = Form(web::form(body).ok_or_else(malformed)?);
    let tenant = super::tenant(cloud, tenant_name)?;
    if form.mandatory("grant_type")? != "client_credentials" {
        let text = "The app requested an unsupported grant type.";
        return Err(Refusal::new(70_003, text));
    }
    let app = app(cloud, &tenant.id, form.mandatory("client_id")?)?;
    let resource = resource(form.mandatory("scope")?)?;
    authenticate(cloud, &app, tenant_name, &form)?;
    Ok(issue(cloud, &app, resource))
}

fn app(cloud: &Cloud, tenant: &str, client_id: &str) -> Result<App, Refusal> {
    let is = |app: &&App| app.tenant == tenant && app.client_id.eq_ignore_ascii_case(client_id);
    cloud.state().apps.iter().find(is).cloned().ok_or_else(|| {
        let text = format!(
            "Application with identifier '{client_id}' was not found in the directory '{tenant}'."
        );
        Refusal::new(700_016, text)
    })
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

fn authenticate(cloud: &Cloud, app: &App, tenant: &str, form: &Form) -> Result<(), Refusal> {
    if let Some(assertion) = form.optional("client_assertion") {
        if form.mandatory("client_assertion_type")? != ASSERTION_TYPE {
            return Err(bad_assertion("The client_assertion_type is not supported."));
        }
        let audience = format!("{}/{tenant}/oauth2/v2.0/token", cloud.endpoints.authority_url);
        return assert_certificate(cloud, app, &audience, assertion);
    }
    let Some(secret) = form.optional("client_secret") else {
        let text = "'client_assertion', 'client_secret' or 'request' is required for the \
             'client_credentials' grant type.";
        return Err(Refusal::new(7_000_216, text));
    };
    if secret != app.secret {
        let text = format!(
            "Invalid client secret provided. Ensure the secret being sent in the request is the \
             client secret value, not the client secret ID, for a secret added to app '{}'.",
            app.client_id
        );
        return Err(Refusal::new(7_000_215, text));
    }
    if app.secret_expired {
        let text =
            format!("The provided client secret keys for app '{}' are expired.", app.client_id);
        return Err(Refusal::new(7_000_222, text));
    }
    Ok(())
}

fn bad_assertion(why: &str) -> Refusal {
    Refusal::new(700_027, format!("Client assertion failed signature validation. {why}"))
}

fn assert_certificate(
    cloud: &Cloud,
    app: &App,
    audience: &str,
    assertion: &str,
) -> Result<(), Refusal> {
    let jwt = Jwt::parse(assertion).ok_or_else(|| bad_assertion("It is no signed token."))?;
    let thumbprint = jwt.header["x5t#S256"].as_str().unwrap_or_default();
    let certificate = app.certificates.iter().find(|known| known.thumbprint == thumbprint);
    let Some(certificate) = certificate else {
        return Err(bad_assertion("The certificate with this thumbprint is not registered."));
    };
    if !jwt.verifies(&certificate.public_key, &["PS256", "RS256"]) {
        return Err(bad_assertion("The signature is not valid."));
    }
    if jwt.text("aud") != audience {
        let text = format!("Client assertion audience claim does not match. Expected: {audience}.");
        return Err(Refusal::new(700_023, text));
    }
    if jwt.text("iss") != app.client_id || jwt.text("sub") != app.client_id {
        return Err(bad_assertion("Issuer and subject must both be the client id."));
    }
    check_times(&jwt)?;
    let id = jwt.text("jti");
    if id.is_empty() || !cloud.state().assertions.insert(format!("{}/{id}", app.client_id)) {
        return Err(bad_assertion("The jti is missing or was used before."));
    }
    Ok(())
}

fn check_times(jwt: &Jwt<'_>) -> Result<(), Refusal> {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let (Some(from), Some(to)) = (jwt.seconds("nbf"), jwt.seconds("exp")) else {
        return Err(bad_assertion("It needs nbf and exp."));
    };
    if from > now + SKEW || to < now - SKEW || to <= from || to - from > LONGEST_ASSERTION {
        let text = "Client assertion is not within its valid time range.";
        return Err(Refusal::new(700_024, text));
    }
    Ok(())
}

fn issue(cloud: &Cloud, app: &App, (resource, exchange): (&str, bool)) -> Response {
    let mut state = cloud.state();
    let lifetime = state.token_lifetime.unwrap_or(LIFETIME);
    let now = OffsetDateTime::now_utc();
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
    let mut response = web::json(StatusCode::OK, &body);
    let uncached = axum::http::HeaderValue::from_static("no-store, no-cache");
    response.headers_mut().insert(axum::http::header::CACHE_CONTROL, uncached);
    response
}
