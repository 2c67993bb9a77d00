//! `check --json` and `check --send-test`: verdicts and codes that scripts rely on.

use std::path::Path;

use authbridge::sandbox::{App, Fault, Mailbox, Place, What};
use serde_json::Value;

use super::{Said, typed};
use crate::harness::cloud::{ANNA, COLLEAGUE, Cloud, OFFICE, OLD, OLD_PASSWORD};

/// Runs `check` beside the cloud's key files.
pub(super) fn check(cloud: &Cloud, configuration: &str, more: &[&str]) -> Said {
    check_in(cloud, cloud.folder().path(), configuration, more)
}

/// The same in a folder that may have a state.
pub(super) fn check_in(cloud: &Cloud, folder: &Path, configuration: &str, more: &[&str]) -> Said {
    let text = format!("{}{configuration}", cloud.base());
    std::fs::write(folder.join("proxy.toml"), text).unwrap();
    let arguments: Vec<&str> = ["check"].iter().chain(more).copied().collect();
    let said = typed(folder, &arguments);
    let printed = format!("{}{}", said.stdout, said.stderr);
    let secret = cloud.app.secret.as_str();
    assert!(!printed.contains(secret) && !printed.contains("PRIVATE"), "{printed}");
    said
}

/// The object that `check --json` prints.
pub(super) fn json(cloud: &Cloud, configuration: &str, more: &[&str]) -> (Value, Said) {
    json_in(cloud, cloud.folder().path(), configuration, more)
}

/// The same in a folder that may have a state.
pub(super) fn json_in(
    cloud: &Cloud,
    folder: &Path,
    configuration: &str,
    more: &[&str],
) -> (Value, Said) {
    let arguments: Vec<&str> = ["--json"].iter().chain(more).copied().collect();
    let said = check_in(cloud, folder, configuration, &arguments);
    let value = serde_json::from_str(&said.stdout);
    let value = value.unwrap_or_else(|error| panic!("{error}: {}{}", said.stdout, said.stderr));
    (value, said)
}

/// The steps of a role.
pub(super) fn steps<'a>(report: &'a Value, role: &str) -> &'a Vec<Value> {
    let roles = report["roles"].as_array().unwrap();
    let is_it = |one: &&Value| one["roles"].as_array().unwrap().iter().any(|name| name == role);
    let found = roles.iter().find(is_it).unwrap_or_else(|| panic!("{role} in {report}"));
    found["steps"].as_array().unwrap()
}

/// Subject and verdict of each step of a role.
pub(super) fn verdicts(report: &Value, role: &str) -> Vec<String> {
    let steps = steps(report, role).iter();
    let one = |step: &Value| {
        format!("{} {}", step["subject"].as_str().unwrap(), step["verdict"].as_str().unwrap())
    };
    steps.map(one).collect()
}

/// The step of this subject.
pub(super) fn step<'a>(report: &'a Value, role: &str, subject: &str) -> &'a Value {
    let steps = steps(report, role);
    let found = steps.iter().rfind(|step| step["subject"] == subject);
    found.unwrap_or_else(|| panic!("{subject} of {role} in {report}"))
}

/// The failed step of a role, with its code.
pub(super) fn failure<'a>(report: &'a Value, role: &str) -> (&'a str, &'a str, &'a str) {
    let failed = steps(report, role).iter().find(|step| step["verdict"] == "does not work");
    let failed = failed.unwrap_or_else(|| panic!("{role} has not failed: {report}"));
    let text = |name: &str| failed[name].as_str().unwrap_or_default();
    (text("subject"), text("code"), text("text"))
}

#[test]
fn every_step_of_every_kind_of_role_is_told() {
    let cloud = Cloud::start();
    let configuration = cloud.graph("Mail.Sending")
        + &cloud.graph_by_certificate("Mail.Receiving")
        + &cloud.gmail_smtp("App.a.Mail.Sending", "key.json")
        + &cloud.gmail_imap("App.a.Mail.Receiving")
        + &cloud.gmail_pop3("App.b.Mail.Receiving");
    let (report, said) = json(&cloud, &configuration, &[]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{report}");
    assert_eq!((&report["ok"], &report["config"]["ok"]), (&true.into(), &true.into()));
    let way = ["configuration works", "network works", "tls works", "clock works", "token works"];
    for (role, rest) in [
        ("Mail.Sending", &["permissions works", "mailbox works", "sending works"] as &[_]),
        ("Mail.Receiving", &["permissions works", "mailbox works", "folder works"]),
        ("App.a.Mail.Sending", &["mailbox works", "sending works"]),
        ("App.a.Mail.Receiving", &["mailbox works", "folder works"]),
        ("App.b.Mail.Receiving", &["mailbox works", "folder works"]),
    ] {
        let mut found = verdicts(&report, role);
        // Whether a credential's end is known depends on the credential.
        found.retain(|one| one != "expiry works");
        let expected: Vec<&str> = way.iter().chain(rest).copied().collect();
        assert_eq!(found, expected, "{role}: {report}");
    }
    let tls = step(&report, "Mail.Sending", "tls")["text"].as_str().unwrap();
    assert!(tls.contains("more days") && tls.contains("CaPath"), "{tls}");
    let network = step(&report, "Mail.Sending", "network")["text"].as_str().unwrap();
    assert!(network.contains("127.0.0.1"), "{network}");
    let sending = step(&report, "App.a.Mail.Sending", "sending")["text"].as_str().unwrap();
    assert!(sending.contains(ANNA), "{sending}");
    assert_eq!(cloud.sandbox.inbox(ANNA).len(), 0, "nothing may be sent");
}

#[test]
fn mistakes_of_the_configuration_are_json_too() {
    let cloud = Cloud::start();
    let (report, said) = json(&cloud, "Mail.Sending.ServerTyp = 'Smtp'\n", &[]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert_eq!((&report["ok"], &report["config"]["ok"]), (&false.into(), &false.into()));
    let first = &report["config"]["diagnostics"][0];
    assert!(first["line"].is_u64() && first["key"].as_str().unwrap().contains("ServerTyp"));
    assert!(said.stderr.contains("ServerTyp"), "people are told on stderr: {}", said.stderr);
    let (report, said) = json(&cloud, &cloud.graph("Mail.Sending"), &["--offline"]);
    assert_eq!((said.code, &report["roles"]), (Some(0), &Value::Array(Vec::new())), "{report}");
}

#[test]
fn each_refusal_of_credentials_has_its_code() {
    let cloud = Cloud::start();
    let (good, sandbox) = (cloud.graph("Mail.Sending"), &cloud.sandbox);
    let mut expired = App::new(&cloud.tenant.id).with_role("Mail.Send");
    expired.secret_expired = true;
    let expired = sandbox.add_app(expired);
    let bare = sandbox.add_app(App::new(&cloud.tenant.id).with_role("Mail.Send"));
    let gmail = cloud.gmail_smtp("Mail.Sending", "key.json");
    let by_certificate = cloud.graph_by_certificate("Mail.Sending");
    let with = |app: &App| {
        good.replace(&cloud.app.client_id, &app.client_id).replace(&cloud.app.secret, &app.secret)
    };
    let cases = [
        (good.replace(&cloud.app.secret, "not-the-secret"), "AADSTS7000215", "Value"),
        (with(&expired), "AADSTS7000222", "expired"),
        (
            good.replace(&cloud.app.client_id, "11111111-2222-3333-4444-555555555555"),
            "AADSTS700016",
            "ClientId",
        ),
        (
            good.replace(&cloud.tenant.id, "99999999-2222-3333-4444-555555555555"),
            "AADSTS90002",
            "TenantId",
        ),
        (by_certificate.replace(&cloud.app.client_id, &bare.client_id), "AADSTS700027", "upload"),
        (
            gmail.replace(ANNA, "bob@workspace.example"),
            "unauthorized_client|invalid_grant",
            "Gsuite",
        ),
        (
            // Found before Google is asked: it has no code of Google's.
            gmail.replace(&cloud.key.email, "other@demo.iam.gserviceaccount.com"),
            "",
            "belongs to relay@",
        ),
    ];
    // All in one process: each case is a role of its own.
    let name = |index: usize| format!("App.r{index}.Mail.Sending");
    let configuration: String = cases
        .iter()
        .enumerate()
        .map(|(index, (text, ..))| text.replace("Mail.Sending", &name(index)))
        .collect();
    let (report, said) = json(&cloud, &configuration, &[]);
    assert_eq!((said.code, &report["ok"]), (Some(1), &false.into()), "{report}");
    for (index, (_, codes, word)) in cases.iter().enumerate() {
        let (subject, code, text) = failure(&report, &name(index));
        assert_eq!(subject, "token", "{codes}: {text}");
        assert!(codes.split('|').any(|one| one == code), "{code} for {codes}: {text}");
        assert!(text.contains(word), "{word} for {codes}: {text}");
        assert!(said.stderr.contains(text), "people are told too: {}", said.stderr);
    }
}

/// A role, what strikes it, and the step, code and word that come of it.
type Strike = (Place, What, &'static str, &'static str, &'static str, &'static str);

#[test]
fn each_failure_of_a_service_has_its_step_and_code() {
    let cloud = Cloud::start();
    let configuration = cloud.graph("Mail.Sending")
        + &cloud.graph("Mail.Receiving")
        + &cloud.gmail_smtp("App.a.Mail.Sending", "key.json")
        + &cloud.gmail_imap("App.a.Mail.Receiving")
        + &cloud.gmail_pop3("App.b.Mail.Receiving");
    let strikes: &[Strike] = &[
        (Place::EntraToken, What::LoopDetected, "Mail.Sending", "token", "AADSTS50196", "wait"),
        (
            Place::GraphRead,
            What::Status(503, None),
            "Mail.Receiving",
            "mailbox",
            "ErrorServerBusy",
            "503",
        ),
        (
            Place::GraphRead,
            What::Status(429, Some(9)),
            "Mail.Receiving",
            "mailbox",
            "",
            "limits how fast",
        ),
        (
            Place::Smtp,
            What::Reply("MAIL", "550 5.7.60 Client does not have permissions"),
            "App.a.Mail.Sending",
            "sending",
            "550 5.7.60",
            "MAIL FROM",
        ),
        (
            Place::Smtp,
            What::Reply("MAIL", "550 5.4.5 Daily sending quota exceeded"),
            "App.a.Mail.Sending",
            "sending",
            "550 5.4.5",
            "quota",
        ),
        (
            Place::Imap,
            What::RefuseLogin,
            "App.a.Mail.Receiving",
            "mailbox",
            "AUTHENTICATIONFAILED",
            "scope",
        ),
        (
            Place::Imap,
            What::DisconnectAt("EXAMINE"),
            "App.a.Mail.Receiving",
            "folder",
            "",
            "IMAP is",
        ),
        (Place::Pop3, What::RefuseLogin, "App.b.Mail.Receiving", "mailbox", "AUTH", "POP3 is on"),
        (Place::Pop3, What::DisconnectAt("STAT"), "App.b.Mail.Receiving", "folder", "", "POP3 is"),
    ];
    for (at, what, role, subject, code, word) in strikes {
        // A refused token is replaced and tried once more.
        cloud.sandbox.fault(Fault { at: *at, what: what.clone(), times: 2 });
        let (report, said) = json(&cloud, &configuration, &["--role", role]);
        assert_eq!(said.code, Some(1), "{what:?}: {report}");
        let (found, found_code, text) = failure(&report, role);
        assert_eq!(found, *subject, "{what:?}: {text}");
        assert!(code.is_empty() || *code == found_code, "{what:?}: {found_code}: {text}");
        assert!(text.contains(word), "{what:?}: {word} in {text}");
        cloud.sandbox.clear_faults();
    }
}

#[test]
fn a_mailbox_that_graph_does_not_serve_has_its_code() {
    let cloud = Cloud::start();
    let old = "old@contoso.example";
    cloud.sandbox.add_mailbox(Mailbox::microsoft(&cloud.tenant.id, old).without_rest());
    let nobody = cloud.graph("App.a.Mail.Sending").replace(OFFICE, "nobody@contoso.example");
    let without = cloud.graph("App.b.Mail.Sending").replace(OFFICE, old);
    let sender_only = cloud.sandbox.add_app(App::new(&cloud.tenant.id).with_role("Mail.Send"));
    let blind = cloud
        .graph("App.c.Mail.Sending")
        .replace(&cloud.app.client_id, &sender_only.client_id)
        .replace(&cloud.app.secret, &sender_only.secret);
    let reader_only = cloud.sandbox.add_app(App::new(&cloud.tenant.id).with_role("Mail.Read"));
    let mute = cloud
        .graph("App.d.Mail.Sending")
        .replace(&cloud.app.client_id, &reader_only.client_id)
        .replace(&cloud.app.secret, &reader_only.secret);
    let (report, said) = json(&cloud, &(nobody + &without + &blind + &mute), &[]);
    assert_eq!(said.code, Some(1), "{report}");
    let (subject, code, text) = failure(&report, "App.a.Mail.Sending");
    assert_eq!(subject, "mailbox", "{text}");
    assert!(!code.is_empty() && text.contains("UserObjectId"), "{code}: {text}");
    let (_, code, text) = failure(&report, "App.b.Mail.Sending");
    assert_eq!(code, "MailboxNotEnabledForRESTAPI", "{text}");
    // Who may send and not read has nothing wrong with it.
    assert_eq!(step(&report, "App.c.Mail.Sending", "mailbox")["verdict"], "not proved");
    assert_eq!(step(&report, "App.c.Mail.Sending", "sending")["verdict"], "works");
    // Who may read and not send is warned, since no token shows RBAC for Applications.
    let rights = step(&report, "App.d.Mail.Sending", "permissions");
    assert_eq!(rights["verdict"], "warning", "{rights}");
    let text = rights["text"].as_str().unwrap();
    for word in ["Mail.Send", "API permissions", "admin consent", "RBAC"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    assert_eq!(step(&report, "App.d.Mail.Sending", "sending")["verdict"], "not proved");
}

#[test]
fn a_test_message_is_sent_and_found_again() {
    let cloud = Cloud::start();
    let graph = cloud.graph("Mail.Sending")
        + &cloud.graph("Mail.Receiving").replace(OFFICE, COLLEAGUE)
        + &cloud.gmail_smtp("App.a.Mail.Sending", "key.json")
        + &cloud.gmail_imap("App.a.Mail.Receiving");
    for (role, address, finder) in [
        ("Mail.Sending", COLLEAGUE, "Mail.Receiving"),
        ("App.a.Mail.Sending", ANNA, "App.a.Mail.Receiving"),
        ("Mail.Sending", ANNA, "App.a.Mail.Receiving"),
    ] {
        let (report, said) = json(&cloud, &graph, &["--role", role, "--send-test", address]);
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{report}");
        let trip = step(&report, role, "round-trip");
        assert_eq!(trip["verdict"], "works", "{trip}");
        assert!(trip["text"].as_str().unwrap().contains(finder), "{trip}");
    }
    let pop3 = cloud.gmail_smtp("Mail.Sending", "key.json") + &cloud.gmail_pop3("Mail.Receiving");
    let said = check(&cloud, &pop3, &["--send-test", ANNA]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{}", said.stdout);
    let words = "Mail.Sending: works: the message was found again by Mail.Receiving after";
    assert!(said.stdout.contains(words), "{}", said.stdout);
    let messages = cloud.sandbox.inbox(ANNA).len();
    assert_eq!(messages, 3, "one for each test");
}

#[test]
fn what_nobody_can_find_is_sent_all_the_same() {
    let cloud = Cloud::start();
    let role = cloud.graph("Mail.Sending");
    let (report, said) = json(&cloud, &role, &["--send-test", ANNA]);
    assert_eq!(said.code, Some(0), "{report}");
    assert_eq!(step(&report, "Mail.Sending", "sending")["verdict"], "works");
    let trip = step(&report, "Mail.Sending", "round-trip");
    assert_eq!(trip["verdict"], "not proved", "{report}");
    let inbox = cloud.sandbox.inbox(ANNA);
    assert_eq!(inbox.len(), 1);
    // What fails before is not sent, and a receiving role or no address is wrong usage.
    let wrong = role.replace(&cloud.app.secret, "not-the-secret");
    let (report, said) = json(&cloud, &wrong, &["--send-test", ANNA]);
    assert_eq!(said.code, Some(1), "{report}");
    assert!(!verdicts(&report, "Mail.Sending").iter().any(|one| one.starts_with("round-trip")));
    assert_eq!(cloud.sandbox.inbox(ANNA).len(), 1);
    for more in [&["--send-test", "nobody"] as &[_], &["--send-test", ANNA, "--offline"]] {
        assert_eq!(check(&cloud, &role, more).code, Some(2), "{more:?}");
    }
}

#[test]
fn a_sender_without_tls_is_warned_only_where_others_can_read() {
    let cloud = Cloud::start();
    let at = cloud.at();
    let plain = format!(
        "Mail.Sending.ServerType = 'Smtp'\nMail.Sending.Smtp.Server = '{}'\n\
         Mail.Sending.Smtp.UseAuth = true\nMail.Sending.Smtp.Login = '{OLD}'\n\
         Mail.Sending.Smtp.Password = '{OLD_PASSWORD}'\n",
        at.smtp_plain
    );
    let starttls = format!(
        "App.a.Mail.Sending.ServerType = 'Smtp'\nApp.a.Mail.Sending.Smtp.Server = '{}'\n\
         App.a.Mail.Sending.Smtp.UseSsl = true\nApp.a.Mail.Sending.Smtp.TlsMode = 'StartTls'\n\
         App.a.Mail.Sending.Smtp.UseAuth = true\nApp.a.Mail.Sending.Smtp.Login = '{OLD}'\n\
         App.a.Mail.Sending.Smtp.Password = '{OLD_PASSWORD}'\n",
        at.smtp_starttls
    );
    let (report, said) = json(&cloud, &(plain + &starttls), &[]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{report}");
    let tls = step(&report, "Mail.Sending", "tls");
    assert_eq!(tls["verdict"], "works", "this machine alone: {tls}");
    assert!(tls["text"].as_str().unwrap().contains("without TLS"), "{tls}");
    let tls = step(&report, "App.a.Mail.Sending", "tls");
    assert!(tls["text"].as_str().unwrap().contains("more days"), "after STARTTLS: {tls}");
}

#[test]
fn the_way_of_large_messages_is_proved_beside_graph() {
    let cloud = Cloud::start();
    let configuration = format!(
        "{}Mail.Sending.Microsoft365.LargeMessages = 'Smtp'\nMail.Sending.Smtp.Server = '{}'\n",
        cloud.graph("Mail.Sending"),
        cloud.at().exchange_smtp
    );
    let words = "large messages (LargeMessages = Smtp)";
    // Graph works, Exchange's SMTP does not let the application in.
    let (report, said) = json(&cloud, &configuration, &[]);
    assert_eq!(said.code, Some(1), "{report}");
    let (subject, _, text) = failure(&report, "Mail.Sending");
    assert!(subject == "sending" && text.contains(words), "{report}");
    let app = cloud.app.clone().with_role("SMTP.SendAsApp");
    cloud.sandbox.add_app(app);
    let (report, said) = json(&cloud, &configuration, &[]);
    assert_eq!(said.code, Some(0), "{report}");
    let large = step(&report, "Mail.Sending", "sending");
    assert_eq!(large["verdict"], "works", "{report}");
    let text = large["text"].as_str().unwrap();
    assert!(text.contains(words) && text.contains(OFFICE), "{text}");
    // Shut for the mailbox: the administrator hears how to open it.
    let refusal = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled";
    let what = What::Reply("AUTH", refusal);
    cloud.sandbox.fault(Fault { at: Place::Smtp, what, times: 1 });
    let (report, said) = json(&cloud, &configuration, &[]);
    assert_eq!(said.code, Some(1), "{report}");
    let (_, _, text) = failure(&report, "Mail.Sending");
    assert!(text.contains(words) && text.contains("Set-CASMailbox"), "{text}");
    assert!(cloud.sandbox.deliveries().is_empty(), "nothing may be sent");
}
