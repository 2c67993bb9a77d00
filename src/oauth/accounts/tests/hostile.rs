//! Caches and answers that are made to mislead: whose token is served, stored and shown.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

const TENANT: &str = "7d2f0000-1111-4222-8333-0000000000b2";
const OTHER_TENANT: &str = "7d2f0000-1111-4222-8333-0000000000c3";

/// ID token and `client_info` of a user of tenant `tid`.
fn beside(username: &str, object_id: &str, tenant: &str) -> serde_json::Value {
    let encoded = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({"aud": CLIENT, "oid": object_id, "tid": tenant,
        "preferred_username": username});
    json!({
        "id_token": format!("e30.{}.", encoded(claims)),
        "client_info": encoded(json!({"uid": object_id, "utid": tenant})),
    })
}

/// A guest has tokens of two tenants under one account: each opens another mailbox.
#[tokio::test]
async fn a_token_of_another_tenant_is_not_served() {
    for (tenant, realm, served) in [
        (TENANT, TENANT, true),
        (TENANT, OTHER_TENANT, false),
        ("organizations", "tid", true),
        ("common", OTHER_TENANT, false),
        ("example.com", OTHER_TENANT, true),
    ] {
        let world = world().await;
        let mut tokens = world.tokens(JO, "oid.tid", "r3fresh-first");
        tokens.realm = realm.to_owned();
        tokens.access.expires_at += Duration::from_secs(3400);
        world.accounts.store(tokens).await.expect("stored");
        let app = PublicApp { tenant_id: tenant.to_owned(), ..world.app() };
        let need = Need { role: "R", app: &app, username: JO, service: Service::GraphSending };
        let granted = world.accounts.obtain(&need, None).await.expect("a token");
        assert_eq!(granted.secret.expose() == "acc3ss-old", served, "{tenant} {realm}");
    }
}

/// A proxy that keeps answers gives one person's to the next.
#[tokio::test]
async fn an_answer_for_somebody_else_is_neither_served_nor_stored() {
    let world = world().await;
    world.sign_in(JO, "oid.tid", "r3fresh-first").await;
    world.change(|entra| entra.beside = beside("al@example.com", "al", "tid"));
    let error = world.obtain(None).await.expect_err("of somebody else");
    assert!(error.text.contains("another account") && error.text.contains("proxy"), "{error}");
    assert!(!error.text.contains("acc3ss") && !error.text.contains("r3fresh"), "{error}");
    assert_eq!(world.refresh_token().await.as_deref(), Some("r3fresh-first"));
    let record = std::fs::read_to_string(world.folder.path().join("accounts.json")).expect("there");
    assert!(record.contains("another account"), "{record}");
    world.change(|entra| entra.beside = beside("renamed@example.com", "OID", "TID"));
    world.obtain(None).await.expect("the same ids, whatever their case and the name");
}

/// A role's tenant refuses the account; another role's tenant does not.
#[tokio::test]
async fn a_refusal_of_one_tenant_is_not_another_s() {
    let world = world().await;
    world.sign_in(JO, "oid.tid", "r3fresh-first").await;
    let obtain = async |tenant: &str| {
        let app = PublicApp { tenant_id: tenant.to_owned(), ..world.app() };
        let need = Need { role: "R", app: &app, username: JO, service: Service::GraphSending };
        world.accounts.obtain(&need, None).await
    };
    world.change(|entra| entra.refusal = Some(refused("invalid_grant", 50020, None)));
    obtain("other.example").await.expect_err("no guest there");
    world.change(|entra| entra.refusal = None);
    obtain("other.example").await.expect_err("remembered");
    obtain("example.com").await.expect("its own tenant");
}

/// The file's word for a name is not enough: the roles of that name would work with it.
#[tokio::test]
async fn an_imported_account_has_the_name_that_the_service_tells() {
    let world = world().await;
    let path = world.folder.path().join("other.dat");
    let file = CacheFile::new(path.clone(), world.folder.path().join("tokens.key"));
    let tokens = world.tokens("ceo@example.com", "mal.tid", "r3fresh-first");
    file.update(move |document| document.put(&tokens, SystemTime::now())).await.expect("made");
    world.change(|entra| entra.beside = beside("mal@example.com", "mal", "tid"));
    let services = [Service::GraphSending];
    let imported = world.accounts.import(&world.app(), &services, &path).await.expect("read");
    assert_eq!(imported[0].username, "mal@example.com");
    let names: Vec<String> =
        world.accounts.list().await.expect("listed").into_iter().map(|a| a.username).collect();
    assert_eq!(names, ["mal@example.com"]);
    world.change(|entra| {
        entra.valid.push("r3fresh-first".to_owned());
        entra.beside = beside("ceo@example.com", "ceo", "tid");
    });
    let imported = world.accounts.import(&world.app(), &services, &path).await.expect("read");
    let problem = imported[0].problem.as_deref().expect("of somebody else");
    assert!(problem.contains("another account"), "{problem}");
}

#[tokio::test]
async fn what_a_foreign_file_says_is_cleaned_before_it_is_shown() {
    let world = world().await;
    let path = world.folder.path().join("other.dat");
    let mut tokens = world.tokens(JO, "oid.tid", "r3fresh-first");
    tokens.owner.client_id = format!("\u{1b}]0;x\u{9b}31m{}", "app ".repeat(1000));
    let file = CacheFile::new(path.clone(), world.folder.path().join("tokens.key"));
    file.update(move |document| document.put(&tokens, SystemTime::now())).await.expect("made");
    let error = world.accounts.import(&world.app(), &[], &path).await.expect_err("no such");
    assert!(!error.text.contains(char::is_control), "{:?}", error.text);
    assert!(error.text.len() < 1500, "{}", error.text.len());
}

/// Times of a file are any number; the page and `check` add 90 days to them.
#[tokio::test]
async fn a_time_at_the_end_of_all_times_is_no_harm() {
    let world = world().await;
    world.sign_in(JO, "oid.tid", "r3fresh-first").await;
    let json = world.accounts.cache().read().await.expect("read").to_json();
    let json = String::from_utf8(json.to_vec()).expect("text");
    let (front, back) = json.split_once("\"last_modification_time\":\"").expect("there");
    let (_, back) = back.split_once('"').expect("its end");
    let json = format!("{front}\"last_modification_time\":\"9223372036854775807\"{back}");
    std::fs::write(world.accounts.cache().path(), json).expect("written");
    let status = world.status(JO).await;
    assert!(status.renewed_at.is_some());
    assert_eq!(status.lapses_at, None);
    assert!(world.accounts.expiries().await.is_empty());
}

/// Somebody's thousands of mailboxes, or a file that is made to hold us up.
#[tokio::test]
async fn many_accounts_take_no_time() {
    let world = world().await;
    let entries: serde_json::Map<String, serde_json::Value> = (0..2000)
        .map(|number| {
            let entry = json!({"home_account_id": format!("u{number}.tid"), "realm": "tid",
                "environment": "127.0.0.1", "client_id": CLIENT, "secret": "s3cret",
                "username": format!("u{number}@example.com"), "target": "Mail.Send",
                "cached_at": "1", "expires_on": "2"});
            (number.to_string(), entry)
        })
        .collect();
    let json = json!({"Account": entries, "RefreshToken": entries, "AccessToken": entries});
    let json = json.to_string();
    let document = Document::parse(json.as_bytes()).expect("a cache");
    std::fs::write(world.accounts.cache().path(), json).expect("written");
    let started = std::time::Instant::now();
    let found = find::account(&document, &world.app(), "u1999@example.com").expect("found");
    assert_eq!(found.owner.home_account_id, "u1999.tid");
    assert_eq!(find::all(&document, &world.app()).len(), 2000);
    let listed = world.accounts.list().await.expect("listed");
    assert_eq!((listed.len(), listed[7].scopes.as_slice()), (2000, &["Mail.Send".to_owned()][..]));
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
}
