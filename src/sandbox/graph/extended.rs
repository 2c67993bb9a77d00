//! Extended properties: their many spellings, and those that the store itself keeps.
//!
//! Danger: a client that compares the id it sent with the id that comes back finds nothing. Rule:
//! ids are compared by meaning (`Integer 0x0E08` is `integer 0xe08`) and come back in the short
//! lower-case form that was observed (facts/graph-mail.md section 6); values are texts.

use super::super::mailbox::StoredMessage;
use super::error::GraphError;
use super::view;

const TYPES: [&str; 10] = [
    "String",
    "Integer",
    "Boolean",
    "SystemTime",
    "Binary",
    "Double",
    "Float",
    "Short",
    "Long",
    "CLSID",
];

/// An id as it is compared and kept, and as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Property {
    pub key: String,
    pub shown: String,
}

impl Property {
    /// `{type} 0xTAG`, `{type} {guid} Id 0x…` or `{type} {guid} Name …`
    /// (Graph page resources/extended-properties-overview).
    pub fn parse(id: &str) -> Result<Self, GraphError> {
        read(id).ok_or_else(|| {
            let text = format!("The extended property id '{id}' is invalid.");
            GraphError::bad("ErrorInvalidExtendedProperty", text)
        })
    }
}

fn read(id: &str) -> Option<Property> {
    let (kind, rest) = id.trim().split_once(' ')?;
    let kind = TYPES.into_iter().find(|known| known.eq_ignore_ascii_case(kind))?;
    let rest = rest.trim_start();
    let shown = match rest.strip_prefix('{') {
        None => format!("{kind} {}", number(rest)?),
        Some(rest) => {
            let (guid, rest) = rest.split_once('}')?;
            let guid = uuid::Uuid::parse_str(guid).ok()?;
            let (form, name) = rest.trim_start().split_once(' ')?;
            if form.eq_ignore_ascii_case("name") && !name.is_empty() {
                format!("{kind} {{{guid}}} Name {name}")
            } else if form.eq_ignore_ascii_case("id") {
                format!("{kind} {{{guid}}} Id {}", number(name)?)
            } else {
                return None;
            }
        }
    };
    Some(Property { key: shown.to_lowercase(), shown })
}

fn number(text: &str) -> Option<String> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    let value = u32::from_str_radix(digits, 16).ok()?;
    Some(format!("{value:#x}"))
}

/// A value fit for the type of its property.
pub(super) fn fits(key: &str, value: &str) -> bool {
    match key.split(' ').next().unwrap_or_default() {
        "integer" => value.parse::<i32>().is_ok(),
        "boolean" => value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"),
        _ => true,
    }
}

/// What a message has there; `None`: nothing.
pub(super) fn value(message: &StoredMessage, key: &str) -> Option<String> {
    if let Some(value) = message.extended.get(key).filter(|_| key != "integer 0xe07") {
        return Some(value.clone());
    }
    match key {
        "integer 0xe07" => Some(flags(message).to_string()),
        "integer 0xe08" => Some(store_size(message).to_string()),
        "integer 0xe23" => Some(message.uid.to_string()),
        "integer 0x1090" if message.completed => Some("1".into()),
        "integer 0x1090" => message.flags.contains("\\Flagged").then(|| "2".into()),
        "string 0x1a" => Some("IPM.Note".into()),
        "string 0x7d" => transport_headers(message),
        "string 0x1042" => message.head().in_reply_to.clone(),
        "string 0x1039" => message.head().references.clone(),
        "string 0x1035" => message.head().message_id.clone(),
        "systemtime 0xe06" => Some(view::stamp(message.received)),
        "systemtime 0x39" => message.head().sent.map(view::stamp),
        _ => None,
    }
}

/// PidTagMessageFlags: read, unsent, with files.
fn flags(message: &StoredMessage) -> u32 {
    let read = u32::from(message.is_read());
    let unsent = if message.draft { 0x8 } else { 0 };
    let files = if !message.attachments.is_empty() || message.text().has_files { 0x10 } else { 0 };
    read | unsent | files
}

/// What the item takes in the store: tens of percent more than the MIME, or less.
fn store_size(message: &StoredMessage) -> usize {
    let files: usize = message.attachments.iter().map(|file| file.bytes.len()).sum();
    let length = message.raw.len();
    let odd = message.immutable_id.bytes().map(usize::from).sum::<usize>() % 2 == 1;
    files + if odd { length + length / 3 + 900 } else { length - length / 4 }
}

/// The header block as it came through transport; drafts and sent copies have none.
fn transport_headers(message: &StoredMessage) -> Option<String> {
    if message.draft || !message.transported {
        return None;
    }
    let line = |(name, value): &(String, String)| format!("{name}: {value}\r\n");
    Some(message.head().fields.iter().map(line).collect())
}

/// The key of an id in any spelling.
pub(in crate::sandbox) fn property_key(id: &str) -> Option<String> {
    read(id).map(|property| property.key)
}

/// What a message has under an id in any spelling.
pub(in crate::sandbox) fn extended_value(message: &StoredMessage, id: &str) -> Option<String> {
    value(message, &property_key(id)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_one_meaning_and_come_back_short() {
        let guid = "{00062008-0000-0000-C000-000000000046}";
        let table = [
            ("Integer 0x0E08".to_owned(), "Integer 0xe08".to_owned()),
            ("integer 0xE08".into(), "Integer 0xe08".into()),
            (
                format!("Integer {guid} Id 0x8570"),
                format!("Integer {} Id 0x8570", guid.to_lowercase()),
            ),
            (format!("STRING {guid} name Xy"), format!("String {} Name Xy", guid.to_lowercase())),
        ];
        for (id, shown) in table {
            let property = Property::parse(&id).expect("good");
            assert_eq!(property.shown, shown);
            assert_eq!(property.key, shown.to_lowercase());
        }
        for bad in ["Integer", "Integer 0E08", "Int 0x1", "Integer {x} Id 0x1", "String 0x", ""] {
            assert!(Property::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_store_has_values_of_its_own() {
        let raw = b"In-Reply-To: <1@x>\r\nSubject: a\r\n b\r\n\r\nbody\r\n".to_vec();
        let mut message = StoredMessage::new(raw).flagged("\\Seen");
        let of = |message: &StoredMessage, key: &str| value(message, key).unwrap_or_default();
        assert_eq!(of(&message, "integer 0xe07"), "1");
        assert_eq!(of(&message, "string 0x1042"), "<1@x>");
        assert!(of(&message, "string 0x7d").contains("Subject: a b\r\n"));
        assert_ne!(of(&message, "integer 0xe08"), message.raw.len().to_string());
        message.draft = true;
        assert_eq!(of(&message, "integer 0xe07"), "9");
        assert_eq!(value(&message, "string 0x7d"), None);
        assert_eq!(value(&message, "integer 0x1081"), None);
        assert!(
            fits("integer 0x1", "-5") && !fits("integer 0x1", "x") && !fits("boolean 0x1", "1")
        );
    }
}
