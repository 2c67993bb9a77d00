//! `PATCH …/messages/{id}`.
//!
//! Danger: a change that the real service refuses, taken here, would show a feature that does not
//! exist. Rule: facts/graph-mail.md section 6: a few properties at any time, those of the content
//! while it is a draft, all others never; all or nothing; extended properties are not echoed.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde_json::Value;

use super::super::mailbox::StoredMessage;
use super::super::mime;
use super::super::store::Cloud;
use super::super::web;
use super::error::GraphError;
use super::extended::{self, Property};
use super::gate::{Caller, Right};
use super::messages::{show, with_message};
use super::odata::Query;
use super::{compose, view};

pub(super) async fn update(
    State(cloud): State<Arc<Cloud>>,
    Extension(caller): Extension<Caller>,
    Path((user, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, GraphError> {
    let mut store = cloud.state();
    let address = caller.open(&store, &user, Right::Write)?;
    if web::media_type(&headers) != "application/json" {
        return Err(GraphError::unreadable_body());
    }
    let json: Value = serde_json::from_slice(&body).map_err(|_| GraphError::unreadable_body())?;
    let changes = json.as_object().ok_or_else(GraphError::unreadable_body)?;
    let expected = headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok());
    with_message(&mut store, &caller, &address, &id, |message| {
        if expected.is_some_and(|etag| etag != "*" && etag != view::etag(message)) {
            let text = "The item has been changed by another operation.";
            let status = StatusCode::PRECONDITION_FAILED;
            return Err(GraphError::new(status, "ErrorIrresolvableConflict", text));
        }
        let mut changed = (**message).clone();
        for (name, value) in changes {
            apply(&mut changed, name, value)?;
        }
        **message = changed;
        Ok(())
    })?;
    let shown = show(&store, &caller, &address, &id, &Query::default())?;
    drop(store);
    cloud.changed();
    Ok(web::json(StatusCode::OK, &shown))
}

fn apply(message: &mut StoredMessage, name: &str, value: &Value) -> Result<(), GraphError> {
    match name {
        "isRead" => set_flag(message, "\\Seen", value.as_bool()),
        "flag" => set_follow_up(message, value),
        "categories" => {
            message.categories = categories(value)?;
            Ok(())
        }
        "importance" => {
            let known = |text: &&str| ["low", "normal", "high"].contains(text);
            let text = value.as_str().filter(known).ok_or_else(GraphError::unreadable_body)?;
            text.clone_into(&mut message.importance);
            Ok(())
        }
        "singleValueExtendedProperties" => {
            // Whether it is a draft is settled at creation (facts/graph-mail.md section 8).
            let mut list = value.as_array().into_iter().flatten();
            let id = |property: &Value| property["id"].as_str().map(Property::parse);
            if list.any(|p| matches!(id(p), Some(Ok(known)) if known.key == "integer 0xe07")) {
                return Err(invalid_property(name));
            }
            set_extended(message, value)
        }
        _ if message.draft => apply_to_draft(message, name, value),
        _ => Err(invalid_property(name)),
    }
}

fn apply_to_draft(
    message: &mut StoredMessage,
    name: &str,
    value: &Value,
) -> Result<(), GraphError> {
    let header = match name {
        "body" => {
            let raw = compose::with_other_body(&message.raw, value);
            message.set_raw(raw);
            return Ok(());
        }
        "toRecipients" => "To",
        "ccRecipients" => "Cc",
        "bccRecipients" => "Bcc",
        "replyTo" => "Reply-To",
        "subject" => "Subject",
        "internetMessageId" => "Message-ID",
        _ => return Err(invalid_property(name)),
    };
    let text = match value.as_str() {
        Some(text) => Some(compose::encoded(text)),
        None => compose::mailboxes(value)?,
    };
    let rest = mime::without_field(&message.raw, header);
    message.set_raw(match text {
        Some(text) => mime::with_field(&rest, header, &text),
        None => rest,
    });
    Ok(())
}

fn invalid_property(name: &str) -> GraphError {
    let text = format!("The property '{name}' can't be set in this state of the message.");
    GraphError::bad("ErrorInvalidPropertySet", text)
}

fn set_flag(message: &mut StoredMessage, flag: &str, on: Option<bool>) -> Result<(), GraphError> {
    match on {
        Some(true) => message.flags.insert(flag.to_owned()),
        Some(false) => message.flags.remove(flag),
        None => return Err(GraphError::unreadable_body()),
    };
    Ok(())
}

fn set_follow_up(message: &mut StoredMessage, value: &Value) -> Result<(), GraphError> {
    let status = value["flagStatus"].as_str().unwrap_or_default();
    if !["flagged", "complete", "notFlagged"].contains(&status) {
        return Err(GraphError::unreadable_body());
    }
    message.completed = status == "complete";
    set_flag(message, "\\Flagged", Some(status == "flagged"))
}

fn categories(value: &Value) -> Result<Vec<String>, GraphError> {
    let list = value.as_array().ok_or_else(GraphError::unreadable_body)?;
    let mut all: Vec<String> = Vec::new();
    for name in list {
        let name = name.as_str().ok_or_else(GraphError::unreadable_body)?;
        // A set, whatever the case.
        if !all.iter().any(|known| known.to_lowercase() == name.to_lowercase()) {
            all.push(name.to_owned());
        }
    }
    Ok(all)
}

/// Values are texts, whatever the property's type (resources/extended-properties-overview).
pub(super) fn set_extended(message: &mut StoredMessage, list: &Value) -> Result<(), GraphError> {
    for property in list.as_array().into_iter().flatten() {
        let (id, value) = (property["id"].as_str(), property["value"].as_str());
        let (id, value) = id.zip(value).ok_or_else(GraphError::unreadable_body)?;
        let key = Property::parse(id)?.key;
        if !extended::fits(&key, value) {
            let text = format!("The value does not fit the property '{id}'.");
            return Err(GraphError::bad("ErrorInvalidExtendedPropertyValue", text));
        }
        if key == "integer 0x1090" {
            message.completed = value == "1";
            set_flag(message, "\\Flagged", Some(value == "2"))?;
            continue;
        }
        message.extended.insert(key, value.to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_may_be_changed_depends_on_the_state() {
        let raw = b"Subject: a\r\nMessage-ID: <1@x>\r\n\r\nold\r\n".to_vec();
        let mut message = StoredMessage::new(raw);
        for (name, value) in [
            ("isRead", json!(true)),
            ("flag", json!({"flagStatus": "complete"})),
            ("categories", json!(["a b", "A B", "c"])),
            ("importance", json!("high")),
        ] {
            assert_eq!(apply(&mut message, name, &value), Ok(()), "{name}");
        }
        assert!(message.is_read() && message.completed && message.importance == "high");
        assert_eq!(message.categories, ["a b", "c"]);
        let content = [
            ("subject", json!("b")),
            ("body", json!({"contentType": "text", "content": "new"})),
            ("internetMessageId", json!("<2@x>")),
        ];
        for (name, value) in &content {
            assert!(apply(&mut message, name, value).is_err(), "{name}");
        }
        message.draft = true;
        for (name, value) in &content {
            assert_eq!(apply(&mut message, name, value), Ok(()), "{name}");
        }
        assert_eq!(message.head().subject, "b");
        assert_eq!(message.head().message_id.as_deref(), Some("<2@x>"));
        assert!(message.text().content.contains("new"));
        for never in ["isDraft", "receivedDateTime", "parentFolderId", "id"] {
            assert!(apply(&mut message, never, &json!("x")).is_err(), "{never}");
        }
    }

    #[test]
    fn extended_values_fit_their_types() {
        let mut message = StoredMessage::new(Vec::new());
        let list = |id: &str, value: Value| json!([{"id": id, "value": value}]);
        let good = list("Integer 0x1081", json!("102"));
        assert_eq!(set_extended(&mut message, &good), Ok(()));
        assert_eq!(message.extended["integer 0x1081"], "102");
        assert!(set_extended(&mut message, &list("Integer 0x1081", json!(102))).is_err());
        assert!(set_extended(&mut message, &list("Integer 0x1081", json!("x"))).is_err());
        assert_eq!(set_extended(&mut message, &list("Integer 0x1090", json!("2"))), Ok(()));
        assert!(message.flags.contains("\\Flagged"));
        let unsent = list("Integer 0x0E07", json!("1"));
        assert!(apply(&mut message, "singleValueExtendedProperties", &unsent).is_err());
    }
}
