//! The part of a report that people read.
//!
//! Danger: a report full of codes is thrown away, and with it the only word about a lost message.
//! Rule: it says in whole sentences who did not get what, why in the service's own words, since when,
//! what to do, and where an administrator looks.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::macros::format_description;

use super::{Facts, Failed, told_by};

/// Longest reason, in characters.
const MAX_REASON: usize = 2000;

/// Recipients that are named; the fields beside the text name all.
const MAX_NAMED: usize = 100;

/// The whole text, lines ended by CRLF.
pub(super) fn text(facts: &Facts<'_>, failed: &[Failed<'_>], is_whole: bool) -> String {
    let mut text = String::new();
    text.push_str("This message was written by authbridge, which sends mail for applications.\n\n");
    let _ = writeln!(
        text,
        "A message could not be delivered to {}, and it is not tried any more:\n",
        people(failed.len())
    );
    for one in failed.iter().take(MAX_NAMED) {
        let _ = writeln!(text, "  {}\n    {}", plain(one.recipient.address.as_str()), reason(one));
    }
    if failed.len() > MAX_NAMED {
        let _ = writeln!(text, "  and {} more", failed.len() - MAX_NAMED);
    }
    message(&mut text, facts);
    advice(&mut text, facts, failed);
    let returned = if is_whole { "The message" } else { "The message's header" };
    let _ = writeln!(text, "\n{returned} is attached.");
    text.replace('\n', "\r\n")
}

fn people(count: usize) -> String {
    match count {
        1 => "this recipient".to_owned(),
        count => format!("these {count} recipients"),
    }
}

fn reason(failed: &Failed<'_>) -> String {
    let reply = shortened(failed.reply.trim(), MAX_REASON);
    match reply.is_empty() {
        true => format!("no reason was given (status {})", plain(failed.status)),
        false => reply,
    }
}

/// Which message it is.
fn message(text: &mut String, facts: &Facts<'_>) {
    let entry = facts.entry;
    let (subject, message_id) = told_by(&facts.original.header);
    text.push_str("\nThe message\n");
    if let Some(subject) = subject {
        let _ = writeln!(text, "  Subject:    {}", shortened(&subject, MAX_REASON));
    }
    if let Some(sender) = &entry.from.address {
        let _ = writeln!(text, "  Sender:     {}", plain(sender.as_str()));
    }
    if let Some(id) = message_id {
        let _ = writeln!(text, "  Message-ID: <{id}>");
    }
    let age = facts.now.duration_since(entry.accepted).unwrap_or_default();
    let _ = writeln!(text, "  Accepted:   {} ({} ago)", stamp(entry.accepted), span(age));
    let _ = writeln!(text, "  Sent by:    {}", plain(&entry.role));
}

fn advice(text: &mut String, facts: &Facts<'_>, failed: &[Failed<'_>]) {
    text.push_str("\nWhat to do\n");
    if failed.iter().any(|one| one.status.starts_with("5.1.")) {
        text.push_str("  Check the address, and send the message again to the right one.\n");
    }
    if failed.iter().any(|one| one.status.starts_with('4')) {
        text.push_str(
            "  The mail service did not take the message in time. When it works again, the message\n  \
             can be sent from where it is kept.\n",
        );
    }
    let id = facts.entry.id;
    let _ = writeln!(
        text,
        "  The message is kept. The administrator of authbridge sees it, and why it failed, with\n    \
         authbridge spool show {id}\n  sends it again with\n    authbridge spool retry {id}\n  and \
         removes it with\n    authbridge spool drop {id}"
    );
}

/// Text from elsewhere on one line, without what steers a program that shows it.
pub(in crate::spool) fn plain(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200E}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { '?' } else { c }).collect()
}

/// The beginning of a text from elsewhere.
pub(in crate::spool) fn shortened(text: &str, most: usize) -> String {
    let mut short: String = plain(text).chars().take(most).collect();
    if text.chars().nth(most).is_some() {
        short.push('\u{2026}');
    }
    short
}

fn stamp(at: SystemTime) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    let moment = OffsetDateTime::from_unix_timestamp(super::status::seconds(at));
    moment.ok().and_then(|moment| moment.format(&format).ok()).unwrap_or_default()
}

/// The largest unit, rounded down.
fn span(age: Duration) -> String {
    let seconds = age.as_secs();
    let (count, unit) = match seconds {
        86_400.. => (seconds / 86_400, "day"),
        3600.. => (seconds / 3600, "hour"),
        60.. => (seconds / 60, "minute"),
        _ => (seconds, "second"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_from_elsewhere_are_tamed_and_shortened() {
        assert_eq!(plain("a\r\n.\r\nb\u{202e}\u{1b}[2J\u{e4}"), "a??.??b??[2J\u{e4}");
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("abcd", 3), "abc\u{2026}");
    }

    #[test]
    fn times_are_told() {
        for (seconds, told) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (119, "1 minute"),
            (7200, "2 hours"),
            (172_800, "2 days"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), told);
        }
        assert_eq!(stamp(SystemTime::UNIX_EPOCH), "1970-01-01 00:00:00 UTC");
    }
}
