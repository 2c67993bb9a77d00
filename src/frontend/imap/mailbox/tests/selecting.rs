//! SELECT, EXAMINE, CLOSE, UNSELECT and QRESYNC.

use super::super::memory::uid;
use super::{Play, ask};
use crate::mail::mailbox::{Flag, FlagChange, Flags, Keyword};
use crate::mail::{Folder as _, Kind};

fn seen() -> Flags {
    Flags::default().with(Flag::Seen)
}

async fn set(play: &Play, number: u32, flag: Flag) {
    let change = FlagChange::Add(Flags::default().with(flag));
    play.inbox.change_flags(vec![uid(number)], &change, None).await.expect("changed");
}

#[tokio::test]
async fn select_tells_all_that_there_is_to_know() {
    let mut play = Play::new().await;
    set(&play, 1, Flag::Seen).await;
    let keyword = FlagChange::Add(Flags::from_parts(0, Keyword::new("work")));
    play.inbox.change_flags(vec![uid(2)], &keyword, None).await.expect("changed");
    let flags = "\\Answered \\Flagged \\Deleted \\Seen";
    let keywords = "$Forwarded $MDNSent $Important work";
    let first = [
        format!("* FLAGS ({flags} \\Draft {keywords})"),
        "* 3 EXISTS".to_owned(),
        "* 3 RECENT".to_owned(),
        "* OK [UNSEEN 2] the first unseen".to_owned(),
        format!("* OK [PERMANENTFLAGS ({flags} \\Draft {keywords} \\*)] kept"),
        "* OK [UIDVALIDITY 1000] UIDs are valid".to_owned(),
        "* OK [UIDNEXT 4] the next".to_owned(),
        "* OK [HIGHESTMODSEQ 6] the highest".to_owned(),
        "* OK [MAILBOXID (F00000000000000000000000000001000)] for good".to_owned(),
    ];
    assert_eq!(play.ask("SELECT inbox", "OK [READ-WRITE] SELECT completed").await, first);
    let second = play.ask("EXAMINE INBOX", "OK [READ-ONLY] EXAMINE completed").await;
    assert_eq!(second[0], "* OK [CLOSED] the folder before is closed");
    assert_eq!(second[3], "* 0 RECENT");
    assert_eq!(second[5], "* OK [PERMANENTFLAGS ()] read-only");
    play.hear("ENABLE IMAP4rev2", &["* ENABLED IMAP4rev2"]).await;
    let third = play.ask("SELECT INBOX", "OK ").await;
    assert!(third.contains(&"* LIST () \"/\" \"INBOX\"".to_owned()), "{third:?}");
    assert!(!third.iter().any(|line| line.contains("RECENT") || line.contains("UNSEEN")));
}

#[tokio::test]
async fn a_select_that_fails_leaves_the_folder_before() {
    let mut play = Play::selected().await;
    let lines = play.ask("SELECT nowhere", "NO [NONEXISTENT] ").await;
    assert_eq!(lines, ["* OK [CLOSED] the folder before is closed"]);
    play.ask("FETCH 1 FLAGS", "BAD no folder is selected").await;
    play.ask("SELECT INBOX (QRESYNC (1000 1))", "BAD say ENABLE QRESYNC first").await;
}

#[tokio::test]
async fn recent_belongs_to_the_first_session_that_selects() {
    let mut play = Play::new().await;
    let mut other = play.another().await;
    // EXAMINE takes nothing away.
    ask(&mut other, "EXAMINE INBOX", "OK ").await;
    assert!(play.ask("SELECT INBOX", "OK ").await.contains(&"* 3 RECENT".to_owned()));
    let lines = ask(&mut other, "SELECT INBOX", "OK ").await;
    assert!(lines.contains(&"* 0 RECENT".to_owned()), "{lines:?}");
    play.inbox.deliver(super::ONE, Flags::default());
    play.hear("NOOP", &["* 4 EXISTS", "* 4 RECENT"]).await;
    assert_eq!(ask(&mut other, "NOOP", "OK ").await, ["* 4 EXISTS", "* 0 RECENT"]);
    play.inbox.deliver(super::ONE, Flags::default());
    assert_eq!(ask(&mut other, "NOOP", "OK ").await, ["* 5 EXISTS", "* 1 RECENT"]);
    play.hear("NOOP", &["* 5 EXISTS", "* 4 RECENT"]).await;
}

#[tokio::test]
async fn close_expunges_what_unselect_and_a_reader_leave() {
    let mut play = Play::selected().await;
    set(&play, 2, Flag::Deleted).await;
    play.ask("UNSELECT", "OK UNSELECT completed").await;
    play.ask("EXAMINE INBOX", "OK ").await;
    play.hear("CLOSE", &[]).await;
    assert_eq!(play.inbox.snapshot().messages.len(), 3);
    play.ask("SELECT INBOX", "OK ").await;
    play.hear("CLOSE", &[]).await;
    let left: Vec<_> = play.inbox.snapshot().messages.iter().map(|entry| entry.uid).collect();
    assert_eq!(left, [uid(1), uid(3)]);
    play.ask("CLOSE", "BAD no folder is selected").await;
}

#[tokio::test]
async fn close_leaves_the_folder_when_the_service_fails_and_says_so() {
    let mut play = Play::selected().await;
    set(&play, 1, Flag::Deleted).await;
    play.memory.fail_next(Kind::Unavailable);
    let lines = play.ask("CLOSE", "OK CLOSE completed").await;
    assert!(lines[0].starts_with("* NO [UNAVAILABLE] "), "{lines:?}");
    assert_eq!(play.inbox.snapshot().messages.len(), 3);
    play.ask("CHECK", "BAD no folder is selected").await;
}

#[tokio::test]
async fn qresync_tells_what_went_and_what_changed() {
    let mut play = Play::new().await;
    play.inbox.deliver(super::ONE, Flags::default());
    let before = play.inbox.snapshot().highest_modseq.0;
    set(&play, 3, Flag::Seen).await;
    play.inbox.expunge(vec![uid(1), uid(2)]).await.expect("gone");
    play.hear("ENABLE QRESYNC", &["* ENABLED QRESYNC"]).await;
    let vanished = |lines: Vec<String>| -> Vec<String> {
        lines.into_iter().filter(|line| line.contains("VANISH") || line.contains("FETCH")).collect()
    };
    let changed = format!("* 1 FETCH (UID 3 FLAGS (\\Seen \\Recent) MODSEQ ({}))", before + 1);
    let lines = play.ask(&format!("SELECT INBOX (QRESYNC (1000 {before}))"), "OK ").await;
    assert_eq!(vanished(lines), ["* VANISHED (EARLIER) 1:2".to_owned(), changed]);
    let known = format!("SELECT INBOX (QRESYNC (1000 {before} 2,4))");
    let lines = play.ask(&known, "OK ").await;
    assert_eq!(lines[0], "* OK [CLOSED] the folder before is closed");
    assert_eq!(vanished(lines), ["* VANISHED (EARLIER) 2"]);
    // Another UIDVALIDITY: the client must begin anew.
    let lines = play.ask(&format!("SELECT INBOX (QRESYNC (999 {before}))"), "OK ").await;
    assert!(vanished(lines).is_empty());
    // Expunges that are forgotten: all that does not exist.
    play.inbox.forget_vanished();
    let lines = play.ask("SELECT INBOX (QRESYNC (1000 1 1:3))", "OK ").await;
    assert_eq!(vanished(lines)[0], "* VANISHED (EARLIER) 1:2");
    // They can't be asked for: likewise, and SELECT does not fail.
    play.memory.fail_after(1, Kind::Unavailable);
    let lines = play.ask(&format!("SELECT INBOX (QRESYNC (1000 {before} 1:2))"), "OK ").await;
    assert_eq!(vanished(lines), ["* VANISHED (EARLIER) 1:2"]);
    let now = play.inbox.snapshot().highest_modseq.0;
    let lines = play.ask(&format!("SELECT INBOX (QRESYNC (1000 {now}))"), "OK ").await;
    assert!(vanished(lines).is_empty());
}

#[tokio::test]
async fn a_client_that_uses_condstore_has_it() {
    let mut play = Play::selected().await;
    play.hear(
        "STATUS INBOX (HIGHESTMODSEQ)",
        &["* OK [HIGHESTMODSEQ 4] now told", "* STATUS \"INBOX\" (HIGHESTMODSEQ 4)"],
    )
    .await;
    play.inbox.change_flags(vec![uid(2)], &FlagChange::Replace(seen()), None).await.expect("done");
    play.hear("NOOP", &["* 2 FETCH (UID 2 FLAGS (\\Seen \\Recent) MODSEQ (5))"]).await;
}

#[tokio::test]
async fn close_leaves_what_its_client_has_never_seen() {
    let mut play = Play::selected().await;
    set(&play, 2, Flag::Deleted).await;
    play.inbox.deliver("\r\n", Flags::default().with(Flag::Deleted));
    play.hear("CLOSE", &[]).await;
    let left: Vec<u32> = play.inbox.snapshot().messages.iter().map(|e| e.uid.number()).collect();
    assert_eq!(left, [1, 3, 4]);
}
