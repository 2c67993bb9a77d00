//! What is legal after login (RFC 9051 section 6).
//!
//! Danger: a command that acts on a folder when there is none, or a second login in a session that
//! is somebody's already. Rule: this table alone says what is legal; each verb is in it.

use super::State;
use super::answer::NO_FOLDER;
use crate::protocol::imap::request::Verb;

/// The tagged answer to a command that is not legal; `None` when it is.
pub(super) fn forbidden(verb: &Verb, state: &State) -> Option<&'static str> {
    match verb {
        Verb::BeforeLogin => Some("BAD you have logged in already"),
        Verb::Unknown(_) => Some("BAD unknown command"),
        Verb::Capability
        | Verb::Noop
        | Verb::Logout
        | Verb::Id
        | Verb::Enable(_)
        | Verb::Select(_)
        | Verb::Create(_)
        | Verb::Delete(_)
        | Verb::Rename { .. }
        | Verb::Subscribe(_)
        | Verb::Unsubscribe(_)
        | Verb::List(_)
        | Verb::Lsub { .. }
        | Verb::Namespace
        | Verb::Status { .. }
        | Verb::Append(_)
        | Verb::Idle => None,
        Verb::Check
        | Verb::Close
        | Verb::Unselect
        | Verb::Expunge(_)
        | Verb::Search(_)
        | Verb::Sort { .. }
        | Verb::Thread { .. }
        | Verb::Fetch(_)
        | Verb::Store(_)
        | Verb::Copy(_)
        | Verb::Move(_) => match state {
            State::Selected(_) => None,
            State::Authenticated => Some(NO_FOLDER),
        },
    }
}
