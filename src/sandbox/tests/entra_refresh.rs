//! Refresh tokens, what ends them, platforms, claims, and numbers on demand.

use super::browser::*;
use super::*;

const READ: &str = "https://graph.microsoft.com/Mail.Read offline_access openid";
const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn a_refresh_token_serves_every_resource_that_was_agreed_to() {
    let browser = Browser::new().await;
    let both = format!("{READ} https://outlook.office.com/IMAP.AccessAsUser.All");
    let code = browser.code(&both, &[]).await;
    let (status, first) = browser.redeem(&code).await;
    assert_eq!(status, 200, "{first}");
    assert_eq!(first["scope"], "openid https://graph.microsoft.com/Mail.Read", "the first one");
    let token = text(&first, "refresh_token");
    let imap = "https://outlook.office.com/IMAP.AccessAsUser.All";
    let (_, second) = browser.refresh(token, &format!("{imap} offline_access")).await;
    assert_eq!(second["scope"], imap, "{second}");
    assert!(second.get("id_token").is_none());
    let (_, all) = browser.refresh(token, "https://graph.microsoft.com/.default").await;
    let want = "https://graph.microsoft.com/Mail.Read https://graph.microsoft.com/.default";
    assert_eq!(all["scope"], want);
    let (_, short) = browser.refresh(token, "Mail.Read").await;
    assert_eq!(short["scope"], "Mail.Read");
    let table = [
        ("Mail.Send", 65_001),
        ("Mail.Reed", 70_011),
        ("https://graph.microsoft.com/.default https://outlook.office.com/.default", 28_000),
        ("https://graph.microsoft.com/.default Mail.Read", 70_011),
    ];
    for (scope, code) in table {
        assert_eq!(number(&browser.refresh(token, scope).await.1), code, "{scope}");
    }
    let seen = browser.sandbox().sign_ins(OWNER);
    assert_eq!((seen.refreshes, seen.reused), (3, 2));
    assert_eq!(browser.sandbox().counters().entra_refreshes, 3);
}

#[tokio::test]
async fn without_offline_access_nothing_is_left() {
    let browser = Browser::new().await;
    let body = browser.tokens("Mail.Read").await;
    assert!(body.get("refresh_token").is_none() && body.get("id_token").is_none(), "{body}");
}

#[tokio::test]
async fn each_end_of_a_sign_in_has_its_number() {
    let browser = Browser::new().await;
    let sandbox = browser.sandbox();
    let dead =
        async |token: &Value| number(&browser.refresh(text(token, "refresh_token"), READ).await.1);
    assert_eq!(number(&browser.refresh("1.Aunknown", READ).await.1), 70_000);
    let tokens = browser.tokens(READ).await;
    sandbox.revoke_sign_ins(OWNER);
    assert_eq!(dead(&tokens).await, 50_173);
    assert_eq!(sandbox.live_refresh_tokens(OWNER), 0);
    let tokens = browser.tokens(READ).await;
    sandbox.require_second_factor(OWNER, true);
    let (_, body) = browser.refresh(text(&tokens, "refresh_token"), READ).await;
    assert_eq!((number(&body), &body["suberror"]), (50_076, &json!("basic_action")));
    let tokens = browser.tokens(READ).await;
    assert_eq!(dead(&tokens).await, 0, "the second factor was given");
    sandbox.set_standing(OWNER, Standing::Disabled);
    assert_eq!(dead(&tokens).await, 50_057);
    sandbox.set_standing(OWNER, Standing::Good);
    sandbox.withdraw_consent(OWNER, &browser.public.client_id);
    assert_eq!(dead(&tokens).await, 65_001);
    let tokens = browser.tokens(READ).await;
    sandbox.advance(89 * DAY);
    assert_eq!(dead(&tokens).await, 0, "used in time");
    sandbox.advance(91 * DAY);
    assert_eq!(dead(&tokens).await, 700_082);
    assert_eq!(sandbox.sign_ins(OWNER).dead_refreshes, 4);
    sandbox.set_password(OWNER, "new");
    assert_eq!(sandbox.live_refresh_tokens(OWNER), 0);
}

#[tokio::test]
async fn claims_are_met_by_signing_in_with_them() {
    let browser = Browser::new().await;
    let tokens = browser.tokens(READ).await;
    let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    assert!(browser.sandbox().require_claims(OWNER, claims));
    assert!(!browser.sandbox().require_claims(OWNER, "no JSON"));
    let (_, body) = browser.refresh(text(&tokens, "refresh_token"), READ).await;
    assert_eq!((number(&body), &body["error"]), (50_076, &json!("interaction_required")));
    assert_eq!(body["claims"], claims);
    let code = browser.code(READ, &[("prompt", "login")]).await;
    assert_eq!(number(&browser.redeem(&code).await.1), 50_076, "not with these claims");
    let code = browser.code(READ, &[("claims", claims)]).await;
    let (status, body) = browser.redeem(&code).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(browser.refresh(text(&body, "refresh_token"), READ).await.0, 200);
}

#[tokio::test]
async fn the_platform_decides_who_sends_a_secret_and_from_where() {
    let browser = Browser::new().await;
    let mut app = browser.public.clone();
    app.secret = "secret".to_owned();
    browser.sandbox().add_app(app);
    let redeem = async |address: &str, more: &[(&str, &str)], origin: bool| {
        let code = browser.code(READ, &[("redirect_uri", address)]).await;
        let mut form = vec![
            ("client_id", browser.public.client_id.as_str()),
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", address),
            ("code_verifier", VERIFIER),
        ];
        form.extend(more);
        let mut request = browser.world.http.post(browser.world.token_url()).form(&form);
        if origin {
            request = request.header("origin", "http://localhost:8400");
        }
        request.send().await.expect("an answer").json::<Value>().await.expect("JSON")
    };
    let web = "https://app.example/web";
    let spa = "http://localhost:8400/spa";
    assert_eq!(number(&redeem(web, &[], false).await), 7_000_218);
    assert_eq!(number(&redeem(web, &[("client_secret", "x")], false).await), 7_000_215);
    let body = redeem(web, &[("client_secret", "secret")], false).await;
    let token = text(&body, "refresh_token");
    assert_eq!(number(&browser.refresh(token, READ).await.1), 7_000_218);
    assert_eq!(number(&redeem(BACK, &[], true).await), 9_002_326);
    assert_eq!(number(&redeem(spa, &[], false).await), 9_002_327);
    let body = redeem(spa, &[], true).await;
    let token = text(&body, "refresh_token").to_owned();
    assert_eq!(number(&browser.refresh(&token, READ).await.1), 9_002_327);
    browser.sandbox().advance(DAY + Duration::from_secs(1));
    let form = [
        ("client_id", browser.public.client_id.as_str()),
        ("grant_type", "refresh_token"),
        ("refresh_token", token.as_str()),
    ];
    let request = browser.world.http.post(browser.world.token_url()).form(&form);
    let body: Value = request
        .header("origin", "http://localhost")
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert_eq!(number(&body), 700_084);
}

#[tokio::test]
async fn numbers_on_demand_strike_each_endpoint() {
    let browser = Browser::new().await;
    let sandbox = browser.sandbox();
    sandbox.refuse(Place::EntraToken, 53_000, 1);
    let (status, body) = browser.refresh("x", READ).await;
    assert_eq!(
        (status, number(&body), &body["error"]),
        (400, 53_000, &json!("interaction_required"))
    );
    assert!(text(&body, "claims").starts_with('{') && body["suberror"] == "message_only");
    sandbox.refuse(Place::EntraDevice, 70_011, 1);
    let url = browser.world.token_url().replace("/token", "/devicecode");
    let form = [("client_id", browser.public.client_id.as_str()), ("scope", READ)];
    assert_eq!(number(&browser.world.form(&url, &form).await.1), 70_011);
    assert_eq!(browser.world.form(&url, &form).await.0, 200);
    let google = sandbox.endpoints().google_token_url.clone();
    sandbox.refuse_google("access_denied", "Requested client not authorized", 1);
    let (status, body) = browser.world.form(&google, &[("grant_type", "x")]).await;
    assert_eq!((status, &body["error"]), (403, &json!("access_denied")));
    assert_eq!(body["error_description"], "Requested client not authorized");
    assert!(sandbox.faults_left().is_empty());
}
