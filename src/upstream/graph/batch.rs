//! Many requests in one (Graph page `concepts/json-batching`).
//!
//! Danger: the outer 200 hides parts that were refused or throttled; a part whose answer is missing
//! may have been done. Rule: every part has its own [`Answer`], in the order asked; throttled parts are
//! made again after the time that they name; what must not be made twice is made again only when the
//! service says that it was not done.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::ask::{Ask, Persistence, Target, Urgency, may_pass};
use super::client::{Answer, Mailbox, NoAnswer, Payload};
use super::failure;
use super::turns::CONCURRENT;
use crate::mail::{Error, Kind};
use crate::telemetry::metrics;

/// Parts of one batch.
pub(super) const MAX_PARTS: usize = 20;

/// One request among several in a batch.
#[derive(Clone)]
pub(super) struct Part {
    pub method: Method,
    /// Below the mailbox, such as `/messages/AAMk…`, or a link of this service as it came.
    pub path: String,
    pub body: Option<Value>,
    /// True when it may be made again although its outcome is not known.
    pub repeatable: bool,
    /// Only if the item is still in this version; else it is refused with 412.
    pub if_match: Option<String>,
}

impl fmt::Debug for Part {
    /// The body is what people write, the path may be a link that opens something.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("method", &self.method).finish_non_exhaustive()
    }
}

impl Part {
    /// A request that may be repeated.
    pub fn repeatable(method: Method, path: String, body: Option<Value>) -> Self {
        Self { method, path, body, repeatable: true, if_match: None }
    }

    /// One that may have been done when no answer tells.
    pub fn once(method: Method, path: String, body: Option<Value>) -> Self {
        Self { method, path, body, repeatable: false, if_match: None }
    }

    /// True when `answer` leaves the chance that another attempt succeeds and does no harm.
    fn may_be_repeated_after(&self, answer: &Answer) -> bool {
        match answer.status.as_u16() {
            // Refused before anything was done.
            429 | 503 => true,
            _ => self.repeatable && may_pass(answer.status),
        }
    }
}

impl Mailbox {
    /// Several requests, 20 at a time in one HTTP request; answers in the order of the parts. Parts
    /// that are throttled are made again. An error: no part has an answer, and of those that are not
    /// repeatable nothing is known where it is [`Kind::OutcomeUnknown`]; of the others none was done.
    /// A part whose answer was lost has status 500.
    pub async fn batch(&self, parts: &[Part], urgency: Urgency) -> Result<Vec<Answer>, Error> {
        let mut answers = Vec::with_capacity(parts.len());
        for parts in parts.chunks(MAX_PARTS) {
            answers.extend(self.batch_of(parts, urgency).await?);
        }
        Ok(answers)
    }

    async fn batch_of(&self, parts: &[Part], urgency: Urgency) -> Result<Vec<Answer>, Error> {
        let mut answers: Vec<Answer> = parts.iter().map(|_| unanswered()).collect();
        let mut open: Vec<usize> = (0..parts.len()).collect();
        let mut persistence = Persistence::new(self.client.timing.read_patience);
        let mut is_first = true;
        loop {
            let asked = match self.round(parts, &open, urgency).await {
                Ok(round) => {
                    let wait = round.values().filter_map(wait_of).max();
                    open.retain(|at| {
                        let answer = round.get(at).cloned().unwrap_or_else(unanswered);
                        let again = parts[*at].may_be_repeated_after(&answer);
                        answers[*at] = answer;
                        again
                    });
                    wait
                }
                Err(no_answer)
                    if no_answer.may_pass() && open.iter().all(|at| parts[*at].repeatable) =>
                {
                    if persistence.wait(None).await {
                        continue;
                    }
                    let harmless = NoAnswer::NotSent(no_answer.into_error());
                    return after_failure(harmless, answers, &open, is_first);
                }
                Err(no_answer) => return after_failure(no_answer, answers, &open, is_first),
            };
            is_first = false;
            if open.is_empty() {
                return Ok(answers);
            }
            if let Some(wait) = asked {
                self.turns.silence(wait);
                metrics::throttled();
            }
            if urgency == Urgency::Ahead || !persistence.wait(asked).await {
                return Ok(answers);
            }
        }
    }

    /// One HTTP request with the parts that are open; a batch runs as many at a time as a mailbox
    /// allows at all, so it takes as many turns.
    async fn round(
        &self,
        parts: &[Part],
        open: &[usize],
        urgency: Urgency,
    ) -> Result<HashMap<usize, Answer>, NoAnswer> {
        let requests: Vec<Value> = open.iter().map(|at| self.part(*at, &parts[*at])).collect();
        let payload = Payload::Json(json!({"requests": requests}));
        let url = format!("{}/$batch", self.client.root);
        let target = Target::Link(&url);
        let ask = Ask { method: Method::POST, target, payload: &payload, urgency };
        let mut persistence = Persistence::new(self.client.timing.read_patience);
        loop {
            let answer = self.ask_weighing(&url, &ask, None, open.len().min(CONCURRENT)).await?;
            match answer.status {
                StatusCode::OK => return Ok(responses(&answer.json())),
                // The whole was refused: no part was looked at.
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
                    if persistence.wait(failure::retry_after(&answer.headers)).await => {}
                status if status.is_server_error() => {
                    return Err(NoAnswer::Lost(self.refusal("a batch of requests", &answer)));
                }
                _ => return Err(NoAnswer::NotSent(self.refusal("a batch of requests", &answer))),
            }
        }
    }

    fn part(&self, id: usize, part: &Part) -> Value {
        let url = match part.path.strip_prefix(&self.client.root) {
            Some(below) => below.to_owned(),
            None => format!("{}{}", self.path, part.path),
        };
        let mut headers = json!({"Prefer": "IdType=\"ImmutableId\""});
        if let Some(etag) = &part.if_match {
            headers["If-Match"] = etag.as_str().into();
        }
        let mut request = json!({"id": id.to_string(), "method": part.method.as_str(), "url": url});
        if let Some(body) = &part.body {
            headers["Content-Type"] = "application/json".into();
            request["body"] = body.clone();
        }
        request["headers"] = headers;
        request
    }
}

/// What there is to tell when a request has no answer: what parts were answered before stands.
fn after_failure(
    failure: NoAnswer,
    mut answers: Vec<Answer>,
    open: &[usize],
    is_first: bool,
) -> Result<Vec<Answer>, Error> {
    match failure {
        NoAnswer::NotSent(error) if is_first => Err(error),
        NoAnswer::Lost(error) if is_first => {
            Err(Error::new(Kind::OutcomeUnknown, error.text.clone()).with_source(error))
        }
        NoAnswer::NotSent(_) => Ok(answers),
        NoAnswer::Lost(_) => {
            open.iter().for_each(|at| answers[*at] = unanswered());
            Ok(answers)
        }
    }
}

fn unanswered() -> Answer {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    Answer { status, headers: HeaderMap::new(), body: Bytes::new() }
}

fn wait_of(answer: &Answer) -> Option<Duration> {
    may_pass(answer.status).then(|| failure::retry_after(&answer.headers)).flatten()
}

/// The answers by the ids of their parts; what can't be read is left out.
fn responses(json: &Value) -> HashMap<usize, Answer> {
    let list = json["responses"].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .filter_map(|one| Some((one["id"].as_str()?.parse().ok()?, response(one)?)))
        .collect()
}

fn response(json: &Value) -> Option<Answer> {
    let status = StatusCode::from_u16(u16::try_from(json["status"].as_u64()?).ok()?).ok()?;
    let mut headers = HeaderMap::new();
    for (name, value) in json["headers"].as_object().into_iter().flatten() {
        let value = value.as_str().and_then(|value| HeaderValue::from_str(value).ok());
        if let (Ok(name), Some(value)) = (HeaderName::try_from(name.as_str()), value) {
            headers.insert(name, value);
        }
    }
    let body = match &json["body"] {
        Value::Null => Bytes::new(),
        // Anything but JSON comes in base64.
        Value::String(text) => STANDARD.decode(text).unwrap_or_default().into(),
        value => value.to_string().into(),
    };
    Some(Answer { status, headers, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_come_in_any_order_and_form() {
        let answers = responses(&json!({"responses": [
            {"id": "2", "status": 429, "headers": {"Retry-After": "7"}, "body": {"error": {}}},
            {"id": "0", "status": 200, "body": {"id": "a"}},
            {"id": "1", "status": 200, "body": "aGk="},
            {"id": "x", "status": 200},
            {"id": "3", "status": 9000},
            {"id": "4", "status": 204},
        ]}));
        assert_eq!(answers.len(), 4);
        assert_eq!(answers[&0].json()["id"], "a");
        assert_eq!(&answers[&1].body[..], b"hi");
        assert_eq!(wait_of(&answers[&2]), Some(Duration::from_secs(7)));
        assert_eq!((answers[&4].status.as_u16(), answers[&4].body.len()), (204, 0));
        assert_eq!(responses(&json!({})).len(), 0);
    }

    #[test]
    fn what_must_not_be_done_twice_is_not() {
        let answer = |status: u16| Answer {
            status: StatusCode::from_u16(status).expect("a status"),
            ..unanswered()
        };
        let get = Part::repeatable(Method::GET, "/x".into(), None);
        let copy = Part::once(Method::POST, "/x".into(), None);
        for (status, of_get, of_copy) in [
            (200, false, false),
            (404, false, false),
            (429, true, true),
            (503, true, true),
            (504, true, false),
            (500, true, false),
            (507, false, false),
        ] {
            assert_eq!(get.may_be_repeated_after(&answer(status)), of_get, "{status}");
            assert_eq!(copy.may_be_repeated_after(&answer(status)), of_copy, "{status}");
        }
    }
}
