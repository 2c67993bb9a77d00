//! Accounts, times and permissions as a person reads them.
//!
//! Danger: names come from a service or from a file that other programs write, and a terminal obeys
//! what it is shown. Rule: text from outside is shown without control and direction characters.

use std::time::{Duration, SystemTime};

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Permissions that every sign-in has and that open no mailbox.
const OF_COURSE: [&str; 5] = ["openid", "profile", "email", "offline_access", ".default"];

/// Text from outside on one line.
pub(in crate::cli) fn plain(text: &str) -> String {
    text.chars().map(|c| if steers(c) { '?' } else { c }).collect()
}

/// True for what a terminal obeys instead of showing it.
pub(in crate::cli) fn steers(letter: char) -> bool {
    let turns = ['\u{200E}'..='\u{200F}', '\u{2028}'..='\u{202E}', '\u{2066}'..='\u{2069}'];
    letter.is_control() || turns.iter().any(|range| range.contains(&letter))
}

/// JSON as it is, but for what would steer a terminal: only texts hold that, and there an escape
/// means the same.
pub(in crate::cli) fn machine_text(json: &Value) -> String {
    let mut text = String::new();
    for letter in format!("{json:#}\n").chars() {
        match letter {
            '\n' => text.push('\n'),
            // None of them lies beyond the Basic Multilingual Plane.
            letter if steers(letter) => {
                text.push_str(&format!("\\u{:04x}", u32::from(letter)));
            }
            letter => text.push(letter),
        }
    }
    text
}

/// The permissions without resource, each once: `Mail.ReadWrite Mail.Send`.
pub(in crate::cli) fn permissions(scopes: &[String]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for scope in scopes {
        let name = scope.rsplit('/').next().unwrap_or_default();
        let known = names.iter().any(|other| other.eq_ignore_ascii_case(name));
        let plain = OF_COURSE.iter().any(|other| other.eq_ignore_ascii_case(name));
        if !name.is_empty() && !known && !plain {
            names.push(name);
        }
    }
    plain(&names.join(" "))
}

/// A time as seen from now: `in 43 minutes`, `2 days ago`.
pub(in crate::cli) fn relative(time: SystemTime, now: SystemTime) -> String {
    match time.duration_since(now) {
        Ok(left) => format!("in {}", span(left)),
        Err(error) => format!("{} ago", span(error.duration())),
    }
}

/// A span in its largest unit, rounded down.
pub(in crate::cli) fn span(time: Duration) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400, "day"), (3600, "hour"), (60, "minute")];
    let seconds = time.as_secs();
    for (length, name) in UNITS {
        let count = seconds / length;
        if count > 0 {
            return format!("{count} {name}{}", if count == 1 { "" } else { "s" });
        }
    }
    "less than a minute".to_owned()
}

/// A time for scripts (RFC 3339, UTC, whole seconds); `None` for one that no calendar has.
pub(in crate::cli) fn timestamp(time: SystemTime) -> Option<String> {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    let time = OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()?;
    time.format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_can_not_steer_a_terminal() {
        for (text, shown) in [
            ("Änna Müller", "Änna Müller"),
            ("a\u{1b}[2Jb\r\nc", "a?[2Jb??c"),
            ("\u{202e}moc.live", "?moc.live"),
        ] {
            assert_eq!(plain(text), shown);
        }
    }

    #[test]
    fn permissions_are_named_once_and_without_resource() {
        let scopes: Vec<String> = [
            "https://graph.microsoft.com/Mail.Send",
            "openid",
            "profile",
            "Mail.ReadWrite",
            "mail.send",
            "offline_access",
            "https://outlook.office.com/SMTP.Send",
            "https://graph.microsoft.com/",
            "https://graph.microsoft.com/.default",
        ]
        .map(str::to_owned)
        .to_vec();
        assert_eq!(permissions(&scopes), "Mail.Send Mail.ReadWrite SMTP.Send");
        assert_eq!(permissions(&[]), "");
    }

    #[test]
    fn times_are_told_in_their_largest_unit() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (offset, told) in [
            (0, "in less than a minute"),
            (61, "in 1 minute"),
            (7199, "in 1 hour"),
            (86_400 * 88, "in 88 days"),
            (-59, "less than a minute ago"),
            (-7200, "2 hours ago"),
        ] {
            let shift = Duration::from_secs(i64::unsigned_abs(offset));
            let time = if offset < 0 { now - shift } else { now + shift };
            assert_eq!(relative(time, now), told, "{offset}");
        }
        assert_eq!(timestamp(now).as_deref(), Some("1970-01-12T13:46:40Z"));
        let odd = now + Duration::from_millis(1500);
        assert_eq!(timestamp(odd).as_deref(), Some("1970-01-12T13:46:41Z"));
        // A file may hold any number.
        assert_eq!(timestamp(now + Duration::from_secs(1 << 50)), None);
    }
}
