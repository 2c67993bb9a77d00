//! What sessions share of the service, and that nothing of one reaches another.

use authbridge::sandbox::{Mailbox, ServiceAccount, What};

use super::client::Client;
use super::started;
use super::{BOB, EVE, assert_same, classic, gmail, letter, only_delivery, reached, smtp_fault};
use crate::harness::cloud::{ANNA, Cloud, OLD};
use crate::harness::wait_until;

const BERT: &str = "bert@workspace.example";

#[test]
fn an_envelope_that_was_given_up_does_not_reach_the_next_message() {
    let (cloud, proxy) = gmail();
    for end in ["RSET", "EHLO again.example", "QUIT", ""] {
        let mut client = Client::logged_in(&proxy);
        client.envelope(ANNA, &[EVE]);
        match end {
            "" => drop(client),
            "QUIT" => client.quit(),
            _ => {
                client.expect(end, "250");
                client.expect("DATA", "503");
                client.sends(ANNA, &[BOB], letter(ANNA, BOB));
            }
        }
        Client::logged_in(&proxy).sends(ANNA, &[BOB], letter(ANNA, BOB));
    }
    assert_eq!(reached(&cloud), [BOB; 6]);
}

/// A cloud where the role's mailbox is the client's own, and a proxy for two clients.
fn by_login(role: impl FnOnce(&Cloud) -> String) -> (Cloud, crate::harness::Proxy) {
    started(|cloud| {
        cloud.sandbox.add_mailbox(Mailbox::google(BERT));
        let account = ServiceAccount::new(&cloud.key.email).delegated_for(&[ANNA, BERT]);
        cloud.sandbox.add_google_service_account(account);
        role(cloud)
            + &format!(
                "Proxy.Client.\"{ANNA}\".Password = 'anna-password'\n\
                 Proxy.Client.\"{BERT}\".Password = 'bert-password'\n"
            )
    })
}

#[test]
fn a_kept_connection_is_never_lent_to_another_mailbox() {
    let (cloud, proxy) = by_login(|cloud| {
        let role = cloud.gmail_smtp("Mail.Sending", "key.json");
        role.replace(&format!("GsuiteUser = '{ANNA}'"), "GsuiteUser = '{login}'")
    });
    for _ in 0..2 {
        for (login, password) in [(ANNA, "anna-password"), (BERT, "bert-password")] {
            let mut client = Client::logged_in_as(&proxy, login, password);
            client.sends(login, &[BOB], letter(login, BOB));
            client.quit();
        }
    }
    let senders: Vec<(String, String)> =
        cloud.sandbox.deliveries().into_iter().map(|one| (one.login, one.from)).collect();
    let expected = [ANNA, BERT, ANNA, BERT].map(|one| (one.to_owned(), one.to_owned()));
    assert_eq!(senders, expected);
    let counters = cloud.sandbox.counters();
    assert_eq!((counters.google_tokens, counters.smtp_sessions.len()), (2, 2));
    assert_eq!(
        (cloud.sandbox.sent_items(ANNA).len(), cloud.sandbox.sent_items(BERT).len()),
        (2, 2)
    );
}

#[test]
fn the_login_s_case_does_not_matter_to_the_mailbox() {
    let (cloud, proxy) = by_login(|cloud| {
        let role = cloud.gmail_smtp("Mail.Sending", "key.json");
        role.replace(&format!("GsuiteUser = '{ANNA}'"), "GsuiteUser = '{login}'")
    });
    let mut client = Client::logged_in_as(&proxy, "ANNA@Workspace.Example", "anna-password");
    client.sends(ANNA, &[BOB], letter(ANNA, BOB));
    assert_eq!(only_delivery(&cloud).login, ANNA);
}

#[test]
fn a_whole_conversation_in_one_segment_is_answered_in_order() {
    let (cloud, proxy) = gmail();
    let mut client = Client::logged_in(&proxy);
    let message = letter(ANNA, BOB);
    client.send(format!(
        "MAIL FROM:<{ANNA}>\r\nRCPT TO:<{BOB}>\r\nRCPT TO:<broken\r\nRCPT TO:<{EVE}>\r\nDATA\r\n"
    ));
    for start in ["250 2.1.0", "250 2.1.5", "5", "250 2.1.5", "354"] {
        client.expect_reply(start);
    }
    client.send(format!(
        "{message}.\r\nMAIL FROM:<{ANNA}>\r\nRCPT TO:<{BOB}>\r\nRSET\r\nNOOP\r\nQUIT\r\n"
    ));
    for start in ["250 2.0.0", "250 2.1.0", "250 2.1.5", "250 2.0.0", "250 2.0.0", "221 2.0.0"] {
        client.expect_reply(start);
    }
    assert!(client.has_ended());
    assert_eq!(reached(&cloud), [BOB, EVE]);
    assert_same(&cloud.sandbox.deliveries()[0].submitted, message.as_bytes());
}

#[test]
fn the_service_s_limit_of_recipients_is_passed_on_and_the_others_get_it() {
    let (cloud, proxy) = gmail();
    let mut client = Client::logged_in(&proxy);
    client.expect(&format!("MAIL FROM:<{ANNA}>"), "250");
    for number in 0..100 {
        client.expect(&format!("RCPT TO:<r{number}@elsewhere.example>"), "250");
    }
    client.expect("RCPT TO:<late@elsewhere.example>", "452 4.5.3");
    assert!(client.data(letter(ANNA, BOB)).starts_with("250"));
    assert_eq!(reached(&cloud).len(), 100);
}

#[test]
fn a_service_that_never_greets_holds_up_nobody_else() {
    let (cloud, proxy) = started(|cloud| classic("Mail.Sending", &cloud.at().smtp_plain, ""));
    smtp_fault(&cloud, What::Stall, 1);
    let mut stuck = Client::logged_in(&proxy);
    stuck.send(format!("MAIL FROM:<{OLD}>\r\n"));
    wait_until("the fault to strike", || cloud.sandbox.faults_left().is_empty());
    Client::logged_in(&proxy).sends(OLD, &[BOB], letter(OLD, BOB));
    assert_eq!(reached(&cloud), [BOB]);
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_temporary_and_explained() {
    let cloud = Cloud::start();
    // No CaPath.
    let role = cloud.gmail_smtp("Mail.Sending", "key.json");
    let graph = cloud.graph("App.graph.Mail.Sending")
        + "Proxy.Client.graph.Password = 'graph-password'\n\
           Proxy.Client.graph.Sending = 'App.graph.Mail.Sending'\n";
    let proxy = crate::harness::Proxy::start_in(cloud.folder(), &(role + &graph));
    for (login, password) in [("app", "local-password"), ("graph", "graph-password")] {
        let mut client = Client::logged_in_as(&proxy, login, password);
        let reply = client.expect(&format!("MAIL FROM:<{ANNA}>"), "4");
        let line = super::failures::logged_under(&proxy, &reply);
        assert!(line.to_lowercase().contains("certificate"), "{login}: {line}");
        assert!(line.contains("Proxy.Upstream.CaPath"), "{login}: {line}");
    }
    assert!(cloud.sandbox.counters().logins.is_empty());
}
