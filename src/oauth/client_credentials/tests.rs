//! Client credentials against a token endpoint on loopback that checks what it gets.

use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::config::{Cloud, MicrosoftApp, UpstreamNet};
use crate::oauth::assertion::tests::verified;
use crate::oauth::fake_endpoint::{FakeEndpoint, Reply};
use crate::oauth::msal::CacheFile;
use crate::oauth::{Accounts, Fault, Service, TokenSource, microsoft};
use crate::tls::{ClientTls, install_provider};

const SECRET: &str = "s3cr~t/+ value&=";

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/keys").join(name)
}

fn no_accounts() -> Accounts {
    let cache = CacheFile::new("no/such/cache".into(), "no/such/key".into());
    Accounts::new(cache, "no/such/record".as_ref(), http())
}

fn secret() -> MicrosoftCredential {
    MicrosoftCredential::Secret { value: Secret::new(SECRET), expires: None }
}

fn certificate(name: &str, password: Option<&str>) -> MicrosoftCredential {
    MicrosoftCredential::Certificate { path: fixture(name), password: password.map(Secret::new) }
}

fn account(authority: &str, credential: MicrosoftCredential) -> Microsoft365 {
    Microsoft365 {
        app: MicrosoftApp::Confidential { credential, user: Template::new("{login}") },
        client_id: "app-1".to_owned(),
        tenant_id: "tenant-1".to_owned(),
        cloud: Cloud::Global,
        authority_url: authority.to_owned(),
        graph_url: "https://graph.microsoft.com".to_owned(),
    }
}

fn http() -> HttpClient {
    install_provider();
    HttpClient::new(&ClientTls::new(None).expect("TLS"), &UpstreamNet::default()).expect("client")
}

fn source(authority: &str, credential: MicrosoftCredential) -> Arc<dyn TokenSource> {
    let account = account(authority, credential);
    microsoft(&account, Service::GraphSending, &http(), "Mail.Sending", &no_accounts())
        .expect("built")
}

async fn refused(reply: Reply, credential: MicrosoftCredential) -> Error {
    let fake = FakeEndpoint::start(move |_, _| reply.clone()).await;
    let source = source(&fake.url(), credential);
    source.token(Some("jo@example.com")).await.expect_err("refused")
}

fn refusal(code: u32) -> Reply {
    let body = serde_json::json!({"error": "invalid_client", "error_codes": [code],
        "error_description": format!("AADSTS{code}: no"), "trace_id": "t", "correlation_id": "c"});
    Reply::json(401, body.to_string())
}

#[tokio::test]
async fn a_secret_goes_into_the_form_and_one_token_serves_all_mailboxes() {
    let fake = FakeEndpoint::start(|_, number| Reply::token(&format!("token-{number}"))).await;
    let source = source(&fake.url(), secret());
    for login in ["jo@example.com", "al@example.com"] {
        let token = source.token(Some(login)).await.expect("a token");
        assert_eq!((token.secret.expose(), token.user.as_str()), ("token-0", login));
        let life = token.expires_at.duration_since(SystemTime::now()).expect("ahead");
        assert!(life > Duration::from_secs(3500) && life < Duration::from_secs(3600));
    }
    let received = fake.received();
    let [request] = received.as_slice() else { unreachable!("one request: {received:?}") };
    assert!(request.head.starts_with("POST /tenant-1/oauth2/v2.0/token HTTP/1.1\r\n"));
    let head = request.head.to_ascii_lowercase();
    assert!(head.contains("content-type: application/x-www-form-urlencoded"), "{head}");
    assert!(head.contains("user-agent: authbridge/") && !head.contains("authorization:"), "{head}");
    let form = request.form();
    assert_eq!(form["grant_type"], "client_credentials");
    assert_eq!(form["client_id"], "app-1");
    assert_eq!(form["client_secret"], SECRET);
    assert_eq!(form["scope"], "https://graph.microsoft.com/.default");
    assert_eq!(form.len(), 4);
}

#[tokio::test]
async fn a_certificate_signs_an_assertion_for_this_endpoint() {
    for credential in [certificate("entra.pem", None), certificate("entra.pfx", Some("modern"))] {
        let fake = FakeEndpoint::start(|_, _| Reply::token("t")).await;
        let source = source(&fake.url(), credential);
        source.token(Some("jo@example.com")).await.expect("a token");
        let form = fake.received()[0].form();
        assert_eq!(form["client_assertion_type"], ASSERTION_TYPE);
        assert!(!form.contains_key("client_secret"));
        let (header, claims) = verified(&form["client_assertion"]);
        assert_eq!(header["alg"], "PS256");
        assert_eq!(header["x5t#S256"].as_str().map(str::len), Some(43));
        assert_eq!(claims["aud"], format!("{}/tenant-1/oauth2/v2.0/token", fake.url()));
        assert_eq!(
            (claims["iss"].as_str(), claims["sub"].as_str()),
            (Some("app-1"), Some("app-1"))
        );
    }
}

#[tokio::test]
async fn rs256_is_tried_once_when_ps256_is_refused_and_remembered_when_it_works() {
    let fake = FakeEndpoint::start(|request, number| {
        let (header, _) = verified(&request.form()["client_assertion"]);
        match header["alg"] == "RS256" {
            true => Reply::token(&format!("token-{number}")),
            false => refusal(700027),
        }
    })
    .await;
    let source = source(&fake.url(), certificate("entra.pem", None));
    let first = source.token(Some("jo")).await.expect("with RS256");
    let second = source.replace(Some("jo"), &first).await.expect("with RS256 at once");
    assert_eq!((first.secret.expose(), second.secret.expose()), ("token-1", "token-2"));
    assert_eq!(fake.received().len(), 3);
}

#[tokio::test]
async fn a_certificate_that_is_refused_twice_is_explained() {
    let fake = FakeEndpoint::start(|_, _| refusal(700027)).await;
    let source = source(&fake.url(), certificate("entra.pem", None));
    let error = source.token(Some("jo")).await.expect_err("refused");
    assert_eq!((error.fault, error.code.as_deref()), (Fault::Person, Some("AADSTS700027")));
    assert!(error.text.contains("upload the public part"), "{error}");
    assert_eq!(fake.received().len(), 2);
    // Any other refusal is no reason for a second attempt.
    let fake = FakeEndpoint::start(|_, _| refusal(700016)).await;
    let source = self::source(&fake.url(), certificate("entra.pem", None));
    source.token(Some("jo")).await.expect_err("refused");
    assert_eq!(fake.received().len(), 1);
}

#[tokio::test]
async fn a_renewed_certificate_file_is_read_and_a_broken_one_is_named() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("app.pem");
    let fake = FakeEndpoint::start(|_, _| Reply::token("t")).await;
    let credential = MicrosoftCredential::Certificate { path: path.clone(), password: None };
    let MicrosoftApp::Confidential { user, .. } = account("", secret()).app else {
        unreachable!("it is confidential")
    };
    let account = account(&fake.url(), credential.clone());
    let grant = ClientCredentials::new(&account, &credential, &user, "https://r", &http(), "R");
    let grant = grant.expect("built");
    for (content, outcome) in [
        (None, Err("app.pem")),
        (Some("entra.pem"), Ok(())),
        (Some("google.json"), Err("app.pem")),
        (Some("rsa-pkcs1.key"), Err("no certificate")),
        (Some("entra.pfx"), Err("password")),
        (Some("entra.pem"), Ok(())),
    ] {
        if let Some(name) = content {
            std::fs::copy(fixture(name), &path).expect("copied");
        }
        match (grant.granted().await, outcome) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(word)) => {
                assert_eq!(error.fault, Fault::Person);
                assert!(error.text.starts_with("R: Microsoft365.ConfidentialApp.CertificatePath"));
                assert!(error.text.contains(word), "{content:?}: {error}");
            }
            (got, wanted) => unreachable!("{content:?}: {got:?} instead of {wanted:?}"),
        }
    }
}

#[tokio::test]
async fn a_refusal_is_explained_and_keeps_the_wait() {
    let error = refused(refusal(7000215), secret()).await;
    assert_eq!((error.fault, error.code.as_deref()), (Fault::Person, Some("AADSTS7000215")));
    assert!(error.text.starts_with("Mail.Sending: the client secret is wrong"), "{error}");
    let busy = Reply::html(429, "slow down").with("Retry-After: 17");
    let error = refused(busy, secret()).await;
    assert_eq!((error.fault, error.retry_after), (Fault::Passing, Some(Duration::from_secs(17))));
}

#[tokio::test]
async fn answers_that_are_no_tokens_pass() {
    let huge = format!(r#"{{"access_token":"{}"}}"#, "x".repeat(1 << 20));
    for (reply, word) in [
        (Reply::html(200, "<html>Please log in</html>"), "text/html"),
        (Reply::json(200, ""), "nothing"),
        (Reply::json(200, huge), "too much"),
        (Reply::json(200, r#"{"access_token":"abc","tok"#), "no token"),
        (Reply::json(200, r#"{"token_type":"Bearer","expires_in":3599}"#), "no token"),
        (Reply::json(200, r#"{"access_token":null}"#), "no token"),
        (Reply::json(200, r#"{"access_token":"abc","token_type":"mac"}"#), "Bearer"),
        (Reply::json(200, r#"{"access_token":"abc","expires_in":-5}"#), "expired"),
        (Reply::json(200, "[1,2,3]"), "no token"),
        (Reply::html(500, "<html>oops</html>"), "HTTP 500"),
    ] {
        let error = refused(reply, secret()).await;
        assert_eq!(error.fault, Fault::Passing, "{error}");
        assert!(error.text.contains(word) && error.text.starts_with("Mail.Sending"), "{error}");
        assert!(!error.text.contains("abc") && error.text.len() < 400, "{error}");
    }
}

#[tokio::test]
async fn a_token_without_a_type_or_of_odd_lifetime_is_used() {
    for body in [
        r#"{"access_token":"abc","expires_in":"3599"}"#,
        r#"{"access_token":"abc","token_type":"BEARER","expires_in":null,"extra":{"a":[1]}}"#,
    ] {
        let fake = FakeEndpoint::start(move |_, _| Reply::json(200, body)).await;
        let token = source(&fake.url(), secret()).token(Some("jo")).await.expect(body);
        assert_eq!(token.secret.expose(), "abc");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = FakeEndpoint::start(|_, _| Reply::token("stolen")).await;
    for status in [302, 307, 308] {
        let reply = Reply::html(status, "").with(&format!("Location: {}/x", elsewhere.url()));
        let error = refused(reply, secret()).await;
        assert_eq!(error.fault, Fault::Person, "{error}");
        assert!(error.text.contains(&status.to_string()), "{error}");
    }
    assert!(elsewhere.received().is_empty());
}

#[tokio::test]
async fn nothing_that_is_echoed_or_printed_holds_a_secret() {
    for credential in [secret(), certificate("entra.pem", None)] {
        let fake = FakeEndpoint::start(|request, _| {
            let body = serde_json::json!({"error": "odd", "suberror": request.body,
                "error_description": format!("{} {:?}", request.body, request.form())});
            Reply::json(400, body.to_string())
        })
        .await;
        let source = source(&fake.url(), credential);
        let error = source.token(Some("jo")).await.expect_err("refused");
        let form = fake.received()[0].form();
        let shown = format!("{error} {error:?} {:?} {:?}", source.snapshot(), http());
        for key in ["client_secret", "client_assertion"] {
            if let Some(value) = form.get(key) {
                assert!(!shown.contains(value.as_str()), "{shown}");
                assert!(!shown.contains(&value[..value.len().min(10)]), "{shown}");
            }
        }
        assert!(!shown.contains("s3cr"), "{shown}");
    }
}

#[tokio::test]
async fn an_anonymous_client_is_told_plainly() {
    let account = account("https://login.microsoftonline.com", secret());
    let confidential =
        microsoft(&account, Service::GraphSending, &http(), "Mail.Sending", &no_accounts())
            .expect("built");
    let error = confidential.token(None).await.expect_err("no login");
    assert!(error.text.contains("UserObjectId") && error.text.contains("Proxy.Anonymous"));
}

#[test]
fn an_authority_that_would_expose_the_secret_is_refused() {
    for (authority, word) in [
        ("http://login.example.com", "https://"),
        ("ftp://login.example.com", "https://"),
        ("login.example.com", "URL"),
    ] {
        let account = account(authority, secret());
        let built =
            microsoft(&account, Service::GraphSending, &http(), "Mail.Sending", &no_accounts());
        let error = built.err().expect("refused");
        assert!(error.text.contains(word) && error.text.contains("AuthorityUrl"), "{error}");
        assert_eq!(error.fault, Fault::Person);
    }
}

#[tokio::test]
async fn the_end_of_a_secret_or_certificate_is_told_with_its_key_and_fix() {
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_809_129_600);
    let with_end = MicrosoftCredential::Secret { value: Secret::new(SECRET), expires: Some(end) };
    let [told] = &source("https://localhost:1", with_end).expiries()[..] else {
        unreachable!("one secret")
    };
    assert_eq!((told.at, &told.kind), (end, &super::Ending::Secret));
    assert!(told.what.contains("Mail.Sending.Microsoft365.ConfidentialApp.Secret"), "{told:?}");
    assert!(
        told.fix.contains("SecretExpires") && !format!("{told:?}").contains(SECRET),
        "{told:?}"
    );
    assert!(source("https://localhost:1", secret()).expiries().is_empty(), "nobody knows");
    let [told] = &source("https://localhost:1", certificate("entra.pem", None)).expiries()[..]
    else {
        unreachable!("one certificate")
    };
    assert!(told.at > end - Duration::from_secs(20 * 365 * 24 * 3600), "{told:?}");
    assert_eq!(told.kind, super::Ending::Certificate);
    assert!(told.what.contains("entra.pem") && told.what.contains("CertificatePath"), "{told:?}");
}

#[tokio::test]
async fn a_replaced_certificate_has_its_own_end() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("app.pem");
    let pem = std::fs::read_to_string(fixture("entra.pem")).expect("fixture");
    let key = &pem[pem.find("-----BEGIN PRIVATE KEY").expect("a key")..];
    let write = |years: i32| {
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        params.not_after = rcgen::date_time_ymd(years, 1, 1);
        let pair = rcgen::KeyPair::from_pem(key).expect("a key");
        let signed = params.self_signed(&pair).expect("signed");
        std::fs::write(&path, format!("{}{key}", signed.pem())).expect("written");
        SystemTime::from(params.not_after)
    };
    let credential = MicrosoftCredential::Certificate { path: path.clone(), password: None };
    let source = source("https://localhost:1", credential);
    assert!(source.expiries().is_empty(), "no file yet");
    for years in [2031, 2042] {
        let end = write(years);
        assert_eq!(source.expiries().first().map(|told| told.at), Some(end));
    }
}
