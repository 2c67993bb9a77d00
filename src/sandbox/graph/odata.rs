//! The OData query options that mail requests need.
//!
//! Danger: a server that skips an option it does not know answers another question than the one
//! asked. Rule: an unknown option, property or filter is a 400; so is a filter that the real service
//! finds inefficient beside an order (facts/graph-mail.md section 3).

use super::super::web;
use super::error::GraphError;
use super::extended::Property;
use super::filter::{Condition, parse};

/// Page size when `$top` is not given (facts/graph-mail.md section 3).
pub(super) const DEFAULT_TOP: usize = 10;
/// The largest page.
pub(super) const MAX_TOP: usize = 1000;

/// Properties by which messages can be ordered.
const ORDERS: [&str; 5] =
    ["receivedDateTime", "sentDateTime", "createdDateTime", "lastModifiedDateTime", "subject"];

/// The options of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pub filter: Vec<Condition>,
    pub select: Vec<String>,
    pub top: Option<usize>,
    pub skip: usize,
    /// Extended properties from `$expand`.
    pub expand: Vec<Property>,
    /// Property, and true for descending.
    pub order: Vec<(String, bool)>,
    pub include_hidden: bool,
    pub change_type: Option<String>,
    /// The options in the form in which links repeat them.
    pub repeated: String,
}

impl Query {
    /// Options of a request; `is_property` knows what `$select` may name.
    pub fn parse(raw: Option<&str>, is_property: fn(&str) -> bool) -> Result<Self, GraphError> {
        let mut query = Self::default();
        let broken = || GraphError::bad("BadRequest", "The query string can't be read.");
        for (name, value) in web::form(raw.unwrap_or_default().as_bytes()).ok_or_else(broken)? {
            match name.as_str() {
                "$filter" => query.filter = parse(&value)?,
                "$select" => query.select = select(&value, is_property)?,
                "$top" => query.top = Some(number(&value, 1, MAX_TOP)?),
                "$skip" => query.skip = number(&value, 0, usize::MAX)?,
                "$expand" => query.expand = expand(&value)?,
                "$orderby" => query.order = order(&value)?,
                "includeHiddenFolders" => query.include_hidden = value == "true",
                "changeType" => query.change_type = Some(change_type(&value)?),
                _ => return Err(unknown(&name)),
            }
            if name != "$skip" {
                let (name, value) = (super::links::escaped(&name), super::links::escaped(&value));
                query.repeated.push_str(&format!("{name}={value}&"));
            }
        }
        query.check_efficiency()?;
        Ok(query)
    }

    /// Every property of the order must be in the filter, in that order, before all others.
    fn check_efficiency(&self) -> Result<(), GraphError> {
        if self.filter.is_empty() || self.order.is_empty() {
            return Ok(());
        }
        let mut filtered: Vec<&str> = self.filter.iter().map(Condition::property).collect();
        filtered.dedup();
        let ordered = self.order.iter().map(|(name, _)| name.as_str());
        if ordered.eq(filtered.into_iter().take(self.order.len())) {
            return Ok(());
        }
        let text = "The restriction or sort order is too complex for this operation.";
        Err(GraphError::bad("InefficientFilter", text))
    }

    /// Options that this collection does not have are refused.
    pub fn only(&self, allowed: &[&str]) -> Result<(), GraphError> {
        let given = [
            ("$filter", !self.filter.is_empty()),
            ("$top", self.top.is_some()),
            ("$skip", self.skip > 0),
            ("$expand", !self.expand.is_empty()),
            ("$orderby", !self.order.is_empty()),
            ("includeHiddenFolders", self.include_hidden),
            ("changeType", self.change_type.is_some()),
        ];
        match given.iter().find(|(name, given)| *given && !allowed.contains(name)) {
            Some((name, _)) => Err(unknown(name)),
            None => Ok(()),
        }
    }

    /// Messages on a page: the smaller of `$top` and `Prefer: odata.maxpagesize`.
    pub fn page_size(&self, preferred: Option<usize>) -> usize {
        let preferred = preferred.map(|size| size.clamp(1, MAX_TOP));
        match (self.top, preferred) {
            (Some(top), Some(preferred)) => top.min(preferred),
            (one, other) => one.or(other).unwrap_or(DEFAULT_TOP),
        }
    }
}

fn unknown(name: &str) -> GraphError {
    GraphError::bad("BadRequest", format!("The query option '{name}' is not supported here."))
}

fn number(text: &str, least: usize, most: usize) -> Result<usize, GraphError> {
    let value = text.parse().ok().filter(|value| (least..=most).contains(value));
    value.ok_or_else(|| GraphError::bad("BadRequest", format!("Invalid value '{text}'.")))
}

fn select(text: &str, is_property: fn(&str) -> bool) -> Result<Vec<String>, GraphError> {
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    match names.iter().find(|name| !is_property(name)) {
        None => Ok(names),
        Some(name) => {
            let text = format!("Could not find a property named '{name}' on this type.");
            Err(GraphError::bad("RequestBroker--ParseUri", text))
        }
    }
}

fn order(text: &str) -> Result<Vec<(String, bool)>, GraphError> {
    let invalid = || GraphError::bad("BadRequest", format!("Invalid $orderby: {text}"));
    let mut all = Vec::new();
    for one in text.split(',') {
        let (name, direction) = one.trim().split_once(' ').unwrap_or((one.trim(), "asc"));
        let descending = match direction.trim() {
            "asc" => false,
            "desc" => true,
            _ => return Err(invalid()),
        };
        if !ORDERS.contains(&name) {
            return Err(invalid());
        }
        all.push((name.to_owned(), descending));
    }
    Ok(all)
}

fn change_type(text: &str) -> Result<String, GraphError> {
    match text {
        "created" | "updated" | "deleted" => Ok(text.to_owned()),
        _ => Err(GraphError::bad("BadRequest", format!("Invalid changeType '{text}'."))),
    }
}

/// `singleValueExtendedProperties($filter=id eq 'x' or id eq 'y')`.
fn expand(text: &str) -> Result<Vec<Property>, GraphError> {
    let invalid = || GraphError::bad("BadRequest", format!("Invalid $expand: {text}"));
    let inner = text
        .strip_prefix("singleValueExtendedProperties($filter=")
        .and_then(|rest| rest.strip_suffix(')'))
        .ok_or_else(invalid)?;
    let mut rest = inner.trim();
    let mut properties = Vec::new();
    loop {
        let after = rest.strip_prefix("id eq ").ok_or_else(invalid)?.trim_start();
        let (id, after) = super::filter::quoted(after).ok_or_else(invalid)?;
        properties.push(Property::parse(&id)?);
        rest = after.trim_start();
        if rest.is_empty() {
            return Ok(properties);
        }
        rest = rest.strip_prefix("or ").ok_or_else(invalid)?.trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::is_property;
    use super::*;

    fn of(raw: &str) -> Result<Query, GraphError> {
        Query::parse(Some(raw), is_property)
    }

    #[test]
    fn page_sizes_are_the_smaller_of_both() {
        let (plain, top) = (of("").expect("good"), of("$top=50").expect("good"));
        assert_eq!((plain.page_size(None), plain.page_size(Some(300))), (10, 300));
        assert_eq!((top.page_size(None), top.page_size(Some(20))), (50, 20));
        assert_eq!(plain.page_size(Some(5000)), 1000);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for bad in [
            "$search=x",
            "$top=0",
            "$top=1001",
            "$orderby=isRead",
            "$orderby=receivedDateTime down",
            "$select=subject,nonsense",
            "$select=@odata.etag",
            "$expand=attachments",
            "$expand=singleValueExtendedProperties($filter=id eq 'nonsense')",
            "$filter=%zz",
            "changeType=new",
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_order_must_lead_the_filter() {
        let good = [
            "$filter=receivedDateTime ge 1900-01-01T00:00:00Z and isRead eq false\
                &$orderby=receivedDateTime desc",
            "$filter=receivedDateTime ge 1900-01-01T00:00:00Z and receivedDateTime lt \
                2900-01-01T00:00:00Z and isRead eq false&$orderby=receivedDateTime",
            "$orderby=receivedDateTime asc",
        ];
        for good in good {
            assert!(of(good).is_ok(), "{good}");
        }
        for bad in [
            "$filter=isRead eq false&$orderby=receivedDateTime desc",
            "$filter=isRead eq false and receivedDateTime ge 1900-01-01T00:00:00Z\
                &$orderby=receivedDateTime desc",
        ] {
            assert_eq!(of(bad).map_err(|e| e.code), Err("InefficientFilter"), "{bad}");
        }
    }

    #[test]
    fn expand_lists_extended_properties() {
        let raw = "$expand=singleValueExtendedProperties($filter=id eq 'Integer 0x0E07' or id \
            eq 'String {00020386-0000-0000-C000-000000000046} Name x or y')";
        let query = of(raw).expect("good");
        assert_eq!(query.expand[0].key, "integer 0xe07");
        assert!(query.expand[1].shown.ends_with("Name x or y"));
        assert!(query.only(&["$expand"]).is_ok() && query.only(&["$top"]).is_err());
    }
}
