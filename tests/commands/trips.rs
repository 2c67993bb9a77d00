//! `check --send-test` for each pair of services; and that without it nothing is left behind.

use std::process::Command;
use std::time::{Duration, Instant};

use authbridge::sandbox::{App, Fault, Place, What};

use super::verify::{failure, json, step};
use crate::harness::cloud::{ANNA, COLLEAGUE, Cloud, OFFICE, OLD, OLD_PASSWORD};
use crate::harness::{command, have, succeed};

/// Roles at Exchange Online's own services, with an application's token.
fn exchange(cloud: &Cloud) -> String {
    let app = ["SMTP.SendAsApp", "IMAP.AccessAsApp", "POP.AccessAsApp"]
        .iter()
        .fold(App::new(&cloud.tenant.id), |app, role| app.with_role(role));
    let app = cloud.sandbox.add_app(app);
    let at = cloud.at();
    let role = |role: &str, kind: &str, name: &str, server: &str, more: &str| {
        let keys = cloud
            .graph(role)
            .replace("'Microsoft365'", &format!("'{kind}'"))
            .replace(&cloud.app.client_id, &app.client_id)
            .replace(&cloud.app.secret, &app.secret);
        let keys: String = keys
            .lines()
            .filter(|line| !line.contains(".GraphUrl"))
            .map(|line| format!("{line}\n"))
            .collect();
        format!(
            "{keys}{role}.{name}.Server = '{server}'\n{role}.{name}.AuthType = 'MicrosoftOAuth2'\n"
        ) + &more.replace("ROLE", role)
    };
    let smtp =
        "ROLE.Smtp.UseSsl = true\nROLE.Smtp.TlsMode = 'StartTls'\nROLE.Smtp.UseAuth = true\n";
    role("App.x.Mail.Sending", "Smtp", "Smtp", &at.exchange_smtp, smtp)
        + &role(
            "App.x.Mail.Receiving",
            "IMAP",
            "Imap",
            &at.exchange_imap,
            "ROLE.Imap.UseSSL = true\n",
        )
        + &role(
            "App.y.Mail.Receiving",
            "POP3",
            "Pop3",
            &at.exchange_pop3,
            "ROLE.Pop3.UseSSL = true\n",
        )
}

/// A classic server with a password.
fn classic(cloud: &Cloud) -> String {
    let at = cloud.at();
    let login =
        |prefix: &str| format!("{prefix}.Login = '{OLD}'\n{prefix}.Password = '{OLD_PASSWORD}'\n");
    format!(
        "App.old.Mail.Sending.ServerType = 'Smtp'\nApp.old.Mail.Sending.Smtp.Server = '{}'\n\
         App.old.Mail.Sending.Smtp.UseSsl = true\nApp.old.Mail.Sending.Smtp.TlsMode = 'Implicit'\n\
         App.old.Mail.Sending.Smtp.UseAuth = true\n{}\
         App.old.Mail.Receiving.ServerType = 'POP3'\nApp.old.Mail.Receiving.Pop3.Server = '{}'\n\
         App.old.Mail.Receiving.Pop3.UseSSL = true\n{}",
        at.smtp,
        login("App.old.Mail.Sending.Smtp"),
        at.pop3,
        login("App.old.Mail.Receiving.Pop3")
    )
}

/// Every kind of role.
fn everything(cloud: &Cloud) -> String {
    cloud.graph("Mail.Sending")
        + &cloud.graph_by_certificate("Mail.Receiving").replace(OFFICE, COLLEAGUE)
        + &cloud.gmail_smtp("App.g.Mail.Sending", "key.json")
        + &cloud.gmail_imap("App.g.Mail.Receiving")
        + &cloud.gmail_pop3("App.p.Mail.Receiving")
        + &exchange(cloud)
        + &classic(cloud)
}

#[test]
fn each_pair_of_services_makes_the_round_trip() {
    let cloud = Cloud::start();
    let all = everything(&cloud);
    let sending =
        ["Mail.Sending", "App.g.Mail.Sending", "App.x.Mail.Sending", "App.old.Mail.Sending"];
    // By all four at once, to each mailbox that some role opens: Graph, IMAP, POP3.
    for (address, expected) in [(COLLEAGUE, 4), (ANNA, 4), (OFFICE, 4), (OLD, 4)] {
        let before = cloud.sandbox.inbox(address).len();
        let (report, said) = json(&cloud, &all, &["--send-test", address]);
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{report}");
        for role in sending {
            let trip = step(&report, role, "round-trip");
            assert_eq!(trip["verdict"], "works", "{role} to {address}: {trip}");
        }
        assert_eq!(cloud.sandbox.inbox(address).len() - before, expected, "{address}");
    }
    // POP3 at Gmail and at Exchange, where no IMAP role opens the same mailbox.
    let pop3 = cloud.gmail_smtp("Mail.Sending", "key.json") + &cloud.gmail_pop3("Mail.Receiving");
    let (report, said) = json(&cloud, &pop3, &["--send-test", ANNA]);
    assert_eq!(said.code, Some(0), "{report}");
    assert_eq!(step(&report, "Mail.Sending", "round-trip")["verdict"], "works", "{report}");
    let only_pop3: String = exchange(&cloud)
        .lines()
        .filter(|line| !line.starts_with("App.x.Mail.Receiving"))
        .map(|line| format!("{line}\n"))
        .collect();
    let (report, said) = json(&cloud, &only_pop3, &["--send-test", OFFICE]);
    assert_eq!(said.code, Some(0), "{report}");
    let trip = step(&report, "App.x.Mail.Sending", "round-trip");
    assert!(trip["text"].as_str().unwrap().contains("App.y.Mail.Receiving"), "{trip}");
}

#[test]
fn a_sender_that_is_refused_sends_nothing() {
    let cloud = Cloud::start();
    let configuration = cloud.graph("Mail.Sending")
        + &cloud.gmail_smtp("App.g.Mail.Sending", "key.json")
        + &cloud.gmail_imap("App.g.Mail.Receiving");
    let fault = |at, what| cloud.sandbox.fault(Fault { at, what, times: 1 });
    fault(Place::GraphSendMail, What::Graph(403, "ErrorSendAsDenied"));
    fault(Place::Smtp, What::Reply("MAIL", "550 5.7.60 Client may not send as this sender"));
    let (report, said) = json(&cloud, &configuration, &["--send-test", ANNA]);
    assert_eq!(said.code, Some(1), "{report}");
    for (role, code) in
        [("Mail.Sending", "ErrorSendAsDenied"), ("App.g.Mail.Sending", "550 5.7.60")]
    {
        let (subject, found, text) = failure(&report, role);
        assert_eq!((subject, found), ("sending", code), "{text}");
    }
    assert!(cloud.sandbox.deliveries().is_empty() && cloud.sandbox.inbox(ANNA).is_empty());
}

/// What a check may not change: every message of every mailbox with its flags.
fn contents(cloud: &Cloud) -> Vec<String> {
    let mut all = Vec::new();
    for address in [OFFICE, COLLEAGUE, ANNA, OLD] {
        for folder in ["INBOX", "sentitems", "drafts", "deleteditems", "outbox"] {
            for message in cloud.sandbox.folder(address, folder) {
                all.push(format!("{address} {folder} {} {:?}", message.uid, message.flags));
            }
        }
    }
    all
}

#[test]
fn without_a_test_message_nothing_is_sent_stored_or_marked() {
    let cloud = Cloud::start();
    for address in [OFFICE, COLLEAGUE, ANNA, OLD] {
        for number in 0..3 {
            let raw = format!("Subject: {number}\r\n\r\nNobody has read it.\r\n");
            cloud.sandbox.put(address, "INBOX", raw.as_bytes()).unwrap();
        }
    }
    let before = contents(&cloud);
    assert_eq!(before.len(), 12);
    let folder = cloud.folder();
    let (report, said) = super::verify::json_in(&cloud, folder.path(), &everything(&cloud), &[]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{report}");
    assert_eq!(contents(&cloud), before);
    assert!(cloud.sandbox.deliveries().is_empty());
    // Graph is asked by reading alone, and no SMTP session has come to a message.
    let kinds = cloud.sandbox.graph_kinds();
    let harmless = |method: &String| ["GET", "HEAD"].contains(&method.as_str());
    assert!(kinds.keys().all(|(method, _)| harmless(method)), "{kinds:?}");
    let sessions = cloud.sandbox.counters().smtp_sessions;
    assert!(!sessions.is_empty() && sessions.iter().all(|one| one.messages == 0), "{sessions:?}");
    let logins = cloud.sandbox.counters().logins;
    assert!(logins.iter().all(|login| login.accepted), "{logins:?}");
    assert_eq!(logins.len(), 8, "one for each mail role: {logins:?}");
}

#[test]
fn everything_silent_ends_within_a_minute() {
    let cloud = Cloud::start();
    for at in [
        Place::EntraToken,
        Place::GraphRead,
        Place::GoogleToken,
        Place::Imap,
        Place::Pop3,
        Place::Smtp,
    ] {
        cloud.sandbox.fault(Fault { at, what: What::Stall, times: 100 });
    }
    let begin = Instant::now();
    let (report, said) = json(&cloud, &everything(&cloud), &[]);
    let took = begin.elapsed();
    assert_eq!(said.code, Some(1), "{report}");
    assert!(took < Duration::from_secs(60), "{took:?}");
    for role in ["Mail.Sending", "Mail.Receiving", "App.g.Mail.Sending", "App.g.Mail.Receiving"] {
        let (_, _, text) = failure(&report, role);
        assert!(text.contains("no end to it") || text.contains("answer"), "{role}: {text}");
    }
}

#[test]
fn progress_shows_on_a_terminal() {
    if !have("script") {
        return;
    }
    let cloud = Cloud::start();
    let folder = cloud.folder();
    let text = format!("{}{}", cloud.base(), cloud.graph("Mail.Sending"));
    std::fs::write(folder.path().join("proxy.toml"), text).unwrap();
    let check = format!("{} check", command().get_program().display());
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--return", "--command", &check, "/dev/null"]);
    terminal.current_dir(folder.path()).env("HOME", folder.path());
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "XDG_CONFIG_HOME"] {
        terminal.env_remove(name);
    }
    let shown = succeed(&mut terminal, b"");
    let order = ["Mail.Sending: token … works", "Mail.Sending: sending … works", "role", "works:"];
    let mut rest = shown.as_str();
    for part in order {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part} after its like in {shown}"));
        rest = &rest[at..];
    }
}
