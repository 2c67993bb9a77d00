//! `importMime`: a final message in its folder (Graph page `api/mailfolder-importmime`, beta).
//!
//! Danger: a permission that is not there costs a request at each APPEND; a passing failure taken for
//! a missing permission makes drafts of a day's messages. Rule: only what says that the way is shut is
//! remembered, and for a day.

use reqwest::StatusCode;
use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::lost::Posted;
use super::{DOING, Job};
use crate::mail::Error;
use crate::upstream::graph::ask::Target;
use crate::upstream::graph::client::{Answer, Payload, percent_encode};
use crate::upstream::graph::mailbox::item::{error_code, not_stored};
use crate::upstream::graph::mailbox::message::instant;

/// In the store: until when the way is not tried.
const REFUSED_UNTIL: &str = "import_refused_until";
/// An administrator may grant the permission meanwhile.
const REMEMBERED: Duration = Duration::days(1);

impl Job<'_> {
    /// The message in its folder; `None` where that way is shut.
    pub(super) async fn import(&mut self) -> Result<Option<Value>, Error> {
        let limit = &self.engine.appending.limit;
        let mime = self.mime();
        let size = mime.encoded_size();
        let payload = Payload::Mime(mime);
        if size > limit.octets() || self.is_refused().await? {
            return Ok(None);
        }
        let path = format!("/mailFolders/{}/importMime", percent_encode(&self.folder.graph_id));
        match self.post(Target::Beta(&path), &payload).await? {
            Posted::Made(item) => Ok(Some(self.in_its_folder(item))),
            Posted::Unclear(error) => self.look_for(error).await.map(Some),
            Posted::Refused(answer) if answer.status == StatusCode::PAYLOAD_TOO_LARGE => {
                limit.refused(size);
                Ok(None)
            }
            Posted::Refused(answer) if is_shut(&answer) => {
                self.remember(&answer).await?;
                Ok(None)
            }
            Posted::Refused(answer) => Err(self.engine.graph.refusal(DOING, &answer)),
        }
    }

    /// The answer need not say where the message is; the page does.
    fn in_its_folder(&self, mut item: Value) -> Value {
        if item["parentFolderId"].is_null() && item.is_object() {
            item["parentFolderId"] = Value::from(self.folder.graph_id.as_str());
        }
        item
    }

    async fn is_refused(&self) -> Result<bool, Error> {
        let until = self.engine.store.setting(REFUSED_UNTIL).await.map_err(not_stored)?;
        let until = until.as_deref().and_then(instant);
        Ok(until.is_some_and(|until| until > OffsetDateTime::now_utc()))
    }

    async fn remember(&self, answer: &Answer) -> Result<(), Error> {
        let error = self.engine.graph.refusal("importing a message", answer);
        tracing::debug!(error = %error.chain(), "importMime is not tried for a day");
        let until = (OffsetDateTime::now_utc() + REMEMBERED).format(&Rfc3339).ok();
        let store = &self.engine.store;
        store.set_setting(REFUSED_UNTIL, until.as_deref()).await.map_err(not_stored)
    }
}

/// True when the way itself is refused: no permission, not in this cloud, not for this account. A
/// refusal of the message or of the folder is none.
fn is_shut(answer: &Answer) -> bool {
    let code = error_code(answer);
    let is_about = |words: &[&str]| words.iter().any(|word| code.contains(word));
    match answer.status.as_u16() {
        403 => !is_about(&["quota", "size"]),
        405 | 501 => true,
        404 => !is_about(&["itemnotfound", "foldernotfound", "mailbox", "invaliduser"]),
        400 => !is_about(&["mime", "size", "quota", "invalidid", "folder", "message"]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shut_way_is_remembered() {
        for (status, code, expected) in [
            (403, "ErrorAccessDenied", true),
            (403, "Authorization_RequestDenied", true),
            (404, "ResourceNotFound", true),
            (404, "UnknownError", true),
            (404, "", true),
            (405, "", true),
            (501, "notImplemented", true),
            (400, "BadRequest", true),
            (400, "RequestNotSupported", true),
            (400, "ErrorMimeContentInvalid", false),
            (400, "ErrorMessageSizeExceeded", false),
            (400, "ErrorQuotaExceeded", false),
            (400, "ErrorInvalidIdMalformed", false),
            (404, "ErrorItemNotFound", false),
            (404, "ErrorFolderNotFound", false),
            (404, "MailboxNotEnabledForRESTAPI", false),
            (429, "TooManyRequests", false),
            (500, "", false),
            (503, "ErrorServerBusy", false),
            (507, "quotaLimitReached", false),
            (413, "RequestEntityTooLarge", false),
        ] {
            let answer = Answer {
                status: StatusCode::from_u16(status).expect("a status"),
                headers: reqwest::header::HeaderMap::new(),
                body: format!("{{\"error\":{{\"code\":\"{code}\"}}}}").into(),
            };
            assert_eq!(is_shut(&answer), expected, "{status} {code}");
        }
    }
}
