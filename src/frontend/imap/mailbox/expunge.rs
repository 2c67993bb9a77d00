//! EXPUNGE and UID EXPUNGE (RFC 9051 sections 6.4.3 and 6.4.9).
//!
//! Danger: a message that another client has just marked, and this one has never seen marked, is
//! deleted for good. Rule: only messages that this client knows are expunged; what it hears of them
//! comes with the other changes, before the tagged answer.

use std::sync::Arc;

use super::store::READ_ONLY;
use super::{Outcome, Selected, Session, Tagged, answer};
use crate::mail::mailbox::{Flag, Uid};
use crate::protocol::imap::request::SequenceSet;

/// EXPUNGE, or UID EXPUNGE of a set.
pub(super) async fn run(session: &mut Session, set: Option<&SequenceSet>) -> Outcome {
    let Some(selected) = session.selected() else { return Ok(answer::NO_FOLDER.to_owned()) };
    if selected.read_only {
        return Ok(READ_ONLY.to_owned());
    }
    let deleted = match marked(selected, set) {
        Ok(deleted) => deleted,
        Err(refusal) => return Ok(refusal),
    };
    let folder = Arc::clone(&selected.folder);
    if deleted.is_empty() {
        return Ok("OK nothing to expunge".to_owned());
    }
    if let Err(error) = folder.expunge(deleted).await {
        return Ok(answer::refuse(session, &error, "EXPUNGE"));
    }
    // RFC 7162 section 3.2.7.
    Ok(match session.enabled.condstore || session.enabled.qresync {
        true => {
            let modseq = folder.snapshot().highest_modseq.0;
            format!("OK [HIGHESTMODSEQ {modseq}] EXPUNGE completed")
        }
        false => "OK EXPUNGE completed".to_owned(),
    })
}

/// Messages with `\Deleted`, of a set or of all, that the client knows and that are there.
pub(super) fn marked(
    selected: &mut Selected,
    set: Option<&SequenceSet>,
) -> Result<Vec<Uid>, Tagged> {
    selected.view.look(selected.folder.snapshot());
    let mut uids: Vec<Uid> = match set {
        None => selected.view.told().messages.iter().map(|entry| entry.uid).collect(),
        Some(set) => selected.resolve(set, true)?,
    };
    uids.retain(|uid| {
        let entry = selected.view.entry(*uid);
        entry.is_some_and(|entry| entry.flags.has(Flag::Deleted)) && !selected.view.is_gone(*uid)
    });
    Ok(uids)
}
