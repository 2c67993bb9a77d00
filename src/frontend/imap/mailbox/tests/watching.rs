//! What changes while a folder is selected: updates and IDLE.

use std::sync::atomic::Ordering;

use super::super::memory::{Outside, uid};
use super::{ONE, Play, TWO, ask};
use crate::mail::mailbox::{Flag, FlagChange, Flags};
use crate::mail::{Folder as _, Kind};

fn flagged() -> FlagChange {
    FlagChange::Add(Flags::default().with(Flag::Flagged))
}

#[tokio::test]
async fn noop_tells_what_others_did_in_an_order_that_holds() {
    let mut play = Play::selected().await;
    play.inbox.deliver(ONE, Flags::default());
    play.hear("NOOP", &["* 4 EXISTS", "* 4 RECENT"]).await;
    for change in [
        Outside::Vanish(1),
        Outside::Vanish(3),
        Outside::Arrive(TWO, Flags::default()),
        Outside::Flag(4, flagged()),
    ] {
        play.inbox.outside(change);
    }
    // NAMESPACE asks the service for nothing.
    play.hear("NAMESPACE", &["* NAMESPACE ((\"\" \"/\")) NIL NIL"]).await;
    play.hear(
        "NOOP",
        &[
            "* 3 EXPUNGE",
            "* 1 EXPUNGE",
            "* 3 EXISTS",
            "* 3 RECENT",
            "* 2 FETCH (UID 4 FLAGS (\\Flagged \\Recent))",
        ],
    )
    .await;
    play.hear("NOOP", &[]).await;
}

#[tokio::test]
async fn numbers_do_not_shift_under_fetch_store_and_search() {
    for command in ["FETCH 1 UID", "STORE 1 FLAGS.SILENT ()", "SEARCH ALL"] {
        let mut play = Play::selected().await;
        play.inbox.outside(Outside::Vanish(1));
        play.inbox.outside(Outside::Flag(3, flagged()));
        play.inbox.outside(Outside::Arrive(ONE, Flags::default()));
        play.inbox.publish();
        let lines = play.ask(command, "").await;
        let shifts = |line: &String| line.contains("EXPUNGE") || line.contains("EXISTS");
        assert!(!lines.iter().any(shifts), "{command}: {lines:?}");
        let flags = "* 3 FETCH (UID 3 FLAGS (\\Flagged \\Recent))".to_owned();
        assert!(lines.contains(&flags), "{command}: {lines:?}");
        play.hear("NOOP", &["* 1 EXPUNGE", "* 3 EXISTS", "* 3 RECENT"]).await;
    }
}

#[tokio::test]
async fn commands_by_uid_may_be_followed_by_an_expunge() {
    let mut play = Play::selected().await;
    play.inbox.outside(Outside::Vanish(2));
    play.inbox.publish();
    let lines = play.ask("UID FETCH 1 UID", "").await;
    assert!(lines.contains(&"* 2 EXPUNGE".to_owned()), "{lines:?}");
}

#[tokio::test]
async fn two_sessions_number_apart_and_come_to_agree() {
    let mut play = Play::selected().await;
    let mut other = play.another().await;
    ask(&mut other, "SELECT INBOX", "OK ").await;
    play.inbox.outside(Outside::Vanish(1));
    assert_eq!(play.ask("NOOP", "OK ").await, ["* 1 EXPUNGE"]);
    play.inbox.outside(Outside::Flag(3, flagged()));
    play.inbox.publish();
    // The other one still counts three.
    let lines = ask(&mut other, "FETCH 3 UID", "").await;
    assert!(lines.contains(&"* 3 FETCH (UID 3 FLAGS (\\Flagged))".to_owned()), "{lines:?}");
    assert_eq!(ask(&mut other, "NOOP", "OK ").await, ["* 1 EXPUNGE"]);
    play.hear("NOOP", &["* 2 FETCH (UID 3 FLAGS (\\Flagged \\Recent))"]).await;
    assert!(ask(&mut other, "NOOP", "OK ").await.is_empty());
}

#[tokio::test]
async fn with_qresync_messages_vanish() {
    let mut play = Play::new().await;
    play.ask("ENABLE QRESYNC", "OK ").await;
    play.ask("SELECT INBOX", "OK ").await;
    play.inbox.expunge(vec![uid(1), uid(2)]).await.expect("gone");
    play.inbox.change_flags(vec![uid(3)], &flagged(), None).await.expect("changed");
    play.hear(
        "NOOP",
        &["* VANISHED 1:2", "* 1 FETCH (UID 3 FLAGS (\\Flagged \\Recent) MODSEQ (6))"],
    )
    .await;
}

#[tokio::test]
async fn rev2_has_no_recent() {
    let mut play = Play::new().await;
    play.ask("ENABLE IMAP4rev2", "OK ").await;
    play.ask("SELECT INBOX", "OK ").await;
    play.inbox.deliver(ONE, Flags::default());
    play.inbox.change_flags(vec![uid(4)], &flagged(), None).await.expect("changed");
    play.hear("NOOP", &["* 4 EXISTS"]).await;
    play.inbox.change_flags(vec![uid(1)], &flagged(), None).await.expect("changed");
    play.hear("NOOP", &["* 1 FETCH (UID 1 FLAGS (\\Flagged))"]).await;
}

#[tokio::test]
async fn idle_tells_at_once_and_ends_with_done_alone() {
    let mut play = Play::selected().await;
    play.inbox.outside(Outside::Arrive(ONE, Flags::default()));
    play.client.transcript(&[("a IDLE\r\n", "+ idling\r\n* 4 EXISTS\r\n* 4 RECENT\r\n")]).await;
    play.inbox.watched_by(1).await;
    play.inbox.expunge(vec![uid(2)]).await.expect("gone");
    play.client.hear("* 2 EXPUNGE\r\n").await;
    play.inbox.change_flags(vec![uid(3)], &flagged(), None).await.expect("changed");
    play.client.hear("* 2 FETCH (UID 3 FLAGS (\\Flagged \\Recent))\r\n").await;
    play.client.transcript(&[("DO", ""), ("ne\r\n", "a OK IDLE completed\r\n")]).await;
    play.inbox.watched_by(0).await;
    play.client
        .transcript(&[
            ("b IDLE\r\n", "+ idling\r\n"),
            ("c NOOP\r\n", "b BAD IDLE ends with DONE\r\n"),
            (
                "d IDLE\r\nDONE\r\ne NOOP\r\n",
                "+ idling\r\nd OK IDLE completed\r\ne OK NOOP completed\r\n",
            ),
        ])
        .await;
}

#[tokio::test]
async fn idle_without_a_folder_waits_and_a_failing_service_does_not_end_it() {
    let mut play = Play::new().await;
    play.client
        .transcript(&[("a IDLE\r\n", "+ idling\r\n"), ("DONE\r\n", "a OK IDLE completed\r\n")])
        .await;
    play.ask("SELECT INBOX", "OK ").await;
    play.memory.fail_next(Kind::Unavailable);
    play.client.transcript(&[("b IDLE\r\n", "+ idling\r\n")]).await;
    while play.inbox.refreshes.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    play.inbox.deliver(ONE, Flags::default());
    play.client.hear("* 4 EXISTS\r\n* 4 RECENT\r\n").await;
    play.stage.context.stopping.cancel();
    assert_eq!(play.client.rest().await, "* BYE [UNAVAILABLE] shutting down; try again soon\r\n");
    play.inbox.watched_by(0).await;
}

#[tokio::test]
async fn a_keyword_is_told_before_the_message_that_has_it() {
    let mut play = Play::selected().await;
    let work = || Flags::from_parts(0, crate::mail::mailbox::Keyword::new("work"));
    play.inbox.outside(Outside::Flag(2, FlagChange::Add(work())));
    let usual = "\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded $MDNSent $Important";
    let lists = |words: &str| {
        let permanent = format!("* OK [PERMANENTFLAGS ({usual} {words} \\*)] kept");
        [format!("* FLAGS ({usual} {words})"), permanent]
    };
    let [flags, permanent] = &lists("work");
    play.hear("NOOP", &[flags, permanent, "* 2 FETCH (UID 2 FLAGS (work \\Recent))"]).await;
    play.inbox.outside(Outside::Flag(1, FlagChange::Add(work())));
    play.hear("NOOP", &["* 1 FETCH (UID 1 FLAGS (work \\Recent))"]).await;
    let play_flags = Flags::from_parts(0, crate::mail::mailbox::Keyword::new("play"));
    play.inbox.outside(Outside::Arrive(ONE, play_flags));
    let [flags, permanent] = &lists("play work");
    play.hear("NOOP", &[flags, permanent, "* 4 EXISTS", "* 4 RECENT"]).await;
    play.hear("FETCH 4 FLAGS", &["* 4 FETCH (FLAGS (play \\Recent))"]).await;
}

#[tokio::test]
async fn the_highest_modseq_is_that_of_what_was_told() {
    let mut play = Play::selected().await;
    play.inbox.outside(Outside::Vanish(1));
    play.inbox.publish();
    // The expunge is not told here, so that its MODSEQ is not either.
    play.hear("SEARCH MODSEQ 9", &["* OK [HIGHESTMODSEQ 4] now told", "* SEARCH"]).await;
    play.ask("UNSELECT", "OK ").await;
    let mut play = Play::selected().await;
    let lines = ["* ENABLED CONDSTORE", "* OK [HIGHESTMODSEQ 4] now told"];
    play.hear("ENABLE CONDSTORE", &lines).await;
    play.hear("ENABLE QRESYNC", &["* ENABLED QRESYNC"]).await;
}
