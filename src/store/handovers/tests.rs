//! Notes of attempts, on a real database.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::store::queue::{Access, Queue};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn at(days: u32) -> SystemTime {
    SystemTime::UNIX_EPOCH + DAY * (20_000 + days)
}

async fn open(folder: &Path) -> Handovers {
    Queue::open(folder, Access::Owner).await.expect("opened").handovers()
}

async fn since(handovers: &Handovers, part: &str) -> Option<SystemTime> {
    handovers.uncertain(part).await.expect("read").map(|handover| handover.since)
}

#[tokio::test]
async fn an_attempt_is_uncertain_until_its_outcome_is_known() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let handovers = open(folder.path()).await;
    assert_eq!(handovers.uncertain("p").await.expect("read"), None);
    let steps = [
        (at(0), None, None),
        (at(1), Some("draft"), Some("draft")),
        (at(2), None, Some("draft")),
        (at(2), Some("other"), Some("other")),
    ];
    for (now, trace, kept) in steps {
        handovers.begin("p", now, trace).await.expect("noted");
        let expected = Handover { since: at(0), trace: kept.map(str::to_owned) };
        assert_eq!(handovers.uncertain("p").await.expect("read"), Some(expected));
    }
    assert_eq!(since(&handovers, "P").await, None, "names are compared exactly");
    handovers.settle("p", "m", None).await.expect("settled");
    assert_eq!(since(&handovers, "p").await, None);
    assert_eq!(handovers.copies("m", at(0)).await.expect("read"), 0);
    handovers.settle("p", "m", None).await.expect("no attempt is no error");
}

#[tokio::test]
async fn copies_are_counted_from_a_time_on() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let handovers = open(folder.path()).await;
    let hour = Duration::from_secs(3600);
    for (part, message, made) in
        [("a", "m", at(0)), ("b", "m", at(0) + hour), ("c", "n", at(0)), ("d", "m", at(0) + hour)]
    {
        handovers.begin(part, made, None).await.expect("noted");
        handovers.settle(part, message, Some(made)).await.expect("settled");
    }
    for (message, since, count) in [
        ("m", at(0), 3),
        ("m", at(0) + Duration::from_millis(1), 2),
        ("m", at(0) + hour, 2),
        ("m", at(1), 0),
        ("n", at(0), 1),
        ("o", at(0), 0),
    ] {
        assert_eq!(handovers.copies(message, since).await.expect("read"), count, "{message}");
    }
}

#[tokio::test]
async fn what_is_old_goes_as_new_comes() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let handovers = open(folder.path()).await;
    handovers.begin("old", at(0), None).await.expect("noted");
    handovers.settle("x", "m", Some(at(0))).await.expect("settled");
    handovers.begin("young", at(6), None).await.expect("noted");
    assert_eq!(since(&handovers, "old").await, Some(at(0)), "not yet a week");
    handovers.begin("new", at(8), None).await.expect("noted");
    assert_eq!(since(&handovers, "old").await, None);
    assert_eq!(since(&handovers, "young").await, Some(at(6)));
    handovers.settle("x", "n", Some(at(2))).await.expect("settled");
    assert_eq!(handovers.copies("m", at(0)).await.expect("read"), 1, "exactly two days");
    handovers.settle("x", "n", Some(at(3))).await.expect("settled");
    assert_eq!(handovers.copies("m", at(0)).await.expect("read"), 0);
    assert_eq!(handovers.copies("n", at(0)).await.expect("read"), 2);
}

#[tokio::test]
async fn a_killed_process_loses_none() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let handovers = open(folder.path()).await;
    handovers.begin("p", at(0), Some("draft")).await.expect("noted");
    handovers.settle("q", "m", Some(at(0))).await.expect("settled");
    // The files as a killed process leaves them: nothing is closed.
    let killed = tempfile::tempdir().expect("temporary folder");
    for name in ["spool.sqlite", "spool.sqlite-wal"] {
        fs::copy(folder.path().join(name), killed.path().join(name)).expect("copied");
    }
    let again = open(killed.path()).await;
    assert_eq!(since(&again, "p").await, Some(at(0)));
    assert_eq!(again.copies("m", at(0)).await.expect("read"), 1);
}

#[tokio::test]
async fn no_question_reads_a_table_through() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let handovers = open(folder.path()).await;
    for statement in [
        "EXPLAIN QUERY PLAN SELECT since, trace FROM handover WHERE part = ?",
        "EXPLAIN QUERY PLAN SELECT part FROM handover WHERE since < ? LIMIT ?",
        "EXPLAIN QUERY PLAN SELECT rowid FROM copy WHERE made < ? LIMIT ?",
        "EXPLAIN QUERY PLAN SELECT count(*) FROM copy WHERE message = ? AND made >= ?",
    ] {
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(statement).fetch_all(handovers.0.readers()).await.expect("planned");
        let searches = plan.iter().all(|(.., step)| step.starts_with("SEARCH"));
        assert!(searches && !plan.is_empty(), "{statement}: {plan:?}");
    }
}
