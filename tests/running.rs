//! The program as a process: what it prints, how it starts, how it stops.

use std::time::{Duration, Instant};

use authbridge::sandbox::{Fault, Place, What};

use crate::harness::cloud::{Cloud, OFFICE};
use crate::harness::queue::numbers;
use crate::harness::{Proxy, command, have, python, run, signal, wait_until};
use crate::sending::client::Client;
use crate::sending::{BOB, letter, only_delivery};

const SEND: &str = r"
import smtplib, sys
smtp = smtplib.SMTP('127.0.0.1', int(sys.argv[1]), timeout=30)
smtp.login('app', 'local-password')
smtp.sendmail(sys.argv[2], sys.argv[3], 'From: %s\r\nTo: %s\r\nSubject: hi\r\n\r\nhello\r\n' % (sys.argv[2], sys.argv[3]))
smtp.quit()
";

#[test]
fn it_prints_listeners_and_roles_and_stops_cleanly() {
    let cloud = Cloud::start();
    let configuration =
        cloud.base() + &cloud.graph("Mail.Sending") + &cloud.gmail_imap("Mail.Receiving");
    let proxy = Proxy::start_in(cloud.folder(), &configuration);
    let printed = proxy.printed();
    for expected in ["SMTP ", "SMTPS", "IMAPS", "Mail.Sending: ", "Mail.Receiving: "] {
        assert!(printed.contains(expected), "{expected} in:\n{printed}");
    }
    assert!(!printed.contains(&cloud.app.secret), "{printed}");
    if have("python3") {
        let to = crate::harness::cloud::ANNA;
        python(SEND, &[&proxy.port("SMTP"), crate::harness::cloud::OFFICE, to]);
        assert_eq!(cloud.sandbox.inbox(to).len(), 1);
    }
    assert_eq!(proxy.stop(), Some(0));
}

#[test]
fn a_wrong_configuration_is_exit_code_2_and_names_key_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proxy.toml");
    std::fs::write(&file, "Mail.Sending.ServerType = 'Smtp'\nMail.Sending.Smtp.Sever = 'x'\n")
        .unwrap();
    let output = run(command().args(["run", "--config"]).arg(&file), b"");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("proxy.toml:2: Mail.Sending.Smtp.Sever"), "{stderr}");
    assert!(stderr.contains("Mail.Sending.Smtp.Server"), "{stderr}");
}

#[test]
fn a_taken_port_is_exit_code_1_and_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proxy.toml");
    let text = format!(
        "Proxy.StateDirectory = 'state'\nProxy.Listen.Smtp = '{address}'\nProxy.Listen.Imap = ''\n\
         Proxy.Listen.Pop3 = ''\n"
    );
    std::fs::write(&file, text).unwrap();
    let output = run(command().args(["run", "--config"]).arg(&file), b"");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(&address.to_string()), "{stderr}");
    let hash = folder.path().join("state/admin-password.hash");
    assert!(!hash.exists(), "a password that nobody has seen");
}

/// Service managers kill after 30 s. Half a minute for each: side by side.
#[test]
fn an_attempt_that_hangs_does_not_hold_up_the_end_and_its_message_is_sent_once() {
    const LONG: Duration = Duration::from_secs(60);
    let table = [
        ("always", What::Latency(LONG)),
        ("always", What::AnswerLate(LONG)),
        ("fallback", What::AnswerLate(LONG)),
    ];
    std::thread::scope(|scope| {
        for (mode, what) in table {
            scope.spawn(move || is_stopped_while_it_hangs(mode, what));
        }
    });
}

fn is_stopped_while_it_hangs(mode: &str, what: What) {
    let cloud = Cloud::start();
    let text =
        format!("{}{}Proxy.Spool.Mode = '{mode}'\n", cloud.base(), cloud.graph("Mail.Sending"));
    let mut proxy = Proxy::start_in(cloud.folder(), &text);
    cloud.sandbox.fault(Fault { at: Place::GraphSendMail, what: what.clone(), times: 1 });
    let mut client = Client::logged_in(&proxy);
    client.envelope(OFFICE, &[BOB]);
    client.expect("DATA", "354");
    client.send(letter(OFFICE, BOB) + ".\r\n");
    wait_until("the request", || cloud.sandbox.faults_left().is_empty());
    let begin = Instant::now();
    signal(proxy.id(), "TERM");
    client.expect_reply("250");
    let folder = std::mem::replace(&mut proxy.folder, tempfile::tempdir().unwrap());
    assert_eq!(proxy.stop(), Some(0));
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(30), "{mode} {what:?}: {took:?}");
    let state = folder.path().join("state");
    assert_eq!(numbers(&state).len(), 1, "{mode} {what:?}: it waits");
    let _proxy = Proxy::start_in(folder, &text);
    wait_until("an empty queue", || numbers(&state).is_empty());
    assert_eq!(only_delivery(&cloud).recipient, BOB, "{mode} {what:?}");
}

#[test]
fn the_demo_goes_round() {
    let output = run(command().args(["demo", "--once"]), b"");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains("sales@contoso.example is signed in, granted: "), "{stdout}");
    for role in ["Microsoft 365", "Signed-in user", "Gmail"] {
        for way in [
            "Gmail by IMAP",
            "Gmail by POP3",
            "Microsoft 365 by IMAP",
            "Microsoft 365 by POP3",
            "the signed-in user by IMAP",
            "the signed-in user by POP3",
        ] {
            let same = stdout.lines().any(|line| {
                line.starts_with(&format!("{role}: read back from {way}: "))
                    && line.ends_with("the same")
            });
            assert!(same, "{role} by way of {way}: {stdout}");
        }
    }
}
