//! SELECT, EXAMINE, CLOSE and UNSELECT (RFC 9051 sections 6.3.2, 6.3.3, 6.4.1, 6.4.2).
//!
//! Danger: a client that believes a folder to be selected when another is, or none, changes the
//! wrong messages. Rule: the folder before is left first, whatever comes of the new one; CLOSE
//! always leaves, and expunges only what it may.

use std::sync::Arc;

use super::keywords::Keywords;
use super::view::View;
use super::{Enabled, Outcome, Selected, Session, State, Tagged, answer, expunge, resync};
use crate::mail::Folder;
use crate::mail::mailbox::Flag;
use crate::protocol::imap::encode::mailbox_name;
use crate::protocol::imap::request::Select;

/// SELECT and EXAMINE.
pub(super) async fn select(session: &mut Session, select: &Select) -> Outcome {
    if select.qresync.is_some() && !session.enabled.qresync {
        // RFC 7162 section 3.2.5.
        return Ok("BAD say ENABLE QRESYNC first".to_owned());
    }
    if leave(session) {
        // RFC 7162 section 3.2.11: what came before is of the old folder.
        session.client.push("* OK [CLOSED] the folder before is closed\r\n");
    }
    session.enabled.condstore |= select.condstore;
    let mailbox = Arc::clone(&session.mailbox);
    let folder = match mailbox.open(&select.mailbox).await {
        Ok(folder) => folder,
        Err(error) => {
            return Ok(answer::refuse(session, &error, &format!("SELECT {}", select.mailbox)));
        }
    };
    let selected = begin(folder, select);
    let summary = summary(&selected, session.enabled);
    session.client.push(summary);
    if let Some(known) = &select.qresync {
        resync::tell(session, &selected, known).await?;
    }
    session.state = State::Selected(Box::new(selected));
    Ok(match select.read_only {
        true => "OK [READ-ONLY] EXAMINE completed".to_owned(),
        false => "OK [READ-WRITE] SELECT completed".to_owned(),
    })
}

/// The folder as its client begins with it. EXAMINE makes nothing less recent (RFC 3501 section
/// 6.3.2).
pub(super) fn begin(folder: Arc<dyn Folder>, select: &Select) -> Selected {
    let inbox = select.mailbox.eq_ignore_ascii_case("INBOX");
    let mut selected = Selected {
        name: if inbox { "INBOX".to_owned() } else { select.mailbox.clone() },
        keywords: Keywords::of(&folder.snapshot()),
        view: View::new(folder.snapshot()),
        folder,
        read_only: select.read_only,
        saved: Vec::new(),
        recent: Vec::new(),
        last_read: None,
    };
    selected.find_recent();
    selected.view.catch_up();
    selected.keywords.look(selected.view.told());
    selected
}

/// The untagged responses of SELECT.
fn summary(selected: &Selected, enabled: Enabled) -> String {
    let now = selected.view.told();
    let mut text = selected.keywords.flags();
    text.push_str(&format!("* {} EXISTS\r\n", selected.view.count()));
    if !enabled.rev2 {
        text.push_str(&format!("* {} RECENT\r\n", selected.count_recent()));
        let unseen = now.messages.iter().position(|entry| !entry.flags.has(Flag::Seen));
        if let Some(at) = unseen {
            text.push_str(&format!("* OK [UNSEEN {}] the first unseen\r\n", at + 1));
        }
    } else {
        let name = mailbox_name(&selected.name, enabled.utf8_names());
        text.push_str(&format!("* LIST () \"/\" {name}\r\n"));
    }
    text.push_str(&selected.keywords.permanent(selected.read_only));
    text.push_str(&format!("* OK [UIDVALIDITY {}] UIDs are valid\r\n", now.uid_validity));
    text.push_str(&format!("* OK [UIDNEXT {}] the next\r\n", now.uid_next));
    text.push_str(&format!("* OK [HIGHESTMODSEQ {}] the highest\r\n", now.highest_modseq.0));
    text.push_str(&format!(
        "* OK [MAILBOXID ({})] for good\r\n",
        mailbox_id(selected.folder.object_id())
    ));
    text
}

/// RFC 8474 section 4.
pub(super) fn mailbox_id(object_id: [u8; 16]) -> String {
    object_id.iter().fold("F".to_owned(), |id, byte| format!("{id}{byte:02x}"))
}

/// True when a folder was selected.
fn leave(session: &mut Session) -> bool {
    let before = std::mem::replace(&mut session.state, State::Authenticated);
    matches!(before, State::Selected(_))
}

/// UNSELECT: expunges nothing.
pub(super) fn unselect(session: &mut Session) -> Tagged {
    leave(session);
    "OK UNSELECT completed".to_owned()
}

/// CLOSE: expunges without telling. RFC 9051 has no NO for it: when the service fails, the folder
/// is left all the same, its messages keep `\Deleted`, and the client is told so untagged.
pub(super) async fn close(session: &mut Session) -> Outcome {
    let before = std::mem::replace(&mut session.state, State::Authenticated);
    if let State::Selected(mut selected) = before
        && !selected.read_only
        && let Ok(deleted) = expunge::marked(&mut selected, None)
        && !deleted.is_empty()
        && let Err(error) = selected.folder.expunge(deleted).await
    {
        let refusal = answer::refuse(session, &error, &format!("CLOSE of {}", selected.name));
        session.client.push(format!("* {refusal}\r\n"));
    }
    Ok("OK CLOSE completed".to_owned())
}
