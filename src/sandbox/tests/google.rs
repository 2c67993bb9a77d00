//! Google's token endpoint, one mistake at a time.

use time::OffsetDateTime;

use super::*;

pub(super) fn claims(sandbox: &Sandbox) -> Value {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    json!({
        "iss": "robot@x.iam.gserviceaccount.com", "sub": "g@gmail.example",
        "scope": GMAIL_SCOPE, "aud": sandbox.endpoints().google_token_url,
        "iat": now, "exp": now + 3600,
    })
}

#[tokio::test]
async fn each_wrong_claim_gets_google_s_words() {
    let world = World::new().await;
    let account = ServiceAccount::new("robot@x.iam.gserviceaccount.com");
    world.sandbox.add_google_service_account(account.delegated_for(&["g@gmail.example"]));
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let both = format!("{GMAIL_SCOPE} https://www.googleapis.com/auth/drive");
    let table = [
        ("iss", json!("other@x"), "invalid_grant", 400),
        ("aud", json!("https://oauth2.googleapis.com/token"), "invalid_grant", 400),
        ("exp", json!(now + 3700), "invalid_grant", 400),
        ("exp", json!(now - 1), "invalid_grant", 400),
        ("iat", json!(now + 1000), "invalid_grant", 400),
        ("scope", json!("https://mail.google.com"), "unauthorized_client", 401),
        ("scope", json!(both), "access_denied", 403),
        ("scope", json!("mail"), "invalid_scope", 400),
        ("sub", json!("nobody@gmail.example"), "invalid_grant", 400),
        ("sub", json!("nonsense"), "invalid_request", 400),
    ];
    for (claim, value, error, status) in table {
        let mut claims = claims(&world.sandbox);
        claims[claim] = value;
        let (got, body) = world.google(&claims).await;
        assert_eq!((got, &body["error"]), (status, &json!(error)), "{claim}: {body}");
    }
    assert_eq!(world.google(&claims(&world.sandbox)).await.0, 200);
}

#[tokio::test]
async fn without_delegation_or_switched_off_nothing_is_issued() {
    let world = World::new().await;
    let mut account = ServiceAccount::new("robot@x.iam.gserviceaccount.com");
    world.sandbox.add_google_service_account(account.clone());
    let good = claims(&world.sandbox);
    assert_eq!(world.google(&good).await.1["error"], "unauthorized_client");
    account.disabled = true;
    world.sandbox.add_google_service_account(account);
    assert_eq!(world.google(&good).await.1["error"], "disabled_client");
    let header = json!({"alg": "RS256"});
    let forged = jwt::tests::sign(keys::ENTRA_KEY_PEM, &header, &good);
    let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    let url = world.sandbox.endpoints().google_token_url.clone();
    let (_, body) = world.form(&url, &[("grant_type", grant), ("assertion", &forged)]).await;
    assert_eq!(body["error_description"], "Invalid JWT Signature.");
    let (_, body) = world.form(&url, &[("grant_type", "x"), ("assertion", &forged)]).await;
    assert_eq!(body["error"], "unsupported_grant_type");
}
