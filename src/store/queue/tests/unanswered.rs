//! The same message once more, after a crash and without one.

use super::*;

async fn put(queue: &Queue, recipients: &[&str], start: Start) -> EntryId {
    let draft = Draft { start, ..Draft::new(recipients) };
    queue.put_unanswered(draft.entry(), "identity").await.expect("put")
}

async fn adopted(queue: &Queue) -> Vec<EntryId> {
    let found = queue.adopt("identity").await.expect("no error");
    found.into_iter().map(|one| one.id).collect()
}

async fn sent(queue: &Queue, id: EntryId) {
    take(queue, id).await;
    let all = settlement(vec![(0, RecipientState::Sent)], Next::Done);
    queue.settle(id, all, None).await.expect("settled");
}

#[tokio::test]
async fn what_a_client_repeats_after_a_crash_is_found_once() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let waiting = Start::At(at(0));
    let answered = put(&queue, &["a@b.c"], waiting).await;
    queue.answered(&[answered]).await.expect("noted");
    let (first, second) =
        (put(&queue, &["A@b.c"], waiting).await, put(&queue, &["a@b.c"], waiting).await);
    assert_eq!(adopted(&queue).await, [], "this process's own are two messages");
    let copy = killed(folder.path());
    let again = own(copy.path()).await;
    assert_eq!(again.adopt("another").await.expect("no error"), []);
    let found = again.adopt("identity").await.expect("no error");
    let expected = Adopted { id: first, recipients: vec!["a@b.c".to_owned()], is_sent: false };
    assert_eq!(found, [expected], "one entry for one message");
    assert_eq!(adopted(&again).await, [second]);
    assert_eq!(adopted(&again).await, []);
}

#[tokio::test]
async fn who_adopted_and_is_not_answered_finds_it_again_after_the_next_crash() {
    let folder = folder();
    let queue = own(folder.path()).await;
    let (one, two) =
        (put(&queue, &["a@b.c"], Start::Taken).await, put(&queue, &["d@e.f"], Start::Taken).await);
    let copy = killed(folder.path());
    let again = own(copy.path()).await;
    assert_eq!(adopted(&again).await, [one, two], "parts of one message");
    again.answered(&[one]).await.expect("noted");
    let copy = killed(copy.path());
    let third = own(copy.path()).await;
    assert_eq!(adopted(&third).await, [two]);
}

#[tokio::test]
async fn what_was_sent_meanwhile_is_known_for_two_days() {
    for (age, found) in [("0", true), ("172000000", true), ("172900000", false)] {
        let folder = folder();
        let queue = own(folder.path()).await;
        let id = put(&queue, &["a@b.c"], Start::At(at(0))).await;
        sent(&queue, id).await;
        let mut writing = queue.0.database.write(Durability::Synced).await.expect("turn");
        let older = sqlx::query("UPDATE unanswered SET done = done - CAST(? AS INTEGER)").bind(age);
        older.execute(writing.connection()).await.expect("run");
        writing.commit().await.expect("committed");
        let copy = killed(folder.path());
        let again = own(copy.path()).await;
        let expected = Adopted { id, recipients: vec!["a@b.c".to_owned()], is_sent: true };
        let expected = if found { vec![expected] } else { vec![] };
        assert_eq!(again.adopt("identity").await.expect("no error"), expected, "{age}");
    }
}

#[tokio::test]
async fn nothing_is_known_of_what_never_was() {
    let folder = folder();
    let queue = own(folder.path()).await;
    put(&queue, &["a@b.c"], Start::Held).await;
    let forgotten = put(&queue, &["d@e.f"], Start::Held).await;
    queue.forget(forgotten).await.expect("forgotten");
    let removed = put(&queue, &["g@h.i"], Start::At(at(0))).await;
    assert!(queue.remove(removed).await.expect("removed"));
    let copy = killed(folder.path());
    let again = own(copy.path()).await;
    assert_eq!(adopted(&again).await, []);
}
