//! What has changed, told to the client (RFC 9051 section 7.5).
//!
//! Danger: an EXPUNGE in the middle of a client's FETCH or STORE shifts the numbers that it is
//! using. Rule: the view moves on as a whole, where expunges are allowed; elsewhere only flags of
//! messages that the client knows are told.

use super::view::View;
use super::{Session, State, answer};
use crate::frontend::connected::Connected;
use crate::frontend::conversation::Parting;
use crate::mail::mailbox::{Snapshot, Uid};
use crate::protocol::imap::encode::number_set;

/// What may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allow {
    /// All.
    Everything,
    /// Neither expunges nor new messages.
    NoExpunge,
}

/// Tells the client what has changed between what it was told and the folder's newest snapshot.
/// EXPUNGEs come before EXISTS, and both before flags, whose numbers are the new ones.
pub(super) async fn tell(session: &mut Session, allow: Allow) -> Result<(), Parting> {
    let Session { client, state: State::Selected(selected), enabled, .. } = session else {
        return Ok(());
    };
    selected.view.look(selected.folder.snapshot());
    if allow == Allow::Everything && has_new(&selected.view) {
        selected.find_recent();
    }
    client.push(selected.new_keywords());
    let changed = selected.view.flags_to_tell();
    if allow == Allow::Everything {
        let (gone, come) = (gone(&selected.view), has_new(&selected.view));
        match enabled.qresync {
            true => tell_vanished(client, &gone),
            false => tell_expunged(client, &selected.view, &gone).await?,
        }
        selected.view.catch_up();
        if come {
            client.push(format!("* {} EXISTS\r\n", selected.view.count()));
        }
        if come && !enabled.rev2 {
            client.push(format!("* {} RECENT\r\n", selected.count_recent()));
        }
    }
    for entry in changed {
        if let Some(seq) = selected.view.seq(entry.uid) {
            let recent = selected.is_recent(entry.uid);
            client.push(answer::flags_line(seq, &entry, recent, *enabled));
            client.settle().await?;
        }
    }
    selected.view.flags_are_told();
    Ok(())
}

/// True when messages have come that the client does not know. UIDs ascend: the last one tells.
fn has_new(view: &View) -> bool {
    view.now()
        .messages
        .last()
        .is_some_and(|last| view.told().messages.last().is_none_or(|known| known.uid < last.uid))
}

/// Messages that the client knows and that are gone, ascending. Both lists are in order.
fn gone(view: &View) -> Vec<Uid> {
    let state = |snapshot: &Snapshot| (snapshot.highest_modseq, snapshot.messages.len());
    if state(view.told()) == state(view.now()) {
        return Vec::new();
    }
    let mut present = view.now().messages.iter().map(|entry| entry.uid).peekable();
    let mut gone = Vec::new();
    for uid in view.told().messages.iter().map(|entry| entry.uid) {
        while present.next_if(|other| *other < uid).is_some() {}
        if present.next_if_eq(&uid).is_none() {
            gone.push(uid);
        }
    }
    gone
}

/// RFC 7162 section 3.2.10.
fn tell_vanished(client: &mut Connected, gone: &[Uid]) {
    if !gone.is_empty() {
        let set = number_set(gone.iter().map(|uid| uid.number()));
        client.push(format!("* VANISHED {set}\r\n"));
    }
}

/// The highest number first, so that each is still right when it is told.
async fn tell_expunged(client: &mut Connected, view: &View, gone: &[Uid]) -> Result<(), Parting> {
    for seq in gone.iter().rev().filter_map(|uid| view.seq(*uid)) {
        client.push(format!("* {seq} EXPUNGE\r\n"));
        client.settle().await?;
    }
    Ok(())
}
