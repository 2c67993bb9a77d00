//! The spool with a queue on the disk and upstreams by script.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::fake::{Act, Fake, Step, graph_role, smtp_role};
use super::*;
use crate::config::{SenderPolicy, SendingKind, ServerAuth, Template};
use crate::mail::{
    Address, ClientCopy, Delivered, Error, Message, Recipient, ReversePath, SenderRule, SmtpReply,
};
use crate::secret::Secret;
use crate::store::queue::{Access, EntryState, Filter, RecipientState, Summary};

const ROLE: &str = "Mail.Sending";
const A: &str = "a@example.org";
const B: &str = "b@example.org";
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

/// Everything soon.
fn quick() -> Timing {
    let soon = Backoff { first: Duration::from_millis(20), longest: Duration::from_millis(80) };
    Timing {
        service: soon,
        sign_in: soon,
        hurry: Duration::from_millis(5),
        patience: Duration::from_millis(150),
        last_patience: Duration::from_millis(50),
        attempt: Duration::from_secs(20),
        poll: Duration::from_millis(20),
    }
}

struct Stage {
    folder: TempDir,
    fake: Fake,
    spool: Spool,
    running: Option<(JoinHandle<()>, CancellationToken)>,
}

async fn spool_in(folder: &Path, timing: Timing, settings: &Settings, routes: Vec<Route>) -> Spool {
    let queue = Queue::open(folder, Access::Owner).await.expect("opened");
    let spool = Spool::with_timing(queue, Activity::new(), timing);
    spool.configure(settings, routes);
    spool
}

fn settings(mode: SpoolMode) -> Settings {
    Settings { mode, max_age: Duration::from_secs(3600), bounce_to: None }
}

fn route(role: SendingRole, fake: &Fake) -> Route {
    Route { role, upstream: Arc::new(fake.clone()) }
}

impl Stage {
    async fn new(mode: SpoolMode, fake: Fake) -> Self {
        Self::with(settings(mode), quick(), smtp_role(ROLE), fake).await
    }

    async fn with(settings: Settings, timing: Timing, role: SendingRole, fake: Fake) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let routes = vec![route(role, &fake)];
        let spool = spool_in(folder.path(), timing, &settings, routes).await;
        Self { folder, fake, spool, running: None }
    }

    fn run(&mut self) {
        let stopping = CancellationToken::new();
        let task = tokio::spawn(self.spool.clone().run(stopping.clone()));
        self.running = Some((task, stopping));
    }

    async fn stop(&mut self) {
        let Some((task, stopping)) = self.running.take() else { return };
        stopping.cancel();
        timeout(LONG, task).await.expect("stops").expect("no panic");
    }

    async fn send(&self, content: &str, recipients: &[&str]) -> Result<Delivered, Error> {
        send(&self.spool, content, recipients).await
    }

    async fn entries(&self) -> Vec<Summary> {
        self.spool.0.queue.list(Filter::default(), None, 1000).await.expect("listed")
    }

    async fn until(&self, what: &str, is_so: impl Fn(&[Summary]) -> bool) {
        let waiting = async {
            while !is_so(&self.entries().await) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let late = timeout(LONG, waiting).await.is_err();
        assert!(!late, "{what}: {:?}", self.entries().await);
    }

    async fn until_empty(&self) {
        self.until("empty", <[Summary]>::is_empty).await;
    }
}

async fn send(spool: &Spool, content: &str, recipients: &[&str]) -> Result<Delivered, Error> {
    send_for(spool, content, recipients, None).await
}

/// A client's copy, and what tells that it was answered.
fn copy(content: &str) -> (oneshot::Sender<()>, ClientCopy) {
    let (told, answered) = oneshot::channel();
    let digest = [content.as_bytes()[0]; 32];
    (told, ClientCopy { digest, answered })
}

async fn send_for(
    spool: &Spool,
    content: &str,
    recipients: &[&str],
    copy: Option<ClientCopy>,
) -> Result<Delivered, Error> {
    let submission = spool.submission(ROLE).expect("there is the role");
    let from = ReversePath {
        address: Some(Address::parse("erp@example.com").expect("an address")),
        ..ReversePath::default()
    };
    let mut transaction = submission.begin(None, from).await?;
    if let Some(copy) = copy {
        transaction.client_keeps(copy);
    }
    let mut accepted = 0;
    let mut refused = None;
    for one in recipients {
        let recipient = Recipient::new(Address::parse(one).expect("an address"));
        match transaction.recipient(recipient).await {
            Ok(()) => accepted += 1,
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        Some(error) if accepted == 0 => Err(error),
        _ => transaction.deliver(Arc::new(Message::from_bytes(content.to_owned().into()))).await,
    }
}

fn error(kind: Kind) -> Error {
    Error::new(kind, "as the script says")
}

fn replied(kind: Kind, code: u16, enhanced: (u8, u16, u16)) -> Error {
    error(kind).with_reply(SmtpReply::new(code, enhanced, "says the service"))
}

fn throttled() -> Kind {
    Kind::Throttled { retry_after: None }
}

/// Says no at this step, for ever.
fn failing(at: fn(&Step<'_>) -> bool, with: fn() -> Error) -> Fake {
    Fake::new(move |step| match at(&step) {
        true => Act::No(with()),
        false => Act::Yes,
    })
}

fn begins(step: &Step<'_>) -> bool {
    *step == Step::Begin
}

fn delivers(step: &Step<'_>) -> bool {
    *step == Step::Deliver
}

fn asks_for_b(step: &Step<'_>) -> bool {
    *step == Step::Recipient(B)
}

#[tokio::test]
async fn fallback_keeps_what_fails_for_now_and_passes_on_what_fails_for_good() {
    type Row = (fn(&Step<'_>) -> bool, fn() -> Error, Result<&'static str, u16>, usize);
    let table: &[Row] = &[
        (begins, || error(Kind::Unavailable), Ok("queued as "), 1),
        (begins, || error(Kind::SignInNeeded), Ok("does not accept our sign-in"), 1),
        (begins, || replied(Kind::NotPermitted, 550, (5, 7, 1)), Err(550), 0),
        (asks_for_b, || replied(Kind::Unavailable, 450, (4, 2, 1)), Ok("1 recipient queued"), 1),
        (asks_for_b, || replied(Kind::NotFound, 550, (5, 1, 1)), Ok("taken"), 0),
        (asks_for_b, || replied(throttled(), 452, (4, 5, 3)), Ok("taken"), 0),
        (delivers, || error(throttled()), Ok("the mail service is busy"), 1),
        (delivers, || error(Kind::OutcomeUnknown), Ok("did not confirm"), 1),
        (delivers, || error(Kind::OverQuota), Ok("the mailbox is full"), 1),
        (delivers, || replied(Kind::Rejected, 554, (5, 6, 0)), Err(554), 0),
        (delivers, || replied(Kind::TooLarge, 552, (5, 3, 4)), Err(552), 0),
    ];
    for (number, (at, with, expected, kept)) in table.iter().enumerate() {
        let stage = Stage::new(SpoolMode::Fallback, failing(*at, *with)).await;
        let answer = stage.send("x", &[A, B]).await;
        match (answer, expected) {
            (Ok(delivered), Ok(words)) => {
                assert!(delivered.note.contains(words), "{number}: {delivered:?}");
                assert!(!delivered.note.contains("script"), "{number}: the upstream's own words");
            }
            (Err(error), Err(code)) => {
                assert_eq!(error.reply.expect("one").code, *code, "{number}")
            }
            (answer, _) => assert_eq!(answer.is_ok(), expected.is_ok(), "{number}: {answer:?}"),
        }
        assert_eq!(stage.entries().await.len(), *kept, "{number}");
    }
}

#[tokio::test]
async fn a_permanent_no_leaves_nothing_of_those_who_were_deferred() {
    let fake = Fake::new(|step| match step {
        Step::Recipient(B) => Act::No(replied(Kind::Unavailable, 450, (4, 2, 1))),
        Step::Deliver => Act::No(replied(Kind::Rejected, 554, (5, 6, 0))),
        _ => Act::Yes,
    });
    let stage = Stage::new(SpoolMode::Fallback, fake).await;
    let refused = stage.send("x", &[A, B]).await.expect_err("refused");
    assert_eq!(refused.reply.expect("a reply").code, 554);
    assert_eq!(stage.entries().await, []);
}

#[tokio::test]
async fn what_was_handed_over_together_is_kept_together_and_alone() {
    let fake = Fake::new(|step| match step {
        Step::Recipient(B) => Act::No(replied(Kind::Unavailable, 450, (4, 2, 1))),
        Step::Deliver => Act::No(error(Kind::OutcomeUnknown)),
        _ => Act::Yes,
    });
    let mut stage = Stage::new(SpoolMode::Fallback, fake).await;
    stage.send("x", &[A, B]).await.expect("queued");
    let mut recipients: Vec<_> =
        stage.entries().await.into_iter().map(|one| (one.recipient, one.open)).collect();
    recipients.sort();
    assert_eq!(recipients, [(A.to_owned(), 1), (B.to_owned(), 1)]);
    stage.fake.follow(|_| Act::Yes);
    stage.run();
    stage.until_empty().await;
    assert_eq!((stage.fake.count("x", A), stage.fake.count("x", B)), (1, 1));
    stage.stop().await;
}

#[tokio::test]
async fn deferred_recipients_get_it_later_and_nobody_twice() {
    let mut stage = Stage::new(
        SpoolMode::Fallback,
        failing(asks_for_b, || replied(Kind::Unavailable, 450, (4, 2, 1))),
    )
    .await;
    stage.run();
    stage.send("x", &[A, B]).await.expect("taken");
    stage.until("an attempt", |all| all[0].attempts >= 2).await;
    assert_eq!((stage.fake.count("x", A), stage.fake.count("x", B)), (1, 0));
    stage.fake.follow(|_| Act::Yes);
    stage.until_empty().await;
    assert_eq!((stage.fake.count("x", A), stage.fake.count("x", B)), (1, 1));
    stage.stop().await;
}

#[tokio::test]
async fn an_upstream_that_takes_its_time_settles_the_entry_itself() {
    for (late, kept) in [(None, 0), (Some(Kind::Unavailable), 1), (Some(Kind::Rejected), 1)] {
        let fake = Fake::new(|step| if step == Step::Deliver { Act::WhenTold } else { Act::Yes });
        let stage = Stage::new(SpoolMode::Fallback, fake).await;
        let answer = stage.send("x", &[A]).await.expect("queued");
        assert!(answer.note.contains("takes its time"), "{answer:?}");
        assert_eq!(stage.entries().await[0].state, EntryState::Taken);
        if let Some(kind) = late {
            stage.fake.fail_when_told(error(kind));
        }
        stage.fake.go();
        stage.until("settled", |all| all.iter().all(|one| one.state != EntryState::Taken)).await;
        let left = stage.entries().await;
        let own: Vec<_> = left.iter().filter(|one| !one.sender.is_empty()).collect();
        assert_eq!(own.len(), kept, "{late:?}: {left:?}");
        assert_eq!(stage.fake.count("x", A), u32::from(late.is_none()));
    }
}

#[tokio::test]
async fn a_client_that_vanishes_cuts_nothing() {
    let fake = Fake::new(|step| if step == Step::Deliver { Act::WhenTold } else { Act::Yes });
    let mut stage = Stage::new(SpoolMode::Fallback, fake.clone()).await;
    let spool = stage.spool.clone();
    let client = tokio::spawn(async move { send(&spool, "x", &[A]).await });
    fake.begun(1).await;
    client.abort();
    assert!(client.await.expect_err("cut").is_cancelled());
    fake.go();
    stage.run();
    stage.stop().await;
    assert_eq!(fake.count("x", A), 1);
    assert_eq!(stage.entries().await, [], "nobody was told that it waits, and it does not");
}

#[tokio::test]
async fn a_stop_leaves_nothing_undecided() {
    let fake = Fake::new(|step| if step == Step::Deliver { Act::Hang } else { Act::Yes });
    let timing = Timing { patience: LONG, attempt: Duration::from_millis(300), ..quick() };
    let mut stage =
        Stage::with(settings(SpoolMode::Fallback), timing, smtp_role(ROLE), fake.clone()).await;
    stage.run();
    let spool = stage.spool.clone();
    let client = tokio::spawn(async move { send(&spool, "x", &[A]).await });
    fake.begun(1).await;
    stage.stop().await;
    let answer = client.await.expect("no panic").expect("queued before the stop");
    assert!(answer.note.starts_with("queued as "), "{answer:?}");
    assert_eq!(stage.entries().await[0].state, EntryState::Waiting);
}

#[tokio::test]
async fn always_answers_without_the_upstream_and_sends_behind() {
    let mut stage = Stage::new(SpoolMode::Always, Fake::new(|_| Act::Hang)).await;
    let answer = stage.send("x", &[A, B]).await.expect("queued");
    assert!(answer.note.starts_with("queued as "), "{answer:?}");
    let large = stage.send(&"x".repeat(1001), &[A]).await.expect_err("too large");
    assert_eq!((large.kind, large.reply.expect("one").code), (Kind::TooLarge, 552));
    stage.fake.follow(|_| Act::Yes);
    stage.run();
    stage.until_empty().await;
    assert_eq!((stage.fake.count("x", A), stage.fake.count("x", B)), (1, 1));
    stage.stop().await;
}

#[tokio::test]
async fn a_mailbox_that_needs_a_login_takes_nothing_without_one() {
    let role = graph_role(ROLE, "{login}");
    let stage = Stage::with(settings(SpoolMode::Always), quick(), role, Fake::new(|_| Act::Yes));
    let refused = stage.await.send("x", &[A]).await.expect_err("refused");
    assert_eq!(refused.kind, Kind::NotPermitted);
    assert!(refused.text.contains("another role"), "{refused}");
}

#[tokio::test]
async fn a_pickup_folder_s_message_is_written_down_in_any_mode_and_once() {
    let stage = Stage::new(SpoolMode::Off, Fake::new(|_| Act::Hang)).await;
    let durable = stage.spool.durable(ROLE).expect("there is the role");
    for _ in 0..2 {
        let mut transaction = durable.begin(None, ReversePath::default()).await.expect("begun");
        let recipient = Recipient::new(Address::parse(A).expect("an address"));
        transaction.recipient(recipient).await.expect("accepted");
        transaction.came_from("pickup/1.eml");
        let message = Arc::new(Message::from_bytes(Bytes::from_static(b"x")));
        transaction.deliver(message).await.expect("queued");
    }
    assert_eq!(stage.entries().await.len(), 1);
}

#[tokio::test]
async fn without_a_spool_the_pace_is_answered_451_and_with_one_it_queues() {
    for mode in [SpoolMode::Off, SpoolMode::Fallback] {
        let mut role = smtp_role(ROLE);
        role.pace_per_minute = Some(2);
        let stage = Stage::with(settings(mode), quick(), role, Fake::new(|_| Act::Yes)).await;
        for _ in 0..2 {
            assert_eq!(stage.send("x", &[A]).await.expect("sent").note, "taken");
        }
        let third = stage.send("y", &[A]).await;
        match mode {
            SpoolMode::Off => {
                let reply = third.expect_err("no turn").reply.expect("one");
                assert_eq!((reply.code, reply.enhanced), (451, (4, 3, 2)));
            }
            _ => {
                let note = third.expect("queued").note;
                assert!(note.contains("waits for its turn"), "{note}");
                let fourth = stage.send("z", &[A]).await.expect("queued").note;
                assert!(fourth.contains("behind others"), "{fourth}");
            }
        }
        assert_eq!(stage.fake.count("y", A), 0);
    }
}

#[tokio::test]
async fn the_dispatcher_keeps_the_pace_and_what_waits_for_its_turn_is_not_an_attempt() {
    let mut role = smtp_role(ROLE);
    role.pace_per_minute = Some(2);
    let mut stage =
        Stage::with(settings(SpoolMode::Always), quick(), role, Fake::new(|_| Act::Yes)).await;
    for content in ["1", "2", "3", "4"] {
        stage.send(content, &[A]).await.expect("queued");
    }
    stage.run();
    stage.until("two are sent", |all| all.len() == 2).await;
    stage.stop().await;
    assert_eq!(stage.fake.order(), ["1", "2"]);
    assert!(stage.entries().await.iter().all(|one| one.attempts == 0));
}

#[tokio::test]
async fn a_sender_s_messages_keep_their_order() {
    let mut stage = Stage::new(SpoolMode::Always, Fake::new(|_| Act::Yes)).await;
    let contents: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    for content in &contents {
        stage.send(content, &[A]).await.expect("queued");
    }
    stage.run();
    stage.until_empty().await;
    assert_eq!(stage.fake.order(), contents);
    stage.stop().await;
}

#[tokio::test]
async fn a_panic_ends_neither_the_dispatcher_nor_the_entry() {
    let mut panics = 3;
    let fake = Fake::new(move |step| {
        if step == Step::Deliver && panics > 0 {
            panics -= 1;
            return Act::Panic;
        }
        Act::Yes
    });
    let mut stage = Stage::new(SpoolMode::Always, fake).await;
    stage.send("x", &[A]).await.expect("queued");
    stage.run();
    stage.until_empty().await;
    assert_eq!(stage.fake.count("x", A), 1);
    stage.stop().await;
}

#[tokio::test]
async fn one_recipient_that_fails_for_good_does_not_keep_the_others() {
    let mut stage = Stage::new(
        SpoolMode::Always,
        failing(asks_for_b, || replied(Kind::NotFound, 550, (5, 1, 1))),
    )
    .await;
    stage.send("Subject: x\r\n\r\ny", &[A, B]).await.expect("queued");
    stage.run();
    stage
        .until("dead, and reported", |all| all.len() == 1 && all[0].state == EntryState::Dead)
        .await;
    let id = stage.entries().await[0].id;
    let entry = stage.spool.0.queue.show(id).await.expect("read").expect("there");
    let failed = RecipientState::Failed {
        status: "5.1.1".to_owned(),
        reply: "550 5.1.1 says the service".to_owned(),
    };
    let states: Vec<_> = entry.recipients.into_iter().map(|one| one.state).collect();
    assert_eq!(states, [RecipientState::Sent, failed]);
    let reports: Vec<_> = stage.fake.order().into_iter().skip(1).collect();
    assert_eq!(reports.len(), 1);
    assert!(reports[0].contains("5.1.1") && reports[0].contains(B), "{}", reports[0]);
    assert_eq!(stage.fake.count(&reports[0], "erp@example.com"), 1);
    stage.stop().await;
}

#[tokio::test]
async fn what_is_too_old_is_given_up_after_one_more_attempt_and_all_behind_it_too() {
    let settings = Settings { max_age: Duration::from_millis(50), ..settings(SpoolMode::Always) };
    let fake = failing(begins, || error(Kind::Unavailable));
    let mut stage = Stage::with(settings, quick(), smtp_role(ROLE), fake).await;
    for content in ["1", "2", "3"] {
        stage.send(content, &[A]).await.expect("queued");
    }
    stage.run();
    let is_given_up =
        |one: &Summary| one.state == EntryState::Dead && one.reason.contains("script");
    stage.until("given up", |all| all.iter().filter(|one| is_given_up(one)).count() >= 3).await;
    let id = stage.entries().await[0].id;
    let entry = stage.spool.0.queue.show(id).await.expect("read").expect("there");
    let state = format!("{:?}", entry.recipients[0].state);
    assert!(state.contains("4.4.7") && state.contains("not available"), "{state}");
    stage.stop().await;
}

#[tokio::test]
async fn a_role_that_is_gone_keeps_its_messages_until_it_is_back() {
    let mut stage = Stage::new(SpoolMode::Always, Fake::new(|_| Act::Yes)).await;
    stage.send("x", &[A]).await.expect("queued");
    stage.spool.configure(&settings(SpoolMode::Always), Vec::new());
    assert!(stage.spool.submission(ROLE).is_none());
    stage.run();
    stage.until("a reason", |all| all[0].reason.contains("off or gone")).await;
    let routes = vec![route(smtp_role(ROLE), &stage.fake)];
    stage.spool.configure(&settings(SpoolMode::Always), routes);
    stage.until_empty().await;
    assert_eq!(stage.fake.count("x", A), 1);
    stage.stop().await;
}

#[tokio::test]
async fn a_retry_by_another_process_is_obeyed_at_once() {
    let slow = Backoff { first: LONG * 100, longest: LONG * 100 };
    let timing = Timing { service: slow, ..quick() };
    let fake = failing(begins, || error(Kind::Unavailable));
    let mut stage = Stage::with(settings(SpoolMode::Always), timing, smtp_role(ROLE), fake).await;
    stage.send("x", &[A]).await.expect("queued");
    stage.run();
    stage.until("tried", |all| all[0].attempts == 1).await;
    stage.fake.follow(|_| Act::Yes);
    let visitor = Queue::open(stage.folder.path(), Access::Visitor).await.expect("opened");
    let id = stage.entries().await[0].id;
    assert!(visitor.retry(id, SystemTime::now()).await.expect("steered"));
    stage.until_empty().await;
    stage.stop().await;
}

#[tokio::test]
async fn a_message_whose_file_is_gone_is_dead_and_says_so() {
    let mut stage = Stage::new(SpoolMode::Always, Fake::new(|_| Act::Yes)).await;
    stage.send("x", &[A]).await.expect("queued");
    let id = stage.entries().await[0].id;
    let path = stage.spool.0.queue.path(id).await.expect("read").expect("there");
    std::fs::remove_file(path).expect("removed");
    stage.run();
    stage.until("dead", |all| all.iter().any(|one| one.state == EntryState::Dead)).await;
    let dead = stage.entries().await.into_iter().find(|one| one.id == id).expect("kept");
    assert!(dead.reason.contains("cannot be read"), "{dead:?}");
    assert_eq!(stage.fake.count("x", A), 0);
    stage.stop().await;
}

#[tokio::test]
async fn what_another_clock_has_put_off_for_years_is_due() {
    let mut stage = Stage::new(SpoolMode::Always, Fake::new(|_| Act::Hang)).await;
    stage.send("x", &[A]).await.expect("queued");
    let id = stage.entries().await[0].id;
    let years = Duration::from_secs(5 * 365 * 24 * 3600);
    assert!(stage.spool.0.queue.retry(id, SystemTime::now() + years).await.expect("steered"));
    stage.fake.follow(|_| Act::Yes);
    stage.run();
    stage.until_empty().await;
    stage.stop().await;
}

#[tokio::test]
async fn lanes_take_turns() {
    let folder = tempfile::tempdir().expect("a folder");
    let fake = Fake::new(|_| Act::Yes);
    let routes = vec![route(smtp_role(ROLE), &fake), route(graph_role("Mail.B", "b@x.org"), &fake)];
    let spool = spool_in(folder.path(), quick(), &settings(SpoolMode::Always), routes).await;
    for number in 0..50 {
        send(&spool, &number.to_string(), &[A]).await.expect("queued");
    }
    let other = spool.submission("mail.b").expect("there");
    let mut transaction = other.begin(None, ReversePath::default()).await.expect("begun");
    let recipient = Recipient::new(Address::parse(B).expect("an address"));
    transaction.recipient(recipient).await.expect("accepted");
    let message = Arc::new(Message::from_bytes(Bytes::from_static(b"single")));
    transaction.deliver(message).await.expect("queued");
    let mut stage = Stage { folder, fake, spool, running: None };
    stage.run();
    stage.until_empty().await;
    let at = stage.fake.order().iter().position(|content| content == "single").expect("sent");
    assert!(at < 10, "{at}");
    stage.stop().await;
}

#[tokio::test]
async fn the_rule_for_senders_follows_policy_and_mailbox() {
    let mailbox = || Address::parse("a@x.org").expect("an address");
    for (policy, role, expected) in [
        (SenderPolicy::Keep, graph_role(ROLE, "a@x.org"), SenderRule::Keep),
        (SenderPolicy::Rewrite, graph_role(ROLE, "a@x.org"), SenderRule::Rewrite(mailbox())),
        (SenderPolicy::Rewrite, graph_role(ROLE, "{login}"), SenderRule::Rewrite(mailbox())),
        (SenderPolicy::Reject, graph_role(ROLE, "a@x.org"), SenderRule::Reject(Some(mailbox()))),
        (SenderPolicy::Reject, smtp_role(ROLE), SenderRule::Reject(None)),
        (SenderPolicy::Rewrite, smtp_role(ROLE), SenderRule::Reject(None)),
    ] {
        let role = SendingRole { sender_policy: policy, ..role };
        let fake = Fake::new(|_| Act::Yes);
        let stage = Stage::with(settings(SpoolMode::Off), quick(), role, fake).await;
        let submission = stage.spool.submission(ROLE).expect("there");
        assert_eq!(submission.sender_rule(Some("a@x.org")), expected, "{policy:?}");
    }
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Temporary failures of every kind, at every step; now and then a message is taken, and nobody told.
fn moody(seed: u64) -> Fake {
    let mut dice = Dice(seed);
    Fake::new(move |step| {
        let sides = if matches!(step, Step::Recipient(_)) { 20 } else { 12 };
        match dice.roll(sides) {
            0 => Act::No(error(Kind::Unavailable)),
            1 => Act::No(error(throttled())),
            2 => Act::No(replied(Kind::Unavailable, 451, (4, 3, 0))),
            3 if step == Step::Deliver => Act::No(error(Kind::OutcomeUnknown)),
            4 if step == Step::Deliver => Act::TakeAndSay(error(Kind::OutcomeUnknown)),
            _ => Act::Yes,
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_failures_and_restarts_each_recipient_gets_each_message_once() {
    const MESSAGES: usize = 200;
    let mut doubled = 0;
    let soon = Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(4) };
    let timing = Timing { service: soon, sign_in: soon, hurry: Duration::ZERO, ..quick() };
    let everybody = [A, B, "c@example.org"];
    let mut stage =
        Stage::with(settings(SpoolMode::Fallback), timing, smtp_role(ROLE), moody(7)).await;
    for number in 0..MESSAGES {
        if number % 40 == 0 {
            stage.stop().await;
            let routes = vec![route(smtp_role(ROLE), &stage.fake)];
            let settings = settings(SpoolMode::Fallback);
            stage.spool = spool_in(stage.folder.path(), timing, &settings, routes).await;
            stage.run();
        }
        stage.send(&number.to_string(), &everybody).await.expect("only temporary failures");
    }
    stage.until_empty().await;
    stage.stop().await;
    for number in 0..MESSAGES {
        for one in everybody {
            let (content, doubts) =
                (number.to_string(), stage.fake.doubts(&number.to_string(), one));
            let count = stage.fake.count(&content, one);
            assert_eq!(
                count,
                1 + doubts,
                "{number} {one}: once, and once for each unknown outcome"
            );
            doubled += doubts;
        }
    }
    assert!(doubled > 0, "the script has unknown outcomes");
}

#[tokio::test]
async fn what_a_client_repeats_after_a_crash_is_sent_once() {
    for mode in [SpoolMode::Always, SpoolMode::Fallback] {
        let stage = Stage::new(mode, failing(begins, || error(Kind::Unavailable))).await;
        let (told, known) = copy("answered");
        send_for(&stage.spool, "answered", &[A], Some(known)).await.expect("queued");
        told.send(()).expect("somebody listens");
        let (untold, known) = copy("lost");
        send_for(&stage.spool, "lost", &[A, B], Some(known)).await.expect("queued");
        drop(untold);
        stage.spool.0.tasks.close();
        stage.spool.0.tasks.wait().await;
        let Stage { folder, spool, .. } = stage;
        drop(spool);

        let fake = Fake::new(|_| Act::Yes);
        let routes = vec![route(smtp_role(ROLE), &fake)];
        let spool = spool_in(folder.path(), quick(), &settings(mode), routes).await;
        let mut again = Stage { folder, fake, spool, running: None };
        for (content, to) in [("lost", &[A, B][..]), ("answered", &[A])] {
            let (told, known) = copy(content);
            let answer = send_for(&again.spool, content, to, Some(known)).await.expect("taken");
            assert_eq!(answer.queued, content == "lost" || mode == SpoolMode::Always, "{content}");
            let _ = told.send(());
        }
        again.run();
        again.until_empty().await;
        let count = |content, to| again.fake.count(content, to);
        assert_eq!((count("lost", A), count("lost", B)), (1, 1), "{mode:?}");
        assert_eq!(count("answered", A), 2, "{mode:?}: two messages");
        let (told, known) = copy("lost");
        send_for(&again.spool, "lost", &[A, B], Some(known)).await.expect("taken");
        drop(told);
        again.until_empty().await;
        assert_eq!(again.fake.count("lost", A), 2, "{mode:?}: only once");
        again.stop().await;
    }
}

#[tokio::test]
async fn a_disk_that_takes_nothing_is_452_in_both_modes() {
    for mode in [SpoolMode::Always, SpoolMode::Fallback] {
        let stage = Stage::new(mode, failing(begins, || error(Kind::Unavailable))).await;
        let place = stage.folder.path().join("spool");
        std::fs::remove_dir_all(&place).expect("removed");
        std::fs::write(&place, b"in the way").expect("written");
        let refused = stage.send("x", &[A]).await.expect_err("no room");
        let reply = refused.reply.expect("a reply");
        assert_eq!((reply.code, reply.enhanced), (452, (4, 3, 1)), "{mode:?}");
        assert!(stage.entries().await.is_empty());
        std::fs::remove_file(&place).expect("removed");
        std::fs::create_dir(&place).expect("made");
        stage.send("x", &[A]).await.expect("there is room again");
        assert_eq!(stage.entries().await.len(), 1, "{mode:?}");
    }
}

#[tokio::test]
async fn an_outcome_that_cannot_be_written_down_is_not_sent_again() {
    use sqlx::Connection;
    let mut stage = Stage::new(SpoolMode::Always, Fake::new(|_| Act::Yes)).await;
    let path = stage.folder.path().join("spool.sqlite");
    let mut beside = sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display()))
        .await
        .expect("open");
    let refuse = "CREATE TRIGGER refuse BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'x'); END";
    sqlx::raw_sql(refuse).execute(&mut beside).await.expect("made");
    stage.send("x", &[A]).await.expect("queued");
    stage.run();
    stage.fake.begun(1).await;
    // Ten times as long as the dispatcher needs to look again.
    tokio::time::sleep(quick().poll * 10).await;
    let left = stage.entries().await;
    assert_eq!((left.len(), left[0].state), (1, EntryState::Taken));
    sqlx::raw_sql("DROP TRIGGER refuse").execute(&mut beside).await.expect("dropped");
    stage.until_empty().await;
    assert_eq!(stage.fake.count("x", A), 1);
    stage.stop().await;
}

#[tokio::test]
async fn a_message_does_not_go_out_from_another_mailbox_than_it_was_accepted_for() {
    let old = || graph_role(ROLE, "a@example.com");
    let (first, second) = (Fake::new(|_| Act::Yes), Fake::new(|_| Act::Yes));
    let always = settings(SpoolMode::Always);
    let mut stage = Stage::with(always.clone(), quick(), old(), first).await;
    for content in ["x", "y"] {
        stage.send(content, &[A]).await.expect("queued");
    }
    let new = vec![route(graph_role(ROLE, "b@example.com"), &second)];
    stage.spool.configure(&always, new);
    stage.run();
    stage.until("a reason", |all| all[0].reason.contains("another mailbox now")).await;
    assert!(second.order().is_empty());
    // The administrator wants it so.
    let id = stage.entries().await[0].id;
    let queue = &stage.spool.0.queue;
    while !queue.free_of_mailbox(id).await.expect("no error") {
        tokio::task::yield_now().await;
    }
    queue.retry(id, SystemTime::now()).await.expect("no error");
    stage.until("one is sent", |all| all.len() == 1).await;
    assert_eq!(second.order(), ["x"]);
    // The mailbox is back.
    stage.spool.configure(&always, vec![route(old(), &stage.fake)]);
    stage.until_empty().await;
    assert_eq!((second.order().len(), stage.fake.order()), (1, vec!["y".to_owned()]));
    stage.stop().await;
}

#[tokio::test]
async fn an_smtp_service_may_be_replaced_while_messages_wait() {
    let mut stage = Stage::new(SpoolMode::Always, Fake::new(|_| Act::Yes)).await;
    stage.send("x", &[A]).await.expect("queued");
    let mut role = smtp_role(ROLE);
    if let SendingKind::Smtp { server, .. } = &mut role.kind {
        let login = Template::new("another");
        server.auth = ServerAuth::Basic { login, password: Secret::new("x") };
    }
    stage.spool.configure(&settings(SpoolMode::Always), vec![route(role, &stage.fake)]);
    stage.run();
    stage.until_empty().await;
    assert_eq!(stage.fake.count("x", A), 1);
    stage.stop().await;
}
