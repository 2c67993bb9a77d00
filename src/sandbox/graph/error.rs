//! Graph's refusals (facts/graph-mail.md section 13).
//!
//! Rule: a handler names status, code and text; [`super::gate`] adds the request's ids, so that no
//! refusal leaves without them.

use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GraphError {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
    /// Seconds to wait.
    pub retry_after: Option<u64>,
}

impl GraphError {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    pub fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub fn item_not_found() -> Self {
        let text = "The specified object was not found in the store.";
        Self::new(StatusCode::NOT_FOUND, "ErrorItemNotFound", text)
    }

    pub fn access_denied() -> Self {
        let text = "Access is denied. Check credentials and try again.";
        Self::new(StatusCode::FORBIDDEN, "ErrorAccessDenied", text)
    }

    pub fn token(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken", message)
    }

    pub fn unreadable_body() -> Self {
        let text = "The request body could not be read: not JSON, or not of this content type.";
        Self::bad("UnableToDeserializePostBody", text)
    }

    /// The whole body, with the ids of the request it answers.
    pub fn body(&self, request_id: &str, client_request_id: &str, date: &str) -> Value {
        json!({"error": {
            "code": self.code,
            "message": self.message,
            "innerError": {
                "date": date,
                "request-id": request_id,
                "client-request-id": client_request_id,
            },
        }})
    }
}

impl IntoResponse for GraphError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// A path that no route knows.
pub(super) async fn no_such_segment(uri: Uri) -> GraphError {
    if ["/v1.0/me/", "/beta/me/"].iter().any(|start| uri.path().starts_with(start)) {
        let text = "/me request is only valid with delegated authentication flow.";
        return GraphError::bad("BadRequest", text);
    }
    let last = uri.path().rsplit('/').next().unwrap_or_default();
    GraphError::bad("BadRequest", format!("Resource not found for the segment '{last}'."))
}

/// A method that a known path does not have.
pub(super) async fn no_such_method(method: Method) -> GraphError {
    let text = format!("The OData request is not supported: {method}.");
    GraphError::new(StatusCode::METHOD_NOT_ALLOWED, "Request_BadRequest", text)
}

/// MIME is read at `/messages/{id}/$value` alone (facts/graph-mail.md section 6).
pub(super) async fn not_supported() -> GraphError {
    let text = "The OData request is not supported.";
    GraphError::new(StatusCode::METHOD_NOT_ALLOWED, "ErrorInvalidRequest", text)
}
