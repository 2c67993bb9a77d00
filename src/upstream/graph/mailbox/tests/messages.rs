//! One folder: listed, followed, compared; and what the service does not tell.

use tokio::time::Instant;

use super::super::folder::Count;
use super::super::merge::tests::message;
use super::*;
use crate::mail::Kind;
use crate::mail::mailbox::{Flag, ModSeq, Uid};
use crate::oauth;
use crate::store::Changes;

fn uid(number: u32) -> Uid {
    Uid::new(number).expect("not 0")
}

#[tokio::test]
async fn opening_costs_a_token_and_nothing_else() {
    let desk = Desk::with(&["a"]).await;
    assert_eq!(desk.service.count(), 0);
    let again = mailbox(&desk.role).await.expect("open");
    assert!(Arc::ptr_eq(&desk.mailbox, &again), "one engine a mailbox");
    assert_eq!(again.append_limit(), 1 << 20);
    let lock = again.lock_maildrop().expect("free");
    assert!(desk.mailbox.lock_maildrop().is_none());
    drop(lock);
    assert!(desk.mailbox.lock_maildrop().is_some());
    let store = Store::open(desk.folder.path().join("other").as_path(), 1).await.expect("a store");
    let failure = oauth::Error::person("no sign-in");
    let tokens = Tokens { failure: Some(failure), ..Tokens::default() };
    let role = role(&desk.service, &Engines::new(store), tokens).await;
    let error = mailbox(&role).await.err().expect("no token");
    assert_eq!(error.kind, Kind::SignInNeeded);
}

#[tokio::test]
async fn uids_ascend_by_arrival_and_survive_a_restart() {
    let desk = Desk::with(&[]).await;
    for id in ["c", "a", "b"] {
        desk.service.mail().add("id-inbox", id);
    }
    let inbox = desk.open("inbox").await;
    let before = inbox.snapshot();
    assert_eq!(uids(&before), [1, 2, 3]);
    assert!(before.uid_validity > 1 && before.uid_next == uid(4));
    let headers = inbox.headers(vec![uid(1), uid(3)]).await.expect("headers");
    assert!(String::from_utf8_lossy(&headers[0].1).contains("about c"));
    assert!(String::from_utf8_lossy(&headers[1].1).contains("about b"));
    drop(inbox);
    let desk = desk.restarted().await;
    desk.service.mail().delete("a");
    desk.service.mail().add("id-inbox", "d");
    let after = desk.open("INBOX").await.snapshot();
    assert_eq!(uids(&after), [1, 3, 4]);
    assert_eq!(after.uid_validity, before.uid_validity);
}

#[tokio::test]
async fn ten_thousand_messages_take_few_requests() {
    let service = Service::start().await;
    for number in 0..10_000 {
        service.mail().add("id-inbox", &format!("m{number:05}="));
    }
    let desk = Desk::new(service).await;
    let inbox = desk.open("INBOX").await;
    assert_eq!(inbox.snapshot().messages.len(), 10_000);
    let count = desk.service.count();
    assert!(count <= 45, "{count} requests");
    inbox.refresh().await.expect("followed");
    assert_eq!(desk.service.count(), 1);
}

#[tokio::test]
async fn changes_are_followed_whatever_their_form() {
    for (is_sparse, repeats) in [(false, false), (true, false), (true, true)] {
        let desk = Desk::with(&["a", "b", "c"]).await;
        (desk.service.mail().is_sparse, desk.service.mail().repeats) = (is_sparse, repeats);
        let inbox = desk.open("INBOX").await;
        let mut changes = inbox.changes();
        changes.mark_unchanged();
        let before = inbox.snapshot().highest_modseq;
        desk.service.mail().change("a", |message| message.read = true);
        desk.service.mail().delete("b");
        desk.service.mail().add("id-inbox", "d");
        // Came and went, and nobody saw it.
        desk.service.mail().add("id-inbox", "e");
        desk.service.mail().delete("e");
        inbox.refresh().await.expect("followed");
        let snapshot = inbox.snapshot();
        assert_eq!(uids(&snapshot), [1, 3, 4]);
        assert!(snapshot.messages[0].flags.has(Flag::Seen));
        assert!(!snapshot.messages[1].flags.has(Flag::Seen), "sparse entries are hints");
        assert!(snapshot.highest_modseq > before);
        assert!(changes.has_changed().expect("open"));
        let vanished = inbox.vanished_since(before).await.expect("known");
        assert_eq!(vanished, Some(vec![uid(2)]));
        changes.mark_unchanged();
        inbox.refresh().await.expect("followed");
        assert!(!changes.has_changed().expect("open"), "nothing is new");
        assert!(Arc::ptr_eq(&snapshot, &inbox.snapshot()));
    }
}

#[tokio::test]
async fn a_replay_of_what_is_known_costs_no_question() {
    let desk = Desk::with(&["a", "b"]).await;
    let inbox = desk.open("INBOX").await;
    desk.service.asked();
    desk.service.mail().came("id-inbox", "a");
    desk.service.mail().left("id-inbox", "never-seen");
    inbox.refresh().await.expect("followed");
    let asked = desk.service.asked();
    assert!(!asked.iter().any(|line| line.contains("/messages/a")), "{asked:?}");
    assert!(!asked.iter().any(|line| line.contains("never-seen")), "{asked:?}");
    assert_eq!(uids(&inbox.snapshot()), [1, 2]);
}

#[tokio::test]
async fn a_removal_that_is_none_is_not_believed() {
    let desk = Desk::with(&["a", "b"]).await;
    let inbox = desk.open("INBOX").await;
    // Told out of order: it is back.
    desk.service.mail().came("id-inbox", "a");
    desk.service.mail().left("id-inbox", "a");
    inbox.refresh().await.expect("followed");
    assert_eq!(uids(&inbox.snapshot()), [1, 2]);
    // Moved away and back between two looks: the same message, the same UID.
    desk.service.mail().relocate("b", "id-drafts");
    desk.service.mail().relocate("b", "id-inbox");
    inbox.refresh().await.expect("followed");
    assert_eq!(uids(&inbox.snapshot()), [1, 2]);
}

#[tokio::test]
async fn a_move_that_delta_tells_in_one_folder_only_arrives_all_the_same() {
    let desk = Desk::with(&["a", "b"]).await;
    desk.service.mail().add_folder("id-p", "id-root", "Projekte");
    desk.service.mail().add_folder("id-q", "id-root", "Nie geöffnet");
    let (inbox, projects) = (desk.open("INBOX").await, desk.open("Projekte").await);
    desk.service.mail().forgets_arrivals = true;
    desk.service.mail().relocate("a", "id-p");
    desk.service.mail().relocate("b", "id-q");
    let object_id = inbox.snapshot().messages[0].object_id;
    inbox.refresh().await.expect("followed");
    assert_eq!(uids(&inbox.snapshot()), Vec::<u32>::new());
    assert_eq!(uids(&projects.snapshot()), [1]);
    assert_eq!(projects.snapshot().messages[0].object_id, object_id);
    // And back: a new UID there, the old one is not used again.
    desk.service.mail().relocate("a", "id-inbox");
    projects.refresh().await.expect("followed");
    assert_eq!(uids(&projects.snapshot()), Vec::<u32>::new());
    assert_eq!(uids(&inbox.snapshot()), [3]);
}

#[tokio::test]
async fn an_expired_link_keeps_every_uid() {
    let desk = Desk::with(&["a", "b", "c"]).await;
    let inbox = desk.open("INBOX").await;
    let validity = inbox.snapshot().uid_validity;
    desk.service.mail().delete("a");
    desk.service.mail().change("b", |message| message.read = true);
    desk.service.mail().add("id-inbox", "d");
    desk.service.mail().expire();
    inbox.refresh().await.expect("compared");
    let snapshot = inbox.snapshot();
    assert_eq!(uids(&snapshot), [2, 3, 4]);
    assert!(snapshot.messages[0].flags.has(Flag::Seen));
    assert_eq!(snapshot.uid_validity, validity);
    desk.service.asked();
    inbox.refresh().await.expect("followed");
    assert_eq!(desk.service.count(), 1, "followed again");
}

#[tokio::test]
async fn what_shifts_out_of_a_listing_is_found_all_the_same() {
    let service = Service::start().await;
    for number in 0..1500 {
        service.mail().add("id-inbox", &format!("m{number:05}"));
    }
    // Deleted after the first page of 1,000: the second one begins two further.
    service.mail().vanishes = vec!["m00000".to_owned(), "m00001".to_owned()];
    let desk = Desk::new(service).await;
    let inbox = desk.open("INBOX").await;
    inbox.refresh().await.expect("followed");
    assert_eq!(inbox.snapshot().messages.len(), 1498);
}

#[tokio::test]
async fn a_draft_that_is_edited_gets_a_new_uid_and_a_flag_does_not() {
    let desk = Desk::with(&[]).await;
    desk.service.mail().add("id-drafts", "a");
    desk.service.mail().change("a", |message| message.draft = true);
    let drafts = desk.open("Entwürfe").await;
    assert!(drafts.snapshot().messages[0].flags.has(Flag::Draft));
    desk.service.mail().change("a", |message| message.read = true);
    drafts.refresh().await.expect("followed");
    assert_eq!(uids(&drafts.snapshot()), [1]);
    desk.service.mail().change("a", |message| message.subject = "edited".to_owned());
    drafts.refresh().await.expect("followed");
    assert_eq!(uids(&drafts.snapshot()), [2]);
    let headers = drafts.headers(vec![uid(2)]).await.expect("headers");
    assert!(String::from_utf8_lossy(&headers[0].1).contains("edited"));
}

#[tokio::test]
async fn many_changes_are_listed_and_not_asked_for_one_by_one() {
    let desk = Desk::with(&[]).await;
    let inbox = desk.open("INBOX").await;
    for number in 0..2000 {
        desk.service.mail().add("id-inbox", &format!("m{number:05}"));
    }
    desk.service.asked();
    inbox.refresh().await.expect("compared");
    assert_eq!(inbox.snapshot().messages.len(), 2000);
    let count = desk.service.count();
    assert!(count <= 12, "{count} requests");
}

#[tokio::test]
async fn a_refresh_that_fails_leaves_everything_as_it_was() {
    let desk = Desk::with(&["a"]).await;
    let inbox = desk.open("INBOX").await;
    let before = inbox.snapshot();
    desk.service.mail().add("id-inbox", "b");
    desk.service.mail().fails = Some(("/messages/b", 403));
    inbox.refresh().await.expect("one message that is refused stops nothing");
    assert!(Arc::ptr_eq(&before, &inbox.snapshot()));
    desk.service.mail().fails = Some(("deltatoken", 400));
    desk.service.mail().came("id-inbox", "b");
    inbox.refresh().await.expect_err("no changes to be had");
    assert!(Arc::ptr_eq(&before, &inbox.snapshot()));
    desk.service.mail().fails = None;
    inbox.refresh().await.expect("followed");
    assert_eq!(uids(&inbox.snapshot()), [1, 2]);
}

#[tokio::test]
async fn those_who_ask_together_ask_once_or_twice() {
    let desk = Desk::with(&["a"]).await;
    let inbox = desk.open("INBOX").await;
    desk.service.asked();
    let all = (0..20).map(|_| inbox.refresh());
    for result in futures_util::future::join_all(all).await {
        result.expect("followed");
    }
    let count = desk.service.count();
    assert!((1..=2).contains(&count), "{count} requests");
}

#[tokio::test]
async fn changes_are_looked_for_as_long_as_somebody_waits() {
    let desk = Desk::with(&["a"]).await;
    let inbox = desk.open("INBOX").await;
    let mut changes = inbox.changes();
    let (one, other) = (inbox.watch(), inbox.watch());
    desk.service.mail().add("id-inbox", "b");
    changes.changed().await.expect("open");
    assert_eq!(uids(&inbox.snapshot()), [1, 2]);
    drop(one);
    desk.service.mail().add("id-inbox", "c");
    changes.changed().await.expect("open");
    assert_eq!(uids(&inbox.snapshot()), [1, 2, 3]);
    drop(other);
}

#[tokio::test]
async fn recent_messages_are_claimed_once() {
    let desk = Desk::with(&["a", "b"]).await;
    let inbox = desk.open("INBOX").await;
    let status = async || {
        let mut all = desk.mailbox.status(&["INBOX".to_owned()]).await;
        all.remove(0).expect("a status")
    };
    assert_eq!(status().await.recent, 2);
    assert_eq!(inbox.recent(true), Uid::FIRST..uid(3));
    assert_eq!(status().await.recent, 0);
    desk.service.mail().add("id-inbox", "c");
    inbox.refresh().await.expect("followed");
    assert_eq!(inbox.recent(true), uid(3)..uid(4));
    assert_eq!(inbox.recent(true), uid(4)..uid(4));
}

#[tokio::test]
async fn sizes_that_become_known_are_published() {
    let desk = Desk::with(&["a"]).await;
    let inbox = desk.open("INBOX").await;
    assert_eq!(inbox.snapshot().messages[0].size.exact(), None);
    assert!(inbox.snapshot().messages[0].modseq >= ModSeq(1));
    let mut all = desk.mailbox.status(&["INBOX".to_owned()]).await;
    assert_eq!(all.remove(0).expect("a status").size, 2000);
}

#[tokio::test]
async fn a_message_that_is_never_told_of_is_found_by_the_count() {
    let desk = Desk::with(&["a"]).await;
    // A meeting request, which is counted and is no message.
    desk.service.mail().extra = 1;
    let engine = desk.engine().await;
    let inbox = engine.folder("INBOX").await.expect("a folder");
    let look = async || {
        inbox.set_count(Count { asked: None, ..inbox.state().count });
        inbox.refresh().await.expect("followed");
        uids(&inbox.published())
    };
    let look_again = async || {
        let asked = Instant::now().checked_sub(Duration::from_secs(3600));
        inbox.set_count(Count { asked, ..inbox.state().count });
        inbox.refresh().await.expect("followed");
        uids(&inbox.published())
    };
    assert_eq!(look().await, [1]);
    desk.service.mail().add_silently("id-inbox", "b");
    assert_eq!(look_again().await, [1, 2], "odd for the second time: compared");
    desk.service.asked();
    assert_eq!(look_again().await, [1, 2]);
    assert_eq!(desk.service.count(), 1, "one more is usual here");
    desk.service.mail().add_silently("id-inbox", "c");
    assert_eq!(look_again().await, [1, 2], "odd for the first time");
    assert_eq!(look_again().await, [1, 2, 3]);
}

#[tokio::test]
async fn an_exact_size_is_published_to_all() {
    let desk = Desk::with(&["a"]).await;
    let inbox = desk.engine().await.folder("INBOX").await.expect("a folder");
    let changes = inbox.changes();
    inbox.note_size("a", uid(1), 77);
    inbox.note_size("a", uid(9), 5);
    assert!(changes.has_changed().expect("open"));
    assert_eq!(inbox.published().messages[0].size.exact(), Some(77));
}

#[tokio::test]
async fn two_folders_are_locked_in_one_order_and_change_at_once() {
    let desk = Desk::with(&["a"]).await;
    let engine = desk.engine().await;
    let inbox = engine.folder("INBOX").await.expect("a folder");
    let drafts = engine.folder("Entwürfe").await.expect("a folder");
    assert!(inbox.writing_both(&inbox).await.1.is_none());
    for (one, other) in [(&inbox, &drafts), (&drafts, &inbox)] {
        let (first, second) = one.writing_both(other).await;
        assert_eq!(first.folder.key, one.key);
        assert_eq!(second.expect("two").folder.key, other.key);
    }
    let (mut here, there) = inbox.writing_both(&drafts).await;
    let mut there = there.expect("two");
    let moved = Changes { added: vec![message("a", "2", 1)], ..Changes::default() };
    let left = Changes { removed: vec!["a".to_owned()], ..Changes::default() };
    let (left, came) = here.apply_both(left, &mut there, moved).await.expect("stored");
    assert_eq!((left.removed, came.added), (vec![uid(1)], vec![uid(1)]));
    assert!(inbox.published().messages.is_empty());
    assert_eq!(uids(&drafts.published()), [1]);
}

#[tokio::test]
async fn a_change_is_published_although_its_client_has_gone() {
    let desk = Desk::with(&["a"]).await;
    let inbox = desk.engine().await.folder("INBOX").await.expect("a folder");
    let mut changed = inbox.changes();
    {
        let mut writing = inbox.writing().await;
        let removed = Changes { removed: vec!["a".to_owned()], ..Changes::default() };
        let mut apply = Box::pin(writing.apply(removed));
        assert!(futures_util::poll!(apply.as_mut()).is_pending());
    }
    changed.changed().await.expect("open");
    let writing = inbox.writing().await;
    assert!(writing.folder.published().messages.is_empty());
}

#[tokio::test]
async fn special_folders_are_known_by_the_services_names() {
    let desk = Desk::with(&["a"]).await;
    let engine = desk.engine().await;
    assert_eq!(engine.well_known("drafts").await.expect("there"), "id-drafts");
    assert_eq!(engine.well_known("archive").await.expect_err("none").kind, Kind::NotFound);
    assert!(engine.followed("id-inbox").await.expect("known").is_none(), "never opened");
    let inbox = engine.folder("inbox").await.expect("a folder");
    let followed = engine.followed("id-inbox").await.expect("known").expect("followed");
    assert!(Arc::ptr_eq(&inbox, &followed));
    assert!(engine.followed("nothing").await.expect("known").is_none());
}

#[tokio::test]
async fn a_folder_that_is_deleted_at_the_service_is_no_longer_there() {
    let desk = Desk::with(&[]).await;
    desk.service.mail().add_folder("id-p", "id-root", "Projekte");
    let projects = desk.open("Projekte").await;
    desk.service.mail().delete_folder("id-p");
    assert_eq!(projects.refresh().await.expect_err("gone").kind, Kind::NotFound);
}

#[tokio::test]
async fn what_somebody_has_filed_elsewhere_is_not_deleted_there() {
    let desk = Desk::with(&["a"]).await;
    let inbox = desk.open("INBOX").await;
    desk.service.mail().relocate("a", "id-drafts");
    inbox.expunge(vec![uid(1)]).await.expect("it is gone from here");
    assert!(inbox.snapshot().messages.is_empty());
    assert!(desk.service.mail().messages.contains_key("a"));
    assert!(!desk.service.mail().requests.iter().any(|line| line.contains("DELETE")));
}
