//! Taking and settling.

use super::*;

#[tokio::test]
async fn an_entry_is_taken_by_one_at_its_time() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let id = Draft::starting(Start::At(at(10))).put(&queue).await;
    assert_eq!(queue.next_due().await.expect("read"), Some(at(10)));
    assert!(queue.take(id, at(9)).await.expect("no error").is_none(), "not due");
    assert_eq!(queue.lanes(at(9)).await.expect("read"), Vec::<String>::new());
    let attempts = (0..8).map(|_| {
        let queue = queue.clone();
        tokio::spawn(async move { queue.take(id, at(10)).await.expect("no error") })
    });
    let attempts: Vec<_> = attempts.collect();
    let mut taken = 0;
    for attempt in attempts {
        if let Some(entry) = attempt.await.expect("no panic") {
            assert_eq!((entry.id, entry.state), (id, EntryState::Taken));
            taken += 1;
        }
    }
    assert_eq!(taken, 1);
    assert_eq!(queue.next_due().await.expect("read"), None);
    assert_eq!(queue.due("lane", at(10), 9).await.expect("read"), []);
    assert_eq!(queue.counts().await.expect("read").waiting, 1);
}

#[tokio::test]
async fn lanes_and_what_is_due_come_in_order() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let mut ids = Vec::new();
    for (lane, start) in [
        ("b", Start::At(at(5))),
        ("a", Start::At(at(9))),
        ("b", Start::At(at(1))),
        ("c", Start::Held),
        ("b", Start::Taken),
        ("b", Start::At(at(7))),
    ] {
        ids.push(Draft { lane, ..Draft::starting(start) }.put(&queue).await);
    }
    for (now, lanes) in [(0, vec![]), (1, vec!["b"]), (9, vec!["a", "b"])] {
        assert_eq!(queue.lanes(at(now)).await.expect("read"), lanes, "{now}");
    }
    for (now, limit, expected) in
        [(6, 9, vec![ids[0], ids[2]]), (9, 2, vec![ids[0], ids[2]]), (1, 9, vec![ids[2]])]
    {
        let due = queue.due("b", at(now), limit).await.expect("read");
        assert!(due.iter().all(|entry| entry.sender == "jane@example.com"));
        assert_eq!(due.into_iter().map(|entry| entry.id).collect::<Vec<_>>(), expected, "{now}");
    }
    assert_eq!(queue.next_due().await.expect("read"), Some(at(1)));
}

#[tokio::test]
async fn each_recipient_has_its_own_state() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let id = Draft::new(&["a@b.c", "d@e.f", "g@h.i"]).put(&queue).await;
    take(&queue, id).await;
    let first = vec![(2, RecipientState::Sent), (0, failed("5.1.1"))];
    let again = Next::Again { at: at(60), counts: true };
    let settled = Settlement { reason: "busy".into(), ..settlement(first, again) };
    queue.settle(id, settled, None).await.expect("settled");
    let entry = queue.show(id).await.expect("read").expect("there");
    let states: Vec<_> = entry.recipients.iter().map(|one| one.state.clone()).collect();
    assert_eq!(states, [failed("5.1.1"), RecipientState::Waiting, RecipientState::Sent]);
    assert_eq!((entry.attempts, entry.next, entry.state), (1, at(60), EntryState::Waiting));
    assert_eq!(entry.reason, "busy");
    take(&queue, id).await;
    let wait = settlement(Vec::new(), Next::Again { at: at(90), counts: false });
    queue.settle(id, wait, None).await.expect("settled");
    let entry = take(&queue, id).await;
    assert_eq!((entry.attempts, entry.next, entry.reason.as_str()), (1, at(90), "busy"));
    let last = settlement(vec![(1, RecipientState::Sent)], Next::Dead);
    queue.settle(id, last, None).await.expect("settled");
    assert_eq!(state(&queue, id).await, Some(EntryState::Dead));
    let counts = queue.counts().await.expect("read");
    assert_eq!((counts.waiting, counts.dead, counts.oldest), (0, 1, None));
}

/// What the caller calls next, and what the recipients say.
#[tokio::test]
async fn an_entry_goes_only_when_all_have_it_and_waits_only_for_somebody() {
    use RecipientState::{Sent, Waiting};
    let folder = folder();
    let queue = own(folder.path()).await;
    let again = Next::Again { at: at(1), counts: true };
    for (recipients, next, expected) in [
        ([Sent, Sent], Next::Done, None),
        ([Sent, Sent], again, None),
        ([Sent, Sent], Next::Dead, None),
        ([Sent, Waiting], again, Some(EntryState::Waiting)),
        ([Sent, Waiting], Next::Dead, Some(EntryState::Dead)),
        ([Sent, Waiting], Next::Done, Some(EntryState::Dead)),
        ([Sent, failed("5.0.0")], Next::Done, Some(EntryState::Dead)),
        ([Sent, failed("5.0.0")], again, Some(EntryState::Dead)),
    ] {
        let id = Draft::new(&["a@b.c", "d@e.f"]).put(&queue).await;
        take(&queue, id).await;
        let said = format!("{recipients:?} {next:?}");
        let recipients = recipients.into_iter().enumerate().collect();
        queue.settle(id, settlement(recipients, next), None).await.expect("settled");
        assert_eq!(state(&queue, id).await, expected, "{said}");
        assert_eq!(queue.path(id).await.expect("read").is_some(), expected.is_some());
    }
    assert_eq!(files(folder.path()).len(), 5);
}

#[tokio::test]
async fn a_report_is_queued_with_what_it_reports_or_not_at_all() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let id = one(&queue).await;
    let report = Draft { lane: "reports", ..Draft::new(&["jane@example.com"]) };
    let dead = || settlement(vec![(0, failed("5.1.1"))], Next::Dead);
    let not_taken = queue.settle(id, dead(), Some(report.entry())).await.expect_err("not taken");
    assert!(matches!(not_taken, Error::NotTaken(wrong) if wrong == id), "{not_taken}");
    take(&queue, id).await;
    let nobody = settlement(vec![(7, RecipientState::Sent)], Next::Done);
    let wrong = queue.settle(id, nobody, Some(report.entry())).await.expect_err("nobody");
    assert!(wrong.to_string().contains("no recipient 7"), "{wrong}");
    assert_eq!(files(folder.path()).len(), 1);
    assert_eq!(state(&queue, id).await, Some(EntryState::Taken), "still to be settled");
    queue.settle(id, dead(), Some(report.entry())).await.expect("settled");
    let counts = queue.counts().await.expect("read");
    assert_eq!((counts.waiting, counts.dead), (1, 1));
    assert_eq!(files(folder.path()).len(), 2);
    let due = queue.due("reports", at(0), 9).await.expect("read");
    assert_eq!(octets(&queue.message(due[0].id).await.expect("whole")).await, TEXT);
}

#[tokio::test]
async fn settling_what_is_gone_says_so() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let id = one(&queue).await;
    assert!(queue.remove(id).await.expect("no error"));
    let sent = settlement(vec![(0, RecipientState::Sent)], Next::Done);
    let error = queue.settle(id, sent, None).await.expect_err("gone");
    assert_eq!(error.to_string(), format!("entry {id} of the queue is gone, or is not being sent"));
    assert!(matches!(queue.message(id).await, Err(Error::NotTaken(_))));
    assert!(queue.take(id, at(9)).await.expect("no error").is_none());
}

#[tokio::test]
async fn held_entries_are_released_or_forgotten() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let held = Draft::starting(Start::Held).put(&queue).await;
    assert_eq!(
        (state(&queue, held).await, queue.next_due().await.ok()),
        (Some(EntryState::Held), Some(None))
    );
    assert!(!queue.retry(held, at(1)).await.expect("no error"));
    assert!(!queue.remove(held).await.expect("no error"));
    queue.release(held, at(3)).await.expect("released");
    assert_eq!(queue.next_due().await.expect("read"), Some(at(3)));
    assert!(matches!(queue.release(held, at(3)).await, Err(Error::NotTaken(_))));
    assert!(matches!(queue.forget(held).await, Err(Error::NotTaken(_))), "it is promised");
    let taken = Draft::starting(Start::Taken).put(&queue).await;
    assert_eq!(state(&queue, taken).await, Some(EntryState::Taken));
    queue.forget(taken).await.expect("forgotten");
    queue.forget(taken).await.expect("gone already");
    assert_eq!((state(&queue, taken).await, files(folder.path()).len()), (None, 1));
    assert!(matches!(queue.release(taken, at(3)).await, Err(Error::NotTaken(_))));
}

#[tokio::test]
async fn a_message_that_is_gone_or_cut_names_its_file() {
    let folder = folder();
    let queue = own(folder.path()).await;
    for (damage, words) in [("cut", "has 3 octets, and had 20"), ("gone", "gone"), ("folder", "")] {
        let id = one(&queue).await;
        let path = queue.path(id).await.expect("read").expect("there");
        match damage {
            "cut" => fs::write(&path, b"Sub").expect("written"),
            _ => fs::remove_file(&path).expect("removed"),
        }
        if damage == "folder" {
            fs::create_dir(&path).expect("made");
        }
        let error = queue.message(id).await.expect_err(damage);
        assert!(matches!(&error, Error::Message { path: named, .. } if *named == path), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(!error.to_string().contains("Subject"), "{error}");
        kill(&queue, id).await;
        assert!(queue.remove(id).await.expect("no error"), "{damage}");
    }
}
