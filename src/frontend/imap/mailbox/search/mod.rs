//! SEARCH (RFC 9051 section 6.4.4, RFC 4731, RFC 5182, RFC 7162).
//!
//! Danger: a search for a word that downloads a mailbox; one that leaves out what it could not read
//! tells the client that it does not exist. Rule: cheap criteria first, for all messages, then header
//! lines, then messages, and only for what is still undecided; too many of these are a NO, never a
//! part of the answer.

mod answer;
mod content;
mod plan;
mod sent;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use time::OffsetDateTime;

use self::plan::{Found, Known, Plan};
use super::{Outcome, Selected, Session, Tagged, answer as words, fetch};
use crate::frontend::conversation::Parting;
use crate::mail::mailbox::{Entry, ModSeq, Uid};
use crate::mail::{Content, Error, Folder, Kind};
use crate::protocol::imap::request::Search;

pub(super) use self::answer::{Answer, answer};

/// Messages that one search may have read from the service (docs/mailbox.md).
const MAX_READ: usize = 2000;
/// The answer to one that would need more.
const TOO_MANY: &str = "NO [LIMIT] too many messages would have to be read; narrow the search by date, sender or flags";

/// SEARCH and UID SEARCH.
pub(super) async fn run(session: &mut Session, search: &Search) -> Outcome {
    match find(session, search).await? {
        Ok(found) => Ok(answer(session, search, &found, Answer::Search)),
        Err(refusal) => Ok(refuse(session, search, refusal)),
    }
}

/// A NO empties `$` where the result was to be put there (RFC 5182 section 2.1).
pub(super) fn refuse(session: &mut Session, search: &Search, refusal: Tagged) -> Tagged {
    let saves = answer::saves(search) && refusal.starts_with("NO");
    if let Some(selected) = session.selected().filter(|_| saves) {
        selected.saved = Vec::new();
    }
    refusal
}

/// What a search has found.
pub(super) struct Matches {
    /// In the order of their numbers.
    pub entries: Vec<Arc<Entry>>,
    /// The client asked by MODSEQ and is told of it.
    pub has_modseq: bool,
}

impl Matches {
    /// The highest MODSEQ of those with these UIDs.
    pub fn highest_modseq(&self, is_meant: impl Fn(Uid) -> bool) -> Option<ModSeq> {
        let meant = self.entries.iter().filter(|entry| is_meant(entry.uid));
        meant.map(|entry| entry.modseq).max().filter(|_| self.has_modseq)
    }
}

/// Finds what matches; or the tagged NO or BAD.
pub(super) async fn find(
    session: &mut Session,
    search: &Search,
) -> Result<Result<Matches, Tagged>, Parting> {
    if search.bad_charset {
        return Ok(Err("NO [BADCHARSET (UTF-8)] only UTF-8 and US-ASCII are known".to_owned()));
    }
    let rev2 = session.enabled.rev2;
    let Some(selected) = session.selected() else { return Ok(Err(words::NO_FOLDER.to_owned())) };
    let now = selected.folder.snapshot();
    selected.view.look(now);
    let plan = match Plan::new(&search.keys, selected, OffsetDateTime::now_utc()) {
        Ok(plan) => plan,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let (folder, has_modseq) = (Arc::clone(&selected.folder), plan.has_modseq);
    let candidates = candidates(selected, rev2);
    let mut hunt = Hunt { folder, plan, matching: Vec::new() };
    match hunt.run(session, candidates).await {
        Ok(()) => {}
        Err(Stop::Parting(parting)) => return Err(parting),
        Err(Stop::TooMany) => return Ok(Err(TOO_MANY.to_owned())),
        Err(Stop::Failed(error)) => return Ok(Err(words::refuse(session, &error, "SEARCH"))),
    }
    let mut entries = hunt.matching;
    entries.sort_unstable_by_key(|entry| entry.uid);
    Ok(Ok(Matches { entries, has_modseq }))
}

/// Sizes of messages, for SORT; those that are not known are read.
pub(super) async fn sizes(
    session: &mut Session,
    entries: &[Arc<Entry>],
) -> Result<Result<Vec<u64>, Tagged>, Parting> {
    let Some(selected) = session.selected() else { return Ok(Err(words::NO_FOLDER.to_owned())) };
    let folder = Arc::clone(&selected.folder);
    let unread: Vec<_> = entries.iter().filter(|entry| entry.size.exact().is_none()).collect();
    if unread.len() > MAX_READ {
        return Ok(Err(TOO_MANY.to_owned()));
    }
    let uids: Vec<Uid> = unread.iter().map(|entry| entry.uid).collect();
    let (mut at, mut sizes) = (0, Vec::with_capacity(entries.len()));
    for entry in entries {
        let Some(size) = entry.size.exact() else {
            at += 1;
            match read(session, &folder, entry.uid, &uids[at..]).await? {
                Ok(content) => sizes.push(content.size()),
                // It is gone: one answer more or less about it does no harm.
                Err(error) if error.kind == Kind::NotFound => sizes.push(entry.size.octets()),
                Err(error) => return Ok(Err(words::refuse(session, &error, "SORT"))),
            }
            continue;
        };
        sizes.push(size);
    }
    Ok(Ok(sizes))
}

/// Reads a message; `next` are those that will be read after it.
async fn read(
    session: &Session,
    folder: &Arc<dyn Folder>,
    uid: Uid,
    next: &[Uid],
) -> Result<Result<Arc<Content>, Error>, Parting> {
    // A search may take minutes; nothing is owed yet but its answer.
    if session.client.is_stopping() {
        return Err(Parting::Stopping);
    }
    folder.prefetch(&next[..next.len().min(fetch::AHEAD)]);
    Ok(folder.content(uid).await)
}

/// A message that may match.
struct Candidate {
    entry: Arc<Entry>,
    recent: bool,
}

impl Candidate {
    fn known<'a>(&'a self, header: Option<&'a [u8]>, read: Option<&'a Found>) -> Known<'a> {
        Known { entry: &self.entry, recent: self.recent, header, read }
    }
}

/// All messages that the client knows, as they are now.
fn candidates(selected: &Selected, rev2: bool) -> Vec<Candidate> {
    let told = selected.view.told().messages.iter();
    let known = told.filter_map(|entry| selected.view.entry(entry.uid));
    let candidate = |entry: &Arc<Entry>| Candidate {
        recent: !rev2 && selected.is_recent(entry.uid),
        entry: Arc::clone(entry),
    };
    known.map(candidate).collect()
}

enum Stop {
    TooMany,
    Failed(Error),
    Parting(Parting),
}

impl From<Parting> for Stop {
    fn from(parting: Parting) -> Self {
        Self::Parting(parting)
    }
}

/// A search under way.
struct Hunt {
    folder: Arc<dyn Folder>,
    plan: Plan,
    matching: Vec<Arc<Entry>>,
}

impl Hunt {
    async fn run(&mut self, session: &Session, candidates: Vec<Candidate>) -> Result<(), Stop> {
        let mut open = Vec::new();
        for (at, candidate) in candidates.into_iter().enumerate() {
            // A thousand keys for a hundred thousand messages: other sessions get their turn.
            if at % fetch::CHUNK == 0 {
                tokio::task::yield_now().await;
            }
            match self.plan.matches(&candidate.known(None, None)) {
                Some(true) => self.matching.push(candidate.entry),
                Some(false) => {}
                None => open.push(candidate),
            }
        }
        let open = self.by_headers(open).await?;
        self.by_content(session, open).await
    }

    /// Header lines are read for what the index did not decide.
    async fn by_headers(&mut self, open: Vec<Candidate>) -> Result<Vec<Candidate>, Stop> {
        let mut undecided = Vec::new();
        let mut open = open.into_iter();
        loop {
            let chunk: Vec<_> = open.by_ref().take(fetch::CHUNK).collect();
            if chunk.is_empty() {
                return Ok(undecided);
            }
            let uids = chunk.iter().map(|candidate| candidate.entry.uid).collect();
            let headers = self.folder.headers(uids).await.map_err(Stop::Failed)?;
            // In the order asked; messages that are gone are left out, and match nothing.
            let mut headers = headers.into_iter().peekable();
            for candidate in chunk {
                let uid = candidate.entry.uid;
                let Some((_, header)) = headers.next_if(|(other, _)| *other == uid) else {
                    continue;
                };
                match self.plan.matches(&candidate.known(Some(&header), None)) {
                    Some(true) => self.matching.push(candidate.entry),
                    Some(false) => {}
                    None => undecided.push(candidate),
                }
            }
            // Header lines that are in memory never wait: other sessions get their turn.
            tokio::task::yield_now().await;
        }
    }

    /// Messages are read for what is still undecided.
    async fn by_content(&mut self, session: &Session, open: Vec<Candidate>) -> Result<(), Stop> {
        let is_unread = |open: &&Candidate| open.entry.size.exact().is_none();
        if open.iter().filter(is_unread).count() > MAX_READ {
            return Err(Stop::TooMany);
        }
        let uids: Vec<Uid> = open.iter().map(|open| open.entry.uid).collect();
        let texts: Arc<[String]> = self.plan.texts.clone().into();
        let mut headers = HashMap::new();
        for (at, candidate) in open.into_iter().enumerate() {
            // Asked for again: those of a whole mailbox are not held while messages are read.
            if at % fetch::CHUNK == 0 {
                let chunk = uids[at..].iter().take(fetch::CHUNK).copied().collect();
                let lines = self.folder.headers(chunk).await.map_err(Stop::Failed)?;
                headers = lines.into_iter().collect();
            }
            let Some(header) = headers.get(&uids[at]) else { continue };
            let content = read(session, &self.folder, uids[at], &uids[at + 1..]).await?;
            let content = match content {
                Ok(content) => content,
                Err(error) if error.kind == Kind::NotFound => continue,
                Err(error) => return Err(Stop::Failed(error)),
            };
            let found = content::look(&content, &texts, self.plan.wants_text()).await;
            let found = found.map_err(|error| {
                let text = "a message that was kept can't be read";
                Stop::Failed(Error::new(Kind::Unavailable, text).with_source(error))
            })?;
            let known = candidate.known(Some(header), Some(&found));
            if self.plan.matches(&known) == Some(true) {
                self.matching.push(candidate.entry);
            }
        }
        Ok(())
    }
}
