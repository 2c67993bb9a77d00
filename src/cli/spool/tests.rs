//! What is shown of entries.

use std::time::{Duration, SystemTime};

use super::shown::{TITLES, entry_json, row, size, summary_json, table, totals};
use super::{entry_id, show};
use crate::cli::token::shown::machine_text;
use crate::mail::{Address, Recipient, ReversePath};
use crate::store::queue::{
    Counts, Entry, EntryId, EntryState, QueuedRecipient, RecipientState, Summary,
};

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn id(text: &str) -> EntryId {
    entry_id(text).expect("a number")
}

fn summary(state: EntryState) -> Summary {
    Summary {
        id: id("42"),
        role: "Mail.Sending".to_owned(),
        sender: "erp@example.com".to_owned(),
        recipient: "bob@example.net".to_owned(),
        open: 3,
        size: 12_345,
        accepted: now() - Duration::from_secs(7300),
        next: now() + Duration::from_secs(300),
        attempts: 4,
        state,
        reason: "451 try\u{1b}[2J later".to_owned(),
    }
}

fn entry() -> Entry {
    let one = |address: &str, state| QueuedRecipient {
        recipient: Recipient::new(Address::parse(address).expect("an address")),
        state,
    };
    let failed = RecipientState::Failed {
        status: "5.1.1".to_owned(),
        reply: "550 no\r\nsuch user".to_owned(),
    };
    Entry {
        id: id("42"),
        role: "Mail.Sending".to_owned(),
        login: None,
        lane: String::new(),
        from: ReversePath::default(),
        recipients: vec![
            one("bob@example.net", RecipientState::Waiting),
            one("eve@example.net", failed),
            one("sam@example.net", RecipientState::Sent),
        ],
        accepted: now() - Duration::from_secs(60),
        attempts: 1,
        next: now(),
        state: EntryState::Waiting,
        reason: String::new(),
        size: 999,
    }
}

#[test]
fn a_line_tells_all_and_steers_nothing() {
    for (state, shown) in [
        (EntryState::Waiting, "|waiting|4|in 5 minutes|"),
        (EntryState::Taken, "|sending|4|now|"),
        (EntryState::Held, "|held|4|-|"),
        (EntryState::Dead, "|dead|4|-|"),
    ] {
        let rows = [TITLES.map(str::to_owned), row(&summary(state), now())];
        let mut widths = [0; 9];
        let text = table(&rows, &mut widths);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("42  2 h  12 kB  "), "{text}");
        let cells = lines[1].split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        let cells = cells.collect::<Vec<_>>().join("|");
        assert!(cells.contains(shown), "{shown} in {cells}");
        assert!(lines[1].ends_with("bob@example.net (+2)  451 try?[2J later"), "{text}");
        let column = lines[0].find("SENDER").expect("there");
        assert!(lines[1][column..].starts_with("erp@example.com"), "{text}");
        assert_eq!(widths[7], "bob@example.net (+2)".len());
    }
    let long = Summary {
        reason: "x".repeat(500),
        sender: String::new(),
        open: 1,
        next: now(),
        ..summary(EntryState::Waiting)
    };
    let cells = row(&long, now());
    assert_eq!(
        (cells[5].as_str(), cells[6].as_str(), cells[7].as_str()),
        ("due", "<>", "bob@example.net")
    );
    assert_eq!(cells[8].chars().count(), 161);
}

#[test]
fn sizes_and_totals_are_told() {
    for (octets, told) in [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_960, "9.9 kB"),
        (12_345, "12 kB"),
        (2_500_000, "2.5 MB"),
        (7_000_000_000, "7.0 GB"),
    ] {
        assert_eq!(size(octets), told);
    }
    let counts = Counts { waiting: 1, dead: 0, octets: 10, oldest: None };
    assert_eq!(totals(&counts), "1 message waits, 0 are dead letters; 10 B in all.\n");
    let counts = Counts { waiting: 2, dead: 1, ..counts };
    assert_eq!(totals(&counts), "2 messages wait, 1 is a dead letter; 10 B in all.\n");
}

#[test]
fn an_entry_is_shown_with_every_recipient() {
    let fields = [("Subject", "Invoice\u{1b}7".to_owned())];
    let text = show::text(&entry(), &fields, None, now());
    for line in [
        "Entry     42\n",
        "Sender    <>\n",
        "Login     -\n",
        "Accepted  2023-11-14T22:12:20Z (1 minute ago)\n",
        "Next try  due\n",
        "  waiting  bob@example.net\n",
        "  failed   eve@example.net: 5.1.1 550 no??such user\n",
        "  sent     sam@example.net\n",
        "  Subject: Invoice?7\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let why = "the file\nis gone".to_owned();
    let text = show::text(&entry(), &[], Some(&why), now());
    assert!(text.ends_with("Header\n  can't be read: the file?is gone\n"), "{text}");
}

#[test]
fn programs_get_everything_whole() {
    let json = summary_json(&summary(EntryState::Dead));
    assert_eq!((json["id"].as_i64(), json["next_try"].as_str()), (Some(42), None));
    assert_eq!(json["reason"], "451 try\u{1b}[2J later");
    assert!(!machine_text(&json).contains('\u{1b}'));
    let json = entry_json(&entry(), &[("Subject", "x".to_owned())]);
    for (pointer, value) in [
        ("/state", "waiting"),
        ("/accepted", "2023-11-14T22:12:20Z"),
        ("/next_try", "2023-11-14T22:13:20Z"),
        ("/recipients/1/state", "failed"),
        ("/recipients/1/reply", "550 no\r\nsuch user"),
        ("/header/Subject", "x"),
    ] {
        assert_eq!(
            json.pointer(pointer).and_then(|found| found.as_str()),
            Some(value),
            "{pointer}"
        );
    }
    assert!(json["sender"].is_null() && json["login"].is_null());
}

#[test]
fn only_a_number_names_an_entry() {
    for text in ["", "-1", "+1", "x", "1x", "99999999999999999999"] {
        assert!(entry_id(text).expect_err(text).contains("spool list"), "{text}");
    }
    assert_eq!(id("7").to_string(), "7");
}
