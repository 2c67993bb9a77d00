//! How commands are read and answered, whatever they are.

use super::super::memory::{APPEND_LIMIT, stage_with};
use super::super::{Selected, State, legality::forbidden};
use super::{ONE, Play, ask, connect};
use crate::mail::{Kind, Mailbox as _};
use crate::protocol::imap::parse_request;

#[tokio::test]
async fn every_command_in_every_state() {
    let (_stage, memory) = stage_with(&[ONE]);
    let folder = memory.open("INBOX").await.expect("there");
    let selected = State::Selected(Box::new(Selected {
        name: "INBOX".to_owned(),
        keywords: super::super::keywords::Keywords::of(&folder.snapshot()),
        view: super::super::View::new(folder.snapshot()),
        folder,
        read_only: false,
        saved: Vec::new(),
        recent: Vec::new(),
        last_read: None,
    }));
    let no_folder = Some("BAD no folder is selected");
    let always = "CAPABILITY|NOOP|LOGOUT|ID NIL|ENABLE CONDSTORE|SELECT INBOX|EXAMINE INBOX|\
                  CREATE a|DELETE a|RENAME a b|SUBSCRIBE a|UNSUBSCRIBE a|LIST \"\" *|LSUB \"\" *|\
                  NAMESPACE|STATUS a (MESSAGES)|APPEND a {3}|IDLE";
    let with_folder = "CHECK|CLOSE|UNSELECT|EXPUNGE|UID EXPUNGE 1|SEARCH ALL|UID SEARCH ALL|\
                       SORT (DATE) UTF-8 ALL|THREAD REFERENCES UTF-8 ALL|FETCH 1 FLAGS|\
                       UID FETCH 1 FLAGS|STORE 1 FLAGS ()|COPY 1 a|MOVE 1 a|UID MOVE 1 a";
    let never = "LOGIN a b|AUTHENTICATE PLAIN|STARTTLS|XYZZY";
    let verb = |command: &str| {
        parse_request(format!("t {command}\r\n").as_bytes(), false).expect("valid").verb
    };
    for command in always.split('|') {
        assert_eq!(forbidden(&verb(command), &State::Authenticated), None, "{command}");
        assert_eq!(forbidden(&verb(command), &selected), None, "{command}");
    }
    for command in with_folder.split('|') {
        assert_eq!(forbidden(&verb(command), &State::Authenticated), no_folder, "{command}");
        assert_eq!(forbidden(&verb(command), &selected), None, "{command}");
    }
    for state in [&State::Authenticated, &selected] {
        for command in never.split('|') {
            let answer = forbidden(&verb(command), state).expect("not legal");
            assert!(answer.starts_with("BAD "), "{command}: {answer}");
        }
    }
}

#[tokio::test]
async fn what_is_offered_is_told_with_the_size_of_messages() {
    let mut play = Play::new().await;
    let lines = play.ask("CAPABILITY", "OK CAPABILITY completed").await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    let offered: Vec<&str> = lines[0].split(' ').collect();
    for name in ["IMAP4rev1", "IMAP4rev2", "QRESYNC", "OBJECTID", "UTF8=ACCEPT"] {
        assert!(offered.contains(&name), "{name}");
    }
    assert!(offered.contains(&format!("APPENDLIMIT={APPEND_LIMIT}").as_str()));
    for name in ["AUTH=PLAIN", "STARTTLS", "QUOTA", "NOTIFY", "MULTIAPPEND"] {
        assert!(!offered.contains(&name), "{name}");
    }
}

#[tokio::test]
async fn enabled_names_only_what_is_new() {
    let mut play = Play::new().await;
    play.hear("ENABLE utf8=accept XYZZY", &["* ENABLED UTF8=ACCEPT"]).await;
    play.hear("ENABLE UTF8=ACCEPT qresync", &["* ENABLED QRESYNC"]).await;
    play.hear("ENABLE CONDSTORE imap4rev2", &["* ENABLED IMAP4rev2"]).await;
    play.hear("ENABLE QRESYNC", &["* ENABLED"]).await;
}

#[tokio::test]
async fn commands_that_come_together_are_answered_in_order() {
    let mut play = Play::new().await;
    play.client.say("a NOOP\r\nb ID NIL\r\nc NAMESPACE\r\nd CHE").await;
    play.client.hear("a OK NOOP completed\r\n").await;
    play.client.hear("* ID (\"name\" \"authbridge\")\r\nb OK ID completed\r\n").await;
    play.client.hear("* NAMESPACE ((\"\" \"/\")) NIL NIL\r\nc OK NAMESPACE completed\r\n").await;
    play.client.say("CK\r\nd LOGOUT\r\ne NOOP\r\n").await;
    play.client.hear("d BAD no folder is selected\r\n").await;
    assert_eq!(play.client.rest().await, "* BYE logging out\r\nd OK LOGOUT completed\r\n");
}

#[tokio::test]
async fn literals_are_asked_for_and_commands_that_are_wrong_are_bad() {
    let mut play = Play::new().await;
    play.client
        .transcript(&[
            ("a STATUS {5}\r\n", "+ go ahead\r\n"),
            (
                "INBOX (MESSAGES)\r\n",
                "* STATUS \"INBOX\" (MESSAGES 3)\r\na OK STATUS completed\r\n",
            ),
            (
                "b CREATE {3+}\r\nfoo\r\n",
                "b OK [MAILBOXID (F00000000000000000000000000001001)] CREATE completed\r\n",
            ),
            ("c XYZZY\r\n", "c BAD unknown command\r\n"),
            ("d LOGIN erp \"pass word\"\r\n", "d BAD you have logged in already\r\n"),
        ])
        .await;
    play.client.say("e STATUS INBOX\r\n").await;
    assert!(play.client.line().await.starts_with("e BAD "));
    play.client.say("+ NOOP\r\n").await;
    assert!(play.client.line().await.starts_with("* BAD "));
    play.client.transcript(&[("f NOOP\r\n", "f OK NOOP completed\r\n")]).await;
}

#[tokio::test]
async fn a_message_behind_an_append_that_is_wrong_is_not_read_as_commands() {
    let mut play = Play::new().await;
    play.client
        .say("a APPEND INBOX (\\Nonsense {20+}\r\nb DELETE a\r\nc LOGOUT\r\nd NOOP\r\n")
        .await;
    assert!(play.client.line().await.starts_with("a BAD "));
    play.client.hear("d OK NOOP completed\r\n").await;
    // Where the client waits for `+`, the next line is a command.
    play.client.say("e APPEND INBOX (\\Nonsense {20}\r\nf NOOP\r\n").await;
    assert!(play.client.line().await.starts_with("e BAD "));
    play.client.hear("f OK NOOP completed\r\n").await;
}

#[tokio::test]
async fn a_peer_that_does_not_speak_imap_is_sent_away() {
    let mut play = Play::new().await;
    for _ in 0..19 {
        ask(&mut play.client, "XYZZY", "BAD ").await;
    }
    play.hear("NOOP", &[]).await;
    play.client.say(&"t XYZZY\r\n".repeat(20)).await;
    let rest = play.client.rest().await;
    assert!(rest.ends_with("t BAD unknown command\r\n* BYE too many failures\r\n"), "{rest}");
    let mut endless = play.another().await;
    endless.say(&"x".repeat(300 << 10)).await;
    assert_eq!(endless.rest().await, "* BAD the command is too long\r\n* BYE closing\r\n");
}

#[tokio::test]
async fn a_service_that_fails_is_a_no_with_a_reference_and_the_session_goes_on() {
    let mut play = Play::new().await;
    let throttled = Kind::Throttled { retry_after: Some(std::time::Duration::from_secs(7)) };
    for (kind, start) in [
        (Kind::NotFound, "NO [NONEXISTENT] it does not exist (ref "),
        (Kind::AlreadyExists, "NO [ALREADYEXISTS] "),
        (Kind::NotPermitted, "NO [NOPERM] "),
        (Kind::OverQuota, "NO [OVERQUOTA] "),
        (Kind::TooLarge, "NO [TOOBIG] "),
        (throttled, "NO [LIMIT] too many requests at present; try again in 7 s (ref "),
        (Kind::SignInNeeded, "NO [UNAVAILABLE] an administrator must sign in"),
        (Kind::Unavailable, "NO [UNAVAILABLE] the mail service can't be reached"),
        (Kind::OutcomeUnknown, "NO [UNAVAILABLE] "),
        (Kind::Unsupported, "NO [CANNOT] "),
        (Kind::Rejected, "NO [CANNOT] "),
    ] {
        play.memory.fail_next(kind);
        play.ask("SELECT INBOX", start).await;
    }
    let hint = crate::mail::Error::new(Kind::Rejected, "secret").with_hint("ask again by fax");
    play.memory.fail_with(hint);
    play.ask("CREATE x", "NO [CANNOT] ask again by fax (ref ").await;
    play.ask("SELECT INBOX", "OK ").await;
    play.memory.fail_next(Kind::Unavailable);
    play.hear("NOOP", &[]).await;
    play.memory.fail_next(Kind::SignInNeeded);
    play.hear("CHECK", &[]).await;
}

#[tokio::test]
async fn when_the_proxy_stops_the_client_is_told() {
    let mut play = Play::selected().await;
    play.stage.context.stopping.cancel();
    assert_eq!(play.client.rest().await, "* BYE [UNAVAILABLE] shutting down; try again soon\r\n");
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_sent_away() {
    let (stage, memory) = stage_with(&[]);
    let mut client = connect(&stage, &memory).await;
    // The clock jumps to the next deadline: the reader's own patience must be longer.
    let mut word = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut client.0, &mut word).await.expect("read");
    assert_eq!(word, "* BYE you were silent for too long\r\n");
}

#[tokio::test]
async fn a_command_may_come_octet_by_octet() {
    let mut play = Play::new().await;
    for octet in "a STATUS {5+}\r\nIN\nOX (MESSAGES)\r\nb STATUS {5}\r\n".chars() {
        play.client.say(&octet.to_string()).await;
    }
    play.client.hear("a BAD a mailbox name may not hold NUL, CR or LF\r\n+ go ahead\r\n").await;
    for octet in "INBOX (MESSAGES)\r\n".chars() {
        play.client.say(&octet.to_string()).await;
    }
    play.client.hear("* STATUS \"INBOX\" (MESSAGES 3)\r\nb OK STATUS completed\r\n").await;
}
