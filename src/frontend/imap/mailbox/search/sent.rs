//! The day in a message's Date field, as SENTON, SENTBEFORE and SENTSINCE compare it.
//!
//! Danger: a day taken from another time zone, or from the time of arrival, is another day. Rule:
//! only the day as it is written counts (RFC 9051 section 6.4.4); a message without one has none.

use time::{Date, Month};

use crate::protocol::mime::structure::decoded_values;

/// `[day-of-week ","] day month year …` (RFC 5322 section 3.3, and the years of section 4.3).
pub(super) fn sent_date(header: &[u8]) -> Option<Date> {
    let value = decoded_values(header, "date").into_iter().next()?;
    let value = match value.split_once(',') {
        Some((_, rest)) => rest,
        None => &value,
    };
    let is_gap = |c: char| c.is_whitespace() || c == '-';
    let mut words = value.split(is_gap).filter(|word| !word.is_empty());
    let mut first = words.next()?;
    // Some programs leave the comma out.
    if first.chars().all(char::is_alphabetic) {
        first = words.next()?;
    }
    let day = first.parse().ok()?;
    let month = month(words.next()?)?;
    Date::from_calendar_date(year(words.next()?)?, month, day).ok()
}

fn month(name: &str) -> Option<Month> {
    let names =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let start = name.get(..3)?.to_ascii_lowercase();
    let at = names.iter().position(|name| **name == start)?;
    Month::try_from(u8::try_from(at + 1).ok()?).ok()
}

/// Two digits are of 1950 to 2049, three count from 1900 (RFC 5322 section 4.3).
fn year(digits: &str) -> Option<i32> {
    let number: i32 = digits.parse().ok()?;
    match (digits.len(), number) {
        (2, 0..50) => Some(2000 + number),
        (2 | 3, _) => Some(1900 + number),
        _ => Some(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_day_as_it_is_written_counts() {
        for (value, expected) in [
            ("Tue, 3 Mar 2026 23:59:59 -1200", Some((2026, 3, 3))),
            ("03 mar 2026 00:00 +1400", Some((2026, 3, 3))),
            ("Tue 3 March 2026 10:00", Some((2026, 3, 3))),
            ("3-Mar-26 10:00:00 GMT", Some((2026, 3, 3))),
            ("Fri, 21 Nov 97 09:55:06 -0600", Some((1997, 11, 21))),
            ("1 Jan 126", Some((2026, 1, 1))),
            ("31 Feb 2026", None),
            ("yesterday", None),
            ("", None),
            ("3 Maé 2026", None),
            ("3 é 2026", None),
        ] {
            let header = format!("Date: {value}\r\n\r\n");
            let found = sent_date(header.as_bytes());
            let found = found.map(|day| (day.year(), u8::from(day.month()), day.day()));
            assert_eq!(found, expected, "{value}");
        }
        assert_eq!(sent_date(b"Subject: x\r\n\r\n"), None);
    }
}
