//! A mailbox address as it stands in an SMTP envelope.
//!
//! Danger: an address with a line break or a NUL in it becomes a second command on the upstream
//! connection. Rule: an [`Address`] can only be made from text without controls, angle brackets or
//! bare spaces, and is compared without regard to case, as every service we talk to does.

use std::fmt;

/// A mailbox, such as `jane@example.com`, `"jane doe"@example.com` or `postmaster`.
///
/// RFC 5321 section 4.1.2 (`Mailbox`) and RFC 6531 section 3.3 for non-ASCII; the only address
/// without a domain is `postmaster` (section 4.5.1).
#[derive(Clone, Debug)]
pub struct Address(String);

/// Longest address accepted, in octets: RFC 5321 section 4.5.3.1.3 allows 256 with brackets; UTF-8
/// local parts are longer in octets than in characters.
const MAX_OCTETS: usize = 512;

/// Why a text is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No `@`, or nothing on one side of it.
    #[error("it is not of the form local-part@domain")]
    Shape,
    /// A control character, a bracket, or a space outside quotes.
    #[error("it contains a character that an address cannot have")]
    Character,
    /// More than 512 octets.
    #[error("it is longer than {MAX_OCTETS} octets")]
    TooLong,
}

impl Address {
    /// Checks the text of an address without its angle brackets.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.len() > MAX_OCTETS {
            return Err(AddressError::TooLong);
        }
        if text.eq_ignore_ascii_case("postmaster") {
            return Ok(Self(text.to_owned()));
        }
        let at = split_at_sign(text).ok_or(AddressError::Shape)?;
        let (local, domain) = (&text[..at], &text[at + 1..]);
        if local.is_empty() || domain.is_empty() {
            return Err(AddressError::Shape);
        }
        if !local_part_is_valid(local) || !domain_is_valid(domain) {
            return Err(AddressError::Character);
        }
        Ok(Self(text.to_owned()))
    }

    /// The address as it was written, quotes included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the last `@`; empty for `postmaster`.
    pub fn domain(&self) -> &str {
        split_at_sign(&self.0).map_or("", |at| &self.0[at + 1..])
    }

    /// The form in which two spellings of one mailbox are equal.
    pub fn key(&self) -> String {
        self.0.chars().map(fold).collect()
    }

    /// False when the address needs SMTPUTF8 (RFC 6531).
    pub fn is_ascii(&self) -> bool {
        self.0.is_ascii()
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Address {}

impl std::hash::Hash for Address {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lower case, but never from beyond ASCII into it: the Kelvin sign (U+212A) is no `k`, and the
/// second of two equal recipients is never sent to.
fn fold(c: char) -> char {
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) if one.is_ascii() == c.is_ascii() => one,
        _ => c,
    }
}

/// Position of the `@` between local part and domain; quotes may hold others.
fn split_at_sign(text: &str) -> Option<usize> {
    text.rfind('@')
}

fn local_part_is_valid(local: &str) -> bool {
    if let Some(inner) = local.strip_prefix('"') {
        return quoted_string_is_valid(inner);
    }
    local.chars().all(|c| !c.is_control() && !c.is_whitespace() && !"<>()[],;:\\\"@".contains(c))
}

/// What follows the opening quote, closing quote included.
fn quoted_string_is_valid(rest: &str) -> bool {
    let mut chars = rest.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => return chars.peek().is_none(),
            '\\' if chars.next().is_none_or(char::is_control) => return false,
            c if c.is_control() => return false,
            _ => {}
        }
    }
    false
}

fn domain_is_valid(domain: &str) -> bool {
    let literal = domain.starts_with('[') && domain.ends_with(']') && domain.len() > 2;
    let inner = if literal { &domain[1..domain.len() - 1] } else { domain };
    inner.chars().all(|c| {
        !c.is_control()
            && !c.is_whitespace()
            && !"<>()[],;\\\"@".contains(c)
            && (literal || c != ':')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_mail_uses() {
        for text in [
            "a@b",
            "jane.doe+tag@example.com",
            "\"jane doe\"@example.com",
            "\"a\\\"b\"@example.com",
            "\"a@b\"@example.com",
            "x@[192.0.2.1]",
            "x@[IPv6:2001:db8::1]",
            "Postmaster",
            "jürgen@exämple.de",
        ] {
            assert!(Address::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn refuses_what_would_break_the_wire() {
        for text in [
            "",
            "a",
            "@b",
            "a@",
            "a b@c",
            "a@b c",
            "a\r\nRCPT@b",
            "a@b\0<c@d",
            "a<b@c",
            "a@b>c",
            "a@b@c",
            "\"a@b",
            "\"a\"b@c",
            "a\u{7f}@b",
            "\"a\nb\"@c",
        ] {
            assert!(Address::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(Address::parse(&format!("{}@b", "a".repeat(600))), Err(AddressError::TooLong));
    }

    #[test]
    fn compares_without_case() {
        let parse = |text| Address::parse(text).expect("valid");
        assert_eq!(parse("Jane@Example.COM"), parse("jane@example.com"));
        assert_ne!(parse("jane@example.com"), parse("jane@example.org"));
        assert_ne!(parse("bok@example.com"), parse("bo\u{212a}@example.com"));
        assert_eq!(parse("\"a@b\"@c.d").domain(), "c.d");
        assert_eq!(parse("postmaster").domain(), "");
    }
}
