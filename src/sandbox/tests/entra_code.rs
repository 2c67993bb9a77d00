//! Authorization code and PKCE, from the form to the token.

use super::browser::*;
use super::*;

const READ: &str = "https://graph.microsoft.com/Mail.Read offline_access openid profile";

#[tokio::test]
async fn a_person_signs_in_agrees_and_gets_every_token() {
    let browser = Browser::new().await;
    let url = browser.address(READ, &[("nonce", "n1"), ("login_hint", OWNER)]);
    let form = browser.open(&url).await.page();
    assert!(form.contains(&format!("value=\"{OWNER}\"")), "{form}");
    let consent = browser.enter(&form, OWNER, PASSWORD).await.page();
    assert!(consent.contains("https://graph.microsoft.com/Mail.Read"), "{consent}");
    let back = browser.submit(&consent, &[("answer", "accept")]).await.redirect();
    assert!(back.starts_with("http://localhost:8400/?code="), "{back}");
    assert_eq!(parameter(&back, "state").as_deref(), Some("s t"));
    assert!(parameter(&back, "session_state").is_some());
    let (status, body) = browser.redeem(&parameter(&back, "code").expect("a code")).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["scope"], "openid profile https://graph.microsoft.com/Mail.Read");
    assert_eq!((&body["expires_in"], &body["token_type"]), (&json!(3599), &json!("Bearer")));
    let id = jwt::Jwt::parse(text(&body, "id_token")).expect("a JWT");
    assert_eq!((id.text("nonce"), id.text("aud")), ("n1", &*browser.public.client_id));
    assert_eq!((id.text("preferred_username"), id.text("ver")), (OWNER, "2.0"));
    let (status, next) = browser.refresh(text(&body, "refresh_token"), READ).await;
    assert_eq!(status, 200, "{next}");
    assert_ne!(body["refresh_token"], next["refresh_token"]);
    let seen = browser.sandbox().sign_ins(OWNER);
    assert_eq!((seen.sign_ins, seen.codes, seen.refreshes, seen.reused), (1, 1, 1, 0));
}

#[tokio::test]
async fn a_code_is_good_once_for_its_client_address_and_verifier() {
    let browser = Browser::new().await;
    let code = browser.code(READ, &[]).await;
    let good = [
        ("grant_type", "authorization_code"),
        ("code", &*code),
        ("redirect_uri", BACK),
        ("code_verifier", VERIFIER),
    ];
    let table = [
        ("code", "", 900_144),
        ("code", "1.Awrong", 70_000),
        ("redirect_uri", "", 900_144),
        ("redirect_uri", "http://localhost:8401", 500_112),
        ("redirect_uri", "http://localhost:8400/", 500_112),
        ("code_verifier", "", 501_481),
        ("code_verifier", "EBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", 501_481),
    ];
    for (name, value, code) in table {
        let form = good.map(|(known, right)| (known, if known == name { value } else { right }));
        assert_eq!(number(&browser.token(&form).await.1), code, "{name}={value}");
    }
    let secret = [good.as_slice(), &[("client_secret", "x")]].concat();
    let (status, body) = browser.token(&secret).await;
    assert_eq!((status, number(&body)), (401, 700_025));
    let two = [good.as_slice(), &[("scope", "Mail.Read https://outlook.office.com/SMTP.Send")]];
    assert_eq!(number(&browser.token(&two.concat()).await.1), 28_000);
    assert_eq!(browser.redeem(&code).await.0, 200);
    assert_eq!(number(&browser.redeem(&code).await.1), 54_005);
    let late = browser.code(READ, &[]).await;
    browser.sandbox().advance(Duration::from_secs(601));
    assert_eq!(number(&browser.redeem(&late).await.1), 70_008);
}
