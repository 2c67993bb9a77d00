//! Every kind of role of a public application, and how many tokens it costs.

use super::person::{Scene, imap_login};
use crate::harness::cloud::{COLLEAGUE, Cloud, OFFICE, OFFICE_PASSWORD};
use crate::harness::wire::Wire;
use crate::harness::{PASSWORD, Proxy, have, python, succeed};
use crate::sending::client::Client;
use crate::sending::failures::logged_under;
use crate::sending::{BOB, letter, reached};

const MESSAGE: &[u8] = b"From: a@b.example\r\nSubject: office\r\n\r\nIt lies there.\r\n";

/// A client with this login, its role and the usual password.
fn client(login: &str, receiving: &str) -> String {
    format!(
        "Proxy.Client.\"{login}\".Password = '{PASSWORD}'\n\
         Proxy.Client.\"{login}\".Receiving = '{receiving}'\n"
    )
}

fn refreshes(scene: &Scene) -> usize {
    scene.cloud.sandbox.sign_ins(OFFICE).refreshes
}

/// Looks at the inbox's one message.
#[track_caller]
fn reads(proxy: &Proxy, login: &str) {
    let mut wire = Wire::connect(proxy.address("IMAP"));
    wire.line();
    wire.succeed(&format!("LOGIN {login} {PASSWORD}"));
    let selected = wire.succeed("SELECT INBOX");
    assert_eq!(selected.count("1 EXISTS"), 1, "{selected:?}");
    let fetched = wire.succeed("FETCH 1 BODY.PEEK[]");
    assert!(fetched.literals >= MESSAGE.len() as u64, "{fetched:?}");
}

#[test]
fn four_roles_of_one_account_cost_one_refresh_for_each_resource() {
    let scene = Scene::new(|cloud| {
        let inherited = ["Mail.NewAction.EmailClient", "Mail.DocumentImport.EmailClient"];
        cloud.public_graph("Mail.Sending", OFFICE)
            + &cloud.public_graph("Mail.Receiving", OFFICE)
            + &client("action", inherited[0])
            + &client("import", inherited[1])
    });
    scene.cloud.sandbox.put(OFFICE, "INBOX", MESSAGE).unwrap();
    scene.sign_in(OFFICE, OFFICE_PASSWORD);
    let all = || {
        for login in ["app", "action", "import"] {
            reads(&scene.proxy, login);
        }
        assert!(scene.send().starts_with("250 2.0.0"));
    };
    all();
    assert_eq!(refreshes(&scene), 0, "the sign-in's own token serves all");
    scene.cloud.sandbox.revoke_tokens();
    all();
    assert_eq!(refreshes(&scene), 1, "one role has replaced it for all");
    assert_eq!(scene.cloud.sandbox.sign_ins(OFFICE).reused, 0);
    assert_eq!(reached(&scene.cloud), [BOB, BOB]);
}

/// All three of Exchange Online's own protocols.
fn exchange(cloud: &Cloud) -> String {
    let role = |role: &str, kind: &str, server: &str| {
        format!(
            "{role}.ServerType = '{kind}'\n{role}.{kind}.Server = '{server}'\n\
             {role}.{kind}.UseSSL = true\n{role}.{kind}.AuthType = 'MicrosoftOAuth2'\n{}",
            cloud.public(role, OFFICE)
        )
        .lines()
        .filter(|line| !line.contains(".GraphUrl"))
        .map(|line| format!("{line}\n"))
        .collect::<String>()
    };
    role("Mail.Sending", "Smtp", &cloud.at().exchange_smtp)
        + "Mail.Sending.Smtp.UseAuth = true\n"
        + &role("Mail.Receiving", "Imap", &cloud.at().exchange_imap)
        + &role("App.pop.Mail.Receiving", "Pop3", &cloud.at().exchange_pop3)
        + &client("popper", "App.pop.Mail.Receiving")
}

#[test]
fn exchange_s_own_protocols_take_one_user_s_token() {
    let scene = Scene::new(exchange);
    scene.cloud.sandbox.put(OFFICE, "INBOX", MESSAGE).unwrap();
    scene.sign_in(OFFICE, OFFICE_PASSWORD);
    reads(&scene.proxy, "app");
    let mut pop3 = Wire::connect(scene.proxy.address("POP3"));
    pop3.line();
    pop3.ask("USER popper");
    let answer = pop3.ask(&format!("PASS {PASSWORD}"));
    assert!(answer.starts_with("+OK"), "{answer}");
    assert!(pop3.lines("RETR 1").0 > 2);
    let reply = scene.send();
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(reached(&scene.cloud), [BOB]);
    let logins = scene.cloud.sandbox.counters().logins;
    assert_eq!(logins.len(), 3, "{logins:?}");
    let good = |user: &str, mechanism: &str, accepted| {
        (user, mechanism, accepted) == (OFFICE, "XOAUTH2", true)
    };
    assert!(logins.iter().all(|one| good(&one.user, one.mechanism, one.accepted)), "{logins:?}");
    assert_eq!(refreshes(&scene), 0);
}

#[test]
fn graph_and_exchange_share_one_sign_in() {
    let scene = Scene::new(|cloud| {
        let imap = exchange(cloud);
        let imap: String = imap
            .lines()
            .filter(|line| !line.contains("Mail.Sending"))
            .map(|l| format!("{l}\n"))
            .collect();
        cloud.public_graph("Mail.Sending", OFFICE) + &imap
    });
    // A device code asks for the consent of one resource; an administrator has given the other.
    let public = scene.cloud.public.clone().with_admin_consent();
    scene.cloud.sandbox.add_app(public);
    scene.cloud.sandbox.put(OFFICE, "INBOX", MESSAGE).unwrap();
    scene.sign_in(OFFICE, OFFICE_PASSWORD);
    assert_eq!(refreshes(&scene), 1, "the second resource");
    reads(&scene.proxy, "app");
    assert!(scene.send().starts_with("250 2.0.0"));
    assert_eq!(refreshes(&scene), 1, "each has its own token");
    scene.cloud.sandbox.revoke_tokens();
    reads(&scene.proxy, "app");
    assert!(scene.send().starts_with("250 2.0.0"));
    assert_eq!(refreshes(&scene), 3, "one for each resource");
}

#[test]
fn one_role_serves_the_mailbox_of_each_client() {
    let third = "third@contoso.example";
    let scene = Scene::new(|cloud| {
        let clients = [OFFICE, COLLEAGUE, third].map(|login| client(login, "Mail.Receiving"));
        cloud.public_graph("Mail.Receiving", "{login}") + &clients.concat()
    });
    scene.cloud.sandbox.put(OFFICE, "INBOX", MESSAGE).unwrap();
    scene.cloud.sandbox.put(COLLEAGUE, "INBOX", MESSAGE).unwrap();
    for account in [OFFICE, COLLEAGUE] {
        scene.sign_in(account, OFFICE_PASSWORD);
    }
    for login in [OFFICE, COLLEAGUE, "OFFICE@contoso.example"] {
        reads(&scene.proxy, login);
    }
    let answer = imap_login(&scene.proxy, third);
    assert!(answer.starts_with("NO [UNAVAILABLE] "), "{answer}");
    let log = logged_under(&scene.proxy, &answer);
    let fix = format!("authbridge token add {third}");
    assert!(log.contains("is not signed in") && log.contains(&fix), "{log}");
    reads(&scene.proxy, COLLEAGUE);
    assert_eq!(scene.cloud.sandbox.counters().entra_refreshes, 0);
}

#[test]
fn a_large_message_is_uploaded_with_the_user_s_token() {
    let scene = Scene::office();
    let line = "QUJD".repeat(19);
    let attachment = format!("{line}\r\n").repeat(5 << 20 >> 6);
    let message = letter(OFFICE, BOB).replace(
        "\r\n\r\nA line.\r\n",
        &format!(
            "\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
             --b\r\nContent-Type: text/plain\r\n\r\nA line.\r\n\
             --b\r\nContent-Type: application/octet-stream\r\n\
             Content-Disposition: attachment; filename=a.bin\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n{attachment}--b--\r\n"
        ),
    );
    Client::logged_in(&scene.proxy).sends(OFFICE, &[BOB], &message);
    assert_eq!(reached(&scene.cloud), [BOB]);
    let size = scene.cloud.sandbox.deliveries()[0].submitted.len();
    assert!(size > 5 << 20, "{size}");
    assert_eq!((scene.cloud.sandbox.open_uploads(), refreshes(&scene)), (0, 0));
}

const LIBRARIES: &str = "
import imaplib, poplib, smtplib, sys
smtp = smtplib.SMTP('127.0.0.1', int(sys.argv[1]), timeout=60)
smtp.login('app', 'local-password')
smtp.sendmail('office@contoso.example', ['bob@elsewhere.example'],
    'From: office@contoso.example\\r\\nTo: bob@elsewhere.example\\r\\nSubject: s\\r\\n\\r\\nhi\\r\\n')
smtp.quit()
imap = imaplib.IMAP4('127.0.0.1', int(sys.argv[2]), timeout=60)
imap.login('app', 'local-password')
assert imap.select('INBOX')[1] == [b'1']
assert b'It lies there.' in imap.fetch('1', '(RFC822)')[1][0][1]
imap.logout()
pop = poplib.POP3('127.0.0.1', int(sys.argv[3]), timeout=60)
pop.user('app')
pop.pass_('local-password')
assert b'It lies there.' in pop.retr(1)[1]
pop.quit()
print('all is well')
";

#[test]
fn programs_as_they_are_send_and_read_as_the_signed_in_user() {
    let scene = Scene::office();
    scene.cloud.sandbox.put(OFFICE, "INBOX", MESSAGE).unwrap();
    let mut sent = 0;
    if have("python3") {
        let ports = ["SMTP", "IMAP", "POP3"].map(|protocol| scene.proxy.port(protocol));
        let printed = python(LIBRARIES, &ports.each_ref().map(String::as_str));
        assert_eq!(printed.trim(), "all is well");
        sent += 1;
    }
    if have("swaks") {
        let server = format!("127.0.0.1:{}", scene.proxy.port("SMTP"));
        let mut swaks = std::process::Command::new("swaks");
        swaks.args(["--server", &server, "--auth", "LOGIN", "--auth-user", "app"]);
        swaks.args(["--auth-password", PASSWORD, "--from", OFFICE, "--to", BOB]);
        succeed(&mut swaks, b"");
        sent += 1;
    }
    assert_eq!(scene.cloud.sandbox.deliveries().len(), sent);
    assert_eq!(refreshes(&scene), 0);
}

#[test]
fn a_start_without_sign_in_is_one_line_for_each_account_and_no_request() {
    let scene = Scene::new(super::person::office);
    let page = scene.proxy.address("HTTP").to_string();
    scene.proxy.wait_for_log("is not signed in");
    let log = scene.proxy.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("is not signed in")).collect();
    let [line] = lines.as_slice() else { panic!("one line: {lines:?}") };
    for word in [
        "Mail.Sending, Mail.Receiving",
        "authbridge token add office@contoso.example",
        &format!("http://{page}/"),
    ] {
        assert!(line.contains(word), "{word}: {line}");
    }
    let warned = log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR"));
    assert_eq!(warned.collect::<Vec<_>>(), [*line], "nothing else");
    assert_eq!(scene.cloud.sandbox.counters().requests.values().sum::<usize>(), 0);
    // The sign-in needs no restart.
    scene.sign_in(OFFICE, OFFICE_PASSWORD);
    scene.assert_works();
}
