//! A configuration that changes while clients are at work.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::admin::Browser;
use crate::harness::cloud::{ANNA, Cloud, OFFICE, OLD, OLD_PASSWORD};
use crate::harness::wire::Wire;
use crate::harness::{LOGIN, PASSWORD, Proxy, signal, wait_until};

const TO: &str = "bob@elsewhere.example";

/// The role of an old service.
fn classic(cloud: &Cloud, role: &str) -> String {
    format!(
        "{role}.ServerType = 'Smtp'\n{role}.Smtp.Server = '{}'\n{role}.Smtp.UseSsl = true\n\
         {role}.Smtp.TlsMode = 'Implicit'\n{role}.Smtp.UseAuth = true\n\
         {role}.Smtp.NumberOfMessagesPerSession = 1000\n\
         {role}.Smtp.Login = '{OLD}'\n{role}.Smtp.Password = '{OLD_PASSWORD}'\n",
        cloud.at().smtp
    )
}

fn start(configuration: impl FnOnce(&Cloud) -> String) -> (Cloud, Proxy, String) {
    let cloud = Cloud::start();
    let text = cloud.base() + &configuration(&cloud);
    let proxy = Proxy::start_in(cloud.folder(), &text);
    (cloud, proxy, text)
}

/// Asks for a reload and waits until the log tells of `count` that were done.
fn reload(proxy: &Proxy, configuration: &str, count: usize) {
    proxy.configure(configuration);
    signal(proxy.id(), "HUP");
    let done = || proxy.log().matches("configuration reloaded").count() >= count;
    wait_until(&format!("reload {count}"), done);
}

fn smtp(proxy: &Proxy, login: &str, password: &str) -> (Wire, String) {
    let mut wire = Wire::connect(proxy.address("SMTP"));
    assert!(wire.line().starts_with("220 "));
    wire.send("EHLO test.example");
    while !wire.line().starts_with("250 ") {}
    let plain = base64(&format!("\0{login}\0{password}"));
    let answer = wire.ask(&format!("AUTH PLAIN {plain}"));
    (wire, answer)
}

fn base64(text: &str) -> String {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.encode(text)
}

fn logged_in(proxy: &Proxy) -> Wire {
    let (wire, answer) = smtp(proxy, LOGIN, PASSWORD);
    assert!(answer.starts_with("235 "), "{answer}");
    wire
}

/// Says all but the end of a message.
fn begin(wire: &mut Wire, subject: &str) {
    begin_from(OLD, wire, subject);
}

fn begin_from(from: &str, wire: &mut Wire, subject: &str) {
    for command in [format!("MAIL FROM:<{from}>"), format!("RCPT TO:<{TO}>")] {
        let answer = wire.ask(&command);
        assert!(answer.starts_with("250 "), "{command}: {answer}");
    }
    assert!(wire.ask("DATA").starts_with("354 "));
    wire.send(&format!("From: {from}\r\nTo: {TO}\r\nSubject: {subject}\r\n\r\nhello"));
}

fn end(wire: &mut Wire) {
    let answer = wire.ask(".");
    assert!(answer.starts_with("250 "), "{answer}");
}

#[test]
fn a_changed_file_needs_no_restart_and_running_sessions_finish() {
    let (cloud, proxy, _) =
        start(|cloud| classic(cloud, "Mail.Sending") + &cloud.gmail_imap("Mail.Receiving"));
    let mut sending = logged_in(&proxy);
    begin(&mut sending, "in the middle");
    let mut idle = Wire::imap(&proxy);
    idle.succeed("SELECT INBOX");
    idle.send("a IDLE");
    assert!(idle.line().starts_with("+ "));
    // Sending goes, the login is another one; nobody sends a signal.
    let changed = cloud.base()
        + &cloud.gmail_imap("Mail.Receiving")
        + "Proxy.Client.newcomer.Password = 'new-password'\n";
    proxy.configure(&changed);
    proxy.wait_for_log("configuration reloaded: ");
    let log = proxy.log();
    for words in ["role Mail.Sending removed", "client newcomer added"] {
        assert!(log.contains(words), "{words}");
    }
    assert!(!log.contains("new-password"));
    end(&mut sending);
    assert_eq!(cloud.sandbox.outbox().len(), 1);
    cloud.sandbox.put(ANNA, "INBOX", b"Subject: news\r\n\r\nnow\r\n");
    assert_eq!(idle.line(), "* 1 EXISTS");
    idle.send("DONE");
    assert!(idle.answer().tagged.starts_with("OK"));
    let mut new = Wire::connect(proxy.address("IMAP"));
    new.line();
    new.succeed("LOGIN newcomer new-password");
    assert_eq!(proxy.stop(), Some(0));
}

#[test]
fn who_is_removed_is_refused_and_who_comes_gets_in() {
    let (cloud, proxy, text) = start(|cloud| {
        classic(cloud, "Mail.Sending") + "Proxy.Client.first.Password = 'first-password'\n"
    });
    let (_first, answer) = smtp(&proxy, "first", "first-password");
    assert!(answer.starts_with("235 "), "{answer}");
    reload(&proxy, &text.replace("first", "second"), 1);
    for (login, code) in [("first", "535 "), ("second", "235 "), (LOGIN, "235 ")] {
        let password =
            if login == LOGIN { PASSWORD.to_owned() } else { format!("{login}-password") };
        let (_wire, answer) = smtp(&proxy, login, &password);
        assert!(answer.starts_with(code), "{login}: {answer}");
    }
    drop(cloud);
}

#[test]
fn a_role_that_is_as_before_keeps_its_connection() {
    let (cloud, proxy, text) = start(|cloud| classic(cloud, "Mail.Sending"));
    for round in 0..4 {
        let mut wire = logged_in(&proxy);
        begin(&mut wire, "again");
        end(&mut wire);
        let more = format!("{text}Proxy.Client.c{round}.Password = 'another-password'\n");
        reload(&proxy, &more, round + 1);
    }
    let counters = cloud.sandbox.counters();
    assert_eq!(counters.smtp_sessions.len(), 1, "{:?}", counters.smtp_sessions);
    assert!(proxy.log().matches("role Mail.Sending").count() < 5, "it has not changed");
    // One whose configuration changes is another one.
    reload(&proxy, &text.replace("= 1000", "= 999"), 5);
    proxy.wait_for_log("role Mail.Sending changed");
    let mut wire = logged_in(&proxy);
    begin(&mut wire, "again");
    end(&mut wire);
    assert_eq!(cloud.sandbox.counters().smtp_sessions.len(), 2);
    assert_eq!(cloud.sandbox.outbox().len(), 5);
}

#[test]
fn a_broken_file_changes_nothing_and_every_mistake_is_told() {
    let (cloud, proxy, text) =
        start(|cloud| classic(cloud, "Mail.Sending") + "Proxy.Admin.Listen = '127.0.0.1:0'\n");
    let broken = text.replace(".Smtp.Server", ".Smtp.Sever")
        + "Proxy.Limits.MaxConnections = 'many'\nProxy.Client.x.Pasword = 'y'\n";
    proxy.configure(&broken);
    proxy.wait_for_log("the running configuration stays in force");
    let log = proxy.log();
    for mistake in ["Mail.Sending.Smtp.Sever", "Proxy.Limits.MaxConnections", "Pasword"] {
        let told = |line: &str| {
            line.contains("ERROR") && line.contains("proxy.toml:") && line.contains(mistake)
        };
        assert!(log.lines().any(told), "{mistake}");
    }
    let mut wire = logged_in(&proxy);
    begin(&mut wire, "still works");
    end(&mut wire);
    let metrics = |name: &str| {
        let page = Browser::new(proxy.address("HTTP")).get("/metrics").body;
        page.lines().any(|line| line == name)
    };
    assert!(metrics("authbridge_config_reloads_total{result=\"failed\"} 1"));
    reload(&proxy, &text, 1);
    assert!(metrics("authbridge_config_reloads_total{result=\"ok\"} 1"));
    // An address that is taken is no mistake in the file, and changes nothing either.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let more =
        format!("{text}Proxy.Listen.Imap = '{address}'\nProxy.Client.z.Password = 'zz-zz'\n");
    proxy.configure(&more);
    proxy.wait_for_log(&format!("can't listen on {address}"));
    let (_wire, answer) = smtp(&proxy, "z", "zz-zz");
    assert!(answer.starts_with("535 "), "{answer}");
    drop((taken, cloud));
    signal(proxy.id(), "HUP");
    proxy.wait_for_log(&format!("listener IMAP {address} added"));
    let (_wire, answer) = smtp(&proxy, "z", "zz-zz");
    assert!(answer.starts_with("235 "), "{answer}");
}

#[test]
fn addresses_move_and_what_needs_a_restart_is_named() {
    let (_cloud, proxy, text) = start(|cloud| classic(cloud, "Mail.Sending"));
    let old = proxy.address("SMTP");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut sending = logged_in(&proxy);
    let moved = format!(
        "{text}Proxy.Listen.Smtp = '{free}'\nProxy.Log.Format = 'json'\nProxy.StateDirectory = 'x'\n"
    );
    reload(&proxy, &moved, 1);
    begin(&mut sending, "from the old address");
    end(&mut sending);
    let mut new = Wire::connect(free);
    assert!(new.line().starts_with("220 "));
    wait_until("a closed address", || std::net::TcpStream::connect(old).is_err());
    for key in ["Proxy.Log.Format", "Proxy.StateDirectory"] {
        proxy.wait_for_log(&format!("{key} has changed, which takes effect after a restart"));
    }
    assert!(!proxy.log().contains("MSAL.Cache.Folder"), "the same change");
    assert!(!proxy.folder.path().join("x").exists());
}

#[test]
fn who_asks_for_a_reload_hears_that_nothing_has_changed() {
    let (_cloud, proxy, text) = start(|cloud| classic(cloud, "Mail.Sending"));
    for round in 1..=2 {
        reload(&proxy, &text, round);
    }
    let told = proxy.log().matches("reloaded: nothing that is in use has changed").count();
    assert_eq!(told, 2, "{}", proxy.log());
}

#[test]
fn an_address_that_overlaps_one_that_goes_is_told_with_the_way_out() {
    let (_cloud, proxy, text) =
        start(|cloud| classic(cloud, "Mail.Sending") + "Proxy.Admin.Listen = '127.0.0.1:0'\n");
    let fixed = |key: &str, protocol: &str, host: &str| {
        let address = proxy.address(protocol);
        (address, format!("{text}Proxy.Listen.{key} = '{host}:{}'\n", address.port()))
    };
    let (here, everywhere) = fixed("Smtp", "SMTP", "0.0.0.0");
    proxy.configure(&everywhere);
    proxy.wait_for_log("the running configuration stays in force");
    let port = here.port();
    let sentence =
        format!("can't listen on 0.0.0.0:{port} while authbridge itself listens on {here}");
    assert!(proxy.log().contains(&sentence), "{}", proxy.log());
    drop(logged_in(&proxy));
    // As it says: out by one change, in by the next.
    reload(&proxy, &format!("{text}Proxy.Listen.Smtp = ''\n"), 1);
    wait_until("a closed address", || std::net::TcpStream::connect(here).is_err());
    reload(&proxy, &everywhere, 2);
    drop(logged_in(&proxy));
    let page = proxy.address("HTTP");
    let everywhere = text.replace("127.0.0.1:0", &format!("0.0.0.0:{}", page.port()));
    proxy.configure(&everywhere);
    proxy.wait_for_log(&format!("the page is still at {page}, which overlaps"));
}

#[test]
fn a_certificate_that_is_replaced_is_shown_without_a_restart() {
    let cloud = Cloud::start();
    let folder = cloud.folder();
    let write = |name: &str, path: &std::path::Path| {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        std::fs::write(path.join("own.key"), made.signing_key.serialize_pem()).unwrap();
        std::fs::write(path.join("own.pem"), made.cert.pem()).unwrap();
        made.cert.pem()
    };
    let old = write("localhost", folder.path());
    let text = cloud.base()
        + &classic(&cloud, "Mail.Sending")
        + "Proxy.Tls.CertificatePath = 'own.pem'\nProxy.Tls.KeyPath = 'own.key'\n";
    let proxy = Proxy::start_in(folder, &text);
    assert!(is_shown(&proxy, &old));
    // Key and certificate do not fit together in between.
    let new = write("localhost", proxy.folder.path());
    proxy.wait_for_log("the listeners' certificate changed");
    assert!(is_shown(&proxy, &new) && !is_shown(&proxy, &old));
    // Touching is no change.
    let reloads = proxy.log().matches("configuration reloaded").count();
    std::fs::write(proxy.folder.path().join("own.pem"), new).unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(proxy.log().matches("configuration reloaded").count(), reloads);
}

/// True when a client that trusts this certificate alone gets through.
fn is_shown(proxy: &Proxy, pem: &str) -> bool {
    use rustls_pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    let certificate = rustls_pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    roots.add(certificate).unwrap();
    let config =
        rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let mut connection = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
    let mut socket = std::net::TcpStream::connect(proxy.address("SMTPS")).unwrap();
    while connection.is_handshaking() {
        if connection.complete_io(&mut socket).is_err() {
            return false;
        }
    }
    true
}

#[test]
fn a_mailbox_that_stays_open_gets_the_new_credentials() {
    let (cloud, proxy, text) = start(|cloud| cloud.graph("Mail.Receiving"));
    let mut old = Wire::imap(&proxy);
    old.succeed("SELECT INBOX");
    let before = cloud.sandbox.counters().entra_tokens;
    let changed = cloud.base() + &cloud.graph_by_certificate("Mail.Receiving");
    assert_ne!(changed, text);
    reload(&proxy, &changed, 1);
    proxy.wait_for_log("role Mail.Receiving changed");
    let mut new = Wire::imap(&proxy);
    let selected = new.succeed("SELECT INBOX");
    assert_eq!(selected.count("EXISTS"), 1, "{selected:?}");
    assert!(cloud.sandbox.counters().entra_tokens > before, "a token by certificate");
    old.succeed("STATUS INBOX (MESSAGES UIDVALIDITY)");
    // The first sending role comes while it runs: what waits has a place from now on.
    let sending = changed + &cloud.graph("Mail.Sending");
    reload(&proxy, &sending, 2);
    proxy.wait_for_log("role Mail.Sending added");
    let mut wire = logged_in(&proxy);
    begin_from(OFFICE, &mut wire, "by the new role");
    end(&mut wire);
    assert_eq!(cloud.sandbox.deliveries().len(), 1);
}

#[test]
fn fifty_reloads_under_load_lose_and_refuse_nothing() {
    const RELOADS: usize = 50;
    let (cloud, proxy, text) = start(|cloud| classic(cloud, "Mail.Sending"));
    let (stop, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut resident = 0;
    std::thread::scope(|scope| {
        for client in 0..3 {
            let (proxy, stop, sent) = (&proxy, &stop, &sent);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut wire = logged_in(proxy);
                    for _ in 0..3 {
                        begin(&mut wire, &format!("of client {client}"));
                        end(&mut wire);
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        for round in 1..=RELOADS {
            // Every other one makes the role anew; each has another client and another listener.
            let messages = if round % 2 == 0 { 1000 } else { 900 + round };
            let changed = text.replace("= 1000", &format!("= {messages}"))
                + &format!("Proxy.Client.c{round}.Password = 'a-password'\n");
            reload(&proxy, &changed, round);
            if round == RELOADS / 5 {
                resident = resident_kilobytes(&proxy);
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let sent = sent.load(Ordering::Relaxed);
    assert!(sent > RELOADS, "{sent}");
    assert_eq!(cloud.sandbox.outbox().len(), sent);
    let now = resident_kilobytes(&proxy);
    println!(
        "{RELOADS} reloads, {sent} messages, {resident} kB after a fifth, {now} kB at the end"
    );
    assert!(now < resident + 40_000, "{resident} kB after a fifth, {now} kB at the end");
    assert_eq!(proxy.stop(), Some(0));
}

/// What the process has in memory; 0 where the system does not tell.
fn resident_kilobytes(proxy: &Proxy) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.id()));
    let status = status.unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[test]
fn signals_in_a_row_are_one_reload_after_the_other_and_a_stop_wins() {
    let (_cloud, proxy, text) = start(|cloud| classic(cloud, "Mail.Sending"));
    for round in 0..20 {
        proxy.configure(&format!("{text}Proxy.Client.c{round}.Password = 'a-password'\n"));
        signal(proxy.id(), "HUP");
    }
    proxy.wait_for_log("client c19 added");
    let (_wire, answer) = smtp(&proxy, "c19", "a-password");
    assert!(answer.starts_with("235 "), "{answer}");
    let (_wire, answer) = smtp(&proxy, "c18", "a-password");
    assert!(answer.starts_with("535 "), "{answer}");
    proxy.configure(&text);
    signal(proxy.id(), "HUP");
    let begin = Instant::now();
    signal(proxy.id(), "TERM");
    signal(proxy.id(), "HUP");
    assert_eq!(proxy.stop(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

#[test]
fn a_proxy_that_stops_reloads_no_more_and_finishes_what_it_has() {
    let (cloud, proxy, text) = start(|cloud| classic(cloud, "Mail.Sending"));
    let mut wire = logged_in(&proxy);
    begin(&mut wire, "when it is told to stop");
    signal(proxy.id(), "TERM");
    proxy.wait_for_log("stopping");
    // Sending would be gone.
    proxy.configure(&text.replace("Mail.Sending", "App.other.Mail.Sending"));
    signal(proxy.id(), "HUP");
    end(&mut wire);
    assert!(!proxy.log().contains("configuration reloaded"), "{}", proxy.log());
    assert_eq!(cloud.sandbox.outbox().len(), 1);
    assert_eq!(proxy.stop(), Some(0));
}

/// As Kubernetes mounts a ConfigMap: the file is a link through a folder that is a link, and only the
/// latter is swapped.
#[test]
fn a_link_that_is_swapped_on_the_way_to_the_file_is_noticed() {
    use std::os::unix::fs::symlink;
    let cloud = Cloud::start();
    let folder = cloud.folder();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("v1")).unwrap();
    std::fs::create_dir(at("v2")).unwrap();
    symlink("v1", at("..data")).unwrap();
    symlink("..data/proxy.toml", at("proxy.toml")).unwrap();
    let (old, new, data, tmp) =
        (at("v1/proxy.toml"), at("v2/proxy.toml"), at("..data"), at("..data_tmp"));
    let proxy = Proxy::start_in(folder, &(cloud.base() + &classic(&cloud, "Mail.Sending")));
    let text = std::fs::read_to_string(old).unwrap();
    std::fs::write(new, text + "Proxy.Client.late.Password = 'late-password'\n").unwrap();
    symlink("v2", &tmp).unwrap();
    let begin = Instant::now();
    std::fs::rename(tmp, data).unwrap();
    proxy.wait_for_log("client late added");
    assert!(begin.elapsed() < Duration::from_secs(20), "the slow way: {:?}", begin.elapsed());
}
