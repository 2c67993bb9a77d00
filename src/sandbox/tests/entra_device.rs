//! The device flow, and what users' tokens open.

use super::browser::*;
use super::*;

const READ: &str = "https://graph.microsoft.com/Mail.Read offline_access openid profile";

async fn begin(browser: &Browser) -> Value {
    let url = browser.world.token_url().replace("/token", "/devicecode");
    let form = [("client_id", browser.public.client_id.as_str()), ("scope", READ)];
    let (status, body) = browser.world.form(&url, &form).await;
    assert_eq!(status, 200, "{body}");
    body
}

async fn poll(browser: &Browser, device_code: &str) -> Value {
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    browser.token(&[("grant_type", grant), ("device_code", device_code)]).await.1
}

/// The page after the code was entered.
async fn enter(browser: &Browser, user_code: &str) -> String {
    let url = browser.at("/common/oauth2/deviceauth");
    let page = browser.open(&url).await.page();
    assert!(page.contains("id=\"code\"") && page.contains("id=\"next\""), "{page}");
    let form = [("code", user_code)];
    let sent = browser.world.http.post(url).form(&form).send().await.expect("an answer");
    sent.text().await.expect("text")
}

#[tokio::test]
async fn a_device_waits_is_told_to_slow_down_and_gets_its_tokens_once() {
    let browser = Browser::new().await;
    let body = begin(&browser).await;
    assert_eq!((&body["expires_in"], &body["interval"]), (&json!(900), &json!(5)));
    assert_eq!(browser.sandbox().user_codes(), [text(&body, "user_code")]);
    let code = text(&body, "device_code");
    assert_eq!(poll(&browser, code).await["error"], "authorization_pending");
    assert_eq!(poll(&browser, code).await["error"], "slow_down");
    browser.sandbox().advance(Duration::from_secs(6));
    assert_eq!(poll(&browser, code).await["error"], "slow_down", "ten seconds now");
    browser.sandbox().advance(Duration::from_secs(16));
    assert_eq!(poll(&browser, code).await["error"], "authorization_pending");
    assert!(enter(&browser, "WRONGCODE").await.contains("AADSTS70018"));
    let form = enter(&browser, &text(&body, "user_code").to_lowercase()).await;
    let consent = browser.enter(&form, OWNER, PASSWORD).await.page();
    let done = browser.submit(&consent, &[("answer", "accept")]).await.page();
    assert!(done.contains("id=\"done\""), "{done}");
    browser.sandbox().advance(Duration::from_secs(30));
    let tokens = poll(&browser, code).await;
    assert!(tokens["refresh_token"].is_string() && tokens["id_token"].is_string(), "{tokens}");
    assert_eq!(number(&poll(&browser, code).await), 54_005);
}

#[tokio::test]
async fn devices_are_declined_expire_and_need_public_flows() {
    let browser = Browser::new().await;
    let body = begin(&browser).await;
    let form = enter(&browser, text(&body, "user_code")).await;
    let consent = browser.enter(&form, OWNER, PASSWORD).await.page();
    browser.submit(&consent, &[("answer", "decline")]).await.page();
    let answer = poll(&browser, text(&body, "device_code")).await;
    assert_eq!(answer["error"], "authorization_declined");
    assert_eq!(poll(&browser, "nonsense").await["error"], "bad_verification_code");
    let body = begin(&browser).await;
    browser.sandbox().advance(Duration::from_secs(901));
    let answer = poll(&browser, text(&body, "device_code")).await;
    assert_eq!((&answer["error"], number(&answer)), (&json!("expired_token"), 70_020));
    assert!(enter(&browser, text(&body, "user_code")).await.contains("AADSTS70019"));
    let mut app = browser.public.clone();
    app.public_flows = false;
    browser.sandbox().add_app(app);
    let body = begin(&browser).await;
    assert_eq!(number(&poll(&browser, text(&body, "device_code")).await), 7_000_218);
}

/// Status and error code of a Graph request.
async fn graph(browser: &Browser, path: &str, token: &str) -> (u16, String) {
    let url = format!("{}/v1.0/{path}", browser.sandbox().endpoints().graph_url);
    let response = browser.world.http.get(url).bearer_auth(token).send().await.expect("sent");
    let status = response.status().as_u16();
    let body: Value = response.json().await.expect("JSON");
    (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn graph_opens_a_user_s_own_mailbox_and_shared_ones_with_the_right() {
    let browser = Browser::new().await;
    let body = browser.tokens("Mail.Read offline_access").await;
    let token = text(&body, "access_token");
    let own = browser.sandbox().cloud.state().mailbox(OWNER).map(|m| m.object_id().to_owned());
    let own = own.expect("there");
    for user in ["me".to_owned(), format!("users/{OWNER}"), format!("users/{own}")] {
        let path = format!("{user}/mailFolders/inbox/messages");
        assert_eq!(graph(&browser, &path, token).await.0, 200, "{path}");
    }
    let shared = "shared@contoso.example";
    let mailbox = Mailbox::microsoft(&browser.world.tenant.id, shared).shared_with(OWNER);
    browser.sandbox().add_mailbox(mailbox);
    let denied = (403, "ErrorAccessDenied".to_owned());
    for user in [OTHER, shared] {
        assert_eq!(graph(&browser, &format!("users/{user}/messages"), token).await, denied);
    }
    let post = browser
        .world
        .http
        .post(format!("{}/v1.0/me/messages", browser.sandbox().endpoints().graph_url));
    let response = post.bearer_auth(token).json(&json!({"subject": "x"})).send().await;
    assert_eq!(response.expect("sent").status(), 403, "reading is not writing");
    let body = browser.tokens("Mail.Read.Shared").await;
    let token = text(&body, "access_token");
    assert_eq!(graph(&browser, &format!("users/{shared}/messages"), token).await.0, 200);
    assert_eq!(graph(&browser, &format!("users/{OTHER}/messages"), token).await, denied);
    let app = browser.world.graph_token().await;
    assert_eq!(graph(&browser, "me/messages", &app).await, (400, "BadRequest".to_owned()));
}

#[tokio::test]
async fn exchange_opens_a_user_s_own_mailbox_by_the_permission_of_the_protocol() {
    let browser = Browser::new().await;
    let imap = browser.tokens("https://outlook.office.com/IMAP.AccessAsUser.All").await;
    let imap = text(&imap, "access_token").to_owned();
    let mail = browser.tokens("Mail.Read").await;
    let table = [
        // The token is good, the mailbox is another's: IMAP tells with the next command.
        (OTHER, imap.as_str(), "a OK", "b BAD User is authenticated but not connected."),
        (OWNER, text(&mail, "access_token"), "a NO", "b BAD"),
        (OWNER, imap.as_str(), "a OK", "b OK"),
    ];
    for (user, token, want, next) in table {
        let mut client =
            Client::tls(&browser.world, &browser.sandbox().endpoints().exchange_imap).await;
        let blob = xoauth2(user, token);
        client.play(&format!("S: * OK\nC: a AUTHENTICATE XOAUTH2 {blob}")).await;
        let answer = client.until("a ").await.pop().expect("a line");
        assert!(answer.starts_with(want), "{user}: {answer}");
        client.play("C: b NAMESPACE").await;
        let answer = client.until("b ").await.pop().expect("a line");
        assert!(answer.starts_with(next), "{user}: {answer}");
    }
    let mut client =
        Client::tls(&browser.world, &browser.sandbox().endpoints().exchange_pop3).await;
    let blob = xoauth2(OWNER, &imap);
    client.play(&format!("S: +OK\nC: AUTH XOAUTH2\nS: + \nC: {blob}\nS: -ERR Auth")).await;
}

#[tokio::test]
async fn discovery_has_hosts_keys_and_keeps_common() {
    let browser = Browser::new().await;
    let json = async |path: &str| {
        let response = browser.world.http.get(browser.at(path)).send().await.expect("sent");
        response.json::<Value>().await.expect("JSON")
    };
    let common = json("/common/v2.0/.well-known/openid-configuration").await;
    assert!(text(&common, "issuer").ends_with("/{tenantid}/v2.0"));
    assert_eq!(text(&common, "token_endpoint"), browser.at("/common/oauth2/v2.0/token"));
    let instance = json("/common/discovery/instance?api-version=1.1").await;
    let host = browser.at("").replace("https://", "");
    assert_eq!(instance["metadata"][0]["preferred_cache"], json!(host));
    let keys = json("/common/discovery/v2.0/keys").await;
    assert_eq!(keys["keys"][0]["alg"], "RS256");
    let app = App::public(&browser.world.tenant.id);
    let mut app = app.with_permission("Mail.Read").with_admin_consent();
    app.multi_tenant = true;
    let client = browser.sandbox().add_app(app).client_id;
    let url = browser.address("https://graph.microsoft.com/.default", &[("client_id", &client)]);
    let url = url.replace(&browser.world.tenant.id, "organizations");
    let back = browser.sign_in(&url, OWNER).await;
    assert!(parameter(&back, "code").is_some(), "an administrator has consented: {back}");
}
