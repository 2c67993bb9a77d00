//! From a token source's failure to mail words.

use crate::mail::{self, Kind};
use crate::oauth::{self, Fault};

/// The failure of role `role` to get an access token.
pub(crate) fn token_failure(role: &str, error: oauth::Error) -> mail::Error {
    let kind = match (error.fault, error.retry_after) {
        (Fault::Person, _) => Kind::SignInNeeded,
        (Fault::Passing, Some(wait)) => Kind::Throttled { retry_after: Some(wait) },
        (Fault::Passing, None) => Kind::Unavailable,
    };
    mail::Error::new(kind, format!("{role}: {}", error.text))
}
