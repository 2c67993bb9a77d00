//! Accounts against a token endpoint on loopback, with a cache file of their own.

mod hostile;
mod importing;
mod keeping;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::*;
use crate::config::{Cloud, Microsoft365, MicrosoftApp, Template, UpstreamNet};
use crate::oauth::fake_endpoint::{FakeEndpoint, Received, Reply};
use crate::oauth::msal::CachedAccess;
use crate::oauth::public_app::{PublicApp, Service};
use crate::oauth::{Fault, TokenSource, microsoft};
use crate::secret::Secret;
use crate::tls::{ClientTls, install_provider};

const JO: &str = "jo@example.com";
const CLIENT: &str = "11111111-2222-3333-4444-555555555555";
const GRAPH_SCOPES: &str = "openid profile Mail.Read Mail.ReadWrite Mail.Send";

/// An application whose authority is the test's.
pub(in crate::oauth) fn app(authority: &str) -> PublicApp {
    PublicApp {
        client_id: CLIENT.to_owned(),
        tenant_id: "organizations".to_owned(),
        authority_url: authority.to_owned(),
        cloud: Cloud::Global,
        redirect_uri: "http://localhost".to_owned(),
    }
}

/// What the endpoint does.
struct Entra {
    /// Refresh tokens that it takes.
    valid: Vec<String>,
    scope: String,
    /// Refuses requests for all that was consented to, with this OAuth error.
    refuses_default: Option<&'static str>,
    /// Instead of a token.
    refusal: Option<Reply>,
    /// More members of the answer, such as an ID token.
    beside: serde_json::Value,
    /// Written over this file before it answers.
    damages: Option<PathBuf>,
}

struct World {
    fake: FakeEndpoint,
    entra: Arc<Mutex<Entra>>,
    folder: tempfile::TempDir,
    accounts: Accounts,
}

fn answer(entra: &Mutex<Entra>, request: &Received, number: usize) -> Reply {
    let mut entra = entra.lock().expect("not poisoned");
    if let Some(path) = &entra.damages {
        std::fs::write(path, "neither JSON nor sealed").expect("written");
    }
    if let Some(refusal) = &entra.refusal {
        return refusal.clone();
    }
    if let Some(name) = entra.refuses_default
        && request.form()["scope"].contains("/.default")
    {
        return refused(name, 70000, None);
    }
    if !entra.valid.contains(&request.form()["refresh_token"]) {
        return refused("invalid_grant", 50173, None);
    }
    let (access, refresh) = (format!("acc3ss-{number}"), format!("r3fresh-{number}"));
    entra.valid.push(refresh.clone());
    let mut body = json!({"access_token": access, "token_type": "Bearer", "expires_in": 3599,
        "refresh_token": refresh, "scope": entra.scope});
    for (name, value) in entra.beside.as_object().expect("members") {
        body[name] = value.clone();
    }
    Reply::json(200, body.to_string())
}

fn refused(name: &str, code: u32, claims: Option<&str>) -> Reply {
    let body = json!({"error": name, "error_codes": [code], "claims": claims,
        "error_description": format!("AADSTS{code}: no"), "trace_id": "t", "correlation_id": "c"});
    Reply::json(400, body.to_string())
}

fn http() -> HttpClient {
    install_provider();
    HttpClient::new(&ClientTls::new(None).expect("TLS"), &UpstreamNet::default()).expect("client")
}

fn accounts(folder: &Path) -> Accounts {
    let cache = CacheFile::new(folder.join("cache.dat"), folder.join("tokens.key"));
    Accounts::new(cache, &folder.join("accounts.json"), http())
}

async fn world() -> World {
    let entra = Entra {
        valid: vec!["r3fresh-first".to_owned()],
        scope: GRAPH_SCOPES.to_owned(),
        refuses_default: None,
        refusal: None,
        beside: json!({}),
        damages: None,
    };
    let entra = Arc::new(Mutex::new(entra));
    let script = Arc::clone(&entra);
    let fake = FakeEndpoint::start(move |request, number| answer(&script, request, number)).await;
    let folder = tempfile::tempdir().expect("temporary folder");
    let accounts = accounts(folder.path());
    World { fake, entra, folder, accounts }
}

impl World {
    fn app(&self) -> PublicApp {
        app(&self.fake.url())
    }

    fn change(&self, change: impl FnOnce(&mut Entra)) {
        change(&mut self.entra.lock().expect("not poisoned"));
    }

    fn requests(&self) -> usize {
        self.fake.received().len()
    }

    /// What a sign-in of that person would store; its access token is at its end.
    fn tokens(&self, username: &str, home: &str, refresh: &str) -> Tokens {
        let now = SystemTime::now();
        let (object_id, tenant) = home.split_once('.').expect("two ids");
        Tokens {
            owner: Owner {
                home_account_id: home.to_owned(),
                environment: "127.0.0.1".to_owned(),
                client_id: CLIENT.to_owned(),
            },
            realm: tenant.to_owned(),
            access: CachedAccess {
                secret: Secret::new("acc3ss-old"),
                scopes: GRAPH_SCOPES.split(' ').map(str::to_owned).collect(),
                cached_at: now - Duration::from_secs(3500),
                expires_at: now + Duration::from_secs(100),
            },
            refresh: Some(Secret::new(refresh)),
            id_token: None,
            client_info: None,
            username: username.to_owned(),
            local_account_id: object_id.to_owned(),
            name: Some("Jo".to_owned()),
        }
    }

    async fn sign_in(&self, username: &str, home: &str, refresh: &str) {
        self.change(|entra| entra.valid.push(refresh.to_owned()));
        let tokens = self.tokens(username, home, refresh);
        self.accounts.store(tokens).await.expect("stored");
    }

    fn role(&self, role: &str, service: Service, accounts: &Accounts) -> Arc<dyn TokenSource> {
        let account = Microsoft365 {
            app: MicrosoftApp::Public {
                redirect_uri: "http://localhost".to_owned(),
                account: Template::new("{login}"),
            },
            client_id: CLIENT.to_uppercase(),
            tenant_id: "organizations".to_owned(),
            cloud: Cloud::Global,
            authority_url: self.fake.url(),
            graph_url: "https://graph.microsoft.com".to_owned(),
        };
        microsoft(&account, service, &http(), role, accounts).expect("built")
    }

    async fn obtain(&self, known: Option<&str>) -> Result<String, Error> {
        let app = self.app();
        let need =
            Need { role: "Mail.Sending", app: &app, username: JO, service: Service::GraphSending };
        let known = known.map(Secret::new);
        let granted = self.accounts.obtain(&need, known.as_ref()).await?;
        Ok(granted.secret.expose().to_owned())
    }

    async fn refresh_token(&self) -> Option<String> {
        let document = self.accounts.cache().read().await.expect("readable");
        let owner = &document.accounts().first()?.owner.clone();
        document.refresh_token(owner).map(|secret| secret.expose().to_owned())
    }

    async fn status(&self, username: &str) -> AccountStatus {
        let all = self.accounts.list().await.expect("listed");
        all.into_iter().find(|account| account.username == username).expect("there")
    }
}

#[tokio::test]
async fn two_roles_and_one_account_make_one_request() {
    let world = world().await;
    world.sign_in(JO, "oid.tid", "r3fresh-first").await;
    let sending = world.role("Mail.Sending", Service::GraphSending, &world.accounts);
    let reading = world.role("Mail.Receiving", Service::GraphReading, &world.accounts);
    let both = tokio::join!(sending.token(Some(JO)), reading.token(Some("JO@example.com")));
    let (one, other) = (both.0.expect("a token"), both.1.expect("a token"));
    assert_eq!((one.secret.expose(), other.secret.expose()), ("acc3ss-0", "acc3ss-0"));
    let received = world.fake.received();
    let [request] = received.as_slice() else { unreachable!("one request: {received:?}") };
    assert!(request.head.starts_with("POST /organizations/oauth2/v2.0/token "));
    let form = request.form();
    assert_eq!(form["grant_type"], "refresh_token");
    assert_eq!(form["refresh_token"], "r3fresh-first");
    assert_eq!(form["scope"], "https://graph.microsoft.com/.default offline_access openid profile");
    assert_eq!((form["client_info"].as_str(), form.len()), ("1", 5));
    assert_eq!(world.refresh_token().await.as_deref(), Some("r3fresh-0"));
}

#[tokio::test]
async fn another_process_s_token_is_served_unless_it_is_the_rejected_one() {
    let world = world().await;
    world.sign_in(JO, "oid.tid", "r3fresh-first").await;
    let here = world.role("Mail.Sending", Service::GraphSending, &world.accounts);
    let there = accounts(world.folder.path());
    let there = world.role("Mail.Sending", Service::GraphSending, &there);
    let first = here.token(Some(JO)).await.expect("a token");
    let same = there.token(Some(JO)).await.expect("a token");
    assert_eq!((same.secret.expose(), world.requests()), ("acc3ss-0", 1));
    assert!(same.expires_at <= first.expires_at + Duration::from_secs(1), "the rest of its life");
    let second = there.replace(Some(JO), &same).await.expect("replaced");
    assert_eq!((second.secret.expose(), world.requests()), ("acc3ss-1", 2));
    assert_eq!(world.fake.received()[1].form()["refresh_token"], "r3fresh-0", "the newest one");
    let newer = here.replace(Some(JO), &first).await.expect("found in the cache");
    assert_eq!((newer.secret.expose(), world.requests()), ("acc3ss-1", 2));
}

#[tokio::test]
async fn of_two_tokens_of_one_service_the_older_does_not_follow_the_rejected_one() {
    let world = world().await;
    // As two programs leave them that ask for different permissions.
    let put = |document: &mut Document, secret: &str, scope: &str, age: u64, home: &World| {
        let mut tokens = home.tokens(JO, "oid.tid", "r3fresh-first");
        tokens.access.secret = Secret::new(secret);
        tokens.access.scopes = vec!["Mail.Send".to_owned(), scope.to_owned()];
        tokens.access.cached_at = SystemTime::now() - Duration::from_secs(age);
        tokens.access.expires_at = SystemTime::now() + Duration::from_secs(3000);
        document.put(&tokens, SystemTime::now());
    };
    let mut document = Document::default();
    put(&mut document, "older", "Mail.Read", 60, &world);
    let older = String::from_utf8(document.to_json().to_vec()).expect("text");
    let mut document = Document::default();
    put(&mut document, "newer", "Mail.ReadWrite", 30, &world);
    let newer = String::from_utf8(document.to_json().to_vec()).expect("text");
    let mut both: serde_json::Value = serde_json::from_str(&newer).expect("JSON");
    let older: serde_json::Value = serde_json::from_str(&older).expect("JSON");
    let more = older["AccessToken"].as_object().expect("object").clone();
    both["AccessToken"].as_object_mut().expect("object").extend(more);
    std::fs::write(world.accounts.cache().path(), both.to_string()).expect("written");

    assert_eq!(world.obtain(None).await.expect("a token"), "newer");
    assert_eq!(world.obtain(Some("older")).await.expect("a token"), "newer");
    assert_eq!(world.requests(), 0);
    assert_eq!(world.obtain(Some("newer")).await.expect("a token"), "acc3ss-0");
    assert_eq!(world.obtain(Some("gone")).await.expect("a token"), "acc3ss-0");
    assert_eq!(world.requests(), 1);
}

#[tokio::test]
async fn a_cached_token_must_have_permissions_and_time_left() {
    let now = SystemTime::now();
    for (life, left, scopes, served) in [
        (3600, 3000, GRAPH_SCOPES, true),
        (3600, 901, "Mail.Send", true),
        (3600, 899, GRAPH_SCOPES, false),
        (1000, 299, GRAPH_SCOPES, false),
        (3600, 3000, "Mail.Read Mail.Send.Shared", false),
        (3600, 3000, "https://outlook.office.com/SMTP.Send", false),
        (40 * 3600, 39 * 3600, GRAPH_SCOPES, false),
    ] {
        let world = world().await;
        let mut tokens = world.tokens(JO, "oid.tid", "r3fresh-first");
        tokens.access.scopes = scopes.split(' ').map(str::to_owned).collect();
        tokens.access.expires_at = now + Duration::from_secs(left + 1);
        tokens.access.cached_at = tokens.access.expires_at - Duration::from_secs(life);
        world.accounts.store(tokens).await.expect("stored");
        let token = world.obtain(None).await.expect("a token");
        assert_eq!(token == "acc3ss-old", served, "{life} {left} {scopes}");
        assert_eq!(world.requests(), usize::from(!served));
    }
}

#[tokio::test]
async fn a_token_is_served_although_its_sign_in_cannot_be_stored() {
    let world = world().await;
    world.sign_in(JO, "oid.tid", "r3fresh-first").await;
    let cache = world.accounts.cache().path().to_owned();
    world.change(|entra| entra.damages = Some(cache.clone()));
    assert_eq!(world.obtain(None).await.expect("served"), "acc3ss-0");
    assert_eq!(std::fs::read(&cache).expect("there"), b"neither JSON nor sealed", "not touched");
    let histories = world.accounts.inner.record.read().await;
    let error = histories[&Who::new(JO, CLIENT)].last_error().expect("told").1;
    assert!(error.contains("can't be stored") && error.contains("cache.dat"), "{error}");
    assert!(error.contains(JO) && !error.contains("r3fresh"), "{error}");
}

#[tokio::test]
async fn a_revoked_sign_in_heals_with_the_next_one_at_once() {
    let world = world().await;
    world.sign_in(JO, "oid.tid", "r3fresh-first").await;
    world.change(|entra| entra.valid.clear());
    let source = world.role("Mail.Sending", Service::GraphSending, &world.accounts);
    for _ in 0..3 {
        let error = source.token(Some(JO)).await.expect_err("revoked");
        assert_eq!(error.fault, Fault::Person);
        assert_eq!(error.code.as_deref(), Some("AADSTS50173"));
        assert!(error.text.starts_with("Mail.Sending: "), "{error}");
        assert!(error.text.contains("`authbridge token add jo@example.com`"), "{error}");
    }
    assert_eq!(world.requests(), 1, "the failure is remembered");
    assert!(world.status(JO).await.last_error.is_some());
    // Another account's sign-in changes the file, but not what was refused.
    world.sign_in("al@example.com", "al.tid", "r3fresh-al").await;
    source.token(Some(JO)).await.expect_err("still revoked");
    let reading = world.role("Mail.Receiving", Service::GraphSending, &world.accounts);
    let error = reading.token(Some(JO)).await.expect_err("known");
    assert!(error.text.starts_with("Mail.Receiving: the session was revoked"), "{error}");
    assert_eq!(world.requests(), 1);
    // A person signs in, in another process.
    world.change(|entra| entra.valid.push("r3fresh-new".to_owned()));
    let tokens = world.tokens(JO, "oid.tid", "r3fresh-new");
    accounts(world.folder.path()).store(tokens).await.expect("stored");
    assert_eq!(source.token(Some(JO)).await.expect("healed").secret.expose(), "acc3ss-1");
    assert_eq!(world.status(JO).await.last_error, None);
}

#[tokio::test]
async fn claims_are_kept_until_somebody_signs_in() {
    let world = world().await;
    world.sign_in(JO, "oid.tid", "r3fresh-first").await;
    let claims = r#"{"access_token":{"polids":{"essential":true}}}"#;
    assert_eq!(world.accounts.wanted_claims(JO).await, None);
    let refusal = refused("interaction_required", 50076, Some(claims));
    world.change(|entra| entra.refusal = Some(refusal));
    let error = world.obtain(None).await.expect_err("refused");
    assert!(error.text.contains("To put it right, sign jo@example.com in again"), "{error}");
    assert_eq!(world.accounts.wanted_claims("Jo@Example.com").await.as_deref(), Some(claims));
    assert_eq!(world.accounts.wanted_claims("al@example.com").await, None);
    world.sign_in(JO, "oid.tid", "r3fresh-new").await;
    assert_eq!(world.accounts.wanted_claims(JO).await, None);
}

#[tokio::test]
async fn a_missing_permission_is_named_and_the_new_refresh_token_kept() {
    let world = world().await;
    world.sign_in(JO, "oid.tid", "r3fresh-first").await;
    world.change(|entra| entra.scope = "openid Mail.Read Mail.ReadWrite".to_owned());
    let error = world.obtain(None).await.expect_err("no right to send");
    assert!(error.text.contains("Mail.Send:") && error.text.contains("API permissions"), "{error}");
    assert_eq!((error.fault, world.requests()), (Fault::Person, 1));
    assert_eq!(world.refresh_token().await.as_deref(), Some("r3fresh-0"));
    assert_eq!(world.obtain(None).await.expect_err("known").text, error.text);
    assert_eq!(world.requests(), 1, "not asked again at once");
}

#[tokio::test]
async fn what_passes_by_itself_keeps_the_sign_in() {
    let world = world().await;
    world.sign_in(JO, "oid.tid", "r3fresh-first").await;
    let busy = |name| refused(name, 90033, None);
    for refusal in [
        Reply::html(503, "busy"),
        Reply::json(429, "{}").with("Retry-After: 9"),
        busy("temporarily_unavailable"),
    ] {
        world.change(|entra| entra.refusal = Some(refusal));
        let error = world.obtain(None).await.expect_err("busy");
        assert_eq!(error.fault, Fault::Passing, "{error}");
        assert!(!error.text.contains("token add"), "{error}");
        assert_eq!(world.refresh_token().await.as_deref(), Some("r3fresh-first"));
    }
    assert!(world.status(JO).await.last_error.is_some());
    world.change(|entra| entra.refusal = None);
    world.obtain(None).await.expect("works again");
    assert_eq!(world.status(JO).await.last_error, None);
}

#[tokio::test]
async fn a_personal_account_is_asked_by_the_permissions_names() {
    for (home, refuses, requests) in [
        ("me.9188040d-6c67-4c5b-b112-36a304b66dad", Some("invalid_grant"), 2),
        ("me.9188040D-6C67-4C5B-B112-36A304B66DAD", Some("invalid_scope"), 2),
        ("me.9188040d-6c67-4c5b-b112-36a304b66dad", None, 1),
        // An organisation's sign-in has ended, and that is all.
        ("oid.tid", Some("invalid_grant"), 1),
    ] {
        let world = world().await;
        world.change(|entra| entra.refuses_default = refuses);
        world.sign_in(JO, home, "r3fresh-first").await;
        let token = world.obtain(None).await;
        assert_eq!(token.is_ok(), home != "oid.tid", "{home} {refuses:?}: {token:?}");
        assert_eq!(world.requests(), requests, "{home} {refuses:?}");
        if requests == 2 {
            assert_eq!(
                world.fake.received()[1].form()["scope"],
                "https://graph.microsoft.com/Mail.Read https://graph.microsoft.com/Mail.ReadWrite \
                 https://graph.microsoft.com/Mail.Send offline_access openid profile"
            );
        }
    }
    // One that has ended costs one more request, and then none for a while.
    let world = world().await;
    world.sign_in(JO, "me.9188040d-6c67-4c5b-b112-36a304b66dad", "r3fresh-first").await;
    world.change(|entra| entra.valid.clear());
    for _ in 0..3 {
        let error = world.obtain(None).await.expect_err("ended");
        assert!(error.text.contains("token add"), "{error}");
    }
    assert_eq!(world.requests(), 2);
}

#[tokio::test]
async fn who_is_not_signed_in_is_told_where_and_how() {
    let world = world().await;
    for stranger in [None, Some("al@example.com")] {
        if let Some(name) = stranger {
            world.sign_in(name, "al.tid", "r3fresh-al").await;
        }
        let error = world.obtain(None).await.expect_err("nobody");
        assert_eq!(error.fault, Fault::Person);
        for word in ["Mail.Sending: ", "AccountName jo@example.com", "cache.dat", "token add"] {
            assert!(error.text.contains(word), "{word}: {error}");
        }
    }
    assert_eq!(world.requests(), 0);
}

#[tokio::test]
async fn the_list_tells_all_and_no_secret() {
    let world = world().await;
    world.sign_in(JO, "oid.tid", "r3fresh-first").await;
    let fresh = world.status(JO).await;
    assert_eq!((fresh.last_used, fresh.last_error.as_ref()), (None, None));
    world.obtain(None).await.expect("a token");
    let known = world.status(JO).await;
    assert_eq!((known.name.as_deref(), known.tenant.as_str()), (Some("Jo"), "tid"));
    assert_eq!(known.client_id, CLIENT);
    assert!(known.scopes.contains(&"Mail.Send".to_owned()), "{known:?}");
    assert!(known.token_expires.is_some_and(|end| end > SystemTime::now()));
    assert!(known.last_used.is_some());
    let renewed = known.renewed_at.expect("known");
    assert_eq!(known.lapses_at, Some(renewed + INACTIVITY));
    let [expiry] = &world.accounts.expiries().await[..] else { unreachable!("one sign-in") };
    assert_eq!(Some(expiry.at), known.lapses_at);
    let kind = Ending::SignIn { username: JO.to_owned(), client_id: CLIENT.to_owned() };
    assert_eq!(expiry.kind, kind);
    assert!(expiry.what.contains(JO) && expiry.fix.contains("token add"), "{expiry:?}");
    let record = std::fs::read_to_string(world.folder.path().join("accounts.json")).expect("there");
    let shown = format!("{known:?} {expiry:?} {:?} {record}", world.accounts);
    assert!(!shown.contains("r3fresh") && !shown.contains("acc3ss"), "{shown}");
}

#[tokio::test]
async fn a_removed_account_is_gone_with_its_history() {
    let world = world().await;
    world.sign_in(JO, "oid.tid", "r3fresh-first").await;
    world.sign_in("al@example.com", "al.tid", "r3fresh-al").await;
    assert_eq!(world.accounts.remove("bo@example.com", None).await.expect("read"), 0);
    assert_eq!(world.accounts.remove(JO, Some("another")).await.expect("read"), 0);
    let client = CLIENT.to_uppercase();
    assert_eq!(world.accounts.remove("JO@EXAMPLE.COM", Some(&client)).await.expect("read"), 1);
    let left = world.accounts.list().await.expect("listed");
    assert_eq!(left.iter().map(|a| a.username.as_str()).collect::<Vec<_>>(), ["al@example.com"]);
    assert!(!world.accounts.inner.record.read().await.contains_key(&Who::new(JO, CLIENT)));
    assert_eq!(world.accounts.remove("al@example.com", None).await.expect("read"), 1);
    assert!(world.accounts.expiries().await.is_empty());
}

#[tokio::test]
async fn an_account_made_anew_replaces_its_namesake_of_the_same_tenant() {
    let world = world().await;
    world.sign_in(JO, "old.tid", "r3fresh-old").await;
    world.sign_in(JO, "me.9188040d-6c67-4c5b-b112-36a304b66dad", "r3fresh-personal").await;
    world.sign_in("JO@example.com", "new.tid", "r3fresh-new").await;
    let document = world.accounts.cache().read().await.expect("read");
    let mut homes: Vec<_> =
        document.accounts().into_iter().map(|account| account.owner.home_account_id).collect();
    homes.sort();
    assert_eq!(homes, ["me.9188040d-6c67-4c5b-b112-36a304b66dad", "new.tid"]);
    for (tenant, refresh) in [
        ("organizations", "r3fresh-new"),
        ("TID", "r3fresh-new"),
        ("contoso.com", "r3fresh-new"),
        ("consumers", "r3fresh-personal"),
    ] {
        let app = PublicApp { tenant_id: tenant.to_owned(), ..world.app() };
        let found = find::account(&document, &app, JO).expect("found");
        let token = document.refresh_token(&found.owner).expect("has one");
        assert_eq!(token.expose(), refresh, "{tenant}");
    }
    let elsewhere = app("https://login.microsoftonline.us");
    assert!(find::account(&document, &elsewhere, JO).is_none(), "another cloud");
    let other = PublicApp { client_id: "other".to_owned(), ..world.app() };
    assert!(find::account(&document, &other, JO).is_none(), "another application");
}
