//! The queue's pages, over a real queue.

use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::{Served, serve_with};
use crate::mail::{Address, Message, Recipient, ReversePath};
use crate::store::queue::{
    Access, EntryId, NewEntry, Next, Queue, RecipientState, Settlement, Start,
};

const MESSAGE: &str = "From: ERP <erp@example.com>\r\nSubject: Invoice <b>7</b>\r\n\
    Message-ID: <m7@example.com>\r\n\r\nThe body.\r\n";

struct Scene {
    served: Served,
    queue: Queue,
    cookie: String,
    csrf: String,
    _folder: TempDir,
}

impl Scene {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let queue = Queue::open(folder.path(), Access::Owner).await.expect("made");
        let served = serve_with(Some(queue.clone())).await;
        let (cookie, csrf) = served.log_in().await;
        Self { served, queue, cookie, csrf, _folder: folder }
    }

    async fn put(&self, recipient: &str, start: Start) -> EntryId {
        let address = |text| Address::parse(text).expect("an address");
        let from =
            ReversePath { address: Some(address("erp@example.com")), ..ReversePath::default() };
        let entry = NewEntry {
            role: "Mail.Sending",
            login: Some("erp"),
            lane: "mail.sending",
            from: &from,
            recipients: &[Recipient::new(address(recipient))],
            message: &Message::from_bytes(MESSAGE.into()),
            origin: None,
            reason: "421 <i>later</i>",
            accepted: SystemTime::now() - Duration::from_secs(7200),
            start,
        };
        self.queue.put(entry).await.expect("written")
    }

    async fn give_up(&self, recipient: &str) -> EntryId {
        let id = self.put(recipient, Start::Taken).await;
        let reply = "550 <u>unknown</u>".to_owned();
        let failed = RecipientState::Failed { status: "5.1.1".to_owned(), reply };
        let settlement =
            Settlement { recipients: vec![(0, failed)], next: Next::Dead, reason: String::new() };
        self.queue.settle(id, settlement, None).await.expect("settled");
        id
    }

    async fn body(&self, path: &str) -> String {
        self.served.get(path, &self.cookie).await.body
    }

    /// Status and where it leads.
    async fn press(&self, path: &str, more: &str) -> (u16, Option<String>) {
        let body = format!("csrf={}{more}", self.csrf);
        let answer = self.served.post(path, &self.cookie, &body).await;
        (answer.status, answer.field("location").map(str::to_owned))
    }
}

fn later() -> Start {
    Start::At(SystemTime::now() + Duration::from_secs(600))
}

#[tokio::test]
async fn what_waits_and_what_was_given_up_is_listed_and_shown() {
    let scene = Scene::start().await;
    assert!(scene.body("/spool").await.contains("No message waits."));
    assert!(scene.body("/").await.contains("id=\"waiting\""));
    let waiting = scene.put("bob@example.net", later()).await;
    let dead = scene.give_up("eve@example.net").await;
    let list = scene.body("/spool").await;
    for words in ["bob@example.net", "421 &lt;i&gt;later&lt;/i&gt;", "1 message</strong> waiting"] {
        assert!(list.contains(words) || list.contains("1 message waiting"), "{words}: {list}");
    }
    assert!(!list.contains("eve@example.net"), "{list}");
    let letters = scene.body("/spool/dead").await;
    assert!(letters.contains(&format!("href=\"/spool/{dead}\"")), "{letters}");
    assert!(!letters.contains("bob@example.net"), "{letters}");
    let overview = scene.body("/").await;
    for words in ["id=\"late\"", "1 message was given up", "2 h ago"] {
        assert!(overview.contains(words), "{words}: {overview}");
    }
    let shown = scene.body(&format!("/spool/{dead}")).await;
    for words in [
        "550 &lt;u&gt;unknown&lt;/u&gt;",
        "Invoice &lt;b&gt;7&lt;/b&gt;",
        "&lt;m7@example.com&gt;",
        "id=\"retry\"",
        "id=\"drop\"",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(!shown.contains("The body."), "{shown}");
    assert!(scene.body(&format!("/spool/{waiting}")).await.contains("in 9 min"));
    for path in ["/spool/999", "/spool/x", "/spool/-1", "/spool/%3Cb%3E"] {
        assert_eq!(scene.served.get(path, &scene.cookie).await.status, 404, "{path}");
    }
    assert_eq!(scene.served.get("/healthz", "").await.body, "ok\n", "dead letters are no illness");
}

#[tokio::test]
async fn a_message_is_tried_again_or_removed_after_a_question() {
    let scene = Scene::start().await;
    let dead = scene.give_up("eve@example.net").await;
    let path = format!("/spool/{dead}");
    let without = scene.served.post(&format!("{path}/retry"), &scene.cookie, "csrf=0").await;
    assert_eq!(without.status, 403, "no token");
    let retried = scene.press(&format!("{path}/retry"), "").await;
    assert_eq!(retried, (303, Some(path.clone())));
    let counts = scene.queue.counts().await.expect("counted");
    assert_eq!((counts.waiting, counts.dead), (1, 0));

    let drop = format!("{path}/drop");
    for more in ["", "&sure=", "&sure=no"] {
        let body = format!("csrf={}{more}", scene.csrf);
        let asked = scene.served.post(&drop, &scene.cookie, &body).await;
        assert_eq!(asked.status, 200, "{more}");
        assert!(asked.body.contains("id=\"sure\"") && asked.body.contains("Invoice &lt;b&gt;"));
        assert!(scene.queue.show(dead).await.expect("read").is_some(), "only asked");
    }
    assert_eq!(scene.press(&drop, "&sure=yes").await, (303, Some("/spool".to_owned())));
    assert!(scene.queue.show(dead).await.expect("read").is_none());
    for path in [drop, format!("{path}/retry")] {
        assert_eq!(scene.press(&path, "&sure=yes").await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn what_is_being_sent_is_left_alone() {
    let scene = Scene::start().await;
    let taken = scene.put("bob@example.net", Start::Taken).await;
    let shown = scene.body(&format!("/spool/{taken}")).await;
    assert!(shown.contains("being sent just now") && !shown.contains("id=\"retry\""), "{shown}");
    for deed in ["retry", "drop"] {
        assert_eq!(scene.press(&format!("/spool/{taken}/{deed}"), "&sure=yes").await.0, 409);
    }
    assert!(scene.queue.show(taken).await.expect("read").is_some());
}

#[tokio::test]
async fn a_long_list_has_pages() {
    let scene = Scene::start().await;
    for number in 0..=super::super::spool_page::PAGE {
        scene.put(&format!("r{number}@example.net"), later()).await;
    }
    let first = scene.body("/spool").await;
    assert_eq!(first.matches("@example.net").count(), 100);
    let next = first.split("id=\"next\" href=\"").nth(1).and_then(|rest| rest.split('"').next());
    let second = scene.body(next.expect("a next page")).await;
    assert!(second.contains("r100@example.net") && !second.contains("id=\"next\""), "{second}");
    assert!(second.contains("id=\"first\""), "{second}");
    assert!(!second.contains("data-live aria-label"), "only the first page renews itself");
    assert!(scene.body("/spool?after=x%22").await.contains("r0@example.net"));
}
