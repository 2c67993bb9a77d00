//! Messages and folders as Graph's JSON shows them.
//!
//! Danger: a property that is made up (a size, a header) would let a client rely on it. Rule: what
//! stands here is read from the stored MIME and flags, in Graph's spelling; ids are in the form the
//! request asked for.

use mail_parser::{Address, Message};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use super::super::mailbox::{Folder, StoredMessage};
use super::super::mime;
use super::odata::Query;

/// Graph's time stamps.
pub(super) fn stamp(time: OffsetDateTime) -> String {
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    time.format(&form).unwrap_or_default()
}

/// A message resource.
pub(super) fn message(
    stored: &StoredMessage,
    folder: &Folder,
    immutable: bool,
    query: &Query,
) -> Value {
    let id = stored.graph_id(folder, immutable);
    let mut all = whole(stored, folder, &id);
    if !query.select.is_empty() {
        all.retain(|name, _| {
            name.starts_with('@')
                || name == "id"
                || query.select.iter().any(|wanted| wanted == name)
        });
    }
    if !query.expand.is_empty() {
        let values: Vec<Value> = query
            .expand
            .iter()
            .filter_map(|id| {
                let value = stored.extended.get(&property_key(id))?;
                Some(json!({"id": id, "value": value}))
            })
            .collect();
        all.insert("singleValueExtendedProperties".into(), values.into());
    }
    all.into()
}

fn whole(stored: &StoredMessage, folder: &Folder, id: &str) -> Map<String, Value> {
    let parsed = mime::parse(&stored.raw);
    let received = stamp(stored.received);
    let has_files = !stored.attachments.is_empty()
        || parsed.as_ref().is_some_and(|message| message.attachment_count() > 0);
    let flagged = stored.flags.contains("\\Flagged");
    let of = |read: fn(&Message<'_>) -> Value| parsed.as_ref().map_or(Value::Null, read);
    let Value::Object(object) = json!({
        "@odata.etag": format!("W/\"{:x}\"", stored.raw.len() * 31 + stored.flags.len()),
        "id": id,
        "createdDateTime": received,
        "lastModifiedDateTime": received,
        "receivedDateTime": received,
        "sentDateTime": received,
        "hasAttachments": has_files,
        "internetMessageId": mime::field_value(&stored.raw, "Message-ID"),
        "subject": of(|m| m.subject().unwrap_or_default().into()),
        "bodyPreview": of(|m| m.body_preview(255).unwrap_or_default().into()),
        "importance": "normal",
        "parentFolderId": folder.graph_id,
        "isRead": stored.flags.contains("\\Seen"),
        "isDraft": stored.draft,
        "flag": {"flagStatus": if flagged { "flagged" } else { "notFlagged" }},
        "from": of(|m| first(m.from())),
        "sender": of(|m| first(m.sender().or(m.from()))),
        "toRecipients": of(|m| addresses(m.to())),
        "ccRecipients": of(|m| addresses(m.cc())),
        "bccRecipients": of(|m| addresses(m.bcc())),
        "replyTo": of(|m| addresses(m.reply_to())),
    }) else {
        return Map::new();
    };
    object
}

fn first(list: Option<&Address<'_>>) -> Value {
    addresses(list).get(0).cloned().unwrap_or(Value::Null)
}

fn addresses(list: Option<&Address<'_>>) -> Value {
    let one = |addr: &mail_parser::Addr<'_>| {
        let address = addr.address().unwrap_or_default();
        json!({"emailAddress": {"name": addr.name().unwrap_or(address), "address": address}})
    };
    list.map(|list| list.iter().map(one).collect()).unwrap_or_else(|| json!([]))
}

/// A mailFolder resource.
pub(super) fn folder(folder: &Folder) -> Value {
    let unread = folder.messages.iter().filter(|m| !m.flags.contains("\\Seen")).count();
    let name = if folder.well_known == "inbox" { "Inbox" } else { folder.name.as_str() };
    json!({
        "id": folder.graph_id,
        "displayName": name,
        "parentFolderId": "AQMkAGI2root=",
        "childFolderCount": 0,
        "unreadItemCount": unread,
        "totalItemCount": folder.messages.len(),
        "isHidden": folder.well_known == "recoverableitemsdeletions",
    })
}

/// One spelling for `Boolean 0x0E01`, `Boolean 0xe01` and `boolean 0xE01`.
pub(super) fn property_key(id: &str) -> String {
    let lower = id.to_ascii_lowercase();
    match lower.split_once(" 0x") {
        Some((kind, digits)) => format!("{kind} 0x{}", digits.trim_start_matches('0')),
        None => lower,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selection_keeps_the_id() {
        let folder = Folder::new("INBOX", "inbox", "");
        let raw = b"From: A <a@x>\r\nMessage-ID: <1@x>\r\nSubject: hi\r\n\r\nbody\r\n";
        let stored = StoredMessage::new(raw.to_vec()).flagged("\\Seen");
        let query = Query::parse(Some("$select=subject,isRead,from")).expect("good");
        let value = message(&stored, &folder, true, &query);
        assert_eq!(value["id"], stored.immutable_id);
        assert_eq!((&value["subject"], &value["isRead"]), (&json!("hi"), &json!(true)));
        assert_eq!(value["from"]["emailAddress"], json!({"name": "A", "address": "a@x"}));
        assert_eq!(value.get("internetMessageId"), None);
    }

    #[test]
    fn property_ids_have_one_spelling() {
        for id in ["Boolean 0x0E01", "boolean 0xe01", "BOOLEAN 0xE01"] {
            assert_eq!(property_key(id), "boolean 0xe01");
        }
    }
}
