//! The SASL messages of PLAIN, LOGIN and XOAUTH2.
//!
//! Danger: a user name with a NUL or a control character in it changes the meaning of what we send
//! upstream. Rule: what a client sends is split exactly as RFC 4616 says and nothing is guessed;
//! what goes upstream is refused when it holds the mechanism's own separators.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::secret::Secret;

/// A login and password that a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The login.
    pub login: String,
    /// The password.
    pub password: Secret,
}

/// `VXNlcm5hbWU6`, the first challenge of LOGIN (draft-murchison-sasl-login).
pub const LOGIN_USERNAME_CHALLENGE: &str = "VXNlcm5hbWU6";
/// `UGFzc3dvcmQ6`, the second challenge of LOGIN.
pub const LOGIN_PASSWORD_CHALLENGE: &str = "UGFzc3dvcmQ6";

/// Decodes a line of base64; `=` alone is the empty text (RFC 4954 section 4). `None` when it is
/// not base64 or not UTF-8.
pub fn decode_line(line: &str) -> Option<Secret> {
    if line == "=" {
        return Some(Secret::new(""));
    }
    let bytes = STANDARD.decode(line.trim_end()).ok()?;
    String::from_utf8(bytes).ok().map(Secret::new)
}

/// Splits a PLAIN message: `[authzid] NUL authcid NUL passwd` (RFC 4616 section 2). An authorization
/// identity other than the login is refused: nobody acts for somebody else here.
pub fn decode_plain(message: &Secret) -> Option<Credentials> {
    let mut parts = message.expose().split('\0');
    let (authzid, login, password) = (parts.next()?, parts.next()?, parts.next()?);
    let other = !authzid.is_empty() && !authzid.eq_ignore_ascii_case(login);
    if parts.next().is_some() || login.is_empty() || other {
        return None;
    }
    Some(Credentials { login: login.to_owned(), password: Secret::new(password) })
}

/// The base64 of a PLAIN message; `None` when login or password hold a NUL.
pub fn encode_plain(login: &str, password: &Secret) -> Option<Secret> {
    if login.contains('\0') || password.expose().contains('\0') {
        return None;
    }
    let message = format!("\0{login}\0{}", password.expose());
    Some(Secret::new(STANDARD.encode(message)))
}

/// The base64 of an XOAUTH2 message (facts/google-oauth.md section 3): `user=` address ^A
/// `auth=Bearer ` token ^A ^A. `None` when one of them holds a control character.
pub fn encode_xoauth2(user: &str, token: &Secret) -> Option<Secret> {
    if user.chars().chain(token.expose().chars()).any(char::is_control) {
        return None;
    }
    let message = format!("user={user}\u{1}auth=Bearer {}\u{1}\u{1}", token.expose());
    Some(Secret::new(STANDARD.encode(message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_splits_in_exactly_three() {
        let decode = |text: &str| {
            decode_plain(&Secret::new(text)).map(|c| (c.login, c.password.expose().to_owned()))
        };
        let some = |login: &str, password: &str| Some((login.to_owned(), password.to_owned()));
        assert_eq!(decode("\0tim\0tanstaaftanstaaf"), some("tim", "tanstaaftanstaaf"));
        assert_eq!(decode("Tim\0tim\0x"), some("tim", "x"));
        assert_eq!(decode("\0tim\0"), some("tim", ""));
        for bad in ["", "tim", "\0tim", "\0\0x", "Ursel\0Kurt\0xipj3plmq", "\0a\0b\0c"] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn lines_are_strict_base64_of_utf8() {
        let decode = |line: &str| decode_line(line).map(|text| text.expose().to_owned());
        assert_eq!(decode("="), Some(String::new()));
        assert_eq!(decode(""), Some(String::new()));
        assert_eq!(decode("dGlt"), Some("tim".to_owned()));
        assert_eq!(decode("d G l t"), None);
        assert_eq!(decode("/w=="), None);
        assert_eq!(decode("*"), None);
    }

    #[test]
    fn what_goes_upstream_round_trips_and_refuses_separators() {
        let plain = encode_plain("a@b", &Secret::new("p w")).expect("no NUL");
        let back = decode_plain(&decode_line(plain.expose()).expect("base64")).expect("plain");
        assert_eq!((back.login.as_str(), back.password.expose()), ("a@b", "p w"));
        let blob = encode_xoauth2("someuser@example.com", &Secret::new("ya29.vF9dft4qmTc2Nvb3"));
        assert_eq!(
            blob.expect("clean").expose(),
            "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjMBAQ=="
        );
        assert!(encode_xoauth2("a\u{1}b", &Secret::new("t")).is_none());
        assert!(encode_plain("a", &Secret::new("b\0c")).is_none());
    }
}
