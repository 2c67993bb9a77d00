//! Transcripts of the TRANSACTION and UPDATE states over real sockets, with a mailbox in memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;

use super::{AT_ONCE, MAX_READ_FOR_SIZES, Maildrop, PIECE, Session};
use crate::frontend::Context;
use crate::frontend::attempts::References;
use crate::frontend::connected::Connected;
use crate::frontend::memory::{Memory, MemoryFolder, Outside, stage_with, uid};
use crate::frontend::rehearsal::{Dialogue, Stage};
use crate::frontend::stream::Peer;
use crate::mail::mailbox::Flags;
use crate::mail::{Folder as _, Kind, Mailbox};

const ONE: &str = "Subject: one\r\n\r\nfirst\r\n";
const DOTS: &str = "Subject: dots\r\n\r\n.\r\n..two\r\nx.y\r\nlast";
const THREE: &str = "Subject: three\r\n\r\n1\r\n2\r\n\r\n4\r\n";

/// A stage, a mailbox, and a client that has its maildrop.
struct Play {
    stage: Stage,
    memory: Arc<Memory>,
    inbox: Arc<MemoryFolder>,
    client: Dialogue<TcpStream>,
}

impl Play {
    async fn new(messages: &[&'static str]) -> Self {
        let (stage, memory) = stage_with(messages);
        let client = connect(&stage, &memory).await;
        Self { inbox: memory.folder("INBOX"), stage, memory, client }
    }

    async fn usual() -> Self {
        Self::new(&[ONE, DOTS, THREE]).await
    }

    async fn hear(&mut self, command: &str, answer: &str) {
        self.client.transcript(&[(&format!("{command}\r\n"), answer)]).await;
    }

    /// A line that begins so.
    async fn fails(&mut self, command: &str, start: &str) {
        self.client.say(&format!("{command}\r\n")).await;
        let line = self.client.line().await;
        assert!(line.starts_with(start), "{command}: {line}");
    }

    fn left(&self) -> Vec<u32> {
        self.inbox.snapshot().messages.iter().map(|entry| entry.uid.number()).collect()
    }
}

/// A client for which the maildrop has been locked, or that hears why not.
async fn connect(stage: &Stage, memory: &Arc<Memory>) -> Dialogue<TcpStream> {
    let mailbox = Arc::clone(memory) as Arc<dyn Mailbox>;
    let serve = |context: Arc<Context>, peer: Peer, stream| async move {
        let idle = context.limits.idle_timeout;
        let mut client = Connected::new(stream, Bytes::new(), idle, context.stopping.clone());
        let mut references = References::new(peer.session);
        match Maildrop::lock(&mailbox, &mut references).await {
            Ok(maildrop) => {
                client.push("+OK in\r\n");
                Session::new(maildrop, client, references).run().await;
            }
            Err(answer) => client.part(&answer).await,
        }
    };
    stage.connect(serve, None).await
}

async fn is_in(stage: &Stage, memory: &Arc<Memory>) -> Dialogue<TcpStream> {
    let mut client = connect(stage, memory).await;
    client.transcript(&[("NOOP\r\n", "+OK in\r\n+OK\r\n")]).await;
    client
}

#[tokio::test]
async fn what_is_listed_is_what_is_sent() {
    let mut play = Play::usual().await;
    play.client.hear("").await;
    let sizes = [ONE.len(), DOTS.len(), THREE.len()];
    let total: usize = sizes.iter().sum();
    play.hear("STAT", &format!("+OK in\r\n+OK 3 {total}\r\n")).await;
    let [one, two, three] = sizes;
    let list = format!("+OK sizes follow\r\n1 {one}\r\n2 {two}\r\n3 {three}\r\n.\r\n");
    play.hear("LIST", &list).await;
    play.hear("list 2", &format!("+OK 2 {two}\r\n")).await;
    let id = |number: u32| format!("{number:032x}");
    let ids = format!("1 {}\r\n2 {}\r\n3 {}\r\n", id(1), id(2), id(3));
    play.hear("UIDL", &format!("+OK unique-ids follow\r\n{ids}.\r\n")).await;
    play.hear("UIDL 3", &format!("+OK 3 {}\r\n", id(3))).await;
    play.hear("RETR 1", &format!("+OK {one} octets\r\n{ONE}.\r\n")).await;
    let stuffed = "Subject: dots\r\n\r\n..\r\n...two\r\nx.y\r\nlast\r\n.\r\n";
    play.hear("RETR 2", &format!("+OK {two} octets\r\n{stuffed}")).await;
    for (command, text) in [
        ("TOP 3 0", "Subject: three\r\n\r\n"),
        ("TOP 3 2", "Subject: three\r\n\r\n1\r\n2\r\n"),
        ("TOP 3 99", THREE),
    ] {
        play.hear(command, &format!("+OK {three} octets\r\n{text}.\r\n")).await;
    }
    play.hear("QUIT", "+OK goodbye\r\n").await;
    assert_eq!(play.client.rest().await, "");
    assert_eq!(play.left(), [1, 2, 3]);
}

#[tokio::test]
async fn an_empty_maildrop_has_empty_answers() {
    let mut play = Play::new(&[]).await;
    play.hear("STAT", "+OK in\r\n+OK 0 0\r\n").await;
    play.hear("LIST", "+OK sizes follow\r\n.\r\n").await;
    play.hear("UIDL", "+OK unique-ids follow\r\n.\r\n").await;
    play.fails("RETR 1", "-ERR no such message").await;
}

#[tokio::test]
async fn marks_hide_messages_and_only_quit_deletes_them() {
    let mut play = Play::usual().await;
    play.hear("DELE 1", "+OK in\r\n+OK marked\r\n").await;
    for command in ["DELE 1", "RETR 1", "TOP 1 0", "LIST 1", "UIDL 1", "DELE 4", "RETR 4"] {
        play.fails(command, "-ERR no such message").await;
    }
    play.hear("DELE 3", "+OK marked\r\n").await;
    play.hear("STAT", &format!("+OK 1 {}\r\n", DOTS.len())).await;
    play.hear("LIST", &format!("+OK sizes follow\r\n2 {}\r\n.\r\n", DOTS.len())).await;
    play.hear("RSET", "+OK no message is marked\r\n").await;
    play.hear("UIDL 1", &format!("+OK 1 {:032x}\r\n", 1)).await;
    play.hear("DELE 2", "+OK marked\r\n").await;
    assert_eq!(play.left(), [1, 2, 3], "a mark deletes nothing");
    play.hear("QUIT", "+OK goodbye, the marked messages are deleted\r\n").await;
    assert_eq!(play.left(), [1, 3]);
}

#[tokio::test]
async fn a_connection_that_is_lost_deletes_nothing_and_unlocks() {
    let mut play = Play::usual().await;
    play.client.transcript(&[("DELE 1\r\nDELE 2\r\n", "+OK in\r\n+OK marked\r\n")]).await;
    play.client.hear("+OK marked\r\n").await;
    drop(play.client);
    loop {
        let mut again = connect(&play.stage, &play.memory).await;
        again.say("STAT\r\n").await;
        let line = again.line().await;
        if line == "+OK in" {
            again.hear(&format!("+OK 3 {}\r\n", ONE.len() + DOTS.len() + THREE.len())).await;
            break;
        }
        assert!(line.starts_with("-ERR [IN-USE] "), "{line}");
    }
}

#[tokio::test]
async fn one_session_at_a_time_and_the_next_at_once_after_quit() {
    let mut play = Play::usual().await;
    play.hear("NOOP", "+OK in\r\n+OK\r\n").await;
    let mut other = connect(&play.stage, &play.memory).await;
    assert!(other.rest().await.starts_with("-ERR [IN-USE] "));
    for end in ["QUIT\r\n", "DELE 1\r\nQUIT\r\n"] {
        play.client.say(end).await;
        while !play.client.line().await.contains("goodbye") {}
        // The old connection is still open at this side.
        let next = is_in(&play.stage, &play.memory).await;
        play.client = next;
    }
}

#[tokio::test]
async fn numbers_and_messages_are_those_of_the_login() {
    let mut play = Play::usual().await;
    play.hear("NOOP", "+OK in\r\n+OK\r\n").await;
    play.inbox.outside(Outside::Vanish(2));
    play.inbox.outside(Outside::Arrive(ONE, Flags::default()));
    play.inbox.publish();
    for command in ["RETR 2", "TOP 2 0", "LIST 2"] {
        play.hear(command, "-ERR the message is gone\r\n").await;
    }
    play.hear("UIDL 2", &format!("+OK 2 {:032x}\r\n", 2)).await;
    play.hear("RETR 3", &format!("+OK {} octets\r\n{THREE}.\r\n", THREE.len())).await;
    play.fails("RETR 4", "-ERR no such message").await;
    // What is gone may be deleted all the same.
    play.client.say("DELE 2\r\nDELE 3\r\nQUIT\r\n").await;
    play.client.hear("+OK marked\r\n+OK marked\r\n").await;
    play.client.hear("+OK goodbye, the marked messages are deleted\r\n").await;
    assert_eq!(play.left(), [1, 4]);
}

#[tokio::test]
async fn failures_are_told_as_such_and_the_session_goes_on() {
    let mut play = Play::usual().await;
    play.hear("NOOP", "+OK in\r\n+OK\r\n").await;
    for (kind, start) in [
        (Kind::Unavailable, "-ERR [SYS/TEMP] "),
        (Kind::Throttled { retry_after: None }, "-ERR [SYS/TEMP] "),
        (Kind::SignInNeeded, "-ERR [SYS/TEMP] "),
        (Kind::NotPermitted, "-ERR [SYS/PERM] "),
        (Kind::Rejected, "-ERR [SYS/PERM] "),
    ] {
        for command in ["RETR 1", "TOP 1 3", "LIST 1"] {
            play.memory.fail_next(kind);
            play.fails(command, start).await;
        }
    }
    play.hear("RETR 1", &format!("+OK {} octets\r\n{ONE}.\r\n", ONE.len())).await;
    play.hear("DELE 1", "+OK marked\r\n").await;
    play.memory.fail_next(Kind::Unavailable);
    play.fails("QUIT", "-ERR [SYS/TEMP] ").await;
    assert_eq!(play.left(), [1, 2, 3]);
}

#[tokio::test]
async fn a_login_that_finds_no_inbox_is_a_failure_and_locks_nothing() {
    let (stage, memory) = stage_with(&[ONE]);
    memory.fail_next(Kind::Unavailable);
    let mut client = connect(&stage, &memory).await;
    assert!(client.rest().await.starts_with("-ERR [SYS/TEMP] "));
    is_in(&stage, &memory).await;
}

#[tokio::test]
async fn sizes_are_exact_as_far_as_that_is_cheap() {
    let count = MAX_READ_FOR_SIZES + 50;
    let (stage, memory) = stage_with(&vec![ONE; count]);
    let inbox = memory.folder("INBOX");
    let reads = || inbox.reads.load(Ordering::Relaxed);
    let mut client = is_in(&stage, &memory).await;
    assert_eq!(reads(), 0, "a login reads no message");
    // The mailbox in memory estimates 100 octets more.
    let total = count * ONE.len() + 50 * 100;
    client.transcript(&[("STAT\r\n", &format!("+OK {count} {total}\r\n"))]).await;
    assert_eq!(reads(), MAX_READ_FOR_SIZES);
    client.transcript(&[("LIST 1\r\n", &format!("+OK 1 {}\r\n", ONE.len()))]).await;
    let total = total - 100;
    client.transcript(&[("STAT\r\n", &format!("+OK {count} {total}\r\n"))]).await;
    assert_eq!(reads(), MAX_READ_FOR_SIZES + 1);
}

#[tokio::test]
async fn a_service_that_fails_is_not_asked_for_each_size() {
    let (stage, memory) = stage_with(&[ONE; 50]);
    let inbox = memory.folder("INBOX");
    let mut client = is_in(&stage, &memory).await;
    (0..50).for_each(|_| memory.fail_next(Kind::Unavailable));
    client.say("STAT\r\n").await;
    assert!(client.line().await.starts_with("+OK 50 "));
    assert!(inbox.reads.load(Ordering::Relaxed) <= 2 * AT_ONCE);
}

#[tokio::test]
async fn large_messages_pass_in_pieces_with_their_dots() {
    let line = ".2345678\r\n";
    let text: &'static str = format!("A: b\r\n\r\n{}", line.repeat(PIECE)).leak();
    let mut play = Play::new(&[text]).await;
    play.hear("NOOP", "+OK in\r\n+OK\r\n").await;
    play.client.say("RETR 1\r\nTOP 1 20000\r\nNOOP\r\nQUIT\r\n").await;
    let heard = play.client.rest().await;
    let start = format!("+OK {} octets\r\nA: b\r\n\r\n", text.len());
    let stuffed = format!(".{line}");
    let whole = format!("{start}{}.\r\n", stuffed.repeat(PIECE));
    let top = format!("{start}{}.\r\n", stuffed.repeat(20_000));
    assert!(heard == format!("{whole}{top}+OK\r\n+OK goodbye\r\n"), "{} octets", heard.len());
}

#[tokio::test]
async fn what_comes_next_is_announced() {
    let mut play = Play::usual().await;
    play.client.say("DELE 2\r\nRETR 1\r\nNOOP\r\nQUIT\r\n").await;
    play.client.rest().await;
    let announced = std::mem::take(&mut *play.inbox.prefetched.lock().expect("no panic"));
    assert_eq!(announced, [uid(3)]);
}

#[tokio::test]
async fn nonsense_is_answered_and_ends_the_session_in_the_end() {
    let mut play = Play::usual().await;
    play.client.transcript(&[("CAPA\r\n", "+OK in\r\n+OK capabilities follow\r\n")]).await;
    while play.client.line().await != "." {}
    for line in ["USER erp", "PASS x", "XTND", "RETR", "RETR 0", "DELE x", "TOP 1", ""] {
        play.fails(line, "-ERR ").await;
    }
    play.hear("NOOP", "+OK\r\n").await;
    play.client.say(&"NONSENSE\r\n".repeat(25)).await;
    let heard = play.client.rest().await;
    assert_eq!(heard.matches("unknown command").count(), 20, "{heard}");
    assert!(heard.ends_with("-ERR too many failures, closing\r\n"), "{heard}");
    let mut endless = connect(&play.stage, &play.memory).await;
    endless.say(&"x".repeat(5_000)).await;
    assert_eq!(endless.rest().await, "+OK in\r\n-ERR the line is too long\r\n");
}

#[tokio::test]
async fn stopping_is_told_and_deletes_nothing() {
    let mut play = Play::usual().await;
    play.hear("DELE 1", "+OK in\r\n+OK marked\r\n").await;
    play.stage.context.stopping.cancel();
    assert_eq!(play.client.rest().await, "-ERR [SYS/TEMP] shutting down; try again soon\r\n");
    assert_eq!(play.left(), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn silence_is_ended_without_a_word() {
    let mut play = Play::usual().await;
    let mut heard = String::new();
    let reading = tokio::io::AsyncReadExt::read_to_string(&mut play.client.0, &mut heard);
    let within = play.stage.context.limits.idle_timeout + Duration::from_secs(60);
    tokio::time::timeout(within, reading).await.expect("in time").expect("read");
    assert_eq!(heard, "+OK in\r\n");
}
