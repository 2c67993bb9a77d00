//! The list of folders, their counts, and changes of them.

use super::*;
use crate::mail::Kind;
use crate::mail::mailbox::SpecialUse;

#[tokio::test]
async fn folders_are_listed_with_their_uses() {
    let desk = Desk::with(&[]).await;
    desk.service.mail().add_folder("id-p", "id-inbox", "A/B");
    desk.service.mail().add_folder("id-h", "id-root", "Versteckt");
    desk.service.mail().change_folder("id-h", |folder| folder.hidden = true);
    desk.service.mail().add_folder("id-hc", "id-h", "Darunter");
    desk.service.mail().add_folder("id-s", "id-root", "Suche");
    desk.service.mail().change_folder("id-s", |folder| folder.search = true);
    let folders = desk.mailbox.folders().await.expect("a list");
    let list: Vec<(&str, Option<SpecialUse>, bool)> = folders
        .iter()
        .map(|folder| (folder.name.as_str(), folder.special_use, folder.has_children))
        .collect();
    assert_eq!(
        list,
        [
            ("INBOX", None, true),
            ("INBOX/A=2FB", None, false),
            ("Entwürfe", Some(SpecialUse::Drafts), false),
            ("Gelöscht", Some(SpecialUse::Trash), false),
        ]
    );
    assert!(folders.iter().all(|folder| folder.subscribed));
    assert_eq!(desk.service.count(), 2, "the list, and the special folders at once");
    desk.names().await;
    assert_eq!(desk.service.count(), 0, "fresh");
    let desk = desk.restarted().await;
    desk.service.mail().add_folder("id-n", "id-p", "Neu");
    desk.service.mail().delete_folder("id-drafts");
    assert_eq!(desk.names().await, ["INBOX", "INBOX/A=2FB", "INBOX/A=2FB/Neu", "Gelöscht"]);
}

#[tokio::test]
async fn an_expired_list_is_made_anew() {
    let desk = Desk::with(&["a"]).await;
    let validity = desk.open("INBOX").await.snapshot().uid_validity;
    let desk = desk.restarted().await;
    desk.service.mail().delete_folder("id-drafts");
    desk.service.mail().expire();
    assert_eq!(desk.names().await, ["INBOX", "Gelöscht"]);
    assert_eq!(desk.open("INBOX").await.snapshot().uid_validity, validity);
}

#[tokio::test]
async fn a_list_with_what_is_open_is_one_request() {
    let desk = Desk::with(&["a"]).await;
    let inbox = desk.open("INBOX").await;
    let drafts = desk.open("Entwürfe").await;
    let desk_names = ["INBOX", "Entwürfe", "Gelöscht", "Nichts"].map(str::to_owned);
    desk.service.mail().add("id-deleteditems", "x");
    drop((inbox, drafts));
    let desk = desk.restarted().await;
    desk.service.mail().add("id-inbox", "b");
    desk.service.asked();
    let status = desk.mailbox.status(&desk_names).await;
    assert_eq!(desk.service.count(), 2, "all changes at once, and the new message");
    let messages: Vec<Option<u32>> =
        status.iter().map(|one| one.as_ref().ok().map(|status| status.messages)).collect();
    assert_eq!(messages[..2], [Some(2), Some(0)]);
    assert!(messages[2].is_some(), "from the list, never opened");
    assert_eq!(status[3].as_ref().expect_err("no such folder").kind, Kind::NotFound);
    desk.mailbox.status(&desk_names[..2]).await;
    assert_eq!(desk.service.count(), 1, "as of now");
}

/// Found by a hostile client's test: one CREATE made thousands of folders, a request each.
#[tokio::test]
async fn a_name_of_thousands_of_levels_is_refused_before_anything_is_made() {
    let desk = Desk::with(&[]).await;
    desk.names().await;
    desk.service.asked();
    let error = desk.mailbox.create(&"a/".repeat(4000)).await.expect_err("too deep");
    assert_eq!((error.kind, desk.service.count()), (Kind::Unsupported, 0));
    assert!(error.hint.is_some_and(|hint| hint.contains("too many folders")), "{error:?}");
    let deep = vec!["a"; 30].join("/");
    desk.mailbox.create(&deep).await.expect("made");
    assert!(desk.names().await.contains(&deep));
}

#[tokio::test]
async fn folders_are_made_with_those_above() {
    let desk = Desk::with(&[]).await;
    desk.names().await;
    desk.service.asked();
    desk.mailbox.create("Kunden/Müller=2FSohn/").await.expect("made");
    assert_eq!(desk.service.count(), 2);
    let names = desk.names().await;
    assert!(names.contains(&"Kunden/Müller=2FSohn".to_owned()), "{names:?}");
    assert!(desk.service.mail().folders.values().any(|folder| folder.name == "Müller/Sohn"));
    for (name, kind) in [
        ("Kunden", Kind::AlreadyExists),
        ("inbox", Kind::AlreadyExists),
        ("kunden", Kind::AlreadyExists),
        ("a//b", Kind::Unsupported),
        ("Neu/=41", Kind::Unsupported),
        ("a*", Kind::Unsupported),
    ] {
        let error = desk.mailbox.create(name).await.expect_err(name);
        assert_eq!(error.kind, kind, "{name}");
    }
    assert!(!desk.names().await.contains(&"Neu".to_owned()), "nothing half made");
    assert!(desk.open("Kunden/Müller=2FSohn").await.snapshot().messages.is_empty());
}

#[tokio::test]
async fn folders_are_deleted_unless_something_depends_on_them() {
    let desk = Desk::with(&[]).await;
    desk.mailbox.create("A/B").await.expect("made");
    let validity = desk.open("A/B").await.snapshot().uid_validity;
    for (name, kind) in [
        ("A", Kind::Unsupported),
        ("INBOX", Kind::Unsupported),
        ("Entwürfe", Kind::Unsupported),
        ("C", Kind::NotFound),
    ] {
        let error = desk.mailbox.delete(name).await.expect_err(name);
        assert_eq!(error.kind, kind, "{name}");
        assert!(error.hint.is_some(), "{name}");
    }
    desk.mailbox.delete("A/B").await.expect("deleted");
    desk.mailbox.delete("A").await.expect("deleted");
    assert_eq!(desk.mailbox.open("A/B").await.err().expect("gone").kind, Kind::NotFound);
    desk.mailbox.create("A/B").await.expect("made");
    assert!(desk.open("A/B").await.snapshot().uid_validity > validity, "another folder");
}

#[tokio::test]
async fn renamed_folders_keep_their_uids_and_take_their_children_along() {
    let desk = Desk::with(&[]).await;
    desk.mailbox.create("A/B/C").await.expect("made");
    let id = {
        let mail = desk.service.mail();
        let found = mail.folders.iter().find(|(_, folder)| folder.name == "C");
        found.expect("made").0.clone()
    };
    desk.service.mail().add(&id, "m");
    let before = desk.open("A/B/C").await.snapshot();
    desk.mailbox.rename("A/B", "Neu/X").await.expect("renamed");
    let names = ["INBOX", "A", "Entwürfe", "Gelöscht", "Neu", "Neu/X", "Neu/X/C"];
    assert_eq!(desk.names().await, names);
    let after = desk.open("Neu/X/C").await.snapshot();
    assert_eq!((after.uid_validity, uids(&after)), (before.uid_validity, vec![1]));
    // The new name is taken in the old place: moved first.
    desk.mailbox.create("Neu/Y").await.expect("made");
    desk.mailbox.rename("Neu/X", "Y").await.expect("moved, then renamed");
    desk.mailbox.rename("Y", "y").await.expect("only its case");
    let names = desk.names().await;
    assert!(names.contains(&"y/C".to_owned()), "{names:?}");
    for (from, to, kind) in [
        ("y", "y/C/D", Kind::Unsupported),
        ("y", "A", Kind::AlreadyExists),
        ("none", "B", Kind::NotFound),
        ("Entwürfe", "B", Kind::Unsupported),
    ] {
        assert_eq!(desk.mailbox.rename(from, to).await.expect_err(from).kind, kind, "{from}");
    }
}

#[tokio::test]
async fn a_rename_that_fails_half_way_is_taken_back() {
    let desk = Desk::with(&[]).await;
    desk.mailbox.create("A/B").await.expect("made");
    desk.mailbox.create("C").await.expect("made");
    desk.service.mail().fails = Some(("/move", 403));
    desk.mailbox.rename("A/B", "C/D").await.expect_err("not moved");
    desk.service.mail().fails = None;
    assert!(desk.service.mail().folders.values().any(|folder| folder.name == "B"));
    assert!(desk.open("A/B").await.snapshot().messages.is_empty());
}

#[tokio::test]
async fn renaming_inbox_moves_its_messages() {
    let desk = Desk::with(&["a", "b"]).await;
    desk.mailbox.rename("INBOX", "Alt/2025").await.expect("moved");
    assert_eq!(uids(&desk.open("Alt/2025").await.snapshot()), [1, 2]);
    assert!(desk.open("INBOX").await.snapshot().messages.is_empty());
}

#[tokio::test]
async fn subscriptions_are_ours() {
    let desk = Desk::with(&[]).await;
    desk.mailbox.subscribe("Entwürfe", false).await.expect("noted");
    desk.mailbox.subscribe("inbox", false).await.expect("noted");
    desk.mailbox.subscribe("Später", true).await.expect("noted");
    let desk = desk.restarted().await;
    let folders = desk.mailbox.folders().await.expect("a list");
    let subscribed: Vec<bool> = folders.iter().map(|folder| folder.subscribed).collect();
    assert_eq!(subscribed, [false, false, true]);
    assert_eq!(desk.mailbox.subscribed_names().await.expect("names"), ["Später"]);
}
