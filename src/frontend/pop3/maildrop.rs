//! The TRANSACTION and UPDATE states on a mailbox that we serve (RFC 1939 sections 5 and 6).
//!
//! Danger: message numbers that shift, a deletion that a lost connection makes real, a size that is
//! not that of the message sent. Rule: the messages are those of the login; deletions are marks
//! until QUIT; a size is exact wherever that costs no more than [`MAX_READ_FOR_SIZES`] messages.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::{StreamExt, stream};

use super::reply::{SERVED, farewell, refusal};
use crate::frontend::attempts::{Failure, References, Refusal};
use crate::frontend::connected::Connected;
use crate::frontend::conversation::Parting;
use crate::mail::mailbox::{Entry, MaildropLock, Snapshot, Uid};
use crate::mail::{Content, Error, Folder, Kind, Mailbox};
use crate::protocol::pop3::{self, Line, Stuffer, Top, Transaction, capability, parse_transaction};

/// RFC 2449 section 4 allows 255 octets.
const MAX_LINE: usize = 1024;
/// Unknown or malformed commands in a row after which the connection is closed.
const MAX_FAILURES: u32 = 20;
/// Messages that are read so that STAT and LIST have exact sizes. More would keep a client waiting
/// longer than it does.
const MAX_READ_FOR_SIZES: usize = 200;
/// Messages that are read at the same time; the mailbox allows no more.
const AT_ONCE: usize = 4;
/// Messages after the one that is asked for that are likely to be asked for next.
const AHEAD: usize = 8;
/// Octets of a message that are sent at a time.
const PIECE: usize = 64 << 10;

/// A maildrop that this session has locked.
pub(super) struct Maildrop {
    folder: Arc<dyn Folder>,
    /// Message number 1 is the first.
    messages: Arc<Snapshot>,
    /// `None` from QUIT on.
    lock: Option<MaildropLock>,
}

impl Maildrop {
    /// Locks the inbox; an error is the answer for the client, with its line end.
    pub async fn lock(
        mailbox: &Arc<dyn Mailbox>,
        references: &mut References,
    ) -> Result<Self, String> {
        let Some(lock) = mailbox.lock_maildrop() else {
            return Err(
                "-ERR [IN-USE] another session has this maildrop; try again later\r\n".into()
            );
        };
        match mailbox.open("INBOX").await {
            Ok(folder) => Ok(Self { messages: folder.snapshot(), folder, lock: Some(lock) }),
            Err(error) => Err(refuse(references, &error)),
        }
    }
}

/// Logs a failure; the answer leads to it.
fn refuse(references: &mut References, error: &Error) -> String {
    let reference = references.report(error);
    tracing::error!(%reference, kind = ?error.kind, "{}", error.chain());
    let failure = Failure { kind: error.kind, hint: error.hint, reference };
    refusal(Refusal::Failed(failure)) + "\r\n"
}

/// A session after login.
pub(super) struct Session {
    maildrop: Maildrop,
    client: Connected,
    references: References,
    /// By index into the messages.
    deleted: BTreeSet<usize>,
    /// The sizes that the client was told, once it has asked.
    sizes: Option<Vec<u64>>,
    failures: u32,
}

impl Session {
    /// Begins with an open maildrop.
    pub fn new(maildrop: Maildrop, client: Connected, references: References) -> Self {
        let (deleted, sizes) = (BTreeSet::new(), None);
        Self { maildrop, client, references, deleted, sizes, failures: 0 }
    }

    /// Serves the client until it is gone. Without QUIT nothing is deleted.
    pub async fn run(mut self) {
        let parting = loop {
            match self.next().await {
                Ok(()) => {}
                Err(parting) => break parting,
            }
        };
        tracing::info!("session ended: {parting}");
        // Waiting for the client to close must not keep it from coming back.
        drop(self.maildrop);
        self.client.part(farewell(&parting).unwrap_or_default()).await;
    }

    async fn next(&mut self) -> Result<(), Parting> {
        let line = loop {
            match pop3::scan(self.client.input(), MAX_LINE) {
                Line::Complete(octets) => break self.client.take(octets),
                Line::TooLong => return Err(Parting::TooLong),
                Line::Partial => self.client.fill().await?,
            }
        };
        match parse_transaction(&line) {
            Ok(Transaction::Other(_)) => self.fail("unknown command"),
            Ok(command) => {
                self.failures = 0;
                self.answer(command).await
            }
            Err(malformed) => self.fail(malformed.0),
        }
    }

    fn fail(&mut self, why: &str) -> Result<(), Parting> {
        self.client.push(format!("-ERR {why}\r\n"));
        self.failures += 1;
        if self.failures < MAX_FAILURES { Ok(()) } else { Err(Parting::TooManyFailures) }
    }

    async fn answer(&mut self, command: Transaction) -> Result<(), Parting> {
        match command {
            Transaction::Capa => self.client.push(capability::answer(&SERVED)),
            Transaction::Noop => self.client.push("+OK\r\n"),
            Transaction::Stat => self.stat().await,
            Transaction::List(None) => self.list().await?,
            Transaction::List(Some(number)) => self.list_one(number).await,
            Transaction::Uidl(None) => self.uidl().await?,
            Transaction::Uidl(Some(number)) => self.uidl_one(number),
            Transaction::Retr(number) => self.send(number, None).await?,
            Transaction::Top(number, lines) => self.send(number, Some(lines)).await?,
            Transaction::Dele(number) => match self.index(number) {
                Some(index) => {
                    self.deleted.insert(index);
                    self.client.push("+OK marked\r\n");
                }
                None => self.no_such_message(),
            },
            Transaction::Rset => {
                self.deleted.clear();
                self.client.push("+OK no message is marked\r\n");
            }
            Transaction::Quit => return self.quit().await,
            Transaction::Other(_) => {}
        }
        Ok(())
    }

    /// RFC 1939 section 6: only now are messages deleted.
    async fn quit(&mut self) -> Result<(), Parting> {
        let uids: Vec<Uid> =
            self.deleted.iter().map(|index| self.maildrop.messages.messages[*index].uid).collect();
        let answer = match uids.is_empty() {
            true => "+OK goodbye\r\n".to_owned(),
            false => match self.maildrop.folder.expunge(uids).await {
                Ok(()) => "+OK goodbye, the marked messages are deleted\r\n".to_owned(),
                Err(error) => refuse(&mut self.references, &error),
            },
        };
        // Section 6: unlocked before the answer, for the next session may begin at once.
        drop(self.maildrop.lock.take());
        self.client.push(answer);
        self.client.flush().await?;
        Err(Parting::Quit)
    }

    async fn stat(&mut self) {
        self.learn_sizes().await;
        let (count, octets) = self
            .left()
            .fold((0, 0), |(count, octets), index| (count + 1, octets + self.told_size(index)));
        self.client.push(format!("+OK {count} {octets}\r\n"));
    }

    async fn list(&mut self) -> Result<(), Parting> {
        self.learn_sizes().await;
        self.client.push("+OK sizes follow\r\n");
        for index in self.left().collect::<Vec<_>>() {
            let line = format!("{} {}\r\n", index + 1, self.told_size(index));
            self.client.push(line);
            self.client.settle().await?;
        }
        self.client.push(".\r\n");
        Ok(())
    }

    /// A single size is always exact: the client is about to read the message.
    async fn list_one(&mut self, number: u32) {
        let Some(index) = self.index(number) else { return self.no_such_message() };
        let exact = match self.entry(index).size.exact() {
            Some(octets) => Ok(octets),
            None => self.content(index).await.map(|content| content.size()),
        };
        match exact {
            Ok(octets) => {
                if let Some(sizes) = &mut self.sizes {
                    sizes[index] = octets;
                }
                self.client.push(format!("+OK {number} {octets}\r\n"));
            }
            Err(error) => self.refuse(&error),
        }
    }

    async fn uidl(&mut self) -> Result<(), Parting> {
        self.client.push("+OK unique-ids follow\r\n");
        for index in self.left().collect::<Vec<_>>() {
            let line = format!("{} {}\r\n", index + 1, unique_id(&self.entry(index)));
            self.client.push(line);
            self.client.settle().await?;
        }
        self.client.push(".\r\n");
        Ok(())
    }

    fn uidl_one(&mut self, number: u32) {
        let Some(index) = self.index(number) else { return self.no_such_message() };
        let id = unique_id(&self.entry(index));
        self.client.push(format!("+OK {number} {id}\r\n"));
    }

    /// RETR, or TOP with so many lines.
    async fn send(&mut self, number: u32, lines: Option<u64>) -> Result<(), Parting> {
        let Some(index) = self.index(number) else {
            self.no_such_message();
            return Ok(());
        };
        self.look_ahead(index);
        match self.content(index).await {
            Ok(content) => self.send_content(&content, lines).await,
            Err(error) => {
                self.refuse(&error);
                Ok(())
            }
        }
    }

    /// A message that can't be read to its end must not look complete: the connection ends.
    async fn send_content(
        &mut self,
        content: &Arc<Content>,
        lines: Option<u64>,
    ) -> Result<(), Parting> {
        self.client.push(format!("+OK {} octets\r\n", content.size()));
        let (mut stuffer, mut top) = (Stuffer::default(), lines.map(Top::new));
        let (mut at, mut out) = (0, Vec::new());
        loop {
            let piece = content.read(at, PIECE).await?;
            let wanted = top.as_mut().map_or(piece.len(), |top| top.take(&piece));
            out.clear();
            stuffer.push(&piece[..wanted], &mut out);
            self.client.push(&out);
            self.client.settle().await?;
            if piece.is_empty() || wanted < piece.len() {
                break;
            }
            at += piece.len() as u64;
        }
        self.client.push(stuffer.end());
        Ok(())
    }

    /// Clients read one message after another.
    fn look_ahead(&self, index: usize) {
        let next: Vec<Uid> = (index + 1..self.maildrop.messages.messages.len())
            .filter(|index| !self.deleted.contains(index))
            .take(AHEAD)
            .map(|index| self.maildrop.messages.messages[index].uid)
            .collect();
        self.maildrop.folder.prefetch(&next);
    }

    /// Decides which sizes the client is told: exact ones as far as reading allows.
    async fn learn_sizes(&mut self) {
        if self.sizes.is_some() {
            return;
        }
        let entries = (0..self.maildrop.messages.messages.len()).map(|index| self.entry(index));
        let mut sizes: Vec<u64> = entries.map(|entry| entry.size.octets()).collect();
        let folder = Arc::clone(&self.maildrop.folder);
        let mut reading = stream::iter(self.unknown_sizes())
            .map(|(index, uid)| {
                let folder = Arc::clone(&folder);
                async move { (index, folder.content(uid).await.map(|content| content.size())) }
            })
            .buffer_unordered(AT_ONCE);
        while let Some((index, size)) = reading.next().await {
            match size {
                Ok(octets) => sizes[index] = octets,
                Err(error) if error.kind == Kind::NotFound => {}
                Err(error) => {
                    // The others would fail likewise, each after its own wait.
                    tracing::warn!("sizes are estimated: {}", error.chain());
                    break;
                }
            }
        }
        self.sizes = Some(sizes);
    }

    /// Indices and UIDs of messages to be read for their sizes. The newest are the ones that a
    /// client reads.
    fn unknown_sizes(&self) -> Vec<(usize, Uid)> {
        (0..self.maildrop.messages.messages.len())
            .rev()
            .map(|index| (index, self.entry(index)))
            .filter(|(_, entry)| entry.size.exact().is_none())
            .take(MAX_READ_FOR_SIZES)
            .map(|(index, entry)| (index, entry.uid))
            .collect()
    }

    fn told_size(&self, index: usize) -> u64 {
        self.sizes.as_ref().map_or(0, |sizes| sizes[index])
    }

    async fn content(&self, index: usize) -> Result<Arc<Content>, Error> {
        self.maildrop.folder.content(self.maildrop.messages.messages[index].uid).await
    }

    /// What is known of a message now; sizes become exact.
    fn entry(&self, index: usize) -> Arc<Entry> {
        let then = &self.maildrop.messages.messages[index];
        let now = self.maildrop.folder.snapshot();
        Arc::clone(now.find(then.uid).unwrap_or(then))
    }

    /// Indices of what is not marked.
    fn left(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.maildrop.messages.messages.len()).filter(|index| !self.deleted.contains(index))
    }

    /// The index of a message that is there and not marked.
    fn index(&self, number: u32) -> Option<usize> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        let there = index < self.maildrop.messages.messages.len();
        (there && !self.deleted.contains(&index)).then_some(index)
    }

    fn no_such_message(&mut self) {
        self.client.push("-ERR no such message\r\n");
    }

    /// The answer where a message can't be had. That others have removed it is no failure.
    fn refuse(&mut self, error: &Error) {
        let answer = match error.kind {
            Kind::NotFound => "-ERR the message is gone\r\n".to_owned(),
            _ => refuse(&mut self.references, error),
        };
        self.client.push(answer);
    }
}

/// 32 characters; RFC 1939 section 7 allows 70.
fn unique_id(entry: &Entry) -> String {
    entry.object_id.iter().map(|byte| format!("{byte:02x}")).collect()
}
