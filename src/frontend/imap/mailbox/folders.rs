//! CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE, NAMESPACE and STATUS (RFC 9051 section 6.3).
//!
//! Danger: a folder that is deleted with children or with a use takes mail away that nobody meant.
//! Rule: the mailbox refuses; here the refusal gets the words that tell the client what to do.

use std::fmt::Write as _;
use std::sync::Arc;

use super::select::mailbox_id;
use super::{Outcome, Session, Tagged, answer};
use crate::mail::mailbox::{SEPARATOR, Status};
use crate::mail::{self, Kind};
use crate::protocol::imap::encode::mailbox_name;
use crate::protocol::imap::request::StatusItem;

/// CREATE. The answer names the folder's id (RFC 8474 section 4.1), where that can be told.
pub(super) async fn create(session: &mut Session, name: &str) -> Outcome {
    if let Some(refusal) = unusable(name) {
        return Ok(refusal);
    }
    let mailbox = Arc::clone(&session.mailbox);
    if let Err(error) = mailbox.create(name).await {
        return Ok(answer::refuse(session, &error, &format!("CREATE {name}")));
    }
    let names = [name.to_owned()];
    Ok(match mailbox.status(&names).await.pop() {
        Some(Ok(status)) => {
            format!("OK [MAILBOXID ({})] CREATE completed", mailbox_id(status.object_id))
        }
        _ => "OK CREATE completed".to_owned(),
    })
}

/// Names that no folder can have.
fn unusable(name: &str) -> Option<Tagged> {
    let empty_part = name.split(SEPARATOR).any(str::is_empty);
    empty_part.then(|| "NO [CANNOT] a folder's name must not have an empty part".to_owned())
}

/// DELETE.
pub(super) async fn delete(session: &mut Session, name: &str) -> Outcome {
    if name.eq_ignore_ascii_case("INBOX") {
        return Ok("NO [CANNOT] INBOX can't be deleted".to_owned());
    }
    let mailbox = Arc::clone(&session.mailbox);
    let Err(error) = mailbox.delete(name).await else {
        return Ok("OK DELETE completed".to_owned());
    };
    match why_not(session, name, &error).await {
        Some(refusal) => Ok(refusal),
        None => Ok(answer::refuse(session, &error, &format!("DELETE {name}"))),
    }
}

/// The reasons that the folder itself gives (RFC 9051 section 7.1 for the codes).
async fn why_not(session: &Session, name: &str, error: &mail::Error) -> Option<Tagged> {
    if error.kind.is_temporary() || error.kind == Kind::NotFound {
        return None;
    }
    let folders = session.mailbox.folders().await.ok()?;
    let folder = folders.iter().find(|folder| folder.name == name)?;
    if folder.has_children {
        return Some("NO [HASCHILDREN] delete the folders below it first".to_owned());
    }
    folder.special_use.map(|_| "NO [CANNOT] the mail service needs this folder".to_owned())
}

/// RENAME.
pub(super) async fn rename(session: &mut Session, from: &str, to: &str) -> Outcome {
    if let Some(refusal) = unusable(to) {
        return Ok(refusal);
    }
    let below = to.strip_prefix(from).is_some_and(|rest| rest.starts_with(SEPARATOR));
    if below && !from.eq_ignore_ascii_case("INBOX") {
        return Ok("NO [CANNOT] a folder can't be moved into itself".to_owned());
    }
    let mailbox = Arc::clone(&session.mailbox);
    match mailbox.rename(from, to).await {
        Ok(()) => Ok("OK RENAME completed".to_owned()),
        Err(error) => Ok(answer::refuse(session, &error, &format!("RENAME {from} to {to}"))),
    }
}

/// SUBSCRIBE and UNSUBSCRIBE. A name without a folder may be subscribed.
pub(super) async fn subscribe(session: &mut Session, name: &str, on: bool) -> Outcome {
    let verb = if on { "SUBSCRIBE" } else { "UNSUBSCRIBE" };
    let mailbox = Arc::clone(&session.mailbox);
    match mailbox.subscribe(name, on).await {
        Ok(()) => Ok(format!("OK {verb} completed")),
        Err(error) => Ok(answer::refuse(session, &error, &format!("{verb} {name}"))),
    }
}

/// NAMESPACE: all folders are the user's own.
pub(super) fn namespace(session: &mut Session) -> Tagged {
    session.client.push("* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
    "OK NAMESPACE completed".to_owned()
}

/// STATUS.
pub(super) async fn status(session: &mut Session, name: &str, items: &[StatusItem]) -> Outcome {
    let mailbox = Arc::clone(&session.mailbox);
    let names = [name.to_owned()];
    match mailbox.status(&names).await.pop() {
        Some(Ok(status)) => {
            let line = status_line(session, name, &status, items);
            session.client.push(line);
            Ok("OK STATUS completed".to_owned())
        }
        Some(Err(error)) => Ok(answer::refuse(session, &error, &format!("STATUS {name}"))),
        None => {
            let error = mail::Error::new(Kind::Unavailable, "the mailbox gave no status");
            Ok(answer::refuse(session, &error, &format!("STATUS {name}")))
        }
    }
}

/// The untagged STATUS response.
pub(super) fn status_line(
    session: &Session,
    name: &str,
    status: &Status,
    items: &[StatusItem],
) -> String {
    let name = mailbox_name(name, session.enabled.utf8_names());
    let mut line = format!("* STATUS {name} (");
    for (at, item) in items.iter().enumerate() {
        line.push_str(if at == 0 { "" } else { " " });
        // Writing into a String does not fail.
        let _ = match item {
            StatusItem::Messages => write!(line, "MESSAGES {}", status.messages),
            StatusItem::Unseen => write!(line, "UNSEEN {}", status.unseen),
            StatusItem::Deleted => write!(line, "DELETED {}", status.deleted),
            StatusItem::Recent => write!(line, "RECENT {}", status.recent),
            StatusItem::UidNext => write!(line, "UIDNEXT {}", status.uid_next),
            StatusItem::UidValidity => write!(line, "UIDVALIDITY {}", status.uid_validity),
            StatusItem::HighestModSeq => write!(line, "HIGHESTMODSEQ {}", status.highest_modseq.0),
            StatusItem::Size => write!(line, "SIZE {}", status.size),
            StatusItem::AppendLimit => {
                write!(line, "APPENDLIMIT {}", session.mailbox.append_limit())
            }
            StatusItem::MailboxId => {
                write!(line, "MAILBOXID ({})", mailbox_id(status.object_id))
            }
        };
    }
    line.push_str(")\r\n");
    line
}
