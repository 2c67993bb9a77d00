//! Mail programs as they are, in front of a Microsoft 365 mailbox.
//!
//! Danger: a client of our own shares our reading of the RFCs. Rule: every program here is the one
//! that people install, with the configuration that an administrator would write, and what it did
//! is judged at both ends: its files, and the mailbox at Graph.

mod curl;
mod fetching;
mod interimap;
mod java;
mod mbsync;
mod neomutt;
mod offlineimap;
mod python;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::harness::Proxy;
use crate::harness::cloud::{Cloud, OFFICE};

/// Folders that a mailbox has beside the usual ones, as the service knows them (parent, name), and
/// as IMAP shows them (RFC 3501 section 5.1.3).
const FOLDERS: &[(&str, &str, &str)] = &[
    ("", "Projekte", "Projekte"),
    ("Projekte", "Zürich & Köln", "Projekte/Z&APw-rich &- K&APY-ln"),
    ("Projekte/Zürich & Köln", "2026", "Projekte/Z&APw-rich &- K&APY-ln/2026"),
    ("", "In/Out", "In=2FOut"),
    ("", "空", "&eno-"),
];

/// A mailbox with mail in many folders and a proxy that reads it.
struct Office {
    proxy: Proxy,
    cloud: Cloud,
    configuration: String,
}

impl Office {
    /// An empty mailbox; more configuration may be added.
    fn empty(more: &str) -> Self {
        let cloud = Cloud::start();
        let configuration = cloud.base() + &cloud.graph("Mail.Receiving") + more;
        let proxy = Proxy::start_in(cloud.folder(), &configuration);
        Self { proxy, cloud, configuration }
    }

    /// Messages of many kinds in the inbox.
    fn with_inbox(count: usize) -> Self {
        let office = Self::empty("");
        office.cloud.sandbox.fill(OFFICE, "inbox", count, letter);
        office
    }

    /// The proxy ends and another one begins on the same state, on other ports.
    fn restarted(self) -> Self {
        let Self { mut proxy, cloud, configuration } = self;
        let folder = std::mem::replace(&mut proxy.folder, tempfile::tempdir().unwrap());
        assert_eq!(proxy.stop(), Some(0));
        let proxy = Proxy::start_in(folder, &configuration);
        Self { proxy, cloud, configuration }
    }

    /// Requests that change something at Graph, by method and kind, since the counts were reset.
    fn writes(&self) -> Vec<(String, String)> {
        let kinds = self.cloud.sandbox.graph_kinds();
        kinds.into_keys().filter(|(method, _)| method != "GET").collect()
    }

    /// Downloads of messages since the counts were reset.
    fn downloads(&self) -> usize {
        let kinds = self.cloud.sandbox.graph_kinds();
        let of_content = |(_, kind): &&(String, String)| kind.contains("$value");
        kinds.keys().filter(of_content).map(|key| kinds[key]).sum()
    }

    /// What lies in every folder at Graph, by path there, in some order that is always the same,
    /// with the flags that Graph has, and with LF.
    fn there(&self) -> BTreeMap<String, Vec<(String, String)>> {
        let folders = self.cloud.sandbox.folders(OFFICE).into_iter();
        folders.map(|name| (name.clone(), self.folder(&name))).collect()
    }

    fn folder(&self, name: &str) -> Vec<(String, String)> {
        let messages = self.cloud.sandbox.folder(OFFICE, name);
        let text = |raw: &[u8]| String::from_utf8_lossy(raw).replace("\r\n", "\n");
        let flags = |flags: &std::collections::BTreeSet<String>| {
            let letters = [("\\Flagged", 'F'), ("\\Seen", 'S')];
            letters.iter().filter(|(name, _)| flags.contains(*name)).map(|(_, flag)| flag).collect()
        };
        let mut all: Vec<(String, String)> =
            messages.iter().map(|m| (text(&m.raw), flags(&m.flags))).collect();
        all.sort();
        all
    }
}

/// Runs a program that must succeed; gives its output. When it says `deliver`, `letter` 500 arrives.
fn with_delivery(office: &Office, command: &mut Command) -> Vec<String> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if line == "deliver" {
            office.cloud.sandbox.deliver(OFFICE, &letter(500));
        }
        lines.push(line);
    }
    let status = child.wait().unwrap();
    assert!(status.success(), "{command:?}: {status}\n{lines:?}");
    lines
}

/// Message `number` of a mailbox: plain, 8-bit, with dots; every third with an attachment, every
/// fifth with another message inside.
fn letter(number: usize) -> Vec<u8> {
    let head = format!(
        "From: =?utf-8?Q?J=C3=B6rg?= <joerg@partner.example>\r\nTo: {OFFICE}\r\n\
         Subject: letter {number}\r\nDate: Mon, 02 Nov 2026 10:{:02}:{:02} +0100\r\n\
         Message-ID: <{number}.letter@partner.example>\r\nMIME-Version: 1.0\r\n",
        number / 60 % 60,
        number % 60
    );
    let text = format!(".dot\r\n\r\nZwölf Boxkämpfer, {number}\r\n.\r\nFrom here\r\n");
    let body = match number {
        _ if number.is_multiple_of(3) => multipart(number, &text, &attachment(number)),
        _ if number.is_multiple_of(5) => multipart(number, &text, &enclosed(number)),
        _ => format!(
            "Content-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: 8bit\r\n\r\n{text}"
        ),
    };
    (head + &body).into_bytes()
}

fn multipart(number: usize, text: &str, second: &str) -> String {
    format!(
        "Content-Type: multipart/mixed; boundary=\"b{number}\"\r\n\r\nPreamble.\r\n--b{number}\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
         {text}\r\n--b{number}\r\n{second}\r\n--b{number}--\r\nEpilogue.\r\n"
    )
}

fn attachment(number: usize) -> String {
    let line = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEy\r\n";
    format!(
        "Content-Type: application/pdf; name=\"list.pdf\"\r\n\
         Content-Disposition: attachment; filename*=utf-8''%C3%BCbersicht%20{number}.pdf\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}",
        line.repeat(number % 40 + 1)
    )
}

fn enclosed(number: usize) -> String {
    format!(
        "Content-Type: message/rfc822\r\n\r\nFrom: a@b.example\r\nSubject: inner {number}\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\ninside\r\n"
    )
}
