//! The few OData query options that mail requests need.
//!
//! Danger: a server that skips an option it does not know answers another question than the one
//! asked. Rule: an unknown option or a filter beyond what stands here is a 400.

use super::super::web;
use super::error::GraphError;

/// Page size when `$top` is not given (facts/graph-mail.md section 3).
const DEFAULT_TOP: usize = 10;
/// The largest page.
const MAX_TOP: usize = 1000;

/// The options of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub filter: Vec<Condition>,
    pub select: Vec<String>,
    pub top: usize,
    pub skip: usize,
    /// Ids of extended properties from `$expand`.
    pub expand: Vec<String>,
    /// `$orderby=receivedDateTime desc`, the only order; false: the store's own.
    pub newest_first: bool,
}

/// `property eq literal`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub property: String,
    pub value: Literal,
}

/// An OData literal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Literal {
    Text(String),
    Boolean(bool),
}

impl Query {
    pub fn parse(raw: Option<&str>) -> Result<Self, GraphError> {
        let mut query = Self {
            filter: Vec::new(),
            select: Vec::new(),
            top: DEFAULT_TOP,
            skip: 0,
            expand: Vec::new(),
            newest_first: false,
        };
        let broken = || GraphError::bad("BadRequest", "The query string can't be read.");
        for (name, value) in web::form(raw.unwrap_or_default().as_bytes()).ok_or_else(broken)? {
            match name.as_str() {
                "$filter" => query.filter = filter(&value)?,
                "$select" => query.select = value.split(',').map(|s| s.trim().to_owned()).collect(),
                "$top" => query.top = number(&value, 1, MAX_TOP)?,
                "$skip" => query.skip = number(&value, 0, usize::MAX)?,
                "$expand" => query.expand = expand(&value)?,
                "$orderby" if value == "receivedDateTime desc" => query.newest_first = true,
                _ => {
                    let text = format!("The query option '{name}' is not supported here.");
                    return Err(GraphError::bad("BadRequest", text));
                }
            }
        }
        Ok(query)
    }
}

fn number(text: &str, least: usize, most: usize) -> Result<usize, GraphError> {
    let value = text.parse().ok().filter(|value| (least..=most).contains(value));
    value.ok_or_else(|| GraphError::bad("BadRequest", format!("Invalid value '{text}'.")))
}

/// Conditions joined by `and`.
fn filter(text: &str) -> Result<Vec<Condition>, GraphError> {
    let invalid = || GraphError::bad("BadRequest", format!("Invalid filter clause: {text}"));
    let mut conditions = Vec::new();
    let mut rest = text.trim();
    loop {
        let (property, after) = rest.split_once(' ').ok_or_else(invalid)?;
        let after = after.trim_start().strip_prefix("eq ").ok_or_else(invalid)?.trim_start();
        let (value, after) = literal(after).ok_or_else(invalid)?;
        let known = match property {
            "internetMessageId" | "subject" => matches!(value, Literal::Text(_)),
            "isRead" | "isDraft" => matches!(value, Literal::Boolean(_)),
            _ => false,
        };
        if !known {
            return Err(invalid());
        }
        conditions.push(Condition { property: property.to_owned(), value });
        rest = after.trim_start();
        if rest.is_empty() {
            return Ok(conditions);
        }
        rest = rest.strip_prefix("and ").ok_or_else(invalid)?.trim_start();
    }
}

/// A literal and what follows; a quote inside a text is doubled.
fn literal(text: &str) -> Option<(Literal, &str)> {
    for (word, value) in [("true", true), ("false", false)] {
        if let Some(rest) = text.strip_prefix(word) {
            return Some((Literal::Boolean(value), rest));
        }
    }
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
            None => return Some((Literal::Text(value), after)),
        }
    }
}

/// `singleValueExtendedProperties($filter=id eq 'x' or id eq 'y')`.
fn expand(text: &str) -> Result<Vec<String>, GraphError> {
    let invalid = || GraphError::bad("BadRequest", format!("Invalid $expand: {text}"));
    let inner = text
        .strip_prefix("singleValueExtendedProperties($filter=")
        .and_then(|rest| rest.strip_suffix(')'))
        .ok_or_else(invalid)?;
    let mut ids = Vec::new();
    for part in inner.split(" or ") {
        let value = part.trim().strip_prefix("id eq ").ok_or_else(invalid)?;
        match literal(value.trim()) {
            Some((Literal::Text(id), "")) => ids.push(id),
            _ => return Err(invalid()),
        }
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(property: &str, value: &str) -> Condition {
        Condition { property: property.into(), value: Literal::Text(value.into()) }
    }

    #[test]
    fn quotes_are_doubled_and_conditions_joined() {
        let query = Query::parse(Some(
            "$filter=internetMessageId%20eq%20'%3Co''neil%40x%3E'+and+isDraft+eq+false&$top=2",
        ));
        let query = query.expect("good");
        let want = [
            text("internetMessageId", "<o'neil@x>"),
            Condition { property: "isDraft".into(), value: Literal::Boolean(false) },
        ];
        assert_eq!(query.filter, want);
        assert_eq!((query.top, query.skip), (2, 0));
        assert_eq!(Query::parse(None).expect("good").top, 10);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for bad in [
            "$filter=internetMessageId eq <a@b>",
            "$filter=internetMessageId eq 'a'b'",
            "$filter=internetMessageId eq 'a' or isRead eq true",
            "$filter=isRead eq 'true'",
            "$filter=importance eq 'high'",
            "$search=x",
            "$top=0",
            "$top=1001",
            "$orderby=subject",
            "$expand=attachments",
            "$filter=%zz",
        ] {
            assert!(Query::parse(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn expand_lists_extended_properties() {
        let raw =
            "$expand=singleValueExtendedProperties($filter=id eq 'Integer 0x0E07' or id eq 'a')";
        let query = Query::parse(Some(raw)).expect("good");
        assert_eq!(query.expand, ["Integer 0x0E07", "a"]);
    }
}
