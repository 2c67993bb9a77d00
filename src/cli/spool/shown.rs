//! Entries as people and programs read them.
//!
//! Danger: addresses and reasons come from clients and services, and a terminal obeys what it is
//! shown. Rule: every such text goes through [`plain`]; JSON has everything whole, escaped.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::cli::token::shown::{plain, relative, timestamp};
use crate::store::queue::{Counts, Entry, EntryState, RecipientState, Summary};

/// Longest reason in the table, in characters; `show` has it whole.
const MAX_REASON: usize = 160;

/// The table's titles.
pub(super) const TITLES: [&str; 9] =
    ["ID", "AGE", "SIZE", "STATE", "TRIES", "NEXT TRY", "SENDER", "RECIPIENT", "REASON"];

/// A line of the table.
pub(super) fn row(summary: &Summary, now: SystemTime) -> [String; 9] {
    let sender = match summary.sender.is_empty() {
        true => "<>".to_owned(),
        false => plain(&summary.sender),
    };
    let others = summary.open.saturating_sub(1);
    let recipient = match others {
        0 => plain(&summary.recipient),
        others => format!("{} (+{others})", plain(&summary.recipient)),
    };
    let mut reason: String = plain(&summary.reason).chars().take(MAX_REASON).collect();
    if summary.reason.chars().nth(MAX_REASON).is_some() {
        reason.push('\u{2026}');
    }
    [
        summary.id.to_string(),
        age(now.duration_since(summary.accepted).unwrap_or_default()),
        size(summary.size),
        state(summary.state).to_owned(),
        summary.attempts.to_string(),
        next(summary.state, summary.next, now),
        sender,
        recipient,
        if reason.is_empty() { "-".to_owned() } else { reason },
    ]
}

/// Lines with columns at least as wide as `widths`, which grow with them; so that a page needs no
/// other page's rows.
pub(super) fn table(rows: &[[String; 9]], widths: &mut [usize; 9]) -> String {
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&*widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// `3 messages wait, 1 is a dead letter; 12 kB in all.`
pub(super) fn totals(counts: &Counts) -> String {
    let waiting = match counts.waiting {
        1 => "1 message waits".to_owned(),
        count => format!("{count} messages wait"),
    };
    let dead = match counts.dead {
        1 => "1 is a dead letter".to_owned(),
        count => format!("{count} are dead letters"),
    };
    format!("{waiting}, {dead}; {} in all.\n", size(counts.octets))
}

pub(super) fn state(state: EntryState) -> &'static str {
    match state {
        EntryState::Waiting => "waiting",
        EntryState::Taken => "sending",
        EntryState::Held => "held",
        EntryState::Dead => "dead",
    }
}

/// When it is tried, for people.
pub(super) fn next(state: EntryState, next: SystemTime, now: SystemTime) -> String {
    match state {
        EntryState::Waiting if next <= now => "due".to_owned(),
        EntryState::Waiting => relative(next, now),
        EntryState::Taken => "now".to_owned(),
        EntryState::Held | EntryState::Dead => "-".to_owned(),
    }
}

/// The largest unit alone, so that a column stays narrow.
fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 86_400.. => format!("{} d", seconds / 86_400),
        seconds @ 3600.. => format!("{} h", seconds / 3600),
        seconds @ 60.. => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

/// Octets in the unit that leaves at least one digit, rounded down.
pub(super) fn size(octets: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")];
    let unit = UNITS.iter().find(|(unit, _)| octets >= *unit);
    match unit {
        Some((unit, name)) if octets < unit * 10 => {
            format!("{}.{} {name}", octets / unit, octets % unit * 10 / unit)
        }
        Some((unit, name)) => format!("{} {name}", octets / unit),
        None => format!("{octets} B"),
    }
}

/// A line of the list for programs.
pub(super) fn summary_json(summary: &Summary) -> Value {
    json!({
        "id": number(summary.id),
        "role": summary.role,
        "state": state(summary.state),
        "sender": summary.sender,
        "recipient": summary.recipient,
        "open_recipients": summary.open,
        "size": summary.size,
        "accepted": timestamp(summary.accepted),
        "next_try": next_json(summary.state, summary.next),
        "attempts": summary.attempts,
        "reason": summary.reason,
    })
}

/// An entry for programs.
pub(super) fn entry_json(entry: &Entry, header: &[(&'static str, String)]) -> Value {
    let recipients = entry.recipients.iter().map(|one| {
        let (state, status, reply) = match &one.state {
            RecipientState::Waiting => ("waiting", None, None),
            RecipientState::Sent => ("sent", None, None),
            RecipientState::Failed { status, reply } => ("failed", Some(status), Some(reply)),
        };
        json!({
            "address": one.recipient.address.as_str(),
            "notify": one.recipient.notify,
            "orcpt": one.recipient.orcpt,
            "state": state,
            "status": status,
            "reply": reply,
        })
    });
    let header: serde_json::Map<String, Value> =
        header.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    json!({
        "id": number(entry.id),
        "role": entry.role,
        "login": entry.login,
        "state": state(entry.state),
        "sender": entry.from.address.as_ref().map(crate::mail::Address::as_str),
        "envid": entry.from.envid,
        "recipients": recipients.collect::<Vec<Value>>(),
        "size": entry.size,
        "accepted": timestamp(entry.accepted),
        "next_try": next_json(entry.state, entry.next),
        "attempts": entry.attempts,
        "reason": entry.reason,
        "header": header,
    })
}

/// A number where it is one to programs, too.
fn number(id: crate::store::queue::EntryId) -> Value {
    id.to_string().parse::<i64>().map_or(Value::Null, Value::from)
}

fn next_json(state: EntryState, next: SystemTime) -> Option<String> {
    (state == EntryState::Waiting).then(|| timestamp(next)).flatten()
}
