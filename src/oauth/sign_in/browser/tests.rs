//! The whole sign-in in a browser, with a token endpoint on loopback.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Url;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::oauth::Service;
use crate::oauth::fake_endpoint::FakeEndpoint;
use crate::oauth::sign_in::tests::{ACCOUNT, Place, granted, refusal, wanted};

const SEND: &[Service] = &[Service::GraphSending];
const NATIVE: &str = "https://login.microsoftonline.com/common/oauth2/nativeclient";

fn query(address: &str) -> HashMap<String, String> {
    Url::parse(address).expect("a URL").query_pairs().into_owned().collect()
}

async fn begin(place: &Place, authority: &str, redirect_uri: &str) -> BrowserSignIn {
    let mut wanted = wanted(authority, SEND);
    wanted.app.redirect_uri = redirect_uri.to_owned();
    BrowserSignIn::begin(&place.accounts, wanted).await.expect("begun")
}

/// What a browser does that is sent to the redirect address with `answer` in its query.
async fn come_back(page: &str, answer: &str) -> String {
    let sent = query(page);
    let address = Url::parse(&sent["redirect_uri"]).expect("a URL");
    let port = address.port_or_known_default().expect("a port");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
    let target = format!("{}?{answer}&state={}", address.path(), sent["state"]);
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    text
}

#[tokio::test]
async fn the_page_s_address_is_exact() {
    let place = Place::new();
    let attempt = begin(&place, "https://login.example", NATIVE).await;
    assert!(
        attempt.url().starts_with("https://login.example/organizations/oauth2/v2.0/authorize?")
    );
    let mut found = query(attempt.url());
    for (name, length) in [("state", 43), ("code_challenge", 43)] {
        assert_eq!(found.remove(name).map(|value| value.len()), Some(length), "{name}");
    }
    let expected = [
        ("client_id", "app-1"),
        ("response_type", "code"),
        ("redirect_uri", NATIVE),
        ("response_mode", "query"),
        (
            "scope",
            "https://graph.microsoft.com/Mail.Read https://graph.microsoft.com/Mail.ReadWrite \
             https://graph.microsoft.com/Mail.Send offline_access openid profile",
        ),
        ("code_challenge_method", "S256"),
        ("client_info", "1"),
        ("login_hint", ACCOUNT),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(found, HashMap::from(expected));
}

#[tokio::test]
async fn an_unknown_account_is_chosen_and_wanted_claims_are_carried() {
    let mut wanted = wanted("https://login.example", SEND);
    let claims = r#"{"access_token":{"nbf":{"essential":true}}}"#;
    let found = query(&page_address(&wanted, &[("a", "b c&d")], Some(claims)).expect("an address"));
    assert_eq!((found["a"].as_str(), found["claims"].as_str()), ("b c&d", claims));
    assert_eq!(found.get("login_hint").map(String::as_str), Some(ACCOUNT));
    wanted.account = None;
    let found = query(&page_address(&wanted, &[], None).expect("an address"));
    assert_eq!(found, HashMap::from([("prompt".to_owned(), "select_account".to_owned())]));
}

#[tokio::test]
async fn the_redirect_address_is_as_registered_but_for_the_port() {
    let place = Place::new();
    for (registered, front, rest) in [
        ("http://localhost", "http://localhost:", ""),
        ("http://localhost/", "http://localhost:", "/"),
        ("http://127.0.0.1/Auth", "http://127.0.0.1:", "/Auth"),
    ] {
        let attempt = begin(&place, "https://login.example", registered).await;
        assert!(attempt.comes_back(), "{registered}");
        let sent = query(attempt.url())["redirect_uri"].clone();
        let port = sent.strip_prefix(front).and_then(|text| text.strip_suffix(rest));
        assert!(port.is_some_and(|port| port.parse().is_ok_and(|port: u16| port > 0)), "{sent}");
        assert_eq!(sent, attempt.redirect_uri);
    }
    for elsewhere in [NATIVE, "msal1://auth", "https://localhost/"] {
        let attempt = begin(&place, "https://login.example", elsewhere).await;
        assert!(!attempt.comes_back(), "{elsewhere}");
        assert_eq!(query(attempt.url())["redirect_uri"], elsewhere);
    }
}

#[tokio::test]
async fn a_browser_signs_in() {
    let fake = FakeEndpoint::start(|_, number| {
        granted(number, "Jo@Example.com", "openid https://graph.microsoft.com/Mail.Send")
    })
    .await;
    let place = Place::new();
    let attempt = begin(&place, &fake.url(), "http://localhost/done").await;
    let (page, progress) = (attempt.url().to_owned(), attempt.progress());
    assert_eq!(*progress.borrow(), Progress::Waiting);
    let (outcome, shown) = tokio::join!(attempt.finish(), come_back(&page, "code=c0de%2B1"));
    let signed_in = outcome.expect("signed in");
    assert_eq!(signed_in.username, "Jo@Example.com");
    assert_eq!((signed_in.name.as_deref(), signed_in.tenant.as_str()), (Some("Jo Doe"), "tid-1"));
    assert_eq!(signed_in.scopes, ["openid", "https://graph.microsoft.com/Mail.Send"]);
    assert!(signed_in.warnings[0].contains("Mail.ReadWrite"), "{signed_in:?}");
    assert_eq!(*progress.borrow(), Progress::Storing);
    assert!(place.has_stored("jo@example.com"));
    assert!(shown.contains("Signed in") && shown.contains("Jo@Example.com"), "{shown}");

    let form = fake.received()[0].form();
    let sent = query(&page);
    assert_eq!(form["redirect_uri"], sent["redirect_uri"]);
    assert_eq!(
        (form["grant_type"].as_str(), form["code"].as_str()),
        ("authorization_code", "c0de+1")
    );
    assert!(form["scope"].starts_with("https://graph.microsoft.com/Mail.Read "), "{form:?}");
    assert_eq!(form["client_id"], "app-1");
    let digest = ring::digest::digest(&ring::digest::SHA256, form["code_verifier"].as_bytes());
    assert_eq!(URL_SAFE_NO_PAD.encode(digest), sent["code_challenge"]);
    assert!(form["code_verifier"].len() >= 43 && !form.contains_key("client_secret"));
}

#[tokio::test]
async fn what_goes_wrong_is_shown_in_the_browser_too() {
    for (code, scope, answer, word) in [
        (Some(54005), "", "code=c0de", "used already"),
        (None, "https://graph.microsoft.com/Mail.Read", "code=c0de", "Mail.Send"),
        (None, "Mail.Send", "error=access_denied", "declined"),
        (None, "", "error=x&error_description=AADSTS50105:+no", "Enterprise applications"),
    ] {
        let fake = FakeEndpoint::start(move |_, number| match code {
            Some(code) => refusal("invalid_grant", code),
            None => granted(number, ACCOUNT, scope),
        })
        .await;
        let place = Place::new();
        let attempt = begin(&place, &fake.url(), "http://localhost").await;
        let page = attempt.url().to_owned();
        let (outcome, shown) = tokio::join!(attempt.finish(), come_back(&page, answer));
        let error = outcome.expect_err("refused");
        assert!(error.text.contains(word) && error.text.starts_with(ACCOUNT), "{error}");
        assert!(shown.contains("did not work") && shown.contains(word), "{shown}");
        assert!(!place.has_stored(ACCOUNT));
    }
}

#[tokio::test]
async fn an_address_can_be_pasted() {
    for redirect_uri in [NATIVE, "http://localhost"] {
        let fake = FakeEndpoint::start(|_, number| granted(number, ACCOUNT, "mail.send")).await;
        let place = Place::new();
        let attempt = begin(&place, &fake.url(), redirect_uri).await;
        let state = query(attempt.url())["state"].clone();
        let paster = attempt.paster();
        let wrong = paster.paste("https://x/?code=c0de&state=wrong").expect_err("another state");
        assert!(wrong.text.contains("another sign-in"), "{wrong}");
        paster.paste(&format!("{redirect_uri}/?code=c0de&state={state}")).expect("taken");
        let signed_in = attempt.finish().await.expect("signed in");
        assert_eq!(signed_in.username, ACCOUNT);
        assert!(paster.paste(&format!("code=c0de&state={state}")).is_err());
        assert_eq!(fake.received()[0].form()["redirect_uri"].find(redirect_uri), Some(0));
    }
}

#[tokio::test]
async fn a_person_who_never_comes_ends_the_attempt() {
    let place = Place::new();
    let attempt = begin(&place, "https://login.example", "http://localhost").await;
    // The clock runs ahead to the limit, since nothing else is to do.
    tokio::time::pause();
    let error = attempt.finish().await.expect_err("too late");
    assert!(error.text.contains("within 10 minutes"), "{error}");
}

#[tokio::test]
async fn a_dropped_attempt_listens_no_more() {
    let place = Place::new();
    let attempt = begin(&place, "https://login.example", "http://127.0.0.1").await;
    let sent = query(attempt.url())["redirect_uri"].clone();
    let address = sent.trim_start_matches("http://").to_owned();
    drop(attempt);
    while TcpStream::connect(&address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_can_t_be_begun_is_told_with_its_key() {
    let place = Place::new();
    let good = wanted("https://login.example", SEND);
    let mut attempts = vec![(good.clone(), "RedirectUri"), (good.clone(), "AuthorityUrl")];
    attempts.push((good, "IntegrationType Public"));
    attempts[0].0.app.redirect_uri = "http://localhost#x".to_owned();
    attempts[1].0.app.authority_url = "http://login.example".to_owned();
    attempts[2].0.services.clear();
    for (wanted, word) in attempts {
        let error = BrowserSignIn::begin(&place.accounts, wanted).await.expect_err(word);
        assert!(error.text.contains(word) && error.text.starts_with(ACCOUNT), "{error}");
    }
}

#[tokio::test]
async fn debug_shows_no_secret() {
    let place = Place::new();
    let attempt = begin(&place, "https://login.example", NATIVE).await;
    let shown = format!("{attempt:?} {:?}", attempt.paster());
    let sent = query(attempt.url());
    for secret in [&sent["state"], &sent["code_challenge"], attempt.verifier.expose()] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains(ACCOUNT), "{shown}");
}
