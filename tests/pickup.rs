//! Pickup folders: programs that leave files, as they really do it, and what reaches the service.
//!
//! Danger: a test that drops one complete file proves nothing about one that is being written. Rule:
//! the built program takes files that are written slowly, all at once, badly, by other programs and
//! through a kill, and the service holds each message once afterwards.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::harness::cloud::{ANNA, Cloud};
use crate::harness::{Proxy, have, python, wait_until};
use crate::sending::{BOB, EVE, reached};

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
    cloud.base()
        + &cloud.gmail_smtp("Mail.Sending", "key.json")
        + "Proxy.Pickup.iis.Directory = 'in'\nProxy.Pickup.iis.BadMail = 'bad'\n"
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
    let text = message(BOB, "slow") + &"More of it.\r\n".repeat(60);
    let mut file = File::create(directory.join("slow.eml")).unwrap();
    fs::write(directory.join("fast.eml"), message(BOB, "fast")).unwrap();
    let (first, rest) = text.split_at(120);
    file.write_all(first.as_bytes()).unwrap();
    // The other one comes later and goes: so long nobody has touched the slow one.
    wait_until("the fast one", || !cloud.sandbox.deliveries().is_empty());
    assert_eq!(files(&directory), ["slow.eml"]);
    file.write_all(rest.as_bytes()).unwrap();
    drop(file);
    wait_for(&cloud, &directory, 2);
    let slow = cloud.sandbox.deliveries()[1].raw.clone();
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

#[test]
fn a_kill_in_the_middle_loses_nothing_and_doubles_nothing() {
    let (cloud, mut proxy, mut directory) = started();
    let expected: Vec<String> = (0..60).map(|number| format!("number {number:02}")).collect();
    for subject in &expected {
        fs::write(directory.join(format!("{subject}.eml")), message(BOB, subject)).unwrap();
    }
    for round in 1..4 {
        wait_until("some files", || files(&directory).len() < 60 - 10 * round);
        proxy = Proxy::start_in(proxy.kill(), &configuration(&cloud));
        directory = proxy.folder.path().join("in");
    }
    wait_until("an empty folder", || files(&directory).is_empty());
    let all = || cloud.sandbox.deliveries().len() >= expected.len();
    wait_until("all deliveries", all);
    let mut found = subjects(&cloud);
    found.dedup();
    assert_eq!(found, expected, "none is lost");
    // The service's SMTP can't be asked what it has: one message a kill may have been under way.
    assert!(cloud.sandbox.deliveries().len() <= expected.len() + 3);
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
