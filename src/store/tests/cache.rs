//! Messages on the disk.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use super::*;
use crate::store::cache::{FOLDER, Name, SMALL};

fn path(mailbox: &MailboxStore, graph_id: &str) -> PathBuf {
    mailbox.cache().path(&Name::of(mailbox.key, graph_id))
}

/// All files of messages, finished or not.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.join(FOLDER)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

#[tokio::test]
async fn messages_of_any_length_come_back_as_written() {
    let folder = folder();
    let store = open(folder.path()).await;
    let (mailbox, _) = one_folder(&store).await;
    let small = usize::try_from(SMALL).expect("small");
    for length in [0, 1, 5000, small - 1, small, small + 1, 256 << 10, 700_001] {
        let text = octets(length, 1);
        let written = put(&mailbox, "a", &text).await;
        assert!(read(&written).await == text, "{length}");
        assert_eq!(written.is_in_memory(), length <= small);
        let found = mailbox.content("a").await.expect("read").expect("there");
        assert_eq!((found.size(), found.is_in_memory()), (length as u64, length <= small));
        assert!(read(&found).await == text, "{length}");
    }
    assert_eq!(files(folder.path()).len(), 1);
    assert_eq!(mailbox.cache().total.load(Ordering::SeqCst), 700_001);
    assert_eq!(cached(&mailbox, "A").await, None);
    let other = store.mailbox("c@d").await.expect("a mailbox");
    assert_eq!(cached(&other, "a").await, None);
}

#[tokio::test]
async fn sizes_become_exact_in_every_folder_that_has_the_message() {
    let folder = folder();
    let store = open(folder.path()).await;
    let mailbox = store.mailbox("a@b").await.expect("a mailbox");
    let other = store.mailbox("c@d").await.expect("a mailbox");
    let folders = mailbox.put_folders(&[facts("F"), facts("G")], &[], None).await.expect("stored");
    let others = other.put_folders(&[facts("F")], &[], None).await.expect("stored");
    apply(&mailbox, folders[0].key, added(["a", "b"])).await;
    apply(&other, others[0].key, added(["a"])).await;
    put(&mailbox, "a", b"12345").await;
    let sizes = |entries: Vec<Entry>| entries.iter().map(|entry| entry.size).collect::<Vec<_>>();
    let first = sizes(mailbox.entries(folders[0].key).await.expect("read"));
    assert_eq!(first, [Size::Exact(5), Size::Estimated(1000)]);
    let stranger = sizes(other.entries(others[0].key).await.expect("read"));
    assert_eq!(stranger, [Size::Estimated(1000)]);
    let copied = apply(&mailbox, folders[1].key, added(["a"])).await;
    assert_eq!(copied.entries[0].size, Size::Exact(5), "it is in the cache already");
}

#[tokio::test]
async fn files_that_somebody_changed_are_not_served() {
    let folder = folder();
    for length in [100, 300_000] {
        for damage in ["shorter", "other", "gone"] {
            let store = open(folder.path()).await;
            let (mailbox, _) = one_folder(&store).await;
            let text = octets(length, 1);
            put(&mailbox, "a", &text).await;
            let file = path(&mailbox, "a");
            close(store).await;
            match damage {
                "shorter" => std::fs::write(&file, &text[1..]),
                "other" => std::fs::write(&file, octets(length, 2)),
                _ => std::fs::remove_file(&file),
            }
            .expect("changed");
            let store = open(folder.path()).await;
            let mailbox = store.mailbox("a@b").await.expect("a mailbox");
            assert_eq!(cached(&mailbox, "a").await, None, "{damage} {length}");
            assert!(!file.exists());
            assert_eq!(mailbox.cache().total.load(Ordering::SeqCst), 0);
            put(&mailbox, "a", &text).await;
            assert!(cached(&mailbox, "a").await == Some(text));
            close(store).await;
        }
    }
}

#[tokio::test]
async fn the_length_is_compared_at_each_use() {
    let folder = folder();
    let store = open(folder.path()).await;
    let (mailbox, _) = one_folder(&store).await;
    put(&mailbox, "a", b"12345").await;
    assert!(cached(&mailbox, "a").await.is_some());
    std::fs::write(path(&mailbox, "a"), b"1234").expect("changed");
    assert_eq!(cached(&mailbox, "a").await, None);
}

#[tokio::test]
async fn messages_of_an_earlier_process_are_found() {
    let folder = folder();
    let store = open(folder.path()).await;
    let (mailbox, _) = one_folder(&store).await;
    let (small, large) = (octets(10, 1), octets(300_000, 2));
    put(&mailbox, "small", &small).await;
    put(&mailbox, "large", &large).await;
    close(store).await;
    let store = open(folder.path()).await;
    let mailbox = store.mailbox("a@b").await.expect("a mailbox");
    for _ in 0..2 {
        assert!(cached(&mailbox, "small").await.as_ref() == Some(&small));
        assert!(cached(&mailbox, "large").await.as_ref() == Some(&large));
    }
    assert_eq!(mailbox.cache().total.load(Ordering::SeqCst), 300_010);
}

#[test]
fn what_is_not_finished_leaves_nothing() {
    let folder = folder();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = open(folder.path()).await;
        let (mailbox, _) = one_folder(&store).await;
        for length in [10, 600_000] {
            let mut writer = mailbox.write_content("a").await.expect("a writer");
            writer.push(Bytes::from(octets(length, 1))).await.expect("written");
            assert_eq!(files(folder.path()).len(), usize::from(length > 10));
            drop(writer);
            assert_eq!(cached(&mailbox, "a").await, None);
        }
    });
    // Waits for the threads that remove the file.
    drop(runtime);
    assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_writer_whose_call_was_dropped_never_finishes() {
    let folder = folder();
    // One thread for files, which is busy: the call is certainly under way when it is dropped.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(1).build().expect("a runtime");
    runtime.block_on(async {
        let store = open(folder.path()).await;
        let (mailbox, _) = one_folder(&store).await;
        let mut writer = mailbox.write_content("a").await.expect("a writer");
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || wait.recv());
        {
            let mut pushing = Box::pin(writer.push(Bytes::from(octets(300_000, 1))));
            assert!(futures_util::poll!(&mut pushing).is_pending());
        }
        go.send(()).expect("waiting");
        busy.await.expect("no panic").expect("sent");
        writer.push(Bytes::from("end")).await.expect("collected");
        assert!(writer.finish().await.is_err());
        assert_eq!(cached(&mailbox, "a").await, None);
    });
}

#[tokio::test]
async fn what_a_crash_left_goes_at_the_start() {
    let folder = folder();
    let store = open(folder.path()).await;
    let (mailbox, _) = one_folder(&store).await;
    put(&mailbox, "a", b"kept").await;
    let kept = path(&mailbox, "a");
    let messages = mailbox.cache().folder.clone();
    let orphan = path(&mailbox, "without row");
    std::fs::create_dir_all(orphan.parent().expect("a folder")).expect("made");
    std::fs::write(&orphan, b"orphan").expect("written");
    let old = SystemTime::now() - Duration::from_secs(60);
    for file in [&orphan, &kept] {
        let file = std::fs::File::options().write(true).open(file).expect("there");
        file.set_modified(old).expect("set");
    }
    std::fs::write(messages.join("new-abc"), b"half").expect("written");
    close(store).await;
    let store = open(folder.path()).await;
    assert!(!messages.join("new-abc").exists());
    store.0.remove_orphans(SystemTime::now()).await.expect("removed");
    assert_eq!(files(folder.path()), [kept]);
    // What this process has just finished is not touched, row or not.
    std::fs::write(&orphan, b"young").expect("written");
    store.0.remove_orphans(SystemTime::now()).await.expect("looked");
    assert!(orphan.exists());
}

#[tokio::test]
async fn the_least_recently_used_go_when_there_is_no_room() {
    let folder = folder();
    let store = Store::open(folder.path(), 10_000).await.expect("a store");
    let (mailbox, _) = one_folder(&store).await;
    for number in 0..10 {
        put(&mailbox, &number.to_string(), &octets(1000, number)).await;
        let used = 1000 + i64::try_from(number).expect("small");
        mailbox.write_use(&number.to_string(), used).await.expect("noted");
    }
    assert_eq!(files(folder.path()).len(), 10);
    // Used last, although written first.
    mailbox.write_use("0", 2000).await.expect("noted");
    mailbox.cache().is_evicting.store(true, Ordering::SeqCst);
    put(&mailbox, "10", &octets(1000, 10)).await;
    store.0.evict().await.expect("room");
    assert_eq!(mailbox.cache().total.load(Ordering::SeqCst), 9000);
    for number in 0..11 {
        let is_there = cached(&mailbox, &number.to_string()).await.is_some();
        assert_eq!(is_there, !matches!(number, 1 | 2), "{number}");
    }
    assert_eq!(files(folder.path()).len(), 9);
}

#[tokio::test]
async fn a_message_larger_than_the_limit_is_still_served_once() {
    let folder = folder();
    let store = Store::open(folder.path(), 1000).await.expect("a store");
    let (mailbox, _) = one_folder(&store).await;
    let text = octets(300_000, 1);
    let content = put(&mailbox, "a", &text).await;
    store.0.evict().await.expect("room");
    assert!(read(&content).await == text);
    assert_eq!(cached(&mailbox, "a").await, None);
}

#[tokio::test]
async fn a_content_that_became_old_while_it_was_written_is_not_kept() {
    let folder = folder();
    let store = open(folder.path()).await;
    let (mailbox, key) = one_folder(&store).await;
    apply(&mailbox, key, added(["a", "b"])).await;
    let begin = |id| {
        let mailbox = mailbox.clone();
        async move {
            let mut writer = mailbox.write_content(id).await.expect("a writer");
            writer.push(Bytes::from("old")).await.expect("written");
            writer
        }
    };
    let (first, second, kept) = (begin("a").await, begin("a").await, begin("b").await);
    let replaced = vec![message("a")];
    apply(&mailbox, key, Changes { replaced, ..Changes::default() }).await;
    let newer = put(&mailbox, "a", b"newer").await;
    assert_eq!(read(&newer).await, b"newer");
    assert_eq!(read(&first.finish().await.expect("finished")).await, b"old");
    assert_ne!(cached(&mailbox, "a").await.as_deref(), Some(&b"old"[..]));
    mailbox.forget_content("a").await.expect("forgotten");
    second.finish().await.expect("finished");
    kept.finish().await.expect("finished");
    assert_eq!(cached(&mailbox, "a").await, None);
    assert_eq!(cached(&mailbox, "b").await.as_deref(), Some(&b"old"[..]));
    assert_eq!(mailbox.cache().total.load(Ordering::SeqCst), 3);
    assert_eq!(files(folder.path()).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_message_written_by_many_is_always_one_of_theirs() {
    let folder = folder();
    let store = open(folder.path()).await;
    let (mailbox, _) = one_folder(&store).await;
    let tasks = (0..8).map(|task| {
        let mailbox = mailbox.clone();
        tokio::spawn(async move {
            for _ in 0..10 {
                let text = octets(1000 + task, task);
                put(&mailbox, "a", &text).await;
                if let Some(found) = cached(&mailbox, "a").await {
                    assert!(found == octets(found.len(), found.len() - 1000));
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("no panic");
    }
    let last = cached(&mailbox, "a").await.expect("there");
    assert_eq!(mailbox.cache().total.load(Ordering::SeqCst), last.len() as u64);
    assert_eq!(files(folder.path()).len(), 1);
}

#[tokio::test]
async fn what_no_folder_has_any_more_leaves_the_disk() {
    let folder = folder();
    let store = open(folder.path()).await;
    let (mailbox, key) = one_folder(&store).await;
    apply(&mailbox, key, added(["kept", "deleted"])).await;
    for id in ["kept", "deleted", "never listed"] {
        put(&mailbox, id, b"secret").await;
    }
    apply(&mailbox, key, removed(&["deleted"])).await;
    // What was used just now may be on its way to another folder.
    store.0.drop_ownerless(0).await.expect("swept");
    assert_eq!(files(folder.path()).len(), 3);
    store.0.drop_ownerless(i64::MAX).await.expect("swept");
    assert_eq!(files(folder.path()), [path(&mailbox, "kept")]);
    assert_eq!(cached(&mailbox, "deleted").await, None);
    assert_eq!(store.0.cache.total.load(Ordering::SeqCst), 6);
}
