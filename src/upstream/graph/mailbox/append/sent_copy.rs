//! A copy of what was sent: sending by Graph has left one already (Graph page `api/user-sendmail`).
//!
//! Danger: a client stores a copy of each message that it sends, so that Sent Items has two of each; a
//! message that has long been there, given as the answer to a copy of it, is deleted with that copy.
//! Rule: the copy with the same Message-ID that was sent lately is the answer, once: the date that an
//! APPEND writes marks it as taken. What was written just now may still be on its way there and is
//! waited for.

use serde_json::Value;
use time::format_description::well_known::Rfc2822;
use time::{Duration, OffsetDateTime};

use super::Job;
use crate::mail::mailbox::Appended;
use crate::mail::{Error, Kind};
use crate::protocol::mime::fields;
use crate::upstream::graph::client::percent_encode;
use crate::upstream::graph::mailbox::message::{
    FIELDS, append_patch, came_by_append, etag, instant, new_message,
};

/// A message whose Date is no older may have been sent a moment ago.
const FRESH: Duration = Duration::minutes(10);

/// Clients store their copy at once, or when they are back in the network.
const SENT_LATELY: Duration = Duration::days(1);

impl Job<'_> {
    /// The service's own copy, where the folder is Sent Items.
    pub(super) async fn sent_copy(&self) -> Result<Option<Value>, Error> {
        let Some(message_id) = &self.record.message_id else { return Ok(None) };
        match self.engine.well_known("sentitems").await {
            Ok(sent_items) if sent_items == self.folder.graph_id => {}
            Err(error) if error.kind != Kind::NotFound => return Err(error),
            _ => return Ok(None),
        }
        let mut copy = self.look_in_sent_items(message_id).await?;
        if is_fresh(&self.message.header, OffsetDateTime::now_utc()) {
            for delay in self.engine.graph.client.timing.looks {
                if copy.is_some() {
                    break;
                }
                tokio::time::sleep(delay).await;
                copy = self.look_in_sent_items(message_id).await?;
            }
        }
        Ok(copy)
    }

    async fn look_in_sent_items(&self, message_id: &str) -> Result<Option<Value>, Error> {
        let filter = format!("internetMessageId eq '{}'", message_id.replace('\'', "''"));
        let filter = percent_encode(&filter);
        let path = format!("/mailFolders/sentitems/messages?$filter={filter}&{FIELDS}");
        let mut list = self.engine.graph.read(&path, "looking into Sent Items").await?;
        let Value::Array(items) = list["value"].take() else { return Ok(None) };
        let since = OffsetDateTime::now_utc() - SENT_LATELY;
        Ok(items.into_iter().find(|item| is_copy(item, message_id, since)))
    }

    /// The copy gets the client's flags and date, and is marked as taken. Its content is its own.
    pub(super) async fn adopt(&mut self, copy: &Value) -> Result<Appended, Error> {
        let Some(mut message) = new_message(copy) else {
            let text = format!("{}: Graph shows a message without an id", self.role());
            return Err(Error::new(Kind::Unavailable, text));
        };
        let flags = self.flags_on(&message.flags);
        let patch = append_patch(&message.flags, &flags, self.date);
        let answer = self.mark(&message.graph_id, patch).await?;
        message.etag = etag(&answer).map(str::to_owned);
        message.flags = flags;
        message.date = self.date;
        self.index(message, false).await
    }
}

/// A final message with that Message-ID, made since then, that no APPEND has had.
fn is_copy(item: &Value, message_id: &str, since: OffsetDateTime) -> bool {
    let made = item["createdDateTime"].as_str().and_then(instant);
    item["internetMessageId"].as_str() == Some(message_id)
        && made.is_none_or(|made| made >= since)
        && !item["isDraft"].as_bool().unwrap_or(false)
        && !came_by_append(item)
}

fn is_fresh(header: &[u8], now: OffsetDateTime) -> bool {
    let date = fields(header).find(|field| field.is("Date"));
    let date = date.and_then(|field| std::str::from_utf8(field.value).ok());
    let date = date.and_then(|text| OffsetDateTime::parse(text.trim(), &Rfc2822).ok());
    date.is_some_and(|date| (now - date).abs() <= FRESH)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_copy_is_taken_once() {
        let copy = json!({ "id": "A", "internetMessageId": "<1@x>", "isDraft": false,
            "createdDateTime": "2026-11-24T12:00:00Z" });
        let since = datetime!(2026-11-24 12:00 UTC);
        let is_copy = |copy: &Value, id: &str| is_copy(copy, id, since);
        assert!(is_copy(&copy, "<1@x>") && !is_copy(&copy, "<2@x>"));
        let mut old = copy.clone();
        old["createdDateTime"] = json!("2026-11-24T11:59:59Z");
        assert!(!is_copy(&old, "<1@x>"), "it has been there for long");
        let mut draft = copy.clone();
        draft["isDraft"] = json!(true);
        assert!(!is_copy(&draft, "<1@x>"));
        let flags = crate::mail::mailbox::Flags::default();
        let mut taken = copy.clone();
        taken["singleValueExtendedProperties"] = append_patch(
            &flags,
            &flags,
            OffsetDateTime::UNIX_EPOCH,
        )["singleValueExtendedProperties"]
            .clone();
        assert!(!is_copy(&taken, "<1@x>"));
    }

    #[test]
    fn only_a_new_message_is_waited_for() {
        let now = datetime!(2026-11-24 12:00 UTC);
        for (header, expected) in [
            ("Date: Tue, 24 Nov 2026 13:55:00 +0200\r\n\r\n", true),
            ("Date: Tue, 24 Nov 2026 12:05:00 +0000\r\n\r\n", true),
            ("Date: Tue, 24 Nov 2026 11:49:59 +0000\r\n\r\n", false),
            ("Date: soon\r\n\r\n", false),
            ("Subject: x\r\n\r\n", false),
        ] {
            assert_eq!(is_fresh(header.as_bytes(), now), expected, "{header}");
        }
    }
}
