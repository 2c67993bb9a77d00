//! As whom a client may send: policies, aliases, shared mailboxes, one login one mailbox.

use authbridge::sandbox::{Fault, Mailbox, Place, What};

use super::client::{Client, plain};
use super::failures::logged_under;
use super::{BOB, letter, only_delivery, reached, started};
use crate::harness::Proxy;
use crate::harness::cloud::{COLLEAGUE, Cloud, OFFICE};

const ALIAS: &str = "orders@contoso.example";
const SHARED: &str = "team@contoso.example";
const ALIASED: &str = "sales@contoso.example";

/// A Graph role whose mailbox is `user`, and more lines.
fn graph(user: &str, more: &str) -> (Cloud, Proxy) {
    started(|cloud| cloud.graph("Mail.Sending").replace(OFFICE, user) + more)
}

#[test]
fn an_alias_is_sent_as_it_is_and_the_list_names_it() {
    let more = format!("Proxy.Client.app.AllowedSenders = ['{ALIASED}', '{ALIAS}']\n");
    let (cloud, proxy) = graph(ALIASED, &more);
    cloud.sandbox.add_mailbox(Mailbox::microsoft(&cloud.tenant.id, ALIASED).alias(ALIAS));
    let mut client = Client::logged_in(&proxy);
    client.sends(ALIAS, &[BOB], letter(ALIAS, BOB));
    let raw = only_delivery(&cloud).raw;
    assert!(String::from_utf8_lossy(&raw).contains(&format!("From: {ALIAS}\r\n")));
    let reply = client.mail(ALIAS, &[BOB], letter(COLLEAGUE, BOB));
    assert!(reply.starts_with("550 5.7.1 "), "{reply}");
    client.expect(&format!("MAIL FROM:<{COLLEAGUE}>"), "550 5.7.1 ");
    assert_eq!(reached(&cloud), [BOB]);
}

#[test]
fn a_shared_mailbox_is_a_role_of_its_own() {
    let (cloud, proxy) = graph(SHARED, "");
    cloud.sandbox.add_mailbox(Mailbox::microsoft(&cloud.tenant.id, SHARED).shared_with(OFFICE));
    Client::logged_in(&proxy).sends(SHARED, &[BOB], letter(SHARED, BOB));
    assert_eq!(only_delivery(&cloud).from, SHARED);
}

#[test]
fn a_sender_that_the_service_does_not_permit_is_told_with_a_reference() {
    let (cloud, proxy) = graph(OFFICE, "");
    let mut client = Client::logged_in(&proxy);
    let reply = client.mail(COLLEAGUE, &[BOB], letter(COLLEAGUE, BOB));
    assert!(reply.starts_with("550 5.7.60 "), "{reply}");
    let line = logged_under(&proxy, &reply);
    assert!(line.contains("Send As") && line.contains("Mail.Sending"), "{line}");
    // The same without the sandbox's own judgement.
    let what = What::Graph(403, "ErrorSendAsDenied");
    cloud.sandbox.fault(Fault { at: Place::GraphSendMail, what, times: 1 });
    let reply = client.mail(OFFICE, &[BOB], letter(OFFICE, BOB));
    assert!(reply.starts_with("550 5.7.60 ") && reply.contains("(ref "), "{reply}");
    assert!(reached(&cloud).is_empty());
}

#[test]
fn with_rewrite_a_device_may_call_itself_what_it_wants() {
    let (cloud, proxy) = graph(OFFICE, "Mail.Sending.Sender.Policy = 'Rewrite'\n");
    let mut client = Client::logged_in(&proxy);
    let text = format!("From: scanner 3\r\nTo: {BOB}\r\n\r\nA line.\r\n");
    client.sends("scanner@copier.invalid", &[BOB], text);
    client.sends(COLLEAGUE, &[BOB], letter(COLLEAGUE, BOB));
    let deliveries = cloud.sandbox.deliveries();
    let header = |place: usize| String::from_utf8_lossy(&deliveries[place].raw).into_owned();
    assert_eq!(deliveries.len(), 2);
    assert!(header(0).contains(&format!("From: \"scanner 3\" <{OFFICE}>\r\n")), "{}", header(0));
    let expected = format!("From: {OFFICE}\r\nReply-To: {COLLEAGUE}\r\n");
    assert!(header(1).contains(&expected), "{}", header(1));
}

#[test]
fn one_login_is_one_mailbox() {
    let (cloud, proxy) = graph(
        "{login}",
        &format!(
            "Mail.Sending.Sender.Policy = 'Reject'\n\
             Proxy.Client.app.Password = 'x'\nProxy.Client.app.Sending = 'App.off.Mail.Sending'\n\
             App.off.Mail.Sending.ServerType = 'Smtp'\n\
             App.off.Mail.Sending.Smtp.Server = '127.0.0.1:9'\n\
             Proxy.Client.\"{OFFICE}\".Password = 'jane'\n\
             Proxy.Client.\"{COLLEAGUE}\".Password = 'john'\n"
        ),
    );
    let mut client = Client::logged_in_as(&proxy, OFFICE, "jane");
    let reply = client.expect(&format!("MAIL FROM:<{COLLEAGUE}>"), "550 5.7.60 ");
    assert!(reply.contains(OFFICE) && reply.contains("(ref "), "{reply}");
    for from in [COLLEAGUE, "nobody@contoso.example", "office@contoso.example, x@contoso.example"] {
        let reply = client.mail(OFFICE, &[BOB], letter(from, BOB));
        assert!(reply.starts_with("550 5.7.60 "), "{from}: {reply}");
    }
    assert!(reached(&cloud).is_empty());
    client.sends(OFFICE, &[BOB], letter(OFFICE, BOB));
    Client::logged_in_as(&proxy, COLLEAGUE, "john").sends(
        COLLEAGUE,
        &[BOB],
        letter(COLLEAGUE, BOB),
    );
    let senders: Vec<String> = cloud.sandbox.deliveries().into_iter().map(|one| one.from).collect();
    assert_eq!(senders, [OFFICE, COLLEAGUE]);
    let mut stranger = Client::connect(&proxy);
    stranger.expect("EHLO client.example", "250");
    stranger.expect(&plain("nobody@contoso.example", "jane"), "535 5.7.8");
}
