//! How an application proves that it is itself: with a secret or a signed assertion
//! (facts/entra-oauth.md section 2).
//!
//! Danger: an assertion that can be used twice, or was meant for another tenant, is a stolen
//! password. Rule: audience exact, issuer and subject the application, at most a few minutes old or
//! long, its `jti` used once, its signature under a certificate registered before.

use super::super::accounts::App;
use super::super::jwt::Jwt;
use super::super::store::State as Store;
use super::error::Refusal;
use super::token::Form;

/// How far clocks may disagree.
const SKEW: i64 = 300;
/// Entra refuses assertions that stay valid for more than a day.
const LONGEST_ASSERTION: i64 = 24 * 3600;
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Checks secret or assertion. `lacking`: the number for neither, which differs by grant.
pub(super) fn authenticate(
    store: &mut Store,
    base: &str,
    app: &App,
    tenant: &str,
    form: &Form,
    lacking: u32,
) -> Result<(), Refusal> {
    if let Some(assertion) = form.optional("client_assertion") {
        if form.mandatory("client_assertion_type")? != ASSERTION_TYPE {
            return Err(bad_assertion("The client_assertion_type is not supported."));
        }
        let audience = format!("{base}/{tenant}/oauth2/v2.0/token");
        return assert_certificate(store, app, &audience, assertion);
    }
    let Some(secret) = form.optional("client_secret") else {
        return Err(Refusal::known(lacking));
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
    store: &mut Store,
    app: &App,
    audience: &str,
    assertion: &str,
) -> Result<(), Refusal> {
    let jwt = Jwt::parse(assertion).ok_or_else(|| bad_assertion("It is no signed token."))?;
    // MSAL for Python sends it with padding, and Entra takes it.
    let thumbprint = jwt.header["x5t#S256"].as_str().unwrap_or_default().trim_end_matches('=');
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
    check_times(&jwt, store.now().unix_timestamp())?;
    let id = jwt.text("jti");
    if id.is_empty() || !store.assertions.insert(format!("{}/{id}", app.client_id)) {
        return Err(bad_assertion("The jti is missing or was used before."));
    }
    Ok(())
}

fn check_times(jwt: &Jwt<'_>, now: i64) -> Result<(), Refusal> {
    let (Some(from), Some(to)) = (jwt.seconds("nbf"), jwt.seconds("exp")) else {
        return Err(bad_assertion("It needs nbf and exp."));
    };
    if from > now + SKEW || to < now - SKEW || to <= from || to - from > LONGEST_ASSERTION {
        let text = "Client assertion is not within its valid time range.";
        return Err(Refusal::new(700_024, text));
    }
    Ok(())
}
