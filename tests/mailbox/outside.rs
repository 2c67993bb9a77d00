//! What others do to the mailbox reaches every client, whatever Graph leaves out.

use std::time::{Duration, Instant};

use authbridge::sandbox::Quirks;

use super::client::{Imap, number_after};
use crate::harness::Proxy;
use crate::harness::cloud::{Cloud, OFFICE};

/// Poll interval, and what a busy machine may add.
const SOON: Duration = Duration::from_secs(15);

fn letter(number: usize) -> Vec<u8> {
    format!(
        "From: eve@elsewhere.example\r\nTo: {OFFICE}\r\nSubject: o{number}\r\n\
         Message-ID: <o{number}@outside.example>\r\n\r\nText {number}.\r\n"
    )
    .into_bytes()
}

fn started(quirks: Quirks) -> (Cloud, Proxy) {
    let cloud = Cloud::start();
    cloud.sandbox.set_quirks(OFFICE, quirks);
    cloud.sandbox.create_folder(OFFICE, "Away");
    cloud.sandbox.fill(OFFICE, "inbox", 6, letter);
    let poll = "Mail.Receiving.Microsoft365.PollInterval = '1s'\n";
    let configuration = cloud.base() + &cloud.graph("Mail.Receiving") + poll;
    let proxy = Proxy::start_in(cloud.folder(), &configuration);
    (cloud, proxy)
}

/// Untagged lines of an IDLE until one holds `text`.
fn hears(imap: &mut Imap, text: &str) {
    let begin = Instant::now();
    while begin.elapsed() < SOON {
        let line = imap.response().expect("still connected");
        if String::from_utf8_lossy(&line).contains(text) {
            return;
        }
    }
    panic!("{text:?} was not told in time");
}

fn changes_reach_everybody(quirks: Quirks) {
    let (cloud, proxy) = started(quirks);
    let sandbox = &cloud.sandbox;
    let mut idle = Imap::login(&proxy);
    let mut other = Imap::login(&proxy);
    let mut away = Imap::login(&proxy);
    away.command("SELECT Away").ok();
    other.command("SELECT INBOX").ok();
    idle.command("SELECT INBOX").ok();
    let first = other.listing();
    idle.idle();

    sandbox.deliver(OFFICE, &letter(6));
    hears(&mut idle, "7 EXISTS");
    assert!(sandbox.mark_read(OFFICE, "o0", true));
    hears(&mut idle, "\\Seen");
    assert!(sandbox.flag_message(OFFICE, "o1", "flagged"));
    hears(&mut idle, "\\Flagged");
    assert!(sandbox.categorize(OFFICE, "o2", &["Grün Wald"]));
    hears(&mut idle, "=20Wald");
    assert!(sandbox.mark_replied(OFFICE, "o3", 102));
    hears(&mut idle, "\\Answered");
    assert!(sandbox.delete_message(OFFICE, "o4"));
    hears(&mut idle, "5 EXPUNGE");
    assert!(sandbox.move_message(OFFICE, "o5", "Away"));
    hears(&mut idle, "5 EXPUNGE");
    sandbox.expire_delta_tokens();
    sandbox.deliver(OFFICE, &letter(7));
    hears(&mut idle, "6 EXISTS");
    idle.done().ok();

    other.command("NOOP").ok();
    let later = other.listing();
    for (uid, id) in &first {
        let is_gone = ["<o4@", "<o5@"].iter().any(|gone| id.starts_with(gone));
        assert_eq!(later.get(uid), Some(id).filter(|_| !is_gone), "UIDs stay");
    }
    assert_eq!(later.len(), 6);
    away.command("NOOP").ok();
    let moved: Vec<String> = away.listing().into_values().collect();
    assert_eq!(moved, ["<o5@outside.example>"]);
}

#[test]
fn changes_reach_everybody_where_graph_is_friendly() {
    changes_reach_everybody(Quirks::default());
}

#[test]
fn changes_reach_everybody_where_graph_has_every_quirk() {
    changes_reach_everybody(Quirks {
        moves_unreported: true,
        replays: true,
        sparse_without_etag: true,
        empty_pages: true,
        uncounted_items: 2,
        remade_mime: true,
        lone_lf: true,
        slow_pages: None,
    });
}

#[test]
fn an_edited_draft_has_a_new_uid() {
    let (cloud, proxy) = started(Quirks::default());
    let mut imap = Imap::login(&proxy);
    let draft = b"Subject: before\r\nMessage-ID: <d@outside.example>\r\n\r\nx\r\n";
    let appended = imap.append("Drafts", "(\\Draft)", draft).ok();
    assert!(appended.number("APPENDUID").is_some());
    imap.command("SELECT Drafts").ok();
    let before: Vec<u32> = imap.listing().into_keys().collect();
    assert!(cloud.sandbox.edit_draft(OFFICE, "before", "after"));
    let told = imap.command("NOOP").ok();
    assert!(told.lines().iter().any(|line| line == "* 1 EXPUNGE"), "{:?}", told.lines());
    let after: Vec<u32> = imap.listing().into_keys().collect();
    assert!(after.len() == 1 && after[0] > before[0], "{before:?} {after:?}");
    let body = imap.body(after[0]).expect("readable");
    assert!(String::from_utf8_lossy(&body).contains("Subject: after"));
}

#[test]
fn twenty_sessions_in_idle_are_one_poll() {
    let (cloud, proxy) = started(Quirks::default());
    let mut sessions: Vec<Imap> = (0..20).map(|_| Imap::login(&proxy)).collect();
    for session in &mut sessions {
        session.command("SELECT INBOX").ok();
        session.idle();
    }
    cloud.sandbox.reset_graph_counts();
    let begin = Instant::now();
    let polls = || -> usize {
        let kinds = cloud.sandbox.graph_kinds();
        kinds.iter().filter(|((_, path), _)| path.ends_with("delta")).map(|(_, count)| count).sum()
    };
    crate::harness::wait_until("three polls", || polls() >= 3);
    let seconds = begin.elapsed().as_secs_f64();
    let limit = 2.0 + seconds;
    assert!(u32::try_from(polls()).map(f64::from).unwrap() <= limit, "{} polls", polls());
    cloud.sandbox.deliver(OFFICE, &letter(50));
    for session in &mut sessions {
        hears(session, "7 EXISTS");
    }
}

#[test]
fn flags_of_every_kind_go_both_ways() {
    let (cloud, proxy) = started(Quirks::default());
    let mut imap = Imap::login(&proxy);
    imap.command("SELECT INBOX").ok();
    let words = "\\Seen \\Flagged \\Answered \\Deleted $Forwarded $Important Rot=20Blau G=C3=BCn";
    imap.command(&format!("UID STORE 1 FLAGS ({words})")).ok();
    let stored = cloud.sandbox.inbox(OFFICE).remove(0);
    assert!(stored.is_read() && stored.flags.contains("\\Flagged"), "{:?}", stored.flags);
    let mut categories = stored.categories.clone();
    categories.sort_unstable();
    assert_eq!(categories, ["Gün", "Rot Blau"]);
    assert_eq!(stored.importance, "high");
    // All of it comes back from the service alone, with another UIDVALIDITY.
    let validity = imap.command("STATUS INBOX (UIDVALIDITY)").ok().number("UIDVALIDITY");
    let folder = proxy.kill();
    std::fs::remove_dir_all(folder.path().join("state")).unwrap();
    let poll = "Mail.Receiving.Microsoft365.PollInterval = '1s'\n";
    let configuration = cloud.base() + &cloud.graph("Mail.Receiving") + poll;
    let proxy = Proxy::start_in(folder, &configuration);
    let mut imap = Imap::login(&proxy);
    let selected = imap.command("SELECT INBOX").ok();
    assert!(selected.number("UIDVALIDITY") > validity, "{validity:?}");
    let told = imap.command("FETCH 1 (UID FLAGS)").ok().lines().join(" ");
    assert_eq!(number_after(&told, "UID"), Some(1));
    for word in words.split(' ') {
        assert!(told.contains(word), "{word} in {told}");
    }
    imap.command("UID STORE 1 FLAGS ()").ok();
    let stored = cloud.sandbox.inbox(OFFICE).remove(0);
    assert!(!stored.is_read() && stored.flags.is_empty() && stored.categories.is_empty());
}
