//! Changes of messages against a small Graph over real HTTP, with the real store: what is asked for,
//! what is in the index afterwards, what a failure leaves.

mod service;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;

use self::service::{Fault, Service};
use super::{Engine, OpenFolder, Settings};
use crate::config::role::Expunge;
use crate::mail::mailbox::{Flag, FlagChange, Flags, Keyword, ModSeq, Uid};
use crate::mail::{Content, Folder, Kind, Mailbox, Message};
use crate::store::Store;
use crate::upstream::graph::client::Client;
use crate::upstream::graph::fake::{TIMING, Tokens, account, http_client};
use crate::upstream::graph::turns::Turns;

struct Bench {
    service: Service,
    engine: Arc<Engine>,
    store: Store,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn new(expunge: Expunge) -> Self {
        let service = Service::start().await;
        let folder = tempfile::tempdir().expect("temporary folder");
        let store = Store::open(folder.path(), 1 << 30).await.expect("a store");
        let engine = engine(&service, &store, expunge).await;
        Self { service, engine, store, _folder: folder }
    }

    /// With so many messages in the inbox, which is open.
    async fn with_messages(count: usize) -> (Self, Arc<OpenFolder>) {
        let bench = Self::new(Expunge::Delete).await;
        for number in 0..count {
            let mime = format!("Subject: {number}\nMessage-ID: <{number}@x>\n\nbody {number}\n");
            bench.service.put("F-inbox", &mime, json!({}));
        }
        let inbox = bench.folder("INBOX").await;
        assert_eq!(inbox.published().messages.len(), count);
        bench.service.forget();
        (bench, inbox)
    }

    async fn folder(&self, name: &str) -> Arc<OpenFolder> {
        self.engine.folder(name).await.expect("a folder")
    }

    async fn append(
        &self,
        name: &str,
        text: &str,
        flags: Flags,
    ) -> Result<Uid, crate::mail::Error> {
        let message = Arc::new(Message::from_bytes(text.to_owned().into()));
        let appended = self.engine.append(name, message, flags, Some(DATE)).await?;
        Ok(appended.uid)
    }
}

async fn engine(service: &Service, store: &Store, expunge: Expunge) -> Arc<Engine> {
    let account = account(&service.url, true);
    let tokens = Arc::new(Tokens::default());
    let turns = Turns::default();
    let mut client = Client::new("Mail.Reading", &account, tokens, http_client(), &turns);
    client.timing = TIMING;
    let graph = Arc::new(client).mailbox(None).await.expect("a token");
    let settings =
        Settings { expunge, poll_interval: Duration::from_secs(60), max_message: 1 << 20 };
    Engine::new(graph, store.mailbox("m").await.expect("a mailbox"), settings)
}

const DATE: OffsetDateTime = datetime!(2020-02-03 04:05:06 +02:00);

fn uids(folder: &OpenFolder) -> Vec<Uid> {
    folder.published().messages.iter().map(|entry| entry.uid).collect()
}

fn flags_of(folder: &OpenFolder, uid: Uid) -> Flags {
    folder.published().find(uid).expect("there").flags.clone()
}

fn seen() -> FlagChange {
    FlagChange::Add(Flags::default().with(Flag::Seen))
}

async fn text(content: &Arc<Content>) -> String {
    let octets = content.read(0, 1 << 20).await.expect("readable");
    String::from_utf8(octets.to_vec()).expect("UTF-8")
}

#[tokio::test]
async fn flags_of_many_messages_are_twenty_a_request_and_none_where_nothing_changes() {
    let (bench, inbox) = Bench::with_messages(50).await;
    let all = uids(&inbox);
    assert!(inbox.change_flags(all.clone(), &seen(), None).await.expect("done").is_empty());
    assert_eq!((bench.service.batches(), bench.service.asked("PATCH")), (3, 50));
    assert!(all.iter().all(|uid| flags_of(&inbox, *uid).has(Flag::Seen)));
    assert!(bench.service.in_folder("F-inbox").iter().all(|item| item.json["isRead"] == true));
    bench.service.forget();
    inbox.change_flags(all.clone(), &seen(), None).await.expect("done");
    assert_eq!(bench.service.batches(), 0);
    // The version that the service gave is known: a delta with it is our own change.
    let ids: Vec<String> = vec!["M0001=".to_owned()];
    let known = bench.engine.store.known_of(inbox.key, &ids).await.expect("stored");
    assert_eq!(
        known[0].etag.as_deref(),
        bench.service.item("M0001=").expect("there")["@odata.etag"].as_str()
    );
    let since = Some(ModSeq(0));
    let unseen = FlagChange::Remove(Flags::default().with(Flag::Seen));
    assert_eq!(inbox.change_flags(all.clone(), &unseen, since).await.expect("done"), all);
}

#[tokio::test]
async fn a_failure_leaves_what_was_done_and_a_conflict_is_merged() {
    let (bench, inbox) = Bench::with_messages(3).await;
    let all = uids(&inbox);
    bench.service.contents().items[1].json["categories"] = json!(["Red"]);
    bench
        .service
        .fault("PATCH /me/messages/M0002", Fault::Refuse(412, "ErrorIrresolvableConflict"));
    bench.service.fault("PATCH /me/messages/M0003", Fault::Refuse(403, "ErrorAccessDenied"));
    let word = Keyword::new("blue").expect("an atom");
    let add = FlagChange::Add(Flags::from_parts(0, [word]));
    let error = inbox.change_flags(all.clone(), &add, None).await.expect_err("one was refused");
    assert_eq!(error.kind, Kind::NotPermitted);
    let blue = |uid| flags_of(&inbox, uid).has_keyword("blue");
    assert_eq!(all.iter().map(|uid| blue(*uid)).collect::<Vec<_>>(), [true, true, false]);
    assert!(flags_of(&inbox, all[1]).has_keyword("Red"));
    let categories = bench.service.item("M0002=").expect("there")["categories"].clone();
    assert_eq!(categories, json!(["blue", "Red"]));
    bench.service.contents().items.remove(0);
    inbox.change_flags(all.clone(), &seen(), None).await.expect("one is gone");
    assert_eq!(uids(&inbox), all[1..]);
}

#[tokio::test]
async fn expunge_deletes_or_moves_and_strikes_only_what_is_gone() {
    let (bench, inbox) = Bench::with_messages(4).await;
    let all = uids(&inbox);
    bench.service.fault("DELETE /me/messages/M0002", Fault::Refuse(403, "ErrorAccessDenied"));
    bench.service.contents().items.remove(2);
    let error = inbox.expunge(all[..3].to_vec()).await.expect_err("one was refused");
    assert_eq!(error.kind, Kind::NotPermitted);
    assert_eq!(uids(&inbox), [all[1], all[3]]);
    let bench = Bench::new(Expunge::MoveToDeletedItems).await;
    bench.service.put("F-inbox", "Subject: a\n\nx", json!({}));
    let (inbox, trash) = (bench.folder("INBOX").await, bench.folder("Deleted Items").await);
    bench.service.fault("/move", Fault::DoneBut(504));
    inbox.expunge(uids(&inbox)).await.expect("moved after all");
    assert!(uids(&inbox).is_empty());
    assert_eq!(bench.service.in_folder("F-deleted").len(), 1);
    assert_eq!(uids(&trash).len(), 1, "whose changes never tell of it");
}

#[tokio::test]
async fn what_one_role_keeps_is_not_deleted_for_good_by_another() {
    let (bench, inbox) = Bench::with_messages(1).await;
    let careful = Settings { expunge: Expunge::MoveToDeletedItems, ..bench.engine.settings };
    bench.engine.also_serve("Mail.Other", careful);
    inbox.expunge(uids(&inbox)).await.expect("moved");
    assert_eq!(bench.service.in_folder("F-deleted").len(), 1);
}

#[tokio::test]
async fn a_move_takes_along_what_the_client_was_told() {
    let (bench, inbox) = Bench::with_messages(3).await;
    let work = bench.folder("Work").await;
    let all = uids(&inbox);
    inbox.change_flags(vec![all[1]], &seen(), None).await.expect("done");
    let before = inbox.published().find(all[1]).expect("there").clone();
    bench.service.fault("M0001%3D/move", Fault::DoneBut(504));
    bench.service.fault("M0003%3D/move", Fault::Refuse(403, "ErrorAccessDenied"));
    let moved = inbox.move_to(all.clone(), "Work").await.expect("two were moved");
    assert_eq!(moved.failure.expect("one was not").kind, Kind::NotPermitted);
    let sources: Vec<Uid> = moved.copied.pairs.iter().map(|pair| pair.0).collect();
    assert_eq!((sources, uids(&inbox)), (all[..2].to_vec(), vec![all[2]]));
    let after = work.published().find(moved.copied.pairs[1].1).expect("there").clone();
    assert_eq!(
        (&after.flags, after.date, after.object_id),
        (&before.flags, before.date, before.object_id)
    );
    assert_eq!(moved.copied.uid_validity, work.published().uid_validity);
    let headers = work.headers(uids(&work)).await.expect("stored");
    assert!(headers[0].1.starts_with(b"Subject: 0\r\n"));
}

#[tokio::test]
async fn a_move_to_where_it_is_gives_new_uids_without_a_request() {
    let (bench, inbox) = Bench::with_messages(2).await;
    let all = uids(&inbox);
    bench.service.forget();
    let moved = inbox.move_to(all.clone(), "INBOX").await.expect("done");
    let fresh: Vec<Uid> = moved.copied.pairs.iter().map(|pair| pair.1).collect();
    assert_eq!(fresh, uids(&inbox));
    assert!(fresh.iter().all(|uid| uid > &all[1]) && bench.service.asked("/move") == 0);
}

#[tokio::test]
async fn a_target_that_is_gone_costs_no_message() {
    let (bench, inbox) = Bench::with_messages(2).await;
    bench.folder("Work").await;
    let all = uids(&inbox);
    for at in ["M0001%3D/move", "M0002%3D/move", "M0001%3D/copy", "M0002%3D/copy"] {
        bench.service.fault(at, Fault::Refuse(404, "ErrorItemNotFound"));
    }
    let error = inbox.move_to(all.clone(), "Work").await.expect_err("no target");
    assert_eq!((error.kind, uids(&inbox)), (Kind::NotFound, all.clone()));
    let error = inbox.copy(all.clone(), "Work").await.expect_err("no target");
    assert_eq!((error.kind, uids(&inbox)), (Kind::NotFound, all));
}

#[tokio::test]
async fn a_copy_whose_answer_is_lost_for_good_is_not_called_done() {
    let (bench, inbox) = Bench::with_messages(1).await;
    let work = bench.folder("Work").await;
    bench.service.contents().items[0].json["internetMessageId"] = json!("<other@x>");
    bench.service.fault("/copy", Fault::DoneBut(504));
    let error = inbox.copy(uids(&inbox), "Work").await.expect_err("unknown");
    assert_eq!((error.kind, uids(&work).len()), (Kind::OutcomeUnknown, 0));
}

#[tokio::test]
async fn a_copy_is_of_all_or_of_none() {
    let (bench, inbox) = Bench::with_messages(25).await;
    let work = bench.folder("Work").await;
    let all = uids(&inbox);
    bench.service.fault("M0024%3D/copy", Fault::Refuse(403, "ErrorAccessDenied"));
    let error = inbox.copy(all.clone(), "Work").await.expect_err("one was refused");
    assert_eq!(error.kind, Kind::NotPermitted);
    assert!(uids(&work).is_empty() && bench.service.in_folder("F-work").is_empty());
    bench.service.fault("M0002%3D/copy", Fault::DoneBut(504));
    let copied = inbox.copy(all.clone(), "Work").await.expect("copied");
    assert_eq!(copied.pairs.iter().map(|pair| pair.0).collect::<Vec<_>>(), all);
    assert_eq!(copied.pairs.iter().map(|pair| pair.1).collect::<Vec<_>>(), uids(&work));
    assert_eq!(bench.service.in_folder("F-work").len(), 25);
    let headers = work.headers(vec![copied.pairs[1].1]).await.expect("stored");
    assert!(headers[0].1.starts_with(b"Subject: 1\r\n"));
    assert_eq!(inbox.copy(vec![all[0]], "INBOX").await.expect("copied").pairs.len(), 1);
    assert_eq!(uids(&inbox).len(), 26);
}

#[tokio::test]
async fn what_was_copied_before_a_later_refusal_is_taken_back() {
    let (bench, inbox) = Bench::with_messages(3).await;
    let work = bench.folder("Work").await;
    bench.service.forget();
    bench.service.fault("M0002%3D/copy", Fault::Refuse(429, "TooManyRequests"));
    // The throttled part is made again, and that request is refused.
    bench.service.contents().refused_batch = Some(2);
    inbox.copy(uids(&inbox), "Work").await.expect_err("one was not copied");
    assert!(uids(&work).is_empty() && bench.service.in_folder("F-work").is_empty());
}

#[tokio::test]
async fn a_change_that_others_made_a_moment_before_is_not_lost() {
    let (bench, inbox) = Bench::with_messages(1).await;
    let work = bench.folder("Work").await;
    let uid = uids(&inbox)[0];
    let outside = |change: Value| {
        let mut contents = bench.service.contents();
        let item = &mut contents.items[0].json;
        for (name, value) in change.as_object().expect("properties") {
            item[name] = value.clone();
        }
    };
    outside(json!({ "@odata.etag": "other", "isRead": true, "categories": ["Red"] }));
    let blue = Flags::from_parts(0, Keyword::new("blue")).with(Flag::Flagged);
    inbox.change_flags(vec![uid], &FlagChange::Add(blue), None).await.expect("done");
    let flags = flags_of(&inbox, uid);
    assert!(flags.has(Flag::Seen) && flags.has(Flag::Flagged) && flags.has_keyword("red"));
    let categories = bench.service.item("M0001=").expect("there")["categories"].clone();
    assert_eq!(categories, json!(["blue", "Red"]));
    outside(json!({ "@odata.etag": "other again", "isRead": false }));
    inbox.move_to(vec![uid], "Work").await.expect("moved");
    let known = bench.engine.store.known(work.key).await.expect("stored");
    assert_eq!(known[0].etag, None, "it is read again when the folder's changes name it");
}

#[tokio::test]
async fn flags_are_no_edit_of_a_draft() {
    let bench = Bench::new(Expunge::Delete).await;
    let size = json!([{ "id": "Integer 0xe08", "value": "1000" }]);
    let draft = json!({ "isDraft": true, "singleValueExtendedProperties": size });
    let id = bench.service.put("F-drafts", MAIL, draft);
    let drafts = bench.folder("Drafts").await;
    let before = bench.engine.store.known(drafts.key).await.expect("stored");
    drafts.change_flags(uids(&drafts), &seen(), None).await.expect("done");
    let now = super::message::new_message(&bench.service.item(&id).expect("there"));
    let known = bench.engine.store.known(drafts.key).await.expect("stored");
    assert_eq!(known[0].revision, now.expect("an id").revision);
    assert_ne!(known[0].revision, before[0].revision);
}

#[tokio::test]
async fn an_append_under_way_is_not_cleared_away_as_a_crash() {
    let bench = Bench::new(Expunge::Delete).await;
    let work = bench.folder("Work").await;
    let draft = bench.service.put("F-drafts", MAIL, json!({ "isDraft": true }));
    let record = crate::store::AppendRecord {
        folder: work.key,
        digest: "d".to_owned(),
        message_id: None,
        started: OffsetDateTime::now_utc(),
        graph_id: Some(format!("partial:{draft}")),
    };
    let store = &bench.engine.store;
    store.begin_append(&record).await.expect("stored");
    store.note_append(&record).await.expect("stored");
    let turn = bench.engine.appending.turn(&record);
    let under_way = turn.lock().await;
    super::append::recover(&bench.engine).await.expect("nothing to do");
    assert!(bench.service.item(&draft).is_some());
    drop(under_way);
    super::append::recover(&bench.engine).await.expect("done");
    assert!(bench.service.item(&draft).is_none());
}

#[tokio::test]
async fn a_message_is_read_once_whoever_asks() {
    let (bench, inbox) = Bench::with_messages(2).await;
    let uid = uids(&inbox)[0];
    let asks = (0..5).map(|_| inbox.content(uid));
    for content in futures_util::future::join_all(asks).await {
        let content = content.expect("read");
        assert_eq!(text(&content).await, "Subject: 0\r\nMessage-ID: <0@x>\r\n\r\nbody 0\r\n");
        assert_eq!(inbox.published().find(uid).expect("there").size.exact(), Some(content.size()));
    }
    assert_eq!(bench.service.asked("$value"), 1);
    inbox.content(uid).await.expect("cached");
    assert_eq!(bench.service.asked("$value"), 1);
}

#[tokio::test]
async fn what_is_no_message_is_never_kept() {
    let (bench, inbox) = Bench::with_messages(1).await;
    let uid = uids(&inbox)[0];
    bench.service.fault("$value", Fault::Refuse(403, "ErrorAccessDenied"));
    assert_eq!(inbox.content(uid).await.expect_err("refused").kind, Kind::NotPermitted);
    bench.service.contents().breaks_at = Some(10);
    assert_eq!(inbox.content(uid).await.expect_err("cut").kind, Kind::Unavailable);
    bench.service.contents().breaks_at = None;
    assert_eq!(text(&inbox.content(uid).await.expect("whole")).await.len(), 41);
    let (bench, inbox) = Bench::with_messages(1).await;
    bench.service.contents().items.clear();
    assert_eq!(inbox.content(uids(&inbox)[0]).await.expect_err("gone").kind, Kind::NotFound);
}

#[tokio::test]
async fn messages_ahead_are_fetched_without_being_asked_for() {
    let (bench, inbox) = Bench::with_messages(12).await;
    let mut changes = inbox.changes();
    inbox.prefetch(&uids(&inbox));
    let is_exact = |folder: &OpenFolder| {
        folder.published().messages.iter().filter(|one| one.size.exact().is_some()).count()
    };
    while is_exact(&inbox) < 8 {
        changes.changed().await.expect("the folder lives");
    }
    assert_eq!(bench.service.asked("$value"), 8);
}

#[tokio::test]
async fn a_client_joins_what_was_begun_ahead_and_the_next_one_takes_its_place() {
    let (bench, inbox) = Bench::with_messages(6).await;
    let held = Arc::new(tokio::sync::Semaphore::new(0));
    bench.service.contents().held = Some(Arc::clone(&held));
    let asked = async |times| {
        while bench.service.asked("$value") < times {
            tokio::task::yield_now().await;
        }
    };
    inbox.prefetch(&uids(&inbox));
    asked(3).await;
    let (folder, uid) = (Arc::clone(&inbox), uids(&inbox)[0]);
    let reading = tokio::spawn(async move { folder.content(uid).await });
    asked(4).await;
    held.add_permits(6);
    reading.await.expect("no panic").expect("read");
    asked(6).await;
    for uid in uids(&inbox) {
        inbox.content(uid).await.expect("read");
    }
    assert_eq!(bench.service.asked("$value"), 6);
}

const MAIL: &str = "Subject: =?x?Q?y?=\r\nMessage-ID: <new@x>\r\nX-Own:  z\r\n\r\nbody\r\n";

#[tokio::test]
async fn an_append_is_imported_with_flags_and_date() {
    let bench = Bench::new(Expunge::Delete).await;
    bench.service.contents().has_import = true;
    let work = bench.folder("Work").await;
    bench.service.forget();
    let flags = Flags::from_parts(0, Keyword::new("$Forwarded")).with(Flag::Seen);
    let uid = bench.append("Work", MAIL, flags.clone()).await.expect("stored");
    let entry = work.published().find(uid).expect("there").clone();
    assert_eq!(
        (&entry.flags, entry.date, entry.size.exact()),
        (&flags, DATE, Some(MAIL.len() as u64))
    );
    assert_eq!(text(&work.content(uid).await.expect("cached")).await, MAIL);
    assert_eq!(bench.service.asked("$value"), 0);
    assert_eq!((bench.service.asked("importMime"), bench.service.asked("PATCH")), (1, 1));
    let headers = work.headers(vec![uid]).await.expect("stored");
    assert_eq!(&headers[0].1[..], b"Subject: =?x?Q?y?=\r\nMessage-ID: <new@x>\r\n\r\n");
    let found = super::message::new_message(&bench.service.in_folder("F-work")[0].json);
    let found = found.expect("an id");
    assert_eq!((found.flags, found.date), (flags, DATE));
    no_record_stays(&bench.engine.store).await;
}

#[tokio::test]
async fn without_the_permission_it_goes_by_drafts_and_is_not_shown_as_one() {
    let bench = Bench::new(Expunge::Delete).await;
    let work = bench.folder("Work").await;
    for _ in 0..2 {
        let uid = bench.append("Work", MAIL, Flags::default()).await.expect("stored");
        assert!(!flags_of(&work, uid).has(Flag::Draft));
    }
    assert_eq!(bench.service.asked("importMime"), 1, "the refusal is remembered");
    assert_eq!((bench.service.in_folder("F-work").len(), uids(&work).len()), (2, 2));
    let item = bench.service.in_folder("F-work")[0].json.clone();
    assert_eq!(item["isDraft"], true);
    assert!(!super::message::new_message(&item).expect("an id").flags.has(Flag::Draft));
    let drafts = bench.folder("Drafts").await;
    let uid = bench.append("Drafts", MAIL, Flags::default()).await.expect("stored");
    assert!(flags_of(&drafts, uid).has(Flag::Draft));
}

#[tokio::test]
async fn a_lost_answer_is_looked_up_and_nothing_is_there_twice() {
    let bench = Bench::new(Expunge::Delete).await;
    let work = bench.folder("Work").await;
    bench.service.fault("POST /v1.0/me/messages", Fault::DoneBut(504));
    bench.append("Work", MAIL, Flags::default()).await.expect("found");
    assert_eq!((bench.service.contents().items.len(), uids(&work).len()), (1, 1));
}

#[tokio::test]
async fn an_append_that_failed_half_way_goes_on_where_it_ended() {
    let bench = Bench::new(Expunge::Delete).await;
    let work = bench.folder("Work").await;
    for _ in 0..9 {
        bench.service.fault("PATCH", Fault::Refuse(503, "ErrorServerBusy"));
    }
    let error = bench.append("Work", MAIL, Flags::default()).await.expect_err("busy");
    assert!(error.kind.is_temporary());
    assert!(uids(&work).is_empty());
    bench.service.contents().faults.clear();
    bench.service.fault("GET /v1.0/me/messages/", Fault::Refuse(403, "ErrorAccessDenied"));
    bench.append("Work", MAIL, Flags::default()).await.expect_err("can't be looked at");
    bench.append("Work", MAIL, Flags::default().with(Flag::Seen)).await.expect("finished");
    assert_eq!((bench.service.contents().items.len(), uids(&work).len()), (1, 1));
    assert_eq!(bench.service.in_folder("F-work")[0].json["isRead"], true);
    bench.append("Work", MAIL, Flags::default()).await.expect("another one");
    assert_eq!(uids(&work).len(), 2);
}

#[tokio::test]
async fn a_refused_message_leaves_nothing() {
    let bench = Bench::new(Expunge::Delete).await;
    bench.folder("Work").await;
    bench.service.fault("POST /v1.0/me/messages", Fault::Refuse(507, "quotaLimitReached"));
    let error = bench.append("Work", MAIL, Flags::default()).await.expect_err("full");
    assert_eq!(error.kind, Kind::OverQuota);
    let large = format!("Subject: x\r\n\r\n{}", "a".repeat(1 << 20));
    let error = bench.append("Work", &large, Flags::default()).await.expect_err("large");
    assert_eq!(error.kind, Kind::TooLarge);
    assert!(bench.service.contents().items.is_empty());
    no_record_stays(&bench.engine.store).await;
}

#[tokio::test]
async fn the_copy_that_sending_left_is_the_answer_once() {
    let bench = Bench::new(Expunge::Delete).await;
    let old = json!({ "isRead": true, "createdDateTime": "2020-01-01T00:00:00Z" });
    bench.service.put("F-sent", "Message-ID: <new@x>\n\nx", old);
    let important = json!({ "isRead": true, "importance": "high" });
    bench.service.put("F-sent", "Message-ID: <new@x>\n\nx", important);
    let sent = bench.folder("Sent Items").await;
    let uid = uids(&sent)[1];
    let flags = Flags::default().with(Flag::Seen);
    assert_eq!(bench.append("Sent Items", MAIL, flags.clone()).await.expect("found"), uid);
    assert!(flags_of(&sent, uid).has_keyword("$Important"));
    assert_eq!(bench.service.item("M0002=").expect("there")["importance"], "high");
    assert_eq!(bench.service.contents().items.len(), 2);
    let second = bench.append("Sent Items", MAIL, flags).await.expect("stored");
    assert_ne!(second, uid);
    assert_eq!(bench.service.in_folder("F-sent").len(), 3);
}

#[tokio::test]
async fn what_a_crash_left_in_pieces_is_deleted_and_stored_anew() {
    let bench = Bench::new(Expunge::Delete).await;
    let work = bench.folder("Work").await;
    let skeleton = bench.service.put("F-drafts", MAIL, json!({ "isDraft": true }));
    let whole = ring::digest::digest(&ring::digest::SHA256, MAIL.as_bytes());
    let record = crate::store::AppendRecord {
        folder: work.key,
        digest: whole.as_ref().iter().map(|octet| format!("{octet:02x}")).collect(),
        message_id: Some("<new@x>".to_owned()),
        started: OffsetDateTime::now_utc(),
        graph_id: Some(format!("partial:{skeleton}")),
    };
    let store = &bench.engine.store;
    store.begin_append(&record).await.expect("stored");
    store.note_append(&record).await.expect("stored");
    bench.append("Work", MAIL, Flags::default()).await.expect("stored");
    assert!(bench.service.item(&skeleton).is_none());
    assert_eq!(bench.service.in_folder("F-work").len(), 1);
    let other = bench.service.put("F-drafts", MAIL, json!({ "isDraft": true }));
    let record =
        crate::store::AppendRecord { graph_id: Some(format!("partial:{other}")), ..record };
    store.begin_append(&record).await.expect("stored");
    store.note_append(&record).await.expect("stored");
    super::append::recover(&bench.engine).await.expect("done");
    assert!(bench.service.item(&other).is_none());
    no_record_stays(store).await;
}

#[tokio::test]
async fn a_start_finishes_what_a_crash_left() {
    let bench = Bench::new(Expunge::Delete).await;
    let work = bench.folder("Work").await;
    for _ in 0..20 {
        bench.service.fault("/move", Fault::Refuse(503, "ErrorServerBusy"));
    }
    bench.append("Work", MAIL, Flags::default()).await.expect_err("busy");
    assert_eq!(bench.service.in_folder("F-drafts").len(), 1);
    bench.service.contents().faults.clear();
    drop(work);
    let again = engine(&bench.service, &bench.store, Expunge::Delete).await;
    super::append::recover(&again).await.expect("done");
    assert_eq!(bench.service.in_folder("F-work").len(), 1);
    let message = Arc::new(Message::from_bytes(MAIL.into()));
    let flags = Flags::default().with(Flag::Flagged);
    again.append("Work", message, flags, Some(DATE)).await.expect("the one that is there");
    let items = bench.service.in_folder("F-work");
    assert_eq!((items.len(), &items[0].json["flag"]["flagStatus"]), (1, &Value::from("flagged")));
    no_record_stays(&again.store).await;
}

/// The record of an APPEND goes soon after its answer.
async fn no_record_stays(store: &crate::store::MailboxStore) {
    let all_gone = async {
        while !store.unfinished_appends().await.expect("stored").is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(std::time::Duration::from_secs(20), all_gone).await;
    waited.expect("the record goes");
}
