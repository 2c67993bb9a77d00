//! Clients as users have them: Python's smtplib, swaks, msmtp, curl.

use std::process::Command;

use super::client::Client;
use super::{BOB, EVE, assert_same, gmail, letter, reached};
use crate::harness::cloud::ANNA;
use crate::harness::{Proxy, have, python, succeed};

/// Every way to log in that smtplib knows, on each kind of connection; one message each.
const LOGINS: &str = r"
import smtplib, ssl, sys
port, tls_port, authority, sender, to = sys.argv[1:]
trusted = ssl.create_default_context(cafile=authority)
def plain():
    return smtplib.SMTP('localhost', int(port), timeout=30)
def starttls():
    smtp = plain()
    smtp.ehlo()
    assert smtp.has_extn('starttls')
    smtp.starttls(context=trusted)
    smtp.ehlo()
    assert not smtp.has_extn('starttls')
    return smtp
def smtps():
    return smtplib.SMTP_SSL('localhost', int(tls_port), timeout=30, context=trusted)
count = 0
for connect in plain, starttls, smtps:
    for mechanism in 'PLAIN', 'LOGIN':
        for initial in True, False:
            smtp = connect()
            smtp.ehlo()
            assert mechanism in smtp.esmtp_features['auth'], smtp.esmtp_features
            smtp.user, smtp.password = 'APP', 'local-password'
            method = smtp.auth_plain if mechanism == 'PLAIN' else smtp.auth_login
            code, text = smtp.auth(mechanism, method, initial_response_ok=initial)
            assert code == 235, (code, text)
            count += 1
            body = 'From: %s\r\nTo: %s\r\nSubject: %d\r\n\r\n.dot\r\n' % (sender, to, count)
            assert smtp.sendmail(sender, [to], body) == {}
            smtp.quit()
print(count)
";

/// A program of 1990: HELO, no extension, login by AUTH all the same.
const HELO: &str = r"
import base64, smtplib, sys
smtp = smtplib.SMTP('127.0.0.1', int(sys.argv[1]), timeout=30)
assert smtp.helo('old.example')[0] == 250
assert smtp.docmd('MAIL', 'FROM:<%s>' % sys.argv[2])[0] == 530
secret = base64.b64encode(b'\0app\0local-password').decode()
assert smtp.docmd('AUTH', 'PLAIN ' + secret)[0] == 235
assert smtp.sendmail(sys.argv[2], [sys.argv[3]], 'Subject: old\r\n\r\nold\r\n') == {}
smtp.quit()
";

/// 8-bit text, international addresses, many recipients, a second message in one session.
const MODERN: &str = r"
import email.policy, smtplib, sys
from email.message import EmailMessage
port, sender, to = sys.argv[1:]
smtp = smtplib.SMTP('127.0.0.1', int(port), timeout=30)
smtp.login('app', 'local-password')
for name in 'size', '8bitmime', 'smtputf8', 'pipelining', 'chunking', 'enhancedstatuscodes':
    assert smtp.has_extn(name), name
message = EmailMessage(policy=email.policy.SMTP.clone(cte_type='8bit'))
message['From'], message['To'], message['Subject'] = sender, to, 'Grüße'
message['Bcc'] = 'eve@elsewhere.example'
message.set_content('Zwölf Boxkämpfer\n.\n', cte='8bit')
message.add_attachment(bytes(range(256)) * 40, maintype='application', subtype='x-own', filename='ü.bin')
assert smtp.send_message(message) == {}
body = 'From: %s\r\nTo: jörg@exämple.de\r\nSubject: Grüße\r\n\r\nhallo\r\n' % sender
assert smtp.sendmail(sender, ['jörg@exämple.de'], body.encode(), ['SMTPUTF8', 'BODY=8BITMIME']) == {}
many = ['r%d@elsewhere.example' % n for n in range(100)]
assert smtp.sendmail(sender, many, 'Subject: all\r\n\r\nall\r\n') == {}
smtp.quit()
";

fn certificate(proxy: &Proxy) -> String {
    proxy.folder.path().join("state/certs/cert.pem").display().to_string()
}

#[test]
fn smtplib_logs_in_every_way_on_every_connection() {
    if !have("python3") {
        return;
    }
    let (cloud, proxy) = gmail();
    let (plain, tls, ca) = (proxy.port("SMTP"), proxy.port("SMTPS"), certificate(&proxy));
    assert_eq!(python(LOGINS, &[&plain, &tls, &ca, ANNA, BOB]).trim(), "12");
    let deliveries = cloud.sandbox.deliveries();
    assert_eq!(reached(&cloud), [BOB; 12]);
    for (index, delivery) in deliveries.iter().enumerate() {
        let expected =
            format!("From: {ANNA}\r\nTo: {BOB}\r\nSubject: {}\r\n\r\n.dot\r\n", index + 1);
        let text = String::from_utf8(delivery.submitted.to_vec()).unwrap();
        assert!(text.ends_with(&expected), "{text}");
    }
}

#[test]
fn helo_alone_suffices() {
    if !have("python3") {
        return;
    }
    let (cloud, proxy) = gmail();
    python(HELO, &[&proxy.port("SMTP"), ANNA, BOB]);
    assert_eq!(reached(&cloud), [BOB]);
}

#[test]
fn smtplib_sends_8_bit_text_international_addresses_and_to_many() {
    if !have("python3") {
        return;
    }
    let (cloud, proxy) = gmail();
    python(MODERN, &[&proxy.port("SMTP"), ANNA, BOB]);
    let deliveries = cloud.sandbox.deliveries();
    assert_eq!(deliveries.len(), 2 + 1 + 100);
    let first = mail_parser::MessageParser::default().parse(&deliveries[0].submitted[..]).unwrap();
    assert_eq!(first.subject(), Some("Grüße"));
    assert_eq!(first.body_text(0).unwrap().trim_end(), "Zwölf Boxkämpfer\n.".replace('\n', "\r\n"));
    let octets: Vec<u8> = (0..=255).collect::<Vec<u8>>().repeat(40);
    assert_eq!(first.attachment(0).unwrap().contents(), octets);
    assert_eq!(deliveries[2].recipient, "jörg@exämple.de");
    assert_eq!(reached(&cloud).iter().filter(|one| one.starts_with('r')).count(), 100);
}

#[test]
fn swaks_logs_in_and_sends() {
    if !have("swaks") {
        return;
    }
    let (cloud, proxy) = gmail();
    let server = format!("127.0.0.1:{}", proxy.port("SMTP"));
    for mechanism in ["LOGIN", "PLAIN"] {
        succeed(
            Command::new("swaks")
                .args(["--server", &server, "--from", ANNA, "--to", &format!("{BOB},{EVE}")])
                .args(["--auth", mechanism, "--auth-user", "app"])
                .args(["--auth-password", "local-password", "--header", "Subject: swaks"])
                .args(["--body", "from swaks", "--timeout", "30"]),
            b"",
        );
    }
    assert_eq!(reached(&cloud), [BOB, BOB, EVE, EVE]);
    for delivery in cloud.sandbox.deliveries() {
        let text = String::from_utf8(delivery.submitted.to_vec()).unwrap();
        let complete = text.contains("Subject: swaks\r\n") && text.contains("\r\nfrom swaks\r\n");
        assert!(complete, "{text}");
    }
}

#[test]
fn msmtp_sends_over_a_verified_starttls() {
    if !have("msmtp") {
        return;
    }
    let (cloud, proxy) = gmail();
    let message = letter(ANNA, BOB);
    succeed(
        Command::new("msmtp")
            .args(["--host=localhost", &format!("--port={}", proxy.port("SMTP"))])
            .args(["--tls=on", "--tls-starttls=on"])
            .arg(format!("--tls-trust-file={}", certificate(&proxy)))
            .args(["--auth=plain", "--user=app", "--passwordeval=echo local-password"])
            .args([&format!("--from={ANNA}"), "--timeout=30", "--", BOB]),
        message.replace("\r\n", "\n").as_bytes(),
    );
    assert_eq!(reached(&cloud), [BOB]);
    assert_same(&cloud.sandbox.deliveries()[0].submitted, message.as_bytes());
}

#[test]
fn curl_uploads_plain_by_starttls_and_by_smtps() {
    if !have("curl") {
        return;
    }
    let (cloud, proxy) = gmail();
    let message = letter(ANNA, BOB);
    for (scheme, port, more) in
        [("smtp", "SMTP", &[][..]), ("smtp", "SMTP", &["--ssl-reqd"]), ("smtps", "SMTPS", &[])]
    {
        let url = format!("{scheme}://localhost:{}/client.example", proxy.port(port));
        succeed(
            Command::new("curl")
                .args(["--silent", "--show-error", "--max-time", "30", "--url", &url])
                .args(["--cacert", &certificate(&proxy), "--user", "app:local-password"])
                .args(["--mail-from", ANNA, "--mail-rcpt", BOB, "--upload-file", "-"])
                .args(more),
            message.as_bytes(),
        );
    }
    assert_eq!(reached(&cloud), [BOB; 3]);
    for delivery in cloud.sandbox.deliveries() {
        assert_same(&delivery.submitted, message.as_bytes());
    }
}

#[test]
fn a_second_login_and_a_cancelled_one_are_refused_and_a_right_one_still_works() {
    let (cloud, proxy) = gmail();
    let mut client = Client::connect(&proxy);
    client.expect("AUTH PLAIN", "503");
    client.expect("EHLO client.example", "250");
    client.expect("AUTH PLAIN", "334 ");
    client.expect("*", "501");
    client.expect("AUTH LOGIN", "334 VXNlcm5hbWU6");
    client.expect("YXBw", "334 UGFzc3dvcmQ6");
    client.expect("!", "501");
    client.expect("AUTH GSSAPI", "504");
    client.expect("AUTH LOGIN YXBw", "334 UGFzc3dvcmQ6");
    client.expect(&super::client::base64("local-password"), "235 2.7.0");
    client.expect("AUTH LOGIN YXBw", "503");
    client.sends(ANNA, &[BOB], letter(ANNA, BOB));
    client.quit();
    assert_eq!(reached(&cloud), [BOB]);
}
