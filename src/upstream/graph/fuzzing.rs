//! Graph's JSON as hostile octets; see `crate::fuzzing`.
//!
//! Danger: what Graph answers was written by whoever sent the mail, and names of folders by whoever
//! shares them. Rule: nothing of it ends the program or grows without bound, and a refusal becomes
//! one line.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::client::Answer;
use super::failure;
use super::mailbox::fuzzing::{folders, message};

/// An answer: the first octet says with which status, the others are its body.
pub fn graph_json(data: &[u8]) {
    let (seed, body) = data.split_first().map_or((0, data), |(seed, rest)| (*seed, rest));
    let statuses = [200, 400, 401, 403, 404, 409, 413, 429, 500, 503, 504, 302];
    let status = StatusCode::from_u16(statuses[usize::from(seed) % statuses.len()]);
    let status = status.unwrap_or(StatusCode::OK);
    let headers = HeaderMap::new();
    let answer = Answer { status, headers, body: Bytes::copy_from_slice(body) };
    let error = failure::refusal("Mail.Sending", "jane@example.com", "sending", &answer);
    let text = error.chain();
    assert!(!text.contains(['\r', '\n']), "{text:?} is more than a line");
    assert!(text.len() < 8192, "{} octets of error", text.len());
    let json = answer.json();
    let items = json["value"].as_array().map_or(&[][..], Vec::as_slice);
    std::iter::once(&json).chain(items).for_each(message);
    folders(items);
}
