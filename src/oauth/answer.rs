//! The answer of a token endpoint (RFC 6749 section 5.1), as it comes and as it should come.
//!
//! Danger: an answer with status 200 may be a login page of an inspection proxy, half a document, a
//! token of another type, or say that the token lives for -1 or 10^18 seconds. Rule: a token leaves
//! here with a sane lifetime, or not at all.

use std::time::Duration;

use oauth2::{RefreshToken, Scope, TokenType};
use serde::{Deserialize, Deserializer, Serialize};

use super::Error;
use super::http::Answer;
use crate::secret::Secret;

/// Without `expires_in` the life is unknown; short enough to be right for every provider, and the
/// service's refusal replaces the token when it is not.
const ASSUMED_LIFE: Duration = Duration::from_secs(600);

/// No provider issues tokens that last longer (Entra at most 28 h with continuous evaluation).
const MAX_LIFE: Duration = Duration::from_secs(28 * 3600);

/// A token and how long it lives, counted from the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The access token.
    pub secret: Secret,
    /// Its life.
    pub life: Duration,
}

/// RFC 6749 section 5.1, read leniently: `expires_in` also as text, as older endpoints write it.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct TokenAnswer {
    access_token: oauth2::AccessToken,
    #[serde(default)]
    token_type: TokenName,
    #[serde(default, deserialize_with = "seconds", skip_serializing)]
    expires_in: Option<i64>,
}

/// `token_type` as written; compared without case (RFC 6749 section 7.1).
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub(super) struct TokenName(String);

impl TokenType for TokenName {}

impl oauth2::TokenResponse for TokenAnswer {
    type TokenType = TokenName;

    fn access_token(&self) -> &oauth2::AccessToken {
        &self.access_token
    }
    fn token_type(&self) -> &TokenName {
        &self.token_type
    }
    fn expires_in(&self) -> Option<Duration> {
        self.expires_in.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs)
    }
    fn refresh_token(&self) -> Option<&RefreshToken> {
        None
    }
    fn scopes(&self) -> Option<&Vec<Scope>> {
        None
    }
}

impl TokenAnswer {
    /// The token, if it is one that can be used.
    pub fn granted(self, role: &str, provider: &str) -> Result<Granted, Error> {
        let refuse = |problem: &str| {
            Err(Error::passing(format!(
                "{role}: {provider} answered, but {problem}; it is tried again"
            )))
        };
        let secret = Secret::new(self.access_token.secret().as_str());
        if secret.is_empty() {
            return refuse("without an access token");
        }
        // The token goes into one line of SMTP, IMAP or HTTP (RFC 6750 section 2.1).
        if !secret.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            return refuse("the access token holds characters that no token may hold");
        }
        // Missing although RFC 6749 demands it: all that these providers issue are bearer tokens.
        if !self.token_type.0.is_empty() && !self.token_type.0.eq_ignore_ascii_case("bearer") {
            return refuse("with a token that is not of type Bearer");
        }
        let life = match self.expires_in {
            None => ASSUMED_LIFE,
            Some(seconds) if seconds <= 0 => {
                return refuse("with a token that has already expired");
            }
            Some(seconds) => Duration::from_secs(seconds.unsigned_abs()).min(MAX_LIFE),
        };
        Ok(Granted { secret, life })
    }
}

/// Status 200 but no token in it.
pub(super) fn unreadable(role: &str, provider: &str, answer: &Answer) -> Error {
    let what = match (answer.body.is_empty(), answer.body.len() >= super::http::MAX_ANSWER_BYTES) {
        (true, _) => "nothing".to_owned(),
        (_, true) => format!("far too much ({})", answer.media_type()),
        _ => format!("something that is no token ({})", answer.media_type()),
    };
    Error::passing(format!(
        "{role}: {provider} answered {} with {what}; if an inspection proxy stands in between, let \
         it pass these requests unchanged",
        answer.status.as_u16()
    ))
}

/// Any other status without an OAuth error in it.
pub(super) fn unexplained(role: &str, provider: &str, answer: &Answer, address_key: &str) -> Error {
    let status = answer.status;
    if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
        let reason = if status.as_u16() == 429 { "has too much to do" } else { "has a failure" };
        let text =
            format!("{role}: {provider} {reason} (HTTP {}); it is tried again", status.as_u16());
        return Error { retry_after: answer.retry_after(), ..Error::passing(text) };
    }
    let text = format!(
        "{role}: the address of {provider} answered HTTP {} without an OAuth error ({}): check \
         {address_key}, and any proxy in between",
        status.as_u16(),
        answer.media_type()
    );
    Error::person(text)
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    use serde_json::Value;
    // What is no number counts as missing: the token itself may be good.
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => number
            .as_i64()
            .or_else(|| number.as_u64().map(|_| i64::MAX))
            .or_else(|| number.as_f64().map(|seconds| seconds as i64)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Fault;
    use super::*;

    fn granted(json: &str) -> Result<Granted, Error> {
        let answer: TokenAnswer = serde_json::from_str(json).expect("parses");
        answer.granted("Mail.Sending", "Provider")
    }

    #[test]
    fn lifetimes_come_in_many_forms() {
        for (expires_in, life) in [
            ("3599", 3599),
            ("\"3599\"", 3599),
            ("\" 60 \"", 60),
            ("3599.9", 3599),
            ("null", 600),
            ("\"soon\"", 600),
            ("[]", 600),
            ("1000000000000000000", 28 * 3600),
            ("18446744073709551615", 28 * 3600),
            ("1e300", 28 * 3600),
        ] {
            let json = format!(
                r#"{{"access_token":"a","token_type":"Bearer","expires_in":{expires_in}}}"#
            );
            assert_eq!(granted(&json).expect(expires_in).life, Duration::from_secs(life));
        }
        assert_eq!(granted(r#"{"access_token":"a"}"#).expect("good").life, ASSUMED_LIFE);
    }

    #[test]
    fn what_is_no_usable_token_is_refused() {
        for (json, word) in [
            (r#"{"access_token":"","token_type":"Bearer"}"#, "without an access token"),
            (r#"{"access_token":"a\r\nb","token_type":"Bearer"}"#, "characters"),
            (r#"{"access_token":"a b","token_type":"bearer"}"#, "characters"),
            (r#"{"access_token":"a","token_type":"pop"}"#, "Bearer"),
            (r#"{"access_token":"a","expires_in":-1}"#, "expired"),
            (r#"{"access_token":"a","expires_in":0}"#, "expired"),
            (r#"{"access_token":"a","expires_in":"-9"}"#, "expired"),
        ] {
            let error = granted(json).expect_err(json);
            assert!(error.text.contains(word) && error.text.contains("Mail.Sending"), "{error}");
            assert_eq!(error.fault, Fault::Passing);
        }
    }

    #[test]
    fn debug_shows_no_token() {
        let json = r#"{"access_token":"t0ken","token_type":"BEARER"}"#;
        let answer: TokenAnswer = serde_json::from_str(json).expect("parses");
        assert!(!format!("{answer:?}").contains("t0ken"));
        assert!(!format!("{:?}", granted(json)).contains("t0ken"));
    }
}
