//! Exactly once: over restarts, with impatient clients, with drafts that were left.

use super::super::fake::TIMING;
use super::super::ledger::Book;
use super::*;
use crate::store::queue::{Access, Queue};

/// Runs `sending` until the service has what `arrived` waits for, then drops it: the process dies.
async fn crash(fake: &Fake, role: &GraphSubmission, text: String, arrived: fn(&Fake) -> bool) {
    let waiting = async {
        while !arrived(fake) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        result = send(role, text) => panic!("answered: {result:?}"),
        () = waiting => {}
    }
}

fn asked(fake: &Fake, line: &str) -> usize {
    fake.lines().iter().filter(|known| known.as_str() == line).count()
}

#[tokio::test]
async fn after_a_crash_the_copy_is_found_and_nothing_is_sent() {
    let (fake, book) = (Fake::start().await, Book::fake());
    let role = submission_noting(&book, &fake.url, true);
    fake.fault("sendMail", [Fault::DoneThenSilence]);
    crash(&fake, &role, small(), |fake| !fake.sent().is_empty()).await;
    assert_eq!(book.noted(), 1);
    // The copy comes late: the first look sees nothing.
    fake.fault("sentitems", [Fault::Answer(200, "{\"value\":[]}", None)]);
    let role = submission_noting(&book, &fake.url, true);
    let note = send(&role, small()).await.expect("found").note;
    assert_eq!(note, "an earlier attempt had been successful");
    assert_eq!((fake.sent().len(), book.noted()), (1, 0));
}

#[tokio::test]
async fn copies_that_are_known_stay_known_over_a_restart() {
    let (fake, book) = (Fake::start().await, Book::fake());
    let role = submission_noting(&book, &fake.url, true);
    // A program that gives every message the same Message-ID.
    for _ in 0..2 {
        send(&role, small()).await.expect("sent");
    }
    fake.fault("sendMail", [Fault::Silence]);
    crash(&fake, &role, small(), |fake| asked(fake, "POST /sendMail") == 3).await;
    let role = submission_noting(&book, &fake.url, true);
    send(&role, small()).await.expect("sent");
    assert_eq!((fake.sent().len(), book.noted()), (3, 0), "the third was taken for sent");
}

#[tokio::test]
async fn what_never_reached_the_service_is_not_looked_for() {
    let book = Book::fake();
    let role = submission_noting(&book, "http://127.0.0.1:1", true);
    assert_eq!(send(&role, small()).await.expect_err("nobody").kind, Kind::Unavailable);
    assert_eq!(book.noted(), 0);
    let fake = Fake::start().await;
    fake.fault("sendMail", [Fault::Answer(403, "", None)]);
    let role = submission_noting(&book, &fake.url, true);
    send(&role, small()).await.expect_err("refused");
    assert_eq!(book.noted(), 0);
    send(&role, small()).await.expect("sent");
    assert_eq!(fake.lines(), ["POST /sendMail", "POST /sendMail"]);
}

#[tokio::test]
async fn a_refusal_does_not_settle_what_an_earlier_attempt_may_have_done() {
    let (fake, book) = (Fake::start().await, Book::fake());
    let role = submission_noting(&book, &fake.url, true);
    fake.fault("sendMail", [Fault::Silence, Fault::Answer(403, "", None)]);
    assert_eq!(send(&role, small()).await.expect_err("lost").kind, Kind::Unavailable);
    assert_eq!(send(&role, small()).await.expect_err("no").kind, Kind::NotPermitted);
    assert_eq!(book.noted(), 1);
}

#[tokio::test]
async fn a_draft_that_was_sent_before_the_crash_is_known_by_its_id() {
    for keeps_copy in [true, false] {
        let (fake, book) = (Fake::start().await, Book::fake());
        let role = submission_noting(&book, &fake.url, keeps_copy);
        fake.fault("/send", [Fault::DoneThenSilence]);
        let text = with_attachments(&[5_000_000]).0;
        crash(&fake, &role, text.clone(), |fake| !fake.sent().is_empty()).await;
        if !keeps_copy {
            fake.mailbox().items.clear();
        }
        let role = submission_noting(&book, &fake.url, keeps_copy);
        send(&role, text).await.expect("found");
        assert_eq!((asked(&fake, "POST /messages"), book.noted()), (1, 0), "{keeps_copy}");
    }
}

#[tokio::test]
async fn a_draft_that_is_gone_may_have_left_its_copy() {
    let (fake, book) = (Fake::start().await, Book::fake());
    let role = submission_noting(&book, &fake.url, true);
    let text = with_attachments(&[5_000_000]).0;
    fake.fault("/send", [Fault::Silence]);
    crash(&fake, &role, text.clone(), |fake| asked(fake, "POST /messages/id-0%3D/send") == 1).await;
    // The mailbox was moved, say: another id.
    let mut item = fake.mailbox().items.remove("id-0=").expect("the draft");
    let role = submission_noting(&book, &fake.url, true);
    let error = send(&role, text.clone()).await.expect_err("nowhere");
    assert_eq!(error.kind, Kind::OutcomeUnknown);
    item.sent = true;
    fake.mailbox().items.insert("other=".to_owned(), item);
    send(&role, text).await.expect("found");
    assert_eq!((fake.sent().len(), asked(&fake, "POST /messages")), (1, 1));
}

#[tokio::test]
async fn a_complete_draft_is_sent_after_the_crash_and_no_other() {
    let (fake, book) = (Fake::start().await, Book::fake());
    let role = submission_noting(&book, &fake.url, true);
    let (text, octets) = with_attachments(&[5_000_000]);
    fake.fault("/send", [Fault::Silence]);
    crash(&fake, &role, text.clone(), |fake| asked(fake, "POST /messages/id-0%3D/send") == 1).await;
    let role = submission_noting(&book, &fake.url, true);
    send(&role, text).await.expect("sent");
    assert!(only(fake.sent()).attachments[0].1 == octets[0]);
    assert_eq!((asked(&fake, "POST /messages"), fake.mailbox().items.len()), (1, 1));
}

#[tokio::test]
async fn a_draft_on_its_way_that_refuses_to_be_sent_again_is_waited_for() {
    let (fake, book) = (Fake::start().await, Book::fake());
    let role = submission_noting(&book, &fake.url, true);
    let text = with_attachments(&[5_000_000]).0;
    fake.fault("/send", [Fault::Silence, Fault::Answer(400, "", None)]);
    assert_eq!(send(&role, text.clone()).await.expect_err("lost").kind, Kind::Unavailable);
    assert_eq!(send(&role, text.clone()).await.expect_err("busy").kind, Kind::Unavailable);
    // Now it has arrived.
    fake.mailbox().items.get_mut("id-0=").expect("the draft").sent = true;
    send(&role, text).await.expect("found");
    assert_eq!((fake.sent().len(), book.noted()), (1, 0));
}

#[tokio::test]
async fn half_a_draft_is_deleted_and_made_anew() {
    let (fake, book) = (Fake::start().await, Book::fake());
    let role = submission_noting(&book, &fake.url, true);
    let text = with_attachments(&[5_000_000]).0;
    fake.fault("createUploadSession", [Fault::Silence]);
    crash(&fake, &role, text.clone(), |fake| {
        asked(fake, "POST /messages/id-0%3D/attachments/createUploadSession") == 1
    })
    .await;
    let role = submission_noting(&book, &fake.url, true);
    send(&role, text).await.expect("sent");
    assert_eq!((fake.sent().len(), book.noted()), (1, 0));
    assert!(fake.mailbox().items.values().all(|item| item.sent || item.binned), "no draft is left");
}

#[tokio::test]
async fn a_draft_whose_answer_was_lost_goes_to_deleted_items() {
    let (fake, book) = (Fake::start().await, Book::fake());
    let role = submission_noting(&book, &fake.url, true);
    let text = with_attachments(&[5_000_000]).0;
    fake.fault("POST /v1.0/users/user%40example.com/messages", [Fault::DoneThenSilence]);
    assert_eq!(send(&role, text.clone()).await.expect_err("lost").kind, Kind::Unavailable);
    let old =
        Item { made: "2020-01-01T00:00:00Z".to_owned(), ..fake.mailbox().items["id-0="].clone() };
    fake.mailbox().items.insert("a-persons-own=".to_owned(), old);
    send(&role, text).await.expect("sent");
    let items = fake.mailbox().items.clone();
    assert!(items["id-0="].binned && !items["a-persons-own="].binned);
    assert_eq!((fake.sent().len(), book.noted()), (1, 0));
}

#[tokio::test]
async fn an_impatient_client_that_comes_again_is_not_served_twice() {
    let (fake, role) = upload_role().await;
    let both = [send(&role, small()), send(&role, small())];
    let notes: Vec<String> = futures_util::future::join_all(both)
        .await
        .into_iter()
        .map(|result| result.expect("sent").note)
        .collect();
    assert_eq!((fake.sent().len(), fake.mailbox().most_at_once), (1, 1));
    assert!(notes[1].contains("under way"), "{notes:?}");
    // Another message under the same Message-ID is another message.
    let other = format!("{HEADER}\r\nHallo\r\n");
    let both = [send(&role, small()), send(&role, other)];
    for result in futures_util::future::join_all(both).await {
        result.expect("sent");
    }
    assert_eq!((fake.sent().len(), fake.mailbox().most_at_once), (3, 1));
}

#[tokio::test]
async fn a_full_disk_stops_no_mail() {
    let (fake, book) = (Fake::start().await, Book::fake());
    book.break_writes();
    let role = submission_noting(&book, &fake.url, true);
    fake.fault("sendMail", [Fault::DoneBut(504)]);
    fake.fault("sentitems", [0; 3].map(|_| Fault::Answer(500, "", None)));
    assert_eq!(send(&role, small()).await.expect_err("unknown").kind, Kind::OutcomeUnknown);
    send(&role, small()).await.expect("found by what memory knows");
    assert_eq!(fake.sent().len(), 1);
    assert_eq!(TIMING.looks.len(), 3);
}

#[tokio::test]
async fn the_notes_of_the_state_folder_serve_over_a_restart() {
    let (fake, folder) = (Fake::start().await, tempfile::tempdir().expect("a folder"));
    let queue = Queue::open(folder.path(), Access::Owner).await.expect("opens");
    let role = submission_noting(&Book::Disk(queue.handovers()), &fake.url, true);
    send(&role, small()).await.expect("sent");
    fake.fault("sendMail", [Fault::DoneThenSilence]);
    crash(&fake, &role, small(), |fake| fake.sent().len() == 2).await;
    drop((role, queue));
    let queue = Queue::open(folder.path(), Access::Owner).await.expect("opens again");
    let role = submission_noting(&Book::Disk(queue.handovers()), &fake.url, true);
    let note = send(&role, small()).await.expect("found").note;
    assert_eq!((note.as_str(), fake.sent().len()), ("an earlier attempt had been successful", 2));
    send(&role, small()).await.expect("sent on purpose");
    assert_eq!(fake.sent().len(), 3);
}

#[tokio::test]
async fn the_copy_is_found_by_the_service_s_clock_whatever_ours_says() {
    for ahead in [-36_000, 36_000] {
        let (fake, book) = (Fake::start().await, Book::fake());
        fake.mailbox().ahead = ahead;
        // The first one's beginning is by our own clock: nobody has said another time yet.
        for first in [true, false] {
            let role = submission_noting(&book, &fake.url, true);
            if !first {
                send(&role, numbered(2)).await.expect("sent");
            }
            let before = fake.sent().len();
            fake.fault("sendMail", [Fault::DoneThenSilence]);
            let text = numbered(3 + usize::from(first));
            crash_with(&fake, &role, text.clone()).await;
            let role = submission_noting(&book, &fake.url, true);
            let note = send(&role, text).await.expect("found").note;
            assert_eq!(note, "an earlier attempt had been successful", "{ahead} {first}");
            assert_eq!(fake.sent().len(), before + 1, "{ahead} {first}");
        }
    }
}

#[tokio::test]
async fn an_older_copy_is_not_taken_for_this_one_by_a_clock_of_ours_that_is_behind() {
    let (fake, book) = (Fake::start().await, Book::fake());
    fake.mailbox().ahead = 36_000;
    let role = submission_noting(&book, &fake.url, true);
    send(&role, numbered(2)).await.expect("sent");
    // Somebody else's, an hour before: by our clock it is yet to come.
    let hour_ago = time::OffsetDateTime::now_utc() + time::Duration::seconds(36_000 - 3600);
    let made = hour_ago.format(&time::format_description::well_known::Rfc3339).expect("a date");
    let old = Item { mime: numbered(3).into(), sent: true, made, ..Item::default() };
    fake.mailbox().items.insert("old=".to_owned(), old);
    fake.fault("sendMail", [Fault::Silence]);
    assert_eq!(send(&role, numbered(3)).await.expect_err("lost").kind, Kind::Unavailable);
    send(&role, numbered(3)).await.expect("sent");
    assert_eq!(fake.sent().len(), 3, "the older copy was taken for it");
}

#[tokio::test]
async fn an_attempt_of_the_configuration_before_is_waited_for() {
    let fake = Fake::start().await;
    let turns = Turns::default();
    let role = || submission_in(&turns, &fake.url, true, LargeMessages::Upload, Tokens::default());
    let (before, after) = (role(), role());
    let both = [send(&before, small()), send(&after, small())];
    let notes: Vec<String> = futures_util::future::join_all(both)
        .await
        .into_iter()
        .map(|result| result.expect("sent").note)
        .collect();
    assert_eq!(fake.sent().len(), 1);
    assert!(notes[1].contains("under way"), "{notes:?}");
}

#[tokio::test]
async fn what_may_have_been_sent_and_can_not_be_looked_for_is_told_to_its_sender() {
    let (fake, book) = (Fake::start().await, Book::fake());
    let role = submission_noting(&book, &fake.url, true);
    fake.fault("sendMail", [Fault::DoneBut(504)]);
    let denied = r#"{"error":{"code":"ErrorAccessDenied","message":"Access is denied."}}"#;
    fake.fault("sentitems", [0; 6].map(|_| Fault::Answer(403, denied, None)));
    // The client, or the queue, is told to come again.
    assert_eq!(send(&role, small()).await.expect_err("lost").kind, Kind::OutcomeUnknown);
    let error = send(&role, small()).await.expect_err("given up");
    assert_eq!((error.kind, error.kind.is_temporary()), (Kind::NotPermitted, false));
    let reply = error.reply.expect("a reply");
    assert_eq!((reply.code, reply.enhanced), (554, (5, 4, 0)));
    assert!(reply.text.contains("may have been sent"), "{}", reply.text);
    assert!(error.text.contains("grant Mail.Read"), "{}", error.text);
    assert_eq!(asked(&fake, "POST /sendMail"), 1, "it was sent again");
    // The right was granted: a retry finds it.
    assert_eq!(book.noted(), 1);
    let note = send(&role, small()).await.expect("found").note;
    assert_eq!((note.as_str(), fake.sent().len()), ("an earlier attempt had been successful", 1));
}

#[tokio::test]
async fn who_can_not_look_believes_that_an_outage_has_sent_nothing() {
    let (fake, book) = (Fake::start().await, Book::fake());
    let role = submission_noting(&book, &fake.url, true);
    fake.fault("sendMail", [Fault::Answer(503, "", None)]);
    fake.fault("sentitems", [0; 3].map(|_| Fault::Answer(403, "", None)));
    assert_eq!(send(&role, small()).await.expect_err("down").kind, Kind::Unavailable);
    assert_eq!(book.noted(), 0);
    send(&role, small()).await.expect("sent");
    assert_eq!((fake.sent().len(), asked(&fake, "POST /sendMail")), (1, 2));
}

#[tokio::test]
async fn a_draft_that_may_not_be_sent_any_more_is_refused_for_good() {
    let (fake, book) = (Fake::start().await, Book::fake());
    let role = submission_noting(&book, &fake.url, true);
    let text = with_attachments(&[5_000_000]).0;
    let denied = r#"{"error":{"code":"ErrorAccessDenied","message":"Access is denied."}}"#;
    fake.fault("/send", [Fault::Silence, Fault::Answer(403, denied, None)]);
    assert_eq!(send(&role, text.clone()).await.expect_err("lost").kind, Kind::Unavailable);
    assert_eq!(send(&role, text.clone()).await.expect_err("denied").kind, Kind::NotPermitted);
    assert!(fake.mailbox().items.is_empty(), "the draft is left behind");
    // Once more, when the right is back: another draft, and it is sent.
    send(&role, text).await.expect("sent");
    assert_eq!((fake.sent().len(), book.noted()), (1, 0));
}

/// The figures of `docs/RELIABILITY.md`, section "Once".
#[tokio::test]
async fn being_sure_costs_no_request_while_nothing_is_lost() {
    let (fake, folder) = (Fake::start().await, tempfile::tempdir().expect("a folder"));
    let queue = Queue::open(folder.path(), Access::Owner).await.expect("opens");
    let role = submission_noting(&Book::Disk(queue.handovers()), &fake.url, true);
    let mut asked = 0;
    let mut requests = || {
        let (before, now) = (asked, fake.lines().len());
        asked = now;
        now - before
    };
    for number in 0..20 {
        send(&role, numbered(number)).await.expect("sent");
    }
    assert_eq!(requests(), 20, "one for each");
    send(&role, numbered(0)).await.expect("sent on purpose");
    assert_eq!(requests(), 1, "the same Message-ID once more");
    // A draft, its send, and two for an upload of two slices.
    let text = with_attachments(&[5_000_000]).0.replace("m'1@", "m'large@");
    send(&role, text).await.expect("sent");
    assert_eq!(requests(), 5, "{:?}", fake.lines());
    fake.fault("sendMail", [Fault::DoneBut(502)]);
    send(&role, numbered(30)).await.expect("found");
    assert_eq!(requests(), 2, "the answer was lost: one look more");
    fake.fault("sendMail", [Fault::Answer(503, "", Some(("retry-after", "0")))]);
    send(&role, numbered(31)).await.expect("sent");
    assert_eq!(requests(), 5, "nothing was sent: three looks and another attempt");
    fake.fault("sendMail", [Fault::DoneThenSilence]);
    crash_with(&fake, &role, numbered(32)).await;
    let role = submission_noting(&Book::Disk(queue.handovers()), &fake.url, true);
    send(&role, numbered(32)).await.expect("found");
    assert_eq!(requests(), 2, "after a crash: one look and no other attempt");
}

async fn crash_with(fake: &Fake, role: &GraphSubmission, text: String) {
    let before = fake.sent().len();
    tokio::select! {
        result = send(role, text) => panic!("answered: {result:?}"),
        () = async {
            while fake.sent().len() == before {
                tokio::task::yield_now().await;
            }
        } => {}
    }
}
