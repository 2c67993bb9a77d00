//! What a missing access token means to a client.
//!
//! Danger: a token that cannot be had, told as a wrong password, makes clients forget theirs.
//! Rule: the client's password is right; it is told to come back, and the log says who must act.

use crate::mail::{Error, Kind};
use crate::oauth;

/// The failure of a token request, in mail words.
pub(crate) fn token_failure(role: &str, error: oauth::Error) -> Error {
    let kind = match (error.fault, error.retry_after) {
        (oauth::Fault::Person, _) => Kind::SignInNeeded,
        (oauth::Fault::Passing, None) => Kind::Unavailable,
        (oauth::Fault::Passing, wait) => Kind::Throttled { retry_after: wait },
    };
    // Most explanations name their code already.
    let code = error.code.as_ref().filter(|code| !error.text.contains(code.as_str()));
    let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
    // The role is named once, and the whole story is in the text: no source to repeat it.
    let story = error.text.strip_prefix(&format!("{role}: ")).unwrap_or(&error.text);
    Error::new(kind, format!("{role}: there is no access token: {story}{code}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_must_act_decides() {
        let wait = Some(Duration::from_secs(7));
        for (fault, retry_after, kind) in [
            (oauth::Fault::Person, wait, Kind::SignInNeeded),
            (oauth::Fault::Passing, None, Kind::Unavailable),
            (oauth::Fault::Passing, wait, Kind::Throttled { retry_after: wait }),
        ] {
            let code = Some("AADSTS7000215".to_owned());
            let error = oauth::Error { fault, text: "the secret".into(), code, retry_after };
            let error = token_failure("Mail.Sending", error);
            assert_eq!(error.kind, kind);
            assert!(error.kind.is_temporary());
            assert_eq!(
                error.text,
                "Mail.Sending: there is no access token: the secret (AADSTS7000215)"
            );
        }
    }
}
