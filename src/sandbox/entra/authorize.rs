//! `GET` and `POST /{tenant}/oauth2/v2.0/authorize`: checks a sign-in request and shows the first
//! page (facts/entra-oauth.md section 3).
//!
//! Danger: an error sent to an address that is not the application's is an open redirector, and one
//! shown on a page leaves the application waiting. Rule: until application and address are proved,
//! everything is shown on a page; after that, what the table says.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use serde_json::Value;

use super::super::accounts::{Platform, guid};
use super::super::faults::{Place, What};
use super::super::store::{Cloud, State as Store};
use super::super::web;
use super::codes::Shown;
use super::error::Refusal;
use super::login;
use super::redirect::{self, Mode};
use super::scope::Scopes;
use super::sign_ins::{Ask, Purpose};
use super::token::Form;
use super::{pages, tenant_and_app};

/// Of a code challenge (RFC 7636 section 4.2).
const CHALLENGE_LENGTHS: std::ops::RangeInclusive<usize> = 43..=128;

/// A request whose application and address are proved.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub client_id: String,
    pub redirect_uri: String,
    pub platform: Platform,
    pub mode: Mode,
    pub state: Option<String>,
    pub nonce: Option<String>,
    pub challenge: Option<(String, String)>,
    pub client_info: bool,
}

/// What else the request says.
struct Wishes {
    scopes: Scopes,
    claims: Option<Value>,
    prompt: Option<String>,
    login_hint: String,
}

pub(super) async fn get(
    State(cloud): State<Arc<Cloud>>,
    Path(tenant): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    authorize(&cloud, &tenant, query.unwrap_or_default().as_bytes(), &headers)
}

pub(super) async fn post(
    State(cloud): State<Arc<Cloud>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    authorize(&cloud, &tenant, &body, &headers)
}

fn authorize(cloud: &Cloud, tenant: &str, fields: &[u8], headers: &HeaderMap) -> Response {
    let mut store = cloud.state();
    let malformed = || Refusal::known(9_002_313);
    let found = web::form(fields).ok_or_else(malformed).map(Form);
    let checked = found.and_then(|form| Ok((proved(&store, tenant, &form)?, form)));
    let (request, form) = match checked {
        Ok(checked) => checked,
        Err(refusal) => return pages::refused(&refusal),
    };
    if let Some(refusal) = on_demand(&mut store) {
        return refuse(&cloud.endpoints.authority_url, &request, refusal);
    }
    match wishes(&request, &form) {
        Ok(wishes) => {
            store.counters.entra_authorizations += 1;
            first_page(cloud, &mut store, tenant, request, wishes, cookie(headers).as_deref())
        }
        Err(refusal) => told_or_shown(&cloud.endpoints.authority_url, &request, &refusal),
    }
}

/// A refusal that a test asked for, and whether it must go to the redirect address.
fn on_demand(store: &mut Store) -> Option<(Refusal, bool)> {
    // What the sign-in form shows waits for it.
    let fits = |what: &What| match what {
        What::Aadsts(code) => Refusal::known(*code).shown() != Shown::Form,
        what => matches!(what, What::AadstsToRedirect(_)),
    };
    match store.faults.take(Place::EntraAuthorize, fits)? {
        What::Aadsts(code) => Some((Refusal::known(code), false)),
        What::AadstsToRedirect(code) => Some((Refusal::known(code), true)),
        _ => None,
    }
}

fn refuse(base: &str, request: &Request, (refusal, redirected): (Refusal, bool)) -> Response {
    if redirected { told(base, request, &refusal) } else { told_or_shown(base, request, &refusal) }
}

fn told_or_shown(base: &str, request: &Request, refusal: &Refusal) -> Response {
    match refusal.shown() {
        Shown::Redirect => told(base, request, refusal),
        _ => pages::refused(refusal),
    }
}

/// A refusal at the redirect address.
pub(super) fn told(base: &str, request: &Request, refusal: &Refusal) -> Response {
    let mut fields = vec![
        ("error", refusal.error().to_owned()),
        ("error_description", refusal.description().text),
        ("error_uri", format!("{base}/error?code={}", refusal.code)),
    ];
    fields.extend(request.state.clone().map(|state| ("state", state)));
    redirect::answer(&request.redirect_uri, request.mode, &fields)
}

/// Application and redirect address.
fn proved(store: &Store, tenant: &str, form: &Form) -> Result<Request, Refusal> {
    let client_id = form.mandatory("client_id")?;
    let (_, app) = tenant_and_app(store, tenant, client_id)?;
    let given = form.optional("redirect_uri");
    let uri = match (given, app.redirects.as_slice()) {
        (_, []) => return Err(Refusal::known(500_113)),
        (Some(given), _) => given,
        (None, [only]) => only.uri.as_str(),
        (None, _) => return Err(Refusal::known(50_011)),
    };
    let platform = redirect::platform(&app, uri).ok_or_else(|| {
        let text = format!(
            "The redirect URI '{uri}' specified in the request does not match the redirect URIs \
             configured for the application '{}'.",
            app.client_id
        );
        Refusal::new(50_011, text)
    })?;
    let text = |name: &str| form.optional(name).map(str::to_owned);
    Ok(Request {
        client_id: app.client_id.clone(),
        redirect_uri: uri.to_owned(),
        platform,
        mode: Mode::read(form.optional("response_mode"))
            .ok_or_else(|| Refusal::known(9_002_313))?,
        state: text("state"),
        nonce: text("nonce"),
        challenge: challenge(form),
        client_info: form.optional("client_info") == Some("1"),
    })
}

fn challenge(form: &Form) -> Option<(String, String)> {
    let challenge = form.optional("code_challenge")?;
    let method = form.optional("code_challenge_method").unwrap_or("plain");
    Some((method.to_owned(), challenge.to_owned()))
}

fn wishes(request: &Request, form: &Form) -> Result<Wishes, Refusal> {
    if form.mandatory("response_type")? != "code" {
        return Err(Refusal::known(700_054));
    }
    if form.optional("resource").is_some() {
        return Err(Refusal::known(901_002));
    }
    check_challenge(request)?;
    let scopes = Scopes::read(form.mandatory("scope")?)?;
    let claims = form.optional("claims").map(serde_json::from_str::<Value>).transpose();
    Ok(Wishes {
        scopes,
        claims: claims.map_err(|_| Refusal::known(9_002_313))?,
        prompt: form.optional("prompt").map(str::to_owned),
        login_hint: form.optional("login_hint").unwrap_or_default().to_owned(),
    })
}

fn check_challenge(request: &Request) -> Result<(), Refusal> {
    match &request.challenge {
        None if request.platform == Platform::Spa => Err(Refusal::known(9_002_325)),
        None => Ok(()),
        Some((method, _)) if !["S256", "plain"].contains(&method.as_str()) => {
            Err(Refusal::known(501_491))
        }
        Some((_, challenge)) => {
            let fits = CHALLENGE_LENGTHS.contains(&challenge.len());
            if fits { Ok(()) } else { Err(Refusal::known(501_491)) }
        }
    }
}

/// The cookie of the browser's session.
fn cookie(headers: &HeaderMap) -> Option<String> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|line| line.split(';')).map(str::trim);
    pairs.find_map(|pair| pair.strip_prefix(login::COOKIE)?.strip_prefix('=')).map(str::to_owned)
}

fn first_page(
    cloud: &Cloud,
    store: &mut Store,
    tenant: &str,
    request: Request,
    wishes: Wishes,
    cookie: Option<&str>,
) -> Response {
    let known = cookie.and_then(|cookie| login::session(store, cookie, &wishes.login_hint));
    let prompt = wishes.prompt.as_deref().unwrap_or_default();
    let ask = Ask {
        tenant: tenant.to_owned(),
        client_id: request.client_id.clone(),
        scopes: wishes.scopes,
        claims: wishes.claims,
        consent_again: prompt == "consent",
        purpose: Purpose::Redirect(Box::new(request.clone())),
        user: None,
        second_factor: false,
        agreed: false,
    };
    let base = &cloud.endpoints.authority_url;
    // New claims need a person's eyes again.
    let known = known.filter(|_| !["login", "select_account"].contains(&prompt));
    let known = known.filter(|_| ask.claims.is_none());
    if prompt == "none" {
        return match known {
            Some(session) => login::silently(cloud, store, ask, &session, &request),
            None => told(base, &request, &Refusal::known(50_058)),
        };
    }
    let ctx = guid();
    store.sign_ins.asks.insert(ctx.clone(), ask);
    match known {
        Some(session) => login::with_session(store, &ctx, &session),
        None => pages::sign_in(&ctx, &wishes.login_hint, None),
    }
}
