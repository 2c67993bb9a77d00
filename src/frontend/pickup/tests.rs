//! Files on their way, against a role that remembers what it was given.

use std::path::Path;
use std::sync::Mutex;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::*;
use crate::frontend::rehearsal::Stage;
use crate::mail::{
    Address, Delivered, Error, Features, Kind, Message, Recipient, ReversePath, SenderRule,
    Transaction,
};

/// Longer than anything here takes; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sent {
    from: Option<String>,
    recipients: Vec<String>,
    origin: String,
    message: String,
}

/// A role in memory.
struct Role {
    rule: SenderRule,
    max_size: Option<u64>,
    failure: Mutex<Option<Kind>>,
    sent: Mutex<Vec<Sent>>,
    told: Notify,
}

impl Default for Role {
    fn default() -> Self {
        Self {
            rule: SenderRule::Keep,
            max_size: None,
            failure: Mutex::default(),
            sent: Mutex::default(),
            told: Notify::new(),
        }
    }
}

impl Role {
    fn sent(&self) -> Vec<Sent> {
        self.sent.lock().expect("no panic").clone()
    }

    fn fails_with(&self, kind: Option<Kind>) {
        *self.failure.lock().expect("no panic") = kind;
    }
}

struct Handle(Arc<Role>);

impl Submission for Handle {
    fn features(&self) -> Features {
        Features { max_size: self.0.max_size, ..Features::default() }
    }

    fn begin<'a>(
        &'a self,
        login: Option<&'a str>,
        from: ReversePath,
    ) -> BoxFuture<'a, Result<Box<dyn Transaction>, Error>> {
        assert_eq!(login, None);
        let from = from.address.map(|address| address.to_string());
        let sent = Sent { from, ..Sent::default() };
        let begun: Box<dyn Transaction> = Box::new(InMemory { role: Arc::clone(&self.0), sent });
        async { Ok(begun) }.boxed()
    }

    fn sender_rule(&self, _login: Option<&str>) -> SenderRule {
        self.0.rule.clone()
    }
}

struct InMemory {
    role: Arc<Role>,
    sent: Sent,
}

impl Transaction for InMemory {
    fn recipient(&mut self, recipient: Recipient) -> BoxFuture<'_, Result<(), Error>> {
        assert!(!self.sent.origin.is_empty(), "the origin comes first");
        let address = recipient.address.to_string();
        let result = match address.as_str() {
            "unknown@x" => Err(Error::new(Kind::Rejected, "unknown@x is not known")),
            _ => {
                self.sent.recipients.push(address);
                Ok(())
            }
        };
        async { result }.boxed()
    }

    fn came_from(&mut self, origin: &str) {
        origin.clone_into(&mut self.sent.origin);
    }

    fn deliver(
        mut self: Box<Self>,
        message: Arc<Message>,
    ) -> BoxFuture<'static, Result<Delivered, Error>> {
        async move {
            let failure = *self.role.failure.lock().expect("no panic");
            self.role.told.notify_one();
            if let Some(kind) = failure {
                return Err(Error::new(kind, "the disk is full"));
            }
            let mut reader = message.reader();
            while let Some(piece) = reader.next().await.expect("readable") {
                self.sent.message.push_str(std::str::from_utf8(&piece).expect("UTF-8"));
            }
            self.role.sent.lock().expect("no panic").push(self.sent);
            Ok(Delivered { note: "queued as 1".to_owned(), queued: true })
        }
        .boxed()
    }
}

/// A folder with a station at work on it.
struct Scene {
    role: Arc<Role>,
    station: Station,
    place: tempfile::TempDir,
    now: Instant,
}

impl Scene {
    fn new(rule: SenderRule) -> Self {
        Self::with(Role { rule, ..Role::default() })
    }

    fn with(role: Role) -> Self {
        let place = tempfile::tempdir().expect("folder");
        std::fs::create_dir(place.path().join("in")).expect("made");
        let role = Arc::new(role);
        let station = station(place.path(), &role);
        Self { role, station, place, now: Instant::now() }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.place.path().join(name)
    }

    fn drop_file(&self, name: &str, text: &str) {
        std::fs::write(self.path("in").join(name), text).expect("written");
    }

    /// Looks twice, so far apart that every file has stood still, then hands in what is there.
    async fn work(&mut self) -> Vec<Taken> {
        self.station.writing = Writing::default();
        self.station.inbox =
            Some(Inbox::new(self.station.folder.directory.clone(), Writing::default()));
        self.station.gather(self.now).await.expect("a folder");
        self.now += inbox::QUIET;
        let taken = self.station.gather(self.now).await.expect("a folder").taken;
        for one in &taken {
            self.station.settle(one).await;
        }
        taken
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(folder)) else { return Vec::new() };
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.expect("an entry").file_name().to_string_lossy().into_owned()
        };
        let mut names: Vec<String> = entries.map(name).filter(|name| name != "lock").collect();
        names.sort();
        names
    }
}

fn station(place: &Path, role: &Arc<Role>) -> Station {
    let folder = Folder {
        name: "iis".to_owned(),
        directory: place.join("in"),
        bad_mail: Some(place.join("bad")),
        role: "Mail.Sending".to_owned(),
        submission: Arc::new(Handle(Arc::clone(role))),
    };
    Station::new(folder, Stage::new("", "", None).context)
}

const FILE: &str = "X-Sender: s@x\r\nX-Receiver: a@x\r\nX-Receiver: b@x\r\nFrom: f@x\r\n\
                    To: c@x\r\nDate: d\r\nMessage-ID: <i>\r\n\r\n.text\r\n";

#[tokio::test]
async fn a_file_is_handed_in_once_and_goes() {
    let mut scene = Scene::new(SenderRule::Keep);
    scene.drop_file("a.eml", FILE);
    let taken = scene.work().await;
    let expected = Sent {
        from: Some("s@x".to_owned()),
        recipients: vec!["a@x".to_owned(), "b@x".to_owned()],
        origin: format!("pickup:{}", taken[0].id),
        message: FILE.split_once("b@x\r\n").expect("the top").1.to_owned(),
    };
    assert_eq!(scene.role.sent(), [expected]);
    assert_eq!(
        (scene.names("in"), scene.names("in/.authbridge")),
        (vec![".authbridge".to_owned()], vec![])
    );
    assert!(scene.work().await.is_empty());
}

#[tokio::test]
async fn what_lies_there_after_a_crash_has_the_same_origin() {
    let mut scene = Scene::new(SenderRule::Keep);
    scene.drop_file("a.eml", FILE);
    scene.role.fails_with(Some(Kind::Unavailable));
    let taken = scene.work().await;
    assert_eq!(scene.role.sent(), []);
    assert_eq!(scene.names("in/.authbridge").len(), 1, "it stays");
    let place = &scene.place;
    scene.station.inbox = None;
    scene.station = station(place.path(), &scene.role);
    scene.role.fails_with(None);
    assert_eq!(scene.work().await, taken);
    assert_eq!(scene.role.sent()[0].origin, format!("pickup:{}", taken[0].id));
    assert_eq!(scene.names("bad"), Vec::<String>::new());
}

#[tokio::test]
async fn a_failure_that_passes_is_tried_again_after_growing_pauses() {
    let mut scene = Scene::new(SenderRule::Keep);
    scene.drop_file("a.eml", FILE);
    scene.role.fails_with(Some(Kind::Unavailable));
    let taken = scene.work().await;
    let pause = |scene: &Scene| scene.station.retries[&taken[0].id].pause;
    assert_eq!((pause(&scene), scene.station.is_stuck), (FIRST_PAUSE, true));
    for expected in [10, 20, 40, 80, 160, 300, 300] {
        assert!(!scene.station.settle(&taken[0]).await);
        assert_eq!(pause(&scene), Duration::from_secs(expected));
    }
    // Before its time it is left alone.
    scene.role.fails_with(None);
    scene.station.round(&CancellationToken::new()).await;
    assert_eq!(scene.role.sent(), []);
    assert!(scene.station.settle(&taken[0]).await);
    assert_eq!((scene.role.sent().len(), scene.station.is_stuck), (1, false));
    assert!(scene.station.retries.is_empty());
}

#[tokio::test]
async fn refused_files_go_to_bad_mail_with_the_reason() {
    let long = format!("Subject: {}\r\n\r\nx", "y".repeat(1 << 21));
    for (text, reason) in [
        ("From: a@x\r\n\r\ntext", "it has no recipient"),
        ("From: a@x\r\nTo: b@x, Jane\r\n\r\ntext", "its To field can't be read to its end"),
        ("To: b@x\r\n\r\ntext", "it does not say who sends it"),
        ("X-Receiver: b@x\r\nFrom: a@x\r\n\r\n\0", "it holds NUL octets"),
        ("X-Receiver: unknown@x\r\nFrom: a@x\r\n\r\n", "unknown@x is not known"),
        (&long, "are the limit"),
    ] {
        let mut scene = Scene::new(SenderRule::Keep);
        scene.drop_file("My Message.eml", text);
        scene.work().await;
        assert_eq!(scene.role.sent(), []);
        assert_eq!(scene.names("bad"), ["My Message.eml", "My Message.eml.txt"]);
        let told = std::fs::read_to_string(scene.path("bad/My Message.eml.txt")).expect("there");
        assert!(told.starts_with("My Message.eml: ") && told.contains(reason), "{told}");
        let kept = std::fs::read_to_string(scene.path("bad/My Message.eml")).expect("there");
        assert_eq!(kept, text);
        assert_eq!(scene.names("in/.authbridge"), Vec::<String>::new());
    }
}

#[tokio::test]
async fn the_limit_is_the_smaller_one_and_is_named() {
    for (max_size, whose) in [
        (Some(20), "20 are the limit: what the service of Mail.Sending takes"),
        (Some(1 << 40), "are the limit: Proxy.Limits.MaxMessageBytes"),
        (None, "are the limit: Proxy.Limits.MaxMessageBytes"),
    ] {
        let mut scene = Scene::with(Role { max_size, ..Role::default() });
        let own = usize::try_from(scene.station.context.limits.max_message_bytes).expect("small");
        let size = if max_size == Some(20) { 1 } else { own };
        scene.drop_file("a.eml", &(FILE.to_owned() + &"x".repeat(size)));
        scene.work().await;
        let told = std::fs::read_to_string(scene.path("bad/a.eml.txt")).expect("there");
        assert!(told.contains(whose) && scene.role.sent().is_empty(), "{told}");
    }
}

#[tokio::test]
async fn the_page_shows_the_folder_as_a_client_and_why_files_are_not_sent() {
    let mut scene = Scene::new(SenderRule::Keep);
    scene.drop_file("a.eml", FILE);
    scene.drop_file("b.eml", "From: a@x\r\n\r\ntext");
    scene.work().await;
    scene.role.fails_with(Some(Kind::Unavailable));
    scene.drop_file("c.eml", FILE);
    scene.work().await;
    let snapshot = scene.station.context.activity.snapshot();
    let row = &snapshot.clients[0];
    assert_eq!((row.login.as_str(), row.logins, row.refusals), ("pickup iis", 1, 1));
    let role = &snapshot.roles[0];
    assert_eq!((role.role.as_str(), role.sent, role.failures), ("Mail.Sending", 1, 2));
    let (_, reference, text) = role.last_failure.as_ref().expect("noted");
    assert_eq!((reference.as_str(), text.as_str()), ("pickup iis", "c.eml: the disk is full"));
    std::fs::remove_dir_all(scene.path("in")).expect("removed");
    scene.station.round(&CancellationToken::new()).await;
    scene.station.round(&CancellationToken::new()).await;
    let role = scene.station.context.activity.snapshot().roles.remove(0);
    let (_, _, text) = role.last_failure.expect("noted");
    assert!(role.failures == 3 && text.contains("in: "), "{text}");
}

#[tokio::test]
async fn a_permanent_no_is_bad_mail_and_nothing_is_lost_when_there_is_no_room_for_it() {
    let mut scene = Scene::new(SenderRule::Keep);
    scene.drop_file("a.eml", FILE);
    scene.role.fails_with(Some(Kind::NotPermitted));
    std::fs::write(scene.path("bad"), "in the way").expect("written");
    let taken = scene.work().await;
    assert_eq!(scene.names("in/.authbridge").len(), 1, "it stays");
    std::fs::remove_file(scene.path("bad")).expect("removed");
    assert!(scene.station.settle(&taken[0]).await);
    assert_eq!(scene.names("bad"), ["a.eml", "a.eml.txt"]);
}

#[tokio::test]
async fn sender_rules_hold_for_files() {
    let erp = || Address::parse("erp@x").expect("valid");
    let named = "X-Receiver: a@x\r\nFrom: Jane <jane@x>\r\n\r\n";
    let table = [
        (
            SenderRule::Rewrite(erp()),
            named,
            Some("From: Jane <erp@x>\r\nReply-To: Jane <jane@x>\r\n"),
        ),
        (
            SenderRule::Rewrite(erp()),
            "X-Receiver: a@x\r\nFrom: <<\r\n\r\n",
            Some("From: erp@x\r\n"),
        ),
        (SenderRule::Rewrite(erp()), "X-Receiver: a@x\r\n\r\n", Some("From: erp@x\r\n")),
        (SenderRule::Reject(Some(erp())), named, None),
        (
            SenderRule::Reject(Some(erp())),
            "X-Sender: jane@x\r\nX-Receiver: a@x\r\nFrom: erp@x\r\n\r\n",
            None,
        ),
        (
            SenderRule::Reject(Some(erp())),
            "X-Receiver: a@x\r\nFrom: ERP@x\r\n\r\n",
            Some("From: ERP@x\r\n"),
        ),
    ];
    for (rule, text, expected) in table {
        let mut scene = Scene::new(rule.clone());
        scene.drop_file("a.eml", text);
        scene.work().await;
        let sent = scene.role.sent();
        assert_eq!(sent.len(), usize::from(expected.is_some()), "{rule:?} {text}");
        if let (Some(sent), Some(expected)) = (sent.first(), expected) {
            assert!(sent.message.contains(expected), "{}", sent.message);
            assert_eq!(sent.from.as_deref().map(str::to_lowercase), Some("erp@x".to_owned()));
        } else {
            assert_eq!(scene.names("bad"), ["a.eml", "a.eml.txt"]);
        }
    }
}

#[tokio::test]
async fn a_watched_folder_that_comes_later_is_found_and_its_files_are_taken() {
    let place = tempfile::tempdir().expect("folder");
    let role = Arc::new(Role::default());
    let Station { folder, context, .. } = station(place.path(), &role);
    let folder = Arc::into_inner(folder).expect("not shared yet");
    let stopping = CancellationToken::new();
    let watching = tokio::spawn(watch(folder, context, stopping.clone()));
    std::fs::create_dir(place.path().join("in")).expect("made");
    std::fs::write(place.path().join("in/a.eml"), FILE).expect("written");
    timeout(PATIENCE, role.told.notified()).await.expect("taken in time");
    stopping.cancel();
    timeout(PATIENCE, watching).await.expect("ends").expect("no panic");
    assert_eq!(role.sent().len(), 1);
}
