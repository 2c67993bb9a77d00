//! CAPABILITY and ENABLE (RFC 9051 sections 6.1.1 and 6.3.1).
//!
//! Danger: a capability that is offered and not kept breaks clients that rely on it; one that is
//! switched on unasked breaks those that do not know it. Rule: what changes answers is on only after
//! ENABLE, or after the client's own use of it (RFC 7162 section 3.1).

use super::{Outcome, Session, State};
use crate::mail::Mailbox;
use crate::protocol::imap::request::{FetchItem, Search, SearchKey, StatusItem, Verb};

/// What is offered beside APPENDLIMIT, whose number is the mailbox's.
const OFFERED: &[&str] = &[
    "IMAP4rev1",
    "IMAP4rev2",
    "LITERAL+",
    "SASL-IR",
    "ID",
    "ENABLE",
    "IDLE",
    "NAMESPACE",
    "UIDPLUS",
    "MOVE",
    "UNSELECT",
    "CHILDREN",
    "SPECIAL-USE",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "STATUS=SIZE",
    "CONDSTORE",
    "QRESYNC",
    "ESEARCH",
    "SEARCHRES",
    "SORT",
    "SORT=DISPLAY",
    "THREAD=ORDEREDSUBJECT",
    "THREAD=REFERENCES",
    "WITHIN",
    "BINARY",
    "UTF8=ACCEPT",
    "OBJECTID",
];

/// The capabilities after login (RFC 9051 section 7.2.2), for CAPABILITY and for the login's answer.
pub(in crate::frontend::imap) fn capabilities(mailbox: &dyn Mailbox) -> Vec<String> {
    let limit = format!("APPENDLIMIT={}", mailbox.append_limit());
    OFFERED.iter().map(|name| (*name).to_owned()).chain([limit]).collect()
}

/// CAPABILITY.
pub(super) fn list(session: &mut Session) -> Outcome {
    let list = capabilities(&*session.mailbox).join(" ");
    session.client.push(format!("* CAPABILITY {list}\r\n"));
    Ok("OK CAPABILITY completed".to_owned())
}

/// ENABLE: ENABLED names what is on since just now; what is unknown is passed over (RFC 5161
/// section 3.1).
pub(super) fn enable(session: &mut Session, names: &[String]) -> Outcome {
    let had_condstore = session.enabled.condstore;
    let mut on = String::new();
    for name in names {
        let enabled = &mut session.enabled;
        let switch = match name.as_str() {
            "CONDSTORE" => &mut enabled.condstore,
            "QRESYNC" => &mut enabled.qresync,
            "UTF8=ACCEPT" => &mut enabled.utf8,
            "IMAP4REV2" => &mut enabled.rev2,
            _ => continue,
        };
        if std::mem::replace(switch, true) {
            continue;
        }
        on.push(' ');
        on.push_str(if name == "IMAP4REV2" { "IMAP4rev2" } else { name });
    }
    session.client.push(format!("* ENABLED{on}\r\n"));
    if session.enabled.qresync {
        // RFC 7162 section 3.2.3: the one means the other.
        session.enabled.condstore = true;
    }
    if session.enabled.condstore && !had_condstore {
        tell_highest_modseq(session);
    }
    Ok("OK ENABLE completed".to_owned())
}

/// A client that uses CONDSTORE has it from then on; where a folder is selected, it is told the
/// folder's HIGHESTMODSEQ (RFC 7162 section 3.1).
pub(super) fn notice_condstore(session: &mut Session, verb: &Verb) {
    if session.enabled.condstore || !uses_condstore(verb) {
        return;
    }
    session.enabled.condstore = true;
    tell_highest_modseq(session);
}

/// That of what the client was told of: of what is newer it may never hear, if it leaves now.
fn tell_highest_modseq(session: &mut Session) {
    if let State::Selected(selected) = &session.state {
        let modseq = selected.view.told().highest_modseq.0;
        session.client.push(format!("* OK [HIGHESTMODSEQ {modseq}] now told\r\n"));
    }
}

fn uses_condstore(verb: &Verb) -> bool {
    match verb {
        // SELECT enables it itself, once the folder before is left.
        Verb::Status { items, .. } => items.contains(&StatusItem::HighestModSeq),
        Verb::Fetch(fetch) => {
            fetch.changed_since.is_some() || fetch.items.contains(&FetchItem::ModSeq)
        }
        Verb::Store(store) => store.unchanged_since.is_some(),
        Verb::Search(search) | Verb::Sort { search, .. } | Verb::Thread { search, .. } => {
            search_uses_modseq(search)
        }
        _ => false,
    }
}

fn search_uses_modseq(search: &Search) -> bool {
    fn uses(key: &SearchKey) -> bool {
        match key {
            SearchKey::ModSeq(_) => true,
            SearchKey::Not(key) => uses(key),
            SearchKey::Or(a, b) => uses(a) || uses(b),
            SearchKey::And(keys) => keys.iter().any(uses),
            _ => false,
        }
    }
    search.keys.iter().any(uses)
}
