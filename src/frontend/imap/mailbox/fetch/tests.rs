//! Transcripts of FETCH.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::items::{Response, Source};
use super::reading::LastRead;
use crate::frontend::connected::Connected;
use crate::frontend::conversation::Parting;
use crate::frontend::imap::mailbox::memory::{Memory, Outside, stage_with, uid};
use crate::frontend::imap::mailbox::tests::connect;
use crate::frontend::rehearsal::{Dialogue, Stage};
use crate::frontend::stream::ClientStream;
use crate::mail::mailbox::{Entry, Flag, FlagChange, Flags, Folder as _, ModSeq, Size, Uid};
use crate::mail::{Content, Kind};
use crate::protocol::imap::request::{FetchItem, FetchSection, SectionText};

/// A stage, a mailbox with these messages in INBOX, and a client that has it selected.
pub(in crate::frontend::imap::mailbox) async fn selected(
    messages: &[&'static str],
) -> (Stage, Arc<Memory>, Dialogue<TcpStream>) {
    selected_with(messages, &[]).await
}

/// As [`selected`], after some commands.
pub(in crate::frontend::imap::mailbox) async fn selected_with(
    messages: &[&'static str],
    before: &[&str],
) -> (Stage, Arc<Memory>, Dialogue<TcpStream>) {
    let (stage, memory) = stage_with(messages);
    let mut client = connect(&stage, &memory).await;
    for command in before.iter().chain(&["s SELECT INBOX"]) {
        ask(&mut client, command).await;
    }
    (stage, memory, client)
}

/// Everything up to the tagged answer, without its line end.
pub(in crate::frontend::imap::mailbox) async fn ask(
    client: &mut Dialogue<TcpStream>,
    command: &str,
) -> String {
    client.say(&format!("{command}\r\n")).await;
    let tag = command.split(' ').next().unwrap_or_default();
    let mut heard = String::new();
    loop {
        let line = client.line().await;
        heard.push_str(&line);
        if line.starts_with(&format!("{tag} ")) {
            return heard;
        }
        heard.push_str("\r\n");
    }
}

const SIMPLE: &str = "Subject: one\r\nFrom: Ann <a@x.example>\r\nX-Odd: yes\r\n\r\nHello\r\n";
const PARTS: &str = "Subject: two\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
    --b\r\n\r\ntext\r\n\
    --b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n\
    QUJDREVGRw==\r\n\
    --b\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nbegin\r\n\
    --b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\na=00b\r\n--b--\r\n";

#[tokio::test]
async fn sections_are_octets_of_the_message() {
    let (_stage, _memory, mut client) = selected(&[SIMPLE, PARTS]).await;
    let header = "Subject: one\r\nFrom: Ann <a@x.example>\r\nX-Odd: yes\r\n\r\n";
    for (items, expected) in [
        ("BODY.PEEK[]", format!("BODY[] {{{}}}\r\n{SIMPLE}", SIMPLE.len())),
        ("BODY.PEEK[HEADER]", format!("BODY[HEADER] {{{}}}\r\n{header}", header.len())),
        ("RFC822.HEADER", format!("RFC822.HEADER {{{}}}\r\n{header}", header.len())),
        ("BODY.PEEK[TEXT]", "BODY[TEXT] {7}\r\nHello\r\n".to_owned()),
        ("BODY.PEEK[1]", "BODY[1] {7}\r\nHello\r\n".to_owned()),
        ("BODY.PEEK[2]", "BODY[2] NIL".to_owned()),
        ("BODY.PEEK[]<9.3>", "BODY[]<9> {3}\r\none".to_owned()),
        ("BODY.PEEK[]<5000.3>", "BODY[]<5000> \"\"".to_owned()),
        ("BODY.PEEK[TEXT]<5.4294967295>", "BODY[TEXT]<5> {2}\r\n\r\n".to_owned()),
        (
            "BODY.PEEK[HEADER.FIELDS (subject X-None)]",
            "BODY[HEADER.FIELDS (subject X-None)] {16}\r\nSubject: one\r\n\r\n".to_owned(),
        ),
        (
            "BODY.PEEK[HEADER.FIELDS.NOT (Subject From)]<0.5>",
            "BODY[HEADER.FIELDS.NOT (Subject From)]<0> {5}\r\nX-Odd".to_owned(),
        ),
        ("BINARY.PEEK[1]", "BINARY[1] {7}\r\nHello\r\n".to_owned()),
        ("BINARY.SIZE[1]", "BINARY.SIZE[1] 7".to_owned()),
        ("(RFC822.SIZE UID)", format!("RFC822.SIZE {} UID 1", SIMPLE.len())),
    ] {
        let answer = ask(&mut client, &format!("a FETCH 1 {items}")).await;
        let expected = format!("* 1 FETCH ({expected})\r\na OK FETCH completed");
        assert_eq!(answer, expected, "{items}");
    }
    for (items, expected) in [
        ("BODY.PEEK[1]", "BODY[1] {4}\r\ntext"),
        ("BODY.PEEK[2]<4.4>", "BODY[2]<4> {4}\r\nREVG"),
        ("BODY.PEEK[3.MIME]<0.7>", "BODY[3.MIME]<0> {7}\r\nContent"),
        ("BODY.PEEK[7]", "BODY[7] NIL"),
        ("BINARY.PEEK[2]", "BINARY[2] {7}\r\nABCDEFG"),
        ("BINARY.PEEK[2]<2.3>", "BINARY[2]<2> {3}\r\nCDE"),
        ("BINARY.PEEK[2]<5>", "BINARY[2]<5> {2}\r\nFG"),
        ("BINARY.PEEK[3.MIME]<0.7>", "BINARY[3.MIME]<0> {7}\r\nContent"),
        ("BINARY.PEEK[2]<5.3>", "BINARY[2]<5> {2}\r\nFG"),
        ("BINARY.PEEK[2]<7.3>", "BINARY[2]<7> \"\""),
        ("BINARY.PEEK[4]", "BINARY[4] ~{3}\r\na\0b"),
        ("BINARY.PEEK[9]", "BINARY[9] NIL"),
        ("BINARY.SIZE[2]", "BINARY.SIZE[2] 7"),
    ] {
        let answer = ask(&mut client, &format!("a UID FETCH 2 {items}")).await;
        let expected = format!("* 2 FETCH (UID 2 {expected})\r\na OK FETCH completed");
        assert_eq!(answer, expected, "{items}");
    }
    for items in ["BINARY.PEEK[3]", "BINARY.SIZE[3]"] {
        let answer = ask(&mut client, &format!("a FETCH 2 {items}")).await;
        assert!(answer.starts_with("a NO [UNKNOWN-CTE] "), "{answer}");
    }
}

#[tokio::test]
async fn what_the_index_tells_is_not_read_from_messages() {
    let (_stage, memory, mut client) = selected(&[SIMPLE, PARTS]).await;
    let items = "(UID FLAGS INTERNALDATE MODSEQ EMAILID THREADID)";
    let answer = ask(&mut client, &format!("a FETCH 1 {items}")).await;
    let expected = "* OK [HIGHESTMODSEQ 3] now told\r\n\
        * 1 FETCH (UID 1 FLAGS (\\Recent) INTERNALDATE \" 1-Mar-2026 10:00:00 +0000\" \
        MODSEQ (2) EMAILID (M00000000000000000000000000000001) THREADID NIL)\r\n\
        a OK FETCH completed";
    assert_eq!(answer, expected);
    let answer = ask(&mut client, "b FETCH 1:2 ENVELOPE").await;
    assert!(
        answer.contains("ENVELOPE (NIL \"one\" ((\"Ann\" NIL \"a\" \"x.example\"))"),
        "{answer}"
    );
    assert!(answer.contains("* 2 FETCH (ENVELOPE (NIL \"two\" NIL"), "{answer}");
    assert_eq!(memory.folder("INBOX").reads.load(Ordering::Relaxed), 0);
    let answer = ask(&mut client, "c FETCH 2 (BODYSTRUCTURE)").await;
    assert!(answer.contains("\"MIXED\"") || answer.contains("\"mixed\""), "{answer}");
    let answer = ask(&mut client, "d FETCH 9 FLAGS").await;
    assert!(answer.starts_with("d BAD "), "{answer}");
    assert_eq!(ask(&mut client, "e UID FETCH 9 FLAGS").await, "e OK FETCH completed");
}

#[tokio::test]
async fn reading_sets_seen_in_one_go_and_says_so() {
    let (_stage, memory, mut client) = selected(&[SIMPLE, PARTS, SIMPLE]).await;
    let folder = memory.folder("INBOX");
    let modseq = || folder.snapshot().highest_modseq.0;
    let before = modseq();
    for items in ["BODY.PEEK[TEXT]", "RFC822.HEADER", "BINARY.PEEK[1]", "RFC822.SIZE"] {
        ask(&mut client, &format!("a FETCH 1:3 {items}")).await;
    }
    assert_eq!(modseq(), before);
    let answer = ask(&mut client, "b FETCH 1,3 BODY[TEXT]<0.1>").await;
    let expected = "* 1 FETCH (BODY[TEXT]<0> {1}\r\nH)\r\n* 3 FETCH (BODY[TEXT]<0> {1}\r\nH)\r\n\
        * 1 FETCH (UID 1 FLAGS (\\Seen \\Recent))\r\n* 3 FETCH (UID 3 FLAGS (\\Seen \\Recent))\r\n\
        b OK FETCH completed";
    assert_eq!(answer, expected);
    assert_eq!(modseq(), before + 1);
    for items in ["RFC822", "RFC822.TEXT", "BINARY[1]"] {
        let unseen = FlagChange::Remove(Flags::default().with(Flag::Seen));
        folder.outside(Outside::Flag(2, unseen));
        ask(&mut client, "n NOOP").await;
        let answer = ask(&mut client, &format!("c FETCH 2 ({items})")).await;
        assert!(answer.contains("* 2 FETCH (UID 2 FLAGS (\\Seen \\Recent))"), "{items}: {answer}");
    }
    let answer = ask(&mut client, "d FETCH 2 BODY[1]").await;
    assert_eq!(answer, "* 2 FETCH (BODY[1] {4}\r\ntext)\r\nd OK FETCH completed");
}

#[tokio::test]
async fn a_folder_that_is_examined_stays_as_it_is() {
    let (stage, memory) = stage_with(&[SIMPLE]);
    let mut client = connect(&stage, &memory).await;
    ask(&mut client, "s EXAMINE INBOX").await;
    let answer = ask(&mut client, "a FETCH 1 BODY[TEXT]").await;
    assert_eq!(answer, "* 1 FETCH (BODY[TEXT] {7}\r\nHello\r\n)\r\na OK FETCH completed");
    assert!(!memory.folder("INBOX").snapshot().messages[0].flags.has(Flag::Seen));
}

#[tokio::test]
async fn a_failure_is_a_no_and_never_a_message() {
    let (_stage, memory, mut client) = selected(&[SIMPLE, PARTS]).await;
    memory.fail_next(Kind::Throttled { retry_after: Some(Duration::from_secs(7)) });
    let answer = ask(&mut client, "a FETCH 1:2 BODY.PEEK[]").await;
    assert!(answer.starts_with("a NO [LIMIT] "), "{answer}");
    memory.fail_next(Kind::Unavailable);
    let answer = ask(&mut client, "b FETCH 1:2 ENVELOPE").await;
    assert!(answer.starts_with("b NO [UNAVAILABLE] "), "{answer}");
    let answer = ask(&mut client, "c FETCH 1 BODY.PEEK[TEXT]").await;
    assert!(answer.ends_with("c OK FETCH completed"), "{answer}");
}

#[tokio::test]
async fn a_message_that_can_not_be_had_does_not_hide_the_others() {
    let (_stage, memory, mut client) = selected(&[SIMPLE, PARTS, SIMPLE]).await;
    memory.fail_after(1, Kind::Rejected);
    let answer = ask(&mut client, "a FETCH 1:3 BODY.PEEK[TEXT]<0.5>").await;
    let expected = "* 1 FETCH (BODY[TEXT]<0> {5}\r\nHello)\r\n\
        * 3 FETCH (BODY[TEXT]<0> {5}\r\nHello)\r\na NO [CANNOT] ";
    assert!(answer.starts_with(expected), "{answer}");
    let answer = ask(&mut client, "b FETCH 2:3 BINARY.SIZE[3]").await;
    let expected = "* 3 FETCH (BINARY.SIZE[3] 0)\r\nb NO [UNKNOWN-CTE] ";
    assert!(answer.starts_with(expected), "{answer}");
}

#[tokio::test]
async fn a_service_that_refuses_everything_is_not_asked_for_ever() {
    let (_stage, memory, mut client) = selected(&[SIMPLE; 60]).await;
    (0..60).for_each(|_| memory.fail_next(Kind::Rejected));
    let answer = ask(&mut client, "a FETCH 1:* BODY.PEEK[]").await;
    assert!(answer.starts_with("a NO [CANNOT] "), "{answer}");
    assert_eq!(memory.folder("INBOX").reads.load(Ordering::Relaxed), super::MAX_FAILED + 1);
}

#[tokio::test]
async fn text_begins_behind_a_header_that_is_too_large_to_be_kept() {
    let text: &'static str = format!("X: {}\r\n\r\nHello\r\n", "x".repeat(2 << 20)).leak();
    let (_stage, _memory, mut client) = selected(&[text]).await;
    let answer = ask(&mut client, "a FETCH 1 BODY.PEEK[TEXT]").await;
    assert_eq!(answer, "* 1 FETCH (BODY[TEXT] {7}\r\nHello\r\n)\r\na OK FETCH completed");
}

#[tokio::test]
async fn a_long_fetch_ends_when_the_proxy_stops() {
    let text: &'static str = format!("A: b\r\n\r\n{}", "x".repeat(8 << 20)).leak();
    let (stage, memory, mut client) = selected(&[text; 8]).await;
    client.say("a FETCH 1:8 BODY[]\r\n").await;
    client.hear("* 1 FETCH (").await;
    stage.context.stopping.cancel();
    let heard = client.rest().await;
    let whole = heard.matches("BODY[] {").count();
    assert!((1..8).contains(&whole), "{whole}");
    assert!(heard.ends_with(")\r\n* BYE [UNAVAILABLE] shutting down; try again soon\r\n"));
    let seen = |flags: &Flags| flags.has(Flag::Seen);
    let snapshot = memory.folder("INBOX").snapshot();
    let seen = snapshot.messages.iter().filter(|entry| seen(&entry.flags)).count();
    assert_eq!(seen, whole, "what the client has got is seen");
}

#[tokio::test]
async fn messages_that_are_gone_are_left_out_and_named() {
    let (_stage, memory, mut client) = selected(&[SIMPLE, PARTS, SIMPLE]).await;
    let folder = memory.folder("INBOX");
    folder.outside(Outside::Vanish(2));
    folder.publish();
    let answer = ask(&mut client, "a FETCH 2 (UID FLAGS)").await;
    assert_eq!(answer, "* 2 FETCH (UID 2 FLAGS (\\Recent))\r\na OK FETCH completed");
    let answer = ask(&mut client, "b FETCH 1:3 BODY.PEEK[TEXT]<0.5>").await;
    let expected = "* 1 FETCH (BODY[TEXT]<0> {5}\r\nHello)\r\n\
        * 3 FETCH (BODY[TEXT]<0> {5}\r\nHello)\r\n\
        b NO [EXPUNGEISSUED] some of the messages have been deleted";
    assert_eq!(answer, expected);
    let answer = ask(&mut client, "c FETCH 2 ENVELOPE").await;
    assert!(answer.starts_with("c NO [EXPUNGEISSUED] "), "{answer}");
}

#[tokio::test]
async fn changed_since_filters_and_tells_modseq_and_what_vanished() {
    let messages = [SIMPLE, PARTS, SIMPLE, SIMPLE];
    let (_stage, memory, mut client) = selected_with(&messages, &["e ENABLE QRESYNC"]).await;
    let folder = memory.folder("INBOX");
    folder.outside(Outside::Vanish(2));
    folder.outside(Outside::Flag(4, FlagChange::Add(Flags::default().with(Flag::Flagged))));
    ask(&mut client, "n NOOP").await;
    let answer = ask(&mut client, "a UID FETCH 1:* (FLAGS) (CHANGEDSINCE 5 VANISHED)").await;
    let expected = "* VANISHED (EARLIER) 2\r\n\
        * 3 FETCH (UID 4 FLAGS (\\Flagged \\Recent) MODSEQ (7))\r\na OK FETCH completed";
    assert_eq!(answer, expected);
    folder.forget_vanished();
    let answer = ask(&mut client, "b UID FETCH 1:9 (UID) (CHANGEDSINCE 1 VANISHED)").await;
    assert!(
        answer.starts_with("* VANISHED (EARLIER) 2\r\n* 1 FETCH (UID 1 MODSEQ (2))"),
        "{answer}"
    );
    for command in ["c FETCH 1 FLAGS (CHANGEDSINCE 5 VANISHED)", "c UID FETCH 1 FLAGS (VANISHED)"] {
        let answer = ask(&mut client, command).await;
        assert!(answer.starts_with("c BAD "), "{answer}");
    }
}

#[tokio::test]
async fn what_comes_next_is_announced() {
    let messages: Vec<_> = (0..12).map(|_| SIMPLE).collect();
    let (_stage, memory, mut client) = selected(&messages).await;
    let folder = memory.folder("INBOX");
    let announced = || std::mem::take(&mut *folder.prefetched.lock().expect("no panic"));
    let numbers = |uids: &[Uid]| uids.iter().map(|uid| uid.number()).collect::<Vec<_>>();
    ask(&mut client, "a FETCH 1:3 BODY.PEEK[TEXT]").await;
    assert_eq!(numbers(&announced()), [2, 3, 3]);
    ask(&mut client, "b FETCH 7 BODY.PEEK[TEXT]").await;
    assert_eq!(numbers(&announced()), [0; 0], "no sequence yet");
    ask(&mut client, "c FETCH 8 BODY.PEEK[TEXT]").await;
    assert_eq!(numbers(&announced()), [9, 10, 11, 12]);
    ask(&mut client, "d FETCH 1:9 RFC822.SIZE").await;
    assert_eq!(announced().first(), Some(&uid(5)), "4 is read, then those not read before");
    ask(&mut client, "e FETCH 1:9 RFC822.SIZE").await;
    assert_eq!(numbers(&announced()), [0; 0], "all are known");
}

#[tokio::test]
async fn pieces_of_one_message_are_read_once() {
    let (_stage, memory, mut client) = selected(&[PARTS, SIMPLE]).await;
    let reads = || memory.folder("INBOX").reads.load(Ordering::Relaxed);
    for at in [0, 4, 8, 12] {
        ask(&mut client, &format!("a FETCH 1 (BODY.PEEK[2]<{at}.4> BINARY.PEEK[2]<{at}.4>)")).await;
    }
    assert_eq!(reads(), 1);
    ask(&mut client, "b FETCH 2 BODY.PEEK[TEXT]").await;
    ask(&mut client, "c FETCH 1 BODY.PEEK[2]").await;
    assert_eq!(reads(), 3);
}

#[tokio::test]
async fn items_without_number_are_refused() {
    let (_stage, _memory, mut client) = selected(&[SIMPLE]).await;
    let items: Vec<_> = (0..65).map(|at| format!("BODY.PEEK[HEADER]<{at}.9>")).collect();
    let answer = ask(&mut client, &format!("a FETCH 1 ({})", items.join(" "))).await;
    assert!(answer.starts_with("a NO [LIMIT] "), "{answer}");
    let answer = ask(&mut client, "b FETCH 1 (UID UID RFC822.SIZE UID)").await;
    assert_eq!(answer.matches("UID").count(), 1, "{answer}");
}

async fn connected() -> (TcpStream, Connected) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("address");
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    let stream = ClientStream::Plain(far.expect("accepted").0);
    let idle = Duration::from_secs(60);
    let client = Connected::new(stream, Bytes::new(), idle, CancellationToken::new());
    (near.expect("connected"), client)
}

fn entry(size: u64) -> Entry {
    Entry {
        uid: uid(1),
        modseq: ModSeq(1),
        flags: Flags::default(),
        date: time::OffsetDateTime::UNIX_EPOCH,
        size: Size::Estimated(size),
        object_id: [0; 16],
    }
}

async fn respond(
    content: &Arc<Content>,
    item: FetchItem,
    client: &mut Connected,
) -> Result<(), Parting> {
    let mut read = LastRead::new(uid(1), Arc::clone(content));
    let depth = super::depth(&item).expect("of the message");
    read.look(depth).await.expect("readable");
    let entry = entry(1);
    let mut source = Source { entry: &entry, recent: false, header: None, read: Some(&mut read) };
    let mut response = Response::new(1);
    response.add(&item, &mut source).await.expect("there");
    response.send(client, Some(content)).await
}

fn whole() -> FetchItem {
    let (part, text) = (Vec::new(), SectionText::Whole);
    FetchItem::Section(FetchSection { part, text, peek: true, partial: None })
}

#[tokio::test]
async fn a_large_message_in_a_file_is_passed_on_in_pieces() {
    const LINES: u64 = 200_000;
    let header = "Content-Transfer-Encoding: base64\r\n\r\n";
    let mut file = tempfile::tempfile().expect("temporary file");
    file.write_all(header.as_bytes()).expect("written");
    let line = format!("{}\r\n", "QUJD".repeat(19));
    file.write_all(line.repeat(LINES as usize).as_bytes()).expect("written");
    let size = header.len() as u64 + LINES * 78;
    let content = Arc::new(Content::from_file(file, size));
    let binary = FetchItem::Binary { part: vec![1], peek: true, partial: None };
    for (item, name, length) in [(whole(), "BODY[]", size), (binary, "BINARY[1]", LINES * 57)] {
        let (mut near, mut client) = connected().await;
        let sending = async {
            respond(&content, item, &mut client).await.expect("sent");
            client.flush().await.expect("sent");
            drop(client);
        };
        let reading = async {
            let mut heard = Vec::new();
            near.read_to_end(&mut heard).await.expect("read");
            heard
        };
        let ((), heard) = tokio::join!(sending, reading);
        let start = format!("* 1 FETCH ({name} {{{length}}}\r\n");
        assert!(heard.starts_with(start.as_bytes()), "{name}");
        assert_eq!(heard.len() as u64, start.len() as u64 + length + 3, "{name}");
        assert!(heard.ends_with(b")\r\n"), "{name}");
    }
}

#[tokio::test]
async fn a_file_that_ends_too_soon_ends_the_connection() {
    let mut file = tempfile::tempfile().expect("temporary file");
    file.write_all(&[b'x'; 100_000]).expect("written");
    let content = Arc::new(Content::from_file(file, 500_000));
    let (_near, mut client) = connected().await;
    let outcome = respond(&content, whole(), &mut client).await;
    assert!(matches!(outcome, Err(Parting::Broken(_))), "no octets are made up");
}
