//! What is legal before login (RFC 3501 section 6.2).
//!
//! Danger: a password sent where others can read it. Rule: the state is who can read the
//! connection; this table alone says what is legal in it.

use crate::frontend::stream::Privacy;
use crate::protocol::imap::Body;

/// The tagged answer, without its tag, to a command that is not legal; `None` when it is.
pub(super) fn forbidden(body: &Body, privacy: Privacy) -> Option<&'static str> {
    match (body, privacy) {
        (Body::Capability | Body::Noop | Body::Logout | Body::Id, _) => None,
        (Body::StartTls, Privacy::Local | Privacy::Exposed) => None,
        (Body::StartTls, Privacy::Encrypted) => Some("BAD TLS is active"),
        (Body::Login(_) | Body::Authenticate { .. }, Privacy::Local | Privacy::Encrypted) => None,
        (Body::Login(_) | Body::Authenticate { .. }, Privacy::Exposed) => {
            Some("NO [PRIVACYREQUIRED] start TLS before you log in")
        }
        (Body::Other(_), _) => Some("BAD unknown command, or one for after the login"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::imap::parse;

    #[test]
    fn every_command_in_every_state() {
        for (command, answers) in [
            ("CAPABILITY", ["", "", ""]),
            ("NOOP", ["", "", ""]),
            ("LOGOUT", ["", "", ""]),
            ("ID NIL", ["", "", ""]),
            ("STARTTLS", ["", "", "BAD "]),
            ("LOGIN a b", ["", "NO [PRIVACYREQUIRED] ", ""]),
            ("AUTHENTICATE PLAIN", ["", "NO [PRIVACYREQUIRED] ", ""]),
            ("SELECT INBOX", ["BAD ", "BAD ", "BAD "]),
        ] {
            let body = parse(format!("a {command}\r\n").as_bytes()).expect("valid").body;
            let states = [Privacy::Local, Privacy::Exposed, Privacy::Encrypted];
            for (privacy, start) in states.into_iter().zip(answers) {
                let answer = forbidden(&body, privacy);
                assert_eq!(answer.is_some(), !start.is_empty(), "{command} {privacy:?}");
                assert!(answer.unwrap_or_default().starts_with(start), "{command} {privacy:?}");
            }
        }
    }
}
