//! LIST, LSUB, STATUS and what changes the folders.

use super::super::memory::uid;
use super::{ONE, Play};
use crate::mail::mailbox::{Flag, Flags, SpecialUse};
use crate::mail::{Folder as _, Kind};

/// INBOX, Archive/2024/May, Sent, and subscriptions to INBOX, Archive/2024 and Gone/Deep.
async fn play() -> Play {
    let mut play = Play::new().await;
    play.memory.add("Archive", Some(SpecialUse::Archive));
    play.memory.add("Archive/2024", None);
    play.memory.add("Archive/2024/May", None);
    play.memory.add("Sent", Some(SpecialUse::Sent));
    for name in ["inbox", "Archive/2024", "Gone/Deep"] {
        play.hear(&format!("SUBSCRIBE {name}"), &[]).await;
    }
    play
}

#[tokio::test]
async fn folders_are_listed_with_their_uses_and_children() {
    let mut play = play().await;
    let archive = "* LIST (\\HasChildren \\Archive) \"/\" \"Archive\"";
    let year = "* LIST (\\HasChildren) \"/\" \"Archive/2024\"";
    let may = "* LIST (\\HasNoChildren) \"/\" \"Archive/2024/May\"";
    let inbox = "* LIST (\\HasNoChildren) \"/\" \"INBOX\"";
    let sent = "* LIST (\\HasNoChildren \\Sent) \"/\" \"Sent\"";
    play.hear("LIST \"\" \"\"", &["* LIST (\\Noselect) \"/\" \"\""]).await;
    for (command, lines) in [
        ("\"\" *", &[archive, year, may, inbox, sent][..]),
        ("\"\" %", &[archive, inbox, sent]),
        ("Archive/ %", &[year]),
        ("\"\" inbox", &[inbox]),
        ("\"\" Nothing*", &[]),
        ("\"\" (Sent Archive)", &[archive, sent]),
        ("(SPECIAL-USE) \"\" *", &[archive, sent]),
        ("\"\" % RETURN (SPECIAL-USE CHILDREN)", &[archive, inbox, sent]),
    ] {
        play.hear(&format!("LIST {command}"), lines).await;
    }
}

#[tokio::test]
async fn subscriptions_are_listed_even_without_a_folder() {
    let mut play = play().await;
    play.hear(
        "LIST (SUBSCRIBED) \"\" *",
        &[
            "* LIST (\\Subscribed \\HasChildren) \"/\" \"Archive/2024\"",
            "* LIST (\\Subscribed \\HasNoChildren) \"/\" \"INBOX\"",
            "* LIST (\\Subscribed \\NonExistent) \"/\" \"Gone/Deep\"",
        ],
    )
    .await;
    play.hear(
        "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" %",
        &[
            "* LIST (\\HasChildren \\Archive) \"/\" \"Archive\" (\"CHILDINFO\" (\"SUBSCRIBED\"))",
            "* LIST (\\Subscribed \\HasNoChildren) \"/\" \"INBOX\"",
            "* LIST (\\NonExistent) \"/\" \"Gone\" (\"CHILDINFO\" (\"SUBSCRIBED\"))",
        ],
    )
    .await;
    play.hear(
        "LIST \"\" (INBOX Sent) RETURN (SUBSCRIBED)",
        &[
            "* LIST (\\Subscribed \\HasNoChildren) \"/\" \"INBOX\"",
            "* LIST (\\HasNoChildren \\Sent) \"/\" \"Sent\"",
        ],
    )
    .await;
    play.hear(
        "LSUB \"\" *",
        &[
            "* LSUB () \"/\" \"Archive/2024\"",
            "* LSUB () \"/\" \"Gone/Deep\"",
            "* LSUB () \"/\" \"INBOX\"",
        ],
    )
    .await;
    play.hear(
        "LSUB \"\" %",
        &[
            "* LSUB (\\Noselect) \"/\" \"Archive\"",
            "* LSUB (\\Noselect) \"/\" \"Gone\"",
            "* LSUB () \"/\" \"INBOX\"",
        ],
    )
    .await;
    play.hear("UNSUBSCRIBE Archive/2024", &[]).await;
    play.hear("LSUB Archive/ *", &[]).await;
}

#[tokio::test]
async fn status_in_a_list_leaves_out_what_fails() {
    let mut play = play().await;
    play.memory.break_status("Archive");
    play.hear(
        "LIST \"\" % RETURN (STATUS (MESSAGES UIDNEXT))",
        &[
            "* LIST (\\HasChildren \\Archive) \"/\" \"Archive\"",
            "* LIST (\\HasNoChildren) \"/\" \"INBOX\"",
            "* LIST (\\HasNoChildren \\Sent) \"/\" \"Sent\"",
            "* STATUS \"INBOX\" (MESSAGES 3 UIDNEXT 4)",
            "* STATUS \"Sent\" (MESSAGES 0 UIDNEXT 1)",
        ],
    )
    .await;
    play.ask("STATUS Archive (MESSAGES)", "NO [UNAVAILABLE] ").await;
    play.ask("STATUS Nowhere (MESSAGES)", "NO [NONEXISTENT] ").await;
    play.memory.fail_next(Kind::Unavailable);
    play.ask("LIST \"\" *", "NO [UNAVAILABLE] ").await;
}

#[tokio::test]
async fn status_has_every_item() {
    let mut play = play().await;
    play.inbox.deliver(ONE, Flags::default().with(Flag::Seen).with(Flag::Deleted));
    let items =
        "MESSAGES UNSEEN DELETED RECENT UIDNEXT UIDVALIDITY HIGHESTMODSEQ APPENDLIMIT MAILBOXID";
    let size: u64 = play.inbox.snapshot().messages.iter().map(|entry| entry.size.octets()).sum();
    let answer = format!(
        "* STATUS \"INBOX\" (MESSAGES 4 UNSEEN 3 DELETED 1 RECENT 4 UIDNEXT 5 UIDVALIDITY 1000 \
         HIGHESTMODSEQ 5 APPENDLIMIT 1048576 MAILBOXID (F00000000000000000000000000001000) SIZE {size})"
    );
    play.hear(&format!("STATUS INBOX ({items} SIZE)"), &[&answer]).await;
}

#[tokio::test]
async fn folders_are_made_renamed_and_deleted() {
    let mut play = play().await;
    for (command, tagged) in [
        ("CREATE New/Deep/", "OK [MAILBOXID (F00000000000000000000000000001006)] CREATE completed"),
        ("CREATE New", "NO [ALREADYEXISTS] there is one of that name already (ref "),
        ("CREATE a//b", "NO [CANNOT] "),
        ("CREATE INBOX", "NO [ALREADYEXISTS] "),
        ("DELETE INBOX", "NO [CANNOT] INBOX can't be deleted"),
        ("DELETE New", "NO [HASCHILDREN] delete the folders below it first"),
        ("DELETE Sent", "NO [CANNOT] the mail service needs this folder"),
        ("DELETE Nowhere", "NO [NONEXISTENT] "),
        ("RENAME New New/Deeper", "NO [CANNOT] a folder can't be moved into itself"),
        ("RENAME Nowhere x", "NO [NONEXISTENT] "),
        ("RENAME New Sent", "NO [ALREADYEXISTS] "),
        ("RENAME New Newer", "OK RENAME completed"),
        ("DELETE Newer/Deep", "OK DELETE completed"),
        ("DELETE Newer", "OK DELETE completed"),
    ] {
        assert!(play.ask(command, tagged).await.is_empty(), "{command}");
    }
    play.hear("LIST \"\" New*", &[]).await;
}

#[tokio::test]
async fn renaming_inbox_moves_its_messages() {
    let mut play = Play::selected().await;
    play.hear("RENAME INBOX Old", &["* 3 EXPUNGE", "* 2 EXPUNGE", "* 1 EXPUNGE"]).await;
    assert!(play.inbox.snapshot().messages.is_empty());
    assert_eq!(play.memory.folder("Old").snapshot().uid_next, uid(4));
}

#[tokio::test]
async fn names_are_in_utf7_until_utf8_is_asked_for() {
    let mut play = Play::new().await;
    play.ask("CREATE \"Entw&APw-rfe\"", "OK ").await;
    play.hear("LIST \"\" E*", &["* LIST (\\HasNoChildren) \"/\" \"Entw&APw-rfe\""]).await;
    play.ask("ENABLE UTF8=ACCEPT", "OK ").await;
    play.hear("LIST \"\" E*", &["* LIST (\\HasNoChildren) \"/\" \"Entwürfe\""]).await;
    play.hear("STATUS \"Entwürfe\" (MESSAGES)", &["* STATUS \"Entwürfe\" (MESSAGES 0)"]).await;
}
