//! Dates in commands.
//!
//! Danger: a date that is guessed finds other messages, or gives a message another day. Rule: one
//! form with English month names, as the grammar has it; no day that the calendar does not have.

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

use super::super::encode::MONTHS;
use super::words::{Read, Words};

const NO_DATE: &str = "a date is written as 1-Feb-1994";
const NO_DATE_TIME: &str = "a date and time is written as \" 1-Feb-1994 21:52:25 -0800\"";

impl Words<'_> {
    /// `date = date-text / DQUOTE date-text DQUOTE`.
    pub fn date(&mut self) -> Read<Date> {
        let text = self.astring(b"")?;
        date(&text).ok_or(NO_DATE)
    }

    /// `date-time`, in quotes.
    pub fn date_time(&mut self) -> Read<OffsetDateTime> {
        let text = self.string()?;
        date_time(&text).ok_or(NO_DATE_TIME)
    }
}

/// `date-text = date-day "-" date-month "-" date-year`.
fn date(text: &[u8]) -> Option<Date> {
    let mut parts = text.split(|byte| *byte == b'-');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || day.len() > 2 || year.len() != 4 {
        return None;
    }
    let month = MONTHS.iter().position(|name| name.as_bytes().eq_ignore_ascii_case(month))?;
    let month = Month::try_from(u8::try_from(month + 1).ok()?).ok()?;
    let year = i32::from(number(year)?);
    Date::from_calendar_date(year, month, u8::try_from(number(day)?).ok()?).ok()
}

/// `date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE`; a day of
/// one digit is also taken without its space.
fn date_time(text: &[u8]) -> Option<OffsetDateTime> {
    let mut parts = text.trim_ascii().split(|byte| *byte == b' ');
    let (day, clock, zone) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let local = PrimitiveDateTime::new(date(day)?, time_of_day(clock)?);
    Some(local.assume_offset(offset(zone)?))
}

/// `time = 2DIGIT ":" 2DIGIT ":" 2DIGIT`; a leap second counts as the one before it.
fn time_of_day(text: &[u8]) -> Option<Time> {
    let [h1, h2, b':', m1, m2, b':', s1, s2] = *text else { return None };
    let second = two_digits(s1, s2)?;
    let second = if second == 60 { 59 } else { second };
    Time::from_hms(two_digits(h1, h2)?, two_digits(m1, m2)?, second).ok()
}

/// `zone = ("+" / "-") 4DIGIT`.
fn offset(text: &[u8]) -> Option<UtcOffset> {
    let [sign @ (b'+' | b'-'), h1, h2, m1, m2] = *text else { return None };
    let hours = i8::try_from(two_digits(h1, h2)?).ok()?;
    let minutes = i8::try_from(two_digits(m1, m2)?).ok()?;
    match sign {
        b'-' => UtcOffset::from_hms(-hours, -minutes, 0).ok(),
        _ => UtcOffset::from_hms(hours, minutes, 0).ok(),
    }
}

fn two_digits(tens: u8, ones: u8) -> Option<u8> {
    u8::try_from(number(&[tens, ones])?).ok()
}

fn number(digits: &[u8]) -> Option<u16> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime};

    use super::*;

    #[test]
    fn dates_are_read() {
        for (text, expected) in [
            ("1-Feb-1994", date!(1994 - 02 - 01)),
            ("01-feb-1994", date!(1994 - 02 - 01)),
            ("\"29-FEB-2024\"", date!(2024 - 02 - 29)),
            ("31-Dec-9999", date!(9999 - 12 - 31)),
        ] {
            assert_eq!(Words::new(text.as_bytes(), false).date(), Ok(expected), "{text}");
        }
        for text in [
            "",
            "1-2-1994",
            "30-Feb-1994",
            "29-Feb-2023",
            "0-Jan-2020",
            "001-Jan-2020",
            "1-Jan-20",
            "1-Jan-2020-1",
            "1-January-2020",
            "-1-Jan-2020",
            "+1-Jan-2020",
            "1-Jan",
            "\"1-Jan-2020",
        ] {
            assert!(Words::new(text.as_bytes(), false).date().is_err(), "{text}");
        }
    }

    #[test]
    fn dates_with_times_are_read() {
        for (text, expected) in [
            ("17-Jul-1996 02:44:25 -0700", datetime!(1996-07-17 02:44:25 -7)),
            (" 1-Feb-1994 21:52:25 +0530", datetime!(1994-02-01 21:52:25 +5:30)),
            ("1-Feb-1994 21:52:60 +0000", datetime!(1994-02-01 21:52:59 UTC)),
            ("01-Feb-1994 00:00:00 -0030", datetime!(1994-02-01 00:00:00 -0:30)),
        ] {
            let quoted = format!("\"{text}\"");
            let read = Words::new(quoted.as_bytes(), false).date_time();
            assert_eq!(read, Ok(expected), "{text}");
        }
        for text in [
            "",
            "17-Jul-1996",
            "17-Jul-1996 02:44:25",
            "17-Jul-1996 2:44:25 -0700",
            "17-Jul-1996 24:00:00 -0700",
            "17-Jul-1996 02:44:25 0700",
            "17-Jul-1996 02:44:25 +07:00",
            "17-Jul-1996 02:44:25 GMT",
            "17-Jul-1996 02:44:25 +9900",
            "17-Jul-1996 02:44:25 +0 00",
            "17-Jul-1996 02:44:25 +0000 x",
            "17-Jul-1996 02:44:+1 +0000",
        ] {
            assert_eq!(date_time(text.as_bytes()), None, "{text}");
        }
        assert!(Words::new(b"17-Jul-1996", false).date_time().is_err());
    }
}
