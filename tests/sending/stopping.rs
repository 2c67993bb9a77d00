//! Stopping while a message is on its way.

use authbridge::sandbox::What;

use super::client::Client;
use super::{BOB, assert_same, gmail, letter, only_delivery, smtp_fault};
use crate::harness::cloud::{ANNA, OFFICE};
use crate::harness::signal;

#[test]
fn a_message_in_flight_is_finished_before_the_program_ends() {
    for chunked in [false, true] {
        let (cloud, proxy) = gmail();
        let message = letter(ANNA, BOB) + &"one line of many\r\n".repeat(1000);
        let (begin, end) = message.split_at(message.len() / 2);
        let mut idle = Client::logged_in(&proxy);
        let mut client = Client::logged_in(&proxy);
        client.envelope(ANNA, &[BOB]);
        if chunked {
            client.send(format!("BDAT {}\r\n{begin}", begin.len()));
            client.expect_reply("250");
        } else {
            client.expect("DATA", "354");
            client.send(begin);
        }
        signal(proxy.id(), "TERM");
        // A session without a message is ended at once, and told so.
        idle.expect_reply("421 4.3.2");
        assert!(idle.has_ended());
        if chunked {
            client.send(format!("BDAT {} LAST\r\n{end}", end.len()));
        } else {
            client.send(format!("{end}.\r\n"));
        }
        client.expect_reply("250 2.0.0");
        client.expect_reply("421 4.3.2");
        assert!(client.has_ended());
        assert_eq!(proxy.stop(), Some(0));
        assert_same(&only_delivery(&cloud).submitted, message.as_bytes());
    }
}

#[test]
fn no_new_client_is_taken_while_stopping() {
    let (_cloud, proxy) = gmail();
    let address = proxy.address("SMTP");
    let mut client = Client::logged_in(&proxy);
    client.envelope(ANNA, &[BOB]);
    client.expect("DATA", "354");
    signal(proxy.id(), "TERM");
    proxy.wait_for_log("stopping");
    crate::harness::wait_until("the listener to close", || {
        std::net::TcpStream::connect(address).is_err()
    });
    client.send(letter(ANNA, BOB) + ".\r\n");
    client.expect_reply("250");
    assert_eq!(proxy.stop(), Some(0));
}

#[test]
fn a_kept_upstream_connection_does_not_hold_up_the_end() {
    let (cloud, proxy) = gmail();
    let mut client = Client::logged_in(&proxy);
    client.sends(ANNA, &[BOB], letter(ANNA, BOB));
    client.quit();
    smtp_fault(&cloud, What::StallAtDot, 1);
    let begin = std::time::Instant::now();
    assert_eq!(proxy.stop(), Some(0));
    assert!(begin.elapsed().as_secs() < 10, "{:?}", begin.elapsed());
}

#[test]
fn a_message_that_the_service_is_working_on_is_answered_before_the_end() {
    use authbridge::sandbox::{Fault, Place};
    let (cloud, proxy) = super::started(|cloud| cloud.graph("Mail.Sending"));
    let what = What::Latency(std::time::Duration::from_secs(2));
    cloud.sandbox.fault(Fault { at: Place::GraphSendMail, what, times: 1 });
    let mut client = Client::logged_in(&proxy);
    client.envelope(OFFICE, &[BOB]);
    client.expect("DATA", "354");
    client.send(letter(OFFICE, BOB) + ".\r\n");
    crate::harness::wait_until("the request", || cloud.sandbox.faults_left().is_empty());
    signal(proxy.id(), "TERM");
    proxy.wait_for_log("stopping");
    client.expect_reply("250 2.0.0");
    assert_eq!(proxy.stop(), Some(0));
    assert_eq!(only_delivery(&cloud).recipient, BOB);
}
