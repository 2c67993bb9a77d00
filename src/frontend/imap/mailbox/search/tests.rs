//! Keys with three values, and what a search costs.

use std::sync::Arc;

use time::OffsetDateTime;
use time::macros::{date, datetime};

use super::plan::{Found, Known, Plan};
use crate::frontend::imap::mailbox::fetch::tests::{ask, selected, selected_with};
use crate::frontend::imap::mailbox::memory::{Memory, uid};
use crate::frontend::imap::mailbox::{Selected, View};
use crate::mail::mailbox::{Entry, Flag, Flags, Folder as _, Keyword, Mailbox as _, ModSeq, Size};
use crate::protocol::imap::request::{SearchKey as Key, SequenceSet};

const NOW: OffsetDateTime = datetime!(2026-03-10 12:00:00 UTC);

async fn empty() -> Selected {
    let folder = Memory::new().open("INBOX").await.expect("it is there");
    Selected {
        name: "INBOX".to_owned(),
        keywords: crate::frontend::imap::mailbox::keywords::Keywords::of(&folder.snapshot()),
        view: View::new(folder.snapshot()),
        folder,
        read_only: false,
        saved: Vec::new(),
        recent: Vec::new(),
        last_read: None,
    }
}

fn entry(size: Size) -> Entry {
    let keyword = Keyword::new("$Label").expect("an atom");
    Entry {
        uid: uid(7),
        modseq: ModSeq(50),
        flags: Flags::from_parts(0, [keyword]).with(Flag::Seen),
        // The day before, in UTC.
        date: datetime!(2026-03-03 00:30:00 +02:00),
        size,
        object_id: [0xab; 16],
    }
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn not(key: Key) -> Key {
    Key::Not(Box::new(key))
}

fn or(one: Key, other: Key) -> Key {
    Key::Or(Box::new(one), Box::new(other))
}

#[tokio::test]
async fn keys_are_undecided_until_what_they_ask_for_is_known() {
    const HEADER: &[u8] =
        b"Subject: =?utf-8?Q?=C3=84rger?=\r\nDate: Mon, 2 Mar 2026 23:00:00 -0500\r\n\
        From: \"Ann\" <ann@example.com>\r\nSender:\r\n\r\n";
    let read = Found {
        size: 100,
        header: b"X-Mailer: Bat\r\nSubject: other\r\n\r\n".to_vec(),
        in_header: vec![false],
        in_body: vec![true],
    };
    let (yes, no, open) = (Some(true), Some(false), None);
    let header = |name: &str, value: &str| Key::Header(text(name), text(value));
    let table: Vec<(Key, [Option<bool>; 3])> = vec![
        (Key::All, [yes; 3]),
        (Key::Flag("\\Seen", true), [yes; 3]),
        (Key::Flag("\\Seen", false), [no; 3]),
        (Key::Flag("\\Flagged", true), [no; 3]),
        (Key::Keyword(text("$LABEL"), true), [yes; 3]),
        (Key::Keyword(text("other"), true), [no; 3]),
        (Key::Recent(true), [no; 3]),
        (Key::Recent(false), [yes; 3]),
        (Key::New, [no; 3]),
        (Key::On(date!(2026 - 03 - 03)), [yes; 3]),
        (Key::Before(date!(2026 - 03 - 03)), [no; 3]),
        (Key::Since(date!(2026 - 03 - 03)), [yes; 3]),
        (Key::Since(date!(2026 - 03 - 04)), [no; 3]),
        (Key::Older(86_400), [yes; 3]),
        (Key::Younger(86_400), [no; 3]),
        (Key::Younger(u32::MAX), [yes; 3]),
        (Key::ModSeq(50), [yes; 3]),
        (Key::ModSeq(51), [no; 3]),
        (Key::EmailId(format!("M{}", "ab".repeat(16))), [yes; 3]),
        (Key::EmailId(text("Mab")), [no; 3]),
        (Key::SentOn(date!(2026 - 03 - 02)), [open, yes, yes]),
        (Key::SentBefore(date!(2026 - 03 - 02)), [open, no, no]),
        (Key::SentSince(date!(2026 - 03 - 02)), [open, yes, yes]),
        (header("SUBJECT", "\u{e4}rg"), [open, yes, yes]),
        (header("from", "ANN@"), [open, yes, yes]),
        (header("to", ""), [open, no, no]),
        (header("sender", ""), [open, yes, yes]),
        (header("x-mailer", "bat"), [open, open, yes]),
        (header("x-other", ""), [open, open, no]),
        (Key::Larger(99), [open, open, yes]),
        (Key::Smaller(100), [open, open, no]),
        (Key::Body(text("word")), [open, open, yes]),
        (Key::Text(text("word")), [open, open, yes]),
        (Key::Text(text("\u{c4}RGER")), [open, yes, yes]),
        (Key::Body(text("")), [yes; 3]),
        (not(Key::Body(text("word"))), [open, open, no]),
        (not(Key::Text(text("\u{c4}rger"))), [open, no, no]),
        (or(Key::All, Key::Body(text("word"))), [yes; 3]),
        (or(not(Key::All), Key::Body(text("word"))), [open, open, yes]),
        (Key::And(vec![not(Key::All), Key::Body(text("word"))]), [no; 3]),
        (Key::And(vec![Key::Larger(9), Key::Recent(true)]), [no; 3]),
        (not(or(Key::Larger(99), header("to", ""))), [open, open, no]),
        (Key::Uid(SequenceSet::Ranges(vec![(7, 7)])), [no; 3]),
    ];
    let (selected, entry) = (empty().await, entry(Size::Estimated(1)));
    for (key, expected) in table {
        let plan = Plan::new(std::slice::from_ref(&key), &selected, NOW).expect("valid");
        let known = |header, read| Known { entry: &entry, recent: false, header, read };
        let found = [
            plan.matches(&known(None, None)),
            plan.matches(&known(Some(HEADER), None)),
            plan.matches(&known(Some(HEADER), Some(&read))),
        ];
        assert_eq!(found, expected, "{key:?}");
    }
}

#[tokio::test]
async fn exact_sizes_need_no_message_and_strings_are_looked_for_once() {
    let selected = empty().await;
    let keys = [Key::Larger(10), not(Key::Smaller(10)), not(Key::Larger(11))];
    let plan = Plan::new(&keys, &selected, NOW).expect("valid");
    let entry = entry(Size::Exact(11));
    let known = Known { entry: &entry, recent: false, header: None, read: None };
    assert_eq!(plan.matches(&known), Some(true));
    let keys = [Key::Body(text("a")), Key::Text(text("a")), Key::Body(text("b"))];
    let plan = Plan::new(&keys, &selected, NOW).expect("valid");
    assert_eq!(plan.texts, ["a", "b"]);
    let keys = [Key::Seq(SequenceSet::Ranges(vec![(1, 1)]))];
    let plan = Plan::new(&keys, &selected, NOW).expect("valid");
    assert_eq!(plan.matches(&known), Some(false), "there is no message");
}

const MESSAGES: [&str; 4] = [
    "Subject: one\r\nFrom: a@x\r\nDate: Mon, 2 Mar 2026 10:00:00 +0000\r\n\r\napple\r\n",
    "Subject: two\r\nFrom: b@x\r\nX-Odd: yes\r\n\r\npear\r\n",
    "Subject: three\r\nFrom: a@x\r\n\r\napple and pear\r\n",
    "Subject: four\r\nFrom: c@x\r\n\r\nplum, a long text\r\n",
];

#[tokio::test]
async fn searches_answer_in_the_form_that_was_asked_for() {
    let (_stage, _memory, mut client) = selected(&MESSAGES).await;
    for (command, expected) in [
        ("a SEARCH ALL", "* SEARCH 1 2 3 4\r\na OK SEARCH completed"),
        ("a SEARCH FROM a@", "* SEARCH 1 3\r\na OK SEARCH completed"),
        ("a UID SEARCH NOT FROM a@", "* SEARCH 2 4\r\na OK SEARCH completed"),
        ("a SEARCH SUBJECT nothing", "* SEARCH\r\na OK SEARCH completed"),
        ("a SEARCH BODY apple", "* SEARCH 1 3\r\na OK SEARCH completed"),
        ("a SEARCH OR BODY plum HEADER X-Odd \"\"", "* SEARCH 2 4\r\na OK SEARCH completed"),
        ("a SEARCH NOT TEXT apple", "* SEARCH 2 4\r\na OK SEARCH completed"),
        ("a SEARCH SENTON 2-Mar-2026", "* SEARCH 1\r\na OK SEARCH completed"),
        ("a SEARCH 2:3 BODY pear", "* SEARCH 2 3\r\na OK SEARCH completed"),
        (
            "a SEARCH RETURN (MIN MAX COUNT ALL) BODY apple",
            "* ESEARCH (TAG \"a\") MIN 1 MAX 3 COUNT 2 ALL 1,3\r\na OK SEARCH completed",
        ),
        (
            "a UID SEARCH RETURN () ALL",
            "* ESEARCH (TAG \"a\") UID ALL 1:4\r\na OK SEARCH completed",
        ),
        (
            "a SEARCH RETURN (MIN COUNT) SUBJECT nothing",
            "* ESEARCH (TAG \"a\") COUNT 0\r\na OK SEARCH completed",
        ),
        ("a SEARCH RETURN (SAVE) FROM a@", "a OK SEARCH completed"),
        ("a SEARCH $", "* SEARCH 1 3\r\na OK SEARCH completed"),
        (
            "a SEARCH RETURN (SAVE MIN MAX) ALL",
            "* ESEARCH (TAG \"a\") MIN 1 MAX 4\r\na OK SEARCH completed",
        ),
        ("a SEARCH $", "* SEARCH 1 4\r\na OK SEARCH completed"),
        (
            "a SEARCH RETURN (SAVE MIN COUNT) 2:4",
            "* ESEARCH (TAG \"a\") MIN 2 COUNT 3\r\na OK SEARCH completed",
        ),
        ("a SEARCH $", "* SEARCH 2 3 4\r\na OK SEARCH completed"),
        (
            "a SEARCH CHARSET KOI8-R ALL",
            "a NO [BADCHARSET (UTF-8)] only UTF-8 and US-ASCII are known",
        ),
        ("a SEARCH 9", "* SEARCH\r\na OK SEARCH completed"),
    ] {
        assert_eq!(ask(&mut client, command).await, expected, "{command}");
    }
}

#[tokio::test]
async fn a_search_that_fails_empties_the_saved_result() {
    let (_stage, memory, mut client) = selected(&MESSAGES).await;
    ask(&mut client, "a SEARCH RETURN (SAVE) ALL").await;
    let throttled = crate::mail::Kind::Throttled { retry_after: None };
    memory.fail_next(throttled);
    let answer = ask(&mut client, "b SEARCH RETURN (SAVE) FROM a@").await;
    assert!(answer.starts_with("b NO [LIMIT] "), "{answer}");
    assert_eq!(ask(&mut client, "c SEARCH $").await, "* SEARCH\r\nc OK SEARCH completed");
    ask(&mut client, "d SEARCH RETURN (SAVE) ALL").await;
    let answer = ask(&mut client, "e SEARCH RETURN (SAVE) LARGER x").await;
    assert!(answer.starts_with("e BAD "), "{answer}");
    assert_eq!(ask(&mut client, "f SEARCH $").await, "* SEARCH 1 2 3 4\r\nf OK SEARCH completed");
}

#[tokio::test]
async fn modseq_is_told_where_it_was_asked_for() {
    let (_stage, memory, mut client) = selected(&MESSAGES).await;
    let highest = memory.folder("INBOX").snapshot().highest_modseq.0;
    let command = format!("a SEARCH MODSEQ {highest}");
    let expected = format!(
        "* OK [HIGHESTMODSEQ {highest}] now told\r\n* SEARCH 4 (MODSEQ {highest})\r\n\
         a OK SEARCH completed"
    );
    assert_eq!(ask(&mut client, &command).await, expected);
    let expected = "* ESEARCH (TAG \"b\") MIN 1 MODSEQ 2\r\nb OK SEARCH completed";
    assert_eq!(ask(&mut client, "b SEARCH RETURN (MIN) MODSEQ 1").await, expected);
    let nothing = "* SEARCH\r\nc OK SEARCH completed";
    assert_eq!(ask(&mut client, "c SEARCH MODSEQ 99999").await, nothing);
}

#[tokio::test]
async fn messages_are_read_only_where_nothing_else_decides() {
    let (_stage, memory, mut client) = selected(&MESSAGES).await;
    let folder = memory.folder("INBOX");
    let reads = || folder.reads.load(std::sync::atomic::Ordering::Relaxed);
    ask(&mut client, "a SEARCH UNSEEN FROM a@ SINCE 1-Jan-2020 SUBJECT one").await;
    assert_eq!(reads(), 0);
    ask(&mut client, "b SEARCH FROM b@ BODY pear").await;
    assert_eq!(reads(), 1);
    ask(&mut client, "c SEARCH OR SUBJECT one SUBJECT two LARGER 1").await;
    assert_eq!(reads(), 2, "the second was read before");
    ask(&mut client, "d SEARCH OR ALL BODY pear").await;
    assert_eq!(reads(), 2);
}

#[tokio::test]
async fn a_search_that_would_read_a_mailbox_is_refused() {
    let messages: Vec<_> = (0..=super::MAX_READ).map(|_| MESSAGES[0]).collect();
    let (_stage, memory, mut client) = selected(&messages).await;
    let answer = ask(&mut client, "a SEARCH BODY apple").await;
    assert!(answer.starts_with("a NO [LIMIT] "), "{answer}");
    let reads = &memory.folder("INBOX").reads;
    assert_eq!(reads.load(std::sync::atomic::Ordering::Relaxed), 0);
    let answer = ask(&mut client, "b SEARCH 1:3 BODY apple").await;
    assert_eq!(answer, "* SEARCH 1 2 3\r\nb OK SEARCH completed");
}

#[tokio::test]
async fn rev2_hears_esearch_and_knows_no_recent() {
    let (_stage, _memory, mut client) =
        selected_with(&MESSAGES[..2], &["e ENABLE IMAP4rev2"]).await;
    let expected = "* ESEARCH (TAG \"a\") ALL 1:2\r\na OK SEARCH completed";
    assert_eq!(ask(&mut client, "a SEARCH ALL").await, expected);
    let expected = "* ESEARCH (TAG \"a\") UID\r\na OK SEARCH completed";
    assert_eq!(ask(&mut client, "a UID SEARCH SEEN").await, expected);
}

#[tokio::test]
async fn what_is_sorted_and_threaded_is_called_as_asked() {
    let (_stage, memory, mut client) = selected(&MESSAGES).await;
    for (command, expected) in [
        ("a SORT (SUBJECT) UTF-8 ALL", "* SORT 4 1 3 2\r\na OK SORT completed"),
        ("a UID SORT (REVERSE SUBJECT) UTF-8 1:3", "* SORT 2 3 1\r\na OK SORT completed"),
        ("a SORT (SIZE) UTF-8 SUBJECT none", "* SORT\r\na OK SORT completed"),
        ("a SORT (REVERSE SIZE) UTF-8 ALL", "* SORT 1 4 2 3\r\na OK SORT completed"),
        (
            "a SORT RETURN (MIN MAX ALL) (SUBJECT) UTF-8 ALL",
            "* ESEARCH (TAG \"a\") MIN 4 MAX 2 ALL 4,1,3,2\r\na OK SORT completed",
        ),
        ("a THREAD REFERENCES UTF-8 SUBJECT one", "* THREAD (1)\r\na OK THREAD completed"),
        ("a THREAD REFERENCES UTF-8 SUBJECT none", "* THREAD\r\na OK THREAD completed"),
        (
            "a SORT (SUBJECT) KOI8-R ALL",
            "a NO [BADCHARSET (UTF-8)] only UTF-8 and US-ASCII are known",
        ),
    ] {
        assert_eq!(ask(&mut client, command).await, expected, "{command}");
    }
    let reads = memory.folder("INBOX").reads.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(reads, 4, "for SIZE alone, and each once");
    drop(Arc::clone(&memory));
}

#[tokio::test]
async fn a_thousand_sets_cost_little() {
    let (_stage, _memory, mut client) = selected(&["\r\n"; 400]).await;
    let keys = "UID 1:* ".repeat(450) + &"1:* ".repeat(450);
    let answer = ask(&mut client, &format!("a SEARCH {keys}NOT UID 2:399")).await;
    assert_eq!(answer, "* SEARCH 1 400\r\na OK SEARCH completed");
    let odd: Vec<String> = (1..400).step_by(2).map(|number| number.to_string()).collect();
    let answer = ask(&mut client, &format!("b SEARCH NOT {} 1:6", odd.join(","))).await;
    assert_eq!(answer, "* SEARCH 2 4 6\r\nb OK SEARCH completed");
}
