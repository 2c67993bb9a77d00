//! A message from Graph's JSON: what `sendMail` and drafts without MIME become.
//!
//! Danger: JSON cannot say everything that MIME can; whoever sends it loses headers. Rule: only what
//! Graph's message resource allows is taken, and own header fields must start with `x-`
//! (facts/graph-mail.md section 8).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::super::accounts::{guid, random_text};
use super::super::mailbox::Attachment;
use super::super::mime;
use super::error::GraphError;

/// Octets of UTF-8 in one encoded word: 75 characters at most (RFC 2047 section 2).
const OCTETS_PER_WORD: usize = 42;
/// Base64 lines of 76 characters (RFC 2045 section 6.8).
const OCTETS_PER_LINE: usize = 57;

/// The MIME of a message resource, without its attachments.
pub(super) fn mime(message: &Value) -> Result<Vec<u8>, GraphError> {
    if !message.is_object() {
        return Err(GraphError::unreadable_body());
    }
    let mut head = Vec::new();
    let date = OffsetDateTime::now_utc().format(&Rfc2822).unwrap_or_default();
    head.push(format!("Date: {date}"));
    let id = message["internetMessageId"].as_str().map(str::to_owned);
    let id = id.unwrap_or_else(|| format!("<{}@sandbox.localhost>", guid()));
    head.push(format!("Message-ID: {}", one_line(&id)));
    for (name, property) in [("From", "from"), ("Sender", "sender")] {
        if message[property].is_object() {
            head.push(format!("{name}: {}", mailbox(&message[property])?));
        }
    }
    let lists = [
        ("To", "toRecipients"),
        ("Cc", "ccRecipients"),
        ("Bcc", "bccRecipients"),
        ("Reply-To", "replyTo"),
    ];
    for (name, property) in lists {
        if let Some(list) = mailboxes(&message[property])? {
            head.push(format!("{name}: {list}"));
        }
    }
    if let Some(subject) = message["subject"].as_str() {
        head.push(format!("Subject: {}", encoded(subject)));
    }
    own_headers(&message["internetMessageHeaders"], &mut head)?;
    Ok(with_body(head, &message["body"]))
}

/// The message with its text replaced; the rest of the header stays.
pub(super) fn with_other_body(raw: &[u8], body: &Value) -> Vec<u8> {
    let is_kept = |field: &&[u8]| {
        let name = mime::field_name(field).to_ascii_lowercase();
        !name.starts_with(b"content-") && name != b"mime-version"
    };
    let kept = mime::fields(raw).into_iter().filter(is_kept);
    let line = |field: &[u8]| String::from_utf8_lossy(field).trim_end().to_owned();
    with_body(kept.map(line).collect(), body)
}

fn with_body(mut head: Vec<String>, body: &Value) -> Vec<u8> {
    let html = body["contentType"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("html"));
    head.push("MIME-Version: 1.0".into());
    let kind = if html { "html" } else { "plain" };
    head.push(format!("Content-Type: text/{kind}; charset=\"utf-8\""));
    head.push("Content-Transfer-Encoding: base64".into());
    let mut out = head.join("\r\n");
    out.push_str("\r\n\r\n");
    for line in body["content"].as_str().unwrap_or_default().as_bytes().chunks(OCTETS_PER_LINE) {
        out.push_str(&STANDARD.encode(line));
        out.push_str("\r\n");
    }
    out.into_bytes()
}

fn own_headers(list: &Value, head: &mut Vec<String>) -> Result<(), GraphError> {
    for header in list.as_array().into_iter().flatten() {
        let name = header["name"].as_str().unwrap_or_default();
        let value = header["value"].as_str().unwrap_or_default();
        if !name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("x-")) {
            let text = format!(
                "The internet message header name '{name}' should start with 'x-' or 'X-'."
            );
            return Err(GraphError::bad("InvalidInternetMessageHeader", text));
        }
        head.push(format!("{}: {}", one_line(name), encoded(value)));
    }
    Ok(())
}

/// A list of recipients; `None` when it is empty or missing.
pub(super) fn mailboxes(list: &Value) -> Result<Option<String>, GraphError> {
    let Some(list) = list.as_array().filter(|list| !list.is_empty()) else { return Ok(None) };
    let all: Result<Vec<String>, GraphError> = list.iter().map(mailbox).collect();
    Ok(Some(all?.join(",\r\n ")))
}

fn mailbox(recipient: &Value) -> Result<String, GraphError> {
    let email = &recipient["emailAddress"];
    let address = email["address"].as_str().unwrap_or_default();
    if !super::super::mime::is_address(address) {
        let text = "At least one recipient isn't valid.";
        return Err(GraphError::bad("ErrorInvalidRecipients", text));
    }
    Ok(match email["name"].as_str().filter(|name| !name.is_empty()) {
        Some(name) if name.is_ascii() => {
            format!("\"{}\" <{address}>", one_line(name).replace(['"', '\\'], "'"))
        }
        Some(name) => format!("{} <{address}>", encoded(name)),
        None => address.to_owned(),
    })
}

fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

/// Encoded words when the text needs them (RFC 2047).
pub(super) fn encoded(text: &str) -> String {
    if text.is_ascii() {
        return one_line(text);
    }
    let mut words = vec![String::new()];
    for character in text.chars() {
        let full = words.last().is_none_or(|w| w.len() + character.len_utf8() > OCTETS_PER_WORD);
        if full {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(character);
        }
    }
    let word = |word: &String| format!("=?utf-8?B?{}?=", STANDARD.encode(word));
    words.iter().map(word).collect::<Vec<_>>().join("\r\n ")
}

/// A fileAttachment of Graph's JSON.
pub(super) fn attachment(json: &Value) -> Result<Attachment, GraphError> {
    let invalid = |why: &str| GraphError::bad("ErrorInvalidRequest", why);
    if json["@odata.type"].as_str() != Some("#microsoft.graph.fileAttachment") {
        return Err(invalid(
            "The attachment's @odata.type must be #microsoft.graph.fileAttachment.",
        ));
    }
    let name = json["name"].as_str().ok_or_else(|| invalid("The attachment has no name."))?;
    let content = json["contentBytes"].as_str().and_then(|text| STANDARD.decode(text).ok());
    let text = |name: &str| json[name].as_str().map(str::to_owned);
    Ok(Attachment {
        id: random_text(120),
        name: name.to_owned(),
        content_type: text("contentType").unwrap_or_else(|| "application/octet-stream".into()),
        content_id: text("contentId"),
        inline: json["isInline"].as_bool().unwrap_or(false),
        bytes: content.ok_or_else(|| invalid("contentBytes is missing or no base64."))?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_json_message_becomes_the_mail_it_describes() {
        let raw = mime(&json!({
            "subject": "Grüße aus Köln, und das ist ein recht langer Betreff mit Umlauten: äöüß",
            "body": {"contentType": "HTML", "content": "<p>é</p>"},
            "from": {"emailAddress": {"address": "a@x"}},
            "toRecipients": [
                {"emailAddress": {"address": "b@x", "name": "B \"the\" B"}},
                {"emailAddress": {"address": "c@x", "name": "Çağla"}},
            ],
            "internetMessageHeaders": [{"name": "X-Own", "value": "1"}],
        }))
        .expect("good");
        let message = super::super::super::mime::parse(&raw).expect("a message");
        let subject = "Grüße aus Köln, und das ist ein recht langer Betreff mit Umlauten: äöüß";
        assert_eq!(message.subject(), Some(subject));
        assert_eq!(message.body_html(0).as_deref(), Some("<p>é</p>"));
        let to: Vec<_> = message.to().expect("To").iter().map(|a| a.address()).collect();
        assert_eq!(to, [Some("b@x"), Some("c@x")]);
        assert!(raw.is_ascii());
    }

    #[test]
    fn what_graph_refuses_is_refused() {
        let header = json!({"internetMessageHeaders": [{"name": "Reply-By", "value": "1"}]});
        assert_eq!(mime(&header).map_err(|e| e.code), Err("InvalidInternetMessageHeader"));
        let nobody = json!({"toRecipients": [{"emailAddress": {"address": "root"}}]});
        assert_eq!(mime(&nobody).map_err(|e| e.code), Err("ErrorInvalidRecipients"));
        assert!(mime(&json!("text")).is_err());
        let kind = "#microsoft.graph.fileAttachment";
        for bad in [
            json!({"name": "a", "contentBytes": "YQ=="}),
            json!({"@odata.type": kind, "contentBytes": "YQ=="}),
            json!({"@odata.type": kind, "name": "a", "contentBytes": "Y"}),
        ] {
            assert!(attachment(&bad).is_err(), "{bad}");
        }
    }
}
