//! COPY and MOVE (RFC 9051 sections 6.4.7 and 6.4.8, RFC 4315).
//!
//! Danger: a client that is told of a failure after half was moved looks for messages where they no
//! longer are. Rule: COPYUID names what was done, and goes before the expunges and before the NO.

use std::sync::Arc;

use super::fetch::EXPUNGED;
use super::store::READ_ONLY;
use super::{Outcome, Session, Tagged, answer};
use crate::mail::Folder;
use crate::mail::mailbox::{Copied, Uid};
use crate::protocol::imap::encode::number_set;
use crate::protocol::imap::request::Transfer;

/// COPY and UID COPY.
pub(super) async fn copy(session: &mut Session, transfer: &Transfer) -> Outcome {
    let (folder, uids) = match messages(session, transfer, false) {
        Ok(found) => found,
        Err(tagged) => return Ok(tagged),
    };
    Ok(match folder.copy(uids, &transfer.mailbox).await {
        Err(error) => answer::refuse_target(session, &error, "COPY"),
        Ok(copied) if copied.pairs.is_empty() => EXPUNGED.to_owned(),
        Ok(copied) => format!("OK [{}] COPY completed", copy_uid(&copied)),
    })
}

/// MOVE and UID MOVE. The expunges are told with the other changes, before the tagged answer.
pub(super) async fn move_to(session: &mut Session, transfer: &Transfer) -> Outcome {
    let (folder, uids) = match messages(session, transfer, true) {
        Ok(found) => found,
        Err(tagged) => return Ok(tagged),
    };
    let moved = match folder.move_to(uids, &transfer.mailbox).await {
        Ok(moved) => moved,
        Err(error) => return Ok(answer::refuse_target(session, &error, "MOVE")),
    };
    let is_none = moved.copied.pairs.is_empty();
    if !is_none {
        session.client.push(format!("* OK [{}] moved\r\n", copy_uid(&moved.copied)));
    }
    Ok(match moved.failure {
        Some(error) => answer::refuse(session, &error, "MOVE, done in part"),
        None if is_none => EXPUNGED.to_owned(),
        None => match session.enabled.condstore || session.enabled.qresync {
            // RFC 7162 section 3.2.9: as for EXPUNGE.
            true => {
                let modseq = folder.snapshot().highest_modseq.0;
                format!("OK [HIGHESTMODSEQ {modseq}] MOVE completed")
            }
            false => "OK MOVE completed".to_owned(),
        },
    })
}

/// The folder and the messages meant; or the tagged answer where nothing is to be done.
fn messages(
    session: &mut Session,
    transfer: &Transfer,
    removes: bool,
) -> Result<(Arc<dyn Folder>, Vec<Uid>), Tagged> {
    let Some(selected) = session.selected() else { return Err(answer::NO_FOLDER.to_owned()) };
    if removes && selected.read_only {
        return Err(READ_ONLY.to_owned());
    }
    let uids = selected.resolve(&transfer.set, transfer.uid)?;
    match uids.is_empty() {
        true => Err("OK no messages".to_owned()),
        false => Ok((Arc::clone(&selected.folder), uids)),
    }
}

/// `COPYUID uidvalidity source-uids destination-uids`, pair by pair.
fn copy_uid(copied: &Copied) -> String {
    let from = number_set(copied.pairs.iter().map(|(from, _)| from.number()));
    let to = number_set(copied.pairs.iter().map(|(_, to)| to.number()));
    format!("COPYUID {} {from} {to}", copied.uid_validity)
}
