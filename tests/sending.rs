//! Sending over SMTP: the built program between clients as they are and services as strict as the
//! real ones.
//!
//! Danger: a test that looks at the reply alone passes while the mail is lost, doubled or changed.
//! Rule: every test asserts what the service holds afterwards: who got it, how often, which bytes.

pub mod client;
mod content;
pub mod failures;
mod hazards;
mod programs;
mod rights;
mod secrets;
mod senders;
mod sharing;
mod stopping;
mod upstreams;

use authbridge::sandbox::{Delivery, Fault, Place, What};

use crate::harness::Proxy;
use crate::harness::cloud::Cloud;

/// Somebody without a mailbox in the sandbox.
pub const BOB: &str = "bob@elsewhere.example";
/// Another one.
pub const EVE: &str = "eve@elsewhere.example";

/// A cloud and a proxy in front of it whose `Mail.Sending` is what `role` writes.
pub fn started(role: impl FnOnce(&Cloud) -> String) -> (Cloud, Proxy) {
    let cloud = Cloud::start();
    let configuration = cloud.base() + &role(&cloud);
    let proxy = Proxy::start_in(cloud.folder(), &configuration);
    (cloud, proxy)
}

/// A cloud and a proxy that sends through Gmail.
pub fn gmail() -> (Cloud, Proxy) {
    started(|cloud| cloud.gmail_smtp("Mail.Sending", "key.json"))
}

/// A sending role that is a classic server at `server`; `more` is TOML lines with `{role}` for the
/// role's prefix.
pub fn classic(role: &str, server: &str, more: &str) -> String {
    let more = more.replace("{role}", role);
    format!("{role}.ServerType = 'Smtp'\n{role}.Smtp.Server = '{server}'\n{more}\n")
}

/// Lets one thing go wrong at the SMTP listeners `times` times.
pub fn smtp_fault(cloud: &Cloud, what: What, times: usize) {
    cloud.sandbox.fault(Fault { at: Place::Smtp, what, times });
}

/// The recipients of all deliveries so far, sorted.
pub fn reached(cloud: &Cloud) -> Vec<String> {
    let mut all: Vec<String> =
        cloud.sandbox.deliveries().into_iter().map(|delivery| delivery.recipient).collect();
    all.sort();
    all
}

/// The one delivery that there must be.
pub fn only_delivery(cloud: &Cloud) -> Delivery {
    let mut all = cloud.sandbox.deliveries();
    assert_eq!(all.len(), 1, "{:?}", reached(cloud));
    all.remove(0)
}

/// A complete small message.
pub fn letter(from: &str, to: &str) -> String {
    format!(
        "From: {from}\r\nTo: {to}\r\nSubject: hello\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n\
         Message-ID: <letter@client.example>\r\n\r\nA line.\r\n"
    )
}

/// Asserts that two messages are the same octets, and shows them as text when not.
#[track_caller]
pub fn assert_same(found: &[u8], expected: &[u8]) {
    let shown = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    assert!(found == expected, "found\n{:?}\nexpected\n{:?}", shown(found), shown(expected));
}
