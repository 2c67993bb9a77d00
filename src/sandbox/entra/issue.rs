//! The answer of the token endpoint for a signed-in user: access token, refresh token, ID token.
//!
//! Danger: a token that says more than was granted opens what production keeps shut. Rule: one
//! resource; its permissions are all that user and administrators granted there, and the answer's
//! `scope` spells them as the request did (facts/entra-oauth.md sections 3, 5 and 6).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use time::Duration;

use super::super::accounts::{App, Mailbox, guid, random_text};
use super::super::jwt;
use super::super::store::{State as Store, Token};
use super::super::web;
use super::consent;
use super::error::Refusal;
use super::scope::{GRAPH, Scopes, Wanted};
use super::sign_ins::{Grant, Refresh};

/// The usual life of a token.
pub(super) const LIFETIME: Duration = Duration::seconds(3599);

/// A user by object id.
pub(super) fn owner<'a>(store: &'a Store, user: &str) -> Option<&'a Mailbox> {
    store.mailboxes.iter().find(|mailbox| !user.is_empty() && mailbox.object_id() == user)
}

/// `client_info`: who that is, for caches.
pub(super) fn client_info(owner: &Mailbox) -> String {
    let json = json!({"uid": owner.object_id(), "utid": owner.tenant()});
    URL_SAFE_NO_PAD.encode(json.to_string())
}

/// What a token request comes down to.
pub(super) struct Issue<'a> {
    pub app: &'a App,
    pub grant: &'a Grant,
    /// Of this request.
    pub scopes: Scopes,
    /// `client_info=1`.
    pub client_info: bool,
    pub base: &'a str,
}

impl Issue<'_> {
    /// The answer; refused when the permissions were not granted.
    pub fn answer(&self, store: &mut Store, with_refresh: bool) -> Result<Response, Refusal> {
        let wanted = self.scopes.single()?;
        let names = self.names(store, &wanted)?;
        let gone = || Refusal::new(50_034, "The user account was deleted.");
        let owner = owner(store, &self.grant.user).cloned().ok_or_else(gone)?;
        let lifetime = store.token_lifetime.unwrap_or(LIFETIME);
        let seconds = lifetime.whole_seconds();
        let mut body = json!({
            "token_type": "Bearer",
            "scope": self.spelled(&wanted, &names),
            "expires_in": seconds,
            "ext_expires_in": seconds,
            "access_token": self.access_token(store, &owner, &wanted, names),
        });
        if with_refresh {
            body["refresh_token"] = Value::String(self.refresh_token(store));
        }
        if self.scopes.openid {
            body["id_token"] = Value::String(self.id_token(store, &owner));
        }
        if self.client_info {
            body["client_info"] = Value::String(client_info(&owner));
        }
        Ok(uncached(&body))
    }

    /// Permissions without their resource: all that were granted, those asked for among them.
    fn names(&self, store: &Store, wanted: &Wanted) -> Result<Vec<String>, Refusal> {
        let granted = consent::granted(store, self.app, &self.grant.user, wanted.principal);
        let lacking = wanted.full().iter().any(|scope| !granted.contains(scope));
        let nothing = wanted.names.is_empty() && granted.is_empty();
        if !self.scopes.wanted.is_empty() && (lacking || nothing) {
            let text = format!(
                "The user or administrator has not consented to use the application with ID '{}'. \
                 Send an interactive authorization request for this user and resource.",
                self.app.client_id
            );
            return Err(Refusal::new(65_001, text));
        }
        let name = |scope: &String| scope.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(granted.iter().map(name).collect())
    }

    fn spelled(&self, wanted: &Wanted, names: &[String]) -> String {
        let mut out: Vec<String> = Vec::new();
        // Exchange's answers name no OpenID scopes.
        if wanted.principal == GRAPH {
            let flags = [
                (self.scopes.email, "email"),
                (self.scopes.openid, "openid"),
                (self.scopes.profile, "profile"),
            ];
            out.extend(flags.iter().filter(|(on, _)| *on).map(|(_, name)| (*name).to_owned()));
        }
        let spell = |name: &str| {
            if self.scopes.short { name.to_owned() } else { format!("{}/{name}", wanted.audience) }
        };
        out.extend(names.iter().map(|name| spell(name)));
        if wanted.names.is_empty() {
            out.push(spell(".default"));
        }
        out.join(" ")
    }

    fn access_token(
        &self,
        store: &mut Store,
        owner: &Mailbox,
        wanted: &Wanted,
        names: Vec<String>,
    ) -> String {
        let now = store.now();
        let expires = now + store.token_lifetime.unwrap_or(LIFETIME);
        let token = jwt::shaped(&json!({
            "aud": wanted.audience,
            "iss": format!("https://sts.windows.net/{}/", owner.tenant()),
            "appid": self.app.client_id,
            "tid": owner.tenant(),
            "oid": owner.object_id(),
            "upn": owner.address,
            "iat": now.unix_timestamp(),
            "exp": expires.unix_timestamp(),
            "scp": names.join(" "),
            "uti": guid(),
        }));
        let remembered = Token {
            audience: wanted.audience.to_owned(),
            app: self.app.client_id.clone(),
            tenant: owner.tenant().to_owned(),
            subject: owner.address.clone(),
            roles: Vec::new(),
            scopes: names,
            expires,
        };
        store.tokens.insert(token.clone(), remembered);
        store.counters.entra_tokens += 1;
        token
    }

    fn refresh_token(&self, store: &mut Store) -> String {
        let token = format!("1.A{}", random_text(900));
        let refresh = Refresh { grant: self.grant.clone(), last_used: store.now(), uses: 0 };
        store.sign_ins.refresh.insert(token.clone(), refresh);
        token
    }

    fn id_token(&self, store: &Store, owner: &Mailbox) -> String {
        let now = store.now();
        let expires = now + store.token_lifetime.unwrap_or(LIFETIME);
        let mut claims = json!({
            "aud": self.app.client_id,
            "iss": format!("{}/{}/v2.0", self.base, owner.tenant()),
            "iat": now.unix_timestamp(),
            "nbf": now.unix_timestamp(),
            "exp": expires.unix_timestamp(),
            "oid": owner.object_id(),
            "sub": format!("{}.{}", self.app.client_id, owner.object_id()),
            "tid": owner.tenant(),
            "uti": guid(),
            "ver": "2.0",
        });
        if self.scopes.profile {
            claims["preferred_username"] = owner.address.clone().into();
            claims["name"] = owner.address.split('@').next().unwrap_or_default().into();
        }
        if self.scopes.email {
            claims["email"] = owner.address.clone().into();
        }
        if let Some(nonce) = &self.grant.nonce {
            claims["nonce"] = nonce.clone().into();
        }
        jwt::signed(&claims)
    }
}

/// Tokens are never kept by who is on the way.
pub(super) fn uncached(body: &Value) -> Response {
    let mut response = web::json(StatusCode::OK, body);
    let uncached = HeaderValue::from_static("no-store, no-cache");
    response.headers_mut().insert(header::CACHE_CONTROL, uncached);
    response
}
