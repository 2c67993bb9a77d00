//! A real IMAP and POP3 server behind the built program.
//!
//! The sandbox is ours and may share our misunderstandings; Dovecot does not. Here it checks tokens
//! at an endpoint that knows only those it has issued, and speaks the extensions that the sandbox
//! lacks: they pass through the relay or the relay is wrong.

pub mod server;

use crate::clients::{Account, fetchmail, maildir, mbsync};
use crate::harness::{self, Proxy, have, python, wait_until};
use crate::reading::talk::Talk;
use crate::reading::{large_message, reference_in};
use server::{Dovecot, PASSWORD, USER};

/// Dovecot, and a proxy with a client for each way to reach it: `imap-token-implicit`,
/// `pop3-password-starttls` and so on.
struct Scene {
    proxy: Proxy,
    dovecot: Dovecot,
}

/// Protocol, credential, TLS.
fn ways() -> Vec<[&'static str; 3]> {
    let mut ways = Vec::new();
    for protocol in ["imap", "pop3"] {
        for credential in ["token", "password"] {
            ways.extend(["implicit", "starttls"].map(|tls| [protocol, credential, tls]));
        }
    }
    ways
}

impl Scene {
    fn start() -> Option<Self> {
        let dovecot = Dovecot::start()?;
        let here = dovecot.folder.path();
        let mut configuration =
            format!("Proxy.Upstream.CaPath = '{}'\n", here.join("ca.pem").display());
        for way in ways() {
            configuration.push_str(&role(&dovecot, way));
        }
        Some(Self { proxy: Proxy::start(&configuration), dovecot })
    }

    fn imap(&self, client: &str) -> Talk {
        let mut talk = Talk::to(self.proxy.address("IMAP"));
        talk.line();
        let answer = talk.ask(&format!("in LOGIN {client} {}", harness::PASSWORD));
        assert!(answer.starts_with("in OK "), "{client}: {answer}");
        talk
    }

    fn pop3(&self, client: &str) -> Talk {
        let mut talk = Talk::to(self.proxy.address("POP3"));
        talk.line();
        talk.ask(&format!("USER {client}"));
        let answer = talk.ask(&format!("PASS {}", harness::PASSWORD));
        assert!(answer.starts_with("+OK"), "{client}: {answer}");
        talk
    }

    fn append(&self, raw: &[u8]) {
        let mut talk = self.imap("imap-password-implicit");
        talk.send(&format!("a APPEND INBOX {{{}+}}\r\n", raw.len()));
        talk.send_octets(raw);
        talk.send("\r\n");
        assert!(talk.until("a ")[0].starts_with("a OK"));
    }
}

fn role(dovecot: &Dovecot, [protocol, credential, tls]: [&str; 3]) -> String {
    let client = format!("{protocol}-{credential}-{tls}");
    let (kind, name, port) = match (protocol, tls) {
        ("imap", "implicit") => ("IMAP", "Imap", dovecot.ports.imaps),
        ("imap", _) => ("IMAP", "Imap", dovecot.ports.imap),
        (_, "implicit") => ("POP3", "Pop3", dovecot.ports.pop3s),
        (..) => ("POP3", "Pop3", dovecot.ports.pop3),
    };
    let role = format!("App.{client}.Mail.Receiving");
    let server = format!("{role}.{name}");
    let credentials = match credential {
        "token" => format!(
            "{server}.AuthType = 'GoogleOAuth2'\n\
             {server}.GoogleOAuth2.CertificatePath = '{}'\n\
             {server}.GoogleOAuth2.ServiceAccount = 'relay@test.iam.gserviceaccount.com'\n\
             {server}.GoogleOAuth2.GsuiteUser = '{USER}'\n\
             {server}.GoogleOAuth2.TokenUrl = '{}'\n",
            dovecot.folder.path().join("key.json").display(),
            dovecot.issuer.token_url
        ),
        _ => format!(
            "{server}.AuthType = 'BasicAuth'\n{server}.Login = '{USER}'\n\
             {server}.Password = '{PASSWORD}'\n"
        ),
    };
    format!(
        "{role}.ServerType = '{kind}'\n{server}.Server = 'localhost:{port}'\n\
         {server}.UseSSL = true\n{server}.TlsMode = '{tls}'\n{credentials}\
         Proxy.Client.{client}.Password = '{}'\nProxy.Client.{client}.Receiving = '{role}'\n",
        harness::PASSWORD
    )
}

#[test]
fn every_way_leads_to_the_same_mailbox() {
    let Some(scene) = Scene::start() else { return };
    scene.append(b"Subject: one\r\n\r\n.dot\r\n");
    for [protocol, credential, tls] in ways() {
        let client = format!("{protocol}-{credential}-{tls}");
        if protocol == "imap" {
            let mut talk = scene.imap(&client);
            talk.send("s SELECT INBOX\r\nf FETCH 1 BODY.PEEK[]\r\nl LOGOUT\r\n");
            let answers = talk.until("l OK");
            assert!(answers.iter().any(|line| line == ".dot"), "{client}: {answers:?}");
        } else {
            let mut talk = scene.pop3(&client);
            talk.send("RETR 1\r\nQUIT\r\n");
            let answers = talk.until(".");
            assert_eq!(answers.last().unwrap(), "..dot", "{client}: {answers:?}");
        }
        // The login that the server has seen.
        let method = match (credential, protocol) {
            ("token", _) => "method=XOAUTH2",
            // USER and PASS count as PLAIN there.
            _ => "method=PLAIN",
        };
        let log = scene.dovecot.log();
        let login = log.lines().rfind(|line| line.contains("-login: Info: Login: "));
        let login = login.unwrap_or_else(|| panic!("no login:\n{log}"));
        assert!(login.contains(method) && login.contains(", TLS"), "{client}: {login}");
        assert!(login.contains(&format!("{protocol}-login")), "{client}: {login}");
    }
}

#[test]
fn a_token_that_the_server_no_longer_accepts_is_replaced_once() {
    let Some(scene) = Scene::start() else { return };
    for client in ["imap-token-implicit", "imap-token-starttls"] {
        drop(scene.imap(client));
        let before = scene.dovecot.issuer.revoke_all();
        drop(scene.imap(client));
        drop(scene.imap(client));
        assert_eq!(scene.dovecot.issuer.revoke_all(), before + 1, "{client}");
    }
    drop(scene.pop3("pop3-token-implicit"));
    let before = scene.dovecot.issuer.revoke_all();
    drop(scene.pop3("pop3-token-implicit"));
    assert_eq!(scene.dovecot.issuer.revoke_all(), before + 1);
}

#[test]
fn extensions_pass_through() {
    let Some(scene) = Scene::start() else { return };
    let port = scene.proxy.port("IMAP");
    let program = include_str!("clients/dovecot_extensions.py");
    python(program, &[&port, "imap-token-implicit", harness::PASSWORD]);
}

#[test]
fn fifty_sessions_at_once() {
    let Some(scene) = Scene::start() else { return };
    let mut talks: Vec<Talk> = (0..50).map(|_| Talk::to(scene.proxy.address("IMAP"))).collect();
    for talk in &mut talks {
        talk.send("a LOGIN imap-token-implicit local-password\r\nb SELECT INBOX\r\nc IDLE\r\n");
    }
    for talk in &mut talks {
        let answers = talk.until("+ ");
        assert!(answers.iter().any(|line| line.starts_with("b OK")), "{answers:?}");
    }
    assert_eq!(scene.dovecot.issuer.revoke_all(), 1, "one token for all");
    scene.append(b"Subject: to all\r\n\r\n\r\n");
    for talk in &mut talks {
        talk.until("* 1 EXISTS");
        talk.send("DONE\r\n");
        talk.until("c OK");
    }
}

#[test]
fn a_server_that_dies_ends_its_sessions_and_no_others() {
    let Some(mut scene) = Scene::start() else { return };
    scene.append(&large_message(5 << 20));
    let (mut idle, mut pop3) =
        (scene.imap("imap-token-implicit"), scene.pop3("pop3-password-implicit"));
    idle.send("s SELECT INBOX\r\ni IDLE\r\n");
    idle.until("+ ");
    let mut loading = scene.imap("imap-password-starttls");
    loading.send("s SELECT INBOX\r\nf FETCH 1 BODY.PEEK[]\r\n");
    loading.exact(1000);
    scene.dovecot.die();
    idle.assert_closed();
    pop3.assert_closed();
    loading.assert_closed();
    let mut talk = Talk::to(scene.proxy.address("IMAP"));
    talk.line();
    let answer = talk.ask("a LOGIN imap-token-implicit local-password");
    assert!(answer.starts_with("a NO [UNAVAILABLE]"), "{answer}");
    scene.proxy.wait_for_log(&reference_in(&answer));
    scene.dovecot.restart();
    let answer = talk.ask("b LOGIN imap-token-implicit local-password");
    assert!(answer.starts_with("b OK"), "the same session goes on: {answer}");
    drop(scene.pop3("pop3-token-starttls"));
}

#[test]
fn mbsync_and_fetchmail_read_dovecot() {
    let Some(scene) = Scene::start() else { return };
    if !have("mbsync") || !have("fetchmail") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    scene.append(b"Subject: one\r\n\r\n.dot\r\n");
    scene.append(b"Subject: two\r\n\r\nFrom here\r\n");
    let account = |protocol, login| Account {
        protocol,
        port: scene.proxy.address(&protocol.to_uppercase()).port(),
        login,
    };
    mbsync(folder.path(), &account("imap", "imap-token-starttls"));
    let here = maildir(folder.path());
    assert_eq!(here, ["Subject: one\n\n.dot\n", "Subject: two\n\nFrom here\n"]);
    let got = fetchmail(folder.path(), &account("pop3", "pop3-token-implicit"));
    assert!(got.contains("Subject: one") && got.contains("\n.dot"), "{got}");
    assert!(got.contains("Subject: two") && got.contains("From here"), "{got}");
    wait_until("an empty maildrop", || {
        scene.pop3("pop3-password-implicit").ask("STAT").starts_with("+OK 0 ")
    });
}
