//! Delegated requests against a token endpoint on loopback.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::config::{Cloud, UpstreamNet};
use crate::oauth::Fault;
use crate::oauth::fake_endpoint::{FakeEndpoint, Reply};
use crate::tls::{ClientTls, install_provider};

const REFRESH: &str = "1.refresh~t/o+k&e=n";

fn http() -> HttpClient {
    install_provider();
    HttpClient::new(&ClientTls::new(None).expect("TLS"), &UpstreamNet::default()).expect("client")
}

fn app(authority: &str) -> PublicApp {
    PublicApp {
        client_id: "app 1".to_owned(),
        tenant_id: "organizations".to_owned(),
        authority_url: authority.to_owned(),
        cloud: Cloud::Global,
        redirect_uri: "http://localhost".to_owned(),
    }
}

async fn asked(reply: Reply) -> (FakeEndpoint, Result<Delegated, Refused>) {
    let fake = FakeEndpoint::start(move |_, _| reply.clone()).await;
    let form = [("grant_type", "refresh_token"), ("refresh_token", REFRESH), ("scope", "a b")];
    let outcome = ask(&http(), &app(&fake.url()), "Mail.Sending", &form, &[REFRESH]).await;
    (fake, outcome)
}

fn full() -> serde_json::Value {
    json!({
        "access_token": "acc3ss", "token_type": "Bearer", "expires_in": 3599,
        "refresh_token": "r3fresh", "id_token": "h.c.s", "client_info": "eyJ1aWQiOiJ1In0",
        "scope": "openid  https://graph.microsoft.com/Mail.Send"
    })
}

#[tokio::test]
async fn the_form_is_encoded_and_the_answer_read_in_full() {
    let (fake, outcome) = asked(Reply::json(200, full().to_string())).await;
    let delegated = outcome.expect("granted");
    assert_eq!(delegated.granted.secret.expose(), "acc3ss");
    assert_eq!(delegated.granted.life, Duration::from_secs(3599));
    assert_eq!(delegated.refresh.as_ref().map(Secret::expose), Some("r3fresh"));
    assert_eq!(delegated.id_token.as_ref().map(Secret::expose), Some("h.c.s"));
    assert_eq!(delegated.client_info.as_deref(), Some("eyJ1aWQiOiJ1In0"));
    assert_eq!(delegated.scopes, ["openid", "https://graph.microsoft.com/Mail.Send"]);
    let shown = format!("{delegated:?}");
    for secret in ["acc3ss", "r3fresh", "h.c.s"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let received = fake.received();
    assert!(received[0].head.starts_with("POST /organizations/oauth2/v2.0/token HTTP/1.1\r\n"));
    let form = received[0].form();
    assert_eq!(form["client_id"], "app 1");
    assert_eq!(form["refresh_token"], REFRESH);
    assert_eq!((form["scope"].as_str(), form.len()), ("a b", 4));
}

#[tokio::test]
async fn what_stands_beside_the_token_is_taken_only_when_it_makes_sense() {
    for (field, value) in [
        ("refresh_token", json!("")),
        ("refresh_token", json!("a b")),
        ("refresh_token", json!(7)),
        ("id_token", json!(null)),
        ("client_info", json!({"uid": "u"})),
        ("client_info", json!("x".repeat(MAX_CLIENT_INFO_BYTES + 1))),
        ("scope", json!(["a"])),
    ] {
        let mut body = full();
        body[field] = value.clone();
        let delegated = asked(Reply::json(200, body.to_string())).await.1.expect("granted");
        let taken = match field {
            "refresh_token" => delegated.refresh.is_some(),
            "id_token" => delegated.id_token.is_some(),
            "client_info" => delegated.client_info.is_some(),
            _ => !delegated.scopes.is_empty(),
        };
        assert!(!taken, "{field}: {value}");
    }
}

#[tokio::test]
async fn an_answer_without_a_usable_token_passes() {
    for reply in [
        Reply::html(200, "<html>sign in to the Wi-Fi</html>"),
        Reply::json(200, "{}"),
        Reply::json(200, json!({"access_token": "a", "expires_in": -1}).to_string()),
        Reply::json(200, json!({"access_token": "a", "token_type": "pop"}).to_string()),
    ] {
        let refused = asked(reply).await.1.expect_err("no token");
        assert_eq!((refused.error.fault, refused.name.as_str()), (Fault::Passing, ""));
        assert!(refused.error.text.starts_with("Mail.Sending: "), "{}", refused.error);
    }
}

#[tokio::test]
async fn a_refusal_tells_name_code_and_claims_but_no_secret() {
    let challenge = r#"{"access_token":{"polids":{"essential":true}}}"#;
    for (claims, kept) in [
        (json!(challenge), Some(challenge)),
        (json!("not json"), None),
        (json!(["x"]), None),
        (json!(format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_CLAIMS_BYTES))), None),
        (json!(format!(r#"{{"a":"{REFRESH}"}}"#)), None),
    ] {
        let body = json!({"error": "interaction_required", "error_codes": [50076],
            "error_description": format!("AADSTS50076: {REFRESH}"), "claims": claims});
        let refused = asked(Reply::json(400, body.to_string())).await.1.expect_err("refused");
        assert_eq!(refused.name, "interaction_required");
        assert_eq!(refused.error.code.as_deref(), Some("AADSTS50076"));
        assert_eq!(refused.error.fault, Fault::Person);
        assert_eq!(refused.claims.as_deref(), kept);
        assert!(!format!("{refused:?}").contains(REFRESH), "{refused:?}");
    }
    let busy = asked(Reply::html(503, "busy").with("Retry-After: 7")).await.1.expect_err("busy");
    assert_eq!(busy.error.retry_after, Some(Duration::from_secs(7)));
    assert_eq!((busy.error.fault, busy.name.as_str()), (Fault::Passing, ""));
}

#[tokio::test]
async fn a_plain_address_off_this_machine_gets_nothing() {
    let outcome = ask(&http(), &app("http://login.example.com"), "Mail.Sending", &[], &[]).await;
    let refused = outcome.expect_err("refused");
    assert!(refused.error.text.contains("Mail.Sending.Microsoft365.AuthorityUrl"));
    assert!(refused.error.text.contains("https://"), "{}", refused.error);
}

#[test]
fn tokens_for_the_cache_name_their_owner_and_their_times() {
    let delegated = Delegated::of(
        Granted { secret: Secret::new("a"), life: Duration::from_secs(60) },
        serde_json::from_value(full()).expect("fields"),
    );
    let identity = Identity {
        home_account_id: "uid.utid".to_owned(),
        tenant: "utid".to_owned(),
        object_id: "oid".to_owned(),
        username: "Jo@example.com".to_owned(),
        name: Some("Jo".to_owned()),
    };
    let asked_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
    let app = app("https://login.microsoftonline.com");
    let tokens = delegated.tokens(&app, &identity, asked_at).expect("a host");
    assert_eq!(tokens.owner.environment, "login.microsoftonline.com");
    assert_eq!(
        (tokens.owner.home_account_id.as_str(), tokens.realm.as_str()),
        ("uid.utid", "utid")
    );
    assert_eq!(tokens.owner.client_id, "app 1");
    assert_eq!(tokens.access.cached_at, asked_at);
    assert_eq!(tokens.access.expires_at, asked_at + Duration::from_secs(60));
    assert_eq!(tokens.access.scopes, delegated.scopes);
    assert_eq!(tokens.refresh, Some(Secret::new("r3fresh")));
    assert_eq!(
        (tokens.username.as_str(), tokens.local_account_id.as_str()),
        ("Jo@example.com", "oid")
    );
    let nowhere = PublicApp { authority_url: "nothing".to_owned(), ..app };
    assert!(delegated.tokens(&nowhere, &identity, asked_at).is_none());
}
