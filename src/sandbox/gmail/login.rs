//! Who gets into a mailbox over SMTP, IMAP and POP3 (facts/google-oauth.md section 3).
//!
//! Danger: a token good for one user that opens another's mailbox. Rule: the user named must be the
//! token's subject, the token must be Gmail's and alive; a mailbox that takes tokens takes no
//! password, whatever the password.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::accounts::{GMAIL_SCOPE, Provider};
use super::super::faults::Place;
use super::super::store::{Login, State};
use super::Door;

/// Exchange: the token is good and opens no such mailbox. IMAP takes such a login and refuses the
/// next command (facts/entra-oauth.md section 7).
pub(super) const NOT_CONNECTED: &str = "not connected";

/// What came of a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Let in, to the mailbox of this address.
    In(String),
    /// This mailbox takes tokens alone.
    TokenNeeded,
    /// Wrong.
    Refused,
}

/// Checks a login and password, and records the attempt.
pub(super) fn password(
    door: &Door,
    mechanism: &'static str,
    login: &str,
    password: &str,
) -> Outcome {
    let refused = door.refuses_login();
    let mut state = door.cloud.state();
    let outcome = match state.mailbox(login).map(|mailbox| (&mailbox.provider, &mailbox.address)) {
        // Basic authentication is gone there.
        _ if refused.is_some() || door.is_exchange() => Outcome::Refused,
        Some((Provider::Classic { password: right }, address)) if right == password => {
            Outcome::In(address.clone())
        }
        Some((Provider::Google | Provider::Microsoft { .. }, _)) => Outcome::TokenNeeded,
        _ => Outcome::Refused,
    };
    record(&mut state, door, mechanism, login, matches!(outcome, Outcome::In(_)));
    outcome
}

/// Checks an XOAUTH2 message. A refusal is the status in the challenge.
pub(super) fn xoauth2(door: &Door, blob: &[u8]) -> Result<String, &'static str> {
    let refused = door.refuses_login();
    let message = STANDARD.decode(blob).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let (user, token) = message.as_deref().and_then(split).ok_or("400")?;
    let mut state = door.cloud.state();
    let checked = if door.is_exchange() {
        check_exchange(&state, door.place, user, token)
    } else {
        check(&state, user, token)
    };
    let result = checked.and_then(|address| refused.map_or(Ok(address), Err));
    record(&mut state, door, "XOAUTH2", user, result.is_ok());
    result
}

/// `user=` address ^A `auth=Bearer ` token ^A ^A.
fn split(message: &str) -> Option<(&str, &str)> {
    let (user, rest) = message.strip_prefix("user=")?.split_once('\u{1}')?;
    let token = rest.strip_prefix("auth=Bearer ")?.strip_suffix("\u{1}\u{1}")?;
    let clean = |text: &str| !text.is_empty() && !text.contains('\u{1}');
    (clean(user) && clean(token)).then_some((user, token))
}

fn check(state: &State, user: &str, token: &str) -> Result<String, &'static str> {
    let token = state.token(token).filter(|token| token.audience == GMAIL_SCOPE).ok_or("401")?;
    if !token.subject.eq_ignore_ascii_case(user) {
        return Err("400");
    }
    let mailbox = state.mailbox(user).filter(|mailbox| {
        matches!(mailbox.provider, Provider::Google) && mailbox.address.eq_ignore_ascii_case(user)
    });
    mailbox.map(|mailbox| mailbox.address.clone()).ok_or("400")
}

/// An application's own token opens every mailbox of its tenant, for the protocol of its role; a
/// user's opens their own and those they have full access to (facts/entra-oauth.md section 7).
fn check_exchange(
    state: &State,
    place: Place,
    user: &str,
    token: &str,
) -> Result<String, &'static str> {
    let audiences = ["https://outlook.office365.com", "https://outlook.office.com"];
    let (role, scope) = match place {
        Place::Smtp => ("SMTP.SendAsApp", "SMTP.Send"),
        Place::Imap => ("IMAP.AccessAsApp", "IMAP.AccessAsUser.All"),
        _ => ("POP.AccessAsApp", "POP.AccessAsUser.All"),
    };
    let token = state.token(token).filter(|token| {
        audiences.contains(&token.audience.as_str())
            && (token.roles.iter().any(|has| has == role)
                || token.scopes.iter().any(|has| has == scope))
    });
    let token = token.ok_or("401")?;
    let mailbox = state.mailbox(user).filter(|mailbox| {
        mailbox.tenant() == token.tenant
            && (token.subject.is_empty() || mailbox.opens_for(&token.subject))
    });
    mailbox.map(|mailbox| mailbox.address.clone()).ok_or(NOT_CONNECTED)
}

fn record(state: &mut State, door: &Door, mechanism: &'static str, user: &str, accepted: bool) {
    let login = Login { at: door.place, user: user.to_owned(), mechanism, accepted };
    state.counters.logins.push(login);
}

/// The challenge that follows a refused token.
pub(super) fn challenge(status: &str) -> String {
    let json = format!(r#"{{"status":"{status}","schemes":"Bearer","scope":"{GMAIL_SCOPE}"}}"#);
    STANDARD.encode(json)
}

/// `authzid NUL authcid NUL passwd` (RFC 4616 section 2) from base64.
pub(super) fn plain(blob: &[u8]) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(blob).ok()?).ok()?;
    let mut parts = text.split('\0');
    let (_, login, password) = (parts.next()?, parts.next()?, parts.next()?);
    let good = parts.next().is_none() && !login.is_empty();
    good.then(|| (login.to_owned(), password.to_owned()))
}

/// One line of the LOGIN mechanism.
pub(super) fn text(blob: &[u8]) -> Option<String> {
    String::from_utf8(STANDARD.decode(blob).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_xoauth2_message_is_split_exactly() {
        let good = "user=a@x\u{1}auth=Bearer t\u{1}\u{1}";
        assert_eq!(split(good), Some(("a@x", "t")));
        for bad in [
            "",
            "user=a@x\u{1}auth=Bearer t\u{1}",
            "user=a@x\u{1}auth=bearer t\u{1}\u{1}",
            "user=\u{1}auth=Bearer t\u{1}\u{1}",
            "user=a@x\u{1}auth=Bearer \u{1}\u{1}",
            "user=a@x\u{1}auth=Bearer t\u{1}\u{1}\u{1}",
            "user=a@x auth=Bearer t\u{1}\u{1}",
        ] {
            assert_eq!(split(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_challenge_is_google_s_json() {
        let text = STANDARD.decode(challenge("401")).expect("base64");
        let json: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        assert_eq!((&json["status"], &json["schemes"]), (&"401".into(), &"Bearer".into()));
        assert_eq!(json["scope"], "https://mail.google.com/");
    }

    #[test]
    fn plain_has_three_parts() {
        let encode = |text: &str| STANDARD.encode(text).into_bytes();
        assert_eq!(plain(&encode("\0a\0b")), Some(("a".into(), "b".into())));
        for bad in ["a\0b", "\0\0b", "\0a\0b\0c", ""] {
            assert_eq!(plain(&encode(bad)), None, "{bad:?}");
        }
        assert_eq!(plain(b"*"), None);
    }
}
