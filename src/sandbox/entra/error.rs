//! Entra's refusals, with the numbers administrators search for.
//!
//! Rule: code, `error` word, status and `suberror` come from one table ([`super::codes`]); what an
//! endpoint may add is a more exact sentence, and the claims that the next sign-in must meet.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use super::super::accounts::guid;
use super::super::web;
use super::codes::{self, Shown};

/// What an answer asks for that carries `claims` and was provoked without any.
const CLAIMS: &str = r#"{"access_token":{"capolids":{"essential":true,"values":["5e0c0d4e-0000-4000-8000-000000000001"]}}}"#;

/// A refusal: its AADSTS number and the sentence behind it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub code: u32,
    pub text: String,
    /// Where the `error` word is not the number's usual one.
    pub word: Option<&'static str>,
    /// Claims to sign in with.
    pub claims: Option<String>,
}

impl Refusal {
    pub fn new(code: u32, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), word: None, claims: None }
    }

    /// With the sentence of the table.
    pub fn known(code: u32) -> Self {
        let text = codes::row(code).map_or("A number that the sandbox does not know.", |r| r.text);
        Self::new(code, text)
    }

    /// With another `error` word.
    pub fn worded(mut self, word: &'static str) -> Self {
        self.word = Some(word);
        self
    }

    /// Where the authorize endpoint shows it.
    pub fn shown(&self) -> Shown {
        codes::row(self.code).map_or(Shown::Page, |row| row.shown)
    }

    /// `error`.
    pub fn error(&self) -> &'static str {
        self.word.or(codes::row(self.code).map(|row| row.error)).unwrap_or("server_error")
    }

    fn status(&self) -> StatusCode {
        let status = codes::row(self.code).map_or(500, |row| row.status);
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// `error_description` with new ids, and these.
    pub fn description(&self) -> Description {
        let (trace, correlation) = (guid(), guid());
        let stamp = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
        let stamp = OffsetDateTime::now_utc().format(&stamp).unwrap_or_default();
        let text = format!(
            "AADSTS{}: {} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {stamp}",
            self.code, self.text
        );
        Description { text, trace, correlation, stamp }
    }

    /// The JSON that the real service answers.
    pub fn into_response(self, authority: &str) -> Response {
        let described = self.description();
        let mut body = json!({
            "error": self.error(),
            "error_description": described.text,
            "error_codes": [self.code],
            "timestamp": described.stamp,
            "trace_id": described.trace,
            "correlation_id": described.correlation,
            "error_uri": format!("{authority}/error?code={}", self.code),
        });
        let row = codes::row(self.code);
        if let Some(suberror) = row.and_then(|row| row.suberror) {
            body["suberror"] = suberror.into();
        }
        let usual = row.filter(|row| row.claims).map(|_| CLAIMS.to_owned());
        if let Some(claims) = self.claims.clone().or(usual) {
            body["claims"] = Value::String(claims);
        }
        web::json(self.status(), &body)
    }
}

/// A described refusal and the ids in it.
pub(super) struct Description {
    pub text: String,
    pub trace: String,
    pub correlation: String,
    pub stamp: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn json_of(refusal: Refusal) -> (StatusCode, Value) {
        let response = refusal.into_response("https://login");
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.expect("a body");
        (status, serde_json::from_slice(&body).expect("JSON"))
    }

    #[tokio::test]
    async fn refusals_carry_everything_support_asks_for() {
        let (status, json) = json_of(Refusal::new(7_000_215, "Invalid.")).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(json["error"], "invalid_client");
        assert_eq!(json["error_codes"][0], 7_000_215);
        assert_eq!(json["error_uri"], "https://login/error?code=7000215");
        let text = json["error_description"].as_str().expect("text");
        assert!(text.starts_with("AADSTS7000215: Invalid. Trace ID: "), "{text}");
        for field in ["trace_id", "correlation_id", "timestamp"] {
            assert!(text.contains(json[field].as_str().expect("text")), "{field}");
        }
        assert!(json.get("claims").is_none() && json.get("suberror").is_none());
    }

    #[tokio::test]
    async fn claims_and_suberrors_come_with_their_numbers() {
        let (status, json) = json_of(Refusal::known(50_076)).await;
        assert_eq!((status.as_u16(), &json["suberror"]), (400, &"basic_action".into()));
        let claims = json["claims"].as_str().expect("claims");
        let claims: Value = serde_json::from_str(claims).expect("JSON in JSON");
        assert_eq!(claims["access_token"]["capolids"]["essential"], true);
        let mut own = Refusal::known(65_001).worded("consent_required");
        own.claims = Some("{}".to_owned());
        let (_, json) = json_of(own).await;
        assert_eq!((&json["claims"], &json["error"]), (&"{}".into(), &"consent_required".into()));
        let (status, json) = json_of(Refusal::known(1)).await;
        assert_eq!((status.as_u16(), &json["error"]), (500, &"server_error".into()));
    }
}
