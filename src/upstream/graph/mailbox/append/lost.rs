//! Bringing MIME to the service, and looking for it where the answer was lost.
//!
//! Danger: what is brought twice is there twice. Rule: after a lost answer nothing is brought again
//! before the folders in which it can be have been searched for its Message-ID; a message to which an
//! APPEND has given its date is another one.

use reqwest::Method;
use serde_json::Value;
use time::OffsetDateTime;

use super::journal::{DELETES, Stage, stage};
use super::{DOING, Job};
use crate::mail::{Error, Kind};
use crate::store::AppendRecord;
use crate::upstream::graph::ask::{Ask, Persistence, Target, Urgency};
use crate::upstream::graph::client::{NoAnswer, Payload, asks_to_wait, percent_encode};
use crate::upstream::graph::failure;
use crate::upstream::graph::mailbox::item::{self, is_gone, is_unclear, not_stored};
use crate::upstream::graph::mailbox::message::{FIELDS, came_by_append, instant};
use crate::upstream::graph::mailbox::transfer::CLOCKS_DIFFER;

/// What came of bringing a message.
pub(super) enum Posted {
    /// The service has it; its answer.
    Made(Value),
    /// The service does not have it.
    Refused(crate::upstream::graph::client::Answer),
    /// It may have it.
    Unclear(Error),
}

impl Job<'_> {
    /// Brings MIME; again only after answers that say that nothing was done.
    pub(super) async fn post(
        &self,
        target: Target<'_>,
        payload: &Payload,
    ) -> Result<Posted, Error> {
        let graph = &self.engine.graph;
        let mut persistence = Persistence::new(graph.client.timing.read_patience);
        loop {
            let ask = Ask { method: Method::POST, target, payload, urgency: Urgency::Waiting };
            let answer = match graph.ask(&ask).await {
                Ok(answer) => answer,
                Err(NoAnswer::NotSent(error)) => return Err(error),
                Err(NoAnswer::Lost(error)) => return Ok(Posted::Unclear(error)),
            };
            let status = answer.status;
            if status.is_success() && answer.json()["id"].is_string() {
                return Ok(Posted::Made(answer.json()));
            }
            if status.is_success() || is_unclear(status) {
                return Ok(Posted::Unclear(graph.refusal(DOING, &answer)));
            }
            let again = asks_to_wait(status)
                && persistence.wait(failure::retry_after(&answer.headers)).await;
            if !again {
                return Ok(Posted::Refused(answer));
            }
        }
    }

    /// Looks several times for what was brought and has no answer.
    pub(super) async fn look_for(&mut self, failure: Error) -> Result<Value, Error> {
        self.is_unclear = true;
        for delay in self.engine.graph.client.timing.looks {
            tokio::time::sleep(delay).await;
            match self.find(self.record.started).await {
                Ok(Some(item)) => return Ok(item),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(error = %error.chain(), "a look for a message failed")
                }
            }
        }
        let text = format!("{}; stored again, the message is looked for first", failure.text);
        Err(Error::new(Kind::OutcomeUnknown, text).with_source(failure))
    }

    /// What an earlier APPEND of the same message has left.
    pub(super) async fn resume(
        &mut self,
        earlier: Option<AppendRecord>,
    ) -> Result<Option<Value>, Error> {
        let Some(earlier) = earlier else { return Ok(None) };
        // Whatever fails now, the record stays.
        (self.record.started, self.record.graph_id) = (earlier.started, earlier.graph_id.clone());
        match stage(&earlier) {
            Stage::Whole(graph_id) => {
                let found = self.read(graph_id).await?;
                if found.is_none() {
                    self.forget().await?;
                }
                Ok(found)
            }
            Stage::Partial(graph_id) => {
                let path = item::path(graph_id, "");
                let answer = self.ask_patiently(Method::DELETE, &path, &Payload::None).await?;
                if !answer.status.is_success() && !is_gone(&answer) {
                    return Err(self.engine.graph.refusal(DELETES, &answer));
                }
                self.forget().await.map(|()| None)
            }
            Stage::Unknown => {
                self.is_unclear = true;
                let found = self.find(earlier.started).await?;
                self.is_unclear = false;
                Ok(found)
            }
        }
    }

    /// What the record named is gone.
    async fn forget(&mut self) -> Result<(), Error> {
        self.record.graph_id = None;
        self.engine.store.note_append(&self.record).await.map_err(not_stored)
    }

    /// The message in its folder or in Drafts, come since then and not known yet.
    async fn find(&self, since: OffsetDateTime) -> Result<Option<Value>, Error> {
        let Some(message_id) = &self.record.message_id else { return Ok(None) };
        // What goes in pieces may be there in pieces.
        let size = crate::upstream::graph::body::base64_size(self.message.size());
        if size > self.engine.appending.limit.octets() {
            return Ok(None);
        }
        let filter = format!("internetMessageId eq '{}'", message_id.replace('\'', "''"));
        let filter = percent_encode(&filter);
        let mut folders = vec![self.folder.graph_id.as_str(), self.drafts.as_str()];
        folders.dedup();
        for folder in folders {
            let folder = percent_encode(folder);
            let path = format!("/mailFolders/{folder}/messages?$filter={filter}&{FIELDS}");
            let mut list = self.engine.graph.read(&path, "looking for a stored message").await?;
            let Value::Array(items) = list["value"].take() else { continue };
            let found = items.into_iter().find(|item| is_ours(item, message_id, since));
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

/// Made since then, and not finished by an APPEND, which leaves its date.
fn is_ours(item: &Value, message_id: &str, since: OffsetDateTime) -> bool {
    let created = item["createdDateTime"].as_str().and_then(instant);
    item["internetMessageId"].as_str() == Some(message_id)
        && created.is_some_and(|created| created >= since - CLOCKS_DIFFER)
        && !came_by_append(item)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;
    use crate::upstream::graph::mailbox::message::append_patch;

    #[test]
    fn only_what_has_come_since_and_is_not_finished_is_taken_up() {
        let since = datetime!(2026-11-24 12:00 UTC);
        let item = |created: &str, id: &str| json!({ "id": "A", "internetMessageId": id, "createdDateTime": created });
        for (item, expected) in [
            (item("2026-11-24T12:00:01Z", "<1@x>"), true),
            (item("2026-11-24T11:46:00Z", "<1@x>"), true),
            (item("2026-11-24T11:44:00Z", "<1@x>"), false),
            (item("2026-11-24T12:00:01Z", "<2@x>"), false),
            (item("", "<1@x>"), false),
        ] {
            assert_eq!(is_ours(&item, "<1@x>", since), expected, "{item}");
        }
        let flags = crate::mail::mailbox::Flags::default();
        let mut finished = append_patch(&flags, &flags, since);
        finished["internetMessageId"] = json!("<1@x>");
        finished["createdDateTime"] = json!("2026-11-24T12:00:01Z");
        assert!(!is_ours(&finished, "<1@x>", since));
    }
}
