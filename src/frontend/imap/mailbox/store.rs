//! STORE (RFC 9051 section 6.4.6, RFC 7162 section 3.1.3).
//!
//! Danger: a client that believes a flag to be stored which is not, or is told of its own change
//! as if it were somebody else's. Rule: what a response says is what the folder holds afterwards; a
//! silent change is noted as believed, so that only a difference is told.

use std::sync::Arc;

use super::answer::{flags_line, refuse};
use super::fetch::EXPUNGED;
use super::{Outcome, Session, State, answer};
use crate::mail::Folder;
use crate::mail::mailbox::{Flag, FlagChange, Flags, Keyword, ModSeq, Uid};
use crate::protocol::imap::encode::number_set;
use crate::protocol::imap::request::{Store, StoreAction};

/// The answer to a change where none is allowed.
pub(super) const READ_ONLY: &str = "NO [READ-ONLY] the folder was opened with EXAMINE";

/// STORE and UID STORE.
pub(super) async fn run(session: &mut Session, store: &Store) -> Outcome {
    let flags = match parse_flags(&store.flags) {
        Ok(flags) => flags,
        Err(refusal) => return Ok(refusal),
    };
    let Some(selected) = session.selected() else { return Ok(answer::NO_FOLDER.to_owned()) };
    if selected.read_only {
        return Ok(READ_ONLY.to_owned());
    }
    let now = selected.folder.snapshot();
    selected.view.look(now);
    let uids = match selected.resolve(&store.set, store.uid) {
        Ok(uids) => uids,
        Err(refusal) => return Ok(refusal),
    };
    let here: Vec<Uid> = uids.iter().copied().filter(|uid| !selected.view.is_gone(*uid)).collect();
    let folder = Arc::clone(&selected.folder);
    let change = match store.action {
        StoreAction::Replace => FlagChange::Replace(flags),
        StoreAction::Add => FlagChange::Add(flags),
        StoreAction::Remove => FlagChange::Remove(flags),
    };
    let left_out = match apply(&folder, &here, &change, store).await {
        Ok(left_out) => left_out,
        Err(error) => return Ok(refuse(session, &error, "STORE")),
    };
    let stored: Vec<Uid> =
        here.into_iter().filter(|uid| left_out.binary_search(uid).is_err()).collect();
    tell(session, store, &stored, &change).await?;
    // A UID that no message has is ignored; a number is one that the client can see. Some may have
    // gone just now.
    let is_gone = |uid| session.selected().is_some_and(|selected| selected.view.is_gone(uid));
    let is_short = !store.uid && uids.into_iter().any(is_gone);
    Ok(conclusion(session, store, &left_out, is_short))
}

async fn apply(
    folder: &Arc<dyn Folder>,
    uids: &[Uid],
    change: &FlagChange,
    store: &Store,
) -> Result<Vec<Uid>, crate::mail::Error> {
    if uids.is_empty() {
        return Ok(Vec::new());
    }
    let unchanged_since = store.unchanged_since.map(ModSeq);
    let mut left_out = folder.change_flags(uids.to_vec(), change, unchanged_since).await?;
    left_out.sort_unstable();
    Ok(left_out)
}

/// Flags as a client writes them, or the BAD that they deserve.
pub(super) fn parse_flags(written: &[String]) -> Result<Flags, String> {
    let mut flags = Flags::default();
    for word in written {
        if word.eq_ignore_ascii_case("\\Recent") {
            return Err("BAD \\Recent can't be stored".to_owned());
        }
        if word.starts_with('\\') {
            let known = Flag::ALL.into_iter().find(|flag| flag.name().eq_ignore_ascii_case(word));
            flags.set(known.ok_or("BAD unknown system flag")?, true);
        } else {
            flags.insert(Keyword::new(word).ok_or("BAD a keyword must be an atom")?);
        }
    }
    Ok(flags)
}

/// Tells the new flags; of a silent change only the MODSEQ, where the client knows it.
async fn tell(
    session: &mut Session,
    store: &Store,
    stored: &[Uid],
    change: &FlagChange,
) -> Result<(), crate::frontend::conversation::Parting> {
    let Session { client, state: State::Selected(selected), enabled, .. } = session else {
        return Ok(());
    };
    let now = selected.folder.snapshot();
    selected.view.look(now);
    client.push(selected.new_keywords());
    for uid in stored {
        let (Some(seq), false) = (selected.view.seq(*uid), selected.view.is_gone(*uid)) else {
            continue;
        };
        let Some(entry) = selected.view.entry(*uid).cloned() else { continue };
        if store.silent {
            if let Some(flags) = selected.view.believed(*uid).map(|flags| flags.changed(change)) {
                selected.view.believe(*uid, flags);
            }
            if enabled.condstore {
                let modseq = entry.modseq.0;
                client.push(format!("* {seq} FETCH (UID {uid} MODSEQ ({modseq}))\r\n"));
            }
        } else {
            client.push(flags_line(seq, &entry, selected.is_recent(*uid), *enabled));
            selected.view.believe(*uid, entry.flags.clone());
        }
        client.settle().await?;
    }
    Ok(())
}

fn conclusion(session: &mut Session, store: &Store, left_out: &[Uid], is_short: bool) -> String {
    if left_out.is_empty() {
        return if is_short { EXPUNGED.to_owned() } else { "OK STORE completed".to_owned() };
    }
    let Some(selected) = session.selected() else { return answer::NO_FOLDER.to_owned() };
    let number = |uid: &Uid| match store.uid {
        true => Some(uid.number()),
        false => selected.view.seq(*uid),
    };
    let set = number_set(left_out.iter().filter_map(number));
    match is_short {
        true => format!("NO [MODIFIED {set}] some messages have changed, some are gone"),
        false => format!("OK [MODIFIED {set}] some messages have changed since"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_in_any_case_and_refused_where_unknown() {
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let flags = parse_flags(&words(&["\\seen", "\\DELETED", "$Label1", "$label1"]));
        let flags = flags.expect("known");
        assert!(flags.has(Flag::Seen) && flags.has(Flag::Deleted) && !flags.has(Flag::Draft));
        assert_eq!(flags.keywords().len(), 1);
        for bad in ["\\Recent", "\\recent", "\\Starred", "\\*", "a b", ""] {
            let refusal = parse_flags(&words(&["\\Seen", bad])).expect_err("refused");
            assert!(refusal.starts_with("BAD "), "{bad}: {refusal}");
        }
        assert_eq!(parse_flags(&[]), Ok(Flags::default()));
    }
}
