//! `check` against the cloud: what works is proved, what does not is explained.

use std::time::{Duration, Instant};

use authbridge::sandbox::{App, Fault, Mailbox, Place, What};

use super::typed;
use crate::harness::cloud::{ANNA, Cloud, OFFICE, OLD, OLD_PASSWORD};

/// Checks this configuration beside the cloud's key files.
fn check(cloud: &Cloud, configuration: &str, more: &[&str]) -> super::Said {
    let folder = cloud.folder();
    let text = format!("{}{configuration}", cloud.base());
    std::fs::write(folder.path().join("proxy.toml"), text).unwrap();
    let arguments: Vec<&str> = ["check"].iter().chain(more).copied().collect();
    let said = typed(folder.path(), &arguments);
    let printed = format!("{}{}", said.stdout, said.stderr);
    assert!(!printed.contains(&cloud.app.secret) && !printed.contains("PRIVATE"), "{printed}");
    said
}

/// A port on which nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn basic(prefix: &str, kind: &str, server: &str, password: &str) -> String {
    let role = prefix.rsplit_once('.').unwrap().0;
    let tls = if kind == "Smtp" { format!("{prefix}.UseAuth = true\n") } else { String::new() };
    format!(
        "{role}.ServerType = '{kind}'\n{prefix}.Server = '{server}'\n{prefix}.UseSsl = true\n\
         {prefix}.TlsMode = 'Implicit'\n{prefix}.Login = '{OLD}'\n\
         {prefix}.Password = '{password}'\n{tls}"
    )
}

#[test]
fn every_role_that_works_is_proved() {
    let cloud = Cloud::start();
    let payroll = cloud.graph_by_certificate("App.payroll.Mail.Sending");
    let archive = cloud.gmail_pop3("App.archive.Mail.Receiving");
    let configuration = cloud.graph("Mail.Sending")
        + &cloud.gmail_imap("Mail.Receiving")
        + &cloud.gmail_smtp("App.shop.Mail.Sending", "key.p12")
        + &payroll
        + &archive;
    let said = check(&cloud, &configuration, &[]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{}", said.stdout);
    for line in [
        "Mail.Sending: works: there is an access token that permits sending".to_owned(),
        "App.payroll.Mail.Sending: works: there is an access token that permits".to_owned(),
        format!("Mail.Receiving: works: {} has let us in", cloud.at().imap),
        "Mail.NewAction.EmailClient: works: the same mailbox as Mail.Receiving".to_owned(),
        format!("App.archive.Mail.Receiving: works: {} has let us in", cloud.at().pop3),
        format!("App.shop.Mail.Sending: works: {} has let us in", cloud.at().smtp),
    ] {
        assert!(said.stdout.contains(&line), "{line} in\n{}", said.stdout);
    }
    assert_eq!(cloud.sandbox.inbox(ANNA).len(), 0, "nothing may be sent");
}

#[test]
fn passwords_are_proved_too() {
    let cloud = Cloud::start();
    let at = cloud.at();
    let good = basic("Mail.Sending.Smtp", "Smtp", &at.smtp, OLD_PASSWORD)
        + &basic("Mail.Receiving.Imap", "IMAP", &at.imap, OLD_PASSWORD);
    let said = check(&cloud, &good, &[]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{}", said.stdout);
    let wrong = good.replace(OLD_PASSWORD, "hunter2");
    let said = check(&cloud, &wrong, &[]);
    assert_eq!(said.code, Some(1), "{}", said.stdout);
    for role in ["Mail.Sending: does not work: ", "Mail.Receiving: does not work: "] {
        let line = said.stderr.lines().find(|line| line.starts_with(role));
        let line = line.unwrap_or_else(|| panic!("{role} in\n{}", said.stderr));
        assert!(line.contains("Password"), "{line}");
    }
    assert!(!(said.stdout + &said.stderr).contains("hunter2"));
}

#[test]
fn what_fails_is_told_beside_what_works() {
    let cloud = Cloud::start();
    let wrong_secret = cloud.graph("Mail.Sending").replace(&cloud.app.secret, "not-the-secret");
    let configuration = wrong_secret + &cloud.gmail_imap("Mail.Receiving");
    let said = check(&cloud, &configuration, &[]);
    assert_eq!(said.code, Some(1));
    assert!(said.stdout.contains("Mail.Receiving: works"), "{}", said.stdout);
    assert!(said.stderr.starts_with("Mail.Sending: does not work: "), "{}", said.stderr);
    assert!(said.stderr.contains("secret") && said.stderr.contains("Value"), "{}", said.stderr);
    assert!(!said.stderr.contains("not-the-secret"), "{}", said.stderr);
    assert_eq!(said.stderr.lines().count(), 1, "{}", said.stderr);
    // A role that works can be checked alone, and the file alone.
    for more in [&["--role", "mail.receiving"] as &[&str], &["--offline"]] {
        let said = check(&cloud, &configuration, more);
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{more:?}");
    }
}

#[test]
fn credentials_that_are_wrong_are_explained() {
    let cloud = Cloud::start();
    let gmail = cloud.gmail_smtp("Mail.Sending", "key.json");
    let graph = cloud.graph("Mail.Sending");
    for (configuration, words) in [
        (gmail.replace(ANNA, "bob@workspace.example"), "no mailbox|GsuiteUser"),
        (gmail.replace(&cloud.key.email, "other@demo.iam.gserviceaccount.com"), "ServiceAccount"),
        (gmail.replace("'key.json'", "'absent.json'"), "CertificatePath|absent.json"),
        (graph.replace(&cloud.app.client_id, "11111111-2222-3333-4444-555555555555"), "ClientId"),
        (graph.replace(&cloud.tenant.id, "99999999-2222-3333-4444-555555555555"), "TenantId"),
    ] {
        let said = check(&cloud, &configuration, &[]);
        assert_eq!(said.code, Some(1), "{}", said.stdout);
        assert!(said.stderr.starts_with("Mail.Sending: does not work: "), "{}", said.stderr);
        for word in words.split('|') {
            assert!(said.stderr.contains(word), "{word} in\n{}", said.stderr);
        }
    }
}

#[test]
fn services_out_of_reach_and_unknown_certificates_are_named() {
    let cloud = Cloud::start();
    let (down, at) = (nobody(), cloud.at());
    let gmail = cloud.gmail_imap("Mail.Receiving");
    let graph = cloud.graph("Mail.Sending");
    for (configuration, words) in [
        (gmail.replace(&at.imap.to_string(), &down), "refuses connections"),
        (graph.replace(&at.authority_url, &format!("https://{down}")), "AuthorityUrl"),
    ] {
        let said = check(&cloud, &configuration, &[]);
        assert_eq!(said.code, Some(1), "{}", said.stdout);
        assert!(said.stderr.contains(words), "{words} in\n{}", said.stderr);
    }
    let folder = cloud.folder();
    std::fs::write(folder.path().join("proxy.toml"), graph).unwrap();
    let said = typed(folder.path(), &["check"]);
    assert_eq!(said.code, Some(1), "without CaPath: {}", said.stdout);
    assert!(said.stderr.contains("Proxy.Upstream.CaPath"), "{}", said.stderr);
}

#[test]
fn who_has_not_signed_in_is_told_how() {
    let cloud = Cloud::start();
    let at = cloud.at();
    let public = "Mail.Sending.ServerType = 'Microsoft365'\n\
        Mail.Sending.Microsoft365.IntegrationType = 'Public'\n\
        Mail.Sending.Microsoft365.PublicApp.ClientId = '11111111-2222-3333-4444-555555555555'\n\
        Mail.Sending.Microsoft365.PublicApp.TenantId = 'contoso.example'\n\
        Mail.Sending.Microsoft365.PublicApp.RedirectUri = 'http://localhost'\n\
        Mail.Sending.Microsoft365.PublicApp.AccountName = 'jane@contoso.example'\n";
    let public = format!(
        "{public}Mail.Sending.Microsoft365.AuthorityUrl = '{}'\n\
         Mail.Sending.Microsoft365.GraphUrl = '{}'\n",
        at.authority_url, at.graph_url
    );
    for role in ["Mail.Sending", "Mail.Receiving"] {
        let said = check(&cloud, &public.replace("Mail.Sending", role), &[]);
        assert_eq!(said.code, Some(1), "{}", said.stdout);
        let words = format!("{role}: does not work: jane@contoso.example has not signed in");
        assert!(said.stderr.starts_with(&words), "{}", said.stderr);
        assert!(said.stderr.contains("authbridge token add"), "{}", said.stderr);
    }
    let said = check(&cloud, "Mail.Receiving.ServerType = 'MAPI'\n", &[]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stdout.contains("Mail.Receiving: not proved"), "{}", said.stdout);
}

#[test]
fn a_mailbox_that_is_the_clients_proves_the_application_alone() {
    let cloud = Cloud::start();
    let graph = cloud.graph("Mail.Sending").replace(OFFICE, "{login}");
    let said = check(&cloud, &graph, &[]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stdout.contains("Mail.Sending: works"), "{}", said.stdout);
    let graph = cloud.graph("Mail.Receiving").replace(OFFICE, "{login}");
    let said = check(&cloud, &graph, &[]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    for words in
        ["works: there is an access token", "not proved: its mailbox is that of the client"]
    {
        let words = format!("Mail.Receiving: {words}");
        assert!(said.stdout.contains(&words), "{words} in {}", said.stdout);
    }
    let kinds = cloud.sandbox.graph_kinds();
    assert!(kinds.keys().all(|(method, _)| method == "HEAD"), "no mailbox is known: {kinds:?}");
    let gmail = cloud.gmail_imap("Mail.Receiving").replace(ANNA, "{login}");
    let said = check(&cloud, &gmail, &[]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stdout.contains("Mail.Receiving: not proved: its mailbox"), "{}", said.stdout);
}

/// A receiving role of an application that has been granted these permissions.
fn reading_as(cloud: &Cloud, roles: &[&str]) -> String {
    let app = roles.iter().fold(App::new(&cloud.tenant.id), |app, role| app.with_role(role));
    let app = cloud.sandbox.add_app(app);
    cloud
        .graph("Mail.Receiving")
        .replace(&cloud.app.client_id, &app.client_id)
        .replace(&cloud.app.secret, &app.secret)
}

#[test]
fn a_microsoft_365_mailbox_is_proved_by_reading_its_inbox() {
    let cloud = Cloud::start();
    cloud.sandbox.put(OFFICE, "INBOX", b"Subject: one\r\n\r\nIt lies there.\r\n");
    for (roles, words) in [
        (&["Mail.ReadWrite"] as &[&str], "the token permits them|by way of Drafts (3 requests"),
        (&["Mail.Read"], "has no Mail.ReadWrite|RBAC for Applications|by way of Drafts"),
        (
            &["Mail.ReadWrite", "Mail-Advanced.ReadWrite.All"],
            "the token permits them|APPEND stores messages as they are (importMime, 2 requests",
        ),
    ] {
        let said = check(&cloud, &reading_as(&cloud, roles), &["--role", "Mail.Receiving"]);
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{}", said.stdout);
        let works = format!("Mail.Receiving: works: INBOX of {OFFICE} can be read (1 messages)");
        for word in words.split('|').chain([works.as_str()]) {
            assert!(said.stdout.contains(word), "{word} in\n{}", said.stdout);
        }
    }
    let kinds = cloud.sandbox.graph_kinds();
    let reads: usize =
        kinds.iter().filter(|((method, _), _)| method == "GET").map(|(_, count)| count).sum();
    assert_eq!(reads, 3, "one for each: {kinds:?}");
    assert!(kinds.keys().all(|(method, _)| ["GET", "HEAD"].contains(&method.as_str())));
}

#[test]
fn a_microsoft_365_mailbox_that_cannot_be_read_is_explained() {
    let cloud = Cloud::start();
    cloud
        .sandbox
        .add_mailbox(Mailbox::microsoft(&cloud.tenant.id, "old@contoso.example").without_rest());
    let good = cloud.graph("Mail.Receiving");
    for (configuration, words) in [
        (
            reading_as(&cloud, &["Mail.Send"]),
            "INBOX with a token that has Mail.Send|API permissions|Mail.ReadWrite|admin consent|RBAC",
        ),
        (reading_as(&cloud, &[]), "no permission for mail|Mail.ReadWrite"),
        (good.replace(OFFICE, "nobody@contoso.example"), "nobody@contoso.example|UserObjectId"),
        (good.replace(OFFICE, "old@contoso.example"), "licence|on-premises"),
        (good.replace(&cloud.app.secret, "not-the-secret"), "secret|Value"),
        (
            good.replace(&cloud.at().graph_url, &format!("https://{}", nobody())),
            "GraphUrl|HttpProxy|refuses",
        ),
    ] {
        let said = check(&cloud, &configuration, &["--role", "Mail.Receiving"]);
        assert_eq!(said.code, Some(1), "{}", said.stdout);
        assert!(said.stderr.starts_with("Mail.Receiving: does not work: "), "{}", said.stderr);
        assert_eq!(said.stderr.lines().count(), 1, "{}", said.stderr);
        for word in words.split('|') {
            assert!(said.stderr.contains(word), "{word} in\n{}", said.stderr);
        }
    }
    let trouble = What::Status(503, None);
    cloud.sandbox.fault(Fault { at: Place::GraphRead, what: trouble, times: 1 });
    let said = check(&cloud, &good, &["--role", "Mail.Receiving"]);
    assert_eq!(said.code, Some(1), "{}", said.stdout);
    assert!(said.stderr.contains("Graph answered 503"), "the reason, at once: {}", said.stderr);
}

#[test]
fn silent_services_do_not_add_up() {
    let cloud = Cloud::start();
    // It accepts and says nothing; the roles wait side by side.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = silent.local_addr().unwrap();
    let server: String = ["Mail.Sending", "App.a.Mail.Sending", "App.b.Mail.Sending"]
        .iter()
        .map(|role| {
            format!(
                "{role}.ServerType = 'Smtp'\n{role}.Smtp.Server = '{at}'\n\
                     {role}.Smtp.UseSsl = true\n{role}.Smtp.TlsMode = 'Implicit'\n"
            )
        })
        .collect();
    let begin = Instant::now();
    let said = check(&cloud, &server, &[]);
    assert_eq!(said.code, Some(1), "{}", said.stdout);
    assert_eq!(said.stderr.lines().count(), 3, "{}", said.stderr);
    assert!(begin.elapsed() < Duration::from_secs(50), "{:?}", begin.elapsed());
}
