//! Drafts that an attempt has left behind without anybody knowing their ids.
//!
//! Danger: the answer to a new draft is lost, or the process dies before it is noted: a draft stays
//! that a person may find and send; and one that is taken for it may be a person's own. Rule: only
//! after an attempt that was making a draft, only drafts with the message's own Message-ID that are
//! no older than the attempt; and they are moved to Deleted Items, where a person can get them back
//! and where one that another attempt is working on can still be sent: its id stays the same.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::client::{Mailbox, Payload, percent_encode};
use super::ledger::Sought;

/// When Graph says that an item was made.
pub(super) fn created(item: &Value) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(item["createdDateTime"].as_str()?, &Rfc3339).ok()
}

/// Clears away what may have been left; the log says what could not be.
pub(super) async fn clear(mailbox: &Mailbox, sought: Sought<'_>) {
    let role = &mailbox.client.role;
    let Some(strays) = find(mailbox, sought).await else {
        return tracing::warn!(role, "a draft may be left in Drafts: it can't be searched");
    };
    for graph_id in strays {
        let path = format!("/messages/{}/move", percent_encode(&graph_id));
        let there = Payload::Json(json!({ "destinationId": "deleteditems" }));
        match mailbox.call(Method::POST, &path, &there).await {
            Ok(answer) if answer.status.is_success() => {
                tracing::info!(role, "a draft of a broken attempt went to Deleted Items");
            }
            _ => tracing::warn!(role, "a draft of a broken attempt is left in Drafts"),
        }
    }
}

async fn find(mailbox: &Mailbox, sought: Sought<'_>) -> Option<Vec<String>> {
    let filter = format!("internetMessageId eq '{}'", sought.message_id.replace('\'', "''"));
    let path = format!(
        "/mailFolders/drafts/messages?$filter={}\
         &$select=id,internetMessageId,createdDateTime,isDraft",
        percent_encode(&filter)
    );
    let answer = mailbox.call(Method::GET, &path, &Payload::None).await.ok()?;
    let list = answer.json();
    let list = list["value"].as_array().filter(|_| answer.status == StatusCode::OK)?;
    let earliest = OffsetDateTime::from(mailbox.client.time.earliest(sought.since));
    let is_stray = |item: &&Value| {
        item["internetMessageId"].as_str() == Some(sought.message_id)
            && item["isDraft"].as_bool() == Some(true)
            && created(item).is_some_and(|made| made >= earliest)
    };
    let ids = list.iter().filter(is_stray).filter_map(|item| item["id"].as_str());
    Some(ids.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_whose_age_nobody_tells_is_nobodys() {
        let made = json!({ "createdDateTime": "2026-11-24T10:00:00Z" });
        assert_eq!(created(&made).map(|at| at.hour()), Some(10));
        for item in [json!({}), json!({ "createdDateTime": "yesterday" })] {
            assert_eq!(created(&item), None);
        }
    }
}
