//! From the sign-in form to the code: password, second factor, consent, and where it leads.
//!
//! Danger: a step that can be jumped over makes a client look right that would be stopped in
//! production. Rule: after every step [`proceed`] looks at all of them again, in the real order:
//! whose account, may it use the application, second factor, consent.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;

use super::super::accounts::{App, Mailbox, Platform, Provider, Standing, guid, random_text};
use super::super::faults::{Place, What};
use super::super::store::{Cloud, State as Store};
use super::super::web;
use super::authorize::{Request, told};
use super::codes::Shown;
use super::error::Refusal;
use super::sign_ins::{Ask, Code, Grant, Outcome, Purpose, Session};
use super::token::Form;
use super::{consent, issue, pages, redirect, tenant_and_app};

/// The cookie of a browser's session.
pub(super) const COOKIE: &str = "ESTSAUTH";
/// Wrong passwords in a row until the account is locked.
const MAX_WRONG_PASSWORDS: usize = 10;

/// `POST /common/login`: user name and password.
pub(super) async fn login(State(cloud): State<Arc<Cloud>>, body: Bytes) -> Response {
    let form = Form(web::form(&body).unwrap_or_default());
    let mut store = cloud.state();
    let (ctx, name) = (form.text("ctx"), form.text("username"));
    if !store.sign_ins.asks.contains_key(ctx) {
        return pages::refused(&Refusal::known(9_002_313));
    }
    let user = match password(&mut store, name, form.text("password")) {
        Ok(user) => user,
        Err(refusal) => return pages::sign_in(ctx, name, Some(&refusal)),
    };
    let session =
        Session { generation: store.sign_ins.generation(&user), user, second_factor: false };
    let mut response = with_session(&mut store, ctx, &session);
    let id = random_text(64);
    let cookie = format!("{COOKIE}={id}; path=/; secure; HttpOnly; SameSite=None");
    store.sign_ins.sessions.insert(id, session);
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// Checks a password; gives the object id.
fn password(store: &mut Store, name: &str, password: &str) -> Result<String, Refusal> {
    let fits = |what: &What| match what {
        What::Aadsts(code) => Refusal::known(*code).shown() == Shown::Form,
        _ => false,
    };
    if let Some(What::Aadsts(code)) = store.faults.take(Place::EntraAuthorize, fits) {
        return Err(Refusal::known(code));
    }
    let is = |mailbox: &&mut Mailbox| {
        matches!(mailbox.provider, Provider::Microsoft { .. })
            && mailbox.address.eq_ignore_ascii_case(name)
    };
    let found = store.mailboxes.iter_mut().find(is).ok_or_else(|| Refusal::known(50_034))?;
    let id = found.object_id().to_owned();
    let person = &mut found.person;
    if person.standing == Standing::Locked {
        return Err(Refusal::known(50_053));
    }
    let Some(right) = &person.password else { return Err(Refusal::known(50_056)) };
    if right != password {
        person.wrong_passwords += 1;
        if person.wrong_passwords >= MAX_WRONG_PASSWORDS {
            person.standing = Standing::Locked;
        }
        return Err(Refusal::known(50_126));
    }
    person.wrong_passwords = 0;
    match person.standing {
        Standing::Disabled => Err(Refusal::known(50_057)),
        Standing::MustChangePassword => Err(Refusal::known(50_055)),
        Standing::Good | Standing::Locked => Ok(id),
    }
}

/// `POST /common/approve`: the second factor.
pub(super) async fn approve(State(cloud): State<Arc<Cloud>>, body: Bytes) -> Response {
    let form = Form(web::form(&body).unwrap_or_default());
    let mut store = cloud.state();
    let ctx = form.text("ctx");
    if let Some(ask) = store.sign_ins.asks.get_mut(ctx).filter(|ask| ask.user.is_some()) {
        ask.second_factor = true;
    }
    proceed(&mut store, ctx)
}

/// `POST /common/consent`: accepted or declined.
pub(super) async fn agree(State(cloud): State<Arc<Cloud>>, body: Bytes) -> Response {
    let form = Form(web::form(&body).unwrap_or_default());
    let mut store = cloud.state();
    let ctx = form.text("ctx");
    if form.text("answer") != "accept" {
        return declined(&cloud, &mut store, ctx);
    }
    let checked = checked(&store, ctx);
    if let Ok((ask, app, user)) = &checked
        && consent::blocked(&store, app, user, ask).is_none()
        && let Ok(missing) = consent::missing(&store, app, user, ask)
    {
        store.sign_ins.consent(user, &app.client_id, &missing);
        if let Some(ask) = store.sign_ins.asks.get_mut(ctx) {
            ask.agreed = true;
        }
    }
    proceed(&mut store, ctx)
}

fn declined(cloud: &Cloud, store: &mut Store, ctx: &str) -> Response {
    let Some(ask) = store.sign_ins.asks.remove(ctx) else {
        return pages::refused(&Refusal::known(9_002_313));
    };
    match ask.purpose {
        Purpose::Redirect(request) => {
            told(&cloud.endpoints.authority_url, &request, &Refusal::known(65_004))
        }
        Purpose::Device(code) => {
            if let Some(device) = store.sign_ins.devices.get_mut(&code) {
                device.outcome = Outcome::Declined;
            }
            pages::device_done(false)
        }
    }
}

/// The session behind a cookie, when it still holds and is the one hinted at.
pub(super) fn session(store: &Store, cookie: &str, hint: &str) -> Option<Session> {
    let session = store.sign_ins.sessions.get(cookie)?;
    let owner = issue::owner(store, &session.user)?;
    let holds = session.generation == store.sign_ins.generation(&session.user)
        && owner.person.standing == Standing::Good
        && (hint.is_empty() || owner.address.eq_ignore_ascii_case(hint));
    holds.then(|| session.clone())
}

/// Goes on as the user of a session.
pub(super) fn with_session(store: &mut Store, ctx: &str, session: &Session) -> Response {
    if let Some(ask) = store.sign_ins.asks.get_mut(ctx) {
        ask.user = Some(session.user.clone());
        ask.second_factor = session.second_factor;
    }
    proceed(store, ctx)
}

/// `prompt=none`: all or nothing, without a page.
pub(super) fn silently(
    cloud: &Cloud,
    store: &mut Store,
    mut ask: Ask,
    session: &Session,
    request: &Request,
) -> Response {
    let base = &cloud.endpoints.authority_url;
    ask.user = Some(session.user.clone());
    ask.second_factor = session.second_factor;
    let ctx = guid();
    store.sign_ins.asks.insert(ctx.clone(), ask);
    let refusal = match checked(store, &ctx) {
        Err(refusal) => Some(refusal),
        Ok((ask, _, user)) if wants_factor(store, &ask, &user) => {
            Some(Refusal::known(50_076).worded("interaction_required"))
        }
        Ok((ask, app, user)) => match consent::missing(store, &app, &user, &ask) {
            Err(refusal) => Some(refusal),
            Ok(missing) if missing.is_empty() => None,
            Ok(_) => Some(Refusal::known(65_001).worded("consent_required")),
        },
    };
    match refusal {
        Some(refusal) => told(base, request, &refusal),
        None => proceed(store, &ctx),
    }
}

/// The pages under way, their application and user, when the user may use it.
fn checked(store: &Store, ctx: &str) -> Result<(Ask, App, String), Refusal> {
    let lost = || Refusal::known(9_002_313);
    let ask = store.sign_ins.asks.get(ctx).cloned().ok_or_else(lost)?;
    let user = ask.user.clone().ok_or_else(lost)?;
    let (tenant, app) = tenant_and_app(store, &ask.tenant, &ask.client_id)?;
    let owner = issue::owner(store, &user).ok_or_else(lost)?;
    let stranger = tenant.is_some_and(|tenant| tenant.id != owner.tenant())
        || (!app.multi_tenant && app.tenant != owner.tenant());
    if stranger {
        let text = format!(
            "User account '{}' from an external identity provider does not exist in the tenant \
             and cannot access the application '{}'.",
            owner.address, app.client_id
        );
        return Err(Refusal::new(50_020, text));
    }
    let assigned = app.assigned.as_ref();
    let is_owner = |name: &String| name.eq_ignore_ascii_case(&owner.address);
    if assigned.is_some_and(|names| !names.iter().any(is_owner)) {
        return Err(Refusal::known(50_105));
    }
    Ok((ask, app, user))
}

fn wants_factor(store: &Store, ask: &Ask, user: &str) -> bool {
    let wanted = issue::owner(store, user).is_some_and(|owner| owner.person.second_factor);
    wanted && !ask.second_factor
}

/// The next page, or the end.
fn proceed(store: &mut Store, ctx: &str) -> Response {
    let (ask, app, user) = match checked(store, ctx) {
        Ok(checked) => checked,
        Err(refusal) => return pages::refused(&refusal),
    };
    if wants_factor(store, &ask, &user) {
        return pages::second_factor(ctx);
    }
    if let Some(refusal) = consent::blocked(store, &app, &user, &ask) {
        return pages::admin_needed(ctx, &refusal);
    }
    match consent::missing(store, &app, &user, &ask) {
        Err(refusal) => pages::refused(&refusal),
        Ok(missing) if !missing.is_empty() => {
            pages::consent(ctx, &app.client_id, &consent::listed(&missing, &ask.scopes))
        }
        Ok(_) => finish(store, ctx, ask, user),
    }
}

fn finish(store: &mut Store, ctx: &str, ask: Ask, user: String) -> Response {
    store.sign_ins.asks.remove(ctx);
    store.sign_ins.count(&user).sign_ins += 1;
    for session in store.sign_ins.sessions.values_mut().filter(|known| known.user == user) {
        session.second_factor |= ask.second_factor;
    }
    let now = store.now();
    let mut grant = Grant {
        client_id: ask.client_id,
        generation: store.sign_ins.generation(&user),
        user,
        platform: Platform::Native,
        scopes: ask.scopes,
        nonce: None,
        claims: ask.claims,
        second_factor: ask.second_factor,
        at: now,
    };
    match ask.purpose {
        Purpose::Redirect(request) => {
            grant.platform = request.platform;
            grant.nonce.clone_from(&request.nonce);
            with_code(store, *request, grant)
        }
        Purpose::Device(code) => {
            if let Some(device) = store.sign_ins.devices.get_mut(&code) {
                device.outcome = Outcome::Granted(Box::new(grant));
            }
            pages::device_done(true)
        }
    }
}

fn with_code(store: &mut Store, request: Request, grant: Grant) -> Response {
    let code = format!("1.A{}", random_text(500));
    let mut fields = vec![("code", code.clone())];
    if request.client_info
        && let Some(owner) = issue::owner(store, &grant.user)
    {
        fields.push(("client_info", issue::client_info(owner)));
    }
    fields.extend(request.state.clone().map(|state| ("state", state)));
    fields.push(("session_state", guid()));
    let response = redirect::answer(&request.redirect_uri, request.mode, &fields);
    let issued = store.now();
    let Request { redirect_uri, challenge, .. } = request;
    let code_of = Code { grant, redirect_uri, challenge, used: false, issued };
    store.sign_ins.codes.insert(code, code_of);
    response
}
