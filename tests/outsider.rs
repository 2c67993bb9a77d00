//! Servers that somebody else wrote: Entra, Graph, Google and Gmail in Python's standard library.
//!
//! The sandbox shares `protocol` with the program and may share its mistakes. These servers share
//! nothing, have habits of their own, and are reached through the keys that a user has:
//! `AuthorityUrl`, `GraphUrl`, `TokenUrl`, `Proxy.Upstream.CaPath`.

mod msal;

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{LOGIN, PASSWORD, Proxy, command, have, python, run, wait_until};

const CLIENT_ID: &str = "6731de76-14a6-49ae-97bc-6eba6914391e";
const SECRET: &str = "Qx.8Q~outsider+secret/with&odd=signs%";
const MAILBOX: &str = "erp@outsider.example";
const USER: &str = "anna@outsider.example";
const SERVICE_ACCOUNT: &str = "relay@authbridge-fixture.iam.gserviceaccount.com";

const SEND: &str = r"
import smtplib, sys
smtp = smtplib.SMTP('127.0.0.1', int(sys.argv[1]), timeout=60)
smtp.login(sys.argv[2], sys.argv[3])
text = ('From: <%s>\r\nTo: Jane <jane@example.com>\r\nMessage-ID: <1@erp>\r\nX-Own: kept\r\n'
        'Date: Mon, 2 Nov 2026 10:00:00 +0000\r\nSubject: An outsider\r\n\r\nHello\r\n..dots\r\n')
smtp.sendmail(sys.argv[4], ['jane@example.com', 'hidden@example.com'], text % sys.argv[4])
smtp.quit()
";

/// A running cloud of the other kind.
struct Outsider {
    child: Child,
    ports: HashMap<String, u16>,
    folder: TempDir,
    host: String,
}

impl Outsider {
    /// Starts it with these options beside the accounts; `None` where Python or openssl is missing.
    fn start(options: Value) -> Option<Self> {
        if !have("python3") || !have("openssl") {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let mut all = json!({
            "tenant": "outsider.example", "client_id": CLIENT_ID, "secret": SECRET,
            "mailbox": MAILBOX, "user": USER, "service_account": SERVICE_ACCOUNT,
            "certificate": tests.join("fixtures/keys/entra.pem"),
        });
        for (key, value) in options.as_object().unwrap() {
            all[key] = value.clone();
        }
        let host = all["host"].as_str().unwrap_or("localhost").to_owned();
        let mut child = Command::new("python3")
            .arg("-B")
            .arg(tests.join("outsider/cloud.py"))
            .arg(folder.path())
            .arg(all.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ports = serde_json::from_str(&line).expect("the outsider prints its ports");
        Some(Self { child, ports, folder, host })
    }

    fn at(&self, server: &str) -> String {
        format!("{}:{}", self.host, self.ports[server])
    }

    /// A folder for a proxy, with what it needs beside its configuration.
    fn proxy_folder(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/keys");
        for name in ["entra.pem", "entra.pfx", "google.json", "google.p12"] {
            std::fs::copy(keys.join(name), folder.path().join(name)).unwrap();
        }
        std::fs::copy(self.folder.path().join("ca.pem"), folder.path().join("ca.pem")).unwrap();
        folder
    }

    fn proxy(&self, configuration: &str) -> Proxy {
        Proxy::start_in(self.proxy_folder(), &(CA.to_owned() + configuration))
    }

    /// `check` with this configuration: exit code and standard error.
    fn check(&self, configuration: &str) -> (Option<i32>, String) {
        let folder = self.proxy_folder();
        std::fs::write(folder.path().join("proxy.toml"), CA.to_owned() + configuration).unwrap();
        let output = run(command().arg("check").current_dir(folder.path()), b"");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn graph(&self, credential: &str) -> String {
        let app = "Mail.Sending.Microsoft365.ConfidentialApp";
        format!(
            "Mail.Sending.ServerType = 'Microsoft365'\n\
             Mail.Sending.Microsoft365.IntegrationType = 'Confidential'\n\
             Mail.Sending.Microsoft365.AuthorityUrl = 'https://{at}'\n\
             Mail.Sending.Microsoft365.GraphUrl = 'https://{at}/'\n\
             {app}.ClientId = '{CLIENT_ID}'\n{app}.TenantId = 'outsider.example'\n\
             {app}.UserObjectId = '{MAILBOX}'\n{app}.{credential}\n",
            at = self.at("https")
        )
    }

    /// `server` is `smtp`, `imap` or `pop3`.
    fn google(&self, server: &str, key: &str) -> String {
        let (role, kind, group) = match server {
            "smtp" => ("Mail.Sending", "Smtp", "Smtp"),
            "imap" => ("Mail.Receiving", "IMAP", "Imap"),
            _ => ("Mail.Receiving", "POP3", "Pop3"),
        };
        let auth = if server == "smtp" { "Mail.Sending.Smtp.UseAuth = true\n" } else { "" };
        let prefix = format!("{role}.{group}");
        format!(
            "{role}.ServerType = '{kind}'\n{prefix}.Server = '{}'\n{prefix}.UseSsl = true\n\
             {prefix}.TlsMode = 'Implicit'\n{prefix}.AuthType = 'GoogleOAuth2'\n{auth}\
             {prefix}.GoogleOAuth2.CertificatePath = '{key}'\n\
             {prefix}.GoogleOAuth2.ServiceAccount = '{SERVICE_ACCOUNT}'\n\
             {prefix}.GoogleOAuth2.GsuiteUser = '{USER}'\n\
             {prefix}.GoogleOAuth2.TokenUrl = 'https://{}/google/token'\n",
            self.at(server),
            self.at("https")
        )
    }

    /// The message that was sent as number `number`.
    fn sent(&self, number: usize) -> String {
        let file = self.folder.path().join(format!("sent-{number}.eml"));
        wait_until(&file.display().to_string(), || file.exists());
        String::from_utf8(std::fs::read(file).unwrap()).unwrap()
    }

    fn notes(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("requests.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// How many requests had that path.
    fn count(&self, path: &str) -> usize {
        self.notes().iter().filter(|note| note["path"] == path).count()
    }
}

impl Drop for Outsider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const CA: &str = "Proxy.Upstream.CaPath = 'ca.pem'\n";
const TOKEN: &str = "/outsider.example/oauth2/v2.0/token";
const SEND_MAIL: &str = "/v1.0/users/erp%40outsider.example/sendMail";

fn secret() -> String {
    format!("Secret = '{SECRET}'")
}

fn send(proxy: &Proxy, from: &str) {
    python(SEND, &[&proxy.port("SMTP"), LOGIN, PASSWORD, from]);
}

/// What both ways of sending must keep.
fn assert_whole(message: &str) {
    for line in ["X-Own: kept", "Message-ID: <1@erp>", "Subject: An outsider", "\r\n..dots\r\n"] {
        assert!(message.contains(line), "{line} in\n{message}");
    }
}

/// Sends through a Graph with these habits; the outsider and the message for more assertions.
fn send_by_graph(options: Value, credential: &str) -> Option<(Outsider, String)> {
    let outsider = Outsider::start(options)?;
    let proxy = outsider.proxy(&outsider.graph(credential));
    send(&proxy, MAILBOX);
    let first = outsider.sent(1);
    assert_whole(&first);
    assert!(first.contains("\r\nBcc: hidden@example.com\r\n"), "{first}");
    send(&proxy, MAILBOX);
    assert_whole(&outsider.sent(2));
    assert_eq!(outsider.count(TOKEN), 1, "one token serves both messages");
    Some((outsider, first))
}

#[test]
fn graph_with_every_freedom_of_http_1_1() {
    let options = json!({
        "certificates": "ec", "close": true, "chunked": true, "lower": true, "gzip": true,
        "accepted_body": {"@odata.context": "x", "value": null},
    });
    let Some((outsider, _)) = send_by_graph(options, &secret()) else { return };
    let notes = outsider.notes();
    let request = notes.iter().find(|note| note["path"] == SEND_MAIL).expect("sent by Graph");
    let headers = request["headers"].to_string();
    assert!(!headers.contains("expect") && !headers.contains("transfer-encoding"), "{headers}");
    assert_eq!(request["host"], outsider.at("https"));
    assert_eq!(request["type"], "text/plain");
}

#[test]
fn graph_with_http_1_0_and_a_certificate_for_an_address_only() {
    let options = json!({
        "certificates": "rsa-ip", "host": "127.0.0.1", "protocol": "HTTP/1.0", "slow": 1,
    });
    let credential = "CertificatePath = 'entra.pem'";
    let Some((outsider, _)) = send_by_graph(options, credential) else { return };
    assert_eq!(outsider.count(SEND_MAIL), 2);
}

#[test]
fn graph_with_a_pkcs12_certificate_and_a_self_signed_server() {
    let options = json!({"certificates": "self-signed"});
    let credential = "CertificatePath = 'entra.pfx'\n\
        Mail.Sending.Microsoft365.ConfidentialApp.CertificatePassword = 'modern'";
    send_by_graph(options, credential);
}

/// A server that just hangs up where the answer's end is the connection's, as Python's own does.
#[test]
fn graph_that_hangs_up_without_a_word() {
    send_by_graph(json!({"protocol": "HTTP/1.0", "hang_up": true}), &secret());
}

/// What `openssl req -x509` makes without a second thought says that it is an authority.
#[test]
fn graph_with_a_self_signed_server_certificate_as_openssl_makes_it() {
    send_by_graph(json!({"certificates": "self-signed-ca"}), &secret());
}

#[test]
fn a_graph_that_throttles_gets_its_message_once() {
    let Some(outsider) = Outsider::start(json!({"throttled": 1})) else { return };
    let proxy = outsider.proxy(&outsider.graph(&secret()));
    send(&proxy, MAILBOX);
    assert_whole(&outsider.sent(2));
    assert_eq!(outsider.count(SEND_MAIL), 2);
    assert!(!outsider.folder.path().join("sent-1.eml").exists());
}

#[test]
fn an_entra_that_refuses_is_explained_and_the_client_keeps_its_message() {
    let Some(outsider) = Outsider::start(json!({"secret": "another"})) else { return };
    let (code, stderr) = outsider.check(&outsider.graph(&secret()));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("AADSTS7000215") && stderr.contains("Value"), "{stderr}");
    assert!(!stderr.contains(SECRET), "{stderr}");
    let proxy = outsider.proxy(&outsider.graph(&secret()));
    let program = SEND.replace("smtp.sendmail", "try: smtp.sendmail")
        + "except smtplib.SMTPException as error: print(error)\n";
    let program = program.replace("smtp.quit()\n", "");
    let said = python(&program, &[&proxy.port("SMTP"), LOGIN, PASSWORD, MAILBOX]);
    assert!(said.contains("454") && said.contains("ref "), "{said}");
    proxy.wait_for_log("AADSTS7000215");
    assert!(!proxy.log().contains(SECRET));
}

#[test]
fn gmail_with_json_and_p12_keys() {
    let Some(outsider) = Outsider::start(json!({"gzip": true, "close": true})) else { return };
    for (number, key) in [(1, "google.json"), (2, "google.p12")] {
        let proxy = outsider.proxy(&outsider.google("smtp", key));
        send(&proxy, USER);
        let message = outsider.sent(number);
        assert_whole(&message);
        assert!(!message.contains("hidden@"), "{message}");
    }
    let notes = outsider.notes();
    let envelope = notes.iter().find(|note| note["sender"].is_string()).expect("an envelope");
    assert!(envelope["sender"].to_string().contains("FROM:<anna@outsider.example>"));
    assert_eq!(envelope["recipients"], json!(["TO:<jane@example.com>", "TO:<hidden@example.com>"]));
}

/// Greetings, EHLO answers and challenges that the standards allow, and some they hardly do.
#[test]
fn smtp_services_with_habits_of_their_own() {
    for habits in [
        json!({"greeting": ["220-mx.outsider.example", "220-\u{a1}Hola! 8-bit", "220"]}),
        json!({"greeting": ["220 "], "ehlo": ["250-outsider", "250 auth xoauth2"]}),
        json!({"ehlo": ["250-outsider", "250-AUTH=LOGIN PLAIN", "250-size", "250-X-UNKNOWN a b",
                        "250 AUTH XOAUTH2"], "two_steps": true}),
        json!({"ehlo": ["250-outsider", "250-AUTH  LOGIN  XOAUTH2 ", "250-SIZE 0", "250 HELP"],
               "invitation": "334"}),
        json!({"two_steps": true, "invitation": "334 VXNlcm5hbWU6"}),
    ] {
        let Some(outsider) = Outsider::start(json!({"habits": habits})) else { return };
        let proxy = outsider.proxy(&outsider.google("smtp", "google.json"));
        send(&proxy, USER);
        assert_whole(&outsider.sent(1));
    }
}

/// A short token fits into the command line, and is sent there (RFC 4954 section 4).
#[test]
fn short_tokens_work_too() {
    let Some(outsider) = Outsider::start(json!({"token_octets": 24})) else { return };
    let proxy = outsider.proxy(&outsider.google("smtp", "google.json"));
    send(&proxy, USER);
    assert_whole(&outsider.sent(1));
}

#[test]
fn a_service_without_patience_for_initial_responses() {
    let options = json!({"token_octets": 24, "habits": {"two_steps": true}});
    let Some(outsider) = Outsider::start(options) else { return };
    let proxy = outsider.proxy(&outsider.google("smtp", "google.json"));
    send(&proxy, USER);
    assert_whole(&outsider.sent(1));
}

#[test]
fn mailboxes_are_read_through_the_proxy() {
    for habits in [json!({}), json!({"two_steps": true})] {
        let Some(outsider) = Outsider::start(json!({"habits": habits})) else { return };
        let proxy = outsider.proxy(&outsider.google("imap", "google.json"));
        let read = r"
import imaplib, sys
imap = imaplib.IMAP4('127.0.0.1', int(sys.argv[1]))
imap.login(sys.argv[2], sys.argv[3])
words = imap.capability()[1][0].decode().upper()
assert 'AUTH' not in words and 'IDLE' in words, words
imap.select()
print(imap.fetch('1', '(BODY[])')[1][0][1].decode())
imap.logout()
";
        let text = python(read, &[&proxy.port("IMAP"), LOGIN, PASSWORD]);
        assert!(text.contains("by an outsider"), "{text}");
    }
    let Some(outsider) = Outsider::start(json!({})) else { return };
    let proxy = outsider.proxy(&outsider.google("pop3", "google.p12"));
    let read = r"
import poplib, sys
pop = poplib.POP3('127.0.0.1', int(sys.argv[1]))
pop.user(sys.argv[2]); pop.pass_(sys.argv[3])
assert pop.stat() == (1, 33)
print(pop.retr(1)[1])
pop.quit()
";
    let text = python(read, &[&proxy.port("POP3"), LOGIN, PASSWORD]);
    assert!(text.contains("by an outsider"), "{text}");
}

#[test]
fn check_proves_an_outsiders_services_too() {
    let Some(outsider) = Outsider::start(json!({})) else { return };
    let good = outsider.google("smtp", "google.json") + &outsider.google("imap", "google.p12");
    assert_eq!(outsider.check(&good), (Some(0), String::new()));
    let (code, stderr) = outsider.check(&good.replace(USER, "bob@outsider.example"));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("elegation"), "{stderr}");
    assert_eq!(outsider.notes().iter().filter(|note| note["sender"].is_string()).count(), 0);
}

/// Also when that very certificate is in `CaPath`.
#[test]
fn a_certificate_for_another_name_is_refused_and_said() {
    for certificates in ["other-name", "self-signed-other-name"] {
        let options = json!({"certificates": certificates});
        let Some(outsider) = Outsider::start(options) else { return };
        let begin = Instant::now();
        for configuration in [outsider.graph(&secret()), outsider.google("smtp", "google.json")] {
            let (code, stderr) = outsider.check(&configuration);
            assert_eq!(code, Some(1), "{stderr}");
            assert!(stderr.contains("certificate"), "{stderr}");
            assert!(stderr.contains("localhost"), "{stderr}");
        }
        assert!(begin.elapsed() < Duration::from_secs(20));
        assert!(!outsider.folder.path().join("requests.jsonl").exists(), "nothing may be sent");
    }
}
