//! As whom a client may send: policies, aliases, shared mailboxes, one login one mailbox.

use std::process::{Command, Output};

use authbridge::sandbox::{Fault, Mailbox, Place, What};

use super::client::{Client, plain};
use super::failures::logged_under;
use super::{BOB, letter, only_delivery, reached, started};
use crate::harness::cloud::{COLLEAGUE, Cloud, OFFICE};
use crate::harness::{LOGIN, PASSWORD, Proxy, have, run};

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

/// A message by swaks; `header` is its whole From field.
fn swaks(proxy: &Proxy, user: (&str, &str), from: &str, header: &str) -> Output {
    let server = format!("127.0.0.1:{}", proxy.port("SMTP"));
    let mut command = Command::new("swaks");
    command
        .args(["--server", &server, "--from", from, "--to", BOB, "--header", header])
        .args(["--auth", "PLAIN", "--auth-user", user.0, "--auth-password", user.1])
        .args(["--body", "A page.", "--timeout", "30"]);
    run(&mut command, b"")
}

/// The refusal is in what swaks shows, and nobody got anything.
#[track_caller]
fn assert_refused(cloud: &Cloud, output: &Output, code: &str) {
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains(code), "{said}");
    assert_eq!(reached(cloud), Vec::<String>::new());
}

#[test]
fn with_rewrite_whatever_swaks_says_in_from_is_sent_as_the_mailbox() {
    if !have("swaks") {
        return;
    }
    let (cloud, proxy) = graph(OFFICE, "Mail.Sending.Sender.Policy = 'Rewrite'\n");
    let table = [
        ("From: Scanner 3rd floor", "\"Scanner 3rd floor\" ", None),
        ("From: <>", "", None),
        ("From: <<", "", None),
        ("From: scanner@copier.invalid", "", Some("scanner@copier.invalid")),
        (
            "From: \"ceo@contoso.example\" <scanner@copier.invalid>",
            "\"ceo@contoso.example\" ",
            Some("\"ceo@contoso.example\" <scanner@copier.invalid>"),
        ),
    ];
    for (number, (header, name, reply_to)) in table.into_iter().enumerate() {
        let output = swaks(&proxy, (LOGIN, PASSWORD), "scanner@copier.invalid", header);
        assert!(output.status.success(), "{header}: {output:?}");
        let deliveries = cloud.sandbox.deliveries();
        assert_eq!(deliveries.len(), number + 1, "{header}");
        let raw = String::from_utf8_lossy(&deliveries[number].raw).into_owned();
        let value = |name: &str| -> Vec<String> {
            let top = raw.split("\r\n\r\n").next().unwrap_or_default();
            top.lines().filter_map(|line| line.strip_prefix(name)).map(str::to_owned).collect()
        };
        let mailbox = if name.is_empty() { OFFICE.to_owned() } else { format!("<{OFFICE}>") };
        assert_eq!(value("From: "), [format!("{name}{mailbox}")], "{raw}");
        assert_eq!(value("Reply-To: ").first().map(String::as_str), reply_to, "{raw}");
    }
}

#[test]
fn with_reject_swaks_is_told_in_the_envelope_and_in_the_header() {
    if !have("swaks") {
        return;
    }
    let (cloud, proxy) = graph(OFFICE, "Mail.Sending.Sender.Policy = 'Reject'\n");
    let own = format!("From: Office <{OFFICE}>");
    for (from, header) in [
        (COLLEAGUE, own.as_str()),
        (OFFICE, &format!("From: {COLLEAGUE}")),
        (OFFICE, &format!("From: {COLLEAGUE} <{OFFICE}>")),
        (OFFICE, "From: Scanner 3rd floor"),
        (OFFICE, "From: <>"),
    ] {
        assert_refused(&cloud, &swaks(&proxy, (LOGIN, PASSWORD), from, header), "550 5.7.60");
    }
    assert!(swaks(&proxy, (LOGIN, PASSWORD), OFFICE, &own).status.success());
    assert_eq!(reached(&cloud), [BOB]);
}

#[test]
fn a_list_of_senders_may_name_a_domain() {
    if !have("swaks") {
        return;
    }
    let more = "Proxy.Client.app.AllowedSenders = ['*@Contoso.example']\n";
    let (cloud, proxy) = graph(OFFICE, more);
    let own = format!("From: {OFFICE}");
    for (from, header) in [
        ("office@sub.contoso.example", own.as_str()),
        ("office@contoso.example.evil.example", &own),
        (OFFICE, "From: ceo@elsewhere.example"),
        (OFFICE, &format!("From: {OFFICE}, ceo@elsewhere.example")),
        (OFFICE, "From: Scanner 3rd floor"),
    ] {
        assert_refused(&cloud, &swaks(&proxy, (LOGIN, PASSWORD), from, header), "550 5.7.1");
    }
    assert!(swaks(&proxy, (LOGIN, PASSWORD), OFFICE, &own).status.success());
    assert_eq!(reached(&cloud), [BOB]);
}

#[test]
fn with_login_as_the_mailbox_each_of_swaks_users_sends_as_itself() {
    if !have("swaks") {
        return;
    }
    let more = format!(
        "Mail.Sending.Sender.Policy = 'Rewrite'\n\
         Proxy.Client.\"{OFFICE}\".Password = 'jane'\nProxy.Client.\"{COLLEAGUE}\".Password = 'john'\n\
         Proxy.Client.app.Password = 'x'\nProxy.Client.app.Sending = 'App.off.Mail.Sending'\n\
         App.off.Mail.Sending.ServerType = 'Smtp'\nApp.off.Mail.Sending.Smtp.Server = '127.0.0.1:9'\n"
    );
    let (cloud, proxy) = graph("{login}", &more);
    for user in [(OFFICE, "jane"), (COLLEAGUE, "john")] {
        let output = swaks(&proxy, user, "me@copier.invalid", "From: me@copier.invalid");
        assert!(output.status.success(), "{output:?}");
    }
    assert_refused_login(&swaks(&proxy, (OFFICE, "john"), OFFICE, "From: x@y.example"));
    let senders: Vec<String> = cloud.sandbox.deliveries().into_iter().map(|one| one.from).collect();
    assert_eq!(senders, [OFFICE, COLLEAGUE]);
}

#[track_caller]
fn assert_refused_login(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("535 5.7.8"), "{said}");
}
