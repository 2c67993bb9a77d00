//! How often the service is asked: what `docs/mailbox.md` promises, with real clients.
//!
//! Counts alone, which are the same on a slow machine; times are measured by `make bench`.

use std::time::{Duration, Instant};

use authbridge::sandbox::Quirks;

use crate::clients::{Account, maildir, mbsync};
use crate::harness::cloud::{Cloud, OFFICE};
use crate::harness::wire::Wire;
use crate::harness::{LOGIN, Proxy, have, signal};

/// An inbox with messages, and the proxy before it.
struct Scene {
    cloud: Cloud,
    proxy: Proxy,
}

impl Scene {
    fn start(count: usize) -> Self {
        let cloud = Cloud::start();
        cloud.sandbox.fill(OFFICE, "inbox", count, message);
        let proxy = Proxy::start_in(cloud.folder(), &configuration(&cloud));
        Self { cloud, proxy }
    }

    /// Killed and started anew on the state that is left.
    fn restart(self) -> Self {
        let Self { cloud, proxy } = self;
        signal(proxy.id(), "KILL");
        let folder = cloud.folder();
        std::fs::rename(proxy.folder.path().join("state"), folder.path().join("state")).unwrap();
        drop(proxy);
        let proxy = Proxy::start_in(folder, &configuration(&cloud));
        Self { cloud, proxy }
    }

    /// HTTP requests to Graph since this was last asked.
    fn requests(&self) -> usize {
        let requests = self.cloud.sandbox.graph_requests();
        self.cloud.sandbox.reset_graph_counts();
        requests
    }

    fn selected(&self) -> Wire {
        let mut client = Wire::imap(&self.proxy);
        client.succeed("SELECT INBOX");
        client
    }
}

fn configuration(cloud: &Cloud) -> String {
    let (base, role) = (cloud.base(), cloud.graph("Mail.Receiving"));
    format!("{base}{role}Mail.Receiving.Microsoft365.PollInterval = '1s'\n")
}

fn message(number: usize) -> Vec<u8> {
    format!(
        "From: Jane <jane@example.com>\r\nTo: office@contoso.example\r\nSubject: no. {number}\r\n\
         Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{number}@example.com>\r\n\r\n\
         text {number}\r\n"
    )
    .into_bytes()
}

#[test]
fn mbsync_costs_a_request_a_message_and_then_one_a_folder() {
    if !have("mbsync") {
        return;
    }
    let (scene, folder) = (Scene::start(200), tempfile::tempdir().unwrap());
    let sync = |scene: &Scene| {
        let port = scene.proxy.address("IMAP").port();
        mbsync(folder.path(), &Account { protocol: "imap", port, login: LOGIN });
        (scene.cloud.sandbox.graph_kinds(), scene.requests())
    };
    let (kinds, first) = sync(&scene);
    assert!((200..=210).contains(&first), "{first} requests: {kinds:?}");
    assert_eq!(maildir(folder.path()).len(), 200);
    let (kinds, again) = sync(&scene);
    assert!(again <= 1, "{again} requests: {kinds:?}");
    let (kinds, restarted) = sync(&scene.restart());
    assert!(restarted <= 1, "{restarted} requests after a restart: {kinds:?}");
}

#[test]
fn pop3_costs_a_request_a_message() {
    let scene = Scene::start(50);
    let mut client = Wire::pop3(&scene.proxy);
    assert_eq!(client.lines("UIDL").0, 50);
    let login = scene.requests();
    assert!(login <= 4, "{login} requests");
    assert_eq!(client.lines("LIST").0, 50);
    assert_eq!(scene.requests(), 50, "sizes are exact");
    for number in 1..=50 {
        assert!(client.lines(&format!("RETR {number}")).1 > 100);
    }
    assert_eq!(scene.requests(), 0);
}

#[test]
fn a_large_folder_costs_two_requests_for_each_page() {
    for (slow_pages, most) in [(None, 7), (Some(400), 11)] {
        let scene = Scene::start(1_500);
        scene.cloud.sandbox.set_quirks(OFFICE, Quirks { slow_pages, ..Quirks::default() });
        let mut client = scene.selected();
        let answer = client.succeed("FETCH 1:* (UID FLAGS INTERNALDATE ENVELOPE)");
        assert_eq!(answer.count("ENVELOPE"), 1_500);
        let requests = scene.requests();
        assert!(requests <= most, "{requests} requests, pages: {slow_pages:?}");
        client.succeed("FETCH 1:* (UID FLAGS INTERNALDATE ENVELOPE)");
        client.succeed("UID SEARCH UNSEEN");
        assert_eq!(scene.requests(), 0);
    }
}

#[test]
fn a_flag_on_many_messages_costs_a_request_for_twenty() {
    let scene = Scene::start(500);
    let mut client = scene.selected();
    scene.requests();
    assert_eq!(client.succeed("STORE 1:500 +FLAGS (\\Flagged)").count("\\Flagged"), 500);
    let stored = scene.requests();
    assert!(stored <= 26, "{stored} requests");
    // It hears of its own changes, and knows them.
    let answer = client.succeed("NOOP");
    let heard = scene.requests();
    assert!(answer.untagged.is_empty() && heard <= 2, "{heard} requests, {answer:?}");
    // Nothing changes, nothing is asked.
    client.succeed("STORE 1:500 +FLAGS.SILENT (\\Flagged)");
    assert_eq!(scene.requests(), 0);
}

#[test]
fn sessions_in_idle_on_one_folder_share_their_polls() {
    let scene = Scene::start(3);
    let mut clients: Vec<_> = (0..20).map(|_| scene.selected()).collect();
    for client in &mut clients {
        assert!(client.ask("a IDLE").starts_with('+'));
    }
    // All have begun when the first has heard of something.
    scene.cloud.sandbox.deliver(OFFICE, &message(3));
    for client in &mut clients {
        while client.line() != "* 4 EXISTS" {}
    }
    scene.requests();
    let begin = Instant::now();
    std::thread::sleep(Duration::from_secs(3));
    let (requests, seconds) = (scene.requests(), begin.elapsed().as_secs());
    let most = usize::try_from(seconds).unwrap() + 1;
    assert!((1..=most).contains(&requests), "{requests} requests in {seconds} intervals");
}
