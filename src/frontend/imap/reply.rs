//! What IMAP clients are told.
//!
//! Danger: mail programs forget the password when they read AUTHENTICATIONFAILED. Rule: only
//! [`refusal`] turns a failure into words, and only a wrong password gets that code.

use crate::frontend::attempts::{Failure, Refusal};
use crate::frontend::conversation::Parting;
use crate::frontend::stream::Privacy;
use crate::mail::Kind;

/// The capabilities before login (RFC 3501 section 7.2.1).
pub(super) fn capabilities(privacy: Privacy) -> &'static str {
    match privacy {
        Privacy::Local => "IMAP4rev1 SASL-IR LITERAL+ ID STARTTLS AUTH=PLAIN AUTH=LOGIN",
        Privacy::Exposed => "IMAP4rev1 SASL-IR LITERAL+ ID STARTTLS LOGINDISABLED",
        Privacy::Encrypted => "IMAP4rev1 SASL-IR LITERAL+ ID AUTH=PLAIN AUTH=LOGIN",
    }
}

/// The tagged answer to a login that failed, without its tag (RFC 5530 for the codes).
pub(super) fn refusal(refusal: Refusal) -> String {
    let Refusal::Failed(Failure { kind, hint, reference }) = refusal else {
        return "NO [AUTHENTICATIONFAILED] wrong login or password".to_owned();
    };
    let (code, text) = match kind {
        Kind::NotPermitted => {
            ("CONTACTADMIN", "the mail service does not permit this; ask your administrator")
        }
        Kind::NotFound => ("CONTACTADMIN", "the mailbox does not exist; ask your administrator"),
        Kind::Unsupported | Kind::TooLarge | Kind::Rejected | Kind::AlreadyExists => {
            ("CANNOT", "this mailbox can't be read over IMAP; ask your administrator")
        }
        Kind::SignInNeeded => {
            ("UNAVAILABLE", "an administrator must sign in to the mail service; try again later")
        }
        Kind::OverQuota => ("OVERQUOTA", "the mailbox is full"),
        Kind::Throttled { .. } => ("UNAVAILABLE", "too many requests at present; try again later"),
        Kind::Unavailable | Kind::OutcomeUnknown => {
            ("UNAVAILABLE", "the mail service can't be reached at present; try again later")
        }
    };
    format!("NO [{code}] {} (ref {reference})", hint.unwrap_or(text))
}

/// The last word, where one is owed.
pub(super) fn farewell(parting: &Parting) -> Option<&'static str> {
    match parting {
        // LOGOUT has been answered.
        Parting::Quit | Parting::Closed | Parting::Broken(_) => None,
        Parting::TimedOut => Some("* BYE you were silent for too long\r\n"),
        Parting::Stopping => Some("* BYE [UNAVAILABLE] shutting down; try again soon\r\n"),
        Parting::TooLong => Some("* BAD the command is too long\r\n* BYE closing\r\n"),
        Parting::TooManyFailures => Some("* BYE too many failures\r\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::SessionId;

    #[test]
    fn only_a_wrong_password_is_called_one() {
        assert!(refusal(Refusal::Wrong).starts_with("NO [AUTHENTICATIONFAILED] "));
        let reference = SessionId::random().reference(1);
        for (kind, start) in [
            (Kind::NotFound, "NO [CONTACTADMIN] "),
            (Kind::NotPermitted, "NO [CONTACTADMIN] "),
            (Kind::SignInNeeded, "NO [UNAVAILABLE] "),
            (Kind::Throttled { retry_after: None }, "NO [UNAVAILABLE] "),
            (Kind::TooLarge, "NO [CANNOT] "),
            (Kind::Unsupported, "NO [CANNOT] "),
            (Kind::Rejected, "NO [CANNOT] "),
            (Kind::Unavailable, "NO [UNAVAILABLE] "),
            (Kind::OutcomeUnknown, "NO [UNAVAILABLE] "),
        ] {
            let text = refusal(Refusal::Failed(Failure { kind, hint: None, reference }));
            assert!(text.starts_with(start), "{text}");
            assert!(text.ends_with(&format!("(ref {reference})")), "{text}");
            assert!(!text.contains("password"), "{text}");
        }
    }

    #[test]
    fn a_hint_stands_in_the_place_of_the_general_words() {
        let reference = SessionId::random().reference(1);
        let hint = Some(crate::config::MAPI_NOTICE);
        let text = refusal(Refusal::Failed(Failure { kind: Kind::Unsupported, hint, reference }));
        let expected = format!("NO [CANNOT] {} (ref {reference})", crate::config::MAPI_NOTICE);
        assert_eq!(text, expected);
    }

    #[test]
    fn an_exposed_connection_offers_no_login() {
        for privacy in [Privacy::Local, Privacy::Exposed, Privacy::Encrypted] {
            let list = capabilities(privacy);
            assert_eq!(list.contains("AUTH="), privacy.allows_login(), "{list}");
            assert_eq!(list.contains("LOGINDISABLED"), !privacy.allows_login(), "{list}");
            assert_eq!(list.contains("STARTTLS"), privacy.offers_tls(), "{list}");
        }
    }
}
