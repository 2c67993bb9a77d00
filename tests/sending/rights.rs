//! Who may send without a login, through which role, and as whom.

use super::client::{Client, plain};
use super::failures::reference;
use super::{BOB, EVE, classic, gmail, letter, only_delivery, reached, started};
use crate::harness::cloud::{ANNA, OFFICE, OLD};

#[test]
fn a_network_of_the_list_sends_without_a_login() {
    let (cloud, proxy) = started(|cloud| {
        cloud.gmail_smtp("Mail.Sending", "key.json") + "Proxy.Anonymous.Networks = '127.0.0.1'\n"
    });
    let mut client = Client::connect(&proxy);
    client.expect("HELO scanner", "250");
    client.sends("scanner@client.example", &[BOB], letter(ANNA, BOB));
    client.quit();
    let delivery = only_delivery(&cloud);
    assert_eq!((delivery.login.as_str(), delivery.recipient.as_str()), (ANNA, BOB));
    // A login is still possible there, and a wrong one is still wrong.
    let mut client = Client::connect(&proxy);
    client.expect("EHLO client.example", "250");
    client.expect(&plain("app", "wrong"), "535 5.7.8");
    client.expect(&plain("app", "local-password"), "235");
    client.sends(ANNA, &[EVE], letter(ANNA, EVE));
    assert_eq!(reached(&cloud), [BOB, EVE]);
}

#[test]
fn anonymous_networks_get_their_own_role() {
    let (cloud, proxy) = started(|cloud| {
        cloud.gmail_smtp("Mail.Sending", "key.json")
            + &classic("App.scanner.Mail.Sending", &cloud.at().smtp_plain, "")
            + "Proxy.Anonymous.Networks = ['127.0.0.0/8']\n\
               Proxy.Anonymous.Sending = 'App.scanner.Mail.Sending'\n"
    });
    let mut client = Client::connect(&proxy);
    client.expect("EHLO scanner", "250");
    client.sends("scanner@client.example", &[BOB], letter(OLD, BOB));
    assert_eq!(only_delivery(&cloud).login, "");
    Client::logged_in(&proxy).sends(ANNA, &[EVE], letter(ANNA, EVE));
    assert_eq!(cloud.sandbox.deliveries()[1].login, ANNA);
}

#[test]
fn other_networks_need_a_login() {
    for networks in ["", "Proxy.Anonymous.Networks = '192.0.2.0/24'\n"] {
        let (cloud, proxy) =
            started(|cloud| cloud.gmail_smtp("Mail.Sending", "key.json") + networks);
        let mut client = Client::connect(&proxy);
        client.expect("EHLO client.example", "250");
        client.expect(&format!("MAIL FROM:<{ANNA}>"), "530 5.7.0");
        client.expect("DATA", "530 5.7.0");
        assert!(cloud.sandbox.counters().smtp_sessions.is_empty());
    }
}

#[test]
fn two_clients_send_through_two_roles() {
    let (cloud, proxy) = started(|cloud| {
        cloud.gmail_smtp("Mail.Sending", "key.json")
            + &cloud.graph("App.payroll.Mail.Sending")
            + "Proxy.Client.payroll.Password = 'other-password'\n\
               Proxy.Client.payroll.Sending = 'App.payroll.Mail.Sending'\n\
               Proxy.Client.reader.Password = 'third-password'\n\
               Proxy.Client.reader.Sending = 'App.payroll.Mail.Sending'\n"
    });
    Client::logged_in(&proxy).sends(ANNA, &[BOB], letter(ANNA, BOB));
    Client::logged_in_as(&proxy, "Payroll", "other-password").sends(
        OFFICE,
        &[EVE],
        letter(OFFICE, EVE),
    );
    let deliveries = cloud.sandbox.deliveries();
    assert_eq!(reached(&cloud), [BOB, EVE]);
    assert_eq!((deliveries[0].login.as_str(), deliveries[1].from.as_str()), (ANNA, OFFICE));
    // One client's password does not open the other.
    for (login, password) in
        [("app", "other-password"), ("payroll", "local-password"), ("reader", "other-password")]
    {
        let mut client = Client::connect(&proxy);
        client.expect("EHLO client.example", "250");
        client.expect(&plain(login, password), "535 5.7.8");
    }
}

#[test]
fn a_role_that_is_off_is_told_as_such() {
    let (_cloud, proxy) = started(|cloud| cloud.gmail_imap("Mail.Receiving"));
    let mut client = Client::logged_in(&proxy);
    let reply = client.expect(&format!("MAIL FROM:<{ANNA}>"), "550");
    assert!(reply.contains("Mail.Sending"), "{reply}");
    reference(&reply);
}

#[test]
fn allowed_senders_hold_for_the_envelope_and_for_every_from() {
    let (cloud, proxy) = started(|cloud| {
        cloud.gmail_smtp("Mail.Sending", "key.json")
            + "Proxy.Client.app.AllowedSenders = ['anna@workspace.example', '*@shop.example']\n"
    });
    let mut client = Client::logged_in(&proxy);
    for refused in ["ceo@workspace.example", "x@sub.shop.example"] {
        client.expect(&format!("MAIL FROM:<{refused}>"), "550 5.7.1");
    }
    let table = [
        ("From: ceo@workspace.example", false),
        ("From: anna@workspace.example, ceo@workspace.example", false),
        ("From: anna@workspace.example\r\nFrom: ceo@workspace.example", false),
        ("From: anna@workspace.example\r\nSender: ceo@workspace.example", false),
        ("From: \"anna@workspace.example\" <ceo@workspace.example>", false),
        ("From : ceo@workspace.example", false),
        ("From: Anna <ANNA@workspace.example>", true),
        ("From: orders@shop.example", true),
        ("Subject: none, so that the envelope's is added", true),
    ];
    for (from, good) in table {
        let before = cloud.sandbox.deliveries().len();
        let reply = client.mail(ANNA, &[BOB], format!("{from}\r\nTo: {BOB}\r\n\r\nText\r\n"));
        let code = if good { "250" } else { "550 5.7.1" };
        assert!(reply.starts_with(code), "{from}: {reply}");
        assert_eq!(cloud.sandbox.deliveries().len() > before, good, "{from}");
    }
}

#[test]
fn a_client_of_another_login_is_not_bound_by_the_list() {
    let (cloud, proxy) = gmail();
    let other = letter("ceo@workspace.example", BOB);
    Client::logged_in(&proxy).sends("ceo@workspace.example", &[BOB], other);
    assert_eq!(only_delivery(&cloud).from, "ceo@workspace.example");
}
