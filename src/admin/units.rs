//! Times, sizes and names as the page writes them.
//!
//! Danger: "expires in 3 hours" that was computed from a wrong clock misleads. Rule: a moment is
//! shown relative to `now`, which comes in, and carries the exact UTC time beside it.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use maud::{Markup, html};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const STAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
const MACHINE: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");

/// A moment: how long ago or ahead, the exact time in its title.
pub(super) fn moment(at: SystemTime, now: SystemTime) -> Markup {
    let text = match at.duration_since(now) {
        Ok(ahead) if ahead.as_secs() > 0 => format!("in {}", span(ahead)),
        _ => match now.duration_since(at).unwrap_or_default() {
            past if past.as_secs() == 0 => "just now".to_owned(),
            past => format!("{} ago", span(past)),
        },
    };
    html! { time datetime=(formatted(at, MACHINE)) title=(stamp(at)) { (text) } }
}

/// A moment that may not have come.
pub(super) fn moment_or(at: Option<SystemTime>, now: SystemTime, none: &str) -> Markup {
    match at {
        Some(at) => moment(at, now),
        None => html! { span.dim { (none) } },
    }
}

/// `2026-11-24 14:58:39 UTC`.
pub(super) fn stamp(at: SystemTime) -> String {
    formatted(at, STAMP)
}

/// RFC 3339, for programs.
pub(super) fn machine_stamp(at: SystemTime) -> String {
    formatted(at, MACHINE)
}

fn formatted(at: SystemTime, format: &[BorrowedFormatItem<'_>]) -> String {
    let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let moment = i64::try_from(seconds).ok().map(OffsetDateTime::from_unix_timestamp);
    match moment {
        Some(Ok(moment)) => moment.format(&format).unwrap_or_default(),
        // Beyond the year 9999: somebody's idea of "never".
        _ => "never".to_owned(),
    }
}

/// A length of time in its largest unit, two while they are small: `2 d 3 h`, `5 min`, `12 s`.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, 0, _) | (days @ 14.., _, _) => format!("{days} d"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// Octets in the largest unit that leaves a digit before the point.
pub(super) fn octets(octets: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if octets < 1000 {
        return format!("{octets} B");
    }
    let mut size = octets as f64 / 1000.0;
    let mut unit = 0;
    while size >= 999.5 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    match size < 10.0 {
        true => format!("{size:.1} {}", UNITS[unit]),
        false => format!("{size:.0} {}", UNITS[unit]),
    }
}

/// A short time: `250 ms`, `1.2 s`.
pub(super) fn brief(time: Duration) -> String {
    match time.as_millis() {
        0 => "< 1 ms".to_owned(),
        millis @ 1..1000 => format!("{millis} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

/// A number with its noun.
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A name as one segment of a path (RFC 3986 section 2.3: all but the unreserved is escaped).
pub(super) fn segment(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' | b'.' => {
                out.push(char::from(byte));
            }
            other => {
                let _ = write!(out, "%{other:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn moments_look_both_ways_and_carry_the_exact_time() {
        let now = at(1_700_000_000);
        for (seconds, text) in [
            (1_700_000_000, "just now"),
            (1_699_999_988, "12 s ago"),
            (1_700_003_600, "in 1 h"),
            (1_700_000_000 + 90_000, "in 1 d 1 h"),
            (1_700_000_000 - 86_400 * 40 - 3600, "40 d ago"),
        ] {
            let markup = moment(at(seconds), now).into_string();
            assert!(markup.contains(&format!(">{text}<")), "{markup}");
        }
        let markup = moment(now, now).into_string();
        assert!(markup.contains("datetime=\"2023-11-14T22:13:20Z\""), "{markup}");
        assert!(markup.contains("title=\"2023-11-14 22:13:20 UTC\""), "{markup}");
        assert_eq!(stamp(at(u64::MAX >> 2)), "never");
    }

    #[test]
    fn sizes_times_and_numbers_are_short() {
        for (number, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (12_345, "12 kB"),
            (999_499, "999 kB"),
            (999_600, "1.0 MB"),
            (u64::MAX, "18447 PB"),
        ] {
            assert_eq!(octets(number), text);
        }
        for (millis, text) in [(0, "< 1 ms"), (999, "999 ms"), (1250, "1.2 s"), (61_000, "61.0 s")]
        {
            assert_eq!(brief(Duration::from_millis(millis)), text);
        }
        for (seconds, text) in [(59, "59 s"), (60, "1 min"), (3660, "1 h 1 min"), (86_400, "1 d")] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
        assert_eq!(count(1, "role", "roles"), "1 role");
        assert_eq!(count(0, "role", "roles"), "0 roles");
    }

    #[test]
    fn a_name_is_one_segment() {
        assert_eq!(segment("Mail.Sending"), "Mail.Sending");
        assert_eq!(segment("a/b?c#d é\""), "a%2Fb%3Fc%23d%20%C3%A9%22");
    }
}
