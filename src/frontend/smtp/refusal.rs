//! The one way from a failure in mail words to an SMTP reply.
//!
//! Danger: a client that hears "authentication failed" forgets a password that was right, and one
//! that hears 421 expects us to hang up. Rule: an upstream's failure is never one of the replies
//! about the client's own login (RFC 4954 section 6), it keeps its meaning of temporary or
//! permanent, and it ends with the reference under which the log has the cause.

use crate::mail::{Error, Kind, Reference, SmtpReply};
use crate::protocol::smtp::answer::Answer;

/// Longest text before the reference, so that the line stays within 512 octets.
const MAX_TEXT: usize = 400;

/// What the client hears.
pub(super) fn answer(error: &Error, reference: Reference) -> Answer {
    let (code, (class, subject, detail), text) = match &error.reply {
        // Exchange's 432 4.3.2 is about too many connections.
        Some(reply) if about_the_clients_login(reply) => match error.kind {
            Kind::Throttled { .. } => by_kind(error.kind),
            _ => by_kind(Kind::SignInNeeded),
        },
        // Says that the upstream closes; we do not.
        Some(SmtpReply { code: 421, text, .. }) => (451, (4, 4, 2), text.as_str()),
        Some(reply) if (400..600).contains(&reply.code) => {
            (reply.code, enhanced(reply), reply.text.as_str())
        }
        _ => by_kind(error.kind),
    };
    let text: String = text.chars().take(MAX_TEXT).collect();
    let enhanced = format!("{class}.{subject}.{detail}");
    Answer::new(code, enhanced, format!("{text} (ref {reference})"))
}

fn about_the_clients_login(reply: &SmtpReply) -> bool {
    matches!(reply.code, 432 | 530 | 534 | 535 | 538)
}

/// The class must be the reply code's first digit (RFC 2034 section 4).
fn enhanced(reply: &SmtpReply) -> (u8, u16, u16) {
    let class = if reply.is_temporary() { 4 } else { 5 };
    match reply.enhanced {
        (given, subject, detail) if given == class => (class, subject, detail),
        _ => (class, 0, 0),
    }
}

fn by_kind(kind: Kind) -> (u16, (u8, u16, u16), &'static str) {
    match kind {
        Kind::NotFound => (550, (5, 1, 1), "No such mailbox"),
        Kind::NotPermitted => (550, (5, 7, 1), "The mail service does not permit this"),
        Kind::SignInNeeded => {
            (454, (4, 7, 0), "The mail service does not accept authbridge's own sign-in; try later")
        }
        Kind::Throttled { .. } => (451, (4, 3, 2), "The mail service is busy; try later"),
        Kind::TooLarge => (552, (5, 3, 4), "The message is too large for the mail service"),
        Kind::Unsupported => (550, (5, 3, 3), "The mail service cannot do this"),
        Kind::OverQuota => (452, (4, 2, 2), "The mailbox is full"),
        Kind::Rejected | Kind::AlreadyExists => {
            (554, (5, 6, 0), "The mail service has refused the message")
        }
        Kind::Unavailable => (451, (4, 4, 1), "The mail service cannot be reached; try later"),
        Kind::OutcomeUnknown => {
            (451, (4, 4, 2), "The mail service did not confirm the message; it may have been sent")
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::mail::SessionId;

    const KINDS: [Kind; 9] = [
        Kind::NotFound,
        Kind::NotPermitted,
        Kind::SignInNeeded,
        Kind::Throttled { retry_after: None },
        Kind::TooLarge,
        Kind::Unsupported,
        Kind::Rejected,
        Kind::Unavailable,
        Kind::OutcomeUnknown,
    ];

    fn wire(error: &Error) -> (String, String) {
        let reference = SessionId::random().reference(3);
        let mut out = BytesMut::new();
        answer(error, reference).encode(&mut out);
        (String::from_utf8(out.to_vec()).expect("ASCII"), format!("(ref {reference})\r\n"))
    }

    #[test]
    fn every_kind_keeps_its_meaning_and_is_no_login_failure() {
        for kind in KINDS {
            let (line, reference) = wire(&Error::new(kind, "the cause, for the log alone"));
            let class = if kind.is_temporary() { "4" } else { "5" };
            assert!(line.starts_with(class), "{kind:?}: {line}");
            assert_eq!(&line[4..5], class, "{kind:?}: {line}");
            assert!(!line.starts_with("53") && !line.starts_with("421"), "{kind:?}: {line}");
            assert!(line.ends_with(&reference), "{kind:?}: {line}");
            assert!(!line.contains("the cause"), "{kind:?}: {line}");
        }
    }

    #[test]
    fn an_upstreams_own_reply_is_passed_on_where_it_can_be() {
        let table = [
            ((550, (5, 1, 1), "Unknown user"), "550 5.1.1 Unknown user "),
            ((452, (4, 2, 2), "Full"), "452 4.2.2 Full "),
            ((550, (4, 1, 1), "Odd"), "550 5.0.0 Odd "),
            ((421, (4, 3, 0), "Closing"), "451 4.4.2 Closing "),
            ((535, (5, 7, 8), "Bad credentials"), "454 4.7.0 "),
            ((530, (5, 7, 0), "Log in first"), "454 4.7.0 "),
            ((250, (2, 0, 0), "Fine"), "554 5.6.0 "),
        ];
        for ((code, enhanced, text), expected) in table {
            let reply = SmtpReply::new(code, enhanced, text);
            let (line, _) = wire(&Error::new(Kind::Rejected, "x").with_reply(reply));
            assert!(line.starts_with(expected), "{line}");
        }
    }

    #[test]
    fn no_text_pushes_the_reference_off_the_line() {
        let reply = SmtpReply { code: 550, enhanced: (5, 0, 0), text: "x\r\n".repeat(900) };
        let (line, reference) = wire(&Error::new(Kind::Rejected, "x").with_reply(reply));
        assert!(line.len() <= 512 && line.ends_with(&reference), "{line}");
        assert_eq!(line.matches("\r\n").count(), 1, "{line}");
    }
}
