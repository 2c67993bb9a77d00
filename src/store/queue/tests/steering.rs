//! Lists, and what a visitor may do beside the owner.

use super::*;

async fn visit(folder: &Path) -> Queue {
    Queue::open(folder, Access::Visitor).await.expect("opened")
}

#[tokio::test]
async fn a_visitor_makes_nothing() {
    let folder = folder();
    for path in [folder.path().join("none"), folder.path().to_owned()] {
        let error = Queue::open(&path, Access::Visitor).await.expect_err("no queue");
        let said = error.to_string();
        assert!(matches!(error, Error::Open { .. }), "{said}");
        assert!(said.contains("Proxy.StateDirectory") && said.contains("spool.sqlite"), "{said}");
    }
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    fs::write(folder.path().join(SPOOL.file), b"").expect("written");
    let older = Queue::open(folder.path(), Access::Visitor).await.expect_err("older");
    assert!(older.to_string().contains("older version"), "{older}");
}

#[tokio::test]
async fn a_visitor_works_beside_the_owner_and_leaves_what_is_taken() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let [taken, held, waiting, dead] = [
        Draft::starting(Start::Taken).put(&queue).await,
        Draft::starting(Start::Held).put(&queue).await,
        Draft::starting(Start::At(at(50))).put(&queue).await,
        one(&queue).await,
    ];
    kill(&queue, dead).await;
    let visitor = visit(folder.path()).await;
    assert_eq!(state(&queue, taken).await, Some(EntryState::Taken), "opening changes nothing");
    assert_eq!(state(&queue, held).await, Some(EntryState::Held));
    for id in [taken, held] {
        assert!(!visitor.retry(id, at(5)).await.expect("no error"));
        assert!(!visitor.remove(id).await.expect("no error"));
    }
    assert!(visitor.retry(waiting, at(5)).await.expect("no error"));
    assert_eq!(queue.next_due().await.expect("read"), Some(at(5)));
    assert!(visitor.retry(dead, at(7)).await.expect("no error"));
    let entry = queue.show(dead).await.expect("read").expect("there");
    assert_eq!((entry.state, entry.attempts), (EntryState::Waiting, 0));
    assert_eq!((entry.accepted, entry.next), (at(7), at(7)));
    assert_eq!(entry.recipients[0].state, RecipientState::Waiting);
    let path = queue.path(waiting).await.expect("read").expect("there");
    assert!(visitor.remove(waiting).await.expect("no error"));
    assert!(!path.exists() && !visitor.remove(waiting).await.expect("no error"));
    assert!(queue.take(waiting, at(9)).await.expect("no error").is_none());
    assert_eq!(queue.counts().await.expect("read"), visitor.counts().await.expect("read"));
    assert!(format!("{visitor:?}").contains("Queue"));
}

#[tokio::test]
async fn an_entry_may_be_freed_of_its_mailbox_unless_it_is_being_sent() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let taken = Draft::starting(Start::Taken).put(&queue).await;
    assert!(!queue.free_of_mailbox(taken).await.expect("no error"));
    let waiting = one(&queue).await;
    assert!(queue.free_of_mailbox(waiting).await.expect("no error"));
    let entry = queue.show(waiting).await.expect("read").expect("there");
    assert_eq!(entry.lane, "sales", "its role alone");
}

#[tokio::test]
async fn owner_and_visitor_at_the_same_time_take_or_drop_each_entry_once() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let visitor = visit(folder.path()).await;
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(one(&queue).await);
    }
    let taking = async {
        let mut taken = Vec::new();
        for id in &ids {
            taken.push(queue.take(*id, at(9)).await.expect("no error").is_some());
        }
        taken
    };
    let dropping = async {
        let mut dropped = Vec::new();
        for id in &ids {
            dropped.push(visitor.remove(*id).await.expect("no error"));
        }
        dropped
    };
    let (taken, dropped) = tokio::join!(taking, dropping);
    for (id, (taken, dropped)) in ids.iter().zip(taken.iter().zip(&dropped)) {
        assert!(taken != dropped, "{id}: taken {taken}, dropped {dropped}");
    }
    let kept = taken.iter().filter(|taken| **taken).count();
    assert_eq!(files(folder.path()).len(), kept);
}

#[tokio::test]
async fn a_dead_entry_is_tried_again_for_those_who_did_not_get_it() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let id = Draft::new(&["a@b.c", "d@e.f"]).put(&queue).await;
    take(&queue, id).await;
    let partly = vec![(0, RecipientState::Sent), (1, failed("5.1.1"))];
    queue.settle(id, settlement(partly, Next::Dead), None).await.expect("settled");
    assert!(queue.take(id, at(99)).await.expect("no error").is_none(), "dead");
    assert!(queue.retry(id, at(99)).await.expect("no error"));
    let states: Vec<_> =
        take(&queue, id).await.recipients.into_iter().map(|one| one.state).collect();
    assert_eq!(states, [RecipientState::Sent, RecipientState::Waiting]);
    assert_eq!(queue.counts().await.expect("read").oldest, Some(at(99)));
}

#[tokio::test]
async fn lists_come_in_pages_and_by_filter() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let mut ids = Vec::new();
    for (number, role) in ["Sales", "Ünit", "sales", "Other"].into_iter().enumerate() {
        let draft = Draft { accepted: at(10 - number as u64), ..Draft::new(&["a@b.c", "d@e.f"]) };
        ids.push(queue.put(NewEntry { role, ..draft.entry() }).await.expect("put"));
    }
    take(&queue, ids[0]).await;
    let partly = vec![(0, RecipientState::Sent), (1, failed("5.1.1"))];
    queue.settle(ids[0], settlement(partly, Next::Dead), None).await.expect("settled");
    let role = |name: &str| Some(name.to_owned());
    for (dead, role, after, limit, expected) in [
        (None, None, None, 9, vec![0, 1, 2, 3]),
        (None, None, Some(1), 1, vec![2]),
        (Some(true), None, None, 9, vec![0]),
        (Some(false), None, None, 9, vec![1, 2, 3]),
        (None, role("SALES"), None, 9, vec![0, 2]),
        (Some(false), role("sales"), None, 9, vec![2]),
        (None, role("ünit"), None, 9, vec![1]),
        (None, role("nobody"), None, 9, vec![]),
        (None, None, Some(3), 9, vec![]),
    ] {
        let after = after.map(|number: usize| ids[number]);
        let found = queue.list(Filter { dead, role }, after, limit).await.expect("read");
        let expected: Vec<_> = expected.into_iter().map(|number: usize| ids[number]).collect();
        assert_eq!(found.iter().map(|one| one.id).collect::<Vec<_>>(), expected);
    }
    let all = queue.list(Filter::default(), None, 9).await.expect("read");
    let dead = Summary {
        id: ids[0],
        role: "Sales".into(),
        sender: "Jane@Example.com".into(),
        recipient: "d@e.f".into(),
        open: 1,
        size: TEXT.len() as u64,
        accepted: at(10),
        next: at(0),
        attempts: 1,
        state: EntryState::Dead,
        reason: "first reason".into(),
    };
    assert_eq!(all[0], dead);
    assert_eq!((all[1].recipient.as_str(), all[1].open), ("a@b.c", 2));
    let counts = Counts { waiting: 3, dead: 1, octets: 4 * TEXT.len() as u64, oldest: Some(at(7)) };
    assert_eq!(queue.counts().await.expect("read"), counts);
}

#[tokio::test]
async fn many_are_steered_at_once_and_what_is_being_sent_is_left() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let (waiting, dead, taken) = (one(&queue).await, one(&queue).await, one(&queue).await);
    kill(&queue, dead).await;
    take(&queue, taken).await;
    let all = [waiting, dead, taken];
    assert_eq!(queue.retry_many(&all, at(7)).await.expect("no error"), [taken]);
    // Who waits for it hears of it.
    tokio::time::timeout(30 * SECOND, queue.retried()).await.expect("told");
    let entry = queue.show(dead).await.expect("read").expect("there");
    assert_eq!((entry.state, entry.next, entry.attempts), (EntryState::Waiting, at(7), 0));
    assert_eq!(queue.remove_many(&all).await.expect("no error"), [taken]);
    assert_eq!((files(folder.path()).len(), queue.counts().await.expect("read").waiting), (1, 1));
}
