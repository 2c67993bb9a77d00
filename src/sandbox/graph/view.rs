//! Messages as Graph's JSON shows them.
//!
//! Danger: a property that is made up (a size, a header) would let a client rely on it. Rule: what
//! stands here is read from the stored MIME and flags, in Graph's spelling; ids are in the form the
//! request asked for; only what was asked for is made, for a page may have a thousand messages.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::super::mailbox::StoredMessage;
use super::extended::{self, Property};

/// What a message shows when nothing is selected. Header fields must be asked for by name.
const SHOWN: [&str; 29] = [
    "createdDateTime",
    "lastModifiedDateTime",
    "changeKey",
    "categories",
    "receivedDateTime",
    "sentDateTime",
    "hasAttachments",
    "internetMessageId",
    "subject",
    "bodyPreview",
    "importance",
    "parentFolderId",
    "conversationId",
    "conversationIndex",
    "isDeliveryReceiptRequested",
    "isReadReceiptRequested",
    "isRead",
    "isDraft",
    "webLink",
    "inferenceClassification",
    "body",
    "sender",
    "from",
    "toRecipients",
    "ccRecipients",
    "bccRecipients",
    "replyTo",
    "flag",
    "id",
];

/// True for what `$select` may name.
pub(super) fn is_property(name: &str) -> bool {
    SHOWN.contains(&name) || matches!(name, "internetMessageHeaders" | "uniqueBody")
}

/// Graph's time stamps: whole seconds.
pub(super) fn stamp(time: OffsetDateTime) -> String {
    let time = time.to_offset(time::UtcOffset::UTC);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// The version of an item: another one after every change.
pub(super) fn change_key(message: &StoredMessage) -> String {
    let version = message.versions.last().to_be_bytes();
    format!("CQAAABYAAAD{}", STANDARD.encode([&version[..], &version[..]].concat()))
}

pub(super) fn etag(message: &StoredMessage) -> String {
    format!("W/\"{}\"", change_key(message))
}

/// A message resource.
pub(super) fn message(
    stored: &StoredMessage,
    folder_id: &str,
    immutable: bool,
    select: &[String],
    expand: &[Property],
) -> Value {
    let mut all = Map::new();
    all.insert("@odata.etag".into(), etag(stored).into());
    all.insert("id".into(), stored.graph_id(immutable).into());
    let mut show = |name: &str| {
        if let Some(value) = property(stored, folder_id, name) {
            all.insert(name.to_owned(), value);
        }
    };
    if select.is_empty() {
        SHOWN.iter().for_each(|name| show(name));
    } else {
        select.iter().for_each(|name| show(name));
    }
    if !expand.is_empty() {
        let values: Vec<Value> = expand
            .iter()
            .filter_map(|wanted| {
                let value = extended::value(stored, &wanted.key)?;
                Some(json!({"id": wanted.shown, "value": value}))
            })
            .collect();
        // A message that has none of them has no list either.
        if !values.is_empty() {
            all.insert("singleValueExtendedProperties".into(), values.into());
        }
    }
    all.into()
}

fn property(stored: &StoredMessage, folder_id: &str, name: &str) -> Option<Value> {
    Some(match name {
        "createdDateTime" | "receivedDateTime" => stamp(stored.received).into(),
        "lastModifiedDateTime" => stamp(stored.modified).into(),
        "changeKey" => change_key(stored).into(),
        "categories" => json!(stored.categories),
        "importance" => stored.importance.clone().into(),
        "parentFolderId" => folder_id.into(),
        "conversationId" => format!("AAQkAGI2{}", stored.immutable_id).into(),
        "conversationIndex" => "AQHY".into(),
        "isDeliveryReceiptRequested" if stored.draft => false.into(),
        "isDeliveryReceiptRequested" => Value::Null,
        "isReadReceiptRequested" => false.into(),
        "isRead" => stored.is_read().into(),
        "isDraft" => stored.draft.into(),
        "webLink" => "https://outlook.office365.com/owa/?viewmodel=ReadMessageItem".into(),
        "inferenceClassification" => "focused".into(),
        "flag" => json!({"flagStatus": flag_status(stored)}),
        "hasAttachments" => (!stored.attachments.is_empty() || stored.text().has_files).into(),
        "bodyPreview" => stored.text().preview.clone().into(),
        "body" | "uniqueBody" => {
            let kind = if stored.text().html { "html" } else { "text" };
            json!({"contentType": kind, "content": stored.text().content})
        }
        _ => return header_property(stored, name),
    })
}

fn flag_status(stored: &StoredMessage) -> &'static str {
    match stored.flags.contains("\\Flagged") {
        true => "flagged",
        false if stored.completed => "complete",
        false => "notFlagged",
    }
}

fn header_property(stored: &StoredMessage, name: &str) -> Option<Value> {
    let head = stored.head();
    Some(match name {
        "sentDateTime" => stamp(head.sent.unwrap_or(stored.received)).into(),
        "internetMessageId" => json!(head.message_id),
        "subject" => head.subject.clone().into(),
        "sender" => head.sender.clone(),
        "from" => head.from.clone(),
        "toRecipients" => head.to.clone(),
        "ccRecipients" => head.cc.clone(),
        "bccRecipients" => head.bcc.clone(),
        "replyTo" => head.reply_to.clone(),
        // Kept for what came through transport alone.
        "internetMessageHeaders" if stored.draft || !stored.transported => return None,
        "internetMessageHeaders" => {
            head.fields.iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selection_keeps_the_id_and_header_fields_must_be_asked_for() {
        let raw = b"From: A <a@x>\r\nMessage-ID: <1@x>\r\nSubject: hi\r\n\r\nbody\r\n";
        let mut stored = StoredMessage::new(raw.to_vec()).flagged("\\Seen");
        let select = ["subject", "isRead", "from"].map(str::to_owned);
        let value = message(&stored, "f", true, &select, &[]);
        assert_eq!(value["id"], stored.immutable_id);
        assert_eq!((&value["subject"], &value["isRead"]), (&json!("hi"), &json!(true)));
        assert_eq!(value["from"]["emailAddress"], json!({"name": "A", "address": "a@x"}));
        assert_eq!(value.get("internetMessageId"), None);
        let all = message(&stored, "f", true, &[], &[]);
        assert_eq!(
            (&all["parentFolderId"], &all["body"]["contentType"]),
            (&json!("f"), &json!("text"))
        );
        assert_eq!(all.get("internetMessageHeaders"), None);
        let headers = ["internetMessageHeaders".to_owned()];
        let value = message(&stored, "f", true, &headers, &[]);
        assert_eq!(value["internetMessageHeaders"][2], json!({"name": "Subject", "value": "hi"}));
        stored.draft = true;
        assert_eq!(message(&stored, "f", true, &headers, &[]).get("internetMessageHeaders"), None);
    }

    #[test]
    fn stamps_are_in_utc() {
        let time = time::macros::datetime!(2024-02-03 04:05:06.789 +01:00);
        assert_eq!(stamp(time), "2024-02-03T03:05:06Z");
    }
}
