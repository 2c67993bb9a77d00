//! A real Postfix on either side of the spool: one that is away, one that greylists, one whose
//! bounces come back, one that delivers our reports.
//!
//! Danger: a queue that is right for our own sandbox and wrong for the most used mail server: it
//! gives up where that one says "later", or sends again to who has it. Rule: what counts is what lies
//! in Postfix's mailboxes when our queue is empty, each message once, and what programs like swaks
//! and msmtp were told meanwhile.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use super::instance::{DOMAIN, Postfix, Security, possible};
use super::{address, as_sent, letter};
use crate::harness::queue::numbers;
use crate::harness::{Proxy, have, python, succeed, wait_until};
use crate::sending::client::Client;
use crate::sending::{assert_same, classic};

fn started(postfix: &Postfix, more: &str) -> Proxy {
    let role = classic("Mail.Sending", &format!("127.0.0.1:{}", postfix.port), "");
    Proxy::start(&format!("{more}{role}"))
}

const FALLBACK: &str = "Proxy.Spool.Mode = 'fallback'\n";

/// Waits until nothing is left in the queue of the proxy.
fn wait_for_empty_queue(proxy: &Proxy) {
    let state = proxy.folder.path().join("state");
    wait_until("an empty queue", || numbers(&state).is_empty());
}

/// A greylister as Postfix asks them (SMTPD_POLICY_README): the first attempt for the recipient is
/// put off, all others pass.
struct Greylister {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Greylister {
    fn start(put_off: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (noted, put_off) = (Arc::clone(&noted), put_off.clone());
                std::thread::spawn(move || answer(stream.unwrap(), &put_off, &noted));
            }
        });
        Self { port, asked }
    }

    fn times(&self, recipient: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == recipient).count()
    }
}

fn answer(mut stream: TcpStream, put_off: &str, noted: &Mutex<Vec<String>>) {
    let mut recipient = String::new();
    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
    for line in lines.map_while(Result::ok) {
        if let Some(named) = line.strip_prefix("recipient=") {
            named.clone_into(&mut recipient);
        }
        if !line.is_empty() {
            continue;
        }
        let mut noted = noted.lock().unwrap();
        let is_first = !noted.contains(&recipient);
        noted.push(recipient.clone());
        let action = match is_first && recipient == put_off {
            true => "450 4.2.0 Greylisted, come again",
            false => "DUNNO",
        };
        if write!(stream, "action={action}\n\n").is_err() {
            return;
        }
    }
}

#[test]
fn one_is_taken_one_greylisted_and_one_refused() {
    if !possible() {
        return;
    }
    let (anna, bob, carol) = (address("anna"), address("bob"), address("carol"));
    let greylister = Greylister::start(carol.clone());
    let more = format!(
        "smtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:{}, \
         permit_mynetworks, reject\n",
        greylister.port
    );
    let postfix = Postfix::start(Security::Plain, &more);
    let proxy = started(&postfix, FALLBACK);
    let message = letter("bob", ".\r\nText\r\n");
    let mut client = Client::logged_in(&proxy);
    client.envelope(&anna, &[&bob, &carol]);
    client.expect(&format!("RCPT TO:<nobody@{DOMAIN}>"), "550 5.1.1");
    assert!(client.data(&message).starts_with("250 2.0.0"));
    assert_same(&as_sent(&postfix.mailbox("bob", 1)[0]), message.as_bytes());
    assert_eq!(greylister.times(&carol), 1, "she waits");
    assert_same(&as_sent(&postfix.mailbox("carol", 1)[0]), message.as_bytes());
    wait_for_empty_queue(&proxy);
    assert_eq!((greylister.times(&carol), greylister.times(&bob)), (2, 1));
    postfix.mailbox("bob", 1);
    postfix.mailbox("carol", 1);
}

#[test]
fn swaks_and_msmtp_are_content_while_it_is_away_and_it_gets_each_message_once() {
    if !possible() || !have("swaks") || !have("msmtp") || !have("curl") {
        return;
    }
    let mut postfix = Postfix::start(Security::Plain, "");
    let proxy = started(&postfix, FALLBACK);
    let (anna, bob, port) = (address("anna"), address("bob"), proxy.port("SMTP"));
    postfix.stop();
    let message = letter("bob", ".dot\r\nText\r\n");
    succeed(
        Command::new("swaks")
            .args(["--server", &format!("127.0.0.1:{port}"), "--from", &anna, "--to", &bob])
            .args(["--auth", "PLAIN", "--auth-user", "app", "--auth-password", "local-password"])
            .args(["--data", "-", "--timeout", "40"]),
        message.replace("\r\n", "\n").as_bytes(),
    );
    succeed(
        Command::new("msmtp")
            .args(["--host=127.0.0.1", &format!("--port={port}"), "--tls=off", "--auth=plain"])
            .args(["--user=app", "--passwordeval=echo local-password"])
            .args([&format!("--from={anna}"), "--timeout=40", "--", &bob]),
        message.replace("\r\n", "\n").as_bytes(),
    );
    succeed(
        Command::new("curl")
            .args(["-sS", "--max-time", "40", "--url", &format!("smtp://127.0.0.1:{port}")])
            .args(["--user", "app:local-password", "--mail-from", &anna, "--mail-rcpt", &bob])
            .args(["--upload-file", "-"]),
        message.as_bytes(),
    );
    assert_eq!(numbers(&proxy.folder.path().join("state")).len(), 3);
    postfix.start_again();
    postfix.mailbox("bob", 3);
    wait_for_empty_queue(&proxy);
    for stored in postfix.mailbox("bob", 3) {
        // swaks adds an empty line of its own.
        assert_same(as_sent(&stored).trim_ascii_end(), message.trim_end().as_bytes());
    }
}

#[test]
fn a_thousand_recipients_of_smtplib_wait_together_and_get_it_once_each() {
    if !possible() || !have("python3") {
        return;
    }
    let mut postfix = Postfix::start(Security::Plain, "default_transport = discard\n");
    let proxy = started(&postfix, FALLBACK);
    postfix.stop();
    let program = "
import smtplib, sys
smtp = smtplib.SMTP('127.0.0.1', int(sys.argv[1]), timeout=50)
smtp.login('app', 'local-password')
many = ['r%d@elsewhere.example' % n for n in range(1000)]
refused = smtp.sendmail(sys.argv[2], many + ['late@elsewhere.example'], 'Subject: all\\r\\n\\r\\nall\\r\\n')
assert list(refused) == ['late@elsewhere.example'] and refused['late@elsewhere.example'][0] == 452, refused
smtp.quit()
";
    python(program, &[&proxy.port("SMTP"), &address("anna")]);
    postfix.start_again();
    wait_for_empty_queue(&proxy);
    let reached = || -> Vec<String> {
        let log = postfix.log();
        let ends = log.lines().filter(|line| line.contains("status=sent"));
        let to = ends.filter_map(|line| line.split_once("to=<")?.1.split_once('>'));
        to.map(|(address, _)| address.to_owned()).collect()
    };
    wait_until("a thousand deliveries", || reached().len() >= 1000);
    let all = reached();
    let each: HashSet<&String> = all.iter().collect();
    assert_eq!((all.len(), each.len()), (1000, 1000));
}

#[test]
fn as_a_client_it_gets_its_bounce_through_us() {
    if !possible() {
        return;
    }
    let upstream = Postfix::start(Security::Plain, "");
    let proxy =
        started(&upstream, &format!("{FALLBACK}Proxy.Anonymous.Networks = ['127.0.0.0/8']\n"));
    let more = format!(
        "virtual_mailbox_domains =\ndefault_transport = smtp\nsmtp_host_lookup = native\n\
         relayhost = [127.0.0.1]:{}\n",
        proxy.port("SMTP")
    );
    let application = Postfix::start(Security::Plain, &more);
    let (anna, bob) = (address("anna"), address("bob"));
    let message = letter("bob", ".dot\r\nText\r\n");
    let mut client = Client::connect_to(format!("127.0.0.1:{}", application.port).parse().unwrap());
    client.expect("EHLO application.example", "250");
    client.envelope(&anna, &[&bob, &format!("nobody@{DOMAIN}")]);
    assert!(client.data(&message).starts_with("250 2.0.0"));
    let good = upstream.mailbox("bob", 1).remove(0);
    let good = String::from_utf8(good).unwrap();
    assert!(good.ends_with("\n.dot\nText\n") && good.contains("Return-Path: <anna@"), "{good}");
    let bounce = String::from_utf8(upstream.mailbox("anna", 1).remove(0)).unwrap();
    for expected in ["Return-Path: <>", "report-type=delivery-status", "User unknown", "5.1.1"] {
        assert!(bounce.contains(expected), "{expected} in {bounce}");
    }
    wait_for_empty_queue(&proxy);
}

/// Reads a report as a program does that watches for bounces.
const READING: &str = r"
import email, email.policy, sys
message = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
assert not message.defects, message.defects
assert message.get_content_type() == 'multipart/report', message.get_content_type()
assert message.get_param('report-type') == 'delivery-status'
assert message['Auto-Submitted'].startswith('auto-'), message['Auto-Submitted']
assert message['Return-Path'] == '<>', message['Return-Path']
text, status, returned = message.iter_parts()
assert text.get_content_type() == 'text/plain' and 'nobody@postfix.example' in text.get_content()
assert status.get_content_type() == 'message/delivery-status'
about, one = [block for block in status.get_payload() if block.keys()]
assert about['Reporting-MTA'].startswith('dns;'), about.as_string()
assert one['Final-Recipient'].split(';')[1].strip() == 'nobody@postfix.example', one.as_string()
assert (one['Action'], one['Status']) == ('failed', '5.1.1'), one.as_string()
assert '550' in one['Diagnostic-Code'], one.as_string()
assert returned.get_content_type() in ('text/rfc822-headers', 'message/rfc822'), returned
assert 'folded' in returned.as_string(), returned.as_string()
for part in message.walk():
    assert not part.defects, part.defects
";

#[test]
fn our_report_passes_through_it_and_python_understands_it() {
    if !possible() || !have("python3") {
        return;
    }
    let postfix = Postfix::start(Security::Plain, "");
    let proxy = started(&postfix, "Proxy.Spool.Mode = 'always'\n");
    let (anna, bob) = (address("anna"), address("bob"));
    let mut client = Client::logged_in(&proxy);
    client.sends(&anna, &[&bob, &format!("nobody@{DOMAIN}")], letter("bob", "Text\r\n"));
    let report = postfix.mailbox("anna", 1).remove(0);
    succeed(Command::new("python3").args(["-c", READING]), &report);
    postfix.mailbox("bob", 1);
}
