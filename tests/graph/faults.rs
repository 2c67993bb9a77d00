//! Every way in which Graph fails, and that a message is sent once or told as not sent.

use std::time::{Duration, Instant};

use authbridge::sandbox::{Fault, Place, What};

use super::{drafts, office, sent};
use crate::harness::Proxy;
use crate::harness::cloud::{Cloud, OFFICE};
use crate::sending::client::Client;
use crate::sending::failures::logged_under;
use crate::sending::{BOB, EVE, letter, reached};

fn fault(cloud: &Cloud, at: Place, what: What, times: usize) {
    cloud.sandbox.fault(Fault { at, what, times });
}

/// A cloud whose next `times` sendMail requests fail so, and the reply to a message.
fn sent_into(what: What, times: usize) -> (Cloud, Proxy, Client, String) {
    let (cloud, proxy) = office("");
    fault(&cloud, Place::GraphSendMail, what.clone(), times);
    let mut client = Client::logged_in(&proxy);
    let reply = client.mail(OFFICE, &[BOB], letter(OFFICE, BOB));
    assert!(cloud.sandbox.faults_left().is_empty(), "{what:?} did not strike");
    (cloud, proxy, client, reply)
}

fn requests(cloud: &Cloud, at: Place) -> usize {
    cloud.sandbox.counters().requests.get(&at).copied().unwrap_or_default()
}

#[test]
fn a_retry_after_is_waited_for_and_the_client_hears_nothing_of_it() {
    let begin = Instant::now();
    let (cloud, _proxy, _client, reply) = sent_into(What::Status(429, Some(2)), 1);
    assert!(reply.starts_with("250"), "{reply}");
    assert!(begin.elapsed() >= Duration::from_secs(2), "asked again too soon");
    assert_eq!((reached(&cloud), sent(&cloud)), (vec![BOB.to_owned()], 1));
    assert_eq!(requests(&cloud, Place::GraphSendMail), 2);
}

#[test]
fn a_retry_after_that_is_too_long_is_told_as_busy_at_once() {
    let begin = Instant::now();
    let (cloud, proxy, _client, reply) = sent_into(What::Status(429, Some(300)), 1);
    assert!(reply.starts_with("451 4."), "{reply}");
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    let line = logged_under(&proxy, &reply);
    assert!(line.contains("Throttled") && line.contains("300"), "{line}");
    assert_eq!((reached(&cloud).len(), sent(&cloud), drafts(&cloud)), (0, 0, 0));
}

#[test]
fn a_lost_answer_to_a_message_that_was_sent_is_success_and_one_copy() {
    for what in [What::ResetAfter, What::Truncate] {
        let (cloud, _proxy, _client, reply) = sent_into(what.clone(), 1);
        assert!(reply.starts_with("250 2.0.0"), "{what:?}: {reply}");
        assert_eq!((reached(&cloud), sent(&cloud)), (vec![BOB.to_owned()], 1), "{what:?}");
        assert_eq!(requests(&cloud, Place::GraphSendMail), 1, "{what:?}");
    }
}

#[test]
fn a_lost_answer_to_the_second_message_with_one_id_is_not_mistaken_for_the_first() {
    // A client that uses one Message-ID twice: the first copy in Sent Items proves nothing.
    let (cloud, proxy) = office("");
    let mut client = Client::logged_in(&proxy);
    client.sends(OFFICE, &[BOB], letter(OFFICE, BOB));
    fault(&cloud, Place::GraphSendMail, What::ResetAfter, 1);
    client.sends(OFFICE, &[EVE], letter(OFFICE, BOB));
    assert_eq!((reached(&cloud), sent(&cloud)), (vec![BOB.to_owned(), EVE.to_owned()], 2));
}

/// Each of these waits some ten seconds for a copy to turn up in Sent Items: side by side.
#[test]
fn what_was_lost_is_searched_for_before_anything_is_sent_again() {
    let table = [
        (What::Status(503, Some(1)), true),
        (What::Status(504, None), true),
        (What::FalseSuccess, false),
        (What::ResetWhileReading, false),
    ];
    std::thread::scope(|scope| {
        for (what, heals) in table {
            scope.spawn(move || what_was_not_sent_is_sent_or_told_as_temporary(&what, heals));
        }
        scope.spawn(when_sent_items_cannot_be_searched_the_retry_finds_it);
        scope.spawn(a_reset_before_anything_was_done_is_safe_to_repeat);
    });
}

fn what_was_not_sent_is_sent_or_told_as_temporary(what: &What, heals: bool) {
    let (cloud, proxy, mut client, reply) = sent_into(what.clone(), 1);
    let expected = if heals { "250 2.0.0" } else { "451 4." };
    assert!(reply.starts_with(expected), "{what:?}: {reply}\n{}", proxy.log());
    let copies = usize::from(heals);
    assert_eq!((reached(&cloud).len(), sent(&cloud)), (copies, copies), "{what:?}");
    if !heals {
        logged_under(&proxy, &reply);
        client.sends(OFFICE, &[BOB], letter(OFFICE, BOB));
    }
    assert_eq!((reached(&cloud).len(), sent(&cloud)), (1, 1), "{what:?}");
    assert_eq!(drafts(&cloud), 0, "{what:?}");
}

fn when_sent_items_cannot_be_searched_the_retry_finds_it() {
    let (cloud, proxy) = office("");
    fault(&cloud, Place::GraphSendMail, What::ResetAfter, 1);
    fault(&cloud, Place::GraphRead, What::Status(403, None), 3);
    let mut client = Client::logged_in(&proxy);
    let message = letter(OFFICE, BOB);
    let reply = client.mail(OFFICE, &[BOB], &message);
    assert!(reply.starts_with("451 4.4.2"), "{reply}");
    assert!(logged_under(&proxy, &reply).contains("OutcomeUnknown"));
    assert_eq!(reached(&cloud), [BOB]);
    // The client does what 4xx asks for: it comes again. Nobody gets a second copy.
    client.sends(OFFICE, &[BOB], &message);
    assert_eq!((reached(&cloud), sent(&cloud)), (vec![BOB.to_owned()], 1));
}

fn a_reset_before_anything_was_done_is_safe_to_repeat() {
    let (cloud, proxy, mut client, reply) = sent_into(What::ResetBefore, 1);
    assert!(reply.starts_with("250") || reply.starts_with("451"), "{reply}");
    if reply.starts_with("451") {
        logged_under(&proxy, &reply);
        assert!(reached(&cloud).is_empty());
        client.sends(OFFICE, &[BOB], letter(OFFICE, BOB));
    }
    assert_eq!((reached(&cloud), sent(&cloud)), (vec![BOB.to_owned()], 1));
}

#[test]
fn a_token_that_dies_on_the_way_is_replaced_once() {
    let (cloud, proxy, mut client, reply) = sent_into(What::ExpireToken, 1);
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!((reached(&cloud).len(), sent(&cloud)), (1, 1));
    assert_eq!(cloud.sandbox.counters().entra_tokens, 2);
    client.sends(OFFICE, &[EVE], letter(OFFICE, EVE));
    assert_eq!(cloud.sandbox.counters().entra_tokens, 2);
    drop(proxy);
}

#[test]
fn a_token_that_is_refused_for_good_is_454() {
    let (cloud, proxy, _client, reply) = sent_into(What::Status(401, None), 2);
    assert!(reply.starts_with("454 4.7.0"), "{reply}");
    assert!(logged_under(&proxy, &reply).contains("TenantId"));
    assert!(reached(&cloud).is_empty());
}

#[test]
fn a_status_without_a_known_code_is_a_failure_and_is_logged() {
    for status in [400, 403, 507, 509] {
        let (cloud, proxy, _client, reply) = sent_into(What::Status(status, None), 1);
        assert!(reply.starts_with(['4', '5']), "{status}: {reply}");
        let line = logged_under(&proxy, &reply);
        assert!(line.contains(&status.to_string()), "{line}");
        assert_eq!((reached(&cloud).len(), sent(&cloud)), (0, 0), "{status}");
    }
}

#[test]
fn one_request_that_hangs_does_not_hold_up_the_others() {
    let (cloud, proxy) = office("");
    fault(&cloud, Place::GraphSendMail, What::Stall, 1);
    let mut stuck = Client::logged_in(&proxy);
    stuck.envelope(OFFICE, &[EVE]);
    stuck.expect("DATA", "354");
    stuck.send(letter(OFFICE, EVE) + ".\r\n");
    crate::harness::wait_until("the fault to strike", || cloud.sandbox.faults_left().is_empty());
    let begin = Instant::now();
    for _ in 0..5 {
        Client::logged_in(&proxy).sends(OFFICE, &[BOB], letter(OFFICE, BOB));
    }
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert_eq!(reached(&cloud), [BOB; 5]);
}

#[test]
#[ignore = "waits a minute for the time limit of one request"]
fn a_request_that_hangs_ends_and_the_message_is_told_as_not_sent() {
    let (cloud, proxy) = office("");
    fault(&cloud, Place::GraphSendMail, What::Stall, 1);
    let mut client = Client::logged_in(&proxy).patient(Duration::from_secs(120));
    let reply = client.mail(OFFICE, &[BOB], letter(OFFICE, BOB));
    assert!(reply.starts_with("451 4."), "{reply}");
    logged_under(&proxy, &reply);
    assert!(reached(&cloud).is_empty());
    client.sends(OFFICE, &[BOB], letter(OFFICE, BOB));
    assert_eq!((reached(&cloud), sent(&cloud)), (vec![BOB.to_owned()], 1));
}

#[test]
fn entra_s_trouble_is_temporary_and_passes() {
    for what in [What::Status(503, None), What::LoopDetected] {
        let (cloud, proxy) = office("");
        fault(&cloud, Place::EntraToken, what.clone(), 10);
        let mut client = Client::logged_in(&proxy);
        let reply = client.expect(&format!("MAIL FROM:<{OFFICE}>"), "4");
        logged_under(&proxy, &reply);
        assert!(reached(&cloud).is_empty(), "{what:?}");
        client.expect("NOOP", "250");
    }
}
