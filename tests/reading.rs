//! Clients that read a Gmail mailbox over IMAP and POP3 through the built program.
//!
//! Danger: a test client that speaks as the program expects proves nothing. Rule: Python's imaplib
//! and poplib do what they do, and [`talk::Talk`] sends the very bytes that a test is about.

mod exchange;
mod imap;
mod limits;
mod logins;
mod pop3;
mod stopping;
mod strangers;
pub mod talk;
mod transfer;
mod trouble;

use std::path::Path;

use crate::harness::cloud::Cloud;
use crate::harness::{self, Proxy, have};
use talk::Talk;

/// The client whose receiving role is Gmail's POP3; [`harness::LOGIN`] has the IMAP role.
pub const POP_LOGIN: &str = "popper";

/// A cloud, and a proxy with both receiving roles.
pub struct Scene {
    pub proxy: Proxy,
    pub cloud: Cloud,
}

impl Scene {
    pub fn new() -> Self {
        Self::with("")
    }

    /// With more configuration.
    pub fn with(more: &str) -> Self {
        let cloud = Cloud::start();
        let proxy = Proxy::start_in(cloud.folder(), &(configuration(&cloud) + more));
        Self { proxy, cloud }
    }

    pub fn talk(&self, protocol: &str) -> Talk {
        Talk::to(self.proxy.address(protocol))
    }

    /// An IMAP client that is in.
    pub fn imap(&self) -> Talk {
        let mut talk = self.talk("IMAP");
        talk.line();
        talk.send(&format!("in LOGIN {} {}\r\n", harness::LOGIN, harness::PASSWORD));
        let answer = talk.line();
        assert!(answer.starts_with("in OK "), "{answer}");
        talk
    }

    /// A POP3 client that is in.
    pub fn pop3(&self) -> Talk {
        let mut talk = self.talk("POP3");
        talk.line();
        talk.send(&format!("USER {POP_LOGIN}\r\nPASS {}\r\n", harness::PASSWORD));
        talk.line();
        let answer = talk.line();
        assert!(answer.starts_with("+OK"), "{answer}");
        talk
    }

    /// Runs a Python program with the ports of the plain and the TLS listener of `protocol` and the
    /// proxy's certificate as arguments.
    pub fn python(&self, program: &str, protocol: &str) -> bool {
        if !have("python3") {
            return false;
        }
        let certificate = certificate_of(self.proxy.folder.path());
        let tls = self.proxy.port(&format!("{protocol}S"));
        harness::python(program, &[&self.proxy.port(protocol), &tls, &certificate]);
        true
    }

    /// How many tokens Google has issued.
    pub fn tokens(&self) -> usize {
        self.cloud.sandbox.counters().google_tokens
    }
}

/// Both receiving roles and their clients.
pub fn configuration(cloud: &Cloud) -> String {
    format!(
        "{}{}{}Proxy.Client.{POP_LOGIN}.Password = '{}'\n\
         Proxy.Client.{POP_LOGIN}.Receiving = 'App.pop.Mail.Receiving'\n",
        cloud.base(),
        cloud.gmail_imap("Mail.Receiving"),
        cloud.gmail_pop3("App.pop.Mail.Receiving"),
        harness::PASSWORD
    )
}

/// The certificate that the proxy made for itself.
pub fn certificate_of(folder: &Path) -> String {
    folder.join("state/certs/cert.pem").display().to_string()
}

/// The reference of a failure, `7K3QX9TB-2`, in what a client was told.
pub fn reference_in(answer: &str) -> String {
    let (_, rest) = answer.split_once("(ref ").unwrap_or_else(|| panic!("no (ref …): {answer}"));
    rest.split(')').next().unwrap().to_owned()
}

/// A message of at least `octets` octets, with what breaks careless copying: lines that begin with
/// dots, 8-bit octets, empty lines, long lines, none of them equal to another.
pub fn large_message(octets: usize) -> Vec<u8> {
    let mut raw = b"From: a@b.example\r\nSubject: large\r\n\r\n".to_vec();
    let mut number = 0_u32;
    while raw.len() < octets {
        let dots = ".".repeat(number as usize % 4);
        raw.extend_from_slice(format!("{dots}{number} ").as_bytes());
        let fill = |column: u32| match (number * 31 + column * 7) as u8 {
            b'\r' | b'\n' | 0 => b'x',
            octet => octet,
        };
        raw.extend((0..number % 900).map(fill));
        raw.extend_from_slice(b"\r\n");
        number += 1;
    }
    raw
}
