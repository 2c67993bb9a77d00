//! A person who signs mailboxes in with a device code, from another process than the proxy.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::harness::cloud::{Cloud, OFFICE, OFFICE_PASSWORD};
use crate::harness::wire::Wire;
use crate::harness::{LOGIN, PASSWORD, Proxy, command, run, wait_until};
use crate::sending::client::Client;
use crate::sending::{BOB, letter};

/// A cloud, and a proxy in front of it whose roles are those of a public application.
pub struct Scene {
    pub proxy: Proxy,
    pub cloud: Cloud,
}

impl Scene {
    pub fn new(configuration: impl FnOnce(&Cloud) -> String) -> Self {
        let cloud = Cloud::start();
        cloud.sandbox.set_device_interval(Duration::from_secs(1));
        let configuration = cloud.base() + &configuration(&cloud);
        let proxy = Proxy::start_in(cloud.folder(), &configuration);
        Self { proxy, cloud }
    }

    /// Both roles through Graph as [`OFFICE`], who is signed in.
    pub fn office() -> Self {
        let scene = Self::new(office);
        scene.sign_in(OFFICE, OFFICE_PASSWORD);
        scene
    }

    pub fn sign_in(&self, account: &str, password: &str) {
        sign_in(&self.cloud, self.proxy.folder.path(), account, password);
    }

    /// Another command of the program, beside the running one.
    pub fn typed(&self, arguments: &[&str]) -> Output {
        run(&mut beside(self.proxy.folder.path(), arguments), b"")
    }

    /// What an SMTP client hears who sends one message: the first refusal, or the last reply.
    pub fn send(&self) -> String {
        send(&self.proxy, OFFICE)
    }

    /// Ends sign-ins and access tokens of everybody.
    pub fn revoke(&self) {
        self.cloud.sandbox.revoke_sign_ins(OFFICE);
        self.cloud.sandbox.revoke_tokens();
    }

    /// The usual client sends, and reads by IMAP and by POP3.
    #[track_caller]
    pub fn assert_works(&self) {
        let reply = self.send();
        assert!(reply.starts_with("250 2.0.0"), "{reply}");
        Wire::imap(&self.proxy).succeed("SELECT INBOX");
        let mut pop3 = Wire::pop3(&self.proxy);
        assert!(pop3.ask("STAT").starts_with("+OK"));
    }
}

/// Both roles through Graph as [`OFFICE`], with the web page.
pub fn office(cloud: &Cloud) -> String {
    cloud.public_graph("Mail.Sending", OFFICE)
        + &cloud.public_graph("Mail.Receiving", OFFICE)
        + "Mail.Receiving.Microsoft365.PollInterval = '1s'\n\
           Proxy.Admin.Listen = '127.0.0.1:0'\n"
}

pub fn send(proxy: &Proxy, from: &str) -> String {
    let mut client = Client::logged_in(proxy);
    for command in [format!("MAIL FROM:<{from}>"), format!("RCPT TO:<{BOB}>")] {
        let reply = client.say(&command);
        if !reply.starts_with("250") {
            return reply;
        }
    }
    client.data(letter(from, BOB))
}

/// What an IMAP client hears that opens its inbox: the first refusal, or the last answer. A login
/// alone may rest on what another session heard of the mailbox two seconds ago.
pub fn imap_login(proxy: &Proxy, login: &str) -> String {
    let mut wire = Wire::connect(proxy.address("IMAP"));
    wire.line();
    let answer = wire.command(&format!("LOGIN {login} {PASSWORD}")).tagged;
    if !answer.starts_with("OK") {
        return answer;
    }
    wire.command("SELECT INBOX").tagged
}

/// What a POP3 client hears at login.
pub fn pop3_login(proxy: &Proxy) -> String {
    let mut wire = Wire::connect(proxy.address("POP3"));
    wire.line();
    wire.ask(&format!("USER {LOGIN}"));
    wire.ask(&format!("PASS {PASSWORD}"))
}

/// A command of the program in the proxy's folder.
pub fn beside(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = command();
    command.current_dir(folder).args(arguments).env("HOME", folder).env_remove("XDG_CONFIG_HOME");
    command
}

/// `authbridge token add ACCOUNT --device`, and the person who enters its code.
#[track_caller]
pub fn sign_in(cloud: &Cloud, folder: &Path, account: &str, password: &str) {
    let known = cloud.sandbox.user_codes();
    let mut add = beside(folder, &["token", "add", account, "--device"]);
    let adding = std::thread::spawn(move || run(&mut add, b""));
    enter_new_code(cloud, &known, account, password);
    let said = adding.join().unwrap();
    let (stdout, stderr) = (text(&said.stdout), text(&said.stderr));
    assert_eq!(said.status.code(), Some(0), "{stdout}\n{stderr}");
    assert!(stdout.contains(&format!("{account} is signed in.")), "{stdout}");
}

/// Waits for a code that was not there before, and enters it on the page.
pub fn enter_new_code(cloud: &Cloud, known: &[String], account: &str, password: &str) {
    let mut code = None;
    wait_until("a device code", || {
        code = cloud.sandbox.user_codes().into_iter().find(|code| !known.contains(code));
        code.is_some()
    });
    let page = cloud.enter_device_code(&code.unwrap(), account, password);
    assert!(!page.contains("id=\"error\""), "{page}");
}

pub fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
