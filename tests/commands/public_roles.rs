//! `check` of public roles after a real sign-in: what is fine, what was not agreed to, what was
//! revoked; each with the account and the command that heals it.

use std::path::Path;
use std::time::Duration;

use super::verify::{failure, json_in, step};
use super::{typed, typed_with};
use crate::harness::cloud::{COLLEAGUE, Cloud, OFFICE, OFFICE_PASSWORD};
use crate::harness::wait_until;

/// What the roles of [`all_kinds`] need.
const PERMISSIONS: [&str; 5] = [
    "https://graph.microsoft.com/Mail.ReadWrite",
    "https://graph.microsoft.com/Mail.Send",
    "https://outlook.office.com/IMAP.AccessAsUser.All",
    "https://outlook.office.com/POP.AccessAsUser.All",
    "https://outlook.office.com/SMTP.Send",
];

/// Signs in to roles of two services: a device code asks for one of them, so the other one's
/// permissions must have been agreed to before.
fn sign_in_to_all(cloud: &Cloud, folder: &Path, configuration: &str) {
    cloud.sandbox.consent(OFFICE, &cloud.public.client_id, &PERMISSIONS);
    sign_in(cloud, folder, configuration);
}

/// Signs in with a device code, as a person does.
fn sign_in(cloud: &Cloud, folder: &Path, configuration: &str) {
    let text = format!("{}{configuration}", cloud.base());
    std::fs::write(folder.join("proxy.toml"), text).unwrap();
    cloud.sandbox.set_device_interval(Duration::from_secs(1));
    let path = folder.to_owned();
    let command = std::thread::spawn(move || typed(&path, &["token", "add", "--device", OFFICE]));
    wait_until("a device code", || {
        let waits = !cloud.sandbox.user_codes().is_empty();
        assert!(waits || !command.is_finished(), "the command has ended");
        waits
    });
    let code = cloud.sandbox.user_codes().remove(0);
    cloud.enter_device_code(&code, OFFICE, OFFICE_PASSWORD);
    let said = command.join().unwrap();
    assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
}

/// A public role at Exchange Online's own service.
pub(super) fn exchange(cloud: &Cloud, role: &str, kind: &str) -> String {
    let at = cloud.at();
    let (name, server, more) = match kind {
        "Smtp" => (
            "Smtp",
            &at.exchange_smtp,
            format!(
                "{role}.Smtp.UseSsl = true\n{role}.Smtp.TlsMode = 'StartTls'\n\
                 {role}.Smtp.UseAuth = true\n"
            ),
        ),
        "IMAP" => ("Imap", &at.exchange_imap, format!("{role}.Imap.UseSSL = true\n")),
        _ => ("Pop3", &at.exchange_pop3, format!("{role}.Pop3.UseSSL = true\n")),
    };
    let keys = cloud.public(role, OFFICE);
    let keys: String = keys
        .lines()
        .filter(|line| !line.contains(".GraphUrl"))
        .map(|line| format!("{line}\n"))
        .collect();
    format!(
        "{role}.ServerType = '{kind}'\n{keys}{role}.{name}.Server = '{server}'\n\
         {role}.{name}.AuthType = 'MicrosoftOAuth2'\n{more}"
    )
}

/// All kinds of public roles of one account.
pub(super) fn all_kinds(cloud: &Cloud) -> String {
    "Proxy.StateDirectory = 'state'\n".to_owned()
        + &cloud.public_graph("Mail.Sending", OFFICE)
        + &cloud.public_graph("Mail.Receiving", OFFICE)
        + &exchange(cloud, "App.x.Mail.Sending", "Smtp")
        + &exchange(cloud, "App.x.Mail.Receiving", "IMAP")
        + &exchange(cloud, "App.y.Mail.Receiving", "POP3")
}

/// The roles of [`all_kinds`].
const ROLES: [&str; 5] = [
    "Mail.Sending",
    "Mail.Receiving",
    "App.x.Mail.Sending",
    "App.x.Mail.Receiving",
    "App.y.Mail.Receiving",
];

#[test]
fn who_has_not_signed_in_is_told_for_every_kind_of_role() {
    let cloud = Cloud::start();
    let folder = cloud.folder();
    let (report, said) = json_in(&cloud, folder.path(), &all_kinds(&cloud), &[]);
    assert_eq!(said.code, Some(1), "{report}");
    for role in ROLES {
        let (subject, _, text) = failure(&report, role);
        assert_eq!(subject, "token", "{role}: {text}");
        for word in [OFFICE, "has not signed in", "authbridge token add"] {
            assert!(text.contains(word), "{role}: {word} in {text}");
        }
    }
    assert_eq!(cloud.sandbox.counters().logins.len(), 0, "nobody's token was tried");
}

#[test]
fn a_signed_in_account_is_proved_for_every_kind_of_role() {
    let cloud = Cloud::start();
    let folder = cloud.folder();
    sign_in_to_all(&cloud, folder.path(), &all_kinds(&cloud));
    let (report, said) = json_in(&cloud, folder.path(), &all_kinds(&cloud), &[]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{report}");
    for role in ROLES {
        let permissions = step(&report, role, "permissions");
        assert_eq!(permissions["verdict"], "works", "{role}: {permissions}");
        let last = if role.ends_with("Sending") { "sending" } else { "folder" };
        assert_eq!(step(&report, role, last)["verdict"], "works", "{role}: {report}");
    }
    let refreshes = cloud.sandbox.counters().entra_tokens;
    let (_, said) = json_in(&cloud, folder.path(), &all_kinds(&cloud), &[]);
    assert_eq!(said.code, Some(0));
    let now = cloud.sandbox.counters().entra_tokens;
    assert_eq!(now, refreshes, "the account cache's tokens are used");
}

#[test]
fn what_was_not_agreed_to_is_named() {
    let cloud = Cloud::start();
    let folder = cloud.folder();
    let state = "Proxy.StateDirectory = 'state'\n".to_owned();
    let sending = state + &cloud.public_graph("Mail.Sending", OFFICE);
    sign_in(&cloud, folder.path(), &sending);
    let (report, said) = json_in(&cloud, folder.path(), &sending, &[]);
    assert_eq!(said.code, Some(0), "{report}");
    // Roles that came later need more than the account agreed to.
    for (kind, role, permission) in [
        ("IMAP", "App.x.Mail.Receiving", "IMAP.AccessAsUser.All"),
        ("POP3", "App.x.Mail.Receiving", "POP.AccessAsUser.All"),
        ("Smtp", "App.x.Mail.Sending", "SMTP.Send"),
    ] {
        let more = sending.clone() + &exchange(&cloud, role, kind);
        let (report, said) = json_in(&cloud, folder.path(), &more, &[]);
        assert_eq!(said.code, Some(1), "{role}: {report}");
        let (subject, code, text) = failure(&report, role);
        assert_eq!((subject, code), ("token", "AADSTS65001"), "{role}: {text}");
        for word in [OFFICE, "authbridge token add", permission] {
            assert!(text.contains(word), "{role}: {word} in {text}");
        }
        assert_eq!(step(&report, "Mail.Sending", "sending")["verdict"], "works", "{report}");
    }
    // What was agreed to and taken back.
    cloud.sandbox.withdraw_consent(OFFICE, &cloud.public.client_id);
    cloud.sandbox.consent(OFFICE, &cloud.public.client_id, &PERMISSIONS[1..2]);
    cloud.sandbox.revoke_tokens();
    std::fs::remove_file(folder.path().join("state/accounts.json")).ok();
    let both = sending + &cloud.public_graph("Mail.Receiving", OFFICE);
    let (report, said) = json_in(&cloud, folder.path(), &both, &[]);
    assert_eq!(said.code, Some(1), "{report}");
    let (_, _, text) = failure(&report, "Mail.Receiving");
    for word in [OFFICE, "authbridge token add", "Mail.ReadWrite"] {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[test]
fn a_sign_in_that_was_revoked_is_told_and_healed_by_a_new_one() {
    let cloud = Cloud::start();
    let folder = cloud.folder();
    let (path, all) = (folder.path(), all_kinds(&cloud));
    sign_in_to_all(&cloud, path, &all);
    cloud.sandbox.revoke_sign_ins(OFFICE);
    cloud.sandbox.revoke_tokens();
    let (report, said) = json_in(&cloud, path, &all, &[]);
    assert_eq!(said.code, Some(1), "{report}");
    for role in ROLES {
        let (_, code, text) = failure(&report, role);
        assert_eq!(code, "AADSTS50173", "{role}: {text}");
        for word in [OFFICE, "authbridge token add", "revoked"] {
            assert!(text.contains(word), "{role}: {word} in {text}");
        }
    }
    sign_in_to_all(&cloud, path, &all);
    let (report, said) = json_in(&cloud, path, &all, &[]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{report}");
}

#[test]
fn what_conditional_access_asks_for_is_told_with_the_account() {
    let cloud = Cloud::start();
    let folder = cloud.folder();
    let (path, all) = (folder.path(), all_kinds(&cloud));
    sign_in_to_all(&cloud, path, &all);
    assert!(cloud.sandbox.require_claims(OFFICE, r#"{"access_token":{"polids":{}}}"#));
    cloud.sandbox.revoke_tokens();
    let (report, said) = json_in(&cloud, path, &all, &["--role", "Mail.Sending"]);
    assert_eq!(said.code, Some(1), "{report}");
    let (_, code, text) = failure(&report, "Mail.Sending");
    assert!(code.starts_with("AADSTS"), "{code}: {text}");
    for word in [OFFICE, "authbridge token add"] {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[test]
fn a_public_role_sends_a_test_message_and_finds_it() {
    let cloud = Cloud::start();
    let folder = cloud.folder();
    let (path, all) = (folder.path(), all_kinds(&cloud));
    sign_in_to_all(&cloud, path, &all);
    for (role, finder) in
        [("Mail.Sending", "Mail.Receiving"), ("App.x.Mail.Sending", "App.x.Mail.Receiving")]
    {
        let more = ["--role", role, "--send-test", OFFICE];
        let (report, said) = json_in(&cloud, path, &all, &more);
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{report}");
        let trip = step(&report, role, "round-trip");
        assert_eq!(trip["verdict"], "works", "{trip}");
        assert!(trip["text"].as_str().unwrap().contains(finder), "{trip}");
    }
    assert_eq!(cloud.sandbox.inbox(OFFICE).len(), 2, "one for each");
    // The person is who sends, whoever receives.
    let more = ["--role", "Mail.Sending", "--send-test", COLLEAGUE];
    let (report, said) = json_in(&cloud, path, &all, &more);
    assert_eq!(said.code, Some(0), "{report}");
    assert_eq!(step(&report, "Mail.Sending", "round-trip")["verdict"], "not proved", "{report}");
    assert!(cloud.sandbox.deliveries().iter().all(|one| one.from == OFFICE));
}

#[test]
fn a_removed_account_is_told_like_one_that_never_signed_in() {
    let cloud = Cloud::start();
    let folder = cloud.folder();
    let (path, all) = (folder.path(), all_kinds(&cloud));
    sign_in_to_all(&cloud, path, &all);
    let said = typed_with(path, &["token", "remove", OFFICE, "--yes"], &[], b"");
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let (report, said) = json_in(&cloud, path, &all, &["--role", "Mail.Receiving"]);
    assert_eq!(said.code, Some(1), "{report}");
    let (_, _, text) = failure(&report, "Mail.Receiving");
    assert!(text.contains("has not signed in") && text.contains(OFFICE), "{text}");
}
