//! A hundred thousand entries.

use std::time::Instant;

use super::*;
use crate::store::queue::{attempt, listing};

const MANY: &str = "
WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 100000)
INSERT INTO entry (role, role_key, login, lane, sender, is_eight_bit, is_smtputf8, order_key, file,
    size, header_size, accepted, state, next, reason)
SELECT 'Sales', 'sales', 'shop', 'lane ' || (n % 50), 'a@b.c', 0, 0, 'a@b.c',
    printf('%032x', n), 1000, 100, 1760000000000 + n,
    CASE n % 10 WHEN 0 THEN 3 WHEN 1 THEN 1 WHEN 2 THEN 2 ELSE 0 END,
    1760000000000 + n, 'x' FROM number;
INSERT INTO recipient (entry, position, address) SELECT id, 0, 'd@e.f' FROM entry";

#[tokio::test]
async fn a_hundred_thousand_entries_open_and_answer() {
    let folder = folder();
    let queue = own(folder.path()).await;
    run(&queue, MANY).await;
    assert_eq!(queue.counts().await.expect("read").octets, 100_000_000);
    queue.0.database.close().await;
    let begun = Instant::now();
    let queue = own(folder.path()).await;
    let opened = begun.elapsed();
    let now = SystemTime::now() + SECOND;
    let lanes = queue.lanes(now).await.expect("read");
    assert_eq!(lanes.len(), 40);
    let mut due = 0;
    for lane in &lanes {
        let entries = queue.due(lane, now, 20).await.expect("read");
        assert!(entries.is_sorted_by_key(|entry| entry.id));
        due += entries.len();
    }
    // Of the other ten all are dead or were held.
    assert_eq!(due, 40 * 20);
    let answered = begun.elapsed() - opened;
    let counts = queue.counts().await.expect("read");
    assert_eq!((counts.waiting, counts.dead), (80_000, 10_000));
    assert_eq!(
        counts.oldest,
        Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_760_000_000_001))
    );
    assert_eq!(queue.list(Filter::default(), None, 100).await.expect("read").len(), 100);
    let total = begun.elapsed();
    eprintln!(
        "100,000 entries: opened in {opened:?}, lanes and due of all {answered:?}, {total:?}"
    );
}

#[tokio::test]
async fn no_question_that_is_asked_often_reads_a_table_through() {
    let folder = folder();
    let queue = own(folder.path()).await;
    for statement in attempt::HOT.iter().chain(listing::HOT) {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(explain).fetch_all(queue.0.database.readers()).await.expect("planned");
        assert!(!plan.is_empty());
        for (.., step) in plan {
            // `step` is the list of lanes, `total` has one row.
            let is_small = step == "SCAN step" || step == "SCAN total" || step.contains("CONSTANT");
            assert!(is_small || !step.contains("SCAN"), "{statement}: {step}");
            assert!(!step.contains("TEMP B-TREE"), "{statement}: {step}");
        }
    }
}

/// What a client waits for its 250 where everything is written down first: one after the other, and
/// sixteen at once, who share their commits.
#[tokio::test(flavor = "multi_thread")]
async fn messages_that_come_together_share_the_disk() {
    const MESSAGES: usize = 160;
    for clients in [1, 16] {
        let folder = folder();
        let queue = own(folder.path()).await;
        let begun = Instant::now();
        let sessions = (0..clients).map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move {
                for _ in 0..MESSAGES / clients {
                    let message = Message::from_bytes(Bytes::from(vec![b'x'; 5 << 10]));
                    let draft = Draft { message, ..Draft::new(&["a@b.c"]) };
                    let put = queue.put_unanswered(draft.entry(), "identity").await;
                    queue.answered(&[put.expect("put")]).await.expect("noted");
                }
            })
        });
        for session in sessions.collect::<Vec<_>>() {
            session.await.expect("no panic");
        }
        let took = begun.elapsed();
        let each = took / u32::try_from(MESSAGES).expect("few");
        assert_eq!(queue.counts().await.expect("read").waiting, MESSAGES as u64);
        eprintln!("{MESSAGES} messages of 5 KiB, {clients} at once: {took:?}, {each:?} each");
    }
}

#[tokio::test]
async fn pages_of_a_long_queue_are_removed_in_one_commit_each() {
    let folder = folder();
    let queue = own(folder.path()).await;
    run(&queue, MANY).await;
    let begun = Instant::now();
    let (mut after, mut left) = (None, 0);
    for _ in 0..10 {
        let page = queue.list(Filter::default(), after, 500).await.expect("read");
        after = page.last().map(|one| one.id);
        let ids: Vec<_> = page.iter().map(|one| one.id).collect();
        left += queue.remove_many(&ids).await.expect("removed").len();
    }
    // Of ten one is taken, one held.
    let counts = queue.counts().await.expect("read");
    assert_eq!((left, counts.waiting + counts.dead), (1000, 96_000));
    eprintln!("4,000 entries removed in {:?}", begun.elapsed());
}
