//! STORE, EXPUNGE, COPY and MOVE.

use super::super::memory::Outside;
use super::Play;
use crate::mail::Kind;
use crate::mail::mailbox::{Flag, FlagChange, Flags, Folder as _};

fn deleted() -> FlagChange {
    FlagChange::Add(Flags::default().with(Flag::Deleted))
}

#[tokio::test]
async fn store_answers_with_the_flags_as_they_are_and_tells_them_once() {
    let mut play = Play::selected().await;
    for (command, lines) in [
        (
            "STORE 1:2 +FLAGS (\\Flagged $Label)",
            &[
                "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded $MDNSent \
                 $Important $Label)",
                "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded \
                 $MDNSent $Important $Label \\*)] kept",
                "* 1 FETCH (UID 1 FLAGS (\\Flagged $Label \\Recent))",
                "* 2 FETCH (UID 2 FLAGS (\\Flagged $Label \\Recent))",
            ][..],
        ),
        ("NOOP", &[]),
        ("STORE 1 -FLAGS \\FLAGGED", &["* 1 FETCH (UID 1 FLAGS ($Label \\Recent))"]),
        ("UID STORE 2 FLAGS (\\Seen)", &["* 2 FETCH (UID 2 FLAGS (\\Seen \\Recent))"]),
        ("UID STORE 2 FLAGS (\\Seen)", &["* 2 FETCH (UID 2 FLAGS (\\Seen \\Recent))"]),
        ("UID STORE 77 +FLAGS \\Seen", &[]),
        ("STORE 1 FLAGS.SILENT ()", &[]),
        ("NOOP", &[]),
        (
            "FETCH 1:2 FLAGS",
            &["* 1 FETCH (FLAGS (\\Recent))", "* 2 FETCH (FLAGS (\\Seen \\Recent))"],
        ),
    ] {
        play.hear(command, lines).await;
    }
    for (command, refusal) in [
        ("STORE 1 FLAGS (\\Recent)", "BAD "),
        ("STORE 1 +FLAGS (\\Starred)", "BAD "),
        ("STORE 9 +FLAGS (\\Seen)", "BAD "),
    ] {
        play.ask(command, refusal).await;
    }
}

#[tokio::test]
async fn what_another_changed_beside_a_silent_store_is_told() {
    let mut play = Play::selected().await;
    let flagged = FlagChange::Add(Flags::default().with(Flag::Flagged));
    play.inbox.outside(Outside::Flag(1, flagged));
    play.inbox.publish();
    let lines = ["* 1 FETCH (UID 1 FLAGS (\\Flagged \\Seen \\Recent))"];
    play.hear("STORE 1 +FLAGS.SILENT (\\Seen)", &lines).await;
}

#[tokio::test]
async fn stores_that_depend_on_modseq_name_what_they_left_out() {
    let mut play = Play::selected().await;
    let lines =
        ["* OK [HIGHESTMODSEQ 4] now told", "* 1 FETCH (UID 1 FLAGS (\\Seen \\Recent) MODSEQ (5))"];
    play.hear("STORE 1 (UNCHANGEDSINCE 4) +FLAGS (\\Seen)", &lines).await;
    let lines = ["* 2 FETCH (UID 2 MODSEQ (6))", "* 3 FETCH (UID 3 MODSEQ (6))"];
    let untagged = play
        .ask("STORE 1:3 (UNCHANGEDSINCE 4) +FLAGS.SILENT (\\Flagged)", "OK [MODIFIED 1] ")
        .await;
    assert_eq!(untagged, lines);
    play.ask("UID STORE 1:3 (UNCHANGEDSINCE 1) -FLAGS (\\Flagged)", "OK [MODIFIED 1:3] ").await;
    play.inbox.outside(Outside::Vanish(3));
    play.inbox.publish();
    let untagged = play.ask("STORE 1:3 +FLAGS.SILENT ($x)", "NO [EXPUNGEISSUED] ").await;
    assert_eq!(untagged.len(), 4, "FLAGS, PERMANENTFLAGS and two messages: {untagged:?}");
}

#[tokio::test]
async fn a_folder_that_is_examined_is_not_changed() {
    let mut play = Play::new().await;
    play.ask("EXAMINE INBOX", "OK ").await;
    for command in [
        "STORE 1 +FLAGS (\\Deleted)",
        "EXPUNGE",
        "UID EXPUNGE 1",
        "MOVE 1 INBOX",
        "UID MOVE 1 INBOX",
    ] {
        let untagged = play.ask(command, "NO [READ-ONLY] ").await;
        assert_eq!(untagged, [""; 0], "{command}");
    }
    assert_eq!(play.inbox.snapshot().messages.len(), 3);
}

#[tokio::test]
async fn only_deleted_messages_that_the_client_knows_are_expunged() {
    let mut play = Play::selected().await;
    play.hear("EXPUNGE", &[]).await;
    play.hear("STORE 1,3 +FLAGS.SILENT (\\Deleted)", &[]).await;
    let arrived = Flags::default().with(Flag::Deleted);
    play.inbox.outside(Outside::Arrive(super::ONE, arrived));
    play.inbox.publish();
    play.hear("UID EXPUNGE 2:3", &["* 3 EXPUNGE", "* 3 EXISTS", "* 3 RECENT"]).await;
    play.inbox.outside(Outside::Arrive(super::ONE, Flags::default().with(Flag::Deleted)));
    play.inbox.publish();
    let untagged = play.ask("EXPUNGE", "OK ").await;
    assert_eq!(untagged[..2], ["* 3 EXPUNGE", "* 1 EXPUNGE"], "{untagged:?}");
    let left: Vec<_> = play.inbox.snapshot().messages.iter().map(|e| e.uid.number()).collect();
    assert_eq!(left, [2, 5], "what came meanwhile stays");
    play.inbox.outside(Outside::Flag(2, deleted()));
    play.inbox.publish();
    play.memory.fail_next(Kind::Unavailable);
    play.ask("EXPUNGE", "NO [UNAVAILABLE] ").await;
}

#[tokio::test]
async fn clients_that_count_modseqs_hear_the_new_one_with_an_expunge() {
    let mut play = Play::new().await;
    play.ask("ENABLE QRESYNC", "OK ").await;
    play.ask("SELECT INBOX", "OK ").await;
    play.ask("STORE 2 +FLAGS (\\Deleted)", "OK ").await;
    let untagged = play.ask("EXPUNGE", "OK [HIGHESTMODSEQ 6] ").await;
    assert_eq!(untagged, ["* VANISHED 2"]);
}

#[tokio::test]
async fn copies_are_named_and_a_missing_folder_is_to_be_made() {
    let mut play = Play::selected().await;
    play.memory.add("Archive", None);
    play.ask("COPY 1:2 Archive", "OK [COPYUID 1001 1:2 1:2] COPY completed").await;
    play.ask("UID COPY 3 Archive", "OK [COPYUID 1001 3 3] COPY completed").await;
    play.ask("UID COPY 99 Archive", "OK no messages").await;
    play.ask("COPY 9 Archive", "BAD ").await;
    play.ask("COPY 1 Nowhere", "NO [TRYCREATE] ").await;
    play.ask("MOVE 1 Nowhere", "NO [TRYCREATE] ").await;
    play.memory.fail_next(Kind::OverQuota);
    play.ask("COPY 1 Archive", "NO [OVERQUOTA] ").await;
    assert_eq!(play.memory.folder("Archive").snapshot().messages.len(), 3);
    play.inbox.outside(Outside::Vanish(1));
    play.inbox.publish();
    play.ask("COPY 1 Archive", "NO [EXPUNGEISSUED] ").await;
}

#[tokio::test]
async fn moves_name_the_new_uids_before_the_expunges() {
    let mut play = Play::selected().await;
    play.memory.add("Archive", None);
    let lines = ["* OK [COPYUID 1001 1,3 1:2] moved", "* 3 EXPUNGE", "* 1 EXPUNGE"];
    play.hear("MOVE 1,3 Archive", &lines).await;
    let lines = ["* OK [COPYUID 1001 2 3] moved", "* 1 EXPUNGE"];
    play.hear("UID MOVE 1:* Archive", &lines).await;
    play.hear("UID MOVE 1:* Archive", &[]).await;
    assert_eq!(play.memory.folder("Archive").snapshot().messages.len(), 3);
}

#[tokio::test]
async fn a_move_that_stumbles_tells_what_it_did() {
    let mut play = Play::selected().await;
    play.memory.add("Archive", None);
    play.inbox.stumble_after(1, Kind::Unavailable);
    let untagged = play.ask("MOVE 2:3 Archive", "NO [UNAVAILABLE] ").await;
    assert_eq!(untagged, ["* OK [COPYUID 1001 2 1] moved", "* 2 EXPUNGE"]);
    play.inbox.stumble_after(0, Kind::Unavailable);
    let untagged = play.ask("MOVE 1:2 Archive", "NO [UNAVAILABLE] ").await;
    assert_eq!(untagged, [""; 0]);
    assert_eq!(play.inbox.snapshot().messages.len(), 2);
}
