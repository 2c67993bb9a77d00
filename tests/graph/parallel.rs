//! Many clients on one mailbox.

use authbridge::sandbox::{Fault, Place, What};

use super::{office, sent};
use crate::harness::cloud::OFFICE;
use crate::sending::client::Client;
use crate::sending::{letter, reached};

#[test]
fn twenty_clients_at_once_never_make_a_fifth_request() {
    let (cloud, proxy) = office("Mail.Sending.Pace.PerMinute = 0\n");
    // Slow enough for the clients to meet.
    let what = What::Latency(std::time::Duration::from_millis(150));
    cloud.sandbox.fault(Fault { at: Place::GraphSendMail, what, times: 20 });
    let proxy = &proxy;
    std::thread::scope(|scope| {
        for number in 0..20 {
            scope.spawn(move || {
                let to = format!("r{number:02}@elsewhere.example");
                let mut client = Client::logged_in(proxy);
                client.sends(OFFICE, &[&to], letter(OFFICE, &to));
                client.quit();
            });
        }
    });
    let expected: Vec<String> = (0..20).map(|n| format!("r{n:02}@elsewhere.example")).collect();
    assert_eq!((reached(&cloud), sent(&cloud)), (expected, 20));
    let counters = cloud.sandbox.counters();
    assert!(counters.most_at_once <= 4, "{} at once", counters.most_at_once);
    assert_eq!(counters.entra_tokens, 1);
    assert_eq!(counters.requests[&Place::GraphSendMail], 20, "some were refused as too many");
}

#[test]
fn a_hundred_messages_cost_one_token() {
    let (cloud, proxy) = office("Mail.Sending.Pace.PerMinute = 0\n");
    let mut client = Client::logged_in(&proxy);
    for number in 0..100 {
        client.sends(
            OFFICE,
            &["r@elsewhere.example"],
            letter(OFFICE, &format!("r{number}@x.example")),
        );
    }
    let counters = cloud.sandbox.counters();
    assert_eq!((cloud.sandbox.deliveries().len(), counters.entra_tokens), (100, 1));
}
