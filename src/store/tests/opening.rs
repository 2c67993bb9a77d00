//! What survives the end of a process, and what is done with a database that can't be read.

use std::fs;

use super::*;
use crate::mail::mailbox::ModSeq;
use crate::store::migrations::MAILBOXES;

const FILE: &str = MAILBOXES.file;

/// Everything that a client may have heard of.
async fn told(mailbox: &MailboxStore) -> (Vec<FolderRecord>, Vec<Entry>, Option<Vec<Uid>>) {
    let folders = mailbox.folders().await.expect("read");
    let entries = mailbox.entries(folders[0].key).await.expect("read");
    let vanished = mailbox.vanished(folders[0].key, ModSeq(1)).await.expect("read");
    (folders, entries, vanished)
}

async fn fill(store: &Store) -> MailboxStore {
    let (mailbox, key) = one_folder(store).await;
    apply(&mailbox, key, added(["a", "b", "c"])).await;
    let changes = Changes { link: Some("link".into()), now_indexed: true, ..removed(&["b"]) };
    apply(&mailbox, key, changes).await;
    mailbox.set_setting("folders_link", Some("x")).await.expect("stored");
    mailbox
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let folder = folder();
    let store = open(folder.path()).await;
    let before = told(&fill(&store).await).await;
    assert_eq!((before.1.len(), &before.2), (2, &Some(uids(&[2]))));
    drop(store);
    let store = open(folder.path()).await;
    let mailbox = store.mailbox("a@b").await.expect("a mailbox");
    assert_eq!(told(&mailbox).await, before);
    assert_eq!(mailbox.setting("folders_link").await.expect("read").as_deref(), Some("x"));
    let next = apply(&mailbox, before.0[0].key, added(["d"])).await;
    assert_eq!(next.added, uids(&[4]));
}

#[tokio::test]
async fn what_was_told_is_there_after_the_process_was_killed() {
    let folder = folder();
    let store = open(folder.path()).await;
    let mailbox = fill(&store).await;
    put(&mailbox, "a", b"text").await;
    let before = told(&mailbox).await;
    // The files as a killed process leaves them: nothing is closed.
    let killed = self::folder();
    for end in ["", "-wal"] {
        let name = format!("{FILE}{end}");
        fs::copy(folder.path().join(&name), killed.path().join(&name)).expect("copied");
    }
    let again = open(killed.path()).await;
    let mailbox = again.mailbox("a@b").await.expect("a mailbox");
    assert_eq!(told(&mailbox).await, before);
    assert_eq!(cached(&mailbox, "a").await, None, "the file was not copied");
}

#[tokio::test]
async fn a_broken_database_is_put_aside_and_uid_validity_rises() {
    for damage in ["text", "short", "pages"] {
        let folder = folder();
        let path = folder.path().join(FILE);
        let mut highest = 0;
        // The second breaks again at once: the clock alone would not do.
        for round in 0..3 {
            let store = open(folder.path()).await;
            let mailbox = fill(&store).await;
            let more: Vec<_> = (0..30).map(|number| facts(&number.to_string())).collect();
            let folders = mailbox.put_folders(&more, &[], None).await.expect("stored");
            let values = folders.iter().map(|record| record.uid_validity);
            assert!(values.clone().all(|value| value > highest), "{damage} {round}");
            highest = values.max().expect("some");
            close(store).await;
            let mut octets = fs::read(&path).expect("there");
            match damage {
                "text" => octets = b"not a database, but long enough to be looked at".repeat(40),
                "short" => octets.truncate(4096 * 3 + 17),
                _ => octets[4096..4096 * 6].fill(0x5a),
            }
            fs::write(&path, octets).expect("written");
        }
        let is_database = |name: &String| {
            name.contains(".broken-") && !name.contains("-wal") && !name.contains("-shm")
        };
        let names = fs::read_dir(folder.path()).expect("readable");
        let names = names.map(|entry| entry.expect("readable").file_name().into_string());
        let aside = names.flatten().filter(is_database).count();
        assert_eq!(aside, 2, "{damage}");
    }
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let folder = folder();
    let store = open(folder.path()).await;
    let mut writing = store.0.database.write(Durability::Synced).await.expect("turn");
    sqlx::raw_sql("PRAGMA user_version = 99").execute(writing.connection()).await.expect("set");
    writing.commit().await.expect("written");
    close(store).await;
    let before = fs::read(folder.path().join(FILE)).expect("there");
    let refused = Store::open(folder.path(), LARGE).await.expect_err("newer");
    let text = refused.to_string();
    assert!(matches!(refused, Error::Open { .. }));
    assert!(text.contains("newer version") && text.contains("mailbox.sqlite"), "{text}");
    assert_eq!(fs::read(folder.path().join(FILE)).expect("there"), before);
}

#[tokio::test]
async fn a_folder_that_can_t_be_written_is_an_error() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, b"").expect("written");
    let refused = Store::open(&file, LARGE).await.expect_err("no folder");
    assert!(matches!(refused, Error::Open { .. }), "{refused}");
    fs::create_dir_all(folder.path().join(FILE)).expect("made");
    let refused = Store::open(folder.path(), LARGE).await.expect_err("a folder in its place");
    assert!(matches!(refused, Error::Open { .. }), "{refused}");
}

#[tokio::test]
async fn a_store_is_made_with_the_folders_above_it() {
    let folder = folder();
    let deep = folder.path().join("a").join("b");
    let store = open(&deep).await;
    assert!(deep.join(FILE).is_file());
    let first = store.mailbox("a@b").await.expect("a mailbox");
    let again = store.mailbox("a@b").await.expect("a mailbox");
    let other = store.mailbox("A@B").await.expect("a mailbox");
    assert_eq!((first.key == again.key, first.key == other.key), (true, false));
    assert!(format!("{store:?} {first:?}").contains("MailboxStore"));
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_what_was_there_stays() {
    let folder = folder();
    let store = open(folder.path()).await;
    let mailbox = fill(&store).await;
    let before = told(&mailbox).await;
    let key = before.0[0].key;
    let mut writing = store.0.database.write(Durability::Synced).await.expect("turn");
    // SQLite says the same, SQLITE_FULL, for its own limit of pages.
    sqlx::raw_sql("PRAGMA max_page_count = 1").execute(writing.connection()).await.expect("set");
    drop(writing);
    let ids: Vec<_> = (0..3000).map(|number| format!("{number:0>200}")).collect();
    let failed = mailbox.apply(vec![(key, added(&ids))]).await.expect_err("full");
    assert!(matches!(&failed, Error::NoRoom(words) if words.contains("full")), "{failed}");
    assert!(!failed.to_string().contains("000"), "{failed}");
    assert_eq!(told(&mailbox).await, before);
}

#[tokio::test]
async fn two_stores_of_one_folder_write_in_turn() {
    let folder = folder();
    let (one, two) = (open(folder.path()).await, open(folder.path()).await);
    let (mailbox, key) = one_folder(&one).await;
    let other = two.mailbox("a@b").await.expect("a mailbox");
    let mut given = Vec::new();
    for round in 0..10 {
        let first = [format!("a{round}")];
        let second = [format!("b{round}")];
        let (first, second) =
            tokio::join!(apply(&mailbox, key, added(&first)), apply(&other, key, added(&second)));
        given.extend([first.added[0].number(), second.added[0].number()]);
    }
    given.sort_unstable();
    assert_eq!(given, (1..=20).collect::<Vec<_>>());
}
