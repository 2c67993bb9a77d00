//! Transcripts over real sockets, with a mailbox in memory behind.

mod appending;
mod changing;
mod commands;
mod listing;
mod random;
mod selecting;
mod watching;

use std::sync::Arc;

use bytes::Bytes;
use tokio::net::TcpStream;

use super::Session;
use super::memory::{Memory, MemoryFolder, stage_with};
use crate::frontend::Context;
use crate::frontend::attempts::References;
use crate::frontend::connected::Connected;
use crate::frontend::rehearsal::{Dialogue, Stage};
use crate::frontend::stream::Peer;
use crate::mail::Mailbox;

const ONE: &str = "Subject: one\r\n\r\n1\r\n";
const TWO: &str = "Subject: two\r\n\r\n2\r\n";
const THREE: &str = "Subject: three\r\n\r\n3\r\n";

/// A client that is in, talking to a session on `mailbox`.
pub(super) async fn connect(stage: &Stage, mailbox: &Arc<Memory>) -> Dialogue<TcpStream> {
    let mailbox = Arc::clone(mailbox) as Arc<dyn Mailbox>;
    let serve = |context: Arc<Context>, peer: Peer, stream| async move {
        let idle = context.limits.idle_timeout;
        let client = Connected::new(stream, Bytes::new(), idle, context.stopping.clone());
        Session::new(&context, mailbox, client, References::new(peer.session)).run().await;
    };
    stage.connect(serve, None).await
}

/// A stage, a mailbox with three messages in INBOX, and a client that is in.
struct Play {
    stage: Stage,
    memory: Arc<Memory>,
    inbox: Arc<MemoryFolder>,
    client: Dialogue<TcpStream>,
}

impl Play {
    async fn new() -> Self {
        let (stage, memory) = stage_with(&[ONE, TWO, THREE]);
        let client = connect(&stage, &memory).await;
        Self { inbox: memory.folder("INBOX"), stage, memory, client }
    }

    /// INBOX is selected.
    async fn selected() -> Self {
        let mut play = Self::new().await;
        play.ask("SELECT INBOX", "OK [READ-WRITE] SELECT completed").await;
        play
    }

    async fn another(&self) -> Dialogue<TcpStream> {
        connect(&self.stage, &self.memory).await
    }

    /// The untagged lines with which a command is answered; `tagged` begins the tagged one.
    async fn ask(&mut self, command: &str, tagged: &str) -> Vec<String> {
        ask(&mut self.client, command, tagged).await
    }

    /// A command that is answered with these lines and an OK.
    async fn hear(&mut self, command: &str, untagged: &[&str]) {
        assert_eq!(self.ask(command, "OK ").await, untagged, "{command}");
    }
}

async fn ask(client: &mut Dialogue<TcpStream>, command: &str, tagged: &str) -> Vec<String> {
    client.say(&format!("t {command}\r\n")).await;
    let mut untagged = Vec::new();
    loop {
        let line = client.line().await;
        match line.strip_prefix("t ") {
            Some(answer) => {
                assert!(answer.starts_with(tagged), "{command}: {untagged:#?} {answer}");
                return untagged;
            }
            None => untagged.push(line),
        }
    }
}
