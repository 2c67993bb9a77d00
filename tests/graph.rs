//! Sending through Microsoft Graph: the built program in front of a Graph that is as strict as the
//! real one.
//!
//! Danger: Graph has no envelope, says success for what it did not send, and loses answers. Rule:
//! every test asserts who got the message, how many copies Sent Items holds and what is left in
//! Drafts, never the reply alone.

mod envelope;
mod faults;
mod large;
mod parallel;

use crate::harness::Proxy;
use crate::harness::cloud::{ANNA, COLLEAGUE, Cloud, OFFICE};
use crate::sending::client::Client;
use crate::sending::failures::logged_under;
use crate::sending::{BOB, assert_same, letter, only_delivery, reached, started};

/// A cloud and a proxy that sends through Graph, with more lines of configuration.
fn office(more: &str) -> (Cloud, Proxy) {
    started(|cloud| cloud.graph("Mail.Sending") + more)
}

/// What lies in the sending mailbox's Drafts.
fn drafts(cloud: &Cloud) -> usize {
    cloud.sandbox.folder(OFFICE, "Drafts").len()
}

/// How many copies the sending mailbox kept.
fn sent(cloud: &Cloud) -> usize {
    cloud.sandbox.sent_items(OFFICE).len()
}

#[test]
fn a_message_goes_out_as_it_came_with_a_secret_or_a_certificate() {
    for certificate in [false, true] {
        let (cloud, proxy) = started(|cloud| match certificate {
            true => cloud.graph_by_certificate("Mail.Sending"),
            false => cloud.graph("Mail.Sending"),
        });
        let message = letter(OFFICE, BOB).replace("A line.", ".dot\r\n\r\nZwölf  \r\n..");
        Client::logged_in(&proxy).sends(OFFICE, &[BOB], &message);
        let delivery = only_delivery(&cloud);
        assert_eq!(delivery.via, authbridge::sandbox::Via::GraphMime);
        assert_eq!((delivery.from.as_str(), delivery.recipient.as_str()), (OFFICE, BOB));
        assert_same(&delivery.submitted, message.as_bytes());
        assert_same(&cloud.sandbox.sent_items(OFFICE)[0].raw, message.as_bytes());
        assert_eq!((sent(&cloud), drafts(&cloud)), (1, 0));
    }
}

#[test]
fn a_message_to_a_mailbox_of_the_tenant_is_in_its_inbox() {
    let (cloud, proxy) = office("");
    Client::logged_in(&proxy).sends(OFFICE, &[COLLEAGUE, ANNA], letter(OFFICE, COLLEAGUE));
    assert_eq!((cloud.sandbox.inbox(COLLEAGUE).len(), cloud.sandbox.inbox(ANNA).len()), (1, 1));
}

#[test]
fn a_mailbox_may_be_named_by_its_object_id() {
    let cloud = Cloud::start();
    let mailbox =
        authbridge::sandbox::Mailbox::microsoft(&cloud.tenant.id, "third@contoso.example");
    let id = cloud.sandbox.add_mailbox(mailbox);
    let role = cloud.graph("Mail.Sending").replace(OFFICE, &id);
    let proxy = Proxy::start_in(cloud.folder(), &(cloud.base() + &role));
    let message = letter("third@contoso.example", BOB);
    Client::logged_in(&proxy).sends("third@contoso.example", &[BOB], message);
    assert_eq!(only_delivery(&cloud).from, "third@contoso.example");
}

#[test]
fn one_role_serves_many_mailboxes_by_login() {
    let (cloud, proxy) = started(|cloud| {
        cloud.graph("Mail.Sending").replace(OFFICE, "{login}")
            + &format!(
                "Proxy.Client.\"{OFFICE}\".Password = 'one-password'\n\
                 Proxy.Client.\"{COLLEAGUE}\".Password = 'two-password'\n"
            )
    });
    for (login, password) in [(OFFICE, "one-password"), (COLLEAGUE, "two-password")] {
        Client::logged_in_as(&proxy, login, password).sends(login, &[BOB], letter(login, BOB));
        assert_eq!(cloud.sandbox.sent_items(login).len(), 1, "{login}");
    }
    let senders: Vec<String> =
        cloud.sandbox.deliveries().into_iter().map(|delivery| delivery.from).collect();
    assert_eq!(senders, [OFFICE, COLLEAGUE]);
}

#[test]
fn a_from_that_the_mailbox_may_not_use_is_550_and_explained() {
    let (cloud, proxy) = office("");
    let mut client = Client::logged_in(&proxy);
    let reply = client.mail(OFFICE, &[BOB], letter("printer@contoso.example", BOB));
    assert!(reply.starts_with("550 5.7.60"), "{reply}");
    let line = logged_under(&proxy, &reply);
    assert!(line.contains("ErrorSendAsDenied") && line.contains("Send As"), "{line}");
    assert_eq!((reached(&cloud).len(), sent(&cloud), drafts(&cloud)), (0, 0, 0));
    client.sends(OFFICE, &[BOB], letter(OFFICE, BOB));
}

#[test]
fn a_wrong_secret_is_454_and_the_log_says_so_in_plain_words() {
    let (cloud, proxy) =
        started(|cloud| cloud.graph("Mail.Sending").replace(&cloud.app.secret, "not-the-secret"));
    let mut client = Client::logged_in(&proxy);
    let reply = client.expect(&format!("MAIL FROM:<{OFFICE}>"), "454 4.7.0");
    let line = logged_under(&proxy, &reply);
    for expected in ["AADSTS7000215", "secret", "Certificates"] {
        assert!(line.contains(expected), "{expected} in {line}");
    }
    assert!(!line.contains("not-the-secret"), "{line}");
    client.expect("NOOP", "250");
    assert!(reached(&cloud).is_empty());
}

#[test]
fn an_expired_secret_and_a_missing_permission_are_explained() {
    let (cloud, proxy) = office("");
    let mut app = cloud.app.clone();
    app.secret_expired = true;
    cloud.sandbox.add_app(app.clone());
    let mut client = Client::logged_in(&proxy);
    let reply = client.expect(&format!("MAIL FROM:<{OFFICE}>"), "454 4.7.0");
    assert!(logged_under(&proxy, &reply).contains("AADSTS7000222"));

    let (cloud, proxy) = office("");
    let mut app = cloud.app.clone();
    app.roles.retain(|role| role != "Mail.Send");
    cloud.sandbox.add_app(app);
    let reply = Client::logged_in(&proxy).mail(OFFICE, &[BOB], letter(OFFICE, BOB));
    assert!(reply.starts_with("550 5.7.1"), "{reply}");
    let line = logged_under(&proxy, &reply);
    assert!(line.contains("Mail.Send") && line.contains("admin consent"), "{line}");
    assert!(reached(&cloud).is_empty());
}

#[test]
fn a_mailbox_that_does_not_exist_is_permanent_and_named_in_the_log() {
    for (user, code) in
        [("nobody@contoso.example", "550 5.1."), ("unlicensed@contoso.example", "550 5.1.0")]
    {
        let (cloud, proxy) = started(|cloud| {
            let tenant = &cloud.tenant.id;
            let unlicensed =
                authbridge::sandbox::Mailbox::microsoft(tenant, "unlicensed@contoso.example");
            cloud.sandbox.add_mailbox(unlicensed.without_rest());
            cloud.graph("Mail.Sending").replace(OFFICE, user)
        });
        let reply = Client::logged_in(&proxy).mail(user, &[BOB], letter(user, BOB));
        assert!(reply.starts_with(code), "{reply}");
        let line = logged_under(&proxy, &reply);
        assert!(line.contains(user) && line.contains("UserObjectId"), "{line}");
        assert!(reached(&cloud).is_empty());
    }
}

#[test]
fn without_a_copy_nothing_is_kept_and_everybody_gets_it() {
    let (cloud, proxy) = office("Mail.Sending.Microsoft365.SaveToSentItems = false\n");
    let message = letter(OFFICE, BOB);
    Client::logged_in(&proxy).sends(OFFICE, &[BOB, COLLEAGUE], &message);
    assert_eq!(reached(&cloud), [BOB, COLLEAGUE]);
    assert_same(&cloud.sandbox.deliveries()[0].raw, message.as_bytes());
    assert_eq!((sent(&cloud), drafts(&cloud)), (0, 0));
}

#[test]
fn dsn_is_not_offered_and_its_parameters_do_no_harm() {
    let (cloud, proxy) = office("");
    let mut client = Client::logged_in(&proxy);
    let offered = client.expect("EHLO client.example", "250-");
    assert!(!offered.contains("DSN") && offered.contains("SIZE 157286400"), "{offered}");
    client.expect(&format!("MAIL FROM:<{OFFICE}> RET=HDRS ENVID=x"), "250");
    client.expect(&format!("RCPT TO:<{BOB}> NOTIFY=NEVER"), "250");
    assert!(client.data(letter(OFFICE, BOB)).starts_with("250"));
    assert_eq!(reached(&cloud), [BOB]);
}
