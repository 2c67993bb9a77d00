//! Polling in paused time, and one sign-in over sockets.

use std::collections::VecDeque;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::*;
use crate::oauth::Service;
use crate::oauth::fake_endpoint::{FakeEndpoint, Reply};
use crate::oauth::sign_in::tests::{ACCOUNT, Place, granted, refusal, wanted};

const SEND: &[Service] = &[Service::GraphSending];
const SEND_SCOPES: &str = "Mail.Send Mail.ReadWrite";

/// Refuses with what the test says, then hands tokens out; notes when it was asked.
struct Script {
    refusals: Mutex<VecDeque<Refused>>,
    asked: Mutex<Vec<u64>>,
    start: Instant,
}

impl Endpoint for Script {
    fn poll(&self) -> BoxFuture<'_, Result<Issued, Refused>> {
        self.asked.lock().expect("not poisoned").push(self.start.elapsed().as_secs());
        let refused = self.refusals.lock().expect("not poisoned").pop_front();
        std::future::ready(refused.map_or_else(|| Ok(issued()), Err)).boxed()
    }
}

fn issued() -> Issued {
    let life = Duration::from_secs(3600);
    let granted = crate::oauth::Granted { secret: Secret::new("acc3ss"), life };
    let delegated = crate::oauth::delegated::Delegated {
        granted,
        refresh: None,
        id_token: None,
        client_info: None,
        scopes: Vec::new(),
    };
    Issued { delegated, asked_at: SystemTime::UNIX_EPOCH }
}

/// As `ask` would: by OAuth's name, or `""` for a network that fails.
fn refused(name: &str) -> Refused {
    let passing = matches!(name, "" | "authorization_pending" | "slow_down" | "server_error");
    let error = match passing {
        true => Error::passing("no answer"),
        false => Error::person(format!("refused with {name}")),
    };
    Refused { error, name: name.to_owned(), claims: None }
}

async fn polled(names: &[&str], life: u64) -> (Result<Issued, Error>, Vec<u64>) {
    let script = Script {
        refusals: Mutex::new(names.iter().map(|name| refused(name)).collect()),
        asked: Mutex::new(Vec::new()),
        start: Instant::now(),
    };
    let deadline = script.start + Duration::from_secs(life);
    let outcome = wait(&script, ACCOUNT, Duration::from_secs(5), deadline).await;
    let asked = script.asked.lock().expect("not poisoned").clone();
    (outcome, asked)
}

#[tokio::test(start_paused = true)]
async fn polls_keep_the_interval_and_slow_down() {
    const PENDING: &str = "authorization_pending";
    for (names, asked) in [
        (&[][..], &[5][..]),
        (&[PENDING, PENDING], &[5, 10, 15]),
        (&[PENDING, "slow_down", PENDING], &[5, 10, 20, 30]),
        (&["slow_down", "slow_down"], &[5, 15, 30]),
        (&["", PENDING], &[5, 15, 25]),
        (&["", "", "server_error"], &[5, 15, 35, 75]),
        (&["", "", "", "", "", ""], &[5, 15, 35, 75, 135, 195, 255]),
    ] {
        let (outcome, found) = polled(names, 900).await;
        assert!(outcome.is_ok(), "{names:?}: {outcome:?}");
        assert_eq!(found, asked, "{names:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_ends_the_sign_in_ends_it_with_its_sentence() {
    for (name, word) in [
        ("authorization_declined", "declined"),
        ("access_denied", "declined"),
        ("expired_token", "expired"),
        ("bad_verification_code", "start the sign-in again"),
        ("invalid_client", "refused with invalid_client"),
    ] {
        let (outcome, asked) = polled(&["authorization_pending", name], 900).await;
        let error = outcome.expect_err(name);
        assert!(error.text.contains(word), "{name}: {error}");
        assert_eq!((error.fault, asked.len()), (Fault::Person, 2), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_code_s_end_ends_the_polling() {
    let pending = ["authorization_pending"; 100];
    let (outcome, asked) = polled(&pending, 21).await;
    assert!(outcome.expect_err("expired").text.contains("expired before"));
    assert_eq!(asked, [5, 10, 15, 20]);
    let (outcome, asked) = polled(&[], 3).await;
    assert!(outcome.is_err() && asked.is_empty());
}

#[test]
fn a_wait_that_the_provider_asks_for_is_kept_within_reason() {
    for (seconds, expected) in [(1, 5), (17, 17), (3600, 60)] {
        let mut interval = Duration::from_secs(5);
        let mut refused = refused("authorization_pending");
        refused.error.retry_after = Some(Duration::from_secs(seconds));
        let pause = judged("R", refused, &mut interval).expect("goes on");
        assert_eq!(pause.as_secs(), expected);
        assert_eq!(interval.as_secs(), 5);
    }
}

#[test]
fn a_blocked_device_code_points_to_the_browser() {
    for (code, advised) in [("AADSTS53003", true), ("AADSTS50057", false)] {
        let mut refused = refused("invalid_grant");
        refused.error.code = Some(code.to_owned());
        let mut interval = Duration::from_secs(5);
        let error = judged("R", refused, &mut interval).expect_err("over");
        assert_eq!(error.text.contains("with the browser"), advised, "{error}");
    }
}

fn code() -> Value {
    json!({"device_code": "d3vice", "user_code": "ABCD-1234", "expires_in": 900, "interval": 5,
        "verification_uri": "https://microsoft.com/devicelogin", "message": "words"})
}

fn read(key: &str, value: Value) -> Option<Code> {
    let mut answer = code();
    answer[key] = value;
    serde_json::from_value(answer).ok().and_then(Code::of)
}

#[test]
fn lives_and_intervals_are_bounded() {
    for (key, value, life, interval) in [
        ("message", json!(null), 900, 5),
        ("expires_in", json!("60"), 60, 5),
        ("expires_in", json!(null), 900, 5),
        ("expires_in", json!(u64::MAX), 1800, 5),
        ("expires_in", json!(0), 1, 5),
        ("interval", json!(null), 900, 5),
        ("interval", json!("7"), 900, 7),
        ("interval", json!(0), 900, 1),
        ("interval", json!(u64::MAX), 900, 60),
        ("interval", json!(-1), 900, 5),
    ] {
        let code = read(key, value.clone()).expect("a code");
        let found = (code.life.as_secs(), code.interval.as_secs());
        assert_eq!(found, (life, interval), "{key} {value}");
    }
}

#[test]
fn what_can_t_be_shown_is_no_code() {
    for (key, value) in [
        ("device_code", json!("")),
        ("device_code", json!(7)),
        ("user_code", json!("")),
        ("user_code", json!("AB\u{1b}[2J")),
        ("user_code", json!("x".repeat(41))),
        ("verification_uri", json!("javascript:alert(1)")),
        ("verification_uri", json!("https://x/ y")),
        ("verification_uri", json!("x")),
        ("verification_uri", json!(format!("https://x/{}", "y".repeat(200)))),
    ] {
        assert!(read(key, value.clone()).is_none(), "{key} {value}");
    }
}

/// Issues `answer` for the code and `replies` in turn for polls.
async fn endpoint(answer: Reply, replies: Vec<Reply>) -> FakeEndpoint {
    FakeEndpoint::start(move |request, number| {
        match request.head.starts_with("POST /organizations/oauth2/v2.0/devicecode ") {
            true => answer.clone(),
            false => replies[number - 1].clone(),
        }
    })
    .await
}

fn fast_code() -> Reply {
    let mut answer = code();
    answer["interval"] = json!(1);
    Reply::json(200, answer.to_string())
}

#[tokio::test]
async fn a_person_signs_in_elsewhere() {
    let replies = vec![refusal("authorization_pending", 70016), granted(0, ACCOUNT, SEND_SCOPES)];
    let fake = endpoint(fast_code(), replies).await;
    let place = Place::new();
    let attempt = DeviceSignIn::begin(&place.accounts, wanted(&fake.url(), SEND)).await;
    let attempt = attempt.expect("begun");
    assert_eq!(attempt.user_code(), "ABCD-1234");
    assert_eq!(attempt.verification_uri(), "https://microsoft.com/devicelogin");
    let life = attempt.expires_at().duration_since(SystemTime::now()).expect("ahead");
    assert!(life > Duration::from_secs(850) && life <= Duration::from_secs(900));
    let shown = format!("{attempt:?}");
    assert!(!shown.contains("d3vice") && !shown.contains("ABCD"), "{shown}");
    let progress = attempt.progress();
    assert_eq!(*progress.borrow(), Progress::Waiting);
    let signed_in = attempt.finish().await.expect("signed in");
    assert_eq!((signed_in.username.as_str(), signed_in.warnings.len()), (ACCOUNT, 0));
    assert_eq!(*progress.borrow(), Progress::Storing);
    assert!(place.has_stored(ACCOUNT));
    let received = fake.received();
    let asked = received[0].form();
    assert_eq!(asked["client_id"], "app-1");
    assert!(asked["scope"].ends_with("Mail.Send offline_access openid profile"), "{asked:?}");
    let poll = received[2].form();
    assert_eq!((poll["grant_type"].as_str(), poll["device_code"].as_str()), (GRANT, "d3vice"));
}

#[tokio::test]
async fn consent_for_a_second_service_is_advised_about() {
    let replies = vec![granted(0, ACCOUNT, SEND_SCOPES), refusal("invalid_grant", 65001)];
    let fake = endpoint(fast_code(), replies).await;
    let place = Place::new();
    let wanted = wanted(&fake.url(), &[Service::GraphSending, Service::Imap]);
    let attempt = DeviceSignIn::begin(&place.accounts, wanted).await.expect("begun");
    let error = attempt.finish().await.expect_err("no consent");
    assert!(error.text.contains("sign in with the browser"), "{error}");
    assert!(!place.has_stored(ACCOUNT));
}

#[tokio::test]
async fn a_code_that_is_not_issued_is_explained() {
    for (reply, word) in [
        (refusal("invalid_client", 7000218), "public client flows"),
        (refusal("access_denied", 53003), "with the browser"),
        (Reply::html(200, "<html>"), "text/html"),
        (Reply::json(200, "{}"), "AuthorityUrl"),
    ] {
        let fake = endpoint(reply, Vec::new()).await;
        let place = Place::new();
        let begun = DeviceSignIn::begin(&place.accounts, wanted(&fake.url(), SEND)).await;
        let error = begun.expect_err(word);
        assert!(error.text.contains(word) && error.text.starts_with(ACCOUNT), "{error}");
    }
    let place = Place::new();
    let nothing = DeviceSignIn::begin(&place.accounts, wanted("https://login.example", &[])).await;
    assert!(nothing.expect_err("nothing").text.contains("IntegrationType Public"));
}
