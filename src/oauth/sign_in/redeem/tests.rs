//! Redemptions against a token endpoint on loopback.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::oauth::Service;
use crate::oauth::fake_endpoint::{FakeEndpoint, Received, Reply};
use crate::oauth::sign_in::tests::{ACCOUNT, Place, granted, refusal, tokens, wanted};

const GRAPH: &str =
    "https://graph.microsoft.com/Mail.Send https://graph.microsoft.com/Mail.ReadWrite";
const IMAP: &str = "https://outlook.office.com/IMAP.AccessAsUser.All";
const BOTH: &[Service] = &[Service::GraphSending, Service::Imap];

struct Run {
    fake: FakeEndpoint,
    place: Place,
    wanted: Wanted,
    progress: watch::Sender<Progress>,
}

impl Run {
    async fn new(
        services: &[Service],
        answer: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let fake = FakeEndpoint::start(answer).await;
        let wanted = wanted(&fake.url(), services);
        let progress = watch::Sender::new(Progress::Waiting);
        Self { fake, place: Place::new(), wanted, progress }
    }

    async fn redeem(&self) -> Result<SignedIn, Error> {
        let resources = scopes::of_sign_in(&self.wanted)?;
        let redemption = Redemption {
            accounts: &self.place.accounts,
            wanted: &self.wanted,
            resources: &resources,
            progress: &self.progress,
        };
        let (code, verifier) = (Secret::new("c0de"), Secret::new("v3rifier"));
        redemption.code(&code, "http://localhost:1", &verifier).await
    }

    async fn refused(&self) -> Error {
        let error = self.redeem().await.expect_err("refused");
        assert!(!self.place.has_stored("@example.com"), "{error}");
        assert!(!format!("{error:?}").contains("r3fresh"), "{error:?}");
        error
    }
}

#[tokio::test]
async fn every_further_resource_is_proved_with_the_newest_refresh_token() {
    let run = Run::new(BOTH, |_, number| match number {
        0 => granted(0, ACCOUNT, GRAPH),
        _ => granted(1, ACCOUNT, IMAP),
    })
    .await;
    let signed_in = run.redeem().await.expect("signed in");
    assert_eq!(signed_in.scopes.join(" "), format!("{GRAPH} {IMAP}"));
    assert_eq!(signed_in.warnings, [""; 0]);
    assert!(run.place.has_stored(ACCOUNT));
    assert_eq!(*run.progress.borrow(), Progress::Storing);
    let received = run.fake.received();
    let [first, second] = received.as_slice() else { unreachable!("two: {received:?}") };
    let (first, second) = (first.form(), second.form());
    assert_eq!((first["code"].as_str(), first["code_verifier"].as_str()), ("c0de", "v3rifier"));
    assert!(!first["scope"].contains("outlook"), "{first:?}");
    assert_eq!(second["grant_type"], "refresh_token");
    assert_eq!(second["refresh_token"], "r3fresh-0");
    assert_eq!(
        second["scope"],
        "https://outlook.office.com/.default offline_access openid profile"
    );
}

#[tokio::test]
async fn whatever_is_stored_last_has_the_newest_refresh_token() {
    for (second_has_one, newest) in [(true, "r3fresh-1"), (false, "r3fresh-0")] {
        let run = Run::new(BOTH, move |_, number| {
            let mut answer = tokens(number, ACCOUNT, [GRAPH, IMAP][number]);
            if number == 1 && !second_has_one {
                answer["refresh_token"] = serde_json::Value::Null;
            }
            Reply::json(200, answer.to_string())
        })
        .await;
        let resources = scopes::of_sign_in(&run.wanted).expect("resources");
        let redemption = Redemption {
            accounts: &run.place.accounts,
            wanted: &run.wanted,
            resources: &resources,
            progress: &run.progress,
        };
        let first = redemption.ask(&[("grant_type", "x")], &[]).await.expect("granted");
        let (identity, issued) = redemption.checked(first).await.expect("good");
        assert_eq!(identity.home_account_id, "u.t");
        let access = issued.iter().map(|one| one.delegated.granted.secret.expose());
        assert_eq!(access.collect::<Vec<_>>(), ["acc3ss-0", "acc3ss-1"]);
        for one in issued {
            assert_eq!(one.delegated.refresh.as_ref().map(Secret::expose), Some(newest));
        }
    }
}

#[tokio::test]
async fn another_account_is_refused_with_both_names_and_both_fixes() {
    for (found, wanted, good) in [
        ("jo@example.com", Some("JO@Example.COM"), true),
        ("Jö@example.com", Some("JÖ@example.com"), true),
        ("jo@example.com", Some(" jo@example.com "), true),
        ("anybody@example.com", None, true),
        ("al@example.com", Some("jo@example.com"), false),
        ("jo@example.com.evil", Some("jo@example.com"), false),
    ] {
        let mut run =
            Run::new(BOTH, move |_, number| granted(number, found, [GRAPH, IMAP][number])).await;
        run.wanted.account = wanted.map(str::to_owned);
        match good {
            true => assert_eq!(run.redeem().await.expect(found).username, found),
            false => {
                let error = run.refused().await;
                let fix = format!("sign in again as {}", wanted.expect("an account"));
                assert!(error.text.contains(&fix), "{error}");
                assert!(error.text.contains(&format!("AccountName to {found}")), "{error}");
                // The other resources need no answer any more.
                assert_eq!(run.fake.received().len(), 1);
            }
        }
    }
}

#[tokio::test]
async fn partial_consent_is_named_whole_and_stores_nothing() {
    for (graph, exchange, missing) in [
        ("Mail.Read", IMAP, "not granted Mail.Send,"),
        (GRAPH, "https://outlook.office.com/SMTP.Send", "not granted IMAP.AccessAsUser.All,"),
        ("openid", "openid", "not granted Mail.Send and IMAP.AccessAsUser.All,"),
    ] {
        let run =
            Run::new(BOTH, move |_, number| granted(number, ACCOUNT, [graph, exchange][number]))
                .await;
        let error = run.refused().await;
        for word in [missing, "App registrations → API permissions", "Delegated permissions"] {
            assert!(error.text.contains(word), "{word}: {error}");
        }
        assert!(error.text.starts_with(ACCOUNT) && error.fault == Fault::Person);
    }
}

#[tokio::test]
async fn a_refused_resource_leaves_its_claims_to_the_next_sign_in() {
    const CLAIMS: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    for refused_at in [0, 1] {
        let run = Run::new(BOTH, move |_, number| match number == refused_at {
            false => granted(number, ACCOUNT, GRAPH),
            true => {
                let body = serde_json::json!({"error": "interaction_required", "claims": CLAIMS,
                    "error_codes": [50076], "error_description": "AADSTS50076: no."});
                Reply::json(400, body.to_string())
            }
        })
        .await;
        let accounts = &run.place.accounts;
        assert_eq!(accounts.wanted_claims(ACCOUNT).await, None);
        let error = run.redeem().await.expect_err("refused");
        assert_eq!(error.code.as_deref(), Some("AADSTS50076"));
        assert_eq!(accounts.wanted_claims(ACCOUNT).await.as_deref(), Some(CLAIMS), "{refused_at}");
        assert_eq!(accounts.wanted_claims("al@example.com").await, None);
        assert_eq!(run.fake.received().len(), refused_at + 1, "not asked by name: {refused_at}");
    }
}

#[tokio::test]
async fn a_personal_account_that_refuses_to_give_all_is_asked_by_the_permissions_names() {
    let info = r#"{"uid":"me","utid":"9188040d-6c67-4c5b-b112-36a304b66dad"}"#;
    let info = URL_SAFE_NO_PAD.encode(info);
    let run = Run::new(BOTH, move |_, number| {
        let mut answer = tokens(number, ACCOUNT, [GRAPH, "", IMAP][number]);
        answer["client_info"] = serde_json::json!(info);
        match number {
            1 => refusal("invalid_grant", 70000),
            _ => Reply::json(200, answer.to_string()),
        }
    })
    .await;
    run.redeem().await.expect("signed in");
    let received = run.fake.received();
    let [_, all, named] = received.as_slice() else { unreachable!("three: {received:?}") };
    assert!(all.form()["scope"].contains("/.default "));
    assert_eq!(named.form()["scope"], format!("{IMAP} offline_access openid profile"));
    assert_eq!(named.form()["refresh_token"], "r3fresh-0");
}

#[tokio::test]
async fn an_answer_without_scopes_has_granted_what_was_asked() {
    let run = Run::new(BOTH, |_, number| granted(number, ACCOUNT, "")).await;
    let signed_in = run.redeem().await.expect("signed in");
    assert!(signed_in.scopes.contains(&IMAP.to_owned()), "{signed_in:?}");
    assert!(signed_in.warnings.is_empty());
}

#[tokio::test]
async fn what_is_missing_in_the_answer_is_told_with_its_fix() {
    for (key, value, word) in [
        ("refresh_token", serde_json::Value::Null, "offline_access"),
        ("id_token", serde_json::Value::Null, "openid"),
        ("id_token", serde_json::json!("no.token"), "ClientId"),
    ] {
        let run = Run::new(BOTH, move |_, number| {
            let mut answer = tokens(number, ACCOUNT, GRAPH);
            answer[key] = value.clone();
            Reply::json(200, answer.to_string())
        })
        .await;
        let error = run.refused().await;
        assert!(error.text.contains(word) && error.text.starts_with(ACCOUNT), "{error}");
    }
}

#[tokio::test]
async fn a_hiccup_is_survived_and_a_refusal_is_not_repeated() {
    let hiccup = || Reply::html(503, "busy").with("Retry-After: 0");
    let run = Run::new(&[Service::Imap], move |_, number| match number {
        0 | 1 => hiccup(),
        _ => granted(0, ACCOUNT, IMAP),
    })
    .await;
    assert_eq!(run.redeem().await.expect("signed in").username, ACCOUNT);
    let run = Run::new(&[Service::Imap], move |_, _| hiccup()).await;
    let error = run.refused().await;
    assert_eq!((error.fault, run.fake.received().len()), (Fault::Passing, MAX_TRIES));
    let run = Run::new(&[Service::Imap], |_, _| refusal("invalid_grant", 54005)).await;
    let error = run.refused().await;
    assert_eq!((error.code.as_deref(), run.fake.received().len()), (Some("AADSTS54005"), 1));
}

#[tokio::test]
async fn a_refusal_of_a_further_resource_stores_nothing() {
    let run = Run::new(BOTH, |_, number| match number {
        0 => granted(0, ACCOUNT, GRAPH),
        _ => refusal("invalid_grant", 65001),
    })
    .await;
    let error = run.refused().await;
    assert_eq!(error.code.as_deref(), Some("AADSTS65001"));
}

#[tokio::test]
async fn an_answer_for_another_account_is_not_mixed_in() {
    let run = Run::new(BOTH, |_, number| match number {
        0 => granted(0, ACCOUNT, GRAPH),
        _ => {
            let mut other = tokens(1, ACCOUNT, IMAP);
            other["client_info"] = URL_SAFE_NO_PAD.encode(r#"{"uid":"other","utid":"t"}"#).into();
            Reply::json(200, other.to_string())
        }
    })
    .await;
    let error = run.refused().await;
    assert!(error.text.contains("for another account"), "{error}");
}
