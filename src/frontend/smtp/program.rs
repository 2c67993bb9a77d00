//! Which program a client is, as far as it says so.
//!
//! Danger: whatever a client sends is taken for a fact. Rule: it is shown as the client's own words,
//! cut and cleaned; nothing is decided by it.

use crate::protocol::mime::fields::fields;

/// Octets that are looked at: more than is shown.
const MAX_OCTETS: usize = 256;

/// The name that a client gives itself in HELO or EHLO (RFC 5321 section 4.1.1.1).
pub(super) fn host(line: &[u8]) -> Option<String> {
    let line = &line[..line.len().min(MAX_OCTETS)];
    let name = line.trim_ascii().split(u8::is_ascii_whitespace).skip(1).find(|w| !w.is_empty())?;
    Some(String::from_utf8_lossy(name).into_owned())
}

/// What made a message: its `User-Agent` or `X-Mailer`, whichever comes first.
pub(super) fn mailer(header: &[u8]) -> Option<String> {
    let field = fields(header).find(|field| field.is("User-Agent") || field.is("X-Mailer"))?;
    let value = field.value.trim_ascii();
    let value = &value[..value.len().min(MAX_OCTETS)];
    (!value.is_empty()).then(|| String::from_utf8_lossy(value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_named_in_hello() {
        for (line, expected) in [
            ("EHLO pc12.local\r\n", Some("pc12.local")),
            ("helo  [192.0.2.1] x", Some("[192.0.2.1]")),
            ("HELO", None),
            ("EHLO \r\n", None),
            ("", None),
        ] {
            assert_eq!(host(line.as_bytes()).as_deref(), expected, "{line:?}");
        }
        let long = format!("EHLO {}", "x".repeat(5000));
        assert_eq!(host(long.as_bytes()).map(|name| name.len()), Some(MAX_OCTETS - 5));
    }

    #[test]
    fn mailers_are_named_in_the_header_alone() {
        for (header, expected) in [
            ("To: a\r\nUser-Agent: Mutt/2\r\nX-Mailer: y\r\n\r\n", Some("Mutt/2")),
            ("x-mailer:\r\n\tERP mailer\r\n\r\n", Some("ERP mailer")),
            ("X-Mailer: \r\n\r\n", None),
            ("To: a\r\n\r\nX-Mailer: in the text\r\n", None),
            ("", None),
        ] {
            assert_eq!(mailer(header.as_bytes()).as_deref(), expected, "{header:?}");
        }
    }
}
