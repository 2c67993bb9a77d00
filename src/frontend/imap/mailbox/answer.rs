//! What clients are told.
//!
//! Danger: a failure of the service told as BAD makes clients give up a command for good, and a
//! connection that is closed for it makes them ask for the password. Rule: only [`refuse`] turns a
//! [`mail::Error`] into words (RFC 5530 for the codes); it is a NO, and its reference leads to the
//! log, which has the whole story.

use std::fmt::Write as _;

use super::{Enabled, Session, Tagged};
use crate::mail::mailbox::{Entry, Flag, Flags, Keyword};
use crate::mail::{self, Kind};

/// A command for the selected state came in another one.
pub(super) const NO_FOLDER: &str = "BAD no folder is selected";

/// Characters of a command in the log: a folder's name may be as long as its client likes.
const MAX_DOING: usize = 200;

/// The tagged answer to a command that failed. `doing` is for the log: `"EXPUNGE of folder X"`.
pub(super) fn refuse(session: &mut Session, error: &mail::Error, doing: &str) -> Tagged {
    let reference = session.references.report(error);
    log(&reference, error, doing);
    let (code, text) = words(error);
    format!("NO [{code}] {text} (ref {reference})")
}

/// As [`refuse`] for a COPY, MOVE or APPEND: where the folder does not exist, the client is told
/// to make it (RFC 9051 section 7.1).
pub(super) fn refuse_target(session: &mut Session, error: &mail::Error, doing: &str) -> Tagged {
    match error.kind {
        Kind::NotFound => "NO [TRYCREATE] there is no such folder".to_owned(),
        _ => refuse(session, error, doing),
    }
}

/// Only logs: for what fails behind an answer that is OK all the same.
pub(super) fn note(session: &mut Session, error: &mail::Error, doing: &str) {
    log(&session.references.report(error), error, doing);
}

fn log(reference: &mail::Reference, error: &mail::Error, doing: &str) {
    let printable = doing.chars().map(|c| if c.is_control() { ' ' } else { c });
    let doing: String = printable.take(MAX_DOING).collect();
    match error.kind {
        // A client's own mistake.
        Kind::NotFound | Kind::AlreadyExists => {
            tracing::info!(%reference, kind = ?error.kind, "{doing}: {}", error.chain());
        }
        _ => tracing::warn!(%reference, kind = ?error.kind, "{doing}: {}", error.chain()),
    }
}

/// Code and text.
fn words(error: &mail::Error) -> (&'static str, String) {
    let (code, general) = match error.kind {
        Kind::NotFound => ("NONEXISTENT", "it does not exist"),
        Kind::AlreadyExists => ("ALREADYEXISTS", "there is one of that name already"),
        Kind::NotPermitted => ("NOPERM", "the mail service does not permit this"),
        Kind::OverQuota => ("OVERQUOTA", "the mailbox is full"),
        Kind::TooLarge => ("TOOBIG", "the message is too large"),
        Kind::Throttled { retry_after } => return ("LIMIT", throttled(error, retry_after)),
        Kind::SignInNeeded => {
            ("UNAVAILABLE", "an administrator must sign in to the mail service; try again later")
        }
        Kind::Unavailable => {
            ("UNAVAILABLE", "the mail service can't be reached at present; try again later")
        }
        Kind::OutcomeUnknown => {
            ("UNAVAILABLE", "the mail service did not answer; it may have been done all the same")
        }
        Kind::Unsupported => ("CANNOT", "this mailbox can't do that"),
        Kind::Rejected => ("CANNOT", "the mail service refused this"),
    };
    (code, error.hint.unwrap_or(general).to_owned())
}

fn throttled(error: &mail::Error, retry_after: Option<std::time::Duration>) -> String {
    let text = error.hint.unwrap_or("too many requests at present");
    match retry_after {
        Some(wait) => format!("{text}; try again in {} s", wait.as_secs().max(1)),
        None => format!("{text}; try again later"),
    }
}

/// A `flag-list`. `recent`: with `\Recent`, which IMAP4rev2 does not have.
pub(super) fn flags(flags: &Flags, recent: bool) -> String {
    let system = Flag::ALL.into_iter().filter(|flag| flags.has(*flag));
    let mut all: Vec<&str> = system.map(|flag| flag.name()).collect();
    all.extend(flags.keywords().iter().map(Keyword::as_str));
    if recent {
        all.push("\\Recent");
    }
    format!("({})", all.join(" "))
}

/// The whole line of a FETCH response that tells the flags, with UID, and MODSEQ for clients that
/// know it (RFC 7162 section 3.2). `recent` counts only where `enabled` has it.
pub(super) fn flags_line(seq: u32, entry: &Entry, recent: bool, enabled: Enabled) -> String {
    let flags = flags(&entry.flags, recent && !enabled.rev2);
    let mut line = format!("* {seq} FETCH (UID {} FLAGS {flags}", entry.uid);
    if enabled.condstore {
        // Writing into a String does not fail.
        let _ = write!(line, " MODSEQ ({})", entry.modseq.0);
    }
    line.push_str(")\r\n");
    line
}

#[cfg(test)]
mod tests {
    use super::super::memory::{DATE, uid};
    use super::*;
    use crate::mail::mailbox::{ModSeq, Size};

    fn keyword(text: &str) -> Keyword {
        Keyword::new(text).expect("an atom")
    }

    #[test]
    fn flags_are_listed_in_a_steady_order() {
        let mut all = Flags::from_parts(31, [keyword("zebra"), keyword("$Forwarded")]);
        let system = "\\Answered \\Flagged \\Deleted \\Seen \\Draft";
        assert_eq!(flags(&all, true), format!("({system} $Forwarded zebra \\Recent)"));
        all.set(Flag::Draft, false);
        assert!(!flags(&all, false).contains("\\Draft"));
        assert_eq!(flags(&Flags::default(), false), "()");
        assert_eq!(flags(&Flags::default(), true), "(\\Recent)");
    }

    #[test]
    fn a_line_of_flags_has_what_the_client_knows() {
        let entry = Entry {
            uid: uid(7),
            modseq: ModSeq(12),
            flags: Flags::default().with(Flag::Seen),
            date: time::OffsetDateTime::from_unix_timestamp(DATE).expect("a date"),
            size: Size::Exact(1),
            object_id: [0; 16],
        };
        let line = |enabled| flags_line(3, &entry, true, enabled);
        let mut enabled = Enabled::default();
        assert_eq!(line(enabled), "* 3 FETCH (UID 7 FLAGS (\\Seen \\Recent))\r\n");
        enabled.rev2 = true;
        assert_eq!(line(enabled), "* 3 FETCH (UID 7 FLAGS (\\Seen))\r\n");
        enabled.condstore = true;
        assert_eq!(line(enabled), "* 3 FETCH (UID 7 FLAGS (\\Seen) MODSEQ (12))\r\n");
    }

    #[test]
    fn words_are_one_line_whatever_the_failure() {
        let wait = Kind::Throttled { retry_after: Some(std::time::Duration::from_millis(200)) };
        for kind in [wait, Kind::Throttled { retry_after: None }, Kind::OutcomeUnknown] {
            let (code, text) = words(&mail::Error::new(kind, "secret\r\n"));
            assert!(["LIMIT", "UNAVAILABLE"].contains(&code) && !text.contains("secret"), "{text}");
        }
        assert!(words(&mail::Error::new(wait, "")).1.ends_with("try again in 1 s"));
    }
}
