//! One message at the service: its path, and whether and where it is.
//!
//! Danger: a 404 that is about the mailbox or the folder, taken for a message that is gone, empties
//! the index. Rule: only an answer that is about the item itself says that it is gone; an answer of a
//! gateway says nothing about what was done.

use reqwest::{Method, StatusCode};

use super::message::{FIELDS, parent};
use crate::mail::{Error, Kind};
use crate::store;
use crate::upstream::graph::ask::{Part, Urgency};
use crate::upstream::graph::client::{Answer, Mailbox, percent_encode};

/// Messages changed between two writes of the store: one batch.
pub(super) const AT_ONCE: usize = crate::upstream::graph::batch::MAX_PARTS;

/// The path of a message below the mailbox, and what follows.
pub(super) fn path(graph_id: &str, rest: &str) -> String {
    format!("/messages/{}{rest}", percent_encode(graph_id))
}

/// A GET of all that the index needs.
pub(super) fn read_fully(graph_id: &str) -> Part {
    Part::repeatable(Method::GET, path(graph_id, &format!("?{FIELDS}")), None)
}

/// True when the message is not in the mailbox.
pub(super) fn is_gone(answer: &Answer) -> bool {
    let code = error_code(answer);
    let is_about_item = ["", "erroritemnotfound", "itemnotfound"].contains(&code.as_str());
    answer.status == StatusCode::NOT_FOUND && is_about_item
}

/// The service's own code of a refusal, in lower case.
pub(super) fn error_code(answer: &Answer) -> String {
    answer.json()["error"]["code"].as_str().unwrap_or_default().to_ascii_lowercase()
}

/// True when the service lost a race with itself although no version was named
/// (`ErrorIrresolvableConflict`): reading and trying once more helps.
pub(super) fn is_conflict(answer: &Answer) -> bool {
    answer.status == StatusCode::PRECONDITION_FAILED
}

/// True when the request may have been done all the same. 501, 507 and 509 say that it was not;
/// 503 asks to come again.
pub(super) fn is_unclear(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 500 | 502 | 504..=506 | 508 | 510..)
}

/// The ids of the folders that messages are in now, in order; `None` for one that is gone.
pub(super) async fn folders_of(
    graph: &Mailbox,
    ids: &[&str],
) -> Result<Vec<Option<String>>, Error> {
    const DOING: &str = "looking where a message is";
    let query = |id: &&str| path(id, "?$select=id,parentFolderId");
    let parts: Vec<Part> =
        ids.iter().map(|id| Part::repeatable(Method::GET, query(id), None)).collect();
    let answers = graph.batch(&parts, Urgency::Waiting).await?;
    let folder = |answer: &Answer| match parent(&answer.json()) {
        Some(folder) if answer.status == StatusCode::OK => Ok(Some(folder.to_owned())),
        _ if is_gone(answer) => Ok(None),
        _ => Err(graph.refusal(DOING, answer)),
    };
    answers.iter().map(folder).collect()
}

/// A failure of the store in mail words.
pub(super) fn not_stored(error: store::Error) -> Error {
    Error::new(Kind::Unavailable, "the state of the mailbox can't be read or kept")
        .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: reqwest::header::HeaderMap::new(),
            body: body.to_owned().into(),
        }
    }

    #[test]
    fn only_the_item_s_own_404_means_that_it_is_gone() {
        for (status, code, expected) in [
            (404, "ErrorItemNotFound", true),
            (404, "itemNotFound", true),
            (404, "MailboxNotEnabledForRESTAPI", false),
            (404, "ErrorFolderNotFound", false),
            (404, "ErrorInvalidUser", false),
            (400, "ErrorItemNotFound", false),
            (200, "", false),
        ] {
            let body = format!("{{\"error\":{{\"code\":\"{code}\"}}}}");
            assert_eq!(is_gone(&answer(status, &body)), expected, "{status} {code}");
        }
        assert!(is_gone(&answer(404, "")) && is_gone(&answer(404, "<html>")));
    }

    #[test]
    fn gateways_leave_it_unclear_what_was_done() {
        let unclear = [408, 500, 502, 504, 599];
        let clear = [200, 400, 404, 409, 412, 413, 429, 501, 503, 507, 509];
        let check = |status| is_unclear(answer(status, "").status);
        assert!(unclear.into_iter().all(check) && !clear.into_iter().any(check));
    }

    #[test]
    fn ids_are_escaped() {
        assert_eq!(path("A/b=", "/move"), "/messages/A%2Fb%3D/move");
        assert!(read_fully("A=").path.starts_with("/messages/A%3D?$select=id,"));
    }
}
