//! Caches as .NET and Python write them: found, changed, and otherwise left alone.

use serde_json::{Value, json};

use super::*;

const DOTNET: &str = include_str!("../../../../tests/fixtures/msal/dotnet.json");
const PYTHON: &str = include_str!("../../../../tests/fixtures/msal/python.json");
const FAMILY: &str = include_str!("../../../../tests/fixtures/msal/family.json");
const TRAILING: &str = include_str!("../../../../tests/fixtures/msal/trailing.json");
const MSAL2: &str = include_str!("../../../../tests/fixtures/msal/msal2.json");

const HOME: &str = "b1f3c9a0-0000-4000-8000-0000000000a1.7d2f0000-1111-4222-8333-0000000000b2";
const TENANT: &str = "7d2f0000-1111-4222-8333-0000000000b2";
const APP: &str = "11111111-2222-3333-4444-555555555555";
const OTHER_APP: &str = "99999999-2222-3333-4444-555555555555";
const GRAPH: &str = "https://graph.microsoft.com";
const EXCHANGE: &str = "https://outlook.office.com";

fn document(text: &str) -> Document {
    Document::parse(text.as_bytes()).expect("a cache")
}

fn owner(client: &str) -> Owner {
    Owner {
        home_account_id: HOME.to_owned(),
        environment: "login.microsoftonline.com".to_owned(),
        client_id: client.to_owned(),
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A new token for Graph, issued at 1700002000.
fn tokens(client: &str) -> Tokens {
    Tokens {
        owner: owner(client),
        realm: TENANT.to_owned(),
        access: CachedAccess {
            secret: "at-new".into(),
            scopes: ["openid", "Mail.Send", "Mail.Read"].map(str::to_owned).to_vec(),
            cached_at: at(1_700_002_000),
            expires_at: at(1_700_005_600),
        },
        refresh: Some("rt-new".into()),
        id_token: Some("h.new.s".into()),
        client_info: Some("eyJ1aWQiOiJ4In0".to_owned()),
        username: "jo@example.com".to_owned(),
        local_account_id: "oid".to_owned(),
        name: None,
    }
}

/// For looking inside; serde_json has no number as large as the one in the fixture.
fn value(document: &Document) -> Value {
    let text = String::from_utf8(document.to_json().to_vec()).expect("UTF-8");
    serde_json::from_str(&text.replace("1E+400", "0")).expect("JSON")
}

/// The secrets of a node, sorted.
fn secrets(document: &Document, node: &str) -> Vec<String> {
    let mut secrets: Vec<String> =
        document.entries(node).map(|entry| entry.field("secret").into_owned()).collect();
    secrets.sort();
    secrets
}

#[test]
fn what_is_read_is_written_as_it_was() {
    let written = document(DOTNET).to_json();
    assert_eq!(String::from_utf8_lossy(&written), DOTNET);
    for indented in [PYTHON, FAMILY] {
        let original: Value = serde_json::from_str(indented).expect("JSON");
        let written = document(indented).to_json();
        // The order of members counts in this comparison of texts.
        assert_eq!(String::from_utf8_lossy(&written), original.to_string());
    }
    assert_eq!(*document(TRAILING).to_json(), *document(FAMILY).to_json());
}

#[test]
fn nothing_is_an_empty_cache_and_null_nodes_too() {
    for text in ["", " \r\n", "\u{FEFF}", "{}", r#"{"AccessToken":null,"Account":{}}"#] {
        let mut cache = document(text);
        assert_eq!(cache.accounts(), [], "{text:?}");
        assert!(!cache.remove(&owner(APP)));
        cache.put(&tokens(APP), at(1_700_002_000));
        assert_eq!(cache.accounts().len(), 1, "{text:?}");
    }
}

#[test]
fn other_texts_are_refused_politely() {
    for (text, problem) in [
        (MSAL2, "a version of MSAL before 3"),
        (r#"{"access_tokens":[],"refresh_tokens":[]}"#, "a version of MSAL before 3"),
        (r#"{"token":"hunter2"}"#, "no token cache"),
        (r#"{"AccessToken":["hunter2"]}"#, "one of its parts is no JSON object"),
        (r#"{"Account":"hunter2"}"#, "one of its parts is no JSON object"),
        (r#"{"AccessToken":{"hunter2""#, "it is no JSON"),
        ("[1]", "no unified token cache"),
    ] {
        let error = Document::parse(text.as_bytes()).expect_err(text).to_string();
        assert!(error.contains(problem) && !error.contains("hunter2"), "{error}");
    }
    let error = Document::parse(b"{\"\xFF\":1}").expect_err("no UTF-8").to_string();
    assert!(error.contains("UTF-8"), "{error}");
}

#[test]
fn accounts_are_those_with_a_refresh_token() {
    let listed = |text: &str| -> Vec<(String, String, String, Option<SystemTime>)> {
        let accounts = document(text).accounts().into_iter();
        accounts.map(|one| (one.username, one.owner.client_id, one.realm, one.renewed_at)).collect()
    };
    let one = |name: &str, client: &str, renewed| {
        (name.to_owned(), client.to_owned(), TENANT.to_owned(), renewed)
    };
    assert_eq!(
        listed(DOTNET),
        [one("Jo@example.com", APP, None), one("Jo@example.com", OTHER_APP, None)]
    );
    assert_eq!(document(DOTNET).accounts()[0].name.as_deref(), Some("Jo Ärmel"));
    assert_eq!(listed(PYTHON), [one("jo@example.com", APP, Some(at(1_700_000_000)))]);
    assert_eq!(
        listed(FAMILY),
        [one("jo@example.com", OTHER_APP, None), one("jo@example.com", APP, None)]
    );
}

#[test]
fn refresh_tokens_are_found_by_user_application_and_family() {
    let unrelated = FAMILY.replace("\"family_id\": \"1\"", "\"family_id\": \"\"");
    let stranger = Owner { home_account_id: "other.user".into(), ..owner(APP) };
    let elsewhere = Owner { environment: "login.microsoftonline.us".into(), ..owner(APP) };
    let upper = Owner {
        home_account_id: HOME.to_uppercase(),
        environment: "STS.windows.NET".into(),
        ..owner(APP)
    };
    for (text, owner, expected) in [
        (DOTNET, owner(APP), Some("rt-one")),
        (DOTNET, owner(OTHER_APP), Some("rt-other-app")),
        (DOTNET, upper, Some("rt-one")),
        (DOTNET, stranger, None),
        (DOTNET, elsewhere, None),
        (DOTNET, owner("22222222-2222-3333-4444-555555555555"), None),
        (PYTHON, owner(APP), Some("rt-newer")),
        (FAMILY, owner(OTHER_APP), Some("rt-family")),
        (FAMILY, owner(APP), Some("rt-family")),
        (FAMILY, owner("22222222-2222-3333-4444-555555555555"), None),
        (&unrelated, owner(APP), None),
    ] {
        let found = document(text).refresh_token(&owner);
        let found = found.as_ref().map(Secret::expose);
        assert_eq!(found, expected, "{owner:?}");
    }
}

#[test]
fn access_tokens_are_ordinary_ones_of_the_resource() {
    let found = |text: &str, client: &str, resource: &str| -> Vec<String> {
        let tokens = document(text).access_tokens(&owner(client), resource, None);
        tokens.iter().map(|token| token.secret.expose().to_owned()).collect()
    };
    assert_eq!(found(DOTNET, APP, GRAPH), ["at-graph", "at-guest"]);
    assert_eq!(found(DOTNET, APP, EXCHANGE), ["at-exchange"]);
    assert_eq!(found(DOTNET, OTHER_APP, GRAPH), ["at-other-app"]);
    assert_eq!(found(PYTHON, APP, GRAPH), ["at-py"]);
    let token = document(PYTHON).access_tokens(&owner(APP), GRAPH, Some(TENANT)).remove(0);
    assert_eq!(token.scopes, ["Mail.ReadWrite", "Mail.Send", "openid", "profile"]);
    assert_eq!((token.cached_at, token.expires_at), (at(1_700_000_000), at(1_700_003_599)));
}

#[test]
fn times_are_texts_or_numbers() {
    for (written, expected) in [
        ("\"1700000000\"", Some(1_700_000_000)),
        ("1700000000", Some(1_700_000_000)),
        ("1700000000.75", Some(1_700_000_000)),
        ("\"\"", None),
        ("null", None),
        ("\"-1\"", None),
        ("\"99999999999999999999\"", None),
        ("\"18446744073709551615\"", None),
        ("{}", None),
    ] {
        let entry = Node::parse(&format!("{{\"expires_on\":{written}}}")).expect("JSON");
        assert_eq!(time(&entry, "expires_on"), expected.map(at), "{written}");
    }
    let numbers = PYTHON.replace("\"1700003599\"", "1700003599");
    let token = document(&numbers).access_tokens(&owner(APP), GRAPH, Some(TENANT)).remove(0);
    assert_eq!(token.expires_at, at(1_700_003_599));
}

#[test]
fn a_new_cache_has_the_keys_and_fields_of_msal() {
    let mut cache = Document::default();
    cache.put(&Tokens { name: Some("Jo".into()), ..tokens(APP) }, at(1_700_002_001));
    let environment = "login.windows.net";
    let user = format!("{HOME}-{environment}");
    assert_eq!(
        value(&cache),
        json!({
            "AccessToken": { format!("{user}-accesstoken-{APP}-{TENANT}-mail.read mail.send openid"): {
                "home_account_id": HOME, "environment": environment,
                "credential_type": "AccessToken", "client_id": APP, "secret": "at-new",
                "realm": TENANT, "target": "Mail.Read Mail.Send openid",
                "cached_at": "1700002000", "expires_on": "1700005600",
                "extended_expires_on": "1700005600", "token_type": "Bearer",
            }},
            "RefreshToken": { format!("{user}-refreshtoken-{APP}--"): {
                "home_account_id": HOME, "environment": environment,
                "credential_type": "RefreshToken", "client_id": APP, "secret": "rt-new",
                "last_modification_time": "1700002001",
            }},
            "IdToken": { format!("{user}-idtoken-{APP}-{TENANT}-"): {
                "home_account_id": HOME, "environment": environment,
                "credential_type": "IdToken", "client_id": APP, "secret": "h.new.s",
                "realm": TENANT,
            }},
            "Account": { format!("{user}-{TENANT}"): {
                "home_account_id": HOME, "environment": environment, "realm": TENANT,
                "authority_type": "MSSTS", "local_account_id": "oid",
                "username": "jo@example.com", "name": "Jo", "client_info": "eyJ1aWQiOiJ4In0",
            }},
            "AppMetadata": { format!("appmetadata-{environment}-{APP}"): {
                "client_id": APP, "environment": environment,
            }},
        })
    );
}

#[test]
fn what_is_put_in_replaces_what_it_replaces_and_nothing_else() {
    let mut cache = document(DOTNET);
    cache.put(&tokens(APP), at(1_700_002_000));
    let access = secrets(&cache, ACCESS_TOKEN);
    assert_eq!(
        access,
        ["at-application", "at-exchange", "at-guest", "at-new", "at-obo", "at-other-app", "at-pop"]
    );
    assert_eq!(secrets(&cache, REFRESH_TOKEN), ["rt-new", "rt-other-app"]);
    let (before, after) = (value(&document(DOTNET)), value(&cache));
    let key = format!("{HOME}-login.windows.net-refreshtoken-{APP}--");
    let refresh = &after["RefreshToken"][&key];
    assert_eq!(refresh["last_modification_time"], "1700002000");
    assert_eq!(refresh["from_the_future"], before["RefreshToken"][&key]["from_the_future"]);
    let person = &after["Account"][format!("{HOME}-login.windows.net-{TENANT}")];
    assert_eq!((&person["name"], &person["family_name"]), (&json!("Jo Ärmel"), &json!("Ärmel")));
    assert_eq!(person["username"], "jo@example.com");
    assert_eq!(person["wam_account_ids"][APP], "w1");
    let text = String::from_utf8(cache.to_json().to_vec()).expect("UTF-8");
    assert!(text.ends_with(r#""LaterVersion":{"x":[true,null,1E+400,{"deep":[{}]}]}}"#), "{text}");
    assert!(text.contains(r#""from_the_future":{"a":[1.0,12345678901234567890]}"#), "{text}");
}

#[test]
fn expired_tokens_of_the_owner_go_with_the_next_one() {
    let mut cache = document(DOTNET);
    cache.put(&tokens(APP), at(1_700_003_600));
    let left = secrets(&cache, ACCESS_TOKEN);
    assert_eq!(left, ["at-application", "at-new", "at-obo", "at-other-app", "at-pop"]);
}

#[test]
fn a_cache_of_python_keeps_its_environment_and_its_keys() {
    let mut cache = document(PYTHON);
    let from_refresh = Tokens { id_token: None, client_info: None, ..tokens(APP) };
    cache.put(&from_refresh, at(1_700_002_000));
    let written = value(&cache);
    let refresh = written["RefreshToken"].as_object().expect("object");
    assert_eq!(refresh.len(), 1, "one refresh token for a user of an application");
    let (key, entry) = refresh.iter().next().expect("one");
    assert!(key.ends_with("--mail.readwrite mail.send openid profile"), "{key}");
    assert_eq!(entry["secret"], "rt-new");
    assert_eq!(entry["target"], "Mail.ReadWrite Mail.Send openid profile");
    assert_eq!(secrets(&cache, ACCESS_TOKEN), ["at-new"]);
    for node in NODES {
        for entry in cache.entries(node) {
            assert_eq!(entry.field("environment"), "login.microsoftonline.com", "{node}");
        }
        assert_eq!(cache.entries(node).count(), 1, "{node}");
    }
    assert_eq!(secrets(&cache, ID_TOKEN), ["h.e30.s"]);
}

#[test]
fn without_a_new_refresh_token_the_old_one_stays() {
    let mut cache = document(DOTNET);
    cache.put(&Tokens { refresh: None, ..tokens(APP) }, at(1_700_002_000));
    assert_eq!(secrets(&cache, REFRESH_TOKEN), ["rt-one", "rt-other-app"]);
    assert!(cache.access_tokens(&owner(APP), GRAPH, Some(TENANT))[0].secret == "at-new".into());
}

#[test]
fn a_family_token_of_another_application_is_not_touched() {
    let mut cache = document(FAMILY);
    cache.put(&tokens(APP), at(1_700_002_000));
    assert_eq!(secrets(&cache, REFRESH_TOKEN), ["rt-family", "rt-new"]);
    assert_eq!(cache.refresh_token(&owner(APP)), Some("rt-new".into()));
    assert_eq!(cache.refresh_token(&owner(OTHER_APP)), Some("rt-family".into()));
}

#[test]
fn an_account_goes_with_its_last_application() {
    let mut cache = document(DOTNET);
    assert!(cache.remove(&owner(APP)));
    assert_eq!(secrets(&cache, ACCESS_TOKEN), ["at-application", "at-other-app"]);
    assert_eq!(secrets(&cache, REFRESH_TOKEN), ["rt-other-app"]);
    assert_eq!(secrets(&cache, ID_TOKEN), [""; 0]);
    assert_eq!(cache.accounts().len(), 1);
    assert!(!cache.remove(&owner(APP)), "twice");
    assert!(cache.remove(&owner(OTHER_APP)));
    assert_eq!(cache.entries(ACCOUNT).count(), 0);
    assert_eq!(secrets(&cache, ACCESS_TOKEN), ["at-application"]);
    assert!(value(&cache)["LaterVersion"].is_object());
}

#[test]
fn a_hostile_family_stays_small() {
    let entry = |node: &str, id: usize, family: &str| {
        format!(
            r#""{node}{id}":{{"home_account_id":"a.b","environment":"e","client_id":"{node}{id}","secret":"s"{family}}}"#
        )
    };
    let many = |node: &str, count: usize, family: &str| -> String {
        (0..count).map(|id| entry(node, id, family)).collect::<Vec<_>>().join(",")
    };
    let family = r#","family_id":"1""#;
    let text = format!(
        r#"{{"RefreshToken":{{{}}},"AppMetadata":{{{}}},"Account":{{{}}}}}"#,
        many("r", 300, family),
        many("m", 3000, family),
        many("a", 1, "")
    );
    assert_eq!(document(&text).accounts().len(), 300 + MAX_FAMILY);
}

#[test]
fn nothing_secret_is_printed() {
    let cache = document(DOTNET);
    let access = cache.access_tokens(&owner(APP), GRAPH, Some(TENANT));
    let printed = format!("{cache:?} {access:?} {:?} {:?}", tokens(APP), cache.accounts());
    for secret in ["at-", "rt-", "h.new"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}
