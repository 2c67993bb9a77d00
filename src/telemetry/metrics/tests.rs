//! Metrics as a scraper reads them.

use std::collections::BTreeMap;

use super::exposition::{Family, read};
use super::*;

/// What is on the page after `work`.
fn page(work: impl FnOnce()) -> String {
    let recorder = builder().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        describe();
        note_process();
        work();
    });
    handle.render()
}

fn families(work: impl FnOnce()) -> BTreeMap<String, Family> {
    let page = page(work);
    read(&page).unwrap_or_else(|fault| panic!("{fault}\n{page}"))
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
    set_token_expiry("Mail.Sending", "a@b.c", 3599.5);
    set_sign_in_expiry("a@b.c", 7_776_000.0);
    set_credential_expiry("Mail.Sending", Credential::Secret, -60.0);
    set_credential_expiry("Mail.Receiving", Credential::Certificate, 60.0);
    OctetMeter::new("Mail.Receiving").moved(1000, 20);
    counter!(TOKEN_REFRESHES, "role" => "Mail.Sending", "result" => "ok").increment(1);
}

#[test]
fn every_event_is_a_sample_that_a_scraper_understands() {
    let families = families(everything);
    let sending = ("role", "Mail.Sending");
    let receiving = ("role", "Mail.Receiving");
    let table: &[(&str, &[(&str, &str)], f64)] = &[
        (SESSIONS_OPEN, &[("protocol", "SMTP")], 1.0),
        (SESSIONS_OPEN, &[("protocol", "IMAP")], 0.0),
        (SESSIONS, &[("protocol", "IMAP"), ("tls", "true")], 1.0),
        (LOGINS, &[("protocol", "IMAP"), ("result", "ok")], 1.0),
        (LOGINS, &[("protocol", "IMAP"), ("result", "refused")], 1.0),
        (LOGINS, &[("protocol", "POP3"), ("result", "failed")], 1.0),
        (MESSAGES_SENT, &[sending], 1.0),
        (MESSAGES_FAILED, &[sending, ("kind", "temporary")], 1.0),
        (MESSAGES_FAILED, &[sending, ("kind", "permanent")], 1.0),
        (OCTETS, &[receiving, ("direction", "to_client")], 1000.0),
        (OCTETS, &[receiving, ("direction", "to_service")], 20.0),
        (GRAPH_REQUESTS, &[("status", "202")], 1.0),
        (GRAPH_REQUESTS, &[("status", "error")], 1.0),
        ("authbridge_graph_request_seconds_count", &[], 2.0),
        ("authbridge_graph_request_seconds_bucket", &[("le", "1")], 1.0),
        ("authbridge_graph_request_seconds_bucket", &[("le", "300")], 1.0),
        ("authbridge_upstream_latency_seconds_sum", &[receiving, ("operation", "open")], 2.0),
        ("authbridge_upstream_latency_seconds_count", &[sending, ("operation", "send")], 1.0),
        (THROTTLED, &[], 1.0),
        (TOKEN_EXPIRY, &[sending, ("subject", "a@b.c")], 3599.5),
        (SIGN_IN_EXPIRY, &[("account", "a@b.c")], 7_776_000.0),
        (CREDENTIAL_EXPIRY, &[sending, ("kind", "secret")], -60.0),
        (CREDENTIAL_EXPIRY, &[receiving, ("kind", "certificate")], 60.0),
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
    let families = families(everything);
    assert_eq!(families.len(), 17, "{:?}", families.keys());
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
    ["latency", "request_seconds", "wait", "expiry", "start_time"]
        .iter()
        .any(|word| name.contains(word))
}

#[test]
fn labels_that_hold_anything_stay_one_label() {
    for odd in ["a\"b", "a\\b", "a\nb", "a\"} 1\nforged 2", "ö{}=,"] {
        let families = families(|| set_sign_in_expiry(odd, 1.0));
        assert_eq!(value(&families, SIGN_IN_EXPIRY, &[("account", odd)]), Some(1.0), "{odd:?}");
    }
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
        let page = recorder.render();
        assert!(page.contains("authbridge_installed_twice_total 2\n"), "{page}");
        assert!(page.contains(BUILD_INFO), "{page}");
    }
}
