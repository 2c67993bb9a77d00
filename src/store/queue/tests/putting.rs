//! Writing down: what was put is on the disk whole, or nothing is.

use super::*;
use crate::mail::{Content, MemoryBudget, MessageBuffer};

#[tokio::test]
async fn an_entry_comes_back_as_it_was_put() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let mut draft = Draft::new(&["a@b.c", "\"d e\"@f.g"]);
    draft.from = ReversePath {
        address: Some(address("Jürgen@exämple.de")),
        declared_size: Some(5),
        body: BodyKind::EightBit,
        smtputf8: true,
        ret: Some(Ret::Full),
        envid: Some("id+2B".to_owned()),
    };
    draft.recipients[1].notify = Some("FAILURE,DELAY".to_owned());
    draft.recipients[1].orcpt = Some("rfc822;x@y".to_owned());
    let id = draft.put(&queue).await;
    drop(queue);
    let queue = own(folder.path()).await;
    let entry = queue.show(id).await.expect("read").expect("there");
    assert_eq!((entry.role.as_str(), entry.login.as_deref()), ("Sales", Some("Shop")));
    assert_eq!((entry.lane.as_str(), entry.reason.as_str()), ("lane", "first reason"));
    assert_eq!(entry.from, ReversePath { declared_size: None, ..draft.from.clone() });
    let given: Vec<_> = entry.recipients.iter().map(|one| one.recipient.clone()).collect();
    assert_eq!(given, draft.recipients);
    assert!(entry.recipients.iter().all(|one| one.state == RecipientState::Waiting));
    assert_eq!((entry.accepted, entry.next, entry.attempts), (at(0), at(0), 0));
    assert_eq!((entry.state, entry.size), (EntryState::Waiting, TEXT.len() as u64));
    assert_eq!(octets(&queue.message(id).await.expect("a message")).await, TEXT);
    assert_eq!(id.to_string().parse(), Ok(id));
    let path = queue.path(id).await.expect("read").expect("there");
    assert_eq!(files(folder.path()), std::slice::from_ref(&path));
    assert_eq!(fs::read(path).expect("plain"), TEXT);
}

#[tokio::test]
async fn the_null_reverse_path_and_no_login_are_kept() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let mut draft = Draft::new(&["a@b.c"]);
    draft.from = ReversePath::default();
    let id = queue.put(NewEntry { login: None, ..draft.entry() }).await.expect("put");
    let with_login = draft.put(&queue).await;
    let entry = queue.show(id).await.expect("read").expect("there");
    assert_eq!((entry.from, entry.login), (ReversePath::default(), None));
    let due = queue.due("lane", at(0), 10).await.expect("read");
    let senders: Vec<_> = due.iter().map(|entry| (entry.id, entry.sender.as_str())).collect();
    assert_eq!(senders, [(id, ""), (with_login, "shop")]);
}

#[tokio::test]
async fn messages_of_every_size_come_back_split_as_they_came() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let budget = MemoryBudget::new(32 << 10);
    for length in [0, 1, (64 << 10) - 14, (64 << 10) - 13, 3 << 20] {
        let mut buffer = MessageBuffer::new(&budget);
        let body: Vec<u8> = (0..length).map(|number: usize| (number % 251) as u8).collect();
        buffer.push(b"Subject: x\r\n\r\n").expect("room");
        for piece in body.chunks(50_000) {
            buffer.push(piece).expect("room");
            buffer.settle().await.expect("written");
        }
        let mut draft = Draft::new(&["a@b.c"]);
        // Not where the first empty line is.
        let header = Bytes::from_static(b"A: b\r\n\r\nC: d\r\n\r\n");
        draft.message = buffer.finish().await.expect("complete").with_header(header.clone());
        let id = draft.put(&queue).await;
        let message = queue.message(id).await.expect("a message");
        assert_eq!(message.header, header, "{length}");
        assert_eq!(message.content.is_in_memory(), length + header.len() <= 64 << 10, "{length}");
        assert!(octets(&message).await == [header.as_ref(), &body].concat(), "{length}");
        assert_eq!(message.content.read(1, 7).await.expect("read"), body.get(1..8).unwrap_or(b""));
    }
}

#[tokio::test]
async fn many_at_once_share_the_disk_and_are_all_there() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let putting = (0..60).map(|number| {
        let queue = queue.clone();
        tokio::spawn(async move {
            let mut draft = Draft::new(&["a@b.c"]);
            draft.message = Message::from_bytes(Bytes::from(format!("A: {number}\r\n\r\n")));
            (draft.put(&queue).await, format!("A: {number}\r\n\r\n"))
        })
    });
    let putting: Vec<_> = putting.collect();
    let copy = {
        let mut ids = std::collections::HashSet::new();
        for put in putting {
            let (id, text) = put.await.expect("no panic");
            assert!(ids.insert(id));
            let message = queue.message(id).await.expect("a message");
            assert_eq!(octets(&message).await, text.as_bytes());
        }
        assert_eq!(ids.len(), 60);
        killed(folder.path())
    };
    let again = own(copy.path()).await;
    assert_eq!(again.counts().await.expect("read").waiting, 60);
    assert_eq!(again.due("lane", at(0), 100).await.expect("read").len(), 60);
}

#[tokio::test]
async fn an_origin_is_taken_once_even_when_its_entry_is_done() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let draft = || Draft { origin: Some("pickup:1"), ..Draft::new(&["a@b.c"]) };
    let (first, draft_again) = (draft(), draft());
    let (one, two) = tokio::join!(first.put(&queue), draft_again.put(&queue));
    assert_eq!(one, two);
    assert_eq!(files(folder.path()).len(), 1);
    take(&queue, one).await;
    let sent = settlement(vec![(0, RecipientState::Sent)], Next::Done);
    queue.settle(one, sent, None).await.expect("settled");
    drop(queue);
    let queue = own(folder.path()).await;
    assert_eq!(draft().put(&queue).await, one);
    assert!(files(folder.path()).is_empty());
    assert_eq!(queue.counts().await.expect("read"), Counts::default());
    let other = Draft { origin: Some("pickup:2"), ..Draft::new(&["a@b.c"]) }.put(&queue).await;
    assert!(other > one, "no id is given twice");
    // A month later.
    run(&queue, "UPDATE origin SET noted = noted - 2678400000").await;
    Draft { origin: Some("pickup:3"), ..Draft::new(&["a@b.c"]) }.put(&queue).await;
    assert!(draft().put(&queue).await > other);
}

#[tokio::test]
async fn what_was_promised_to_nobody_may_come_again() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let draft = || Draft { origin: Some("o"), ..Draft::starting(Start::Held) };
    let first = draft().put(&queue).await;
    queue.forget(first).await.expect("forgotten");
    assert!(files(folder.path()).is_empty());
    let second = draft().put(&queue).await;
    assert!(second > first);
    drop(queue);
    let queue = own(folder.path()).await;
    assert_eq!(state(&queue, second).await, None, "held ones go with the process");
    assert!(files(folder.path()).is_empty());
    assert!(draft().put(&queue).await > second);
}

#[tokio::test]
async fn nothing_is_left_of_what_can_t_be_written() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let kept = one(&queue).await;
    let before = files(folder.path());
    // No recipients; a message whose file has less than it says; a full database.
    let error = queue.put(Draft::new(&[]).entry()).await.expect_err("nobody");
    assert!(error.to_string().contains("recipients"), "{error}");
    let mut draft = Draft::new(&["a@b.c"]);
    let short = Content::from_file(tempfile::tempfile().expect("made"), 1000);
    draft.message = Message { header: Bytes::from_static(b"\r\n"), content: Arc::new(short) };
    assert!(matches!(queue.put(draft.entry()).await, Err(Error::Failed(_))));
    let mut writing = queue.0.database.write(Durability::Synced).await.expect("turn");
    // SQLite says the same, SQLITE_FULL, for its own limit of pages.
    sqlx::raw_sql("PRAGMA max_page_count = 1").execute(writing.connection()).await.expect("set");
    drop(writing);
    let many: Vec<_> = (0..3000).map(|number| format!("{number}@example.com")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let full = queue.put(Draft::new(&many).entry()).await.expect_err("full");
    assert!(matches!(full, Error::NoRoom(_)), "{full}");
    assert_eq!(files(folder.path()), before);
    assert_eq!(queue.counts().await.expect("read").waiting, 1);
    assert_eq!(octets(&queue.message(kept).await.expect("there")).await, TEXT);
}

#[tokio::test]
async fn a_folder_that_is_blocked_is_an_error_and_heals() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let spool = folder.path().join(files::FOLDER);
    fs::remove_dir_all(&spool).expect("empty");
    fs::write(&spool, b"in the way").expect("written");
    let blocked = queue.put(Draft::new(&["a@b.c"]).entry()).await.expect_err("blocked");
    assert!(blocked.to_string().contains("spool"), "{blocked}");
    assert_eq!(queue.counts().await.expect("read"), Counts::default());
    fs::remove_file(&spool).expect("removed");
    let id = one(&queue).await;
    assert_eq!(octets(&queue.message(id).await.expect("there")).await, TEXT);
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_all_or_nothing() {
    let folder = folder();
    let queue = own(folder.path()).await;
    for pause in 0..20 {
        let draft = Draft::new(&["a@b.c"]);
        let put = queue.put(draft.entry());
        // Dropped after so many looks at it.
        let mut put = Box::pin(put);
        for _ in 0..pause {
            let _ = futures_util::poll!(&mut put);
            tokio::task::yield_now().await;
        }
        drop(put);
    }
    // Comes after all that is still under way.
    let last = one(&queue).await;
    let due = queue.due("lane", at(0), 100).await.expect("read");
    assert!(due.iter().any(|entry| entry.id == last));
    for entry in due {
        assert_eq!(octets(&queue.message(entry.id).await.expect("whole")).await, TEXT);
    }
}
