//! Entra's refusals, with the numbers administrators search for.
//!
//! Rule: code, `error` word and HTTP status belong together in one table, so that no endpoint can
//! mix them (facts/entra-oauth.md section 9).

use axum::http::StatusCode;
use axum::response::Response;
use time::OffsetDateTime;
use time::macros::format_description;

use super::super::accounts::guid;
use super::super::web;

/// A refusal: its AADSTS number and the sentence behind it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub code: u32,
    pub text: String,
}

impl Refusal {
    pub fn new(code: u32, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    fn kind(&self) -> (&'static str, StatusCode) {
        match self.code {
            7_000_215 | 7_000_216 | 7_000_222 | 700_027 | 700_024 | 700_023 => {
                ("invalid_client", StatusCode::UNAUTHORIZED)
            }
            700_016 => ("unauthorized_client", StatusCode::BAD_REQUEST),
            70_011 | 700_022 | 1_002_012 => ("invalid_scope", StatusCode::BAD_REQUEST),
            500_011 => ("invalid_resource", StatusCode::BAD_REQUEST),
            50_196 => ("invalid_grant", StatusCode::BAD_REQUEST),
            70_003 => ("unsupported_grant_type", StatusCode::BAD_REQUEST),
            _ => ("invalid_request", StatusCode::BAD_REQUEST),
        }
    }

    /// The JSON that the real service answers.
    pub fn into_response(self, authority: &str) -> Response {
        let (error, status) = self.kind();
        let (trace, correlation) = (guid(), guid());
        let stamp = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
        let stamp = OffsetDateTime::now_utc().format(&stamp).unwrap_or_default();
        let description = format!(
            "AADSTS{}: {} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {stamp}",
            self.code, self.text
        );
        let body = serde_json::json!({
            "error": error,
            "error_description": description,
            "error_codes": [self.code],
            "timestamp": stamp,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": format!("{authority}/error?code={}", self.code),
        });
        web::json(status, &body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn refusals_carry_everything_support_asks_for() {
        let response = Refusal::new(7_000_215, "Invalid.").into_response("https://login");
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.expect("a body");
        let json: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(json["error"], "invalid_client");
        assert_eq!(json["error_codes"][0], 7_000_215);
        assert_eq!(json["error_uri"], "https://login/error?code=7000215");
        let text = json["error_description"].as_str().expect("text");
        assert!(text.starts_with("AADSTS7000215: Invalid. Trace ID: "), "{text}");
        for field in ["trace_id", "correlation_id", "timestamp"] {
            assert!(text.contains(json[field].as_str().expect("text")), "{field}");
        }
    }
}
