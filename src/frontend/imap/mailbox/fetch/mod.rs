//! FETCH (RFC 9051 section 6.4.5, RFC 7162).
//!
//! Danger: a failure of the service handed over as a message's text; a large message held whole for
//! each session; a listing that reads every message. Rule: a response is begun only when all that it
//! holds is at hand, large parts are passed on in pieces, and what the index or the kept header lines
//! tell is never read from messages.
//!
//! A message that somebody else has removed is left out, and the command ends with EXPUNGEISSUED; one
//! that the service can't deliver is left out and named by a NO, so that the others are still read.

mod binary;
mod items;
mod reading;
#[cfg(test)]
pub(super) mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

pub(super) use self::items::email_id;
use self::items::{Failure, Response, Source};
use self::reading::Depth;
pub(super) use self::reading::{LastRead, PIECE, structure};
use super::{Outcome, Selected, Session, State, Tagged, answer, resync};
use crate::frontend::conversation::Parting;
use crate::mail::mailbox::{Entry, Flag, FlagChange, Flags, ModSeq, Uid};
use crate::mail::{Error, Folder, Kind};
use crate::protocol::imap::request::{Fetch, FetchItem, SectionText};

/// Messages whose header lines are asked for at once: the lines of all of them are held.
pub(super) const CHUNK: usize = 500;
/// Messages that the folder is told of ahead.
pub(super) const AHEAD: usize = 8;
/// Items of one FETCH. Clients ask for ten or so; each may hold a header.
const MAX_ITEMS: usize = 64;
/// Messages that can't be had, after which the others are not asked for.
const MAX_FAILED: usize = 20;
/// The answer where messages have been removed by somebody else (RFC 5530).
pub(super) const EXPUNGED: &str = "NO [EXPUNGEISSUED] some of the messages have been deleted";

/// FETCH and UID FETCH.
pub(super) async fn run(session: &mut Session, fetch: &Fetch) -> Outcome {
    if let Some(refusal) = invalid(session, fetch) {
        return Ok(refusal.to_owned());
    }
    let items = items_of(fetch);
    let Some(selected) = session.selected() else { return Ok(answer::NO_FOLDER.to_owned()) };
    let now = selected.folder.snapshot();
    selected.view.look(now);
    let mut uids = match selected.resolve(&fetch.set, fetch.uid) {
        Ok(uids) => uids,
        Err(refusal) => return Ok(refusal),
    };
    if let Some(since) = fetch.changed_since {
        let entry = |uid: &Uid| selected.view.entry(*uid);
        uids.retain(|uid| entry(uid).is_some_and(|entry| entry.modseq.0 > since));
    }
    let news = selected.new_keywords();
    let mut job = Job::new(selected, items, uids);
    session.client.push(news);
    let outcome = match tell_vanished(session, fetch).await {
        Ok(()) => job.serve(session).await,
        Err(stop) => Err(stop),
    };
    job.conclude(session, outcome).await
}

/// The BAD or NO to a command that makes no sense.
fn invalid(session: &Session, fetch: &Fetch) -> Option<&'static str> {
    // RFC 7162 section 3.2.6.
    let may_vanish = fetch.uid && fetch.changed_since.is_some() && session.enabled.qresync;
    if fetch.vanished && !may_vanish {
        return Some("BAD VANISHED is for UID FETCH with CHANGEDSINCE, after ENABLE QRESYNC");
    }
    (fetch.items.len() > MAX_ITEMS).then_some("NO [LIMIT] too many items at once")
}

/// What each response holds: UID FETCH tells the UID, CHANGEDSINCE the MODSEQ.
fn items_of(fetch: &Fetch) -> Vec<FetchItem> {
    let uid = Some(FetchItem::Uid).filter(|_| fetch.uid);
    let modseq = Some(FetchItem::ModSeq).filter(|_| fetch.changed_since.is_some());
    let mut items: Vec<FetchItem> = Vec::new();
    for item in uid.iter().chain(&fetch.items).chain(&modseq) {
        if !items.contains(item) {
            items.push(item.clone());
        }
    }
    items
}

/// Why serving stops, or leaves a message out.
enum Stop {
    /// The message is gone.
    Gone,
    /// This one message can't be had; the tagged answer.
    Failed(Tagged),
    /// The tagged answer.
    Refused(Tagged),
    Parting(Parting),
}

impl From<Parting> for Stop {
    fn from(parting: Parting) -> Self {
        Self::Parting(parting)
    }
}

fn stop(session: &mut Session, error: &Error) -> Stop {
    match error.kind {
        Kind::NotFound => Stop::Gone,
        Kind::Rejected | Kind::Unsupported | Kind::TooLarge => {
            Stop::Failed(answer::refuse(session, error, "FETCH"))
        }
        _ => Stop::Refused(answer::refuse(session, error, "FETCH")),
    }
}

fn stop_for(session: &mut Session, failure: Failure) -> Stop {
    match failure {
        Failure::UnknownEncoding => Stop::Failed(format!("NO [UNKNOWN-CTE] {failure}")),
        Failure::Storage(error) => {
            let text = "a message that was kept can't be read";
            stop(session, &Error::new(Kind::Unavailable, text).with_source(error))
        }
    }
}

async fn tell_vanished(session: &mut Session, fetch: &Fetch) -> Result<(), Stop> {
    let (Some(since), true) = (fetch.changed_since, fetch.vanished) else { return Ok(()) };
    let Some(folder) = session.selected().map(|selected| Arc::clone(&selected.folder)) else {
        return Ok(());
    };
    let gone = match folder.vanished_since(ModSeq(since)).await {
        Ok(gone) => gone,
        Err(error) => return Err(stop(session, &error)),
    };
    let Session { client, state: State::Selected(selected), .. } = session else { return Ok(()) };
    let told = selected.view.told();
    let asked = resync::known_ranges(Some(&fetch.set), told);
    let vanished = resync::gone_among(gone.as_deref(), told, &asked);
    if !vanished.is_empty() {
        client.push(format!("* VANISHED (EARLIER) {}\r\n", resync::written(&vanished)));
    }
    Ok(())
}

/// How much of a message an item needs; `None`: nothing but index and header lines.
fn depth(item: &FetchItem) -> Option<Depth> {
    match item {
        FetchItem::Structure(_) => Some(Depth::Parts),
        FetchItem::Section(section)
        | FetchItem::BinaryText(section)
        | FetchItem::BinaryTextSize(section) => {
            Some(match (section.part.is_empty(), &section.text) {
                (true, SectionText::Whole) => Depth::Octets,
                (true, _) => Depth::Header,
                (false, _) => Depth::Parts,
            })
        }
        FetchItem::Binary { part, .. } | FetchItem::BinarySize(part) => {
            Some(if part.is_empty() { Depth::Octets } else { Depth::Parts })
        }
        FetchItem::Rfc822 => Some(Depth::Octets),
        FetchItem::Rfc822Header | FetchItem::Rfc822Text => Some(Depth::Header),
        _ => None,
    }
}

/// True for items that mean that the message has been read.
fn sets_seen(item: &FetchItem) -> bool {
    match item {
        FetchItem::Section(section) | FetchItem::BinaryText(section) => !section.peek,
        FetchItem::Binary { peek, .. } => !peek,
        FetchItem::Rfc822 | FetchItem::Rfc822Text => true,
        _ => false,
    }
}

/// A FETCH under way.
struct Job {
    folder: Arc<dyn Folder>,
    items: Vec<FetchItem>,
    uids: Vec<Uid>,
    /// Those of `uids` that must be read, in that order, from the present one on.
    to_read: VecDeque<Uid>,
    depth: Option<Depth>,
    wants_size: bool,
    sets_seen: bool,
    /// What was read and is not `\Seen` yet.
    read: Vec<Uid>,
    /// Messages were left out, for they are gone.
    incomplete: bool,
    /// Messages that can't be had: the answers.
    failed: Vec<Tagged>,
}

impl Job {
    fn new(selected: &Selected, items: Vec<FetchItem>, uids: Vec<Uid>) -> Self {
        let mut job = Self {
            folder: Arc::clone(&selected.folder),
            depth: items.iter().filter_map(depth).max(),
            wants_size: items.contains(&FetchItem::Size),
            sets_seen: !selected.read_only && items.iter().any(sets_seen),
            items,
            uids: Vec::new(),
            to_read: VecDeque::new(),
            read: Vec::new(),
            incomplete: false,
            failed: Vec::new(),
        };
        let entry = |uid: &Uid| selected.view.entry(*uid);
        let reads = |uid: &Uid| entry(uid).is_some_and(|entry| job.must_read(entry));
        job.to_read = uids.iter().copied().filter(reads).collect();
        job.uids = uids;
        job
    }

    /// True when the message itself is needed.
    fn must_read(&self, entry: &Entry) -> bool {
        self.depth.is_some() || (self.wants_size && entry.size.exact().is_none())
    }

    async fn serve(&mut self, session: &mut Session) -> Result<(), Stop> {
        let uids = std::mem::take(&mut self.uids);
        let is_single = uids.len() == 1;
        for chunk in uids.chunks(CHUNK) {
            let headers = self.headers(session, chunk).await?;
            for uid in chunk {
                if session.client.is_stopping() {
                    return Err(Parting::Stopping.into());
                }
                match self.message(session, *uid, &headers, is_single).await {
                    Err(Stop::Gone) => self.incomplete = true,
                    Err(Stop::Failed(tagged)) if self.failed.len() < MAX_FAILED => {
                        self.failed.push(tagged);
                    }
                    outcome => outcome?,
                }
            }
        }
        Ok(())
    }

    /// The header lines that ENVELOPE is made from.
    async fn headers(
        &self,
        session: &mut Session,
        uids: &[Uid],
    ) -> Result<Option<HashMap<Uid, Bytes>>, Stop> {
        if !self.items.contains(&FetchItem::Envelope) {
            return Ok(None);
        }
        match self.folder.headers(uids.to_vec()).await {
            Ok(headers) => Ok(Some(headers.into_iter().collect())),
            Err(error) => Err(stop(session, &error)),
        }
    }

    async fn message(
        &mut self,
        session: &mut Session,
        uid: Uid,
        headers: &Option<HashMap<Uid, Bytes>>,
        is_single: bool,
    ) -> Result<(), Stop> {
        let rev2 = session.enabled.rev2;
        let Some(selected) = session.selected() else { return Ok(()) };
        let Some(seq) = selected.view.seq(uid) else { return Ok(()) };
        let Some(entry) = selected.view.entry(uid).cloned() else { return Ok(()) };
        let recent = !rev2 && selected.is_recent(uid);
        let header = headers.as_ref().map(|headers| headers.get(&uid));
        if header == Some(None) {
            return Err(Stop::Gone);
        }
        let header = header.flatten().map(|header| &header[..]);
        let mut read = match self.must_read(&entry) {
            true => Some(self.read(session, uid, is_single).await?),
            false => None,
        };
        let mut source = Source { entry: &entry, recent, header, read: read.as_mut() };
        let response = self.respond(seq, &mut source).await;
        let response = response.map_err(|failure| stop_for(session, failure))?;
        response.send(&mut session.client, read.as_ref().map(|read| &read.content)).await?;
        self.sent(session, &entry, read);
        Ok(())
    }

    async fn respond(&self, seq: u32, source: &mut Source<'_>) -> Result<Response, Failure> {
        if let (Some(depth), Some(read)) = (self.depth, source.read.as_deref_mut()) {
            read.look(depth).await?;
        }
        let mut response = Response::new(seq);
        for item in &self.items {
            response.add(item, source).await?;
        }
        Ok(response)
    }

    /// The message itself; where it is the one that was read last, it need not be asked for.
    async fn read(
        &mut self,
        session: &mut Session,
        uid: Uid,
        is_single: bool,
    ) -> Result<LastRead, Stop> {
        if let Some(selected) = session.selected() {
            self.announce(selected, uid, is_single);
            if let Some(last) = selected.last_read.take_if(|last| last.uid == uid) {
                return Ok(last);
            }
        }
        match self.folder.content(uid).await {
            Ok(content) => Ok(LastRead::new(uid, content)),
            Err(error) => Err(stop(session, &error)),
        }
    }

    /// Tells the folder what comes next: the next ones of this command, or, where a client reads
    /// one message after another, those after this one.
    fn announce(&mut self, selected: &Selected, uid: Uid, is_single: bool) {
        while self.to_read.front().is_some_and(|next| *next <= uid) {
            self.to_read.pop_front();
        }
        let mut ahead: Vec<Uid> = self.to_read.iter().take(AHEAD).copied().collect();
        if is_single {
            let seq = |uid| selected.view.seq(uid);
            let before = selected.last_read.as_ref().and_then(|last| seq(last.uid));
            if let (Some(before), Some(at)) = (before, seq(uid))
                && before + 1 == at
            {
                let next = (at + 1..).map_while(|seq| selected.view.uid(seq));
                ahead = next.take(AHEAD).collect();
            }
        }
        if !ahead.is_empty() {
            self.folder.prefetch(&ahead);
        }
    }

    fn sent(&mut self, session: &mut Session, entry: &Entry, read: Option<LastRead>) {
        let uid = entry.uid;
        if self.sets_seen && !entry.flags.has(Flag::Seen) {
            self.read.push(uid);
        }
        let Some(selected) = session.selected() else { return };
        if read.is_some() {
            selected.last_read = read;
        }
        let tells_flags = self.items.contains(&FetchItem::Flags);
        if tells_flags && selected.view.believed(uid) != Some(&entry.flags) {
            selected.view.believe(uid, entry.flags.clone());
        }
    }

    /// Sets `\Seen` on what the client has got, in one go; the client hears of it with all other
    /// changes, before the tagged answer.
    async fn conclude(&mut self, session: &mut Session, outcome: Result<(), Stop>) -> Outcome {
        let seen = self.set_seen(session).await;
        match outcome {
            Err(Stop::Parting(parting)) => Err(parting),
            Err(Stop::Refused(tagged) | Stop::Failed(tagged)) => Ok(tagged),
            Err(Stop::Gone) => Ok(EXPUNGED.to_owned()),
            Ok(()) if !self.failed.is_empty() => Ok(self.failed.swap_remove(0)),
            Ok(()) if self.incomplete => Ok(EXPUNGED.to_owned()),
            Ok(()) => Ok(seen.err().unwrap_or_else(|| "OK FETCH completed".to_owned())),
        }
    }

    /// An error is the tagged answer.
    async fn set_seen(&mut self, session: &mut Session) -> Result<(), Tagged> {
        let read = std::mem::take(&mut self.read);
        if read.is_empty() {
            return Ok(());
        }
        let change = FlagChange::Add(Flags::default().with(Flag::Seen));
        match self.folder.change_flags(read, &change, None).await {
            Ok(_) => Ok(()),
            Err(error) => Err(answer::refuse(session, &error, "setting \\Seen in FETCH")),
        }
    }
}
