//! The folder as a crash leaves it at each step, and what the next process makes of it.

use std::sync::Weak;

use super::*;
use crate::store::queue::files::{FOLDER, LEFT, Name};
use crate::store::queue::opening::{CUT_OFF, sweep_all};

/// As the sweep at the start does, for files that a test has made just now.
async fn sweep(queue: &Queue) -> usize {
    let weak: Weak<Inner> = Arc::downgrade(&queue.0);
    sweep_all(&weak, SystemTime::now() + 60 * SECOND).await.expect("swept")
}

#[tokio::test]
async fn what_was_taken_is_due_at_once_and_keeps_its_attempts() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let id = one(&queue).await;
    take(&queue, id).await;
    let again = settlement(Vec::new(), Next::Again { at: at(500), counts: true });
    queue.settle(id, again, None).await.expect("settled");
    take(&queue, id).await;
    let new = Draft::starting(Start::Taken).put(&queue).await;
    let copy = killed(folder.path());
    let again = own(copy.path()).await;
    let now = SystemTime::now() + SECOND;
    for (id, attempts) in [(id, 1), (new, 0)] {
        let entry = again.take(id, now).await.expect("no error").expect("due");
        assert_eq!((entry.attempts, entry.reason.as_str()), (attempts, CUT_OFF));
        assert_eq!(octets(&again.message(id).await.expect("whole")).await, TEXT);
    }
}

#[tokio::test]
async fn what_was_held_is_gone_with_its_file() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let (held, kept) = (Draft::starting(Start::Held).put(&queue).await, one(&queue).await);
    let copy = killed(folder.path());
    let again = own(copy.path()).await;
    assert_eq!(state(&again, held).await, None);
    assert_eq!(state(&again, kept).await, Some(EntryState::Waiting));
    assert_eq!(files(copy.path()).len(), 1);
    assert_eq!(again.counts().await.expect("read").waiting, 1);
}

#[tokio::test]
async fn files_without_a_row_go_and_nothing_else() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let id = one(&queue).await;
    let path = queue.path(id).await.expect("read").expect("there");
    let shard = path.parent().expect("a folder");
    let digits = "0123456789abcdef0123456789abcdef";
    let orphans = [format!("{digits}.eml"), format!("new-{digits}-x1y2z3")];
    let others = ["notes.txt", "0123.eml", "new-", "new-0123"];
    for name in orphans.iter().map(String::as_str).chain(others) {
        fs::write(shard.join(name), TEXT).expect("written");
    }
    fs::write(folder.path().join(FOLDER).join("readme"), b"").expect("written");
    // A put that is between its file and its row.
    let message = Message::from_bytes(Bytes::from_static(TEXT));
    let arriving = queue.0.files.write(&message).await.expect("written");
    let weak = Arc::downgrade(&queue.0);
    assert_eq!(sweep_all(&weak, at(0)).await.expect("swept"), 0, "younger than the opening");
    assert_eq!(sweep(&queue).await, 2);
    assert!(orphans.iter().all(|name| !shard.join(name).exists()));
    assert!(others.iter().all(|name| shard.join(name).exists()));
    assert!(path.exists() && queue.0.files.path(&arriving.name).exists());
    arriving.discard().await;
    assert!(Name::parse(digits).is_some());
}

/// The row is gone, the file not yet.
#[tokio::test]
async fn what_was_sent_is_not_sent_again_for_its_file() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let id = one(&queue).await;
    take(&queue, id).await;
    let path = queue.path(id).await.expect("read").expect("there");
    let sent = settlement(vec![(0, RecipientState::Sent)], Next::Done);
    queue.settle(id, sent, None).await.expect("settled");
    fs::write(&path, TEXT).expect("as if it had not been removed");
    let copy = killed(folder.path());
    let again = own(copy.path()).await;
    assert_eq!(again.counts().await.expect("read"), Counts::default());
    assert_eq!(sweep(&again).await, 1);
    assert!(files(copy.path()).iter().all(|path| path.parent().is_some_and(|p| p.ends_with(LEFT))));
}

/// Somebody copies `spool.sqlite` without its `-wal`, or restores yesterday's.
#[tokio::test]
async fn an_older_database_costs_no_message_its_last_copy() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let yesterday = killed(folder.path());
    let id = one(&queue).await;
    let path = queue.path(id).await.expect("read").expect("there");
    let restored = killed(folder.path());
    for end in ["", "-wal"] {
        let name = format!("{}{end}", SPOOL.file);
        fs::copy(yesterday.path().join(&name), restored.path().join(&name)).expect("restored");
    }
    let again = own(restored.path()).await;
    assert_eq!(again.counts().await.expect("read").waiting, 0);
    assert_eq!(sweep(&again).await, 1);
    assert_eq!(sweep(&again).await, 0, "what was put by is let alone");
    let kept = restored.path().join(FOLDER).join(LEFT).join(path.file_name().expect("a name"));
    assert_eq!(fs::read(kept).expect("kept"), TEXT);
}

#[tokio::test]
async fn messages_without_their_database_are_put_aside_not_swept() {
    let folder = folder();
    let queue = own(folder.path()).await;
    one(&queue).await;
    let copy = killed(folder.path());
    for end in ["", "-wal"] {
        fs::remove_file(copy.path().join(format!("{}{end}", SPOOL.file))).expect("removed");
    }
    let again = own(copy.path()).await;
    assert!(files(copy.path()).is_empty());
    let names = fs::read_dir(copy.path()).expect("readable");
    let names = names.map(|entry| entry.expect("readable").path());
    let aside: Vec<_> =
        names.filter(|path| path.display().to_string().contains("spool.left-")).collect();
    let shard = fs::read_dir(&aside[0]).expect("there").next().expect("one").expect("readable");
    let message =
        fs::read_dir(shard.path()).expect("there").next().expect("one").expect("readable");
    assert_eq!(fs::read(message.path()).expect("readable"), TEXT);
    one(&again).await;
    drop(again);
    assert_eq!(own(copy.path()).await.counts().await.expect("read").waiting, 1);
}

#[tokio::test]
async fn a_broken_database_is_refused_and_says_where_the_messages_are() {
    let folder = folder();
    let queue = own(folder.path()).await;
    one(&queue).await;
    let copy = killed(folder.path());
    let path = copy.path().join(SPOOL.file);
    fs::remove_file(copy.path().join(format!("{}-wal", SPOOL.file))).expect("removed");
    let broken = b"not a database, but long enough to be looked at".repeat(40);
    fs::write(&path, &broken).expect("written");
    for access in [Access::Owner, Access::Visitor] {
        let error = Queue::open(copy.path(), access).await.expect_err("broken");
        let said = error.to_string();
        for words in ["spool.sqlite", "is broken", ".eml", "folder spool", "backup"] {
            assert!(said.contains(words), "{said}");
        }
    }
    assert_eq!(fs::read(&path).expect("there"), broken, "left as it is");
    assert_eq!(files(copy.path()).len(), 1);
}

/// Whatever the moment, an entry that is there is whole, and one whose put returned is there.
#[tokio::test]
async fn a_copy_at_any_moment_has_every_entry_that_was_put() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let mut put = Vec::new();
    for _ in 0..6 {
        put.push(one(&queue).await);
        let beside = queue.clone();
        let under_way = tokio::spawn(async move { one(&beside).await });
        let copy = killed(folder.path());
        put.push(under_way.await.expect("no panic"));
        let again = own(copy.path()).await;
        for id in &put[..put.len() - 1] {
            assert_eq!(octets(&again.message(*id).await.expect("whole")).await, TEXT);
        }
    }
}
