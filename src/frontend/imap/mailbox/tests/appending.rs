//! APPEND.

use super::super::memory::APPEND_LIMIT;
use super::{ONE, Play};
use crate::mail::Kind;
use crate::mail::mailbox::{Flag, Folder as _};

#[tokio::test]
async fn a_message_is_asked_for_stored_and_named() {
    let mut play = Play::selected().await;
    let length = ONE.len();
    let date = "\" 3-Mar-2026 10:00:00 +0200\"";
    let command = format!("t APPEND INBOX (\\Seen $Label) {date} {{{length}}}\r\n");
    play.client.transcript(&[(&command, "+ go ahead\r\n")]).await;
    let flags =
        "\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded $MDNSent $Important $Label";
    let answer = format!(
        "* FLAGS ({flags})\r\n* OK [PERMANENTFLAGS ({flags} \\*)] kept\r\n* 4 EXISTS\r\n\
         * 4 RECENT\r\nt OK [APPENDUID 1000 4] APPEND completed\r\n"
    );
    play.client.transcript(&[(&format!("{ONE}\r\n"), &answer)]).await;
    let snapshot = play.inbox.snapshot();
    let entry = &snapshot.messages[3];
    assert!(entry.flags.has(Flag::Seen) && entry.flags.has_keyword("$label"));
    assert_eq!(entry.date, time::macros::datetime!(2026-03-03 10:00:00 +02:00));
    assert_eq!(play.inbox.text(4), ONE);
}

#[tokio::test]
async fn literals_without_waiting_are_read_with_what_follows() {
    let mut play = Play::selected().await;
    let text = "A: b\n\nx\ry\n";
    let length = text.len();
    let command = format!("t APPEND INBOX {{{length}+}}\r\n{text}\r\nt NOOP\r\n");
    let answer = "* 4 EXISTS\r\n* 4 RECENT\r\nt OK [APPENDUID 1000 4] APPEND completed\r\n\
        t OK NOOP completed\r\n";
    play.client.transcript(&[(&command, answer)]).await;
    assert_eq!(play.inbox.text(4), "A: b\r\n\r\nx\r\ny\r\n");
}

#[tokio::test]
async fn what_can_be_refused_is_refused_before_the_message() {
    let mut play = Play::selected().await;
    let too_large = format!("APPEND INBOX {{{}}}", APPEND_LIMIT + 1);
    for (command, refusal) in [
        (too_large.as_str(), "NO [TOOBIG] "),
        ("APPEND INBOX {18446744073709551615}", ""),
        ("APPEND INBOX {0}", "NO "),
        ("APPEND INBOX (\\Recent) {5}", "BAD "),
        ("APPEND INBOX (\\Odd) {5}", "BAD "),
    ] {
        play.ask(command, refusal).await;
    }
    play.hear("NOOP", &[]).await;
}

#[tokio::test]
async fn a_refused_message_that_comes_all_the_same_is_no_command() {
    let mut play = Play::selected().await;
    let text = "t LOGOUT\r\n";
    for (arguments, refusal) in [
        (format!("INBOX (\\Odd) {{{}+}}", text.len()), "t BAD unknown system flag\r\n"),
        (format!("Nowhere {{{}+}}", text.len()), "t NO [TRYCREATE] there is no such folder\r\n"),
    ] {
        let command = format!("t APPEND {arguments}\r\n{text}\r\nn NOOP\r\n");
        let answer = format!("{refusal}n OK NOOP completed\r\n");
        play.client.transcript(&[(&command, &answer)]).await;
    }
    let large = "x".repeat(APPEND_LIMIT as usize + 1);
    let command = format!("t APPEND INBOX {{{}+}}\r\n{large}\r\nn NOOP\r\n", large.len());
    let answer = "t NO [TOOBIG] the message is too large\r\nn OK NOOP completed\r\n";
    play.client.transcript(&[(&command, answer)]).await;
    let command = "t APPEND INBOX {3+}\r\nx\0y\r\nn NOOP\r\n";
    let answer = "t BAD a message with NUL needs a literal8\r\nn OK NOOP completed\r\n";
    play.client.transcript(&[(command, answer)]).await;
    assert_eq!(play.inbox.snapshot().messages.len(), 3);
    let command = "t APPEND INBOX ~{3+}\r\nx\0y\r\nn NOOP\r\n";
    let answer = "* 4 EXISTS\r\n* 4 RECENT\r\nt OK [APPENDUID 1000 4] APPEND completed\r\n\
        n OK NOOP completed\r\n";
    play.client.transcript(&[(command, answer)]).await;
}

#[tokio::test]
async fn octets_that_may_be_a_message_are_never_commands() {
    for command in [
        // Far beyond what is read over.
        "t APPEND INBOX {4000000000+}\r\n",
        // MULTIAPPEND, which is not offered.
        "t APPEND INBOX {3+}\r\nabc {4+}\r\nt LOGOUT\r\n",
        "t APPEND INBOX {3+}\r\nabct LOGOUT\r\n",
    ] {
        let mut play = Play::selected().await;
        play.client.say(command).await;
        let heard = play.client.rest().await;
        assert!(heard.starts_with("t NO ") || heard.starts_with("t BAD "), "{command}: {heard}");
        assert!(heard.ends_with("* BYE closing\r\n"), "{command}: {heard}");
        assert_eq!(play.inbox.snapshot().messages.len(), 3, "{command}");
    }
}

#[tokio::test]
async fn a_client_that_vanishes_stores_nothing() {
    let mut play = Play::new().await;
    play.client.transcript(&[("t APPEND INBOX {100}\r\n", "+ go ahead\r\n")]).await;
    play.client.say(ONE).await;
    drop(play.client);
    let mut another = super::connect(&play.stage, &play.memory).await;
    super::ask(&mut another, "NOOP", "OK ").await;
    assert_eq!(play.inbox.snapshot().messages.len(), 3);
}

#[tokio::test]
async fn a_failure_of_the_service_is_a_no() {
    let mut play = Play::selected().await;
    play.memory.fail_next(Kind::OutcomeUnknown);
    let command = format!("APPEND INBOX {{{}+}}\r\n{ONE}", ONE.len());
    play.ask(&command, "NO [UNAVAILABLE] ").await;
    play.hear("NOOP", &[]).await;
}
