//! What is legal before login: the AUTHORIZATION state (RFC 1939 section 4, RFC 2595 section 4).
//!
//! Danger: a password sent where others can read it. Rule: the state is who can read the
//! connection and whether a login was named; this table alone says what is legal in it.

use crate::frontend::stream::Privacy;
use crate::protocol::pop3::Command;

/// Whether USER has been given.
pub(super) enum State {
    /// Nobody has been named.
    Greeted,
    /// The login that PASS belongs to.
    Named(String),
}

/// The answer to a command that is not legal; `None` when it is.
pub(super) fn forbidden(
    command: &Command,
    privacy: Privacy,
    state: &State,
) -> Option<&'static str> {
    match (command, privacy, state) {
        (Command::Capa | Command::Noop | Command::Quit, ..) => None,
        (Command::Stls, Privacy::Local | Privacy::Exposed, _) => None,
        (Command::Stls, Privacy::Encrypted, _) => Some("-ERR TLS is active"),
        (Command::User(_) | Command::Pass(_) | Command::Auth { .. }, Privacy::Exposed, _) => {
            Some("-ERR [SYS/PERM] start TLS (STLS) before you log in")
        }
        (Command::Pass(_), _, State::Greeted) => Some("-ERR USER comes first"),
        (Command::User(_) | Command::Pass(_) | Command::Auth { .. }, ..) => None,
        (Command::Other(_), ..) => Some("-ERR unknown command, or one for after the login"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::pop3::parse;

    #[test]
    fn every_command_in_every_state() {
        let states = [
            (Privacy::Local, State::Greeted),
            (Privacy::Local, State::Named("a".to_owned())),
            (Privacy::Exposed, State::Greeted),
            (Privacy::Encrypted, State::Greeted),
            (Privacy::Encrypted, State::Named("a".to_owned())),
        ];
        for (line, legal) in [
            ("CAPA", [true; 5]),
            ("NOOP", [true; 5]),
            ("QUIT", [true; 5]),
            ("STLS", [true, true, true, false, false]),
            ("USER a", [true, true, false, true, true]),
            ("PASS a", [false, true, false, false, true]),
            ("AUTH", [true, true, false, true, true]),
            ("AUTH PLAIN", [true, true, false, true, true]),
            ("STAT", [false; 5]),
        ] {
            let command = parse(line.as_bytes()).expect("valid");
            for ((privacy, state), legal) in states.iter().zip(legal) {
                let answer = forbidden(&command, *privacy, state);
                assert_eq!(answer.is_none(), legal, "{line} {privacy:?} {answer:?}");
                assert!(answer.unwrap_or("-ERR").starts_with("-ERR"), "{line}");
            }
        }
    }
}
