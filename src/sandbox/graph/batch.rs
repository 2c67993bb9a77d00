//! `$batch`: up to 20 requests in one (Graph page concepts/json-batching).
//!
//! Danger: a stand-in that runs a batch as one harmless request hides that parts are throttled,
//! answered in any order and refused one by one. Rule: every part passes the same gate as a request
//! of its own, with its own headers and no others; four run at a time and take the mailbox's slots;
//! the whole is refused only when it can't be read (facts/graph-mail.md section 10).

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use futures_util::StreamExt as _;
use serde_json::{Map, Value, json};

use super::super::faults::What;
use super::super::store::Cloud;
use super::super::web;
use super::error::GraphError;
use super::gate;

/// Requests in a batch.
const MAX_PARTS: usize = 20;
/// The largest answer of a part: a message's MIME.
const MAX_ANSWER: usize = 256 << 20;

/// One request of a batch.
struct Part {
    id: String,
    method: Method,
    /// With the version in front.
    target: String,
    headers: HeaderMap,
    body: Vec<u8>,
    depends_on: Vec<String>,
}

pub(super) fn is_batch(path: &str) -> bool {
    path == "/v1.0/$batch" || path == "/beta/$batch"
}

pub(super) async fn answer(cloud: &Arc<Cloud>, request: Request, next: Next) -> Response {
    let client_id = request.headers().get("client-request-id").cloned();
    let response = match run(cloud, request, next).await {
        Ok(value) => web::json(StatusCode::OK, &value),
        Err(error) => error.into_response(),
    };
    gate::finished(response, client_id)
}

async fn run(cloud: &Arc<Cloud>, request: Request, next: Next) -> Result<Value, GraphError> {
    gate::caller(cloud, request.headers())?;
    if request.method() != Method::POST {
        let text = "The OData request is not supported.";
        return Err(GraphError::new(StatusCode::METHOD_NOT_ALLOWED, "Request_BadRequest", text));
    }
    if web::media_type(request.headers()) != "application/json" {
        return Err(GraphError::unreadable_body());
    }
    let version = request.uri().path().split('/').nth(1).unwrap_or_default().to_owned();
    let token = request.headers().get(header::AUTHORIZATION).cloned();
    let body = gate::limited(request.into_body()).await?;
    let parts = read(&body, &version, token.as_ref())?;
    let at_once = cloud.state().limits.parts_at_once.max(1);
    let mut answers = if parts.iter().any(|part| !part.depends_on.is_empty()) {
        in_order(cloud, parts, &next).await
    } else {
        let answers = parts.into_iter().map(|part| one(cloud, part, next.clone()));
        futures_util::stream::iter(answers).buffered(at_once).collect().await
    };
    // Any order is allowed: never the one of the requests, when there is another.
    answers.reverse();
    let middle = answers.len() / 3;
    answers.rotate_left(middle);
    Ok(json!({"responses": answers}))
}

/// One after another; what depends on a failure fails.
async fn in_order(cloud: &Arc<Cloud>, parts: Vec<Part>, next: &Next) -> Vec<Value> {
    let mut failed: BTreeSet<String> = BTreeSet::new();
    let mut answers = Vec::new();
    for part in parts {
        let id = part.id.clone();
        let answer = if part.depends_on.iter().any(|id| failed.contains(id)) {
            let text = "Failed Dependency: a request that this one depends on has failed.";
            let error = json!({"error": {"code": "FailedDependency", "message": text}});
            json!({"id": id, "status": 424, "headers": {}, "body": error})
        } else {
            one(cloud, part, next.clone()).await
        };
        if answer["status"].as_u64().is_none_or(|status| status >= 400) {
            failed.insert(id);
        }
        answers.push(answer);
    }
    answers
}

async fn one(cloud: &Arc<Cloud>, part: Part, next: Next) -> Value {
    let place = super::place_of(&part.method, part.target.split('?').next().unwrap_or_default());
    let fits = |what: &What| matches!(what, What::Status(..) | What::Latency(_));
    let fault = cloud.state().faults.take(place, fits);
    let response = match fault {
        Some(What::Status(code, retry_after)) => web::status(code, retry_after),
        Some(What::Latency(time)) => {
            tokio::time::sleep(time).await;
            carry_out(cloud, &part, next).await
        }
        _ => carry_out(cloud, &part, next).await,
    };
    written(part.id, response).await
}

async fn carry_out(cloud: &Arc<Cloud>, part: &Part, next: Next) -> Response {
    let request = Request::builder().method(part.method.clone()).uri(&part.target);
    match request.body(Body::from(part.body.clone())) {
        Ok(mut request) => {
            request.headers_mut().clone_from(&part.headers);
            gate::answer(cloud, request, next).await
        }
        Err(_) => {
            let error = GraphError::bad("BadRequest", "The url of the request can't be read.");
            gate::finished(error.into_response(), None)
        }
    }
}

/// JSON stays JSON, all else becomes base64.
async fn written(id: String, response: Response) -> Value {
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, MAX_ANSWER).await.unwrap_or_default();
    let is_json = web::media_type(&parts.headers) == "application/json";
    let mut headers = Map::new();
    for (name, value) in &parts.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.insert(title_case(name.as_str()), value.into());
    }
    let mut answer = json!({"id": id, "status": parts.status.as_u16(), "headers": headers});
    if !bytes.is_empty() {
        let json = serde_json::from_slice(&bytes).ok().filter(|_| is_json);
        answer["body"] = json.unwrap_or_else(|| STANDARD.encode(&bytes).into());
    }
    answer
}

/// `Retry-After`, as the service writes names in a batch.
fn title_case(name: &str) -> String {
    let word = |word: &str| match word.split_at_checked(1) {
        Some((first, rest)) => first.to_ascii_uppercase() + rest,
        None => String::new(),
    };
    name.split('-').map(word).collect::<Vec<_>>().join("-")
}

fn read(body: &[u8], version: &str, token: Option<&HeaderValue>) -> Result<Vec<Part>, GraphError> {
    let json: Value = serde_json::from_slice(body).map_err(|_| GraphError::unreadable_body())?;
    let list = json["requests"].as_array().filter(|list| !list.is_empty());
    let list = list.ok_or_else(|| invalid("Invalid batch payload format."))?;
    if list.len() > MAX_PARTS {
        return Err(invalid("Number of batch request steps exceeds the maximum value of 20."));
    }
    let mut ids = BTreeSet::new();
    let mut parts = Vec::new();
    for one in list {
        let part = read_part(one, version, token)?;
        if let Some(id) = part.depends_on.iter().find(|id| !ids.contains(&id.to_lowercase())) {
            return Err(invalid(&format!(
                "The request depends on '{id}', which does not precede."
            )));
        }
        if !ids.insert(part.id.to_lowercase()) {
            return Err(invalid("Request Id has to be unique in a batch."));
        }
        parts.push(part);
    }
    Ok(parts)
}

fn invalid(text: &str) -> GraphError {
    GraphError::bad("BadRequest", text)
}

fn read_part(json: &Value, version: &str, token: Option<&HeaderValue>) -> Result<Part, GraphError> {
    let text = |name: &str| json[name].as_str().filter(|text| !text.is_empty());
    let id = text("id").ok_or_else(|| invalid("A request has no id."))?;
    let method = text("method").and_then(|method| method.to_ascii_uppercase().parse().ok());
    let method: Method = method.ok_or_else(|| invalid("A request has no method."))?;
    let url = text("url").ok_or_else(|| invalid("A request has no url."))?;
    let lower = url.to_ascii_lowercase();
    if lower.starts_with("https:") || lower.starts_with("http:") || lower.starts_with("//") {
        return Err(invalid("The url must be relative to the version of the batch."));
    }
    let url = url.trim_start_matches('/');
    if url.starts_with("$batch") {
        return Err(invalid("A batch can't be part of a batch."));
    }
    let mut headers = own_headers(&json["headers"])?;
    let body = match &json["body"] {
        Value::Null => Vec::new(),
        body => body_of(body, &headers)?,
    };
    // Found in the wild as one text for both.
    let writes = [Method::POST, Method::PATCH, Method::PUT].contains(&method);
    if writes && (body.is_empty() || !headers.contains_key(header::CONTENT_TYPE)) {
        let text = format!("Write request id : {id} does not contain Content-Type header or body.");
        return Err(invalid(&text));
    }
    if let Some(token) = token {
        headers.insert(header::AUTHORIZATION, token.clone());
    }
    let depends_on = json["dependsOn"].as_array().into_iter().flatten();
    let depends_on = depends_on.filter_map(|id| id.as_str().map(str::to_owned)).collect();
    let target = format!("/{version}/{url}");
    Ok(Part { id: id.to_owned(), method, target, headers, body, depends_on })
}

fn own_headers(json: &Value) -> Result<HeaderMap, GraphError> {
    let mut headers = HeaderMap::new();
    for (name, value) in json.as_object().into_iter().flatten() {
        let broken = || invalid("A header of a request can't be read.");
        let value = value.as_str().ok_or_else(broken)?;
        let name: HeaderName = name.parse().map_err(|_| broken())?;
        headers.insert(name, HeaderValue::from_str(value).map_err(|_| broken())?);
    }
    Ok(headers)
}

/// JSON as it is; anything else is base64 in a text.
fn body_of(body: &Value, headers: &HeaderMap) -> Result<Vec<u8>, GraphError> {
    if !headers.contains_key(header::CONTENT_TYPE) {
        return Ok(body.to_string().into_bytes());
    }
    if web::media_type(headers) == "application/json" {
        return Ok(body.to_string().into_bytes());
    }
    let text = body.as_str().ok_or_else(|| invalid("A body that is no JSON must be base64."))?;
    let decoded = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text));
    let decoded = decoded.or_else(|_| URL_SAFE_NO_PAD.decode(text));
    decoded.map_err(|_| invalid("A body that is no JSON must be base64."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(requests: Value) -> Result<Vec<Part>, GraphError> {
        read(json!({"requests": requests}).to_string().as_bytes(), "v1.0", None)
    }

    #[test]
    fn parts_are_read_strictly() {
        let get = |id: &str| json!({"id": id, "method": "GET", "url": "/users/a/messages"});
        let parts = of(json!([get("a"), get("b")])).expect("good");
        assert_eq!(parts[1].target, "/v1.0/users/a/messages");
        let kind = json!({"Content-Type": "application/json"});
        let mail = json!({"content-type": "text/plain"});
        let bad = [
            json!([]),
            json!([get("a"), get("A")]),
            json!((0..21).map(|n| get(&n.to_string())).collect::<Vec<_>>()),
            json!([{"method": "GET", "url": "/x"}]),
            json!([{"id": "1", "url": "/x"}]),
            json!([{"id": "1", "method": "GET"}]),
            json!([{"id": "1", "method": "GET", "url": "https://graph.microsoft.com/v1.0/x"}]),
            json!([{"id": "1", "method": "POST", "url": "/$batch", "headers": kind, "body": {}}]),
            json!([{"id": "1", "method": "POST", "url": "/x", "body": {}}]),
            json!([{"id": "1", "method": "POST", "url": "/x", "headers": kind}]),
            json!([{"id": "1", "method": "POST", "url": "/x", "headers": mail, "body": "*"}]),
            json!([{"id": "1", "method": "GET", "url": "/x", "dependsOn": ["2"]}, get("2")]),
        ];
        for requests in bad {
            assert!(of(requests.clone()).is_err(), "{requests}");
        }
        let body = json!([{"id": "1", "method": "POST", "url": "x", "headers": mail,
            "body": "YWI="}]);
        assert_eq!(of(body).expect("good")[0].body, b"ab");
    }

    #[test]
    fn names_of_fields_are_capitals() {
        assert_eq!(title_case("retry-after"), "Retry-After");
    }
}
