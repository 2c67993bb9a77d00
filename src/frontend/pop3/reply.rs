//! What POP3 clients are told.
//!
//! Danger: mail programs ask for the password again when they read `[AUTH]`. Rule: only
//! [`refusal`] turns a failure into words, and only a wrong password gets that code (RFC 3206).

use crate::frontend::attempts::{Failure, Refusal};
use crate::frontend::conversation::Parting;
use crate::frontend::stream::Privacy;
use crate::mail::Kind;

/// The capabilities before login (RFC 2449 section 6, RFC 3206, RFC 5034).
pub(super) fn capabilities(privacy: Privacy) -> Vec<&'static str> {
    let mut list = vec!["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING"];
    if privacy.allows_login() {
        list.extend(["USER", "SASL PLAIN LOGIN"]);
    }
    if privacy.offers_tls() {
        list.push("STLS");
    }
    list.push("IMPLEMENTATION authbridge");
    list
}

/// The capabilities on a maildrop that we serve.
pub(super) const SERVED: [&str; 7] = [
    "TOP",
    "UIDL",
    "RESP-CODES",
    "AUTH-RESP-CODE",
    "PIPELINING",
    "EXPIRE NEVER",
    "IMPLEMENTATION authbridge",
];

/// The answer to a login that failed.
pub(super) fn refusal(refusal: Refusal) -> String {
    let Refusal::Failed(Failure { kind, hint, reference }) = refusal else {
        return "-ERR [AUTH] wrong login or password".to_owned();
    };
    let code = if kind.is_temporary() { "SYS/TEMP" } else { "SYS/PERM" };
    let text = match kind {
        Kind::NotPermitted => "the mail service does not permit this; ask your administrator",
        Kind::NotFound => "the mailbox does not exist; ask your administrator",
        Kind::Unsupported | Kind::TooLarge | Kind::Rejected | Kind::AlreadyExists => {
            "this mailbox can't be read over POP3; ask your administrator"
        }
        Kind::SignInNeeded => "an administrator must sign in to the mail service; try again later",
        Kind::OverQuota => "the mailbox is full",
        Kind::Throttled { .. } => "too many requests at present; try again later",
        Kind::Unavailable | Kind::OutcomeUnknown => {
            "the mail service can't be reached at present; try again later"
        }
    };
    format!("-ERR [{code}] {} (ref {reference})", hint.unwrap_or(text))
}

/// The last word, where one is owed.
pub(super) fn farewell(parting: &Parting) -> Option<&'static str> {
    match parting {
        // QUIT has been answered. RFC 1939 section 3: after a time-out the server says nothing.
        Parting::Quit | Parting::Closed | Parting::Broken(_) | Parting::TimedOut => None,
        Parting::Stopping => Some("-ERR [SYS/TEMP] shutting down; try again soon\r\n"),
        Parting::TooLong => Some("-ERR the line is too long\r\n"),
        Parting::TooManyFailures => Some("-ERR too many failures, closing\r\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::SessionId;

    #[test]
    fn only_a_wrong_password_is_called_one() {
        assert!(refusal(Refusal::Wrong).starts_with("-ERR [AUTH] "));
        let reference = SessionId::random().reference(3);
        for (kind, start) in [
            (Kind::NotFound, "-ERR [SYS/PERM] "),
            (Kind::NotPermitted, "-ERR [SYS/PERM] "),
            (Kind::SignInNeeded, "-ERR [SYS/TEMP] "),
            (Kind::Throttled { retry_after: None }, "-ERR [SYS/TEMP] "),
            (Kind::TooLarge, "-ERR [SYS/PERM] "),
            (Kind::Unsupported, "-ERR [SYS/PERM] "),
            (Kind::Rejected, "-ERR [SYS/PERM] "),
            (Kind::Unavailable, "-ERR [SYS/TEMP] "),
            (Kind::OutcomeUnknown, "-ERR [SYS/TEMP] "),
        ] {
            let text = refusal(Refusal::Failed(Failure { kind, hint: None, reference }));
            assert!(text.starts_with(start), "{text}");
            assert!(text.ends_with(&format!("(ref {reference})")), "{text}");
            assert!(text.len() < 510 && !text.contains("password"), "{text}");
        }
    }

    #[test]
    fn a_hint_stands_in_the_place_of_the_general_words() {
        let reference = SessionId::random().reference(1);
        let hint = Some(crate::config::MAPI_NOTICE);
        let text = refusal(Refusal::Failed(Failure { kind: Kind::Unsupported, hint, reference }));
        let expected = format!("-ERR [SYS/PERM] {} (ref {reference})", crate::config::MAPI_NOTICE);
        assert_eq!(text, expected);
    }

    #[test]
    fn an_exposed_connection_offers_no_login() {
        for privacy in [Privacy::Local, Privacy::Exposed, Privacy::Encrypted] {
            let list = capabilities(privacy);
            assert_eq!(list.contains(&"USER"), privacy.allows_login(), "{list:?}");
            assert_eq!(list.contains(&"SASL PLAIN LOGIN"), privacy.allows_login(), "{list:?}");
            assert_eq!(list.contains(&"STLS"), privacy.offers_tls(), "{list:?}");
        }
    }
}
