//! Folders, messages, flags, APPENDs.

use std::collections::HashSet;
use std::time::Instant;

use time::Duration;

use super::*;
use crate::mail::mailbox::ModSeq;

#[tokio::test]
async fn added_messages_get_uids_in_order_and_come_back_as_told() {
    let folder = folder();
    let store = open(folder.path()).await;
    let (mailbox, key) = one_folder(&store).await;
    let first = apply(&mailbox, key, added(["c", "a", "b"])).await;
    assert_eq!(first.added, uids(&[1, 2, 3]));
    assert_eq!((first.uid_next, first.highest_modseq), (uids(&[4])[0], ModSeq(2)));
    assert_eq!(mailbox.entries(key).await.expect("read"), first.entries);
    assert_eq!(first.entries[0].date, datetime!(2024-02-29 12:30:15 +05:30));
    assert_eq!(first.entries[0].date.offset().whole_seconds(), 19_800);
    assert!(first.entries[0].flags.has_keyword("work"));
    let second = apply(&mailbox, key, added(["d"])).await;
    assert_eq!((numbers(&second.entries), second.highest_modseq), (vec![4], ModSeq(3)));
    let known = mailbox.known(key).await.expect("read");
    assert_eq!(known[1].graph_id, "a");
    assert_eq!(known[1].etag.as_deref(), Some("etag of a"));
    let record = mailbox.folders().await.expect("read").remove(0);
    assert_eq!((record.uid_next.number(), record.highest_modseq), (5, ModSeq(3)));
}

#[tokio::test]
async fn messages_are_found_by_id_and_uid_in_the_order_asked() {
    let folder = folder();
    let store = open(folder.path()).await;
    let (mailbox, key) = one_folder(&store).await;
    apply(&mailbox, key, added(["a", "b", "c"])).await;
    let asked = uids(&[3, 99, 1, 3]);
    let by_uid = mailbox.known_by_uid(key, &asked).await.expect("read");
    let ids: Vec<_> = by_uid.iter().map(|known| known.graph_id.as_str()).collect();
    assert_eq!(ids, ["c", "a", "c"]);
    let headers = mailbox.headers(key, &asked).await.expect("read");
    assert_eq!(headers.len(), 3);
    assert_eq!(headers[1], (Uid::FIRST, Bytes::from("Subject: a\r\n\r\n")));
    let ids = ["b".to_owned(), "nobody".to_owned(), "a".to_owned()];
    let by_id = mailbox.known_of(key, &ids).await.expect("read");
    assert_eq!(by_id.iter().map(|known| known.uid).collect::<Vec<_>>(), uids(&[1, 2]));
}

#[tokio::test]
async fn ids_are_compared_octet_by_octet() {
    let folder = folder();
    let store = open(folder.path()).await;
    let (mailbox, key) = one_folder(&store).await;
    let ids = [
        "AAMk-x=",
        "aamk-x=",
        "AAMk-X=",
        "ä",
        "a\u{308}",
        "x ",
        "x",
        "\u{1f600}",
        "it's\"\\",
        "nul\0a",
        "nul\0b",
    ];
    let applied = apply(&mailbox, key, added(ids)).await;
    assert_eq!(applied.added.len(), ids.len());
    let objects: HashSet<_> = applied.entries.iter().map(|entry| entry.object_id).collect();
    assert_eq!(objects.len(), ids.len());
    for (id, uid) in ids.iter().zip(&applied.added) {
        let known = mailbox.known_of(key, &[(*id).to_owned()]).await.expect("read");
        assert_eq!((known.len(), known[0].uid), (1, *uid), "{id}");
    }
    let gone = apply(&mailbox, key, removed(&["aamk-x=", "ä"])).await;
    assert_eq!(gone.removed, uids(&[2, 4]));
}

#[tokio::test]
async fn an_object_id_is_the_begin_of_sha_256() {
    let folder = folder();
    let store = open(folder.path()).await;
    let (mailbox, key) = one_folder(&store).await;
    // FIPS 180-2, appendix B.1.
    let entry = apply(&mailbox, key, added(["abc"])).await.entries.remove(0);
    assert_eq!(entry.object_id[..4], [0xba, 0x78, 0x16, 0xbf]);
}

#[tokio::test]
async fn flags_raise_the_modification_sequence_only_when_they_change() {
    let folder = folder();
    let store = open(folder.path()).await;
    let (mailbox, key) = one_folder(&store).await;
    let old = apply(&mailbox, key, added(["a", "b"])).await.entries;
    let same = apply(&mailbox, key, flagged("a", old[0].flags.clone())).await;
    assert_eq!((same.highest_modseq, same.entries.len()), (ModSeq(2), 0));
    let flags = Flags::default().with(Flag::Flagged);
    let changed = apply(&mailbox, key, flagged("a", flags.clone())).await;
    assert_eq!((changed.highest_modseq, numbers(&changed.entries)), (ModSeq(3), vec![1]));
    let now = mailbox.entries(key).await.expect("read");
    assert_eq!((now[0].modseq, now[1].modseq), (ModSeq(3), ModSeq(2)));
    assert_eq!(now[0].flags, flags);
    let unknown = apply(&mailbox, key, flagged("nobody", flags)).await;
    assert_eq!((unknown.highest_modseq, unknown.entries.len()), (ModSeq(3), 0));
}

#[tokio::test]
async fn an_etag_and_a_size_are_no_change_of_flags() {
    let folder = folder();
    let store = open(folder.path()).await;
    let (mailbox, key) = one_folder(&store).await;
    apply(&mailbox, key, added(["a"])).await;
    let update = |etag: &str, size| Update {
        graph_id: "a".into(),
        etag: Some(etag.into()),
        size,
        ..Update::default()
    };
    for (etag, size, seen, kept) in [
        ("2", None, 0, Size::Estimated(1000)),
        ("3", Some(Size::Exact(5)), 1, Size::Exact(5)),
        ("4", Some(Size::Estimated(9)), 0, Size::Exact(5)),
        ("5", Some(Size::Exact(6)), 1, Size::Exact(6)),
    ] {
        let changes = Changes { updated: vec![update(etag, size)], ..Changes::default() };
        let applied = apply(&mailbox, key, changes).await;
        assert_eq!((applied.entries.len(), applied.highest_modseq), (seen, ModSeq(2)));
        let known = mailbox.known(key).await.expect("read").remove(0);
        assert_eq!((known.etag.as_deref(), known.size), (Some(etag), kept));
    }
}

#[tokio::test]
async fn what_is_added_again_keeps_its_uid_date_and_header() {
    let folder = folder();
    let store = open(folder.path()).await;
    let (mailbox, key) = one_folder(&store).await;
    apply(&mailbox, key, added(["a", "b"])).await;
    let mut again = message("a");
    again.flags = Flags::default();
    again.date = OffsetDateTime::UNIX_EPOCH;
    again.header = Bytes::from("Subject: other\r\n\r\n");
    again.etag = Some("newer".into());
    let changes = Changes { added: vec![again, message("c"), message("c")], ..Changes::default() };
    let applied = apply(&mailbox, key, changes).await;
    assert_eq!(applied.added, uids(&[1, 3, 3]));
    assert_eq!(numbers(&applied.entries), [1, 3]);
    let known = mailbox.known(key).await.expect("read");
    assert_eq!(known[0].date, datetime!(2024-02-29 12:30:15 +05:30));
    assert_eq!((known[0].etag.as_deref(), &known[0].flags), (Some("newer"), &Flags::default()));
    let headers = mailbox.headers(key, &uids(&[1])).await.expect("read");
    assert_eq!(headers[0].1, "Subject: a\r\n\r\n");
}

#[tokio::test]
async fn what_is_replaced_gets_a_new_uid_and_loses_its_content() {
    let folder = folder();
    let store = open(folder.path()).await;
    let (mailbox, key) = one_folder(&store).await;
    apply(&mailbox, key, added(["draft", "b"])).await;
    put(&mailbox, "draft", b"old").await;
    let replaced = vec![NewMessage { revision: "2".into(), ..message("draft") }];
    let applied = apply(&mailbox, key, Changes { replaced, ..Changes::default() }).await;
    assert_eq!((applied.removed, numbers(&applied.entries)), (uids(&[1]), vec![3]));
    assert_eq!(applied.entries[0].size, Size::Estimated(1000));
    assert_eq!(applied.added, []);
    assert_eq!(cached(&mailbox, "draft").await, None);
    assert_eq!(mailbox.known(key).await.expect("read")[1].revision, "2");
    assert_eq!(mailbox.headers(key, &uids(&[1, 3])).await.expect("read").len(), 1);
    let gone = mailbox.vanished(key, ModSeq(2)).await.expect("read");
    assert_eq!(gone, Some(uids(&[1])));
}

#[tokio::test]
async fn what_is_removed_and_added_in_one_go_comes_back_as_another() {
    let folder = folder();
    let store = open(folder.path()).await;
    let (mailbox, key) = one_folder(&store).await;
    apply(&mailbox, key, added(["a"])).await;
    let changes = Changes { removed: vec!["a".into(), "nobody".into()], ..added(["a"]) };
    let applied = apply(&mailbox, key, changes).await;
    assert_eq!((applied.removed, applied.added), (uids(&[1]), uids(&[2])));
    assert_eq!(numbers(&mailbox.entries(key).await.expect("read")), [2]);
}

#[tokio::test]
async fn vanished_uids_are_told_from_any_point_that_is_known() {
    let folder = folder();
    let store = open(folder.path()).await;
    let (mailbox, key) = one_folder(&store).await;
    apply(&mailbox, key, added(["a", "b", "c", "d"])).await;
    let nothing = apply(&mailbox, key, removed(&["nobody"])).await;
    assert_eq!(nothing.highest_modseq, ModSeq(2));
    assert_eq!(apply(&mailbox, key, removed(&["c", "a"])).await.removed, uids(&[1, 3]));
    apply(&mailbox, key, removed(&["b"])).await;
    for (since, gone) in
        [(0, &[1, 2, 3][..]), (2, &[1, 2, 3]), (3, &[2]), (4, &[]), (u64::MAX, &[])]
    {
        let vanished = mailbox.vanished(key, ModSeq(since)).await.expect("read");
        assert_eq!(vanished, Some(uids(gone)), "{since}");
    }
    assert_eq!(mailbox.vanished(FolderKey(99), ModSeq(1)).await.expect("read"), None);
}

#[tokio::test]
async fn vanished_uids_are_forgotten_from_the_oldest_on() {
    let folder = folder();
    let store = open(folder.path()).await;
    let (mailbox, key) = one_folder(&store).await;
    let limit = usize::try_from(changes::MAX_VANISHED).expect("small");
    let ids: Vec<_> = (0..limit + 2).map(|number| number.to_string()).collect();
    apply(&mailbox, key, added(&ids)).await;
    apply(&mailbox, key, removed(&["0"])).await;
    let most = Changes { removed: ids[1..limit].to_vec(), ..Changes::default() };
    apply(&mailbox, key, most).await;
    let all = mailbox.vanished(key, ModSeq(0)).await.expect("read").expect("all are known");
    assert_eq!(all.len(), limit);
    apply(&mailbox, key, removed(&[&ids[limit]])).await;
    assert_eq!(mailbox.vanished(key, ModSeq(2)).await.expect("read"), None);
    let since = mailbox.vanished(key, ModSeq(3)).await.expect("read").expect("known");
    assert_eq!(since.len(), limit);
}

#[tokio::test]
async fn several_folders_change_together_or_not_at_all() {
    let folder = folder();
    let store = open(folder.path()).await;
    let mailbox = store.mailbox("a@b").await.expect("a mailbox");
    let folders = mailbox.put_folders(&[facts("F"), facts("G")], &[], None).await.expect("stored");
    let (from, to) = (folders[0].key, folders[1].key);
    apply(&mailbox, from, added(["a"])).await;
    let moved = vec![(from, removed(&["a"])), (to, added(["a"]))];
    let applied = mailbox.apply(moved).await.expect("applied");
    assert_eq!((&applied[0].removed, &applied[1].added), (&uids(&[1]), &uids(&[1])));
    assert_eq!(applied[0].folder, from);
    let half = vec![(to, removed(&["a"])), (FolderKey(99), added(["b"]))];
    assert!(matches!(mailbox.apply(half).await, Err(Error::Failed(_))));
    assert_eq!(numbers(&mailbox.entries(to).await.expect("read")), [1]);
    // A folder of another mailbox is none.
    let other = store.mailbox("c@d").await.expect("a mailbox");
    assert!(other.apply(vec![(to, added(["b"]))]).await.is_err());
}

#[tokio::test]
async fn links_are_kept_and_forgotten_with_the_changes() {
    let folder = folder();
    let store = open(folder.path()).await;
    let (mailbox, key) = one_folder(&store).await;
    let link = |text: &str| Some(text.to_owned());
    for (changes, expected, is_indexed) in [
        (Changes { link: link("1"), ..Changes::default() }, link("1"), false),
        (Changes { now_indexed: true, ..Changes::default() }, link("1"), true),
        (Changes { link: link("2"), ..added(["a"]) }, link("2"), true),
        (Changes { forget_link: true, ..Changes::default() }, None, true),
        (Changes { link: link("3"), forget_link: true, ..Changes::default() }, link("3"), true),
    ] {
        apply(&mailbox, key, changes).await;
        let record = mailbox.folders().await.expect("read").remove(0);
        assert_eq!((record.link, record.is_indexed), (expected, is_indexed));
    }
    let record = mailbox.folders().await.expect("read").remove(0);
    assert_eq!(record.highest_modseq, ModSeq(2), "a link is no change of messages");
}

#[tokio::test]
async fn folders_made_again_have_higher_uid_validity() {
    let folder = folder();
    let store = open(folder.path()).await;
    let mailbox = store.mailbox("a@b").await.expect("a mailbox");
    let mut highest = 0;
    for _ in 0..5 {
        let all =
            mailbox.put_folders(&[facts("F"), facts("G")], &[], Some("l")).await.expect("put");
        let values: Vec<_> = all.iter().map(|record| record.uid_validity).collect();
        assert!(values.iter().all(|value| *value > highest), "{values:?} {highest}");
        assert_eq!(values[0], values[1], "they came together");
        highest = values[0].max(values[1]);
        apply(&mailbox, all[0].key, added(["a"])).await;
        let gone = ["F".to_owned(), "G".to_owned(), "nobody".to_owned()];
        assert_eq!(mailbox.put_folders(&[], &gone, None).await.expect("put"), []);
        assert_eq!(mailbox.entries(all[0].key).await.expect("read"), []);
    }
    assert_eq!(mailbox.setting("folders_link").await.expect("read").as_deref(), Some("l"));
}

#[tokio::test]
async fn what_the_service_says_of_a_folder_changes_nothing_of_ours() {
    let folder = folder();
    let store = open(folder.path()).await;
    let (mailbox, key) = one_folder(&store).await;
    apply(&mailbox, key, Changes { link: Some("1".into()), ..added(["a"]) }).await;
    mailbox.set_recent(key, uids(&[2])[0]).await.expect("set");
    let before = mailbox.folders().await.expect("read").remove(0);
    let renamed = FolderFacts {
        display_name: "New \u{e9}".into(),
        parent_id: Some("P".into()),
        well_known: Some("archive".into()),
        total: u32::MAX,
        ..facts("F")
    };
    let both = ["F".to_owned()];
    let all = mailbox.put_folders(std::slice::from_ref(&renamed), &both, None).await.expect("put");
    assert_eq!(all, [FolderRecord { facts: renamed, ..before }]);
    assert_eq!(all[0].recent_from.number(), 2);
}

#[tokio::test]
async fn names_are_subscribed_with_and_without_a_folder() {
    let folder = folder();
    let store = open(folder.path()).await;
    let mailbox = store.mailbox("a@b").await.expect("a mailbox");
    for (name, on) in [("b", true), ("a/\u{fc}", false), ("b", false), ("c", true)] {
        mailbox.subscribe(name, on).await.expect("stored");
    }
    let list = [("a/\u{fc}".to_owned(), false), ("b".to_owned(), false), ("c".to_owned(), true)];
    assert_eq!(mailbox.subscriptions().await.expect("read"), list);
    let other = store.mailbox("A@b").await.expect("a mailbox");
    assert_eq!(other.subscriptions().await.expect("read"), []);
}

#[tokio::test]
async fn settings_are_set_and_removed() {
    let folder = folder();
    let store = open(folder.path()).await;
    let mailbox = store.mailbox("a@b").await.expect("a mailbox");
    for value in [None, Some("1"), Some(""), None, None] {
        mailbox.set_setting("x", value).await.expect("stored");
        assert_eq!(mailbox.setting("x").await.expect("read").as_deref(), value);
        assert_eq!(mailbox.setting("y").await.expect("read"), None);
    }
}

#[tokio::test]
async fn an_append_that_was_not_ended_is_found_again_for_a_week() {
    let folder = folder();
    let store = open(folder.path()).await;
    let (mailbox, key) = one_folder(&store).await;
    let started = DATE.replace_nanosecond(0).expect("valid").to_offset(time::UtcOffset::UTC);
    let first = AppendRecord {
        folder: key,
        digest: "00ff".into(),
        message_id: Some("<a@b>".into()),
        started,
        graph_id: None,
    };
    assert_eq!(mailbox.begin_append(&first).await.expect("noted"), None);
    let noted = AppendRecord { graph_id: Some("G".into()), ..first.clone() };
    mailbox.note_append(&noted).await.expect("noted");
    let again = AppendRecord { started: started + Duration::days(6), ..first.clone() };
    assert_eq!(mailbox.begin_append(&again).await.expect("read").as_ref(), Some(&noted));
    let other = AppendRecord { digest: "01".into(), ..first.clone() };
    assert_eq!(mailbox.begin_append(&other).await.expect("noted"), None);
    assert_eq!(mailbox.unfinished_appends().await.expect("read"), [noted, other.clone()]);
    let late = AppendRecord { started: started + Duration::days(8), ..first };
    assert_eq!(mailbox.begin_append(&late).await.expect("noted"), None);
    mailbox.end_append(&late).await.expect("ended");
    assert_eq!(mailbox.unfinished_appends().await.expect("read"), [other]);
    mailbox.put_folders(&[], &["F".to_owned()], None).await.expect("removed");
    assert_eq!(mailbox.unfinished_appends().await.expect("read"), []);
}

#[tokio::test]
async fn a_folder_without_uids_left_takes_nothing_more() {
    let folder = folder();
    let store = open(folder.path()).await;
    let (mailbox, key) = one_folder(&store).await;
    let mut writing = mailbox.database().write(Durability::Synced).await.expect("turn");
    let last = sqlx::query("UPDATE folder SET uid_next = ?").bind(u32::MAX - 1);
    last.execute(writing.connection()).await.expect("set");
    writing.commit().await.expect("written");
    assert_eq!(apply(&mailbox, key, added(["a"])).await.uid_next.number(), u32::MAX);
    let full = mailbox.apply(vec![(key, added(["b"]))]).await.expect_err("full");
    assert!(full.to_string().contains("no UIDs left"), "{full}");
    assert_eq!(mailbox.entries(key).await.expect("read").len(), 1);
}

#[tokio::test]
async fn no_question_reads_a_whole_folder() {
    let folder = folder();
    let store = open(folder.path()).await;
    for (statement, index) in [
        (messages::ROWS_OF, "USING INDEX message_graph_id (folder=? AND graph_id=?)"),
        (messages::ROWS_BY_UID, "USING PRIMARY KEY (folder=? AND uid=?)"),
        (writer::SIZES_ARE_EXACT, "(folder=? AND graph_id=?)"),
    ] {
        let explained = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let rows: Vec<(i64, i64, i64, String)> = sqlx::query_as(explained)
            .fetch_all(store.0.database.readers())
            .await
            .expect("explained");
        let step = &rows.iter().find(|row| row.3.contains("message")).expect("a step").3;
        assert!(step.starts_with("SEARCH") && step.contains(index), "{step}");
    }
}

#[tokio::test]
async fn ten_thousand_messages_are_added_at_once() {
    let folder = folder();
    let store = open(folder.path()).await;
    let (mailbox, key) = one_folder(&store).await;
    let ids: Vec<_> = (0..10_000).map(|number| format!("{:0>150}", number)).collect();
    let large = Changes {
        added: ids
            .iter()
            .map(|id| NewMessage { header: Bytes::from(vec![b'x'; 800]), ..message(id) })
            .collect(),
        ..Changes::default()
    };
    let start = Instant::now();
    let applied = apply(&mailbox, key, large).await;
    let (adding, start) = (start.elapsed(), Instant::now());
    assert_eq!(mailbox.entries(key).await.expect("read"), applied.entries);
    let (reading, start) = (start.elapsed(), Instant::now());
    let seen = Changes {
        updated: ids.iter().flat_map(|id| flagged(id, Flags::default()).updated).collect(),
        ..Changes::default()
    };
    assert_eq!(apply(&mailbox, key, seen).await.entries.len(), 10_000);
    let (changing, start) = (start.elapsed(), Instant::now());
    let gone = apply(&mailbox, key, Changes { removed: ids, ..Changes::default() }).await;
    assert_eq!(gone.removed.len(), 10_000);
    println!("add {adding:?}, read {reading:?}, flags {changing:?}, remove {:?}", start.elapsed());
    // Seconds, not minutes, on a busy machine.
    assert!(adding.as_secs() < 30, "{adding:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_at_once_never_get_one_uid_twice() {
    let folder = folder();
    let store = open(folder.path()).await;
    let (mailbox, key) = one_folder(&store).await;
    let tasks = (0..8).map(|task| {
        let mailbox = mailbox.clone();
        tokio::spawn(async move {
            let mut given = Vec::new();
            for round in 0..20 {
                let id = format!("{task}-{round}");
                given.extend(apply(&mailbox, key, added([&id])).await.added);
                put(&mailbox, &id, b"text").await;
                assert!(mailbox.entries(key).await.expect("read").len() > round);
            }
            given
        })
    });
    let mut given = HashSet::new();
    for task in tasks.collect::<Vec<_>>() {
        for uid in task.await.expect("no panic") {
            assert!(given.insert(uid), "{uid} twice");
        }
    }
    let entries = mailbox.entries(key).await.expect("read");
    assert_eq!((entries.len(), given.len()), (160, 160));
    assert!(entries.iter().all(|entry| entry.size == Size::Exact(4)));
    let record = mailbox.folders().await.expect("read").remove(0);
    assert_eq!((record.uid_next.number(), record.highest_modseq), (161, ModSeq(161)));
}

#[tokio::test]
async fn a_change_that_nobody_waits_for_is_whole_or_not_there() {
    let folder = folder();
    let store = open(folder.path()).await;
    let (mailbox, key) = one_folder(&store).await;
    for polls in 1..12 {
        let ids: Vec<_> = (0..20).map(|number| format!("{polls}-{number}")).collect();
        let mut applying = Box::pin(mailbox.apply(vec![(key, added(&ids))]));
        for _ in 0..polls {
            let _ = futures_util::poll!(&mut applying);
            tokio::task::yield_now().await;
        }
        drop(applying);
        let there = apply(&mailbox, key, added(["after"])).await;
        assert_eq!(there.added.len(), 1);
        let known = mailbox.known_of(key, &ids).await.expect("read").len();
        assert!(known == 0 || known == 20, "{known}");
    }
}

#[test]
fn what_people_write_is_not_in_debug_output() {
    let text = format!("{:?}", added(["a"]));
    assert!(text.contains("14 octets") && !text.contains("Subject"), "{text}");
}

#[tokio::test]
async fn strays_are_noted_with_what_strikes_them_and_forgotten_one_by_one() {
    let folder = folder();
    let store = open(folder.path()).await;
    let (mailbox, key) = one_folder(&store).await;
    let stray = |id: &str, to: &str| Stray { graph_id: id.into(), folder_id: to.into() };
    let strays = vec![stray("a", "G"), stray("b", "F")];
    let changes = Changes { strays: strays.clone(), ..Changes::default() };
    mailbox.apply(vec![(key, changes)]).await.expect("stored");
    assert_eq!(mailbox.strays().await.expect("read"), [stray("b", "F"), stray("a", "G")]);
    mailbox.note_strays(&[stray("a", "H")]).await.expect("stored");
    // The older note is answered; the message has gone on.
    mailbox.forget_strays(&strays).await.expect("stored");
    assert_eq!(mailbox.strays().await.expect("read"), [stray("a", "H")]);
}
