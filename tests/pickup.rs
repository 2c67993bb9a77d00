//! Pickup folders: programs that leave files, as they really do it, and what reaches the service.
//!
//! Danger: a test that drops one complete file proves nothing about one that is being written. Rule:
//! the built program takes files that are written slowly, all at once, badly, by other programs and
//! through a kill, and the service holds each message once afterwards.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::harness::cloud::{ANNA, Cloud, OFFICE};
use crate::harness::queue::numbers;
use crate::harness::{Proxy, have, python, wait_until};
use crate::sending::{BOB, EVE, assert_same, reached};

/// A cloud, a proxy with a pickup folder, and the folder.
fn started() -> (Cloud, Proxy, PathBuf) {
    let cloud = Cloud::start();
    let folder = cloud.folder();
    fs::create_dir(folder.path().join("in")).unwrap();
    let proxy = Proxy::start_in(folder, &configuration(&cloud));
    let directory = proxy.folder.path().join("in");
    (cloud, proxy, directory)
}

fn configuration(cloud: &Cloud) -> String {
    pickup(cloud, &cloud.gmail_smtp("Mail.Sending", "key.json"))
}

fn pickup(cloud: &Cloud, role: &str) -> String {
    let folders = "Proxy.Pickup.iis.Directory = 'in'\nProxy.Pickup.iis.BadMail = 'bad'\n";
    cloud.base() + role + folders
}

/// What System.Net.Mail writes.
fn message(to: &str, subject: &str) -> String {
    format!(
        "X-Sender: {ANNA}\r\nX-Receiver: {to}\r\nMIME-Version: 1.0\r\nFrom: {ANNA}\r\nTo: {to}\r\n\
         Subject: {subject}\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n\r\nA line.\r\n"
    )
}

/// Waits until so many messages have been delivered and the folder is empty.
fn wait_for(cloud: &Cloud, directory: &Path, count: usize) {
    wait_until(&format!("{count} deliveries"), || cloud.sandbox.deliveries().len() >= count);
    wait_until("an empty folder", || files(directory).is_empty());
    assert_eq!(cloud.sandbox.deliveries().len(), count);
}

/// Files in the folder and in the private one.
fn files(directory: &Path) -> Vec<String> {
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    let mut all = names(directory);
    all.extend(names(&directory.join(".authbridge")));
    all.retain(|name| name.contains(".eml"));
    all
}

fn subjects(cloud: &Cloud) -> Vec<String> {
    let subject = |raw: &[u8]| {
        let text = String::from_utf8_lossy(raw).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap_or_default();
        line.to_owned()
    };
    let mut all: Vec<String> =
        cloud.sandbox.deliveries().iter().map(|delivery| subject(&delivery.raw)).collect();
    all.sort();
    all
}

#[test]
fn a_file_is_sent_by_its_envelope_and_goes() {
    let (cloud, proxy, directory) = started();
    let text =
        message(BOB, "one").replace("X-Receiver", &format!("X-Receiver: {EVE}\r\nX-Receiver"));
    fs::write(directory.join("One.EML"), text).unwrap();
    wait_for(&cloud, &directory, 2);
    assert_eq!(reached(&cloud), [BOB, EVE]);
    let raw = cloud.sandbox.deliveries()[0].raw.clone();
    let raw = String::from_utf8_lossy(&raw);
    assert!(!raw.to_lowercase().contains("x-receiver") && raw.contains("Message-ID: <"), "{raw}");
    proxy.wait_for_log("pickup file taken");
    assert!(proxy.log().contains("One.EML"), "{}", proxy.log());
}

#[test]
fn a_file_that_is_written_slowly_is_sent_whole() {
    let (cloud, _proxy, directory) = started();
    // When this one has gone, the folder is being watched.
    fs::write(directory.join("first.eml"), message(BOB, "first")).unwrap();
    wait_for(&cloud, &directory, 1);
    let text = message(BOB, "slow") + &"More of it.\r\n".repeat(60);
    let mut file = File::create(directory.join("slow.eml")).unwrap();
    fs::write(directory.join("fast.eml"), message(BOB, "fast")).unwrap();
    let (first, rest) = text.split_at(120);
    file.write_all(first.as_bytes()).unwrap();
    // The other one comes later and goes: so long nobody has touched the slow one.
    wait_until("the fast one", || cloud.sandbox.deliveries().len() == 2);
    assert_eq!(files(&directory), ["slow.eml"]);
    file.write_all(rest.as_bytes()).unwrap();
    drop(file);
    wait_for(&cloud, &directory, 3);
    let slow = cloud.sandbox.deliveries()[2].raw.clone();
    assert!(slow.ends_with(text.split_once("\r\n\r\n").unwrap().1.as_bytes()));
}

#[test]
fn two_hundred_files_at_once_are_sent_once_each() {
    let (cloud, _proxy, directory) = started();
    let expected: Vec<String> = (0..200).map(|number| format!("number {number:03}")).collect();
    for subject in &expected {
        fs::write(directory.join(format!("{subject}.eml")), message(BOB, subject)).unwrap();
    }
    wait_for(&cloud, &directory, 200);
    assert_eq!(subjects(&cloud), expected);
}

/// Leaves a hundred files and kills the program twenty times meanwhile; subjects expected and
/// found, sorted, and the folder.
fn killed(cloud: &Cloud, role: &str) -> (Vec<String>, Vec<String>) {
    let folder = cloud.folder();
    let mut directory = folder.path().join("in");
    fs::create_dir(&directory).unwrap();
    let expected: Vec<String> = (0..100).map(|number| format!("number {number:03}")).collect();
    for subject in &expected {
        fs::write(directory.join(format!("{subject}.eml")), message_of(role, subject)).unwrap();
    }
    let configuration = pickup(cloud, role);
    let mut proxy = Proxy::start_in(folder, &configuration);
    for round in 1..=20 {
        // The first ones die while files are taken, the others while messages are sent.
        match round {
            1..=5 => {
                wait_until("some are written down", || files(&directory).len() < 100 - 10 * round)
            }
            _ => {
                wait_until("some are sent", || cloud.sandbox.deliveries().len() >= 5 * (round - 5))
            }
        }
        proxy = Proxy::start_in(proxy.kill(), &configuration);
        directory = proxy.folder.path().join("in");
    }
    wait_until("an empty folder", || files(&directory).is_empty());
    wait_until("an empty queue", || numbers(&proxy.folder.path().join("state")).is_empty());
    (expected, subjects(cloud))
}

fn message_of(role: &str, subject: &str) -> String {
    match role.contains("Microsoft365") {
        true => message(BOB, subject).replace(ANNA, OFFICE),
        false => message(BOB, subject),
    }
}

/// None is lost, and none doubled but one for each kill.
#[track_caller]
fn assert_once_but_for_kills((expected, mut found): (Vec<String>, Vec<String>)) {
    assert!(found.len() <= expected.len() + 20, "{} deliveries", found.len());
    found.dedup();
    assert_eq!(found, expected, "none is lost");
}

/// What the service has taken is searched for after a kill: the note of the attempt
/// (`store/handovers`) goes after the queue's row.
#[test]
fn over_graph_twenty_kills_lose_nothing_and_double_nothing() {
    let cloud = Cloud::start();
    let role = cloud.graph("Mail.Sending") + "Mail.Sending.Pace.PerMinute = 100000\n";
    let (expected, found) = killed(&cloud, &role);
    assert_eq!(found, expected);
}

/// The service's SMTP can't be asked what it has: a kill between its 250 and our note of it sends
/// the one message again that was under way.
#[test]
fn over_smtp_twenty_kills_lose_nothing_and_double_at_most_what_was_under_way() {
    let cloud = Cloud::start();
    let role = cloud.gmail_smtp("Mail.Sending", "key.json");
    assert_once_but_for_kills(killed(&cloud, &role));
}

/// Files as .NET writes them (its `MailWriter`, `MimeBasePart` and `QuotedPrintableStream`), and what
/// is to be delivered: the same octets without the envelope, dots undone where they were doubled.
#[test]
fn files_of_dotnet_are_delivered_octet_by_octet() {
    for (name, doubled) in [("framework", true), ("8", false)] {
        let (cloud, _proxy, directory) = started();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dotnet");
        let written = fs::read(fixture.join(format!("pickup-{name}.eml"))).unwrap();
        fs::write(directory.join("3f2504e0-4f89-11d3-9a0c-0305e82c3301.eml"), &written).unwrap();
        wait_for(&cloud, &directory, 3);
        let hidden = "hidden@elsewhere.example";
        assert_eq!(reached(&cloud), [BOB, EVE, hidden]);
        let text = String::from_utf8(written).unwrap();
        let at = text.find("MIME-Version").unwrap();
        let mut expected = text[at..].to_owned();
        if doubled {
            assert!(expected.contains("\r\n..\r\n..dot"), "{expected}");
            expected = expected.replace("\r\n..", "\r\n.");
        }
        assert!(expected.contains("\r\n.\r\n.dot"), "{expected}");
        let submitted = cloud.sandbox.deliveries()[0].submitted.clone();
        let found = String::from_utf8(submitted.to_vec()).unwrap();
        // .NET writes no Message-ID.
        let id = found.lines().find(|line| line.starts_with("Message-ID: <")).unwrap();
        assert_same(found.replace(&format!("{id}\r\n"), "").as_bytes(), expected.as_bytes());
    }
}

#[test]
fn a_bad_file_goes_to_bad_mail_and_the_next_one_is_sent() {
    let (cloud, proxy, directory) = started();
    fs::write(directory.join("bad.eml"), "To: nobody\r\n\r\ntext").unwrap();
    fs::write(directory.join("good.eml"), message(BOB, "good")).unwrap();
    wait_for(&cloud, &directory, 1);
    let bad = proxy.folder.path().join("bad");
    let reason = fs::read_to_string(bad.join("bad.eml.txt")).unwrap();
    assert!(reason.contains("its To field can't be read"), "{reason}");
    assert_eq!(fs::read_to_string(bad.join("bad.eml")).unwrap(), "To: nobody\r\n\r\ntext");
    proxy.wait_for_log("a pickup file was not sent");
}

#[test]
fn python_writes_files_in_both_ways() {
    if !have("python3") {
        return;
    }
    let (cloud, _proxy, directory) = started();
    let program = r#"
import os, sys
from email.message import EmailMessage
folder, sender, to = sys.argv[1:]
for name in ("renamed", "in place"):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, to, name
    message.set_content("Grüße\n.one dot\n..two dots\n")
    path = os.path.join(folder, name + ".eml")
    if name == "renamed":
        with open(path + ".tmp", "wb") as file:
            file.write(bytes(message))
        os.rename(path + ".tmp", path)
    else:
        with open(path, "wb", buffering=0) as file:
            for octet in bytes(message):
                file.write(bytes([octet]))
"#;
    python(program, &[&directory.to_string_lossy(), ANNA, BOB]);
    wait_for(&cloud, &directory, 2);
    assert_eq!(subjects(&cloud), ["in place", "renamed"]);
    for delivery in cloud.sandbox.deliveries() {
        let raw = String::from_utf8_lossy(&delivery.raw).into_owned();
        assert!(raw.contains("\r\n.one dot\r\n..two dots\r\n"), "{raw}");
    }
}
