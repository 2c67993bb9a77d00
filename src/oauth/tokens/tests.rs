//! The cache under paused time, with a grant that does what the test says.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::time::advance;

use super::*;
use crate::oauth::Fault;
use crate::secret::Secret;

const HOUR: Duration = Duration::from_secs(3600);

/// What the next requests do; the last one repeats.
#[derive(Clone)]
enum Act {
    Grant(Duration),
    Fail(Fault, Option<Duration>),
    Hang,
    Panic,
}

#[derive(Clone)]
struct Script {
    acts: Arc<Mutex<Vec<Act>>>,
    requests: Arc<AtomicUsize>,
    /// What each request was told to be known.
    known: Arc<Mutex<Vec<Option<Secret>>>>,
    revision: Arc<AtomicU64>,
    /// How long a request takes.
    delay: Duration,
}

impl Script {
    fn new(acts: impl Into<Vec<Act>>) -> Self {
        Self {
            acts: Arc::new(Mutex::new(acts.into())),
            requests: Arc::default(),
            known: Arc::default(),
            revision: Arc::default(),
            delay: Duration::from_millis(200),
        }
    }

    fn then(&self, acts: impl Into<Vec<Act>>) {
        *self.acts.lock().expect("not poisoned") = acts.into();
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn next(&self) -> Act {
        let mut acts = self.acts.lock().expect("not poisoned");
        if acts.len() > 1 { acts.remove(0) } else { acts[0].clone() }
    }
}

impl Grant for Script {
    fn subject(&self, login: Option<&str>) -> Result<Subject, Error> {
        let user = login.unwrap_or("anonymous").to_owned();
        Ok(Subject { key: user.to_lowercase(), user })
    }

    fn request<'a>(
        &'a self,
        subject: &'a Subject,
        known: Option<&'a Secret>,
    ) -> BoxFuture<'a, Result<Granted, Error>> {
        let number = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
        self.known.lock().expect("not poisoned").push(known.cloned());
        let act = self.next();
        async move {
            tokio::time::sleep(self.delay).await;
            match act {
                Act::Grant(life) => {
                    Ok(Granted { secret: Secret::new(format!("{}-{number}", subject.key)), life })
                }
                Act::Fail(fault, retry_after) => {
                    Err(Error { fault, text: format!("failure {number}"), code: None, retry_after })
                }
                Act::Hang => std::future::pending().await,
                Act::Panic => unreachable!("this test makes the grant panic"),
            }
        }
        .boxed()
    }

    fn revision(&self, _: &Subject) -> u64 {
        self.revision.load(Ordering::SeqCst)
    }
}

fn setup(acts: impl Into<Vec<Act>>) -> (Script, Arc<Tokens>) {
    let script = Script::new(acts);
    (script.clone(), Arc::new(Tokens::new("Mail.Sending", script)))
}

async fn text(tokens: &Tokens, login: &str) -> String {
    let token = tokens.token(Some(login)).await.expect("a token");
    assert_eq!(token.user, login);
    token.secret.expose().to_owned()
}

async fn failure(tokens: &Tokens) -> Error {
    tokens.token(Some("jo")).await.expect_err("a failure")
}

#[tokio::test(start_paused = true)]
async fn two_hundred_waiters_make_one_request() {
    let (script, tokens) = setup([Act::Grant(HOUR)]);
    let waiters: Vec<_> = (0..200)
        .map(|_| {
            let tokens = Arc::clone(&tokens);
            tokio::spawn(async move { text(&tokens, "jo").await })
        })
        .collect();
    for waiter in waiters {
        assert_eq!(waiter.await.expect("no panic"), "jo-1");
    }
    assert_eq!(script.requests(), 1);
    assert_eq!(text(&tokens, "JO").await, "jo-1");
    assert_eq!(text(&tokens, "al").await, "al-2");
}

#[tokio::test(start_paused = true)]
async fn two_hundred_waiters_share_one_failure() {
    let (script, tokens) = setup([Act::Fail(Fault::Person, None)]);
    let all = (0..200).map(|_| tokens.token(Some("jo")));
    for outcome in futures_util::future::join_all(all).await {
        assert_eq!(outcome.expect_err("failed").text, "failure 1");
    }
    assert_eq!(script.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_gives_up_takes_nothing_from_the_others() {
    let (script, tokens) = setup([Act::Grant(HOUR)]);
    let first = {
        let tokens = Arc::clone(&tokens);
        tokio::spawn(async move { text(&tokens, "jo").await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    let second = {
        let tokens = Arc::clone(&tokens);
        tokio::spawn(async move { text(&tokens, "jo").await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    first.abort();
    assert_eq!(second.await.expect("no panic"), "jo-1");
    assert_eq!(script.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_in_the_background_before_it_expires() {
    let (script, tokens) = setup([Act::Grant(HOUR)]);
    assert_eq!(text(&tokens, "jo").await, "jo-1");
    tokio::time::sleep(HOUR.mul_f64(0.74)).await;
    assert_eq!(script.requests(), 1);
    assert_eq!(text(&tokens, "jo").await, "jo-1");
    tokio::time::sleep(HOUR.mul_f64(0.08)).await;
    assert_eq!(script.requests(), 2, "nobody asked, and it is renewed");
    assert_eq!(text(&tokens, "jo").await, "jo-2");
    assert_eq!(script.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_old_token_is_served_while_its_renewal_fails_until_it_expires() {
    let (script, tokens) = setup([Act::Grant(HOUR), Act::Fail(Fault::Passing, None)]);
    assert_eq!(text(&tokens, "jo").await, "jo-1");
    tokio::time::sleep(HOUR - Duration::from_secs(70)).await;
    let tries = script.requests();
    assert!((8..40).contains(&tries), "{tries} requests in twelve minutes, backed off");
    assert_eq!(text(&tokens, "jo").await, "jo-1");
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(failure(&tokens).await.text.starts_with("failure "));
    script.then([Act::Grant(HOUR)]);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert!(text(&tokens, "jo").await.starts_with("jo-"));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_has_used_for_a_day_is_not_renewed() {
    let (script, tokens) = setup([Act::Grant(HOUR)]);
    text(&tokens, "jo").await;
    tokio::time::sleep(Duration::from_secs(25 * 3600)).await;
    let renewals = script.requests();
    assert!((28..=33).contains(&renewals), "{renewals}");
    tokio::time::sleep(Duration::from_secs(48 * 3600)).await;
    assert_eq!(script.requests(), renewals);
    text(&tokens, "al").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(tokens.snapshot().len(), 1, "the unused one is forgotten");
}

#[tokio::test(start_paused = true)]
async fn failures_are_remembered_and_backed_off() {
    for (fault, waits) in [
        (Fault::Passing, [1, 2, 4, 8, 16, 32, 60, 60]),
        (Fault::Person, [30, 60, 120, 240, 300, 300, 300, 300]),
    ] {
        let (script, tokens) = setup([Act::Fail(fault, None)]);
        for (number, wait) in waits.into_iter().enumerate() {
            failure(&tokens).await;
            assert_eq!(script.requests(), number + 1);
            advance(Duration::from_secs(wait).mul_f64(0.79)).await;
            let remembered = failure(&tokens).await;
            assert_eq!(remembered.text, format!("failure {}", number + 1));
            assert_eq!(script.requests(), number + 1, "answered from memory");
            advance(Duration::from_secs(wait).mul_f64(0.22)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_provider_s_wait_is_kept() {
    let wait = Some(Duration::from_secs(120));
    let (script, tokens) = setup([Act::Fail(Fault::Passing, wait), Act::Grant(HOUR)]);
    failure(&tokens).await;
    advance(Duration::from_secs(119)).await;
    assert_eq!(failure(&tokens).await.retry_after, wait);
    assert_eq!(script.requests(), 1);
    advance(Duration::from_secs(2)).await;
    assert_eq!(text(&tokens, "jo").await, "jo-2");
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_is_replaced_once_for_all_who_report_it() {
    let (script, tokens) = setup([Act::Grant(HOUR)]);
    let first = tokens.token(Some("jo")).await.expect("a token");
    let all = (0..200).map(|_| tokens.replace(Some("jo"), &first));
    for outcome in futures_util::future::join_all(all).await {
        assert_eq!(outcome.expect("replaced").secret.expose(), "jo-2");
    }
    assert_eq!(script.requests(), 2);
    let late = tokens.replace(Some("jo"), &first).await.expect("known already");
    assert_eq!(late.secret.expose(), "jo-2");
    assert_eq!(script.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_rejects_every_token_causes_no_storm() {
    let (script, tokens) = setup([Act::Grant(HOUR)]);
    let mut token = tokens.token(Some("jo")).await.expect("a token");
    for _ in 0..600 {
        match tokens.replace(Some("jo"), &token).await {
            Ok(newer) => token = newer,
            Err(error) => {
                assert_eq!(error.fault, Fault::Passing);
                assert!(error.retry_after.is_some_and(|rest| rest <= Duration::from_secs(10)));
                assert!(error.text.contains("jo") && error.text.contains("Mail.Sending"));
            }
        }
        advance(Duration::from_millis(100)).await;
    }
    let requests = script.requests();
    assert!((5..=9).contains(&requests), "{requests} in a minute");
}

#[tokio::test(start_paused = true)]
async fn a_failed_replacement_does_not_bring_the_rejected_token_back() {
    let (_, tokens) = setup([Act::Grant(HOUR), Act::Fail(Fault::Person, None)]);
    let first = tokens.token(Some("jo")).await.expect("a token");
    assert_eq!(tokens.replace(Some("jo"), &first).await.expect_err("fails").text, "failure 2");
    assert_eq!(failure(&tokens).await.text, "failure 2");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_hangs_or_panics_ends_as_a_failure() {
    for act in [Act::Hang, Act::Panic] {
        let (script, tokens) = setup([act, Act::Grant(HOUR)]);
        let error = failure(&tokens).await;
        assert_eq!(error.fault, Fault::Passing);
        assert!(error.text.starts_with("Mail.Sending: "), "{error}");
        advance(Duration::from_secs(2)).await;
        assert_eq!(text(&tokens, "jo").await, "jo-2");
        assert_eq!(script.requests(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_waits_for_its_turn_only_so_long() {
    let (script, tokens) = setup([Act::Hang]);
    let crowd: Vec<_> = (0..2 * MAX_REQUESTS)
        .map(|n| {
            let tokens = Arc::clone(&tokens);
            tokio::spawn(async move { tokens.token(Some(&format!("u{n}"))).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(1)).await;
    script.then([Act::Grant(HOUR)]);
    let started = Instant::now();
    let mut late = 0;
    for session in crowd {
        let outcome = session.await.expect("no panic");
        late += usize::from(outcome.is_err());
    }
    assert!(started.elapsed() <= WAIT_LIMIT);
    assert_eq!(late, MAX_REQUESTS, "the others had their turn");
}

#[tokio::test(start_paused = true)]
async fn background_tasks_end_with_the_source() {
    let (script, tokens) = setup([Act::Grant(HOUR)]);
    text(&tokens, "jo").await;
    let held = Arc::downgrade(&tokens.shared);
    drop(tokens);
    tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
    assert_eq!(script.requests(), 1);
    assert!(held.upgrade().is_none(), "nothing holds the cache any more");
}

#[tokio::test(start_paused = true)]
async fn the_number_of_subjects_is_bounded() {
    let (script, tokens) = setup([Act::Grant(HOUR)]);
    text(&tokens, "first").await;
    advance(Duration::from_secs(1)).await;
    {
        let mut subjects = tokens.shared.lock();
        let now = Instant::now();
        for number in 1..MAX_SUBJECTS {
            subjects.entries.insert(format!("u{number}"), Entry::new(String::new(), now));
        }
    }
    advance(Duration::from_secs(1)).await;
    text(&tokens, "second").await;
    let subjects: Vec<_> = tokens.snapshot().into_iter().map(|status| status.subject).collect();
    assert_eq!(subjects.len(), MAX_SUBJECTS);
    assert!(subjects.contains(&"second".to_owned()) && !subjects.contains(&"first".to_owned()));
    assert_eq!(script.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn at_most_so_many_requests_run_at_once() {
    let (script, tokens) = setup([Act::Grant(HOUR)]);
    let logins: Vec<String> = (0..100).map(|n| format!("u{n}")).collect();
    let waiters: Vec<_> = logins
        .into_iter()
        .map(|login| {
            let tokens = Arc::clone(&tokens);
            tokio::spawn(async move { text(&tokens, &login).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(script.requests(), MAX_REQUESTS);
    for waiter in waiters {
        waiter.await.expect("a token");
    }
    assert_eq!(script.requests(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_tells_how_each_subject_fares() {
    let (script, tokens) = setup([Act::Grant(HOUR)]);
    text(&tokens, "Jo").await;
    script.then([Act::Fail(Fault::Person, None)]);
    tokens.token(Some("al")).await.expect_err("fails");
    let snapshot = tokens.snapshot();
    let [al, jo] = snapshot.as_slice() else { unreachable!("two subjects: {snapshot:?}") };
    assert_eq!((al.subject.as_str(), jo.subject.as_str()), ("al", "jo"));
    assert!(jo.last_success.is_some() && jo.expires_at.is_some() && jo.last_failure.is_none());
    assert!(al.last_success.is_none() && al.expires_at.is_none());
    assert_eq!(al.last_failure.as_ref().expect("failed").1.text, "failure 2");
    let shown = format!("{snapshot:?} {tokens:?} {:?}", tokens.token(Some("Jo")).await);
    assert!(!shown.contains("jo-1"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn a_person_s_failure_is_forgotten_when_what_it_rests_on_changes() {
    let (script, tokens) = setup([Act::Fail(Fault::Person, None)]);
    failure(&tokens).await;
    failure(&tokens).await;
    assert_eq!(script.requests(), 1);
    script.then([Act::Grant(HOUR)]);
    script.revision.fetch_add(1, Ordering::SeqCst);
    let waiters = (0..200).map(|_| tokens.token(Some("jo")));
    for outcome in futures_util::future::join_all(waiters).await {
        assert_eq!(outcome.expect("healed at once").secret.expose(), "jo-2");
    }
    assert_eq!(script.requests(), 2, "one flight still");
}

#[tokio::test(start_paused = true)]
async fn a_change_while_the_request_runs_counts_and_none_helps_a_passing_failure() {
    let (script, tokens) = setup([Act::Fail(Fault::Person, None), Act::Grant(HOUR)]);
    let (outcome, ()) = tokio::join!(failure(&tokens), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        script.revision.fetch_add(1, Ordering::SeqCst);
    });
    assert_eq!(outcome.text, "failure 1");
    assert_eq!(text(&tokens, "jo").await, "jo-2");
    let (script, tokens) = setup([Act::Fail(Fault::Passing, None)]);
    failure(&tokens).await;
    script.revision.fetch_add(1, Ordering::SeqCst);
    failure(&tokens).await;
    assert_eq!(script.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_grant_is_told_the_newest_token() {
    let (script, tokens) = setup([Act::Grant(HOUR)]);
    let first = tokens.token(Some("jo")).await.expect("a token");
    tokens.replace(Some("jo"), &first).await.expect("replaced");
    tokio::time::sleep(HOUR.mul_f64(0.82)).await;
    let known: Vec<_> = script.known.lock().expect("not poisoned").clone();
    let expected = [None, Some("jo-1"), Some("jo-2")];
    assert_eq!(known, expected.map(|token| token.map(Secret::new)), "first, rejected, renewed");
}
