//! Metrics as a scraper reads them.

use std::collections::BTreeMap;

use super::exposition::{Family, read};
use super::*;

/// What is on the page after `work`.
fn page(work: impl FnOnce()) -> String {
    page_with(work, &Ends::default())
}

fn page_with(work: impl FnOnce(), ends: &Ends<'_>) -> String {
    let recorder = builder().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        describe();
        note_process();
        work();
    });
    Recorder { handle }.render(ends)
}

fn families(work: impl FnOnce()) -> BTreeMap<String, Family> {
    families_with(work, &Ends::default())
}

fn families_with(work: impl FnOnce(), ends: &Ends<'_>) -> BTreeMap<String, Family> {
    let page = page_with(work, ends);
    let families = read(&page);
    assert!(families.is_ok(), "{families:?}\n{page}");
    families.unwrap_or_default()
}

/// The value of the sample with these labels.
fn value(families: &BTreeMap<String, Family>, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let family = families.iter().find(|(family, _)| name.starts_with(family.as_str()))?.1;
    let is_it = |sample: &&super::exposition::Sample| {
        sample.name == name
            && sample.labels.len() == labels.len()
            && labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|v| v == value))
    };
    family.samples.iter().find(is_it).map(|sample| sample.value)
}

/// Name, labels, value.
type Expected = (&'static str, &'static [(&'static str, &'static str)], f64);

/// Every event once.
fn everything() {
    session_opened("SMTP");
    session_opened("IMAP");
    session_closed("IMAP", true);
    login("IMAP", LoginResult::Ok);
    login("IMAP", LoginResult::Refused);
    login("POP3", LoginResult::Failed);
    message_sent("Mail.Sending", Duration::from_millis(300));
    message_failed("Mail.Sending", true);
    message_failed("Mail.Sending", false);
    mailbox_opened("Mail.Receiving", Duration::from_secs(2));
    graph_request(Some(202), Duration::from_millis(700));
    graph_request(None, Duration::from_secs(400));
    throttled();
    throttle_waited(Duration::from_secs(3));
    OctetMeter::new("Mail.Receiving").moved(1000, 20);
    counter!(TOKEN_REFRESHES, "role" => "Mail.Sending", "result" => "ok").increment(1);
    spool_holds(3, 1, Duration::from_secs(90));
    spool_queued("Mail.Sending");
    spool_sent("Mail.Sending", Duration::from_millis(300));
    spool_expired("Mail.Sending");
}

/// One end of each kind.
fn all_ends() -> Ends<'static> {
    let mut ends = Ends::default();
    ends.token("Mail.Sending", "a@b.c", 3599.5);
    ends.sign_in("a@b.c", "app", 7_776_000.0);
    ends.credential("Mail.Sending", Credential::Secret, -60.0);
    ends.credential("Mail.Receiving", Credential::Certificate, 60.0);
    ends
}

#[test]
fn every_event_is_a_sample_that_a_scraper_understands() {
    let families = families_with(everything, &all_ends());
    const SENDING: (&str, &str) = ("role", "Mail.Sending");
    const RECEIVING: (&str, &str) = ("role", "Mail.Receiving");
    let table: &[Expected] = &[
        (SESSIONS_OPEN, &[("protocol", "SMTP")], 1.0),
        (SESSIONS_OPEN, &[("protocol", "IMAP")], 0.0),
        (SESSIONS, &[("protocol", "IMAP"), ("tls", "true")], 1.0),
        (LOGINS, &[("protocol", "IMAP"), ("result", "ok")], 1.0),
        (LOGINS, &[("protocol", "IMAP"), ("result", "refused")], 1.0),
        (LOGINS, &[("protocol", "POP3"), ("result", "failed")], 1.0),
        (MESSAGES_SENT, &[SENDING], 2.0),
        (MESSAGES_FAILED, &[SENDING, ("kind", "temporary")], 1.0),
        (MESSAGES_FAILED, &[SENDING, ("kind", "permanent")], 1.0),
        (OCTETS, &[RECEIVING, ("direction", "to_client")], 1000.0),
        (OCTETS, &[RECEIVING, ("direction", "to_service")], 20.0),
        (GRAPH_REQUESTS, &[("status", "202")], 1.0),
        (GRAPH_REQUESTS, &[("status", "error")], 1.0),
        ("authbridge_graph_request_seconds_count", &[], 2.0),
        ("authbridge_graph_request_seconds_bucket", &[("le", "1")], 1.0),
        ("authbridge_graph_request_seconds_bucket", &[("le", "300")], 1.0),
        ("authbridge_upstream_latency_seconds_sum", &[RECEIVING, ("operation", "open")], 2.0),
        ("authbridge_upstream_latency_seconds_count", &[SENDING, ("operation", "send")], 2.0),
        (THROTTLED, &[], 1.0),
        (TOKEN_REFRESHES, &[SENDING, ("result", "ok")], 1.0),
        (SPOOL_MESSAGES, &[("state", "waiting")], 3.0),
        (SPOOL_MESSAGES, &[("state", "dead")], 1.0),
        (SPOOL_OLDEST, &[], 90.0),
        (SPOOL_QUEUED, &[SENDING], 1.0),
        (SPOOL_SENT, &[SENDING], 1.0),
        (SPOOL_EXPIRED, &[SENDING], 1.0),
        (TOKEN_EXPIRY, &[SENDING, ("subject", "a@b.c")], 3599.5),
        (SIGN_IN_EXPIRY, &[("account", "a@b.c"), ("application", "app")], 7_776_000.0),
        (CREDENTIAL_EXPIRY, &[SENDING, ("kind", "secret")], -60.0),
        (CREDENTIAL_EXPIRY, &[RECEIVING, ("kind", "certificate")], 60.0),
        (BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION"))], 1.0),
    ];
    for (name, labels, expected) in table {
        assert_eq!(value(&families, name, labels), Some(*expected), "{name} {labels:?}");
    }
    // Other tests wait too, and the rest of a second is theirs as well.
    let waited = value(&families, THROTTLE_WAIT, &[]).expect("counted");
    assert!((3.0..=4.0).contains(&waited), "{waited}");
    assert!(value(&families, START_TIME, &[]).is_some_and(|since| since > 1.7e9));
}

#[test]
fn every_family_is_described_and_named_by_the_conventions() {
    let families = families_with(everything, &all_ends());
    assert_eq!(families.len(), 22, "{:?}", families.keys());
    for (name, Family { kind, help, .. }) in &families {
        assert!(name.starts_with("authbridge_"), "{name}");
        assert!(help.len() > 20 && help.ends_with('.'), "{name}: {help}");
        assert_eq!(
            name.contains("_seconds"),
            !name.contains("octets") && is_a_time(name),
            "{name}"
        );
        assert!(kind != "histogram" || name.ends_with("_seconds"), "{name}");
    }
}

fn is_a_time(name: &str) -> bool {
    ["latency", "request_seconds", "wait", "expiry", "start_time", "oldest"]
        .iter()
        .any(|word| name.contains(word))
}

#[test]
fn labels_that_hold_anything_stay_one_label() {
    for odd in ["a\"b", "a\\b", "a\nb", "a\"} 1\nforged 2", "ö{}=,"] {
        let mut ends = Ends::default();
        ends.sign_in(odd, odd, 1.0);
        let families = families_with(|| login("IMAP", LoginResult::Ok), &ends);
        let labels = [("account", odd), ("application", odd)];
        assert_eq!(value(&families, SIGN_IN_EXPIRY, &labels), Some(1.0), "{odd:?}");
    }
}

#[test]
fn what_is_gone_is_not_told_and_of_two_ends_the_first_counts() {
    let mut ends = Ends::default();
    for seconds in [50.0, -5.0, 7.0] {
        ends.credential("Mail.Sending", Credential::Secret, seconds);
    }
    let before = families_with(|| (), &ends);
    let labels = [("role", "Mail.Sending"), ("kind", "secret")];
    assert_eq!(value(&before, CREDENTIAL_EXPIRY, &labels), Some(-5.0));
    assert_eq!(before[CREDENTIAL_EXPIRY].samples.len(), 1);
    let after = families(|| ());
    assert!(!after.contains_key(CREDENTIAL_EXPIRY), "{:?}", after.keys());
}

#[test]
fn seconds_waited_add_up() {
    let before = page(|| throttle_waited(Duration::from_millis(250)));
    assert!(read(&before).is_ok());
    let families = families(|| (0..8).for_each(|_| throttle_waited(Duration::from_millis(500))));
    let waited = value(&families, THROTTLE_WAIT, &[]).expect("counted");
    assert!((3.0..=5.0).contains(&waited), "{waited}");
}

#[test]
fn a_second_recorder_is_the_first_one() {
    let (first, second) = (Recorder::install(), Recorder::install());
    counter!("authbridge_installed_twice_total").increment(2);
    for recorder in [first, second] {
        let page = recorder.render(&Ends::default());
        assert!(page.contains("authbridge_installed_twice_total 2\n"), "{page}");
        assert!(page.contains(BUILD_INFO), "{page}");
    }
}
