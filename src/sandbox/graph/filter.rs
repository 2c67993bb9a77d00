//! `$filter` for messages: conditions joined by `and`.
//!
//! Danger: a filter that is answered loosely makes a client send twice, or believe that a message
//! is not there. Rule: exactly the properties, operators and literals below; all else is a 400.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::mailbox::StoredMessage;
use super::error::GraphError;
use super::extended::{self, Property};

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// `property op literal`.
    Compare { property: String, operator: Operator, value: Literal },
    /// `singleValueExtendedProperties/Any(ep: ep/id eq 'id' and ep/value eq 'value')`.
    Extended { key: String, value: String },
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    AtLeast,
    Above,
    AtMost,
    Below,
}

/// An OData literal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Literal {
    Text(String),
    Boolean(bool),
    Time(OffsetDateTime),
}

const ANY: &str = "singleValueExtendedProperties/Any(";

impl Condition {
    /// The property it is about.
    pub fn property(&self) -> &str {
        match self {
            Self::Compare { property, .. } => property,
            Self::Extended { .. } => "singleValueExtendedProperties",
        }
    }

    /// True for what a delta request may be filtered by (facts/graph-mail.md section 5).
    pub fn fits_delta(&self) -> bool {
        matches!(self, Self::Compare { property, operator: Operator::AtLeast | Operator::Above, .. }
            if property == "receivedDateTime")
    }

    pub fn holds(&self, message: &StoredMessage) -> bool {
        let (property, operator, value) = match self {
            Self::Extended { key, value } => {
                return extended::value(message, key).as_ref() == Some(value);
            }
            Self::Compare { property, operator, value } => (property.as_str(), *operator, value),
        };
        match value {
            Literal::Text(text) => {
                let is = text_of(message, property).is_some_and(|known| known == *text);
                is == (operator == Operator::Equal)
            }
            Literal::Boolean(on) => {
                let is = truth_of(message, property) == *on;
                is == (operator == Operator::Equal)
            }
            Literal::Time(time) => compares(time_of(message, property), operator, *time),
        }
    }
}

fn text_of(message: &StoredMessage, property: &str) -> Option<String> {
    let head = message.head();
    match property {
        "internetMessageId" => head.message_id.clone(),
        "subject" => Some(head.subject.clone()),
        _ => head.from["emailAddress"]["address"].as_str().map(str::to_owned),
    }
}

fn truth_of(message: &StoredMessage, property: &str) -> bool {
    match property {
        "isRead" => message.is_read(),
        "isDraft" => message.draft,
        _ => !message.attachments.is_empty() || message.text().has_files,
    }
}

fn time_of(message: &StoredMessage, property: &str) -> OffsetDateTime {
    match property {
        "lastModifiedDateTime" => message.modified,
        "sentDateTime" => message.head().sent.unwrap_or(message.received),
        _ => message.received,
    }
}

fn compares(one: OffsetDateTime, operator: Operator, other: OffsetDateTime) -> bool {
    match operator {
        Operator::Equal => one == other,
        Operator::NotEqual => one != other,
        Operator::AtLeast => one >= other,
        Operator::Above => one > other,
        Operator::AtMost => one <= other,
        Operator::Below => one < other,
    }
}

/// Conditions joined by `and`.
pub(super) fn parse(text: &str) -> Result<Vec<Condition>, GraphError> {
    let invalid = || GraphError::bad("BadRequest", format!("Invalid filter clause: {text}"));
    let mut conditions = Vec::new();
    let mut rest = text.trim();
    loop {
        let (condition, after) = match rest.strip_prefix(ANY) {
            Some(inner) => any(inner).ok_or_else(invalid)?,
            None => compare(rest).ok_or_else(invalid)?,
        };
        conditions.push(condition);
        rest = after.trim_start();
        if rest.is_empty() {
            return Ok(conditions);
        }
        rest = rest.strip_prefix("and ").ok_or_else(invalid)?.trim_start();
    }
}

fn compare(text: &str) -> Option<(Condition, &str)> {
    let (property, after) = text.split_once(' ')?;
    let (operator, after) = after.trim_start().split_once(' ')?;
    let operator = match operator {
        "eq" => Operator::Equal,
        "ne" => Operator::NotEqual,
        "ge" => Operator::AtLeast,
        "gt" => Operator::Above,
        "le" => Operator::AtMost,
        "lt" => Operator::Below,
        _ => return None,
    };
    let (value, after) = literal(after.trim_start())?;
    let exact = matches!(operator, Operator::Equal | Operator::NotEqual);
    let known = match property {
        "internetMessageId" | "subject" | "from/emailAddress/address" => {
            exact && matches!(value, Literal::Text(_))
        }
        "isRead" | "isDraft" | "hasAttachments" => exact && matches!(value, Literal::Boolean(_)),
        "receivedDateTime" | "sentDateTime" | "createdDateTime" | "lastModifiedDateTime" => {
            matches!(value, Literal::Time(_))
        }
        _ => false,
    };
    known.then(|| (Condition::Compare { property: property.to_owned(), operator, value }, after))
}

/// `ep: ep/id eq 'x' and ep/value eq 'y')`.
fn any(text: &str) -> Option<(Condition, &str)> {
    let (name, rest) = text.split_once(':')?;
    let (id, rest) = quoted(rest.trim_start().strip_prefix(&format!("{name}/id eq "))?)?;
    let rest = rest.trim_start().strip_prefix("and ")?;
    let (value, rest) = quoted(rest.trim_start().strip_prefix(&format!("{name}/value eq "))?)?;
    let key = Property::parse(&id).ok()?.key;
    Some((Condition::Extended { key, value }, rest.trim_start().strip_prefix(')')?))
}

/// A literal and what follows.
fn literal(text: &str) -> Option<(Literal, &str)> {
    if text.starts_with('\'') {
        return quoted(text).map(|(value, rest)| (Literal::Text(value), rest));
    }
    let (word, rest) = text.split_at(text.find(' ').unwrap_or(text.len()));
    let value = match word {
        "true" => Literal::Boolean(true),
        "false" => Literal::Boolean(false),
        _ => Literal::Time(OffsetDateTime::parse(word, &Rfc3339).ok()?),
    };
    Some((value, rest))
}

/// A text in quotes, and what follows; a quote inside is doubled.
pub(super) fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text.strip_prefix('\'')?;
    loop {
        let (part, after) = rest.split_once('\'')?;
        value.push_str(part);
        match after.strip_prefix('\'') {
            Some(more) => {
                value.push('\'');
                rest = more;
            }
            None => return Some((value, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled_and_conditions_joined() {
        let filter = parse("internetMessageId eq '<o''neil@x>' and isDraft eq false");
        let filter = filter.expect("good");
        let raw = b"Message-ID: <o'neil@x>\r\nIn-Reply-To: <a@b>\r\n\r\n".to_vec();
        let message = StoredMessage::new(raw);
        assert!(filter.len() == 2 && filter.iter().all(|one| one.holds(&message)));
        let holds = |text: &str| parse(text).expect("good").iter().all(|one| one.holds(&message));
        assert!(holds("receivedDateTime ge 1900-01-01T00:00:00Z"));
        assert!(!holds("receivedDateTime ge 2900-01-01T00:00:00Z"));
        assert!(!holds("internetMessageId eq '<x@x>'") && holds("isRead ne true"));
        let any = |value: &str| {
            format!(
                "singleValueExtendedProperties/Any(ep: ep/id eq 'String 0x1042' and ep/value eq \
                 '{value}')"
            )
        };
        assert!(holds(&any("<a@b>")) && !holds(&any("<b@b>")));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for bad in [
            "internetMessageId eq <a@b>",
            "internetMessageId eq 'a'b'",
            "internetMessageId eq 'a' or isRead eq true",
            "isRead eq 'true'",
            "isRead gt true",
            "receivedDateTime ge '1900-01-01T00:00:00Z'",
            "receivedDateTime ge 1900",
            "importance eq 'high'",
            "singleValueExtendedProperties/Any(ep: ep/id eq 'x' and ep/value eq 'y')",
            "",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn delta_takes_one_kind_of_filter() {
        let fits = |text: &str| parse(text).expect("good").iter().all(Condition::fits_delta);
        assert!(fits("receivedDateTime ge 1900-01-01T00:00:00Z"));
        assert!(!fits("receivedDateTime lt 1900-01-01T00:00:00Z") && !fits("isRead eq true"));
    }
}
