//! Service accounts against a token endpoint on loopback that checks what it gets.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::config::UpstreamNet;
use crate::oauth::assertion::tests::verified;
use crate::oauth::fake_endpoint::{FakeEndpoint, Reply};
use crate::oauth::{Fault, TokenSource, google};
use crate::secret::Secret;
use crate::tls::{ClientTls, install_provider};

const EMAIL: &str = "relay@authbridge-fixture.iam.gserviceaccount.com";

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/keys").join(name)
}

fn account(key_file: &Path, token_url: Option<String>) -> GoogleAccount {
    GoogleAccount {
        key_file: key_file.to_owned(),
        key_password: Secret::new("notasecret"),
        service_account: EMAIL.to_owned(),
        user: Template::new("{login}"),
        token_url,
    }
}

fn source(account: &GoogleAccount) -> Result<Arc<dyn TokenSource>, Error> {
    install_provider();
    let tls = ClientTls::new(None).expect("TLS");
    let http = HttpClient::new(&tls, &UpstreamNet::default()).expect("client");
    google(account, &http, "Mail.Receiving")
}

/// Asks with a key file of this content; whatever it would send goes nowhere.
async fn problem(content: &[u8], change: impl FnOnce(&mut GoogleAccount)) -> Error {
    let file = tempfile::NamedTempFile::new().expect("file");
    std::fs::write(file.path(), content).expect("written");
    let mut account = account(file.path(), None);
    change(&mut account);
    let source = source(&account).expect("built");
    source.token(Some("jo@example.com")).await.expect_err("refused")
}

fn json_key(change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let text = std::fs::read(fixture("google.json")).expect("fixture");
    let mut key = serde_json::from_slice(&text).expect("JSON");
    change(&mut key);
    key.to_string().into_bytes()
}

#[tokio::test]
async fn json_and_p12_keys_sign_for_each_user() {
    for (name, key_id) in
        [("google.json", Some("0123456789abcdef0123456789abcdef01234567")), ("google.p12", None)]
    {
        let fake = FakeEndpoint::start(|_, number| Reply::token(&format!("ya29.{number}"))).await;
        let address = format!("{}/token", fake.url());
        let source = source(&account(&fixture(name), Some(address.clone()))).expect("built");
        for (number, user) in ["jo@example.com", "al@example.com"].into_iter().enumerate() {
            let token = source.token(Some(user)).await.expect("a token");
            assert_eq!(token.secret.expose(), format!("ya29.{number}"));
            assert_eq!(token.user, user);
            let request = &fake.received()[number];
            assert!(request.head.starts_with("POST /token HTTP/1.1\r\n"), "{}", request.head);
            let form = request.form();
            assert_eq!(form["grant_type"], GRANT_TYPE);
            assert_eq!(form.len(), 2);
            let (header, claims) = verified(&form["assertion"]);
            assert_eq!((header["alg"].as_str(), header["kid"].as_str()), (Some("RS256"), key_id));
            assert_eq!((claims["iss"].as_str(), claims["sub"].as_str()), (Some(EMAIL), Some(user)));
            assert_eq!(claims["scope"], "https://mail.google.com/");
            assert_eq!(claims["aud"], address);
        }
        source.token(Some("JO@example.com")).await.expect("from memory");
        assert_eq!(fake.received().len(), 2);
    }
}

#[tokio::test]
async fn damaged_line_breaks_of_the_private_key_are_mended() {
    let breaks: [fn(&str) -> String; 5] = [
        |pem| pem.replace('\n', "\\n"),
        |pem| pem.replace('\n', " "),
        |pem| pem.replace('\n', "\r\n"),
        |pem| pem.replace('\n', "\n\n"),
        |pem| pem.replace('\n', ""),
    ];
    let fake = FakeEndpoint::start(|request, _| {
        verified(&request.form()["assertion"]);
        Reply::token("t")
    })
    .await;
    for (number, damage) in breaks.into_iter().enumerate() {
        let content = json_key(|key| {
            let pem = key["private_key"].as_str().expect("PEM").to_owned();
            key["private_key"] = damage(&pem).into();
        });
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), [b"\xef\xbb\xbf\n", content.as_slice()].concat()).expect("ok");
        let source = source(&account(file.path(), Some(fake.url()))).expect("built");
        source.token(Some("jo@example.com")).await.expect("mended");
        assert_eq!(fake.received().len(), number + 1);
    }
}

#[tokio::test]
async fn a_key_file_that_cannot_be_used_is_named_with_the_fix() {
    let raw = std::fs::read_to_string(fixture("google.json")).expect("fixture");
    let p12 = std::fs::read(fixture("google.p12")).expect("fixture");
    let short = std::fs::read_to_string(fixture("rsa1024.key")).expect("fixture");
    for (content, words) in [
        (raw.replace("\\n", "\n").into_bytes(), &["broken JSON", "download"][..]),
        (raw.as_bytes()[..400].to_vec(), &["broken JSON"]),
        (b"{\"installed\":{}}".to_vec(), &["not the key of a service account"]),
        (json_key(|key| key["type"] = "authorized_user".into()), &["authorized_user"]),
        (json_key(|key| key["private_key"] = "MIIE".into()), &["private_key", "damaged"]),
        (json_key(|key| key["private_key"] = short.as_str().into()), &["private_key", "2048"]),
        (json_key(|key| key["private_key"] = serde_json::Value::Null), &["has no private_key"]),
        (json_key(|key| key["client_email"] = "".into()), &["has no client_email"]),
        (json_key(|key| key["client_email"] = "other@p".into()), &[EMAIL, "other@p"]),
        (
            json_key(|key| key["token_uri"] = "https://evil.example/t".into()),
            &["evil.example", "TokenUrl"],
        ),
        (
            json_key(|key| key["token_uri"] = "http://oauth2.googleapis.com/token".into()),
            &["TokenUrl"],
        ),
        (b"".to_vec(), &["JSON", "P12"]),
        (p12[..p12.len() / 2].to_vec(), &["notasecret"]),
    ] {
        let error = problem(&content, |_| {}).await;
        assert_eq!(error.fault, Fault::Person);
        assert!(error.text.starts_with("Mail.Receiving: "), "{error}");
        assert!(words.iter().all(|word| error.text.contains(word)), "{words:?}: {error}");
        assert!(!error.text.contains("MII"), "{error}");
    }
    let wrong = problem(&p12, |account| account.key_password = Secret::new("wr0ng")).await;
    assert!(wrong.text.contains("password") && !format!("{wrong:?}").contains("wr0ng"), "{wrong}");
    let nameless = problem(&p12, |account| account.service_account = String::new()).await;
    assert!(nameless.text.contains("ServiceAccount is missing"), "{nameless}");
    let gone = problem(b"", |account| account.key_file = PathBuf::from("no-such-key.json")).await;
    assert!(gone.text.contains("no-such-key.json"), "{gone}");
}

#[test]
fn only_google_gets_an_assertion_unasked() {
    for (address, google) in [
        (TOKEN_URL, true),
        ("https://accounts.google.com/o/oauth2/token", true),
        ("https://www.googleapis.com/oauth2/v4/token", true),
        ("http://oauth2.googleapis.com/token", false),
        ("https://oauth2.googleapis.com.evil.example/token", false),
        ("https://evilgoogleapis.com/token", false),
        ("https://oauth2.googleapis.com:8443/token", false),
        ("https://oauth2.googleapis.com@evil.example/token", false),
        ("https://x@oauth2.googleapis.com/token", false),
        ("not a URL", false),
    ] {
        assert_eq!(is_google(address), google, "{address}");
    }
}

#[tokio::test]
async fn refusals_are_explained_and_echoes_hidden() {
    let fake = FakeEndpoint::start(|request, number| match number {
        0 => Reply::json(
            400,
            r#"{"error":"unauthorized_client",
                "error_description":"Client is unauthorized to retrieve access tokens."}"#,
        ),
        1 => {
            let echo = serde_json::json!({"error": "odd", "error_description": request.body});
            Reply::json(400, echo.to_string())
        }
        2 => Reply::html(503, "<html>").with("Retry-After: 9"),
        _ => Reply::html(200, "<html>Welcome</html>"),
    })
    .await;
    let source = source(&account(&fixture("google.json"), Some(fake.url()))).expect("built");
    let mut errors = Vec::new();
    for user in ["a@example.com", "b@example.com", "c@example.com", "d@example.com"] {
        errors.push(source.token(Some(user)).await.expect_err("refused"));
    }
    assert_eq!(errors[0].code.as_deref(), Some("unauthorized_client"));
    assert!(errors[0].text.contains("numeric client id"), "{}", errors[0]);
    let assertion = &fake.received()[1].form()["assertion"];
    assert!(!format!("{errors:?} {:?}", source.snapshot()).contains(&assertion[..20]));
    assert_eq!(errors[2].retry_after, Some(Duration::from_secs(9)));
    assert_eq!((errors[2].fault, errors[3].fault), (Fault::Passing, Fault::Passing));
    assert!(errors[3].text.contains("text/html"), "{}", errors[3]);
}

#[test]
fn a_token_url_that_would_expose_the_assertion_is_refused() {
    let account = account(&fixture("google.json"), Some("http://oauth.example.com/".to_owned()));
    let error = source(&account).err().expect("refused");
    assert!(error.text.contains("GoogleOAuth2.TokenUrl") && error.text.contains("https://"));
}

#[tokio::test]
async fn only_a_p12_key_says_when_it_ends() {
    let told = |name| source(&account(&fixture(name), None)).expect("built").expiries();
    let [told_p12] = &told("google.p12")[..] else { unreachable!("one certificate") };
    assert_eq!(told_p12.kind, super::Ending::Certificate);
    assert!(told_p12.what.contains("google.p12"), "{told_p12:?}");
    assert!(told_p12.fix.contains(EMAIL), "{told_p12:?}");
    assert!(told_p12.at > std::time::UNIX_EPOCH);
    assert!(told("google.json").is_empty() && told("none.p12").is_empty());
}
