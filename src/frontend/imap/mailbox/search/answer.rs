//! The answers to SEARCH and SORT (RFC 9051 section 7.3.4, RFC 4731, RFC 5267, RFC 7162).
//!
//! Danger: an answer in the new form to a client that knows only the old one, or the reverse, is
//! no answer. Rule: ESEARCH is for those who wrote RETURN or enabled IMAP4rev2, all others get the
//! old line; with SAVE alone there is none.

use super::Matches;
use crate::frontend::imap::mailbox::{Session, State, Tagged};
use crate::mail::mailbox::Uid;
use crate::protocol::imap::encode::{number_set, quoted};
use crate::protocol::imap::request::{Search, SearchReturn};

/// Whose answer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::frontend::imap::mailbox) enum Answer {
    Search,
    Sort,
}

impl Answer {
    fn name(self) -> &'static str {
        match self {
            Self::Search => "SEARCH",
            Self::Sort => "SORT",
        }
    }
}

/// True when the result is to be put into `$`.
pub(super) fn saves(search: &Search) -> bool {
    search.returns.as_ref().is_some_and(|returns| returns.contains(&SearchReturn::Save))
}

/// Tells what was found, in its order; returns the tagged answer.
pub(in crate::frontend::imap::mailbox) fn answer(
    session: &mut Session,
    search: &Search,
    found: &Matches,
    whose: Answer,
) -> Tagged {
    let done = format!("OK {} completed", whose.name());
    let Session { client, state: State::Selected(selected), enabled, tag, .. } = session else {
        return done;
    };
    if saves(search) {
        selected.saved = saved(search, found);
    }
    let number = |uid: Uid| match search.uid {
        true => Some(uid.number()),
        false => selected.view.seq(uid),
    };
    let numbers: Vec<u32> = found.entries.iter().filter_map(|e| number(e.uid)).collect();
    let is_extended = search.returns.is_some() || (enabled.rev2 && whose == Answer::Search);
    match is_extended {
        true => {
            let items = extended(search, found, &numbers);
            if let Some(items) = items {
                let uid = if search.uid { " UID" } else { "" };
                client.push(format!("* ESEARCH (TAG {}){uid}{items}\r\n", quoted(tag)));
            }
        }
        false => {
            let mut line = format!("* {}", whose.name());
            numbers.iter().for_each(|number| line.push_str(&format!(" {number}")));
            if let Some(modseq) = found.highest_modseq(|_| true) {
                line.push_str(&format!(" (MODSEQ {})", modseq.0));
            }
            client.push(line + "\r\n");
        }
    }
    done
}

/// What is asked for, each once; without anything, all (RFC 4731 section 3.1).
fn wanted(search: &Search) -> Vec<SearchReturn> {
    match search.returns.as_deref() {
        None | Some([]) => vec![SearchReturn::All],
        Some(returns) => returns.to_vec(),
    }
}

/// The items of an ESEARCH answer, each with a space in front; `None`: there is no answer.
fn extended(search: &Search, found: &Matches, numbers: &[u32]) -> Option<String> {
    let wanted = wanted(search);
    let wants = |item| wanted.contains(&item);
    // RFC 5182 section 2.1.
    if wanted.iter().all(|item| *item == SearchReturn::Save) {
        return None;
    }
    let mut items = String::new();
    if let Some(first) = numbers.first().filter(|_| wants(SearchReturn::Min)) {
        items.push_str(&format!(" MIN {first}"));
    }
    if let Some(last) = numbers.last().filter(|_| wants(SearchReturn::Max)) {
        items.push_str(&format!(" MAX {last}"));
    }
    if wants(SearchReturn::Count) {
        items.push_str(&format!(" COUNT {}", numbers.len()));
    }
    if wants(SearchReturn::All) && !numbers.is_empty() {
        items.push_str(&format!(" ALL {}", number_set(numbers.iter().copied())));
    }
    let told = ends_or_all(&wanted, found);
    let modseq = found.highest_modseq(|uid| told.as_ref().is_none_or(|told| told.contains(&uid)));
    if let Some(modseq) = modseq {
        items.push_str(&format!(" MODSEQ {}", modseq.0));
    }
    Some(items)
}

/// With MIN or MAX and nothing more, only these are meant (RFC 4731 section 3.2, RFC 5182 section
/// 2.4); `None`: all are.
fn ends_or_all(wanted: &[SearchReturn], found: &Matches) -> Option<Vec<Uid>> {
    let is_end = |item: &SearchReturn| matches!(item, SearchReturn::Min | SearchReturn::Max);
    let is_more = |item: &SearchReturn| matches!(item, SearchReturn::All | SearchReturn::Count);
    if wanted.iter().any(is_more) || !wanted.iter().any(is_end) {
        return None;
    }
    let min = found.entries.first().filter(|_| wanted.contains(&SearchReturn::Min));
    let max = found.entries.last().filter(|_| wanted.contains(&SearchReturn::Max));
    Some(min.into_iter().chain(max).map(|entry| entry.uid).collect())
}

/// What goes into `$`, ascending and each once.
fn saved(search: &Search, found: &Matches) -> Vec<Uid> {
    let all = || found.entries.iter().map(|entry| entry.uid).collect();
    let mut saved: Vec<Uid> = ends_or_all(&wanted(search), found).unwrap_or_else(all);
    saved.sort_unstable();
    saved.dedup();
    saved
}
